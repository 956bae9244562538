//! Answers in parts are the uncached ones, and bill each partition once: over the embedded source, whose
//! clock moves and whose bill counts whole partitions.

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use futures::future::join_all;
use proptest::prelude::*;
use weir_plan::extent::{DAY, HOUR, MINUTE};
use weir_plan::{Segment, SourceDescriptor};

use std::collections::BTreeSet;

use super::*;
use crate::app::App;
use crate::batches::samples::batches;
use crate::cache::StoreSettings;
use crate::clock::{Clock, ManualClock};
use crate::config::BigQueryConfig;
use crate::engine::assembly::Wanted;
use crate::engine::{Answer, Door, EngineSettings, Status};
use crate::source::bigquery::BigQuery;
use crate::source::embedded::{Embedded, TableSpec};
use crate::source::fake::{FakeConfig, FakeServer};
use crate::source::{PartitionUnit, Partitioning, Source};

pub(in crate::engine) const BUCKETS: &str = "SELECT $__timeGroup(ts, $__interval) AS time, branch, COUNT(DISTINCT n) AS c, AVG(n) AS a, SUM(n) AS s \
    FROM `p.d.t` WHERE $__timeFilter(ts) GROUP BY 1, 2 ORDER BY 1, 2";
pub(in crate::engine) const ROWS: &str = "SELECT ts, branch, n FROM `p.d.t` WHERE $__timeFilter(ts) ORDER BY ts DESC";

pub(in crate::engine) struct Place {
    pub(in crate::engine) source: Arc<Embedded>,
    pub(in crate::engine) clock: Arc<ManualClock>,
    pub(in crate::engine) engine: Arc<Engine>,
}

pub(in crate::engine) fn at(text: &str) -> Timestamp {
    Timestamp::parse(text, Timestamp::MIN).unwrap()
}

pub(in crate::engine) fn table() -> TableId {
    TableId::new("p", "d", "t")
}

/// Rows every 7 minutes from `from` to `to`, numbered from `first`.
pub(in crate::engine) fn rows(from: Timestamp, to: Timestamp, first: i64) -> RecordBatch {
    let times: Vec<i64> = (from.micros()..to.micros()).step_by(7 * 60_000_000).collect();
    let count = i64::try_from(times.len()).unwrap();
    let branches: StringArray =
        [Some("control"), Some("treatment"), None].into_iter().cycle().take(times.len()).collect();
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("ts", Arc::new(TimestampMicrosecondArray::from(times).with_timezone("UTC"))),
        ("branch", Arc::new(branches)),
        ("n", Arc::new(Int64Array::from_iter_values((0..count).map(|row| first + row % 11)))),
    ];
    batches(columns).concat().unwrap()
}

pub(in crate::engine) fn engine(
    source: Arc<dyn Source>,
    clock: &Arc<ManualClock>,
    settings: EngineSettings,
) -> Arc<Engine> {
    let mut app = App::new(StoreSettings::of(64 << 20), Arc::clone(clock) as Arc<dyn Clock>, App::GRACE);
    app.add_source("only", source, settings)
}

impl Place {
    /// Three weeks up to noon of 2024-01-21, which have been there for ten minutes.
    pub(in crate::engine) fn new() -> Self {
        Self::with(EngineSettings::default())
    }

    /// The same, for an engine that is set otherwise.
    pub(in crate::engine) fn with(settings: EngineSettings) -> Self {
        let now = at("2024-01-21T12:00:00Z");
        let clock = Arc::new(ManualClock::new(now.minus(Duration::from_mins(10))));
        let source = Arc::new(Embedded::new("p", Arc::clone(&clock) as Arc<dyn Clock>));
        let all = rows(at("2024-01-01"), now, 0);
        let partitioning = Some(Partitioning { column: Some("ts".into()), unit: PartitionUnit::Day });
        source.create_table(TableSpec { id: table(), schema: all.schema(), partitioning }).unwrap();
        source.append(&table(), &all).unwrap();
        clock.set(now);
        let engine = engine(Arc::clone(&source) as Arc<dyn Source>, &clock, settings);
        Self { source, clock, engine }
    }

