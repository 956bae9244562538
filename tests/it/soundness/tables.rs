//! The tables that the texts are about: small, with NULLs, ties and a second time of its own.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, Date32Array, Float64Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use weir::source::{PartitionUnit, Partitioning};
use weir_plan::extent::{DAY, HOUR, MINUTE};
use weir_plan::{TableId, Timestamp};

/// 2024-01-01, the first day of rows.
pub(crate) const FIRST: i64 = 1_704_067_200_000_000;

/// Days with rows.
pub(crate) const DAYS: i64 = 14;

/// A table, the columns by which the REST API knows it, and the one it is partitioned by.
pub(crate) struct Table {
    pub(crate) id: TableId,
    pub(crate) columns: &'static [(&'static str, &'static str)],
    pub(crate) partitioned_by: Option<&'static str>,
    pub(crate) rows: RecordBatch,
}

impl Table {
    pub(crate) fn partitioning(&self) -> Option<Partitioning> {
        let column = self.partitioned_by?.to_owned();
        Some(Partitioning { column: Some(column), unit: PartitionUnit::Day })
    }
}

const FLOW: &[(&str, &str)] =
    &[("ts", "TIMESTAMP"), ("branch", "STRING"), ("n", "INTEGER"), ("x", "FLOAT"), ("at", "TIMESTAMP")];
const BY_DAY: &[(&str, &str)] =
    &[("day", "DATE"), ("branch", "STRING"), ("n", "INTEGER"), ("x", "FLOAT"), ("at", "TIMESTAMP")];
const NAMES: &[(&str, &str)] = &[("branch", "STRING"), ("label", "STRING"), ("w", "INTEGER"), ("since", "TIMESTAMP")];

/// `flow` and `second` by a TIMESTAMP, `days` by a DATE; `names` is to be declared static, `loose` not.
pub(crate) fn all() -> Vec<Table> {
    let table = |name: &str, columns, partitioned_by, rows| Table {
        id: TableId::new("p", "d", name),
        columns,
        partitioned_by,
        rows,
    };
    let flow: Vec<i64> = (FIRST..FIRST + DAYS * DAY).step_by(usize(37 * MINUTE)).collect();
    let second: Vec<i64> = (FIRST..FIRST + DAYS * DAY).step_by(usize(113 * MINUTE)).collect();
    let days = flow.iter().map(|time| i32::try_from(time / DAY).unwrap());
    vec![
        table("flow", FLOW, Some("ts"), facts(("ts", times(flow.clone())), &flow)),
        table("second", FLOW, Some("ts"), facts(("ts", times(second.clone())), &second)),
        table("days", BY_DAY, Some("day"), facts(("day", Arc::new(Date32Array::from_iter_values(days))), &flow)),
        table("names", NAMES, None, names()),
        table("loose", NAMES, None, names()),
    ]
}

fn usize(micros: i64) -> usize {
    usize::try_from(micros).unwrap()
}

fn times(micros: Vec<i64>) -> ArrayRef {
    Arc::new(TimestampMicrosecondArray::from(micros).with_timezone("UTC"))
}

/// Rows at these times. Floats are quarters, so that their sums are exact in any order.
fn facts(first: (&str, ArrayRef), at: &[i64]) -> RecordBatch {
    let count = i64::try_from(at.len()).unwrap();
    let branches = [Some("a"), Some("b"), None, Some("c"), Some("a")].into_iter().cycle().take(at.len());
    let quarters = |row: i64| f64::from(u8::try_from(row * 13 % 16).unwrap()) / 4.0;
    let apart = at.iter().zip(0..).map(|(time, row): (&i64, i64)| time + (row * 7919 % 97 - 48) * HOUR);
    let columns: [(&str, ArrayRef); 5] = [
        first,
        ("branch", Arc::new(branches.collect::<StringArray>())),
        ("n", Arc::new((0..count).map(|row| (row % 7 != 3).then_some(row * row % 11)).collect::<Int64Array>())),
        ("x", Arc::new((0..count).map(|row| (row % 17 != 5).then(|| quarters(row))).collect::<Float64Array>())),
        ("at", times(apart.collect())),
    ];
    RecordBatch::try_from_iter_with_nullable(columns.map(|(name, column)| (name, column, true))).unwrap()
}

/// A branch twice, one that no fact has, and one without a name.
fn names() -> RecordBatch {
    let since = [0, 3, 6, 9, 2].map(|days| FIRST + days * DAY + HOUR).to_vec();
    let columns: [(&str, ArrayRef); 4] = [
        ("branch", Arc::new(StringArray::from(vec![Some("a"), Some("a"), Some("b"), Some("d"), None]))),
        ("label", Arc::new(StringArray::from(vec!["one", "two", "one", "three", "four"]))),
        ("w", Arc::new(Int64Array::from(vec![1, 2, 3, 4, 5]))),
        ("since", times(since)),
    ];
    RecordBatch::try_from_iter_with_nullable(columns.map(|(name, column)| (name, column, true))).unwrap()
}

/// The tests' present: all partitions have long been settled.
pub(crate) fn now() -> Timestamp {
    Timestamp::saturating(FIRST + 31 * DAY)
}
