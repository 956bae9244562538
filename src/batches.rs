//! A table in memory: one schema and its record batches. It knows Arrow and nothing of where rows
//! come from.
//!
//! Column types are those of `BigQuery`'s Storage Read API on every read path: Int64, Float64,
//! Boolean, Utf8 (STRING, GEOGRAPHY, JSON, INTERVAL, RANGE), Binary, Decimal128(38, 9) (NUMERIC),
//! Decimal256(76, 38) (BIGNUMERIC), Date32, Time64(µs), Timestamp(µs, "UTC") (TIMESTAMP),
//! Timestamp(µs) without a zone (DATETIME), Struct and List.

pub(crate) mod api_type;
pub(crate) mod csv;
pub(crate) mod decimal;
pub(crate) mod json;
mod multiset;
mod pieces;
mod regroup;
#[cfg(test)]
pub(crate) mod samples;

pub use pieces::SortKey;

use std::sync::Arc;

use arrow::array::{Array as _, ArrayRef, RecordBatch, RecordBatchOptions, UInt32Array};
use arrow::compute::{concat_batches, take_record_batch};
use arrow::datatypes::SchemaRef;
use weir_plan::{Error, Result};

/// A schema and batches that all have it. Cloning shares the rows.
#[derive(Clone, Debug)]
pub struct Batches {
    schema: SchemaRef,
    batches: Arc<[RecordBatch]>,
}

impl Batches {
    /// Puts batches together.
    ///
    /// # Errors
    /// `Internal` if a batch's schema differs: pieces are never cast silently.
    pub fn new(schema: SchemaRef, batches: Vec<RecordBatch>) -> Result<Self> {
        for batch in &batches {
            if batch.schema().fields() != schema.fields() {
                return Err(Error::internal(format!(
                    "a batch has the schema {:?}, the table {:?}",
                    batch.schema().fields(),
                    schema.fields()
                )));
            }
        }
        Ok(Self { schema, batches: batches.into() })
    }

    /// A table without rows.
    pub fn empty(schema: SchemaRef) -> Self {
        Self { schema, batches: Arc::from([]) }
    }

    /// The schema.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// The batches, in order.
    pub fn iter(&self) -> std::slice::Iter<'_, RecordBatch> {
        self.batches.iter()
    }

    /// Number of rows in all batches.
    pub fn num_rows(&self) -> usize {
        self.batches.iter().map(RecordBatch::num_rows).sum()
    }

    /// Bytes held in memory by the buffers, those outside a slice included (a slice keeps its
    /// whole parent alive).
    pub fn memory_size(&self) -> usize {
        self.batches.iter().map(RecordBatch::get_array_memory_size).sum()
    }

    /// Bytes of the rows by themselves: what [`Batches::detach`] would hold.
    pub fn sliced_size(&self) -> usize {
        let of_column = |column: &ArrayRef| {
            column.to_data().get_slice_memory_size().unwrap_or_else(|_| column.get_array_memory_size())
        };
        self.batches.iter().flat_map(RecordBatch::columns).map(of_column).sum()
    }

    /// All rows in one batch.
    ///
    /// # Errors
    /// `TooLarge` if the rows do not fit Arrow's offsets (over 2 GiB of text in one column).
    pub fn concat(&self) -> Result<RecordBatch> {
        if let [only] = &*self.batches {
            return Ok(only.clone());
        }
        concat_batches(&self.schema, self.batches.iter()).map_err(|error| {
            Error::new(weir_plan::Kind::TooLarge, "the answer does not fit one record batch").with_source(error)
        })
    }

    /// A copy that shares no buffer with its parents, for keeping: one batch, exactly as large as
    /// its rows.
    ///
    /// # Errors
    /// As [`Batches::concat`].
    pub fn detach(&self) -> Result<Self> {
        let batch = self.concat()?;
        let detached = if batch.num_columns() == 0 {
            let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
            RecordBatch::try_new_with_options(Arc::clone(&self.schema), vec![], &options)
        } else {
            let rows = u32::try_from(batch.num_rows()).map_err(|error| {
                Error::new(weir_plan::Kind::TooLarge, "the answer has over 4 billion rows").with_source(error)
            })?;
            take_record_batch(&batch, &UInt32Array::from_iter_values(0..rows))
        };
        let detached = detached.map_err(|error| Error::internal("cannot copy rows").with_source(error))?;
        Self::new(Arc::clone(&self.schema), vec![detached])
    }
}

impl<'a> IntoIterator for &'a Batches {
    type Item = &'a RecordBatch;
    type IntoIter = std::slice::Iter<'a, RecordBatch>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{Int64Array, StringArray};
    use arrow::datatypes::{DataType, Field, Schema};

    fn batch(rows: i64) -> RecordBatch {
        let schema =
            Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, true), Field::new("s", DataType::Utf8, true)]));
        let numbers = Int64Array::from_iter_values(0..rows);
        let strings = StringArray::from_iter_values((0..rows).map(|n| format!("row {n}")));
        RecordBatch::try_new(schema, vec![Arc::new(numbers), Arc::new(strings)]).unwrap()
    }

    #[test]
    fn a_detached_slice_weighs_its_rows_and_not_its_parent() {
        let parent = batch(100_000);
        let slice = Batches::new(parent.schema(), vec![parent.slice(10, 10)]).unwrap();
        let detached = slice.detach().unwrap();
        assert!(slice.memory_size() > 800_000);
        assert!(slice.sliced_size() <= detached.memory_size(), "{}", slice.sliced_size());
        assert!(detached.memory_size() < 2_000, "{}", detached.memory_size());
        assert_eq!(slice.concat().unwrap(), detached.concat().unwrap());
    }

    #[test]
    fn a_batch_of_another_schema_is_refused() {
        let other = Arc::new(Schema::new(vec![Field::new("n", DataType::Int32, true)]));
        assert!(Batches::new(other, vec![batch(1)]).is_err());
    }
}
