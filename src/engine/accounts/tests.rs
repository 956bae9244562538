//! The ledger is the source's bill, whatever is asked of the engine and whatever happens meanwhile.

use arrow::array::AsArray as _;
use arrow::datatypes::Int64Type;
use futures::future::join_all;
use proptest::prelude::*;
use weir_plan::extent::{HOUR, MINUTE};
use weir_plan::{CacheMode, Timestamp};

use super::*;
use crate::clock::Clock as _;
use crate::engine::parts::tests::{BUCKETS, Place, ROWS, days_before, query};
use crate::engine::{Door, EngineSettings};
use crate::ledger::{Budget, Line};

/// What the ledger has of each cause: its name, bytes billed, bytes uncached, bytes saved, bytes over.
fn causes(place: &Place) -> Vec<(String, [u64; 4])> {
    let report = place.engine.shared.ledger.report(&Filter::default(), &[Dimension::Cause]).unwrap();
    let batch = report.concat().unwrap();
    let number = |name: &str, row: usize| {
        let column = batch.column_by_name(name).unwrap().as_primitive::<Int64Type>();
        column.value(row).cast_unsigned()
    };
    let row = |row: usize| {
        let numbers = ["bytes_billed", "bytes_uncached", "bytes_saved", "bytes_overhead"].map(|name| number(name, row));
        (batch.column(0).as_string::<i32>().value(row).to_owned(), numbers)
    };
    (0..batch.num_rows()).map(row).collect()
}

/// P12 and P6: the ledger is the bill, and every billed byte has its answer or its cause.
fn check(place: &Place) {
    let total: Line = place.engine.shared.ledger.total();
    let bill = place.source.bill();
    assert_eq!((total.jobs, total.bytes_billed), (bill.jobs, bill.bytes_billed));
    let causes = causes(place);
    let sum = |what: usize| causes.iter().map(|(_, numbers)| numbers[what]).sum::<u64>();
    assert_eq!(sum(0), bill.bytes_billed);
    let for_answers = causes.iter().find(|(name, _)| name == "answer").map_or(0, |(_, numbers)| numbers[0]);
    assert_eq!(for_answers + sum(2), sum(1) + sum(3), "billed + saved = uncached + over, {causes:?}");
}

#[tokio::test]
async fn each_piece_is_saved_for_its_own_reason() {
    let place = Place::new();
    let now = place.clock.now();
    let mut week = query(BUCKETS, days_before(now, 7), now, "5m");
    week.labels =
        [("dashboard_uid", "b"), ("panel_id", "7")].map(|(key, value)| (key.to_owned(), value.to_owned())).into();
    let cold = place.ask(&week).await.provenance;
    assert_eq!((cold.bytes_saved, cold.savings.by_cause().count()), (0, 0));
    let warm = place.ask(&week).await.provenance;
    let names: Vec<&str> = warm.savings.by_cause().map(|(saving, _)| saving.as_str()).collect();
    assert_eq!(names, ["fresh", "final"], "today, and the days before it");
    assert_eq!(warm.bytes_saved, cold.bytes_billed);
    let written = serde_json::to_value(&warm).unwrap();
    assert_eq!(written["bytes_uncached"], cold.bytes_billed);
    assert!(written["savings"]["final"].as_u64().unwrap() > written["savings"]["fresh"].as_u64().unwrap());
    check(&place);
    let panels = place.engine.ledger(None, &[Dimension::Board, Dimension::Panel, Dimension::Principal]).unwrap();
    let batch = panels.batches.concat().unwrap();
    let cells = [0, 1, 2].map(|column| batch.column(column).as_string::<i32>().value(0));
    assert_eq!((cells, batch.num_rows()), (["b", "7", Account::ANONYMOUS], 1), "its listing too");
    assert_eq!(panels.provenance.mode, Mode::Local);
}

