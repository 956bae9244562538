//! The implementations: each is put the whole suite.

use std::sync::Arc;

use tokio::sync::{MutexGuard, OnceCell};
use weir::clock::ManualClock;
use weir::config::BigQueryConfig;
use weir::source::bigquery::BigQuery;
use weir::source::fake::{CallKind, FakeConfig, FakeServer};
use weir::source::{Listed, PartitionUnit, Partitioning, Project, Source};
use weir_plan::{Kind, TableId, Timestamp};

use super::dataset::{NOW, embedded, seed};
use super::{google_type, suite, tables};
use crate::support::emulator::{self, Emulator, PROJECT};
use crate::support::python;

/// A fake server over the embedded source, with pages so small that a few rows fill several.
pub(crate) async fn fake() -> FakeServer {
    fake_with(FakeConfig { page_bytes: 1_000, list_entries: 1, ..FakeConfig::default() }).await
}

async fn fake_with(config: FakeConfig) -> FakeServer {
    let now = Timestamp::parse(NOW, Timestamp::MIN).unwrap();
    FakeServer::start(embedded(), Arc::new(ManualClock::new(now)), config).await.unwrap()
}

pub(crate) async fn seeded_emulator() -> MutexGuard<'static, Emulator> {
    static SEEDED: OnceCell<()> = OnceCell::const_new();
    let emulator = emulator::lease().await;
    SEEDED.get_or_init(|| seed(&emulator)).await;
    emulator
}

/// The client's settings before a stand-in.
pub(crate) fn config(rest_url: String, storage_url: String, storage_read_above_rows: Option<u64>) -> BigQueryConfig {
    let storage_endpoint = Some(storage_url);
    BigQueryConfig { storage_endpoint, storage_read_above_rows, ..BigQueryConfig::stand_in(PROJECT, rest_url) }
}

