//! Figures over the demo's tables, against SQL that the source runs over the same windows.

mod defects;
mod invariants;

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array as _, AsArray as _, RecordBatch};
use arrow::datatypes::{Int64Type, TimestampMicrosecondType};
use weir_plan::Kind;

use super::*;
use crate::app::App;
use crate::cache::StoreSettings;
use crate::clock::{Clock, ManualClock};
use crate::engine::{EngineSettings, LocalSettings};
use crate::monitoring::datasets::DatasetKind;
use crate::monitoring::synthetic::{PROJECT, Synthetic, SyntheticConfig};
use crate::source::embedded::Embedded;
use crate::source::{Job, Source};

/// A little after noon, so that the last window has not ended.
const NOW: &str = "2024-03-31T12:02:00Z";

/// Figures over generated tables of 40 days.
struct Place {
    figures: Figures,
    embedded: Arc<Embedded>,
    clock: Arc<ManualClock>,
}

/// (experiment, time, branch, split) and its value.
type Values = BTreeMap<(String, i64, Option<String>, Option<String>), i64>;

fn at(text: &str) -> Timestamp {
    Timestamp::parse(text, Timestamp::MIN).unwrap()
}

fn place() -> Place {
    place_with(EngineSettings::default())
}

fn place_with(settings: EngineSettings) -> Place {
    let clock = Arc::new(ManualClock::new(at(NOW)));
    let config = SyntheticConfig {
        live_recipes: 8,
        ended_recipes: 3,
        upcoming_recipes: 1,
        history_days: 40,
        ..SyntheticConfig::demo(at(NOW))
    };
    let synthetic = Arc::new(Synthetic::new(config));
    let embedded = Embedded::new(PROJECT, Arc::clone(&clock) as Arc<dyn Clock>);
    let embedded = Arc::new(embedded.with_feed(Arc::clone(&synthetic) as _));
    synthetic.install(&embedded, at(NOW), &mut |_| ()).unwrap();
    let mut app = App::new(StoreSettings::of(256 << 20), Arc::clone(&clock) as _, App::GRACE);
    let engine = app.add_source("demo", Arc::clone(&embedded) as _, settings);
    Place { figures: Figures::new(engine), embedded, clock }
}

impl Place {
    /// The rows of a text, straight from the source.
    async fn rows(&self, sql: &str) -> RecordBatch {
        let outcome = self.embedded.run(Job::new(uuid::Uuid::new_v4().to_string(), sql)).await;
        outcome.unwrap_or_else(|error| panic!("{error:?}\n{sql}")).batches.concat().unwrap()
    }

    /// The values of a text with the columns experiment, time, branch, split and value.
    async fn values(&self, sql: &str) -> Values {
        let rows = self.rows(sql).await;
        let text = |column: usize, row: usize| {
            let column = rows.column(column).as_string_opt::<i32>()?;
            column.is_valid(row).then(|| column.value(row).to_owned())
        };
        let times = rows.column(1).as_primitive::<TimestampMicrosecondType>();
        let values = rows.column(4).as_primitive::<Int64Type>();
        let row =
            |row: usize| ((text(0, row).unwrap(), times.value(row), text(2, row), text(3, row)), values.value(row));
        (0..rows.num_rows()).map(row).collect()
    }

    async fn series(&self, query: &SeriesQuery) -> Values {
        values(&self.figures.series(query).await.unwrap())
    }
}

fn values(series: &[Series]) -> Values {
    let mut values = Values::new();
    for series in series {
        for point in &series.points {
            let names = [&point.branch, &point.split].map(|name| name.as_ref().map(ToString::to_string));
            let [branch, split] = names;
            let key = (series.experiment.to_string(), point.time.micros(), branch, split);
            assert_eq!(values.insert(key.clone(), point.value), None, "{key:?} twice");
        }
    }
    values
}

fn query(dataset: &str, by: By) -> SeriesQuery {
    SeriesQuery { dataset: dataset.to_owned(), by, ..SeriesQuery::default() }
}

fn fine(dataset: &str, by: By, from: &str) -> SeriesQuery {
    let granularity = Some(Granularity::FiveMinutes);
    SeriesQuery { granularity, from: Some(at(from)), ..query(dataset, by) }
}

