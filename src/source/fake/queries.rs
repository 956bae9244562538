//! The methods of `jobs`: insert, get, query, getQueryResults, cancel, list.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::Path;
use axum::response::Response;
use serde_json::{Value, json};

use super::jobs::{JobRecord, State};
use super::log::CallKind;
use super::pages::{PageRequest, page};
use super::reply::{ApiError, Reply};
use super::resources;
use super::rest::{Admitted, Asked};
use super::rows::Timestamps;
use super::submission::{QueryRequest, Submission, parse_error};

/// How long `getQueryResults` and `jobs.query` wait where the caller does not say.
const DEFAULT_WAIT_MS: u64 = 10_000;

pub(super) async fn insert_job(asked: Asked, Path(project): Path<String>, body: Bytes) -> Response {
    let submission = Submission::of_insert(&project, &body);
    let kind = match &submission {
        Ok(submission) if submission.dry_run => CallKind::DryRun,
        _ => CallKind::Insert,
    };
    let job = submission.as_ref().ok().map(|submission| submission.job.clone());
    let describe = |call: &mut super::Call| {
        call.job_id = job.as_ref().map(|job| job.id.clone());
        call.job = job;
    };
    asked
        .answer(kind, describe, |admitted| async move {
            admitted.check_project(&project)?;
            let submission = submission?;
            if submission.dry_run {
                return admitted.dry_run(submission).await.map(Reply::new);
            }
            let record = admitted.start(submission).await?;
            resources::job(&record).map(Reply::new)
        })
        .await
}

pub(super) async fn query(asked: Asked, Path(project): Path<String>, body: Bytes) -> Response {
    let parsed = serde_json::from_slice::<Value>(&body).and_then(|body| {
        let request: QueryRequest = serde_json::from_value(body.clone())?;
        Ok((request, body))
    });
    let parsed = parsed.map_err(|error| parse_error(&error)).and_then(|(request, body)| {
        let options = FirstPage {
            max_rows: request.max_results,
            wait_ms: request.timeout_ms.unwrap_or(DEFAULT_WAIT_MS),
            timestamps: if request.format_options.use_int64_timestamp {
                Timestamps::Int64Micros
            } else {
                Timestamps::FloatSeconds
            },
        };
        Ok((Submission::of_query(&project, request, &body)?, options))
    });
    let job = parsed.as_ref().ok().map(|(submission, _)| submission.job.clone());
    let kind = match &parsed {
        Ok((submission, _)) if submission.dry_run => CallKind::DryRun,
        _ => CallKind::Query,
    };
    let describe = |call: &mut super::Call| {
        call.job_id = job.as_ref().map(|job| job.id.clone());
        call.job = job;
    };
    asked
        .answer(kind, describe, |admitted| async move {
            admitted.check_project(&project)?;
            let (submission, options) = parsed?;
            if submission.dry_run {
                return admitted.dry_run_query(submission).await.map(Reply::new);
            }
            let id = submission.job.id.clone();
            let location = submission.job.location.clone();
            let record = match admitted.start(submission).await {
                // The same requestId: the same job.
                Err(error) if error.reason == "duplicate" => {
                    let location = location.unwrap_or_else(|| admitted.shared.config.location.clone());
                    admitted.shared.jobs.get(&project, &id, Some(&location))?
                }
                other => other?,
            };
            let request = PageRequest {
                start: 0,
                max_rows: options.max_rows,
                max_bytes: admitted.shared.config.page_bytes,
                short: admitted.short,
                timestamps: options.timestamps,
            };
            admitted.results("bigquery#queryResponse", &record, options.wait_ms, request).await
        })
        .await
}

/// What `jobs.query` says of its first page.
struct FirstPage {
    max_rows: Option<u64>,
    wait_ms: u64,
    timestamps: Timestamps,
}

pub(super) async fn get_query_results(asked: Asked, Path(job): Path<(String, String)>) -> Response {
    let work = |admitted: Admitted, record: Arc<JobRecord>| async move {
        let request = PageRequest {
            start: admitted.first_row(&record.destination.table)?,
            max_rows: admitted.number("maxResults")?,
            max_bytes: admitted.shared.config.page_bytes,
            short: admitted.short,
            timestamps: admitted.timestamps(),
        };
        let wait_ms = admitted.number("timeoutMs")?.unwrap_or(DEFAULT_WAIT_MS);
        admitted.results("bigquery#getQueryResultsResponse", &record, wait_ms, request).await
    };
    asked.answer_of_job(CallKind::GetResults, job, work).await
}

pub(super) async fn get_job(asked: Asked, Path(job): Path<(String, String)>) -> Response {
    let work = |_, record: Arc<JobRecord>| async move { resources::job(&record).map(Reply::new) };
    asked.answer_of_job(CallKind::GetJob, job, work).await
}

pub(super) async fn cancel_job(asked: Asked, Path(job): Path<(String, String)>) -> Response {
    let work = |_, record: Arc<JobRecord>| async move {
        record.cancel();
        Ok(Reply::new(json!({"kind": "bigquery#jobCancelResponse", "job": resources::job(&record)?})))
    };
    asked.answer_of_job(CallKind::Cancel, job, work).await
}

