//! Derived answers are the direct ones (P11), over random rows in the embedded source.

use std::time::Duration;

use arrow::array::{ArrayRef, Decimal128Array, Float64Array, Int64Array, StringArray, TimestampMicrosecondArray};
use proptest::prelude::*;
use weir_plan::extent::DAY;
use weir_plan::{CacheMode, TableId};

use super::*;
use crate::app::App;
use crate::batches::Batches;
use crate::batches::samples::batches;
use crate::cache::StoreSettings;
use crate::clock::{Clock, ManualClock};
use crate::engine::{Answer, Door, EngineSettings};
use crate::source::embedded::{Embedded, TableSpec};
use crate::source::{PartitionUnit, Partitioning, Source};

const ADDITIVE: &str = "SELECT $__timeGroup(ts, $__interval) AS time, g, SUM(n) AS sum_n, COUNT(n) AS count_n, \
    COUNT(*) AS count_all, COUNTIF(n > 3) AS above, MIN(n) AS min_n, MAX(d) AS max_d, SUM(d) AS sum_d, MAX(ts) AS last \
    FROM `p.d.t` WHERE $__timeFilter(ts) GROUP BY 1, 2 ORDER BY 1, 2";

/// A row: µs after the first day began, group, number, billionths of a NUMERIC.
type Row = (i64, Option<u8>, Option<i64>, Option<i64>);

struct Place {
    source: Arc<Embedded>,
    clock: Arc<ManualClock>,
    engine: Arc<Engine>,
}

/// A Thursday, so that a week begins with it.
fn first_day() -> Timestamp {
    Timestamp::parse("2024-01-04", Timestamp::MIN).unwrap()
}

fn days(count: u64) -> Timestamp {
    first_day().plus(Duration::from_hours(24 * count))
}

fn table(rows: &[Row]) -> Batches {
    let times = rows.iter().map(|row| first_day().micros() + row.0).collect::<Vec<_>>();
    let groups: StringArray = rows.iter().map(|row| row.1.map(|group| format!("g{group}"))).collect();
    let numbers: Int64Array = rows.iter().map(|row| row.2).collect();
    let floats: Float64Array =
        rows.iter().map(|row| row.2.map(|number| f64::from(i32::try_from(number).unwrap_or(i32::MAX)) / 8.0)).collect();
    let numeric: Decimal128Array = rows.iter().map(|row| row.3.map(i128::from)).collect();
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("ts", Arc::new(TimestampMicrosecondArray::from(times).with_timezone("UTC"))),
        ("g", Arc::new(groups)),
        ("n", Arc::new(numbers)),
        ("f", Arc::new(floats)),
        ("d", Arc::new(numeric.with_precision_and_scale(38, 9).unwrap())),
    ];
    batches(columns)
}

impl Place {
    fn new(rows: &[Row]) -> Self {
        Self::at(days(20), rows)
    }

    /// Rows that are there at a moment, ten minutes later.
    fn at(now: Timestamp, rows: &[Row]) -> Self {
        let clock = Arc::new(ManualClock::new(now));
        let source = Arc::new(Embedded::new("p", Arc::clone(&clock) as Arc<dyn Clock>));
        let (id, rows) = (TableId::new("p", "d", "t"), table(rows).concat().unwrap());
        let partitioning = Some(Partitioning { column: Some("ts".into()), unit: PartitionUnit::Day });
        source.create_table(TableSpec { id: id.clone(), schema: rows.schema(), partitioning }).unwrap();
        source.append(&id, &rows).unwrap();
        clock.set(now.plus(Duration::from_mins(10)));
        let mut app = App::new(StoreSettings::of(64 << 20), Arc::clone(&clock) as Arc<dyn Clock>, App::GRACE);
        let engine = app.add_source("only", Arc::clone(&source) as Arc<dyn Source>, EngineSettings::default());
        Self { source, clock, engine }
    }

    /// The answer, and whether jobs were run for it.
    async fn ask(&self, sql: &str, step: &str) -> (Answer, bool) {
        let before = self.source.bill().jobs;
        let answer = self.engine.answer(&query(sql, step), Door::Export).await.unwrap();
        (answer, self.source.bill().jobs > before)
    }

    async fn direct(&self, sql: &str, step: &str) -> Batches {
        let mut query = query(sql, step);
        query.cache.mode = CacheMode::Off;
        self.engine.answer(&query, Door::Export).await.unwrap().batches
    }

