//! The shadow audit: a share of the answers in parts is fetched once more by one job of the text as it
//! was written, and compared.
//!
//! Compared is what cannot have changed in between: segments that are final, whose partitions have the
//! same stamps before their fetch and after the audit's job. Open ones are not: rows arrive between any
//! two jobs, and a difference would say nothing. Which answers are audited depends on their segments
//! and the slot alone, so that every replica draws the same.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use weir_plan::descriptor::State;
use weir_plan::plan::delta::Assembly;
use weir_plan::{CacheMode, Error, Extent, Key, Plan, Query, Result, Segment, Timestamp};

use super::assembly::column;
use super::parts::Asking;
use super::{Engine, Piece, Status};
use crate::cache::Stored;
use crate::ledger::{Errand, OverBudget};

/// An answer is audited once in its slot; slots are shorter than this.
const REMEMBERED: Duration = Duration::from_hours(24);

/// An answer that is to be audited.
struct Answered {
    query: Query,
    assembly: Assembly,
    parts: Vec<(Segment, Arc<Stored>)>,
}

impl Engine {
    /// Audits an answer in parts in the background, if it is drawn.
    pub(super) fn audit(self: &Arc<Self>, query: &Query, plan: &Plan, pieces: &[Piece], now: Timestamp) {
        let share = self.settings.budget.audit_share;
        let Some(assembly) = plan.assembly.as_ref().filter(|_| !share.is_none()) else { return };
        // What was fetched for this very answer has nothing to be compared with.
        let has_kept = |(segment, piece): (&Segment, &Piece)| is_final(segment) && piece.status == Status::Hit;
        if !plan.segments.iter().zip(pieces).any(has_kept) {
            return;
        }
        let parts = plan.segments.iter().cloned().zip(pieces.iter().map(|piece| Arc::clone(&piece.stored))).collect();
        let answered = Answered { query: query.clone(), assembly: assembly.clone(), parts };
        let engine = Arc::clone(self);
        self.audit_if_drawn(draw(plan, now), now, async move { engine.compare(&answered).await });
    }

    /// Runs an audit in the background if it is drawn, once for a `draw`.
    pub(super) fn audit_if_drawn(
        &self,
        draw: Key,
        now: Timestamp,
        audit: impl Future<Output = Result<()>> + Send + 'static,
    ) {
        if !self.settings.budget.audit_share.takes(&draw) || self.shared.store.note::<()>(&draw).is_some() {
            return;
        }
        self.shared.store.keep_note(draw, Arc::new(()), 0, now, REMEMBERED);
        tokio::spawn(async move {
            match audit.await {
                Ok(()) => {}
                Err(error) if OverBudget::is_cause_of(&error) => tracing::debug!(?error, "an audit is not run"),
                Err(error) => tracing::warn!(?error, "an audit failed"),
            }
        });
    }

    async fn compare(self: &Arc<Self>, answered: &Answered) -> Result<()> {
        let Answered { query, assembly, parts } = answered;
        let now = self.shared.clock.now();
        let ranges: Vec<Extent> = parts.iter().filter_map(|(segment, _)| segment.extent).collect();
        let (Some(first), Some(last)) = (ranges.first(), ranges.last()) else { return Ok(()) };
        // The text as it was written: how parts read their source is on trial too.
        let mut whole = query.clone();
        whole.range = Some(Extent::new(first.start(), last.end())?);
        whole.step = Some(assembly.step);
        whole.cache.mode = CacheMode::Off;
        let plan = self.whole_plan(&whole, now)?;
        let [segment] = &*plan.segments else { return Err(Error::internal("an audit in parts")) };
        let again = self.fetch_past_the_store(&whole, segment, Errand::Audit, now).await?;
        let audited = again.batches.split(column(&again.batches, &assembly.time_output)?, &ranges)?;
        // After the job: a partition that changed before or during it has another stamp now.
        let plan = self.plan(query, Asking::Anew, self.shared.clock.now()).await?;
        let unchanged: HashSet<&Key> = plan.segments.iter().filter(|it| is_final(it)).map(|it| &it.key).collect();
        for ((segment, stored), audited) in parts.iter().zip(audited) {
            let is_comparable = is_final(segment) && unchanged.contains(&segment.key);
            if is_comparable && !stored.batches.has_same_rows(&audited)? {
                let rows = [stored.batches.num_rows(), audited.num_rows()];
                self.drifted(segment.extent, &stored.job_id, &again.job_id, rows);
            }
        }
        Ok(())
    }

    /// Counts and reports rows that differ: those that are kept, by their jobs, and the audit's.
    pub(super) fn drifted(&self, range: Option<Extent>, stored_job: &str, audit_job: &str, rows: [usize; 2]) {
        self.shared.metrics.drift.with_label_values(&[self.name()]).inc();
        let range = range.map(tracing::field::display);
        let [stored_rows, audit_rows] = rows;
        tracing::error!(
            source = self.name(),
            range,
            stored_job,
            audit_job,
            stored_rows,
            audit_rows,
            "what is kept differs from what the source answers; purge the source",
        );
    }
}

pub(super) fn is_final(segment: &Segment) -> bool {
    segment.settling.is_some_and(|settling| settling.state == State::Final)
}

/// What is drawn by: the answer's segments and its slot.
fn draw(plan: &Plan, now: Timestamp) -> Key {
    let slot = plan.segments.iter().map(|segment| segment.freshness.fresh_for).min().unwrap_or_default();
    let slot = now.floor(i64::try_from(slot.as_micros()).unwrap_or(i64::MAX).max(1));
    let names: Vec<String> = plan.segments.iter().map(|segment| segment.key.short_hex()).collect();
    Key::new(format!("audit {} {}", slot.micros(), names.join(" ")))
}

#[cfg(test)]
pub(super) mod tests;
