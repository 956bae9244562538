//! What is kept here says what the source itself says: over generated tables of experiments, whose
//! clock moves over midnights, daily jobs and a backfill.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use weir_plan::extent::HOUR;
use weir_plan::local::Keep;
use weir_plan::local::experiments::relations;
use weir_plan::{Extent, Mode, Query, Timestamp};

use super::*;
use crate::app::App;
use crate::cache::StoreSettings;
use crate::clock::Clock;
use crate::engine::parts::views::{self, Place};
use crate::engine::{Answer, Door, EngineSettings, Status};
use crate::ledger::Budget;
use crate::monitoring::synthetic::PROJECT;
use crate::source::embedded::TableSpec;
use crate::source::{PartitionUnit, Partitioning, Source};

fn at(text: &str) -> Timestamp {
    Timestamp::parse(text, Timestamp::MIN).unwrap()
}

pub(super) fn hours(hours: u64) -> Duration {
    Duration::from_hours(hours)
}

/// The generated tables, some hours later: partitions are as young as the tables, and what is younger than
/// the grace of two hours is awaited.
pub(super) fn place() -> Place {
    let place = views::place();
    place.clock.set(place.clock.now().plus(hours(3)));
    place
}

impl Place {
    fn local_engine(&self) -> Arc<Engine> {
        self.engine_with(|_| {})
    }

    fn engine_with(&self, change: impl FnOnce(&mut LocalSettings)) -> Arc<Engine> {
        self.engine_within(Budget::default(), change)
    }

    pub(super) fn engine_within(&self, budget: Budget, change: impl FnOnce(&mut LocalSettings)) -> Arc<Engine> {
        let mut app = App::new(StoreSettings::of(64 << 20), Arc::clone(&self.clock) as Arc<dyn Clock>, App::GRACE);
        let mut local = LocalSettings {
            relations: relations(PROJECT),
            companions: vec!["moz-fx-data-experiments.monitoring.experimenter_experiments_v1".parse().unwrap()],
            memory: None,
        };
        change(&mut local);
        let settings = EngineSettings { local: Arc::new(local), budget, ..EngineSettings::default() };
        app.add_source("only", Arc::clone(&self.source) as Arc<dyn Source>, settings)
    }

    pub(super) fn panel(&self, sql: &str, days: u64, step: &str) -> Query {
        let now = self.clock.now();
        let mut query =
            Query::new(sql.replace("SLUG", &self.slug).replace("TELEMETRY", &format!("{PROJECT}.telemetry")));
        query.range = Some(Extent::new(now.minus(hours(24 * days)).floor(HOUR), now).unwrap());
        query.step = Some(step.parse().unwrap());
        query.cache.max_stale = Some(Duration::ZERO);
        query
    }

    /// What the source says to the text of an answer.
    pub(super) async fn direct(&self, answer: &Answer) -> crate::batches::Batches {
        let job = Job::new(uuid::Uuid::new_v4().to_string(), &*answer.executed_sql);
        self.source.run(job).await.unwrap_or_else(|error| panic!("{error:?}\n{}", answer.executed_sql)).batches
    }
}

/// Within a slot to the second, an answer is fresh.
const SLOT_AND_MORE: Duration = Duration::from_secs(301);

pub(super) async fn ask(engine: &Arc<Engine>, query: &Query) -> Answer {
    engine.answer(query, Door::Export).await.unwrap_or_else(|error| panic!("{error:?}\n{}", query.sql))
}

