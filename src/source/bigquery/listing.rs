//! Lists of projects, datasets and tables, read to their last page.
//!
//! It does not remember them: that is the engine's.

use std::collections::BTreeSet;

use gcp_bigquery_client::model::project_reference::ProjectReference;
use gcp_bigquery_client::model::table_reference::TableReference;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use weir_plan::{Error, Kind, Result};

use super::rest::Rest;
use crate::source::{Listed, Project};

/// Entries asked for in a page; `BigQuery` may give fewer.
/// Source: <https://cloud.google.com/bigquery/docs/paging-results>.
const PAGE: usize = 1_000;

/// A longer list helps nobody to choose from.
const LONGEST: usize = 100_000;

/// A list of the v2 API.
trait List: DeserializeOwned {
    type Entry: Ord;

    /// The entries, and the token of the next page.
    fn take(self) -> (Vec<Self::Entry>, Option<String>);
}

/// `projects.list`.
pub(super) async fn projects(rest: &Rest) -> Result<Vec<Project>> {
    list::<ProjectList>(rest, &["projects"]).await
}

/// `datasets.list`.
pub(super) async fn datasets(rest: &Rest, project: &str) -> Result<Vec<String>> {
    let list = list::<DatasetList>(rest, &["projects", project, "datasets"]).await;
    list.map_err(|error| naming(error, project))
}

/// `tables.list`.
pub(super) async fn tables(rest: &Rest, project: &str, dataset: &str) -> Result<Vec<Listed>> {
    let list = list::<TableList>(rest, &["projects", project, "datasets", dataset, "tables"]).await;
    list.map_err(|error| naming(error, dataset))
}

/// All entries of all pages, sorted.
async fn list<L: List>(rest: &Rest, path: &[&str]) -> Result<Vec<L::Entry>> {
    let mut all = BTreeSet::new();
    let mut token: Option<String> = None;
    loop {
        let mut query = vec![("maxResults", PAGE.to_string())];
        query.extend(token.clone().map(|token| ("pageToken", token)));
        let page: L = rest.get(path, &query).await?;
        let (entries, next) = page.take();
        all.extend(entries);
        if all.len() > LONGEST {
            let message = format!("{} has more than {LONGEST} entries; write the name in the SQL", path.join("/"));
            return Err(Error::new(Kind::TooLarge, message));
        }
        match next.filter(|next| !next.is_empty()) {
            None => return Ok(all.into_iter().collect()),
            Some(next) if token.as_ref() == Some(&next) => {
                let message = format!("BigQuery gives the same page of {} again and again", path.join("/"));
                return Err(Error::new(Kind::Unavailable, message));
            }
            next => token = next,
        }
    }
}

/// `BigQuery`'s own messages name what is not there; a proxy's page does not.
fn naming(error: Error, name: &str) -> Error {
    if error.message().contains(name) { error } else { error.context(name) }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ProjectList {
    #[serde(default)]
    projects: Vec<ProjectEntry>,
    next_page_token: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ProjectEntry {
    project_reference: ProjectReference,
    friendly_name: Option<String>,
}

impl List for ProjectList {
    type Entry = Project;

    fn take(self) -> (Vec<Project>, Option<String>) {
        let project = |entry: ProjectEntry| {
            let id = entry.project_reference.project_id;
            Project { name: entry.friendly_name.filter(|name| !name.is_empty()).unwrap_or_else(|| id.clone()), id }
        };
        (self.projects.into_iter().map(project).collect(), self.next_page_token)
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct DatasetList {
    #[serde(default)]
    datasets: Vec<DatasetEntry>,
    next_page_token: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct DatasetEntry {
    dataset_reference: DatasetReference,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct DatasetReference {
    dataset_id: String,
}

impl List for DatasetList {
    type Entry = String;

    fn take(self) -> (Vec<String>, Option<String>) {
        (self.datasets.into_iter().map(|entry| entry.dataset_reference.dataset_id).collect(), self.next_page_token)
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct TableList {
    #[serde(default)]
    tables: Vec<TableEntry>,
    next_page_token: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct TableEntry {
    table_reference: TableReference,
    #[serde(rename = "type")]
    kind: Option<String>,
}

impl List for TableList {
    type Entry = Listed;

    fn take(self) -> (Vec<Listed>, Option<String>) {
        let listed = |entry: TableEntry| Listed {
            name: entry.table_reference.table_id,
            kind: entry.kind.unwrap_or_else(|| "TABLE".to_owned()),
        };
        (self.tables.into_iter().map(listed).collect(), self.next_page_token)
    }
}
