//! Views of live and daily tables, answered in parts, are what the views themselves say: over
//! generated tables of experiments, whose clock moves over midnights and daily jobs.

use std::collections::BTreeSet;

use weir_plan::extent::HOUR;

use super::*;
use crate::app::App;
use crate::cache::StoreSettings;
use crate::clock::{Clock, ManualClock};
use crate::engine::{Answer, Door, EngineSettings, Status};
use crate::monitoring::synthetic::{Backfill, Landing, Synthetic, SyntheticConfig};
use crate::source::Source;
use crate::source::embedded::Embedded;

const FLOW: &str = "SELECT $__timeGroup(time, $__interval) AS time, branch, SUM(value) AS value, COUNT(*) AS n \
    FROM `moz-fx-data-shared-prod.telemetry.VIEW` \
    WHERE branch IS NOT NULL AND $__timeFilter(time) GROUP BY 1, 2 ORDER BY 1, 2";

const FLOWS: [&str; 5] = [
    "experiment_enrollment_overall",
    "experiment_unenrollment_overall",
    "experiment_enrollment_other_events_overall",
    "experiment_crash_counts",
    "experiment_enrollment_daily_active_population",
];

fn at(text: &str) -> Timestamp {
    Timestamp::parse(text, Timestamp::MIN).unwrap()
}

fn hours(hours: u64) -> Duration {
    Duration::from_hours(hours)
}

pub(in crate::engine) struct Place {
    pub(in crate::engine) source: Arc<Embedded>,
    pub(in crate::engine) clock: Arc<ManualClock>,
    /// A live experiment with several branches.
    pub(in crate::engine) slug: String,
}

/// 12 recipes, 6 days before noon of 2024-03-10; the job for 03-10 is nine hours late, that for 03-07
/// runs again on 03-12 at 09:00.
pub(in crate::engine) fn place() -> Place {
    let now = at("2024-03-10T12:00:00Z");
    let clock = Arc::new(ManualClock::new(now));
    let mut config = SyntheticConfig { history_days: 6, live_days: 4, ..SyntheticConfig::small(now) };
    config.daily_job.exceptions.insert(now.date(), Landing::Late(hours(9)));
    let partial = Landing::Partial { until_hour: 9 };
    config.daily_job.exceptions.insert(at("2024-03-07").date(), partial);
    config.daily_job.backfills.push(Backfill { day: at("2024-03-07").date(), at: at("2024-03-12T09:00:00Z") });
    let synthetic = Arc::new(Synthetic::new(config));
    let source = Embedded::new("moz-fx-data-shared-prod", Arc::clone(&clock) as Arc<dyn Clock>)
        .with_feed(Arc::clone(&synthetic) as _);
    let source = Arc::new(source);
    synthetic.install(&source, now, &mut |_| {}).unwrap();
    let live = synthetic.recipes().iter().find(|recipe| recipe.is_live(now) && recipe.branches.len() > 1);
    Place { source, clock, slug: live.unwrap().slug.clone() }
}

impl Place {
    /// An engine with an empty store.
    fn engine(&self) -> Arc<Engine> {
        let mut app = App::new(StoreSettings::of(64 << 20), Arc::clone(&self.clock) as Arc<dyn Clock>, App::GRACE);
        app.add_source("only", Arc::clone(&self.source) as Arc<dyn Source>, EngineSettings::default())
    }

    /// The last days of a view up to now.
    fn query(&self, view: &str, days: u64, step: &str) -> Query {
        let now = self.clock.now();
        // Shorter steps than a view's own are that one.
        let step = if view.contains("daily") { "1d" } else { step };
        let mut query = Query::new(FLOW.replace("VIEW", view));
        query.range = Some(Extent::new(now.minus(hours(24 * days)).floor(HOUR), now).unwrap());
        query.step = Some(step.parse().unwrap());
        query
    }
}

