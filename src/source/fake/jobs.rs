//! Jobs: one task each, from `RUNNING` to `DONE`, and the registry that knows them by id. It knows
//! the source, and no protocol.

use std::collections::{HashMap, VecDeque};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures::FutureExt;
use parking_lot::Mutex;
use serde_json::Value;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use weir_plan::{TableId, Timestamp};

use super::Shared;
use super::log::JobEnd;
use super::reply::ApiError;
use super::submission::Submission;
use crate::source::{Estimate, Job, Outcome};

/// A job that was inserted.
#[derive(Debug)]
pub(super) struct JobRecord {
    pub(super) job: Job,
    pub(super) location: String,
    pub(super) configuration: Value,
    pub(super) principal: String,
    pub(super) created: Timestamp,
    /// The anonymous table of its answer.
    pub(super) destination: TableId,
    state: watch::Sender<State>,
    cancel: CancellationToken,
}

/// How far a job is.
#[derive(Clone, Debug)]
pub(super) enum State {
    Pending,
    Running(Timestamp),
    Done(Arc<Done>),
}

/// How a job ended.
#[derive(Debug)]
pub(super) struct Done {
    /// `None` for a job that failed in its analysis.
    pub(super) started: Option<Timestamp>,
    pub(super) ended: Timestamp,
    pub(super) result: Result<Answer, ApiError>,
}

/// A successful end.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) estimate: Estimate,
    pub(super) outcome: Outcome,
}

impl JobRecord {
    pub(super) fn state(&self) -> State {
        self.state.borrow().clone()
    }

    /// Waits for the end of the job.
    pub(super) async fn done(&self) -> Arc<Done> {
        loop {
            let state = self.reached(|state| matches!(state, State::Done(_))).await;
            if let State::Done(done) = state {
                return done;
            }
        }
    }

    /// Waits until the job's SQL has been checked.
    ///
    /// # Errors
    /// That of the check, or of a job that failed before it ran.
    pub(super) async fn analysed(&self) -> Result<(), ApiError> {
        match self.reached(|state| !matches!(state, State::Pending)).await {
            State::Done(done) if done.started.is_none() => done.result.as_ref().map(|_| ()).map_err(Clone::clone),
            _ => Ok(()),
        }
    }

    async fn reached(&self, wanted: impl FnMut(&State) -> bool) -> State {
        let mut receiver = self.state.subscribe();
        // The sender is part of `self`: it cannot be gone.
        receiver.wait_for(wanted).await.map_or(State::Pending, |state| state.clone())
    }

    /// Asks the job to stop; one that is done stays as it is.
    pub(super) fn cancel(&self) {
        self.cancel.cancel();
    }

    /// Runs the job to its end.
    async fn drive(&self, shared: &Shared) {
        let run = AssertUnwindSafe(self.run(shared)).catch_unwind();
        let deadline = async {
            match self.job.timeout {
                Some(timeout) => tokio::time::sleep(timeout).await,
                None => std::future::pending().await,
            }
        };
        let result = tokio::select! {
            biased;
            () = self.cancel.cancelled() => Err(stopped("User requested cancellation")),
            result = run => result.unwrap_or_else(|_| Err(ApiError::new(500, "internalError", "the source panicked"))),
            () = deadline => Err(stopped(&format!("Job timed out after {:?}", self.job.timeout.unwrap_or_default()))),
        };
        self.finish(shared, result);
    }

    async fn run(&self, shared: &Shared) -> Result<Answer, ApiError> {
        let estimate = shared.source.dry_run(&self.job).await?;
        let rule = shared.script.take_job(&self.job);
        shared.log.job_started(&self.job);
        self.state.send_replace(State::Running(shared.clock.now()));
        rule.pass().await?;
        let outcome = shared.source.run(self.job.clone()).await?;
        Ok(Answer { estimate, outcome })
    }

    fn finish(&self, shared: &Shared, result: Result<Answer, ApiError>) {
        let started = match self.state() {
            State::Running(started) => Some(started),
            State::Pending | State::Done(_) => None,
        };
        if started.is_some() {
            let end = match &result {
                Ok(answer) => JobEnd { bytes_billed: answer.outcome.bytes_billed, error: None },
                Err(error) => JobEnd { bytes_billed: 0, error: Some(error.reason.clone()) },
            };
            shared.log.job_ended(&self.job.id, &end);
        }
        shared.jobs.finished(&self.job.id);
        let done = Done { started, ended: shared.clock.now(), result };
        self.state.send_replace(State::Done(Arc::new(done)));
    }
}

