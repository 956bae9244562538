//! Large answers in Arrow, through the Storage Read API (gRPC), from the table that holds them.
//!
//! One stream only: with more, rows would lose the order that ORDER BY gave them.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::buffer::Buffer;
use arrow::datatypes::SchemaRef;
use arrow::ipc::reader::StreamDecoder;
use gcp_bigquery_client::google::cloud::bigquery::storage::v1::big_query_read_client::BigQueryReadClient;
use gcp_bigquery_client::google::cloud::bigquery::storage::v1::{
    CreateReadSessionRequest, DataFormat, ReadRowsRequest, ReadSession, read_rows_response, read_session,
};
use gcp_bigquery_client::model::table_reference::TableReference;
use tokio::time::timeout;
use tonic::metadata::MetadataValue;
use tonic::transport::{Channel, ClientTlsConfig, Endpoint};
use tonic::{Code, Request, Status};
use weir_plan::{Error, Kind, Result};

use super::conform::conform;
use super::gathered::Gathered;
use super::login::Tokens;

/// Google's own endpoint.
const GOOGLE: &str = "https://bigquerystorage.googleapis.com";

/// Largest message taken: Google's stay near 1 MB, stand-ins send a whole answer in one.
const MAX_MESSAGE_BYTES: usize = 256 * 1024 * 1024;

/// A connection is made in this time or not at all.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// A connection that a firewall has forgotten is found out by a ping that stays unanswered.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(30);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(10);

/// The longest silence before a message; Google's follow each other within milliseconds.
pub(super) const MESSAGE_TIMEOUT: Duration = Duration::from_mins(1);

/// Ends an Arrow stream. Some servers put it behind the schema, where it would end the stream early.
const END_OF_STREAM: [u8; 8] = [0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0];

/// A Storage Read API under our login.
pub(super) struct Storage {
    channel: Channel,
    tokens: Arc<dyn Tokens>,
    project: String,
}

/// Why a table was not read.
pub(super) enum ReadError {
    /// No read session: the same rows can be had as JSON.
    Unusable(Error),
    /// Reading began and failed, or the rows are not those of the answer.
    Broken(Error),
}

impl Storage {
    /// Prepares reading at `endpoint`, without connecting.
    ///
    /// # Errors
    /// `InvalidQuery` for an endpoint that is not an HTTP address.
    pub(super) fn new(endpoint: Option<&str>, tokens: Arc<dyn Tokens>, project: &str) -> Result<Self> {
        let address = endpoint.unwrap_or(GOOGLE).trim_end_matches('/');
        let wrong =
            || Error::invalid(format!("the Storage Read API's endpoint {address:?} is not an http or https address"));
        let mut endpoint = Endpoint::from_shared(address.to_owned()).map_err(|error| wrong().with_source(error))?;
        match endpoint.uri().scheme_str() {
            Some("http") => {}
            Some("https") => {
                let tls = ClientTlsConfig::new().with_enabled_roots();
                endpoint =
                    endpoint.tls_config(tls).map_err(|error| Error::internal("no TLS for gRPC").with_source(error))?;
            }
            _ => return Err(wrong()),
        }
        let channel = endpoint
            .connect_timeout(CONNECT_TIMEOUT)
            .http2_keep_alive_interval(KEEP_ALIVE_INTERVAL)
            .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
            .keep_alive_while_idle(true)
            .http2_adaptive_window(true)
            .tcp_nodelay(true)
            .connect_lazy();
        Ok(Self { channel, tokens, project: project.to_owned() })
    }

    /// The same API under another login.
    pub(super) fn under(&self, tokens: Arc<dyn Tokens>) -> Self {
        Self { channel: self.channel.clone(), tokens, project: self.project.clone() }
    }

