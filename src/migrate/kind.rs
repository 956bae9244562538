//! What kind of document a file holds, and what still names the old plugins in it.

use super::walk::{Walk, needs};
use crate::document::Node;

/// Keys of a board; a rule has annotations too.
const BOARD: [&str; 6] = ["panels", "rows", "templating", "annotations", "__inputs", "__requires"];
/// Lists of documents.
const LISTS: [&str; 3] = ["items", "dashboards", "groups"];

impl<'a> Walk<'a> {
    /// Migrates a document of any kind; a list or a reply of Grafana's API is opened.
    pub(super) fn any(&mut self, node: &'a Node, depth: usize) {
        let has = |key: &str| node.get(key).is_some_and(|found| found.is_map() || !found.list().is_empty());
        let list = |key: &str| node.get(key).map(Node::list).unwrap_or_default();
        if !node.list().is_empty() {
            node.list().iter().for_each(|element| self.any(element, depth + 1));
        } else if has("dashboard") && depth < 2 {
            node.get("dashboard").into_iter().for_each(|board| self.any(board, depth + 1));
        } else if has("elements") {
            self.resource(node);
        } else if has("spec") {
            node.get("spec").into_iter().for_each(|spec| self.any(spec, depth + 1));
        } else if list("data").iter().any(|query| query.get("model").is_some()) {
            self.rule(node);
        } else if has("rules") {
            for rule in list("rules") {
                self.any(rule, depth + 1);
            }
        } else if has("grafana_alert") || has("result") {
            for inner in ["grafana_alert", "result"].into_iter().filter_map(|key| node.get(key)) {
                self.any(inner, depth + 1);
            }
        } else if BOARD.into_iter().any(has) {
            self.board(node);
        } else if has("model") {
            node.get("model").into_iter().for_each(|model| self.panel(model, "library panel"));
        } else if node.text_of("type").is_some() && (has("jsonData") || node.get("access").is_some()) {
            self.source(node);
        } else if has("targets") {
            self.panel(node, "panel");
        } else if LISTS.into_iter().chain(["datasources"]).any(has) {
            for source in list("datasources") {
                self.source(source);
            }
            LISTS.into_iter().flat_map(list).for_each(|element| self.any(element, depth + 1));
        } else if depth == 0 && !is_of_grafana(node) {
            let mut item = self.item("the file", node);
            needs(&mut item, "unknown-document", "it is neither a board nor a provisioning file that is known here");
            self.keep(item);
        }
    }
}

/// Provisioning files, empty boards and empty documents, in which there is nothing to change.
fn is_of_grafana(node: &Node) -> bool {
    node.is_null()
        || ["schemaVersion", "apiVersion", "panels"].into_iter().any(|key| node.get(key).is_some())
        || node.entries().is_empty() && node.scalar().is_none()
}

impl Walk<'_> {
    /// Finds what still names the old plugins.
    pub(super) fn leftovers(&mut self) {
        const IDS: [&str; 2] = ["grafana-bigquery-datasource", "doitintl-bigquery-datasource"];
        let document = self.document;
        let mut found = Vec::new();
        document.trees.iter().for_each(|tree| {
            tree.each(&mut |node| {
                let Some((text, id)) =
                    node.text().and_then(|text| Some((text, IDS.into_iter().find(|id| text.contains(id))?)))
                else {
                    return;
                };
                if !self.edits.iter().any(|edit| edit.start() == node.span.start) {
                    found.push((node, id, text == id || text.trim_start().starts_with('{')));
                }
            });
        });
        for (node, id, whole) in found {
            let mut item = self.item("a value", node);
            if whole {
                needs(&mut item, "left-over", format!("it still names {id}, in a place that is not known here"));
                self.keep(item);
            } else {
                self.notes.push(format!("line {} speaks of {id}", item.line));
            }
        }
    }
}
