//! One file's migration under way: its edits and findings, and how a reference to a data source is
//! read and rewritten. Which parts of which document hold references, its neighbours know.

use std::collections::HashMap;

use super::edit::Edit;
use super::known::{Known, Plugin, WEIR, variable_name};
use super::report::{Finding, Item};
use super::target::{Target, judge, looks_like_bigquery, names_a_table};
use crate::document::{Document, Format, Node};

/// A migration under way.
pub(super) struct Walk<'a> {
    /// The file.
    pub(super) document: &'a Document,
    /// Where its lines end.
    line_ends: Vec<usize>,
    /// The uid that rewritten references get.
    pub(super) uid: Option<&'a str>,
    /// What is known of names and uids.
    pub(super) known: &'a Known,
    /// Plugins of the document's own variables and inputs.
    pub(super) variables: HashMap<String, Plugin>,
    /// The version of doitintl's plugin that the board was exported with.
    pub(super) version: Option<String>,
    /// Whether the board is from before references were objects (schema version 33, Grafana 8.3).
    pub(super) names_only: bool,
    /// Changes so far.
    pub(super) edits: Vec<Edit>,
    /// Findings so far.
    pub(super) items: Vec<Item>,
    /// What is to be known of the file as a whole.
    pub(super) notes: Vec<String>,
}

impl<'a> Walk<'a> {
    /// A migration of a file that has not begun.
    pub(super) fn new(document: &'a Document, known: &'a Known, uid: Option<&'a str>) -> Self {
        let line_ends = document.text.match_indices('\n').map(|(at, _)| at).collect();
        let variables = HashMap::new();
        let (edits, items, notes) = (Vec::new(), Vec::new(), Vec::new());
        Self { document, line_ends, uid, known, variables, version: None, names_only: false, edits, items, notes }
    }

    /// An item without findings for a place.
    pub(super) fn item(&self, place: impl Into<String>, node: &Node) -> Item {
        let line = 1 + self.line_ends.partition_point(|end| *end < node.span.start);
        let (place, plugin) = (place.into(), Plugin::Other.name());
        Item { place, line, plugin, changes: Vec::new(), differs: Vec::new(), needs_person: Vec::new() }
    }

    /// Keeps an item if it says something.
    pub(super) fn keep(&mut self, item: Item) {
        if !(item.changes.is_empty() && item.differs.is_empty() && item.needs_person.is_empty()) {
            self.items.push(item);
        }
    }

    /// Puts a string in place of a node.
    pub(super) fn set(&mut self, node: &Node, new: &str, key: &str, item: &mut Item) {
        if node.text() == Some(new) {
            return;
        }
        match Edit::text(node, new, self.document.format == Format::Json) {
            Some(edit) => self.keep_edit(edit, key, item),
            None => {
                needs(
                    item,
                    "cannot-write",
                    format!("{key} is written in a way that is not rewritten; set it to {new}"),
                );
            }
        }
    }

    /// Puts a JSON value in place of a node.
    pub(super) fn set_json(&mut self, node: &Node, new: &serde_json::Value, key: &str, item: &mut Item) {
        let edit = self.json_edit(|text| Edit::json(text, node, new));
        self.keep_or_ask(edit, key, item);
    }

    /// Adds a key to a map.
    pub(super) fn add(&mut self, map: &Node, key: &str, value: &serde_json::Value, item: &mut Item) {
        let edit = self.json_edit(|text| Edit::add(text, map, key, value));
        self.keep_or_ask(edit, key, item);
    }

    fn json_edit(&self, edit: impl FnOnce(&str) -> Option<Edit>) -> Option<Edit> {
        if self.document.format == Format::Json { edit(&self.document.text) } else { None }
    }

    fn keep_or_ask(&mut self, edit: Option<Edit>, key: &str, item: &mut Item) {
        match edit {
            Some(edit) => self.keep_edit(edit, key, item),
            None => needs(item, "cannot-write", format!("{key} is only rewritten in JSON; write it by hand")),
        }
    }

    fn keep_edit(&mut self, edit: Edit, key: &str, item: &mut Item) {
        self.edits.push(edit);
        item.changes.push(key.to_owned());
    }

