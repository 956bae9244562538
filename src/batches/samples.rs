//! For tests: tables of named columns, and one of every type.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Decimal256Array, Float64Array,
    Int64Array, ListArray, RecordBatch, StringArray, StructArray, Time64MicrosecondArray, TimestampMicrosecondArray,
};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{DataType, Field, Fields, Int64Type, Schema, i256};

use super::Batches;

/// A table of named columns, all nullable.
pub(crate) fn batches(columns: Vec<(&str, ArrayRef)>) -> Batches {
    let fields: Vec<_> =
        columns.iter().map(|(name, column)| Field::new(*name, column.data_type().clone(), true)).collect();
    let columns = columns.into_iter().map(|(_, column)| column).collect();
    let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap();
    Batches::new(batch.schema(), vec![batch]).unwrap()
}

/// A TIMESTAMP column: small numbers are seconds, others microseconds.
pub(crate) fn utc(times: &[i64]) -> ArrayRef {
    let micros = times.iter().map(|time| if *time < 1_000_000 { time * 1_000_000 } else { *time });
    Arc::new(TimestampMicrosecondArray::from_iter_values(micros).with_timezone("UTC"))
}

/// A row of every `BigQuery` type, and a row of nulls.
pub(crate) fn every_type() -> Batches {
    let second = 1_546_304_461_000_000;
    let fields = Fields::from(vec![
        Field::new("z", DataType::Int64, true),
        Field::new("a", DataType::Utf8, true),
        Field::new("m", DataType::Decimal128(38, 9), true),
    ]);
    let inner: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from(vec![1, 0])),
        Arc::new(StringArray::from(vec!["x", ""])),
        Arc::new(Decimal128Array::from(vec![100_000_000, 0]).with_precision_and_scale(38, 9).unwrap()),
    ];
    let structs = StructArray::new(fields, inner, Some(NullBuffer::from(vec![true, false])));
    let lists = ListArray::from_iter_primitive::<Int64Type, _, _>(vec![Some(vec![Some(1), None, Some(3)]), None]);
    batches(vec![
        ("int", Arc::new(Int64Array::from(vec![Some(9_007_199_254_740_993), None])) as ArrayRef),
        ("float", Arc::new(Float64Array::from(vec![Some(f64::NAN), None]))),
        ("bool", Arc::new(BooleanArray::from(vec![Some(true), None]))),
        ("string", Arc::new(StringArray::from(vec![Some("é"), None]))),
        ("bytes", Arc::new(BinaryArray::from(vec![Some(&[0_u8, 255][..]), None]))),
        (
            "numeric",
            Arc::new(Decimal128Array::from(vec![Some(1_500_000_000), None]).with_precision_and_scale(38, 9).unwrap()),
        ),
        (
            "bignumeric",
            Arc::new(
                Decimal256Array::from(vec![Some(i256::from_i128(-25 * 10_i128.pow(36))), None])
                    .with_precision_and_scale(76, 38)
                    .unwrap(),
            ),
        ),
        ("date", Arc::new(Date32Array::from(vec![Some(17_897), None]))),
        ("time", Arc::new(Time64MicrosecondArray::from(vec![Some(3_661_500_000), None]))),
        ("timestamp", Arc::new(TimestampMicrosecondArray::from(vec![Some(second), None]).with_timezone("UTC"))),
        ("datetime", Arc::new(TimestampMicrosecondArray::from(vec![Some(second), None]))),
        ("struct", Arc::new(structs)),
        ("array", Arc::new(lists)),
    ])
}
