//! Casts with `GoogleSQL`'s rules: halves round away from zero, canonical texts, and errors that
//! name the value.
//!
//! Source: <https://cloud.google.com/bigquery/docs/reference/standard-sql/conversion_functions#cast>.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, BinaryArray};
use datafusion::arrow::compute::{CastOptions, cast_with_options};
use datafusion::arrow::datatypes::DataType;
use datafusion::common::Result;
use datafusion::logical_expr::ScalarUDF;

use super::scalar::{Args, Rule, fail, scalar};
use crate::source::embedded::time_text;
use crate::source::embedded::types::{self, BIGNUMERIC, DATETIME, NUMERIC, TIME, timestamp};

/// `$cast_…` fails where a value has no counterpart, `$safe_cast_…` gives NULL there.
pub(super) fn all() -> Vec<Arc<ScalarUDF>> {
    macro_rules! casts {
        ($($type:literal => $to:expr),* $(,)?) => {
            vec![$(
                scalar(concat!("$cast_", $type), rule!($to), |args| cast(args, false)),
                scalar(concat!("$safe_cast_", $type), rule!($to), |args| cast(args, true)),
            )*]
        };
    }
    macro_rules! rule {
        ($to:expr) => {{
            let rule: Rule = |given| Some((vec![from(given.first()?)?], $to));
            rule
        }};
    }
    casts! {
        "int64" => DataType::Int64,
        "float64" => DataType::Float64,
        "bool" => DataType::Boolean,
        "string" => DataType::Utf8,
        "bytes" => DataType::Binary,
        "numeric" => NUMERIC,
        "bignumeric" => BIGNUMERIC,
        "date" => DataType::Date32,
        "datetime" => DATETIME,
        "time" => TIME,
        "timestamp" => timestamp(),
    }
}

/// The suffix of the functions that cast to a type.
pub(in crate::source::embedded) fn suffix(to: &DataType) -> Option<&'static str> {
    Some(match to {
        DataType::Int64 => "int64",
        DataType::Float64 => "float64",
        DataType::Boolean => "bool",
        DataType::Utf8 => "string",
        DataType::Binary => "bytes",
        DataType::Decimal128(..) => "numeric",
        DataType::Decimal256(..) => "bignumeric",
        DataType::Date32 => "date",
        DataType::Timestamp(_, None) => "datetime",
        DataType::Time64(_) => "time",
        DataType::Timestamp(_, Some(_)) => "timestamp",
        _ => return None,
    })
}

/// Casts take scalars only.
fn from(given: &DataType) -> Option<DataType> {
    match given {
        DataType::Null => Some(DataType::Null),
        DataType::Decimal128(..) | DataType::Decimal256(..) => Some(given.clone()),
        other => Some(types::normal(other)).filter(|normal| suffix(normal).is_some()),
    }
}

fn cast(args: &Args, safe: bool) -> Result<ArrayRef> {
    use DataType as T;
    let (from, to) = (args.data_type(0), &args.returns);
    match (from, to) {
        (T::Float64, T::Int64) => {
            let value = args.floats(0);
            args.to_ints(|row| checked(value(row), round_to_int, safe, "int64"))
        }
        (T::Utf8, T::Int64) => read(args, safe, "int64", Args::to_ints, parse_int),
        (T::Utf8, T::Float64) => read(args, safe, "double", Args::to_floats, |text| text.trim().parse().ok()),
        (T::Utf8, T::Boolean) => read(args, safe, "bool", Args::to_bools, |text| match text {
            _ if text.eq_ignore_ascii_case("true") => Some(true),
            _ if text.eq_ignore_ascii_case("false") => Some(false),
            _ => None,
        }),
        (T::Utf8, T::Date32) => read_time(args, safe, "date", time_text::parse_date),
        (T::Utf8, T::Timestamp(_, None)) => read_time(args, safe, "datetime", time_text::parse_datetime),
        (T::Utf8, T::Timestamp(..)) => {
            read_time(args, safe, "timestamp", |text| time_text::parse_timestamp(text, None))
        }
        (T::Utf8, T::Time64(_)) => read_time(args, safe, "time", time_text::parse_time),
        (T::Date32 | T::Timestamp(..), T::Date32 | T::Timestamp(..)) => {
            let point = args.micros(0);
            args.to_times(to, |row| Ok(point(row)))
        }
        (T::Timestamp(..), T::Time64(_)) => {
            let point = args.micros(0);
            args.to_times(to, |row| Ok(point(row).map(|point| point.rem_euclid(weir_plan::extent::DAY))))
        }
        (T::Float64, T::Utf8) => {
            let value = args.floats(0);
            args.to_texts(|row| Ok(value(row).map(float_text)))
        }
        (T::Date32, T::Utf8) => write_time(args, time_text::date_text),
        (T::Timestamp(_, None), T::Utf8) => write_time(args, time_text::datetime_text),
        (T::Timestamp(..), T::Utf8) => write_time(args, time_text::timestamp_text),
        (T::Time64(_), T::Utf8) => write_time(args, |point| Some(time_text::time_text(point))),
        (T::Decimal128(..) | T::Decimal256(..), T::Utf8) => {
            let text = arrow_cast(args, &T::Utf8, safe)?;
            let text = text.as_string::<i32>();
            args.to_texts(|row| Ok(text.is_valid(row).then(|| decimal_text(text.value(row)))))
        }
        (T::Decimal128(precision, _), T::Int64) => through(args, &T::Decimal128(*precision, 0), safe),
        (T::Decimal256(precision, _), T::Int64) => through(args, &T::Decimal256(*precision, 0), safe),
        (T::Utf8, T::Binary) => {
            let text = args.array(0)?;
            Ok(Arc::new(text.as_string::<i32>().iter().map(|text| text.map(str::as_bytes)).collect::<BinaryArray>()))
        }
        (from, to) if from == to || matches!(from, T::Null) || is_plain(from, to) => arrow_cast(args, to, safe),
        (from, to) => Err(fail(format!("Invalid cast from {} to {}", types::name(from), types::name(to)))),
    }
}

