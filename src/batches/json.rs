//! Rows as JSON text, and the names of their types: for the export API, for resource calls, and for
//! STRUCT and ARRAY cells in frames. It knows no protocol round the rows.
//!
//! Integers are numbers (beyond 2^53 a reader must take care), NUMERIC and BIGNUMERIC texts, as
//! `BigQuery`'s own JSON has them, so that no digit is lost; NaN and the infinities are texts,
//! BYTES base64, times ISO 8601 (TIMESTAMP in UTC with a Z, DATETIME without one), STRUCT an
//! object, ARRAY an array. The keys of a STRUCT keep the schema's order.

use std::ops::Range;

use arrow::array::{
    Array, AsArray, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Decimal256Array, Float64Array, Int64Array,
    ListArray, RecordBatch, StringArray, StructArray, Time64MicrosecondArray, TimestampMicrosecondArray,
};
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Decimal256Type, Field, Float64Type, Int64Type, Schema, Time64MicrosecondType,
    TimeUnit, TimestampMicrosecondType, i256,
};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use chrono::{DateTime, NaiveDate, NaiveTime, SecondsFormat};
use serde_json::json;
use weir_plan::{Error, Result};

use super::api_type::EXTENSION;
use super::decimal;

/// Whether a column is of the type JSON.
pub(crate) fn is_json(field: &Field) -> bool {
    field.metadata().get(EXTENSION).is_some_and(|name| name == "google:sqlType:json")
}

/// The `GoogleSQL` name of a column's type: `INT64`, `ARRAY<STRING>`, `STRUCT<slug STRING, ratio INT64>`.
///
/// # Errors
/// `Internal` naming the column, for a type that no column has.
fn type_name(field: &Field) -> Result<String> {
    let extension = field.metadata().get(EXTENSION).and_then(|name| name.strip_prefix("google:sqlType:"));
    let name = match field.data_type() {
        DataType::Utf8 => return Ok(extension.unwrap_or("STRING").to_ascii_uppercase()),
        DataType::Null | DataType::Int64 => "INT64",
        DataType::Float64 => "FLOAT64",
        DataType::Boolean => "BOOL",
        DataType::Binary => "BYTES",
        DataType::Decimal128(..) => "NUMERIC",
        DataType::Decimal256(..) => "BIGNUMERIC",
        DataType::Date32 => "DATE",
        DataType::Time64(TimeUnit::Microsecond) => "TIME",
        DataType::Timestamp(TimeUnit::Microsecond, Some(_)) => "TIMESTAMP",
        DataType::Timestamp(TimeUnit::Microsecond, None) => "DATETIME",
        DataType::List(element) => return Ok(format!("ARRAY<{}>", type_name(element)?)),
        DataType::Struct(fields) => {
            let fields = fields.iter().map(|field| Ok(format!("{} {}", field.name(), type_name(field)?)));
            return Ok(format!("STRUCT<{}>", fields.collect::<Result<Vec<_>>>()?.join(", ")));
        }
        other => return Err(foreign(field.name(), other)),
    };
    Ok(name.to_owned())
}

fn foreign(name: &str, data_type: &DataType) -> Error {
    Error::internal(format!("column {name} has the Arrow type {data_type}, which no column of BigQuery has"))
}

/// Appends a schema: `[{"name":"n","type":"INT64"}]`.
///
/// # Errors
/// `Internal` naming the column, for a type that no column has.
pub(crate) fn write_schema(schema: &Schema, out: &mut Vec<u8>) -> Result<()> {
    let fields = schema.fields().iter();
    let fields = fields.map(|field| Ok(json!({"name": field.name(), "type": type_name(field)?})));
    write_value(&fields.collect::<Result<Vec<_>>>()?, out)
}

/// Appends the rows of a batch as arrays, with commas between; also before the first where `first`
/// says that others came before.
///
/// # Errors
/// `Internal` for a cell that cannot be written.
pub(crate) fn write_rows(batch: &RecordBatch, first: &mut bool, out: &mut Vec<u8>) -> Result<()> {
    let columns = columns(batch)?;
    for row in 0..batch.num_rows() {
        out.extend_from_slice(if *first { b"[" } else { b",[" });
        *first = false;
        for (at, column) in columns.iter().enumerate() {
            if at > 0 {
                out.push(b',');
            }
            column.write(row, out)?;
        }
        out.push(b']');
    }
    Ok(())
}

