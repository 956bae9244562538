use super::*;
use serde_json::json;

fn decode(json: &Value) -> Result<Panel> {
    let envelope = Envelope::new(Some((1_704_067_200_000, 1_704_153_600_000)), 60_000).unwrap();
    Panel::decode(json.to_string().as_bytes(), envelope, &Headers::default())
}

#[test]
fn the_shape_that_the_official_front_end_sends() {
    let panel = decode(&json!({
        "refId": "A", "rawSql": "SELECT 1", "format": 1, "intervalMs": 1000, "maxDataPoints": 900,
        "connectionArgs": {"dataset": "d", "table": "t", "location": "EU", "enableStorageAPI": true},
        "datasource": {"type": "grafana-bigquery-datasource", "uid": "u"}, "datasourceId": 3,
        "queryCachingTTL": 90_000,
    }))
    .unwrap();
    assert_eq!(panel.query.sql, "SELECT 1");
    assert_eq!(panel.query.default_dataset.as_deref(), Some("d"));
    assert_eq!(panel.query.location.as_deref(), Some("EU"));
    assert_eq!(panel.query.cache.fresh_for, Some(Duration::from_secs(90)));
    assert_eq!(panel.query.step.unwrap().to_string(), "1m", "the envelope's interval");
    assert_eq!(panel.query.range.unwrap().to_string(), "[2024-01-01T00:00:00Z, 2024-01-02T00:00:00Z)");
    let expected = Shape { format: Format::Table, fill: Fill::Null, metric_names_series: false };
    assert_eq!(panel.shape, expected);
}

#[test]
fn the_shape_that_the_official_plugin_saves() {
    let panel = decode(&json!({
        "rawSql": "SELECT 1", "location": "US", "project": "p", "dataset": "d", "table": "t",
        "editorMode": "builder", "rawQuery": true, "sql": {"columns": [], "groupBy": []},
    }))
    .unwrap();
    assert_eq!(panel.query.default_dataset.as_deref(), Some("p.d"));
    assert_eq!(panel.query.location.as_deref(), Some("US"));
    assert_eq!(panel.shape.format, Format::TimeSeries);
}

#[test]
fn the_shape_that_doitintls_plugin_saves() {
    let panel = decode(&json!({
        "format": "time_series", "rawQuery": false, "rawSql": "#standardSQL\nSELECT 1", "project": "p",
        "dataset": "d", "table": "t", "timeColumn": "-- time --", "timeColumnType": "TIMESTAMP",
        "metricColumn": "none", "select": [[{"type": "column"}]], "where": [], "group": [],
        "orderByCol": "1", "orderBySort": "1", "sharded": false, "convertToUTC": false, "location": "",
    }))
    .unwrap();
    assert_eq!(panel.query.sql, "#standardSQL\nSELECT 1");
    assert_eq!(panel.query.location, None);
    assert!(panel.shape.metric_names_series);
}

#[test]
fn our_own_shape() {
    let panel = decode(&json!({
        "rawSql": "SELECT @x", "format": "table", "cache": {"mode": "whole", "maxStalenessMs": 1000},
        "params": {"x": {"type": "INT64", "value": 3}}, "step": "5m", "builder": {"dataset": "d"},
    }))
    .unwrap();
    assert_eq!(panel.query.cache.mode, CacheMode::Whole);
    assert_eq!(panel.query.cache.max_stale, Some(Duration::from_secs(1)));
    assert_eq!(panel.query.parameters["x"], Parameter { type_name: "INT64".into(), value: json!(3) });
    assert_eq!(panel.query.step.unwrap().to_string(), "5m");
}

#[test]
fn formats_are_read_leniently_and_refused_by_name() {
    let check = |value: Value, expected: Format| {
        let shape = decode(&json!({"rawSql": "SELECT 1", "format": value})).unwrap().shape;
        assert_eq!(shape.format, expected, "{value}");
    };
    for series in [json!(null), json!(""), json!(0), json!("0"), json!("timeseries"), json!("Time_Series")] {
        check(series, Format::TimeSeries);
    }
    for (value, format) in [
        (json!(1), Format::Table),
        (json!("TABLE"), Format::Table),
        (json!("2"), Format::Logs),
        (json!("traces"), Format::Traces),
        (json!(4), Format::TimeSeries),
        (json!("multi"), Format::TimeSeries),
    ] {
        check(value, format);
    }
    for bad in [json!(5), json!("chart"), json!(1.5), json!({})] {
        let error = decode(&json!({"rawSql": "SELECT 1", "format": bad})).unwrap_err();
        assert!(error.message().starts_with(&format!("format {bad}")), "{error}");
    }
}

#[test]
fn fill_modes() {
    let check = |value: Value, expected: Fill| {
        let shape = decode(&json!({"rawSql": "SELECT 1", "fillMode": value})).unwrap().shape;
        assert_eq!(shape.fill, expected, "{value}");
    };
    check(json!(null), Fill::Null);
    check(json!(0), Fill::Previous);
    check(json!("null"), Fill::Null);
    check(json!({"Mode": 2, "Value": 1.5}), Fill::Value(1.5));
    check(json!({"mode": "previous"}), Fill::Previous);
    assert!(decode(&json!({"rawSql": "SELECT 1", "fillMode": 3})).is_err());
}

#[test]
fn what_cannot_be_read_is_an_error_that_names_the_key() {
    let check = |json: Value, expected: &str| {
        let error = decode(&json).unwrap_err();
        assert!(error.message().contains(expected), "{json}: {error}");
    };
    check(json!({"format": 0}), "rawSql is missing");
    check(json!({"rawSql": "  "}), "rawSql is missing");
    check(json!({"rawSql": 7}), "rawSql is a number");
    check(json!([]), "not a JSON object");
    check(json!({"rawSql": "SELECT 1", "connectionArgs": "EU"}), "connectionArgs is a text");
    check(json!({"rawSql": "SELECT 1", "cache": {"mode": "never"}}), "cache.mode: \"never\"");
    check(json!({"rawSql": "SELECT 1", "queryCachingTTL": "soon"}), "queryCachingTTL");
    check(json!({"rawSql": "SELECT 1", "params": {"x": 1}}), "params.x");
    check(json!({"rawSql": "SELECT 1", "step": "often"}), "step");
    assert!(Panel::decode(b"{", Envelope::default(), &Headers::default()).is_err());
}

#[test]
fn ranges_are_checked_and_may_be_absent() {
    assert!(Envelope::new(Some((1, 0)), 0).is_err());
    assert!(Envelope::new(Some((0, i64::MAX)), 0).is_err());
    assert!(Envelope::new(Some((i64::MIN, 0)), 0).is_err());
    let panel = Panel::decode(br#"{"rawSql": "SELECT 1"}"#, Envelope::default(), &Headers::default()).unwrap();
    assert_eq!((panel.query.range, panel.query.step), (None, None));
    let panel = Panel::decode(
        br#"{"rawSql": "SELECT 1", "intervalMs": 30000}"#,
        Envelope::new(None, -5).unwrap(),
        &Headers::default(),
    );
    assert_eq!(panel.unwrap().query.step.unwrap().to_string(), "30s");
}
