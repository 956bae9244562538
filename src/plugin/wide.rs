//! A time series from long to wide: one row for each time, one field for each series.
//!
//! The rules are those of `data.LongToWide` in Grafana's Go SDK: text and boolean columns are
//! labels, the rest are values, a label that is null is empty, fields are sorted by name and then
//! by labels. Unlike there, unsorted rows are sorted, and two rows for one cell are an error.

mod series;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Float64Array, Int64Array, RecordBatch, TimestampNanosecondArray, UInt32Array,
};
use arrow::compute::{concat, take};
use arrow::datatypes::{DataType, Field, Schema, TimestampNanosecondType};
use weir_plan::{Error, Kind, Result, Timestamp};

use self::series::Series;
use super::fields::time_type;
use super::model::{Fill, Shape};

/// The most cells of a wide frame. At 8 bytes each that is 160 MB, far over what a browser draws.
const MOST_CELLS: usize = 20_000_000;

/// The most frames of an answer: a browser makes a legend's entry of each.
const MOST_FRAMES: usize = 10_000;

/// Makes rows of Grafana's types wide; `axis` is the time column. No rows give a frame without
/// fields.
///
/// # Errors
/// `InvalidQuery` for no value column, a null time, and two rows with one time and the same labels;
/// `TooLarge` for more series and times than can be shown.
pub(super) fn widen(long: &RecordBatch, axis: usize, shape: &Shape) -> Result<RecordBatch> {
    if long.num_rows() == 0 {
        return batch(vec![], vec![], 0);
    }
    let columns = Columns::of(long, axis)?;
    let rows = Rows::sorted(long.column(axis), long.schema_ref().field(axis).name())?;
    if columns.labels.is_empty() {
        return pass(long, axis, &columns, &rows);
    }
    let series = Series::of(long, &columns, shape);
    let cells = series.count().saturating_mul(columns.values.len()).saturating_mul(rows.times.len());
    if cells > MOST_CELLS {
        return Err(Error::new(
            Kind::TooLarge,
            format!(
                "{} series at {} times are more than can be shown; group by fewer columns or choose a longer interval",
                series.count(),
                rows.times.len()
            ),
        ));
    }
    spread(long, axis, &columns, &rows, &series, shape)
}

/// Makes a batch of time and value for each series, in the order of [`widen`]'s fields. No rows give
/// one without fields.
///
/// # Errors
/// As [`widen`].
pub(super) fn split(long: &RecordBatch, axis: usize, shape: &Shape) -> Result<Vec<RecordBatch>> {
    if long.num_rows() == 0 {
        return Ok(vec![batch(vec![], vec![], 0)?]);
    }
    let columns = Columns::of(long, axis)?;
    let rows = Rows::sorted(long.column(axis), long.schema_ref().field(axis).name())?;
    let series = Series::of(long, &columns, shape);
    if series.count().saturating_mul(columns.values.len()) > MOST_FRAMES {
        let message = format!("{} series are more than can be shown; group by fewer columns", series.count());
        return Err(Error::new(Kind::TooLarge, message));
    }
    let mut found = Vec::new();
    for (number, positions) in by_series(&rows, &series).iter().enumerate() {
        let twice = positions.windows(2).find(|pair| rows.time_of[pair[0]] == rows.time_of[pair[1]]);
        if let Some(pair) = twice.filter(|_| !columns.labels.is_empty()) {
            return Err(duplicate(&rows, &series, number, rows.time_of[pair[0]] as usize));
        }
        let taken: UInt32Array = positions.iter().map(|position| rows.order[*position]).collect();
        let times = take_rows(long.column(axis), &taken)?;
        for column in &columns.values {
            let value = long.schema_ref().field(*column);
            let (name, labels) = series.field(number, value.name(), columns.values.len() == 1);
            let field = labelled(value.clone().with_name(&name), &labels)?;
            let arrays = vec![Arc::clone(&times), take_rows(long.column(*column), &taken)?];
            found.push((name, number, batch(vec![long.schema_ref().field(axis).clone(), field], arrays, taken.len())?));
        }
    }
    if !columns.labels.is_empty() {
        found.sort_by(|a, b| (&a.0, &series.labels[a.1]).cmp(&(&b.0, &series.labels[b.1])));
    }
    Ok(found.into_iter().map(|(_, _, batch)| batch).collect())
}