/// Appends the rows of a batch as objects, each with a line end; the keys are those of [`keys`].
///
/// # Errors
/// `Internal` for a cell that cannot be written.
pub(crate) fn write_lines(batch: &RecordBatch, keys: &[Vec<u8>], out: &mut Vec<u8>) -> Result<()> {
    let columns = columns(batch)?;
    for row in 0..batch.num_rows() {
        object(keys.iter().map(Vec::as_slice).zip(&columns), row, out)?;
        out.push(b'\n');
    }
    Ok(())
}

/// The names of a schema's columns as keys of objects: `"name":`.
///
/// # Errors
/// `Internal` if JSON refuses.
pub(crate) fn keys(schema: &Schema) -> Result<Vec<Vec<u8>>> {
    schema.fields().iter().map(|field| key(field.name())).collect()
}

/// The columns of a batch, ready to be written cell by cell.
pub(super) fn columns(batch: &RecordBatch) -> Result<Vec<Column<'_>>> {
    let fields = batch.schema_ref().fields();
    batch.columns().iter().zip(fields).map(|(array, field)| Column::of(array.as_ref(), field)).collect()
}

/// One column.
pub(crate) struct Column<'a> {
    array: &'a dyn Array,
    cells: Cells<'a>,
}

enum Cells<'a> {
    Null,
    Int(&'a Int64Array),
    Float(&'a Float64Array),
    Bool(&'a BooleanArray),
    Text(&'a StringArray),
    Bytes(&'a BinaryArray),
    Numeric(&'a Decimal128Array),
    BigNumeric(&'a Decimal256Array),
    Date(&'a Date32Array),
    Time(&'a Time64MicrosecondArray),
    Timestamp(&'a TimestampMicrosecondArray),
    Datetime(&'a TimestampMicrosecondArray),
    List(&'a ListArray, Box<Column<'a>>),
    Struct(Vec<(Vec<u8>, Column<'a>)>),
}

impl<'a> Column<'a> {
    /// Looks at the type of a column once, for all its cells.
    ///
    /// # Errors
    /// `Internal` naming the column, for a type that no column has.
    pub(crate) fn of(array: &'a dyn Array, field: &Field) -> Result<Self> {
        let cells = match array.data_type() {
            DataType::Null => Cells::Null,
            DataType::Int64 => Cells::Int(array.as_primitive::<Int64Type>()),
            DataType::Float64 => Cells::Float(array.as_primitive::<Float64Type>()),
            DataType::Boolean => Cells::Bool(array.as_boolean()),
            DataType::Utf8 => Cells::Text(array.as_string()),
            DataType::Binary => Cells::Bytes(array.as_binary()),
            DataType::Decimal128(..) => Cells::Numeric(array.as_primitive::<Decimal128Type>()),
            DataType::Decimal256(..) => Cells::BigNumeric(array.as_primitive::<Decimal256Type>()),
            DataType::Date32 => Cells::Date(array.as_primitive::<Date32Type>()),
            DataType::Time64(TimeUnit::Microsecond) => Cells::Time(array.as_primitive::<Time64MicrosecondType>()),
            DataType::Timestamp(TimeUnit::Microsecond, zone) => {
                let times = array.as_primitive::<TimestampMicrosecondType>();
                if zone.is_some() { Cells::Timestamp(times) } else { Cells::Datetime(times) }
            }
            DataType::List(element) => {
                let lists: &ListArray = array.as_list();
                Cells::List(lists, Box::new(Self::of(lists.values().as_ref(), element)?))
            }
            DataType::Struct(fields) => {
                let structs: &StructArray = array.as_struct();
                let members = structs.columns().iter().zip(fields);
                let members = members.map(|(array, field)| Ok((key(field.name())?, Self::of(array.as_ref(), field)?)));
                Cells::Struct(members.collect::<Result<_>>()?)
            }
            other => return Err(foreign(field.name(), other)),
        };
        Ok(Self { array, cells })
    }

    /// Appends the cell of a row.
    ///
    /// # Errors
    /// `Internal` for a time outside the calendar.
    pub(super) fn write(&self, row: usize, out: &mut Vec<u8>) -> Result<()> {
        if self.array.is_null(row) {
            out.extend_from_slice(b"null");
            return Ok(());
        }
        match &self.cells {
            Cells::Null => out.extend_from_slice(b"null"),
            Cells::Int(array) => write_value(&array.value(row), out)?,
            Cells::Float(array) => float(out, array.value(row))?,
            Cells::Bool(array) => out.extend_from_slice(if array.value(row) { b"true" } else { b"false" }),
            Cells::Text(array) => write_value(array.value(row), out)?,
            Cells::Bytes(array) => quoted(out, &BASE64.encode(array.value(row))),
            Cells::Numeric(array) => quoted(out, &decimal::text(i256::from_i128(array.value(row)), array.scale())),
            Cells::BigNumeric(array) => quoted(out, &decimal::text(array.value(row), array.scale())),
            Cells::Date(array) => {
                let date = NaiveDate::from_epoch_days(array.value(row)).ok_or_else(|| outside("date"))?;
                quoted(out, &date.to_string());
            }
            Cells::Time(array) => quoted(out, &time(array.value(row)).ok_or_else(|| outside("time"))?.to_string()),
            Cells::Timestamp(array) => {
                let datetime = DateTime::from_timestamp_micros(array.value(row)).ok_or_else(|| outside("timestamp"))?;
                quoted(out, &datetime.to_rfc3339_opts(SecondsFormat::AutoSi, true));
            }
            Cells::Datetime(array) => {
                let datetime = DateTime::from_timestamp_micros(array.value(row)).ok_or_else(|| outside("datetime"))?;
                // chrono's `Debug` is ISO 8601 with a T; its `Display` has a space.
                quoted(out, &format!("{:?}", datetime.naive_utc()));
            }
            Cells::List(array, elements) => list(array, elements, row, out)?,
            Cells::Struct(members) => object(members.iter().map(|(key, column)| (&**key, column)), row, out)?,
        }
        Ok(())
    }

    /// The cell of a row for a column of texts: what is a text in JSON stands without its quotes;
    /// NULL is `None`.
    ///
    /// # Errors
    /// `Internal` for a time outside the calendar.
    pub(crate) fn text(&self, row: usize) -> Result<Option<String>> {
        if self.array.is_null(row) {
            return Ok(None);
        }
        let mut cell = Vec::new();
        self.write(row, &mut cell)?;
        let text = match cell.first() {
            Some(b'"') => {
                serde_json::from_slice(&cell).map_err(|error| Error::internal("cannot read JSON").with_source(error))
            }
            _ => String::from_utf8(cell).map_err(|error| Error::internal("JSON is not UTF-8").with_source(error)),
        };
        text.map(Some)
    }

    /// As [`Column::text`], an ARRAY of scalars as their texts with commas between.
    ///
    /// # Errors
    /// As [`Column::text`].
    pub(crate) fn joined(&self, row: usize) -> Result<Option<String>> {
        match &self.cells {
            Cells::List(array, column) if self.array.is_valid(row) && !matches!(column.cells, Cells::Struct(_)) => {
                let texts = elements(array, row)?.map(|element| Ok(column.text(element)?.unwrap_or_default()));
                Ok(Some(texts.collect::<Result<Vec<_>>>()?.join(",")))
            }
            _ => self.text(row),
        }
    }

    /// The cell of a row as JSON; a text that is JSON itself stands as it is. NULL is `None`.
    ///
    /// # Errors
    /// As [`Column::text`].
    pub(crate) fn json(&self, row: usize) -> Result<Option<Vec<u8>>> {
        if self.array.is_null(row) {
            return Ok(None);
        }
        if let Cells::Text(texts) = &self.cells
            && serde_json::from_str::<serde::de::IgnoredAny>(texts.value(row)).is_ok()
        {
            return Ok(Some(texts.value(row).as_bytes().to_vec()));
        }
        let mut cell = Vec::new();
        self.write(row, &mut cell)?;
        Ok(Some(cell))
    }
}

/// The elements of a list's row.
fn elements(array: &ListArray, row: usize) -> Result<Range<usize>> {
    let offsets = array.value_offsets();
    let ends = usize::try_from(offsets[row]).ok().zip(usize::try_from(offsets[row + 1]).ok());
    ends.map(|(start, end)| start..end).ok_or_else(|| Error::internal("an array's offset is negative"))
}

fn list(array: &ListArray, column: &Column<'_>, row: usize, out: &mut Vec<u8>) -> Result<()> {
    out.push(b'[');
    for (at, element) in elements(array, row)?.enumerate() {
        if at > 0 {
            out.push(b',');
        }
        column.write(element, out)?;
    }
    out.push(b']');
    Ok(())
}

/// Appends an object; keys come with quotes and colon, as [`key`] makes them.
fn object<'c>(members: impl Iterator<Item = (&'c [u8], &'c Column<'c>)>, row: usize, out: &mut Vec<u8>) -> Result<()> {
    out.push(b'{');
    for (at, (key, column)) in members.enumerate() {
        if at > 0 {
            out.push(b',');
        }
        out.extend_from_slice(key);
        column.write(row, out)?;
    }
    out.push(b'}');
    Ok(())
}

/// A name as the key of an object: `"name":`.
fn key(name: &str) -> Result<Vec<u8>> {
    let mut key = Vec::new();
    write_value(name, &mut key)?;
    key.push(b':');
    Ok(key)
}

/// Appends any value as JSON.
///
/// # Errors
/// `Internal` if its `Serialize` fails.
pub(crate) fn write_value<T: serde::Serialize + ?Sized>(value: &T, out: &mut Vec<u8>) -> Result<()> {
    serde_json::to_writer(out, value).map_err(|error| Error::internal("cannot write JSON").with_source(error))
}

/// Appends a text that needs no escape.
fn quoted(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    out.extend_from_slice(text.as_bytes());
    out.push(b'"');
}

fn float(out: &mut Vec<u8>, value: f64) -> Result<()> {
    if value.is_finite() {
        return write_value(&value, out);
    }
    quoted(
        out,
        if value.is_nan() {
            "NaN"
        } else if value > 0.0 {
            "Infinity"
        } else {
            "-Infinity"
        },
    );
    Ok(())
}

fn time(micros: i64) -> Option<NaiveTime> {
    let seconds = u32::try_from(micros.div_euclid(1_000_000)).ok()?;
    let nanos = u32::try_from(micros.rem_euclid(1_000_000) * 1000).ok()?;
    NaiveTime::from_num_seconds_from_midnight_opt(seconds, nanos)
}

fn outside(what: &str) -> Error {
    Error::internal(format!("a {what} is outside the calendar"))
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::batches::samples::every_type;

    #[test]
    fn every_type_has_its_name_and_its_json() {
        let batches = every_type();
        let mut columns = Vec::new();
        write_schema(batches.schema(), &mut columns).unwrap();
        let columns: Value = serde_json::from_slice(&columns).unwrap();
        let types: Vec<_> = columns.as_array().unwrap().iter().map(|c| c["type"].as_str().unwrap()).collect();
        let expected = "INT64 FLOAT64 BOOL STRING BYTES NUMERIC BIGNUMERIC DATE TIME TIMESTAMP DATETIME";
        assert_eq!(types[..11].join(" "), expected);
        assert_eq!(types[11..], ["STRUCT<z INT64, a STRING, m NUMERIC>", "ARRAY<INT64>"]);
        let (mut rows, mut first) = (Vec::new(), true);
        for batch in &batches {
            write_rows(batch, &mut first, &mut rows).unwrap();
        }
        let expected = concat!(
            r#"[9007199254740993,"NaN",true,"é","AP8=","1.5","-0.25","2019-01-01","01:01:01.500","#,
            r#""2019-01-01T01:01:01Z","2019-01-01T01:01:01",{"z":1,"a":"x","m":"0.1"},[1,null,3]],"#,
            "[null,null,null,null,null,null,null,null,null,null,null,null,null]",
        );
        assert_eq!(String::from_utf8(rows).unwrap(), expected);
    }

    #[test]
    fn cells_are_texts_without_quotes() {
        let batch = every_type().concat().unwrap();
        let text = |index: usize, row| columns(&batch).unwrap()[index].text(row).unwrap();
        assert_eq!(text(0, 0).as_deref(), Some("9007199254740993"));
        assert_eq!(text(3, 0).as_deref(), Some("é"));
        assert_eq!(text(11, 0).as_deref(), Some(r#"{"z":1,"a":"x","m":"0.1"}"#));
        assert!((0..13).all(|index| text(index, 1).is_none()));
    }

    #[test]
    fn lists_may_be_joined_and_json_stands_as_it_is() {
        let batch = every_type().concat().unwrap();
        let columns = columns(&batch).unwrap();
        assert_eq!(columns[12].joined(0).unwrap().as_deref(), Some("1,,3"));
        assert_eq!(columns[11].joined(0).unwrap(), columns[11].text(0).unwrap());
        assert_eq!(columns[12].joined(1).unwrap(), None);
        let texts = StringArray::from(vec![Some(r#"[{"key":"a"}]"#), Some("é {"), None]);
        let column = Column::of(&texts, &Field::new("tags", DataType::Utf8, true)).unwrap();
        let json = |row| column.json(row).unwrap().map(|json| String::from_utf8(json).unwrap());
        assert_eq!(json(0).as_deref(), Some(r#"[{"key":"a"}]"#));
        assert_eq!(json(1).as_deref(), Some("\"é {\""));
        assert_eq!(json(2), None);
        assert_eq!(columns[12].json(0).unwrap().unwrap(), b"[1,null,3]");
    }

    #[test]
    fn a_type_that_no_column_has_is_an_error_that_names_the_column() {
        let column = arrow::array::Int32Array::from(vec![7]);
        let error = Column::of(&column, &Field::new("n", DataType::Int32, true)).err().unwrap();
        assert!(error.message().starts_with("column n has the Arrow type Int32"), "{error}");
    }
}
