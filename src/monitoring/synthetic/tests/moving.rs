//! The clock moves.

use std::time::Duration;

use weir_plan::extent::{HOUR, MINUTE};

use super::super::rows::WINDOW;
use super::super::tables::experiments;
use super::*;

#[test]
fn tables_are_equal_in_whatever_steps_the_clock_moves() {
    let mut config = small();
    config.history_days = 2;
    config.live_days = 3;
    config.daily_job.exceptions.insert(day("2024-05-16"), Landing::Partial { until_hour: 5 });
    config.daily_job.exceptions.insert(day("2024-05-15"), Landing::Late(Duration::from_secs(3601)));
    config.daily_job.backfills.push(Backfill { day: day("2024-05-16"), at: at("2024-05-17T11:11:11Z") });
    let end = "2024-05-18T04:13:00Z";
    let (_, at_once) = installed(config.clone(), end);
    let expected = at_once.contents();
    assert!(expected[&Fact::Enrollment.live_table(apps::TELEMETRY).to_string()].len() > 1000);

    for steps in [&[] as &[i64], &[7 * MINUTE, 59 * MINUTE], &[5 * MINUTE, 26 * HOUR, 3 * MINUTE]] {
        let (synthetic, memory) = installed(config.clone(), "2024-05-15T12:02:00Z");
        let mut now = at(NOW).micros();
        for step in steps.iter().cycle().take_while(|_| !steps.is_empty()) {
            now += step;
            if now >= at(end).micros() {
                break;
            }
            synthetic.advance_into(&memory, Timestamp::saturating(now)).unwrap();
        }
        synthetic.advance_into(&memory, at(end)).unwrap();
        for (table, rows) in memory.contents() {
            assert!(
                rows == expected[&table],
                "{table} after steps of {steps:?} µs: {} rows, expected {}",
                rows.len(),
                expected[&table].len()
            );
        }
    }
}

#[test]
fn a_jump_of_weeks_leaves_the_same_tables() {
    let mut config = small();
    config.live_days = 3;
    let (_, at_once) = installed(config.clone(), "2024-06-05T00:01:00Z");
    let (synthetic, memory) = installed(config, NOW);
    synthetic.advance_into(&memory, at("2024-06-05T00:01:00Z")).unwrap();
    assert!(memory.contents() == at_once.contents());
}

#[test]
fn rows_are_late_in_live_tables_and_never_early() {
    let (synthetic, memory) = installed(small(), NOW);
    let live = as_daily(Fact::Enrollment, &memory.live(Fact::Enrollment));
    let now = at(NOW).micros();
    assert!(starts(&live).into_iter().all(|start| start + WINDOW <= now), "no window before its end");

    // Of one window: how many rows are there when it ends, and later.
    let window = at("2024-05-15T18:00:00Z").micros();
    let rows = |now: Timestamp| {
        synthetic.advance_into(&memory, now).unwrap();
        let live = between(&as_daily(Fact::Enrollment, &memory.live(Fact::Enrollment)), window, window + 12 * WINDOW);
        distinct(&live).len()
    };
    assert_eq!(rows(at("2024-05-15T18:00:00Z")), 0);
    let closed = rows(at("2024-05-15T19:00:00Z"));
    let half_an_hour = rows(at("2024-05-15T19:30:00Z"));
    let a_day = rows(at("2024-05-16T19:00:00Z"));
    let truth = between(&synthetic.raw_windows(day("2024-05-15")).unwrap(), window, window + 12 * WINDOW);
    assert_eq!(a_day, truth.num_rows());
    assert!(closed < half_an_hour && half_an_hour <= a_day, "{closed} {half_an_hour} {a_day}");
    assert!(closed * 100 >= a_day * 93, "{closed} of {a_day} rows are on time");
}

#[test]
fn live_tables_keep_recent_days_only() {
    let mut config = small();
    config.live_days = 4;
    let (synthetic, memory) = installed(config, NOW);
    let table = Fact::Enrollment.live_table(apps::TELEMETRY);
    assert_eq!(memory.days(&table), ["2024-05-12", "2024-05-13", "2024-05-14", "2024-05-15"]);
    synthetic.advance_into(&memory, at("2024-05-16T00:04:59Z")).unwrap();
    assert_eq!(memory.days(&table), ["2024-05-13", "2024-05-14", "2024-05-15"]);
    synthetic.advance_into(&memory, at("2024-05-16T12:05:00Z")).unwrap();
    assert_eq!(memory.days(&table), ["2024-05-13", "2024-05-14", "2024-05-15", "2024-05-16"]);
}

#[test]
fn the_list_of_experiments_is_written_every_ten_minutes() {
    let (synthetic, memory) = installed(small(), "2024-05-15T12:02:00Z");
    let list = experiments().id.to_string();
    let writes = |now: &str| {
        memory.changes.lock().clear();
        synthetic.advance_into(&memory, at(now)).unwrap();
        memory.changes.lock().iter().filter(|table| **table == list).count()
    };
    assert_eq!(writes("2024-05-15T12:09:59Z"), 0);
    assert_eq!(writes("2024-05-15T12:10:00Z"), 1);
    assert_eq!(writes("2024-05-15T12:19:00Z"), 0);
    assert_eq!(writes("2024-05-15T12:41:00Z"), 1);
}

#[test]
fn nothing_changes_where_nothing_is_due() {
    let (synthetic, memory) = installed(small(), NOW);
    memory.changes.lock().clear();
    for now in ["2024-05-15T12:02:00Z", "2024-05-15T12:04:59Z", "2024-05-15T11:00:00Z"] {
        synthetic.advance_into(&memory, at(now)).unwrap();
    }
    assert!(memory.changes.lock().is_empty());
    assert!(Synthetic::new(small()).advance_into(&memory, at(NOW)).is_ok(), "nothing happens before the installation");
    assert!(memory.changes.lock().is_empty());
}

#[test]
fn a_failed_change_fails_every_later_call() {
    let (synthetic, memory) = installed(small(), NOW);
    let lost = memory.tables.lock().remove(&Fact::Enrollment.live_table(apps::TELEMETRY).to_string());
    let error = synthetic.advance_into(&memory, at("2024-05-15T13:00:00Z")).unwrap_err();
    assert!(error.message().contains("no longer consistent"), "{error}");
    memory.tables.lock().insert(Fact::Enrollment.live_table(apps::TELEMETRY).to_string(), lost.unwrap());
    assert!(synthetic.advance_into(&memory, at("2024-05-15T13:05:00Z")).is_err());
}

#[test]
fn progress_goes_from_nothing_to_all() {
    let (synthetic, memory) = (Synthetic::new(small()), Memory::default());
    let mut seen = vec![];
    synthetic.install_into(&memory, at(NOW), &mut |progress| seen.push(progress.fraction)).unwrap();
    assert!(seen.first() == Some(&0.0) && seen.last() == Some(&1.0) && seen.is_sorted());
    assert_eq!(memory.views.lock().len(), views::all().len());
}
