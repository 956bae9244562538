//! Answers in parts: the segments of a text that may be cut at bucket starts, or by the time of its
//! rows, and how their rows are put together again.
//!
//! Rules: settled segments are named by the state of their partitions, so that a changed partition is
//! another segment; open ones live for a slot. A text that cannot be planned so is answered whole.

use std::time::Duration;

use crate::analysis::{BucketStep, OrderKey, Reason, reason, verify};
use crate::descriptor::{SourceDescriptor, State, TimeType};
use crate::error::{Error, Result};
use crate::extent::{Extent, PartitionUnit, Step, Timestamp, segments};
use crate::macros;
use crate::query::Query;
use crate::{Analysis, analysis};

use super::{Context, Freshness, Key, Mode, Plan, Segment, lifetime, preimage, slot};

/// The most segments of an answer: two years of days, a month of hours.
const MOST_SEGMENTS: usize = 750;

/// How long settled segments are worth keeping; the store drops the least used ones before.
const SETTLED_LIFE: Duration = Duration::from_hours(30 * 24);

/// What an answer of settled segments alone is fresh for.
const SETTLED_FRESHNESS: Duration = Duration::from_mins(15);

/// How the rows of segments become an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assembly {
    /// The output with the time by which rows are cut.
    pub time_output: TimeOutput,
    /// The answer's range: whole buckets for buckets, the asked range for raw rows.
    pub range: Extent,
    /// The order of the answer's rows.
    pub order: Vec<OrderKey>,
    /// Whether raw rows are ordered by their time, and then whether the last comes first.
    pub descending: Option<bool>,
    /// What `$__interval` stands for in the segments' SQL.
    pub step: Step,
}

/// An output by its place or its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TimeOutput {
    /// Its place, counted from 0.
    Place(usize),
    /// Its name, in any case.
    Name(String),
}

/// When the partitions of a source last changed.
#[derive(Clone, Copy)]
pub struct Listing<'a> {
    /// When that was found out.
    pub at: Timestamp,
    /// The youngest stamp of the partitions that a range reads, and how many there are, so that one
    /// that is gone shows too; `None` where there are none.
    pub changed: &'a dyn Fn(Extent) -> Option<(Timestamp, usize)>,
}

/// A partition that changed this shortly before it was listed may have changed again under the same
/// stamp, or by another clock after it; what is read of it lives for a slot.
const UNSURE: Duration = Duration::from_mins(1);

/// Plans an answer in parts as of `now`; the analysis is that of the query's text.
///
/// # Errors
/// Why the query must be answered whole.
pub fn delta(
    query: &Query,
    context: &Context,
    analysis: &Analysis,
    descriptor: &SourceDescriptor,
    listing: Listing<'_>,
    now: Timestamp,
) -> Result<Plan, Reason> {
    let range = query.range.ok_or(reason::NO_TIME_FILTER)?;
    let unit = descriptor.segment_unit();
    let (mode, filter, assembly, extents) = match &analysis.mode {
        analysis::Mode::Delta(delta) if delta.statics.is_empty() => {
            let step = match delta.step {
                BucketStep::Written(step) => step,
                BucketStep::Suggested => {
                    let given = query.step.ok_or(reason::ODD_MACRO)?;
                    given.at_least(descriptor.grain).map_err(|_| reason::ODD_MACRO)?
                }
            };
            // Rows may lie in the future, as those of forecasts do.
            let range = step.align(range, Timestamp::MAX);
            if let Some(reason) = delta.refusal(step, range) {
                return Err(reason);
            }
            let time_output = TimeOutput::Place(delta.bucket_output);
            let assembly = Assembly { time_output, range, order: delta.order.clone(), descending: None, step };
            (Mode::Delta, &delta.filter, assembly, segments(range, step, unit))
        }
        analysis::Mode::Rows(rows) if rows.statics.is_empty() => {
            let is_exact = rows.filter.time_type != TimeType::Date && rows.filter.truncated.is_zero();
            if !is_exact || range.start() < Timestamp::saturating(0) {
                return Err(reason::STEP_SPLITS_COLUMN);
            }
            let time_output = TimeOutput::Name(rows.time_output.clone());
            let step = query.step.unwrap_or(unit.step());
            let assembly = Assembly { time_output, range, order: vec![], descending: rows.descending, step };
            (Mode::Rows, &rows.filter, assembly, segments(range, unit.step(), unit))
        }
        analysis::Mode::Delta(_) | analysis::Mode::Rows(_) => return Err(reason::STATIC_JOIN),
        analysis::Mode::Whole | analysis::Mode::None => return Err(analysis.reason),
    };
    if extents.is_empty() || extents.len() > MOST_SEGMENTS {
        return Err(if extents.is_empty() { reason::EMPTY_RANGE } else { reason::MANY_SEGMENTS });
    }
    let planner = Planner { query, context, descriptor, listing, mode, step: assembly.step, now };
    let segments: Vec<Segment> = extents.iter().map(|extent| planner.segment(*extent)).collect::<Result<_, _>>()?;
    // Other segments differ from the first one in the range's literals alone.
    if let [first, ..] = &*segments {
        verify(&query.sql, &first.sql, filter, first.extent.ok_or(reason::EMPTY_RANGE)?)?;
    }
    Ok(Plan { mode, reason: analysis.reason, segments, assembly: Some(assembly) })
}

