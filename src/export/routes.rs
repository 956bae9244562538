//! The routes: decode, ask the engine, hand over to the reply.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, EXPECT};
use axum::http::{HeaderMap, HeaderValue};
use axum::response::{IntoResponse, Response};
use axum::{Json, body::HttpBody as _};
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt as _;
use serde_json::json;
use weir_plan::{Error, Extent, Kind, Result, Timestamp};

use super::Export;
use super::fields::Fields;
use super::format::Format;
use super::openapi::{QueryBody, Table};
use super::problem::Problem;
use super::reply::{self, header};
use super::request::Request;
use super::writer;
use crate::engine::Door;
use crate::ledger::{Dimension, Filter};

type Reply = std::result::Result<Response, Problem>;

/// How long the rest of a body that is too large is read and thrown away: a client that still
/// sends when the connection closes sees a broken pipe in place of the answer.
const LINGER: Duration = Duration::from_secs(5);

/// The format may stand in the query string too, where it beats the body's.
#[utoipa::path(post, path = "/api/v1/query", tag = "query", request_body = QueryBody,
    responses((status = 200, description = "The rows", body = Table)))]
pub(super) async fn post_query(
    State(export): State<Arc<Export>>,
    headers: HeaderMap,
    RawQuery(text): RawQuery,
    body: Body,
) -> Reply {
    let mut beside = Fields::from_query_string(&text.unwrap_or_default(), &["format"])?;
    let format = beside.parsed("format", Format::parse)?;
    let body = read(body, &headers, export.settings.largest_body).await?;
    let request = Request::from_json(&body, export.app.clock().now())?;
    query(&export, &headers, Request { format: format.or(request.format), ..request }).await
}

/// Answers a query from its query string.
#[utoipa::path(get, path = "/api/v1/query", tag = "query", params(
    ("sql" = String, Query, description = "A SELECT in GoogleSQL, with Grafana's time macros"),
    ("from" = Option<String>, Query, description = "Start of the range: RFC 3339, epoch milliseconds, or `now-6h`"),
    ("to" = Option<String>, Query, description = "End of the range"),
    ("step" = Option<String>, Query, description = "Length of buckets, as `5m`"),
), responses((status = 200, description = "The rows", body = Table)))]
pub(super) async fn get_query(
    State(export): State<Arc<Export>>,
    headers: HeaderMap,
    RawQuery(text): RawQuery,
) -> Reply {
    query(&export, &headers, of_query_string(&export, text)?).await
}

/// Answers a query. The format is settled first: an answer that nobody can read must not be billed.
async fn query(export: &Export, headers: &HeaderMap, request: Request) -> Reply {
    let format = match request.format {
        Some(format) => format,
        None => Format::accepted(header(headers, "accept").as_deref())?,
    };
    let engine = export.app.source(request.source.as_deref())?;
    let answer = engine.answer(&request.query, Door::Export).await?;
    Ok(reply::reply(&engine, &answer, format, headers)?)
}

/// Says how a query would be answered and what it would cost.
#[utoipa::path(post, path = "/api/v1/explain", tag = "query", request_body = QueryBody,
    responses((status = 200, description = "Mode, reason, segments, bytes", body = Object)))]
pub(super) async fn post_explain(State(export): State<Arc<Export>>, headers: HeaderMap, body: Body) -> Reply {
    let body = read(body, &headers, export.settings.largest_body).await?;
    let request = Request::from_json(&body, export.app.clock().now())?;
    explain(&export, request).await
}

/// Says how a query would be answered and what it would cost, from its query string.
#[utoipa::path(get, path = "/api/v1/explain", tag = "query", params(("sql" = String, Query)),
    responses((status = 200, description = "Mode, reason, segments, bytes", body = Object)))]
pub(super) async fn get_explain(State(export): State<Arc<Export>>, RawQuery(text): RawQuery) -> Reply {
    explain(&export, of_query_string(&export, text)?).await
}

async fn explain(export: &Export, request: Request) -> Reply {
    let engine = export.app.source(request.source.as_deref())?;
    let deadline = engine.deadline(&request.query);
    let explanation = tokio::time::timeout(deadline, engine.explain(&request.query))
        .await
        .map_err(|_| Error::new(Kind::Timeout, format!("no dry run within {} s; ask again", deadline.as_secs())))?;
    Ok(Json(explanation?).into_response())
}

/// Leaves stored answers behind: all, or those of a range or a text.
#[utoipa::path(post, path = "/api/v1/purge", tag = "query", request_body = Object,
    responses((status = 200, description = "The purge's number, and a note where rows stay", body = Object)))]
pub(super) async fn purge(State(export): State<Arc<Export>>, headers: HeaderMap, body: Body) -> Reply {
    let body = read(body, &headers, export.settings.largest_body).await?;
    let body: &[u8] = if body.trim_ascii().is_empty() { b"{}" } else { &body };
    let now = export.app.clock().now();
    let mut fields = Fields::from_json(body, &["source", "from", "to", "sql"])?;
    let (source, sql) = (fields.text("source")?, fields.text("sql")?);
    let from = fields.parsed("from", |text| Timestamp::parse(text, now))?;
    let to = fields.parsed("to", |text| Timestamp::parse(text, now))?;
    let range = match (from, to) {
        (None, None) => None,
        (Some(from), to) => Some(Extent::new(from, to.unwrap_or(now))?),
        (None, Some(_)) => return Err(Error::invalid("from is missing; give the first day of the purge").into()),
    };
    let purged = export.app.source(source.as_deref())?.purge_some(range, sql.as_deref())?;
    tracing::info!(source, generation = purged.generation, ?range, sql, "stored answers were purged");
    Ok(Json(purged).into_response())
}

