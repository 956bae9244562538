//! `INFORMATION_SCHEMA.PARTITIONS` of a dataset, as of a job's begin; the columns that say when a
//! partition changed and how large it is.
//!
//! Source: <https://cloud.google.com/bigquery/docs/information-schema-partitions>.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use datafusion::arrow::datatypes::{Field, Schema};
use weir_plan::{Error, Result, TableId, Timestamp};

use super::TableSpec;
use super::catalog::{Relation, Snapshot, not_found};
use super::partition::PartitionKey;
use super::table::TableRows;
use crate::source::PartitionUnit;

/// The dataset that holds views about another one's tables.
const SCHEMA: &str = "INFORMATION_SCHEMA";

/// The last part of the name of a view about a dataset's tables, in capitals, as
/// `INFORMATION_SCHEMA.PARTITIONS`; `None` for the name of anything else.
pub(super) fn view(parts: &[String]) -> Option<(&[String], String)> {
    match parts {
        [dataset @ .., schema, view] if schema.eq_ignore_ascii_case(SCHEMA) => {
            Some((dataset, format!("{SCHEMA}.{}", view.to_uppercase())))
        }
        _ => None,
    }
}

/// Whether a table's name is that of such a view.
pub(super) fn is_view(id: &TableId) -> bool {
    id.table.starts_with(SCHEMA)
}

/// The rows of such a view.
///
/// # Errors
/// `NotFound` for another view than `PARTITIONS`, and for a dataset without tables.
pub(super) fn rows(id: &TableId, snapshot: &Snapshot, now: Timestamp) -> Result<TableRows> {
    if id.table != format!("{SCHEMA}.PARTITIONS") {
        return Err(not_found(id));
    }
    let of_dataset = |table: &TableId| table.project == id.project && table.dataset == id.dataset;
    let mut tables: Vec<&Arc<TableRows>> = snapshot
        .iter()
        .filter(|(table, _)| of_dataset(table))
        .filter_map(|(_, relation)| match relation {
            Relation::Table(rows) => Some(rows),
            Relation::View(_) => None,
        })
        .collect();
    if tables.is_empty() {
        return Err(Error::not_found(format!(
            "Not found: Dataset {}:{} was not found in location US",
            id.project, id.dataset
        )));
    }
    tables.sort_unstable_by_key(|table| table.id());
    let mut partitions = Vec::new();
    for table in tables {
        let unit = table.pruning().map(|(_, unit)| unit);
        partitions
            .extend(table.partitions().iter().map(|(key, partition)| (table, partition_id(*key, unit), partition)));
    }
    let text = |values: Vec<Option<&str>>| Arc::new(StringArray::from(values)) as ArrayRef;
    let number = |values: Vec<u64>| {
        Arc::new(values.into_iter().map(|value| i64::try_from(value).ok()).collect::<Int64Array>()) as ArrayRef
    };
    let modified = partitions.iter().map(|(_, _, partition)| partition.modified().micros());
    let columns = vec![
        ("table_catalog", text(partitions.iter().map(|_| Some(id.project.as_str())).collect())),
        ("table_schema", text(partitions.iter().map(|_| Some(id.dataset.as_str())).collect())),
        ("table_name", text(partitions.iter().map(|(table, ..)| Some(table.id().table.as_str())).collect())),
        ("partition_id", text(partitions.iter().map(|(_, partition, _)| partition.as_deref()).collect())),
        ("total_rows", number(partitions.iter().map(|(.., partition)| partition.rows()).collect())),
        ("total_logical_bytes", number(partitions.iter().map(|(.., partition)| partition.total_bytes()).collect())),
        (
            "last_modified_time",
            Arc::new(TimestampMicrosecondArray::from_iter_values(modified).with_timezone("UTC")) as ArrayRef,
        ),
    ];
    let fields: Vec<_> =
        columns.iter().map(|(name, column)| Field::new(*name, column.data_type().clone(), true)).collect();
    let schema = Arc::new(Schema::new(fields));
    let columns = columns.into_iter().map(|(_, column)| column).collect();
    let batch = RecordBatch::try_new(Arc::clone(&schema), columns)
        .map_err(|error| Error::internal("cannot list partitions").with_source(error))?;
    let mut rows = TableRows::new(TableSpec { id: id.clone(), schema, partitioning: None }, now)?;
    rows.append(&batch, now)?;
    Ok(rows)
}

/// A partition's id; `None` for a table without partitions.
fn partition_id(key: PartitionKey, unit: Option<PartitionUnit>) -> Option<String> {
    let unit = unit?;
    Some(key.map_or_else(|| "__NULL__".to_owned(), |start| unit.id(Timestamp::saturating(start))))
}
