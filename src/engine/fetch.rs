//! How a missing segment is fetched: one flight, one job, stored when it is complete.

use std::sync::Arc;
use std::time::Duration;

use weir_plan::plan::delta::joined;
use weir_plan::{Error, Key, Kind, Plan, Query, Result, Segment, Timestamp, sql};

use super::recall::Recalled;
use super::{Engine, Status};
use crate::cache::Stored;
use crate::flight::Landed;
use crate::ledger::{Booking, Errand, OverBudget};
use crate::source::{Billed, Estimate, Job, Outcome, Priority};

/// How long a fetch goes on that nobody waits for but somebody will ask for again: after a deadline,
/// and behind a stale answer.
pub(super) const LINGER: Duration = Duration::from_mins(10);

/// The time after which a budget has surely renewed.
const ONE_DAY: Duration = Duration::from_hours(24);

impl Engine {
    /// Joins or starts the flight of a segment.
    pub(super) async fn fetch(
        self: &Arc<Self>,
        query: &Query,
        segment: &Segment,
        errand: Errand,
    ) -> Landed<Arc<Stored>> {
        self.shared
            .flights
            .join(segment.key.clone(), || {
                let (engine, query, segment) = (Arc::clone(self), query.clone(), segment.clone());
                async move { engine.fetch_and_keep(&query, &segment, errand).await }
            })
            .await
    }

    /// Runs the job of a segment for one caller alone, under a flight of its own, so that it ends as
    /// every other one does.
    pub(super) async fn fetch_past_the_store(
        self: &Arc<Self>,
        query: &Query,
        segment: &Segment,
        errand: Errand,
        now: Timestamp,
    ) -> Result<Arc<Stored>> {
        let key = Key::new(format!("off {}", uuid::Uuid::new_v4()));
        let (engine, query, segment) = (Arc::clone(self), query.clone(), segment.clone());
        let fetch = async move { engine.run(&query, &segment, errand, now, true).await.map(Arc::new) };
        self.shared.flights.join(key, || fetch).await.result
    }

    /// Fetches a segment that is served stale meanwhile, unless that is under way or would only fail.
    pub(super) fn refresh(self: &Arc<Self>, query: &Query, segment: &Segment) {
        if self.may_refresh(query, segment, self.shared.clock.now()) {
            self.linger(query, segment);
        }
    }

    /// Whether a stale segment's fetch is neither under way nor would only fail, and within its budget.
    pub(super) fn may_refresh(&self, query: &Query, segment: &Segment, now: Timestamp) -> bool {
        !self.shared.flights.runs(&segment.key)
            && self.shared.store.failure(&segment.key, now).is_none()
            && self.affords(query, segment, now)
    }

    /// Lets the running fetches of a query that nobody waits for any more end: what was begun is paid
    /// for, and somebody will ask again.
    pub(super) fn leave_running(self: &Arc<Self>, query: &Query, plan: Option<&Plan>) {
        let Some(plan) = plan else { return };
        for segment in plan.segments.iter().filter(|segment| self.shared.flights.runs(&segment.key)) {
            let written = plan.assembly.as_ref().map_or_else(|| Ok(segment.clone()), |all| joined(all, &[segment]));
            if let Ok(segment) = written {
                self.linger(query, &segment);
            }
        }
    }

    /// Waits for a segment's fetch in place of a caller; not for ever, or one that hangs would keep
    /// its key.
    fn linger(self: &Arc<Self>, query: &Query, segment: &Segment) {
        let (engine, query, segment) = (Arc::clone(self), query.clone(), segment.clone());
        tokio::spawn(async move {
            let landed = tokio::time::timeout(LINGER, engine.fetch(&query, &segment, Errand::Refresh)).await;
            let error = match landed {
                Ok(Landed { result: Ok(_), .. }) => return,
                Ok(Landed { result: Err(error), .. }) => error,
                Err(elapsed) => too_long(elapsed),
            };
            tracing::warn!(key = segment.key.short_hex(), ?error, "a fetch that nobody waited for failed");
        });
    }

