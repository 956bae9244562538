//! What there is to query: projects, datasets, tables and their rows; and the token endpoint.

use std::collections::BTreeSet;

use axum::Json;
use axum::body::Bytes;
use axum::extract::Path;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde_json::{Value, json};
use weir_plan::TableId;

use super::log::CallKind;
use super::pages::{PageRequest, page};
use super::queries::page_token;
use super::reply::{ApiError, Reply};
use super::resources;
use super::rest::{Admitted, Asked, TablePath, table_id};
use crate::source::Table;

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
                let projects: Vec<_> = admitted
                    .projects()
                    .into_iter()
                    .map(|project| {
                        json!({
                            "kind": "bigquery#project",
                            "id": project,
                            "numericId": "1",
                            "friendlyName": project,
                            "projectReference": {"projectId": project},
                        })
                    })
                    .collect();
                Ok(Reply::new(
                    json!({"kind": "bigquery#projectList", "totalItems": projects.len(), "projects": projects}),
                ))
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
                let datasets = admitted.datasets(&project)?;
                let datasets = datasets.iter().map(|dataset| admitted.dataset(&project, dataset));
                let datasets: Vec<_> = datasets.collect();
                Ok(Reply::new(json!({"kind": "bigquery#datasetList", "datasets": datasets})))
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
                admitted.check_dataset(&project, &dataset)?;
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
                admitted.check_dataset(&project, &dataset)?;
                let start = admitted.first_row(&format!("{project}.{dataset}"))?;
                let limit = admitted.number("maxResults")?.unwrap_or(50).max(1);
                let names: Vec<_> =
                    admitted.tables().into_iter().filter(|id| id.project == project && id.dataset == dataset).collect();
                let (skip, take) =
                    (usize::try_from(start).unwrap_or(usize::MAX), usize::try_from(limit).unwrap_or(usize::MAX));
                let mut tables = Vec::new();
                for id in names.iter().skip(skip).take(take) {
                    tables.push(listed_table(
                        &admitted.shared.source.table(id).await?,
                        &admitted.shared.config.location,
                    )?);
                }
                let mut reply = json!({"kind": "bigquery#tableList", "totalItems": names.len(), "tables": tables});
                let next = start.saturating_add(limit);
                if next < names.len() as u64 {
                    reply["nextPageToken"] = page_token(&format!("{project}.{dataset}"), next).into();
                }
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

/// A table as `tables.list` shows it: without schema and sizes.
fn listed_table(table: &Table, location: &str) -> Result<Value, ApiError> {
    let mut json = resources::table(table, location)?;
    if let Some(fields) = json.as_object_mut() {
        fields.retain(|name, _| {
            ["kind", "id", "tableReference", "type", "timePartitioning", "creationTime"].contains(&name.as_str())
        });
    }
    Ok(json)
}

impl Admitted {
    fn tables(&self) -> Vec<TableId> {
        self.shared.config.tables.as_ref().map(|tables| tables()).unwrap_or_default()
    }

    fn projects(&self) -> BTreeSet<String> {
        let own = self.shared.source.identity().project.clone();
        self.tables().into_iter().map(|id| id.project).chain([own]).collect()
    }

    fn datasets(&self, project: &str) -> Result<BTreeSet<String>, ApiError> {
        if !self.projects().contains(project) {
            return Err(ApiError::not_found(format!("Project {project}")));
        }
        Ok(self.tables().into_iter().filter(|id| id.project == project).map(|id| id.dataset).collect())
    }

    fn check_dataset(&self, project: &str, dataset: &str) -> Result<(), ApiError> {
        if self.datasets(project)?.contains(dataset) {
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
