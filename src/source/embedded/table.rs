//! A table in memory: its rows by partition, and the logical bytes of each partition's columns.
//!
//! It knows Arrow and nothing of SQL. Changes copy what a running job still reads.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, RecordBatch, UInt32Array};
use datafusion::arrow::compute::{cast, take_record_batch};
use datafusion::arrow::datatypes::{DataType, Date32Type, Field, Fields, Schema, SchemaRef, TimestampMicrosecondType};
use weir_plan::extent::DAY;
use weir_plan::{Error, Result, TableId, Timestamp};

use super::TableSpec;
use super::partition::{Partition, PartitionKey, partition_start};
use super::types;
use crate::source::{PartitionUnit, Partitioning};

/// A table as of some moment.
#[derive(Clone, Debug)]
pub(super) struct TableRows {
    id: TableId,
    declared: SchemaRef,
    folded: SchemaRef,
    partitioning: Option<(Partitioning, usize)>,
    partitions: BTreeMap<PartitionKey, Arc<Partition>>,
    last_modified: Timestamp,
}

impl TableRows {
    /// Makes an empty table.
    pub(super) fn new(spec: TableSpec, now: Timestamp) -> Result<Self> {
        let TableSpec { id, schema, partitioning } = spec;
        let fields: Fields = schema.fields().iter().map(|field| types::normal_field(field, field.name())).collect();
        for (field, normal) in schema.fields().iter().zip(&fields) {
            if !field.data_type().equals_datatype(normal.data_type()) {
                return Err(Error::invalid(format!(
                    "table {id}: column {} has the type {}, which no BigQuery type is stored as; cast it to {}",
                    field.name(),
                    field.data_type(),
                    normal.data_type()
                )));
            }
        }
        let partitioning = partitioning.map(|partitioning| {
            let column = pruning_column(&id, &fields, &partitioning)?;
            Ok::<_, Error>((partitioning, column))
        });
        let folded = Arc::new(Schema::new(fields.iter().map(|field| fold(field)).collect::<Fields>()));
        Ok(Self {
            id,
            declared: Arc::new(Schema::new(fields)),
            folded,
            partitioning: partitioning.transpose()?,
            partitions: BTreeMap::new(),
            last_modified: now,
        })
    }

    /// Full name.
    pub(super) fn id(&self) -> &TableId {
        &self.id
    }

    /// Columns as declared.
    pub(super) fn declared(&self) -> &SchemaRef {
        &self.declared
    }

    /// Columns with their names in lower case, as queries see them.
    pub(super) fn folded(&self) -> &SchemaRef {
        &self.folded
    }

    /// Time partitioning.
    pub(super) fn partitioning(&self) -> Option<&Partitioning> {
        self.partitioning.as_ref().map(|(partitioning, _)| partitioning)
    }

    /// The partitioning column's name in lower case, its type and the partitions' length.
    pub(super) fn pruning(&self) -> Option<(&Field, PartitionUnit)> {
        let (partitioning, column) = self.partitioning.as_ref()?;
        Some((self.folded.field(*column), partitioning.unit))
    }

    /// Partitions by their start.
    pub(super) fn partitions(&self) -> &BTreeMap<PartitionKey, Arc<Partition>> {
        &self.partitions
    }

    /// Last change of rows.
    pub(super) fn last_modified(&self) -> Timestamp {
        self.last_modified
    }

    /// Rows in all partitions.
    pub(super) fn num_rows(&self) -> u64 {
        self.partitions.values().map(|partition| partition.rows()).sum()
    }

    /// Logical bytes of all columns and partitions.
    pub(super) fn num_bytes(&self) -> u64 {
        self.partitions.values().map(|partition| partition.total_bytes()).sum()
    }

    /// Adds rows, each to its partition.
    pub(super) fn append(&mut self, rows: &RecordBatch, now: Timestamp) -> Result<()> {
        for (key, rows) in self.split(rows)? {
            self.push(key, &rows, now)?;
        }
        self.last_modified = now;
        Ok(())
    }

    /// Replaces the rows of one partition; all new rows must belong to it.
    pub(super) fn replace_partition(&mut self, point: Timestamp, rows: &RecordBatch, now: Timestamp) -> Result<()> {
        let Some((_, unit)) = self.pruning() else {
            return Err(Error::invalid(format!("table {} has no partitions; replace the whole table", self.id)));
        };
        let key = Some(partition_start(point.micros(), unit));
        let split = self.split(rows)?;
        if split.iter().any(|(other, _)| *other != key) {
            return Err(Error::invalid(format!(
                "table {}: rows for the partition of {} belong to another partition",
                self.id,
                point.datetime()
            )));
        }
        self.partitions.remove(&key);
        for (key, rows) in split {
            self.push(key, &rows, now)?;
        }
        self.last_modified = now;
        Ok(())
    }

    /// Replaces all rows.
    pub(super) fn replace(&mut self, rows: &RecordBatch, now: Timestamp) -> Result<()> {
        let split = self.split(rows)?;
        self.partitions.clear();
        for (key, rows) in split {
            self.push(key, &rows, now)?;
        }
        self.last_modified = now;
        Ok(())
    }

