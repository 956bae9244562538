//! The Storage Read API: read sessions over anonymous and ordinary tables, and their streams of
//! Arrow record batches. It knows messages, and no transport.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use std::sync::Arc;

use futures::StreamExt;
use futures::stream::{self, BoxStream};
use gcp_bigquery_client::google::cloud::bigquery::storage::v1::{
    CreateReadSessionRequest, DataFormat, ReadRowsRequest, ReadRowsResponse, ReadSession, ReadStream, read_session,
};
use parking_lot::Mutex;
use tonic::{Code, Status};
use weir_plan::TableId;

use super::log::{Call, CallKind};
use super::reply::ApiError;
use super::streams::{Session, cut, lost, messages};
use super::{Fault, Shared};
use crate::config::Secret;

/// Sessions that are kept; older ones are gone, as after their hours with `BigQuery`.
const KEPT_SESSIONS: usize = 100;

/// The sessions that can still be read.
#[derive(Default)]
pub(super) struct Sessions(Mutex<VecDeque<Arc<Session>>>);

impl Sessions {
    fn keep(&self, session: Arc<Session>) {
        let mut sessions = self.0.lock();
        if sessions.len() >= KEPT_SESSIONS {
            sessions.pop_front();
        }
        sessions.push_back(session);
    }

    /// A session, and the index of its stream of this name.
    fn stream(&self, name: &str) -> Option<(Arc<Session>, Range<usize>)> {
        let (session, index) = name.rsplit_once("/streams/")?;
        let session = self.0.lock().iter().find(|known| known.name == session).cloned()?;
        let range = session.streams.get(index.parse::<usize>().ok()?)?.clone();
        Some((session, range))
    }
}

impl Shared {
    /// Snapshots a table, and divides its rows into streams; a table without rows has none.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` and `UNIMPLEMENTED` naming what is asked in vain, `NOT_FOUND`, and those
    /// of the source.
    pub(super) async fn create_read_session(
        &self,
        token: Option<String>,
        request: CreateReadSessionRequest,
    ) -> Result<ReadSession, Status> {
        let wanted = request.read_session.unwrap_or_default();
        let table = table_of(&wanted.table);
        let mut call = self.storage_call(CallKind::CreateReadSession, token);
        call.table.clone_from(&table);
        let fault = self.admit_storage(call)?;
        let table =
            table.ok_or_else(|| Status::invalid_argument(format!("{:?} is not the name of a table", wanted.table)))?;
        let columns = check_options(&wanted)?;
        let rows = self.table_rows(&table, &columns).await.map_err(|error| status(&error))?;
        let (num_rows, num_bytes) = (rows.num_rows(), rows.memory_size());
        let project = request.parent.strip_prefix("projects/").unwrap_or(&request.parent);
        let id = uuid::Uuid::new_v4().simple();
        let name = format!("projects/{project}/locations/{}/sessions/{id}", self.config.location.to_lowercase());
        let streams = self.divide(num_rows, request.max_stream_count);
        let session = Session::new(name, rows, streams)
            .map_err(|error| Status::internal(format!("cannot encode the schema of {table}: {error}")))?;
        let answer = ReadSession {
            name: session.name.clone(),
            schema: Some(read_session::Schema::ArrowSchema(session.arrow_schema())),
            streams: (0..session.streams.len())
                .map(|index| ReadStream { name: format!("{}/streams/{index}", session.name) })
                .collect(),
            estimated_row_count: i64::try_from(num_rows).unwrap_or(i64::MAX),
            estimated_total_bytes_scanned: i64::try_from(num_bytes).unwrap_or(i64::MAX),
            ..wanted
        };
        self.sessions.keep(Arc::new(session));
        match fault {
            Some(Fault::LoseAnswer | Fault::CutAnswer { .. }) => {
                Err(Status::unavailable("the answer was lost, as scripted"))
            }
            _ => Ok(answer),
        }
    }

