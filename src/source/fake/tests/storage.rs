//! The Storage Read API, through the client that the crate generates.

use arrow::buffer::Buffer;
use arrow::compute::concat_batches;
use arrow::ipc::reader::StreamDecoder;
use gcp_bigquery_client::google::cloud::bigquery::storage::v1::big_query_read_client::BigQueryReadClient;
use gcp_bigquery_client::google::cloud::bigquery::storage::v1::read_session::{Schema, TableReadOptions};
use gcp_bigquery_client::google::cloud::bigquery::storage::v1::{
    CreateReadSessionRequest, DataFormat, ReadRowsRequest, ReadSession, SplitReadStreamRequest, read_rows_response,
};
use tonic::transport::Channel;
use tonic::{Code, Status};

use super::*;

type Client = BigQueryReadClient<Channel>;

async fn client(rig: &Rig) -> Client {
    BigQueryReadClient::connect(rig.server.storage_url()).await.unwrap()
}

fn request(table: &str) -> CreateReadSessionRequest {
    CreateReadSessionRequest {
        parent: "projects/p".to_owned(),
        read_session: Some(ReadSession {
            table: table.to_owned(),
            data_format: DataFormat::Arrow.into(),
            ..ReadSession::default()
        }),
        ..CreateReadSessionRequest::default()
    }
}

async fn anonymous_table(rig: &Rig, id: &str) -> String {
    let (_, job) = rig.get(&format!("/jobs/{id}")).await;
    let table = &job["configuration"]["query"]["destinationTable"];
    format!(
        "projects/p/datasets/{}/tables/{}",
        table["datasetId"].as_str().unwrap(),
        table["tableId"].as_str().unwrap()
    )
}

/// Reads a stream from `offset`: batches, messages, and how it ended.
async fn read(
    client: &mut Client,
    session: &ReadSession,
    stream: usize,
    offset: i64,
) -> (Vec<RecordBatch>, usize, Option<Status>) {
    let read_stream = session.streams[stream].name.clone();
    let mut messages = match client.read_rows(ReadRowsRequest { read_stream, offset }).await {
        Ok(response) => response.into_inner(),
        Err(status) => return (Vec::new(), 0, Some(status)),
    };
    let Some(Schema::ArrowSchema(schema)) = &session.schema else { panic!("no schema") };
    let mut decoder = StreamDecoder::new();
    assert!(decoder.decode(&mut Buffer::from(schema.serialized_schema.clone())).unwrap().is_none());
    let (mut batches, mut count) = (Vec::new(), 0);
    loop {
        match messages.message().await {
            Ok(Some(message)) => {
                assert_eq!(message.schema.is_some(), count == 0, "the schema is in the first message alone");
                count += 1;
                let Some(read_rows_response::Rows::ArrowRecordBatch(rows)) = message.rows else { panic!("no rows") };
                let batch = decoder.decode(&mut Buffer::from(rows.serialized_record_batch)).unwrap().unwrap();
                assert_eq!(message.row_count, i64::try_from(batch.num_rows()).unwrap());
                batches.push(batch);
            }
            Ok(None) => return (batches, count, None),
            Err(status) => return (batches, count, Some(status)),
        }
    }
}

fn numbers(batches: &[RecordBatch]) -> Vec<i64> {
    let of = |batch: &RecordBatch| batch.column(0).as_any().downcast_ref::<Int64Array>().unwrap().values().to_vec();
    batches.iter().flat_map(of).collect()
}

#[tokio::test]
async fn an_anonymous_table_is_read_back_equal() {
    let rig = Rig::with(FakeConfig { rows_per_message: 300, ..FakeConfig::default() }).await;
    rig.run("j1", "rows 2500").await;
    let mut client = client(&rig).await;
    let session = client.create_read_session(request(&anonymous_table(&rig, "j1").await)).await.unwrap().into_inner();
    assert_eq!((session.streams.len(), session.estimated_row_count), (2, 2500));
    let (mut all, mut messages) = (Vec::new(), 0);
    for stream in 0..2 {
        let (batches, count, end) = read(&mut client, &session, stream, 0).await;
        assert!(end.is_none());
        all.extend(batches);
        messages += count;
    }
    assert!(messages >= 9, "{messages} messages");
    let expected = rows(2500).concat().unwrap();
    assert_eq!(concat_batches(&all[0].schema(), &all).unwrap(), expected);
    assert_eq!(rig.server.calls_of(CallKind::CreateReadSession).len(), 1);
    assert_eq!(rig.server.calls_of(CallKind::ReadRows).len(), 2);
    assert_eq!(rig.server.jobs_run().len(), 1);
}