pub(super) const PANELS: [&str; 12] = [
    "SELECT $__timeGroup(time, $__interval) AS time, branch AS metric, SUM(value) AS value \
     FROM `TELEMETRY.experiment_enrollment_overall` \
     WHERE experiment = 'SLUG' AND branch IS NOT NULL AND $__timeFilter(time) GROUP BY 1, 2 ORDER BY 1, 2",
    "SELECT branch, SUM(value) AS value FROM `TELEMETRY.experiment_unenrollment_overall` \
     WHERE experiment = 'SLUG' AND $__timeFilter(time) GROUP BY 1 ORDER BY 1",
    "SELECT $__timeGroup(time, 1d) AS time, event, normalized_channel, SUM(value) AS value, COUNT(*) AS n \
     FROM `TELEMETRY.experiment_enrollment_other_events_overall` WHERE $__timeFilter(time) GROUP BY 1, 2, 3 ORDER BY 1, 2, 3",
    "SELECT time, branch, value FROM `TELEMETRY.experiment_enrollment_cumulative_population_estimate` \
     WHERE experiment = 'SLUG' AND $__timeFilter(time) ORDER BY 1, 2, 3",
    "SELECT branch, MAX(value) AS value FROM `TELEMETRY.experiment_enrollment_cumulative_population_estimate` \
     WHERE $__timeFilter(time) GROUP BY 1 ORDER BY 1",
    "SELECT $__timeGroup(time, $__interval) AS time, branch, MAX(value) AS value FROM `TELEMETRY.experiment_cumulative_ad_clicks` \
     WHERE $__timeFilter(time) GROUP BY 1, 2 ORDER BY 1, 2",
    "SELECT window_start, window_end, branch, search_count, cumulative_search_with_ads_count AS ads \
     FROM `moz-fx-data-shared-prod.telemetry_derived.experiment_search_aggregates_live_v1` \
     WHERE experiment = 'SLUG' AND $__timeFilter(window_start) ORDER BY 1, 3",
    "SELECT $__timeGroup(time, $__interval) AS time, crash_process_type, SUM(value) AS value \
     FROM `TELEMETRY.experiment_crash_counts` WHERE $__timeFilter(time) GROUP BY 1, 2 ORDER BY 1, 2",
    "SELECT time, branch, SUM(value) AS value FROM `TELEMETRY.experiment_enrollment_daily_active_population` \
     WHERE $__timeFilter(time) GROUP BY 1, 2 ORDER BY 1, 2",
    "SELECT o.branch, e.status, SUM(o.value) AS value FROM `TELEMETRY.experiment_enrollment_overall` AS o \
     JOIN `moz-fx-data-experiments.monitoring.experimenter_experiments_v1` AS e ON e.normandy_slug = o.experiment \
     WHERE $__timeFilter(o.time) GROUP BY 1, 2 ORDER BY 1, 2",
    "SELECT $__timeGroup(window_start, 1h) AS time, experiment, branch, SUM(enroll_count) AS enrolled, SUM(update_count) AS updated \
     FROM `moz-fx-data-shared-prod.telemetry_derived.experiment_enrollment_aggregates_live_v1` \
     WHERE $__timeFilter(window_start) AND branch IS NOT NULL GROUP BY 1, 2, 3 ORDER BY 1, 2, 3",
    "SELECT crash_process_type, SUM(crash_count) AS n FROM `TELEMETRY.experiment_crash_rates_live` \
     WHERE $__timeFilter(window_start) GROUP BY 1 ORDER BY 1",
];

#[tokio::test]
async fn what_is_kept_says_what_the_source_says() {
    let place = place();
    let engine = place.local_engine();
    for advance in [0, 11, 2, 2, 9, 1, 12, 11] {
        place.clock.set(place.clock.now().plus(hours(advance)));
        for (sql, days, step) in PANELS.into_iter().flat_map(|sql| [(sql, 5, "1h"), (sql, 2, "5m")]) {
            let answer = ask(&engine, &place.panel(sql, days, step)).await;
            let when = format!("{sql} at {}", place.clock.now());
            assert_eq!(answer.provenance.mode, Mode::Local, "{when}: {}", answer.provenance.reason);
            let expected = place.direct(&answer).await;
            assert!(expected.num_rows() > 0, "{when}");
            assert_eq!(answer.batches.concat().unwrap(), expected.concat().unwrap(), "{when}");
        }
    }
}

