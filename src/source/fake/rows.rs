//! Arrow rows as `BigQuery`'s JSON rows, `{"f":[{"v":"1"}]}`, written straight to text: every
//! scalar is a JSON string. It knows no pages.

use arrow::array::{
    Array, AsArray, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Decimal256Array, Float64Array, Int64Array,
    ListArray, RecordBatch, StringArray, Time64MicrosecondArray, TimestampMicrosecondArray,
};
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Decimal256Type, Float64Type, Int64Type, Time64MicrosecondType, TimeUnit,
    TimestampMicrosecondType, i256,
};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chrono::Timelike;
use weir_plan::{Error, Result};

use crate::batches::decimal;

/// How TIMESTAMPs are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Timestamps {
    /// Seconds as a floating-point number, `1.7040672E9`: what a caller gets who does not ask.
    #[default]
    FloatSeconds,
    /// Microseconds as an integer (`formatOptions.useInt64Timestamp`).
    Int64Micros,
}

/// The columns of a batch, ready to be written row by row.
pub(super) struct Rows<'a> {
    columns: Vec<Column<'a>>,
    timestamps: Timestamps,
}

impl<'a> Rows<'a> {
    /// # Errors
    /// `Internal` for an Arrow type that is none of `BigQuery`'s.
    pub(super) fn new(batch: &'a RecordBatch, timestamps: Timestamps) -> Result<Self> {
        let columns = batch.columns().iter().map(|column| Column::new(column.as_ref())).collect::<Result<_>>()?;
        Ok(Self { columns, timestamps })
    }

    /// Appends one row.
    pub(super) fn write(&self, row: usize, out: &mut Vec<u8>) {
        write_record(&self.columns, row, self.timestamps, out);
    }
}

