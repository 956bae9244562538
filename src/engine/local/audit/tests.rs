//! What is kept and right shows no drift, whatever the clock does; what is wrong does.

use arrow::array::RecordBatch;
use weir_plan::TableId;
use weir_plan::extent::DAY;

use super::*;
use crate::clock::Clock as _;
use crate::engine::audit::tests::{audits_of, drift_of};
use crate::engine::local::tests::{PANELS, ask, hours, place};
use crate::engine::parts::views::Place;
use crate::ledger::{Budget, Share};

fn engine(place: &Place) -> Arc<Engine> {
    place.engine_within(Budget::default(), |_| {})
}

/// Audits an answer here and now; says whether there was something to compare.
async fn audit(engine: &Arc<Engine>, query: &Query) -> bool {
    let now = engine.now();
    let place = engine.locals.place.as_ref().unwrap();
    let Ok(located) = engine.located(query, place, Asking::Jobs, now).await else { panic!("{}", query.sql) };
    let Ok(parts) = engine.loaded(&located, query, place, now).await else { panic!("{}", query.sql) };
    let Some(settled) = settled(query, &parts) else { return false };
    let before = audits_of(engine);
    engine.compare_locally(&settled, place).await.unwrap();
    audits_of(engine) > before
}

#[tokio::test]
async fn what_is_kept_and_right_shows_no_drift() {
    let place = place();
    let engine = engine(&place);
    for advance in [0, 13, 11, 12] {
        place.clock.set(place.clock.now().plus(hours(advance)));
        let mut compared = 0;
        for sql in PANELS {
            compared += usize::from(audit(&engine, &place.panel(sql, 5, "1h")).await);
            assert_eq!(drift_of(&engine), 0, "{sql} at {}", place.clock.now());
        }
        // All but the one that joins the list of experiments.
        assert_eq!(compared, PANELS.len() - 1);
    }
}

#[tokio::test]
async fn a_running_total_is_compared_as_it_is_defined_here() {
    let place = place();
    let engine = engine(&place);
    let query = place.panel(&PANELS[3].replace("experiment = 'SLUG' AND ", ""), 5, "1h");
    // Upstream's: rows of several channels tie, so that a row has the total after all of its window.
    let view: TableId =
        "moz-fx-data-shared-prod.telemetry.experiment_enrollment_cumulative_population_estimate".parse().unwrap();
    let upstream = "SELECT window_start AS time, experiment, branch, \
        SUM(enroll_count) OVER w - SUM(unenroll_count) OVER w - SUM(graduate_count) OVER w AS value \
        FROM `moz-fx-data-shared-prod.telemetry_derived.experiment_enrollment_aggregates_live_v1` \
        WINDOW w AS (PARTITION BY experiment, branch ORDER BY window_start)";
    place.source.create_view(view, upstream).unwrap();
    let answer = ask(&engine, &query).await;
    assert_ne!(answer.batches.num_rows(), place.direct(&answer).await.num_rows());
    assert!(audit(&engine, &query).await);
    assert_eq!(drift_of(&engine), 0);
}

#[tokio::test]
async fn rows_that_are_not_the_sources_show_drift() {
    let place = place();
    let engine = engine(&place);
    let query = place.panel(PANELS[0], 5, "1h");
    ask(&engine, &query).await;
    assert!(audit(&engine, &query).await);
    assert_eq!(drift_of(&engine), 0);
    let relation = engine.relations(&query, engine.locals.place.as_ref().unwrap(), engine.now()).await.remove(0);
    assert_eq!(relation.declared.name, "enrollment");
    let kept = engine.locals.place.as_ref().unwrap();
    let day = engine.now().minus(hours(4 * 24)).floor(DAY);
    let nothing = RecordBatch::new_empty(kept.table(&relation.declared.table()).await.unwrap().schema);
    kept.replace_partition(&relation.declared.table(), day, &nothing).unwrap();
    assert!(audit(&engine, &query).await);
    assert_eq!(drift_of(&engine), 1);
}

#[tokio::test]
async fn a_share_of_the_answers_is_compared_behind_them() {
    let place = place();
    let all = Budget { audit_share: Share::ALL, ..Budget::default() };
    let engine = place.engine_within(all, |_| {});
    let query = place.panel(PANELS[0], 5, "1h");
    for _ in 0..3 {
        ask(&engine, &query).await;
    }
    for _ in 0..2000 {
        if audits_of(&engine) >= 2 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    assert_eq!((audits_of(&engine), drift_of(&engine)), (2, 0), "the job and a listing, once in a slot");
    let none = place.engine_within(Budget::default(), |_| {});
    ask(&none, &query).await;
    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    assert_eq!(audits_of(&none), 0);
}
