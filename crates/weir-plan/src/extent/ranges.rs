//! Sets of ranges: what is there, what is missing, and with which jobs to fetch it.

use serde::Serialize;

use super::{Extent, Timestamp};

/// A set of points in time, kept as ranges in order that neither overlap nor touch.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Ranges(Vec<Extent>);

impl Ranges {
    /// The ranges in order.
    pub fn iter(&self) -> impl Iterator<Item = Extent> {
        self.0.iter().copied()
    }

    /// Whether no point is inside.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether every point of `extent` is inside.
    pub fn covers(&self, extent: Extent) -> bool {
        self.missing(extent).is_empty()
    }

    /// Both sets together.
    #[must_use]
    pub fn merge(&self, other: &Self) -> Self {
        self.iter().chain(other.iter()).collect()
    }

    /// The points of `need` that are not inside.
    #[must_use]
    pub fn missing(&self, need: Extent) -> Self {
        let mut missing = Vec::new();
        let mut start = need.start();
        for have in self.iter() {
            push(&mut missing, start, have.start().min(need.end()));
            start = start.max(have.end());
        }
        push(&mut missing, start, need.end());
        Self(missing)
    }

    /// The shortest range that holds all points; `None` without any.
    pub fn hull(&self) -> Option<Extent> {
        let (first, last) = (self.0.first()?, self.0.last()?);
        Some(Extent { start: first.start, end: last.end })
    }

    /// The ranges to fetch these points with so that the sum of `bill` is least: neighbours are
    /// fetched in one, the gap between them too, unless apart they bill less. `bill` counts every
    /// minimum charge.
    pub fn jobs(&self, bill: impl Fn(Extent) -> u64) -> Vec<Extent> {
        // For each count of leading ranges: the least bill, the number of jobs, where the last begins.
        let mut best = vec![(0_u64, 0_usize, 0_usize)];
        for (last, end) in self.iter().enumerate() {
            let hull = |first: usize| Extent { start: self.0[first].start, end: end.end };
            let options = (0..=last).map(|first| {
                let (bytes, jobs, _) = best[first];
                (bytes.saturating_add(bill(hull(first))), jobs + 1, first)
            });
            best.push(options.min().unwrap_or_default());
        }
        let mut jobs = Vec::new();
        let mut count = self.0.len();
        while let Some(last) = count.checked_sub(1) {
            let first = best[count].2;
            jobs.push(Extent { start: self.0[first].start, end: self.0[last].end });
            count = first;
        }
        jobs.reverse();
        jobs
    }
}

fn push(ranges: &mut Vec<Extent>, start: Timestamp, end: Timestamp) {
    if start < end {
        ranges.push(Extent { start, end });
    }
}

/// Any ranges, in any order, overlapping or not; empty ones are left out.
impl FromIterator<Extent> for Ranges {
    fn from_iter<I: IntoIterator<Item = Extent>>(extents: I) -> Self {
        let mut extents: Vec<_> = extents.into_iter().filter(|extent| !extent.is_empty()).collect();
        extents.sort_unstable();
        let mut merged: Vec<Extent> = Vec::with_capacity(extents.len());
        for extent in extents {
            match merged.last_mut() {
                Some(last) if extent.start <= last.end => last.end = last.end.max(extent.end),
                _ => merged.push(extent),
            }
        }
        Self(merged)
    }
}

impl From<Extent> for Ranges {
    fn from(extent: Extent) -> Self {
        [extent].into_iter().collect()
    }
}
