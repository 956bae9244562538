//! Properties over random boards and over random texts. `PROPTEST_CASES` says how many.

use std::path::Path;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Map, Value, json};

use super::super::known::Known;
use super::migrated;
use crate::document::{Document, Format, Node};

const IDS: [&str; 5] =
    ["grafana-bigquery-datasource", "doitintl-bigquery-datasource", "weir-bigquery-datasource", "prometheus", ""];
const NAMES: [&str; 10] = ["BQ", "u-1", "${ds}", "$ds", "[[ds]]", "-- Mixed --", "__expr__", "default", "", "${DS_IN}"];
const SQL: [&str; 8] = [
    "SELECT $__timeGroup(t, 1m), v FROM `p.d.t` WHERE $__timeFilter(t)",
    "SELECT [1, 2], '$__interval' -- $__timeTo()",
    "SELECT 1; SELECT 2",
    "",
    "$__timeGroup(((",
    "é '\\",
    "SELECT ARRAY_AGG(x)[OFFSET(0)] $__timeShifting(1m)",
    "AND  _TABLE_SUFFIX BETWEEN '20200101'",
];
const KEYS: [&str; 44] = [
    "panels",
    "rows",
    "templating",
    "list",
    "annotations",
    "__inputs",
    "__requires",
    "__elements",
    "targets",
    "datasource",
    "type",
    "uid",
    "name",
    "query",
    "rawSql",
    "rawQuery",
    "format",
    "timeColumn",
    "metricColumn",
    "spec",
    "elements",
    "kind",
    "group",
    "data",
    "model",
    "datasourceUid",
    "groups",
    "rules",
    "datasources",
    "jsonData",
    "access",
    "current",
    "value",
    "text",
    "pluginId",
    "id",
    "version",
    "dashboard",
    "libraryPanel",
    "alert",
    "target",
    "apiVersion",
    "origin",
    "legacyOptions",
];
const KINDS: [&str; 7] =
    ["Panel", "PanelQuery", "AnnotationQuery", "QueryVariable", "DatasourceVariable", "AdhocVariable", "DataQuery"];

fn text(of: &'static [&'static str]) -> BoxedStrategy<Value> {
    select(of).prop_map(Value::from).boxed()
}

fn object(pairs: Vec<(&str, Value)>) -> Value {
    Value::Object(pairs.into_iter().map(|(key, value)| (key.to_owned(), value)).collect::<Map<_, _>>())
}

fn reference() -> BoxedStrategy<Value> {
    let typed = (text(&IDS), text(&NAMES)).prop_map(|(id, uid)| json!({"type": id, "uid": uid}));
    prop_oneof![Just(Value::Null), text(&NAMES), typed, text(&NAMES).prop_map(|uid| json!({"uid": uid}))].boxed()
}

/// A value that no migration knows; its number has a spelling of its own.
fn unknown() -> BoxedStrategy<Value> {
    prop_oneof![
        any::<i64>().prop_map(Value::from),
        "[a-z\"\\\\é\n]{0,6}".prop_map(Value::from),
        Just(json!([null, {"k": 1.5}]))
    ]
    .boxed()
}

fn target() -> BoxedStrategy<Value> {
    let doitintl = prop::option::of(select(&["ts", "-- time --"][..]));
    (reference(), text(&SQL), doitintl, unknown())
        .prop_map(|(reference, sql, column, unknown)| {
            let mut target =
                json!({"xBefore": unknown, "datasource": reference, "rawSql": sql, "refId": "A", "xAfter": 1});
            if let Some(column) = column {
                target["timeColumn"] = json!(column);
                target["timeColumnType"] = json!("DATE");
            }
            target
        })
        .boxed()
}

fn panel() -> BoxedStrategy<Value> {
    (reference(), vec(target(), 0..3), unknown(), any::<bool>())
        .prop_map(|(reference, targets, unknown, named)| {
            let mut pairs = vec![("id", json!(1)), ("xBefore", unknown), ("targets", json!(targets))];
            if named {
                pairs.insert(1, ("datasource", reference));
            }
            object(pairs)
        })
        .boxed()
}