#[tokio::test]
async fn over_budget_an_answer_in_parts_is_the_last_one() {
    let budget = Budget { daily_bytes: Some(20 << 20), ..Budget::default() };
    let place = Place::with(EngineSettings { budget, ..EngineSettings::default() });
    let week = |now: Timestamp| query(BUCKETS, now.minus(Duration::from_hours(7 * 24)), now, "5m");
    let first = place.ask(&week(place.clock.now())).await;
    // A listing and an answer: the budget is used up.
    assert_eq!(place.source.bill().bytes_billed, 20 << 20);
    place.advance(Duration::from_hours(2));
    let stale = place.ask(&week(place.clock.now())).await;
    assert_eq!((stale.provenance.mode, stale.provenance.reason), (Mode::Delta, "over_budget"));
    assert_eq!((stale.provenance.status, stale.provenance.age_s), (Status::Stale, 7200.0));
    assert_eq!(stale.batches.concat().unwrap(), first.batches.concat().unwrap());
    assert_eq!(place.source.bill().bytes_billed, 20 << 20);
    check(&place);
}

/// One step of a history.
#[derive(Clone, Debug)]
enum Event {
    Pass(i64),
    Backfill(u64, i64),
    Purge,
    Ask(Vec<Asked>),
}

/// A question; several are asked at once.
#[derive(Clone, Debug)]
struct Asked {
    days: u64,
    hours: u64,
    step: &'static str,
    raw: bool,
    user: &'static str,
    mode: CacheMode,
    skips: bool,
}

fn asked() -> impl Strategy<Value = Asked> {
    let modes = vec![CacheMode::Auto, CacheMode::Auto, CacheMode::Auto, CacheMode::Whole, CacheMode::Off];
    let skips = prop::bool::weighted(0.1);
    let step = prop::sample::select(vec!["5m", "1h", "6h", "1d", "7h", "1w"]);
    let user = prop::sample::select(vec!["ada", "grace"]);
    (0_u64..12, 0_u64..48, step, any::<bool>(), user, prop::sample::select(modes), skips)
        .prop_map(|(days, hours, step, raw, user, mode, skips)| Asked { days, hours, step, raw, user, mode, skips })
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        3 => prop_oneof![MINUTE / 4..10 * MINUTE, MINUTE..30 * HOUR].prop_map(Event::Pass),
        1 => (1_u64..12, 0_i64..9).prop_map(|(day, first)| Event::Backfill(day, first)),
        1 => Just(Event::Purge),
        6 => prop::collection::vec(asked(), 1..4).prop_map(Event::Ask),
    ]
}

impl Asked {
    fn query(&self, now: Timestamp) -> Query {
        // Those of today go up to now.
        let to = if self.days == 0 { now } else { days_before(now, self.days) };
        let from = to.minus(Duration::from_hours(1 + self.hours));
        let mut query = query(if self.raw { ROWS } else { BUCKETS }, from, to, self.step);
        query.principal = Some(self.user.to_owned());
        query.cache.mode = self.mode;
        query.cache.skip_read = self.skips;
        query
    }

    /// Where every piece is of whole partitions that nothing changes, what is said to have been saved
    /// can be looked up.
    fn can_be_priced(&self) -> bool {
        self.days > 0 && self.mode == CacheMode::Auto && !["7h", "1w"].contains(&self.step)
    }
}

async fn carry_out(place: &Place, event: Event) {
    match event {
        Event::Pass(micros) => place.advance(Duration::from_micros(micros.unsigned_abs())),
        Event::Backfill(days, first) => {
            place.backfill(days_before(place.clock.now(), days), first);
        }
        Event::Purge => {
            place.engine.purge().unwrap();
        }
        Event::Ask(all) => {
            let now = place.clock.now();
            let queries: Vec<Query> = all.iter().map(|asked| asked.query(now)).collect();
            let answers = join_all(queries.iter().map(|query| place.engine.answer(query, Door::Export))).await;
            for (asked, answer) in all.iter().zip(answers) {
                let provenance = answer.unwrap().provenance;
                if asked.can_be_priced() {
                    let mut whole = asked.query(now);
                    (whole.cache.mode, whole.range) = (CacheMode::Off, provenance.range);
                    let priced = place.engine.explain(&whole).await.unwrap().bytes_billed;
                    assert_eq!(provenance.savings.bytes_uncached, priced, "{asked:?}");
                }
            }
        }
    }
    place.settled().await;
    check(place);
}

proptest! {
    // A quarter of PROPTEST_CASES, each a history of up to a dozen events.
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases / 4, ..ProptestConfig::default() })]

    #[test]
    fn the_ledger_is_the_bill_after_every_step(events in prop::collection::vec(event(), 1..12)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let place = Place::new();
            for event in events {
                carry_out(&place, event).await;
            }
        });
    }
}
