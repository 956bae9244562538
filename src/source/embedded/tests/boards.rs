//! The SQL of boards and of Mozilla's views, over small made tables.

use std::fmt::Write;
use std::sync::Arc;

use arrow::array::{Array, Date32Array, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use weir_plan::extent::DAY;

use super::{Place, at, id, timestamps, types};
use crate::source::{Job, MINIMUM_BYTES_PER_TABLE, PartitionUnit, Source};

const PROJECT: &str = "moz-fx-data-shared-prod";

/// A row of events: window start, experiment, branch, channel, enrollments, unenrollments.
type Event<'a> = (&'a str, &'a str, Option<&'a str>, &'a str, i64, i64);

fn events(events: &[Event<'_>], live: bool) -> RecordBatch {
    let starts = timestamps(&events.iter().map(|event| event.0).collect::<Vec<_>>());
    let texts = |text: fn(&Event<'_>) -> Option<String>| Arc::new(events.iter().map(text).collect::<StringArray>());
    let numbers = |number: fn(&Event<'_>) -> i64| Arc::new(Int64Array::from_iter_values(events.iter().map(number)));
    let text = |name: &str| Field::new(name, DataType::Utf8, true);
    let number = |name: &str| Field::new(name, DataType::Int64, true);
    let mut fields = vec![
        Field::new("window_start", types::timestamp(), true),
        text("experiment"),
        text("branch"),
        text("normalized_channel"),
        number("enroll_count"),
        number("unenroll_count"),
        number("graduate_count"),
    ];
    let mut columns: Vec<Arc<dyn Array>> = vec![
        starts,
        texts(|event| Some(event.1.to_owned())),
        texts(|event| event.2.map(str::to_owned)),
        texts(|event| Some(event.3.to_owned())),
        numbers(|event| event.4),
        numbers(|event| event.5),
        numbers(|_| 0),
    ];
    if live {
        let days: Vec<i64> = events.iter().map(|event| at(event.0).floor(DAY).micros()).collect();
        fields.push(Field::new("partition_date", types::timestamp(), true));
        fields.push(Field::new("submission_date", DataType::Date32, true));
        columns.push(Arc::new(arrow::array::TimestampMicrosecondArray::from(days.clone()).with_timezone("UTC")));
        columns.push(Arc::new(days.iter().map(|day| i32::try_from(day / DAY).ok()).collect::<Date32Array>()));
    }
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap()
}

/// Two apps' live tables, the daily table, the union view and the monitoring views. Now is noon of
/// 2024-01-03, so 2024-01-01 flips: its 00:00 window is daily, the rest live.
fn mozilla() -> Place {
    let place = Place::empty();
    let live = [
        ("2024-01-01T00:00:00Z", "slug", Some("control"), "release", 1, 0),
        ("2024-01-01T00:05:00Z", "slug", Some("control"), "release", 2, 0),
        ("2024-01-02T00:00:00Z", "slug", Some("control"), "release", 3, 1),
        ("2024-01-02T00:00:00Z", "slug", Some("control"), "beta", 4, 0),
        ("2024-01-02T00:00:00Z", "slug", None, "release", 100, 0),
        ("2024-01-03T10:00:00Z", "slug", Some("treatment"), "release", 5, 2),
    ];
    let other = [
        ("2024-01-03T10:00:00Z", "slug", Some("treatment"), "nightly", 7, 0),
        ("2024-01-03T10:00:00Z", "other", Some("a"), "nightly", 9, 0),
    ];
    let daily = [
        ("2023-12-31T00:00:00Z", "slug", Some("control"), "release", 10, 0),
        ("2024-01-01T00:00:00Z", "slug", Some("control"), "release", 20, 0),
        ("2024-01-01T00:05:00Z", "slug", Some("control"), "release", 40, 0),
    ];
    let table = |app: &str| format!("{PROJECT}.{app}_derived.experiment_events_live_v1");
    let aggregates = format!("{PROJECT}.telemetry_derived.experiment_enrollment_aggregates_v1");
    place.table(&table("telemetry"), &events(&live, true), Some(("partition_date", PartitionUnit::Day)));
    place.table(&table("org_mozilla_fenix"), &events(&other, true), Some(("partition_date", PartitionUnit::Day)));
    place.table(&aggregates, &events(&daily, false), Some(("window_start", PartitionUnit::Day)));
    let columns = "window_start, experiment, branch, normalized_channel, enroll_count, unenroll_count, graduate_count";
    let flip = "TIMESTAMP(DATE_SUB(CURRENT_DATE(), INTERVAL 2 DAY))";
    let mut union = String::from("WITH all_branches AS (\n");
    for app in ["telemetry", "org_mozilla_fenix"] {
        write!(union, "  SELECT {columns} FROM `{}` WHERE window_start > {flip}\n  UNION ALL\n", table(app)).unwrap();
    }
    write!(union, "  SELECT {columns} FROM `{aggregates}` WHERE window_start <= {flip}\n)\nSELECT * FROM all_branches")
        .unwrap();
    let view = |name: &str, sql: &str| place.embedded.create_view(id(&format!("{PROJECT}.{name}")), sql).unwrap();
    view("telemetry_derived.experiment_enrollment_aggregates_live_v1", &union);
    let source = format!("`{PROJECT}.telemetry_derived.experiment_enrollment_aggregates_live_v1`");
    view(
        "telemetry.experiment_enrollment_overall",
        &format!(
            "SELECT window_start AS time, experiment, branch, normalized_channel, SUM(enroll_count) AS value
             FROM {source} GROUP BY time, experiment, branch, normalized_channel"
        ),
    );
    view(
        "telemetry.experiment_enrollment_cumulative_population_estimate",
        &format!(
            "WITH grouped AS (
               SELECT window_start AS time, experiment, branch,
                 SUM(enroll_count) - SUM(unenroll_count) - SUM(graduate_count) AS change
               FROM {source} GROUP BY 1, 2, 3
             )
             SELECT time, experiment, branch, SUM(change) OVER previous_rows_window AS value
             FROM grouped
             WINDOW previous_rows_window AS (
               PARTITION BY experiment, branch ORDER BY time ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
             )"
        ),
    );
    place
}

/// A panel's query with its macros expanded as Weir does.
fn panel(bucket: &str) -> String {
    format!(
        "SELECT {bucket} AS time, branch AS metric, SUM(value) AS value
         FROM `{PROJECT}.telemetry.experiment_enrollment_overall`
         WHERE experiment='slug' AND branch IS NOT NULL
           AND time >= TIMESTAMP '2023-12-30T00:00:00Z' AND time < TIMESTAMP '2024-01-04T00:00:00Z'
         GROUP BY 1,2 ORDER BY 1"
    )
}

#[tokio::test]
async fn the_panel_query_of_the_boards_runs() {
    let place = mozilla();
    let hour = panel("TIMESTAMP_MILLIS(DIV(UNIX_MILLIS(time), 3600000) * 3600000)");
    place
        .check(
            &hour,
            &[
                "2023-12-31T00:00:00Z|control|10",
                "2024-01-01T00:00:00Z|control|22",
                "2024-01-02T00:00:00Z|control|7",
                "2024-01-03T10:00:00Z|treatment|12",
            ],
        )
        .await;
    let outcome = place.embedded.run(Job::new("bill", hour)).await.unwrap();
    assert_eq!(outcome.bytes_billed, 3 * MINIMUM_BYTES_PER_TABLE);
    for bucket in [
        "TIMESTAMP_SECONDS(DIV(UNIX_SECONDS(`time`), 604800) * 604800)",
        "TIMESTAMP_TRUNC(time, MONTH)",
        "TIMESTAMP(DATE_SUB(DATE_TRUNC(DATE(time), MONTH), INTERVAL MOD(EXTRACT(MONTH FROM time) - 1, 6) MONTH))",
        "PARSE_TIMESTAMP('%Y-%m-%d', CONCAT(CAST(EXTRACT(YEAR FROM time) AS STRING), '-', CAST(EXTRACT(MONTH FROM time) AS STRING), '-01'))",
    ] {
        let total: i64 = place
            .rows(&panel(bucket))
            .await
            .iter()
            .map(|row| row.rsplit('|').next().unwrap().parse::<i64>().unwrap())
            .sum();
        assert_eq!(total, 51, "{bucket}");
    }
}

#[tokio::test]
async fn the_union_view_flips_at_midnight() {
    let place = mozilla();
    let sql = format!(
        "SELECT SUM(value) AS value FROM `{PROJECT}.telemetry.experiment_enrollment_overall` WHERE branch = 'control'"
    );
    place.check(&sql, &["39"]).await;
    place.clock.set(at("2024-01-03T23:59:59Z"));
    place.check(&format!("{sql} -- still the third"), &["39"]).await;
    place.clock.set(at("2024-01-04T00:00:00Z"));
    place.check(&format!("{sql} -- the fourth"), &["70"]).await;
}

#[tokio::test]
async fn filters_through_the_union_view_prune_the_daily_table_alone() {
    let place = mozilla();
    let view = format!("`{PROJECT}.telemetry_derived.experiment_enrollment_aggregates_live_v1`");
    let bytes = async |condition: &str| {
        let job = Job::new("dry", format!("SELECT SUM(enroll_count) FROM {view} WHERE {condition}"));
        place.embedded.dry_run(&job).await.unwrap().bytes_processed
    };
    // Two columns of 8 bytes; 6 and 2 live rows whatever their time, 3 daily ones up to the flip.
    assert_eq!(bytes("TRUE").await, 16 * (6 + 2 + 3));
    assert_eq!(bytes("window_start >= '2024-01-02'").await, 16 * (6 + 2));
    assert_eq!(bytes("window_start < '2024-01-01'").await, 16 * (6 + 2 + 1));
}

#[tokio::test]
async fn running_sums_group_before_they_run() {
    let place = mozilla();
    place
        .check(
            &format!(
                "SELECT time, branch AS metric, value FROM `{PROJECT}.telemetry.experiment_enrollment_cumulative_population_estimate`
                 WHERE experiment = 'slug' AND branch IS NOT NULL AND time >= '2024-01-01T00:05:00Z' AND time <= '2024-01-04T00:00:00Z'
                 ORDER BY time, metric"
            ),
            &[
                "2024-01-01T00:05:00Z|control|32",
                "2024-01-02T00:00:00Z|control|38",
                "2024-01-03T10:00:00Z|treatment|10",
            ],
        )
        .await;
}

#[tokio::test]
async fn other_events_stack_by_name() {
    let place = mozilla();
    let view = format!("`{PROJECT}.telemetry_derived.experiment_enrollment_aggregates_live_v1`");
    place
        .check(
            &format!(
                "SELECT event, SUM(value) AS value FROM (
                   SELECT window_start AS time, experiment, branch, 'unenroll' AS event, SUM(unenroll_count) AS value FROM {view} GROUP BY 1, 2, 3
                   UNION ALL
                   SELECT window_start, experiment, branch, 'enroll', SUM(enroll_count) FROM {view} GROUP BY 1, 2, 3
                 ) WHERE branch IS NOT NULL GROUP BY event ORDER BY event"
            ),
            &["enroll|60", "unenroll|3"],
        )
        .await;
}
