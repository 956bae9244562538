//! Runs `GoogleSQL` over tables in memory, and bills for it as `BigQuery` would.
//!
//! The only module that knows `DataFusion`.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use weir_plan::{Result, TableId, Timestamp};

use super::{Estimate, Identity, Job, Outcome, Partitioning, Source, Table};
use crate::clock::Clock;

/// A place in memory that runs `GoogleSQL`.
pub struct Embedded {
    #[expect(dead_code, reason = "stub")]
    clock: Arc<dyn Clock>,
}

/// Declares a table.
#[derive(Clone, Debug)]
pub struct TableSpec {
    /// Full name.
    pub id: TableId,
    /// Columns, in the types of [`crate::batches`].
    pub schema: SchemaRef,
    /// Partitioning by a TIMESTAMP, DATE or DATETIME column; partitions are pruned, and billed, by it alone.
    pub partitioning: Option<Partitioning>,
}

/// Something that adds rows as time goes by.
pub trait Feed: Send + Sync + 'static {
    /// Brings the tables to `now`; called before each query, cheap if nothing is due.
    ///
    /// # Errors
    /// Those of the tables' changes.
    fn advance(&self, tables: &Embedded, now: Timestamp) -> Result<()>;
}

impl Embedded {
    /// An empty place whose jobs run in `project`.
    pub fn new(_project: &str, _clock: Arc<dyn Clock>) -> Self {
        unimplemented!()
    }

    /// Attaches the feed that is asked before each query.
    #[must_use]
    pub fn with_feed(self, _feed: Arc<dyn Feed>) -> Self {
        unimplemented!()
    }

    /// Makes an empty table, replacing one of the same name.
    pub fn create_table(&self, _spec: TableSpec) -> Result<()> {
        unimplemented!()
    }

    /// Makes a view of `GoogleSQL` text.
    pub fn create_view(&self, _id: TableId, _sql: &str) -> Result<()> {
        unimplemented!()
    }

    /// Adds rows, each to the partition that its partitioning column names.
    pub fn append(&self, _table: &TableId, _rows: &RecordBatch) -> Result<()> {
        unimplemented!()
    }

    /// Replaces the rows of the partition that holds `partition`.
    pub fn replace_partition(&self, _table: &TableId, _partition: Timestamp, _rows: &RecordBatch) -> Result<()> {
        unimplemented!()
    }

    /// Replaces all rows.
    pub fn replace(&self, _table: &TableId, _rows: &RecordBatch) -> Result<()> {
        unimplemented!()
    }

    /// Full names of all tables and views, sorted.
    pub fn tables(&self) -> Vec<TableId> {
        unimplemented!()
    }
}

#[async_trait]
impl Source for Embedded {
    fn identity(&self) -> &Identity {
        unimplemented!()
    }
    async fn dry_run(&self, _job: &Job) -> Result<Estimate> {
        unimplemented!()
    }
    async fn run(&self, _job: Job) -> Result<Outcome> {
        unimplemented!()
    }
    async fn table(&self, _table: &TableId) -> Result<Table> {
        unimplemented!()
    }
}
