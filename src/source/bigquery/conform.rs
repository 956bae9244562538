//! Batches of the Storage Read API take the schema that the JSON path gives the same answer.
//!
//! Most columns pass as they are. What differs: nullability and metadata of fields; INTERVAL, which
//! arrives as months, days and nanoseconds; RANGE, which arrives as a struct of its bounds.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, ListArray, RecordBatch, RecordBatchOptions, StringArray, StructArray};
use arrow::compute::cast;
use arrow::datatypes::{
    DataType, Date32Type, Field, Fields, IntervalMonthDayNano, IntervalMonthDayNanoType, IntervalUnit, SchemaRef,
    TimeUnit, TimestampMicrosecondType,
};
use arrow::error::ArrowError;
use weir_plan::{Error, Kind, Result};

use super::text;

/// Gives a batch the schema `schema`, column by column in order.
///
/// # Errors
/// `Unavailable` for a batch with other columns.
pub(super) fn conform(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
    if batch.num_columns() != schema.fields().len() {
        let message = format!("the Storage Read API sent {} columns of {}", batch.num_columns(), schema.fields().len());
        return Err(Error::new(Kind::Unavailable, message));
    }
    let columns = batch.columns().iter().zip(schema.fields()).map(|(column, field)| array(column, field));
    let columns = columns.collect::<Result<Vec<_>>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(SchemaRef::clone(schema), columns, &options)
        .map_err(|error| mismatch("answer", &error))
}

fn array(array: &ArrayRef, field: &Field) -> Result<ArrayRef> {
    let wrong = |error: ArrowError| mismatch(field.name(), &error);
    match (array.data_type(), field.data_type()) {
        (actual, wanted) if actual == wanted => Ok(Arc::clone(array)),
        (DataType::Struct(_), DataType::Struct(fields)) => structure(array.as_struct(), fields, field.name()),
        (DataType::List(_), DataType::List(item)) => {
            let list = array.as_list::<i32>();
            let elements = self::array(list.values(), &Field::clone(item).with_name(field.name()))?;
            let list = ListArray::try_new(Arc::clone(item), list.offsets().clone(), elements, list.nulls().cloned());
            Ok(Arc::new(list.map_err(wrong)?))
        }
        (DataType::Interval(IntervalUnit::MonthDayNano), DataType::Utf8) => {
            let intervals = array.as_primitive::<IntervalMonthDayNanoType>();
            let text = |interval: IntervalMonthDayNano| {
                text::interval_text(interval.months, interval.days, interval.nanoseconds)
            };
            Ok(Arc::new(intervals.iter().map(|interval| interval.map(text)).collect::<StringArray>()))
        }
        (DataType::Struct(_), DataType::Utf8) => ranges(array.as_struct(), field.name()),
        (DataType::LargeUtf8 | DataType::Utf8View, DataType::Utf8)
        | (DataType::LargeBinary | DataType::BinaryView, DataType::Binary)
        | (DataType::Timestamp(..), DataType::Timestamp(..))
        | (DataType::Time64(_), DataType::Time64(_))
        | (DataType::Decimal128(..) | DataType::Decimal256(..), DataType::Decimal128(..) | DataType::Decimal256(..)) => {
            cast(array, field.data_type()).map_err(wrong)
        }
        (actual, wanted) => {
            let message =
                format!("column {} arrives from the Storage Read API as {actual}, not {wanted}", field.name());
            Err(Error::new(Kind::Unavailable, message))
        }
    }
}

fn structure(array: &StructArray, fields: &Fields, name: &str) -> Result<ArrayRef> {
    if array.num_columns() != fields.len() {
        let message =
            format!("column {name} has {} fields of {} in the Storage Read API", array.num_columns(), fields.len());
        return Err(Error::new(Kind::Unavailable, message));
    }
    let columns = array.columns().iter().zip(fields).map(|(column, field)| self::array(column, field));
    let columns = columns.collect::<Result<Vec<_>>>()?;
    let array = StructArray::try_new_with_length(fields.clone(), columns, array.nulls().cloned(), array.len());
    Ok(Arc::new(array.map_err(|error| mismatch(name, &error))?))
}

/// Ranges as text; a bound that is null is open.
fn ranges(array: &StructArray, name: &str) -> Result<ArrayRef> {
    let [start, end] = array.columns() else {
        return Err(Error::new(
            Kind::Unavailable,
            format!("column {name} is a STRUCT in the Storage Read API, not a RANGE"),
        ));
    };
    let bound = |bounds: &ArrayRef, row: usize| -> Option<String> {
        if bounds.is_null(row) {
            return None;
        }
        match bounds.data_type() {
            DataType::Date32 => text::date_text(bounds.as_primitive::<Date32Type>().value(row)),
            DataType::Timestamp(TimeUnit::Microsecond, zone) => {
                let micros = bounds.as_primitive::<TimestampMicrosecondType>().value(row);
                if zone.is_some() { text::timestamp_text(micros) } else { text::datetime_text(micros) }
            }
            _ => None,
        }
    };
    let range = |row| array.is_valid(row).then(|| text::range_text(bound(start, row), bound(end, row)));
    Ok(Arc::new((0..array.len()).map(range).collect::<StringArray>()))
}

fn mismatch(name: &str, error: &ArrowError) -> Error {
    Error::new(
        Kind::Unavailable,
        format!("column {name} of the Storage Read API does not fit the answer's schema: {error}"),
    )
}
