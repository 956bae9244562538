//! CSV files with a header. A column has the first type that all its values can be read as: INT64,
//! FLOAT64, BOOL, DATE, TIMESTAMP (UTC where a value names no zone), else STRING. Empty cells are
//! NULL.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Date32Array, Float64Array, Int64Array, RecordBatch, StringArray,
    TimestampMicrosecondArray,
};
use arrow::compute::concat_batches;
use arrow::csv::ReaderBuilder;
use arrow::csv::reader::Format;
use arrow::datatypes::{DataType, Field, Schema};
use weir_plan::extent::DAY;
use weir_plan::{Error, Result};

use super::unreadable;
use crate::source::embedded::time_text;

/// Reads a file into one batch.
pub(super) fn read(path: &Path) -> Result<Vec<RecordBatch>> {
    let failed = |error: &dyn std::fmt::Display| {
        Error::invalid(format!(
            "{} is not a readable CSV file: {error}; it needs a header and as many cells in each row",
            path.display()
        ))
    };
    let open = || File::open(path).map_err(|error| unreadable(path, &error));
    let (header, _) =
        Format::default().with_header(true).infer_schema(open()?, Some(0)).map_err(|error| failed(&error))?;
    let names: Vec<_> = header.fields().iter().map(|field| Field::new(field.name(), DataType::Utf8, true)).collect();
    if names.is_empty() {
        return Ok(vec![]);
    }
    let schema = Arc::new(Schema::new(names));
    let reader =
        ReaderBuilder::new(Arc::clone(&schema)).with_header(true).build(open()?).map_err(|error| failed(&error))?;
    let batches = reader.collect::<Result<Vec<_>, _>>().map_err(|error| failed(&error))?;
    let text = concat_batches(&schema, &batches).map_err(|error| failed(&error))?;
    let columns: Vec<ArrayRef> = text.columns().iter().map(|column| typed(column.as_string())).collect();
    let fields: Vec<_> = schema
        .fields()
        .iter()
        .zip(&columns)
        .map(|(field, column)| Field::new(field.name(), column.data_type().clone(), true))
        .collect();
    let rows = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).map_err(|error| failed(&error))?;
    Ok(vec![rows])
}

fn typed(column: &StringArray) -> ArrayRef {
    let cells: Vec<Option<&str>> = column.iter().map(|cell| cell.filter(|cell| !cell.is_empty())).collect();
    if cells.iter().all(Option::is_none) {
        return Arc::new(StringArray::from(cells));
    }
    if let Some(values) = all(&cells, |cell| cell.parse::<i64>().ok()) {
        return Arc::new(Int64Array::from(values));
    }
    if let Some(values) = all(&cells, |cell| cell.parse::<f64>().ok()) {
        return Arc::new(Float64Array::from(values));
    }
    if let Some(values) = all(&cells, |cell| cell.to_lowercase().parse::<bool>().ok()) {
        return Arc::new(BooleanArray::from(values));
    }
    if let Some(values) = all(&cells, date) {
        return Arc::new(Date32Array::from(values));
    }
    if let Some(values) = all(&cells, |cell| time_text::parse_timestamp(cell, None)) {
        return Arc::new(TimestampMicrosecondArray::from(values).with_timezone("UTC"));
    }
    Arc::new(StringArray::from(cells))
}

fn all<T>(cells: &[Option<&str>], read: impl Fn(&str) -> Option<T>) -> Option<Vec<Option<T>>> {
    cells.iter().map(|cell| cell.map_or(Some(None), |cell| read(cell).map(Some))).collect()
}

fn date(cell: &str) -> Option<i32> {
    let is_bare = cell.len() <= "2024-01-01".len();
    is_bare.then(|| time_text::parse_date(cell)).flatten()?.div_euclid(DAY).try_into().ok()
}
