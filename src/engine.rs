//! The one orchestrator: plan, store, flights, source, merge. Both doors call it and nothing else.
//!
//! It knows no protocol: not how a query was asked, nor how its answer is written.

mod accounts;
mod answer;
mod aside;
mod assembly;
mod audit;
mod bills;
mod budget;
mod catalog;
mod columns;
mod derivation;
mod explain;
mod fetch;
mod local;
mod made;
mod memo;
mod oversize;
mod parts;
mod purges;
mod quiet;
mod recall;
mod sources;
#[cfg(test)]
mod tests;

pub(crate) use aside::aside;
pub(crate) use parts::LISTING;

pub use answer::{Answer, Door, Provenance, Status};
pub(crate) use budget::OVER_BUDGET;
pub use explain::{Checked, Explanation, SegmentExplanation, Settled};
pub use local::{Loaded, LocalSettings};
pub use purges::Purged;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::try_join_all;
use parking_lot::Mutex;
use weir_plan::analysis::{Reason, reason};
use weir_plan::descriptor::Verdict;
use weir_plan::plan::delta::{self, Assembly};
use weir_plan::{Descriptors, Error, Key, Kind, Mode, Plan, Price, Query, Result, Scope, Segment, Timestamp};

use self::parts::Asking;
use self::recall::Recalled;
use crate::batches::Batches;
use crate::cache::{Store, Stored};
use crate::clock::Clock;
use crate::flight::{Flights, Landed};
use crate::ledger::{Budget, Errand, Ledger, OverBudget};
use crate::metrics::Metrics;
use crate::source::{Billed, Priority, Source};

/// What every engine of a process shares.
#[derive(Clone)]
pub struct Shared {
    /// The store.
    pub store: Arc<Store>,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// The metrics.
    pub metrics: Arc<Metrics>,
    /// What jobs billed and answers saved.
    pub ledger: Arc<Ledger>,
    /// The running fetches: keys name the source, so that engines over the same source share them.
    pub flights: Arc<Flights<Key, Arc<Stored>>>,
    /// The running reads of the store's folder.
    pub recalls: Arc<Flights<Key, Option<Arc<Stored>>>>,
}

/// How an engine sends its jobs, and for whom.
#[derive(Clone, Debug)]
pub struct EngineSettings {
    /// The data source's name in the ledger; `None` means its project's.
    pub name: Option<String>,
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
    /// What may be billed in a day.
    pub budget: Budget,
    /// What is known of tables and views beyond what the source says itself.
    pub descriptors: Arc<Descriptors>,
    /// What is kept here to be answered from without jobs.
    pub local: Arc<LocalSettings>,
}

/// No limits, and the ready-made descriptors.
impl Default for EngineSettings {
    fn default() -> Self {
        Self {
            name: None,
            scope: Scope::default(),
            deadline: None,
            maximum_bytes_billed: None,
            priority: Priority::default(),
            job_timeout: None,
            price: Price::default(),
            budget: Budget::default(),
            descriptors: Arc::new(Descriptors::ready_made()),
            local: Arc::default(),
        }
    }
}

/// Answers queries over one source.
pub struct Engine {
    source: Arc<dyn Source>,
    /// The source's identity in a key's form.
    identity: String,
    settings: EngineSettings,
    shared: Shared,
    columns: columns::Columns,
    parts: parts::Parts,
    bills: bills::Bills,
    quiet: quiet::Quiet,
    locals: local::Locals,
}

/// How long the name of an answer put together of pieces is remembered without being asked for.
const CONTENT_LIFE: Duration = Duration::from_hours(1);

/// One segment of an answer, and how it was come by.
#[derive(Clone)]
struct Piece {
    stored: Arc<Stored>,
    status: Status,
    /// Made of finer segments that were stored, in place of a job.
    derived: bool,
}

impl Piece {
    /// A piece that was fetched for its segment.
    const fn of(stored: Arc<Stored>, status: Status) -> Self {
        Self { stored, status, derived: false }
    }

