//! What a caller asks, free of protocol: both doors decode into a [`Query`].

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::Error;
use crate::extent::{Extent, Step};
use crate::target::Target;

/// One question to the engine.
#[derive(Clone, Debug, PartialEq)]
pub struct Query {
    /// SQL as written, its `$__macros` unexpanded.
    pub sql: String,
    /// The asked range, half-open; `None` where the caller has none (range macros are then an error).
    pub range: Option<Extent>,
    /// Grafana's suggested interval, or the export's `step`; what `$__interval` stands for.
    pub step: Option<Step>,
    /// What macros stand for besides range and step.
    pub target: Target,
    /// `BigQuery` query parameters by name, without `@`.
    pub parameters: BTreeMap<String, Parameter>,
    /// Project and dataset that unqualified table names belong to, `dataset` or `project.dataset`.
    pub default_dataset: Option<String>,
    /// Location the job must run in, for example `EU`.
    pub location: Option<String>,
    /// Labels of the job, already in `BigQuery`'s form.
    pub labels: BTreeMap<String, String>,
    /// Who asks, where that is known: whom the bill is put down to. No answer depends on it.
    pub principal: Option<String>,
    /// Upper limit of billed bytes for a job of this query; the smaller of this and the source's holds.
    pub maximum_bytes_billed: Option<u64>,
    /// How the cache may be used.
    pub cache: CacheControl,
    /// Whose eyes the answer is for; answers never cross scopes.
    pub scope: Scope,
    /// How long the caller waits; `None` leaves it to the source's settings.
    pub deadline: Option<Duration>,
}

impl Query {
    /// The deadline of a query where nobody names one.
    pub const DEADLINE: Duration = Duration::from_mins(1);
    /// The longest deadline that a caller or a setting may ask for.
    pub const LONGEST_DEADLINE: Duration = Duration::from_hours(1);

    /// A query of plain SQL with every setting at its default.
    pub fn new(sql: impl Into<String>) -> Self {
        Self {
            sql: sql.into(),
            range: None,
            step: None,
            target: Target::default(),
            parameters: BTreeMap::new(),
            default_dataset: None,
            location: None,
            labels: BTreeMap::new(),
            principal: None,
            maximum_bytes_billed: None,
            cache: CacheControl::default(),
            scope: Scope::default(),
            deadline: None,
        }
    }
}

/// How a query may use the cache.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CacheControl {
    /// Which modes are allowed.
    pub mode: CacheMode,
    /// The oldest answer that may be served stale; `None` leaves it to the plan.
    pub max_stale: Option<Duration>,
    /// Replaces the freshness of the open slot (Grafana's `queryCachingTTL`).
    pub fresh_for: Option<Duration>,
    /// Skips reading, still joins flights and stores (Grafana's `X-Cache-Skip`).
    pub skip_read: bool,
}

/// Which modes the planner may choose.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CacheMode {
    /// The best that is safe.
    #[default]
    Auto,
    /// Whole answers only.
    Whole,
    /// Neither read nor stored; the exact range of the caller.
    Off,
}

/// The authorisation scope of an answer: the credential that `BigQuery` sees, and for forwarded
/// logins the user as well.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Scope(pub String);

/// A typed `BigQuery` query parameter, as in `{"type": "INT64", "value": 3}`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Parameter {
    /// `GoogleSQL` type name, for example `STRING`, `INT64`, `TIMESTAMP` or `ARRAY<STRING>`.
    #[serde(rename = "type")]
    pub type_name: String,
    /// The value; JSON's null is SQL's NULL.
    pub value: Value,
}

/// A table's full name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TableId {
    /// Project.
    pub project: String,
    /// Dataset.
    pub dataset: String,
    /// Table or view.
    pub table: String,
}

impl TableId {
    /// Makes a name of its parts.
    pub fn new(project: impl Into<String>, dataset: impl Into<String>, table: impl Into<String>) -> Self {
        Self { project: project.into(), dataset: dataset.into(), table: table.into() }
    }
}

impl fmt::Display for TableId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.project, self.dataset, self.table)
    }
}

impl FromStr for TableId {
    type Err = Error;

    /// Reads `project.dataset.table`; projects with a domain (`example.com:project`) included.
    fn from_str(text: &str) -> Result<Self, Error> {
        let (rest, table) = text.rsplit_once('.').unwrap_or(("", text));
        match rest.rsplit_once('.') {
            Some((project, dataset)) if !project.is_empty() && !dataset.is_empty() && !table.is_empty() => {
                Ok(Self::new(project, dataset, table))
            }
            _ => Err(Error::invalid(format!("table {text:?} is not of the form project.dataset.table"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tables_name_has_three_parts_and_a_project_may_have_a_domain() {
        for (text, project) in [("p.d.t", "p"), ("example.com:p.d.t", "example.com:p")] {
            let table: TableId = text.parse().unwrap();
            assert_eq!((&table, table.to_string()), (&TableId::new(project, "d", "t"), text.to_owned()));
        }
        for text in ["", "t", "d.t", ".d.t", "p..t", "p.d.", ".."] {
            let error = text.parse::<TableId>().unwrap_err();
            assert!(error.message().contains("project.dataset.table"), "{text}");
        }
    }
}