async fn ask(engine: &Arc<Engine>, query: &Query) -> Answer {
    engine.answer(query, Door::Export).await.unwrap()
}

/// What the view itself says for the range of an answer.
async fn uncached(engine: &Arc<Engine>, query: &Query, range: Extent) -> Batches {
    let mut query = query.clone();
    query.range = Some(range);
    query.cache.mode = CacheMode::Off;
    ask(engine, &query).await.batches
}

fn widened(query: &Query) -> Extent {
    query.step.unwrap().align(query.range.unwrap(), Timestamp::MAX)
}

#[tokio::test]
async fn the_tables_of_a_view_say_what_the_view_says() {
    let place = place();
    for advance in [0, 11, 2, 2, 9, 1, 12, 11] {
        place.clock.set(place.clock.now().plus(hours(advance)));
        let engine = place.engine();
        for (view, days, step) in FLOWS.into_iter().flat_map(|view| [(view, 5, "1h"), (view, 4, "1d")]) {
            let query = place.query(view, days, step);
            let answer = ask(&engine, &query).await;
            let when = format!("{view} {step} at {}", place.clock.now());
            assert_eq!(answer.provenance.mode, Mode::Delta, "{when}: {}", answer.provenance.reason);
            let expected = uncached(&engine, &query, widened(&query)).await;
            assert!(expected.num_rows() > 0, "{when}");
            assert_eq!(answer.batches.concat().unwrap(), expected.concat().unwrap(), "{when}");
        }
    }
}

#[tokio::test]
async fn settled_days_read_the_daily_table_alone_and_only_once() {
    let place = place();
    let engine = place.engine();
    let view = FLOWS[0];
    let mut past = place.query(view, 6, "1h");
    past.range = Some(Extent::new(at("2024-03-05"), at("2024-03-08")).unwrap());
    let tables = |explained: crate::engine::Explanation| -> BTreeSet<String> {
        explained.segments.into_iter().flat_map(|segment| segment.referenced_tables).collect()
    };
    let daily = "moz-fx-data-shared-prod.telemetry_derived.experiment_enrollment_aggregates_v1";
    // So that the days have landed two hours ago.
    place.clock.set(place.clock.now().plus(hours(3)));
    assert_eq!(tables(engine.explain(&past).await.unwrap()), BTreeSet::from([daily.to_owned()]));
    assert_eq!(ask(&engine, &past).await.provenance.status, Status::Miss);
    assert_eq!(ask(&engine, &past).await.provenance.status, Status::Hit);
    place.clock.set(place.clock.now().plus(hours(30)));
    let settled = Extent::new(at("2024-03-05"), at("2024-03-07")).unwrap();
    past.range = Some(settled);
    let later = ask(&engine, &past).await;
    assert_eq!((later.provenance.status, later.provenance.bytes_billed), (Status::Hit, 0));

    let now = place.query(view, 1, "1h");
    let live = tables(engine.explain(&now).await.unwrap());
    assert!(!live.contains(daily) && live.len() == 5, "those that have rows: {live:?}");
}

#[tokio::test]
async fn days_are_read_anew_when_they_change_sides_land_late_or_are_filled_again() {
    let place = place();
    let engine = place.engine();
    for view in FLOWS {
        for step in [
            "2024-03-10T12:00:00Z",
            "2024-03-11T00:40:00Z",
            "2024-03-12T04:00:00Z",
            "2024-03-12T12:00:00Z",
            "2024-03-12T12:20:00Z",
            "2024-03-13T13:00:00Z",
            "2024-03-14T13:00:00Z",
        ] {
            if at(step) > place.clock.now() {
                place.clock.set(at(step));
            }
            let query = place.query(view, 6, "1h");
            ask(&engine, &query).await;
        }
        let query = place.query(view, 6, "1h");
        let answer = ask(&engine, &query).await;
        let expected = uncached(&engine, &query, widened(&query)).await;
        assert_eq!(answer.batches.concat().unwrap(), expected.concat().unwrap(), "{view}");
    }
}