struct Planner<'a> {
    query: &'a Query,
    context: &'a Context,
    descriptor: &'a SourceDescriptor,
    listing: Listing<'a>,
    mode: Mode,
    step: Step,
    now: Timestamp,
}

impl Planner<'_> {
    fn segment(&self, extent: Extent) -> Result<Segment, Reason> {
        let slot = slot(self.query, self.step);
        let listed = (self.listing.changed)(extent);
        let changed = listed.map(|(youngest, _)| youngest);
        let settling = self.descriptor.settle(extent, slot, self.now, changed);
        let is_sure = changed.is_none_or(|changed| changed.plus(UNSURE) <= self.listing.at);
        let settling = (is_sure || settling.state == State::Open).then_some(settling);
        let state = settling.map_or(State::Open, |settling| settling.state);
        let (freshness, keep_for) = if state == State::Final {
            (Freshness { fresh_for: SETTLED_FRESHNESS, stale_until: SETTLED_FRESHNESS }, self.settled_life())
        } else {
            let freshness = lifetime(slot);
            (self.limited(freshness), freshness.stale_until)
        };
        // The state of an open partition changes with every row, and is looked at too seldom.
        let stamp = match state {
            State::Open => serde_json::json!("open"),
            _ => serde_json::json!(listed.map(|(youngest, count)| (youngest.micros(), count))),
        };
        let sql = expand(self.query, extent, self.step)?;
        let preimage = preimage(
            self.query,
            self.context,
            self.mode,
            &serde_json::json!({
                "template": self.query.sql,
                "column_types": self.query.target.column_types,
                "step": format!("{:?}", self.step),
                "descriptor": self.descriptor,
                "segment": [extent.start().micros(), extent.end().micros()],
                "regime": format!("{:?}", self.descriptor.regime(extent, self.now)),
                "changed": stamp,
            }),
        );
        Ok(Segment {
            key: Key::new(preimage),
            extent: Some(extent),
            sql,
            maximum_bytes_billed: super::maximum_bytes_billed(self.query, self.context),
            freshness,
            settling,
            keep_for,
        })
    }

    /// What one caller may see can change without a partition that changes.
    fn settled_life(&self) -> Duration {
        let is_scoped = !self.context.scope.0.is_empty() || !self.query.scope.0.is_empty();
        if is_scoped { Duration::from_hours(1) } else { SETTLED_LIFE }
    }

    fn limited(&self, mut freshness: Freshness) -> Freshness {
        if let Some(max_stale) = self.query.cache.max_stale {
            freshness.stale_until = freshness.stale_until.min(freshness.fresh_for + max_stale);
        }
        freshness
    }
}

fn expand(query: &Query, extent: Extent, step: Step) -> Result<String, Reason> {
    macros::expand(&query.sql, Some(extent), Some(step), &query.target)
        .map(|expansion| expansion.sql)
        .map_err(|_| reason::NOT_EXPANDED)
}

/// The SQL of one job for all of a plan's segments.
///
/// # Errors
/// As [`joined`].
pub fn sql(query: &Query, assembly: &Assembly, segments: &[Segment]) -> Result<String> {
    let extent = hull(segments.first(), segments.last())?;
    expand(query, extent, assembly.step).map_err(|_| gone())
}

fn hull(first: Option<&Segment>, last: Option<&Segment>) -> Result<Extent> {
    let bounds = first.and_then(|first| first.extent).zip(last.and_then(|last| last.extent));
    let (first, last) = bounds.ok_or_else(gone)?;
    Extent::new(first.start(), last.end())
}

fn gone() -> Error {
    Error::internal("segments of a plan cannot be joined")
}

/// One job for neighbouring segments, in order: a segment of their hull.
///
/// # Errors
/// `Internal` where there are none or they do not expand, which the plan has tried.
pub fn joined(query: &Query, assembly: &Assembly, segments: &[&Segment]) -> Result<Segment> {
    if let [only] = segments {
        return Ok((*only).clone());
    }
    let first = *segments.first().ok_or_else(gone)?;
    let extent = hull(Some(first), segments.last().copied())?;
    let names: Vec<&str> = segments.iter().map(|segment| segment.key.preimage()).collect();
    let freshest = segments.iter().map(|segment| segment.freshness).min_by_key(|freshness| freshness.fresh_for);
    Ok(Segment {
        key: Key::new(names.join("\n")),
        extent: Some(extent),
        sql: expand(query, extent, assembly.step).map_err(|_| gone())?,
        freshness: freshest.ok_or_else(gone)?,
        ..first.clone()
    })
}

/// The ids of the partitions that `extent` reads.
pub fn partition_ids(extent: Extent, unit: PartitionUnit) -> Vec<String> {
    segments(unit.cover(extent), unit.step(), unit).into_iter().map(|partition| unit.id(partition.start())).collect()
}

#[cfg(test)]
mod tests;
