//! What reached the server: every request, and every job that ran. It answers nothing.

use std::collections::{BTreeMap, VecDeque};

use parking_lot::Mutex;
use tokio::sync::Notify;
use weir_plan::{Parameter, TableId, Timestamp};

use super::Fault;
use crate::config::Secret;
use crate::source::{Job, Priority};

/// What a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum CallKind {
    /// `POST /token`.
    Token,
    /// The security token service: `POST /v1/token`.
    Exchange,
    /// IAM: `serviceAccounts.generateAccessToken`.
    Impersonate,
    /// `projects.list`.
    ListProjects,
    /// `datasets.list`.
    ListDatasets,
    /// `datasets.get`.
    GetDataset,
    /// `tables.list`.
    ListTables,
    /// `tables.get`.
    GetTable,
    /// `tabledata.list`.
    ReadTable,
    /// `jobs.insert` of a job that is to run.
    Insert,
    /// `jobs.insert` or `jobs.query` with `dryRun`.
    DryRun,
    /// `jobs.query`.
    Query,
    /// `jobs.get`.
    GetJob,
    /// `jobs.getQueryResults`.
    GetResults,
    /// `jobs.cancel`.
    Cancel,
    /// `jobs.list`.
    ListJobs,
    /// Storage Read: `CreateReadSession`.
    CreateReadSession,
    /// Storage Read: `ReadRows`.
    ReadRows,
    /// Storage Read: `SplitReadStream`, which is refused.
    SplitReadStream,
    /// A path that the server does not have.
    Unknown,
}

/// One request, logged before it was answered.
#[derive(Clone, Debug)]
pub struct Call {
    /// When it came, by the server's clock.
    pub at: Timestamp,
    /// What it asks for.
    pub kind: CallKind,
    /// HTTP method; `POST` over gRPC.
    pub method: String,
    /// Path without the query.
    pub path: String,
    /// Parameters in the path's query.
    pub params: BTreeMap<String, String>,
    /// The job, where the request names one.
    pub job_id: Option<String>,
    /// The job's definition, where the request carries one.
    pub job: Option<Job>,
    /// The table, where the request names one.
    pub table: Option<TableId>,
    /// The bearer token as it came.
    pub token: Option<Secret>,
    /// Whom the token was given to.
    pub principal: Option<String>,
    /// The scripted fault that the request met.
    pub fault: Option<Fault>,
}

impl Call {
    /// Plain SQL, where the request carries some.
    pub fn sql(&self) -> Option<&str> {
        self.job.as_ref().map(|job| job.sql.as_str())
    }

    /// The job's labels.
    pub fn labels(&self) -> Option<&BTreeMap<String, String>> {
        self.job.as_ref().map(|job| &job.labels)
    }

    /// The job's parameters.
    pub fn parameters(&self) -> Option<&BTreeMap<String, Parameter>> {
        self.job.as_ref().map(|job| &job.parameters)
    }
}

/// A job that ran, or runs.
#[derive(Clone, Debug, PartialEq)]
pub struct JobRun {
    /// Its id.
    pub id: String,
    /// Its SQL.
    pub sql: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its priority.
    pub priority: Priority,
    /// How it ended; `None` while it runs.
    pub end: Option<JobEnd>,
}

/// How a job ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobEnd {
    /// Bytes on the bill; zero for a job that failed.
    pub bytes_billed: u64,
    /// `BigQuery`'s reason for a failure: `stopped`, `invalidQuery` …
    pub error: Option<String>,
}

/// The log; the oldest entries go when it is full.
pub(super) struct CallLog {
    entries: Mutex<Entries>,
    keep: usize,
    changed: Notify,
}

#[derive(Default)]
struct Entries {
    calls: VecDeque<Call>,
    runs: VecDeque<JobRun>,
}

impl CallLog {
    pub(super) fn new(keep: usize) -> Self {
        Self { entries: Mutex::default(), keep, changed: Notify::new() }
    }

    pub(super) fn push(&self, call: Call) {
        tracing::debug!(kind = ?call.kind, job = call.job_id, fault = ?call.fault, "a call reached the fake BigQuery");
        push_bounded(&mut self.entries.lock().calls, call, self.keep);
        self.changed.notify_waiters();
    }

    pub(super) fn job_started(&self, job: &Job) {
        let run = JobRun {
            id: job.id.clone(),
            sql: job.sql.clone(),
            labels: job.labels.clone(),
            priority: job.priority,
            end: None,
        };
        push_bounded(&mut self.entries.lock().runs, run, self.keep);
        self.changed.notify_waiters();
    }

    pub(super) fn job_ended(&self, id: &str, end: &JobEnd) {
        let mut entries = self.entries.lock();
        if let Some(run) = entries.runs.iter_mut().rev().find(|run| run.id == id && run.end.is_none()) {
            run.end = Some(end.clone());
        }
        drop(entries);
        self.changed.notify_waiters();
    }

    pub(super) fn calls(&self) -> Vec<Call> {
        self.entries.lock().calls.iter().cloned().collect()
    }

    pub(super) fn runs(&self) -> Vec<JobRun> {
        self.entries.lock().runs.iter().cloned().collect()
    }

    pub(super) fn clear(&self) {
        *self.entries.lock() = Entries::default();
    }

    /// Waits until `reached` holds, asked again after each change.
    pub(super) async fn until(&self, reached: impl Fn(&[Call], &[JobRun]) -> bool) {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if reached(&self.calls(), &self.runs()) {
                return;
            }
            changed.await;
        }
    }
}

fn push_bounded<T>(entries: &mut VecDeque<T>, entry: T, keep: usize) {
    while entries.len() >= keep.max(1) {
        entries.pop_front();
    }
    entries.push_back(entry);
}