    /// The same, for an engine that asks through the client before the fake server.
    async fn before_bigquery() -> (Self, FakeServer) {
        let place = Self::new();
        let clock = Arc::clone(&place.clock) as Arc<dyn Clock>;
        let server = FakeServer::start(Arc::clone(&place.source) as _, clock, FakeConfig::default()).await.unwrap();
        let config = BigQueryConfig {
            storage_endpoint: Some(server.storage_url()),
            ..BigQueryConfig::stand_in("p", server.rest_url())
        };
        let client = Arc::new(BigQuery::connect(&config).await.unwrap());
        let engine = engine(client, &place.clock, EngineSettings::default());
        (Self { engine, ..place }, server)
    }

    /// Puts an engine in its place that knows of this table or view alone.
    fn describe(&mut self, described: SourceDescriptor) {
        let descriptors = Arc::new([described].into_iter().collect());
        let settings = EngineSettings { descriptors, ..EngineSettings::default() };
        self.engine = engine(Arc::clone(&self.source) as Arc<dyn Source>, &self.clock, settings);
    }

    /// Lets time pass, with rows up to the new moment.
    pub(in crate::engine) fn advance(&self, by: Duration) {
        let now = self.clock.now();
        self.clock.set(now.plus(by));
        self.source.append(&table(), &rows(now, self.clock.now(), 0)).unwrap();
    }

    /// Puts the rows of a day anew, numbered from `first`.
    pub(in crate::engine) fn backfill(&self, day: Timestamp, first: i64) {
        let rows = rows(day, day.plus(Duration::from_hours(24)), first);
        self.source.replace_partition(&table(), day, &rows).unwrap();
    }

    /// Lets what runs in the background end.
    pub(in crate::engine) async fn settled(&self) {
        // A few turns, for tasks that have not boarded their flight yet.
        for _ in 0..20 {
            tokio::task::yield_now().await;
            while !self.engine.shared.flights.is_empty() {
                tokio::task::yield_now().await;
            }
        }
    }

    pub(in crate::engine) async fn ask(&self, query: &Query) -> Answer {
        self.engine.answer(query, Door::Export).await.unwrap()
    }

    /// Jobs since the last call, those of listings apart.
    async fn jobs(&self, query: &Query) -> (u64, Answer) {
        // Known beforehand, so that only the query's own jobs are counted.
        let now = self.clock.now();
        let _ = self.engine.changed(query, &table(), None, Asking::Jobs, now).await.unwrap();
        let before = self.source.bill().jobs;
        let answer = self.ask(query).await;
        (self.source.bill().jobs - before, answer)
    }

    /// The same question to the source itself, for the range that the answer says it is of.
    async fn uncached(&self, query: &Query, range: Extent) -> Batches {
        let mut query = query.clone();
        query.range = Some(range);
        query.cache.mode = CacheMode::Off;
        self.ask(&query).await.batches
    }
}

pub(in crate::engine) fn query(sql: &str, from: Timestamp, to: Timestamp, step: &str) -> Query {
    let mut query = Query::new(sql);
    query.range = Some(Extent::new(from, to).unwrap());
    query.step = Some(step.parse().unwrap());
    query
}

pub(in crate::engine) fn days_before(now: Timestamp, days: u64) -> Timestamp {
    now.floor(DAY).minus(Duration::from_hours(24 * days))
}

#[tokio::test]
async fn a_range_is_one_job_and_then_only_today_is_read_again() {
    let place = Place::new();
    let now = place.clock.now();
    let week = query(BUCKETS, days_before(now, 7), now, "5m");
    let (jobs, first) = place.jobs(&week).await;
    assert_eq!((jobs, first.provenance.mode, first.provenance.status), (1, Mode::Delta, Status::Miss));
    let (jobs, again) = place.jobs(&week).await;
    assert_eq!((jobs, again.provenance.status, again.provenance.bytes_billed), (0, Status::Hit, 0));
    assert_eq!(again.content_id, first.content_id, "encodings are found again");
    assert_eq!(again.provenance.bytes_saved, first.provenance.bytes_billed);

    place.advance(Duration::from_hours(1));
    let later = query(BUCKETS, days_before(now, 7), place.clock.now(), "5m");
    let (jobs, partial) = place.jobs(&later).await;
    assert_eq!((jobs, partial.provenance.status), (1, Status::Partial));
    let sql = &place.engine.explain(&later).await.unwrap().segments;
    assert_eq!(sql.iter().map(|run| run.status).collect::<Vec<_>>(), [Status::Hit]);

    let fortnight = query(BUCKETS, days_before(now, 14), place.clock.now(), "5m");
    let (jobs, answer) = place.jobs(&fortnight).await;
    assert_eq!((jobs, answer.provenance.status), (1, Status::Partial), "the earlier week alone");
    assert_eq!(answer.provenance.job_ids.len(), 3);
}

