//! Queries, and what is said of them.

use serde_json::json;

use super::super::known::Plugin;
use super::super::target::{Asker, Target, judge};
use crate::document::{Document, Format};

/// The codes of what differs, then of what needs a person.
fn codes(query: &serde_json::Value, plugin: Plugin, version: Option<&str>) -> String {
    let trees = Document::parse(Format::Json, &query.to_string()).unwrap();
    let target = Target { query: &trees[0], sql: None, plugin, asker: Asker::Panel, escaped: false, version };
    let judgement = judge(&target);
    let codes = |found: &[crate::migrate::Finding]| found.iter().map(|found| found.code).collect::<Vec<_>>().join(" ");
    format!("{} | {}", codes(&judgement.differs), codes(&judgement.needs_person))
}

#[test]
fn differences_of_the_official_plugin_are_named() {
    let check = |sql: &str, expected: &str| {
        let query = json!({"rawSql": sql, "format": 0});
        assert_eq!(codes(&query, Plugin::Official, None), expected, "{sql}");
    };
    let grouped = |filter: &str| format!("SELECT $__timeGroup(t, 1m) AS time, SUM(v) FROM x WHERE {filter} GROUP BY 1");
    check(&grouped("TRUE"), " | ");
    check(&grouped("$__timeFilter(t)"), "half-open-range | ");
    check(&grouped("t BETWEEN $__timeFrom() AND $__timeTo()"), "half-open-range | ");
    check(&grouped("a = '$__timeFilter(t)'"), " | macro-in-string");
    check(&grouped("a = '$__from'"), " | ");
    check(&grouped("TRUE /* $__timeFilter(t) */"), "macro-in-comment | ");
    check(&grouped("$__dateFilter(t)"), " | unknown-macro");
    check("SELECT time, v FROM x", "duplicate-time | ");
    check("SELECT DISTINCT time, v FROM x", " | ");
    check("SELECT DISTINCT time, [v] FROM x", "array-as-json | ");
    check("SELECT time, ARRAY_AGG(v) FROM x GROUP BY 1", "array-as-json | ");
    check("DECLARE a INT64; SELECT DISTINCT a", " | not-a-query");
    check("DELETE FROM x WHERE DISTINCT", " | not-a-query");
    check("$query DISTINCT", " | ");
    check("-- nothing", " | not-a-query");
    check("", " | ");
}

#[test]
fn differences_of_doitintls_plugin_are_named() {
    let check = |query: serde_json::Value, version: Option<&str>, expected: &str| {
        assert_eq!(codes(&query, Plugin::Doitintl, version), expected, "{query}");
    };
    let of = |sql: &str| json!({"rawSql": sql, "format": "time_series", "timeColumn": "ts", "metricColumn": "none"});
    let group = |interval: &str| of(&format!("SELECT $__timeGroup(ts,{interval}), 1 FROM x GROUP BY 1 LIMIT 9"));
    check(group("1h"), None, " | ");
    check(group("1min"), None, " | ");
    check(group("'1m'"), None, " | month-or-minute");
    check(group("1m,5m"), Some("1.0.5"), " | month-or-minute");
    check(group("1m"), Some("2.0.1"), " | ");
    check(group("1M"), None, " | ");
    check(group("auto"), Some("2.0.1"), " | ");
    check(of("SELECT ts, 1 FROM x GROUP BY 1"), None, "no-limit | ");
    check(of("SELECT ts, 1 $__timeShifting(1m) FROM x GROUP BY 1 LIMIT 1"), None, " | month-or-minute");
    check(of("SELECT 1 FROM x WHERE $__timeFilter(`ts`) GROUP BY 1 LIMIT 1"), None, "half-open-range | ");
    check(of("SELECT 1 FROM x WHERE $__timeFilter(other) GROUP BY 1 LIMIT 1"), None, "half-open-range time-column | ");
    check(of("SELECT 1 FROM x WHERE $__timeFilter(x.ts) GROUP BY 1 $__limitPosition"), None, "half-open-range | ");
    check(of("SELECT `-- time --` FROM x GROUP BY 1 LIMIT 1"), None, " | unfinished");
    let dated = "SELECT 1 FROM x WHERE TRUE AND  _TABLE_SUFFIX BETWEEN '20200101' AND '20200102' GROUP BY 1 LIMIT 1";
    check(of(dated), None, " | frozen-dates");
    check(json!({"rawSql": dated, "rawQuery": false, "metricColumn": "none"}), None, " | ");
    check(json!({"rawQuery": false, "metricColumn": "none"}), None, " | no-sql");
    check(json!({"rawSql": "SELECT 1 LIMIT 1", "format": "table", "convertToUTC": true}), None, " | convert-to-utc");
    check(json!({"rawSql": "SELECT 1 LIMIT 1", "format": "tabel"}), None, " | unknown-format");
}

#[test]
fn keys_of_doitintl_in_a_target_of_the_official_plugin_are_a_persons() {
    let query = |sql: &str| json!({"rawSql": sql, "format": 1, "orderByCol": "1"});
    let expected = "half-open-range | keys-of-doitintl";
    assert_eq!(codes(&query("SELECT 1 FROM x WHERE $__timeFilter(t)"), Plugin::Official, None), expected);
    assert_eq!(codes(&query("SELECT 1 FROM x"), Plugin::Official, None), " | ");
}

#[test]
fn convert_to_utc_alone_tells_nobody_whose_a_query_is() {
    let check = |query: serde_json::Value, plugin: Plugin, expected: &str| {
        assert_eq!(codes(&query, plugin, Some("2.0.3")), expected, "{query}");
    };
    let sql = "SELECT $__timeGroup(ts, 1m), 1 FROM x GROUP BY 1 LIMIT 9";
    let of = |set: serde_json::Value| json!({"rawSql": sql, "format": "time_series", "convertToUTC": set});
    check(of(json!(true)), Plugin::Doitintl, " | convert-to-utc");
    check(of(json!("True")), Plugin::Doitintl, " | convert-to-utc");
    check(of(json!(false)), Plugin::Doitintl, " | ");
    check(of(json!(false)), Plugin::Either, " | whose-query");
    check(of(json!(true)), Plugin::Either, " | convert-to-utc whose-query");
    check(of(json!(true)), Plugin::Official, " | convert-to-utc");
    let mut known = of(json!(false));
    known["metricColumn"] = json!("none");
    check(known, Plugin::Either, " | ");
}

#[test]
fn the_shape_tells_whose_a_query_is_where_only_the_command_line_knows() {
    let sql = "SELECT $__timeGroup(ts, 1m), 1 FROM x GROUP BY 1 LIMIT 9";
    let official = json!({"rawSql": sql, "format": 0});
    assert_eq!(codes(&official, Plugin::Either, None), " | ");
    let doitintl = json!({"rawSql": sql, "format": "time_series", "timeColumnType": "TIMESTAMP"});
    assert_eq!(codes(&doitintl, Plugin::Either, None), " | month-or-minute");
}