impl Asked {
    /// Answers a request about the job of a project that its path names, and logs that name.
    async fn answer_of_job<F>(
        self,
        kind: CallKind,
        (project, job): (String, String),
        work: impl FnOnce(Admitted, Arc<JobRecord>) -> F,
    ) -> Response
    where
        F: Future<Output = Result<Reply, ApiError>>,
    {
        let id = job.clone();
        let describe = |call: &mut super::Call| call.job_id = Some(id);
        self.answer(kind, describe, |admitted| async move {
            let record = admitted.job(&project, &job)?;
            work(admitted, record).await
        })
        .await
    }
}

pub(super) async fn list_jobs(asked: Asked, Path(project): Path<String>) -> Response {
    asked
        .answer(
            CallKind::ListJobs,
            |_| {},
            |admitted| async move {
                admitted.check_project(&project)?;
                let limit = admitted.number("maxResults")?.unwrap_or(50);
                let wanted = admitted.params.get("stateFilter").map(|state| state.to_ascii_uppercase());
                let jobs =
                    admitted.shared.jobs.newest(usize::MAX).into_iter().map(|record| resources::listed_job(&record));
                let jobs = jobs.filter(|job| match (job, &wanted) {
                    (Ok(job), Some(wanted)) => job["state"] == **wanted,
                    _ => true,
                });
                let jobs = jobs.take(usize::try_from(limit).unwrap_or(usize::MAX)).collect::<Result<Vec<_>, _>>()?;
                Ok(Reply::new(json!({"kind": "bigquery#jobList", "etag": "weir", "jobs": jobs})))
            },
        )
        .await
}

impl Admitted {
    /// Starts a job, and waits until its SQL is checked.
    ///
    /// # Errors
    /// `duplicate`, and those of the check unless they are configured to end the job instead.
    async fn start(&self, submission: Submission) -> Result<Arc<JobRecord>, ApiError> {
        let record = self.shared.jobs.insert(&self.shared, submission, &self.principal)?;
        if !self.shared.config.late_errors {
            record.analysed().await?;
        }
        Ok(record)
    }

    async fn dry_run(&self, submission: Submission) -> Result<Value, ApiError> {
        let Submission { job, configuration, .. } = submission;
        let estimate = self.shared.source.dry_run(&job).await?;
        let project = &self.shared.source.identity().project;
        let location = job.location.as_ref().unwrap_or(&self.shared.config.location);
        resources::dry_run(project, location, configuration, &estimate, self.shared.clock.now())
    }

    async fn dry_run_query(&self, submission: Submission) -> Result<Value, ApiError> {
        let mut job = self.dry_run(submission).await?;
        Ok(json!({
            "kind": "bigquery#queryResponse",
            "jobReference": job["jobReference"].take(),
            "jobComplete": true,
            "cacheHit": false,
            "totalBytesProcessed": job["statistics"]["totalBytesProcessed"].take(),
            "schema": job["statistics"]["query"]["schema"].take(),
        }))
    }

    fn job(&self, project: &str, id: &str) -> Result<Arc<JobRecord>, ApiError> {
        self.check_project(project)?;
        self.shared.jobs.get(project, id, self.params.get("location").map(String::as_str))
    }

    /// The first row that a request for a page wants: of its token, else its `startIndex`.
    pub(super) fn first_row(&self, table: &str) -> Result<u64, ApiError> {
        match self.params.get("pageToken").filter(|token| !token.is_empty()) {
            Some(token) => {
                row_of_token(table, token).ok_or_else(|| ApiError::invalid(format!("Invalid page token {token:?}")))
            }
            None => Ok(self.number("startIndex")?.unwrap_or(0)),
        }
    }

    /// A page of a job's answer, once the job is done.
    ///
    /// # Errors
    /// The job's.
    async fn results(
        &self,
        kind: &str,
        record: &JobRecord,
        wait_ms: u64,
        request: PageRequest,
    ) -> Result<Reply, ApiError> {
        let wait = Duration::from_millis(wait_ms).min(self.shared.config.longest_wait);
        if !matches!(record.state(), State::Done(_)) && !wait.is_zero() {
            tokio::select! {
                _ = record.done() => {}
                () = tokio::time::sleep(wait) => {}
            }
        }
        let State::Done(done) = record.state() else {
            return Ok(Reply::new(resources::incomplete(kind, record)));
        };
        let answer = done.result.as_ref().map_err(Clone::clone)?;
        let mut fields = resources::results(kind, record, answer)?;
        let page = page(&answer.outcome.batches, request)?;
        if let Some(next) = page.next {
            fields["pageToken"] = page_token(&record.destination.table, next).into();
        }
        Ok(Reply::new(fields).with_rows(page.rows))
    }
}

/// A token that is good for one answer only.
pub(super) fn page_token(table: &str, row: u64) -> String {
    format!("{}-{row}", super::digest(&["page", table]))
}

fn row_of_token(table: &str, token: &str) -> Option<u64> {
    let (digest, row) = token.split_once('-')?;
    (digest == super::digest(&["page", table])).then(|| row.parse().ok())?
}