/// Which columns are labels and which are values.
struct Columns {
    labels: Vec<usize>,
    values: Vec<usize>,
}

impl Columns {
    fn of(long: &RecordBatch, axis: usize) -> Result<Self> {
        let is_label = |index: &usize| matches!(long.column(*index).data_type(), DataType::Utf8 | DataType::Boolean);
        let (labels, values): (Vec<_>, Vec<_>) =
            (0..long.num_columns()).filter(|index| *index != axis).partition(is_label);
        if values.is_empty() {
            return Err(Error::invalid(
                "a time series needs a column of numbers beside its time; choose the format table for others",
            ));
        }
        Ok(Self { labels, values })
    }
}

/// The rows in the order of their times.
struct Rows {
    /// Row numbers.
    order: Vec<u32>,
    /// For each of `order` the index of its time.
    time_of: Vec<u32>,
    /// The times, in nanoseconds, each once.
    times: Vec<i64>,
}

impl Rows {
    fn sorted(axis: &ArrayRef, name: &str) -> Result<Self> {
        if axis.null_count() > 0 {
            return Err(Error::invalid(format!(
                "column {name:?}: the input has null time values; leave such rows out, or choose the format table"
            )));
        }
        let nanos = axis.as_primitive::<TimestampNanosecondType>().values();
        let count = u32::try_from(nanos.len())
            .map_err(|error| Error::new(Kind::TooLarge, "over 4 billion rows cannot be shown").with_source(error))?;
        let mut order: Vec<u32> = (0..count).collect();
        if !nanos.is_sorted() {
            order.sort_by_key(|row| nanos[*row as usize]);
        }
        let (mut times, mut time_of) = (Vec::new(), Vec::with_capacity(order.len()));
        for row in &order {
            let time = nanos[*row as usize];
            if times.last() != Some(&time) {
                times.push(time);
            }
            time_of.push(index(times.len()) - 1);
        }
        Ok(Self { order, time_of, times })
    }
}

/// A series without labels: wide already. Rows with one time all stay.
fn pass(long: &RecordBatch, axis: usize, columns: &Columns, rows: &Rows) -> Result<RecordBatch> {
    let order = UInt32Array::from(rows.order.clone());
    let wanted: Vec<_> = std::iter::once(axis).chain(columns.values.iter().copied()).collect();
    let fields = wanted.iter().map(|column| long.schema_ref().field(*column).clone()).collect();
    let taken = wanted.iter().map(|column| take_rows(long.column(*column), &order)).collect::<Result<_>>()?;
    batch(fields, taken, long.num_rows())
}

fn spread(
    long: &RecordBatch,
    axis: usize,
    columns: &Columns,
    rows: &Rows,
    series: &Series,
    shape: &Shape,
) -> Result<RecordBatch> {
    let values: Vec<_> = columns
        .values
        .iter()
        .map(|column| {
            let (column, name) = (long.column(*column), long.schema_ref().field(*column).name());
            let (column, filling) = with_filling(column, shape.fill)?;
            Ok((name.as_str(), column, filling))
        })
        .collect::<Result<_>>()?;
    let by_series = by_series(rows, series);
    let mut found = Vec::with_capacity(series.count() * values.len());
    for (number, rows_of_series) in by_series.iter().enumerate() {
        let present = cells(rows_of_series, rows, series, number)?;
        for (name, column, filling) in &values {
            let (name, labels) = series.field(number, name, values.len() == 1);
            let cells = fill(&present, shape.fill, *filling);
            found.push((name, number, labels, take_rows(column, &cells)?));
        }
    }
    found.sort_by(|a, b| (&a.0, &series.labels[a.1]).cmp(&(&b.0, &series.labels[b.1])));

    let times = TimestampNanosecondArray::from(rows.times.clone()).with_timezone("UTC");
    let mut fields = vec![Field::new(long.schema_ref().field(axis).name(), time_type(), true)];
    let mut arrays: Vec<ArrayRef> = vec![Arc::new(times)];
    for (name, _, labels, column) in found {
        fields.push(labelled(Field::new(name, column.data_type().clone(), true), &labels)?);
        arrays.push(column);
    }
    batch(fields, arrays, rows.times.len())
}

