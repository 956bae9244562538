//! Batches cut at times and put in order again. It knows nothing of buckets or partitions: ranges and
//! columns are told.

use std::sync::Arc;

use arrow::array::{Array as _, AsArray as _, BooleanArray, PrimitiveArray, RecordBatch, UInt32Array};
use arrow::compute::{SortColumn, SortOptions, lexsort_to_indices, take_record_batch};
use arrow::datatypes::{DataType, Date32Type, Float64Type, TimeUnit, TimestampMicrosecondType};
use weir_plan::extent::DAY;
use weir_plan::{Error, Extent, Result};

use super::Batches;

/// A column to order by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SortKey {
    /// Index of the column.
    pub column: usize,
    /// Whether the greatest comes first.
    pub descending: bool,
    /// Whether NULLs come first.
    pub nulls_first: bool,
}

impl Batches {
    /// The rows of each range, by the time in `column` (TIMESTAMP, DATETIME or DATE); `ranges` are in
    /// order and do not overlap. Rows keep their order.
    ///
    /// # Errors
    /// `Internal` for a row outside all ranges or without a time, and for a column of another type:
    /// nothing is lost in silence.
    pub fn split(&self, column: usize, ranges: &[Extent]) -> Result<Vec<Self>> {
        let batch = self.concat()?;
        let mut rows: Vec<Vec<u32>> = vec![Vec::new(); ranges.len()];
        for (row, time) in (0..).zip(times(&batch, column)?) {
            let time = time.ok_or_else(|| Error::internal(format!("row {row} has no time in column {column}")))?;
            let after = ranges.partition_point(|range| range.start().micros() <= time);
            match after.checked_sub(1).filter(|range| time < ranges[*range].end().micros()) {
                Some(range) => rows[range].push(row),
                None => return Err(Error::internal(format!("row {row} is outside the range that was asked for"))),
            }
        }
        rows.into_iter().map(|rows| self.take(&batch, &UInt32Array::from(rows))).collect()
    }

    /// The rows whose time in `column` is within `range`.
    ///
    /// # Errors
    /// As [`Batches::split`], but for rows outside.
    pub fn crop(&self, column: usize, range: Extent) -> Result<Self> {
        let batch = self.concat()?;
        let within = |time: i64| range.start().micros() <= time && time < range.end().micros();
        let times = (0..).zip(times(&batch, column)?);
        let rows: UInt32Array = times.filter(|(_, time)| time.is_some_and(within)).map(|(row, _)| Some(row)).collect();
        if rows.len() == batch.num_rows() { Ok(self.clone()) } else { self.take(&batch, &rows) }
    }

    /// The rows in the order of `keys`; those that are equal in all keys keep theirs.
    ///
    /// # Errors
    /// `Internal` if a column cannot be ordered by.
    pub fn order_by(&self, keys: &[SortKey]) -> Result<Self> {
        if keys.is_empty() || self.num_rows() < 2 {
            return Ok(self.clone());
        }
        let batch = self.concat()?;
        let rows = u32::try_from(batch.num_rows()).map_err(|_| Error::internal("too many rows to order"))?;
        let mut columns = Vec::with_capacity(keys.len() + 1);
        for key in keys {
            let options = Some(SortOptions { descending: key.descending, nulls_first: key.nulls_first });
            let values = batch.columns().get(key.column).cloned();
            let values = values.ok_or_else(|| Error::internal(format!("no column {} to order by", key.column)))?;
            // NaN is less than every number there, and greater in Arrow:
            // <https://cloud.google.com/bigquery/docs/reference/standard-sql/data-types#floating_point_types>.
            if let Some(floats) = values.as_primitive_opt::<Float64Type>() {
                let numbers: BooleanArray = floats.iter().map(|float| float.map(|float| !float.is_nan())).collect();
                columns.push(SortColumn { values: Arc::new(numbers), options });
            }
            columns.push(SortColumn { values, options });
        }
        // The engine's sort is not stable by itself.
        columns.push(SortColumn { values: Arc::new(UInt32Array::from_iter_values(0..rows)), options: None });
        let order = lexsort_to_indices(&columns, None)
            .map_err(|error| Error::internal("these columns cannot be ordered by").with_source(error))?;
        self.take(&batch, &order)
    }

