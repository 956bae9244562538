use super::*;
use proptest::prelude::*;
use serde_json::json;

fn decode(json: &Value) -> Result<Panel> {
    let envelope = Envelope::new(Some((1_704_067_200_000, 1_704_153_600_000)), 60_000, 900).unwrap();
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
    assert_eq!(panel.shape, Shape::of(Format::Table));
    assert_eq!(panel.query.target.table.as_deref(), Some("d.t"));
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
    assert_eq!(panel.shape, Shape::of(Format::TimeSeries));
    assert_eq!(panel.query.target.table.as_deref(), Some("p.d.t"));
    assert_eq!(panel.query.target.dialect, Dialect::Official);
}

#[test]
fn an_alert_rules_query_without_connection_args_is_answered() {
    let panel = decode(&json!({
        "refId": "A", "rawSql": "SELECT $__timeGroup(t,$__interval) AS time, 1 FROM d.t", "format": 0,
        "project": "p", "dataset": "d", "location": "EU", "intervalMs": 1000, "maxDataPoints": 43200, "hide": false,
        "instant": false, "datasource": {"type": "weir-bigquery-datasource", "uid": "u"},
    }))
    .unwrap();
    assert_eq!(panel.query.default_dataset.as_deref(), Some("p.d"));
    assert_eq!(panel.query.location.as_deref(), Some("EU"));
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
    let target = panel.query.target;
    assert_eq!((target.dialect, target.time_column, target.max_data_points), (Dialect::Doitintl, None, Some(900)));
}

#[test]
fn a_doitintl_target_of_an_old_board_may_lack_raw_query() {
    let panel = decode(&json!({
        "datasource": "BigQuery", "refId": "A", "format": "table", "rawSql": "SELECT $__timeGroup(x,1h,5m) FROM t",
        "project": "p", "dataset": "d", "table": "t", "timeColumn": "day", "timeColumnType": "DATE",
        "metricColumn": "none", "maxDataPoints": 100,
    }))
    .unwrap();
    let target = panel.query.target;
    assert_eq!((target.time_column.as_deref(), target.partition_column.as_deref()), (Some("day"), None));
    assert_eq!(target.type_of("day"), weir_plan::TimeType::Date);
    assert_eq!(panel.shape.format, Format::Table);
}

#[test]
fn a_shifted_target_is_asked_for_an_earlier_range_as_well() {
    let asked = |format: &str, source: &str| {
        let panel = decode(&json!({
            "rawSql": "SELECT v $__timeShifting(1d), w $__timeShifting(1M) FROM t", "format": format,
            "datasource": {"type": source},
        }));
        let panels = panel.unwrap().with_shifts().unwrap();
        panels.into_iter().map(|panel| (panel.query.range.unwrap().to_string(), panel.shape.shift)).collect::<Vec<_>>()
    };
    let day = 86_400_000_000;
    let shift = |days: i64, interval: &str| Some(Shift { micros: days * day, interval: interval.to_owned() });
    let expected = [
        ("[2024-01-01T00:00:00Z, 2024-01-02T00:00:00Z)".to_owned(), None),
        ("[2023-12-31T00:00:00Z, 2024-01-01T00:00:00Z)".to_owned(), shift(1, "1d")),
        ("[2023-12-01T00:00:00Z, 2023-12-02T00:00:00Z)".to_owned(), shift(31, "1M")),
    ];
    assert_eq!(asked("time_series", "doitintl-bigquery-datasource"), expected);
    assert_eq!(asked("table", "doitintl-bigquery-datasource").len(), 1);
    assert_eq!(asked("time_series", "grafana-bigquery-datasource").len(), 1);
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
        (json!(4), Format::Multi),
        (json!("Multi"), Format::Multi),
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
    check(json!({"rawSql": "SELECT 1", "arrays": "pipes"}), "arrays \"pipes\" is neither json nor comma");
    check(json!({"rawSql": "SELECT 1", "timeColumn": "t", "timeColumnType": "INT64"}), "timeColumnType \"INT64\"");
    check(json!({"rawSql": "$__timeFilter(-- time --)", "timeColumn": "-- time --"}), "choose timeColumn");
    assert!(Panel::decode(b"{", Envelope::default(), &Headers::default()).is_err());
}

#[test]
fn ranges_are_checked_and_may_be_absent() {
    assert!(Envelope::new(Some((1, 0)), 0, 0).is_err());
    assert!(Envelope::new(Some((0, i64::MAX)), 0, 0).is_err());
    assert!(Envelope::new(Some((i64::MIN, 0)), 0, 0).is_err());
    let panel = Panel::decode(br#"{"rawSql": "SELECT 1"}"#, Envelope::default(), &Headers::default()).unwrap();
    assert_eq!((panel.query.range, panel.query.step), (None, None));
    let panel = Panel::decode(
        br#"{"rawSql": "SELECT 1", "intervalMs": 30000}"#,
        Envelope::new(None, -5, -1).unwrap(),
        &Headers::default(),
    );
    assert_eq!(panel.unwrap().query.step.unwrap().to_string(), "30s");
}

proptest! {
    #[test]
    fn decoding_never_panics(keys in prop::collection::btree_map(prop::sample::select(KEYS), value(), 0..8)) {
        let object: Map<String, Value> = keys.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
        if let Ok(panel) = decode(&Value::Object(object)) {
            let _ = panel.with_shifts();
        }
    }

    #[test]
    fn decoding_bytes_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..64), from: i64, to: i64, ms: i64) {
        let envelope = Envelope::new(Some((from, to)), ms, ms).unwrap_or_default();
        let _ = Panel::decode(&bytes, envelope, &Headers::default());
    }
}

/// JSON of the kinds that stand in queries.
fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        prop::sample::select(TEXTS).prop_map(Value::from),
        ".{0,12}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(prop::sample::select(KEYS), inner, 0..4)
                .prop_map(|object| object.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()),
        ]
    })
}

const KEYS: &[&str] = &[
    "rawSql",
    "sql",
    "format",
    "fillMode",
    "connectionArgs",
    "dataset",
    "table",
    "location",
    "project",
    "cache",
    "mode",
    "maxStalenessMs",
    "params",
    "type",
    "value",
    "step",
    "intervalMs",
    "maxDataPoints",
    "queryCachingTTL",
    "timeColumn",
    "timeColumnType",
    "metricColumn",
    "rawQuery",
    "partitionedField",
    "datasource",
    "arrays",
    "Mode",
    "Value",
];

const TEXTS: &[&str] = &[
    "SELECT v $__timeShifting(1d)",
    "SELECT $__timeFilter(t)",
    "-- time --",
    "DATE",
    "doitintl-bigquery-datasource",
    "time_series",
    "multi",
    "previous",
    "auto",
    "5m",
    "9999y",
    "é`",
];
