//! Whom jobs and answers are put down to, and why bytes were not billed; the ledger of the engine's own
//! data source, as an answer that no job was run for.

use std::time::Duration;

use weir_plan::descriptor::State;
use weir_plan::{Extent, Mode, Plan, Query, Ranges, Result, Segment};

use super::answer::{Answer, Door, Provenance, Status};
use super::{Engine, Piece};
use crate::ledger::{Account, Dimension, Filter, Saving, Savings};

impl Piece {
    /// Why the piece was not billed for this answer; `None` where it was.
    pub(super) fn saving(&self, segment: &Segment) -> Option<Saving> {
        if self.derived {
            return Some(Saving::Derived);
        }
        match (self.status, segment.settling.map(|settling| settling.state)) {
            (Status::Miss | Status::Bypass | Status::Partial, _) if !self.stored.joined => None,
            (Status::Miss | Status::Bypass | Status::Partial | Status::Joined, _) => Some(Saving::Coalesced),
            (Status::Stale, _) => Some(Saving::Stale),
            (Status::Hit, Some(State::Final)) => Some(Saving::Final),
            (Status::Hit, Some(State::Live | State::Pending)) => Some(Saving::Delta),
            (Status::Hit, Some(State::Open) | None) => Some(Saving::Fresh),
        }
    }
}

impl Engine {
    /// The data source's name in the ledger.
    pub(super) fn name(&self) -> &str {
        self.settings.name.as_ref().unwrap_or(&self.source.identity().project)
    }

    /// Whom the jobs and answers of a query are put down to.
    pub(super) fn account(&self, query: &Query) -> Account {
        let label = |key: &str| query.labels.get(key).map(String::as_str);
        Account::new(self.name(), query.principal.as_deref(), label("dashboard_uid"), label("panel_id"))
    }

    /// Counts the pieces of an answer by their state and how they were come by.
    pub(super) fn count_pieces(&self, plan: &Plan, pieces: &[Piece]) {
        for (segment, piece) in plan.segments.iter().zip(pieces) {
            let state = segment.settling.map_or("unknown", |settling| settling.state.as_str());
            self.shared.metrics.segments.with_label_values(&[state, piece.status.as_str()]).inc();
        }
    }

    /// Counts an answer, and puts it down.
    pub(super) fn count(&self, query: &Query, door: Door, answer: &Result<Answer>) {
        let metrics = &self.shared.metrics;
        match answer {
            Ok(answer) => {
                let provenance = &answer.provenance;
                let labels = [door.as_str(), provenance.mode.as_str(), provenance.status.as_str()];
                metrics.requests.with_label_values(&labels).inc();
                metrics.staleness.with_label_values(&[door.as_str()]).observe(provenance.age_s);
                for (saving, bytes) in provenance.savings.by_cause() {
                    metrics.bytes_saved.with_label_values(&[saving.as_str()]).inc_by(bytes);
                }
                self.shared.ledger.answer(&self.account(query), &provenance.savings, self.shared.clock.now());
            }
            Err(error) => metrics.errors.with_label_values(&[door.as_str(), error.kind().row().code]).inc(),
        }
    }

    /// What this data source billed and saved on the days of a range, added up by some dimensions.
    ///
    /// # Errors
    /// Those of [`Ledger::report`](crate::ledger::Ledger::report).
    pub fn ledger(&self, range: Option<Extent>, by: &[Dimension]) -> Result<Answer> {
        let now = self.shared.clock.now();
        let filter =
            Filter { source: Some(self.name().to_owned()), from: range.map(Extent::start), to: range.map(Extent::end) };
        let price = &self.settings.price;
        Ok(Answer {
            batches: self.shared.ledger.report(&filter, by)?,
            provenance: Provenance {
                mode: Mode::Local,
                reason: "ledger",
                status: Status::Hit,
                age_s: 0.0,
                fetched_at: now,
                fresh_for_s: 0.0,
                range,
                fetched: Ranges::default(),
                stale: Ranges::default(),
                stale_age_s: None,
                bytes_processed: 0,
                bytes_billed: 0,
                cost: price.of(0),
                bytes_saved: 0,
                cost_saved: price.of(0),
                savings: Savings::default(),
                derived: false,
                slot_ms: 0,
                job_ids: vec![],
            },
            executed_sql: "".into(),
            content_id: self.shared.store.content_id(),
            lifetime: Duration::ZERO,
            step: None,
        })
    }
}

#[cfg(test)]
mod tests;