#[tokio::test]
async fn a_backfill_is_read_again_and_nothing_else() {
    let place = Place::new();
    let now = place.clock.now();
    let asked = query(BUCKETS, days_before(now, 14), days_before(now, 1), "1h");
    place.ask(&asked).await;
    place.advance(Duration::from_mins(20));
    place.backfill(days_before(now, 10), 5);
    let (jobs, answer) = place.jobs(&asked).await;
    assert_eq!((jobs, answer.provenance.status), (1, Status::Partial));
    let one_of_many = answer.provenance.job_ids.len();
    assert_eq!(one_of_many, 3, "before, the day, after");
    let expected = place.uncached(&asked, asked.range.unwrap()).await;
    assert_eq!(answer.batches.concat().unwrap(), expected.concat().unwrap());
}

#[tokio::test]
async fn overlapping_questions_at_once_read_each_day_once() {
    let place = Place::new();
    let now = place.clock.now();
    let asked: Vec<Query> = (1..=14).map(|days| query(BUCKETS, days_before(now, days), now, "5m")).collect();
    place.engine.changed(&asked[0], &table(), None, Asking::Jobs, now).await.unwrap();
    let before = place.source.bill();
    let answers = join_all(asked.iter().map(|query| place.ask(query))).await;
    let bill = place.source.bill().bytes_processed - before.bytes_processed;
    let whole = place.uncached(&asked[13], asked[13].range.unwrap()).await;
    assert_eq!(
        bill,
        place.source.bill().bytes_processed - before.bytes_processed - bill,
        "as much as the longest alone"
    );
    assert_eq!(answers[13].batches.concat().unwrap(), whole.concat().unwrap());
}

#[tokio::test]
async fn an_empty_day_is_remembered_and_a_view_that_groups_is_whole() {
    let place = Place::new();
    let before_all = query(BUCKETS, at("2023-06-01"), at("2023-06-03"), "1h");
    assert_eq!(place.jobs(&before_all).await.0, 1);
    assert_eq!(place.jobs(&before_all).await.0, 0);
    let grouped = "SELECT ts, branch, SUM(n) AS n FROM `p.d.t` GROUP BY ts, branch";
    place.source.create_view(TableId::new("p", "d", "v"), grouped).unwrap();
    let mut view = before_all.clone();
    view.sql = view.sql.replace("p.d.t", "p.d.v");
    let answer = place.ask(&view).await;
    assert_eq!((answer.provenance.mode, answer.provenance.reason), (Mode::Whole, reason::INNER_AGGREGATE));
}

#[tokio::test]
async fn columns_that_changed_between_segments_make_an_answer_whole() {
    let place = Place::new();
    let now = place.clock.now();
    let asked = query(BUCKETS, days_before(now, 3), days_before(now, 1), "1h");
    place.ask(&asked).await;
    // The table is made anew with another type, and its first days come back as they were stamped.
    let text = "SELECT ts, branch, CAST(n AS FLOAT64) AS n FROM `p.d.t`";
    let rows = place.engine.answer(&Query::new(text), Door::Export).await.unwrap().batches.concat().unwrap();
    let partitioning = Some(Partitioning { column: Some("ts".into()), unit: PartitionUnit::Day });
    place.source.create_table(TableSpec { id: table(), schema: rows.schema(), partitioning }).unwrap();
    place.source.append(&table(), &rows).unwrap();
    let longer = query(BUCKETS, days_before(now, 5), days_before(now, 1), "1h");
    let answer = place.ask(&longer).await;
    assert_eq!((answer.provenance.mode, answer.provenance.reason), (Mode::Whole, reason::NOT_ASSEMBLED));
    let expected = place.uncached(&longer, longer.range.unwrap()).await;
    assert_eq!(answer.batches.concat().unwrap(), expected.concat().unwrap());
}

