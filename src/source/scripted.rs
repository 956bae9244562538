//! For tests: a source whose every move is scripted. It reads no SQL; the script does.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use arrow::datatypes::{Schema, SchemaRef};
use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::sync::Semaphore;
use weir_plan::{Error, Result, TableId, Timestamp};

use super::{Estimate, Identity, Job, MINIMUM_BYTES_PER_TABLE, Outcome, Source, Table};
use crate::batches::Batches;

/// What a job answers, by the job and its number from one on (a dry run has the number zero).
type Script = dyn Fn(&Job, usize) -> Result<Batches> + Send + Sync;

/// Answers jobs as a script says, and remembers them.
pub(crate) struct Scripted {
    identity: Identity,
    script: Box<Script>,
    bytes_processed: u64,
    takes: Duration,
    refusal: Option<Error>,
    statement_type: &'static str,
    gated: fn(&Job) -> bool,
    /// A gated job takes one permit.
    pub(crate) gate: Semaphore,
    /// Failures of the next jobs to end, the last one first.
    pub(crate) failures: Mutex<Vec<Error>>,
    /// When the job began that every run finds already there, where there is one.
    pub(crate) joins: Mutex<Option<Timestamp>>,
    tables: HashMap<TableId, Table>,
    lookups: AtomicUsize,
    dry_runs: AtomicUsize,
    jobs: Mutex<Vec<Job>>,
    cancelled: AtomicUsize,
}

impl Scripted {
    /// A source that answers at once, at the least price.
    pub(crate) fn new(script: impl Fn(&Job, usize) -> Result<Batches> + Send + Sync + 'static) -> Self {
        let identity = Identity {
            kind: "embedded",
            project: "p".into(),
            principal: "somebody".into(),
            endpoint: None,
            location: None,
        };
        Self {
            identity,
            script: Box::new(script),
            bytes_processed: 0,
            takes: Duration::ZERO,
            refusal: None,
            statement_type: "SELECT",
            gated: |_| false,
            gate: Semaphore::new(0),
            failures: Mutex::default(),
            joins: Mutex::default(),
            tables: HashMap::new(),
            lookups: AtomicUsize::new(0),
            dry_runs: AtomicUsize::new(0),
            jobs: Mutex::default(),
            cancelled: AtomicUsize::new(0),
        }
    }

    /// Says how many bytes every job reads.
    pub(crate) fn reading(mut self, bytes_processed: u64) -> Self {
        self.bytes_processed = bytes_processed;
        self
    }

    /// Adds a table for [`Source::table`]; no job reads it.
    pub(crate) fn with_table(mut self, id: TableId, schema: SchemaRef) -> Self {
        let table = Table {
            id: id.clone(),
            kind: "TABLE".into(),
            schema,
            partitioning: None,
            clustering: vec![],
            last_modified: Timestamp::MIN,
            view_sql: None,
            num_rows: 0,
            num_bytes: 0,
            location: None,
        };
        self.tables.insert(id, table);
        self
    }

    /// Says how long every job takes.
    pub(crate) fn taking(mut self, takes: Duration) -> Self {
        self.takes = takes;
        self
    }

    /// Says which jobs wait at the gate.
    pub(crate) fn gating(mut self, gated: fn(&Job) -> bool) -> Self {
        self.gated = gated;
        self
    }

    /// Says what statement every dry run finds.
    pub(crate) fn taking_texts_for(mut self, statement_type: &'static str) -> Self {
        self.statement_type = statement_type;
        self
    }

    /// Refuses every dry run.
    pub(crate) fn refusing(mut self, error: Error) -> Self {
        self.refusal = Some(error);
        self
    }

    /// Jobs that were begun.
    pub(crate) fn jobs(&self) -> usize {
        self.jobs.lock().len()
    }

    /// Those jobs, in order.
    pub(crate) fn all_jobs(&self) -> Vec<Job> {
        self.jobs.lock().clone()
    }

    /// The last of them.
    pub(crate) fn last_job(&self) -> Job {
        self.jobs.lock().last().unwrap().clone()
    }

    /// Calls of [`Source::table`].
    pub(crate) fn lookups(&self) -> usize {
        self.lookups.load(Ordering::SeqCst)
    }

    /// Calls of [`Source::dry_run`].
    pub(crate) fn dry_runs(&self) -> usize {
        self.dry_runs.load(Ordering::SeqCst)
    }

    /// Jobs that were dropped before their end.
    pub(crate) fn cancelled(&self) -> usize {
        self.cancelled.load(Ordering::SeqCst)
    }
}

/// Counts a job that is dropped before its end.
struct Running<'a> {
    cancelled: &'a AtomicUsize,
    ended: bool,
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        if !self.ended {
            self.cancelled.fetch_add(1, Ordering::SeqCst);
        }
    }
}

#[async_trait]
impl Source for Scripted {
    fn identity(&self) -> &Identity {
        &self.identity
    }

    async fn dry_run(&self, job: &Job) -> Result<Estimate> {
        self.dry_runs.fetch_add(1, Ordering::SeqCst);
        if let Some(error) = &self.refusal {
            return Err(error.clone());
        }
        let schema = (self.script)(job, 0).map(|batches| Arc::clone(batches.schema()));
        Ok(Estimate {
            bytes_processed: self.bytes_processed,
            schema: schema.unwrap_or_else(|_| Arc::new(Schema::empty())),
            statement_type: self.statement_type.into(),
            referenced_tables: vec![],
        })
    }

    async fn run(&self, job: Job) -> Result<Outcome> {
        let mut running = Running { cancelled: &self.cancelled, ended: false };
        let number = {
            let mut jobs = self.jobs.lock();
            jobs.push(job.clone());
            jobs.len()
        };
        if !self.takes.is_zero() {
            tokio::time::sleep(self.takes).await;
        }
        if (self.gated)(&job) {
            self.gate.acquire().await.unwrap().forget();
        }
        running.ended = true;
        if let Some(error) = self.failures.lock().pop() {
            return Err(error);
        }
        let started_at = *self.joins.lock();
        Ok(Outcome {
            batches: (self.script)(&job, number)?,
            job_id: job.id,
            bytes_processed: self.bytes_processed,
            bytes_billed: MINIMUM_BYTES_PER_TABLE,
            slot_ms: 3,
            cache_hit: false,
            started_at,
            joined: started_at.is_some(),
            ours: started_at.is_none(),
        })
    }

    async fn table(&self, table: &TableId) -> Result<Table> {
        self.lookups.fetch_add(1, Ordering::SeqCst);
        self.tables.get(table).cloned().ok_or_else(|| Error::not_found(format!("no table {table}")))
    }
}
