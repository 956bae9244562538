//! An answer while it arrives, up to the largest that is taken.

use arrow::array::{Array, RecordBatch};
use weir_plan::{Error, Kind, Result};

/// Largest answer taken. A chart shows some thousand rows and an export some million; an answer
/// above this is a mistake, and a few of them at a time would end the process for want of memory.
pub(super) const LARGEST_ANSWER_BYTES: u64 = 1024 * 1024 * 1024;

/// Batches that have arrived.
pub(super) struct Gathered {
    batches: Vec<RecordBatch>,
    rows: u64,
    bytes: u64,
    total_rows: u64,
    largest_bytes: u64,
}

impl Gathered {
    /// Nothing yet of an answer that has `total_rows`.
    pub(super) fn new(total_rows: u64, largest_bytes: u64) -> Self {
        Self { batches: Vec::new(), rows: 0, bytes: 0, total_rows, largest_bytes }
    }

    /// Rows so far.
    pub(super) fn rows(&self) -> u64 {
        self.rows
    }

    /// Adds a batch.
    ///
    /// # Errors
    /// `TooLarge` if the answer is over the limit with it.
    pub(super) fn push(&mut self, batch: RecordBatch) -> Result<()> {
        self.rows += batch.num_rows() as u64;
        self.bytes = self.bytes.saturating_add(bytes_of(&batch));
        if self.bytes > self.largest_bytes {
            return Err(Error::new(
                Kind::TooLarge,
                format!(
                    "the answer has {} rows, and the first {} of them take {} bytes where {} are the most; \
                     aggregate in the query, or narrow the time range",
                    self.total_rows, self.rows, self.bytes, self.largest_bytes
                ),
            ));
        }
        if batch.num_rows() > 0 {
            self.batches.push(batch);
        }
        Ok(())
    }

    /// The batches, if they are all.
    ///
    /// # Errors
    /// `Unavailable` for another number of rows than the answer has.
    pub(super) fn complete(self, from: &str) -> Result<Vec<RecordBatch>> {
        if self.rows == self.total_rows {
            return Ok(self.batches);
        }
        Err(Error::new(Kind::Unavailable, format!("{from} sent {} rows of {}", self.rows, self.total_rows)))
    }
}

/// Bytes of a batch's own rows. Columns read from one Arrow message share its buffer, which must not
/// count once per column.
fn bytes_of(batch: &RecordBatch) -> u64 {
    let bytes = batch.columns().iter().map(|column| {
        let array = column.to_data();
        array.get_slice_memory_size().unwrap_or_else(|_| array.get_array_memory_size()) as u64
    });
    bytes.sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{ArrayRef, Int64Array};
    use std::sync::Arc;

    fn batch(rows: i64) -> RecordBatch {
        let column: ArrayRef = Arc::new(Int64Array::from_iter_values(0..rows));
        RecordBatch::try_from_iter([("n", column)]).unwrap()
    }

    #[test]
    fn an_answer_is_taken_up_to_the_limit_and_not_above() {
        let mut gathered = Gathered::new(300, 1600);
        gathered.push(batch(100)).unwrap();
        gathered.push(batch(100)).unwrap();
        let error = gathered.push(batch(100)).unwrap_err();
        assert_eq!(error.kind(), Kind::TooLarge);
        for part in ["300 rows", "2400 bytes", "1600", "aggregate", "narrow"] {
            assert!(error.message().contains(part), "{error}");
        }
    }

    #[test]
    fn rows_that_share_a_buffer_count_once() {
        let whole = batch(1000);
        let mut gathered = Gathered::new(1000, 8000);
        for start in (0..1000).step_by(100) {
            gathered.push(whole.slice(start, 100)).unwrap();
        }
        assert_eq!(gathered.complete("it").unwrap().len(), 10);
    }
}
