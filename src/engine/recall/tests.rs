//! Settled answers outlive the app: over the embedded source, whose bill counts jobs.

use std::time::Duration;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, TimestampMicrosecondArray};
use tempfile::TempDir;
use weir_plan::{Extent, Scope, TableId};

use super::*;
use crate::app::App;
use crate::batches::samples::batches;
use crate::cache::{FolderSettings, StoreSettings};
use crate::clock::{Clock, ManualClock};
use crate::engine::{Answer, Door, EngineSettings, Status};
use crate::source::embedded::{Embedded, TableSpec};
use crate::source::{PartitionUnit, Partitioning, Source};

/// A source and a folder, over which an app can be started again and again.
struct Place {
    folder: TempDir,
    clock: Arc<ManualClock>,
    source: Arc<Embedded>,
}

fn at(text: &str) -> Timestamp {
    Timestamp::parse(text, Timestamp::MIN).unwrap()
}

/// A row every hour of two weeks up to noon of 2024-01-15.
fn rows() -> RecordBatch {
    let times: Vec<i64> =
        (at("2024-01-01").micros()..at("2024-01-15T12:00:00Z").micros()).step_by(3_600_000_000).collect();
    let numbers = Int64Array::from_iter_values(0..i64::try_from(times.len()).unwrap());
    let columns: Vec<(&str, ArrayRef)> =
        vec![("ts", Arc::new(TimestampMicrosecondArray::from(times).with_timezone("UTC"))), ("n", Arc::new(numbers))];
    batches(columns).concat().unwrap()
}

impl Place {
    fn new() -> Self {
        let now = at("2024-01-15T12:00:00Z");
        let clock = Arc::new(ManualClock::new(now.minus(Duration::from_mins(10))));
        let source = Arc::new(Embedded::new("p", Arc::clone(&clock) as Arc<dyn Clock>));
        let (id, rows) = (TableId::new("p", "d", "t"), rows());
        let partitioning = Some(Partitioning { column: Some("ts".into()), unit: PartitionUnit::Day });
        source.create_table(TableSpec { id: id.clone(), schema: rows.schema(), partitioning }).unwrap();
        source.append(&id, &rows).unwrap();
        clock.set(now);
        Self { folder: tempfile::tempdir().unwrap(), clock, source }
    }

    fn start(&self, scope: &str) -> (App, Arc<Engine>) {
        self.start_with(StoreSettings::of(64 << 20), scope)
    }

    fn start_with(&self, store: StoreSettings, scope: &str) -> (App, Arc<Engine>) {
        let folder = FolderSettings { path: self.folder.path().to_owned(), capacity: 1 << 20 };
        let clock = Arc::clone(&self.clock) as Arc<dyn Clock>;
        let mut app = App::in_folder(store, &folder, clock, App::GRACE).unwrap();
        let settings = EngineSettings { scope: Scope(scope.to_owned()), ..EngineSettings::default() };
        let engine = app.add_source("only", Arc::clone(&self.source) as Arc<dyn Source>, settings);
        (app, engine)
    }

    /// What a process answers that starts, is asked once, and ends; and its jobs, the listing apart.
    async fn one_life(&self, query: &Query) -> (u64, Answer) {
        self.one_life_as("", query).await
    }

    async fn one_life_as(&self, scope: &str, query: &Query) -> (u64, Answer) {
        // Later, so that its jobs have ids of their own.
        self.clock.set(self.clock.now().plus(Duration::from_mins(20)));
        let (app, engine) = self.start(scope);
        let answer = self.ask(&engine, query).await;
        app.stop().await;
        answer
    }

    async fn ask(&self, engine: &Arc<Engine>, query: &Query) -> (u64, Answer) {
        let before = self.source.bill().jobs;
        let answer = engine.answer(query, Door::Export).await.unwrap();
        (self.source.bill().jobs - before - 1, answer)
    }
}

fn query(from: &str, to: &str) -> Query {
    let mut query = Query::new(
        "SELECT $__timeGroup(ts, $__interval) AS time, SUM(n) AS n FROM `p.d.t` WHERE $__timeFilter(ts) \
         GROUP BY 1 ORDER BY 1",
    );
    query.range = Some(Extent::new(at(from), at(to)).unwrap());
    query.step = Some("2h".parse().unwrap());
    query
}

