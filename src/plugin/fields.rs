//! From `BigQuery`'s types to the few that Grafana's decoder takes (plugin contract, "Frames on
//! the wire"): one column of any other type would fail every refId of the response.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryArray, RecordBatch, StringArray, TimestampNanosecondArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Date32Type, Field, Schema, TimeUnit, TimestampMicrosecondType};
use chrono::{DateTime, NaiveDate};
use weir_plan::{Error, Result, Timestamp};

use super::model::{Format, Shape};
use crate::batches::Batches;
use crate::batches::decimal;
use crate::batches::json::{self, Column};

/// Nanoseconds of a day.
const DAY_NS: i64 = 86_400_000_000_000;

/// The time axis: the first TIMESTAMP column, and only where there is none the first DATETIME or
/// DATE column.
pub(super) fn time_axis(schema: &Schema) -> Option<usize> {
    let find = |test: fn(&DataType) -> bool| schema.fields().iter().position(|field| test(field.data_type()));
    find(|data_type| matches!(data_type, DataType::Timestamp(_, Some(_))))
        .or_else(|| find(|data_type| matches!(data_type, DataType::Timestamp(_, None) | DataType::Date32)))
}

/// All rows in one batch of Grafana's types, every field nullable. `axis` is the column whose dates
/// become times. NUMERIC and BIGNUMERIC become the nearest doubles, of 15 to 17 digits.
///
/// # Errors
/// `InvalidQuery` naming the column: a time outside nanoseconds (1677–2262), a type that cannot be
/// shown.
pub(super) fn convert(batches: &Batches, axis: Option<usize>, shape: &Shape) -> Result<RecordBatch> {
    let batch = batches.concat()?;
    let mut fields = Vec::with_capacity(batch.num_columns());
    let mut columns = Vec::with_capacity(batch.num_columns());
    for (index, (field, column)) in batch.schema_ref().fields().iter().zip(batch.columns()).enumerate() {
        let is_time = axis == Some(index) || shape.annotation && EVENT_TIMES.iter().any(|name| is_named(field, name));
        let column = convert_column(column, field, is_time, shape)
            .map_err(|error| error.context(format!("column {:?}", field.name())))?;
        fields.push(Field::new(field.name(), column.data_type().clone(), true));
        columns.push(column);
    }
    let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), columns, &options)
        .map_err(|error| Error::internal("cannot put a frame together").with_source(error))
}

/// Columns of an annotation that say when; names count in any case.
/// Source: `standardAnnotationSupport.ts` of grafana/grafana.
const EVENT_TIMES: [&str; 2] = ["time", "timeEnd"];

fn is_named(field: &Field, name: &str) -> bool {
    field.name().eq_ignore_ascii_case(name)
}

/// `time` in Grafana's frames.
pub(super) fn time_type() -> DataType {
    DataType::Timestamp(TimeUnit::Nanosecond, Some("UTC".into()))
}

/// Columns of a trace that hold JSON, as Grafana's trace view names them; it takes no text in them.
/// Source: <https://grafana.com/docs/grafana/latest/explore/trace-integration/#data-api>.
const TRACE_JSON: [&str; 6] = ["serviceTags", "tags", "logs", "references", "warnings", "stackTraces"];

fn is_json(field: &Field) -> bool {
    let is_nested = matches!(field.data_type(), DataType::List(_) | DataType::Struct(_));
    is_nested || json::is_json(field) || TRACE_JSON.contains(&field.name().as_str())
}

fn convert_column(column: &ArrayRef, field: &Field, is_axis: bool, shape: &Shape) -> Result<ArrayRef> {
    use DataType as D;
    if shape.format == Format::Traces && is_json(field) {
        return jsons(column, field);
    }
    match column.data_type() {
        D::Boolean | D::Int64 | D::Float64 | D::Utf8 => Ok(Arc::clone(column)),
        D::Timestamp(TimeUnit::Microsecond, zone) if zone.is_some() || is_axis => nanoseconds(column),
        D::Timestamp(TimeUnit::Microsecond, None) => {
            let times = column.as_primitive::<TimestampMicrosecondType>();
            Ok(Arc::new(times.iter().map(|micros| micros.map(datetime)).collect::<StringArray>()))
        }
        D::Date32 if is_axis => days(column),
        D::Decimal128(..) | D::Decimal256(..) => {
            decimal::doubles(column).ok_or_else(|| Error::internal("a decimal column is none"))
        }
        D::Float16 | D::Float32 => cast_to(column, &D::Float64),
        D::Int8 | D::Int16 | D::Int32 | D::UInt8 | D::UInt16 | D::UInt32 | D::UInt64 => cast_to(column, &D::Int64),
        D::LargeUtf8 | D::Utf8View | D::Null => cast_to(column, &D::Utf8),
        D::Timestamp(..) => {
            let zone = if let D::Timestamp(_, zone) = column.data_type() { zone.clone() } else { None };
            convert_column(&cast_to(column, &D::Timestamp(TimeUnit::Microsecond, zone))?, field, is_axis, shape)
        }
        _ => texts(column, field, shape),
    }
}