#[tokio::test]
async fn every_panel_of_a_slot_is_answered_by_one_job_for_each_source() {
    let place = place();
    let engine = place.local_engine();
    for sql in PANELS {
        ask(&engine, &place.panel(sql, 5, "1h")).await;
    }
    let before = place.source.bill();
    for sql in PANELS {
        let answer = ask(&engine, &place.panel(sql, 5, "30m")).await;
        assert_eq!((answer.provenance.bytes_billed, answer.provenance.status), (0, Status::Hit), "{sql}");
        assert!(answer.provenance.bytes_saved > 0);
    }
    assert_eq!(place.source.bill(), before);
    place.clock.set(place.clock.now().plus(SLOT_AND_MORE));
    for sql in PANELS {
        ask(&engine, &place.panel(sql, 5, "1h")).await;
    }
    // Enrollment, search, crashes and active clients, and the list of experiments is ten minutes old at most.
    let jobs = place.source.bill().jobs - before.jobs;
    assert!((1..=4).contains(&jobs), "{jobs}");
}

#[tokio::test]
async fn the_open_day_is_fetched_once_in_each_slot_and_served_stale_meanwhile() {
    let place = place();
    let engine = place.local_engine();
    let mut query = place.panel(PANELS[0], 5, "1h");
    query.cache.max_stale = None;
    ask(&engine, &query).await;
    for slot in 1..=3 {
        place.clock.set(place.clock.now().plus(SLOT_AND_MORE));
        let before = place.source.bill();
        let mut query = place.panel(PANELS[0], 5, "1h");
        query.cache.max_stale = None;
        let answer = ask(&engine, &query).await;
        assert_eq!(answer.provenance.status, Status::Stale, "slot {slot}");
        let mut status = answer.provenance.status;
        while status == Status::Stale {
            tokio::task::yield_now().await;
            status = ask(&engine, &query).await.provenance.status;
        }
        let after = place.source.bill();
        assert_eq!((after.jobs - before.jobs, status), (1, Status::Hit), "slot {slot}");
        // Live tables that have rows today or yesterday, which comes along.
        assert_eq!(after.bytes_billed - before.bytes_billed, 4 * (10 << 20));
        let answer = ask(&engine, &query).await;
        assert_eq!(answer.batches.concat().unwrap(), place.direct(&answer).await.concat().unwrap());
    }
}

#[tokio::test]
async fn what_is_kept_coarsely_gives_sums_and_refuses_the_rest() {
    let place = place();
    let keep = |minutes, days| Keep { step: Duration::from_mins(minutes), days };
    let engine = place.engine_with(|settings| {
        for relation in settings.relations.iter_mut().filter(|relation| relation.name != "active") {
            relation.keep = vec![keep(5, Some(2)), keep(60, Some(4)), keep(1440, None)];
        }
    });
    let check = async |sql: &str, days: u64, step: &str, expected: &str| {
        let answer = ask(&engine, &place.panel(sql, days, step)).await;
        let provenance = &answer.provenance;
        assert_eq!(
            (provenance.mode == Mode::Local, provenance.reason),
            (expected == "local", expected),
            "{sql} {days} {step}"
        );
        let expected = place.direct(&answer).await.concat().unwrap();
        if provenance.mode == Mode::Local {
            assert_eq!(answer.batches.concat().unwrap(), expected, "{sql}");
        }
    };
    check(PANELS[0], 1, "5m", "local").await;
    check(PANELS[0], 3, "1h", "local").await;
    check(PANELS[0], 3, "5m", "finer_than_kept").await;
    check(PANELS[0], 6, "1d", "local").await;
    check(PANELS[0], 6, "1h", "finer_than_kept").await;
    check(PANELS[2], 6, "1d", "finer_than_kept").await;
    check(PANELS[3], 1, "1h", "local").await;
    check(PANELS[3], 6, "1h", "finer_than_kept").await;
    let all_time = "SELECT experiment, branch, SUM(value) AS value FROM `TELEMETRY.experiment_enrollment_overall` \
        WHERE branch IS NOT NULL GROUP BY 1, 2 ORDER BY 1, 2";
    check(all_time, 1, "1h", "local").await;
    let searches = "SELECT $__timeGroup(window_start, 1d) AS time, branch, SUM(search_count) AS n \
        FROM `moz-fx-data-shared-prod.telemetry_derived.experiment_search_aggregates_live_v1` \
        WHERE $__timeFilter(window_start) GROUP BY 1, 2 ORDER BY 1, 2";
    check(searches, 6, "1h", "local").await;
    check(&searches.replace("SUM(search_count)", "SUM(cumulative_search_count)"), 6, "1h", "finer_than_kept").await;
    check(&all_time.replace("SUM(value)", "MAX(value)"), 1, "1h", "finer_than_kept").await;
}