async fn client(rest_url: String, storage_url: String, storage_read_above_rows: Option<u64>) -> BigQuery {
    BigQuery::connect(&config(rest_url, storage_url, storage_read_above_rows)).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_embedded_source_answers_every_case() {
    let embedded = embedded();
    suite::check("embedded", &*embedded, &*embedded).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_client_answers_every_case_before_the_fake_server() {
    let fake = fake().await;
    let client = client(fake.rest_url(), fake.storage_url(), None).await;
    suite::check("fake", &client, &*embedded()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_client_answers_every_case_through_storage_read() {
    let fake = fake().await;
    let client = client(fake.rest_url(), fake.storage_url(), Some(0)).await;
    suite::check("fake_storage_read", &client, &*embedded()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_client_answers_every_case_before_bqemulator() {
    let emulator = seeded_emulator().await;
    let client = client(emulator.rest_url(), emulator.storage_url(), None).await;
    suite::check("bqemulator", &client, &*embedded()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_embedded_source_describes_tables_and_views() {
    let embedded = embedded();
    describes_tables(&*embedded).await;
    describes_views(&*embedded, true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_client_describes_tables_and_views_of_the_fake_server() {
    let fake = fake().await;
    let client = client(fake.rest_url(), fake.storage_url(), None).await;
    describes_tables(&client).await;
    describes_views(&client, true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_client_describes_tables_and_views_of_bqemulator() {
    let emulator = seeded_emulator().await;
    let client = client(emulator.rest_url(), emulator.storage_url(), None).await;
    describes_tables(&client).await;
    // Its tables.get leaves the text out.
    describes_views(&client, false).await;
}

async fn describes_tables(source: &dyn Source) {
    let kind = source.identity().kind;
    for expected in tables::all() {
        // The first two bqemulator cannot have; the third it drops when a case asks for that.
        if ["bignumeric", "geography", "scratch"].contains(&&*expected.id.table) {
            continue;
        }
        let found = source.table(&expected.id).await.unwrap();
        assert_eq!(found.id, expected.id, "{kind}");
        assert_eq!(found.kind, "TABLE", "{kind}: {}", expected.id);
        let schema = google_type::schema(&expected.columns);
        for (found, expected) in found.schema.fields().iter().zip(schema.fields()) {
            assert_eq!(found.name(), expected.name(), "{kind}");
            assert!(google_type::same_type(found.data_type(), expected.data_type()), "{kind}: {found:?}");
        }
        assert_eq!(found.schema.fields().len(), schema.fields().len(), "{kind}: {}", expected.id);
        let partitioning = expected
            .partitioned_by
            .map(|column| Partitioning { column: Some(column.to_owned()), unit: PartitionUnit::Day });
        assert_eq!(found.partitioning, partitioning, "{kind}: {}", expected.id);
        assert_eq!(found.num_rows, u64::try_from(expected.rows.len()).unwrap(), "{kind}: {}", expected.id);
    }
    let error = source.table(&TableId::new(PROJECT, "conformance", "nosuchtable")).await.unwrap_err();
    assert_eq!(error.kind(), Kind::NotFound, "{kind}: {error}");
    assert!(error.message().contains("nosuchtable"), "{kind}: {error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_embedded_source_lists_what_there_is() {
    let embedded = embedded();
    lists_what_there_is(&*embedded).await;
    names_the_dataset_that_is_not_there(&*embedded).await;
    assert_eq!(embedded.list_projects().await.unwrap(), projects());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_client_lists_what_the_fake_server_has_page_by_page() {
    let fake = fake().await;
    let client = client(fake.rest_url(), fake.storage_url(), None).await;
    lists_what_there_is(&client).await;
    names_the_dataset_that_is_not_there(&client).await;
    assert_eq!(client.list_projects().await.unwrap(), projects());
    assert_eq!(fake.calls_of(CallKind::ListProjects).len(), 2, "a page for each");
}

fn projects() -> [Project; 2] {
    ["moz-fx-data-experiments", PROJECT].map(|id| Project { id: id.to_owned(), name: id.to_owned() })
}

#[tokio::test(flavor = "multi_thread")]
async fn the_client_lists_what_bqemulator_has() {
    let emulator = seeded_emulator().await;
    lists_what_there_is(&client(emulator.rest_url(), emulator.storage_url(), None).await).await;
}

async fn lists_what_there_is(source: &dyn Source) {
    let kind = source.identity().kind;
    let datasets = source.list_datasets(PROJECT).await.unwrap();
    for expected in ["conformance", "telemetry"] {
        assert!(datasets.iter().any(|dataset| dataset == expected), "{kind}: {datasets:?}");
    }
    assert!(datasets.is_sorted(), "{kind}: {datasets:?}");
    let listed = source.list_tables(PROJECT, "conformance").await.unwrap();
    for expected in tables::all().iter().filter(|table| table.id.dataset == "conformance") {
        // The first two bqemulator cannot have; the third it drops when a case asks for that.
        if ["bignumeric", "geography", "scratch"].contains(&&*expected.id.table) {
            continue;
        }
        let table = Listed { name: expected.id.table.clone(), kind: "TABLE".to_owned() };
        assert!(listed.contains(&table), "{kind}: no {table:?} in {listed:?}");
    }
    let views = source.list_tables(PROJECT, "telemetry").await.unwrap();
    let view = Listed { name: "experiment_enrollment_overall".to_owned(), kind: "VIEW".to_owned() };
    assert!(views.contains(&view), "{kind}: no {view:?} in {views:?}");
}

/// bqemulator gives an empty list.
async fn names_the_dataset_that_is_not_there(source: &dyn Source) {
    let kind = source.identity().kind;
    let error = source.list_tables(PROJECT, "nosuchdataset").await.unwrap_err();
    assert_eq!(error.kind(), Kind::NotFound, "{kind}: {error}");
    assert!(error.message().contains("nosuchdataset"), "{kind}: {error}");
}

async fn describes_views(source: &dyn Source, with_text: bool) {
    let view = TableId::new(PROJECT, "telemetry", "experiment_enrollment_overall");
    let found = source.table(&view).await.unwrap();
    assert_eq!((found.kind.as_str(), found.partitioning), ("VIEW", None));
    assert_eq!(found.view_sql.is_some_and(|text| text.contains("SUM(enroll_count)")), with_text);
    let names: Vec<_> = found.schema.fields().iter().map(|field| field.name().as_str()).collect();
    assert_eq!(names, ["time", "experiment", "branch", "normalized_channel", "value"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn googles_own_client_reads_the_fake_server() {
    let fake = fake().await;
    python::check("bigquery_witness.py", &[&fake.rest_url(), &fake.storage_url()]).await;

    let fake = fake_with(FakeConfig::default()).await;
    let address = fake.storage_url().replace("http://", "");
    let table = format!("{PROJECT}.conformance.numbers");
    python::check("fake_witness.py", &[&fake.rest_url(), &address, PROJECT, &table]).await;
}

/// The same witness before the other stand-in, so that the witness itself is known to be sane.
#[tokio::test(flavor = "multi_thread")]
async fn googles_own_client_reads_bqemulator() {
    let emulator = seeded_emulator().await;
    let cannot = ["views", "duplicates", "arrow_of_a_query"];
    let (rest, storage) = (emulator.rest_url(), emulator.storage_url());
    python::check("bigquery_witness.py", &[&[&*rest, &*storage], &cannot[..]].concat()).await;
}