    async fn check_derived(&self, sql: &str, step: &str) {
        let (answer, ran) = self.ask(sql, step).await;
        let provenance = &answer.provenance;
        assert!(!ran && provenance.derived, "{step}: {provenance:?}");
        assert_eq!((provenance.status, provenance.bytes_billed), (Status::Hit, 0), "{step}");
        let direct = self.direct(sql, step).await;
        assert_eq!(answer.batches.concat().unwrap(), direct.concat().unwrap(), "{step}");
    }
}

/// Two weeks.
fn query(sql: &str, step: &str) -> Query {
    let mut query = Query::new(sql);
    query.range = Some(Extent::new(first_day(), days(14)).unwrap());
    query.step = Some(step.parse().unwrap());
    query
}

/// Every hour of the two weeks, in three groups.
fn regular() -> Vec<Row> {
    let hours = 0..14 * 24;
    hours
        .map(|hour| (hour * DAY / 24, Some(u8::try_from(hour % 3).unwrap()), Some(hour % 7), Some(hour * 500_000_000)))
        .collect()
}

#[tokio::test]
async fn each_coarser_step_is_made_of_a_finer_one() {
    let place = Place::new(&regular());
    let (first, _) = place.ask(ADDITIVE, "5m").await;
    for step in ["15m", "1h", "6h", "7h", "1d", "1w"] {
        place.check_derived(ADDITIVE, step).await;
    }
    let (again, ran) = place.ask(ADDITIVE, "1h").await;
    assert!(!ran && !again.provenance.derived, "it is stored like any other now");
    assert_eq!(again.provenance.bytes_saved, first.provenance.bytes_billed);
}

#[tokio::test]
async fn what_is_missing_of_the_finer_step_is_a_job() {
    let place = Place::new(&regular());
    let mut part = query(ADDITIVE, "5m");
    part.range = Some(Extent::new(days(0), days(9)).unwrap());
    place.engine.answer(&part, Door::Export).await.unwrap();
    let (answer, ran) = place.ask(ADDITIVE, "1h").await;
    assert!(ran && answer.provenance.derived);
    assert_eq!((answer.provenance.status, answer.provenance.job_ids.len()), (Status::Partial, 2));
    assert_eq!(answer.batches.concat().unwrap(), place.direct(ADDITIVE, "1h").await.concat().unwrap());
    let (finer, ran) = place.ask(ADDITIVE, "5m").await;
    assert!(ran && !finer.provenance.derived, "finer ones are never made of coarser ones");
}

#[tokio::test]
async fn what_is_not_additive_or_not_exact_is_a_job() {
    let place = Place::new(&regular());
    let texts = [
        "SELECT $__timeGroup(ts, $__interval) AS time, AVG(n) AS v FROM `p.d.t` WHERE $__timeFilter(ts) GROUP BY 1",
        "SELECT $__timeGroup(ts, $__interval) AS time, COUNT(DISTINCT n) AS v FROM `p.d.t` WHERE $__timeFilter(ts) GROUP BY 1",
        "SELECT $__timeGroup(ts, $__interval) AS time, SUM(n) + 1 AS v FROM `p.d.t` WHERE $__timeFilter(ts) GROUP BY 1",
        "SELECT $__timeGroup(ts, $__interval) AS time, SUM(f) AS v FROM `p.d.t` WHERE $__timeFilter(ts) GROUP BY 1",
        "SELECT $__timeGroup(ts, $__interval) AS time, MAX(f) AS v FROM `p.d.t` WHERE $__timeFilter(ts) GROUP BY 1",
        "SELECT $__timeGroup(ts, $__interval) AS time, f, COUNT(*) AS v FROM `p.d.t` WHERE $__timeFilter(ts) GROUP BY 1, 2",
        "SELECT $__timeGroup(ts, $__interval) AS time, COUNT(*) AS v FROM `p.d.t` WHERE $__timeFilter(ts) GROUP BY 1, g",
        "SELECT $__timeGroup(ts, $__interval) AS time, SUM(n) AS v FROM `p.d.t` WHERE $__timeFilter(ts) GROUP BY 1 \
         HAVING SUM(n) > 2",
        "SELECT $__timeGroup(ts, $__interval) AS time, SUM(n * $__interval_ms) AS v FROM `p.d.t` WHERE $__timeFilter(ts) \
         GROUP BY 1",
    ];
    for sql in texts {
        let sql = format!("{sql} ORDER BY 1");
        assert_eq!(place.ask(&sql, "1h").await.0.provenance.mode.as_str(), "delta", "{sql}");
        let (answer, ran) = place.ask(&sql, "1d").await;
        assert!(ran && !answer.provenance.derived, "{sql}");
    }
}

