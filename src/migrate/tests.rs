//! Boards and provisioning files, and what becomes of them.

mod boards;
mod command;
mod properties;
mod queries;

use std::path::Path;

use super::known::Known;
use super::report::FileReport;
use crate::document::Document;

/// The fixtures, by name.
const FIXTURES: [(&str, &str); 11] = [
    ("arrays-export.json", include_str!("../../tests/boards/arrays-export.json")),
    ("doitintl-export.json", include_str!("../../tests/boards/doitintl-export.json")),
    ("doitintl-sharded.json", include_str!("../../tests/boards/doitintl-sharded.json")),
    ("grafana7-doitintl.json", include_str!("../../tests/boards/grafana7-doitintl.json")),
    ("library-panel.json", include_str!("../../tests/boards/library-panel.json")),
    ("objects.json", include_str!("../../tests/boards/objects.json")),
    ("v2alpha1.json", include_str!("../../tests/boards/v2alpha1.json")),
    ("v2.json", include_str!("../../tests/boards/v2.json")),
    ("v2beta1.yaml", include_str!("../../tests/boards/v2beta1.yaml")),
    ("alert-rules.yaml", include_str!("../../tests/boards/alert-rules.yaml")),
    ("datasources.yaml", include_str!("../../tests/boards/datasources.yaml")),
];

fn fixture(name: &str) -> &'static str {
    FIXTURES.iter().find(|(found, _)| *found == name).unwrap().1
}

/// What becomes of a text, with what the command line says.
fn migrated(name: &str, text: &str, datasources: &[&str], uid: Option<&str>) -> (String, FileReport) {
    let document = Document::read(Path::new(name), text.to_owned()).unwrap();
    let datasources: Vec<_> = datasources.iter().map(|name| (*name).to_owned()).collect();
    let mut known = Known::from_options(&datasources, uid);
    document.trees.iter().for_each(|tree| known.learn(tree));
    super::migrate(&document, &known, uid).unwrap()
}

/// The lines that differ: those that went and those that came.
fn changed_lines<'a>(before: &'a str, after: &'a str) -> Vec<(&'a str, &'a str)> {
    let (before, after): (Vec<_>, Vec<_>) = (before.split('\n').collect(), after.split('\n').collect());
    assert_eq!(before.len(), after.len(), "lines were added");
    before.into_iter().zip(after).filter(|(old, new)| old != new).map(|(old, new)| (old.trim(), new.trim())).collect()
}
