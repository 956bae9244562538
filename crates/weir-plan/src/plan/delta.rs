//! Answers in parts: the segments of a text that may be cut at bucket starts, or by the time of its
//! rows, and how their rows are put together again.
//!
//! Rules: settled segments are named by the state of their partitions, so that a changed partition is
//! another segment; open ones live for a slot. A text that cannot be planned so is answered whole.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use crate::analysis::{BucketStep, OrderKey, Reason, Role, reason};
use crate::descriptor::{OPEN_SLOT, Regime, SourceDescriptor, State, TimeType};
use crate::error::{Error, Result};
use crate::extent::{Extent, Step, Timestamp, segments};
use crate::query::{Query, TableId};

use super::template::{Cut, Template};
use super::{Context, Family, Freshness, Key, Mode, Plan, Segment, lifetime, preimage, slot};

/// The most segments of an answer: two years of days, a month of hours.
const MOST_SEGMENTS: usize = 750;

/// How long settled segments are worth keeping; the store drops the least used ones before.
const SETTLED_LIFE: Duration = Duration::from_hours(30 * 24);

/// What an answer of settled segments alone is fresh for.
const SETTLED_FRESHNESS: Duration = Duration::from_mins(15);

/// Parts of which a range needs less than one in this many are worth reading for few rows alone.
const SMALL_PART: i64 = 4;

/// As many buckets are few rows.
const FEW_BUCKETS: i64 = 5000;

/// How the rows of segments become an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assembly {
    /// The text.
    pub template: Arc<Template>,
    /// The moment of the plan.
    pub as_of: Timestamp,
    /// When it was found out when partitions last changed.
    pub listed: Timestamp,
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
    /// The states of the static tables that are joined, in the template's order.
    pub statics: Vec<String>,
    /// Tables of the source's view that have no rows where they are read, and are left out.
    pub empty: BTreeSet<TableId>,
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
    /// When the table itself last changed, as far as somebody has looked lately.
    pub modified: Option<Timestamp>,
    /// The youngest stamp of the partitions that a range reads, and how many there are, so that one
    /// that is gone shows too; `None` where there are none.
    pub changed: &'a dyn Fn(Extent) -> Option<(Timestamp, usize)>,
    /// How often answers of the days of a range were purged.
    pub purged: &'a dyn Fn(Extent) -> u64,
    /// The states of the static tables that are joined, in the template's order.
    pub statics: &'a [String],
}

/// A partition that changed this shortly before it was listed may have changed again under the same
/// stamp, or by another clock after it; what is read of it lives for a slot.
const UNSURE: Duration = Duration::from_mins(1);

/// Plans an answer in parts as of `now`.
///
/// # Errors
/// Why the query must be answered whole.
pub fn delta(
    query: &Query,
    context: &Context,
    template: &Arc<Template>,
    listing: Listing<'_>,
    now: Timestamp,
) -> Result<Plan, Reason> {
    let range = query.range.ok_or(reason::NO_TIME_FILTER)?;
    if listing.statics.len() != template.statics().len() {
        return Err(reason::STATIC_JOIN);
    }
    let descriptor = template.descriptor();
    let unit = descriptor.segment_unit();
    let assembly = |time_output, range, step| {
        let template = Arc::clone(template);
        Assembly {
            template,
            as_of: now,
            listed: listing.at,
            time_output,
            range,
            order: vec![],
            descending: None,
            step,
            statics: listing.statics.to_vec(),
            empty: BTreeSet::new(),
        }
    };
    let (mode, assembly, extents) = match &template.cut {
        Cut::Delta(delta) => {
            let step = delta.step.of(query.step, descriptor.grain)?;
            // Rows may lie in the future, as those of forecasts do.
            let range = step.align(range, Timestamp::MAX);
            if let Some(reason) = delta.refusal(step, range) {
                return Err(reason);
            }
            let assembly = assembly(TimeOutput::Place(delta.bucket_output), range, step);
            (Mode::Delta, Assembly { order: delta.order.clone(), ..assembly }, segments(range, step, unit))
        }
        Cut::Rows(rows) => {
            let is_exact = rows.filter.time_type != TimeType::Date && rows.filter.truncated.is_zero();
            if !is_exact || range.start() < Timestamp::saturating(0) {
                return Err(reason::STEP_SPLITS_COLUMN);
            }
            let assembly =
                assembly(TimeOutput::Name(rows.time_output.clone()), range, query.step.unwrap_or(unit.step()));
            (Mode::Rows, Assembly { descending: rows.descending, ..assembly }, segments(range, unit.step(), unit))
        }
    };
    if extents.is_empty() || extents.len() > MOST_SEGMENTS {
        return Err(if extents.is_empty() { reason::EMPTY_RANGE } else { reason::MANY_SEGMENTS });
    }
    if is_small(mode, &assembly, &extents) {
        return Err(reason::SMALL_RANGE);
    }
    let common = serde_json::json!({
        "template": template.digest(),
        "step": format!("{:?}", assembly.step),
        "statics": listing.statics,
    });
    let family = Family::new(preimage(query, context, mode, &common));
    let planner = Planner { query, context, template, listing, family, step: assembly.step, now };
    let segments = extents.iter().map(|extent| planner.segment(*extent)).collect();
    Ok(Plan { mode, reason: template.reason(), segments, assembly: Some(assembly) })
}

