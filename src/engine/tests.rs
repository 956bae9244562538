//! The engine's promises, over a source whose every move is scripted.

mod budget;

use std::sync::Arc;
use std::time::Duration;

use arrow::array::{Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use futures::future::join_all;
use weir_plan::{CacheMode, Error, Extent, Kind, Query, Scope, TableId, Timestamp};

use super::fetch::LINGER;
use super::*;
use crate::app::App;
use crate::cache::StoreSettings;
use crate::clock::ManualClock;
use crate::source::scripted::Scripted;
use crate::source::{Billed, Job};

const BILL: u64 = 10 << 20;

/// Permits of an open gate: more than a test has jobs.
const OPEN: usize = 1000;

fn one_row(number: i64) -> Batches {
    let schema = Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, true)]));
    let batch = RecordBatch::try_new(Arc::clone(&schema), vec![Arc::new(Int64Array::from(vec![number]))]).unwrap();
    Batches::new(schema, vec![batch]).unwrap()
}

struct Bench {
    engine: Arc<Engine>,
    source: Arc<Scripted>,
    clock: Arc<ManualClock>,
}

fn bench() -> Bench {
    bench_over(|source| source)
}

fn bench_over(change: impl FnOnce(Scripted) -> Scripted) -> Bench {
    bench_of(StoreSettings::of(1 << 20), EngineSettings::default(), change)
}

fn bench_of(store: StoreSettings, settings: EngineSettings, change: impl FnOnce(Scripted) -> Scripted) -> Bench {
    let number = |_: &Job, number: usize| Ok(one_row(number.try_into().unwrap()));
    let source = Scripted::new(number).reading(5).taking(Duration::from_secs(1)).gating(|_| true);
    let source = Arc::new(change(source));
    source.gate.add_permits(OPEN);
    let clock = Arc::new(ManualClock::new(at("2024-01-02T12:00:00Z")));
    let mut app = App::new(store, Arc::clone(&clock) as Arc<dyn Clock>, App::GRACE);
    let engine = app.add_source("only", Arc::clone(&source) as Arc<dyn Source>, settings);
    Bench { engine, source, clock }
}

impl Bench {
    async fn ask(&self, query: &Query) -> Answer {
        self.engine.answer(query, Door::Export).await.unwrap()
    }

    fn jobs(&self) -> usize {
        self.source.jobs()
    }

    /// From now on no job ends.
    fn hold(&self) {
        self.source.gate.forget_permits(OPEN);
    }

    /// Jobs end again.
    fn release(&self) {
        self.source.gate.add_permits(OPEN);
    }

    fn advance(&self, seconds: u64) {
        self.clock.set(self.clock.now().plus(Duration::from_secs(seconds)));
    }
}

fn at(text: &str) -> Timestamp {
    Timestamp::parse(text, Timestamp::MIN).unwrap()
}

fn query() -> Query {
    let mut query = Query::new("SELECT n FROM t WHERE $__timeFilter(ts)");
    query.range = Some(Extent::new(at("2024-01-02T06:00:00Z"), at("2024-01-02T12:00:00Z")).unwrap());
    query
}