/// Pairs for which Arrow's cast is `GoogleSQL`'s.
fn is_plain(from: &DataType, to: &DataType) -> bool {
    use DataType as T;
    let number = |t: &T| matches!(t, T::Int64 | T::Float64 | T::Decimal128(..) | T::Decimal256(..));
    (number(from) && number(to))
        || matches!(
            (from, to),
            (T::Boolean, T::Int64 | T::Utf8)
                | (T::Int64, T::Boolean | T::Utf8)
                | (T::Binary, T::Utf8)
                | (T::Utf8, T::Decimal128(..) | T::Decimal256(..))
        )
}

fn arrow_cast(args: &Args, to: &DataType, safe: bool) -> Result<ArrayRef> {
    let options = CastOptions { safe, ..CastOptions::default() };
    cast_with_options(&args.array(0)?, to, &options).map_err(|error| fail(format!("Invalid cast: {error}")))
}

fn through(args: &Args, step: &DataType, safe: bool) -> Result<ArrayRef> {
    let options = CastOptions { safe, ..CastOptions::default() };
    cast_with_options(&arrow_cast(args, step, safe)?, &args.returns, &options)
        .map_err(|error| fail(format!("Invalid cast: {error}")))
}

fn checked<F: ToString + Copy, T>(
    value: Option<F>,
    convert: fn(F) -> Option<T>,
    safe: bool,
    name: &str,
) -> Result<Option<T>> {
    let Some(value) = value else { return Ok(None) };
    match convert(value) {
        None if !safe => Err(fail(format!("Bad {name} value: {}", value.to_string()))),
        converted => Ok(converted),
    }
}

fn read<'a, T: 'a>(
    args: &'a Args,
    safe: bool,
    name: &'a str,
    collect: impl FnOnce(&'a Args, Box<dyn FnMut(usize) -> Result<Option<T>> + 'a>) -> Result<ArrayRef>,
    parse: fn(&str) -> Option<T>,
) -> Result<ArrayRef> {
    let text = args.texts(0);
    collect(
        args,
        Box::new(move |row| {
            let Some(text) = text(row) else { return Ok(None) };
            match parse(text) {
                None if !safe => Err(fail(format!("Bad {name} value: {text}"))),
                parsed => Ok(parsed),
            }
        }),
    )
}

fn read_time(args: &Args, safe: bool, name: &str, parse: fn(&str) -> Option<i64>) -> Result<ArrayRef> {
    let text = args.texts(0);
    args.to_times(&args.returns, |row| {
        let Some(text) = text(row) else { return Ok(None) };
        match parse(text) {
            None if !safe => Err(fail(format!("Invalid {name}: '{text}'"))),
            parsed => Ok(parsed),
        }
    })
}

fn write_time(args: &Args, write: fn(i64) -> Option<String>) -> Result<ArrayRef> {
    let point = args.micros(0);
    args.to_texts(|row| Ok(point(row).and_then(write)))
}

#[expect(clippy::cast_possible_truncation, reason = "the bounds are checked")]
fn round_to_int(value: f64) -> Option<i64> {
    // 2^63, which no INT64 reaches.
    const LIMIT: f64 = 9_223_372_036_854_775_808.0;
    let rounded = value.round();
    (-LIMIT..LIMIT).contains(&rounded).then_some(rounded as i64)
}

fn parse_int(text: &str) -> Option<i64> {
    let text = text.trim();
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", text.strip_prefix('+').unwrap_or(text)),
    };
    match digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")) {
        Some(hex) => i64::from_str_radix(&format!("{sign}{hex}"), 16).ok(),
        None => format!("{sign}{digits}").parse().ok(),
    }
}

/// A FLOAT64 as `CAST(x AS STRING)` writes it: the shortest text that reads back, without `.0`.
fn float_text(value: f64) -> String {
    let magnitude = value.abs();
    if value.is_nan() {
        "NaN".into()
    } else if value.is_infinite() {
        if value > 0.0 { "inf".into() } else { "-inf".into() }
    } else if magnitude != 0.0 && !(1e-4..1e15).contains(&magnitude) {
        let text = format!("{value:e}");
        let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        let (sign, exponent) = exponent.strip_prefix('-').map_or(("+", exponent), |exponent| ("-", exponent));
        format!("{digits}e{sign}{exponent:0>2}")
    } else {
        format!("{}", if value == 0.0 { 0.0 } else { value })
    }
}

fn decimal_text(text: &str) -> String {
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text.to_owned(),
    }
}
