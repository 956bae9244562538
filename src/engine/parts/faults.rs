//! What goes wrong round a plan in parts is an answer as right as any, or whole: clocks that are put
//! back, dry runs that are refused or say that nothing prunes.

use weir_plan::extent::HOUR;

use super::tests::{BUCKETS, Place, ROWS, at, query};
use super::views;
use super::*;
use crate::clock::{Clock, ManualClock};
use crate::config::BigQueryConfig;
use crate::engine::{Answer, Door, EngineSettings, Status};
use crate::ledger::{Budget, OverBudget};
use crate::source::bigquery::BigQuery;
use crate::source::embedded::Embedded;
use crate::source::fake::{CallKind, FakeConfig, FakeServer, Fault};
use crate::source::limited::{Limited, Limits};
use crate::source::{Billed, Estimate, Identity, Job, Outcome, Source, Table};

type DryRuns = fn(Estimate) -> Result<Estimate>;
type Runs = fn(Outcome) -> Result<Outcome>;

/// Answers dry runs and runs by rules of its own.
struct Odd {
    source: Arc<Embedded>,
    dry_runs: DryRuns,
    runs: Runs,
}

#[async_trait::async_trait]
impl Source for Odd {
    fn identity(&self) -> &Identity {
        self.source.identity()
    }

    async fn dry_run(&self, job: &Job) -> Result<Estimate> {
        (self.dry_runs)(self.source.dry_run(job).await?)
    }

    async fn run(&self, job: Job) -> Result<Outcome> {
        (self.runs)(self.source.run(job).await?)
    }

    async fn table(&self, table: &TableId) -> Result<Table> {
        self.source.table(table).await
    }
}

fn engine(source: Arc<dyn Source>, clock: &Arc<ManualClock>) -> Arc<Engine> {
    engine_with(source, clock, Budget::default())
}

fn engine_with(source: Arc<dyn Source>, clock: &Arc<ManualClock>, budget: Budget) -> Arc<Engine> {
    super::tests::engine(source, clock, EngineSettings { budget, ..EngineSettings::default() })
}

fn odd(source: &Arc<Embedded>, clock: &Arc<ManualClock>, dry_runs: DryRuns) -> Arc<Engine> {
    engine(Arc::new(Odd { source: Arc::clone(source), dry_runs, runs: Ok }), clock)
}

fn refused(_: Estimate) -> Result<Estimate> {
    Err(Error::new(weir_plan::Kind::PermissionDenied, "no dry runs here"))
}

async fn ask(engine: &Arc<Engine>, query: &Query) -> Answer {
    engine.answer(query, Door::Export).await.unwrap()
}

/// That an answer is the source's own for whole buckets.
async fn assert_right(engine: &Arc<Engine>, query: &Query, answer: &Answer) {
    let range = query.step.unwrap().align(query.range.unwrap(), Timestamp::MAX);
    let mut off = Query { range: Some(range), ..query.clone() };
    off.cache.mode = CacheMode::Off;
    let expected = ask(engine, &off).await.batches;
    assert!(expected.num_rows() > 0);
    assert_eq!(answer.batches.concat().unwrap(), expected.concat().unwrap());
}

/// Two days of a view of live and daily tables.
fn flow(now: Timestamp) -> Query {
    let sql = "SELECT $__timeGroup(time, $__interval) AS time, branch, SUM(value) AS value \
        FROM `moz-fx-data-shared-prod.telemetry.experiment_enrollment_overall` \
        WHERE $__timeFilter(time) GROUP BY 1, 2 ORDER BY 1, 2";
    query(sql, now.minus(hours(48)).floor(HOUR), now.floor(HOUR), "1h")
}

fn hours(hours: u64) -> Duration {
    Duration::from_hours(hours)
}

#[tokio::test]
async fn without_dry_runs_ranges_apart_are_a_job_each() {
    let place = Place::new();
    let engine = odd(&place.source, &place.clock, refused);
    let days = |from: &str, to: &str| query(BUCKETS, at(from), at(to), "1h");
    ask(&engine, &days("2024-01-10", "2024-01-11")).await;
    let before = place.source.bill().jobs;
    let week = days("2024-01-08", "2024-01-14");
    let answer = ask(&engine, &week).await;
    assert_eq!((answer.provenance.mode, place.source.bill().jobs - before), (Mode::Delta, 2));
    assert_right(&engine, &week, &answer).await;
}

