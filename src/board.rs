//! Grafana's boards as files: the targets of their panels, whatever the age of the file.
//!
//! It reads what [`crate::migrate`] reads: the classic schema (bare, or as the HTTP API and v1
//! resources wrap it), the v2 resource of Grafana 12 and 13, library panels and alert rules. It changes
//! nothing, and knows no query language: a target's model is handed out as it is.

mod data_source;
mod variables;

use std::path::Path;

use serde_json::{Map, Value, json};
use weir_plan::{Error, Result};

use crate::document::{Document, Format};
pub use data_source::DataSource;
pub use variables::Variables;

/// A board.
#[derive(Clone, Debug)]
pub struct Board(Value);

/// What a board asks, or fails to.
#[derive(Clone, Debug, PartialEq)]
pub enum Item<'a> {
    /// A query of a panel.
    Target(Target<'a>),
    /// A panel whose queries are kept in Grafana's library, outside the file.
    Library {
        /// The panel's title.
        panel: &'a str,
        /// The library panel's name, or its uid.
        name: &'a str,
    },
}

/// A query of a panel.
#[derive(Clone, Debug, PartialEq)]
pub struct Target<'a> {
    /// The panel's title.
    pub panel: &'a str,
    /// The query's letter.
    pub ref_id: &'a str,
    /// Whom it asks.
    pub data_source: DataSource<'a>,
    /// Whether it is switched off, or asked for another query's sake alone.
    pub hidden: bool,
    /// Its JSON.
    pub model: &'a Map<String, Value>,
    /// The panel's query options: `interval`, `maxDataPoints`, `timeFrom`, `timeShift`.
    pub options: &'a Map<String, Value>,
    /// The range of an alert rule's query: so many seconds before now it begins, and ends.
    pub seconds_ago: Option<(i64, i64)>,
}

impl Target<'_> {
    /// A text among the panel's query options.
    pub fn option(&self, name: &str) -> Option<&str> {
        self.options.get(name)?.as_str().filter(|text| !text.is_empty())
    }
}

impl Board {
    /// The boards of a file, JSON or YAML as its name or its first character says: boards of any age, bare
    /// or as Grafana's API and its resources wrap them, library panels, groups of alert rules.
    ///
    /// # Errors
    /// `InvalidQuery` for a text that is neither JSON nor YAML, or holds no board.
    pub fn read(path: &Path, text: String) -> Result<Vec<Self>> {
        let document = Document::read(path, text)?;
        let mut boards = Vec::new();
        document.trees.iter().for_each(|tree| collect(tree.json(), document.format, &mut boards));
        if boards.is_empty() {
            return Err(Error::invalid(
                "the file is no Grafana board: it has neither panels, rows nor elements, nor alert rules",
            ));
        }
        Ok(boards)
    }

    /// The board's title.
    pub fn title(&self) -> &str {
        self.0["title"].as_str().or(self.0["name"].as_str()).unwrap_or_default()
    }

    /// The range that the board opens with, as it is written: `now-6h`, `now`.
    pub fn range(&self) -> Option<(&str, &str)> {
        let time = [&self.0["time"], &self.0["timeSettings"]].into_iter().find(|time| time.is_object())?;
        Some((time["from"].as_str()?, time["to"].as_str()?))
    }

    /// The variables with the values that were saved with the board.
    pub fn variables(&self) -> Variables {
        let classic = array(&self.0["templating"]["list"]).iter();
        let resource = array(&self.0["variables"]).iter().map(|variable| &variable["spec"]);
        classic.chain(resource).collect()
    }

    /// The queries of all panels, in the file's order.
    pub fn items(&self) -> Vec<Item<'_>> {
        let mut items = Vec::new();
        if let Some(elements) = self.0["elements"].as_object() {
            elements.values().for_each(|element| element_items(element, &mut items));
        }
        self.panel_items(array(&self.0["panels"]), &mut items);
        for row in array(&self.0["rows"]) {
            self.panel_items(array(&row["panels"]), &mut items);
        }
        items.extend(array(&self.0["rules"]).iter().flat_map(rule_items));
        items
    }

    /// The queries of classic panels and of the panels in collapsed rows.
    fn panel_items<'a>(&'a self, panels: &'a [Value], items: &mut Vec<Item<'a>>) {
        for panel in panels {
            self.panel_items(array(&panel["panels"]), items);
            let title = panel["title"].as_str().unwrap_or_default();
            let library = &panel["libraryPanel"];
            let uid = library["uid"].as_str();
            // An export for other Grafanas brings its library panels along.
            let inlined = uid.map(|uid| &self.0["__elements"][uid]["model"]).filter(|model| model.is_object());
            let panel = inlined.unwrap_or(panel);
            let targets = array(&panel["targets"]);
            if library.is_object() && targets.is_empty() {
                let name = library["name"].as_str().or(uid).unwrap_or_default();
                items.push(Item::Library { panel: title, name });
            }
            let Some(options) = panel.as_object() else { continue };
            items.extend(targets.iter().filter_map(|target| {
                let own = DataSource::read(&target["datasource"], &self.0);
                Some(Item::Target(Target {
                    panel: title,
                    ref_id: target["refId"].as_str().unwrap_or_default(),
                    data_source: own
                        .unwrap_or_else(|| DataSource::read(&panel["datasource"], &self.0).unwrap_or_default()),
                    hidden: target["hide"].as_bool().unwrap_or_default(),
                    model: target.as_object()?,
                    options,
                    seconds_ago: None,
                }))
            }));
        }
    }
}