fn stopped(why: &str) -> ApiError {
    ApiError::new(499, "stopped", format!("Job execution was cancelled: {why}"))
}

/// All jobs that are known; finished ones go, the oldest first, when there are too many.
pub(super) struct Jobs {
    known: Mutex<Known>,
    keep: usize,
}

#[derive(Default)]
struct Known {
    by_id: HashMap<String, Arc<JobRecord>>,
    by_table: HashMap<TableId, Arc<JobRecord>>,
    in_order: VecDeque<String>,
    finished: VecDeque<String>,
}

impl Jobs {
    /// Keeps `keep` finished jobs.
    pub(super) fn new(keep: usize) -> Self {
        Self { known: Mutex::default(), keep }
    }

    /// Starts a job.
    ///
    /// # Errors
    /// `duplicate` if its id is taken; the job of that id is not touched.
    pub(super) fn insert(
        &self,
        shared: &Arc<Shared>,
        submission: Submission,
        principal: &str,
    ) -> Result<Arc<JobRecord>, ApiError> {
        let Submission { mut job, configuration, .. } = submission;
        let location = job.location.get_or_insert_with(|| shared.config.location.clone()).clone();
        let project = &shared.source.identity().project;
        let destination = TableId::new(
            project,
            format!("_{}", super::digest(&[project, principal])),
            format!("anon{}", super::digest(&[project, &job.id])),
        );
        let record = Arc::new(JobRecord {
            location,
            configuration,
            principal: principal.to_owned(),
            created: shared.clock.now(),
            destination,
            state: watch::Sender::new(State::Pending),
            cancel: shared.stop.child_token(),
            job,
        });
        {
            let mut known = self.known.lock();
            let id = &record.job.id;
            if known.by_id.contains_key(id) {
                return Err(ApiError::new(
                    409,
                    "duplicate",
                    format!("Already Exists: Job {project}:{}.{id}", record.location),
                ));
            }
            known.by_id.insert(id.clone(), Arc::clone(&record));
            known.by_table.insert(record.destination.clone(), Arc::clone(&record));
            known.in_order.push_back(id.clone());
        }
        let driven = Arc::clone(&record);
        let driving = Arc::clone(shared);
        shared.running.spawn(async move { driven.drive(&driving).await });
        Ok(record)
    }

    /// Finds a job by id, and by location as `BigQuery` does: outside the multi-regions US and EU it
    /// must be named.
    ///
    /// # Errors
    /// `notFound`.
    pub(super) fn get(&self, project: &str, id: &str, location: Option<&str>) -> Result<Arc<JobRecord>, ApiError> {
        let found = self.known.lock().by_id.get(id).cloned();
        let visible = found.filter(|record| match location {
            Some(location) => record.location.eq_ignore_ascii_case(location),
            None => ["US", "EU"].iter().any(|multi| record.location.eq_ignore_ascii_case(multi)),
        });
        visible.ok_or_else(|| {
            let location = location.map(|location| format!("{location}.")).unwrap_or_default();
            ApiError::not_found(format!("Job {project}:{location}{id}"))
        })
    }

    /// The job whose answer is in `table`.
    pub(super) fn of_table(&self, table: &TableId) -> Option<Arc<JobRecord>> {
        self.known.lock().by_table.get(table).cloned()
    }

    /// The newest jobs first.
    pub(super) fn newest(&self, limit: usize) -> Vec<Arc<JobRecord>> {
        let known = self.known.lock();
        known.in_order.iter().rev().filter_map(|id| known.by_id.get(id).cloned()).take(limit).collect()
    }

    fn finished(&self, id: &str) {
        let mut known = self.known.lock();
        known.finished.push_back(id.to_owned());
        while known.finished.len() > self.keep.max(1) {
            let Some(oldest) = known.finished.pop_front() else { break };
            if let Some(record) = known.by_id.remove(&oldest) {
                known.by_table.remove(&record.destination);
            }
            known.in_order.retain(|id| *id != oldest);
        }
    }
}