/// What was billed and saved: by source, where the request says nothing else.
#[utoipa::path(get, path = "/api/v1/ledger", tag = "query", params(
    ("by" = Option<String>, Query, description = "Dimensions, separated by commas"),
), responses((status = 200, description = "Jobs, answers, bytes", body = Table)))]
pub(super) async fn ledger(State(export): State<Arc<Export>>, headers: HeaderMap, RawQuery(text): RawQuery) -> Reply {
    let now = export.app.clock().now();
    let mut fields = Fields::from_query_string(&text.unwrap_or_default(), &["source", "from", "to", "by", "format"])?;
    let filter = Filter {
        source: fields.text("source")?,
        from: fields.parsed("from", |text| Timestamp::parse(text, now))?,
        to: fields.parsed("to", |text| Timestamp::parse(text, now))?,
    };
    let by = fields.parsed("by", Dimension::list)?.unwrap_or_else(|| vec![Dimension::Source]);
    let format = match fields.parsed("format", Format::parse)? {
        Some(format) => format,
        None => Format::accepted(header(&headers, "accept").as_deref())?,
    };
    let body = writer::whole(format, &export.app.ledger().report(&filter, &by)?)?;
    let described = [(CONTENT_TYPE, HeaderValue::from_static(format.media_type())), (CACHE_CONTROL, NOT_KEPT)];
    Ok((described, body).into_response())
}

/// The ledger changes with every answer.
const NOT_KEPT: HeaderValue = HeaderValue::from_static("no-store");

/// Whether the process lives.
#[utoipa::path(get, path = "/healthz", tag = "process", responses((status = 200, description = "It does", body = String)))]
pub(super) async fn health() -> &'static str {
    "ok\n"
}

/// Ready means: there is a source to ask, and the process is not about to end. Whether `BigQuery`
/// answers is not asked; a restart would not mend it.
#[utoipa::path(get, path = "/readyz", tag = "process", responses((status = 200, description = "The sources", body = Object)))]
pub(super) async fn ready(State(export): State<Arc<Export>>) -> Reply {
    if export.settings.stop.is_cancelled() {
        return Err(Error::new(Kind::Overloaded, "about to end").into());
    }
    let sources = export.app.source_names();
    if sources.is_empty() {
        let message = "no source is configured; add one to the configuration file";
        return Err(Error::new(Kind::Overloaded, message).into());
    }
    let mut ready = json!({"ready": true, "sources": sources});
    let local = export.app.locals();
    if !local.is_empty() {
        ready["local"] = json!(local);
    }
    Ok(Json(ready).into_response())
}

/// Metrics in Prometheus' text format.
#[utoipa::path(get, path = "/metrics", tag = "process", responses((status = 200, description = "The metrics", body = String)))]
pub(super) async fn metrics(State(export): State<Arc<Export>>) -> Reply {
    let text = export.app.metrics().text()?;
    let content_type = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    Ok(([(CONTENT_TYPE, content_type)], text).into_response())
}

fn of_query_string(export: &Export, text: Option<String>) -> Result<Request> {
    Request::from_query_string(&text.unwrap_or_default(), export.app.clock().now())
}

/// Reads a body of at most `limit` bytes.
///
/// # Errors
/// `TooLarge` over the limit; `ClientGone` if the caller stops sending.
pub(super) async fn read(mut body: Body, headers: &HeaderMap, limit: usize) -> Result<Bytes> {
    let announced = body.size_hint().lower();
    let mut read = BytesMut::new();
    if announced <= limit as u64 {
        while let Some(piece) = next(&mut body).await? {
            if read.len() + piece.len() > limit {
                return Err(refuse(body, limit).await);
            }
            read.extend_from_slice(&piece);
        }
        return Ok(read.freeze());
    }
    // With `Expect` the caller waits for our word before it sends anything.
    Err(if headers.contains_key(EXPECT) { over(limit) } else { refuse(body, limit).await })
}

/// The next piece of a body; trailers are skipped.
async fn next(body: &mut Body) -> Result<Option<Bytes>> {
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| {
            Error::new(Kind::ClientGone, "the caller left before the end of the body").with_source(error)
        })?;
        if let Ok(piece) = frame.into_data() {
            return Ok(Some(piece));
        }
    }
    Ok(None)
}

async fn refuse(mut body: Body, limit: usize) -> Error {
    let rest = async { while matches!(next(&mut body).await, Ok(Some(_))) {} };
    // Whether the rest came in time or not, the answer is the same.
    let _ = tokio::time::timeout(LINGER, rest).await;
    over(limit)
}

fn over(limit: usize) -> Error {
    Error::new(Kind::TooLarge, format!("the body is larger than {limit} bytes"))
}