    fn take(&self, batch: &RecordBatch, rows: &UInt32Array) -> Result<Self> {
        let taken =
            take_record_batch(batch, rows).map_err(|error| Error::internal("cannot copy rows").with_source(error))?;
        Self::new(Arc::clone(self.schema()), vec![taken])
    }
}

/// Microseconds since the epoch, row by row.
fn times(batch: &RecordBatch, column: usize) -> Result<Vec<Option<i64>>> {
    let array = batch.columns().get(column).ok_or_else(|| Error::internal(format!("no column {column}")))?;
    match array.data_type() {
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            let times: &PrimitiveArray<TimestampMicrosecondType> = array.as_primitive();
            Ok(times.iter().collect())
        }
        DataType::Date32 => {
            let days: &PrimitiveArray<Date32Type> = array.as_primitive();
            Ok(days.iter().map(|day| day.map(|day| i64::from(day) * DAY)).collect())
        }
        other => Err(Error::internal(format!("column {column} is {other}, which is no time"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batches::samples::{batches, utc};
    use arrow::array::{ArrayRef, Float64Array, StringArray};
    use weir_plan::Timestamp;

    fn range(start: i64, end: i64) -> Extent {
        let at = |seconds: i64| Timestamp::saturating(seconds * 1_000_000);
        Extent::new(at(start), at(end)).unwrap()
    }

    fn sample() -> Batches {
        let names: ArrayRef = Arc::new(StringArray::from(vec![Some("b"), None, Some("a"), Some("b")]));
        batches(vec![("t", utc(&[30, 10, 20, 10])), ("name", names)])
    }

    fn seconds(batches: &Batches) -> Vec<i64> {
        let batch = batches.concat().unwrap();
        times(&batch, 0).unwrap().into_iter().map(|time| time.unwrap() / 1_000_000).collect()
    }

    #[test]
    fn pieces_hold_each_row_once_and_in_order() {
        let pieces = sample().split(0, &[range(0, 20), range(20, 30), range(30, 31)]).unwrap();
        assert_eq!(pieces.iter().map(seconds).collect::<Vec<_>>(), [vec![10, 10], vec![20], vec![30]]);
        let pieces = sample().split(0, &[range(0, 10), range(10, 40)]).unwrap();
        assert_eq!(pieces.iter().map(seconds).collect::<Vec<_>>(), [vec![], vec![30, 10, 20, 10]]);
    }

    #[test]
    fn a_row_outside_or_without_a_time_is_an_error() {
        assert!(sample().split(0, &[range(0, 20), range(25, 40)]).unwrap_err().to_string().contains("row 2"));
        assert!(sample().split(0, &[]).is_err());
        assert!(sample().split(1, &[range(0, 40)]).unwrap_err().to_string().contains("no time"));
        assert!(sample().split(2, &[range(0, 40)]).is_err());
    }

    #[test]
    fn a_crop_keeps_what_is_within() {
        assert_eq!(seconds(&sample().crop(0, range(10, 30)).unwrap()), [10, 20, 10]);
        assert_eq!(seconds(&sample().crop(0, range(0, 100)).unwrap()), [30, 10, 20, 10]);
        assert_eq!(sample().crop(0, range(50, 60)).unwrap().num_rows(), 0);
    }

    #[test]
    fn rows_are_ordered_by_columns_and_ties_stay() {
        let key = |column, descending, nulls_first| SortKey { column, descending, nulls_first };
        assert_eq!(seconds(&sample().order_by(&[key(0, false, true)]).unwrap()), [10, 10, 20, 30]);
        assert_eq!(seconds(&sample().order_by(&[key(1, false, true)]).unwrap()), [10, 20, 30, 10]);
        assert_eq!(seconds(&sample().order_by(&[key(1, true, false), key(0, false, true)]).unwrap()), [10, 30, 20, 10]);
        assert_eq!(seconds(&sample().order_by(&[]).unwrap()), [30, 10, 20, 10]);
        assert!(sample().order_by(&[key(9, false, true)]).is_err());
    }

    #[test]
    fn not_a_number_comes_after_null_and_before_every_number() {
        let numbers: ArrayRef = Arc::new(Float64Array::from(vec![Some(1.0), Some(f64::NAN), None]));
        let rows = batches(vec![("t", utc(&[1, 2, 3])), ("x", numbers)]);
        let ordered = rows.order_by(&[SortKey { column: 1, descending: false, nulls_first: true }]).unwrap();
        assert_eq!(seconds(&ordered), [3, 2, 1]);
    }
}
