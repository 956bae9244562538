//! Bills: referenced columns of the partitions that survive on the pruning column.

use std::sync::Arc;

use arrow::array::{Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Field, Schema};
use serde_json::json;
use weir_plan::{Kind, Parameter};

use super::{Place, at, id, timestamps, types};
use crate::source::embedded::Bill;
use crate::source::{Job, MINIMUM_BYTES_PER_TABLE, PartitionUnit, Source, billed_bytes};

impl Place {
    async fn processed(&self, sql: &str) -> u64 {
        let mut job = Job::new("dry", sql);
        job.default_dataset = Some("d".to_owned());
        self.embedded.dry_run(&job).await.unwrap_or_else(|error| panic!("{sql}\n{error:?}")).bytes_processed
    }
}

/// Column bytes of the days 1, 2 and 3: `ts` 16, 8, 8; `n` 16, 8, 0 (NULL); `day` as `ts`;
/// `Branch` 20, 9, 0; `list` 16, 8, 0.
#[tokio::test]
async fn only_comparisons_of_the_pruning_column_prune() {
    let place = Place::new();
    place.embedded.create_view(id("p.d.v"), "SELECT ts AS time, day, n FROM d.t WHERE n > 0").unwrap();
    place.embedded.create_view(id("p.d.vv"), "SELECT * FROM `p.d.v` UNION ALL SELECT ts, day, n FROM `p.d.t`").unwrap();
    for (sql, bytes) in [
        ("SELECT n FROM t", 24),
        ("SELECT n, n + 1 AS m FROM t", 24),
        ("SELECT COUNT(*) FROM t", 0),
        ("SELECT COUNT(n) FROM t", 24),
        ("SELECT 1", 0),
        // The pruning column, in every form that prunes.
        ("SELECT n FROM t WHERE ts >= '2024-01-02'", 8 + 16),
        ("SELECT n FROM t WHERE ts >= TIMESTAMP '2024-01-02' AND ts < TIMESTAMP '2024-01-03'", 8 + 8),
        ("SELECT n FROM t WHERE '2024-01-02' > ts", 16 + 16),
        ("SELECT n FROM t WHERE ts BETWEEN '2024-01-02' AND '2024-01-02 12:00:00'", 8 + 8),
        ("SELECT n FROM t WHERE ts IN ('2024-01-02 00:05:00', '2024-01-02 00:06:00')", 8 + 8),
        ("SELECT n FROM t WHERE ts = '2024-01-01T13:47:31Z'", 16 + 16),
        ("SELECT n FROM t WHERE DATE(ts) = '2024-01-02'", 8 + 8),
        ("SELECT n FROM t WHERE DATE(ts) > DATE_SUB(CURRENT_DATE(), INTERVAL 2 DAY)", 8 + 16),
        ("SELECT n FROM t WHERE CAST(ts AS DATE) < '2024-01-02'", 16 + 16),
        ("SELECT n FROM t WHERE ts > TIMESTAMP_SUB(CURRENT_TIMESTAMP(), INTERVAL 30 HOUR)", 8 + 16),
        ("SELECT n FROM t WHERE ts < '2024-01-02' OR ts >= '2024-01-03'", 16 + 24),
        ("SELECT n FROM t WHERE ts IS NULL", 0),
        // A filter that is not the pruning column's prunes nothing.
        ("SELECT n FROM t WHERE day = '2024-01-02'", 24 + 32),
        ("SELECT n FROM t WHERE ts >= '2024-01-03' OR n = 1", 24 + 32),
        ("SELECT n FROM t WHERE DATE(ts, 'America/Los_Angeles') = '2024-01-02'", 24 + 32),
        ("SELECT n FROM t WHERE TIMESTAMP_ADD(ts, INTERVAL 1 HOUR) > '2024-01-03'", 24 + 32),
        ("SELECT n FROM t WHERE ts >= (SELECT MAX(ts) FROM t)", 24 + 32),
        // Each cell once, however often it is read.
        ("SELECT a.n FROM t a JOIN t b ON a.n = b.n", 24),
        ("SELECT n FROM t WHERE ts < '2024-01-02' UNION ALL SELECT n FROM t WHERE ts < '2024-01-03'", 24 + 24),
        ("WITH a AS (SELECT * FROM t) SELECT n FROM a WHERE ts < '2024-01-02'", 16 + 16),
        ("SELECT SUM(e) FROM t, UNNEST(list) AS e WHERE ts < '2024-01-02'", 16 + 16),
        // Through views.
        ("SELECT n FROM v", 24),
        ("SELECT SUM(n) FROM v WHERE time < '2024-01-02'", 16 + 16),
        ("SELECT SUM(n) FROM vv WHERE time >= '2024-01-02'", 8 + 16),
        ("SELECT TIMESTAMP_TRUNC(time, HOUR) AS h, SUM(n) FROM v WHERE time >= '2024-01-03' GROUP BY h", 8),
    ] {
        assert_eq!(place.processed(sql).await, bytes, "{sql}");
    }
}

