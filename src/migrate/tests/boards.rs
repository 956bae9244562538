//! Each fixture with the facts of its report.

use super::{FIXTURES, changed_lines, fixture, migrated};
use crate::migrate::known::WEIR;
use crate::migrate::report::{FileReport, Finding, Item};

/// `place: keys that changed | what differs | what needs a person`, in the order of the file.
fn facts(report: &FileReport) -> Vec<String> {
    let codes = |found: &[Finding]| found.iter().map(|found| found.code).collect::<Vec<_>>().join(" ");
    let line = |item: &Item| {
        let (differs, needs) = (codes(&item.differs), codes(&item.needs_person));
        format!("{}: {} | {differs} | {needs}", item.place, item.changes.join(" "))
    };
    report.items.iter().map(line).collect()
}

fn check(name: &str, datasources: &[&str], uid: Option<&str>, expected: &[&str]) {
    let (text, report) = migrated(name, fixture(name), datasources, uid);
    assert_eq!(facts(&report), expected, "{name}");
    let (again, report) = migrated(name, &text, datasources, uid);
    assert_eq!(again, text, "{name}, a second time");
    assert!(report.items.iter().all(|item| item.changes.is_empty()), "{name}, a second time: {:?}", report.items);
}

#[test]
fn an_exported_board_of_the_official_plugin_keeps_its_inputs() {
    check(
        "arrays-export.json",
        &[],
        None,
        &[
            "input DS_WAREHOUSE: pluginId pluginName |  | ",
            "required plugin: id name version |  | ",
            "panel 2 \"Literal arrays\", A: datasource.type | array-as-json | ",
            "panel 3 \"Two statements\", A: datasource.type |  | not-a-query",
            "panel 4 \"Gathered arrays\", A: datasource.type | half-open-range array-as-json | ",
            "panel 5 \"Flattened\", A: datasource.type |  | ",
        ],
    );
}

#[test]
fn an_exported_board_of_doitintls_plugin_tells_what_its_version_meant() {
    check(
        "doitintl-export.json",
        &[],
        None,
        &[
            "input DS_BQ: pluginId pluginName |  | ",
            "required plugin: id name version |  | ",
            "panel 1 \"By month\", A:  | half-open-range no-limit | month-or-minute",
            "panel 1 \"By month\", B: metricColumn | half-open-range | ",
            "panel 2 \"Sharded\", A:  | half-open-range no-limit | convert-to-utc",
            "panel 2 \"Sharded\", B:  |  | no-sql",
        ],
    );
    let expected = &[
        "panel 1 \"Visits by day\": datasource.type |  | ",
        "panel 1 \"Visits by day\", A:  | half-open-range no-limit | ",
    ];
    check("doitintl-sharded.json", &[], None, expected);
    let newer = fixture("doitintl-export.json").replace("1.0.8", "2.0.3");
    let (_, report) = migrated("newer.json", &newer, &[], None);
    assert_eq!(facts(&report)[2], "panel 1 \"By month\", A:  | half-open-range no-limit | ");
}

#[test]
fn names_of_grafana_7_are_a_persons_until_the_command_line_says_whose_they_are() {
    check(
        "grafana7-doitintl.json",
        &[],
        None,
        &[
            "annotation \"Launches\":  |  | unknown-data-source",
            "panel 2 \"Unenrollments\", A:  |  | unknown-data-source",
            "panel 2 \"Unenrollments\", B:  |  | unknown-data-source",
            "panel 3 \"Mixed\", A:  |  | unknown-data-source",
            "panel 3 \"Mixed\", D:  |  | unknown-data-source",
            "variable experiment:  |  | unknown-data-source",
        ],
    );
    check(
        "grafana7-doitintl.json",
        &["Telemetry BQ", "Other BQ"],
        Some("weir-1"),
        &[
            "annotation \"Launches\": datasource target |  | ",
            "panel 2 \"Unenrollments\": datasource |  | ",
            "panel 2 \"Unenrollments\", A:  | half-open-range no-limit | ",
            "panel 2 \"Unenrollments\", B:  | half-open-range time-column | month-or-minute",
            "panel 3 \"Mixed\", A: datasource |  | ",
            "panel 3 \"Mixed\", D: datasource |  | ",
            "variable experiment: datasource query |  | ",
        ],
    );
}

