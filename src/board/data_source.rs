//! Whom a query asks: a name, a type and uid, or a variable that stands for either.

use serde_json::Value;

/// The plugins whose queries we answer.
const BIGQUERY: [&str; 3] = ["weir-bigquery-datasource", "grafana-bigquery-datasource", "doitintl-bigquery-datasource"];

/// A data source, as far as a file tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DataSource<'a> {
    /// The plugin's id.
    pub plugin: Option<&'a str>,
    /// Its uid, or its name in old files, or a variable.
    pub name: Option<&'a str>,
}

impl<'a> DataSource<'a> {
    /// Whether it is a `BigQuery` data source; `None` where the file does not tell.
    pub fn is_bigquery(&self) -> Option<bool> {
        self.plugin.map(|plugin| BIGQUERY.contains(&plugin))
    }

    /// Reads a classic board's value: a text, or `{"type", "uid"}`. `None` where there is none, or
    /// where each query has its own.
    pub(super) fn read(value: &'a Value, board: &'a Value) -> Option<Self> {
        let found = match value {
            Value::String(name) => Self { plugin: None, name: Some(name) },
            Value::Object(_) => Self { plugin: value["type"].as_str(), name: value["uid"].as_str() },
            _ => return None,
        };
        let mixed = ["-- Mixed --", "mixed"];
        if [found.plugin, found.name].into_iter().flatten().any(|text| mixed.contains(&text)) {
            return None;
        }
        let plugin = found.plugin.or_else(|| plugin_of_variable(found.name?, board));
        Some(Self { plugin, ..found })
    }

    /// Reads the `spec` of a v2 resource's `PanelQuery`. The plugin is the query's `group`; in
    /// v2alpha1 it is the query's `kind`.
    pub(super) fn of_panel_query(spec: &'a Value) -> Self {
        let query = &spec["query"];
        let kind = query["kind"].as_str().filter(|kind| *kind != "DataQuery");
        let plugin = query["group"].as_str().or(kind).or(spec["datasource"]["type"].as_str());
        let name = query["datasource"]["name"].as_str().or(spec["datasource"]["uid"].as_str());
        Self { plugin: plugin.filter(|plugin| !plugin.is_empty()), name }
    }
}

/// The plugin behind `$name` or `${name}`: of an input of an exported board, or of a variable of data
/// sources.
fn plugin_of_variable<'a>(text: &str, board: &'a Value) -> Option<&'a str> {
    let name = text.strip_prefix('$')?;
    let name = name.strip_prefix('{').and_then(|name| name.strip_suffix('}')).unwrap_or(name);
    let find = |list: &'a Value, key: &str| -> Option<&'a str> {
        list.as_array()?.iter().find(|entry| entry["name"] == name)?[key].as_str()
    };
    find(&board["__inputs"], "pluginId").or_else(|| {
        let is_of_data_sources = find(&board["templating"]["list"], "type") == Some("datasource");
        find(&board["templating"]["list"], "query").filter(|_| is_of_data_sources)
    })
}
