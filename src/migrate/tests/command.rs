//! Files: what is written, what is kept, what is printed, and how the program ends.

use std::fs;
use std::path::{Path, PathBuf};

use super::fixture;
use crate::migrate::{Options, Report, Status, run};

struct Folder(tempfile::TempDir);

impl Folder {
    fn with(files: &[(&str, &str)]) -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        for (name, text) in files {
            fs::write(folder.path(name), text).unwrap();
        }
        folder
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    fn migrate(&self, files: &[&str], options: Options) -> Report {
        run(&Options { files: files.iter().map(|name| self.path(name)).collect(), ..options })
    }
}

fn statuses(report: &Report) -> Vec<Status> {
    report.files.iter().map(|file| file.status.clone()).collect()
}

#[test]
fn a_board_is_written_in_place_and_kept_as_it_was() {
    let before = fixture("library-panel.json");
    let folder = Folder::with(&[("a.json", before), ("a.json.bak", "older")]);
    let report = folder.migrate(&["a.json"], Options::default());
    assert_eq!((statuses(&report), report.exit_code()), (vec![Status::Changed], 0));
    assert!(folder.read("a.json").contains("weir-bigquery-datasource"));
    assert_eq!((folder.read("a.json.bak").as_str(), folder.read("a.json.bak.2").as_str()), ("older", before));
    assert!(report.text().contains("changed; the text before is in"));
    assert!(report.files[0].backup.as_deref().unwrap().ends_with("a.json.bak.2"));

    let after = folder.read("a.json");
    let report = folder.migrate(&["a.json"], Options::default());
    assert_eq!((statuses(&report), report.exit_code()), (vec![Status::Unchanged], 0));
    assert_eq!(folder.read("a.json"), after);
    assert!(!folder.path("a.json.bak.3").exists());
}

#[test]
fn a_dry_run_shows_the_changes_and_makes_none() {
    let before = fixture("library-panel.json");
    let folder = Folder::with(&[("a.json", before)]);
    let report = folder.migrate(&["a.json"], Options { dry_run: true, ..Options::default() });
    let text = report.print(false).unwrap();
    assert!(text.contains(
        "\n-      \"datasource\": { \"type\": \"grafana-bigquery-datasource\", \"uid\": \"warehouse-1\" },\n"
    ));
    assert!(
        text.contains(
            "\n+      \"datasource\": { \"type\": \"weir-bigquery-datasource\", \"uid\": \"warehouse-1\" },\n"
        )
    );
    assert!(text.contains("\n@@ "), "{text}");
    assert_eq!(folder.read("a.json"), before);
    assert_eq!(fs::read_dir(folder.0.path()).unwrap().count(), 1);
}

#[test]
fn secrets_are_not_shown() {
    let folder = Folder::with(&[("ds.yaml", &fixture("datasources.yaml").replace("    version: 1\n", ""))]);
    let text = folder.migrate(&["ds.yaml"], Options { dry_run: true, ..Options::default() }).print(false).unwrap();
    assert!(text.contains("+    type: weir-bigquery-datasource # retired"), "{text}");
    assert!(!text.contains("PRIVATE KEY") && !text.contains("not a key"), "{text}");
}

#[test]
fn what_one_file_says_of_a_data_source_counts_for_the_others() {
    let files = [("g7.json", fixture("grafana7-doitintl.json")), ("ds.yaml", fixture("datasources.yaml"))];
    let report = Folder::with(&files).migrate(&["g7.json", "ds.yaml"], Options::default());
    let unknown =
        |item: &&crate::migrate::Item| item.needs_person.iter().any(|found| found.code == "unknown-data-source");
    let places: Vec<_> = report.files[0].items.iter().filter(unknown).map(|item| item.place.as_str()).collect();
    assert_eq!(places, ["panel 3 \"Mixed\", D"]);
    assert_eq!(report.exit_code(), 2);
}

#[test]
fn a_file_that_fails_does_not_keep_the_others() {
    let folder =
        Folder::with(&[("a.json", fixture("library-panel.json")), ("b.json", "{\"a\": "), ("c.yaml", "a: b: c")]);
    let report = folder.migrate(&["b.json", "c.yaml", "none.json", "a.json"], Options::default());
    assert_eq!(statuses(&report), [Status::Failed, Status::Failed, Status::Failed, Status::Changed]);
    assert_eq!(report.exit_code(), 1);
    let text = report.text();
    for expected in [
        "b.json: failed: the file is not JSON: EOF",
        "c.yaml: failed: the file is not YAML",
        "none.json: failed: cannot read",
    ] {
        assert!(text.contains(expected), "{text}");
    }
    assert!(text.ends_with("1 changed, 0 as before, 3 failed; 0 things need a person\n"), "{text}");
}

#[test]
fn a_file_named_twice_is_migrated_once() {
    let folder = Folder::with(&[("a.json", fixture("library-panel.json"))]);
    let report = folder.migrate(&["a.json", "a.json"], Options::default());
    assert_eq!(statuses(&report), [Status::Changed, Status::Failed]);
    assert_eq!(folder.read("a.json.bak"), fixture("library-panel.json"));
}

#[test]
fn the_report_is_json_for_programs() {
    let folder = Folder::with(&[("a.json", fixture("doitintl-export.json"))]);
    let report = folder.migrate(&["a.json"], Options { json: true, ..Options::default() });
    let json: serde_json::Value = serde_json::from_str(&report.print(true).unwrap()).unwrap();
    let file = &json["files"][0];
    assert_eq!((&json["dry_run"], &file["status"]), (&false.into(), &"changed".into()));
    let item = &file["items"][2];
    assert_eq!(
        (&item["place"], &item["line"], &item["plugin"]),
        (&"panel 1 \"By month\", A".into(), &17.into(), &"doitintl".into())
    );
    assert_eq!(item["needs_person"][0]["code"], "month-or-minute");
    assert!(Path::new(file["backup"].as_str().unwrap()).exists());
}
