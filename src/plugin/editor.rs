//! The resource routes of the official data source's editor, with its requests and answers, so that
//! an editor made for it works here.
//!
//! Arguments are a JSON body, or a query string where the body is empty. What there is to choose
//! from is remembered for minutes by the engine.

mod columns;
mod validate;

use std::sync::Arc;

use serde_json::{Map, Value, json};
use weir_plan::{Error, Result, TableId, Timestamp};

use super::headers::Headers;
use super::keys::Keys;
use crate::engine::Engine;

/// What an editor asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ask {
    /// The project that queries belong to where they name none: a text.
    DefaultProject,
    /// `[{"projectId", "displayName"}]`.
    Projects,
    /// Names of a project's datasets.
    Datasets,
    /// Names of a dataset's tables and views.
    Tables,
    /// Names of a table's columns, those within STRUCTs included.
    Columns,
    /// A table's columns with their types, and its partitioning.
    Schema,
    /// Whether a query is valid, and what it would cost.
    Validate,
}

/// The routes by path.
pub(super) const ROUTES: [(&str, Ask); 7] = [
    ("defaultProjects", Ask::DefaultProject),
    ("projects", Ask::Projects),
    ("datasets", Ask::Datasets),
    ("tables", Ask::Tables),
    ("columns", Ask::Columns),
    ("dataset/table/schema", Ask::Schema),
    ("validateQuery", Ask::Validate),
];

/// Whom an editor asks, and when.
pub(super) struct Editor<'a> {
    /// The data source's engine.
    pub(super) engine: &'a Arc<Engine>,
    /// `jsonData` of the data source.
    pub(super) settings: &'a [u8],
    /// The request's headers.
    pub(super) headers: &'a Headers,
    /// The present.
    pub(super) now: Timestamp,
}

impl Editor<'_> {
    /// The answer to `ask`.
    ///
    /// # Errors
    /// `InvalidQuery` naming the argument, and those of the source.
    pub(super) async fn answer(&self, ask: Ask, arguments: &Map<String, Value>) -> Result<Value> {
        let keys = Keys::new(arguments, "");
        let project = name(keys, "project")?.map_or_else(|| self.default_project(), str::to_owned);
        Ok(match ask {
            Ask::DefaultProject => self.default_project().into(),
            Ask::Projects => self.projects().await?,
            Ask::Datasets => json!(*self.engine.datasets(&project).await?),
            Ask::Tables => {
                let tables = self.engine.tables(&project, required(keys, "dataset")?).await?;
                tables.iter().map(|table| table.name.as_str()).collect()
            }
            Ask::Columns => {
                let table = self.engine.table(&table_id(keys, project)?).await?;
                columns::names(table.schema.fields(), is_true(keys, "isOrderable")).into()
            }
            Ask::Schema => columns::description(&*self.engine.table(&table_id(keys, project)?).await?)?,
            Ask::Validate => validate::validate(self, keys).await?,
        })
    }

    /// `defaultProject` of the settings; jobs may run in another.
    fn default_project(&self) -> String {
        let settings: Value = serde_json::from_slice(self.settings).unwrap_or_default();
        let named = settings["defaultProject"].as_str().map(str::trim).filter(|project| !project.is_empty());
        named.unwrap_or(&self.engine.source().identity().project).to_owned()
    }

    /// The projects that the login sees, and the default one: a login may query what it does not see.
    async fn projects(&self) -> Result<Value> {
        let project = |id: &str, name: &str| json!({"projectId": id, "displayName": name});
        let seen = self.engine.projects().await?;
        let default = self.default_project();
        let mut projects: Vec<_> = seen.iter().map(|seen| project(&seen.id, &seen.name)).collect();
        if !seen.iter().any(|seen| seen.id == default) {
            projects.insert(0, project(&default, &default));
        }
        Ok(projects.into())
    }
}

/// The arguments of a request.
///
/// # Errors
/// `InvalidQuery` for a body that is not a JSON object.
pub(super) fn arguments(body: &[u8], url: &str) -> Result<Map<String, Value>> {
    if body.trim_ascii().is_empty() {
        let query = url.split_once('?').map_or("", |(_, query)| query);
        let pairs = url::form_urlencoded::parse(query.as_bytes()).into_owned();
        return Ok(pairs.map(|(name, value)| (name, value.into())).collect());
    }
    match serde_json::from_slice(body) {
        Ok(Value::Object(arguments)) => Ok(arguments),
        Ok(Value::Null) => Ok(Map::new()),
        Ok(_) => Err(Error::invalid("the body is not a JSON object")),
        Err(error) => Err(Error::invalid(format!("the body is not JSON: {error}"))),
    }
}

/// A name that becomes a part of a path, where these two would mean another one.
fn name<'a>(keys: Keys<'a>, key: &str) -> Result<Option<&'a str>> {
    match keys.text(key)? {
        Some(dots @ ("." | "..")) => Err(Error::invalid(format!("{key}: {dots:?} is not a name"))),
        name => Ok(name),
    }
}

fn required<'a>(keys: Keys<'a>, key: &str) -> Result<&'a str> {
    name(keys, key)?.ok_or_else(|| Error::invalid(format!("{key} is missing; give its name")))
}

fn table_id(keys: Keys<'_>, project: String) -> Result<TableId> {
    Ok(TableId::new(project, required(keys, "dataset")?, required(keys, "table")?))
}

/// The official editor writes the text `"true"`.
fn is_true(keys: Keys<'_>, key: &str) -> bool {
    match keys.value(key) {
        Some(Value::Bool(flag)) => *flag,
        Some(Value::String(text)) => text.eq_ignore_ascii_case("true"),
        _ => false,
    }
}

#[cfg(test)]
mod tests;
