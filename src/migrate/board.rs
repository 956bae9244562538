//! Boards as Grafana 7 to 11 save them (and 12 and 13 as `v0` and `v1`): inputs, variables,
//! annotations, panels and their targets.

use serde_json::json;

use super::known::{Plugin, WEIR, WEIR_NAME};
use super::report::Item;
use super::target::{Asker, Target, has_doitintl_shape};
use super::walk::{Walk, is_peer};
use crate::document::Node;

/// The schema version from which references are `{type, uid}`
/// (grafana/grafana, `DashboardMigrator`, step 33).
const FIRST_WITH_OBJECTS: u32 = 33;

impl<'a> Walk<'a> {
    /// Migrates a board.
    pub(super) fn board(&mut self, board: &'a Node) {
        let list = |key: &str| board.get(key).map(Node::list).unwrap_or_default();
        let version = board.get("schemaVersion").and_then(Node::scalar).and_then(|version| version.parse::<u32>().ok());
        self.names_only = version.is_some_and(|version| version < FIRST_WITH_OBJECTS);
        let variables = board.get("templating").and_then(|templating| templating.get("list")).map(Node::list);
        let variables = variables.unwrap_or_default();
        self.name_variables(list("__inputs"), variables);
        for input in list("__inputs") {
            self.input(input);
        }
        for required in list("__requires") {
            self.requirement(required);
        }
        let elements = board.get("__elements");
        let elements =
            elements.into_iter().flat_map(|found| found.list().iter().chain(found.entries().iter().map(|(_, e)| e)));
        elements.filter_map(|element| element.get("model")).for_each(|model| self.panel(model, "library panel"));
        for variable in variables {
            self.variable(variable);
        }
        let annotations = board.get("annotations").and_then(|annotations| annotations.get("list"));
        annotations.into_iter().flat_map(Node::list).for_each(|annotation| self.annotation(annotation));
        let in_rows = list("rows").iter().filter_map(|row| row.get("panels")).flat_map(Node::list);
        list("panels").iter().chain(in_rows).for_each(|panel| self.panel(panel, "panel"));
    }

    /// Learns what the board's own names stand for.
    fn name_variables(&mut self, inputs: &[Node], variables: &[Node]) {
        let inputs = inputs.iter().filter_map(|input| Some((input.text_of("name")?, input.text_of("pluginId")?)));
        let variables = variables
            .iter()
            .filter(|variable| variable.text_of("type") == Some("datasource"))
            .filter_map(|variable| Some((variable.text_of("name")?, variable.text_of("query")?)));
        let named = inputs.chain(variables).map(|(name, id)| (name.to_owned(), Plugin::of(id)));
        self.variables.extend(named.collect::<Vec<_>>());
    }

    fn input(&mut self, input: &Node) {
        let mut item = self.item(format!("input {}", input.text_of("name").unwrap_or_default()), input);
        let Some(id) = input.get("pluginId").filter(|id| is_peer(id, &mut item)) else { return };
        self.set(id, WEIR, "pluginId", &mut item);
        if let Some(name) = input.get("pluginName") {
            self.set(name, WEIR_NAME, "pluginName", &mut item);
        }
        self.keep(item);
    }

    fn requirement(&mut self, required: &Node) {
        let mut item = self.item("required plugin", required);
        let Some(id) = required.get("id").filter(|id| is_peer(id, &mut item)) else { return };
        if id.text().map(Plugin::of) == Some(Plugin::Doitintl) {
            self.version = required.text_of("version").filter(|version| !version.is_empty()).map(str::to_owned);
        }
        self.set(id, WEIR, "id", &mut item);
        for (key, new) in [("name", WEIR_NAME), ("version", env!("CARGO_PKG_VERSION"))] {
            if let Some(node) = required.get(key) {
                self.set(node, new, key, &mut item);
            }
        }
        self.keep(item);
    }

