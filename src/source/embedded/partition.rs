//! One partition of a table: its rows, its columns' logical bytes, its bounds.

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::compute::concat_batches;
use weir_plan::extent::{DAY, HOUR};
use weir_plan::{Error, Result, Timestamp};

use super::calendar::{self, Part};
use super::sizes::logical_bytes;
use crate::source::PartitionUnit;

/// Rows of a stored batch at most: `DataFusion`'s own batch size, so that operators yield often.
const BATCH_ROWS: usize = 8192;

/// Start of a partition in microseconds; `None` for rows without one: a NULL in the partitioning
/// column, or a table without partitioning.
pub(super) type PartitionKey = Option<i64>;

/// The rows of one partition.
#[derive(Clone, Debug)]
pub(super) struct Partition {
    batches: Vec<RecordBatch>,
    rows: usize,
    bytes: Vec<u64>,
    modified: Timestamp,
}

impl Partition {
    /// Without rows, as of `now`.
    pub(super) fn new(now: Timestamp) -> Self {
        Self { batches: Vec::new(), rows: 0, bytes: Vec::new(), modified: now }
    }

    /// When rows were last added.
    pub(super) fn modified(&self) -> Timestamp {
        self.modified
    }

    /// The rows.
    pub(super) fn batches(&self) -> &[RecordBatch] {
        &self.batches
    }

    /// Logical bytes of column `i`.
    pub(super) fn bytes(&self, i: usize) -> u64 {
        self.bytes.get(i).copied().unwrap_or(0)
    }

    /// Logical bytes of all columns.
    pub(super) fn total_bytes(&self) -> u64 {
        self.bytes.iter().sum()
    }

    /// How many rows there are.
    pub(super) fn rows(&self) -> u64 {
        self.rows as u64
    }

    /// Adds rows of this partition.
    pub(super) fn push(&mut self, rows: &RecordBatch, now: Timestamp) -> Result<()> {
        self.modified = now;
        self.bytes.resize(rows.num_columns(), 0);
        for (bytes, column) in self.bytes.iter_mut().zip(rows.columns()) {
            *bytes += logical_bytes(column);
        }
        self.rows += rows.num_rows();
        let mut rows = rows.clone();
        if let Some(last) = self.batches.pop_if(|last| last.num_rows() + rows.num_rows() <= BATCH_ROWS) {
            rows = concat_batches(&rows.schema(), [&last, &rows])
                .map_err(|error| Error::internal("cannot join rows").with_source(error))?;
        }
        for start in (0..rows.num_rows()).step_by(BATCH_ROWS) {
            self.batches.push(rows.slice(start, BATCH_ROWS.min(rows.num_rows() - start)));
        }
        Ok(())
    }
}

fn part(unit: PartitionUnit) -> Part {
    match unit {
        PartitionUnit::Hour => Part::Fixed(HOUR),
        PartitionUnit::Day => Part::Fixed(DAY),
        PartitionUnit::Month => Part::Months(1),
        PartitionUnit::Year => Part::Months(12),
    }
}

/// Start of the partition that holds a point.
pub(super) fn partition_start(point: i64, unit: PartitionUnit) -> i64 {
    calendar::truncate(point, part(unit)).unwrap_or(point)
}

/// The last microsecond of the partition that begins at `start`.
pub(super) fn partition_last(start: i64, unit: PartitionUnit) -> i64 {
    calendar::add(start, 1, part(unit)).map_or(start, |next| next - 1)
}