#[tokio::test]
async fn months_hours_and_rows_without_a_time_have_partitions_of_their_own() {
    let place = Place::empty();
    let schema =
        Arc::new(Schema::new(vec![Field::new("ts", types::timestamp(), true), Field::new("n", DataType::Int64, true)]));
    let times = [Some("2024-01-31T23:00:00Z"), Some("2024-02-01T00:30:00Z"), Some("2024-02-01T01:30:00Z"), None];
    let times: TimestampMicrosecondArray = times.iter().map(|text| text.map(|text| at(text).micros())).collect();
    let numbers = Int64Array::from(vec![1, 2, 3, 4]);
    let rows = RecordBatch::try_new(schema, vec![Arc::new(times.with_timezone("UTC")), Arc::new(numbers)]).unwrap();
    for (name, unit) in [
        ("hours", PartitionUnit::Hour),
        ("days", PartitionUnit::Day),
        ("months", PartitionUnit::Month),
        ("years", PartitionUnit::Year),
    ] {
        place.table(&format!("p.d.{name}"), &rows, Some(("TS", unit)));
    }
    for (sql, bytes) in [
        ("SELECT n FROM hours WHERE ts >= '2024-02-01 01:00:00'", 16),
        ("SELECT n FROM days WHERE ts >= '2024-02-01 01:00:00'", 32),
        ("SELECT n FROM months WHERE ts < '2024-02-01'", 16),
        ("SELECT n FROM years WHERE ts < '2024-02-01'", 48),
        ("SELECT n FROM years WHERE ts < '2024-01-01'", 0),
        ("SELECT n FROM days WHERE ts IS NULL", 8),
        ("SELECT n FROM days WHERE ts IS NOT NULL", 48),
    ] {
        assert_eq!(place.processed(sql).await, bytes, "{sql}");
    }
    place.check("SELECT n FROM days WHERE ts IS NULL", &["4"]).await;
    place.check("SELECT n FROM months WHERE DATE(ts) = '2024-02-01' ORDER BY n", &["2", "3"]).await;
}

#[tokio::test]
async fn each_table_is_rounded_up_by_itself_and_billed_the_minimum() {
    let place = Place::new();
    let text = "x".repeat(1024 * 1024);
    let schema = Arc::new(Schema::new(vec![Field::new("s", DataType::Utf8, true)]));
    let rows = RecordBatch::try_new(schema, vec![Arc::new(StringArray::from(vec![text; 12]))]).unwrap();
    place.table("p.d.big", &rows, None);
    for (sql, processed, billed) in [
        ("SELECT n FROM d.t", 24, MINIMUM_BYTES_PER_TABLE),
        ("SELECT COUNT(*) FROM d.t", 0, 0),
        ("SELECT 1", 0, 0),
        ("SELECT n FROM d.t WHERE ts > '2030-01-01'", 0, MINIMUM_BYTES_PER_TABLE),
        ("SELECT n FROM d.t WHERE FALSE", 0, MINIMUM_BYTES_PER_TABLE),
        ("SELECT MAX(s) FROM d.big", 12_582_936, 13 * 1024 * 1024),
        ("SELECT n FROM d.t, d.big WHERE s = 'a'", 24 + 12_582_936, 23 * 1024 * 1024),
        ("SELECT a.n FROM d.t a JOIN d.t b USING (ts)", 24 + 32, MINIMUM_BYTES_PER_TABLE),
    ] {
        let outcome = place.embedded.run(Job::new(sql, sql)).await.unwrap();
        assert_eq!((outcome.bytes_processed, outcome.bytes_billed), (processed, billed), "{sql}");
    }
    assert_eq!(billed_bytes(12_582_936), 13 * 1024 * 1024);
}

#[tokio::test]
async fn a_job_over_its_limit_does_not_run() {
    let place = Place::new();
    let mut job = Job::new("j", "SELECT n FROM d.t");
    job.maximum_bytes_billed = Some(MINIMUM_BYTES_PER_TABLE - 1);
    let error = place.embedded.run(job.clone()).await.unwrap_err();
    assert_eq!(error.kind(), Kind::TooExpensive);
    assert_eq!(error.message(), "Query exceeded limit for bytes billed: 10485759. 10485760 or higher required.");
    assert_eq!(place.embedded.bill(), Bill::default());
    job.maximum_bytes_billed = Some(MINIMUM_BYTES_PER_TABLE);
    assert_eq!(place.embedded.run(job).await.unwrap().batches.num_rows(), 4);
}

#[tokio::test]
async fn a_repeated_job_id_is_the_same_job() {
    let place = Place::new();
    let job = Job::new("same", "SELECT SUM(n) FROM d.t");
    let (one, two) = tokio::join!(place.embedded.run(job.clone()), place.embedded.run(job.clone()));
    let three = place.embedded.run(job).await.unwrap();
    let (one, two) = (one.unwrap(), two.unwrap());
    assert_eq!(one.started_at, two.started_at);
    assert_eq!([one.joined, two.joined, three.joined], [false, true, true]);
    assert_eq!(three.bytes_billed, MINIMUM_BYTES_PER_TABLE);
    assert_eq!(place.embedded.bill(), Bill { jobs: 1, bytes_processed: 24, bytes_billed: MINIMUM_BYTES_PER_TABLE });
}

