//! Arrow rows as JSON values, for comparison: one spelling for each type of [`weir::batches`].
//!
//! INT64 and FLOAT64 are numbers (`"NaN"`, `"Infinity"`, `"-Infinity"` text), NUMERIC and BIGNUMERIC text
//! without trailing zeros, BYTES base64, TIMESTAMP RFC 3339 with `Z`, DATETIME the same without, a STRUCT
//! an object, and a NULL array the empty one, which is what `BigQuery` answers with.

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Decimal256Type, Float64Type, Int64Type, Time64MicrosecondType, TimeUnit,
    TimestampMicrosecondType,
};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, NaiveDate, NaiveTime, SecondsFormat};
use serde_json::{Map, Value, json};

/// The rows of a batch.
///
/// # Errors
/// Names a column whose type no `BigQuery` type has.
pub(crate) fn rows(batch: &RecordBatch) -> Result<Vec<Value>, String> {
    let schema = batch.schema();
    (0..batch.num_rows())
        .map(|row| {
            let cells = schema.fields().iter().zip(batch.columns());
            cells
                .map(|(field, column)| cell(column, row).map_err(|error| format!("column {}: {error}", field.name())))
                .collect()
        })
        .collect()
}

fn cell(column: &ArrayRef, row: usize) -> Result<Value, String> {
    if column.is_null(row) {
        return Ok(if matches!(column.data_type(), DataType::List(_)) { json!([]) } else { Value::Null });
    }
    Ok(match column.data_type() {
        DataType::Int64 => json!(column.as_primitive::<Int64Type>().value(row)),
        DataType::Float64 => float(column.as_primitive::<Float64Type>().value(row)),
        DataType::Boolean => json!(column.as_boolean().value(row)),
        DataType::Utf8 => json!(column.as_string::<i32>().value(row)),
        DataType::Binary => json!(STANDARD.encode(column.as_binary::<i32>().value(row))),
        DataType::Decimal128(38, 9) => decimal(&column.as_primitive::<Decimal128Type>().value_as_string(row)),
        DataType::Decimal256(76, 38) => decimal(&column.as_primitive::<Decimal256Type>().value_as_string(row)),
        DataType::Date32 => json!(date(column.as_primitive::<Date32Type>().value(row)).to_string()),
        DataType::Time64(TimeUnit::Microsecond) => {
            json!(time(column.as_primitive::<Time64MicrosecondType>().value(row)))
        }
        DataType::Timestamp(TimeUnit::Microsecond, zone) => {
            let micros = column.as_primitive::<TimestampMicrosecondType>().value(row);
            let text = DateTime::from_timestamp_micros(micros).unwrap().to_rfc3339_opts(SecondsFormat::AutoSi, true);
            match zone.as_deref() {
                None => json!(text.trim_end_matches('Z')),
                Some("UTC") => json!(text),
                Some(zone) => return Err(format!("a timestamp in zone {zone}, not UTC")),
            }
        }
        DataType::List(_) => {
            let elements = column.as_list::<i32>().value(row);
            (0..elements.len()).map(|element| cell(&elements, element)).collect::<Result<Value, _>>()?
        }
        DataType::Struct(fields) => {
            let columns = column.as_struct().columns();
            let mut object = Map::new();
            for (field, column) in fields.iter().zip(columns) {
                object.insert(field.name().clone(), cell(column, row)?);
            }
            Value::Object(object)
        }
        other => return Err(format!("no BigQuery type is {other} in Arrow")),
    })
}

fn float(value: f64) -> Value {
    if value.is_nan() {
        json!("NaN")
    } else if value.is_infinite() {
        json!(if value > 0.0 { "Infinity" } else { "-Infinity" })
    } else {
        json!(value)
    }
}

fn decimal(text: &str) -> Value {
    json!(if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { text })
}

fn date(days: i32) -> NaiveDate {
    NaiveDate::from_epoch_days(days).unwrap()
}

fn time(micros: i64) -> String {
    let (seconds, micros) = (micros.div_euclid(1_000_000), micros.rem_euclid(1_000_000));
    let seconds = u32::try_from(seconds).unwrap();
    NaiveTime::from_num_seconds_from_midnight_opt(seconds, u32::try_from(micros).unwrap() * 1000).unwrap().to_string()
}

/// Floats are equal to this part of the greater one.
const TOLERANCE: f64 = 1e-9;

/// Whether two values are equal, floats within [`TOLERANCE`].
pub(crate) fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|((key, a), (other, b))| key == other && same(a, b))
        }
        (Value::Number(a), Value::Number(b)) if a.is_i64() && b.is_i64() => a == b,
        (Value::Number(a), Value::Number(b)) => {
            let (a, b) = (a.as_f64().unwrap(), b.as_f64().unwrap());
            (a - b).abs() <= TOLERANCE * a.abs().max(b.abs()).max(1.0)
        }
        (a, b) => a == b,
    }
}

/// Whether two lists of rows are equal: in order, or as multisets.
///
/// # Errors
/// Shows a row that only one of them has.
pub(crate) fn same_rows(got: &[Value], expected: &[Value], ordered: bool) -> Result<(), String> {
    if got.len() != expected.len() {
        return Err(format!("{} rows instead of {}: {}", got.len(), expected.len(), show(got)));
    }
    let (mut got, mut expected): (Vec<&Value>, Vec<&Value>) = (got.iter().collect(), expected.iter().collect());
    if !ordered {
        got.sort_by_cached_key(|row| rounded(row).to_string());
        expected.sort_by_cached_key(|row| rounded(row).to_string());
    }
    match got.iter().zip(&expected).find(|(got, expected)| !same(got, expected)) {
        None => Ok(()),
        Some((got, expected)) => Err(format!("got the row {got}, expected {expected}")),
    }
}

/// A row for sorting: floats that differ by rounding are one text, but for those on an edge.
fn rounded(value: &Value) -> Value {
    match value {
        Value::Array(values) => values.iter().map(rounded).collect(),
        Value::Object(fields) => fields.iter().map(|(name, value)| (name.clone(), rounded(value))).collect(),
        Value::Number(number) if !number.is_i64() => json!(format!("{:.6e}", number.as_f64().unwrap())),
        other => other.clone(),
    }
}

fn show(rows: &[Value]) -> String {
    const SHOWN: usize = 5;
    let mut text: Vec<_> = rows.iter().take(SHOWN).map(Value::to_string).collect();
    if rows.len() > SHOWN {
        text.push("…".to_owned());
    }
    text.join(" ")
}

#[test]
fn rows_are_compared_as_multisets_and_floats_to_a_tolerance() {
    let rows = |text: &str| serde_json::from_str::<Vec<Value>>(text).unwrap();
    let check = |a: &str, b: &str, ordered| same_rows(&rows(a), &rows(b), ordered).is_ok();
    assert!(check("[[1, 0.1], [2, null]]", "[[2, null], [1, 0.1000000000001]]", false));
    assert!(!check("[[1, 0.1], [2, null]]", "[[2, null], [1, 0.1]]", true));
    assert!(!check("[[1], [1], [2]]", "[[1], [2], [2]]", false));
    assert!(!check("[[1, 0.1]]", "[[1, 0.10001]]", false));
    assert!(!check("[[9223372036854775807]]", "[[9223372036854775806]]", false));
    assert!(!check("[[1]]", "[[\"1\"]]", false));
}