#[tokio::test]
async fn a_running_total_and_a_view_of_another_text_are_whole() {
    let place = place();
    let engine = place.engine();
    let query = place.query("experiment_enrollment_cumulative_population_estimate", 3, "1h");
    let answer = ask(&engine, &query).await;
    assert_eq!((answer.provenance.mode, answer.provenance.reason), (Mode::Whole, "prefix_history"));

    let view = TableId::new("moz-fx-data-shared-prod", "telemetry", FLOWS[0]);
    let daily = "moz-fx-data-shared-prod.telemetry_derived.experiment_enrollment_aggregates_v1";
    let sql = format!(
        "SELECT window_start AS time, experiment, branch, normalized_channel, enroll_count AS value FROM `{daily}`"
    );
    place.source.create_view(view, &sql).unwrap();
    place.clock.set(place.clock.now().plus(Duration::from_mins(6)));
    let query = place.query(FLOWS[0], 5, "1h");
    let answer = ask(&engine, &query).await;
    assert_eq!((answer.provenance.mode, answer.provenance.reason), (Mode::Whole, "view_unknown"));
}

#[tokio::test]
async fn a_view_that_only_filters_a_table_is_that_table() {
    let place = place();
    let engine = place.engine();
    let daily = "moz-fx-data-shared-prod.telemetry_derived.experiment_enrollment_aggregates_v1";
    let id = |name: &str| TableId::new("moz-fx-data-shared-prod", "mine", name);
    let inner = format!("SELECT window_start AS at, branch, enroll_count FROM `{daily}` WHERE branch IS NOT NULL;");
    place.source.create_view(id("inner"), &inner).unwrap();
    let outer = "SELECT at AS time, branch, enroll_count AS value FROM `moz-fx-data-shared-prod.mine.inner`";
    place.source.create_view(id("outer"), outer).unwrap();
    let mut query = place.query(FLOWS[0], 5, "6h");
    query.sql = query.sql.replace("telemetry.experiment_enrollment_overall", "mine.outer");
    let answer = ask(&engine, &query).await;
    assert_eq!((answer.provenance.mode, answer.provenance.reason), (Mode::Delta, "buckets"));
    let expected = uncached(&engine, &query, widened(&query)).await;
    assert_eq!(answer.batches.concat().unwrap(), expected.concat().unwrap());
}

#[tokio::test]
async fn a_live_table_is_read_by_the_partitions_of_its_hidden_day() {
    let place = place();
    let engine = place.engine();
    let mut query = place.query(FLOWS[0], 1, "1h");
    query.sql = "SELECT $__timeGroup(window_start, $__interval) AS time, SUM(enroll_count) AS value \
        FROM `moz-fx-data-shared-prod.org_mozilla_fenix_derived.experiment_events_live_v1` AS live \
        WHERE $__timeFilter(live.window_start) GROUP BY 1 ORDER BY 1"
        .to_owned();
    let explained = engine.explain(&query).await.unwrap();
    assert_eq!((explained.mode, explained.reason), (Mode::Delta, "buckets"));
    let sql = &explained.segments[0].sql;
    assert!(sql.contains("WHERE `partition_date` >= TIMESTAMP '2024-03-09T00:00:00Z'"), "{sql}");
    let answer = ask(&engine, &query).await;
    let expected = uncached(&engine, &query, widened(&query)).await;
    assert_eq!(answer.batches.concat().unwrap(), expected.concat().unwrap());
}

