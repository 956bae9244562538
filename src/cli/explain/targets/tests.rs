//! Boards before a scripted source.

use serde_json::json;

use super::*;
use crate::app::App;
use crate::cache::StoreSettings;
use crate::clock::ManualClock;
use crate::engine::EngineSettings;
use crate::source::scripted::Scripted;

/// 2024-01-02T00:00:00Z.
const NOW: i64 = 1_704_153_600_000_000;

fn asking(board: &Board) -> Asking {
    let now = Timestamp::saturating(NOW);
    Asking { variables: board.variables(), range: None, step: None, dataset: None, now }
}

fn read(text: &str) -> Board {
    Board::read(std::path::Path::new("-"), text.to_owned()).unwrap().remove(0)
}

fn board(panel: &Value) -> Board {
    let board = json!({
        "title": "T",
        "time": {"from": "now-1d", "to": "now"},
        "templating": {"list": [
            {"name": "v", "multi": true, "current": {"value": ["a", "b"]}},
            {"name": "empty", "multi": true, "current": {"value": ["$__all"]}},
        ]},
        "panels": [panel],
    });
    read(&board.to_string())
}

fn sql_panel(sql: &str) -> Value {
    json!({"title": "P", "datasource": {"type": "grafana-bigquery-datasource", "uid": "u"}, "targets": [{"refId": "A", "rawSql": sql}]})
}

async fn report(board: &Board, asking: &Asking) -> Value {
    let clock = Arc::new(ManualClock::new(asking.now));
    let source = Arc::new(Scripted::new(|_, _| Err(Error::invalid("never run"))).reading(20 << 20));
    let mut app = App::new(StoreSettings::of(1_000_000), clock, Duration::from_secs(1));
    let engine = app.add_source("only", Arc::clone(&source) as _, EngineSettings::default());
    let report = explain(&engine, board, asking).await.unwrap();
    assert_eq!(source.jobs(), 0);
    serde_json::from_str(&report.json().unwrap()).unwrap()
}

async fn explained(panel: Value) -> Value {
    let board = board(&panel);
    let report = report(&board, &asking(&board)).await;
    report["targets"][0].clone()
}

