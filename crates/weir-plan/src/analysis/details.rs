//! What a planner is told of a text that may be answered in parts.

use std::time::Duration;

use super::{Reason, reason};
use crate::descriptor::TimeType;
use crate::extent::{DAY, Extent, Step, Timestamp};
use crate::query::TableId;

/// What a delta answer is made of. Split at any bucket start, the parts' rows together are the
/// whole's, and no two parts have a group in common.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delta {
    /// The one source.
    pub source: TableId,
    /// Static tables that are joined: their states belong into the key.
    pub statics: Vec<TableId>,
    /// What the time filter is on.
    pub filter: TimeRef,
    /// What the bucket is of.
    pub bucket: TimeRef,
    /// The length of a bucket.
    pub step: BucketStep,
    /// All outputs in order.
    pub outputs: Vec<Output>,
    /// Which of them is the bucket's start.
    pub bucket_output: usize,
    /// The order to bring the merged rows into.
    pub order: Vec<OrderKey>,
    /// Whether every grouped expression is an output, so that bucket and groups name a row.
    pub keyed: bool,
    /// Whether coarser buckets can be made of these rows: `keyed`, all aggregates bare and additive,
    /// no HAVING, DISTINCT or window, no other use of the interval. Types are not known here: sums of
    /// FLOAT64 are excluded by whoever knows the schema.
    pub derivable: bool,
}

/// What an answer of raw rows is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rows {
    /// The one source.
    pub source: TableId,
    /// Static tables that are joined: their states belong into the key.
    pub statics: Vec<TableId>,
    /// What the time filter is on; the same column as the output.
    pub filter: TimeRef,
    /// The name of the output to crop by; case does not matter.
    pub time_output: String,
    /// Whether rows are ordered by their time, and then whether the last comes first.
    pub descending: Option<bool>,
}

/// The time column, or one that may stand for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimeRef {
    /// The expression as written, names in lower case.
    pub text: String,
    /// Its name in the source, in lower case.
    pub column: String,
    /// Its type in the source.
    pub time_type: TimeType,
    /// It is the time rounded down to multiples of this; zero if not rounded.
    pub truncated: Duration,
    /// Whether the text makes it a TIMESTAMP.
    pub cast: bool,
}

impl TimeRef {
    /// Ranges must begin and end at multiples of this many µs for the column to follow them.
    fn unit(&self) -> i64 {
        let truncated = i64::try_from(self.truncated.as_micros()).unwrap_or(i64::MAX);
        match self.time_type {
            TimeType::Date if !self.cast => truncated.max(DAY),
            _ => truncated.max(1),
        }
    }
}

/// The length of a bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BucketStep {
    /// `$__interval`: the caller's, snapped.
    Suggested,
    /// As written in the text.
    Written(Step),
}

impl BucketStep {
    /// The length of a bucket of a source with windows of `grain`, where the caller suggests `suggested`.
    ///
    /// # Errors
    /// [`reason::ODD_MACRO`] where nothing is suggested, or nothing that fits.
    pub fn of(self, suggested: Option<Step>, grain: Duration) -> Result<Step, Reason> {
        match self {
            Self::Written(step) => Ok(step),
            Self::Suggested => suggested.and_then(|step| step.at_least(grain).ok()).ok_or(reason::ODD_MACRO),
        }
    }
}

/// One output of a delta answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// Its alias or column name; `None` where `BigQuery` makes one up.
    pub name: Option<String>,
    /// What it is.
    pub role: Role,
}

/// What an output is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The bucket's start.
    Bucket,
    /// A grouped expression.
    Group,
    /// A literal or parameter.
    Constant,
    /// A bare aggregate that can be made of its parts.
    Measure(Measure),
    /// Anything else of one group.
    Other,
}

/// How a coarse bucket's aggregate is made of fine ones'.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measure {
    /// The sum of sums; NULL where all are.
    Sum,
    /// The sum of counts.
    Count,
    /// The least.
    Min,
    /// The greatest.
    Max,
    /// Only if its sum and count are kept instead.
    Average,
}

/// One key of ORDER BY.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OrderKey {
    /// The output.
    pub output: usize,
    /// Whether the greatest comes first.
    pub descending: bool,
    /// Whether NULL comes first.
    pub nulls_first: bool,
}

impl Delta {
    /// Why this cannot be answered by buckets of `step` over `range` after all: the range begins
    /// before the epoch, or buckets begin inside a value of a rounded column.
    pub fn refusal(&self, step: Step, range: Extent) -> Option<Reason> {
        if range.start() < Timestamp::saturating(0) {
            return Some(reason::BEFORE_EPOCH);
        }
        let fits = |time: &TimeRef| step.is_multiple_of(time.unit());
        (!fits(&self.filter) || !fits(&self.bucket)).then_some(reason::STEP_SPLITS_COLUMN)
    }
}
