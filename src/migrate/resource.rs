//! Boards as resources of Grafana 12 and 13 (`v2alpha1`, `v2beta1`, `v2`): elements, kinds, groups.
//! Shapes: grafana/grafana, `apps/dashboard/kinds/v2*/dashboard_spec.cue`. In `v2alpha1` a query's
//! kind is its plugin's id; later it is a `DataQuery` whose group is.

use super::board::{place, query_object, target};
use super::known::{Plugin, WEIR};
use super::report::Item;
use super::walk::{Walk, is_peer};
use crate::document::Node;

impl<'a> Walk<'a> {
    /// Migrates a resource's `spec`.
    pub(super) fn resource(&mut self, spec: &'a Node) {
        let mut variables = Vec::new();
        spec.each(&mut |node| {
            if let (Some("DatasourceVariable"), Some(spec)) = (node.text_of("kind"), node.get("spec")) {
                variables.extend(spec.text_of("name").zip(spec.text_of("pluginId")));
            }
        });
        let variables = variables.into_iter().map(|(name, id)| (name.to_owned(), Plugin::of(id)));
        self.variables.extend(variables);
        self.kinds(spec, "board");
    }

    fn kinds(&mut self, node: &'a Node, inside: &str) {
        let spec = node.get("spec").unwrap_or(node);
        let name = spec.text_of("name").unwrap_or_default();
        match node.text_of("kind") {
            Some("Panel") => {
                let place = place(spec, "panel");
                spec.get("data").into_iter().for_each(|data| self.kinds(data, &place));
            }
            Some("PanelQuery") => {
                let ref_id = spec.text_of("refId").unwrap_or_default();
                self.query(spec, &format!("{inside}, {ref_id}"), true);
            }
            Some("AnnotationQuery") => self.query(spec, &format!("annotation {name:?}"), false),
            Some("QueryVariable") => self.query(spec, &format!("variable {name}"), false),
            Some("DatasourceVariable") => self.source_variable(spec, &format!("variable {name}")),
            Some("AdhocVariable" | "GroupByVariable") => {
                let mut item = self.item(format!("variable {name}"), node);
                self.grouped(node, &mut item);
                if spec.get("datasource").is_some_and(|node| !node.is_null()) {
                    self.rewrite(spec.get("datasource"), "datasource", &mut item);
                }
                self.keep(item);
            }
            Some("LibraryPanel") => {
                let place = place(spec, "panel");
                spec.get("libraryPanel").into_iter().for_each(|library| self.library(&place, library));
            }
            Some("VizConfig") => {}
            _ => {
                node.list().iter().for_each(|element| self.kinds(element, inside));
                let entries = node.entries().iter().filter(|(key, _)| key.text() != Some("vizConfig"));
                entries.for_each(|(_, value)| self.kinds(value, inside));
            }
        }
        self.origin(spec);
    }

    /// A query with its reference: of a panel, an annotation or a variable.
    fn query(&mut self, spec: &Node, place: &str, is_panels: bool) {
        let mut item = self.item(place, spec);
        let Some(query) = spec.get("query") else { return };
        let early = query.get("kind").filter(|kind| kind.text() != Some("DataQuery"));
        let reference = spec.get("datasource").or_else(|| query.get("datasource"));
        let id = early.or_else(|| query.get("group")).and_then(Node::text).filter(|id| !id.is_empty());
        let plugin = match id.map(Plugin::of) {
            Some(Plugin::Other) if id.is_some_and(|id| id.contains('$')) => self.plugin(reference),
            Some(plugin) => Some(plugin),
            None => self.plugin(reference),
        };
        if let Some(kind) = early.filter(|kind| is_peer(kind, &mut item)) {
            self.set(kind, WEIR, "query.kind", &mut item);
        }
        if spec.get("datasource").is_some_and(|node| !node.is_null()) {
            self.rewrite(spec.get("datasource"), "datasource", &mut item);
        }
        self.grouped(query, &mut item);
        if let Some(held) = query.get("spec") {
            self.held_query(spec, held, (plugin, reference), is_panels, &mut item);
        }
        self.keep(item);
    }

    /// The plugin's own part of a query. Boards of before had bare SQL as the query of a variable and,
    /// in doitintl's annotations, as `rawQuery`.
    fn held_query(
        &mut self,
        spec: &Node,
        held: &Node,
        (plugin, reference): (Option<Plugin>, Option<&Node>),
        is_panels: bool,
        item: &mut Item,
    ) {
        if is_panels {
            self.judge(target(held, None), plugin, reference, item);
            return self.mark(held, plugin, item);
        }
        let bare = held.get("__legacyStringValue").or_else(|| spec.get("legacyOptions")?.get("rawQuery"));
        let bare = bare.and_then(Node::text).filter(|_| held.text_of("rawSql").is_none());
        let Some(sql) = bare.or_else(|| held.text_of("rawSql")) else { return };
        self.judge(target(held, Some(sql)), plugin, reference, item);
        match (bare, plugin.filter(|plugin| plugin.is_peer())) {
            (Some(sql), Some(plugin)) => self.hold(held, "query.spec", &query_object("query", sql, plugin), item),
            _ => self.mark(held, plugin, item),
        }
    }

    /// What has a plugin's id as its group and a data source by name.
    fn grouped(&mut self, node: &Node, item: &mut Item) {
        let reference = node.get("datasource").filter(|reference| reference.is_map());
        let group = node.get("group").filter(|group| group.text().is_some_and(|id| !id.is_empty()));
        if let Some(group) = group {
            if !is_peer(group, item) {
                return;
            }
            self.set(group, WEIR, "group", item);
        } else if !self.plugin(reference).is_some_and(Plugin::is_peer) {
            return;
        }
        self.point(reference.and_then(|reference| reference.get("name")), "datasource.name", item);
    }

    fn source_variable(&mut self, spec: &Node, place: &str) {
        let mut item = self.item(place, spec);
        let Some(id) = spec.get("pluginId").filter(|id| is_peer(id, &mut item)) else { return };
        self.set(id, WEIR, "pluginId", &mut item);
        self.current(spec, &mut item);
        self.keep(item);
    }

    /// The data source that a link or a variable came with.
    fn origin(&mut self, spec: &Node) {
        for key in ["origin", "source"] {
            let Some(origin) = spec.get(key).filter(|origin| origin.text_of("type") == Some("datasource")) else {
                continue;
            };
            let mut item = self.item(key, origin);
            if let Some(group) = origin.get("group").filter(|group| is_peer(group, &mut item)) {
                self.set(group, WEIR, "group", &mut item);
                self.keep(item);
            }
        }
    }
}