#[test]
fn names_stay_where_the_data_source_keeps_its_name() {
    let before = fixture("grafana7-doitintl.json");
    let (text, report) = migrated("g7.json", before, &["Telemetry BQ"], None);
    assert_eq!(text.matches("\"datasource\": \"Telemetry BQ\"").count(), 4);
    assert!(text.contains("\"iteration\": 1613412345678901234") && text.contains("\"params\": [100.50]"));
    assert_eq!(report.notes, ["line 133 speaks of doitintl-bigquery-datasource"]);
}

#[test]
fn sql_that_stood_alone_becomes_a_query() {
    let (text, _) = migrated("g7.json", fixture("grafana7-doitintl.json"), &["Telemetry BQ"], None);
    let board: serde_json::Value = serde_json::from_str(&text).unwrap();
    let variable = &board["templating"]["list"][0];
    assert!(variable["query"]["rawSql"].as_str().unwrap().starts_with("SELECT DISTINCT normandy_slug FROM `moz"));
    assert_eq!(variable["query"]["format"], 1);
    let annotation = &board["annotations"]["list"][1];
    assert_eq!(annotation["target"]["rawSql"], annotation["rawQuery"]);
}

#[test]
fn an_alert_of_a_panel_may_hold_no_variables() {
    let before = fixture("grafana7-doitintl.json").replace("\"params\": [\"A\", \"5m\"", "\"params\": [\"B\", \"5m\"");
    let (_, report) = migrated("g7.json", &before, &["Telemetry BQ"], None);
    let alerting = report.items.iter().find(|item| item.place.ends_with("\", B")).unwrap();
    assert_eq!(alerting.needs_person.last().unwrap().code, "variable-in-alert");
}

#[test]
fn references_that_are_objects_change_their_type_and_with_a_uid_their_uid() {
    check(
        "objects.json",
        &[],
        Some("weir-1"),
        &[
            "annotation \"Ends\": datasource.type |  | ",
            "annotation \"Starts\": datasource.type datasource.uid refId rawSql format rawQuery editorMode metricColumn |  | ",
            "panel 2 \"Enrollments\": datasource.type |  | ",
            "panel 2 \"Enrollments\", A: datasource.type | macro-in-comment half-open-range | ",
            "panel 2 \"Enrollments\", B: datasource.type | half-open-range duplicate-time | macro-in-string",
            "panel 3 \"Mixed\", A: datasource.type datasource.uid |  | ",
            "variable source: query current.text current.value |  | ",
            "variable experiment: datasource.type |  | ",
            "variable Filters: datasource.type |  | ",
        ],
    );
    let (text, report) = migrated("objects.json", fixture("objects.json"), &[], Some("weir-1"));
    for kept in
        ["9007199254740993123", "0.10000000000000000555", "1E400", "-0.0", "\"deep\": null", "\"uid\": \"${source}\""]
    {
        assert!(text.contains(kept), "{kept}");
    }
    assert_eq!(
        report.notes,
        ["panel 4 is the library panel \"Daily actives\", a document of its own: migrate that too"]
    );
}

#[test]
fn a_library_panel_is_a_panel() {
    check(
        "library-panel.json",
        &[],
        None,
        &[
            "library panel \"Daily actives\": datasource.type |  | ",
            "library panel \"Daily actives\", A: datasource.type | half-open-range | ",
        ],
    );
}

#[test]
fn resources_of_grafana_12_and_13_change_kinds_and_groups() {
    check(
        "v2alpha1.json",
        &[],
        Some("weir-1"),
        &[
            "annotation \"Ends\": query.kind datasource.type datasource.uid |  | ",
            "panel 1 \"Enrollments\", A: query.kind datasource.type datasource.uid | half-open-range | ",
            "variable source: pluginId current.text current.value |  | ",
            "variable experiment: query.kind datasource.type query.spec |  | ",
            "variable filters: datasource.type datasource.uid |  | ",
        ],
    );
    check(
        "v2.json",
        &[],
        Some("weir-1"),
        &[
            "annotation \"Starts\": group datasource.name query.spec |  | ",
            "panel 1 \"Enrollments\", A: group datasource.name | half-open-range | ",
            "panel 1 \"Enrollments\", B: group metricColumn | half-open-range no-limit | ",
            "variable branch: group |  | ",
            "variable source: pluginId current.text current.value |  | ",
            "variable experiment: group datasource.name |  | ",
            "origin: group |  | ",
            "variable filters: group datasource.name |  | ",
        ],
    );
}

