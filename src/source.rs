//! The one trait behind which rows come from: a place that runs `GoogleSQL` and bills for it.
//!
//! It knows no protocol, cache or query shape; macros are expanded before they get here.

pub mod bigquery;
pub mod embedded;
pub mod fake;
pub mod limited;
#[cfg(test)]
pub(crate) mod scripted;

use std::collections::BTreeMap;
use std::time::Duration;

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use serde::{Deserialize, Serialize};
pub use weir_plan::PartitionUnit;
use weir_plan::{Error, Parameter, Result, TableId, Timestamp};

use crate::batches::Batches;

/// A place that runs `GoogleSQL`.
#[async_trait]
pub trait Source: Send + Sync + 'static {
    /// Who asks where. Part of every cache key and log line.
    fn identity(&self) -> &Identity;

    /// Checks a job without running it: free.
    ///
    /// # Errors
    /// `InvalidQuery` with the source's message and position, `NotFound`, `PermissionDenied`, and
    /// the kinds of an unreachable source.
    async fn dry_run(&self, job: &Job) -> Result<Estimate>;

    /// Runs a job to its end and reads the complete answer.
    ///
    /// A job whose id already exists is joined, not run again. Dropping the future cancels the job
    /// at the source.
    ///
    /// # Errors
    /// As [`Source::dry_run`], and `TooExpensive` over the job's `maximum_bytes_billed`; a partial
    /// answer is an error.
    async fn run(&self, job: Job) -> Result<Outcome>;

    /// Describes a table or view: free.
    ///
    /// # Errors
    /// `NotFound`, `PermissionDenied`, and the kinds of an unreachable source.
    async fn table(&self, table: &TableId) -> Result<Table>;

    /// The projects that the login sees, sorted, all of them: free.
    ///
    /// # Errors
    /// `NotFound` for a source without a catalogue, and the kinds of an unreachable source.
    async fn list_projects(&self) -> Result<Vec<Project>> {
        Err(no_catalogue(self.identity()))
    }

    /// The names of a project's datasets, sorted, all of them: free.
    ///
    /// # Errors
    /// `NotFound`, `PermissionDenied`, and the kinds of an unreachable source.
    async fn list_datasets(&self, project: &str) -> Result<Vec<String>> {
        Err(no_catalogue(self.identity()).context(project))
    }

    /// A dataset's tables and views, sorted by name, all of them: free.
    ///
    /// # Errors
    /// `NotFound`, `PermissionDenied`, and the kinds of an unreachable source.
    async fn list_tables(&self, project: &str, dataset: &str) -> Result<Vec<Listed>> {
        Err(no_catalogue(self.identity()).context(format_args!("{project}.{dataset}")))
    }

    /// Waits until the cancellations of dropped jobs have been sent; for the end of the process.
    async fn settled(&self) {}
}

fn no_catalogue(identity: &Identity) -> Error {
    Error::not_found(format!("the {} source of project {} lists nothing", identity.kind, identity.project))
}

/// Who asks where; holds no secret.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct Identity {
    /// `embedded` or `bigquery`.
    pub kind: &'static str,
    /// Project that jobs run in and are billed to.
    pub project: String,
    /// The credential's name: a service account's address, `application-default`, `anonymous`.
    pub principal: String,
    /// Base URL of the service, where it is not Google's own.
    pub endpoint: Option<String>,
    /// Default location of jobs.
    pub location: Option<String>,
}

/// Who refused a login of ours: a cause of an error, and by its text what an administrator can check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LoginRefused {
    /// The endpoint that gives tokens for a key.
    #[error("check that the key is not revoked, that its account is enabled, the token URI, and this machine's clock")]
    Key,
    /// The metadata server.
    #[error("check that this machine has a service account, with the scope for BigQuery")]
    Machine,
    /// IAM, asked to let one account act as another.
    #[error(
        "check the address of the service account to impersonate, that it is enabled, that the login has the role \
         Service Account Token Creator on it, and that its project has the IAM Service Account Credentials API enabled"
    )]
    Impersonation,
    /// The security token service.
    #[error("check the workload identity pool and its provider, the audience, and who issued the subject token")]
    Exchange,
    /// Whoever holds the subject token.
    #[error("check the credential_source of the credentials file, and that it can be read from here")]
    Subject,
    /// `BigQuery` itself.
    #[error("check that the account is enabled and that its tokens are for BigQuery")]
    BigQuery,
}

impl LoginRefused {
    /// The refusal among the causes of an error.
    pub fn of(error: &Error) -> Option<Self> {
        cause_of(error)
    }
}

/// What was billed for an answer that could not be taken: a cause of an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("its job billed {bytes_billed} bytes")]
pub struct Billed {
    /// Bytes on the bill.
    pub bytes_billed: u64,
    /// Slot time in milliseconds.
    pub slot_ms: u64,
    /// As [`Outcome::ours`].
    pub ours: bool,
}

impl Billed {
    /// The bill among the causes of an error.
    pub fn of(error: &Error) -> Option<Self> {
        cause_of(error)
    }
}

fn cause_of<T: std::error::Error + Copy + 'static>(error: &Error) -> Option<T> {
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        if let Some(found) = error.downcast_ref() {
            return Some(*found);
        }
        cause = error.source();
    }
    None
}

/// How urgently `BigQuery` runs a job.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Priority {
    /// At once.
    #[default]
    Interactive,
    /// When there is room; for backfills.
    Batch,
}

