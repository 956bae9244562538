//! The HTTP door: the export API over the engines of an [`App`]. The only module that knows axum.
//!
//! It decodes requests, calls the engine and encodes answers; it knows no cache and no source.

mod docs;
mod encoding;
mod experiments;
mod fields;
mod format;
mod guard;
mod named;
mod openapi;
mod problem;
mod reply;
mod request;
mod routes;
mod serve;
#[cfg(test)]
mod tests;
mod writer;

use std::sync::Arc;

use axum::Router;
use axum::routing::{get, post};
use tokio_util::sync::CancellationToken;
use tower_http::catch_panic::CatchPanicLayer;

use self::format::Format;
use crate::app::App;

pub use serve::{bind, serve};

/// How the door behaves.
#[derive(Clone, Debug)]
pub struct ExportSettings {
    /// Whether only this machine is served, so that requests under another host's name are refused.
    pub local_only: bool,
    /// Bytes of the largest request body.
    pub largest_body: usize,
    /// Cancelled when the process is about to end: `/readyz` says so.
    pub stop: CancellationToken,
}

impl Default for ExportSettings {
    fn default() -> Self {
        Self {
            local_only: true,
            // A SQL text is at most 1 MB for BigQuery: <https://cloud.google.com/bigquery/quotas#query_jobs>.
            largest_body: 1024 * 1024,
            stop: CancellationToken::new(),
        }
    }
}

/// What every request needs.
struct Export {
    app: Arc<App>,
    settings: ExportSettings,
}

/// The routes of the export API, of the probes and of the metrics.
pub fn router(app: Arc<App>, settings: ExportSettings) -> Router {
    let export = Arc::new(Export { app, settings });
    Router::new()
        .route("/api/v1/query", get(routes::get_query).post(routes::post_query))
        .route("/api/v1/explain", get(routes::get_explain).post(routes::post_explain))
        .route("/api/v1/purge", post(routes::purge))
        .route("/api/v1/ledger", get(routes::ledger))
        .merge(experiment_routes())
        .route("/api/v1/openapi.json", get(openapi::described))
        .route("/api/v1/docs", get(docs::page))
        .layer(axum::middleware::from_fn_with_state(Arc::clone(&export), guard::guard))
        .route("/healthz", get(routes::health))
        .route("/readyz", get(routes::ready))
        .route("/metrics", get(routes::metrics))
        .fallback(problem::unknown_path)
        .method_not_allowed_fallback(problem::wrong_method)
        .layer(CatchPanicLayer::custom(problem::panicked))
        .with_state(export)
}

/// The routes of experiments; a format may stand behind the last name.
fn experiment_routes() -> Router<Arc<Export>> {
    let mut routes = Router::new()
        .route("/api/v1/experiments", get(experiments::list))
        .route("/api/v1/experiments/counts", get(experiments::all_counts))
        .route("/api/v1/experiments/health", get(experiments::all_health))
        .route("/api/v1/experiments/{slug}", get(experiments::one))
        .route("/api/v1/experiments/{slug}/{document}", get(experiments::of_one))
        .route("/api/v1/experiments/{slug}/series/{dataset}", get(experiments::series_of_one))
        .route("/api/v1/series/{dataset}", get(experiments::series_of_many).post(experiments::post_series))
        .route("/api/v1/datasets", get(experiments::datasets));
    for format in Format::ALL.map(Format::name) {
        routes = routes
            .route(&format!("/api/v1/experiments.{format}"), get(experiments::list))
            .route(&format!("/api/v1/datasets.{format}"), get(experiments::datasets));
    }
    routes
}