#[tokio::test]
async fn settled_segments_are_answered_without_a_job_after_a_restart() {
    let place = Place::new();
    let settled = query("2024-01-03", "2024-01-10");
    let (jobs, first) = place.one_life(&settled).await;
    assert_eq!((jobs, first.provenance.status), (1, Status::Miss));
    let (jobs, again) = place.one_life(&settled).await;
    assert_eq!((jobs, again.provenance.status, again.provenance.bytes_billed), (0, Status::Hit, 0));
    assert_eq!(again.batches.concat().unwrap(), first.batches.concat().unwrap());
    assert_eq!(again.provenance.job_ids, first.provenance.job_ids);
    assert_eq!(again.provenance.bytes_saved, first.provenance.bytes_billed);

    let longer = query("2024-01-03", "2024-01-15T12:00:00Z");
    let (jobs, partial) = place.one_life(&longer).await;
    assert_eq!((jobs, partial.provenance.status), (1, Status::Partial));
    let (jobs, partial) = place.one_life(&longer).await;
    assert_eq!((jobs, partial.provenance.status), (1, Status::Partial), "today is read again, and nothing else");
    assert_eq!(partial.provenance.job_ids.len(), 3);
}

#[tokio::test]
async fn callers_at_once_read_the_folder_together() {
    let place = Place::new();
    let settled = query("2024-01-03", "2024-01-10");
    place.one_life(&settled).await;
    let (_app, engine) = place.start("");
    let answers = futures::future::join_all((0..5).map(|_| engine.answer(&settled, Door::Export))).await;
    let contents: Vec<u64> = answers.iter().map(|answer| answer.as_ref().unwrap().content_id).collect();
    assert_eq!(contents, [contents[0]; 5], "one content, however many asked");
    assert!(answers.iter().all(|answer| answer.as_ref().unwrap().provenance.status == Status::Hit));
}

#[tokio::test]
async fn a_purge_leaves_the_folder_behind_after_a_restart_too() {
    let place = Place::new();
    let settled = query("2024-01-03", "2024-01-10");
    let (app, engine) = place.start("");
    place.ask(&engine, &settled).await;
    assert_eq!(engine.purge().unwrap(), 1);
    app.stop().await;
    let (jobs, answer) = place.one_life(&settled).await;
    assert_eq!((jobs, answer.provenance.status), (1, Status::Miss));
    assert_eq!(place.one_life(&settled).await.1.provenance.status, Status::Hit, "kept since the purge");
}

#[tokio::test]
async fn answers_for_one_caller_alone_stay_off_the_disk() {
    let place = Place::new();
    let settled = query("2024-01-03", "2024-01-10");
    place.one_life_as("ada", &settled).await;
    assert_eq!(std::fs::read_dir(place.folder.path().join("segments")).unwrap().count(), 0);
    assert_eq!(place.one_life_as("ada", &settled).await.1.provenance.status, Status::Miss);
}

#[tokio::test]
async fn a_caller_who_wants_nothing_stored_gets_a_job() {
    let place = Place::new();
    let mut settled = query("2024-01-03", "2024-01-10");
    place.one_life(&settled).await;
    settled.cache.skip_read = true;
    assert_eq!(place.one_life(&settled).await.1.provenance.status, Status::Bypass);
}

#[tokio::test]
async fn a_damaged_file_is_a_job_and_never_an_answer() {
    let place = Place::new();
    let settled = query("2024-01-03", "2024-01-10");
    let (_, first) = place.one_life(&settled).await;
    let file = std::fs::read_dir(place.folder.path().join("segments")).unwrap().next().unwrap().unwrap().path();
    let mut bytes = std::fs::read(&file).unwrap();
    let last = bytes.len() - 50;
    bytes[last] ^= 1;
    std::fs::write(&file, bytes).unwrap();
    let (jobs, answer) = place.one_life(&settled).await;
    assert_eq!((jobs, answer.provenance.status), (1, Status::Partial));
    assert_eq!(answer.batches.concat().unwrap(), first.batches.concat().unwrap());
    assert_eq!(place.one_life(&settled).await.1.provenance.status, Status::Hit, "written anew");
}

#[tokio::test]
async fn what_the_store_has_no_room_for_is_read_from_the_folder_and_never_billed_again() {
    let place = Place::new();
    let settled = query("2024-01-03", "2024-01-10");
    let (app, engine) = place.start_with(StoreSettings { per_text: 4_000, ..StoreSettings::of(64 << 20) }, "");
    let (jobs, first) = place.ask(&engine, &settled).await;
    assert_eq!((jobs, first.provenance.status), (1, Status::Miss));
    engine.shared.store.written().await;
    let rejected = || engine.shared.metrics.store_rejected.with_label_values(&["over_quota"]).get();
    let refused = rejected();
    assert!((1..7).contains(&refused), "some of the seven days, and not all: {refused}");
    let (before, again) = (place.source.bill().jobs, engine.answer(&settled, Door::Export).await.unwrap());
    assert_eq!((place.source.bill().jobs - before, again.provenance.status), (0, Status::Hit));
    assert_eq!(rejected(), 2 * refused, "they were read from the folder, and had no room");
    assert_eq!(again.batches.concat().unwrap(), first.batches.concat().unwrap());
    let explained = engine.explain(&settled).await.unwrap();
    assert!(explained.segments.iter().all(|segment| segment.status == Status::Hit));
    app.stop().await;
}