#[tokio::test]
async fn every_type_comes_through_with_datetimes_marked() {
    let rig = Rig::start().await;
    rig.run("j1", "types").await;
    let mut client = client(&rig).await;
    let mut request = request(&anonymous_table(&rig, "j1").await);
    request.max_stream_count = 1;
    let session = client.create_read_session(request).await.unwrap().into_inner();
    let (batches, ..) = read(&mut client, &session, 0, 0).await;
    assert_eq!(batches[0].columns(), types().concat().unwrap().columns());
    let schema = batches[0].schema();
    assert_eq!(schema.field_with_name("dt").unwrap().metadata()[schema::EXTENSION], "google:sqlType:datetime");
}

#[tokio::test]
async fn an_empty_answer_has_a_schema_and_no_streams() {
    let rig = Rig::start().await;
    rig.run("j1", "rows 0").await;
    let mut client = client(&rig).await;
    let session = client.create_read_session(request(&anonymous_table(&rig, "j1").await)).await.unwrap().into_inner();
    assert!(session.schema.is_some());
    assert!(session.streams.is_empty());
}

#[tokio::test]
async fn columns_of_an_ordinary_table_are_read_in_its_own_order() {
    let rig = Rig::start().await;
    let mut client = client(&rig).await;
    let mut request = request("projects/p/datasets/d/tables/events");
    request.max_stream_count = 1;
    let both = client.create_read_session(request.clone()).await.unwrap().into_inner();
    let (batches, ..) = read(&mut client, &both, 0, 0).await;
    assert_eq!(batches[0], rows(5).concat().unwrap());
    let options =
        TableReadOptions { selected_fields: vec!["t".to_owned(), "n".to_owned()], ..TableReadOptions::default() };
    request.read_session.as_mut().unwrap().read_options = Some(options);
    let swapped = client.create_read_session(request.clone()).await.unwrap().into_inner();
    let (batches, ..) = read(&mut client, &swapped, 0, 0).await;
    assert_eq!(batches[0], rows(5).concat().unwrap());
    request.read_session.as_mut().unwrap().read_options.as_mut().unwrap().selected_fields = vec!["t".to_owned()];
    let one = client.create_read_session(request).await.unwrap().into_inner();
    let (batches, ..) = read(&mut client, &one, 0, 0).await;
    assert_eq!(batches[0].schema().field(0).name(), "t");
    assert_eq!(batches[0].num_columns(), 1);
}

#[tokio::test]
async fn columns_of_an_anonymous_table_are_read_once_its_job_is_done() {
    let rig = Rig::start().await;
    let gate = Gate::new();
    rig.server.script().jobs(1, JobRule::new().held_by(&gate));
    rig.insert("j1", "rows 3").await;
    let mut request = request(&anonymous_table(&rig, "j1").await);
    let options = TableReadOptions { selected_fields: vec!["t".to_owned()], ..TableReadOptions::default() };
    request.read_session.as_mut().unwrap().read_options = Some(options);
    let mut client = client(&rig).await;
    assert_eq!(client.create_read_session(request.clone()).await.unwrap_err().code(), Code::NotFound);
    gate.open();
    assert_eq!(rig.get("/queries/j1").await.0, 200);

    rig.server.script().fault(CallKind::CreateReadSession, 1, Fault::LoseAnswer);
    assert_eq!(client.create_read_session(request.clone()).await.unwrap_err().code(), Code::Unavailable);
    request.max_stream_count = 1;
    let session = client.create_read_session(request).await.unwrap().into_inner();
    let (batches, ..) = read(&mut client, &session, 0, 0).await;
    assert_eq!(batches[0], rows(3).concat().unwrap().project(&[1]).unwrap());
    rig.server.script().fault(CallKind::ReadRows, 1, Fault::LoseAnswer);
    let (batches, _, end) = read(&mut client, &session, 0, 0).await;
    assert_eq!((batches.len(), end.unwrap().code()), (0, Code::Unavailable));
}

