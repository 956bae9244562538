//! What there is to query: projects, datasets, tables and their rows; and the token endpoint.

use axum::Json;
use axum::body::Bytes;
use axum::extract::Path;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde_json::{Value, json};

use super::log::CallKind;
use super::pages::{PageRequest, page};
use super::queries::page_token;
use super::reply::{ApiError, Reply};
use super::resources;
use super::rest::{Admitted, Asked, TablePath, table_id};
use crate::source::{Listed, Project};

/// Entries of a page where the caller does not say.
/// Source: <https://cloud.google.com/bigquery/docs/paging-results>.
const DEFAULT_ENTRIES: u64 = 50;

pub(super) async fn token(asked: Asked, body: Bytes) -> Response {
    // The endpoint is open: tokens are what it gives.
    asked
        .answer(
            CallKind::Token,
            |_| {},
            |admitted| async move { Ok(oauth(admitted.shared.tokens.grant(&body, admitted.shared.clock.now()))) },
        )
        .await
}

/// The answer of an OAuth endpoint, or its refusal.
pub(super) fn oauth(outcome: Result<Value, (&'static str, String)>) -> Response {
    match outcome {
        Ok(token) => Json(token).into_response(),
        Err((error, description)) => {
            let body = json!({"error": error, "error_description": description});
            (StatusCode::BAD_REQUEST, Json(body)).into_response()
        }
    }
}

pub(super) async fn list_projects(asked: Asked) -> Response {
    asked
        .answer(
            CallKind::ListProjects,
            |_| {},
            |admitted| async move {
                let projects = admitted.shared.source.list_projects().await?;
                let total = projects.len();
                let page = admitted.entries("projects", projects)?;
                let mut reply = page.reply("bigquery#projectList", "projects", |Project { id, name }| {
                    json!({
                        "kind": "bigquery#project",
                        "id": id,
                        "numericId": "1",
                        "friendlyName": name,
                        "projectReference": {"projectId": id},
                    })
                });
                reply["totalItems"] = total.into();
                Ok(Reply::new(reply))
            },
        )
        .await
}

pub(super) async fn list_datasets(asked: Asked, Path(project): Path<String>) -> Response {
    asked
        .answer(
            CallKind::ListDatasets,
            |_| {},
            |admitted| async move {
                let datasets = admitted.shared.source.list_datasets(&project).await?;
                let page = admitted.entries(&project, datasets)?;
                let reply =
                    page.reply("bigquery#datasetList", "datasets", |dataset| admitted.dataset(&project, &dataset));
                Ok(Reply::new(reply))
            },
        )
        .await
}

pub(super) async fn get_dataset(asked: Asked, Path((project, dataset)): Path<(String, String)>) -> Response {
    asked
        .answer(
            CallKind::GetDataset,
            |_| {},
            |admitted| async move {
                admitted.check_dataset(&project, &dataset).await?;
                let mut json = admitted.dataset(&project, &dataset);
                json["kind"] = "bigquery#dataset".into();
                Ok(Reply::new(json))
            },
        )
        .await
}

pub(super) async fn list_tables(asked: Asked, Path((project, dataset)): Path<(String, String)>) -> Response {
    asked
        .answer(
            CallKind::ListTables,
            |_| {},
            |admitted| async move {
                let tables = admitted.shared.source.list_tables(&project, &dataset).await?;
                let total = tables.len();
                let page = admitted.entries(&format!("{project}.{dataset}"), tables)?;
                let mut reply = page.reply("bigquery#tableList", "tables", |Listed { name, kind }| {
                    json!({
                        "kind": "bigquery#table",
                        "id": format!("{project}:{dataset}.{name}"),
                        "tableReference": {"projectId": project, "datasetId": dataset, "tableId": name},
                        "type": kind,
                    })
                });
                reply["totalItems"] = total.into();
                Ok(Reply::new(reply))
            },
        )
        .await
}

pub(super) async fn get_table(asked: Asked, path: TablePath) -> Response {
    let table = table_id(path);
    let named = table.clone();
    asked
        .answer(
            CallKind::GetTable,
            |call| call.table = Some(named),
            |admitted| async move {
                resources::table(&admitted.shared.table(&table).await?, &admitted.shared.config.location)
                    .map(Reply::new)
            },
        )
        .await
}

pub(super) async fn read_table(asked: Asked, path: TablePath) -> Response {
    let table = table_id(path);
    let named = table.clone();
    asked
        .answer(
            CallKind::ReadTable,
            |call| call.table = Some(named),
            |admitted| async move {
                let rows = admitted.shared.table_rows(&table, &[]).await?;
                let request = PageRequest {
                    start: admitted.first_row(&table.table)?,
                    max_rows: admitted.number("maxResults")?,
                    max_bytes: admitted.shared.config.page_bytes,
                    short: admitted.short,
                    timestamps: admitted.timestamps(),
                };
                let page = page(&rows, request)?;
                let mut fields =
                    json!({"kind": "bigquery#tableDataList", "etag": "weir", "totalRows": rows.num_rows().to_string()});
                if let Some(next) = page.next {
                    fields["pageToken"] = page_token(&table.table, next).into();
                }
                Ok(Reply::new(fields).with_rows(page.rows))
            },
        )
        .await
}

/// A part of a list.
struct Entries<T> {
    entries: Vec<T>,
    next: Option<String>,
}

impl<T> Entries<T> {
    fn reply(self, kind: &str, name: &str, entry: impl Fn(T) -> Value) -> Value {
        let mut reply = json!({"kind": kind, "etag": "weir"});
        // An empty list is left out.
        if !self.entries.is_empty() {
            reply[name] = self.entries.into_iter().map(entry).collect();
        }
        if let Some(next) = self.next {
            reply["nextPageToken"] = next.into();
        }
        reply
    }
}

impl Admitted {
    /// The part of a list that the request asks for: as many entries as it wants, at most as many as
    /// the server gives.
    fn entries<T>(&self, list: &str, all: Vec<T>) -> Result<Entries<T>, ApiError> {
        let start = self.first_row(list)?;
        let asked = self.number("maxResults")?.filter(|count| *count > 0).unwrap_or(DEFAULT_ENTRIES);
        let end = start.saturating_add(asked.min(self.shared.config.list_entries));
        let next = (end < all.len() as u64).then(|| page_token(list, end));
        let size = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
        Ok(Entries { entries: all.into_iter().take(size(end)).skip(size(start)).collect(), next })
    }

    async fn check_dataset(&self, project: &str, dataset: &str) -> Result<(), ApiError> {
        if self.shared.source.list_datasets(project).await?.iter().any(|name| name == dataset) {
            return Ok(());
        }
        Err(ApiError::not_found(format!("Dataset {project}:{dataset}")))
    }

    fn dataset(&self, project: &str, dataset: &str) -> Value {
        json!({
            "kind": "bigquery#dataset",
            "id": format!("{project}:{dataset}"),
            "datasetReference": {"projectId": project, "datasetId": dataset},
            "location": self.shared.config.location,
        })
    }
}