    fn variable(&mut self, variable: &Node) {
        let mut item = self.item(format!("variable {}", variable.text_of("name").unwrap_or_default()), variable);
        if variable.text_of("type") == Some("datasource") {
            let Some(id) = variable.get("query").filter(|id| is_peer(id, &mut item)) else { return };
            self.set(id, WEIR, "query", &mut item);
            self.current(variable, &mut item);
            return self.keep(item);
        }
        let reference = variable.get("datasource");
        let plugin = self.plugin(reference);
        if let Some(query) = variable.get("query").filter(|query| query.is_map() || query.text().is_some()) {
            if variable.text_of("type") != Some("query") {
                return;
            }
            self.rewrite(reference, "datasource", &mut item);
            let sql = query.text().or_else(|| query.text_of("rawSql"));
            self.judge(target(query, sql), plugin, reference, &mut item);
            if let (Some(plugin), Some(sql)) = (plugin.filter(|plugin| plugin.is_peer()), query.text()) {
                let object = query_object("variable", sql, plugin);
                self.set_json(query, &object, "query", &mut item);
            }
        } else if reference.is_some_and(|node| !node.is_null()) {
            self.rewrite(reference, "datasource", &mut item);
        }
        self.keep(item);
    }

    /// What is chosen in a data-source variable.
    pub(super) fn current(&mut self, variable: &Node, item: &mut Item) {
        let current = variable.get("current");
        for key in ["text", "value"] {
            let chosen = current.and_then(|current| current.get(key));
            let chosen = chosen
                .filter(|node| node.text().is_some_and(|text| !text.is_empty() && text != "$__all" && text != "All"));
            self.point(chosen, &format!("current.{key}"), item);
        }
    }

    fn annotation(&mut self, annotation: &Node) {
        let mut item =
            self.item(format!("annotation {:?}", annotation.text_of("name").unwrap_or_default()), annotation);
        let reference = annotation.get("datasource").filter(|node| !node.is_null());
        let held = annotation.get("target").filter(|held| held.text_of("rawSql").is_some());
        let sql = held.and_then(|held| held.text_of("rawSql")).or_else(|| annotation.text_of("rawQuery"));
        let plugin = self.plugin(reference).filter(|_| reference.is_some() || sql.is_some());
        self.rewrite(reference, "datasource", &mut item);
        if let Some(sql) = sql {
            self.judge(target(held.unwrap_or(annotation), Some(sql)), plugin, reference, &mut item);
            if let (None, Some(plugin)) = (held, plugin.filter(|plugin| plugin.is_peer())) {
                self.annotation_target(annotation, sql, plugin, &mut item);
            }
        }
        self.keep(item);
    }

    /// Gives an annotation of doitintl's, whose SQL is its `rawQuery`, the target that Grafana's own
    /// support for annotations asks. Grafana 8 and later write a target without SQL beside it.
    fn annotation_target(&mut self, annotation: &Node, sql: &str, plugin: Plugin, item: &mut Item) {
        match annotation.get("target") {
            Some(held) => self.hold(held, "target", &query_object("Anno", sql, plugin), item),
            None => self.add(annotation, "target", &query_object("Anno", sql, plugin), item),
        }
    }

    /// Puts a query where a map holds none yet; its other keys stay.
    pub(super) fn hold(&mut self, held: &Node, key: &str, query: &serde_json::Value, item: &mut Item) {
        if held.entries().iter().all(|(key, _)| key.text() == Some("__legacyStringValue")) {
            return self.set_json(held, query, key, item);
        }
        for (key, value) in query.as_object().into_iter().flatten().filter(|(key, _)| held.get(key).is_none()) {
            self.add(held, key, value, item);
        }
    }