    /// Reads a whole table as batches of the schema `arrow`.
    pub(super) async fn read(
        &self,
        table: Option<&TableReference>,
        arrow: &SchemaRef,
        total_rows: u64,
        largest_bytes: u64,
    ) -> Result<Vec<RecordBatch>, ReadError> {
        let table = table
            .ok_or_else(|| ReadError::Unusable(Error::not_found("the job names no table that holds its answer")))?;
        let session = self.session(table).await.map_err(ReadError::Unusable)?;
        let schema = match &session.schema {
            Some(read_session::Schema::ArrowSchema(schema)) => schema.serialized_schema.as_slice(),
            _ => return Err(ReadError::Unusable(Error::internal("the read session has no Arrow schema"))),
        };
        let gathered = Gathered::new(total_rows, largest_bytes);
        let mut rows = Rows::new(schema, arrow, gathered).map_err(ReadError::Broken)?;
        for stream in &session.streams {
            self.read_stream(&stream.name, &mut rows).await.map_err(ReadError::Broken)?;
        }
        rows.gathered.complete("BigQuery's Storage Read API").map_err(ReadError::Broken)
    }

    async fn session(&self, table: &TableReference) -> Result<ReadSession> {
        let TableReference { project_id, dataset_id, table_id } = table;
        let table = format!("projects/{project_id}/datasets/{dataset_id}/tables/{table_id}");
        let routing = format!("read_session.table={table}");
        let read_session = ReadSession {
            table,
            data_format: DataFormat::Arrow.into(),
            trace_id: "weir".to_owned(),
            ..ReadSession::default()
        };
        let message = CreateReadSessionRequest {
            parent: format!("projects/{}", self.project),
            read_session: Some(read_session),
            max_stream_count: 1,
            ..CreateReadSessionRequest::default()
        };
        let request = self.request(message, &routing).await?;
        Ok(in_time(self.client().create_read_session(request)).await?.into_inner())
    }

    async fn read_stream(&self, name: &str, rows: &mut Rows) -> Result<()> {
        let message = ReadRowsRequest { read_stream: name.to_owned(), offset: 0 };
        let request = self.request(message, &format!("read_stream={name}")).await?;
        let mut messages = in_time(self.client().read_rows(request)).await?.into_inner();
        while let Some(message) = in_time(messages.message()).await? {
            if let Some(read_rows_response::Rows::ArrowRecordBatch(batch)) = message.rows {
                rows.push_batch(batch.serialized_record_batch)?;
            }
        }
        Ok(())
    }

    fn client(&self) -> BigQueryReadClient<Channel> {
        BigQueryReadClient::new(self.channel.clone()).max_decoding_message_size(MAX_MESSAGE_BYTES)
    }

    async fn request<T>(&self, message: T, routing: &str) -> Result<Request<T>> {
        let token = self.tokens.token().await?;
        let wrong = |error| Error::internal("a header of gRPC cannot be written").with_source(error);
        let mut authorization: MetadataValue<_> = format!("Bearer {}", token.0).parse().map_err(wrong)?;
        authorization.set_sensitive(true);
        let mut request = Request::new(message);
        request.metadata_mut().insert("authorization", authorization);
        request.metadata_mut().insert("x-goog-request-params", routing.parse().map_err(wrong)?);
        Ok(request)
    }
}

/// Batches decoded so far.
struct Rows {
    decoder: StreamDecoder,
    schema: SchemaRef,
    gathered: Gathered,
}

impl Rows {
    fn new(serialized_schema: &[u8], schema: &SchemaRef, gathered: Gathered) -> Result<Self> {
        let message = serialized_schema.strip_suffix(&END_OF_STREAM).unwrap_or(serialized_schema);
        let mut rows = Self { decoder: StreamDecoder::new(), schema: SchemaRef::clone(schema), gathered };
        rows.push(message.to_vec())?;
        Ok(rows)
    }

    /// Decodes a message, which is a whole batch.
    fn push_batch(&mut self, message: Vec<u8>) -> Result<()> {
        if self.push(message)? > 0 { Ok(()) } else { Err(not_arrow()) }
    }

