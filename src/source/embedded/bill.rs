//! What a job bills: the referenced columns of the partitions that survive pruning, by table.
//!
//! Source: <https://cloud.google.com/bigquery/pricing#on_demand_pricing>.

use std::collections::{BTreeMap, BTreeSet};

use datafusion::common::Result;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::logical_expr::{LogicalPlan, TableScan};
use weir_plan::TableId;

use super::partition::PartitionKey;
use super::provider::Provider;
use super::pruning::{self, surviving};
use crate::source::{MINIMUM_BYTES_PER_TABLE, billed_bytes};

/// Bytes of one job.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Bytes {
    /// Read.
    pub(super) processed: u64,
    /// On the bill: rounded up, and at least the minimum for each table.
    pub(super) billed: u64,
}

/// Reads the bill off an optimised plan. `tables` are all base tables of the query's text; one that
/// the optimiser saw need not be read is billed the minimum, but for the `shards` of a wildcard.
pub(super) fn bytes(plan: &LogicalPlan, tables: &BTreeSet<TableId>, shards: &BTreeSet<TableId>) -> Result<Bytes> {
    let mut ledger = Ledger::default();
    plan.apply_with_subqueries(|node| {
        if let LogicalPlan::TableScan(scan) = node {
            ledger.record(scan);
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    let mut total = Bytes::default();
    for table in tables {
        match ledger.tables.get(table) {
            // BigQuery answers COUNT(*) from what it knows of the table.
            Some(read) if !read.has_columns => {}
            Some(read) => {
                let processed = read.cells.values().sum();
                total.processed += processed;
                total.billed += billed_bytes(processed);
            }
            None if shards.contains(table) => {}
            None => total.billed += MINIMUM_BYTES_PER_TABLE,
        }
    }
    Ok(total)
}

/// The days (µs) that the scans of a plan read, by table, out of `days`; a table that need not be read is
/// not there.
pub(super) fn days(plan: &LogicalPlan, days: &[i64]) -> Result<BTreeMap<TableId, (i64, i64)>> {
    let mut read: BTreeMap<TableId, (i64, i64)> = BTreeMap::new();
    plan.apply_with_subqueries(|node| {
        if let LogicalPlan::TableScan(scan) = node
            && let Some(table) = Provider::of(scan)
            && let Some((first, last)) = pruning::days(&table, &scan.filters, days.iter().copied())
        {
            let hull = read.entry(table.id().clone()).or_insert((first, last));
            *hull = (hull.0.min(first), hull.1.max(last));
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(read)
}

/// What the scans of a job read, each cell once however often it is read.
#[derive(Default)]
struct Ledger {
    tables: BTreeMap<TableId, Read>,
}

#[derive(Default)]
struct Read {
    has_columns: bool,
    /// Bytes by partition and column.
    cells: BTreeMap<(PartitionKey, usize), u64>,
}

impl Ledger {
    fn record(&mut self, scan: &TableScan) {
        let Some(table) = Provider::of(scan) else { return };
        let read = self.tables.entry(table.id().clone()).or_default();
        let columns = referenced(scan, table.folded().fields().len());
        read.has_columns |= !columns.is_empty();
        for (key, partition) in surviving(&table, &scan.filters) {
            for column in &columns {
                read.cells.insert((key, *column), partition.bytes(*column));
            }
        }
    }
}

/// Columns of the projection and of the filters.
fn referenced(scan: &TableScan, count: usize) -> BTreeSet<usize> {
    let mut columns: BTreeSet<usize> = match &scan.projection {
        Some(projection) => projection.iter().copied().collect(),
        None => (0..count).collect(),
    };
    let schema = scan.source.schema();
    let filters = scan.filters.iter().flat_map(|filter| filter.column_refs());
    columns.extend(filters.filter_map(|column| schema.index_of(&column.name).ok()));
    columns
}