/// Whether a range is a small part of its segments, and they have many rows, or could be read in
/// part.
fn is_small(mode: Mode, assembly: &Assembly, extents: &[Extent]) -> bool {
    let length: i64 = extents.iter().map(|extent| extent.micros()).sum();
    let range = assembly.range.micros();
    let has_many = match (mode, assembly.step) {
        (Mode::Rows, _) => true,
        (_, Step::Micros(step)) => length / step > FEW_BUCKETS,
        (_, Step::Months(_)) => false,
    };
    let is_clustered = assembly.template.descriptor().clustered_by_time;
    (has_many || is_clustered) && range.saturating_mul(SMALL_PART) < length
}

struct Planner<'a> {
    query: &'a Query,
    context: &'a Context,
    template: &'a Template,
    listing: Listing<'a>,
    family: Arc<Family>,
    step: Step,
    now: Timestamp,
}

impl Planner<'_> {
    /// A segment without its SQL, which [`joined`] writes.
    fn segment(&self, extent: Extent) -> Segment {
        let descriptor: &SourceDescriptor = self.template.descriptor();
        let slot = slot(self.query, self.step);
        let listed = (self.listing.changed)(extent);
        let changed = listed.map(|(youngest, _)| youngest);
        let settling = descriptor.settle(extent, slot, self.now, changed);
        let settling = match self.listing.modified {
            Some(modified) => settling.unchanged_since(modified.plus(UNSURE), self.now),
            None => settling,
        };
        let regime = settling.regime;
        // Live tables do not settle by the partitions that are listed.
        let listed = listed.filter(|_| regime != Regime::Live);
        let is_sure = listed.is_none_or(|(changed, _)| changed.plus(UNSURE) <= self.listing.at);
        let settling = (is_sure || settling.state == State::Open).then_some(settling);
        let state = settling.map_or(State::Open, |settling| settling.state);
        let open = lifetime(slot);
        // Job ids are those of a slot: what is looked at again sooner must not find its last job.
        let closed = lifetime(slot.min(OPEN_SLOT.1));
        let (freshness, keep_for) = match (state, settling.and_then(|settling| settling.ends)) {
            (State::Final, _) => {
                let settled = Freshness { fresh_for: SETTLED_FRESHNESS, stale_until: SETTLED_FRESHNESS };
                (settled, self.settled_life())
            }
            // It is named by its partitions, and becomes final as it is unless they change.
            (State::Pending, _) => (self.limited(closed), self.settled_life()),
            // How old it may be is its settling's affair: it is served while it is looked at once more.
            (State::Live, Some(ends)) => {
                let freshness = Freshness { stale_until: SETTLED_LIFE, ..closed };
                (self.limited(freshness), ends.since(self.now).min(self.settled_life()))
            }
            _ if settling.is_none() => (self.limited(closed), closed.stale_until),
            _ => (self.limited(open), open.stale_until),
        };
        // The state of an open partition changes with every row, and is looked at too seldom.
        let stamp = listed.filter(|_| state != State::Open);
        let stamp = stamp.map(|(youngest, count)| (youngest.micros(), count));
        let own = format!(
            "{}..{} {:?} {} {stamp:?} purged {}",
            extent.start().micros(),
            extent.end().micros(),
            regime,
            if state == State::Open { "open" } else { "closed" },
            (self.listing.purged)(extent)
        );
        Segment {
            key: self.family.key(own),
            extent: Some(extent),
            sql: String::new(),
            maximum_bytes_billed: super::maximum_bytes_billed(self.query, self.context),
            freshness,
            settling,
            keep_for,
        }
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

impl Assembly {
    /// What each output is, where buckets of other steps can be made of finer ones, as far as the text says.
    pub fn derivation(&self) -> Option<Vec<Role>> {
        match &self.template.cut {
            Cut::Delta(delta) if delta.derivable && delta.step == BucketStep::Suggested => {
                Some(delta.outputs.iter().map(|output| output.role).collect())
            }
            Cut::Delta(_) | Cut::Rows(_) => None,
        }
    }
}

impl Segment {
    /// Whether an answer is worth keeping beyond the process: it is settled, and what one caller alone
    /// may see is not in it.
    pub fn is_lasting(&self) -> bool {
        let is_final = self.settling.is_some_and(|settling| settling.state == State::Final);
        is_final && self.keep_for >= SETTLED_LIFE
    }
}

/// The SQL of one job for all of a plan's segments, with views by their names.
///
/// # Errors
/// As [`joined`].
pub fn sql(assembly: &Assembly, segments: &[Segment]) -> Result<String> {
    let extent = hull(segments.first(), segments.last())?;
    assembly.template.expand(extent, assembly.step).map_err(|_| gone())
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
/// `Internal` where there are none or they do not expand, which the template has tried.
pub fn joined(assembly: &Assembly, segments: &[&Segment]) -> Result<Segment> {
    let first = *segments.first().ok_or_else(gone)?;
    let extent = hull(Some(first), segments.last().copied())?;
    let sql = assembly.template.text(extent, assembly.step, assembly.as_of, &assembly.empty).map_err(|_| gone())?;
    if let [only] = segments {
        return Ok(Segment { sql, ..(*only).clone() });
    }
    let names: Vec<_> = segments.iter().map(|segment| segment.key.preimage()).collect();
    let freshest = segments.iter().map(|segment| segment.freshness).min_by_key(|freshness| freshness.fresh_for);
    Ok(Segment {
        key: Key::new(names.join("\n")),
        extent: Some(extent),
        sql,
        freshness: freshest.ok_or_else(gone)?,
        ..first.clone()
    })
}

#[cfg(test)]
mod tests;