    /// The plugin of a reference: nothing where it cannot be known.
    pub(super) fn plugin(&self, reference: Option<&Node>) -> Option<Plugin> {
        let Some(node) = reference.filter(|node| !node.is_null()) else { return self.known.plugin("default") };
        if let Some(id) = node.text_of("type").filter(|id| !id.is_empty()) {
            return match Plugin::of(id) {
                Plugin::Other if id.contains('$') => None,
                plugin => Some(plugin),
            };
        }
        let name = node.text().or_else(|| node.text_of("uid")).or_else(|| node.text_of("name"));
        self.plugin_of_name(name.unwrap_or("default"))
    }

    /// The plugin of a name, a uid or a variable.
    pub(super) fn plugin_of_name(&self, name: &str) -> Option<Plugin> {
        let of_variable = variable_name(name).and_then(|variable| self.variables.get(variable)).copied();
        of_variable.or_else(|| self.known.plugin(if name.is_empty() { "default" } else { name }))
    }

    /// Rewrites a reference that is one of the peers'.
    pub(super) fn rewrite(&mut self, reference: Option<&Node>, key: &str, item: &mut Item) {
        let Some(plugin) = self.plugin(reference).filter(|plugin| plugin.is_peer()) else { return };
        item.plugin = plugin.name();
        let Some(node) = reference else {
            if self.uid.is_some() {
                needs(
                    item,
                    "default-source",
                    format!("{key} is left out, which means Grafana's default data source; choose Weir's"),
                );
            }
            return;
        };
        if node.is_map() {
            if let Some(id) = node.get("type").filter(|id| !id.is_null()) {
                self.set(id, WEIR, &format!("{key}.type"), item);
            }
            for name in ["uid", "name"] {
                self.point(node.get(name), &format!("{key}.{name}"), item);
            }
        } else if node.is_null() {
            self.point_default(node, key, item);
        } else {
            self.point(Some(node), key, item);
        }
    }

    /// Gives a name or uid of a rewritten reference the new uid; variables stay.
    pub(super) fn point(&mut self, name: Option<&Node>, key: &str, item: &mut Item) {
        let name = name.filter(|node| node.text().is_some_and(|name| variable_name(name).is_none()));
        if let (Some(uid), Some(node)) = (self.uid, name) {
            self.set(node, uid, key, item);
        }
    }

    /// Names the new data source where the default one was meant.
    fn point_default(&mut self, node: &Node, key: &str, item: &mut Item) {
        let Some(uid) = self.uid else { return };
        if self.document.format == Format::Json && !self.names_only {
            self.set_json(node, &serde_json::json!({"type": WEIR, "uid": uid}), key, item);
        } else {
            self.set(node, uid, key, item);
        }
    }

    /// Judges a query of `plugin`, or of nobody knows whom.
    pub(super) fn judge(&self, target: Target<'_>, known: Option<Plugin>, source: Option<&Node>, item: &mut Item) {
        match known {
            Some(plugin) if plugin.is_peer() => {
                item.plugin = plugin.name();
                let version = self.version.as_deref();
                let judgement = judge(&Target { plugin, version, ..target });
                item.differs.extend(judgement.differs);
                item.needs_person.extend(judgement.needs_person);
            }
            None if looks_like_bigquery(target.query) || target.sql.is_some_and(names_a_table) => {
                let name = source.and_then(|node| node.text().or_else(|| node.text_of("uid"))).unwrap_or("default");
                needs(
                    item,
                    "unknown-data-source",
                    format!(
                        "the file does not say what the data source {name} is; if BigQuery's, give --datasource '{name}'"
                    ),
                );
            }
            _ => {}
        }
    }
}

/// Says of an item what needs a person.
pub(super) fn needs(item: &mut Item, code: &'static str, message: impl Into<String>) {
    item.needs_person.push(Finding { code, message: message.into() });
}

/// Whether a node is a peer's id, which the item then names.
pub(super) fn is_peer(id: &Node, item: &mut Item) -> bool {
    let plugin = id.text().map_or(Plugin::Other, Plugin::of);
    item.plugin = plugin.name();
    plugin.is_peer()
}