#[tokio::test]
async fn what_cannot_be_answered_here_is_answered_as_if_nothing_were_kept() {
    let place = place();
    let engine = place.local_engine();
    let check = async |sql: &str, reason: Option<&str>| {
        let answer = ask(&engine, &place.panel(sql, 2, "1h")).await;
        assert_ne!(answer.provenance.mode, Mode::Local, "{sql}");
        if let Some(reason) = reason {
            assert_eq!(answer.provenance.reason, reason, "{sql}");
        }
        assert!(answer.batches.num_rows() > 0);
    };
    // A relation that is not kept, and a table of a kept one.
    check(
        "SELECT COUNT(*) AS n FROM `TELEMETRY.experiment_enrollment_overall` AS o, \
         `moz-fx-data-shared-prod.telemetry_derived.experiment_enrollment_aggregates_v1` AS a WHERE $__timeFilter(o.time)",
        None,
    )
    .await;
    check(
        "SELECT type, SUM(enroll_count) AS n FROM `moz-fx-data-shared-prod.telemetry_derived.experiment_enrollment_aggregates_live_v1` \
         WHERE $__timeFilter(window_start) GROUP BY 1",
        None,
    )
    .await;
    // Rows of the union view are sums of its rows here.
    check(
        "SELECT branch, COUNT(*) AS n FROM `moz-fx-data-shared-prod.telemetry_derived.experiment_enrollment_aggregates_live_v1` \
         WHERE $__timeFilter(window_start) GROUP BY 1",
        Some("finer_than_kept"),
    )
    .await;
    // A column that the view has upstream, and the kept one does not.
    let query = place.panel("SELECT no_such_column FROM `TELEMETRY.experiment_enrollment_overall`", 1, "1h");
    let error = engine.answer(&query, Door::Export).await.unwrap_err();
    assert!(error.message().contains("no_such_column"), "{error}");
    let off = CacheMode::Off;
    let mut query = place.panel(PANELS[0], 2, "1h");
    query.cache.mode = off;
    assert_eq!(ask(&engine, &query).await.provenance.mode, Mode::Off);
}

#[tokio::test]
async fn a_source_that_fails_leaves_what_is_there() {
    let place = place();
    let engine = place.engine_with(|_| {});
    let mut query = place.panel(PANELS[0], 2, "1h");
    query.cache.max_stale = None;
    let first = ask(&engine, &query).await;
    // A table of the view is gone: what is kept is served, and said to be stale.
    let live: TableId = "moz-fx-data-shared-prod.org_mozilla_fenix_derived.experiment_events_live_v1".parse().unwrap();
    place.source.create_view(live, "SELECT 1 AS partition_date").unwrap();
    place.clock.set(place.clock.now().plus(SLOT_AND_MORE));
    let mut again = place.panel(PANELS[0], 2, "1h");
    again.cache.max_stale = None;
    let answer = ask(&engine, &again).await;
    assert_eq!((answer.provenance.mode, answer.provenance.status), (Mode::Local, Status::Stale));
    assert_eq!(answer.batches.concat().unwrap(), first.batches.concat().unwrap());
    // An alert takes nothing stale, and gets the source's own error.
    again.cache.max_stale = Some(Duration::ZERO);
    assert!(engine.answer(&again, Door::Grafana).await.is_err());
}

