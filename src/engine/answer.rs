//! What comes out of the engine: rows, and how they were come by.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use weir_plan::descriptor::{Settling, State};
use weir_plan::{Cost, Extent, Mode, Plan, Price, Ranges, Step, Timestamp};

use super::Piece;
use crate::batches::Batches;
use crate::ledger::{Part, Savings};

/// Which door a query came through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    /// The Grafana plugin.
    Grafana,
    /// The export API.
    Export,
}

impl Door {
    /// The door's name in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Grafana => "grafana",
            Self::Export => "export",
        }
    }
}

/// How an answer was come by; the later one in this list wins where pieces differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// From the store, fresh.
    Hit,
    /// From a job that somebody else had started.
    Joined,
    /// Partly from the store.
    Partial,
    /// From a job of its own.
    Miss,
    /// From a job of its own because the caller wanted no cached answer.
    Bypass,
    /// From the store, older than fresh, while a new answer is fetched.
    Stale,
}

impl Status {
    /// The status's name, as in headers and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Joined => "joined",
            Self::Partial => "partial",
            Self::Miss => "miss",
            Self::Bypass => "bypass",
            Self::Stale => "stale",
        }
    }
}

/// A complete answer. Cloning shares its rows.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The rows.
    pub batches: Batches,
    /// How they were come by.
    pub provenance: Provenance,
    /// The SQL that was run for them.
    pub executed_sql: Arc<str>,
    /// Names the content: equal ids have equal rows.
    pub content_id: u64,
    /// How long encodings of it are worth keeping.
    pub lifetime: Duration,
    /// The step of the query, for filling gaps.
    pub step: Option<Step>,
}

/// How an answer was come by.
#[derive(Clone, Debug, Serialize)]
pub struct Provenance {
    /// The mode.
    pub mode: Mode,
    /// Stable code of the reason for the mode.
    pub reason: &'static str,
    /// Where the rows came from.
    pub status: Status,
    /// Seconds since the oldest part was fetched.
    pub age_s: f64,
    /// When the oldest part was fetched.
    pub fetched_at: Timestamp,
    /// Seconds after its fetch for which the answer is fresh.
    pub fresh_for_s: f64,
    /// The range that was answered, where the text has one.
    pub range: Option<Extent>,
    /// What of it this request fetched, or waited for while another did; of local answers the ranges of
    /// their rows.
    #[serde(skip_serializing_if = "Ranges::is_empty")]
    pub fetched: Ranges,
    /// What of it was served stale.
    #[serde(skip_serializing_if = "Ranges::is_empty")]
    pub stale: Ranges,
    /// Seconds since the oldest stale part was fetched, where one is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stale_age_s: Option<f64>,
    /// Bytes read by this request's jobs.
    pub bytes_processed: u64,
    /// Bytes billed for this request.
    pub bytes_billed: u64,
    /// What the billed bytes cost.
    pub cost: Cost,
    /// Bytes that this request would have billed without us, less those it did.
    pub bytes_saved: u64,
    /// What it would have billed without us, and why it did not.
    #[serde(flatten)]
    pub savings: Savings,
    /// What the saved bytes would have cost.
    pub cost_saved: Cost,
    /// Slot time of this request's jobs in milliseconds.
    pub slot_ms: u64,
    /// Whether some of it was made of finer segments that were stored, in place of a job.
    pub derived: bool,
    /// The jobs that the rows came from.
    pub job_ids: Vec<String>,
}

