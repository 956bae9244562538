//! Query jobs: insert under our own id or join the job that has it, wait, and gather the answer.
//!
//! It does not retry calls: that is [`crate::source::limited`]'s, and the id makes it safe.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use weir_plan::{Error, Kind, Result, TableId, Timestamp};

use super::cancel::{Guard, Running};
use super::configuration::Defaults;
use super::errors::Failure;
use super::login::Tokens;
use super::models::JobResource;
use super::rest::Rest;
use super::results::{self, Answer};
use super::schema::arrow_schema;
use super::storage::{ReadError, Storage};
use crate::batches::Batches;
use crate::source::{Billed, Estimate, Job, Outcome};

/// How long one call waits for a job to end.
pub(super) const POLL: Duration = Duration::from_secs(10);

/// A failed job's id is used up, and the same work goes on under `<id>_r1`, then `<id>_r2`, which
/// other replicas join too.
const SPARE_IDS: usize = 2;

/// Where those are used up as well, it goes on under an id of its own, which nobody else has; if
/// that is taken by a failed job, there is something wrong.
const OWN_IDS: usize = 2;

/// Jobs in one project.
pub(super) struct Jobs {
    pub(super) rest: Arc<Rest>,
    pub(super) defaults: Defaults,
    pub(super) storage: Option<Storage>,
    /// Larger answers are read through `storage`.
    pub(super) storage_read_above_rows: Option<u64>,
    /// A larger answer is an error.
    pub(super) largest_answer_bytes: u64,
    pub(super) running: Running,
    pub(super) warned: Arc<AtomicBool>,
}

/// How a try under one id ended, if not well.
enum Ended {
    /// The id is used up by a job that we met and that failed: its reason may be long gone.
    Burnt(Failure),
    Failed(Error),
}

impl From<Error> for Ended {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

impl Jobs {
    /// Jobs in the same project under another login.
    pub(super) fn under(&self, tokens: Arc<dyn Tokens>) -> Self {
        Self {
            rest: Arc::new(self.rest.under(Arc::clone(&tokens))),
            defaults: self.defaults.clone(),
            storage: self.storage.as_ref().map(|storage| storage.under(tokens)),
            running: self.running.clone(),
            warned: Arc::clone(&self.warned),
            ..*self
        }
    }

    /// Runs a job to its end. Dropping the future cancels the job.
    pub(super) async fn run(&self, job: &Job) -> Result<Outcome> {
        let mut burnt = 0;
        loop {
            let id = self.id(job, burnt);
            match self.run_as(job, &id).await {
                Ok(outcome) => return Ok(outcome),
                Err(Ended::Failed(error)) => return Err(error),
                Err(Ended::Burnt(failure)) if burnt == SPARE_IDS + OWN_IDS => {
                    return Err(failure.of(&format!("{id} (after {burnt} more under other ids)")));
                }
                Err(Ended::Burnt(failure)) => {
                    burnt += 1;
                    tracing::debug!(job = %id, %failure, "a failed job has used up its id");
                }
            }
        }
    }

    /// The id to try when `burnt` ids are used up. An id of our own that an earlier try left a job
    /// under is tried again.
    fn id(&self, job: &Job, burnt: usize) -> String {
        match burnt {
            0 => job.id.clone(),
            1..=SPARE_IDS => format!("{}_r{burnt}", job.id),
            _ => {
                let prefix = format!("{}_own", job.id);
                self.running.under_way(&prefix).unwrap_or_else(|| format!("{prefix}{:08x}", rand::random::<u32>()))
            }
        }
    }

    /// Checks a job; free, and no job is made.
    pub(super) async fn dry_run(&self, job: &Job) -> Result<Estimate> {
        let answer = self.check(job).await?;
        let query = answer.statistics.query.unwrap_or_default();
        Ok(Estimate {
            bytes_processed: query.total_bytes_processed.or(answer.statistics.total_bytes_processed).unwrap_or(0),
            schema: arrow_schema(&query.schema.unwrap_or_default())?,
            statement_type: query.statement_type.unwrap_or_else(|| "STATEMENT_TYPE_UNSPECIFIED".to_owned()),
            referenced_tables: query
                .referenced_tables
                .into_iter()
                .map(|table| TableId::new(table.project_id, table.dataset_id, table.table_id))
                .collect(),
        })
    }

