//! Grafana's boards as files: the targets of their panels, whatever the age of the file.
//!
//! It reads the classic schema (bare, under `dashboard` as the HTTP API gives it, or under `spec` as a
//! v1 resource) and the v2 resource of Grafana 12 and 13. It changes nothing, and knows no query
//! language: a target's model is handed out as it is.

mod data_source;
mod variables;

use serde_json::{Map, Value};
use weir_plan::{Error, Result};

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
}

impl Target<'_> {
    /// A text among the panel's query options.
    pub fn option(&self, name: &str) -> Option<&str> {
        self.options.get(name)?.as_str().filter(|text| !text.is_empty())
    }
}

impl Board {
    /// Reads a board's JSON.
    ///
    /// # Errors
    /// `InvalidQuery` for a text that is no board.
    pub fn parse(text: &str) -> Result<Self> {
        let mut board: Value =
            serde_json::from_str(text).map_err(|error| Error::invalid(format!("the board is not JSON: {error}")))?;
        for envelope in ["dashboard", "spec"] {
            if let Some(inner @ Value::Object(_)) = board.get_mut(envelope) {
                board = inner.take();
            }
        }
        if ["panels", "rows"].iter().any(|key| board[*key].is_array()) || board["elements"].is_object() {
            return Ok(Self(board));
        }
        Err(Error::invalid("the file is no Grafana board: it has neither panels, rows nor elements"))
    }

    /// The board's title.
    pub fn title(&self) -> &str {
        self.0["title"].as_str().unwrap_or_default()
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
        }))
    }));
}

fn array(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

#[cfg(test)]
mod tests;
