//! Boards of every shape, in small.

use serde_json::json;

use super::*;

fn read(text: &str) -> Result<Board> {
    let [board] = Board::read(Path::new("-"), text.to_owned())?.try_into().unwrap();
    Ok(board)
}

/// What a board holds, one line an item: `panel/refId plugin name rawSql`.
fn lines(board: &Value) -> Vec<String> {
    lines_of(&read(&board.to_string()).unwrap())
}

fn lines_of(board: &Board) -> Vec<String> {
    let line = |item: &Item<'_>| match item {
        Item::Library { panel, name } => format!("{panel} library {name}"),
        Item::Target(target) => {
            let DataSource { plugin, name } = target.data_source;
            let hidden = if target.hidden { " hidden" } else { "" };
            let sql = target.model.get("rawSql").and_then(Value::as_str).unwrap_or("-");
            let (plugin, name) = (plugin.unwrap_or("-"), name.unwrap_or("-"));
            format!("{}/{} {plugin} {name} {sql}{hidden}", target.panel, target.ref_id)
        }
    };
    board.items().iter().map(line).collect()
}

fn target(ref_id: &str) -> Value {
    json!({"refId": ref_id, "rawSql": format!("SELECT '{ref_id}'")})
}

const OFFICIAL: &str = "grafana-bigquery-datasource";

#[test]
fn classic_panels_nest_in_rows_and_share_their_data_source() {
    let reference = json!({"type": OFFICIAL, "uid": "u"});
    let board = json!({"schemaVersion": 39, "panels": [
        {"title": "One", "datasource": reference, "targets": [target("A"), {"refId": "B", "hide": true, "datasource": {"type": "prometheus", "uid": "v"}}]},
        {"title": "Row", "type": "row", "panels": [{"title": "Two", "datasource": reference, "targets": [target("A")]}]},
        {"title": "Text", "type": "text"},
        {"title": "Mixed", "datasource": {"type": "datasource", "uid": "-- Mixed --"}, "targets": [{"refId": "A", "datasource": reference}, target("B")]},
    ]});
    let expected = [
        "One/A grafana-bigquery-datasource u SELECT 'A'",
        "One/B prometheus v - hidden",
        "Two/A grafana-bigquery-datasource u SELECT 'A'",
        "Mixed/A grafana-bigquery-datasource u -",
        "Mixed/B - - SELECT 'B'",
    ];
    assert_eq!(lines(&board), expected);
    for envelope in ["dashboard", "spec"] {
        assert_eq!(lines(&json!({"meta": {}, envelope: board})), expected, "{envelope}");
    }
}

#[test]
fn old_boards_have_rows_and_names_of_data_sources() {
    let board =
        json!({"rows": [{"panels": [{"title": "Old", "datasource": "BigQuery", "targets": [target("A")]}]}, {}]});
    assert_eq!(lines(&board), ["Old/A - BigQuery SELECT 'A'"]);
}

#[test]
fn a_variable_tells_the_plugin_where_the_board_does() {
    let panel = |name: &str| json!({"title": name, "datasource": name, "targets": [target("A")]});
    let board = json!({
        "__inputs": [{"name": "DS_BQ", "type": "datasource", "pluginId": OFFICIAL}],
        "templating": {"list": [
            {"name": "ds", "type": "datasource", "query": OFFICIAL},
            {"name": "text", "type": "custom", "query": "a,b"},
        ]},
        "panels": [panel("${DS_BQ}"), panel("$ds"), panel("$text"), panel("${none}")],
    });
    let plugins: Vec<_> = lines(&board).iter().map(|line| line.split(' ').nth(1).unwrap().to_owned()).collect();
    assert_eq!(plugins, [OFFICIAL, OFFICIAL, "-", "-"]);
}

#[test]
fn library_panels_are_named_unless_the_file_brings_them_along() {
    let library = |name: &str| json!({"title": name, "libraryPanel": {"uid": name, "name": format!("{name}!")}});
    let board = json!({
        "__elements": {"along": {"name": "along!", "model": {"datasource": {"type": OFFICIAL, "uid": "u"}, "targets": [target("A")]}}},
        "panels": [library("along"), library("away")],
    });
    assert_eq!(lines(&board), ["along/A grafana-bigquery-datasource u SELECT 'A'", "away library away!"]);
}