    /// The piece that a fetch brought.
    fn landed(landed: Landed<Arc<Stored>>, query: &Query) -> Result<Self> {
        let status = match (landed.joined, query.cache.skip_read) {
            (true, _) => Status::Joined,
            (false, true) => Status::Bypass,
            (false, false) => Status::Miss,
        };
        Ok(Self::of(landed.result?, status))
    }
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
        let project = &source.identity().project;
        let locals = local::Locals::new(&settings.local, project, Arc::clone(&shared.clock));
        Arc::new(Self {
            source,
            identity,
            settings,
            shared,
            columns: columns::Columns::default(),
            parts: parts::Parts::default(),
            bills: bills::Bills::default(),
            quiet: quiet::Quiet::default(),
            locals,
        })
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
        let planned = Mutex::new(None);
        let answer =
            tokio::time::timeout(deadline, Box::pin(self.try_answer(query, &planned))).await.unwrap_or_else(|_| {
                self.leave_running(query, planned.lock().as_ref());
                let seconds = deadline.as_secs();
                let message =
                    format!("no answer within {seconds} s; ask again to join the running job, or narrow the range");
                Err(Error::new(Kind::Timeout, message))
            });
        self.count(query, door, &answer);
        answer
    }

    /// How long the caller of a query waits.
    pub fn deadline(&self, query: &Query) -> Duration {
        query.deadline.or(self.settings.deadline).unwrap_or(Query::DEADLINE)
    }

    async fn try_answer(self: &Arc<Self>, query: &Query, planned: &Mutex<Option<Plan>>) -> Result<Answer> {
        let now = self.shared.clock.now();
        let why_not = match self.local(query, now).await {
            Ok(answer) => return Ok(answer),
            Err(reason) => reason,
        };
        match self.by_jobs(query, why_not, planned, now).await {
            Err(error) if OverBudget::is_cause_of(&error) => self.earlier(query, now).unwrap_or(Err(error)),
            outcome => outcome,
        }
    }

    /// The answer of the best plan; its reason is `why_not`, where there is one.
    async fn by_jobs(
        self: &Arc<Self>,
        query: &Query,
        why_not: Option<Reason>,
        planned: &Mutex<Option<Plan>>,
        now: Timestamp,
    ) -> Result<Answer> {
        let mut plan = self.plan(query, Asking::Jobs, now).await?;
        plan.reason = why_not.unwrap_or(plan.reason);
        let in_parts = plan.assembly.is_some();
        let is_of_much_more = is_of_much_more(&plan);
        match self.carry_out(query, plan, planned, now).await {
            Err(error) if OverBudget::is_cause_of(&error) => Err(error),
            // It was billed, and a whole answer has all rows of the asked range too. Segments are whole partitions
            // or buckets: only where they are of much more than that range is it worth a second bill.
            Err(error) if Billed::of(&error).is_some() && !is_of_much_more => Err(error),
            // Columns that changed between segments, or whole partitions that are too much: whole is always right.
            Err(error) if in_parts && matches!(error.kind(), Kind::Internal | Kind::TooLarge | Kind::TooExpensive) => {
                tracing::error!(?error, "an answer in parts fails; it is answered whole");
                let whole = Plan { reason: reason::NOT_ASSEMBLED, ..self.whole_plan(query, now)? };
                self.carry_out(query, whole, planned, now).await
            }
            outcome => outcome,
        }
    }

    async fn carry_out(
        self: &Arc<Self>,
        query: &Query,
        plan: Plan,
        planned: &Mutex<Option<Plan>>,
        now: Timestamp,
    ) -> Result<Answer> {
        self.shared.metrics.analysis.with_label_values(&[plan.mode.as_str(), plan.reason]).inc();
        *planned.lock() = Some(plan.clone());
        let pieces = if let Some(assembly) = &plan.assembly {
            self.parts_of(query, &plan, assembly, now).await?
        } else {
            let pieces = plan.segments.iter().map(|segment| self.piece(query, plan.mode, segment, Errand::Answer, now));
            try_join_all(pieces).await?
        };
        let mut answer = self.finished(query, &plan, &pieces, now)?;
        if self.is_held_back(query, &plan, &pieces, now) {
            answer.provenance.reason = OVER_BUDGET;
        }
        self.keep_plan(query, &plan, now);
        self.audit(query, &plan, &pieces, now);
        Ok(answer)
    }

    /// The answer that pieces make.
    fn finished(&self, query: &Query, plan: &Plan, pieces: &[Piece], now: Timestamp) -> Result<Answer> {
        let batches = match &plan.assembly {
            Some(assembly) => assembly::assembled(pieces, assembly)?,
            None => merge(pieces)?,
        };
        self.count_pieces(plan, pieces);
        let provenance = Provenance::of(plan, pieces, self.shared.clock.now(), &self.settings.price);
        let lifetime = plan.segments.iter().map(|segment| segment.freshness.stale_until).min().unwrap_or_default();
        let content_id = match (pieces, &plan.assembly) {
            ([only], None) => only.stored.content_id,
            (_, assembly) => self.content_of(pieces, assembly.as_ref(), now),
        };
        let executed_sql = text(plan)?.into();
        Ok(Answer { batches, provenance, executed_sql, content_id, lifetime, step: query.step })
    }

    /// The name of what these pieces make: the same for the same pieces, so that encodings are found again.
    fn content_of(&self, pieces: &[Piece], assembly: Option<&Assembly>, now: Timestamp) -> u64 {
        let contents: Vec<u64> = pieces.iter().map(|piece| piece.stored.content_id).collect();
        let order = assembly.map(|assembly| (assembly.range, &assembly.order, assembly.descending));
        let key = Key::new(format!("content {contents:?} {order:?}"));
        if let Some((content_id, _)) = self.shared.store.note::<u64>(&key) {
            return *content_id;
        }
        let content_id = self.shared.store.content_id();
        self.shared.store.keep_note(key, Arc::new(content_id), size_of::<u64>(), now, CONTENT_LIFE);
        content_id
    }

    async fn piece(
        self: &Arc<Self>,
        query: &Query,
        mode: Mode,
        segment: &Segment,
        errand: Errand,
        now: Timestamp,
    ) -> Result<Piece> {
        if mode == Mode::Off {
            let stored = self.fetch_past_the_store(query, segment, errand, now).await?;
            return Ok(Piece::of(stored, Status::Bypass));
        }
        if let Some(piece) = self.look(query, segment, &Recalled::new(), now)? {
            if piece.status == Status::Stale {
                self.refresh(query, segment);
            }
            return Ok(piece);
        }
        Piece::landed(self.fetch(query, segment, errand).await, query)
    }

    /// What the store, or its folder, has for a segment.
    ///
    /// # Errors
    /// A failure that is remembered.
    fn look(&self, query: &Query, segment: &Segment, recalled: &Recalled, now: Timestamp) -> Result<Option<Piece>> {
        if query.cache.skip_read {
            return Ok(None);
        }
        let Some((stored, status)) = self.found(segment, recalled, now) else {
            return self.shared.store.failure(&segment.key, now).map_or(Ok(None), Err);
        };
        Ok(Some(Piece::of(stored, status)))
    }

    /// The stored segment, if it may still be served at `now`.
    fn found(&self, segment: &Segment, recalled: &Recalled, now: Timestamp) -> Option<(Arc<Stored>, Status)> {
        let stored = self.shared.store.segment(&segment.key).or_else(|| recalled.get(&segment.key).cloned())?;
        let status = match segment.judge(stored.fetched_at, stored.batches.num_rows() == 0, now) {
            Verdict::Fresh => Status::Hit,
            Verdict::Stale => Status::Stale,
            Verdict::Expired => return None,
        };
        Some((stored, status))
    }

    /// Checks that the source takes jobs from us, by a free dry run of `SELECT 1`.
    ///
    /// # Errors
    /// Those of [`Source::dry_run`].
    pub async fn check(&self) -> Result<()> {
        let job = crate::source::Job::new(format!("weir_check_{}", uuid::Uuid::new_v4().simple()), "SELECT 1");
        self.source.dry_run(&job).await.map(drop)
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
}

/// The SQL of an answer: that of one job for all of it.
fn text(plan: &Plan) -> Result<String> {
    match (&plan.assembly, &*plan.segments) {
        (Some(assembly), segments) => delta::sql(assembly, segments),
        (None, segments) => Ok(segments.iter().map(|segment| segment.sql.as_str()).collect::<Vec<_>>().join(";\n")),
    }
}

/// Whether the segments of a plan in parts are of more than twice the answer's range.
fn is_of_much_more(plan: &Plan) -> bool {
    let all = plan.segments.iter().filter_map(|segment| segment.extent).reduce(answer::hull);
    let range = plan.assembly.as_ref().map(|assembly| assembly.range);
    all.zip(range).is_some_and(|(all, range)| all.micros() > 2 * range.micros())
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
