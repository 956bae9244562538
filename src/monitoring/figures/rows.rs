//! The rows of a base by experiment, in the compact form that figures are added up from. It does not
//! know how they were fetched.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array as _, AsArray as _, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{Int64Type, TimestampMicrosecondType};
use weir_plan::{Error, Kind, Result};

use crate::batches::Batches;
use crate::monitoring::datasets::Base;

/// Stands for NULL in place of a name's number.
const NULL: u32 = u32::MAX;

/// Rows by experiment.
#[derive(Debug, Default)]
pub(super) struct Rows {
    names: Vec<Arc<str>>,
    by_experiment: HashMap<Arc<str>, Block>,
}

/// The rows of an experiment, by column.
#[derive(Debug, Default)]
pub(super) struct Block {
    times: Vec<i64>,
    branches: Vec<u32>,
    splits: Vec<Vec<u32>>,
    measures: Vec<Vec<i64>>,
}

/// One row of a block.
#[derive(Clone, Copy)]
pub(super) struct Row<'a> {
    rows: &'a Rows,
    block: &'a Block,
    at: usize,
}

impl Rows {
    /// Reads an answer with the columns time, experiment, branch, the base's splits and its measures;
    /// gives the bytes of what was read too. Rows without a time, an experiment or a branch are left
    /// out.
    ///
    /// # Errors
    /// `InvalidQuery` naming a column of another type than figures are made of.
    pub(super) fn read(base: &Base, batches: &Batches) -> Result<(Self, usize)> {
        let mut rows = Self::default();
        let mut numbers = HashMap::new();
        for batch in batches {
            rows.take(base, batch, &mut numbers)?;
        }
        let width = 12 + 4 * base.splits.len() + 8 * base.measures.len();
        Ok((rows, batches.num_rows() * width))
    }

    fn take(&mut self, base: &Base, batch: &RecordBatch, numbers: &mut HashMap<Arc<str>, u32>) -> Result<()> {
        let columns = Columns::of(base, batch)?;
        for at in 0..batch.num_rows() {
            let Some(key) = columns.key(at) else { continue };
            let branch = self.number(Some(key.branch), numbers);
            let splits: Vec<u32> = columns.splits.iter().map(|names| self.number(text(names, at), numbers)).collect();
            if !self.by_experiment.contains_key(key.experiment) {
                let block = Block {
                    splits: vec![vec![]; columns.splits.len()],
                    measures: vec![vec![]; columns.measures.len()],
                    ..Block::default()
                };
                self.by_experiment.insert(key.experiment.into(), block);
            }
            let Some(block) = self.by_experiment.get_mut(key.experiment) else { continue };
            block.times.push(key.time);
            block.branches.push(branch);
            block.splits.iter_mut().zip(splits).for_each(|(column, name)| column.push(name));
            for (column, counts) in block.measures.iter_mut().zip(&columns.measures) {
                column.push(if counts.is_valid(at) { counts.value(at) } else { 0 });
            }
        }
        Ok(())
    }

    fn number(&mut self, name: Option<&str>, numbers: &mut HashMap<Arc<str>, u32>) -> u32 {
        let Some(name) = name else { return NULL };
        if let Some(number) = numbers.get(name) {
            return *number;
        }
        let (name, number): (Arc<str>, _) = (name.into(), u32::try_from(self.names.len()).unwrap_or(NULL));
        self.names.push(Arc::clone(&name));
        numbers.insert(name, number);
        number
    }

    /// The rows of an experiment.
    pub(super) fn of<'a>(&'a self, experiment: &str) -> impl Iterator<Item = Row<'a>> {
        let block = self.by_experiment.get(experiment);
        block.into_iter().flat_map(move |block| (0..block.times.len()).map(move |at| Row { rows: self, block, at }))
    }
}

impl<'a> Row<'a> {
    pub(super) fn time(self) -> i64 {
        self.block.times[self.at]
    }

    pub(super) fn branch(self) -> Option<&'a Arc<str>> {
        self.rows.names.get(self.block.branches[self.at] as usize)
    }

    /// The name in a split's column; `None` for NULL.
    pub(super) fn split(self, column: usize) -> Option<&'a Arc<str>> {
        self.rows.names.get(self.block.splits[column][self.at] as usize)
    }

    pub(super) fn splits(self) -> impl Iterator<Item = Option<&'a Arc<str>>> {
        (0..self.block.splits.len()).map(move |column| self.split(column))
    }

    pub(super) fn measure(self, measure: usize) -> i64 {
        self.block.measures[measure][self.at]
    }
}

/// What names a row.
struct RowKey<'a> {
    time: i64,
    experiment: &'a str,
    branch: &'a str,
}

/// The columns of a batch.
struct Columns<'a> {
    times: &'a arrow::array::TimestampMicrosecondArray,
    experiments: &'a StringArray,
    branches: &'a StringArray,
    splits: Vec<&'a StringArray>,
    measures: Vec<&'a Int64Array>,
}

impl<'a> Columns<'a> {
    fn of(base: &Base, batch: &'a RecordBatch) -> Result<Self> {
        let expected = 3 + base.splits.len() + base.measures.len();
        if batch.num_columns() != expected {
            return Err(Error::internal(format!("rows of {} have {} columns", base.table, batch.num_columns())));
        }
        let wrong = |at: usize, wanted: &str| {
            let field = batch.schema_ref().field(at).clone();
            let message = format!("{}: column {} is {}, not {wanted}", base.table, field.name(), field.data_type());
            Error::new(Kind::InvalidQuery, message)
        };
        let names = |at: usize| batch.column(at).as_string_opt::<i32>().ok_or_else(|| wrong(at, "STRING"));
        let counts = |at: usize| batch.column(at).as_primitive_opt::<Int64Type>().ok_or_else(|| wrong(at, "INT64"));
        let measures = 3 + base.splits.len();
        Ok(Self {
            times: batch
                .column(0)
                .as_primitive_opt::<TimestampMicrosecondType>()
                .ok_or_else(|| wrong(0, "TIMESTAMP"))?,
            experiments: names(1)?,
            branches: names(2)?,
            splits: (3..measures).map(names).collect::<Result<_>>()?,
            measures: (measures..expected).map(counts).collect::<Result<_>>()?,
        })
    }

    fn key(&self, at: usize) -> Option<RowKey<'a>> {
        let time = self.times.is_valid(at).then(|| self.times.value(at))?;
        Some(RowKey { time, experiment: text(self.experiments, at)?, branch: text(self.branches, at)? })
    }
}

fn text(column: &StringArray, at: usize) -> Option<&str> {
    column.is_valid(at).then(|| column.value(at))
}
