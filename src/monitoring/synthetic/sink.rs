//! What the generator needs of a place for tables.

use arrow::array::RecordBatch;
use weir_plan::{Result, TableId, Timestamp};

use crate::source::embedded::{Embedded, TableSpec};

/// A place for tables: the embedded source, or a simple one in tests.
pub(super) trait Sink {
    fn create_table(&self, spec: TableSpec) -> Result<()>;
    fn create_view(&self, id: TableId, sql: &str) -> Result<()>;
    fn append(&self, table: &TableId, rows: &RecordBatch) -> Result<()>;
    fn replace_partition(&self, table: &TableId, partition: Timestamp, rows: &RecordBatch) -> Result<()>;
    fn replace(&self, table: &TableId, rows: &RecordBatch) -> Result<()>;
}

impl Sink for Embedded {
    fn create_table(&self, spec: TableSpec) -> Result<()> {
        Self::create_table(self, spec)
    }

    fn create_view(&self, id: TableId, sql: &str) -> Result<()> {
        Self::create_view(self, id, sql)
    }

    fn append(&self, table: &TableId, rows: &RecordBatch) -> Result<()> {
        Self::append(self, table, rows)
    }

    fn replace_partition(&self, table: &TableId, partition: Timestamp, rows: &RecordBatch) -> Result<()> {
        Self::replace_partition(self, table, partition, rows)
    }

    fn replace(&self, table: &TableId, rows: &RecordBatch) -> Result<()> {
        Self::replace(self, table, rows)
    }
}
