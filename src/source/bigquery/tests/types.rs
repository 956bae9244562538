//! Every type, as JSON and as the Storage Read API sends it, in one schema.
#![expect(clippy::needless_pass_by_value, reason = "JSON literals are passed as they are written")]

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Date32Array, IntervalMonthDayNanoArray, ListArray, RecordBatch, StringArray, StructArray,
};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field, Float64Type, Int64Type, IntervalMonthDayNano, Schema};
use arrow::util::display::array_value_to_string;
use serde_json::{Value, json};

use crate::source::bigquery::conform::conform;
use crate::source::bigquery::rows::decode;
use crate::source::bigquery::schema::{TableSchema, arrow_schema};

fn schema(fields: Value) -> TableSchema {
    serde_json::from_value(json!({ "fields": fields })).unwrap()
}

fn rows(fields: Value, rows: Value) -> weir_plan::Result<RecordBatch> {
    let schema = schema(fields);
    let page = json!({"jobComplete": true, "rows": rows, "totalRows": "1"});
    decode(page.to_string().as_bytes(), &schema, &arrow_schema(&schema)?, 0)
}

fn one(type_name: &str, value: Value) -> weir_plan::Result<RecordBatch> {
    rows(json!([{"name": "c", "type": type_name}]), json!([{"f": [{"v": value}]}]))
}

#[test]
fn every_scalar_type_is_read_exactly() {
    let check = |type_name: &str, text: &str, expected: &str| {
        let batch = one(type_name, json!(text)).unwrap();
        assert_eq!(array_value_to_string(batch.column(0), 0).unwrap(), expected, "{type_name} {text}");
        assert!(one(type_name, json!(null)).unwrap().column(0).is_null(0), "{type_name}");
    };
    check("INTEGER", "-9223372036854775808", "-9223372036854775808");
    check("INT64", "9223372036854775807", "9223372036854775807");
    check("FLOAT", "1.5e-300", "1.5e-300");
    check("NUMERIC", "-12345678901234567890123456789.123456789", "-12345678901234567890123456789.123456789");
    check("NUMERIC", "1.5", "1.500000000");
    check(
        "BIGNUMERIC",
        "12345678901234567890123456789012345678.12345678901234567890123456789012345678",
        "12345678901234567890123456789012345678.12345678901234567890123456789012345678",
    );
    check("BOOLEAN", "true", "true");
    check("STRING", "line\n\"quoted\" \u{1f30a}", "line\n\"quoted\" \u{1f30a}");
    check("BYTES", "AP8=", "00ff");
    check("TIMESTAMP", "1704067200123456", "2024-01-01T00:00:00.123456Z");
    check("TIMESTAMP", "1.704067200123456E9", "2024-01-01T00:00:00.123456Z");
    check("DATE", "0001-01-01", "0001-01-01");
    check("TIME", "23:59:59.999999", "23:59:59.999999");
    check("DATETIME", "9999-12-31T23:59:59.999999", "9999-12-31T23:59:59.999999");
    check("GEOGRAPHY", "POINT(1 2)", "POINT(1 2)");
    check("JSON", "{\"a\":[1,2]}", "{\"a\":[1,2]}");
    check("INTERVAL", "1-2 3 4:5:6.5", "1-2 3 4:5:6.5");
    check("RANGE", "[2024-01-01, UNBOUNDED)", "[2024-01-01, UNBOUNDED)");
}

#[test]
fn floats_that_are_not_numbers_are_read() {
    let float = |text: &str| one("FLOAT64", json!(text)).unwrap().column(0).as_primitive::<Float64Type>().value(0);
    assert!(float("NaN").is_nan());
    assert_eq!((float("Infinity"), float("-Infinity")), (f64::INFINITY, f64::NEG_INFINITY));
}

#[test]
fn bare_values_of_stand_ins_are_read() {
    assert_eq!(one("INT64", json!(7)).unwrap().column(0).as_primitive::<Int64Type>().value(0), 7);
    assert!((one("FLOAT64", json!(7.5)).unwrap().column(0).as_primitive::<Float64Type>().value(0) - 7.5).abs() < 1e-9);
    assert!(one("BOOL", json!(true)).unwrap().column(0).as_boolean().value(0));
}

#[test]
fn arrays_and_structs_nest() {
    let fields = json!([
        {"name": "tags", "type": "STRING", "mode": "REPEATED"},
        {"name": "s", "type": "RECORD", "fields": [
            {"name": "n", "type": "INTEGER"},
            {"name": "inner", "type": "RECORD", "mode": "REPEATED", "fields": [{"name": "d", "type": "DATE"}]},
        ]},
    ]);
    let batch = rows(
        fields,
        json!([
            {"f": [{"v": [{"v": "a"}, {"v": null}]}, {"v": {"f": [
                {"v": "1"}, {"v": [{"v": {"f": [{"v": "2024-01-01"}]}}, {"v": {"f": [{"v": null}]}}]},
            ]}}]},
            {"f": [{"v": []}, {"v": null}]},
            {"f": [{"v": null}, {"v": {"f": [{"v": null}, {"v": []}]}}]},
        ]),
    )
    .unwrap();
    let shown = |column: usize| -> Vec<String> {
        (0..3).map(|row| array_value_to_string(batch.column(column), row).unwrap()).collect()
    };
    assert_eq!(shown(0), ["[a, ]", "[]", "[]"]);
    assert_eq!(shown(1), ["{n: 1, inner: [{d: 2024-01-01}, {d: }]}", "", "{n: , inner: []}"]);
    assert!(batch.column(1).is_null(1));
}