fn variable() -> BoxedStrategy<Value> {
    let query = prop_oneof![text(&SQL), text(&SQL).prop_map(|sql| json!({"rawSql": sql, "x": 1}))];
    prop_oneof![
        (text(&IDS), text(&NAMES)).prop_map(|(id, chosen)| {
            json!({"name": "ds", "type": "datasource", "query": id, "current": {"text": chosen, "value": chosen}})
        }),
        (reference(), query).prop_map(|(reference, query)| {
            json!({"name": "v", "type": "query", "datasource": reference, "query": query, "x": 1})
        }),
    ]
    .boxed()
}

fn annotation() -> BoxedStrategy<Value> {
    let held = prop::option::of(prop_oneof![
        Just(json!({})),
        Just(json!({"limit": 1})),
        text(&SQL).prop_map(|sql| json!({"rawSql": sql}))
    ]);
    (reference(), text(&SQL), held)
        .prop_map(|(reference, sql, held)| {
            let mut annotation = json!({"datasource": reference, "name": "a", "rawQuery": sql, "x": 1});
            if let Some(held) = held {
                annotation["target"] = held;
            }
            annotation
        })
        .boxed()
}

fn classic() -> BoxedStrategy<Value> {
    (vec(panel(), 0..4), vec(variable(), 0..3), vec(annotation(), 0..2), text(&IDS), select(&[14, 27, 39][..]))
        .prop_map(|(panels, variables, annotations, id, version)| {
            json!({
                "__inputs": [{"name": "DS_IN", "type": "datasource", "pluginId": id, "pluginName": "x"}],
                "__requires": [{"type": "datasource", "id": id, "name": "x", "version": "1.0.8"}],
                "annotations": {"list": annotations},
                "panels": [{"type": "row", "panels": panels}],
                "rows": [{"panels": panels}],
                "schemaVersion": version,
                "templating": {"list": variables},
            })
        })
        .boxed()
}

fn resource() -> BoxedStrategy<Value> {
    let query = (text(&IDS), text(&NAMES), text(&SQL), any::<bool>(), reference()).prop_map(|(id, name, sql, early, reference)| {
        if early {
            json!({"datasource": reference, "query": {"kind": id, "spec": {"rawSql": sql, "x": 1}}, "refId": "A"})
        } else {
            json!({"query": {"kind": "DataQuery", "group": id, "datasource": {"name": name}, "spec": {"rawSql": sql}}})
        }
    });
    vec((select(&["PanelQuery", "QueryVariable", "AnnotationQuery"][..]), query), 0..4).prop_map(|parts| {
        let parts: Vec<_> = parts.into_iter().map(|(kind, spec)| json!({"kind": kind, "spec": spec})).collect();
        json!({"apiVersion": "dashboard.grafana.app/v2", "kind": "Dashboard", "spec": {"elements": {"a": {"kind": "Panel", "spec": {"data": parts}}}, "variables": parts}})
    }).boxed()
}

fn board() -> BoxedStrategy<Value> {
    prop_oneof![classic(), resource()].boxed()
}

/// JSON of any shape, in the words of boards.
fn anything() -> BoxedStrategy<Value> {
    let leaf = prop_oneof![
        text(&IDS),
        text(&NAMES),
        text(&SQL),
        text(&KINDS),
        unknown(),
        Just(Value::Null),
        Just(json!(true))
    ];
    leaf.prop_recursive(6, 96, 8, |inner| {
        let map = vec((select(&KEYS[..]), inner.clone()), 0..8).prop_map(object);
        prop_oneof![vec(inner, 0..6).prop_map(Value::from), map]
    })
    .boxed()
}

fn options() -> BoxedStrategy<(Vec<&'static str>, Option<&'static str>)> {
    (vec(select(&["BQ", "u-1", "default"][..]), 0..3), prop::option::of(Just("weir-1"))).boxed()
}

