//! Figures of experiments are what bqemulator adds up from the windows as they came.

use std::collections::{BTreeMap, BTreeSet};

use arrow::array::{Array as _, AsArray as _};
use arrow::datatypes::{Int64Type, TimestampMicrosecondType};
use weir::monitoring::figures::{By, Granularity, SeriesQuery};
use weir::source::bigquery::BigQuery;
use weir::source::{Job, Source as _};

use crate::conformance::config;
use crate::local::place::{self, Place};

const ENROLLMENT: &str = "`moz-fx-data-shared-prod.telemetry_derived.experiment_enrollment_aggregates_live_v1`";
const SEARCH: &str = "`moz-fx-data-shared-prod.telemetry_derived.experiment_search_aggregates_live_v1`";
const CRASH: &str = "`moz-fx-data-shared-prod.telemetry.experiment_crash_rates_live`";
const ACTIVE: &str = "`moz-fx-data-shared-prod.telemetry_derived.experiments_daily_active_clients_v1`";

/// (experiment, start of the bucket, branch) and its value.
type Values = BTreeMap<(String, i64, String), i64>;

/// Each dataset's windows: what adds up to its value, and whether all before are added too.
/// Source: the table of datasets in the README.
fn windows() -> BTreeMap<&'static str, (String, bool)> {
    let of = |table: &str, counters: &[&str]| {
        let sums: Vec<String> = counters.iter().map(|counter| format!("SUM({counter})")).collect();
        format!(
            "SELECT experiment, window_start AS time, branch, {} AS value FROM {table} GROUP BY 1, 2, 3",
            sums.join(" + ")
        )
    };
    let other = [
        "graduate_count",
        "enroll_failed_count",
        "unenroll_failed_count",
        "update_count",
        "update_failed_count",
        "disqualification_count",
        "validation_failed_count",
    ];
    let population = format!(
        "SELECT experiment, window_start AS time, branch, \
         SUM(enroll_count) - SUM(unenroll_count) - SUM(graduate_count) AS value FROM {ENROLLMENT} GROUP BY 1, 2, 3"
    );
    let active = format!(
        "SELECT experiment_id AS experiment, TIMESTAMP(DATE_ADD(submission_date, INTERVAL 1 DAY)) AS time, branch, \
         SUM(active_clients) AS value FROM {ACTIVE} GROUP BY 1, 2, 3"
    );
    BTreeMap::from([
        ("experiment_enrollment_overall", (of(ENROLLMENT, &["enroll_count"]), false)),
        ("experiment_unenrollment_overall", (of(ENROLLMENT, &["unenroll_count"]), false)),
        ("experiment_exposure_overall", (of(ENROLLMENT, &["exposure_count"]), false)),
        ("experiment_enrollment_other_events_overall", (of(ENROLLMENT, &other), false)),
        ("experiment_enrollment_cumulative_population_estimate", (population, true)),
        ("experiment_enrollment_daily_active_population", (active, false)),
        ("experiment_cumulative_search_count", (of(SEARCH, &["search_count"]), true)),
        ("experiment_cumulative_ad_clicks", (of(SEARCH, &["ad_clicks_count"]), true)),
        ("experiment_cumulative_search_with_ads_count", (of(SEARCH, &["search_with_ads_count"]), true)),
        ("experiment_crash_counts", (of(CRASH, &["crash_count"]), false)),
    ])
}

#[tokio::test(flavor = "multi_thread")]
async fn every_dataset_of_every_experiment_is_what_bqemulator_adds_up() {
    let place = Place::new().await;
    let emulator = place::copied().await;
    let client = BigQuery::connect(&config(emulator.rest_url(), emulator.storage_url(), None)).await.unwrap();
    let app = place.app(None);
    let figures = app.figures(None).unwrap();
    let windows = windows();
    let list = "SELECT normandy_slug FROM `moz-fx-data-experiments.monitoring.experimenter_experiments_v1`";
    let list = place.tables.run(Job::new("list", list)).await.unwrap().batches.concat().unwrap();
    let listed: BTreeSet<String> = list.column(0).as_string::<i32>().iter().flatten().map(str::to_owned).collect();
    let known: Vec<String> = figures.datasets().iter().map(|dataset| dataset.name.to_string()).collect();
    assert_eq!(known.len(), windows.len());
    for dataset in known {
        let (text, is_running) = &windows[&*dataset];
        let mut sql = format!("SELECT experiment, time, branch, value FROM ({text}) WHERE branch IS NOT NULL");
        if *is_running {
            sql = format!(
                "SELECT experiment, time, branch, SUM(value) OVER (PARTITION BY experiment, branch ORDER BY time) AS value \
                 FROM ({sql})"
            );
        }
        let expected = client.run(Job::new(uuid::Uuid::new_v4().to_string(), &*sql)).await.unwrap();
        let rows = expected.batches.concat().unwrap();
        let text = |column: usize, row: usize| rows.column(column).as_string::<i32>().value(row).to_owned();
        let times = rows.column(1).as_primitive::<TimestampMicrosecondType>();
        let values = rows.column(3).as_primitive::<Int64Type>();
        let value =
            |row| values.is_valid(row).then(|| ((text(0, row), times.value(row), text(2, row)), values.value(row)));
        let mut expected: Values = (0..rows.num_rows()).filter_map(value).collect();
        let granularity = (!dataset.contains("daily_active")).then_some(Granularity::FiveMinutes);
        let query = SeriesQuery {
            dataset: dataset.clone(),
            by: By::Branch,
            granularity,
            from: Some(place::at("2024-03-01")),
            ..SeriesQuery::default()
        };
        let mut ours = Values::new();
        for series in figures.series(&query).await.unwrap() {
            for point in series.points {
                let branch = point.branch.unwrap().to_string();
                ours.insert((series.experiment.to_string(), point.time.micros(), branch), point.value);
            }
        }
        assert!(ours.len() > 20, "{dataset}: {} values", ours.len());
        // Windows may name experiments that the list does not.
        expected.retain(|(experiment, ..), _| listed.contains(experiment));
        assert_eq!(ours, expected, "{dataset}");
    }
}
