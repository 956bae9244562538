//! `weir explain` over a folder of tables, as people run it.

use std::path::Path;
use std::process::Output;

use serde_json::{Value, json};

use crate::support::process::weir;

const SQL: &str = "SELECT SUM(n) AS n FROM `p.d.visits` WHERE site IN ($sites) AND $__timeFilter(t)";

/// A folder with one table, and a board whose queries go well, fail and are not there.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let table = "t,site,n\n2024-01-01T06:00:00Z,a,1\n2024-01-01T18:00:00Z,b,2\n";
    std::fs::write(folder.path().join("p.d.visits.csv"), table).unwrap();
    folder
}

fn board(folder: &Path) -> String {
    let source = json!({"type": "grafana-bigquery-datasource", "uid": "u"});
    let board = json!({
        "title": "Visits",
        "time": {"from": "2024-01-01", "to": "2024-01-02"},
        "templating": {"list": [{"name": "sites", "multi": true, "current": {"value": ["a", "b"]}}]},
        "panels": [
            {"title": "Row", "type": "row", "panels": [
                {"title": "All", "datasource": source, "targets": [{"refId": "A", "rawSql": SQL}]},
            ]},
            {"title": "None", "datasource": source, "targets": [{"refId": "A", "rawSql": "SELECT 1 FROM `p.d.none`"}]},
            {"title": "Far", "libraryPanel": {"uid": "l", "name": "Library"}},
        ],
    });
    let path = folder.join("board.json");
    std::fs::write(&path, board.to_string()).unwrap();
    path.to_str().unwrap().to_owned()
}

fn explain(folder: &Path, arguments: &[&str]) -> (Output, String, String) {
    let output = weir(["explain", "--embedded", folder.to_str().unwrap()]).args(arguments).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let (out, error) = (text(&output.stdout), text(&output.stderr));
    (output, out, error)
}

#[test]
fn every_query_of_a_board_is_explained_or_named() {
    let folder = folder();
    // Only the tables: the board is no table.
    let elsewhere = tempfile::tempdir().unwrap();
    let board = board(elsewhere.path());
    let (output, out, error) = explain(folder.path(), &[&board]);
    assert!(!output.status.success());
    assert!(error.contains("1 of 3 queries cannot be explained"), "{error}");
    let lines: Vec<_> = out.lines().collect();
    assert_eq!(lines[0], "Visits");
    let line = |start: &str| *lines.iter().find(|line| line.starts_with(start)).unwrap();
    assert!(line("All ").contains("whole") && line("All ").contains("10.0 MiB"), "{out}");
    assert!(line("None ").contains("failed: Not found: Table p:d.none"), "{out}");
    assert!(line("Far ").contains("skipped: library panel \"Library\""), "{out}");
    let sql = "site IN ('a','b') AND t >= TIMESTAMP '2024-01-01T00:00:00Z' AND t < TIMESTAMP '2024-01-02T00:00:00Z'";
    assert!(out.contains("\nAll, query A of u\n") && out.contains(sql), "{out}");

    let (_, out, _) =
        explain(folder.path(), &[&board, "--json", "--var", "sites=z", "--from", "2024-01-01", "--to", "2024-01-03"]);
    let json: Value = serde_json::from_str(&out).unwrap();
    let segment = &json["targets"][0]["explanation"]["segments"][0];
    assert!(segment["sql"].as_str().unwrap().contains("site IN ('z')"), "{json}");
    assert!(segment["sql"].as_str().unwrap().contains("t < TIMESTAMP '2024-01-03T00:00:00Z'"), "{json}");
    assert_eq!(json["targets"][1]["error"]["code"], "not_found");
    assert_eq!((&json["cost"], &json["bytes_billed"]), (&segment["cost"], &json!(10 << 20)));
}

#[test]
fn one_query_is_explained_in_words_or_json() {
    let folder = folder();
    let sql =
        ["--sql", "SELECT n FROM `p.d.visits` WHERE $__timeFilter(t)", "--from", "2024-01-01", "--to", "2024-01-02"];
    let (output, out, error) = explain(folder.path(), &sql);
    assert!(output.status.success(), "{error}");
    for part in ["  mode    whole (", "  range   2024-01-01", "  tables  p.d.visits", "    SELECT n FROM"] {
        assert!(out.contains(part), "no {part:?} in {out}");
    }
    let (_, out, _) = explain(folder.path(), &[&sql[..], &["--json"]].concat());
    let json: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(json["segments"][0]["referenced_tables"], json!(["p.d.visits"]));
}

#[test]
fn what_is_not_asked_rightly_is_named() {
    let folder = folder();
    let check = |arguments: &[&str], part: &str| {
        let (output, out, error) = explain(folder.path(), arguments);
        assert!(!output.status.success() && out.is_empty(), "{arguments:?}: {out}");
        assert!(error.contains(part), "{arguments:?}: {error}");
    };
    check(&[], "BOARD");
    check(&["board.json", "--sql", "SELECT 1"], "cannot be used with");
    check(&["/nowhere/board.json"], "cannot read the board /nowhere/board.json");
    check(&["--sql", "SELECT $__timeFrom()"], "$__timeFrom");
    check(&["--sql", "SELECT 1", "--from", "soon"], "--from: ");
    let board = board(folder.path());
    check(&[&board, "--var", "sites"], "--var \"sites\": write NAME=VALUE");
}