#[tokio::test]
async fn a_date_column_is_cut_at_days_and_not_within_them() {
    let place = Place::new();
    let days = place.engine.answer(&Query::new("SELECT DATE(ts) AS day, n FROM `p.d.t`"), Door::Export).await.unwrap();
    let rows = days.batches.concat().unwrap();
    let id = TableId::new("p", "d", "dates");
    let partitioning = Some(Partitioning { column: Some("day".into()), unit: PartitionUnit::Day });
    place.source.create_table(TableSpec { id: id.clone(), schema: rows.schema(), partitioning }).unwrap();
    place.source.append(&id, &rows).unwrap();
    let sql = "SELECT $__timeGroup(day, $__interval) AS time, SUM(n) AS n FROM `p.d.dates` WHERE $__timeFilter(day) \
        GROUP BY 1 ORDER BY 1 DESC";
    let asked = |step: &str| query(sql, at("2024-01-05T06:00:00Z"), at("2024-01-12T18:00:00Z"), step);
    let daily = place.ask(&asked("1d")).await;
    assert_eq!((daily.provenance.mode, daily.batches.num_rows()), (Mode::Delta, 8), "whole days");
    let expected = place.uncached(&asked("1d"), Extent::new(at("2024-01-05"), at("2024-01-13")).unwrap()).await;
    assert_eq!(daily.batches.concat().unwrap(), expected.concat().unwrap());
    let hourly = place.ask(&asked("1h")).await.provenance;
    assert_eq!((hourly.mode, hourly.reason), (Mode::Whole, reason::STEP_SPLITS_COLUMN));
}

#[tokio::test]
async fn rows_after_now_are_in_the_answer() {
    let place = Place::new();
    let now = place.clock.now();
    let tomorrow = now.plus(Duration::from_hours(24));
    place.source.append(&table(), &rows(now, tomorrow, 0)).unwrap();
    let asked = query(BUCKETS, days_before(now, 2), tomorrow, "1h");
    let answer = place.ask(&asked).await;
    assert_eq!(answer.provenance.mode, Mode::Delta);
    let expected = place.uncached(&asked, asked.range.unwrap()).await;
    assert_eq!(answer.batches.concat().unwrap(), expected.concat().unwrap());
}

#[tokio::test]
async fn a_partition_that_is_gone_is_noticed_in_a_bucket_of_several() {
    let place = Place::new();
    let now = place.clock.now();
    let asked = query(BUCKETS, at("2024-01-04"), at("2024-01-18"), "1w");
    let before = place.ask(&asked).await;
    let nothing = RecordBatch::new_empty(rows(now, now, 0).schema());
    place.source.replace_partition(&table(), at("2024-01-05"), &nothing).unwrap();
    place.advance(LISTING);
    let answer = place.ask(&asked).await;
    let expected = place.uncached(&asked, asked.range.unwrap()).await;
    assert_eq!((answer.provenance.mode, answer.provenance.status), (Mode::Delta, Status::Partial));
    assert_eq!(answer.batches.concat().unwrap(), expected.concat().unwrap());
    assert_ne!(answer.batches.concat().unwrap(), before.batches.concat().unwrap());
}

#[tokio::test]
async fn segments_that_landed_meanwhile_are_not_fetched_again() {
    let place = Place::new();
    let now = place.clock.now();
    let asked = query(BUCKETS, days_before(now, 3), days_before(now, 1), "1h");
    place.ask(&asked).await;
    let plan = place.engine.plan(&asked, Asking::Jobs, now).await.unwrap();
    let assembly = plan.assembly.unwrap();
    let fetch = async |segments: Vec<Segment>, seen: Option<u64>| {
        let before = place.source.bill();
        let wanted = segments.into_iter().map(|segment| Wanted { segment, seen }).collect();
        let engine = Arc::clone(&place.engine);
        let stored = engine.fetch_parts(asked.clone(), assembly.clone(), wanted, Errand::Answer).await.unwrap();
        let jobs: BTreeSet<&str> = stored.iter().map(|stored| &*stored.job_id).collect();
        (stored.len(), jobs.len(), place.source.bill().jobs - before.jobs)
    };
    assert_eq!(fetch(plan.segments.clone(), None).await, (2, 1, 0));
    // Only what is still missing is read: not the day before, which another flight has brought.
    place.engine.shared.store.reject(plan.segments[1].key.clone(), "test");
    assert_eq!(fetch(plan.segments.clone(), None).await, (2, 2, 1));
    // What its caller had found already is fetched because it was asked for.
    let seen = place.engine.shared.store.segment(&plan.segments[0].key).unwrap().content_id;
    place.clock.set(place.clock.now().plus(Duration::from_mins(20)));
    assert_eq!(fetch(plan.segments[..1].to_vec(), Some(seen)).await, (1, 1, 1));
}

