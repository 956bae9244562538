//! The series of an earlier range beside those of the present one, as doitintl's `$__timeShifting`
//! asks for them: moved to the present, and called `value_shifted_1d`.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, RecordBatch, RecordBatchOptions, TimestampNanosecondArray};
use arrow::datatypes::{Schema, TimestampNanosecondType};
use weir_plan::{Error, Result};

use super::model::Shift;

/// Moves the times of a series, which are its first field, and names its values.
///
/// # Errors
/// `InvalidQuery` for a time that leaves what Grafana can show.
pub(super) fn shifted(series: &RecordBatch, by: &Shift) -> Result<RecordBatch> {
    let Some((times, values)) = series.columns().split_first() else { return Ok(series.clone()) };
    let moved = times.as_primitive::<TimestampNanosecondType>().try_unary(|nanos| {
        by.micros.checked_mul(1000).and_then(|by| nanos.checked_add(by)).ok_or_else(|| {
            Error::invalid(format!("$__timeShifting({}) leads to a time that Grafana cannot show", by.interval))
        })
    })?;
    let moved: TimestampNanosecondArray = moved;
    let columns: Vec<ArrayRef> =
        std::iter::once(Arc::new(moved.with_timezone("UTC")) as ArrayRef).chain(values.iter().cloned()).collect();
    let name = |(at, field): (usize, &Arc<arrow::datatypes::Field>)| {
        let field = field.as_ref().clone();
        if at == 0 {
            field
        } else {
            let name = format!("{}_shifted_{}", field.name(), by.interval);
            field.with_name(name)
        }
    };
    let fields: Vec<_> = series.schema_ref().fields().iter().enumerate().map(name).collect();
    let options = RecordBatchOptions::new().with_row_count(Some(series.num_rows()));
    RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), columns, &options)
        .map_err(|error| Error::internal("cannot move a series").with_source(error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batches::samples::{batches, utc};
    use crate::plugin::fields;
    use crate::plugin::model::{Format, Shape};
    use arrow::array::Int64Array;
    use arrow::util::display::array_value_to_string;

    fn series(times: &[i64]) -> RecordBatch {
        let numbers = Int64Array::from_iter_values(0..i64::try_from(times.len()).unwrap());
        let rows = batches(vec![("time", utc(times)), ("value", Arc::new(numbers) as ArrayRef)]);
        fields::convert(&rows, Some(0), &Shape::of(Format::TimeSeries)).unwrap()
    }

    #[test]
    fn times_are_moved_and_values_renamed() {
        let by = Shift { micros: 86_400_000_000, interval: "1d".into() };
        let moved = shifted(&series(&[1, 2]), &by).unwrap();
        let names: Vec<_> = moved.schema_ref().fields().iter().map(|field| field.name().clone()).collect();
        assert_eq!(names, ["time", "value_shifted_1d"]);
        assert_eq!(array_value_to_string(moved.column(0), 1).unwrap(), "1970-01-02T00:00:02Z");
        let far = Shift { micros: i64::MAX / 1000, interval: "300y".into() };
        assert!(shifted(&series(&[9_000_000_000_000_000]), &far).unwrap_err().message().contains("300y"));
    }
}