enum Column<'a> {
    Int(&'a Int64Array),
    Float(&'a Float64Array),
    Bool(&'a BooleanArray),
    Text(&'a StringArray),
    Bytes(&'a BinaryArray),
    Numeric(&'a Decimal128Array),
    BigNumeric(&'a Decimal256Array),
    Date(&'a Date32Array),
    Time(&'a Time64MicrosecondArray),
    Datetime(&'a TimestampMicrosecondArray),
    Timestamp(&'a TimestampMicrosecondArray),
    Record(&'a dyn Array, Vec<Column<'a>>),
    Repeated(&'a ListArray, Box<Column<'a>>),
}

impl<'a> Column<'a> {
    fn new(array: &'a dyn Array) -> Result<Self> {
        Ok(match array.data_type() {
            DataType::Int64 => Self::Int(array.as_primitive::<Int64Type>()),
            DataType::Float64 => Self::Float(array.as_primitive::<Float64Type>()),
            DataType::Boolean => Self::Bool(array.as_boolean()),
            DataType::Utf8 => Self::Text(array.as_string()),
            DataType::Binary => Self::Bytes(array.as_binary()),
            DataType::Decimal128(_, _) => Self::Numeric(array.as_primitive::<Decimal128Type>()),
            DataType::Decimal256(_, _) => Self::BigNumeric(array.as_primitive::<Decimal256Type>()),
            DataType::Date32 => Self::Date(array.as_primitive::<Date32Type>()),
            DataType::Time64(TimeUnit::Microsecond) => Self::Time(array.as_primitive::<Time64MicrosecondType>()),
            DataType::Timestamp(TimeUnit::Microsecond, None) => {
                Self::Datetime(array.as_primitive::<TimestampMicrosecondType>())
            }
            DataType::Timestamp(TimeUnit::Microsecond, Some(_)) => {
                Self::Timestamp(array.as_primitive::<TimestampMicrosecondType>())
            }
            DataType::Struct(_) => {
                let fields = array.as_struct().columns().iter().map(|field| Self::new(field.as_ref()));
                Self::Record(array, fields.collect::<Result<_>>()?)
            }
            DataType::List(_) => {
                let list = array.as_list::<i32>();
                Self::Repeated(list, Box::new(Self::new(list.values().as_ref())?))
            }
            other => {
                return Err(Error::internal(format!("a column has the type {other}, which is none of BigQuery's")));
            }
        })
    }

    fn array(&self) -> &dyn Array {
        match self {
            Self::Int(array) => array,
            Self::Float(array) => array,
            Self::Bool(array) => array,
            Self::Text(array) => array,
            Self::Bytes(array) => array,
            Self::Numeric(array) => array,
            Self::BigNumeric(array) => array,
            Self::Date(array) => array,
            Self::Time(array) => array,
            Self::Datetime(array) | Self::Timestamp(array) => array,
            Self::Record(array, _) => *array,
            Self::Repeated(array, _) => array,
        }
    }

    fn write(&self, row: usize, timestamps: Timestamps, out: &mut Vec<u8>) {
        match self {
            // A REPEATED value is never null: `BigQuery` answers an empty array.
            Self::Repeated(list, items) => write_items(list, items, row, timestamps, out),
            _ if self.array().is_null(row) => out.extend_from_slice(b"null"),
            Self::Record(_, fields) => write_record(fields, row, timestamps, out),
            Self::Text(array) => quote(array.value(row), out),
            _ => {
                out.push(b'"');
                out.extend_from_slice(self.scalar(row, timestamps).as_bytes());
                out.push(b'"');
            }
        }
    }

    /// A scalar whose text needs no escapes.
    fn scalar(&self, row: usize, timestamps: Timestamps) -> String {
        match self {
            Self::Int(array) => array.value(row).to_string(),
            Self::Float(array) => float_text(array.value(row)),
            Self::Bool(array) => array.value(row).to_string(),
            Self::Bytes(array) => STANDARD.encode(array.value(row)),
            Self::Numeric(array) => decimal::text(i256::from_i128(array.value(row)), array.scale()),
            Self::BigNumeric(array) => decimal::text(array.value(row), array.scale()),
            Self::Date(array) => array.value_as_date(row).map(|date| date.to_string()).unwrap_or_default(),
            Self::Time(array) => array.value_as_time(row).map(time_text).unwrap_or_default(),
            Self::Datetime(array) => array
                .value_as_datetime(row)
                .map(|datetime| format!("{}T{}", datetime.date(), time_text(datetime.time())))
                .unwrap_or_default(),
            Self::Timestamp(array) => timestamp_text(array.value(row), timestamps),
            Self::Text(_) | Self::Record(..) | Self::Repeated(..) => String::new(),
        }
    }
}

fn write_record(columns: &[Column<'_>], row: usize, timestamps: Timestamps, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"f\":[");
    for (index, column) in columns.iter().enumerate() {
        write_value(column, row, index == 0, timestamps, out);
    }
    out.extend_from_slice(b"]}");
}

fn write_items(list: &ListArray, items: &Column<'_>, row: usize, timestamps: Timestamps, out: &mut Vec<u8>) {
    out.push(b'[');
    if list.is_valid(row) {
        let start = usize::try_from(list.value_offsets()[row]).unwrap_or_default();
        let length = usize::try_from(list.value_length(row)).unwrap_or_default();
        for item in start..start + length {
            write_value(items, item, item == start, timestamps, out);
        }
    }
    out.push(b']');
}

fn write_value(column: &Column<'_>, row: usize, first: bool, timestamps: Timestamps, out: &mut Vec<u8>) {
    out.extend_from_slice(if first { b"{\"v\":" } else { b",{\"v\":" });
    column.write(row, timestamps, out);
    out.push(b'}');
}

fn quote(text: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(serde_json::Value::from(text).to_string().as_bytes());
}

fn timestamp_text(micros: i64, timestamps: Timestamps) -> String {
    match timestamps {
        Timestamps::Int64Micros => micros.to_string(),
        #[expect(clippy::cast_precision_loss, reason = "the form is a floating-point number, with its loss")]
        Timestamps::FloatSeconds => float_text(micros as f64 / 1e6),
    }
}

/// Java's `Double.toString`, which is what the API writes: `1.5`, `1.7040672E9`, `1.0E-5`.
fn float_text(value: f64) -> String {
    let magnitude = value.abs();
    if value.is_nan() {
        "NaN".to_owned()
    } else if value.is_infinite() {
        if value > 0.0 { "Infinity" } else { "-Infinity" }.to_owned()
    } else if magnitude == 0.0 || (1e-3..1e7).contains(&magnitude) {
        format!("{value:?}")
    } else {
        let text = format!("{value:E}");
        match text.split_once('E') {
            Some((digits, exponent)) if !digits.contains('.') => format!("{digits}.0E{exponent}"),
            _ => text,
        }
    }
}

/// `1.500000000` is written `1.5`.
fn time_text(time: chrono::NaiveTime) -> String {
    let format = if time.nanosecond() == 0 { "%H:%M:%S" } else { "%H:%M:%S%.6f" };
    time.format(format).to_string()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int64Builder, ListBuilder, StructArray};
    use arrow::datatypes::Field;

    use super::*;

    fn check(column: ArrayRef, timestamps: Timestamps, expected: &[&str]) {
        let batch = RecordBatch::try_from_iter([("c", column)]).unwrap();
        let rows = Rows::new(&batch, timestamps).unwrap();
        for (row, expected) in expected.iter().enumerate() {
            let mut out = Vec::new();
            rows.write(row, &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), format!(r#"{{"f":[{{"v":{expected}}}]}}"#), "row {row}");
        }
    }

    #[test]
    fn scalars_are_json_strings_in_bigquerys_spelling() {
        let plain = Timestamps::default();
        check(Arc::new(Int64Array::from(vec![Some(i64::MAX), None])), plain, &["\"9223372036854775807\"", "null"]);
        check(
            Arc::new(Float64Array::from(vec![1.0, 0.1, 1e7, 1.25e-5, f64::NAN, f64::NEG_INFINITY, -0.0])),
            plain,
            &["\"1.0\"", "\"0.1\"", "\"1.0E7\"", "\"1.25E-5\"", "\"NaN\"", "\"-Infinity\"", "\"-0.0\""],
        );
        check(Arc::new(BooleanArray::from(vec![true, false])), plain, &["\"true\"", "\"false\""]);
        check(Arc::new(StringArray::from(vec!["a\"\n\u{1}é", ""])), plain, &[r#""a\"\n\u0001é""#, "\"\""]);
        check(Arc::new(BinaryArray::from(vec![b"\xff\x00abc".as_ref()])), plain, &["\"/wBhYmM=\""]);
        check(Arc::new(Date32Array::from(vec![19_723, -719_162])), plain, &["\"2024-01-01\"", "\"0001-01-01\""]);
        check(
            Arc::new(Time64MicrosecondArray::from(vec![3_661_000_000, 3_661_000_001])),
            plain,
            &["\"01:01:01\"", "\"01:01:01.000001\""],
        );
        check(
            Arc::new(TimestampMicrosecondArray::from(vec![1_704_067_200_000_000, 1_704_067_200_250_000])),
            plain,
            &["\"2024-01-01T00:00:00\"", "\"2024-01-01T00:00:00.250000\""],
        );
        let numeric =
            Decimal128Array::from(vec![1_500_000_000, -2_000_000_000, 1]).with_precision_and_scale(38, 9).unwrap();
        check(Arc::new(numeric), plain, &["\"1.5\"", "\"-2\"", "\"0.000000001\""]);
        let big = Decimal256Array::from(vec![i256::from(0), i256::from_i128(10_i128.pow(38))]);
        check(Arc::new(big.with_precision_and_scale(76, 38).unwrap()), plain, &["\"0\"", "\"1\""]);
    }

    #[test]
    fn timestamps_are_float_seconds_unless_asked_otherwise() {
        let micros = vec![1_704_067_200_000_000, 1_704_067_200_123_456, 0, -62_135_596_800_000_000];
        let column: ArrayRef = Arc::new(TimestampMicrosecondArray::from(micros).with_timezone("UTC"));
        check(
            Arc::clone(&column),
            Timestamps::FloatSeconds,
            &["\"1.7040672E9\"", "\"1.704067200123456E9\"", "\"0.0\"", "\"-6.21355968E10\""],
        );
        check(
            column,
            Timestamps::Int64Micros,
            &["\"1704067200000000\"", "\"1704067200123456\"", "\"0\"", "\"-62135596800000000\""],
        );
    }

    #[test]
    fn records_and_arrays_nest_and_an_array_is_never_null() {
        let mut list = ListBuilder::new(Int64Builder::new());
        list.append_value([Some(1), Some(2)]);
        list.append_null();
        list.append_value([]);
        let list: ArrayRef = Arc::new(list.finish());
        check(Arc::clone(&list), Timestamps::default(), &[r#"[{"v":"1"},{"v":"2"}]"#, "[]", "[]"]);
        check(list.slice(1, 2), Timestamps::default(), &["[]", "[]"]);

        let names: ArrayRef = Arc::new(StringArray::from(vec![Some("a"), None, Some("c")]));
        let record = StructArray::from(vec![
            (Arc::new(Field::new("name", DataType::Utf8, true)), names),
            (Arc::new(Field::new("list", list.data_type().clone(), true)), list),
        ]);
        check(
            Arc::new(record),
            Timestamps::default(),
            &[r#"{"f":[{"v":"a"},{"v":[{"v":"1"},{"v":"2"}]}]}"#, r#"{"f":[{"v":null},{"v":[]}]}"#],
        );
    }
}
