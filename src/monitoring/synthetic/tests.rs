//! What tables hold as the clock moves, in a place for tables that keeps rows and partitions only.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Date32Type, Int64Type, TimestampMicrosecondType};
use arrow::row::{RowConverter, SortField};
use chrono::NaiveDate;
use parking_lot::Mutex;
use weir_plan::extent::{DAY, HOUR, MINUTE};
use weir_plan::{Error, Result, TableId, Timestamp};

use super::rows::WINDOW;
use super::sink::Sink;
use super::tables::{active_clients, experiments};
use super::*;
use crate::source::embedded::TableSpec;

#[derive(Default)]
struct Memory {
    tables: Mutex<BTreeMap<String, Table>>,
    views: Mutex<Vec<String>>,
    /// Names of tables in the order of their changes.
    changes: Mutex<Vec<String>>,
}

struct Table {
    spec: TableSpec,
    /// Rows by the day of the partitioning column, 0 where there is none.
    partitions: BTreeMap<i64, Vec<RecordBatch>>,
}

impl Table {
    /// The one day that all rows belong to.
    fn partition(&self, rows: &RecordBatch) -> i64 {
        let Some(partitioning) = &self.spec.partitioning else { return 0 };
        let column = rows.column_by_name(partitioning.column.as_ref().unwrap()).unwrap();
        let days: BTreeSet<i64> = match column.data_type() {
            DataType::Date32 => {
                column.as_primitive::<Date32Type>().values().iter().map(|day| i64::from(*day)).collect()
            }
            _ => column.as_primitive::<TimestampMicrosecondType>().values().iter().map(|at| at / DAY).collect(),
        };
        assert_eq!(days.len(), 1, "a batch belongs to one partition");
        days.into_iter().next().unwrap()
    }
}

impl Memory {
    fn change(&self, id: &TableId, rows: &RecordBatch, change: impl FnOnce(&mut Table)) -> Result<()> {
        let name = id.to_string();
        let mut tables = self.tables.lock();
        let table = tables.get_mut(&name).ok_or_else(|| Error::not_found(format!("table {name}")))?;
        assert_eq!(rows.schema().fields(), table.spec.schema.fields(), "{name}");
        change(table);
        self.changes.lock().push(name);
        Ok(())
    }

    /// All rows of a table.
    fn rows(&self, id: &TableId) -> RecordBatch {
        let tables = self.tables.lock();
        let table = &tables[&id.to_string()];
        concat_batches(&table.spec.schema, table.partitions.values().flatten()).unwrap()
    }

    /// Days of a table's partitions that have rows.
    fn days(&self, id: &TableId) -> Vec<String> {
        let tables = self.tables.lock();
        let with_rows =
            tables[&id.to_string()].partitions.iter().filter(|(_, rows)| rows.iter().any(|rows| rows.num_rows() > 0));
        with_rows.map(|(day, _)| Timestamp::saturating(day * DAY).date().to_string()).collect()
    }

    fn daily_days(&self) -> Vec<String> {
        self.days(&Fact::Enrollment.daily_table())
    }

    /// The rows of every table as sorted bytes.
    fn contents(&self) -> BTreeMap<String, Vec<Vec<u8>>> {
        let ids: Vec<TableId> = self.tables.lock().values().map(|table| table.spec.id.clone()).collect();
        ids.into_iter().map(|id| (id.to_string(), sorted(&self.rows(&id)))).collect()
    }

    /// Live rows of all applications of the v1 set.
    fn live(&self, fact: Fact) -> RecordBatch {
        let apps = fact.apps().into_iter().filter(|app| fact == Fact::Crash || apps::in_v1(*app));
        let rows: Vec<_> = apps.map(|app| self.rows(&fact.live_table(app))).collect();
        concat_batches(&fact.live_schema(), &rows).unwrap()
    }
}

impl Sink for Memory {
    fn create_table(&self, spec: TableSpec) -> Result<()> {
        self.tables.lock().insert(spec.id.to_string(), Table { spec, partitions: BTreeMap::new() });
        Ok(())
    }

    fn create_view(&self, id: TableId, _sql: &str) -> Result<()> {
        self.views.lock().push(id.to_string());
        Ok(())
    }