impl Provenance {
    pub(super) fn of(plan: &Plan, pieces: &[Piece], now: Timestamp, price: &Price) -> Self {
        let own = |piece: &&Piece| matches!(piece.status, Status::Miss | Status::Bypass) && !piece.stored.joined;
        let fetched_at = oldest(plan, pieces).unwrap_or(now);
        let status = pieces.iter().map(|piece| piece.status).max().unwrap_or(Status::Hit);
        let some_cached = pieces.iter().any(|piece| piece.status == Status::Hit);
        let is_stale = |status| status == Status::Stale;
        let stale = pieces.iter().filter(|piece| is_stale(piece.status));
        let stale_since = stale.map(|piece| piece.stored.fetched_at).min();
        let range = plan.segments.iter().filter_map(|segment| segment.extent).reduce(hull);
        let parts: Vec<Part> = parts(plan, pieces).collect();
        let savings = if plan.assembly.is_some() { Savings::of_parts(&parts) } else { Savings::of_whole(&parts) };
        let (bytes_billed, bytes_saved) = (savings.bytes_billed, savings.bytes_saved);
        let mut job_ids: Vec<String> = pieces.iter().map(|piece| piece.stored.job_id.clone()).collect();
        // One job may have fetched several pieces, which are neighbours.
        job_ids.dedup();
        Self {
            mode: plan.mode,
            reason: plan.reason,
            status: if status == Status::Miss && some_cached { Status::Partial } else { status },
            age_s: now.since(fetched_at).as_secs_f64(),
            fetched_at,
            fresh_for_s: plan.segments.iter().map(|s| s.freshness.fresh_for).min().unwrap_or_default().as_secs_f64(),
            range,
            fetched: ranges(plan, pieces, |status| matches!(status, Status::Miss | Status::Joined | Status::Bypass)),
            stale: ranges(plan, pieces, is_stale),
            stale_age_s: stale_since.map(|since| now.since(since).as_secs_f64()),
            bytes_processed: pieces.iter().filter(own).map(|piece| piece.stored.bytes_processed).sum(),
            bytes_billed,
            cost: price.of(bytes_billed),
            bytes_saved,
            cost_saved: price.of(bytes_saved),
            savings,
            slot_ms: pieces.iter().filter(own).map(|piece| piece.stored.slot_ms).sum(),
            derived: pieces.iter().any(|piece| piece.derived),
            job_ids,
        }
    }

    /// Of an answer that was made here of `pieces`, in place of a job that would have billed `uncached`.
    pub(super) fn local(
        plan: &Plan,
        pieces: &[Piece],
        now: Timestamp,
        price: &Price,
        range: Option<Extent>,
        uncached: Option<u64>,
    ) -> Self {
        let of = Self::of(plan, pieces, now, price);
        let parts: Vec<Part> = parts(plan, pieces).collect();
        let savings = Savings::of_local(&parts, uncached.unwrap_or(of.savings.bytes_uncached));
        let (bytes_billed, bytes_saved) = (savings.bytes_billed, savings.bytes_saved);
        let cost_saved = price.of(bytes_saved);
        Self { range, bytes_billed, bytes_saved, savings, cost: price.of(bytes_billed), cost_saved, ..of }
    }

    /// The value of the header `X-Weir-Result`, an RFC 9651 dictionary:
    /// `mode=whole, status=hit, age=12, billed=0, saved=10485760`.
    pub fn header(&self) -> String {
        let mut header = format!("mode={}, status={}, age={:.0}", self.mode, self.status.as_str(), self.age_s.floor());
        let _ = write!(header, ", billed={}, saved={}", self.bytes_billed, self.bytes_saved);
        header
    }
}

/// When the oldest part was fetched that may have changed since: the open ones, or where there are none,
/// those that have closed and are awaited or looked at once more. What is settled does not age: its
/// partitions are the ones that were read.
fn oldest(plan: &Plan, pieces: &[Piece]) -> Option<Timestamp> {
    let parts = || plan.segments.iter().zip(pieces);
    let of = |is_counted: &dyn Fn(Option<Settling>, Status) -> bool| {
        let counted = parts().filter(|(segment, piece)| is_counted(segment.settling, piece.status));
        counted.map(|(_, piece)| piece.stored.fetched_at).min()
    };
    let is_new = |settling: Settling, status| settling.is_unchanged && status != Status::Stale;
    let is_open = |settling: Option<Settling>, status| {
        settling.is_none_or(|settling| settling.state == State::Open && !is_new(settling, status))
    };
    let is_closed = |settling: Option<Settling>, status| {
        settling.is_some_and(|settling| settling.state != State::Final && !is_new(settling, status))
    };
    of(&is_open).or_else(|| of(&is_closed))
}

/// The ranges of the pieces whose status is such; none is nothing on the heap.
fn ranges(plan: &Plan, pieces: &[Piece], is_such: impl Fn(Status) -> bool) -> Ranges {
    let such = plan.segments.iter().zip(pieces).filter(|(_, piece)| is_such(piece.status));
    such.filter_map(|(segment, _)| segment.extent).collect()
}

fn parts<'a>(plan: &'a Plan, pieces: &'a [Piece]) -> impl Iterator<Item = Part<'a>> {
    plan.segments.iter().zip(pieces).map(|(segment, piece)| Part {
        job_id: &piece.stored.job_id,
        bytes_processed: piece.stored.bytes_processed,
        bytes_billed: piece.stored.bytes_billed,
        saving: piece.saving(segment),
    })
}

/// The smallest range that holds two.
pub(super) fn hull(one: Extent, other: Extent) -> Extent {
    Extent::new(one.start().min(other.start()), one.end().max(other.end())).unwrap_or(one)
}

#[cfg(test)]
mod tests;
