//! A source whose answers the SQL names.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::{
    Array as _, ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Decimal256Array, Float64Array,
    Int64Array, ListArray, RecordBatch, StringArray, StructArray, Time64MicrosecondArray, TimestampMicrosecondArray,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{DataType, Field, Fields, Schema, i256};
use weir_plan::{Error, Kind, Result};

use crate::batches::Batches;
use crate::source::Job;
use crate::source::scripted::Scripted;

/// Rows of an answer that is streamed.
const LARGE: i64 = 750_000;

/// Answers `SELECT 'types'`, `'many'`, `'large'`, `'torn'`, `'slow'` (which waits at the gate) and
/// `'error KIND'`; `'panic'` panics.
pub(super) fn source() -> Scripted {
    Scripted::new(|job, _| answer(word(job))).reading(1234).gating(|job| word(job) == "slow")
}

fn word(job: &Job) -> &str {
    job.sql.split('\'').nth(1).unwrap_or_default()
}

fn answer(word: &str) -> Result<Batches> {
    let batch = match word.split_once(' ').unwrap_or((word, "")) {
        ("many" | "slow", _) => numbers(1000),
        // 17 MiB: over what is kept encoded.
        ("large", _) => numbers(LARGE),
        ("torn", _) => torn(),
        ("error", code) => {
            let kind = Kind::ALL.into_iter().find(|kind| kind.row().code == code).unwrap();
            return Err(Error::new(kind, "table p.d.t").with_retry_after(Duration::from_secs(7)));
        }
        ("panic", _) => panic!("secret"),
        _ => types(),
    };
    Batches::new(batch.schema(), vec![batch])
}

fn numbers(rows: i64) -> RecordBatch {
    let micros = |row: i64| 1_704_067_200_000_000 + row * 300_000_000;
    let times = TimestampMicrosecondArray::from_iter_values((0..rows).map(micros)).with_timezone("UTC");
    let fields = vec![
        Field::new("time", times.data_type().clone(), true),
        Field::new("n", DataType::Int64, true),
        Field::new("x", DataType::Float64, true),
    ];
    let n = Int64Array::from_iter_values(0..rows);
    let x = Float64Array::from_iter_values((0..rows).map(|row| f64::from(u32::try_from(row).unwrap()) / 4.0));
    batch(fields, vec![Arc::new(times), Arc::new(n), Arc::new(x)])
}

/// As large as `'large'`, and its last time is outside the calendar.
fn torn() -> RecordBatch {
    let good = numbers(LARGE);
    let times = (0..LARGE).map(|row| if row == LARGE - 1 { i64::MAX } else { row });
    let times: ArrayRef = Arc::new(TimestampMicrosecondArray::from_iter_values(times).with_timezone("UTC"));
    RecordBatch::try_new(good.schema(), vec![times, Arc::clone(good.column(1)), Arc::clone(good.column(2))]).unwrap()
}

fn batch(fields: Vec<Field>, columns: Vec<ArrayRef>) -> RecordBatch {
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap()
}

/// One column of each type; rows: ordinary, extreme, NULL.
pub(super) fn types() -> RecordBatch {
    let time = |zone: Option<&str>| {
        let array = TimestampMicrosecondArray::from(vec![Some(1_704_067_200_000_000), Some(-1), None]);
        if let Some(zone) = zone { array.with_timezone(zone) } else { array }
    };
    let numeric = Decimal128Array::from(vec![Some(123_450_000_000), Some(i128::MAX / 10), None]);
    let big = Decimal256Array::from(vec![Some(i256::from_i128(-5)), Some(i256::from_i128(0)), None]);
    let element = Arc::new(Field::new("item", DataType::Int64, true));
    let list = ListArray::new(
        Arc::clone(&element),
        OffsetBuffer::new(vec![0, 2, 2, 2].into()),
        Arc::new(Int64Array::from(vec![Some(1), None])),
        Some(NullBuffer::from(vec![true, true, false])),
    );
    let members: Fields =
        vec![Field::new("slug", DataType::Utf8, true), Field::new("ratio", DataType::Int64, true)].into();
    let record = StructArray::new(
        members,
        vec![
            Arc::new(StringArray::from(vec![Some("control"), None, None])),
            Arc::new(Int64Array::from(vec![Some(1), None, None])),
        ],
        Some(NullBuffer::from(vec![true, true, false])),
    );
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("int", Arc::new(Int64Array::from(vec![Some(1), Some(i64::MIN), None]))),
        ("float", Arc::new(Float64Array::from(vec![Some(1.5), Some(f64::NAN), None]))),
        ("infinite", Arc::new(Float64Array::from(vec![Some(f64::INFINITY), Some(f64::NEG_INFINITY), None]))),
        ("bool", Arc::new(BooleanArray::from(vec![Some(true), Some(false), None]))),
        ("string", Arc::new(StringArray::from(vec![Some("a\"b\n"), Some("žluť \u{1F98A}"), None]))),
        ("bytes", Arc::new(BinaryArray::from(vec![Some(&b"\x00\xff"[..]), Some(&b""[..]), None]))),
        ("numeric", Arc::new(numeric.with_precision_and_scale(38, 9).unwrap())),
        ("bignumeric", Arc::new(big.with_precision_and_scale(76, 38).unwrap())),
        ("date", Arc::new(Date32Array::from(vec![Some(19723), Some(-719_162), None]))),
        ("clock", Arc::new(Time64MicrosecondArray::from(vec![Some(3_661_000_000), Some(86_399_999_999), None]))),
        ("timestamp", Arc::new(time(Some("UTC")))),
        ("datetime", Arc::new(time(None))),
        ("list", Arc::new(list)),
        ("struct", Arc::new(record)),
    ];
    let fields = columns.iter().map(|(name, array)| Field::new(*name, array.data_type().clone(), true)).collect();
    batch(fields, columns.into_iter().map(|(_, array)| array).collect())
}