/// Every other type as the text of its JSON: DATE and TIME in ISO 8601, BYTES in base64.
fn texts(column: &ArrayRef, field: &Field, shape: &Shape) -> Result<ArrayRef> {
    let cells = Column::of(column.as_ref(), field)?;
    let is_joined = shape.comma_lists || shape.annotation && is_named(field, "tags");
    let text = |row| if is_joined { cells.joined(row) } else { cells.text(row) };
    Ok(Arc::new((0..column.len()).map(text).collect::<Result<StringArray>>()?))
}

/// A column of JSON values, which are binary in frames.
fn jsons(column: &ArrayRef, field: &Field) -> Result<ArrayRef> {
    let cells = Column::of(column.as_ref(), field)?;
    Ok(Arc::new(
        (0..column.len()).map(|row| cells.json(row)).collect::<Result<Vec<_>>>()?.iter().collect::<BinaryArray>(),
    ))
}

/// `2019-01-01 01:01:01`, as people read it, with as many digits of the second as needed.
fn datetime(micros: i64) -> String {
    let datetime = DateTime::from_timestamp_micros(micros);
    datetime.map_or_else(|| format!("{micros} µs"), |datetime| datetime.naive_utc().to_string())
}

fn nanoseconds(column: &ArrayRef) -> Result<ArrayRef> {
    let times = column.as_primitive::<TimestampMicrosecondType>();
    let scale = |micros: i64| micros.checked_mul(1000).ok_or_else(|| out_of_range(&Timestamp::saturating(micros)));
    let times: TimestampNanosecondArray = times.try_unary(scale)?;
    Ok(Arc::new(times.with_timezone("UTC")))
}

fn days(column: &ArrayRef) -> Result<ArrayRef> {
    let dates = column.as_primitive::<Date32Type>();
    let scale = |day: i32| i64::from(day).checked_mul(DAY_NS).ok_or_else(|| out_of_range(&date(day)));
    let times: TimestampNanosecondArray = dates.try_unary(scale)?;
    Ok(Arc::new(times.with_timezone("UTC")))
}

/// `2019-01-01`.
fn date(day: i32) -> String {
    NaiveDate::from_epoch_days(day).map_or_else(|| format!("day {day}"), |date| date.to_string())
}

fn out_of_range(time: &dyn std::fmt::Display) -> Error {
    Error::invalid(format!("the time {time} is outside what Grafana can show, 1677-09-21 to 2262-04-11"))
}