    /// Migrates a panel with its targets, and the panels of a row.
    pub(super) fn panel(&mut self, panel: &'a Node, kind: &str) {
        let place = place(panel, kind);
        let targets = panel.get("targets").map(Node::list).unwrap_or_default();
        let reference = panel.get("datasource");
        let named = reference.is_some_and(|node| !node.is_null());
        let inherits = |target: &Node| target.get("datasource").is_none_or(Node::is_null);
        let mut item = self.item(place.as_str(), panel);
        if named || targets.iter().any(inherits) {
            self.rewrite(reference, "datasource", &mut item);
        }
        self.keep(item);
        let alerting = alerting(panel);
        let of_panel = self.plugin(reference);
        for query in targets {
            let own = query.get("datasource").filter(|node| !node.is_null());
            let ref_id = query.text_of("refId").unwrap_or_default();
            let mut item = self.item(format!("{place}, {ref_id}"), query);
            if own.is_some() {
                self.rewrite(own, "datasource", &mut item);
            }
            let asked = own.map_or(of_panel, |own| self.plugin(Some(own)));
            let plugin = of_panel.filter(|plugin| plugin.is_peer()).or(asked);
            let by = if alerting.contains(&ref_id) { Asker::AlertingPanel } else { Asker::Panel };
            self.judge(Target { asker: by, ..target(query, None) }, plugin, own.or(reference), &mut item);
            self.mark(query, plugin, &mut item);
            self.keep(item);
        }
        if let (Some(library), true) = (panel.get("libraryPanel"), targets.is_empty()) {
            self.library(&place, library);
        }
        panel.get("panels").into_iter().flat_map(Node::list).for_each(|panel| self.panel(panel, kind));
    }

    /// Says that a panel's own document is elsewhere.
    pub(super) fn library(&mut self, place: &str, library: &Node) {
        let name = library.text_of("name").or_else(|| library.text_of("uid")).unwrap_or_default();
        self.notes.push(format!("{place} is the library panel {name:?}, a document of its own: migrate that too"));
    }

    /// Sees to it that the backend knows a target of doitintl's as one.
    pub(super) fn mark(&mut self, query: &Node, plugin: Option<Plugin>, item: &mut Item) {
        let has_sql = query.text_of("rawSql").is_some_and(|sql| !sql.is_empty());
        if plugin == Some(Plugin::Doitintl) && has_sql && !has_doitintl_shape(query) {
            self.add(query, "metricColumn", &json!("none"), item);
        }
    }
}

/// A panel's target, or the SQL of a variable or an annotation, that is yet to be told whose it is.
pub(super) fn target<'n>(query: &'n Node, sql: Option<&'n str>) -> Target<'n> {
    let asker = if sql.is_some() { Asker::Rows } else { Asker::Panel };
    Target { query, sql, plugin: Plugin::Other, asker, escaped: false, version: None }
}

/// A query as Weir's editor saves it, for SQL that stood alone.
pub(super) fn query_object(ref_id: &str, sql: &str, plugin: Plugin) -> serde_json::Value {
    let mut object = json!({"refId": ref_id, "rawSql": sql, "format": 1, "rawQuery": true, "editorMode": "code"});
    if plugin == Plugin::Doitintl {
        object["metricColumn"] = json!("none");
    }
    object
}

/// A panel's number and title.
pub(super) fn place(panel: &Node, kind: &str) -> String {
    let title = panel.text_of("title").filter(|title| !title.is_empty()).map(|title| format!(" {title:?}"));
    let id = panel.get("id").and_then(Node::scalar).filter(|id| *id != "null").map(|id| format!(" {id}"));
    format!("{kind}{}{}", id.unwrap_or_default(), title.unwrap_or_default())
}

/// The targets that a panel's own alert (Grafana 7 to 10) asks.
fn alerting(panel: &Node) -> Vec<&str> {
    let conditions = panel.get("alert").and_then(|alert| alert.get("conditions")).map(Node::list).unwrap_or_default();
    let params = conditions.iter().filter_map(|condition| condition.get("query")?.get("params")?.list().first());
    params.filter_map(Node::text).collect()
}
