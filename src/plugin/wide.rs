//! A time series from long to wide: one row for each time, one field for each series.
//!
//! The rules are those of `data.LongToWide` in Grafana's Go SDK: text and boolean columns are
//! labels, the rest are values, a label that is null is empty, fields are sorted by name and then
//! by labels. Unlike there, unsorted rows are sorted, and two rows for one cell are an error.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Float64Array, Int64Array, RecordBatch, TimestampNanosecondArray, UInt32Array,
};
use arrow::compute::{concat, take};
use arrow::datatypes::{DataType, Field, Schema, TimestampNanosecondType};
use weir_plan::{Error, Kind, Result, Timestamp};

use super::fields::time_type;
use super::model::{Fill, Shape};

/// The most cells of a wide frame. At 8 bytes each that is 160 MB, far over what a browser draws.
const MOST_CELLS: usize = 20_000_000;

/// Makes rows of Grafana's types wide; `axis` is the time column. No rows give a frame without
/// fields.
///
/// # Errors
/// `InvalidQuery` for no value column, a null time, and two rows with one time and the same labels;
/// `TooLarge` for more series and times than can be shown.
pub(super) fn widen(long: &RecordBatch, axis: usize, shape: Shape) -> Result<RecordBatch> {
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

/// The series: every set of labels that occurs.
struct Series {
    /// For each row its series.
    of_row: Vec<u32>,
    /// For each series its labels' values, in the order of the columns.
    labels: Vec<Vec<String>>,
    /// The labels' names.
    names: Vec<String>,
    /// The label that stands for the name of the series.
    metric: Option<usize>,
}

impl Series {
    fn of(long: &RecordBatch, columns: &Columns, shape: Shape) -> Self {
        let mut of_row = vec![0; long.num_rows()];
        let mut labels: Vec<Vec<String>> = vec![vec![]];
        for column in &columns.labels {
            let texts = Texts::of(long.column(*column));
            let mut known: HashMap<(u32, &str), u32> = HashMap::new();
            let mut longer = Vec::new();
            for (row, series) in of_row.iter_mut().enumerate() {
                let text = texts.get(row);
                *series = *known.entry((*series, text)).or_insert_with(|| {
                    let mut values = labels[*series as usize].clone();
                    values.push(text.to_owned());
                    longer.push(values);
                    index(longer.len()) - 1
                });
            }
            labels = longer;
        }
        let names: Vec<_> =
            columns.labels.iter().map(|column| long.schema_ref().field(*column).name().clone()).collect();
        let metric = if shape.metric_names_series { names.iter().position(|name| name == "metric") } else { None };
        Self { of_row, labels, names, metric }
    }

    fn count(&self) -> usize {
        self.labels.len()
    }

    /// The name and labels of a value's field in a series.
    fn field(&self, series: usize, value: &str, is_only_value: bool) -> (String, BTreeMap<&str, &str>) {
        let mut labels: BTreeMap<_, _> =
            self.names.iter().zip(&self.labels[series]).map(|(name, text)| (name.as_str(), text.as_str())).collect();
        let name = match self.metric.map(|metric| (labels.remove("metric"), &self.labels[series][metric])) {
            Some((_, metric)) if is_only_value => metric.clone(),
            Some((_, metric)) => format!("{metric} {value}"),
            None => value.to_owned(),
        };
        (name, labels)
    }
}

/// A label column as texts.
enum Texts<'a> {
    Text(&'a arrow::array::StringArray),
    Flag(&'a arrow::array::BooleanArray),
}

impl<'a> Texts<'a> {
    fn of(column: &'a ArrayRef) -> Self {
        match column.as_boolean_opt() {
            Some(flags) => Self::Flag(flags),
            None => Self::Text(column.as_string()),
        }
    }

    fn get(&self, row: usize) -> &'a str {
        match self {
            Self::Text(texts) if texts.is_valid(row) => texts.value(row),
            Self::Flag(flags) if flags.is_valid(row) => ["false", "true"][usize::from(flags.value(row))],
            _ => "",
        }
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
    shape: Shape,
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
            let labels: Vec<_> =
                series.names.iter().zip(&series.labels[number]).map(|(name, text)| format!("{name}={text}")).collect();
            return Err(Error::invalid(format!(
                "two rows have the time {} and the labels {{{}}}; group by the time and these columns",
                Timestamp::saturating(rows.times[time].div_euclid(1000)),
                labels.join(", ")
            )));
        }
    }
    Ok(cells)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plugin::fields;
    use crate::plugin::model::Format;
    use crate::plugin::scripted::{batches, utc};
    use arrow::array::{BooleanArray, StringArray};
    use arrow::util::display::array_value_to_string;

    const SHAPE: Shape = Shape { format: Format::TimeSeries, fill: Fill::Null, metric_names_series: false };

    fn ints(values: &[Option<i64>]) -> ArrayRef {
        Arc::new(Int64Array::from(values.to_vec()))
    }

    fn texts(values: &[Option<&str>]) -> ArrayRef {
        Arc::new(StringArray::from(values.to_vec()))
    }

    fn widened(columns: Vec<(&str, ArrayRef)>, shape: Shape) -> Result<RecordBatch> {
        let long = batches(columns);
        let axis = fields::time_axis(long.schema()).unwrap();
        widen(&fields::convert(&long, Some(axis)).unwrap(), axis, shape)
    }

    /// Fields as `name {labels}: cells`, times as seconds.
    fn shown(batch: &RecordBatch) -> Vec<String> {
        let cell = |column: &ArrayRef, row| {
            if column.is_null(row) { "-".to_owned() } else { array_value_to_string(column, row).unwrap() }
        };
        let show = |(field, column): (&Arc<Field>, &ArrayRef)| {
            let labels = field.metadata().get("labels").map(String::as_str).unwrap_or_default();
            let cells: Vec<_> = (0..column.len()).map(|row| cell(column, row)).collect();
            format!("{} {labels}: {}", field.name(), cells.join(" ").replace("1970-01-01T00:00:0", ""))
        };
        batch.schema_ref().fields().iter().zip(batch.columns()).map(show).collect()
    }

    fn two_branches() -> Vec<(&'static str, ArrayRef)> {
        vec![
            ("time", utc(&[2, 1, 1, 3])),
            ("branch", texts(&[Some("b"), Some("b"), Some("a"), Some("a")])),
            ("value", ints(&[Some(20), Some(10), Some(1), Some(3)])),
        ]
    }

    #[test]
    fn rows_become_series_sorted_by_time_and_labels() {
        let wide = widened(two_branches(), SHAPE).unwrap();
        let expected = ["time : 1Z 2Z 3Z", r#"value {"branch":"a"}: 1 - 3"#, r#"value {"branch":"b"}: 10 20 -"#];
        assert_eq!(shown(&wide), expected);
    }

    #[test]
    fn missing_cells_are_filled_as_asked() {
        let check = |fill: Fill, expected: [&str; 2]| {
            let wide = widened(two_branches(), Shape { fill, ..SHAPE }).unwrap();
            let cells: Vec<_> = shown(&wide)[1..].iter().map(|s| s.split(": ").nth(1).unwrap().to_owned()).collect();
            assert_eq!(cells, expected, "{fill:?}");
        };
        check(Fill::Null, ["1 - 3", "10 20 -"]);
        check(Fill::Previous, ["1 1 3", "10 20 20"]);
        check(Fill::Value(7.9), ["1 7 3", "10 20 7"]);
    }

    #[test]
    fn a_cell_that_is_null_is_not_a_missing_cell() {
        let columns = vec![
            ("time", utc(&[1, 2, 3, 3])),
            ("branch", texts(&[Some("a"), Some("a"), Some("a"), Some("b")])),
            ("value", ints(&[Some(1), None, Some(3), Some(4)])),
        ];
        let wide = widened(columns.clone(), Shape { fill: Fill::Value(0.0), ..SHAPE }).unwrap();
        assert_eq!(shown(&wide)[1..], [r#"value {"branch":"a"}: 1 - 3"#, r#"value {"branch":"b"}: 0 0 4"#]);
        let wide = widened(columns, Shape { fill: Fill::Previous, ..SHAPE }).unwrap();
        assert_eq!(shown(&wide)[1..], [r#"value {"branch":"a"}: 1 - 3"#, r#"value {"branch":"b"}: - - 4"#]);
    }

    #[test]
    fn several_values_and_labels_are_sorted_by_name_and_then_by_labels() {
        let columns = vec![
            ("time", utc(&[1, 1])),
            ("s", texts(&[None, Some("x")])),
            ("flag", Arc::new(BooleanArray::from(vec![true, false])) as ArrayRef),
            ("v", ints(&[Some(1), Some(2)])),
            ("f", Arc::new(Float64Array::from(vec![0.5, 1.5])) as ArrayRef),
        ];
        let expected = [
            "time : 1Z",
            r#"f {"flag":"true","s":""}: 0.5"#,
            r#"f {"flag":"false","s":"x"}: 1.5"#,
            r#"v {"flag":"true","s":""}: 1"#,
            r#"v {"flag":"false","s":"x"}: 2"#,
        ];
        assert_eq!(shown(&widened(columns, SHAPE).unwrap()), expected);
    }

    #[test]
    fn a_metric_column_names_the_series_of_a_doitintl_panel() {
        let shape = Shape { metric_names_series: true, ..SHAPE };
        let columns = |more: Vec<(&'static str, ArrayRef)>| {
            let mut columns = vec![("time", utc(&[1, 1])), ("metric", texts(&[Some("b"), Some("a")]))];
            columns.extend(more);
            columns
        };
        let one = widened(columns(vec![("n", ints(&[Some(2), Some(1)]))]), shape).unwrap();
        assert_eq!(shown(&one)[1..], ["a : 1", "b : 2"]);
        let two = columns(vec![("n", ints(&[Some(2), Some(1)])), ("m", ints(&[Some(4), Some(3)]))]);
        assert_eq!(shown(&widened(two, shape).unwrap())[1..], ["a m : 3", "a n : 1", "b m : 4", "b n : 2"]);
    }

    #[test]
    fn without_labels_rows_are_sorted_and_all_kept() {
        let columns = vec![("n", ints(&[Some(3), Some(1), Some(2)])), ("time", utc(&[2, 1, 1]))];
        assert_eq!(shown(&widened(columns, SHAPE).unwrap()), ["time : 1Z 1Z 2Z", "n : 1 2 3"]);
    }

    #[test]
    fn a_second_time_column_is_a_value() {
        let columns = vec![("time", utc(&[1])), ("until", utc(&[2])), ("branch", texts(&[Some("a")]))];
        assert_eq!(shown(&widened(columns, SHAPE).unwrap()), ["time : 1Z", r#"until {"branch":"a"}: 2Z"#]);
    }

    #[test]
    fn no_rows_give_a_frame_without_fields() {
        let columns = vec![("time", utc(&[])), ("branch", texts(&[])), ("value", ints(&[]))];
        assert_eq!(widened(columns, SHAPE).unwrap().num_columns(), 0);
    }

    #[test]
    fn two_rows_for_one_cell_are_an_error_that_names_time_and_labels() {
        let columns = vec![
            ("time", utc(&[1, 2, 1])),
            ("branch", texts(&[Some("a"), Some("a"), Some("a")])),
            ("value", ints(&[Some(1), Some(2), Some(3)])),
        ];
        let error = widened(columns, SHAPE).unwrap_err();
        assert_eq!(error.kind(), Kind::InvalidQuery);
        let expected = "two rows have the time 1970-01-01T00:00:01Z and the labels {branch=a}";
        assert!(error.message().starts_with(expected), "{error}");
    }

    #[test]
    fn null_times_and_missing_numbers_are_errors() {
        let times: ArrayRef =
            Arc::new(arrow::array::TimestampMicrosecondArray::from(vec![Some(1), None]).with_timezone("UTC"));
        let error = widened(vec![("time", times), ("n", ints(&[Some(1), Some(2)]))], SHAPE).unwrap_err();
        assert!(error.message().contains("\"time\": the input has null time values"), "{error}");
        let error = widened(vec![("time", utc(&[1])), ("s", texts(&[Some("a")]))], SHAPE).unwrap_err();
        assert!(error.message().contains("needs a column of numbers"), "{error}");
    }

    #[test]
    fn an_answer_that_would_spread_too_far_is_refused() {
        let count = 5_000;
        let seconds: Vec<i64> = (0..count).collect();
        let names: Vec<String> = seconds.iter().map(|n| format!("series {n}")).collect();
        let columns = vec![
            ("time", utc(&seconds)),
            ("name", Arc::new(StringArray::from(names)) as ArrayRef),
            ("n", Arc::new(Int64Array::from(seconds.clone())) as ArrayRef),
        ];
        let error = widened(columns, SHAPE).unwrap_err();
        assert_eq!(error.kind(), Kind::TooLarge);
        assert!(error.message().starts_with("5000 series at 5000 times"), "{error}");
    }
}
