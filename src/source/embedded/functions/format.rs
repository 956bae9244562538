//! `FORMAT_…` and `PARSE_…` of dates and times: `GoogleSQL`'s format elements by way of chrono's.
//!
//! Source: <https://cloud.google.com/bigquery/docs/reference/standard-sql/format-elements>.

use std::fmt::Write;
use std::sync::Arc;

use chrono::format::{Item, Parsed, StrftimeItems, parse};
use chrono::{Datelike, Offset, TimeZone};
use datafusion::arrow::array::ArrayRef;
use datafusion::arrow::array::timezone::Tz;
use datafusion::arrow::datatypes::DataType;
use datafusion::common::Result;
use datafusion::logical_expr::ScalarUDF;

use super::scalar::{Args, fail, scalar};
use crate::source::embedded::types::{DATETIME, TIME, timestamp};
use crate::source::embedded::{calendar, time_text};

pub(super) fn all() -> Vec<Arc<ScalarUDF>> {
    vec![
        scalar("format_timestamp", |types| format_types(types, timestamp()), write),
        scalar("format_datetime", |types| format_types(types, DATETIME), write),
        scalar("format_date", |types| format_types(types, DataType::Date32), write),
        scalar("format_time", |types| format_types(types, TIME), write),
        scalar("parse_timestamp", |types| parse_types(types, timestamp()), read),
        scalar("parse_datetime", |types| parse_types(types, DATETIME), read),
        scalar("parse_date", |types| parse_types(types, DataType::Date32), read),
        scalar("parse_time", |types| parse_types(types, TIME), read),
    ]
}

type Types = Option<(Vec<DataType>, DataType)>;

fn format_types(types: &[DataType], time: DataType) -> Types {
    // A NULL value types as whatever is asked; a DATE may be written by FORMAT_TIMESTAMP's siblings.
    let takes = match types.get(1)? {
        DataType::Date32 if time != TIME => DataType::Date32,
        DataType::Timestamp(_, None) if time == DataType::Date32 => DATETIME,
        DataType::Timestamp(_, Some(_)) if time == DataType::Date32 => timestamp(),
        _ => time,
    };
    with_zone(types, takes, DataType::Utf8)
}

fn parse_types(types: &[DataType], time: DataType) -> Types {
    with_zone(types, DataType::Utf8, time)
}

fn with_zone(types: &[DataType], value: DataType, returns: DataType) -> Types {
    let mut takes = vec![DataType::Utf8, value];
    match types.len() {
        2 => {}
        3 => takes.push(DataType::Utf8),
        _ => return None,
    }
    Some((takes, returns))
}

/// `%Z` as `BigQuery` writes it: `UTC`, `UTC-7`, `UTC+5:30`.
fn zone_name(offset_seconds: i32) -> String {
    let (hours, minutes) = (offset_seconds / 3600, offset_seconds.abs() / 60 % 60);
    match (hours, minutes) {
        (0, 0) => "UTC".to_owned(),
        (hours, 0) => format!("UTC{hours:+}"),
        (hours, minutes) => format!("UTC{hours:+}:{minutes:02}"),
    }
}

/// chrono's spelling of a format; `%Q`, which chrono lacks, and `%Z` are left for each row.
fn translate(format: &str) -> String {
    let mut chrono = String::with_capacity(format.len());
    let mut rest = format;
    while let Some((before, element)) = rest.split_once('%') {
        chrono.push_str(before);
        let (length, spelling) = match element {
            _ if element.starts_with("E4Y") => (3, "%Y"),
            _ if element.starts_with("E*S") => (3, "%S%.f"),
            _ if element.starts_with("E3S") => (3, "%S%.3f"),
            _ if element.starts_with("E6S") => (3, "%S%.6f"),
            _ if element.starts_with("Ez") => (2, "%:z"),
            _ if element.starts_with('c') => (1, "%a %b %e %H:%M:%S %Y"),
            _ if element.starts_with('x') => (1, "%D"),
            _ if element.starts_with('X') => (1, "%T"),
            _ => (element.chars().next().map_or(0, char::len_utf8), ""),
        };
        if spelling.is_empty() {
            chrono.push('%');
            chrono.push_str(&element[..length]);
        } else {
            chrono.push_str(spelling);
        }
        rest = &element[length..];
    }
    chrono + rest
}

fn items(format: &str) -> Result<Vec<Item<'static>>> {
    let items: Vec<Item<'_>> = StrftimeItems::new(format).collect();
    if items.contains(&Item::Error) {
        return Err(fail(format!("the embedded engine does not support the format {format:?}")));
    }
    Ok(items.into_iter().map(Item::to_owned).collect())
}

fn zone(args: &Args) -> Result<Tz> {
    let name = if args.len() > 2 { args.constant(2) } else { "UTC" };
    time_text::zone(name).ok_or_else(|| fail(format!("Invalid time zone: {name}")))
}

fn write(args: &Args) -> Result<ArrayRef> {
    let zone = zone(args)?;
    let (format, point) = (args.texts(0), args.micros(1));
    let mut known: Option<(String, Vec<Item<'static>>)> = None;
    args.to_texts(|row| {
        let Some((format, point)) = format(row).zip(point(row)) else { return Ok(None) };
        let Some(civil) = calendar::civil(point) else { return Ok(None) };
        let local = zone.from_utc_datetime(&civil);
        let mut format = translate(format);
        if format.contains("%Q") {
            format = format.replace("%Q", &local.quarter().to_string());
        }
        if format.contains("%Z") {
            format = format.replace("%Z", &zone_name(local.offset().fix().local_minus_utc()));
        }
        if known.as_ref().is_none_or(|(text, _)| *text != format) {
            let items = items(&format)?;
            known = Some((format, items));
        }
        let mut text = String::new();
        if let Some((format, items)) = &known {
            write!(text, "{}", local.format_with_items(items.iter()))
                .map_err(|_| fail(format!("the embedded engine does not support the format {format:?}")))?;
        }
        Ok(Some(text))
    })
}

fn read(args: &Args) -> Result<ArrayRef> {
    let zone = zone(args)?;
    let (format, text) = (args.texts(0), args.texts(1));
    args.to_times(&args.returns, |row| {
        let Some((format, text)) = format(row).zip(text(row)) else { return Ok(None) };
        let items = items(&translate(format))?;
        let mut parsed = Parsed::new();
        let point = parse(&mut parsed, text.trim(), items.iter()).ok().and_then(|()| time_text::of_parts(&parsed));
        let point =
            point.ok_or_else(|| fail(format!("Failed to parse input string {text:?} with the format {format:?}")))?;
        let has_zone = parsed.offset().is_some() || parsed.timestamp().is_some();
        Ok(if has_zone { Some(point) } else { time_text::from_local(point, zone) })
    })
}