#[tokio::test]
async fn a_table_without_partitions_is_read_again_when_it_is_written_anew() {
    let mut place = Place::new();
    let (id, now) = (TableId::new("p", "d", "rewritten"), place.clock.now());
    let all = rows(days_before(now, 9), now, 0);
    let spec = TableSpec { id: id.clone(), schema: all.schema(), partitioning: None };
    place.source.create_table(spec).unwrap();
    place.source.append(&id, &all).unwrap();
    let described = SourceDescriptor {
        time_column: Some("ts".into()),
        history: weir_plan::descriptor::History::Local,
        ..SourceDescriptor::new(id.clone())
    };
    place.describe(described);
    place.advance(Duration::from_mins(10));
    let sql = BUCKETS.replace("p.d.t", "p.d.rewritten");
    let asked = query(&sql, days_before(now, 7), days_before(now, 3), "1h");
    let first = place.ask(&asked).await;
    assert_eq!(first.provenance.mode, Mode::Delta);
    assert_eq!(place.ask(&asked).await.provenance.status, Status::Hit);
    place.source.replace(&id, &rows(days_before(now, 9), now, 5)).unwrap();
    place.advance(LISTING);
    let answer = place.ask(&asked).await;
    let expected = place.uncached(&asked, asked.range.unwrap()).await;
    assert_eq!(answer.batches.concat().unwrap(), expected.concat().unwrap());
    assert_ne!(answer.batches.concat().unwrap(), first.batches.concat().unwrap());
    assert_eq!(place.ask(&asked).await.provenance.status, Status::Hit);
}

#[tokio::test]
async fn a_view_of_tables_whose_partitions_nobody_lists_is_whole() {
    let mut place = Place::new();
    let now = place.clock.now();
    for name in ["a", "b"] {
        let id = TableId::new("p", "d", name);
        let all = rows(days_before(now, 9), now, 0);
        let partitioning = Some(Partitioning { column: Some("ts".into()), unit: PartitionUnit::Day });
        place.source.create_table(TableSpec { id: id.clone(), schema: all.schema(), partitioning }).unwrap();
        place.source.append(&id, &all).unwrap();
    }
    let union = TableId::new("p", "d", "both");
    place.source.create_view(union.clone(), "SELECT * FROM `p.d.a` UNION ALL SELECT * FROM `p.d.b`").unwrap();
    let described: SourceDescriptor = serde_json::from_value(serde_json::json!({
        "table": "p.d.both",
        "time_column": "ts",
        "history": "local",
        "branches": [
            { "table": "p.d.a", "pruning": { "column": "ts" } },
            { "table": "p.d.b", "pruning": { "column": "ts" } },
        ],
    }))
    .unwrap();
    place.describe(described);
    let asked = query(&BUCKETS.replace("p.d.t", "p.d.both"), days_before(now, 7), days_before(now, 3), "1h");
    let answer = place.ask(&asked).await;
    assert_eq!((answer.provenance.mode, answer.provenance.reason), (Mode::Whole, "partitions_unknown"));
}

#[tokio::test]
async fn raw_rows_are_those_of_exactly_the_asked_range() {
    let place = Place::new();
    let now = place.clock.now();
    let asked = query(ROWS, at("2024-01-10T03:03:03Z"), at("2024-01-13T01:01:01Z"), "5m");
    let (jobs, answer) = place.jobs(&asked).await;
    assert_eq!((jobs, answer.provenance.mode), (1, Mode::Rows));
    let expected = place.uncached(&asked, asked.range.unwrap()).await;
    assert_eq!(answer.batches.concat().unwrap(), expected.concat().unwrap());
    let later = query(ROWS, at("2024-01-11T03:03:03Z"), now, "5m");
    assert_eq!(place.jobs(&later).await.1.provenance.status, Status::Partial);
}