async fn sql(panel: Value) -> String {
    explained(panel).await["explanation"]["segments"][0]["sql"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_target_is_asked_as_grafana_would() {
    let target = explained(sql_panel("SELECT '$__interval' FROM t WHERE x IN ($v) AND $__timeFilter(t)")).await;
    let segment = &target["explanation"]["segments"][0];
    let expected = "SELECT '$__interval' FROM t WHERE x IN ('a','b') \
        AND t >= TIMESTAMP '2024-01-01T00:00:00Z' AND t < TIMESTAMP '2024-01-02T00:00:00Z'";
    assert_eq!(segment["sql"], expected);
    assert_eq!((&segment["bytes_processed"], &segment["bytes_billed"]), (&json!(20 << 20), &json!(20 << 20)));
    assert_eq!((&target["panel"], &target["ref_id"], &target["data_source"]), (&json!("P"), &json!("A"), &json!("u")));
    assert!(segment["cost"]["amount"].as_f64().unwrap() > 0.0, "{segment}");
}

#[tokio::test]
async fn the_interval_is_the_share_of_a_point_and_at_least_the_panels() {
    let check = async |options: Value, expected: &str| {
        let mut panel = sql_panel("SELECT $__interval_ms");
        for (key, value) in options.as_object().unwrap() {
            panel[key] = value.clone();
        }
        assert_eq!(sql(panel).await, expected, "{options}");
    };
    check(json!({"maxDataPoints": 24}), "SELECT 3600000").await;
    check(json!({"maxDataPoints": 24, "interval": ">2h"}), "SELECT 7200000").await;
    check(json!({"maxDataPoints": 24, "interval": "1m"}), "SELECT 3600000").await;
    check(json!({"maxDataPoints": 24, "interval": "$none"}), "SELECT 3600000").await;
}

#[tokio::test]
async fn a_panels_own_range_beats_the_boards() {
    let check = async |key: &str, value: &str, expected: &str| {
        let mut panel = sql_panel("SELECT $__timeFrom(), $__timeTo()");
        panel[key] = value.into();
        assert_eq!(sql(panel).await, expected, "{key} {value}");
    };
    let from_to = |from: &str, to: &str| format!("SELECT TIMESTAMP '{from}T00:00:00Z', TIMESTAMP '{to}T00:00:00Z'");
    check("timeFrom", "7d", &from_to("2023-12-26", "2024-01-02")).await;
    check("timeShift", "1d", &from_to("2023-12-31", "2024-01-01")).await;
    check("timeFrom", "", &from_to("2024-01-01", "2024-01-02")).await;
}

#[tokio::test]
async fn an_alert_rule_has_its_own_range() {
    let query = json!({"refId": "A", "relativeTimeRange": {"from": 7200, "to": 3600}, "model": {"rawSql": "SELECT $__timeFrom(), $__timeTo()"}});
    let board = read(&json!({"name": "G", "rules": [{"title": "R", "data": [query]}]}).to_string());
    let report = report(&board, &asking(&board)).await;
    let sql = &report["targets"][0]["explanation"]["segments"][0]["sql"];
    assert_eq!(sql, "SELECT TIMESTAMP '2024-01-01T22:00:00Z', TIMESTAMP '2024-01-01T23:00:00Z'");
}

#[tokio::test]
async fn what_the_caller_says_beats_the_board() {
    let board = board(&sql_panel("SELECT $__interval_ms, $v, $__timeFrom()"));
    let mut asking = asking(&board);
    asking.variables.set("v", "z");
    asking.step = Some("5m".parse().unwrap());
    asking.range = Some(Extent::new(asking.now.minus(Duration::from_hours(1)), asking.now).unwrap());
    let report = report(&board, &asking).await;
    let sql = &report["targets"][0]["explanation"]["segments"][0]["sql"];
    assert_eq!(sql, "SELECT 300000, 'z', TIMESTAMP '2024-01-01T23:00:00Z'");
}

#[tokio::test]
async fn what_cannot_be_explained_is_named_and_leaves_the_others() {
    let mut panel = sql_panel("SELECT $empty");
    let targets = panel["targets"].as_array_mut().unwrap();
    targets.push(json!({"refId": "B", "rawSql": "SELECT 1 FROM t WHERE $__timeFilter(t"}));
    targets.push(json!({"refId": "C", "datasource": {"type": "prometheus", "uid": "x"}, "expr": "up"}));
    targets.push(json!({"refId": "D", "rawSql": "SELECT 1"}));
    targets.push(json!({"refId": "E", "queryType": "ledger", "by": "day"}));
    let board = board(&panel);
    let report = report(&board, &asking(&board)).await;
    let part =
        |index: usize, pointer: &str| report["targets"][index].pointer(pointer).unwrap().as_str().unwrap().to_owned();
    assert_eq!(part(0, "/error/message"), "variable empty has no saved value; give --var empty=VALUE");
    assert!(part(1, "/error/message").contains("$__timeFilter"), "{report}");
    assert_eq!(part(2, "/skipped"), "the data source prometheus is not BigQuery");
    assert_eq!(part(3, "/explanation/segments/0/sql"), "SELECT 1");
    assert_eq!(part(4, "/skipped"), "it asks Weir's own ledger, which runs no job");
}

#[tokio::test]
async fn variables_that_stand_for_each_other_end_in_an_error_that_names_one() {
    let board = read(
        &json!({
            "templating": {"list": [
                {"name": "a", "current": {"value": "$b"}}, {"name": "b", "current": {"value": "${a}"}},
            ]},
            "panels": [sql_panel("SELECT $a")],
        })
        .to_string(),
    );
    let report = report(&board, &asking(&board)).await;
    let message = report["targets"][0]["error"]["message"].as_str().unwrap();
    assert!(message.starts_with("variable $b arrived without its value"), "{message}");
}

#[tokio::test]
async fn a_range_that_cannot_be_read_asks_for_another() {
    let board = read("{\"panels\": [], \"time\": {\"from\": \"now/d\", \"to\": \"now\"}}");
    let error = board_range("now/d", "now", Timestamp::saturating(NOW)).unwrap_err();
    assert!(
        error.message().starts_with("the board opens with the range now/d to now; give --from and --to: "),
        "{error}"
    );
    assert!(board.items().is_empty());
}