    async fn fetch_and_keep(&self, query: &Query, segment: &Segment, errand: Errand) -> Result<Arc<Stored>> {
        let now = self.shared.clock.now();
        if let Some(stored) = self.landed_before(query, segment, None, now) {
            return Ok(stored);
        }
        match self.run(query, segment, errand, now, query.cache.skip_read).await {
            Ok(stored) => Ok(self.keep(segment, stored)),
            Err(error) => {
                self.remember(&[segment], &error, now);
                Err(error)
            }
        }
    }

    /// A segment that a flight before this one landed between our look, which found the content `seen`,
    /// and our start.
    pub(super) fn landed_before(
        &self,
        query: &Query,
        segment: &Segment,
        seen: Option<u64>,
        now: Timestamp,
    ) -> Option<Arc<Stored>> {
        let (stored, status) = self.found(segment, &Recalled::new(), now)?;
        let is_new = seen != Some(stored.content_id);
        (status == Status::Hit && is_new && !query.cache.skip_read).then_some(stored)
    }

    /// Remembers a failure that the same question would only repeat.
    pub(super) fn remember(&self, segments: &[&Segment], error: &Error, now: Timestamp) {
        // Another caller may have a budget of its own.
        let is_everybodys = repeats_itself(error.kind()) && !OverBudget::is_cause_of(error);
        for segment in segments.iter().filter(|_| is_everybodys) {
            self.shared.store.keep_failure(segment.key.clone(), error.clone(), now);
        }
    }

    /// Keeps a copy of the rows that holds nothing else alive; what cannot be kept is served all the same.
    pub(super) fn keep(&self, segment: &Segment, stored: Stored) -> Arc<Stored> {
        let store = &self.shared.store;
        if store.too_large(stored.batches.sliced_size()) {
            store.reject(segment.key.clone(), "too_large");
            return Arc::new(stored);
        }
        match stored.batches.detach() {
            Ok(batches) => {
                let stored = Arc::new(Stored { batches, ..stored });
                // Until a budget that is used up renews, an old answer is better than none.
                let keep_for = if self.has_budget() { segment.keep_for.max(ONE_DAY) } else { segment.keep_for };
                if segment.is_lasting() {
                    let now = self.shared.clock.now();
                    store.keep_lasting(segment.key.clone(), Arc::clone(&stored), keep_for, now);
                } else {
                    store.keep(segment.key.clone(), Arc::clone(&stored), keep_for);
                }
                stored
            }
            Err(error) => {
                tracing::error!(?error, key = segment.key.short_hex(), "an answer cannot be copied and is not kept");
                store.reject(segment.key.clone(), "not_copied");
                Arc::new(stored)
            }
        }
    }

    /// Runs the job of a segment and puts its bill down; `anew` gives it an id that no other job has.
    /// The one place from which jobs are sent.
    pub(super) async fn run(
        &self,
        query: &Query,
        segment: &Segment,
        errand: Errand,
        now: Timestamp,
        anew: bool,
    ) -> Result<Stored> {
        if !anew && let Some(error) = self.was_too_large(query, segment, now) {
            return Err(error);
        }
        let metrics = &self.shared.metrics;
        let booking = self.book(query, segment, errand, now).await?;
        let mut job = self.job(query, segment, now, anew);
        if errand == Errand::Audit {
            job.priority = Priority::Batch;
        }
        let mut outcome = self.run_query(job).await;
        // A clock that was ahead has used up the ids of slots to come.
        let slot = segment.freshness.fresh_for;
        let is_old = |began: Timestamp| now.since(began) >= 2 * slot;
        if outcome.as_ref().is_ok_and(|it| it.joined && it.started_at.is_some_and(is_old)) {
            outcome = self.run_query(self.job(query, segment, now, true)).await;
        }
        let outcome: Outcome = match outcome {
            Ok(outcome) => outcome,
            Err(error) => {
                metrics.jobs.with_label_values(&[error.kind().row().code]).inc();
                if let Some(billed) = Billed::of(&error) {
                    self.learn(query, segment, billed.bytes_billed, now);
                    self.put_down(booking, billed);
                    self.keep_too_large(query, segment, &error, now);
                }
                return Err(error);
            }
        };
        let Outcome { bytes_billed, slot_ms, ours, .. } = outcome;
        self.learn(query, segment, bytes_billed, now);
        metrics.jobs.with_label_values(&[if ours { "done" } else { "joined" }]).inc();
        self.put_down(booking, Billed { bytes_billed, slot_ms, ours });
        // The rows of a job that existed already are as old as it.
        let began = outcome.started_at.filter(|_| outcome.joined);
        Ok(Stored {
            content_id: self.shared.store.content_id(),
            batches: outcome.batches,
            fetched_at: began.map_or(now, |began| began.min(now)),
            job_id: outcome.job_id,
            bytes_processed: outcome.bytes_processed,
            bytes_billed,
            joined: !ours,
            slot_ms,
        })
    }