#[tokio::test]
async fn a_view_that_cannot_be_probed_or_does_not_prune_is_whole() {
    let place = views::place();
    let asked = flow(place.clock.now());
    let cases: [(DryRuns, &str); 2] =
        [(refused, "not_probed"), (|estimate| Ok(Estimate { bytes_processed: 1 << 30, ..estimate }), "not_pruned")];
    for (dry_runs, reason) in cases {
        let engine = odd(&place.source, &place.clock, dry_runs);
        let answer = ask(&engine, &asked).await;
        assert_eq!((answer.provenance.mode, answer.provenance.reason), (Mode::Whole, reason));
        assert_right(&engine, &asked, &answer).await;
    }
    let answer = ask(&odd(&place.source, &place.clock, Ok), &asked).await;
    assert_eq!((answer.provenance.mode, answer.provenance.reason), (Mode::Delta, "buckets"));
}

#[tokio::test]
async fn what_was_kept_by_a_clock_that_was_ahead_is_read_again_when_it_is_put_right() {
    let place = Place::new();
    let now = place.clock.now();
    let week = |now: Timestamp| {
        let mut week = query(BUCKETS, now.minus(hours(24 * 7)), now, "1h");
        week.cache.max_stale = Some(Duration::ZERO);
        week
    };
    // By a clock that is a day ahead, today is settled; by one that is an hour ahead, it is open.
    for ahead in [hours(24), hours(1)] {
        place.clock.set(now.plus(ahead));
        for range in [week(now), week(now.plus(ahead))] {
            place.ask(&range).await;
        }
    }
    place.clock.set(now);
    place.advance(Duration::from_mins(5));
    for step in [Duration::ZERO, Duration::from_mins(20), hours(6), hours(18), hours(3)] {
        place.advance(step);
        let asked = week(place.clock.now());
        let before = place.source.bill().jobs;
        let answer = place.ask(&asked).await;
        assert_right(&place.engine, &asked, &answer).await;
        assert!(answer.provenance.age_s < 300.0, "{}", answer.provenance.age_s);
        // What the listings and the days that are open or new cost, and no more.
        assert!(place.source.bill().jobs - before <= 4);
        assert_eq!(place.ask(&asked).await.provenance.status, Status::Hit, "kept again");
    }
}

#[tokio::test]
async fn a_live_day_of_a_clock_that_was_ahead_is_read_again() {
    let place = views::place();
    let now = place.clock.now();
    let engine = engine(Arc::clone(&place.source) as _, &place.clock);
    // The rows of the days are there when the source's clock gets to them: the engine's alone is ahead.
    let ahead = Arc::new(ManualClock::new(now.plus(hours(24))));
    let ahead_engine = self::engine(Arc::clone(&place.source) as _, &ahead);
    ask(&ahead_engine, &flow(ahead.now())).await;
    place.clock.set(now.plus(hours(13)));
    ahead.set(place.clock.now());
    let asked = flow(place.clock.now());
    let answer = ask(&ahead_engine, &asked).await;
    assert_eq!(answer.provenance.mode, Mode::Delta);
    let expected = ask(&engine, &asked).await;
    assert!(expected.batches.num_rows() > 0);
    assert_eq!(answer.batches.concat().unwrap(), expected.batches.concat().unwrap());
}

#[tokio::test]
async fn the_job_of_a_slot_that_a_clock_ahead_has_used_up_is_not_taken_for_this_ones() {
    let place = Place::new();
    let now = place.clock.now();
    let server_clock = Arc::clone(&place.clock) as Arc<dyn Clock>;
    let server = FakeServer::start(Arc::clone(&place.source) as _, server_clock, FakeConfig::default()).await.unwrap();
    let config = BigQueryConfig::stand_in("p", server.rest_url());
    let ahead = Arc::new(ManualClock::new(now.plus(hours(1))));
    let client: Arc<dyn Source> = Arc::new(BigQuery::connect(&config).await.unwrap());
    let mut today = query(BUCKETS, at("2024-01-21"), at("2024-01-22"), "1h");
    today.cache.max_stale = Some(Duration::ZERO);
    ask(&engine(Arc::clone(&client), &ahead), &today).await;
    // The same slot, an hour later, in another process.
    place.advance(hours(1));
    let engine = engine(client, &ahead);
    let answer = ask(&engine, &today).await;
    assert_right(&engine, &today, &answer).await;
    assert!(answer.provenance.age_s < 60.0, "{}", answer.provenance.age_s);
}

