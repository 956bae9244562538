//! A place for tables that keeps rows and partitions, and says what changed.

use std::collections::{BTreeMap, BTreeSet};

use arrow::array::{AsArray, RecordBatch};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Date32Type, TimestampMicrosecondType};
use parking_lot::Mutex;
use weir_plan::extent::DAY;
use weir_plan::{Error, Result, TableId, Timestamp};

use super::super::sink::Sink;
use super::super::{Fact, apps};
use super::sorted;
use crate::source::embedded::TableSpec;

#[derive(Default)]
pub(super) struct Memory {
    pub(super) tables: Mutex<BTreeMap<String, Table>>,
    pub(super) views: Mutex<Vec<String>>,
    /// Names of tables in the order of their changes.
    pub(super) changes: Mutex<Vec<String>>,
}

pub(super) struct Table {
    spec: TableSpec,
    /// Rows by the day of the partitioning column, 0 where there is none.
    partitions: BTreeMap<i64, Vec<RecordBatch>>,
}

impl Table {
    /// The one day that all rows belong to.
    fn partition(&self, rows: &RecordBatch) -> i64 {
        let Some(partitioning) = &self.spec.partitioning else { return 0 };
        let column = rows.column_by_name(partitioning.column.as_ref().unwrap()).unwrap();
        let days: BTreeSet<i64> = match column.data_type() {
            DataType::Date32 => {
                column.as_primitive::<Date32Type>().values().iter().map(|day| i64::from(*day)).collect()
            }
            _ => column.as_primitive::<TimestampMicrosecondType>().values().iter().map(|at| at / DAY).collect(),
        };
        assert_eq!(days.len(), 1, "a batch belongs to one partition");
        days.into_iter().next().unwrap()
    }
}

impl Memory {
    fn change(&self, id: &TableId, rows: &RecordBatch, change: impl FnOnce(&mut Table)) -> Result<()> {
        let name = id.to_string();
        let mut tables = self.tables.lock();
        let table = tables.get_mut(&name).ok_or_else(|| Error::not_found(format!("table {name}")))?;
        assert_eq!(rows.schema().fields(), table.spec.schema.fields(), "{name}");
        change(table);
        self.changes.lock().push(name);
        Ok(())
    }

    /// All rows of a table.
    pub(super) fn rows(&self, id: &TableId) -> RecordBatch {
        let tables = self.tables.lock();
        let table = &tables[&id.to_string()];
        concat_batches(&table.spec.schema, table.partitions.values().flatten()).unwrap()
    }

    /// Days of a table's partitions that have rows.
    pub(super) fn days(&self, id: &TableId) -> Vec<String> {
        let tables = self.tables.lock();
        let with_rows =
            tables[&id.to_string()].partitions.iter().filter(|(_, rows)| rows.iter().any(|rows| rows.num_rows() > 0));
        with_rows.map(|(day, _)| Timestamp::saturating(day * DAY).date().to_string()).collect()
    }

    pub(super) fn daily_days(&self) -> Vec<String> {
        self.days(&Fact::Enrollment.daily_table())
    }

    /// The rows of every table as sorted bytes.
    pub(super) fn contents(&self) -> BTreeMap<String, Vec<Vec<u8>>> {
        let ids: Vec<TableId> = self.tables.lock().values().map(|table| table.spec.id.clone()).collect();
        ids.into_iter().map(|id| (id.to_string(), sorted(&self.rows(&id)))).collect()
    }

    /// Live rows of all applications of the v1 set.
    pub(super) fn live(&self, fact: Fact) -> RecordBatch {
        let apps = fact.apps().into_iter().filter(|app| fact == Fact::Crash || apps::in_v1(*app));
        let rows: Vec<_> = apps.map(|app| self.rows(&fact.live_table(app))).collect();
        concat_batches(&fact.live_schema(), &rows).unwrap()
    }
}

impl Sink for Memory {
    fn create_table(&self, spec: TableSpec) -> Result<()> {
        self.tables.lock().insert(spec.id.to_string(), Table { spec, partitions: BTreeMap::new() });
        Ok(())
    }

    fn create_view(&self, id: TableId, _sql: &str) -> Result<()> {
        self.views.lock().push(id.to_string());
        Ok(())
    }

    fn append(&self, table: &TableId, rows: &RecordBatch) -> Result<()> {
        assert!(rows.num_rows() > 0, "{table}: an empty batch");
        self.change(table, rows, |table| table.partitions.entry(table.partition(rows)).or_default().push(rows.clone()))
    }

    fn replace_partition(&self, table: &TableId, partition: Timestamp, rows: &RecordBatch) -> Result<()> {
        self.change(table, rows, |table| {
            let day = partition.micros() / DAY;
            assert!(rows.num_rows() == 0 || table.partition(rows) == day);
            table.partitions.insert(day, vec![rows.clone()]);
        })
    }

    fn replace(&self, table: &TableId, rows: &RecordBatch) -> Result<()> {
        self.change(table, rows, |table| {
            table.partitions.insert(0, vec![rows.clone()]);
        })
    }
}