    /// Streams a session's rows from `offset` on; the schema is in the first message.
    ///
    /// # Errors
    /// `NOT_FOUND` for an unknown stream, `OUT_OF_RANGE` for an offset beyond its end.
    pub(super) fn read_rows(
        &self,
        token: Option<String>,
        request: &ReadRowsRequest,
    ) -> Result<BoxStream<'static, Result<ReadRowsResponse, Status>>, Status> {
        let mut call = self.storage_call(CallKind::ReadRows, token);
        call.params.insert("readStream".to_owned(), request.read_stream.clone());
        call.params.insert("offset".to_owned(), request.offset.to_string());
        let fault = self.admit_storage(call)?;
        let (session, rows) = self
            .sessions
            .stream(&request.read_stream)
            .ok_or_else(|| Status::not_found(format!("stream {} is unknown or expired", request.read_stream)))?;
        let offset = usize::try_from(request.offset).ok().filter(|offset| *offset <= rows.len());
        let offset = offset
            .ok_or_else(|| Status::out_of_range(format!("offset {} is not within the stream", request.offset)))?;
        let per_message = self.config.rows_per_message.max(1);
        let messages = messages(session, rows, offset, per_message);
        Ok(match fault {
            Some(Fault::LoseAnswer) => stream::iter([Err(lost())]).boxed(),
            Some(Fault::CutAnswer { after_bytes }) => cut(messages, after_bytes).boxed(),
            Some(Fault::ShortPage { rows }) => {
                messages.take(usize::try_from(rows).unwrap_or(usize::MAX).div_ceil(per_message)).boxed()
            }
            _ => messages.boxed(),
        })
    }

    /// Refuses to split a stream.
    pub(super) fn split_read_stream(&self, token: Option<String>) -> Status {
        match self.admit_storage(self.storage_call(CallKind::SplitReadStream, token)) {
            Ok(_) => Status::unimplemented("SplitReadStream is not supported by this server"),
            Err(status) => status,
        }
    }

    /// As many streams as are wanted and have rows; contiguous ranges of nearly equal length.
    fn divide(&self, rows: usize, max_streams: i32) -> Vec<Range<usize>> {
        let limit = usize::try_from(max_streams).ok().filter(|limit| *limit > 0).unwrap_or(usize::MAX);
        let streams = self.config.streams.max(1).min(limit).min(rows);
        (0..streams).map(|index| rows * index / streams..rows * (index + 1) / streams).collect()
    }

    fn storage_call(&self, kind: CallKind, token: Option<String>) -> Call {
        Call {
            at: self.clock.now(),
            kind,
            method: "POST".to_owned(),
            path: format!("/google.cloud.bigquery.storage.v1.BigQueryRead/{kind:?}"),
            params: BTreeMap::new(),
            job_id: None,
            job: None,
            table: None,
            token: token.map(Secret),
            principal: None,
            fault: None,
        }
    }

    fn admit_storage(&self, call: Call) -> Result<Option<Fault>, Status> {
        let (_, fault) = self.admit(call).map_err(|refused| status(&refused))?;
        match fault {
            Some(Fault::Status { http, reason }) => Err(status(&ApiError::scripted(http, &reason))),
            Some(Fault::Html { .. } | Fault::Drop) => Err(Status::unavailable("connection reset, as scripted")),
            other => Ok(other),
        }
    }
}

/// The columns that a session selects, once everything else in it is known to be supported.
/// Compression of buffers is a wish that is not granted: batches say themselves that they are plain.
fn check_options(session: &ReadSession) -> Result<Vec<String>, Status> {
    match session.data_format() {
        DataFormat::Arrow => {}
        DataFormat::Avro => {
            return Err(Status::unimplemented("data_format AVRO is not supported by this server; ask for ARROW"));
        }
        DataFormat::Unspecified => return Err(Status::invalid_argument("data_format is missing")),
    }
    let Some(options) = &session.read_options else { return Ok(Vec::new()) };
    if !options.row_restriction.is_empty() {
        return Err(Status::unimplemented("row_restriction is not supported by this server"));
    }
    if options.sample_percentage.is_some() {
        return Err(Status::unimplemented("sample_percentage is not supported by this server"));
    }
    if options.response_compression_codec.is_some_and(|codec| codec != 0) {
        return Err(Status::unimplemented("response_compression_codec is not supported by this server"));
    }
    if let Some(nested) = options.selected_fields.iter().find(|name| name.contains('.')) {
        return Err(Status::unimplemented(format!(
            "selecting a nested field ({nested}) is not supported by this server"
        )));
    }
    Ok(options.selected_fields.clone())
}

/// The table of `projects/p/datasets/d/tables/t`.
fn table_of(name: &str) -> Option<TableId> {
    match name.split('/').collect::<Vec<_>>()[..] {
        ["projects", project, "datasets", dataset, "tables", table] => Some(TableId::new(project, dataset, table)),
        _ => None,
    }
}

/// Codes of HTTP statuses. Source: <https://cloud.google.com/apis/design/errors>.
fn status(error: &ApiError) -> Status {
    let code = match error.http {
        400 => Code::InvalidArgument,
        401 => Code::Unauthenticated,
        403 => Code::PermissionDenied,
        404 => Code::NotFound,
        409 => Code::AlreadyExists,
        429 => Code::ResourceExhausted,
        499 => Code::Cancelled,
        501 => Code::Unimplemented,
        503 => Code::Unavailable,
        504 => Code::DeadlineExceeded,
        _ => Code::Internal,
    };
    Status::new(code, error.message.clone())
}