#[tokio::test(start_paused = true)]
async fn the_second_answer_is_the_first_one_and_bills_nothing() {
    let bench = bench();
    let first = bench.ask(&query()).await;
    let second = bench.ask(&query()).await;
    assert_eq!((first.provenance.status, second.provenance.status), (Status::Miss, Status::Hit));
    assert_eq!((first.provenance.bytes_billed, first.provenance.bytes_saved), (BILL, 0));
    assert_eq!((second.provenance.bytes_billed, second.provenance.bytes_saved), (0, BILL));
    assert_eq!(first.content_id, second.content_id);
    assert_eq!(first.batches.concat().unwrap(), second.batches.concat().unwrap());
    assert_eq!(bench.jobs(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_answer_says_what_it_read_cost_and_saved() {
    let bench = bench();
    let price = Price::default();
    let first = bench.ask(&query()).await.provenance;
    assert_eq!((first.bytes_processed, first.cost, first.cost_saved), (5, price.of(BILL), price.of(0)));
    let second = bench.ask(&query()).await.provenance;
    assert_eq!((second.bytes_processed, second.cost, second.cost_saved), (0, price.of(0), price.of(BILL)));
}

#[tokio::test(start_paused = true)]
async fn a_hundred_at_once_send_one_job_and_one_is_billed() {
    let bench = bench();
    let query = query();
    let answers = join_all((0..100).map(|_| bench.ask(&query))).await;
    assert_eq!(bench.jobs(), 1);
    assert_eq!(answers.iter().map(|answer| answer.provenance.bytes_billed).sum::<u64>(), BILL);
    assert_eq!(answers.iter().filter(|answer| answer.provenance.status == Status::Joined).count(), 99);
}

#[tokio::test(start_paused = true)]
async fn a_fetch_survives_its_first_caller_and_is_cancelled_after_the_last() {
    let bench = bench();
    let query = query();
    let mut first = Box::pin(bench.ask(&query));
    assert!(futures::poll!(&mut first).is_pending());
    let mut second = Box::pin(bench.ask(&query));
    assert!(futures::poll!(&mut second).is_pending());
    drop(first);
    assert_eq!(second.await.provenance.status, Status::Joined);
    assert_eq!((bench.jobs(), bench.source.cancelled()), (1, 0));

    bench.engine.purge().unwrap();
    let mut only = Box::pin(bench.ask(&query));
    assert!(futures::poll!(&mut only).is_pending());
    // Into the job, which takes a second, and then away for longer than the grace would last.
    tokio::time::sleep(Duration::from_millis(1)).await;
    bench.hold();
    drop(only);
    tokio::time::sleep(App::GRACE * 2).await;
    assert_eq!((bench.jobs(), bench.source.cancelled()), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn a_job_slower_than_its_deadline_ends_and_is_stored_for_whoever_asks_again() {
    let bench = bench();
    bench.hold();
    let mut impatient = query();
    impatient.deadline = Some(Duration::from_mins(1));
    let error = bench.engine.answer(&impatient, Door::Export).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Timeout);
    tokio::time::sleep(Duration::from_secs(15)).await;
    bench.release();
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(bench.ask(&query()).await.provenance.status, Status::Hit);
    assert_eq!((bench.jobs(), bench.source.cancelled()), (1, 0));

    bench.engine.purge().unwrap();
    bench.hold();
    bench.engine.answer(&impatient, Door::Export).await.unwrap_err();
    tokio::time::sleep(LINGER + App::GRACE * 2).await;
    assert_eq!(bench.source.cancelled(), 1, "not for ever");
}

#[tokio::test(start_paused = true)]
async fn callers_wait_as_long_as_they_say_or_their_source_or_a_minute() {
    let check = async |source: Option<u64>, caller: Option<u64>, expected: u64| {
        let deadline = source.map(Duration::from_secs);
        let bench =
            bench_of(StoreSettings::of(1 << 20), EngineSettings { deadline, ..EngineSettings::default() }, |source| {
                source
            });
        bench.hold();
        let began = tokio::time::Instant::now();
        let query = Query { deadline: caller.map(Duration::from_secs), ..query() };
        let error = bench.engine.answer(&query, Door::Grafana).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Timeout);
        assert!(error.message().contains(&format!("within {expected} s")), "{error}");
        assert_eq!(began.elapsed().as_secs(), expected);
    };
    check(None, None, 60).await;
    check(Some(300), None, 300).await;
    check(Some(300), Some(5), 5).await;
}

#[tokio::test(start_paused = true)]
async fn a_failed_job_stores_nothing_and_a_passing_failure_is_tried_again_at_once() {
    let bench = bench();
    bench.source.failures.lock().push(Error::new(Kind::Unavailable, "down"));
    assert_eq!(bench.engine.answer(&query(), Door::Export).await.unwrap_err().kind(), Kind::Unavailable);
    assert_eq!(bench.ask(&query()).await.provenance.status, Status::Miss);
    assert_eq!(bench.jobs(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_mistake_is_remembered_for_ten_seconds() {
    let bench = bench();
    bench.source.failures.lock().push(Error::invalid("Unrecognized name: n at [1:8]"));
    for _ in 0..3 {
        let error = bench.engine.answer(&query(), Door::Export).await.unwrap_err();
        assert_eq!(error.message(), "Unrecognized name: n at [1:8]");
    }
    assert_eq!(bench.jobs(), 1);
    bench.advance(10);
    assert_eq!(bench.ask(&query()).await.provenance.status, Status::Miss);
}

fn too_large(ours: bool) -> Error {
    Error::new(Kind::TooLarge, "too many rows").with_source(Billed { bytes_billed: BILL, slot_ms: 3, ours })
}

#[tokio::test(start_paused = true)]
async fn the_bill_of_an_answer_that_is_too_large_is_put_down_where_its_job_was_sent() {
    for (ours, bytes_billed, slot_ms) in [(true, BILL, 3), (false, 0, 0)] {
        let bench = bench();
        bench.source.failures.lock().push(too_large(ours));
        assert_eq!(bench.engine.answer(&query(), Door::Export).await.unwrap_err().kind(), Kind::TooLarge);
        let line = bench.engine.shared.ledger.total();
        assert_eq!((line.bytes_billed, line.slot_ms, line.jobs_failed), (bytes_billed, slot_ms, 0));
        assert_eq!(bench.engine.shared.metrics.bytes_billed.get(), bytes_billed);
    }
}

#[tokio::test(start_paused = true)]
async fn a_question_whose_answer_was_billed_and_too_large_is_not_asked_each_minute() {
    let bench = bench();
    let sliding = || {
        let now = bench.clock.now();
        Query { range: Some(Extent::new(now.minus(Duration::from_hours(6)), now).unwrap()), ..query() }
    };
    bench.source.failures.lock().push(too_large(true));
    for _ in 0..10 {
        assert_eq!(bench.engine.answer(&sliding(), Door::Grafana).await.unwrap_err().kind(), Kind::TooLarge);
        bench.advance(59);
    }
    assert_eq!(bench.jobs(), 1);
    let mut shorter = sliding();
    shorter.range = Some(Extent::new(at("2024-01-02T11:00:00Z"), at("2024-01-02T12:00:00Z")).unwrap());
    let mut anew = sliding();
    anew.cache.skip_read = true;
    let mut off = sliding();
    off.cache.mode = CacheMode::Off;
    for other in [shorter, off, anew] {
        bench.ask(&other).await;
    }
    bench.advance(60);
    bench.ask(&sliding()).await;
    assert_eq!(bench.jobs(), 5);
}

#[tokio::test(start_paused = true)]
async fn what_only_the_source_can_tell_from_a_script_is_asked_first() {
    let pipes = Query::new("FROM t |> SELECT n");
    for (statement, jobs) in [("SELECT", 1), ("SCRIPT", 0)] {
        let bench = bench_over(|source| source.taking_texts_for(statement));
        let answer = bench.engine.answer(&pipes, Door::Export).await;
        assert_eq!(answer.map_err(|error| error.kind()).is_ok(), jobs == 1, "{statement}");
        assert_eq!(bench.jobs(), jobs);
    }
    let bench = bench_over(|source| source.taking_texts_for("SCRIPT"));
    bench.ask(&query()).await;
    assert_eq!(bench.jobs(), 1, "what parses as one query costs no dry run");
}

#[tokio::test(start_paused = true)]
async fn an_answer_too_large_to_keep_is_served_as_it_came() {
    let bench =
        bench_of(StoreSettings { largest: 4, ..StoreSettings::of(1 << 20) }, EngineSettings::default(), |source| {
            source
        });
    let answers = [bench.ask(&query()).await, bench.ask(&query()).await];
    assert!(answers.iter().all(|answer| answer.provenance.status == Status::Miss && answer.batches.num_rows() == 1));
    assert_eq!(bench.jobs(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_stale_answer_is_served_once_more_while_a_new_one_is_fetched() {
    let bench = bench();
    bench.ask(&query()).await;
    bench.advance(20);
    let stale = bench.ask(&query()).await;
    assert_eq!((stale.provenance.status, stale.provenance.age_s), (Status::Stale, 20.0));
    tokio::time::sleep(Duration::from_secs(2)).await;
    let fresh = bench.ask(&query()).await;
    assert_eq!((fresh.provenance.status, bench.jobs()), (Status::Hit, 2));
    assert_ne!(stale.content_id, fresh.content_id);
}

#[tokio::test(start_paused = true)]
async fn an_alert_never_gets_a_stale_answer() {
    let bench = bench();
    let mut alert = query();
    alert.cache.max_stale = Some(Duration::ZERO);
    bench.ask(&alert).await;
    bench.advance(20);
    assert_eq!(bench.ask(&alert).await.provenance.status, Status::Miss);
}

#[tokio::test(start_paused = true)]
async fn skipping_the_cache_reads_nothing_and_stores_for_the_others() {
    let bench = bench();
    bench.ask(&query()).await;
    let mut skip = query();
    skip.cache.skip_read = true;
    assert_eq!(bench.ask(&skip).await.provenance.status, Status::Bypass);
    assert_eq!(bench.ask(&query()).await.batches.concat().unwrap(), one_row(2).concat().unwrap());
    let mut off = query();
    off.cache.mode = CacheMode::Off;
    bench.ask(&off).await;
    bench.ask(&off).await;
    assert_eq!(bench.jobs(), 4);
    let jobs = bench.source.all_jobs();
    assert!(jobs.iter().enumerate().all(|(at, job)| jobs[..at].iter().all(|earlier| earlier.id != job.id)));
}

#[tokio::test(start_paused = true)]
async fn answers_never_cross_scopes() {
    let bench = bench();
    bench.ask(&query()).await;
    let mut other = query();
    other.scope = Scope("user:2".into());
    assert_eq!(bench.ask(&other).await.provenance.status, Status::Miss);
}

#[tokio::test(start_paused = true)]
async fn a_purge_leaves_every_answer_behind() {
    let bench = bench();
    bench.ask(&query()).await;
    assert_eq!(bench.engine.purge().unwrap(), 1);
    assert_eq!(bench.ask(&query()).await.provenance.status, Status::Miss);
}

#[tokio::test(start_paused = true)]
async fn the_same_work_in_the_same_slot_has_the_same_job_id() {
    let (one, other) = (bench(), bench());
    one.ask(&query()).await;
    other.ask(&query()).await;
    let id = |bench: &Bench| bench.source.last_job().id;
    assert_eq!(id(&one), id(&other));
    one.advance(7200);
    one.ask(&query()).await;
    assert_ne!(id(&one), id(&other));
}

#[tokio::test(start_paused = true)]
async fn a_job_that_another_process_paid_for_is_as_old_as_it_is_and_bills_nothing() {
    let bench = bench();
    *bench.source.joins.lock() = Some(bench.clock.now().minus(Duration::from_secs(8)));
    let answer = bench.ask(&query()).await.provenance;
    assert_eq!((answer.status, answer.age_s), (Status::Miss, 8.0));
    assert_eq!((answer.bytes_billed, answer.bytes_saved), (0, BILL));
}

/// A bench whose source knows the table `p.d.t` with a DATE and a TIMESTAMP column.
fn bench_with_schema() -> Bench {
    let utc = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    let schema = Arc::new(Schema::new(vec![Field::new("day", DataType::Date32, true), Field::new("ts", utc, true)]));
    bench_over(|source| source.with_table(TableId::new("p", "d", "t"), schema))
}

#[tokio::test(start_paused = true)]
async fn a_date_column_gets_literals_of_its_type_and_its_table_is_looked_up_once() {
    let bench = bench_with_schema();
    let mut dates = query();
    dates.sql = "SELECT n FROM d.t WHERE $__timeFilter(day)".into();
    let filter = "day >= DATE '2024-01-02' AND day < DATE '2024-01-03'";
    join_all((0..20).map(|_| bench.ask(&dates))).await;
    assert!(bench.source.last_job().sql.ends_with(filter), "{}", bench.source.last_job().sql);
    assert_eq!(bench.source.lookups(), 1);
    dates.sql = "SELECT COUNT(*) FROM d.t WHERE $__timeFilter(day)".into();
    assert!(bench.engine.explain(&dates).await.unwrap().segments[0].sql.ends_with(filter));
    assert_eq!(bench.source.lookups(), 1, "another text about the same table");
    bench.advance(3600);
    bench.ask(&dates).await;
    assert_eq!(bench.source.lookups(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_timestamp_column_and_one_that_nobody_knows_get_timestamps() {
    let bench = bench_with_schema();
    let timestamps = "ts >= TIMESTAMP '2024-01-02T06:00:00Z' AND ts < TIMESTAMP '2024-01-02T12:00:00Z'";
    for (table, lookups) in [("d.t", 1), ("d.nowhere", 2), ("d.nowhere", 2), ("unqualified", 2)] {
        let mut timed = query();
        timed.sql = format!("SELECT n FROM {table} WHERE $__timeFilter(ts)");
        bench.ask(&timed).await;
        assert!(bench.source.last_job().sql.ends_with(timestamps), "{}", bench.source.last_job().sql);
        assert_eq!(bench.source.lookups(), lookups, "{table}");
    }
    bench.advance(60);
    let mut timed = query();
    timed.sql = "SELECT n FROM d.nowhere WHERE $__timeFilter(ts)".into();
    bench.ask(&timed).await;
    assert_eq!(bench.source.lookups(), 3, "a failure is forgotten sooner");
}

#[tokio::test(start_paused = true)]
async fn the_smaller_byte_limit_holds() {
    let bench = bench();
    let mut limited = query();
    limited.maximum_bytes_billed = Some(7);
    bench.ask(&limited).await;
    assert_eq!(bench.source.last_job().maximum_bytes_billed, Some(7));
}

#[tokio::test]
async fn an_explanation_runs_no_job() {
    let bench = bench();
    let explanation = bench.engine.explain(&query()).await.unwrap();
    assert_eq!((explanation.bytes_processed, explanation.segments[0].bytes_processed), (5, 5));
    assert_eq!((explanation.bytes_billed, explanation.cost), (BILL, Price::default().of(BILL)));
    assert_eq!(explanation.segments[0].status, Status::Miss);
    assert_eq!((explanation.mode, bench.jobs()), (Mode::Whole, 0));
}

#[test]
fn the_header_is_a_dictionary_of_rfc_9651() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    let answer = runtime.block_on(async { bench().ask(&query()).await });
    assert_eq!(answer.provenance.header(), "mode=whole, status=miss, age=0, billed=10485760, saved=0");
}
