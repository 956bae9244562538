//! The defects of the exporter that was built before us, each shown on rows in its shape, and that ours
//! has it not.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::super::{Bucket, Form, Progress, PublishSettings, Publisher};
use super::folder::Failing;
use super::place::{FileRow, Place, Published};
use super::{at, index};
use crate::app::App;
use crate::cache::StoreSettings;
use crate::clock::Clock;
use crate::config::BigQueryConfig;
use crate::monitoring::figures::{By, Figures, Granularity, Point, SeriesQuery};
use crate::monitoring::synthetic::PROJECT;
use crate::source::fake::{FakeConfig, FakeServer};

const ENROLLMENT: &str = "experiment_enrollment_overall";
const EVENTS: &str = "experiment_enrollment_other_events_overall";

/// Windows reach back a month.
const SINCE: &str = "2024-03-05T00:00:00Z";

/// An experiment whose files have half hours in the exporter's form.
async fn old_experiment(figures: &Figures) -> String {
    let experiments = figures.experiments().await.unwrap();
    let old = experiments.values().find(|experiment| {
        experiment.start_date < Some(at("2024-03-17").date())
            && experiment.branches.len() > 1
            && experiment.end_date.is_none()
    });
    old.unwrap().slug.to_string()
}

/// The windows of five minutes from which half hours are made.
async fn windows(published: &Published, slug: &str) -> Vec<Point> {
    let query = SeriesQuery {
        dataset: ENROLLMENT.to_owned(),
        experiments: Some(vec![slug.to_owned()]),
        by: By::Branch,
        granularity: Some(Granularity::FiveMinutes),
        from: Some(at(SINCE)),
        ..SeriesQuery::default()
    };
    published.series(&query).await.remove(0).points
}

fn half_hour(point: &Point) -> i64 {
    point.time.floor(Granularity::HalfHour.micros()).micros()
}

#[tokio::test(flavor = "multi_thread")]
async fn defect_1_every_branch_has_a_row_in_a_half_hour() {
    let place = Place::new();
    let figures = place.figures();
    let slug = old_experiment(&figures).await;
    let published = Published::once(&figures, Form::Exporter).await;
    let ours = published.rows(&format!("{slug}_{ENROLLMENT}_by_branch")).await;
    let branches = |rows: &[FileRow]| {
        let mut branches: BTreeMap<String, BTreeSet<_>> = BTreeMap::new();
        for row in rows {
            branches.entry(row.time.clone()).or_default().insert(row.branch.clone());
        }
        branches.values().filter(|branches| branches.len() > 1).count()
    };
    let upstream: Vec<FileRow> =
        ours.iter().map(|row| (&row.time, row)).collect::<BTreeMap<_, _>>().into_values().cloned().collect();
    assert_eq!(branches(&upstream), 0, "one row for all branches together");
    assert!(branches(&ours) > 100);
}

#[tokio::test(flavor = "multi_thread")]
async fn defect_2_a_half_hour_of_a_flow_is_a_sum() {
    let place = Place::new();
    let figures = place.figures();
    let slug = old_experiment(&figures).await;
    let published = Published::once(&figures, Form::Exporter).await;
    let ours = published.rows(&format!("{slug}_{ENROLLMENT}_by_branch")).await;
    let windows = windows(&published, &slug).await;
    let truth: i64 = windows.iter().map(|point| point.value).sum();
    let one_each: BTreeMap<_, _> =
        windows.iter().map(|point| ((half_hour(point), point.branch.clone()), point.value)).collect();
    assert!(one_each.values().sum::<i64>() < truth, "one window's value for each half hour");
    // Half hours are labelled with their end.
    let since = ours.iter().filter(|row| row.time.as_str() > "2024-03-05 00:00:00 UTC");
    assert_eq!(since.map(FileRow::number).sum::<i64>(), truth);
}

