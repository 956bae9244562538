//! What is to go wrong, and how long jobs take: rules that a test writes and requests use up. It
//! knows neither HTTP nor gRPC.

use std::time::Duration;

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use super::log::{Call, CallKind};
use super::reply::ApiError;
use crate::source::Job;

/// How a request goes wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Not processed: an error in the API's form.
    Status {
        /// HTTP status.
        http: u16,
        /// `BigQuery`'s reason, for example `rateLimitExceeded`.
        reason: String,
    },
    /// Not processed: an error page of a front end, not in the API's form.
    Html {
        /// HTTP status.
        http: u16,
    },
    /// Not processed: the connection is dropped.
    Drop,
    /// Processed, but the connection is dropped before the first byte of the answer.
    LoseAnswer,
    /// Processed, but the connection is dropped in the middle of the answer.
    CutAnswer {
        /// Bytes that get through: of the HTTP message, headers included; over gRPC, of record
        /// batches, whole messages only.
        after_bytes: usize,
    },
    /// Processed, but the page (over gRPC: the stream) ends early as if it were complete.
    ShortPage {
        /// Rows that it still has; over gRPC, up to the next whole message.
        rows: u64,
    },
}

impl Fault {
    /// An error in the API's form.
    pub fn status(http: u16, reason: impl Into<String>) -> Self {
        Self::Status { http, reason: reason.into() }
    }
}

/// How a job goes.
#[derive(Clone, Debug, Default)]
pub struct JobRule {
    takes: Duration,
    gate: Option<Gate>,
    fails: Option<ApiError>,
}

impl JobRule {
    /// The job runs, and ends at once.
    pub fn new() -> Self {
        Self::default()
    }

    /// The job is `RUNNING` for at least this long, in tokio's time.
    #[must_use]
    pub fn takes(mut self, duration: Duration) -> Self {
        self.takes = duration;
        self
    }

    /// The job is `RUNNING` until the gate is opened.
    #[must_use]
    pub fn held_by(mut self, gate: &Gate) -> Self {
        self.gate = Some(gate.clone());
        self
    }

    /// The job fails with this reason after its time, without a run of the source.
    #[must_use]
    pub fn fails(mut self, reason: &str, message: &str) -> Self {
        self.fails = Some(ApiError::new(http_of(reason), reason, message));
        self
    }

    /// Waits for the job's time.
    ///
    /// # Errors
    /// The scripted failure.
    pub(super) async fn pass(&self) -> Result<(), ApiError> {
        if !self.takes.is_zero() {
            tokio::time::sleep(self.takes).await;
        }
        if let Some(gate) = &self.gate {
            gate.0.cancelled().await;
        }
        self.fails.clone().map_or(Ok(()), Err)
    }
}

/// Holds jobs until a test opens it: a duration without a clock.
#[derive(Clone, Debug, Default)]
pub struct Gate(CancellationToken);

impl Gate {
    /// A closed gate.
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets all held jobs go, and all later ones at once.
    pub fn open(&self) {
        self.0.cancel();
    }
}

/// HTTP status with which a job's failure is reported by `getQueryResults`.
/// Source: <https://cloud.google.com/bigquery/docs/error-messages>.
fn http_of(reason: &str) -> u16 {
    match reason {
        "accessDenied" | "quotaExceeded" | "rateLimitExceeded" | "billingNotEnabled" | "blocked"
        | "responseTooLarge" => 403,
        "notFound" => 404,
        "duplicate" => 409,
        "stopped" => 499,
        "internalError" => 500,
        "notImplemented" => 501,
        "backendError" => 503,
        _ => 400,
    }
}

type Matcher<T> = Box<dyn Fn(&T) -> bool + Send + Sync>;

struct Rule<T, R> {
    left: usize,
    matches: Matcher<T>,
    outcome: R,
}

/// The rules, in the order in which they were written; the first that matches is used.
#[derive(Default)]
pub struct Script {
    faults: Mutex<Vec<Rule<Call, Fault>>>,
    jobs: Mutex<Vec<Rule<Job, JobRule>>>,
}

impl Script {
    /// The next `times` requests of a kind meet `fault`.
    pub fn fault(&self, kind: CallKind, times: usize, fault: Fault) {
        self.fault_where(times, fault, move |call| call.kind == kind);
    }

    /// The next `times` requests for which `matches` holds meet `fault`.
    pub fn fault_where(&self, times: usize, fault: Fault, matches: impl Fn(&Call) -> bool + Send + Sync + 'static) {
        self.faults.lock().push(Rule { left: times, matches: Box::new(matches), outcome: fault });
    }

    /// The next `times` jobs follow `rule`.
    pub fn jobs(&self, times: usize, rule: JobRule) {
        self.jobs_where(times, rule, |_| true);
    }

    /// The next `times` jobs for which `matches` holds follow `rule`.
    pub fn jobs_where(&self, times: usize, rule: JobRule, matches: impl Fn(&Job) -> bool + Send + Sync + 'static) {
        self.jobs.lock().push(Rule { left: times, matches: Box::new(matches), outcome: rule });
    }

    /// Forgets all rules; jobs that run keep theirs.
    pub fn clear(&self) {
        self.faults.lock().clear();
        self.jobs.lock().clear();
    }

    pub(super) fn take_fault(&self, call: &Call) -> Option<Fault> {
        take(&mut self.faults.lock(), call)
    }

    pub(super) fn take_job(&self, job: &Job) -> JobRule {
        take(&mut self.jobs.lock(), job).unwrap_or_default()
    }
}

fn take<T, R: Clone>(rules: &mut Vec<Rule<T, R>>, subject: &T) -> Option<R> {
    let index = rules.iter().position(|rule| rule.left > 0 && (rule.matches)(subject))?;
    let rule = &mut rules[index];
    rule.left -= 1;
    let outcome = rule.outcome.clone();
    if rule.left == 0 {
        rules.remove(index);
    }
    Some(outcome)
}