    /// What a dry run says of the job.
    async fn check(&self, job: &Job) -> Result<JobResource, Failure> {
        let body = self.defaults.dry_run(job)?;
        let answer: JobResource = self.rest.post(&self.path(&[]), &body).await?;
        answer.failure().map_or(Ok(answer), Err)
    }

    async fn run_as(&self, job: &Job, id: &str) -> Result<Outcome, Ended> {
        let body = self.defaults.running(job, id)?;
        let location = self.defaults.location(job);
        let insert = {
            let (rest, project) = (Arc::clone(&self.rest), self.defaults.project.clone());
            async move { rest.post(&["projects", &project, "jobs"], &body).await }
        };
        let mut guard =
            Guard::start(Arc::clone(&self.rest), self.running.clone(), &self.defaults.project, id, location, insert);
        let ended = self.follow(job, id, &mut guard).await;
        guard.leave();
        ended
    }

    async fn follow(&self, job: &Job, id: &str, guard: &mut Guard) -> Result<Outcome, Ended> {
        let (started, met, server_now) = match guard.inserted().await {
            Ok(started) => (started, false, None),
            Err(failure) if failure.is_duplicate() => {
                let (existing, server_now) = self.join(job, id, guard).await?;
                (existing, true, server_now)
            }
            Err(failure) => return Err(Ended::Failed(failure.into())),
        };
        if let Some(failure) = started.failure() {
            guard.over();
            return Err(if met { Ended::Burnt(failure) } else { Ended::Failed(failure.of(id)) });
        }
        guard.learn(started.location());
        let joined = met && !guard.taken();
        let ours = !met || guard.made(started.statistics.created_at(), server_now);
        let location = guard.location().map(str::to_owned);
        let location = location.as_deref();
        let place = results::Place { rest: &self.rest, project: &self.defaults.project, id, location };
        let answer = match place.wait().await {
            Ok(answer) => answer,
            Err(failure) if failure.is_stopped() => {
                guard.over();
                return Err(self.stopped(job, id, location, failure, met).await);
            }
            Err(failure) => return Err(Ended::Failed(failure.of(id))),
        };
        // It stays ours until its answer is read: the next try reads the answer of its own job.
        guard.ended();
        match self.gather(&place, answer).await {
            Ok(outcome) => {
                guard.over();
                Ok(Outcome { joined, ours, ..outcome })
            }
            // The job ended well and was billed; nobody reads its answer again.
            Err(failure) if failure.kind() == Kind::TooLarge => {
                let ended = self.get(id, location).await.map_err(|failure| Ended::Failed(failure.of(id)))?;
                guard.over();
                Err(Ended::Failed(failure.of(id).with_source(ended.statistics.billed(ours))))
            }
            Err(failure) => Err(Ended::Failed(failure.of(id))),
        }
    }

    /// The job that already has the id, and the server's time, where it says so.
    async fn join(&self, job: &Job, id: &str, guard: &mut Guard) -> Result<(JobResource, Option<Timestamp>), Ended> {
        let existing = self.get_dated(id, guard.location()).await;
        let existing = match existing {
            // Without a location BigQuery looks for jobs in the US and the EU alone, but for tables everywhere.
            Err(failure) if failure.kind() == Kind::NotFound && guard.location().is_none() => {
                let place = self.check(job).await.map_err(|failure| Ended::Failed(failure.of(id)))?;
                guard.learn(place.location());
                if guard.location().is_none() {
                    return Err(Ended::Failed(Error::invalid(format!(
                        "BigQuery job {id} exists, but not in the US or EU; set the processing location"
                    ))));
                }
                self.get_dated(id, guard.location()).await
            }
            existing => existing,
        };
        existing.map_err(|failure| Ended::Failed(failure.of(id)))
    }