/// Every key of `before` is in `after`, in its order, with its value, but for strings (which name
/// plugins and data sources) and for queries that were bare SQL.
fn kept(before: &Value, after: &Value) -> bool {
    match (before, after) {
        (Value::Object(old), Value::Object(new)) => {
            let order: Vec<_> = new.keys().filter(|key| old.contains_key(*key)).collect();
            old.keys().eq(order)
                && old.iter().all(|(key, value)| kept(value, &new[key]) || key == "query" && value.is_string())
        }
        (Value::Array(old), Value::Array(new)) => {
            old.len() == new.len() && old.iter().zip(new).all(|(old, new)| kept(old, new))
        }
        (Value::String(old), Value::String(_)) => {
            IDS.contains(&old.as_str())
                || NAMES.contains(&old.as_str())
                || before == after
                || old == "x"
                || old == "1.0.8"
        }
        (Value::Null, _) => after.is_null() || after.get("type").is_some() || after == "weir-1",
        _ => before == after,
    }
}

fn try_any(name: &str, text: &str) {
    let Ok(document) = Document::read(Path::new(name), text.to_owned()) else { return };
    let mut known = Known::from_options(&["BQ".to_owned(), "default".to_owned()], Some("weir-1"));
    document.trees.iter().for_each(|tree| known.learn(tree));
    let (after, _) = super::super::migrate(&document, &known, Some("weir-1")).unwrap();
    Document::parse(document.format, &after).unwrap();
}

/// Spans of JSON lie in their parent's, in order, and hold what they should.
fn spans_hold(text: &str, node: &Node) -> bool {
    let inside = |child: &Node| node.span.start < child.span.start && child.span.end < node.span.end;
    let children: Vec<&Node> =
        node.list().iter().chain(node.entries().iter().flat_map(|(key, value)| [key, value])).collect();
    let whole: Value = serde_json::from_str(&text[node.span.clone()]).unwrap();
    (node.text().is_none() || whole.as_str() == node.text())
        && children.windows(2).all(|pair| pair[0].span.end <= pair[1].span.start)
        && children.iter().all(|child| inside(child) && spans_hold(text, child))
}

proptest! {
    #[test]
    fn migrating_twice_is_migrating_once(board in board(), (datasources, uid) in options(), pretty in any::<bool>()) {
        let text = if pretty { serde_json::to_string_pretty(&board).unwrap() } else { board.to_string() };
        let (once, _) = migrated("b.json", &text, &datasources, uid);
        let (twice, report) = migrated("b.json", &once, &datasources, uid);
        prop_assert_eq!(&once, &twice);
        prop_assert!(report.items.iter().all(|item| item.changes.is_empty()));
    }

    #[test]
    fn no_key_and_no_value_is_lost(board in board(), (datasources, uid) in options()) {
        let (text, _) = migrated("b.json", &board.to_string(), &datasources, uid);
        let after: Value = serde_json::from_str(&text).unwrap();
        prop_assert!(kept(&board, &after), "{board}\n{after}");
    }

    #[test]
    fn a_board_in_yaml_changes_like_the_same_in_json(board in resource(), uid in prop::option::of(Just("weir-1"))) {
        let (json, _) = migrated("b.json", &board.to_string(), &[], uid);
        let (yaml, _) = migrated("b.yaml", &board.to_string(), &[], uid);
        // Only JSON is added to.
        let strip = |text: &str| text.replace(",\"metricColumn\": \"none\"", "");
        prop_assert_eq!(strip(&json), yaml);
    }

    #[test]
    fn no_json_makes_it_panic(value in anything()) {
        try_any("a.json", &value.to_string());
        try_any("a.json", &serde_json::to_string_pretty(&value).unwrap());
        try_any("a.yaml", &value.to_string());
    }

    #[test]
    fn no_text_makes_it_panic(text in "[\\[\\]{}:,\"'&*|>#\\-? \n\tatype$é\\\\0-9]{0,60}") {
        for name in ["a.json", "a.yaml", "a"] {
            try_any(name, &text);
        }
    }

    #[test]
    fn every_span_of_json_is_its_value(value in anything()) {
        let text = serde_json::to_string_pretty(&value).unwrap();
        let trees = Document::parse(Format::Json, &text).unwrap();
        prop_assert!(spans_hold(&text, &trees[0]));
    }
}
