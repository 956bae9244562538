//! A job lives as long as someone waits for it: dropping its guard cancels it at `BigQuery`.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use weir_plan::{Error, Kind, Result, Timestamp};

use super::errors::Failure;
use super::models::JobResource;
use super::rest::Rest;

/// `jobs.cancel` answers in this time or is given up: the job's own timeout is the second line.
const CANCEL_TIMEOUT: Duration = Duration::from_secs(10);

/// A job left running by a failed call is cancelled after this: longer than the longest pause
/// before the next try, 8 s in [`crate::source::limited::Limits`], which joins it.
pub(super) const LEFT: Duration = Duration::from_secs(15);

/// Jobs that this process started and has not seen the end of, and cancellations under way.
///
/// A job that another replica started is joined but never cancelled: others may be waiting for it.
#[derive(Clone, Default)]
pub(super) struct Running {
    state: Arc<Mutex<State>>,
    cancels: TaskTracker,
}

#[derive(Default)]
struct State {
    started: HashMap<String, Started>,
    guards: u64,
    /// Ends the delays of the jobs that are left running.
    hurry: CancellationToken,
}

/// A job that this process started, or may have started.
#[derive(Clone)]
struct Started {
    /// When it was first asked to be inserted.
    sent: Instant,
    /// Where it runs, once `BigQuery` has said so.
    location: Option<String>,
    /// Whether `BigQuery` said that it took the job from us.
    taken: bool,
    /// The latest guard, which alone may cancel the job.
    guard: u64,
}

impl Running {
    /// Cancels the jobs that are left running and waits until every cancellation has been sent.
    pub(super) async fn settled(&self) {
        std::mem::take(&mut self.state.lock().hurry).cancel();
        self.cancels.close();
        self.cancels.wait().await;
        self.cancels.reopen();
    }

    /// The id of a job under way that begins with `prefix`.
    pub(super) fn under_way(&self, prefix: &str) -> Option<String> {
        self.state.lock().started.keys().find(|id| id.starts_with(prefix)).cloned()
    }

    /// Takes a job over from earlier guards; tells whether there were any.
    fn claim(&self, id: &str) -> (Started, bool) {
        let mut state = self.state.lock();
        state.guards += 1;
        let new = Started { sent: Instant::now(), location: None, taken: false, guard: state.guards };
        let earlier = state.started.get(id).cloned();
        let is_known = earlier.is_some();
        let started = earlier.map_or_else(|| new.clone(), |earlier| Started { guard: new.guard, ..earlier });
        state.started.insert(id.to_owned(), started.clone());
        (started, is_known)
    }
}

/// Who started a job.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Origin {
    /// Somebody else, as far as we know.
    Other,
    /// This process, unless its call was lost on the way.
    Doubtful,
    /// This process, now or at an earlier try.
    Ours,
}