    fn append(&self, table: &TableId, rows: &RecordBatch) -> Result<()> {
        assert!(rows.num_rows() > 0, "{table}: an empty batch");
        self.change(table, rows, |table| table.partitions.entry(table.partition(rows)).or_default().push(rows.clone()))
    }

    fn replace_partition(&self, table: &TableId, partition: Timestamp, rows: &RecordBatch) -> Result<()> {
        self.change(table, rows, |table| {
            let day = partition.micros() / DAY;
            assert!(rows.num_rows() == 0 || table.partition(rows) == day);
            table.partitions.insert(day, vec![rows.clone()]);
        })
    }

    fn replace(&self, table: &TableId, rows: &RecordBatch) -> Result<()> {
        self.change(table, rows, |table| {
            table.partitions.insert(0, vec![rows.clone()]);
        })
    }
}

/// Rows as bytes, sorted. Lists are left out: the row format compares plain columns.
fn sorted(rows: &RecordBatch) -> Vec<Vec<u8>> {
    let schema = rows.schema();
    let plain: Vec<usize> =
        (0..rows.num_columns()).filter(|at| !matches!(schema.field(*at).data_type(), DataType::List(_))).collect();
    let rows = rows.project(&plain).unwrap();
    let fields = rows.schema().fields().iter().map(|field| SortField::new(field.data_type().clone())).collect();
    let converted = RowConverter::new(fields).unwrap().convert_columns(rows.columns()).unwrap();
    let mut rows: Vec<_> = converted.iter().map(|row| row.as_ref().to_vec()).collect();
    rows.sort();
    rows
}

fn sum(rows: &RecordBatch, column: &str) -> i64 {
    rows.column_by_name(column).unwrap().as_primitive::<Int64Type>().values().iter().sum()
}

fn starts(rows: &RecordBatch) -> Vec<i64> {
    rows.column_by_name("window_start").unwrap().as_primitive::<TimestampMicrosecondType>().values().to_vec()
}

/// The rows whose window starts in [`from`, `to`).
fn between(rows: &RecordBatch, from: i64, to: i64) -> RecordBatch {
    let keep: arrow::array::BooleanArray = starts(rows).into_iter().map(|at| Some(from <= at && at < to)).collect();
    arrow::compute::filter_record_batch(rows, &keep).unwrap()
}

/// Live rows with the daily table's columns.
fn as_daily(fact: Fact, live: &RecordBatch) -> RecordBatch {
    let columns: Vec<usize> = (2..live.num_columns()).collect();
    let rows = live.project(&columns).unwrap();
    RecordBatch::try_new(fact.daily_schema(), rows.columns().to_vec()).unwrap()
}

fn distinct(rows: &RecordBatch) -> Vec<Vec<u8>> {
    let mut rows = sorted(rows);
    rows.dedup();
    rows
}

fn at(text: &str) -> Timestamp {
    Timestamp::parse(text, Timestamp::MIN).unwrap()
}

fn day(text: &str) -> NaiveDate {
    text.parse().unwrap()
}

const NOW: &str = "2024-05-15T12:02:00Z";

fn small() -> SyntheticConfig {
    SyntheticConfig::small(at(NOW))
}

fn installed(config: SyntheticConfig, now: &str) -> (Synthetic, Memory) {
    let (synthetic, memory) = (Synthetic::new(config), Memory::default());
    synthetic.install_into(&memory, at(now), &mut |_| ()).unwrap();
    (synthetic, memory)
}

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
fn another_seed_makes_other_rows() {
    let rows =
        |seed| sorted(&Synthetic::new(SyntheticConfig { seed, ..small() }).raw_windows(day("2024-05-14")).unwrap());
    assert_eq!(rows(1), rows(1));
    assert_ne!(rows(1), rows(2));
}

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
    for counter in tables::COUNTER_NAMES {
        assert_eq!(sum(&once, counter), sum(&daily, counter), "{counter}");
        assert!(sum(&live, counter) >= sum(&daily, counter), "{counter}");
    }
    assert!(
        sum(&live, "enroll_count") + sum(&live, "exposure_count")
            > sum(&daily, "enroll_count") + sum(&daily, "exposure_count")
    );
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
    config.daily_job.exceptions.insert(day("2024-05-14"), Landing::Late(Duration::from_secs(26 * 3600)));
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
fn firefox_desktop_tells_what_telemetry_tells_but_for_rows_without_a_branch() {
    let (_, memory) = installed(small(), NOW);
    let desktop = memory.rows(&Fact::Enrollment.live_table(apps::FIREFOX_DESKTOP));
    let telemetry = memory.rows(&Fact::Enrollment.live_table(apps::TELEMETRY));
    let has_branch = arrow::compute::is_not_null(telemetry.column_by_name("branch").unwrap()).unwrap();
    assert_eq!(desktop.column_by_name("branch").unwrap().null_count(), 0);
    assert!(has_branch.false_count() > 0);
    let told = arrow::compute::filter_record_batch(&telemetry, &has_branch).unwrap();
    let without_type = |rows: &RecordBatch| {
        let columns: Vec<usize> = (0..rows.num_columns()).filter(|at| *at != 2).collect();
        sorted(&rows.project(&columns).unwrap())
    };
    assert_eq!(without_type(&desktop), without_type(&told));
    let types = desktop.column_by_name("type").unwrap().as_string::<i32>();
    assert!(types.iter().all(|text| text == Some("nimbus_events")));
}