#[tokio::test]
async fn a_column_of_another_type_leaves_the_source_to_answer() {
    let place = place();
    let engine = place.local_engine();
    let query = || place.panel(PANELS[0], 5, "1h");
    ask(&engine, &query()).await;
    // Rows of the daily table count in FLOAT64 from now on, and so do the sums over all tables.
    let daily = "moz-fx-data-shared-prod.telemetry_derived.experiment_enrollment_aggregates_v1";
    let other: TableId = daily.replace("_v1", "_v0").parse().unwrap();
    let rows = place.source.run(Job::new("rows", format!("SELECT * FROM `{daily}`"))).await.unwrap().batches;
    let by_day = Some(Partitioning { column: Some("window_start".to_owned()), unit: PartitionUnit::Day });
    let schema = Arc::clone(rows.schema());
    place.source.create_table(TableSpec { id: other.clone(), schema, partitioning: by_day }).unwrap();
    place.source.append(&other, &rows.concat().unwrap()).unwrap();
    let view = format!("SELECT * REPLACE (CAST(enroll_count AS FLOAT64) AS enroll_count) FROM `{other}`");
    place.source.create_view(daily.parse().unwrap(), &view).unwrap();
    place.clock.set(place.clock.now().plus(hours(1)));
    let answer = ask(&engine, &query()).await;
    assert_ne!(answer.provenance.mode, Mode::Local);
    assert_eq!(answer.provenance.reason, reason::LOCAL_FAILED);
    let values = answer.batches.schema().field_with_name("value").unwrap();
    assert_eq!(values.data_type(), &arrow::datatypes::DataType::Float64);
    assert!(answer.batches.num_rows() > 0);
}

#[tokio::test]
async fn a_purge_of_a_text_makes_its_answer_anew_from_the_rows_that_are_kept() {
    let place = place();
    let engine = place.local_engine();
    let (one, other) = (place.panel(PANELS[0], 5, "1h"), place.panel(PANELS[1], 5, "1h"));
    let first = ask(&engine, &one).await.content_id;
    let others = ask(&engine, &other).await.content_id;
    assert_eq!(ask(&engine, &one).await.content_id, first);
    let before = place.source.bill();
    let purged = engine.purge_some(None, Some(&one.sql)).unwrap();
    assert!(purged.note.is_some_and(|note| note.contains("purge their days, or all")), "{purged:?}");
    let again = ask(&engine, &one).await;
    assert_ne!(again.content_id, first);
    assert_eq!((again.provenance.status, ask(&engine, &other).await.content_id), (Status::Hit, others));
    assert_eq!((place.source.bill(), ask(&engine, &one).await.content_id), (before, again.content_id));
    assert_eq!(engine.purge_some(None, Some("SELECT 1")).unwrap().note, None);
    assert_eq!(engine.purge_some(None, None).unwrap().note, None);
}

