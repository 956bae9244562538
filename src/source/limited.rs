//! Permits and retries round a source.
//!
//! The only place that retries. A retry carries the same job, whose id makes it join what the
//! earlier try may have left running; so no work is paid for twice.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use rand::Rng;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Instant, sleep, timeout};
use weir_plan::{Error, Kind, Result, Retry, TableId};

use super::{Estimate, Identity, Job, Listed, Outcome, Project, Source, Table};

/// How a source is limited.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Jobs that run at a time.
    pub jobs: usize,
    /// Free calls (dry runs, tables) at a time; apart, so that long jobs do not hold them up.
    pub free_calls: usize,
    /// A call that gets no permit within this time is `Overloaded`.
    pub longest_wait: Duration,
    /// Tries after the first.
    pub retries: u32,
    /// Mean pause before the first retry; doubles with each.
    pub first_pause: Duration,
    /// Longest pause. A source that asks for a longer one is not asked again: its error, with the
    /// delay, goes to the caller.
    pub longest_pause: Duration,
}

impl Default for Limits {
    /// `BigQuery` runs about 100 interactive jobs of a project at a time and queues the rest
    /// (<https://cloud.google.com/bigquery/quotas#query_jobs>): a third of them are ours. All retries
    /// and their pauses together fit the default deadline of a query.
    fn default() -> Self {
        Self {
            jobs: 32,
            free_calls: 32,
            longest_wait: Duration::from_secs(30),
            retries: 4,
            first_pause: Duration::from_millis(250),
            longest_pause: Duration::from_secs(8),
        }
    }
}

/// A source with limits.
pub struct Limited {
    source: Arc<dyn Source>,
    limits: Limits,
    jobs: Arc<Semaphore>,
    free_calls: Arc<Semaphore>,
}

impl Limited {
    /// Wraps a source.
    pub fn new(source: Arc<dyn Source>, limits: Limits) -> Self {
        let permits = |count: usize| Arc::new(Semaphore::new(count.clamp(1, Semaphore::MAX_PERMITS)));
        Self { source, jobs: permits(limits.jobs), free_calls: permits(limits.free_calls), limits }
    }

    /// The same limits, together with this source, round another one: the project behind another login.
    #[must_use]
    pub fn round(&self, source: Arc<dyn Source>) -> Self {
        Self {
            source,
            limits: self.limits.clone(),
            jobs: Arc::clone(&self.jobs),
            free_calls: Arc::clone(&self.free_calls),
        }
    }

    /// Calls until it goes well, the error is one that stays, or the retries are used up. The permit
    /// is kept through the pauses, so that a source in trouble gets fewer calls and not more.
    async fn call<T, F>(&self, permits: &Semaphore, call: impl Fn() -> F + Send + Sync) -> Result<T>
    where
        F: Future<Output = Result<T>> + Send,
    {
        let _permit = self.permit(permits).await?;
        let mut tried = 0;
        loop {
            let error = match call().await {
                Ok(value) => return Ok(value),
                Err(error) => error,
            };
            let Some(pause) = self.pause(&error, tried) else { return Err(error) };
            tried += 1;
            tracing::debug!(?error, tried, ?pause, "a call of the source failed and is tried again");
            sleep(pause).await;
        }
    }

    async fn permit<'a>(&self, permits: &'a Semaphore) -> Result<SemaphorePermit<'a>> {
        let asked = Instant::now();
        if let Ok(Ok(permit)) = timeout(self.limits.longest_wait, permits.acquire()).await {
            return Ok(permit);
        }
        let message = format!(
            "project {} has had all its calls in use for {} s; try again later",
            self.identity().project,
            asked.elapsed().as_secs()
        );
        Err(Error::new(Kind::Overloaded, message).with_retry_after(RETRY_AFTER))
    }

    /// How long to wait before the next try; `None` if there is none.
    fn pause(&self, error: &Error, tried: u32) -> Option<Duration> {
        if tried >= self.limits.retries {
            return None;
        }
        let backoff = self.limits.first_pause.saturating_mul(1 << tried.min(20)).min(self.limits.longest_pause);
        let jittered = backoff.mul_f64(rand::rng().random_range(0.5..1.5)).min(self.limits.longest_pause);
        match error.kind().row().retry {
            Retry::Yes => Some(jittered),
            Retry::AfterDelay => {
                let wished = error.retry_after().unwrap_or_default();
                (wished <= self.limits.longest_pause).then(|| jittered.max(wished))
            }
            // A job past its deadline is not hurried by asking again; whoever still wants it joins it.
            Retry::No | Retry::Reattach => None,
        }
    }
}

/// Callers that got no permit are asked to stay away this long.
const RETRY_AFTER: Duration = Duration::from_secs(5);

#[async_trait]
impl Source for Limited {
    fn identity(&self) -> &Identity {
        self.source.identity()
    }