#[test]
fn a_broken_split_shows_in_the_sums() {
    let synthetic = Synthetic::new(small());
    let broken: Vec<_> = synthetic.recipes().iter().filter(|recipe| recipe.broken_split).collect();
    assert!(!broken.is_empty());
    for recipe in broken {
        let mut sums: BTreeMap<String, i64> = BTreeMap::new();
        let start = recipe.start.date();
        for day in start.iter_days().take(4) {
            let rows = synthetic.raw_windows(day).unwrap();
            let column = |name: &str| rows.column_by_name(name).unwrap().clone();
            let (slugs, branches) = (column("experiment"), column("branch"));
            let counts = column("enroll_count");
            for row in 0..rows.num_rows() {
                if slugs.as_string::<i32>().value(row) == recipe.slug && branches.is_valid(row) {
                    let branch = branches.as_string::<i32>().value(row).to_owned();
                    *sums.entry(branch).or_default() += counts.as_primitive::<Int64Type>().value(row);
                }
            }
        }
        let total: i64 = sums.values().sum();
        let share = draw::real(sums["control"]) / draw::real(total);
        assert!((share - 0.56).abs() < 0.015, "{share} of {total}");
        assert!(draw::real(total) / recipe.enrollments > 0.5, "60 % enrol in the first three days");
    }
}

#[test]
fn progress_goes_from_nothing_to_all() {
    let (synthetic, memory) = (Synthetic::new(small()), Memory::default());
    let mut seen = vec![];
    synthetic.install_into(&memory, at(NOW), &mut |progress| seen.push(progress.fraction)).unwrap();
    assert!(seen.first() == Some(&0.0) && seen.last() == Some(&1.0) && seen.is_sorted());
    assert_eq!(memory.views.lock().len(), views::all().len());
}

/// Prints sizes and times of the demo's tables; run by hand.
#[test]
#[ignore = "a measurement of some seconds"]
fn measure_the_demo() {
    let synthetic = Synthetic::new(SyntheticConfig::demo(at(NOW)));
    let memory = Memory::default();
    let began = Instant::now();
    synthetic.install_into(&memory, at(NOW), &mut |_| ()).unwrap();
    eprintln!("install: {:?}", began.elapsed());
    let began = Instant::now();
    let drawn = synthetic.windows.day(day("2024-05-14"), 0..288).unwrap();
    eprintln!("one day: {:?}", began.elapsed());
    for block in drawn.blocks() {
        eprintln!(
            "{:?}: {} rows a day, {} bytes in memory",
            block.fact,
            block.rows.num_rows(),
            block.rows.get_array_memory_size()
        );
    }
    for fact in Fact::ALL {
        let live: usize = fact.apps().into_iter().map(|app| memory.rows(&fact.live_table(app)).num_rows()).sum();
        eprintln!("{fact:?}: {} daily rows, {live} live rows", memory.rows(&fact.daily_table()).num_rows());
    }
    for (step, text) in [
        ("5 minutes", "2024-05-15T12:07:00Z"),
        ("6 hours", "2024-05-15T18:07:00Z"),
        ("a landing", "2024-05-16T03:07:00Z"),
    ] {
        let began = Instant::now();
        synthetic.advance_into(&memory, at(text)).unwrap();
        eprintln!("{step}: {:?}", began.elapsed());
    }
}
