//! Jobs within a day's budget: what each is likely to bill, and what is served when none may start.

use std::sync::Arc;
use std::time::Duration;

use weir_plan::extent::DAY;
use weir_plan::{Error, Extent, Key, Plan, Query, Result, Segment, Timestamp};

use super::{Answer, Engine, Piece, Status};
use crate::ledger::{Booking, Budget, Errand};

/// The reason of an answer that a budget kept from being fetched.
pub(crate) const OVER_BUDGET: &str = "over_budget";

/// How long estimates and answers are remembered: a budget renews before.
const LIFETIME: Duration = Duration::from_hours(24);

/// A range that slides with the clock is the same question as before if it slid by as much as time
/// went by, give or take the longest slot to which ranges are floored.
const SLACK: Duration = Duration::from_mins(5);

/// What a job is likely to bill.
#[derive(Clone, Copy)]
pub(super) struct Likely {
    pub(super) bytes: u64,
    /// Whether a job has billed them; else a dry run says so.
    pub(super) is_learned: bool,
}

impl Likely {
    /// What a job has billed, where one has.
    pub(super) fn learned(self) -> Option<u64> {
        self.is_learned.then_some(self.bytes)
    }
}

/// How a question was last answered.
struct Earlier {
    plan: Plan,
    range: Option<Extent>,
    at: Timestamp,
}

impl Engine {
    /// Opens the ledger's entry of a job. Under a budget a dry run, which is free, says what a job is
    /// likely to bill whose like has not run; where it is refused, nothing is reserved.
    ///
    /// # Errors
    /// `TooExpensive` naming the budget that the job would break.
    pub(super) async fn book(
        &self,
        query: &Query,
        segment: &Segment,
        errand: Errand,
        now: Timestamp,
    ) -> Result<Booking> {
        if self.has_budget() && self.likely(query, segment).is_none() {
            match self.try_text(query, "estimate", segment.sql.clone()).await {
                Ok(estimate) => self.tried(query, segment, estimate.bytes_billed(), now),
                Err(error) => tracing::debug!(?error, "a job's bill is not known beforehand"),
            }
        }
        self.reserve(query, segment, errand, now)
    }

    fn reserve(&self, query: &Query, segment: &Segment, errand: Errand, now: Timestamp) -> Result<Booking> {
        let estimate = self.likely(query, segment).map_or(0, |likely| likely.bytes);
        let booking = self.shared.ledger.open(self.account(query), errand, estimate, &self.settings.budget, now);
        booking.map_err(Error::from)
    }

    /// Remembers what a job billed for the next one of its text and length.
    pub(super) fn learn(&self, query: &Query, segment: &Segment, bytes_billed: u64, now: Timestamp) {
        self.keep_likely(query, segment, Likely { bytes: bytes_billed, is_learned: true }, now);
    }

    /// What the last job of a text and length billed.
    pub(super) fn learned(&self, query: &Query, segment: &Segment) -> Option<u64> {
        self.likely(query, segment)?.learned()
    }

    /// Remembers what a job would bill, unless it is known what one did.
    pub(super) fn tried(&self, query: &Query, segment: &Segment, bytes_billed: u64, now: Timestamp) {
        if self.learned(query, segment).is_none() {
            self.keep_likely(query, segment, Likely { bytes: bytes_billed, is_learned: false }, now);
        }
    }

    fn likely(&self, query: &Query, segment: &Segment) -> Option<Likely> {
        self.shared.store.note::<Likely>(&self.estimate_key(query, segment)).map(|(likely, _)| *likely)
    }

    fn keep_likely(&self, query: &Query, segment: &Segment, likely: Likely, now: Timestamp) {
        let key = self.estimate_key(query, segment);
        self.shared.store.keep_note(key, Arc::new(likely), size_of::<Likely>(), now, LIFETIME);
    }

