//! The rows of a read session as a stream of messages: Arrow IPC, schema and batches apart. It knows
//! neither tables nor requests.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use arrow::ipc::writer::StreamWriter;
use futures::stream::{self, Stream, StreamExt};
use gcp_bigquery_client::google::cloud::bigquery::storage::v1::{
    ArrowRecordBatch, ArrowSchema, ReadRowsResponse, StreamStats, read_rows_response, stream_stats,
};
use tonic::Status;

use super::schema::answer_schema;
use crate::batches::Batches;

/// One session: its rows, and the row ranges of its streams.
pub(super) struct Session {
    pub(super) name: String,
    schema: SchemaRef,
    /// The schema's IPC message.
    schema_message: Vec<u8>,
    rows: Batches,
    pub(super) streams: Vec<Range<usize>>,
}

impl Session {
    /// A session over `rows`, divided among `streams`.
    ///
    /// # Errors
    /// Arrow's, for a schema that has no IPC form.
    pub(super) fn new(name: String, rows: Batches, streams: Vec<Range<usize>>) -> Result<Self, ArrowError> {
        let schema = answer_schema(rows.schema());
        let schema_message = schema_message(&schema)?;
        Ok(Self { name, schema, schema_message, rows, streams })
    }

    /// The schema, as the session and each stream's first message show it.
    pub(super) fn arrow_schema(&self) -> ArrowSchema {
        ArrowSchema { serialized_schema: self.schema_message.clone() }
    }
}

/// A stream's messages of at most `per_message` rows, for `rows` of the session.
pub(super) fn messages(
    session: Arc<Session>,
    rows: Range<usize>,
    offset: usize,
    per_message: usize,
) -> impl Stream<Item = Result<ReadRowsResponse, Status>> + Send + 'static {
    let mut messages = Messages { session, start: rows.start, next: rows.start + offset, end: rows.end, first: true };
    stream::iter(std::iter::from_fn(move || (messages.next < messages.end).then(|| messages.message(per_message))))
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
    fn message(&mut self, per_message: usize) -> Result<ReadRowsResponse, Status> {
        let (batch, length) = self.slice(per_message);
        let serialized_record_batch = batch_message(&self.session.schema, &batch)
            .map_err(|error| Status::internal(format!("cannot encode rows: {error}")))?;
        let before = self.progress();
        self.next += length;
        let progress = stream_stats::Progress { at_response_start: before, at_response_end: self.progress() };
        let schema = std::mem::take(&mut self.first)
            .then(|| read_rows_response::Schema::ArrowSchema(self.session.arrow_schema()));
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
pub(super) fn cut(
    messages: impl Stream<Item = Result<ReadRowsResponse, Status>> + Send + 'static,
    after_bytes: usize,
) -> impl Stream<Item = Result<ReadRowsResponse, Status>> + Send + 'static {
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

/// What is left of a stream that was cut.
pub(super) fn lost() -> Status {
    Status::unavailable("the stream was cut, as scripted")
}