#[tokio::test(flavor = "multi_thread")]
async fn defect_3_no_key_repeats() {
    let place = Place::new();
    let figures = place.figures();
    let slug = old_experiment(&figures).await;
    for form in [Form::Plain, Form::Exporter] {
        let published = Published::once(&figures, form).await;
        let ours = published.rows(&format!("{slug}_{EVENTS}_by_branch")).await;
        let with_event: BTreeSet<_> = ours.iter().map(|row| (&row.time, &row.branch, &row.event)).collect();
        let without: BTreeSet<_> = ours.iter().map(|row| (&row.time, &row.branch)).collect();
        assert!(without.len() < ours.len(), "without its event a row's key repeats");
        assert_eq!(with_event.len(), ours.len());
        // Channels are added up, so that none of their keys can repeat.
        let enrollments = published.rows(&format!("{slug}_{ENROLLMENT}_by_branch")).await;
        let keys: BTreeSet<_> = enrollments.iter().map(|row| (&row.time, &row.branch)).collect();
        assert_eq!(keys.len(), enrollments.len());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn defect_4_running_experiments_have_files() {
    let place = Place::new();
    let figures = place.figures();
    let experiments = figures.experiments().await.unwrap();
    let (running, ended): (Vec<_>, Vec<_>) = experiments.values().partition(|experiment| experiment.end_date.is_none());
    let recently = |end: chrono::NaiveDate| end >= at("2024-03-17").date();
    let upstream = ended.iter().filter(|experiment| experiment.end_date.is_some_and(recently)).count();
    let published = Published::once(&figures, Form::Plain).await;
    assert!(!running.is_empty() && upstream < published.summary.experiments, "a NULL end is never recent");
    for experiment in running {
        published.rows(&format!("{}_{ENROLLMENT}", experiment.slug)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn defect_5_an_experiment_without_a_start_has_all_its_rows_and_the_others_theirs() {
    let place = Place::new();
    let figures = place.figures();
    let slug = old_experiment(&figures).await;
    let sound = Published::once(&figures, Form::Plain).await;
    let without = place.figures_of_list(&format!(
        "SELECT normandy_slug, status, IF(normandy_slug = '{slug}', NULL, start_date) AS start_date, end_date, \
         is_rollout, branches FROM LIST"
    ));
    let experiment = without.experiments().await.unwrap()[slug.as_str()].clone();
    assert_eq!(experiment.start_date, None, "with which a date cannot be made, and upstream stops");
    for form in [Form::Plain, Form::Exporter] {
        let published = Published::once(&without, form).await;
        assert_eq!(published.summary.experiments, sound.summary.experiments);
        let total = |rows: Vec<FileRow>| rows.iter().map(FileRow::number).sum::<i64>();
        for dataset in [ENROLLMENT, "experiment_unenrollment_overall"] {
            let file = format!("{slug}_{dataset}_by_branch");
            assert_eq!(total(published.rows(&file).await), total(sound.rows(&file).await), "{file}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn defect_6_a_warm_round_sends_one_job_for_each_base_at_most() {
    let place = Place::new();
    let clock = Arc::clone(&place.clock) as Arc<dyn Clock>;
    let fake =
        FakeServer::start(Arc::clone(&place.embedded) as _, Arc::clone(&clock), FakeConfig::default()).await.unwrap();
    let app = App::new(StoreSettings::of(256 << 20), clock, App::GRACE);
    let engine = app.connect("fake", &BigQueryConfig::stand_in(PROJECT, fake.rest_url())).await.unwrap();
    let figures = Arc::new(Figures::new(engine));
    let published = Published::once(&figures, Form::Plain).await;
    let files = published.summary.tally.written;
    let cold = fake.jobs_run();
    let bases = figures.datasets().bases().len();
    place.clock.set(at("2024-03-31T12:07:00Z"));
    fake.clear_log();
    published.publisher.publish(&Progress::Lines).await.unwrap();
    let runs = fake.jobs_run();
    let texts = |runs: &[crate::source::fake::JobRun]| {
        runs.iter().map(|run| run.sql.clone()).filter(|sql| !sql.contains("INFORMATION_SCHEMA")).collect::<Vec<_>>()
    };
    let (cold, warm) = (texts(&cold), texts(&runs));
    assert!(warm.len() <= bases + 1, "{} jobs for {bases} bases and the list: {warm:#?}", warm.len());
    assert!(files > 100 && cold.len() < 30, "{files} files with {} jobs", cold.len());
    let slugs = figures.experiments().await.unwrap();
    let pasted = |sql: &&String| slugs.keys().any(|slug| sql.contains(&**slug));
    assert_eq!(warm.iter().chain(&cold).find(pasted), None);
    fake.shutdown().await;
}

/// A round that is slow is not joined by the next, which takes its turn when it is due.
#[tokio::test(flavor = "multi_thread")]
async fn defect_7_rounds_do_not_overlap_and_none_is_cut_short() {
    let place = Place::new();
    let store = Arc::new(Failing::new());
    let publisher =
        Publisher::new(&place.figures(), Bucket::over(Arc::clone(&store) as _, "memory:"), PublishSettings::default());
    let (told, mut rounds) = tokio::sync::mpsc::unbounded_channel();
    let all = publisher.publish_every(Duration::from_micros(1), &Progress::Lines, |round| {
        told.send(round.unwrap().tally).unwrap();
    });
    let three = async {
        let mut seen = Vec::new();
        for _ in 0..3 {
            seen.push(rounds.recv().await.unwrap());
        }
        seen
    };
    // Every tick is long past when a round ends.
    let seen = tokio::select! {
        () = all => unreachable!("it goes on"),
        seen = three => seen,
    };
    assert!(seen[0].written > 100 && seen[0].unchanged == 0, "{seen:?}");
    assert!(seen[1..].iter().all(|tally| tally.written == 0 && tally.unchanged == seen[0].written - 3), "{seen:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn defect_8_names_are_stable_and_nothing_is_copied_or_removed() {
    let place = Place::new();
    let figures = place.figures();
    // It panics at a copy and at a removal.
    let store = Arc::new(Failing::new());
    let publisher =
        Publisher::new(&figures, Bucket::over(Arc::clone(&store) as _, "memory:"), PublishSettings::default());
    let names = async || index(&publisher.bucket).await.objects.into_keys().collect::<BTreeSet<_>>();
    publisher.publish(&Progress::Lines).await.unwrap();
    let first = names().await;
    place.clock.set(at("2024-03-31T13:00:00Z"));
    publisher.publish(&Progress::Lines).await.unwrap();
    assert_eq!(names().await, first);
    for slug in figures.experiments().await.unwrap().keys() {
        let file = format!("monitoring/{slug}_{ENROLLMENT}.json");
        assert!(first.contains(&file), "{file}");
    }
    assert!(store.left.load(Ordering::SeqCst) < usize::MAX);
}

#[tokio::test(flavor = "multi_thread")]
async fn defect_9_a_slug_is_no_part_of_any_text_or_path() {
    let place = Place::new();
    let odd = "it''s/../a \"slug\"; DROP TABLE x; --";
    let figures = place.figures_of_list(&format!(
        "SELECT CONCAT(normandy_slug, '{}') AS normandy_slug, status, start_date, end_date, is_rollout, branches FROM LIST",
        odd.replace("''", "\\'")
    ));
    let slugs: Vec<_> = figures.experiments().await.unwrap().keys().cloned().collect();
    assert!(slugs.iter().all(|slug| slug.ends_with("DROP TABLE x; --")), "{slugs:?}");
    let published = Published::once(&figures, Form::Plain).await;
    assert!(published.summary.experiments > 0);
    let index = index(&published.publisher.bucket).await;
    let files = index.objects.keys().filter(|name| name.starts_with("monitoring/"));
    assert!(files.clone().all(|name| name.matches('/').count() == 1), "{:?}", files.collect::<Vec<_>>());
}