    /// Puts a job's bill down, unless whoever sent it does.
    fn put_down(&self, booking: Booking, billed: Billed) {
        let Billed { bytes_billed, slot_ms, ours } = billed;
        if !ours {
            return booking.not_ours();
        }
        booking.billed(bytes_billed, slot_ms);
        self.shared.metrics.bytes_billed.inc_by(bytes_billed);
        self.shared.metrics.slot_ms.inc_by(slot_ms);
    }

    /// Runs a job that is surely one query. A text that a parser does not know as one, besides the
    /// planner's own lexer, is put to the source's first, which is free.
    async fn run_query(&self, job: Job) -> Result<Outcome> {
        if !sql::parses_as_query(&job.sql) {
            let statement = self.source.dry_run(&job).await?.statement_type;
            if statement != "SELECT" {
                let message = format!("the source takes the text for {statement}; only one query is run");
                return Err(Error::invalid(message));
            }
        }
        self.source.run(job).await
    }

    /// The job of a segment. Its id is that of the key and the freshness slot, so that a retry or
    /// another replica joins it.
    pub(super) fn job(&self, query: &Query, segment: &Segment, now: Timestamp, anew: bool) -> Job {
        let id = if anew {
            format!("weir_{}_{}", segment.key.short_hex(), uuid::Uuid::new_v4().simple())
        } else {
            let slot = i64::try_from(segment.freshness.fresh_for.as_micros()).unwrap_or(i64::MAX).max(1);
            format!("weir_{}_{}", segment.key.short_hex(), now.floor(slot).seconds())
        };
        Job { maximum_bytes_billed: segment.maximum_bytes_billed, ..self.job_of(query, id, segment.sql.clone()) }
    }

    /// What the source says to a text without running it, in a query's surroundings; `errand` is in the
    /// job's id.
    ///
    /// # Errors
    /// Those of [`Source::dry_run`](crate::source::Source::dry_run).
    pub(super) async fn try_text(&self, query: &Query, errand: &str, sql: String) -> Result<Estimate> {
        let id = format!("weir_{errand}_{}", uuid::Uuid::new_v4().simple());
        self.source.dry_run(&self.job_of(query, id, sql)).await
    }

    /// A job for a query in the settings' way.
    pub(super) fn job_of(&self, query: &Query, id: String, sql: String) -> Job {
        Job {
            id,
            sql,
            parameters: query.parameters.clone(),
            default_dataset: query.default_dataset.clone(),
            location: query.location.clone(),
            labels: query.labels.clone(),
            priority: self.settings.priority,
            maximum_bytes_billed: None,
            timeout: self.settings.job_timeout,
        }
    }
}

/// The error of a fetch that outlasted [`LINGER`].
pub(super) fn too_long(elapsed: tokio::time::error::Elapsed) -> Error {
    Error::new(Kind::Timeout, "no answer within ten minutes").with_source(elapsed)
}

/// Whether the same question would fail in the same way.
fn repeats_itself(kind: Kind) -> bool {
    matches!(kind, Kind::InvalidQuery | Kind::NotFound | Kind::PermissionDenied | Kind::TooExpensive)
}