fn cast_to(column: &ArrayRef, data_type: &DataType) -> Result<ArrayRef> {
    cast(column, data_type)
        .map_err(|error| Error::invalid(format!("{} cannot be shown", column.data_type())).with_source(error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batches::samples::{batches, every_type, utc};
    use crate::plugin::model::Fill;
    use arrow::array::{Date32Array, Int64Array, TimestampMicrosecondArray};
    use arrow::util::display::array_value_to_string;

    const TABLE: Shape = Shape {
        format: Format::Table,
        fill: Fill::Null,
        metric_names_series: false,
        comma_lists: false,
        annotation: false,
        shift: None,
    };

    fn shown(batch: &RecordBatch, row: usize) -> Vec<String> {
        batch.columns().iter().map(|column| array_value_to_string(column, row).unwrap()).collect()
    }

    #[test]
    fn every_type_becomes_one_that_grafana_reads() {
        let batch = convert(&every_type(), Some(9), &TABLE).unwrap();
        let types: Vec<_> = batch.schema_ref().fields().iter().map(|field| field.data_type().clone()).collect();
        let (text, float) = (DataType::Utf8, DataType::Float64);
        let expected = vec![
            DataType::Int64,
            float.clone(),
            DataType::Boolean,
            text.clone(),
            text.clone(),
            float.clone(),
            float,
            text.clone(),
            text.clone(),
            time_type(),
            text.clone(),
            text.clone(),
            text,
        ];
        assert_eq!(types, expected);
        assert!(batch.schema_ref().fields().iter().all(|field| field.is_nullable()));
        let expected = [
            "9007199254740993",
            "NaN",
            "true",
            "é",
            "AP8=",
            "1.5",
            "-0.25",
            "2019-01-01",
            "01:01:01.500",
            "2019-01-01T01:01:01Z",
            "2019-01-01 01:01:01",
            r#"{"z":1,"a":"x","m":"0.1"}"#,
            "[1,null,3]",
        ];
        assert_eq!(shown(&batch, 0), expected);
        assert!(batch.columns().iter().all(|column| column.is_null(1)));
    }

    #[test]
    fn lists_are_joined_for_boards_that_take_them_apart() {
        let joined = Shape { comma_lists: true, ..TABLE };
        let batch = convert(&every_type(), None, &joined).unwrap();
        assert_eq!(shown(&batch, 0)[11..], [r#"{"z":1,"a":"x","m":"0.1"}"#, "1,,3"]);
    }

    #[test]
    fn nested_columns_and_tags_of_a_trace_are_json() {
        let trace = Shape::of(Format::Traces);
        let mut columns = vec![
            ("tags", Arc::new(StringArray::from(vec![r#"[{"key":"a","value":1}]"#])) as ArrayRef),
            ("spanID", Arc::new(StringArray::from(vec!["[]"])) as ArrayRef),
        ];
        let nested = every_type().concat().unwrap();
        columns.push(("logs", nested.column(12).slice(0, 1)));
        let batch = convert(&batches(columns), None, &trace).unwrap();
        let json =
            |column: usize| String::from_utf8(batch.column(column).as_binary::<i32>().value(0).to_vec()).unwrap();
        assert_eq!((json(0), json(2)), (r#"[{"key":"a","value":1}]"#.to_owned(), "[1,null,3]".to_owned()));
        assert_eq!(batch.column(1).data_type(), &DataType::Utf8);
    }

    #[test]
    fn dates_are_times_only_on_the_axis() {
        let dates: ArrayRef = Arc::new(Date32Array::from(vec![Some(17_897), None]));
        let batch = convert(&batches(vec![("day", dates)]), Some(0), &TABLE).unwrap();
        assert_eq!(batch.column(0).data_type(), &time_type());
        assert_eq!(shown(&batch, 0), ["2019-01-01T00:00:00Z"]);
        let datetimes: ArrayRef = Arc::new(TimestampMicrosecondArray::from(vec![1_000_000]));
        let batch = convert(&batches(vec![("at", datetimes)]), Some(0), &TABLE).unwrap();
        assert_eq!(shown(&batch, 0), ["1970-01-01T00:00:01Z"]);
    }

    #[test]
    fn the_axis_is_the_first_timestamp_and_else_the_first_date() {
        let number = || Arc::new(Int64Array::from(vec![1])) as ArrayRef;
        let date = || Arc::new(Date32Array::from(vec![1])) as ArrayRef;
        let datetime = || Arc::new(TimestampMicrosecondArray::from(vec![1])) as ArrayRef;
        let check = |columns: Vec<(&str, ArrayRef)>, expected: Option<usize>| {
            assert_eq!(time_axis(batches(columns).schema()), expected);
        };
        check(vec![("d", date()), ("n", number()), ("t", utc(&[1]))], Some(2));
        check(vec![("n", number()), ("d", date()), ("t", datetime())], Some(1));
        check(vec![("n", number()), ("t", datetime()), ("d", date())], Some(1));
        check(vec![("n", number())], None);
    }

    #[test]
    fn a_time_outside_nanoseconds_is_an_error_that_names_the_column() {
        let year_9999 = 253_402_300_799_000_000;
        let error = convert(&batches(vec![("end", utc(&[year_9999]))]), None, &TABLE).unwrap_err();
        assert!(error.message().starts_with("column \"end\": the time 9999-12-31T23:59:59Z is outside"), "{error}");
        let dates: ArrayRef = Arc::new(Date32Array::from(vec![2_932_896]));
        let error = convert(&batches(vec![("day", dates)]), Some(0), &TABLE).unwrap_err();
        assert!(error.message().starts_with("column \"day\": the time 9999-12-31 is outside"), "{error}");
    }
}
