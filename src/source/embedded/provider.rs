//! A table as the engine scans it: the projected columns of the partitions that survive pruning.

use std::any::Any;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::Result;
use datafusion::datasource::memory::MemorySourceConfig;
use datafusion::datasource::source_as_provider;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableScan, TableType};
use datafusion::physical_plan::ExecutionPlan;

use super::pruning::surviving;
use super::table::TableRows;

/// A table's rows as of the job's begin.
#[derive(Debug)]
pub(super) struct Provider(pub(super) Arc<TableRows>);

impl Provider {
    /// The table that a scan reads, where it reads one of ours.
    pub(super) fn of(scan: &TableScan) -> Option<Arc<TableRows>> {
        let provider = source_as_provider(&scan.source).ok()?;
        let provider: &dyn Any = &*provider;
        provider.downcast_ref::<Self>().map(|provider| Arc::clone(&provider.0))
    }
}

#[async_trait]
impl TableProvider for Provider {
    fn schema(&self) -> SchemaRef {
        Arc::clone(self.0.folded())
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        Ok(vec![TableProviderFilterPushDown::Inexact; filters.len()])
    }

    async fn scan(
        &self,
        _state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        _limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let batches =
            surviving(&self.0, filters).into_iter().flat_map(|(_, partition)| partition.batches().to_vec()).collect();
        Ok(MemorySourceConfig::try_new_exec(&[batches], self.schema(), projection.cloned())?)
    }
}
