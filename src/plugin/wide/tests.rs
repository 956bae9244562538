use super::*;
use crate::batches::samples::{batches, utc};
use crate::plugin::fields;
use crate::plugin::model::Format;
use arrow::array::{BooleanArray, StringArray};
use arrow::util::display::array_value_to_string;

const SHAPE: Shape = Shape {
    format: Format::TimeSeries,
    fill: Fill::Null,
    metric_names_series: false,
    comma_lists: false,
    annotation: false,
    shift: None,
};

fn ints(values: &[Option<i64>]) -> ArrayRef {
    Arc::new(Int64Array::from(values.to_vec()))
}

fn texts(values: &[Option<&str>]) -> ArrayRef {
    Arc::new(StringArray::from(values.to_vec()))
}

fn widened(columns: Vec<(&str, ArrayRef)>, shape: &Shape) -> Result<RecordBatch> {
    let long = batches(columns);
    let axis = fields::time_axis(long.schema()).unwrap();
    widen(&fields::convert(&long, Some(axis), shape).unwrap(), axis, shape)
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
    let wide = widened(two_branches(), &SHAPE).unwrap();
    let expected = ["time : 1Z 2Z 3Z", r#"value {"branch":"a"}: 1 - 3"#, r#"value {"branch":"b"}: 10 20 -"#];
    assert_eq!(shown(&wide), expected);
}

#[test]
fn missing_cells_are_filled_as_asked() {
    let check = |fill: Fill, expected: [&str; 2]| {
        let wide = widened(two_branches(), &Shape { fill, ..SHAPE }).unwrap();
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
    let wide = widened(columns.clone(), &Shape { fill: Fill::Value(0.0), ..SHAPE }).unwrap();
    assert_eq!(shown(&wide)[1..], [r#"value {"branch":"a"}: 1 - 3"#, r#"value {"branch":"b"}: 0 0 4"#]);
    let wide = widened(columns, &Shape { fill: Fill::Previous, ..SHAPE }).unwrap();
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
    assert_eq!(shown(&widened(columns, &SHAPE).unwrap()), expected);
}

#[test]
fn a_metric_column_names_the_series_of_a_doitintl_panel() {
    let shape = Shape { metric_names_series: true, ..SHAPE };
    let columns = |more: Vec<(&'static str, ArrayRef)>| {
        let mut columns = vec![("time", utc(&[1, 1])), ("metric", texts(&[Some("b"), Some("a")]))];
        columns.extend(more);
        columns
    };
    let one = widened(columns(vec![("n", ints(&[Some(2), Some(1)]))]), &shape).unwrap();
    assert_eq!(shown(&one)[1..], ["a : 1", "b : 2"]);
    let two = columns(vec![("n", ints(&[Some(2), Some(1)])), ("m", ints(&[Some(4), Some(3)]))]);
    assert_eq!(shown(&widened(two, &shape).unwrap())[1..], ["a m : 3", "a n : 1", "b m : 4", "b n : 2"]);
}

#[test]
fn without_labels_rows_are_sorted_and_all_kept() {
    let columns = vec![("n", ints(&[Some(3), Some(1), Some(2)])), ("time", utc(&[2, 1, 1]))];
    assert_eq!(shown(&widened(columns, &SHAPE).unwrap()), ["time : 1Z 1Z 2Z", "n : 1 2 3"]);
}

#[test]
fn a_second_time_column_is_a_value() {
    let columns = vec![("time", utc(&[1])), ("until", utc(&[2])), ("branch", texts(&[Some("a")]))];
    assert_eq!(shown(&widened(columns, &SHAPE).unwrap()), ["time : 1Z", r#"until {"branch":"a"}: 2Z"#]);
}

#[test]
fn no_rows_give_a_frame_without_fields() {
    let columns = vec![("time", utc(&[])), ("branch", texts(&[])), ("value", ints(&[]))];
    assert_eq!(widened(columns, &SHAPE).unwrap().num_columns(), 0);
}

#[test]
fn two_rows_for_one_cell_are_an_error_that_names_time_and_labels() {
    let columns = vec![
        ("time", utc(&[1, 2, 1])),
        ("branch", texts(&[Some("a"), Some("a"), Some("a")])),
        ("value", ints(&[Some(1), Some(2), Some(3)])),
    ];
    let error = widened(columns, &SHAPE).unwrap_err();
    assert_eq!(error.kind(), Kind::InvalidQuery);
    let expected = "two rows have the time 1970-01-01T00:00:01Z and the labels {branch=a}";
    assert!(error.message().starts_with(expected), "{error}");
}

#[test]
fn a_series_may_have_a_frame_of_its_own_with_its_own_times() {
    let separate = |columns: Vec<(&str, ArrayRef)>| {
        let long = fields::convert(&batches(columns), Some(0), &SHAPE).unwrap();
        split(&long, 0, &SHAPE).map(|frames| frames.iter().map(shown).collect::<Vec<_>>())
    };
    let expected =
        [["time : 1Z 3Z", r#"value {"branch":"a"}: 1 3"#], ["time : 1Z 2Z", r#"value {"branch":"b"}: 10 20"#]];
    assert_eq!(separate(two_branches()).unwrap(), expected);
    let unlabelled = vec![("time", utc(&[2, 1])), ("v", ints(&[Some(2), None])), ("n", ints(&[Some(4), Some(3)]))];
    assert_eq!(separate(unlabelled).unwrap(), [["time : 1Z 2Z", "v : - 2"], ["time : 1Z 2Z", "n : 3 4"]]);
    let empty = vec![("time", utc(&[])), ("v", ints(&[]))];
    assert_eq!(separate(empty).unwrap(), [Vec::<String>::new()]);
    let twice = vec![("time", utc(&[1, 1])), ("s", texts(&[Some("a"); 2])), ("v", ints(&[Some(1), Some(2)]))];
    assert!(separate(twice).unwrap_err().message().starts_with("two rows have the time"));
}

#[test]
fn null_times_and_missing_numbers_are_errors() {
    let times: ArrayRef =
        Arc::new(arrow::array::TimestampMicrosecondArray::from(vec![Some(1), None]).with_timezone("UTC"));
    let error = widened(vec![("time", times), ("n", ints(&[Some(1), Some(2)]))], &SHAPE).unwrap_err();
    assert!(error.message().contains("\"time\": the input has null time values"), "{error}");
    let error = widened(vec![("time", utc(&[1])), ("s", texts(&[Some("a")]))], &SHAPE).unwrap_err();
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
    let error = widened(columns, &SHAPE).unwrap_err();
    assert_eq!(error.kind(), Kind::TooLarge);
    assert!(error.message().starts_with("5000 series at 5000 times"), "{error}");
}