#[test]
fn a_wrong_value_names_its_row_and_column() {
    let check = |fields: Value, values: Value, expected: &[&str]| {
        let error = rows(fields, values).unwrap_err();
        for part in expected {
            assert!(error.message().contains(part), "{error} lacks {part}");
        }
    };
    let n = json!([{"name": "n", "type": "INTEGER"}]);
    check(n.clone(), json!([{"f": [{"v": "1"}]}, {"f": [{"v": "1.5"}]}]), &["row 1", "column n", "\"1.5\"", "INT64"]);
    check(n.clone(), json!([{"f": [{"v": "9223372036854775808"}]}]), &["row 0", "column n"]);
    check(n.clone(), json!([{"f": []}]), &["row 0", "1 cells"]);
    check(n.clone(), json!([{"f": [{"v": "1"}, {"v": "2"}]}]), &["row 0", "1 cells"]);
    check(n.clone(), json!([{"f": [{"v": [{"v": "1"}]}]}]), &["row 0", "column n"]);
    check(n, json!([{}]), &["row 0"]);
    let nested = json!([{"name": "s", "type": "STRUCT", "fields": [{"name": "b", "type": "BYTES"}]}]);
    check(nested, json!([{"f": [{"v": {"f": [{"v": "not base64"}]}}]}]), &["row 0", "column s.b", "BYTES"]);
    for (type_name, text) in [
        ("FLOAT64", "one"),
        ("NUMERIC", "1x"),
        ("BIGNUMERIC", ""),
        ("BOOL", "yes"),
        ("TIMESTAMP", "noon"),
        ("DATE", "2024-13-01"),
        ("TIME", "25:00:00"),
        ("DATETIME", "2024-01-01T"),
    ] {
        check(json!([{"name": "c", "type": type_name}]), json!([{"f": [{"v": text}]}]), &["column c", type_name]);
    }
}

#[test]
fn a_page_without_rows_has_the_schema() {
    let schema = schema(json!([{"name": "n", "type": "INTEGER"}]));
    let arrow = arrow_schema(&schema).unwrap();
    let batch = decode(br#"{"jobComplete":true,"totalRows":"0"}"#, &schema, &arrow, 0).unwrap();
    assert_eq!((batch.num_rows(), batch.schema()), (0, arrow));
}

#[test]
fn both_paths_give_the_same_batch() {
    let fields = json!([
        {"name": "i", "type": "INTERVAL"},
        {"name": "r", "type": "RANGE", "rangeElementType": {"type": "DATE"}},
        {"name": "l", "type": "JSON", "mode": "REPEATED"},
        {"name": "s", "type": "RECORD", "fields": [{"name": "n", "type": "INTEGER"}]},
    ]);
    let from_json = rows(
        fields.clone(),
        json!([
            {"f": [{"v": "1-2 3 0:0:6.500"}, {"v": "[2024-01-01, UNBOUNDED)"}, {"v": [{"v": "1"}]}, {"v": {"f": [{"v": "1"}]}}]},
            {"f": [{"v": null}, {"v": null}, {"v": []}, {"v": null}]},
        ]),
    )
    .unwrap();

    let intervals = IntervalMonthDayNanoArray::from(vec![Some(IntervalMonthDayNano::new(14, 3, 6_500_000_000)), None]);
    let bound = |name: &str| Arc::new(Field::new(name, DataType::Date32, true));
    let bounds: Vec<ArrayRef> = vec![
        Arc::new(Date32Array::from(vec![Some(19_723), None])),
        Arc::new(Date32Array::from(vec![None::<i32>, None])),
    ];
    let present = vec![true, false];
    let ranges = StructArray::new(vec![bound("start"), bound("end")].into(), bounds, Some(present.clone().into()));
    let texts = ListArray::new(
        Arc::new(Field::new("item", DataType::Utf8, false)),
        OffsetBuffer::from_lengths([1, 0]),
        Arc::new(StringArray::from(vec!["1"])),
        None,
    );
    let numbers: ArrayRef = Arc::new(arrow::array::Int64Array::from(vec![Some(1), None]));
    let structs =
        StructArray::new(vec![Field::new("n", DataType::Int64, true)].into(), vec![numbers], Some(present.into()));
    let columns: Vec<ArrayRef> = vec![Arc::new(intervals), Arc::new(ranges), Arc::new(texts), Arc::new(structs)];
    let sent = Schema::new(
        columns
            .iter()
            .zip(["i", "r", "l", "s"])
            .map(|(column, name)| Field::new(name, column.data_type().clone(), true))
            .collect::<Vec<_>>(),
    );
    let sent = RecordBatch::try_new(Arc::new(sent), columns).unwrap();
    let from_storage = conform(&sent, &arrow_schema(&schema(fields)).unwrap()).unwrap();

    assert_eq!(from_storage.schema(), from_json.schema());
    let text =
        |batch: &RecordBatch, column: usize, row: usize| array_value_to_string(batch.column(column), row).unwrap();
    assert_eq!(text(&from_storage, 0, 0), "1-2 3 0:0:6.5");
    for column in 1..4 {
        for row in 0..2 {
            assert_eq!(text(&from_storage, column, row), text(&from_json, column, row), "column {column}, row {row}");
        }
    }
}

#[test]
fn a_column_of_another_type_from_the_storage_read_api_is_an_error() {
    let sent = Schema::new(vec![Field::new("n", DataType::Utf8, true)]);
    let sent = RecordBatch::try_new(Arc::new(sent), vec![Arc::new(StringArray::from(vec!["1"]))]).unwrap();
    let schema = arrow_schema(&schema(json!([{"name": "n", "type": "INTEGER"}]))).unwrap();
    let error = conform(&sent, &schema).unwrap_err();
    assert!(error.message().contains("column n") && error.message().contains("Utf8"), "{error}");
}
