//! What the tables hold, and how that changes as the clock moves.

mod daily;
mod embedded;
mod memory;
mod moving;
mod shape;

use arrow::array::{Array, AsArray, BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{DataType, Int64Type, TimestampMicrosecondType};
use arrow::row::{RowConverter, SortField};
use chrono::NaiveDate;
use memory::Memory;
use weir_plan::Timestamp;

use super::*;

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
    let keep: BooleanArray = starts(rows).into_iter().map(|at| Some(from <= at && at < to)).collect();
    filter_record_batch(rows, &keep).unwrap()
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