#[tokio::test]
async fn late_rows_of_live_days_come_along_where_that_costs_nothing() {
    let place = place();
    let engine = place.engine();
    place.clock.set(place.clock.now().plus(hours(3)));
    ask(&engine, &place.query(FLOWS[0], 2, "1h")).await;
    place.clock.set(place.clock.now().plus(hours(2)));
    let before = place.source.bill();
    let query = place.query(FLOWS[0], 2, "1h");
    let answer = ask(&engine, &query).await;
    // The daily table has not changed since its partitions were listed. One job over the 4 live tables that have
    // rows, for today and yesterday; the day before would take the daily table too.
    let after = place.source.bill();
    assert_eq!((after.jobs - before.jobs, after.bytes_billed - before.bytes_billed), (1, 4 * (10 << 20)));
    assert_eq!(answer.provenance.bytes_billed, 4 * (10 << 20));
    let jobs = answer.provenance.job_ids.len();
    assert_eq!(jobs, 2, "the first one, for the day before yesterday alone");
}

/// Its jobs begin a minute late.
struct Late(Place);

#[async_trait::async_trait]
impl Source for Late {
    fn identity(&self) -> &crate::source::Identity {
        self.0.source.identity()
    }

    async fn dry_run(&self, job: &crate::source::Job) -> Result<crate::source::Estimate> {
        self.0.source.dry_run(job).await
    }

    async fn run(&self, job: crate::source::Job) -> Result<crate::source::Outcome> {
        self.0.clock.set(self.0.clock.now().plus(Duration::from_mins(1)));
        self.0.source.run(job).await
    }

    async fn table(&self, table: &TableId) -> Result<crate::source::Table> {
        self.0.source.table(table).await
    }
}

#[tokio::test]
async fn what_was_planned_before_midnight_and_began_after_it_is_served_and_not_kept() {
    let late = Late(place());
    let clock = Arc::clone(&late.0.clock);
    let mut app = App::new(StoreSettings::of(64 << 20), Arc::clone(&clock) as Arc<dyn Clock>, App::GRACE);
    let mut query = late.0.query(FLOWS[0], 3, "1h");
    query.cache.max_stale = Some(Duration::ZERO);
    let source = Arc::clone(&late.0.source);
    let engine = app.add_source("only", Arc::new(late), EngineSettings::default());
    let jobs_of_two = async |now: &str| {
        let listing = "2024-03-10T23:50:00Z";
        clock.set(at(listing).max(clock.now()));
        ask(&engine, &query).await;
        clock.set(at(now));
        let before = source.bill().jobs;
        let answer = ask(&engine, &query).await;
        assert_eq!(answer.provenance.mode, Mode::Delta);
        clock.set(clock.now().plus(Duration::from_secs(1)));
        let again = ask(&engine, &query).await;
        (source.bill().jobs - before, again.provenance.status)
    };
    let (jobs, status) = jobs_of_two("2024-03-10T23:59:30Z").await;
    assert!(jobs >= 2 && status != Status::Hit, "{jobs} {status:?}");
    let (_, status) = jobs_of_two("2024-03-11T10:00:00Z").await;
    assert_eq!(status, Status::Hit, "kept within a day");
}

#[tokio::test]
async fn an_awaited_day_and_today_are_one_job_though_there_is_a_day_between() {
    let place = place();
    let engine = place.engine();
    // The daily job for 03-10 is late, so that on 03-12 that day is awaited.
    place.clock.set(at("2024-03-12T02:00:00Z"));
    ask(&engine, &place.query(FLOWS[0], 3, "1h")).await;
    place.clock.set(at("2024-03-12T02:07:00Z"));
    let before = place.source.bill();
    let mut query = place.query(FLOWS[0], 3, "1h");
    query.cache.max_stale = Some(Duration::ZERO);
    let answer = ask(&engine, &query).await;
    let after = place.source.bill();
    assert_eq!((after.jobs - before.jobs, answer.provenance.status), (1, Status::Partial));
    assert_eq!(
        after.bytes_billed - before.bytes_billed,
        (5 + 1) * (10 << 20),
        "live tables with rows, and the daily one"
    );
    assert_eq!(ask(&engine, &query).await.provenance.status, Status::Hit);
}