#[tokio::test]
async fn series_at_the_finest_granularity_are_what_the_views_say() {
    let place = place();
    let from = "2024-03-27T00:00:00Z";
    for dataset in place.figures.datasets().iter() {
        let (name, view) = (&dataset.name, &dataset.view);
        let truth = place
            .values(&format!(
                "SELECT experiment, time, branch, CAST(NULL AS STRING) AS split, SUM(value) AS value FROM `{view}` \
                 WHERE branch IS NOT NULL AND time >= TIMESTAMP('{from}') GROUP BY experiment, time, branch"
            ))
            .await;
        let mut query = fine(name, By::Branch, from);
        if dataset.kind == DatasetKind::Level {
            query.granularity = None;
        }
        assert!(!truth.is_empty(), "{name}");
        assert_eq!(place.series(&query).await, truth, "{name}");
    }
}

#[tokio::test]
async fn splits_are_what_the_views_say() {
    let place = place();
    let from = "2024-03-29T00:00:00Z";
    for (dataset, split, column) in [
        ("experiment_enrollment_other_events_overall", "event", "event"),
        ("experiment_enrollment_overall", "channel", "normalized_channel"),
        ("experiment_crash_counts", "process", "crash_process_type"),
    ] {
        for (by, branch) in
            [(By::Split(split.into()), "CAST(NULL AS STRING)"), (By::BranchAndSplit(split.into()), "branch")]
        {
            let truth = place
                .values(&format!(
                    "SELECT experiment, time, {branch} AS branch, {column} AS split, SUM(value) AS value \
                     FROM `{PROJECT}.telemetry.{dataset}` \
                     WHERE branch IS NOT NULL AND time >= TIMESTAMP('{from}') GROUP BY 1, 2, 3, 4"
                ))
                .await;
            assert_eq!(place.series(&fine(dataset, by, from)).await, truth, "{dataset} {split}");
        }
    }
}