/// Cancels a job unless it is told that the job is over.
pub(super) struct Guard {
    rest: Arc<Rest>,
    running: Running,
    project: String,
    id: String,
    location: Option<String>,
    insert: Option<JoinHandle<Result<JobResource, Failure>>>,
    origin: Origin,
    /// When the job was first asked to be inserted.
    sent: Instant,
    /// Whether the job has ended, so that there is nothing to cancel.
    ended: bool,
    number: u64,
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
        let (Started { sent, location: learned, taken, guard: number }, is_known) = running.claim(id);
        let origin = match (is_known, taken) {
            (false, _) => Origin::Other,
            (true, false) => Origin::Doubtful,
            (true, true) => Origin::Ours,
        };
        Self {
            rest,
            running,
            project: project.to_owned(),
            id: id.to_owned(),
            location: learned.or(location.map(str::to_owned)),
            insert: Some(tokio::spawn(insert)),
            origin,
            sent,
            ended: false,
            number,
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

    /// Where the job runs: as `BigQuery` said, now or at an earlier try, or as it was told.
    pub(super) fn location(&self) -> Option<&str> {
        self.location.as_deref()
    }

    /// Whether this process surely started the job, now or at an earlier try.
    pub(super) fn taken(&self) -> bool {
        self.origin == Origin::Ours
    }

    /// Whether a job that was met is the one that this process asked for, by when it was made and by the
    /// server's time now: an insertion that was not answered may have been carried out.
    ///
    /// Both times are `BigQuery`'s, since our clock may be minutes off, and how long ago we asked is
    /// measured without one. The server's time has whole seconds and is as of before its answer arrived,
    /// so a job of another process that is a second or so older is taken for ours, and so is one that
    /// came in between where our insertion was not carried out after all: then both put its bill down.
    /// A server that does not say its time leaves it to the other. Nothing but the ledger depends on it:
    /// its rows are taken to be as old as any other job's that was met.
    pub(super) fn made(&self, created_at: Option<Timestamp>, server_now: Option<Timestamp>) -> bool {
        let since_we_asked = |(created_at, now): (Timestamp, Timestamp)| created_at >= now.minus(self.sent.elapsed());
        match self.origin {
            Origin::Other => false,
            Origin::Doubtful => created_at.zip(server_now).is_some_and(since_we_asked),
            Origin::Ours => true,
        }
    }

    /// Notes where the job runs.
    pub(super) fn learn(&mut self, location: Option<&str>) {
        let Some(location) = location else { return };
        self.location = Some(location.to_owned());
        if let Some(started) = self.running.state.lock().started.get_mut(&self.id) {
            started.location = Some(location.to_owned());
        }
    }

    /// The job ended and its answer is still to be read: nothing is left to cancel.
    pub(super) fn ended(&mut self) {
        self.ended = true;
    }

    /// The job ended and nobody will ask for it again.
    pub(super) fn over(&mut self) {
        let mut state = self.running.state.lock();
        if state.started.get(&self.id).is_some_and(|started| started.guard == self.number) {
            state.started.remove(&self.id);
        }
        self.armed = false;
    }

    /// The job may go on for a while, to be joined by the next try.
    pub(super) fn leave(&mut self) {
        self.give_up(LEFT);
    }

    fn note(&mut self, answer: &Result<JobResource, Failure>) {
        match answer {
            Ok(job) => {
                self.origin = Origin::Ours;
                if let Some(started) = self.running.state.lock().started.get_mut(&self.id) {
                    started.taken = true;
                }
                self.learn(job.location());
            }
            Err(failure) if failure.is_duplicate() => {}
            // There may be a job, and it is ours.
            Err(failure) if failure.leaves_doubt() => {
                if self.origin == Origin::Other {
                    self.origin = Origin::Doubtful;
                }
            }
            // Says nothing about the job of an earlier try.
            Err(failure) if failure.kind() == Kind::QuotaExceeded => {}
            Err(_) => self.origin = Origin::Other,
        }
        if self.origin == Origin::Other {
            self.over();
        }
    }

    /// Cancels the job after a while unless another guard has taken it over by then.
    fn give_up(&mut self, after: Duration) {
        if !std::mem::replace(&mut self.armed, false) {
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
            armed: false,
            ..*self
        };
        let due = Instant::now() + after;
        let hurry = self.running.state.lock().hurry.clone();
        let cancel = async move {
            if let Some(insert) = insert
                && let Ok(answer) = insert.await
            {
                guard.note(&answer);
            }
            tokio::select! {
                () = hurry.cancelled() => {}
                () = sleep_until(due) => {}
            }
            if guard.origin != Origin::Other && !guard.ended && guard.is_latest() {
                guard.cancel().await;
            }
            guard.over();
        };
        self.running.cancels.spawn_on(cancel, &runtime);
    }

    fn is_latest(&self) -> bool {
        self.running.state.lock().started.get(&self.id).is_some_and(|started| started.guard == self.number)
    }

    async fn cancel(&self) {
        let path = ["projects", self.project.as_str(), "jobs", self.id.as_str(), "cancel"];
        let query: Vec<_> = self.location.iter().map(|location| ("location", location.clone())).collect();
        let job = self.id.as_str();
        match tokio::time::timeout(CANCEL_TIMEOUT, self.rest.poke(&path, &query)).await {
            Ok(Ok(())) => tracing::debug!(%job, "cancelled a BigQuery job that nobody waits for"),
            Ok(Err(failure)) if failure.kind() == Kind::NotFound && self.origin == Origin::Doubtful => {
                tracing::debug!(%job, "a BigQuery job whose insertion was not answered does not exist");
            }
            Ok(Err(failure)) => {
                tracing::warn!(%job, error = ?Error::from(failure), "a BigQuery job could not be cancelled");
            }
            Err(_) => tracing::warn!(%job, "a BigQuery job could not be cancelled in time"),
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.give_up(Duration::ZERO);
    }
}
