//! The one orchestrator: plan, store, flights, source, merge. Both doors call it and nothing else.
//!
//! It knows no protocol: not how a query was asked, nor how its answer is written.

mod answer;
mod aside;
mod catalog;
mod columns;
mod explain;
mod fetch;
#[cfg(test)]
mod tests;

pub(crate) use aside::aside;

pub use answer::{Answer, Door, Provenance, Status};
pub use explain::{Checked, Explanation, SegmentExplanation};

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::try_join_all;
use weir_plan::{Error, Key, Kind, Mode, Plan, Price, Query, Result, Scope, Segment, Timestamp, plan};

use crate::batches::Batches;
use crate::cache::{Store, Stored};
use crate::clock::Clock;
use crate::flight::Flights;
use crate::metrics::Metrics;
use crate::source::{Priority, Source};

/// What every engine of a process shares.
#[derive(Clone)]
pub struct Shared {
    /// The store.
    pub store: Arc<Store>,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// The metrics.
    pub metrics: Arc<Metrics>,
    /// The running fetches: keys name the source, so that engines over the same source share them.
    pub flights: Arc<Flights<Key, Arc<Stored>>>,
}

/// How an engine sends its jobs, and for whom.
#[derive(Clone, Debug, Default)]
pub struct EngineSettings {
    /// What the source may answer beyond its identity, and to whom: engines whose scopes differ share
    /// no answer and no job.
    pub scope: Scope,
    /// How long callers wait that do not say; `None` means [`Query::DEADLINE`].
    pub deadline: Option<Duration>,
    /// Upper limit of billed bytes for each job.
    pub maximum_bytes_billed: Option<u64>,
    /// Priority of jobs.
    pub priority: Priority,
    /// The source itself stops a job after this.
    pub job_timeout: Option<Duration>,
    /// What a TiB on the bill costs.
    pub price: Price,
}

/// Answers queries over one source.
pub struct Engine {
    source: Arc<dyn Source>,
    /// The source's identity in a key's form.
    identity: String,
    settings: EngineSettings,
    shared: Shared,
    columns: columns::Columns,
}

/// One segment of an answer, and how it was come by.
struct Piece {
    stored: Arc<Stored>,
    status: Status,
}

impl Engine {
    /// An engine over `source`.
    pub fn new(source: Arc<dyn Source>, settings: EngineSettings, shared: Shared) -> Arc<Self> {
        let identity = source.identity();
        let identity = format!(
            "{}|{}|{}|{}",
            identity.kind,
            identity.endpoint.as_deref().unwrap_or_default(),
            identity.project,
            identity.principal
        );
        Arc::new(Self { source, identity, settings, shared, columns: columns::Columns::default() })
    }

    /// The source that is asked.
    pub fn source(&self) -> &Arc<dyn Source> {
        &self.source
    }

    /// Answers a query.
    ///
    /// Dropping the future takes one waiter from the jobs it waits for.
    ///
    /// # Errors
    /// `InvalidQuery` from planning; those of [`Source::run`]; `Timeout` after the query's deadline,
    /// while its job goes on for up to ten minutes more, so that the same query may join it.
    pub async fn answer(self: &Arc<Self>, query: &Query, door: Door) -> Result<Answer> {
        let query = &*self.typed(query).await;
        let deadline = self.deadline(query);
        let answer = tokio::time::timeout(deadline, self.try_answer(query)).await.unwrap_or_else(|_| {
            self.leave_running(query);
            let seconds = deadline.as_secs();
            let message =
                format!("no answer within {seconds} s; ask again to join the running job, or narrow the range");
            Err(Error::new(Kind::Timeout, message))
        });
        self.count(door, &answer);
        answer
    }

    /// How long the caller of a query waits.
    pub fn deadline(&self, query: &Query) -> Duration {
        query.deadline.or(self.settings.deadline).unwrap_or(Query::DEADLINE)
    }

    async fn try_answer(self: &Arc<Self>, query: &Query) -> Result<Answer> {
        let now = self.shared.clock.now();
        let plan = self.plan(query, now)?;
        self.shared.metrics.analysis.with_label_values(&[plan.mode.as_str(), plan.reason]).inc();
        let pieces =
            try_join_all(plan.segments.iter().map(|segment| self.piece(query, plan.mode, segment, now))).await?;
        let batches = merge(&pieces)?;
        let provenance = Provenance::of(&plan, &pieces, self.shared.clock.now(), &self.settings.price);
        let content_id = match &*pieces {
            [only] => only.stored.content_id,
            _ => self.shared.store.content_id(),
        };
        let executed_sql = text(&plan);
        let lifetime = plan.segments.iter().map(|segment| segment.freshness.stale_until).min().unwrap_or_default();
        Ok(Answer { batches, provenance, executed_sql: executed_sql.into(), content_id, lifetime, step: query.step })
    }