#[tokio::test]
async fn a_dropped_job_leaves_its_id_free() {
    let place = Place::new();
    let job = Job::new("same", "SELECT SUM(n) FROM d.t");
    {
        let run = place.embedded.run(job.clone());
        tokio::pin!(run);
        assert!(futures::poll!(run.as_mut()).is_pending());
    }
    assert_eq!(place.embedded.run(job).await.unwrap().batches.num_rows(), 1);
    assert_eq!(place.embedded.bill().jobs, 1);
}

#[tokio::test]
async fn a_dry_run_names_all_relations_and_is_free() {
    let place = Place::new();
    place.embedded.create_view(id("p.d.v"), "SELECT n FROM d.t").unwrap();
    let estimate = place.embedded.dry_run(&Job::new("dry", "SELECT n AS Value FROM d.v")).await.unwrap();
    assert_eq!(estimate.statement_type, "SELECT");
    assert_eq!(estimate.referenced_tables, [id("p.d.t"), id("p.d.v")]);
    assert_eq!(estimate.schema.field(0).name(), "Value");
    assert_eq!(place.embedded.bill(), Bill::default());
}

#[tokio::test]
async fn parameters_prune_like_literals() {
    let place = Place::new();
    let parameter = |type_name: &str, value| Parameter { type_name: type_name.to_owned(), value };
    let mut job = Job::new(
        "j",
        "SELECT SUM(n) FROM d.t WHERE ts >= @From AND branch IN UNNEST(@branches) AND n < @most AND @flag",
    );
    job.parameters.insert("from".into(), parameter("TIMESTAMP", json!("2024-01-02T00:00:00Z")));
    job.parameters.insert("branches".into(), parameter("ARRAY<STRING>", json!(["control", "x"])));
    job.parameters.insert("most".into(), parameter("INT64", json!("7")));
    job.parameters.insert("flag".into(), parameter("BOOL", json!(true)));
    let outcome = place.embedded.run(job.clone()).await.unwrap();
    assert_eq!(super::rows_of(&outcome.batches), ["3"]);
    assert_eq!(outcome.bytes_processed, 8 + 16 + 9);
    job.id = "empty".into();
    job.parameters.insert("branches".into(), parameter("ARRAY<STRING>", json!([])));
    assert_eq!(super::rows_of(&place.embedded.run(job.clone()).await.unwrap().batches), ["NULL"]);
    job.id = "missing".into();
    job.parameters.remove("most");
    let error = place.embedded.run(job).await.unwrap_err();
    assert_eq!(error.message(), "Query parameter 'most' not found at [1:82]");
}

#[tokio::test]
async fn partitions_are_replaced_and_snapshots_kept() {
    let place = Place::new();
    let two = place.answer("SELECT * FROM t WHERE n = 3").await.unwrap().concat().unwrap();
    place.embedded.append(&id("p.d.t"), &two).unwrap();
    place.check("SELECT COUNT(n), SUM(n) FROM t AS after_append", &["4|9"]).await;
    place.embedded.replace_partition(&id("p.d.t"), at("2024-01-02T09:00:00Z"), &two).unwrap();
    place.check("SELECT COUNT(n), SUM(n) FROM t AS after_partition", &["3|6"]).await;
    let error = place.embedded.replace_partition(&id("p.d.t"), at("2024-01-01T00:00:00Z"), &two).unwrap_err();
    assert!(error.message().contains("belong to another partition"), "{error}");
    place.embedded.replace(&id("p.d.t"), &two).unwrap();
    place.check("SELECT COUNT(*), SUM(n) FROM t AS after_all", &["1|3"]).await;
    let table = place.embedded.table(&id("p.d.t")).await.unwrap();
    assert_eq!((table.num_rows, table.kind.as_str()), (1, "TABLE"));
    assert_eq!(table.num_bytes, 8 + 8 + 9 + 8 + 8);
    assert_eq!(table.partitioning.unwrap().column.as_deref(), Some("ts"));
}

#[tokio::test]
async fn rows_that_do_not_fit_are_refused_and_nothing_is_added() {
    let place = Place::new();
    let schema = Arc::new(Schema::new(vec![Field::new("ts", types::timestamp(), true)]));
    let rows = RecordBatch::try_new(schema, vec![timestamps(&["2024-01-01"])]).unwrap();
    let error = place.embedded.append(&id("p.d.t"), &rows).unwrap_err();
    assert_eq!(error.message(), "table p.d.t has 7 columns, the rows have 1");
    assert_eq!(place.embedded.append(&id("p.d.none"), &rows).unwrap_err().kind(), Kind::NotFound);
    place.check("SELECT COUNT(*) FROM t", &["4"]).await;
}