#[tokio::test]
async fn a_step_that_is_no_multiple_and_a_sum_that_overflows_are_jobs() {
    let place = Place::new(&regular());
    place.ask(ADDITIVE, "10m").await;
    let (answer, ran) = place.ask(ADDITIVE, "15m").await;
    assert!(ran && !answer.provenance.derived);

    let place = Place::new(&[(0, None, Some(i64::MAX), None), (DAY / 24, None, Some(1), None)]);
    place.ask(ADDITIVE, "1h").await;
    let mut day = query(ADDITIVE, "1d");
    day.range = Some(Extent::new(days(0), days(1)).unwrap());
    let before = place.source.bill().jobs;
    let outcome = place.engine.answer(&day, Door::Export).await;
    assert!(outcome.is_err() || !outcome.unwrap().provenance.derived, "the source says what an overflow is");
    assert!(place.source.bill().jobs > before);
}

#[tokio::test]
async fn a_partition_that_changed_is_not_made_of_what_was_stored_before() {
    let place = Place::new(&regular());
    place.ask(ADDITIVE, "1h").await;
    let id = TableId::new("p", "d", "t");
    let changed = table(&[(5 * DAY, Some(9), Some(1), None)]).concat().unwrap();
    place.source.replace_partition(&id, days(5), &changed).unwrap();
    place.clock.set(place.clock.now().plus(Duration::from_mins(20)));
    let (answer, ran) = place.ask(ADDITIVE, "1d").await;
    assert!(ran && answer.provenance.derived, "the other days are");
    assert_eq!(answer.batches.concat().unwrap(), place.direct(ADDITIVE, "1d").await.concat().unwrap());
}

#[tokio::test]
async fn a_bucket_of_days_that_were_read_before_it_closed_is_derived_once() {
    let (early, late): (Vec<Row>, Vec<Row>) = regular().into_iter().partition(|row| row.0 < 3 * DAY);
    let place = Place::at(days(3), &early);
    let mut first_days = query(ADDITIVE, "1h");
    first_days.range = Some(Extent::new(days(0), days(3)).unwrap());
    place.engine.answer(&first_days, Door::Export).await.unwrap();
    place.clock.set(days(20));
    place.source.append(&TableId::new("p", "d", "t"), &table(&late).concat().unwrap()).unwrap();
    place.clock.set(days(20).plus(Duration::from_mins(20)));
    let (answer, _) = place.ask(ADDITIVE, "1h").await;
    assert_eq!((answer.provenance.status, answer.provenance.job_ids.len()), (Status::Partial, 2));
    place.check_derived(ADDITIVE, "1w").await;
    let (again, ran) = place.ask(ADDITIVE, "1w").await;
    assert!(!ran && !again.provenance.derived, "it is stored");
}

fn row() -> impl Strategy<Value = Row> {
    let group = prop::option::weighted(0.8, 0_u8..4);
    let number = prop::option::weighted(0.7, -9_i64..9);
    // Few hours, so that buckets have several rows and some groups one bucket only.
    let time = (0_i64..14, 0_i64..3, 0_i64..3600)
        .prop_map(|(day, hour, second)| day * DAY + hour * 7 * (DAY / 24) + second * 1_000_000);
    (time, group, number, prop::option::weighted(0.7, -2_000_000_000_i64..2_000_000_000))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases / 8, ..ProptestConfig::default() })]

    #[test]
    fn derived_answers_are_the_direct_ones(
        rows in prop::collection::vec(row(), 0..60),
        first in 0_usize..3,
        skipped in 0_usize..6,
    ) {
        const STEPS: [&str; 6] = ["5m", "15m", "1h", "6h", "1d", "1w"];
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let place = Place::new(&rows);
            place.ask(ADDITIVE, STEPS[first]).await;
            for (number, step) in STEPS.iter().enumerate().skip(first + 1) {
                if number != skipped {
                    place.check_derived(ADDITIVE, step).await;
                }
            }
        });
    }
}
