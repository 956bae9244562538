//! Whole rounds, over generated data.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::Value;

use super::super::{Bucket, Form, Progress, PublishSettings, Publisher};
use super::place::{Place, Published, sums};
use super::{at, index, text};
use crate::clock::Clock as _;
use crate::monitoring::figures::{By, Granularity, SeriesQuery};

#[tokio::test(flavor = "multi_thread")]
async fn a_round_writes_every_file_and_the_next_one_what_has_changed() {
    let place = Place::new();
    let figures = place.figures();
    let experiments = figures.experiments().await.unwrap();
    let active = experiments.values().filter(|experiment| experiment.is_active(at(super::place::NOW))).count();
    let published = Published::once(&figures, Form::Plain).await;
    let objects = (active * 16 + 8 + 3) as u64;
    let tally = published.summary.tally;
    assert_eq!((tally.written, tally.unchanged, published.summary.experiments), (objects, 0, active));
    assert!(published.summary.jobs > 0 && published.summary.bytes_billed > 0);

    let again = published.publisher.publish(&Progress::Lines).await.unwrap();
    assert_eq!((again.tally.written, again.tally.unchanged), (0, objects - 3), "the day's counts are done");
    assert_eq!((again.jobs, again.bytes_billed), (0, 0));

    place.clock.set(at("2024-03-31T12:12:00Z"));
    let later = published.publisher.publish(&Progress::Lines).await.unwrap().tally;
    assert!(later.written > 0 && later.unchanged > 0, "{later:?}");
    assert_eq!(later.written + later.unchanged, objects - 3);

    let index = index(&published.publisher.bucket).await;
    assert_eq!(index.generated_at, "2024-03-31T12:12:00.000Z");
    assert_eq!(index.objects.len() as u64, objects);
    for (name, entry) in &index.objects {
        let content = published.publisher.bucket.get(&name.as_str().into()).await.unwrap().unwrap();
        assert!(super::super::index::same(&content.bytes, &entry.sha256), "{name}");
        assert_eq!(content.bytes.len() as u64, entry.bytes, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_round_of_five_minutes_brings_new_figures_and_all_of_them() {
    let place = Place::new();
    let published = Published::once(&place.figures(), Form::Plain).await;
    for round in 1..=3 {
        place.clock.set(place.clock.now().plus(Duration::from_mins(5)));
        let first = published.publisher.publish(&Progress::Lines).await.unwrap();
        assert!(first.jobs > 0 && first.tally.written > 0, "round {round}: {first:?}");
        let again = published.publisher.publish(&Progress::Lines).await.unwrap();
        assert_eq!((again.jobs, again.tally.written), (0, 0), "round {round}: something was served stale");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn branches_add_up_to_the_total_and_tables_hold_the_same_rows() {
    let place = Place::new();
    let figures = place.figures();
    let published = Published::once(&figures, Form::Plain).await;
    let mut rows_seen = 0;
    for slug in figures.experiments().await.unwrap().keys() {
        for dataset in ["experiment_enrollment_overall", "experiment_unenrollment_overall"] {
            let branches = published.rows(&format!("{slug}_{dataset}_by_branch")).await;
            let total = published.rows(&format!("{slug}_{dataset}")).await;
            assert_eq!(sums(&branches, |row| row.time.clone()), sums(&total, |row| row.time.clone()), "{slug}");
            assert!(branches.is_sorted_by(|a, b| a.time >= b.time), "newest first");
            rows_seen += branches.len();
        }
    }
    assert!(rows_seen > 1000, "{rows_seen}");
    let query =
        SeriesQuery { dataset: "experiment_enrollment_overall".to_owned(), by: By::Branch, ..SeriesQuery::default() };
    let points: usize = published.series(&query).await.iter().map(|series| series.points.len()).sum();
    let table = published.publisher.bucket.get(&"datasets/experiment_enrollment_overall.parquet".into()).await;
    let table = table.unwrap().unwrap().bytes;
    let reader = parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder::try_new(table).unwrap();
    assert_eq!(reader.metadata().file_metadata().num_rows(), i64::try_from(points).unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn counts_are_written_once_a_day_and_the_funnel_is_an_envelope() {
    let place = Place::new();
    let published = Published::once(&place.figures(), Form::Plain).await;
    let bucket = &published.publisher.bucket;
    let latest = || text(bucket, "enrollment_counts/enrollment_counts_latest.json");
    let first = latest().await.unwrap();
    assert_eq!(text(bucket, "enrollment_counts/enrollment_counts_2024-03-31.json").await.unwrap(), first);
    assert_eq!(text(bucket, "enrollment_counts/enrollment_funnel_v1_latest.json").await.unwrap(), r#"{"v1":{}}"#);
    let document: Value = serde_json::from_str(&first).unwrap();
    let some = document["v1"].as_object().unwrap().values().next().unwrap();
    assert!(some["total_enrollments"].as_i64().unwrap() > 0 && some["unenrollment_reasons"].is_object());

    place.clock.set(at("2024-03-31T18:00:00Z"));
    published.publisher.publish(&Progress::Lines).await.unwrap();
    assert_eq!(latest().await.unwrap(), first, "not again on the same day");
    place.clock.set(at("2024-04-01T04:55:00Z"));
    published.publisher.publish(&Progress::Lines).await.unwrap();
    assert_eq!(latest().await.unwrap(), first, "not before the hour");
    place.clock.set(at("2024-04-01T05:00:00Z"));
    published.publisher.publish(&Progress::Lines).await.unwrap();
    let second = latest().await.unwrap();
    assert_ne!(second, first);
    assert_eq!(text(bucket, "enrollment_counts/enrollment_counts_2024-04-01.json").await.unwrap(), second);
    assert_eq!(text(bucket, "enrollment_counts/enrollment_counts_2024-03-31.json").await.unwrap(), first);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_exporters_form_says_the_same_in_text() {
    let place = Place::new();
    let figures = place.figures();
    let (plain, compat) =
        (Published::once(&figures, Form::Plain).await, Published::once(&figures, Form::Exporter).await);
    let mut halves = 0;
    for experiment in figures.experiments().await.unwrap().values() {
        let file = format!("{}_experiment_enrollment_overall_by_branch", experiment.slug);
        let rows = compat.rows(&file).await;
        assert!(rows.iter().all(|row| row.value.is_string() && row.time.ends_with(" UTC") && row.time.len() == 23));
        let by_branch = |row: &super::place::FileRow| row.branch.clone();
        assert_eq!(sums(&rows, by_branch), sums(&plain.rows(&file).await, by_branch), "{file}");
        let is_old = experiment.start_date.unwrap() < at("2024-03-17").date();
        if is_old && !rows.is_empty() {
            halves += 1;
            let ends =
                |row: &super::place::FileRow| row.time.ends_with(":00:00 UTC") || row.time.ends_with(":30:00 UTC");
            assert!(rows.iter().all(ends), "{file}");
        }
    }
    assert!(halves > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_granularity_that_is_set_holds_for_all_but_coarser_datasets() {
    let place = Place::new();
    let settings = PublishSettings { granularity: Some(Granularity::Hour), ..PublishSettings::default() };
    let publisher = Publisher::new(&place.figures(), Bucket::memory(), settings);
    publisher.publish(&Progress::Lines).await.unwrap();
    let mut minutes = BTreeSet::new();
    for name in index(&publisher.bucket).await.objects.keys().filter(|name| name.ends_with("_by_branch.json")) {
        let rows: Vec<super::place::FileRow> =
            serde_json::from_str(&text(&publisher.bucket, name).await.unwrap()).unwrap();
        minutes.extend(rows.iter().map(|row| row.time[14..].to_owned()));
    }
    assert_eq!(minutes, BTreeSet::from(["00:00Z".to_owned()]));
}

#[tokio::test(flavor = "multi_thread")]
async fn figures_that_fail_leave_what_is_published() {
    let place = Place::new();
    let published = Published::once(&place.figures(), Form::Plain).await;
    let before = index(&published.publisher.bucket).await;
    let broken = place.figures_of_list("SELECT normandy_slug FROM LIST WHERE no_such_column = 1");
    let Publisher { bucket, settings, .. } = published.publisher;
    let failing = Publisher { figures: broken, bucket, settings };
    let error = failing.publish(&Progress::Lines).await.unwrap_err();
    assert!(error.message().contains("no_such_column"), "{error}");
    assert_eq!(index(&failing.bucket).await, before);
}