#[tokio::test]
async fn a_listing_over_budget_is_a_refusal_or_the_last_answer_and_no_whole_job() {
    let place = Place::new();
    let budget = Budget { daily_bytes: Some(25 << 20), ..Budget::default() };
    // The listing's bill is known from the first; what a whole job would bill is not.
    let source = Odd { source: Arc::clone(&place.source), dry_runs: refused, runs: Ok };
    let engine = engine_with(Arc::new(source), &place.clock, budget);
    let week = |sql: &str| {
        let now = place.clock.now();
        query(sql, now.minus(hours(24 * 7)), now, "1h")
    };
    let first = ask(&engine, &week(BUCKETS)).await;
    assert_eq!((first.provenance.mode, place.source.bill().bytes_billed), (Mode::Delta, 20 << 20));
    place.advance(LISTING + UNSURE);
    let stale = ask(&engine, &week(BUCKETS)).await;
    assert_eq!((stale.provenance.status, stale.provenance.reason), (Status::Stale, "over_budget"));
    assert_eq!(stale.batches.concat().unwrap(), first.batches.concat().unwrap());
    let another = engine.answer(&week(ROWS), Door::Export).await.unwrap_err();
    assert!(OverBudget::is_cause_of(&another), "{another:?}");
    assert_eq!(place.source.bill().bytes_billed, 20 << 20);
}

/// Refuses answers of more than a hundred rows, after their bill.
fn a_hundred_rows(outcome: Outcome) -> Result<Outcome> {
    let Outcome { bytes_billed, slot_ms, ours, .. } = outcome;
    if outcome.batches.num_rows() <= 100 {
        return Ok(outcome);
    }
    Err(Error::new(weir_plan::Kind::TooLarge, "too many rows").with_source(Billed { bytes_billed, slot_ms, ours }))
}

#[tokio::test]
async fn what_is_too_large_in_parts_is_run_whole_only_if_that_is_much_less() {
    let a_day = ("2024-01-10", "2024-01-11", None);
    let most_of_it = ("2024-01-10T01:00:00Z", "2024-01-11", None);
    let a_third = ("2024-01-10T01:00:00Z", "2024-01-10T09:00:00Z", Some(69));
    for (from, to, rows) in [a_day, most_of_it, a_third] {
        let place = Place::new();
        let source = Odd { source: Arc::clone(&place.source), dry_runs: Ok, runs: a_hundred_rows };
        let engine = engine(Arc::new(source), &place.clock);
        let answer = engine.answer(&query(ROWS, at(from), at(to), "1h"), Door::Export).await;
        assert_eq!(answer.ok().map(|answer| answer.batches.num_rows()), rows, "{from} to {to}");
        // The listing, the parts, and perhaps the whole.
        let bill = place.source.bill();
        assert_eq!(bill.jobs, if rows.is_some() { 3 } else { 2 }, "{from} to {to}");
        assert_eq!(engine.shared.ledger.total().bytes_billed, bill.bytes_billed);
    }
}

#[tokio::test]
async fn a_job_whose_insertion_was_not_answered_is_put_down_once_and_by_who_sent_it() {
    let place = Place::new();
    let server_clock = Arc::clone(&place.clock) as Arc<dyn Clock>;
    let server = FakeServer::start(Arc::clone(&place.source) as _, server_clock, FakeConfig::default()).await.unwrap();
    let config = BigQueryConfig::stand_in("p", server.rest_url());
    let process = async || {
        let client = Arc::new(BigQuery::connect(&config).await.unwrap());
        engine(Arc::new(Limited::new(client, Limits::default())), &place.clock)
    };
    let sum = Query::new("SELECT SUM(n) AS n FROM `p.d.t`");
    let (first, second) = (process().await, process().await);

    server.script().fault(CallKind::Insert, 1, Fault::LoseAnswer);
    let provenance = ask(&first, &sum).await.provenance;
    assert_eq!((provenance.bytes_billed, provenance.bytes_saved), (10 << 20, 0));
    assert_eq!((server.bytes_billed(), first.shared.ledger.total().bytes_billed), (10 << 20, 10 << 20));

    place.advance(Duration::from_secs(30));
    server.script().fault(CallKind::Insert, 1, Fault::status(503, "backendError"));
    let provenance = ask(&second, &sum).await.provenance;
    assert_eq!((provenance.bytes_billed, provenance.bytes_saved), (0, 10 << 20));
    assert_eq!((server.jobs_run().len(), second.shared.ledger.total().bytes_billed), (1, 0));
}
