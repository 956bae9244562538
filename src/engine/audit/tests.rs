//! An engine that is right shows no drift, whatever happens; one whose rows are not the source's does.

use proptest::prelude::*;
use weir_plan::extent::{HOUR, MINUTE};

use super::*;
use crate::clock::Clock as _;
use crate::engine::EngineSettings;
use crate::engine::parts::tests::{BUCKETS, Place, ROWS, days_before, query, rows, table};
use crate::ledger::{Budget, Dimension, Filter, Share};

fn place_of(budget: Budget) -> Place {
    Place::with(EngineSettings { budget, ..EngineSettings::default() })
}

fn place() -> Place {
    place_of(Budget { audit_share: Share::ALL, ..Budget::default() })
}

fn drift(place: &Place) -> u64 {
    drift_of(&place.engine)
}

fn audits(place: &Place) -> u64 {
    audits_of(&place.engine)
}

pub(in crate::engine) fn drift_of(engine: &Engine) -> u64 {
    engine.shared.metrics.drift.with_label_values(&["only"]).get()
}

/// Jobs of audits, their listings included.
pub(in crate::engine) fn audits_of(engine: &Engine) -> u64 {
    use arrow::array::AsArray as _;
    use arrow::datatypes::Int64Type;
    let report = engine.shared.ledger.report(&Filter::default(), &[Dimension::Cause]).unwrap().concat().unwrap();
    let (causes, jobs) = (report.column(0).as_string::<i32>(), report.column(1).as_primitive::<Int64Type>());
    let found = (0..report.num_rows()).find(|row| causes.value(*row) == "audit");
    found.map_or(0, |row| jobs.value(row).cast_unsigned())
}

fn week(place: &Place) -> Query {
    let now = place.clock.now();
    query(BUCKETS, days_before(now, 7), now, "5m")
}

/// Puts other rows where a partition's were, and no new stamp.
fn falsify(place: &Place, days: u64) {
    let now = place.clock.now();
    place.clock.set(now.minus(Duration::from_mins(10)));
    place.backfill(days_before(now, days), 5);
    place.clock.set(now);
}

#[tokio::test]
async fn a_kept_answer_is_checked_once_in_its_slot() {
    let place = place();
    place.ask(&week(&place)).await;
    place.settled().await;
    assert_eq!(audits(&place), 0, "nothing is kept yet");
    place.ask(&week(&place)).await;
    place.settled().await;
    assert_eq!((audits(&place), drift(&place)), (2, 0), "the job and a listing");
    place.ask(&week(&place)).await;
    place.settled().await;
    assert_eq!(audits(&place), 2);
    assert_eq!(place.engine.shared.ledger.total().bytes_billed, place.source.bill().bytes_billed);
}

#[tokio::test]
async fn a_source_that_changes_behind_its_stamps_shows_drift() {
    let place = place();
    place.ask(&week(&place)).await;
    falsify(&place, 3);
    place.ask(&week(&place)).await;
    place.settled().await;
    assert_eq!((audits(&place), drift(&place)), (2, 1));
}

#[tokio::test]
async fn a_kept_segment_that_is_wrong_shows_drift() {
    let place = place();
    let asked = week(&place);
    place.ask(&asked).await;
    let plan = place.engine.plan(&asked, Asking::Jobs, place.clock.now()).await.unwrap();
    let (first, second) = (&plan.segments[1], &plan.segments[2]);
    let wrong = place.engine.shared.store.segment(&second.key).unwrap();
    assert!(place.engine.shared.store.keep(first.key.clone(), wrong, Duration::from_hours(1)));
    // The rows of another day are not in the answer's order, and its own are missing.
    place.ask(&asked).await;
    place.settled().await;
    assert_eq!(drift(&place), 1);
}

#[tokio::test]
async fn what_has_a_new_stamp_or_is_open_is_not_compared() {
    let place = place();
    let asked = week(&place);
    place.ask(&asked).await;
    let now = place.clock.now();
    // The engine's listing is still the one before, the audit's is not.
    place.backfill(days_before(now, 3), 5);
    place.source.append(&table(), &rows(now.minus(Duration::from_hours(1)), now, 3)).unwrap();
    place.ask(&asked).await;
    place.settled().await;
    assert_eq!((audits(&place), drift(&place)), (2, 0));
}

#[tokio::test]
async fn audits_stay_within_their_budget_and_their_share() {
    let over = Budget { audit_share: Share::ALL, audit_daily_bytes: Some(10 << 20), ..Budget::default() };
    for (budget, expected) in [(over, 1), (Budget::default(), 0)] {
        let place = place_of(budget);
        place.ask(&week(&place)).await;
        place.ask(&week(&place)).await;
        place.settled().await;
        assert_eq!(audits(&place), expected, "{budget:?}");
    }
}

/// One step of a history.
#[derive(Clone, Debug)]
enum Event {
    Pass(i64),
    Backfill(u64, i64),
    Ask { days: u64, hours: u64, step: &'static str, raw: bool },
}

fn event() -> impl Strategy<Value = Event> {
    let ask = (0_u64..12, 0_u64..96, prop::sample::select(vec!["5m", "1h", "6h", "1d", "7h", "1w"]), any::<bool>());
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
    fn a_right_engine_shows_no_drift(events in prop::collection::vec(event(), 1..12)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let place = place();
            for event in events {
                match event {
                    Event::Pass(micros) => place.advance(Duration::from_micros(micros.unsigned_abs())),
                    Event::Backfill(days, first) => {
                        place.backfill(days_before(place.clock.now(), days), first);
                    }
                    Event::Ask { days, hours, step, raw } => {
                        let to = days_before(place.clock.now(), days);
                        let from = to.minus(Duration::from_hours(1 + hours));
                        // Twice, so that there is something to compare with.
                        for _ in 0..2 {
                            place.ask(&query(if raw { ROWS } else { BUCKETS }, from, to, step)).await;
                        }
                    }
                }
                place.settled().await;
                prop_assert_eq!(drift(&place), 0);
                prop_assert_eq!(place.engine.shared.ledger.total().bytes_billed, place.source.bill().bytes_billed);
            }
            Ok(())
        })?;
    }
}