/// One step of a history.
#[derive(Clone, Debug)]
enum Event {
    Pass(i64),
    Backfill(u64, i64),
    Ask { days: u64, hours: i64, step: &'static str, raw: bool },
}

fn event() -> impl Strategy<Value = Event> {
    let ask = (0_u64..12, 0_i64..48, prop::sample::select(vec!["5m", "1h", "6h", "1d", "7h", "1w"]), any::<bool>());
    prop_oneof![
        2 => (MINUTE..30 * HOUR).prop_map(Event::Pass),
        1 => (1_u64..12, 0_i64..9).prop_map(|(day, first)| Event::Backfill(day, first)),
        5 => ask.prop_map(|(days, hours, step, raw)| Event::Ask { days, hours, step, raw }),
    ]
}

proptest! {
    // A quarter of PROPTEST_CASES, each a history of up to a dozen events.
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases / 4, ..ProptestConfig::default() })]

    #[test]
    fn settled_answers_are_the_uncached_ones(events in prop::collection::vec(event(), 1..12)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(history(&Place::new(), events));
    }

    #[test]
    fn they_are_so_through_the_client_before_the_fake_server(events in prop::collection::vec(event(), 1..12)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (place, server) = Place::before_bigquery().await;
            history(&place, events).await;
            // The ledger's bill is the server's.
            assert_eq!(place.engine.shared.ledger.total().bytes_billed, server.bytes_billed());
        });
    }
}

/// Asks what a history says, and compares what is settled with what the source itself says.
async fn history(place: &Place, events: Vec<Event>) {
    for event in events {
        match event {
            Event::Pass(micros) => place.advance(Duration::from_micros(micros.unsigned_abs())),
            Event::Backfill(days, first) => {
                place.backfill(days_before(place.clock.now(), days), first);
                // Listings are looked at anew after a while; nothing is promised before.
                place.advance(LISTING);
            }
            Event::Ask { days, hours, step, raw } => {
                let to = days_before(place.clock.now(), days).minus(Duration::from_mins(15));
                let from = to.minus(Duration::from_hours(1 + hours.unsigned_abs()));
                let asked = query(if raw { ROWS } else { BUCKETS }, from, to, step);
                let answer = place.ask(&asked).await;
                let range = if raw {
                    asked.range.unwrap()
                } else {
                    asked.step.unwrap().align(asked.range.unwrap(), place.clock.now())
                };
                let is_settled = range.end().plus(Duration::from_mins(10)) <= place.clock.now();
                if answer.provenance.mode == Mode::Whole {
                    assert_eq!(answer.provenance.reason, reason::SMALL_RANGE, "{asked:?}");
                } else if is_settled {
                    let expected = place.uncached(&asked, range).await;
                    assert_eq!(answer.batches.concat().unwrap(), expected.concat().unwrap(), "{asked:?}");
                }
            }
        }
    }
}

#[tokio::test]
async fn days_apart_are_one_job_where_that_bills_less() {
    let place = Place::new();
    let now = place.clock.now();
    let day = |from: u64, to: u64| query(BUCKETS, days_before(now, from), days_before(now, to), "1h");
    place.ask(&day(6, 5)).await;
    place.ask(&day(4, 3)).await;
    // A day is smaller than the least charge, so that the day between costs nothing.
    let (jobs, answer) = place.jobs(&day(7, 2)).await;
    assert_eq!((jobs, answer.provenance.bytes_billed), (1, 10 << 20));
    let expected = place.uncached(&day(7, 2), day(7, 2).range.unwrap()).await;
    assert_eq!(answer.batches.concat().unwrap(), expected.concat().unwrap());
}