    fn estimate_key(&self, query: &Query, segment: &Segment) -> Key {
        let days = segment.extent.map(|extent| extent.micros() / DAY);
        let template = (&query.sql, &query.default_dataset, &query.parameters, &query.location);
        Key::new(format!("estimate {} {days:?} {template:?}", self.identity))
    }

    /// Whether a budget allows that a stale segment is refreshed.
    pub(super) fn affords(&self, query: &Query, segment: &Segment, now: Timestamp) -> bool {
        self.reserve(query, segment, Errand::Refresh, now).map(Booking::not_ours).is_ok()
    }

    /// Whether a stale piece of an answer is not refreshed for its budget's sake.
    pub(super) fn is_held_back(&self, query: &Query, plan: &Plan, pieces: &[Piece], now: Timestamp) -> bool {
        let is_held_back = |(segment, piece): (&Segment, &Piece)| {
            piece.status == Status::Stale
                && !self.shared.flights.runs(&segment.key)
                && !self.affords(query, segment, now)
        };
        self.has_budget() && plan.segments.iter().zip(pieces).any(is_held_back)
    }

    /// Whether answers are kept for when a budget is used up.
    pub(super) fn has_budget(&self) -> bool {
        let Budget { daily_bytes, daily_bytes_per_principal, .. } = self.settings.budget;
        daily_bytes.or(daily_bytes_per_principal).is_some()
    }

    /// Remembers how a question was answered.
    pub(super) fn keep_plan(&self, query: &Query, plan: &Plan, now: Timestamp) {
        if !self.has_budget() {
            return;
        }
        let bytes = plan.segments.iter().map(|segment| segment.sql.len() + segment.key.preimage_len()).sum();
        let earlier = Earlier { plan: plan.clone(), range: query.range, at: now };
        self.shared.store.keep_note(self.question_key(query), Arc::new(earlier), bytes, now, LIFETIME);
    }

    /// The last answer to the same question, however old; never for callers who take none that is stale.
    pub(super) fn earlier(&self, query: &Query, now: Timestamp) -> Option<Result<Answer>> {
        if query.cache.max_stale == Some(Duration::ZERO) {
            return None;
        }
        let (earlier, _) = self.shared.store.note::<Earlier>(&self.question_key(query))?;
        let Earlier { plan, range, at } = &*earlier;
        if !is_same(*range, query.range, now.since(*at)) {
            return None;
        }
        let pieces: Option<Vec<Piece>> = plan.segments.iter().map(|segment| self.past(query, segment, now)).collect();
        let plan = Plan { reason: OVER_BUDGET, ..plan.clone() };
        Some(self.finished(query, &plan, &pieces?, now))
    }

    fn past(&self, query: &Query, segment: &Segment, now: Timestamp) -> Option<Piece> {
        let stored = self.shared.store.segment(&segment.key)?;
        let oldest = query.cache.max_stale.map(|max_stale| segment.freshness.fresh_for + max_stale);
        let is_taken = oldest.is_none_or(|oldest| now.since(stored.fetched_at) < oldest);
        is_taken.then_some(Piece::of(stored, Status::Stale))
    }

    pub(super) fn question_key(&self, query: &Query) -> Key {
        let length = query.range.map(Extent::micros);
        let purges = (self.purges_of(query), self.purges_of_days());
        let scopes = (&self.settings.scope, &query.scope, &query.location, purges);
        let text = (&query.sql, &query.default_dataset, &query.parameters, &query.step, &query.target);
        Key::new(format!("question {} {length:?} {scopes:?} {:?} {text:?}", self.identity, query.cache.mode))
    }
}

/// Whether a range is the same, or one that slid by as much as time passed.
pub(super) fn is_same(before: Option<Extent>, now: Option<Extent>, passed: Duration) -> bool {
    match (before.map(Extent::end), now.map(Extent::end)) {
        (Some(before), Some(now)) => before == now || now.since(before).abs_diff(passed) <= SLACK,
        (before, now) => before == now,
    }
}
