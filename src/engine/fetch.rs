//! How a missing segment is fetched: one flight, one job, stored when it is complete.

use std::sync::Arc;

use weir_plan::{Error, Key, Kind, Query, Result, Segment, Timestamp};

use super::{Engine, LINGER, Status};
use crate::cache::Stored;
use crate::flight::Landed;
use crate::source::{Job, Outcome};

impl Engine {
    /// Joins or starts the flight of a segment.
    pub(super) async fn fetch(self: &Arc<Self>, query: &Query, segment: &Segment) -> Landed<Arc<Stored>> {
        self.shared
            .flights
            .join(segment.key.clone(), || {
                let (engine, query, segment) = (Arc::clone(self), query.clone(), segment.clone());
                async move { engine.fetch_and_keep(&query, &segment).await }
            })
            .await
    }

    /// Runs the job of a segment for one caller alone, under a flight of its own, so that it ends as
    /// every other one does.
    pub(super) async fn fetch_past_the_store(
        self: &Arc<Self>,
        query: &Query,
        segment: &Segment,
        now: Timestamp,
    ) -> Result<Arc<Stored>> {
        let key = Key::new(format!("off {}", uuid::Uuid::new_v4()));
        let (engine, query, segment) = (Arc::clone(self), query.clone(), segment.clone());
        let fetch = async move { engine.run(&query, &segment, now, true).await.map(Arc::new) };
        self.shared.flights.join(key, || fetch).await.result
    }

    /// Fetches a segment that is served stale meanwhile; nobody waits for it.
    pub(super) fn refresh(self: &Arc<Self>, query: &Query, segment: &Segment) {
        let now = self.shared.clock.now();
        if self.shared.flights.runs(&segment.key) || self.shared.store.failure(&segment.key, now).is_some() {
            return;
        }
        let (engine, query, segment) = (Arc::clone(self), query.clone(), segment.clone());
        tokio::spawn(async move {
            // A fetch that hangs must not keep the key for ever.
            let landed = tokio::time::timeout(LINGER, engine.fetch(&query, &segment)).await;
            let error = match landed {
                Ok(Landed { result: Ok(_), .. }) => return,
                Ok(Landed { result: Err(error), .. }) => error,
                Err(elapsed) => Error::new(Kind::Timeout, "no answer within ten minutes").with_source(elapsed),
            };
            tracing::warn!(key = segment.key.short_hex(), ?error, "a stale answer could not be refreshed");
        });
    }

    async fn fetch_and_keep(&self, query: &Query, segment: &Segment) -> Result<Arc<Stored>> {
        let now = self.shared.clock.now();
        // The flight before this one may have landed between our look and our start.
        if let Some((stored, Status::Hit)) = self.found(segment, now).filter(|_| !query.cache.skip_read) {
            return Ok(stored);
        }
        match self.run(query, segment, now, query.cache.skip_read).await {
            Ok(stored) => {
                let stored = Arc::new(Stored { batches: stored.batches.detach()?, ..stored });
                self.shared.store.keep(segment.key.clone(), Arc::clone(&stored), segment.keep_for);
                Ok(stored)
            }
            Err(error) => {
                if repeats_itself(error.kind()) {
                    self.shared.store.keep_failure(segment.key.clone(), error.clone(), now);
                }
                Err(error)
            }
        }
    }

    /// Runs the job of a segment; `anew` gives it an id that no other job has.
    async fn run(&self, query: &Query, segment: &Segment, now: Timestamp, anew: bool) -> Result<Stored> {
        let metrics = &self.shared.metrics;
        let outcome = self.source.run(self.job(query, segment, now, anew)).await;
        let outcome: Outcome = match outcome {
            Ok(outcome) => outcome,
            Err(error) => {
                metrics.jobs.with_label_values(&[error.kind().row().code]).inc();
                return Err(error);
            }
        };
        // A job that existed already was paid for, and counted, by whoever sent it; its rows are as old as it.
        let (fetched_at, outcome_label) = match outcome.started_at {
            Some(started_at) if outcome.joined => (started_at.min(now), "joined"),
            _ if outcome.joined => (now, "joined"),
            _ => (now, "done"),
        };
        metrics.jobs.with_label_values(&[outcome_label]).inc();
        if !outcome.joined {
            metrics.bytes_billed.inc_by(outcome.bytes_billed);
            metrics.slot_ms.inc_by(outcome.slot_ms);
        }
        Ok(Stored {
            content_id: self.shared.store.content_id(),
            batches: outcome.batches,
            fetched_at,
            job_id: outcome.job_id,
            bytes_billed: outcome.bytes_billed,
            joined: outcome.joined,
            slot_ms: outcome.slot_ms,
        })
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
        Job {
            id,
            sql: segment.sql.clone(),
            parameters: query.parameters.clone(),
            default_dataset: query.default_dataset.clone(),
            location: query.location.clone(),
            labels: query.labels.clone(),
            priority: self.settings.priority,
            maximum_bytes_billed: segment.maximum_bytes_billed,
            timeout: self.settings.job_timeout,
        }
    }
}

/// Whether the same question would fail in the same way.
fn repeats_itself(kind: Kind) -> bool {
    matches!(kind, Kind::InvalidQuery | Kind::NotFound | Kind::PermissionDenied | Kind::TooExpensive)
}
