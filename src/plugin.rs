//! The Grafana door: a data-source plugin process, spoken to over gRPC on the loopback.
//!
//! The only module that knows grafana-plugin-sdk, and its generation of tonic. It takes the SDK's
//! generated services and nothing of its request handling, which writes decrypted settings into the
//! log and lets one bad query fail a whole panel (plugin contract, "SDK defects").

mod caller;
mod controller;
mod data;
mod diagnostics;
mod editor;
mod fields;
mod frames;
mod headers;
mod instances;
mod ipc;
mod keys;
mod ledger;
mod meta;
mod model;
mod resource;
#[cfg(test)]
mod scripted;
mod serve;
mod settings;
mod shift;
mod target;
mod wide;

pub use model::Format;
pub use serve::{serve, serve_on};

use serde_json::{Map, Value};
use tracing_subscriber::Layer;
use tracing_subscriber::registry::LookupSpan;
use weir_plan::error::LogLevel;
use weir_plan::{Error, Extent, Query, Result};

use crate::engine::{Answer, Engine};

/// The frames of an answer as Arrow IPC files of one record batch each, as Grafana is sent them. The
/// rows of one content are encoded once for each format and kept; a later call puts `ref_id` and the
/// answer's provenance round the kept bytes.
///
/// # Errors
/// `InvalidQuery` for rows that the format cannot show; it names the column, or time and labels.
pub fn frames(engine: &Engine, answer: &Answer, format: Format, ref_id: &str) -> Result<Vec<Vec<u8>>> {
    frames::frames(engine, answer, &model::Shape::of(format), ref_id)
}

/// The question of a target of a board, as the board has it and Grafana would send it.
///
/// # Errors
/// `InvalidQuery` naming the key.
pub fn query_of_target(model: &Map<String, Value>, range: Option<Extent>, interval_ms: i64) -> Result<Query> {
    model::query(model, model::Envelope { range, interval_ms, ..Default::default() }, &headers::Headers::default())
}

/// Writes events to stderr as hclog's JSON lines, which Grafana takes into its own log with their
/// levels and fields.
pub fn log_layer<S>() -> impl Layer<S> + Send + Sync + 'static
where
    S: tracing::Subscriber + for<'a> LookupSpan<'a> + Send + Sync + 'static,
{
    grafana_plugin_sdk::backend::layer()
}

/// The one log line of a failed request; `subject` says what failed: a refId, a path.
fn log(error: &Error, subject: &str) {
    let code = error.kind().row().code;
    match error.kind().row().log {
        LogLevel::Debug => tracing::debug!(subject, code, ?error, "request failed"),
        LogLevel::Warn => tracing::warn!(subject, code, ?error, "request failed"),
        LogLevel::Error => tracing::error!(subject, code, ?error, "request failed"),
    }
}