#[tokio::test]
async fn a_static_table_is_joined_in_parts_until_it_changes() {
    let mut place = Place::new();
    let names = TableId::new("p", "d", "names");
    let rows = |name: &str| {
        let columns: Vec<(&str, ArrayRef)> = vec![
            ("branch", Arc::new(StringArray::from(vec!["control", "treatment"]))),
            ("name", Arc::new(StringArray::from(vec![name, "b"]))),
        ];
        batches(columns).concat().unwrap()
    };
    let spec = TableSpec { id: names.clone(), schema: rows("a").schema(), partitioning: None };
    place.source.create_table(spec).unwrap();
    place.source.append(&names, &rows("a")).unwrap();
    let sql = "SELECT $__timeGroup(t.ts, $__interval) AS time, names.name, SUM(t.n) AS s FROM `p.d.t` AS t \
        JOIN `p.d.names` AS names ON names.branch = t.branch WHERE $__timeFilter(t.ts) GROUP BY 1, 2 ORDER BY 1, 2";
    let now = place.clock.now();
    let asked = query(sql, days_before(now, 5), days_before(now, 2), "6h");
    assert_eq!(place.ask(&asked).await.provenance.reason, reason::JOIN_NOT_STATIC);

    let described = SourceDescriptor { is_static: true, ..SourceDescriptor::new(names.clone()) };
    place.describe(described);
    let first = place.ask(&asked).await;
    assert_eq!((first.provenance.mode, first.provenance.status), (Mode::Delta, Status::Miss));
    assert_eq!(place.ask(&asked).await.provenance.status, Status::Hit);
    place.advance(Duration::from_mins(6));
    place.source.replace(&names, &rows("c")).unwrap();
    place.advance(Duration::from_mins(6));
    let changed = place.ask(&asked).await;
    assert_eq!(changed.provenance.status, Status::Miss);
    let expected = place.uncached(&asked, asked.range.unwrap()).await;
    assert_eq!(changed.batches.concat().unwrap(), expected.concat().unwrap());
    // Where the change is not known yet, nothing new is joined to what is kept.
    place.source.replace(&names, &rows("d")).unwrap();
    place.clock.set(place.clock.now().plus(Duration::from_mins(1)));
    let longer = query(sql, days_before(now, 6), days_before(now, 2), "6h");
    let answer = place.ask(&longer).await;
    assert_eq!((answer.provenance.mode, answer.provenance.reason), (Mode::Whole, reason::NOT_ASSEMBLED));
    let expected = place.uncached(&longer, longer.range.unwrap()).await;
    assert_eq!(answer.batches.concat().unwrap(), expected.concat().unwrap());
}

#[tokio::test]
async fn many_days_apart_are_one_job_where_that_bills_less() {
    let place = Place::new();
    let now = place.clock.now();
    let day = |days: u64| query(BUCKETS, days_before(now, days), days_before(now, days - 1), "1h");
    for number in 1..8 {
        place.ask(&day(2 * number)).await;
    }
    // Seven days are missing between those; a day is smaller than the least charge.
    let all = query(BUCKETS, days_before(now, 15), days_before(now, 2), "1h");
    let (jobs, answer) = place.jobs(&all).await;
    assert_eq!((jobs, answer.provenance.bytes_billed), (1, 10 << 20));
}

#[tokio::test]
async fn a_purge_is_of_all_or_of_some_days_or_of_one_text() {
    let place = Place::new();
    let now = place.clock.now();
    let week = query(BUCKETS, days_before(now, 9), days_before(now, 2), "1h");
    let other = Query { sql: BUCKETS.replace("AVG(n)", "MAX(n)"), ..week.clone() };
    let whole = Query { sql: format!("{BUCKETS} LIMIT 9"), ..week.clone() };
    let jobs = async |asked: &Query| place.jobs(asked).await.0;
    for asked in [&week, &other, &whole] {
        assert_eq!((jobs(asked).await, jobs(asked).await), (1, 0));
    }
    let day = Extent::new(days_before(now, 5), days_before(now, 4)).unwrap();
    place.engine.purge_some(Some(day), None).unwrap();
    let (ran, answer) = place.jobs(&week).await;
    assert_eq!((ran, answer.provenance.status, answer.provenance.job_ids.len()), (1, Status::Partial, 3));
    assert_eq!(jobs(&whole).await, 1, "nobody knows which days it reads");
    let later = query(BUCKETS, days_before(now, 4), days_before(now, 2), "1h");
    assert_eq!(jobs(&later).await, 0, "the end of a range is not in it");

    assert_eq!(jobs(&other).await, 1);
    place.engine.purge_some(None, Some(&week.sql)).unwrap();
    assert_eq!((jobs(&other).await, jobs(&week).await, jobs(&week).await), (0, 1, 0));
    place.engine.purge_some(None, None).unwrap();
    assert_eq!((jobs(&other).await, jobs(&week).await), (1, 1));

    let error = |range, sql| place.engine.purge_some(range, sql).unwrap_err().to_string();
    assert!(error(Some(day), Some("SELECT 1")).contains("not of both"));
    let ages = Extent::new(Timestamp::MIN, day.end()).unwrap();
    assert!(error(Some(ages), None).contains("ten years"));
}
