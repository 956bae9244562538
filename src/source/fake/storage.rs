//! The Storage Read API: read sessions over anonymous and ordinary tables, and their streams of
//! Arrow record batches. It knows messages, and no transport.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use arrow::ipc::writer::StreamWriter;
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use gcp_bigquery_client::google::cloud::bigquery::storage::v1::{
    ArrowRecordBatch, ArrowSchema, CreateReadSessionRequest, DataFormat, ReadRowsRequest, ReadRowsResponse,
    ReadSession, ReadStream, StreamStats, read_rows_response, read_session, stream_stats,
};
use parking_lot::Mutex;
use tonic::{Code, Status};
use weir_plan::{Error, TableId};

use super::log::{Call, CallKind};
use super::reply::ApiError;
use super::schema::answer_schema;
use super::{Fault, Shared};
use crate::batches::Batches;
use crate::config::Secret;

/// Sessions that are kept; older ones are gone, as after their hours with `BigQuery`.
const KEPT_SESSIONS: usize = 100;

/// One session: its rows, and the row ranges of its streams.
struct Session {
    name: String,
    schema: SchemaRef,
    /// The schema's IPC message.
    schema_message: Vec<u8>,
    rows: Batches,
    streams: Vec<Range<usize>>,
}

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
        let mut session = request.read_session.ok_or_else(|| Status::invalid_argument("read_session is missing"))?;
        let table = table_of(&session.table);
        let mut call = self.storage_call(CallKind::CreateReadSession, token);
        call.table.clone_from(&table);
        let fault = self.admit_storage(call)?;
        let table =
            table.ok_or_else(|| Status::invalid_argument(format!("{:?} is not the name of a table", session.table)))?;
        let columns = check_options(&session)?;
        let rows = self.table_rows(&table, &columns).await.map_err(|error| status(&error))?;
        let streams = self.divide(rows.num_rows(), request.max_stream_count);
        let project = request.parent.strip_prefix("projects/").unwrap_or(&request.parent);
        let name = format!(
            "projects/{project}/locations/{}/sessions/{}",
            self.config.location.to_lowercase(),
            uuid::Uuid::new_v4().simple()
        );
        let schema = answer_schema(rows.schema());
        let schema_message = schema_message(&schema).map_err(|error| internal(error, "cannot encode the schema"))?;
        session.name.clone_from(&name);
        session.schema =
            Some(read_session::Schema::ArrowSchema(ArrowSchema { serialized_schema: schema_message.clone() }));
        session.streams =
            (0..streams.len()).map(|index| ReadStream { name: format!("{name}/streams/{index}") }).collect();
        session.estimated_row_count = i64::try_from(rows.num_rows()).unwrap_or(i64::MAX);
        session.estimated_total_bytes_scanned = i64::try_from(rows.memory_size()).unwrap_or(i64::MAX);
        self.sessions.keep(Arc::new(Session { name, schema, schema_message, rows, streams }));
        match fault {
            Some(Fault::LoseAnswer | Fault::CutAnswer { .. }) => {
                Err(Status::unavailable("the answer was lost, as scripted"))
            }
            _ => Ok(session),
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
        let messages = Messages { session, next: rows.start + offset, start: rows.start, end: rows.end, first: true };
        let per_message = self.config.rows_per_message.max(1);
        let messages = stream::iter(messages.map_rows(per_message));
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

/// The messages of a stream, made one by one.
struct Messages {
    session: Arc<Session>,
    start: usize,
    next: usize,
    end: usize,
    first: bool,
}

impl Messages {
    fn map_rows(mut self, per_message: usize) -> impl Iterator<Item = Result<ReadRowsResponse, Status>> {
        std::iter::from_fn(move || (self.next < self.end).then(|| self.message(per_message)))
    }

    fn message(&mut self, per_message: usize) -> Result<ReadRowsResponse, Status> {
        let (batch, length) = self.slice(per_message);
        let serialized_record_batch =
            batch_message(&self.session.schema, &batch).map_err(|error| internal(error, "cannot encode rows"))?;
        let before = self.progress();
        self.next += length;
        let progress = stream_stats::Progress { at_response_start: before, at_response_end: self.progress() };
        let schema = std::mem::take(&mut self.first).then(|| {
            read_rows_response::Schema::ArrowSchema(ArrowSchema {
                serialized_schema: self.session.schema_message.clone(),
            })
        });
        let row_count = i64::try_from(length).unwrap_or(i64::MAX);
        #[expect(deprecated, reason = "BigQuery fills it still")]
        let batch = ArrowRecordBatch { serialized_record_batch, row_count };
        Ok(ReadRowsResponse {
            row_count,
            stats: Some(StreamStats { progress: Some(progress) }),
            throttle_state: None,
            uncompressed_byte_size: None,
            rows: Some(read_rows_response::Rows::ArrowRecordBatch(batch)),
            schema,
        })
    }

    /// The next rows: at most `per_message`, within one batch of the answer.
    fn slice(&self, per_message: usize) -> (RecordBatch, usize) {
        let mut first_of_batch = 0;
        for batch in &self.session.rows {
            let within = self.next - first_of_batch;
            if within < batch.num_rows() {
                let length = per_message.min(batch.num_rows() - within).min(self.end - self.next);
                return (batch.slice(within, length), length);
            }
            first_of_batch += batch.num_rows();
        }
        (RecordBatch::new_empty(Arc::clone(&self.session.schema)), self.end - self.next)
    }

    fn progress(&self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "a fraction")]
        let fraction = (self.next - self.start) as f64 / (self.end - self.start).max(1) as f64;
        fraction
    }
}

/// The IPC message of a schema, without an end-of-stream mark.
fn schema_message(schema: &SchemaRef) -> Result<Vec<u8>, ArrowError> {
    let mut writer = StreamWriter::try_new(Vec::new(), schema)?;
    Ok(std::mem::take(writer.get_mut()))
}

/// The IPC message of a batch, without schema and end-of-stream mark.
fn batch_message(schema: &SchemaRef, batch: &RecordBatch) -> Result<Vec<u8>, ArrowError> {
    let batch = RecordBatch::try_new(Arc::clone(schema), batch.columns().to_vec())?;
    let mut writer = StreamWriter::try_new(Vec::new(), schema)?;
    writer.get_mut().clear();
    writer.write(&batch)?;
    Ok(std::mem::take(writer.get_mut()))
}

/// Ends a stream with an error once `after_bytes` of batches have gone through.
fn cut(
    messages: impl stream::Stream<Item = Result<ReadRowsResponse, Status>> + Send + 'static,
    after_bytes: usize,
) -> impl stream::Stream<Item = Result<ReadRowsResponse, Status>> + Send + 'static {
    let within = messages.scan(after_bytes, |left, message| {
        let bytes = match message.as_ref().map(|message| &message.rows) {
            Ok(Some(read_rows_response::Rows::ArrowRecordBatch(batch))) => batch.serialized_record_batch.len(),
            _ => 0,
        };
        let passes = left.checked_sub(bytes).map(|rest| *left = rest);
        std::future::ready(passes.map(|()| message))
    });
    within.chain(stream::iter([Err(lost())]))
}

fn lost() -> Status {
    Status::unavailable("the stream was cut, as scripted")
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

fn internal(error: ArrowError, what: &str) -> Status {
    status(&Error::internal(what).with_source(error).into())
}