/// The queries of an element of a v2 resource.
/// Source: `apps/dashboard/kinds/v2*/dashboard_spec.cue` of grafana/grafana.
fn element_items<'a>(element: &'a Value, items: &mut Vec<Item<'a>>) {
    let spec = &element["spec"];
    let panel = spec["title"].as_str().unwrap_or_default();
    let library = &spec["libraryPanel"];
    if library.is_object() {
        let name = library["name"].as_str().or(library["uid"].as_str()).unwrap_or_default();
        items.push(Item::Library { panel, name });
    }
    let group = &spec["data"]["spec"];
    let Some(options) = group["queryOptions"].as_object().or(group.as_object()) else { return };
    items.extend(array(&group["queries"]).iter().filter_map(|query| {
        let query = &query["spec"];
        Some(Item::Target(Target {
            panel,
            ref_id: query["refId"].as_str().unwrap_or_default(),
            data_source: DataSource::of_panel_query(query),
            hidden: query["hidden"].as_bool().unwrap_or_default(),
            model: query["query"]["spec"].as_object()?,
            options,
            seconds_ago: None,
        }))
    }));
}

/// The queries of an alert rule, as it is provisioned or as the ruler's API gives it.
fn rule_items(rule: &Value) -> impl Iterator<Item = Item<'_>> {
    let rule = if rule["grafana_alert"].is_object() { &rule["grafana_alert"] } else { rule };
    array(&rule["data"]).iter().filter_map(|query| {
        let options = query["model"].as_object()?;
        let uid = query["datasourceUid"].as_str();
        // An expression's plugin is not in its model in old files.
        let own = DataSource { plugin: uid.filter(|uid| matches!(*uid, "__expr__" | "-100")), name: uid };
        let of_model = DataSource::read(&query["model"]["datasource"], &Value::Null);
        Some(Item::Target(Target {
            panel: rule["title"].as_str().unwrap_or_default(),
            ref_id: query["refId"].as_str().unwrap_or_default(),
            data_source: of_model.filter(|found| found.plugin.is_some()).unwrap_or(own),
            hidden: false,
            model: options,
            options,
            seconds_ago: query["relativeTimeRange"]["from"].as_i64().zip(query["relativeTimeRange"]["to"].as_i64()),
        }))
    })
}

/// Finds boards in a document, and makes of what is none something that reads as one.
fn collect(value: Value, format: Format, boards: &mut Vec<Board>) {
    let Value::Object(mut object) = value else {
        return value.as_array().into_iter().flatten().for_each(|element| collect(element.clone(), format, boards));
    };
    let is_list = |key: &str| object.get(key).is_some_and(Value::is_array);
    if object.get("elements").is_some_and(Value::is_object) || is_list("panels") || is_list("rows") {
        return boards.push(Board(object.into()));
    }
    if is_list("rules") {
        let mut group = Value::Object(object);
        if format == Format::Yaml {
            unescape(&mut group["rules"]);
        }
        return boards.push(Board(group));
    }
    for envelope in ["dashboard", "spec", "result"] {
        if let Some(inner @ Value::Object(_)) = object.remove(envelope) {
            return collect(inner, format, boards);
        }
    }
    if let Some(panel @ Value::Object(_)) = object.remove("model") {
        return boards.push(Board(json!({"title": object.get("name"), "panels": [panel]})));
    }
    let lists = ["items", "dashboards", "groups"].into_iter().filter_map(|key| object.remove(key));
    lists.for_each(|list| collect(list, format, boards));
}

/// Reads `$$` as `$`, as Grafana does in its provisioning files.
fn unescape(value: &mut Value) {
    match value {
        Value::String(text) => *text = text.replace("$$", "$"),
        Value::Array(values) => values.iter_mut().for_each(unescape),
        Value::Object(object) => object.values_mut().for_each(unescape),
        _ => {}
    }
}

fn array(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

#[cfg(test)]
mod tests;