/// For each series the positions of its rows in the order of time.
fn by_series(rows: &Rows, series: &Series) -> Vec<Vec<usize>> {
    let mut positions = vec![Vec::new(); series.count()];
    for (position, row) in rows.order.iter().enumerate() {
        positions[series.of_row[*row as usize] as usize].push(position);
    }
    positions
}

/// For each time the row of a series, if it has one.
fn cells(positions: &[usize], rows: &Rows, series: &Series, number: usize) -> Result<Vec<Option<u32>>> {
    let mut cells = vec![None; rows.times.len()];
    for position in positions {
        let time = rows.time_of[*position] as usize;
        if cells[time].replace(rows.order[*position]).is_some() {
            return Err(duplicate(rows, series, number, time));
        }
    }
    Ok(cells)
}

/// The error for two rows of a series with one time.
fn duplicate(rows: &Rows, series: &Series, number: usize, time: usize) -> Error {
    let labels: Vec<_> =
        series.names.iter().zip(&series.labels[number]).map(|(name, text)| format!("{name}={text}")).collect();
    Error::invalid(format!(
        "two rows have the time {} and the labels {{{}}}; group by the time and these columns",
        Timestamp::saturating(rows.times[time].div_euclid(1000)),
        labels.join(", ")
    ))
}

/// Cells as row numbers, those without a row filled; `filling` is the row of the filling value.
fn fill(cells: &[Option<u32>], fill: Fill, filling: Option<u32>) -> UInt32Array {
    match fill {
        Fill::Null => cells.iter().copied().collect(),
        Fill::Value(_) => cells.iter().map(|cell| cell.or(filling)).collect(),
        Fill::Previous => {
            let mut previous = None;
            let with_previous = |cell: &Option<u32>| {
                previous = cell.or(previous);
                previous
            };
            cells.iter().map(with_previous).collect()
        }
    }
}

/// A column with the filling value as one more row, where its type has such a value.
fn with_filling(column: &ArrayRef, fill: Fill) -> Result<(ArrayRef, Option<u32>)> {
    let filling: ArrayRef = match (fill, column.data_type()) {
        (Fill::Value(number), DataType::Float64) => Arc::new(Float64Array::from(vec![number])),
        #[expect(clippy::cast_possible_truncation, reason = "the fraction of a filling integer is cut off, as in Go")]
        (Fill::Value(number), DataType::Int64) => Arc::new(Int64Array::from(vec![number as i64])),
        _ => return Ok((Arc::clone(column), None)),
    };
    let longer = concat(&[column.as_ref(), filling.as_ref()])
        .map_err(|error| Error::internal("cannot add a filling value").with_source(error))?;
    Ok((longer, Some(index(column.len()))))
}

fn labelled(field: Field, labels: &BTreeMap<&str, &str>) -> Result<Field> {
    if labels.is_empty() {
        return Ok(field);
    }
    let json =
        serde_json::to_string(labels).map_err(|error| Error::internal("cannot write labels").with_source(error))?;
    Ok(field.with_metadata(HashMap::from([("labels".to_owned(), json)])))
}

fn take_rows(column: &ArrayRef, rows: &UInt32Array) -> Result<ArrayRef> {
    take(column, rows, None).map_err(|error| Error::internal("cannot take the rows of a series").with_source(error))
}

fn batch(fields: Vec<Field>, columns: Vec<ArrayRef>, rows: usize) -> Result<RecordBatch> {
    let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), columns, &options)
        .map_err(|error| Error::internal("cannot put a wide frame together").with_source(error))
}

/// A number of rows or series; they were checked to be under 2³² where rows were counted.
fn index(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