#[tokio::test]
async fn purges_of_days_and_of_all_reach_the_rows_that_are_kept() {
    let place = place();
    let engine = place.local_engine();
    for sql in [PANELS[0], PANELS[3]] {
        let query = place.panel(sql, 4, "1h");
        let first = ask(&engine, &query).await;
        let at_hand = ask(&engine, &query).await.provenance;
        assert_eq!((at_hand.status, at_hand.fetched.is_empty()), (Status::Hit, true), "{sql}");
        let day = Extent::new(at("2024-03-08T06:00:00Z"), at("2024-03-08T07:00:00Z")).unwrap();
        engine.purge_some(Some(day), None).unwrap();
        let purged = ask(&engine, &query).await;
        let fetched: Vec<Extent> = purged.provenance.fetched.iter().collect();
        assert_eq!(fetched, [Extent::new(at("2024-03-08"), at("2024-03-09")).unwrap()], "{sql}");
        assert!(purged.provenance.bytes_billed > 0 && purged.content_id != first.content_id, "{sql}");
        assert_eq!(ask(&engine, &query).await.provenance.status, Status::Hit, "{sql}");
        engine.purge_some(None, None).unwrap();
        let all = ask(&engine, &query).await;
        assert!(all.provenance.fetched.covers(query.range.unwrap()), "{sql}: {:?}", all.provenance.fetched);
        assert_eq!(ask(&engine, &query).await.provenance.status, Status::Hit, "{sql}");
    }
}

#[tokio::test]
async fn what_does_not_fit_into_memory_is_kept_coarser_or_left_out() {
    let place = place();
    let engine = place.engine_with(|settings| settings.memory = Some(100_000));
    let mut reasons = BTreeSet::new();
    for _ in 0..12 {
        let answer = ask(&engine, &place.panel(PANELS[0], 5, "1h")).await;
        reasons.insert(answer.provenance.reason);
        let expected = place.direct(&answer).await.concat().unwrap();
        if answer.provenance.mode == Mode::Local {
            assert_eq!(answer.batches.concat().unwrap(), expected);
        }
        place.clock.set(place.clock.now().plus(SLOT_AND_MORE));
    }
    assert!(reasons.contains(reason::LOCAL_MEMORY), "{reasons:?}");
    let loaded = engine.locals().into_iter().find(|loaded| loaded.name == "enrollment").unwrap();
    assert!(loaded.left_out_before.is_some() && loaded.bytes <= 100_000, "{loaded:?}");
}

#[tokio::test]
async fn days_are_loaded_from_the_latest_on() {
    let place = place();
    let engine = place.local_engine();
    let mut seen: Vec<(String, Extent)> = vec![];
    engine.load_locals(|loaded| seen.push((loaded.name.clone(), loaded.days.unwrap()))).await.unwrap();
    let of = |name: &str| seen.iter().filter(|(other, _)| other == name).map(|(_, days)| *days).collect::<Vec<_>>();
    let days = of("enrollment");
    assert!(days.len() > 1 && days.windows(2).all(|pair| pair[1].start() <= pair[0].start()), "{days:?}");
    assert_eq!(days.last().unwrap().start(), at("2024-03-04"));
    let before = place.source.bill();
    let answer = ask(&engine, &place.panel(PANELS[0], 5, "1h")).await;
    assert_eq!((answer.provenance.status, place.source.bill()), (Status::Hit, before));
}

#[tokio::test]
async fn an_explanation_says_that_no_job_of_its_own_is_sent_and_what_its_rows_cost() {
    let place = place();
    let engine = place.local_engine();
    let query = place.panel(PANELS[9], 2, "1h");
    let before = place.source.bill();
    let explained = engine.explain(&query).await.unwrap();
    assert_eq!((explained.mode, explained.reason, place.source.bill()), (Mode::Local, reason::LOCAL, before));
    assert!(explained.segments.iter().all(|segment| segment.status == Status::Miss && segment.bytes_billed > 0));
    let companion = explained.segments.last().unwrap();
    assert_eq!(companion.referenced_tables, ["moz-fx-data-experiments.monitoring.experimenter_experiments_v1"]);
    ask(&engine, &query).await;
    let explained = engine.explain(&query).await.unwrap();
    assert!(explained.segments.iter().all(|segment| segment.status == Status::Hit), "{explained:?}");
    let refused = place.panel(&PANELS[0].replace("SUM", "APPROX_QUANTILES"), 2, "1h");
    assert_ne!(engine.explain(&refused).await.map(|explained| explained.mode).ok(), Some(Mode::Local));
}