    /// Decodes a message and counts its batches.
    fn push(&mut self, message: Vec<u8>) -> Result<usize> {
        let mut buffer = Buffer::from_vec(message);
        let mut batches = 0;
        while !buffer.is_empty() {
            let batch = self.decoder.decode(&mut buffer).map_err(|error| not_arrow().with_source(error))?;
            if let Some(batch) = batch {
                batches += 1;
                self.gathered.push(conform(&batch, &self.schema)?)?;
            }
        }
        Ok(batches)
    }
}

/// Waits for an answer or the next message, but not for ever.
async fn in_time<T>(answer: impl Future<Output = Result<T, Status>>) -> Result<T> {
    timeout(MESSAGE_TIMEOUT, answer).await.map_or_else(
        |_| {
            let seconds = MESSAGE_TIMEOUT.as_secs();
            let message = format!("BigQuery's Storage Read API has sent nothing for {seconds} s");
            Err(Error::new(Kind::Unavailable, message))
        },
        |answer| answer.map_err(failure),
    )
}

fn not_arrow() -> Error {
    Error::new(Kind::Unavailable, "a message of BigQuery's Storage Read API is not a whole Arrow batch")
}

fn failure(status: Status) -> Error {
    let kind = match status.code() {
        Code::PermissionDenied => Kind::PermissionDenied,
        Code::NotFound => Kind::NotFound,
        Code::ResourceExhausted => Kind::QuotaExceeded,
        Code::InvalidArgument | Code::Unimplemented | Code::FailedPrecondition => Kind::InvalidQuery,
        _ => Kind::Unavailable,
    };
    let message = format!("BigQuery's Storage Read API answered {:?}: {}", status.code(), status.message());
    Error::new(kind, message).with_source(status)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    use arrow::array::Int64Array;
    use arrow::ipc::writer::StreamWriter;

    fn numbers(numbers: Vec<i64>) -> RecordBatch {
        let column: arrow::array::ArrayRef = Arc::new(Int64Array::from(numbers));
        RecordBatch::try_from_iter_with_nullable([("n", column, true)]).unwrap()
    }

    /// What a writer has written so far, cut at the ends of its messages.
    fn messages(batches: &[RecordBatch]) -> Vec<Vec<u8>> {
        let mut writer = StreamWriter::try_new(Vec::new(), &batches[0].schema()).unwrap();
        let mut messages = vec![writer.get_ref().clone()];
        for batch in batches {
            let start = writer.get_ref().len();
            writer.write(batch).unwrap();
            messages.push(writer.get_ref()[start..].to_vec());
        }
        messages
    }

    #[test]
    fn a_schema_with_an_end_mark_and_its_batches_are_one_stream() {
        let batches = [numbers(vec![3, 1]), numbers(vec![2])];
        let messages = messages(&batches);
        for mark in [&[][..], &END_OF_STREAM] {
            let schema = [&messages[0], mark].concat();
            let mut rows = Rows::new(&schema, &batches[0].schema(), Gathered::new(3, 1 << 20)).unwrap();
            for message in &messages[1..] {
                rows.push_batch(message.clone()).unwrap();
            }
            assert_eq!(rows.gathered.complete("it").unwrap(), batches);
        }
    }

    #[test]
    fn a_message_that_is_not_arrow_is_an_error() {
        let batch = numbers(vec![1]);
        let messages = messages(std::slice::from_ref(&batch));
        let half = &messages[1][..messages[1].len() / 2];
        for message in [b"not an arrow message at all", half, &END_OF_STREAM] {
            let mut rows = Rows::new(&messages[0], &batch.schema(), Gathered::new(1, 1 << 20)).unwrap();
            assert_eq!(rows.push_batch(message.to_vec()).unwrap_err().kind(), Kind::Unavailable);
        }
    }
}