    async fn dry_run(&self, job: &Job) -> Result<Estimate> {
        self.call(&self.free_calls, || self.source.dry_run(job)).await
    }

    async fn run(&self, job: Job) -> Result<Outcome> {
        self.call(&self.jobs, || self.source.run(job.clone())).await
    }

    async fn table(&self, table: &TableId) -> Result<Table> {
        self.call(&self.free_calls, || self.source.table(table)).await
    }

    async fn list_projects(&self) -> Result<Vec<Project>> {
        self.call(&self.free_calls, || self.source.list_projects()).await
    }

    async fn list_datasets(&self, project: &str) -> Result<Vec<String>> {
        self.call(&self.free_calls, || self.source.list_datasets(project)).await
    }

    async fn list_tables(&self, project: &str, dataset: &str) -> Result<Vec<Listed>> {
        self.call(&self.free_calls, || self.source.list_tables(project, dataset)).await
    }

    async fn settled(&self) {
        self.source.settled().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batches::Batches;
    use arrow::datatypes::Schema;
    use parking_lot::Mutex;
    use std::collections::VecDeque;
    use std::sync::LazyLock;
    use tokio::sync::Notify;

    static IDENTITY: LazyLock<Identity> = LazyLock::new(|| Identity {
        kind: "scripted",
        project: "p".to_owned(),
        principal: "anonymous".to_owned(),
        endpoint: None,
        location: None,
    });

    /// Fails as told, then answers; runs wait for the gate where there is one.
    #[derive(Default)]
    struct Scripted {
        failures: Mutex<VecDeque<Error>>,
        calls: Mutex<Vec<(String, Instant)>>,
        gate: Option<Notify>,
    }

    impl Scripted {
        fn failing(failures: impl IntoIterator<Item = Error>) -> Arc<Self> {
            Arc::new(Self { failures: Mutex::new(failures.into_iter().collect()), ..Self::default() })
        }

        fn step(&self, id: &str) -> Result<()> {
            self.calls.lock().push((id.to_owned(), Instant::now()));
            self.failures.lock().pop_front().map_or(Ok(()), Err)
        }

        fn calls(&self) -> usize {
            self.calls.lock().len()
        }

        /// Pauses between the calls.
        fn pauses(&self) -> Vec<Duration> {
            self.calls.lock().windows(2).map(|pair| pair[1].1 - pair[0].1).collect()
        }
    }

    #[async_trait]
    impl Source for Scripted {
        fn identity(&self) -> &Identity {
            &IDENTITY
        }

        async fn dry_run(&self, job: &Job) -> Result<Estimate> {
            self.step(&job.id)?;
            Ok(Estimate {
                bytes_processed: 0,
                schema: Arc::new(Schema::empty()),
                statement_type: "SELECT".to_owned(),
                referenced_tables: vec![],
            })
        }

        async fn run(&self, job: Job) -> Result<Outcome> {
            self.step(&job.id)?;
            if let Some(gate) = &self.gate {
                gate.notified().await;
            }
            Ok(Outcome {
                batches: Batches::empty(Arc::new(Schema::empty())),
                job_id: job.id,
                bytes_processed: 0,
                bytes_billed: 0,
                slot_ms: 0,
                cache_hit: false,
                started_at: None,
                joined: false,
                ours: true,
            })
        }

        async fn table(&self, table: &TableId) -> Result<Table> {
            self.step(&table.table)?;
            Err(Error::not_found("no table"))
        }

        async fn list_projects(&self) -> Result<Vec<Project>> {
            self.step("projects")?;
            Ok(vec![])
        }

        async fn list_datasets(&self, project: &str) -> Result<Vec<String>> {
            self.step(project)?;
            Ok(vec![])
        }

        async fn list_tables(&self, project: &str, dataset: &str) -> Result<Vec<Listed>> {
            self.step(&format!("{project}.{dataset}"))?;
            Ok(vec![])
        }
    }

    fn unavailable() -> Error {
        Error::new(Kind::Unavailable, "down")
    }

    fn busy(seconds: u64) -> Error {
        Error::new(Kind::QuotaExceeded, "slow down").with_retry_after(Duration::from_secs(seconds))
    }

    #[tokio::test(start_paused = true)]
    async fn a_passing_failure_is_retried_with_the_same_id_and_growing_pauses() {
        let source = Scripted::failing([unavailable(), unavailable(), unavailable()]);
        let limited = Limited::new(Arc::clone(&source) as Arc<dyn Source>, Limits::default());
        limited.run(Job::new("a", "SELECT 1")).await.unwrap();
        assert!(source.calls.lock().iter().all(|(id, _)| id == "a"));
        let pauses = source.pauses();
        assert_eq!(pauses.len(), 3);
        for (pause, mean) in pauses.iter().zip([250, 500, 1000]) {
            let (least, most) = (Duration::from_millis(mean / 2), Duration::from_millis(mean * 3 / 2 + 2));
            assert!((least..=most).contains(pause), "{pause:?} for a mean of {mean} ms");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn retries_end() {
        let source = Scripted::failing((0..100).map(|_| unavailable()));
        let limited = Limited::new(Arc::clone(&source) as Arc<dyn Source>, Limits::default());
        let error = limited.run(Job::new("a", "SELECT 1")).await.unwrap_err();
        assert_eq!((error.kind(), source.calls()), (Kind::Unavailable, 5));
    }

    #[tokio::test(start_paused = true)]
    async fn lists_are_retried_like_every_free_call() {
        let source = Scripted::failing([unavailable()]);
        let limited = Limited::new(Arc::clone(&source) as Arc<dyn Source>, Limits::default());
        limited.list_projects().await.unwrap();
        limited.list_datasets("p").await.unwrap();
        limited.list_tables("p", "d").await.unwrap();
        let asked: Vec<_> = source.calls.lock().iter().map(|(id, _)| id.clone()).collect();
        assert_eq!(asked, ["projects", "projects", "p", "p.d"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_failure_that_stays_is_not_retried() {
        for kind in [Kind::InvalidQuery, Kind::TooExpensive, Kind::Timeout, Kind::ClientGone, Kind::NotFound] {
            let source = Scripted::failing([Error::new(kind, "no")]);
            let limited = Limited::new(Arc::clone(&source) as Arc<dyn Source>, Limits::default());
            assert_eq!(limited.run(Job::new("a", "SELECT 1")).await.unwrap_err().kind(), kind);
            assert_eq!(source.calls(), 1, "{kind:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_delay_that_the_source_asks_for_is_kept_up_to_a_limit() {
        let source = Scripted::failing([busy(7)]);
        let limited = Limited::new(Arc::clone(&source) as Arc<dyn Source>, Limits::default());
        limited.dry_run(&Job::new("a", "SELECT 1")).await.unwrap();
        assert!(source.pauses()[0] >= Duration::from_secs(7), "{:?}", source.pauses());

        let source = Scripted::failing([busy(600)]);
        let limited = Limited::new(Arc::clone(&source) as Arc<dyn Source>, Limits::default());
        let error = limited.dry_run(&Job::new("a", "SELECT 1")).await.unwrap_err();
        assert_eq!((error.retry_after(), source.calls()), (Some(Duration::from_mins(10)), 1));
    }

    #[tokio::test(start_paused = true)]
    async fn one_job_too_many_waits_and_is_then_refused_while_free_calls_pass() {
        let source = Arc::new(Scripted { gate: Some(Notify::new()), ..Scripted::default() });
        let limits = Limits { jobs: 1, ..Limits::default() };
        let limited = Arc::new(Limited::new(Arc::clone(&source) as Arc<dyn Source>, limits));
        let first = tokio::spawn({
            let limited = Arc::clone(&limited);
            async move { limited.run(Job::new("first", "SELECT 1")).await }
        });
        tokio::task::yield_now().await;
        let asked = Instant::now();
        let error = limited.run(Job::new("second", "SELECT 1")).await.unwrap_err();
        assert_eq!((error.kind(), error.retry_after()), (Kind::Overloaded, Some(RETRY_AFTER)));
        assert!(asked.elapsed() >= Limits::default().longest_wait);
        limited.dry_run(&Job::new("free", "SELECT 1")).await.unwrap();
        let ids: Vec<_> = source.calls.lock().iter().map(|(id, _)| id.clone()).collect();
        assert_eq!(ids, ["first", "free"]);
        source.gate.as_ref().unwrap().notify_one();
        first.await.unwrap().unwrap();
        source.gate.as_ref().unwrap().notify_one();
        limited.run(Job::new("third", "SELECT 1")).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn the_logins_of_a_project_share_its_limits() {
        let held = Arc::new(Scripted { gate: Some(Notify::new()), ..Scripted::default() });
        let first = Arc::new(Limited::new(held, Limits { jobs: 1, ..Limits::default() }));
        let second = first.round(Scripted::failing([]));
        let running = tokio::spawn(async move { first.run(Job::new("first", "SELECT 1")).await });
        tokio::task::yield_now().await;
        let error = second.run(Job::new("second", "SELECT 1")).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Overloaded);
        running.abort();
        drop(running.await);
        second.run(Job::new("third", "SELECT 1")).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_dropped_run_gives_its_permit_back() {
        let source = Arc::new(Scripted { gate: Some(Notify::new()), ..Scripted::default() });
        let limited = Limited::new(Arc::clone(&source) as Arc<dyn Source>, Limits { jobs: 1, ..Limits::default() });
        let dropped = timeout(Duration::from_secs(1), limited.run(Job::new("dropped", "SELECT 1"))).await;
        assert!(dropped.is_err());
        source.gate.as_ref().unwrap().notify_one();
        limited.run(Job::new("next", "SELECT 1")).await.unwrap();
    }
}