#[tokio::test]
async fn counts_are_all_time_totals_of_the_branches_that_are_listed() {
    let place = place();
    let counts = place.figures.counts().await.unwrap();
    let rows = place
        .rows(&format!(
            "SELECT experiment, branch, SUM(enroll_count) AS enrolled, SUM(unenroll_count) AS gone \
             FROM `{PROJECT}.telemetry_derived.experiment_enrollment_aggregates_live_v1` \
             WHERE branch IS NOT NULL GROUP BY experiment, branch"
        ))
        .await;
    let listed = place.figures.experiments().await.unwrap();
    let mut compared = 0;
    for row in 0..rows.num_rows() {
        let [slug, branch] = [0, 1].map(|column| rows.column(column).as_string::<i32>().value(row));
        let [enrollments, unenrollments] =
            [2, 3].map(|column| rows.column(column).as_primitive::<Int64Type>().value(row));
        let is_listed = listed.get(slug).is_some_and(|it| it.branches.iter().any(|known| *known.slug == *branch));
        let found = counts.by_slug.get(slug).and_then(|counts| counts.branches.get(branch));
        assert_eq!(found, is_listed.then_some(&BranchCounts { enrollments, unenrollments }), "{slug} {branch}");
        compared += usize::from(is_listed);
    }
    assert!(compared > 10, "{compared}");
    for (slug, counts) in &counts.by_slug {
        let sum = |of: fn(&BranchCounts) -> i64| counts.branches.values().map(of).sum::<i64>();
        assert_eq!(counts.total_enrollments, sum(|branch| branch.enrollments), "{slug}");
        assert_eq!(counts.total_unenrollments, sum(|branch| branch.unenrollments), "{slug}");
    }
    let text = serde_json::to_string(counts.by_slug.values().next().unwrap()).unwrap();
    assert!(text.contains(r#""unenrollment_reasons":{}"#) && !text.contains("reasons_by_branch"), "{text}");
}

#[tokio::test]
async fn all_experiments_and_datasets_are_made_of_a_few_jobs() {
    let place = place();
    let names: Vec<String> = place.figures.datasets().iter().map(|dataset| dataset.name.to_string()).collect();
    let everything = async || {
        for name in &names {
            for by in [By::Total, By::Branch] {
                place.figures.series(&query(name, by)).await.unwrap();
            }
        }
        place.figures.counts().await.unwrap();
        place.figures.spent()
    };
    let first = everything().await;
    // Three lengths of bucket for each of three bases, the levels, and the list of experiments.
    assert!(first.jobs <= 3 * 3 + 2, "{first:?}");
    let second = everything().await;
    assert_eq!((second.jobs, second.bytes_billed), (first.jobs, first.bytes_billed));
    assert!(second.answers > first.answers);
}

#[tokio::test]
async fn local_relations_give_the_same_figures() {
    let (by_jobs, locally) = (place(), LocalSettings::ready_made());
    let locally = place_with(EngineSettings { local: Arc::new(locally), ..EngineSettings::default() });
    for dataset in by_jobs.figures.datasets().iter() {
        let query = query(&dataset.name, By::Branch);
        assert_eq!(locally.series(&query).await, by_jobs.series(&query).await, "{}", dataset.name);
    }
    let [expected, found] = [&by_jobs, &locally].map(|place| place.figures.counts());
    assert_eq!(found.await.unwrap().by_slug, expected.await.unwrap().by_slug);
    let query = query("experiment_enrollment_overall", By::Total);
    // The first is the list of experiments.
    let answers = locally.figures.asked(&query).await.unwrap().answers;
    assert!(answers[1..].iter().all(|answer| answer.provenance.mode == weir_plan::Mode::Local));
}

#[tokio::test]
async fn the_same_series_of_the_same_rows_is_made_once() {
    let place = place();
    let query = query("experiment_enrollment_overall", By::Branch);
    let [first, second] = [(), ()].map(|()| place.figures.series_table(&query));
    let (first, second) = (first.await.unwrap(), second.await.unwrap());
    assert_eq!(first.content_id, second.content_id);
    let rows = |answer: &Answer| answer.batches.num_rows();
    assert_eq!(rows(&first), place.series(&query).await.len());
    let by_total = place.figures.series_table(&SeriesQuery { by: By::Total, ..query }).await.unwrap();
    assert_ne!(by_total.content_id, first.content_id);
}

#[tokio::test]
async fn what_cannot_be_answered_names_what_is_wrong() {
    let place = place();
    let slug = place.figures.experiments().await.unwrap().keys().next().unwrap().to_string();
    let check = async |query: SeriesQuery, kind: Kind, expected: &str| {
        let error = place.figures.series(&query).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{query:?}: {error}");
        assert!(error.message().contains(expected), "{query:?}: {error}");
    };
    let enrollments = || query("experiment_enrollment_overall", By::Total);
    let of = |slugs: &[&str]| SeriesQuery {
        experiments: Some(slugs.iter().map(|slug| (*slug).to_owned()).collect()),
        ..enrollments()
    };
    check(
        query("experiment_enrolment_overall", By::Total),
        Kind::NotFound,
        "did you mean \"experiment_enrollment_overall\"?",
    )
    .await;
    let misspelt = format!("{slug}x");
    check(of(&[&misspelt]), Kind::NotFound, &format!("no experiment {misspelt:?}; did you mean {slug:?}?")).await;
    check(of(&[&slug, "a'b\"c/d\\e`"]), Kind::NotFound, "no experiment \"a'b\\\"c/d").await;
    let by = |split: &str| query("experiment_enrollment_overall", By::Split(split.into()));
    check(by("event"), Kind::InvalidQuery, "split by branch, channel, not by \"event\"").await;
    let ends = |from: &str, to: &str| SeriesQuery { from: Some(at(from)), to: Some(at(to)), ..enrollments() };
    check(ends("2024-03-02", "2024-03-01"), Kind::InvalidQuery, "from: 2024-03-02T00:00:00Z is after to").await;
    let daily = "experiment_enrollment_daily_active_population";
    let finer = SeriesQuery { granularity: Some(Granularity::Hour), ..query(daily, By::Total) };
    check(finer, Kind::InvalidQuery, "1h is finer than the 1d of dataset experiment_enrollment_daily").await;
    let far = SeriesQuery { from: Some(at("2024-01-01")), ..fine("experiment_enrollment_overall", By::Total, NOW) };
    check(far, Kind::InvalidQuery, "granularity: 5m reaches back 31 days").await;
    let running = SeriesQuery { cumulative: Some(true), ..query(daily, By::Total) };
    check(running, Kind::InvalidQuery, "levels, which do not add up").await;
}