    /// What it means that the job was stopped while we waited.
    async fn stopped(&self, job: &Job, id: &str, location: Option<&str>, failure: Failure, met: bool) -> Ended {
        if self.ran_out_of_time(job, id, location).await {
            let error = Error::new(Kind::Timeout, format!("BigQuery job {id} ran longer than its timeout"));
            return Ended::Failed(error.with_source(failure));
        }
        // Whoever started a job that we met did not want it any more; we still do. Our own was stopped
        // by someone with a reason.
        if met { Ended::Burnt(failure) } else { Ended::Failed(failure.of(id)) }
    }

    /// A job over its time is stopped with the same reason as a cancelled one, so its times tell.
    async fn ran_out_of_time(&self, job: &Job, id: &str, location: Option<&str>) -> bool {
        let Ok(ended) = self.get(id, location).await else { return false };
        let sent = ended.configuration.as_ref().and_then(|configuration| configuration.job_timeout_ms);
        let timeout_ms = sent.map(u128::from).or(self.defaults.timeout(job).map(|timeout| timeout.as_millis()));
        let times = ended.statistics.creation_time.zip(ended.statistics.end_time);
        match (timeout_ms, times) {
            (Some(timeout_ms), Some((created, ended))) => u128::from(ended.saturating_sub(created)) >= timeout_ms,
            _ => false,
        }
    }

    /// The outcome as of a job that nobody else asked for.
    async fn gather(&self, place: &results::Place<'_>, answer: Answer) -> Result<Outcome, Failure> {
        let total_rows = answer.total_rows;
        let arrow = arrow_schema(&answer.schema)?;
        let largest = self.largest_answer_bytes;
        let large = self.storage_read_above_rows.is_some_and(|rows| total_rows > rows);
        let (ended, batches) = if let Some(storage) = self.storage.as_ref().filter(|_| large) {
            let ended = self.get(place.id, place.location).await?;
            let batches = match storage.read(ended.destination(), &arrow, total_rows, largest).await {
                Ok(batches) => batches,
                Err(ReadError::Broken(error)) => return Err(error.into()),
                Err(ReadError::Unusable(reason)) => {
                    self.warn(&reason);
                    place.read(answer, &arrow, largest).await?
                }
            };
            (ended, batches)
        } else {
            tokio::try_join!(self.get(place.id, place.location), place.read(answer, &arrow, largest))?
        };
        if let Some(failure) = ended.failure() {
            return Err(failure);
        }
        let started_at = ended.statistics.started_at();
        let Billed { bytes_billed, slot_ms, ours } = ended.statistics.billed(true);
        let query = ended.statistics.query.unwrap_or_default();
        Ok(Outcome {
            batches: Batches::new(arrow, batches)?,
            job_id: place.id.to_owned(),
            bytes_processed: query.total_bytes_processed.or(ended.statistics.total_bytes_processed).unwrap_or(0),
            bytes_billed,
            slot_ms,
            cache_hit: query.cache_hit.unwrap_or(false),
            started_at,
            joined: false,
            ours,
        })
    }

    /// Says once per source that large answers take the slow way.
    fn warn(&self, reason: &Error) {
        if !self.warned.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                project = %self.defaults.project,
                ?reason,
                "large answers are read as JSON: the BigQuery Storage Read API cannot be used; it needs bigquery.readsessions.create"
            );
        }
    }

    async fn get(&self, id: &str, location: Option<&str>) -> Result<JobResource, Failure> {
        Ok(self.get_dated(id, location).await?.0)
    }

    async fn get_dated(&self, id: &str, location: Option<&str>) -> Result<(JobResource, Option<Timestamp>), Failure> {
        let query: Vec<_> = location.iter().map(|location| ("location", (*location).to_owned())).collect();
        self.rest.get_dated(&self.path(&[id]), &query).await
    }

    fn path<'a>(&'a self, rest: &[&'a str]) -> Vec<&'a str> {
        [&["projects", self.defaults.project.as_str(), "jobs"], rest].concat()
    }
}