/// One query job.
#[derive(Clone, Debug, PartialEq)]
pub struct Job {
    /// Our own id: `[A-Za-z0-9_-]`, at most 1,000 characters. The same work gets the same id, so
    /// that a retry or another replica joins it.
    pub id: String,
    /// Plain `GoogleSQL`.
    pub sql: String,
    /// Query parameters by name.
    pub parameters: BTreeMap<String, Parameter>,
    /// `dataset` or `project.dataset` of unqualified table names.
    pub default_dataset: Option<String>,
    /// Location; `None` means the source's own.
    pub location: Option<String>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Priority.
    pub priority: Priority,
    /// The job fails rather than bill more.
    pub maximum_bytes_billed: Option<u64>,
    /// After this `BigQuery` itself stops the job.
    pub timeout: Option<Duration>,
}

impl Job {
    /// A job of plain SQL with every setting at its default.
    pub fn new(id: impl Into<String>, sql: impl Into<String>) -> Self {
        Self {
            id: id.into(),
            sql: sql.into(),
            parameters: BTreeMap::new(),
            default_dataset: None,
            location: None,
            labels: BTreeMap::new(),
            priority: Priority::default(),
            maximum_bytes_billed: None,
            timeout: None,
        }
    }
}

/// What a dry run says.
#[derive(Clone, Debug)]
pub struct Estimate {
    /// Bytes the job would read, before rounding and minimums.
    pub bytes_processed: u64,
    /// The answer's columns.
    pub schema: SchemaRef,
    /// `BigQuery`'s statement type: `SELECT`, `INSERT`, `SCRIPT` …
    pub statement_type: String,
    /// Tables and views the job would read, where the source says so.
    pub referenced_tables: Vec<TableId>,
}

impl Estimate {
    /// What the job would bill: all its bytes as if of one table, and at least the minimum for each
    /// table that is known to be read. A job that reads nothing bills nothing.
    pub fn bytes_billed(&self) -> u64 {
        if self.bytes_processed == 0 {
            return 0;
        }
        let minimum = MINIMUM_BYTES_PER_TABLE.saturating_mul(self.referenced_tables.len() as u64);
        billed_bytes(self.bytes_processed).max(minimum)
    }
}

/// A finished job.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The complete answer.
    pub batches: Batches,
    /// The job's id at the source.
    pub job_id: String,
    /// Bytes read.
    pub bytes_processed: u64,
    /// Bytes on the bill.
    pub bytes_billed: u64,
    /// Slot time in milliseconds.
    pub slot_ms: u64,
    /// Whether `BigQuery` answered from its own cache.
    pub cache_hit: bool,
    /// When the job began, where the source says so.
    pub started_at: Option<Timestamp>,
    /// Whether the job already existed and was only read: its rows are as old as it.
    pub joined: bool,
    /// Whether this process sent the job, now or at a try that was lost, as far as can be told: then its
    /// bill is put down here.
    pub ours: bool,
}

/// A project, as a list shows it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Project {
    /// Its id.
    pub id: String,
    /// Its name for people.
    pub name: String,
}

/// A table or view, as a list shows it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Listed {
    /// Its name within its dataset.
    pub name: String,
    /// `TABLE`, `VIEW`, `MATERIALIZED_VIEW`, `EXTERNAL` …
    pub kind: String,
}

/// What `tables.get` says.
#[derive(Clone, Debug)]
pub struct Table {
    /// Full name.
    pub id: TableId,
    /// `TABLE`, `VIEW` or `MATERIALIZED_VIEW`.
    pub kind: String,
    /// Columns.
    pub schema: SchemaRef,
    /// Time partitioning, where there is one.
    pub partitioning: Option<Partitioning>,
    /// Columns that rows are clustered by, in order.
    pub clustering: Vec<String>,
    /// Last change of rows or schema.
    pub last_modified: Timestamp,
    /// Text of a view.
    pub view_sql: Option<String>,
    /// Rows; zero for a view.
    pub num_rows: u64,
    /// Logical bytes; zero for a view.
    pub num_bytes: u64,
    /// Location, where known.
    pub location: Option<String>,
}

/// A table's time partitioning.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Partitioning {
    /// Partitioning column; `None` for ingestion time.
    pub column: Option<String>,
    /// Length of a partition.
    pub unit: PartitionUnit,
}

/// Least charge for a table that a job references, 10 MiB.
/// Source: <https://cloud.google.com/bigquery/pricing#on_demand_pricing>.
pub const MINIMUM_BYTES_PER_TABLE: u64 = 10 * 1024 * 1024;

/// Bytes billed for reading `bytes` of one table: up to the next MiB, at least 10 MiB.
/// Source: <https://cloud.google.com/bigquery/pricing#on_demand_pricing>.
pub const fn billed_bytes(bytes: u64) -> u64 {
    const MIB: u64 = 1024 * 1024;
    let rounded = bytes.div_ceil(MIB) * MIB;
    if rounded < MINIMUM_BYTES_PER_TABLE { MINIMUM_BYTES_PER_TABLE } else { rounded }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::datatypes::Schema;
    use std::sync::Arc;

    #[test]
    fn an_estimate_bills_whole_mebibytes_and_the_minimum_of_each_table() {
        let check = |bytes_processed: u64, tables: usize, mebibytes: u64| {
            let estimate = Estimate {
                bytes_processed,
                schema: Arc::new(Schema::empty()),
                statement_type: "SELECT".to_owned(),
                referenced_tables: vec![TableId::new("p", "d", "t"); tables],
            };
            assert_eq!(estimate.bytes_billed(), mebibytes << 20, "{bytes_processed} of {tables}");
        };
        check(0, 3, 0);
        check(1, 0, 10);
        check(1, 1, 10);
        check(1, 3, 30);
        check((25 << 20) + 1, 2, 26);
    }
}