    fn plan(&self, query: &Query, now: Timestamp) -> Result<Plan> {
        let context = plan::Context {
            source: self.identity.clone(),
            scope: self.settings.scope.clone(),
            location: self.source.identity().location.clone(),
            generation: self.shared.store.generation(&self.identity),
            maximum_bytes_billed: self.settings.maximum_bytes_billed,
        };
        plan::plan(query, &context, now)
    }

    async fn piece(self: &Arc<Self>, query: &Query, mode: Mode, segment: &Segment, now: Timestamp) -> Result<Piece> {
        if mode == Mode::Off {
            let stored = self.fetch_past_the_store(query, segment, now).await?;
            return Ok(Piece { stored, status: Status::Bypass });
        }
        if !query.cache.skip_read {
            match self.found(segment, now) {
                Some((stored, Status::Stale)) => {
                    self.refresh(query, segment);
                    return Ok(Piece { stored, status: Status::Stale });
                }
                Some((stored, status)) => return Ok(Piece { stored, status }),
                None => {}
            }
            if let Some(error) = self.shared.store.failure(&segment.key, now) {
                return Err(error);
            }
        }
        let landed = self.fetch(query, segment).await;
        let status = match (landed.joined, query.cache.skip_read) {
            (true, _) => Status::Joined,
            (false, true) => Status::Bypass,
            (false, false) => Status::Miss,
        };
        Ok(Piece { stored: landed.result?, status })
    }

    /// The stored segment, if it may still be served at `now`.
    fn found(&self, segment: &Segment, now: Timestamp) -> Option<(Arc<Stored>, Status)> {
        let stored = self.shared.store.segment(&segment.key)?;
        let age = now.since(stored.fetched_at);
        if age < segment.freshness.fresh_for {
            Some((stored, Status::Hit))
        } else if age < segment.freshness.stale_until {
            Some((stored, Status::Stale))
        } else {
            None
        }
    }

    /// Checks that the source takes jobs from us, by a free dry run of `SELECT 1`.
    ///
    /// # Errors
    /// Those of [`Source::dry_run`].
    pub async fn check(&self) -> Result<()> {
        let job = crate::source::Job::new(format!("weir_check_{}", uuid::Uuid::new_v4().simple()), "SELECT 1");
        self.source.dry_run(&job).await.map(drop)
    }

    /// Leaves every stored answer of this source behind; returns the new generation.
    pub fn purge(&self) -> u64 {
        self.shared.store.purge(&self.identity)
    }

    /// The answer's rows in an encoding of the caller's, made once for each content.
    ///
    /// # Errors
    /// Those of `encode`.
    pub fn encoded(
        &self,
        answer: &Answer,
        encoding: &str,
        encode: impl FnOnce(&Batches) -> Result<Bytes>,
    ) -> Result<Bytes> {
        self.shared.store.encoding(answer.content_id, encoding, answer.lifetime, || encode(&answer.batches))
    }

    fn count(&self, door: Door, answer: &Result<Answer>) {
        let metrics = &self.shared.metrics;
        match answer {
            Ok(answer) => {
                let provenance = &answer.provenance;
                let labels = [door.as_str(), provenance.mode.as_str(), provenance.status.as_str()];
                metrics.requests.with_label_values(&labels).inc();
                metrics.staleness.with_label_values(&[door.as_str()]).observe(provenance.age_s);
                if provenance.bytes_saved > 0 {
                    let cause = match provenance.status {
                        Status::Joined => "coalesced",
                        Status::Stale => "stale",
                        _ => "fresh",
                    };
                    metrics.bytes_saved.with_label_values(&[cause]).inc_by(provenance.bytes_saved);
                }
            }
            Err(error) => metrics.errors.with_label_values(&[door.as_str(), error.kind().row().code]).inc(),
        }
    }
}

/// The SQL of all segments, in order.
fn text(plan: &Plan) -> String {
    plan.segments.iter().map(|segment| segment.sql.as_str()).collect::<Vec<_>>().join(";\n")
}

/// The rows of all pieces, in order.
fn merge(pieces: &[Piece]) -> Result<Batches> {
    if let [only] = pieces {
        return Ok(only.stored.batches.clone());
    }
    let Some(first) = pieces.first() else { return Err(Error::internal("a plan without segments")) };
    let batches = pieces.iter().flat_map(|piece| &piece.stored.batches).cloned().collect();
    Batches::new(Arc::clone(first.stored.batches.schema()), batches)
}