#[tokio::test]
async fn a_broken_stream_goes_on_where_it_was_cut() {
    let rig = Rig::with(FakeConfig { rows_per_message: 100, streams: 1, ..FakeConfig::default() }).await;
    rig.run("j1", "rows 1000").await;
    let mut client = client(&rig).await;
    let session = client.create_read_session(request(&anonymous_table(&rig, "j1").await)).await.unwrap().into_inner();
    rig.server.script().fault(CallKind::ReadRows, 1, Fault::CutAnswer { after_bytes: 8_000 });
    let (mut batches, _, end) = read(&mut client, &session, 0, 0).await;
    assert_eq!(end.unwrap().code(), Code::Unavailable);
    let offset = i64::try_from(numbers(&batches).len()).unwrap();
    assert!(offset > 0 && offset < 1000, "{offset}");
    let (rest, _, end) = read(&mut client, &session, 0, offset).await;
    assert!(end.is_none());
    batches.extend(rest);
    assert_eq!(numbers(&batches), (0..1000).collect::<Vec<_>>());

    assert_eq!(read(&mut client, &session, 0, 1_001).await.2.unwrap().code(), Code::OutOfRange);
    rig.server.script().fault(CallKind::ReadRows, 1, Fault::ShortPage { rows: 200 });
    let (batches, _, end) = read(&mut client, &session, 0, 0).await;
    assert_eq!((numbers(&batches).len(), end.map(|status| status.code())), (200, None));
}

#[tokio::test]
async fn what_is_not_supported_is_refused_by_name() {
    let rig = Rig::start().await;
    let mut client = client(&rig).await;
    let with = |change: &dyn Fn(&mut ReadSession)| {
        let mut request = request("projects/p/datasets/d/tables/events");
        change(request.read_session.as_mut().unwrap());
        request
    };
    let options = |options: TableReadOptions| with(&move |session| session.read_options = Some(options.clone()));
    let cases = [
        (with(&|session| session.set_data_format(DataFormat::Avro)), Code::Unimplemented, "AVRO"),
        (with(&|session| session.set_data_format(DataFormat::Unspecified)), Code::InvalidArgument, "data_format"),
        (
            options(TableReadOptions { row_restriction: "n > 1".to_owned(), ..TableReadOptions::default() }),
            Code::Unimplemented,
            "row_restriction",
        ),
        (
            options(TableReadOptions { selected_fields: vec!["none".to_owned()], ..TableReadOptions::default() }),
            Code::InvalidArgument,
            "none",
        ),
        (with(&|session| session.table = "events".to_owned()), Code::InvalidArgument, "events"),
        (request("projects/p/datasets/d/tables/events_view"), Code::InvalidArgument, "view"),
        (request("projects/p/datasets/d/tables/none"), Code::NotFound, "none"),
    ];
    for (request, code, part) in cases {
        let status = client.create_read_session(request).await.unwrap_err();
        assert_eq!(status.code(), code, "{part}");
        assert!(status.message().contains(part), "{part}: {}", status.message());
    }
    let unknown = client.read_rows(ReadRowsRequest { read_stream: "x/streams/0".to_owned(), offset: 0 }).await;
    assert_eq!(unknown.unwrap_err().code(), Code::NotFound);
    let split = client.split_read_stream(SplitReadStreamRequest::default()).await;
    assert_eq!(split.unwrap_err().code(), Code::Unimplemented);
    rig.server.script().fault(CallKind::CreateReadSession, 1, Fault::status(429, "rateLimitExceeded"));
    let status = client.create_read_session(request("projects/p/datasets/d/tables/events")).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted);
}

#[tokio::test]
async fn a_session_needs_a_token_where_one_is_required() {
    let rig = Rig::with(FakeConfig { require_token: true, ..FakeConfig::default() }).await;
    let status =
        client(&rig).await.create_read_session(request("projects/p/datasets/d/tables/events")).await.unwrap_err();
    assert_eq!(status.code(), Code::Unauthenticated);
}
