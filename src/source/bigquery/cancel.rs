//! A job lives as long as someone waits for it: dropping its guard cancels it at `BigQuery`.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio_util::task::TaskTracker;
use weir_plan::{Error, Result};

use super::errors::Failure;
use super::models::JobResource;
use super::rest::Rest;

/// `jobs.cancel` answers in this time or is given up: the job's own timeout is the second line.
const CANCEL_TIMEOUT: Duration = Duration::from_secs(10);

/// More ids than this are never in flight; those of lost answers would pile up.
const MAX_STARTED: usize = 10_000;

/// Jobs that this process started and has not seen the end of, and cancellations under way.
///
/// A job that another replica started is joined but never cancelled: others may be waiting for it.
#[derive(Clone, Default)]
pub(super) struct Running {
    started: Arc<Mutex<HashSet<String>>>,
    cancels: TaskTracker,
}

impl Running {
    /// Waits until every cancellation under way has been sent.
    pub(super) async fn settled(&self) {
        self.cancels.close();
        self.cancels.wait().await;
        self.cancels.reopen();
    }
}

/// Cancels a job unless it is told that the job is over.
pub(super) struct Guard {
    rest: Arc<Rest>,
    running: Running,
    project: String,
    id: String,
    location: Option<String>,
    insert: Option<JoinHandle<Result<JobResource, Failure>>>,
    /// Whether this process started the job, now or at an earlier try.
    ours: bool,
    armed: bool,
}

impl Guard {
    /// Starts a job by `insert`, which runs on even if the guard is dropped: only then is it known
    /// whether there is a job to cancel.
    pub(super) fn start(
        rest: Arc<Rest>,
        running: Running,
        project: &str,
        id: &str,
        location: Option<&str>,
        insert: impl Future<Output = Result<JobResource, Failure>> + Send + 'static,
    ) -> Self {
        let ours = {
            let mut started = running.started.lock();
            if started.len() >= MAX_STARTED {
                started.clear();
            }
            !started.insert(id.to_owned())
        };
        Self {
            rest,
            running,
            project: project.to_owned(),
            id: id.to_owned(),
            location: location.map(str::to_owned),
            insert: Some(tokio::spawn(insert)),
            ours,
            armed: true,
        }
    }

    /// The answer to `jobs.insert`. May be called once.
    pub(super) async fn inserted(&mut self) -> Result<JobResource, Failure> {
        let Some(insert) = &mut self.insert else {
            return Err(Error::internal("a job was started twice").into());
        };
        let answer = insert.await;
        self.insert = None;
        let answer = answer
            .unwrap_or_else(|error| Err(Error::internal("the call of jobs.insert died").with_source(error).into()));
        self.note(&answer);
        answer
    }

    /// The job ended: nothing is left to cancel.
    pub(super) fn over(&mut self) {
        self.running.started.lock().remove(&self.id);
        self.armed = false;
    }

    /// The job may go on, to be joined by the next try.
    pub(super) fn leave(&mut self) {
        self.armed = false;
    }

    fn note(&mut self, answer: &Result<JobResource, Failure>) {
        match answer {
            Ok(job) => {
                self.ours = true;
                self.location = job.location().map(str::to_owned).or(self.location.take());
            }
            // Its answer was lost: there may be a job, and it is ours.
            Err(Failure::Other(_)) => self.ours = true,
            Err(failure) if failure.is_duplicate() => {}
            Err(_) => self.over(),
        }
        if !self.ours {
            self.over();
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if !self.armed {
            return;
        }
        let Ok(runtime) = Handle::try_current() else {
            tracing::warn!(job = %self.id, "a BigQuery job is left running: the runtime has stopped");
            return;
        };
        let insert = self.insert.take();
        let mut guard = Self {
            rest: Arc::clone(&self.rest),
            running: self.running.clone(),
            project: std::mem::take(&mut self.project),
            id: std::mem::take(&mut self.id),
            location: self.location.take(),
            insert: None,
            ours: self.ours,
            armed: false,
        };
        let cancel = async move {
            if let Some(insert) = insert
                && let Ok(answer) = insert.await
            {
                guard.note(&answer);
            }
            if guard.ours {
                guard.cancel().await;
            }
        };
        self.running.cancels.spawn_on(cancel, &runtime);
    }
}

impl Guard {
    async fn cancel(&mut self) {
        let path = ["projects", self.project.as_str(), "jobs", self.id.as_str(), "cancel"];
        let query: Vec<_> = self.location.iter().map(|location| ("location", location.clone())).collect();
        let job = self.id.as_str();
        match tokio::time::timeout(CANCEL_TIMEOUT, self.rest.poke(&path, &query)).await {
            Ok(Ok(())) => tracing::debug!(%job, "cancelled a BigQuery job that nobody waits for"),
            Ok(Err(failure)) => {
                tracing::warn!(%job, error = ?Error::from(failure), "a BigQuery job could not be cancelled");
            }
            Err(_) => tracing::warn!(%job, "a BigQuery job could not be cancelled in time"),
        }
        self.over();
    }
}
