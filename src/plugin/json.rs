//! Rows as JSON: for STRUCT and ARRAY inside frames, and for the answers of resource calls.
//!
//! Keys keep the schema's order. Numbers outside JSON (NaN, infinities) are texts, as in
//! `BigQuery`'s `TO_JSON`; NUMERIC is a number of JSON.

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Decimal256Type, Float64Type, Int64Type, Time64MicrosecondType, TimeUnit,
    TimestampMicrosecondType,
};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, NaiveDate, NaiveTime, SecondsFormat, TimeDelta};
use serde_json::{Map, Number, Value, json};
use weir_plan::{Error, Result};

use crate::batches::Batches;

/// `{"columns": [{"name", "type"}], "rows": [[…]]}`.
///
/// # Errors
/// `InvalidQuery` for a type that has no text.
pub(super) fn table(batches: &Batches) -> Result<Map<String, Value>> {
    let columns: Vec<_> = (batches.schema().fields().iter())
        .map(|field| json!({"name": field.name(), "type": type_name(field.data_type())}))
        .collect();
    let mut rows = Vec::with_capacity(batches.num_rows());
    for batch in batches {
        for row in 0..batch.num_rows() {
            rows.push(row_of(batch, row)?);
        }
    }
    Ok(Map::from_iter([("columns".to_owned(), columns.into()), ("rows".to_owned(), rows.into())]))
}

fn row_of(batch: &RecordBatch, row: usize) -> Result<Value> {
    batch.columns().iter().map(|column| value(column, row)).collect()
}

/// `GoogleSQL`'s name of a type.
fn type_name(data_type: &DataType) -> &'static str {
    match data_type {
        DataType::Int64 => "INT64",
        DataType::Float64 => "FLOAT64",
        DataType::Boolean => "BOOL",
        DataType::Binary => "BYTES",
        DataType::Decimal128(..) => "NUMERIC",
        DataType::Decimal256(..) => "BIGNUMERIC",
        DataType::Date32 => "DATE",
        DataType::Time64(_) => "TIME",
        DataType::Timestamp(_, Some(_)) => "TIMESTAMP",
        DataType::Timestamp(_, None) => "DATETIME",
        DataType::Struct(_) => "STRUCT",
        DataType::List(_) => "ARRAY",
        _ => "STRING",
    }
}

/// One cell.
///
/// # Errors
/// `InvalidQuery` for a type that has no text.
pub(super) fn value(column: &ArrayRef, row: usize) -> Result<Value> {
    if column.is_null(row) {
        return Ok(Value::Null);
    }
    Ok(match column.data_type() {
        DataType::Boolean => column.as_boolean().value(row).into(),
        DataType::Int64 => column.as_primitive::<Int64Type>().value(row).into(),
        DataType::Float64 => float(column.as_primitive::<Float64Type>().value(row)),
        DataType::Utf8 => column.as_string::<i32>().value(row).into(),
        DataType::Binary => STANDARD.encode(column.as_binary::<i32>().value(row)).into(),
        DataType::Decimal128(..) => decimal(&column.as_primitive::<Decimal128Type>().value_as_string(row)),
        DataType::Decimal256(..) => decimal(&column.as_primitive::<Decimal256Type>().value_as_string(row)),
        DataType::Date32 => date(column.as_primitive::<Date32Type>().value(row)).into(),
        DataType::Time64(TimeUnit::Microsecond) => {
            time(column.as_primitive::<Time64MicrosecondType>().value(row)).into()
        }
        DataType::Timestamp(TimeUnit::Microsecond, zone) => {
            let micros = column.as_primitive::<TimestampMicrosecondType>().value(row);
            if zone.is_some() { timestamp(micros).into() } else { datetime(micros).into() }
        }
        DataType::Struct(fields) => {
            let pairs = fields.iter().zip(column.as_struct().columns());
            let pairs = pairs.map(|(field, column)| Ok((field.name().clone(), value(column, row)?)));
            Value::Object(pairs.collect::<Result<_>>()?)
        }
        DataType::List(_) => {
            let items = column.as_list::<i32>().value(row);
            (0..items.len()).map(|item| value(&items, item)).collect::<Result<_>>()?
        }
        other => formatted(column, row, other)?,
    })
}

fn formatted(column: &ArrayRef, row: usize, data_type: &DataType) -> Result<Value> {
    let text = ArrayFormatter::try_new(column, &FormatOptions::default())
        .and_then(|formatter| formatter.value(row).try_to_string());
    text.map(Value::String).map_err(|error| Error::invalid(format!("type {data_type} has no text")).with_source(error))
}

fn float(number: f64) -> Value {
    Number::from_f64(number).map_or_else(|| number.to_string().into(), Value::Number)
}

fn decimal(text: &str) -> Value {
    text.parse().map_or_else(|_| text.into(), float)
}

/// `2019-01-01`.
pub(super) fn date(days: i32) -> String {
    let date = NaiveDate::from_epoch_days(days);
    date.map_or_else(|| format!("day {days}"), |date| date.to_string())
}

/// `01:01:01`, with as many digits of the second as needed.
pub(super) fn time(micros: i64) -> String {
    (NaiveTime::MIN + TimeDelta::microseconds(micros)).to_string()
}

/// `2019-01-01 01:01:01`, with as many digits of the second as needed.
pub(super) fn datetime(micros: i64) -> String {
    let datetime = DateTime::from_timestamp_micros(micros);
    datetime.map_or_else(|| format!("{micros} µs"), |datetime| datetime.naive_utc().to_string())
}

/// `2019-01-01T01:01:01Z`, with as many digits of the second as needed.
fn timestamp(micros: i64) -> String {
    let datetime = DateTime::from_timestamp_micros(micros);
    datetime.map_or_else(|| format!("{micros} µs"), |time| time.to_rfc3339_opts(SecondsFormat::AutoSi, true))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::plugin::scripted::every_type;

    #[test]
    fn every_type_has_its_json() {
        let batches = every_type();
        let table = table(&batches).unwrap();
        let types: Vec<_> = table["columns"].as_array().unwrap().iter().map(|c| c["type"].as_str().unwrap()).collect();
        let expected = [
            "INT64",
            "FLOAT64",
            "BOOL",
            "STRING",
            "BYTES",
            "NUMERIC",
            "BIGNUMERIC",
            "DATE",
            "TIME",
            "TIMESTAMP",
            "DATETIME",
            "STRUCT",
            "ARRAY",
        ];
        assert_eq!(types, expected);
        let expected = json!([
            9_007_199_254_740_993_i64, "NaN", true, "é", "AP8=", 1.5, -0.25, "2019-01-01", "01:01:01.500",
            "2019-01-01T01:01:01Z", "2019-01-01 01:01:01", {"z": 1, "a": "x"}, [1, null, 3],
        ]);
        assert_eq!(table["rows"][0], expected);
        let keys: Vec<_> = table["rows"][0][11].as_object().unwrap().keys().collect();
        assert_eq!(keys, ["z", "a"], "the schema's order");
        assert!(table["rows"][1].as_array().unwrap().iter().all(Value::is_null));
    }

    #[test]
    fn other_types_are_written_as_text() {
        let column: ArrayRef = Arc::new(arrow::array::Int32Array::from(vec![7]));
        assert_eq!(value(&column, 0).unwrap(), json!("7"));
    }
}
