//! The daily job lands, late, never or twice.

use std::collections::BTreeSet;
use std::time::Duration;

use arrow::compute::concat_batches;
use weir_plan::extent::{DAY, HOUR};

use super::super::rows::WINDOW;
use super::super::tables::active_clients;
use super::*;

#[test]
fn a_daily_partition_is_the_live_one_without_duplicates() {
    let (synthetic, memory) = installed(small(), NOW);
    for fact in Fact::ALL {
        for text in ["2024-05-12", "2024-05-13"] {
            let from = config::start_of(day(text)).micros();
            let live = as_daily(fact, &between(&memory.live(fact), from, from + DAY));
            let daily = between(&memory.rows(&fact.daily_table()), from, from + DAY);
            let (live_rows, daily_rows) = (sorted(&live), sorted(&daily));
            assert_eq!(distinct(&daily).len(), daily_rows.len(), "{fact:?}: the daily side has no duplicates");
            assert_eq!(distinct(&live), daily_rows, "{fact:?} of {text}");
            assert_eq!(daily_rows, sorted(&synthetic.raw(fact, day(text)).unwrap()));
            if fact == Fact::Enrollment {
                assert!(live_rows.len() > daily_rows.len(), "the live side has duplicates");
                assert!(sum(&live, "enroll_count") >= sum(&daily, "enroll_count"));
            }
        }
    }
}

#[test]
fn sums_of_live_rows_without_duplicates_are_the_daily_ones() {
    let (_, memory) = installed(small(), NOW);
    let from = config::start_of(day("2024-05-13")).micros();
    let live = as_daily(Fact::Enrollment, &between(&memory.live(Fact::Enrollment), from, from + DAY));
    let daily = between(&memory.rows(&Fact::Enrollment.daily_table()), from, from + DAY);
    // Every row is unique but for duplicates, so a row that is there twice is one too many.
    let converter =
        RowConverter::new(live.schema().fields().iter().map(|f| SortField::new(f.data_type().clone())).collect());
    let keys = converter.unwrap().convert_columns(live.columns()).unwrap();
    let mut seen = BTreeSet::new();
    let first: arrow::array::BooleanArray = keys.iter().map(|key| Some(seen.insert(key.as_ref().to_vec()))).collect();
    let once = arrow::compute::filter_record_batch(&live, &first).unwrap();
    for counter in weir_plan::local::experiments::ENROLLMENT_COUNTERS {
        assert_eq!(sum(&once, counter), sum(&daily, counter), "{counter}");
        assert!(sum(&live, counter) >= sum(&daily, counter), "{counter}");
    }
    assert!(
        sum(&live, "enroll_count") + sum(&live, "exposure_count")
            > sum(&daily, "enroll_count") + sum(&daily, "exposure_count")
    );
}

#[test]
fn the_daily_job_lands_at_its_time() {
    let (synthetic, memory) = installed(small(), "2024-05-15T00:01:00Z");
    // At midnight the union view wants the 13th (its first window) from the daily side, and it is there.
    let history = ["2024-05-10", "2024-05-11", "2024-05-12", "2024-05-13"];
    assert_eq!(memory.daily_days(), history);
    synthetic.advance_into(&memory, at("2024-05-15T02:59:59Z")).unwrap();
    assert_eq!(memory.daily_days(), history);
    synthetic.advance_into(&memory, at("2024-05-15T03:00:00Z")).unwrap();
    assert_eq!(memory.daily_days().last().unwrap(), "2024-05-14");
    assert_eq!(memory.days(&active_clients().id).last().unwrap(), "2024-05-14");
}

#[test]
fn a_late_or_missing_daily_job_leaves_a_hole_until_it_lands() {
    let mut config = small();
    config.daily_job.exceptions.insert(day("2024-05-14"), Landing::Late(Duration::from_hours(26)));
    config.daily_job.exceptions.insert(day("2024-05-15"), Landing::Missing);
    config.daily_job.backfills.push(Backfill { day: day("2024-05-15"), at: at("2024-05-18T09:00:00Z") });
    let (synthetic, memory) = installed(config, NOW);
    let (wanted, first) = (config::start_of(day("2024-05-14")).micros(), 17);
    let on_16th = at("2024-05-16T00:10:00Z");
    synthetic.advance_into(&memory, on_16th).unwrap();
    // The union view on the 16th: live after the 14th's first window, which only the daily side can give.
    let union = |now: Timestamp| {
        let cut = now.floor(DAY).micros() - 2 * DAY;
        let live = as_daily(Fact::Enrollment, &memory.live(Fact::Enrollment));
        let live = between(&live, cut + 1, i64::MAX);
        let daily = between(&memory.rows(&Fact::Enrollment.daily_table()), i64::MIN, cut + 1);
        concat_batches(&daily.schema(), [&daily, &live]).unwrap()
    };
    assert_eq!(between(&union(on_16th), wanted, wanted + WINDOW).num_rows(), 0, "a hole");
    assert!(between(&union(on_16th), wanted + WINDOW, wanted + DAY).num_rows() > first);
    let on_17th = at("2024-05-17T00:10:00Z");
    synthetic.advance_into(&memory, on_17th).unwrap();
    let truth = synthetic.raw_windows(day("2024-05-14")).unwrap();
    assert_eq!(sorted(&between(&union(on_17th), wanted, wanted + DAY)), sorted(&truth), "filled");
    assert!(!memory.daily_days().contains(&"2024-05-15".to_owned()));
    synthetic.advance_into(&memory, at("2024-05-18T08:59:00Z")).unwrap();
    assert!(!memory.daily_days().contains(&"2024-05-15".to_owned()));
    synthetic.advance_into(&memory, at("2024-05-18T09:00:00Z")).unwrap();
    assert!(memory.daily_days().contains(&"2024-05-15".to_owned()));
}

#[test]
fn a_half_written_day_is_completed_by_a_backfill() {
    let mut config = small();
    config.daily_job.exceptions.insert(day("2024-05-13"), Landing::Partial { until_hour: 6 });
    let (synthetic, memory) = installed(config, NOW);
    let midnight = config::start_of(day("2024-05-13")).micros();
    let landed = |memory: &Memory| between(&memory.rows(&Fact::Enrollment.daily_table()), midnight, midnight + DAY);
    assert_eq!(starts(&landed(&memory)).into_iter().max().unwrap(), midnight + 6 * HOUR - WINDOW);
    synthetic.land_into(&memory, day("2024-05-13"), config::Landed::Complete).unwrap();
    assert_eq!(sorted(&landed(&memory)), sorted(&synthetic.raw_windows(day("2024-05-13")).unwrap()));
}