    fn push(&mut self, key: PartitionKey, rows: &RecordBatch, now: Timestamp) -> Result<()> {
        let partition = self.partitions.entry(key).or_insert_with(|| Arc::new(Partition::new(now)));
        Arc::make_mut(partition).push(rows, now)
    }

    /// The rows under the folded schema, by partition.
    fn split(&self, rows: &RecordBatch) -> Result<Vec<(PartitionKey, RecordBatch)>> {
        let rows = self.conform(rows)?;
        if rows.num_rows() == 0 {
            return Ok(Vec::new());
        }
        let Some((_, column)) = &self.partitioning else {
            return Ok(vec![(None, rows)]);
        };
        let unit = self.partitioning.as_ref().map_or(PartitionUnit::Day, |(partitioning, _)| partitioning.unit);
        let mut order: Vec<PartitionKey> = Vec::new();
        let mut indices: HashMap<PartitionKey, Vec<u32>> = HashMap::new();
        for (row, point) in (0..).zip(points(rows.column(*column))) {
            let key = point.map(|point| partition_start(point, unit));
            let of_key = indices.entry(key).or_insert_with(|| {
                order.push(key);
                Vec::new()
            });
            of_key.push(row);
        }
        if let [only] = *order {
            return Ok(vec![(only, rows)]);
        }
        let take = |key: PartitionKey| {
            let rows = take_record_batch(&rows, &UInt32Array::from(indices.remove(&key).unwrap_or_default()));
            Ok((key, rows.map_err(|error| Error::internal("cannot split rows by partition").with_source(error))?))
        };
        order.into_iter().map(take).collect()
    }

    /// The rows in the table's order and types of columns.
    fn conform(&self, rows: &RecordBatch) -> Result<RecordBatch> {
        if rows.num_columns() != self.declared.fields().len() {
            return Err(Error::invalid(format!(
                "table {} has {} columns, the rows have {}",
                self.id,
                self.declared.fields().len(),
                rows.num_columns()
            )));
        }
        let columns = self.folded.fields().iter().map(|field| self.column(field, rows)).collect::<Result<Vec<_>>>()?;
        RecordBatch::try_new(Arc::clone(&self.folded), columns)
            .map_err(|error| Error::internal(format!("rows do not fit table {}", self.id)).with_source(error))
    }

    fn column(&self, field: &Field, rows: &RecordBatch) -> Result<ArrayRef> {
        let schema = rows.schema_ref();
        let found = schema.fields().iter().position(|given| given.name().eq_ignore_ascii_case(field.name()));
        let Some(i) = found else {
            return Err(Error::invalid(format!("table {}: the rows lack the column {}", self.id, field.name())));
        };
        let column = rows.column(i);
        if column.data_type() == field.data_type() {
            return Ok(Arc::clone(column));
        }
        if types::name(column.data_type()).eq_ignore_ascii_case(&types::name(field.data_type()))
            && let Ok(column) = cast(column, field.data_type())
        {
            return Ok(column);
        }
        Err(Error::invalid(format!(
            "table {}: column {} is {}, the rows have {}",
            self.id,
            field.name(),
            types::name(field.data_type()),
            types::name(column.data_type())
        )))
    }
}

/// The column with its name, and those of its fields, in lower case.
fn fold(field: &Field) -> Field {
    Field::new(field.name().to_lowercase(), fold_type(field.data_type()), true)
}

fn fold_type(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(|field| fold(field)).collect()),
        DataType::List(item) => types::array(fold_type(item.data_type())),
        other => other.clone(),
    }
}

fn pruning_column(id: &TableId, fields: &Fields, partitioning: &Partitioning) -> Result<usize> {
    let Some(name) = &partitioning.column else {
        return Err(Error::invalid(format!(
            "table {id}: partitioning by ingestion time is not supported here; name a column"
        )));
    };
    let Some((i, field)) = fields.iter().enumerate().find(|(_, field)| field.name().eq_ignore_ascii_case(name)) else {
        return Err(Error::invalid(format!("table {id} has no column {name} to be partitioned by")));
    };
    match field.data_type() {
        DataType::Date32 if partitioning.unit == PartitionUnit::Hour => Err(Error::invalid(format!(
            "table {id}: the DATE column {name} cannot partition by HOUR; use DAY, MONTH or YEAR"
        ))),
        DataType::Date32 | DataType::Timestamp(..) => Ok(i),
        other => Err(Error::invalid(format!(
            "table {id}: column {name} is {}; only TIMESTAMP, DATETIME and DATE columns partition",
            types::name(other)
        ))),
    }
}

/// Microseconds of each row's time.
fn points(column: &ArrayRef) -> Vec<Option<i64>> {
    match column.data_type() {
        DataType::Date32 => {
            column.as_primitive::<Date32Type>().iter().map(|day| day.map(|day| i64::from(day) * DAY)).collect()
        }
        _ => column.as_primitive::<TimestampMicrosecondType>().iter().collect(),
    }
}