#[test]
fn elements_of_a_v2_resource_are_panels_in_every_version() {
    let panel = |query: Value| {
        let data = json!({"kind": "QueryGroup", "spec": {
            "queries": [{"kind": "PanelQuery", "spec": query}],
            "queryOptions": {"interval": "1m", "maxDataPoints": 100},
        }});
        json!({"kind": "Panel", "spec": {"id": 1, "title": "New", "data": data}})
    };
    let sql = json!({"rawSql": "SELECT 1"});
    let v2beta1 = json!({"refId": "A", "hidden": true, "query": {
        "kind": "DataQuery", "group": OFFICIAL, "version": "v0", "datasource": {"name": "u"}, "spec": sql,
    }});
    let v2alpha1 = json!({
        "refId": "A", "hidden": false, "datasource": {"type": OFFICIAL, "uid": "u"}, "query": {"kind": OFFICIAL, "spec": sql},
    });
    let library =
        json!({"kind": "LibraryPanel", "spec": {"id": 3, "title": "Far", "libraryPanel": {"name": "n", "uid": "l"}}});
    let board = json!({"apiVersion": "dashboard.grafana.app/v2beta1", "kind": "Dashboard", "metadata": {"name": "x"}, "spec": {
        "title": "Board",
        "elements": {"panel-1": panel(v2beta1), "panel-2": panel(v2alpha1), "panel-3": library},
        "timeSettings": {"from": "now-1h", "to": "now"},
        "variables": [{"kind": "QueryVariable", "spec": {"name": "v", "current": {"value": "x"}}}],
    }});
    let expected = [
        "New/A grafana-bigquery-datasource u SELECT 1 hidden",
        "New/A grafana-bigquery-datasource u SELECT 1",
        "Far library n",
    ];
    assert_eq!(lines(&board), expected);
    let board = read(&board.to_string()).unwrap();
    assert_eq!((board.title(), board.range()), ("Board", Some(("now-1h", "now"))));
    assert_eq!(board.variables().replace("$v").unwrap(), "x");
    let Item::Target(target) = &board.items()[0] else { panic!("a target") };
    assert_eq!((target.option("interval"), target.option("timeFrom")), (Some("1m"), None));
}

#[test]
fn what_is_no_board_is_refused() {
    for (text, part) in [
        ("{", "not JSON"),
        ("{}", "neither panels"),
        ("[]", "neither panels"),
        ("{\"panels\": 1}", "neither"),
        ("a: b: c", "not YAML"),
        ("apiVersion: 1", "neither"),
    ] {
        let error = read(text).unwrap_err();
        assert!(error.message().contains(part), "{text}: {error}");
    }
}

#[test]
fn our_own_board_is_read() {
    let board = read(include_str!("../../dashboards/experiment-enrollment.json")).unwrap();
    assert_eq!((board.title(), board.range()), ("Experiment enrollment", Some(("now-28d", "now"))));
    let items = board.items();
    assert!(items.len() >= 10, "{}", items.len());
    for item in &items {
        let Item::Target(target) = item else { panic!("{item:?}") };
        assert_eq!(target.data_source.is_bigquery(), Some(true), "{target:?}");
    }
}

#[test]
fn yaml_and_numbers_beyond_doubles_are_read() {
    let yaml = "kind: Dashboard\nspec:\n  title: T\n  elements:\n    p:\n      kind: Panel\n      spec:\n        title: P\n        \
        data: {kind: QueryGroup, spec: {queries: [{kind: PanelQuery, spec: {refId: A, query: &q {kind: DataQuery, \
        group: grafana-bigquery-datasource, spec: {rawSql: SELECT 1}}}}, {kind: PanelQuery, spec: {refId: B, query: *q}}]}}\n";
    let expected = ["P/A grafana-bigquery-datasource - SELECT 1", "P/B grafana-bigquery-datasource - SELECT 1"];
    assert_eq!(lines_of(&read(yaml).unwrap()), expected);
    let json = "{\"panels\": [{\"title\": \"P\", \"max\": 1E400, \"targets\": [{\"refId\": \"A\", \"x\": -1E400}]}]}";
    assert_eq!(lines_of(&read(json).unwrap()), ["P/A - - -"]);
}

#[test]
fn a_file_may_hold_several_boards_library_panels_and_rules() {
    let panel = json!({"title": "P", "targets": [target("A")]});
    let boards = |value: Value| {
        let boards = Board::read(Path::new("b.json"), value.to_string()).unwrap();
        boards.iter().map(|board| format!("{}: {}", board.title(), lines_of(board).join(", "))).collect::<Vec<_>>()
    };
    let board = json!({"title": "T", "panels": [panel]});
    assert_eq!(boards(json!([board, {"dashboard": board}])), ["T: P/A - - SELECT 'A'"; 2]);
    assert_eq!(boards(json!({"items": [{"spec": board}]})), ["T: P/A - - SELECT 'A'"]);
    for library in [json!({"result": {"name": "L", "model": panel}}), json!({"name": "L", "model": panel})] {
        assert_eq!(boards(library), ["L: P/A - - SELECT 'A'"]);
    }
    let rules = "groups:\n- name: G\n  rules:\n  - title: R\n    data:\n    - refId: A\n      datasourceUid: u\n      \
        relativeTimeRange: {from: 600, to: 60}\n      model: {rawSql: $$__timeFrom()}\n    - {refId: B, datasourceUid: __expr__, model: {}}\n";
    let board = read(rules).unwrap();
    assert_eq!(
        (board.title(), lines_of(&board)),
        ("G", vec!["R/A - u $__timeFrom()".to_owned(), "R/B __expr__ __expr__ -".to_owned()])
    );
    let Item::Target(target) = &board.items()[0] else { panic!("a target") };
    assert_eq!(target.seconds_ago, Some((600, 60)));
}
