//! How time is cut into the pieces that are fetched and kept: one partition for steps below a day,
//! one bucket for steps of a day and more.

use serde::{Deserialize, Serialize};

use super::{Extent, HOUR, Step, Timestamp};
use crate::extent::DAY;

/// Length of a table's partition, in `BigQuery`'s spelling.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum PartitionUnit {
    /// An hour.
    Hour,
    /// A day.
    Day,
    /// A calendar month.
    Month,
    /// A calendar year.
    Year,
}

impl PartitionUnit {
    /// The step whose buckets are the partitions; that of segments of raw rows.
    pub const fn step(self) -> Step {
        match self {
            Self::Hour => Step::Micros(HOUR),
            Self::Day => Step::Micros(DAY),
            Self::Month => Step::Months(1),
            Self::Year => Step::Months(12),
        }
    }

    /// The id of the partition that begins at `start`: `20240131` and the like.
    /// Source: <https://cloud.google.com/bigquery/docs/managing-partitioned-tables#partition_id>.
    pub fn id(self, start: Timestamp) -> String {
        let format = match self {
            Self::Hour => "%Y%m%d%H",
            Self::Day => "%Y%m%d",
            Self::Month => "%Y%m",
            Self::Year => "%Y",
        };
        start.datetime().format(format).to_string()
    }

    /// The whole partitions that hold `extent`.
    pub fn cover(self, extent: Extent) -> Extent {
        Extent { start: self.step().floor(extent.start), end: self.step().ceil(extent.end) }
    }
}

/// The whole segments that hold `extent`, in order; none where it is empty. Every boundary is a
/// bucket start, and two segments of the same step and unit are equal or do not overlap, whichever
/// ranges they were made for.
pub fn segments(extent: Extent, step: Step, unit: PartitionUnit) -> Vec<Extent> {
    let mut segments = Vec::new();
    if extent.is_empty() {
        return segments;
    }
    let mut segment = segment_at(extent.start, step, unit);
    while segment.start < extent.end {
        segments.push(segment);
        let next = segment_at(segment.end, step, unit);
        // At the end of time there is no next one.
        if next.start != segment.end || next.is_empty() {
            break;
        }
        segment = next;
    }
    segments
}

/// The segment that holds `at`. A bucket belongs to the partition that its start lies in.
pub fn segment_at(at: Timestamp, step: Step, unit: PartitionUnit) -> Extent {
    let bucket = step.floor(at);
    if step.is_of_days() {
        return Extent { start: bucket, end: step.next(at) };
    }
    let partition = unit.step();
    let start = step.ceil(partition.floor(bucket));
    let end = step.ceil(partition.next(bucket));
    Extent { start, end: end.max(start) }
}
