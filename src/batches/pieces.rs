//! Batches cut at times and put in order again. It knows nothing of buckets or partitions: ranges and
//! columns are told.

use std::cmp::Ordering;
use std::sync::Arc;

use arrow::array::{
    Array as _, AsArray as _, BooleanArray, DynComparator, PrimitiveArray, RecordBatch, UInt32Array, make_comparator,
};
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
        let within = |time: i64| range.start().micros() <= time && time < range.end().micros();
        let mut cropped = Vec::with_capacity(self.iter().len());
        for batch in self {
            let times = (0..).zip(times(batch, column)?);
            let rows: Vec<u32> = times.filter(|(_, time)| time.is_some_and(within)).map(|(row, _)| row).collect();
            if rows.len() == batch.num_rows() {
                cropped.push(batch.clone());
            } else if !rows.is_empty() {
                cropped.push(taken(batch, &rows.into())?);
            }
        }
        Self::new(Arc::clone(self.schema()), cropped)
    }

    /// The rows in the order of `keys`; those that are equal in all keys keep theirs.
    ///
    /// # Errors
    /// `Internal` if a column cannot be ordered by.
    pub fn order_by(&self, keys: &[SortKey]) -> Result<Self> {
        if self.is_ordered_by(keys) {
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

    /// Whether the rows are surely in the order of `keys`, as those of parts mostly are.
    fn is_ordered_by(&self, keys: &[SortKey]) -> bool {
        let batches: Vec<&RecordBatch> = self.iter().filter(|batch| batch.num_rows() > 0).collect();
        let is_ordered = |place: usize, batch: &RecordBatch| {
            let compare = comparator(batch, batch, keys)?;
            let is_within = (1..batch.num_rows()).all(|row| compare(row - 1, row).is_le());
            let Some(next) = batches.get(place + 1) else { return Some(is_within) };
            Some(is_within && comparator(batch, next, keys)?(batch.num_rows() - 1, 0).is_le())
        };
        batches.iter().enumerate().all(|(place, batch)| is_ordered(place, batch) == Some(true))
    }

    fn take(&self, batch: &RecordBatch, rows: &UInt32Array) -> Result<Self> {
        Self::new(Arc::clone(self.schema()), vec![taken(batch, rows)?])
    }
}

fn taken(batch: &RecordBatch, rows: &UInt32Array) -> Result<RecordBatch> {
    take_record_batch(batch, rows).map_err(|error| Error::internal("cannot copy rows").with_source(error))
}

/// Compares a row of one batch with a row of the other; `None` for keys that Arrow does not order as
/// `BigQuery` does, or not at all.
fn comparator(
    one: &RecordBatch,
    other: &RecordBatch,
    keys: &[SortKey],
) -> Option<impl Fn(usize, usize) -> Ordering + use<>> {
    let of_key = |key: &SortKey| {
        let (one, other) = (one.columns().get(key.column)?, other.columns().get(key.column)?);
        let options = SortOptions { descending: key.descending, nulls_first: key.nulls_first };
        if *one.data_type() == DataType::Float64 { None } else { make_comparator(one, other, options).ok() }
    };
    let comparators: Vec<DynComparator> = keys.iter().map(of_key).collect::<Option<_>>()?;
    Some(move |row: usize, other: usize| {
        let orders = comparators.iter().map(|compare| compare(row, other));
        orders.fold(Ordering::Equal, Ordering::then)
    })
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

    /// Rows of several batches, all of one name.
    fn joined(parts: &[&[i64]]) -> Batches {
        let part = |times: &&[i64]| {
            let names: ArrayRef = Arc::new(StringArray::from(vec!["a"; times.len()]));
            batches(vec![("t", utc(times)), ("name", names)]).concat().unwrap()
        };
        let parts: Vec<RecordBatch> = parts.iter().map(part).collect();
        Batches::new(parts[0].schema(), parts.clone()).unwrap()
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
        let several = joined(&[&[1, 2], &[], &[3, 4], &[5]]);
        let cropped = several.crop(0, range(2, 5)).unwrap();
        assert_eq!((seconds(&cropped), cropped.iter().len()), (vec![2, 3, 4], 3), "what is whole is not copied");
        assert_eq!(seconds(&several.crop(0, range(5, 9)).unwrap()), [5]);
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
    fn parts_in_order_are_not_copied_and_others_are_sorted() {
        let key = |column, descending, nulls_first| SortKey { column, descending, nulls_first };
        let check = |parts: &[&[i64]], keys: &[SortKey], expected: &[i64], is_copied: bool| {
            let rows = joined(parts);
            let ordered = rows.order_by(keys).unwrap();
            let found = (seconds(&ordered), ordered.iter().len() != parts.len());
            assert_eq!(found, (expected.to_vec(), is_copied), "{parts:?} {keys:?}");
        };
        let (up, down) = ([key(0, false, true)], [key(0, true, false)]);
        check(&[&[1, 1, 2], &[], &[2, 3]], &up, &[1, 1, 2, 2, 3], false);
        check(&[&[1, 3], &[2, 4]], &up, &[1, 2, 3, 4], true);
        check(&[&[1, 3, 2], &[4]], &up, &[1, 2, 3, 4], true);
        check(&[&[1, 2], &[], &[0]], &up, &[0, 1, 2], true);
        check(&[&[4, 3], &[2, 1]], &down, &[4, 3, 2, 1], false);
        check(&[&[1, 2], &[3]], &down, &[3, 2, 1], true);
        check(&[&[1, 2], &[3]], &[], &[1, 2, 3], false);
        // The second key decides where the first does not.
        check(&[&[1, 1], &[2]], &[key(1, false, true), key(0, false, true)], &[1, 1, 2], false);
        check(&[&[2, 1], &[1]], &[key(1, false, true), key(0, false, true)], &[1, 1, 2], true);
    }

    #[test]
    fn not_a_number_comes_after_null_and_before_every_number() {
        let numbers: ArrayRef = Arc::new(Float64Array::from(vec![Some(1.0), Some(f64::NAN), None]));
        let rows = batches(vec![("t", utc(&[1, 2, 3])), ("x", numbers)]);
        let ordered = rows.order_by(&[SortKey { column: 1, descending: false, nulls_first: true }]).unwrap();
        assert_eq!(seconds(&ordered), [3, 2, 1]);
    }
}