#[test]
fn a_board_in_yaml_keeps_comments_anchors_and_blocks() {
    check(
        "v2beta1.yaml",
        &[],
        Some("weir-1"),
        &[
            "panel 1 \"Enrollments, total\", A: group datasource.name | half-open-range | ",
            "panel 1 \"Enrollments, total\", B: group datasource.name | half-open-range | ",
        ],
    );
    let before = fixture("v2beta1.yaml");
    let (after, _) = migrated("v2beta1.yaml", before, &[], Some("weir-1"));
    assert_eq!(
        changed_lines(before, &after),
        [
            ("group: grafana-bigquery-datasource", "group: weir-bigquery-datasource"),
            ("name: warehouse-1", "name: weir-1"),
        ]
    );
}

#[test]
fn only_the_type_of_a_provisioned_data_source_changes() {
    check(
        "datasources.yaml",
        &[],
        Some("weir-1"),
        &[
            "data source \"Telemetry BQ\": type | setting-ignored | ",
            "data source \"Warehouse\": type | setting-works setting-works | ",
        ],
    );
    let before = fixture("datasources.yaml");
    let (after, _) = migrated("datasources.yaml", before, &[], None);
    assert_eq!(
        changed_lines(before, &after),
        [
            ("type: doitintl-bigquery-datasource # retired", "type: weir-bigquery-datasource # retired"),
            ("type: \"grafana-bigquery-datasource\"", "type: \"weir-bigquery-datasource\""),
        ]
    );
}

#[test]
fn provisioned_alert_rules_change_their_models() {
    check(
        "alert-rules.yaml",
        &[],
        None,
        &[
            "alert rule \"Many unenrollments\", A: model.datasource.type | half-open-range | ",
            "alert rule \"With a variable\", A:  |  | unknown-data-source",
        ],
    );
    check(
        "alert-rules.yaml",
        &["old-doit"],
        Some("weir-1"),
        &[
            "alert rule \"Many unenrollments\", A: model.datasource.type model.datasource.uid datasourceUid | half-open-range | ",
            "alert rule \"With a variable\", A: datasourceUid |  | variable-in-alert",
        ],
    );
}

#[test]
fn nothing_but_the_reported_changes_is_in_any_file() {
    for (name, before) in FIXTURES {
        let (after, report) = migrated(name, before, &[], None);
        let added = ["datasource query", "query.spec", "target", "rawSql", "metricColumn"];
        if report.items.iter().flat_map(|item| &item.changes).any(|change| added.contains(&change.as_str())) {
            continue;
        }
        for (old, new) in changed_lines(before, &after) {
            let back = new.replace(WEIR, "grafana-bigquery-datasource");
            let same = back == old || new.replace(WEIR, "doitintl-bigquery-datasource") == old;
            assert!(same || new.contains("Weir BigQuery"), "{name}: {old} -> {new}");
        }
        assert_eq!(before.ends_with('\n'), after.ends_with('\n'), "{name}");
    }
}

#[test]
fn what_still_names_an_old_plugin_is_found() {
    let board = r#"{"panels": [], "x": {"plugin": "grafana-bigquery-datasource"}}"#;
    let (text, report) = migrated("x.json", board, &[], None);
    assert_eq!(text, board);
    assert_eq!(facts(&report), ["a value:  |  | left-over"]);
}

#[test]
fn what_is_no_board_is_said_to_be_none() {
    let (_, report) = migrated("x.json", r#"{"name": "package"}"#, &[], None);
    assert_eq!(facts(&report), ["the file:  |  | unknown-document"]);
    for known in ["{\"apiVersion\": 1, \"contactPoints\": []}", "{\"schemaVersion\": 39}", "{}", "null"] {
        assert!(migrated("x.json", known, &[], None).1.items.is_empty(), "{known}");
    }
}
