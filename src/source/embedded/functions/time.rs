//! Functions of TIMESTAMP, DATE, DATETIME and TIME.

use std::sync::Arc;

use chrono::{NaiveDate, NaiveTime};
use datafusion::arrow::array::ArrayRef;
use datafusion::arrow::array::timezone::Tz;
use datafusion::arrow::datatypes::DataType;
use datafusion::common::Result;
use datafusion::logical_expr::ScalarUDF;
use weir_plan::extent::{DAY, SECOND};

use super::scalar::{Args, fail, scalar};
use crate::source::embedded::calendar::{self, Part, date_micros};
use crate::source::embedded::time_text;
use crate::source::embedded::types::{DATETIME, TIME, timestamp};

pub(super) fn all() -> Vec<Arc<ScalarUDF>> {
    vec![
        scalar("timestamp_seconds", |_| from_int(timestamp()), |args| scaled(args, SECOND)),
        scalar("timestamp_millis", |_| from_int(timestamp()), |args| scaled(args, 1000)),
        scalar("timestamp_micros", |_| from_int(timestamp()), |args| scaled(args, 1)),
        scalar("date_from_unix_date", |_| from_int(DataType::Date32), |args| scaled(args, DAY)),
        scalar("$datetime_micros", |_| from_int(DATETIME), |args| scaled(args, 1)),
        scalar("$time_micros", |_| from_int(TIME), |args| scaled(args, 1)),
        scalar("unix_seconds", |_| to_int(timestamp()), |args| units(args, SECOND)),
        scalar("unix_millis", |_| to_int(timestamp()), |args| units(args, 1000)),
        scalar("unix_micros", |_| to_int(timestamp()), |args| units(args, 1)),
        scalar("unix_date", |_| to_int(DataType::Date32), |args| units(args, DAY)),
        scalar("$trunc", |types| same(types, &[DataType::Utf8, DataType::Utf8]), truncate),
        scalar("$add", |types| same(types, &[DataType::Int64, DataType::Utf8]), add),
        scalar("$diff", difference_types, difference),
        scalar("$extract", |types| extract_types(types, DataType::Int64), extract),
        scalar("$extract_date", |types| extract_types(types, DataType::Date32), local),
        scalar("$extract_time", |types| extract_types(types, TIME), local),
        scalar("$extract_datetime", |types| extract_types(types, DATETIME), local),
        scalar("$date_in", |types| local_types(types, DataType::Date32), local),
        scalar("$datetime_in", |types| local_types(types, DATETIME), local),
        scalar("$timestamp_in", timestamp_in_types, timestamp_in),
        scalar("$date_of", |types| of_ints(types, 3, DataType::Date32), of_numbers),
        scalar("$datetime_of", |types| of_ints(types, 6, DATETIME), of_numbers),
        scalar("$time_of", |types| of_ints(types, 3, TIME), time_of),
        scalar(
            "$datetime_join",
            |_| Some((vec![DataType::Date32, TIME], DATETIME)),
            |args| {
                let (date, time) = (args.micros(0), args.micros(1));
                args.to_times(&DATETIME, |row| Ok(date(row).zip(time(row)).map(|(date, time)| date + time)))
            },
        ),
    ]
}

type Types = Option<(Vec<DataType>, DataType)>;

#[expect(clippy::unnecessary_wraps, reason = "the shape of a rule")]
fn from_int(returns: DataType) -> Types {
    Some((vec![DataType::Int64], returns))
}

#[expect(clippy::unnecessary_wraps, reason = "the shape of a rule")]
fn to_int(takes: DataType) -> Types {
    Some((vec![takes], DataType::Int64))
}

/// A time of whatever type comes first, a NULL being a TIMESTAMP, else none.
fn time_type(data_type: &DataType) -> Option<DataType> {
    match data_type {
        DataType::Null => Some(timestamp()),
        DataType::Date32 | DataType::Time64(_) => Some(data_type.clone()),
        DataType::Timestamp(_, zone) => Some(if zone.is_some() { timestamp() } else { DATETIME }),
        _ => None,
    }
}

fn same(types: &[DataType], rest: &[DataType]) -> Types {
    let time = time_type(types.first()?)?;
    let takes = std::iter::once(time.clone()).chain(rest.iter().cloned()).collect();
    Some((takes, time))
}

fn difference_types(types: &[DataType]) -> Types {
    let time = match time_type(types.first()?)? {
        null if types[0] == DataType::Null => time_type(types.get(1)?).unwrap_or(null),
        time => time,
    };
    let other = time_type(types.get(1)?)?;
    let takes = if other == time || types[1] == DataType::Null { time } else { return None };
    Some((vec![takes.clone(), takes, DataType::Utf8, DataType::Utf8], DataType::Int64))
}

fn extract_types(types: &[DataType], returns: DataType) -> Types {
    let time = time_type(types.first()?)?;
    Some((vec![time, DataType::Utf8, DataType::Utf8], returns))
}

fn local_types(types: &[DataType], returns: DataType) -> Types {
    let time = time_type(types.first()?)?;
    Some((vec![time, DataType::Utf8, DataType::Utf8], returns))
}

fn timestamp_in_types(types: &[DataType]) -> Types {
    let takes = match types.first()? {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => DataType::Utf8,
        DataType::Date32 => DataType::Date32,
        DataType::Timestamp(_, None) => DATETIME,
        _ => return None,
    };
    Some((vec![takes, DataType::Utf8], timestamp()))
}

fn of_ints(types: &[DataType], count: usize, returns: DataType) -> Types {
    (types.len() == count).then(|| (vec![DataType::Int64; count], returns))
}

fn scaled(args: &Args, unit: i64) -> Result<ArrayRef> {
    let number = args.ints(0);
    args.to_times(&args.returns, |row| {
        let Some(number) = number(row) else { return Ok(None) };
        let point = number.checked_mul(unit).filter(|point| calendar::civil(*point).is_some());
        point.map(Some).ok_or_else(|| fail(format!("Time value {number} is out of range")))
    })
}

fn units(args: &Args, unit: i64) -> Result<ArrayRef> {
    let point = args.micros(0);
    args.to_ints(|row| Ok(point(row).map(|point| point.div_euclid(unit))))
}

fn part(text: &str) -> Result<Part> {
    Part::parse(text)
        .ok_or_else(|| fail(format!("A valid date part name is required but found {}", text.to_uppercase())))
}

/// The zone that argument `i` names, none for UTC.
fn zone(args: &Args, i: usize) -> Result<Option<Tz>> {
    match if i < args.len() { args.constant(i) } else { "" } {
        "" | "UTC" => Ok(None),
        name => time_text::zone(name).map(Some).ok_or_else(|| fail(format!("Invalid time zone: {name}"))),
    }
}

fn out_of_range(text: &str) -> datafusion::common::DataFusionError {
    fail(format!("{} overflows the range of times", text.to_uppercase()))
}

fn truncate(args: &Args) -> Result<ArrayRef> {
    let (name, zone) = (args.constant(1), zone(args, 2)?);
    let part = part(name)?;
    check_day(args.data_type(0), part, name)?;
    let point = args.micros(0);
    args.to_times(&args.returns, |row| {
        let Some(point) = point(row) else { return Ok(None) };
        let truncated = match zone {
            None => calendar::truncate(point, part),
            Some(zone) => time_text::to_local(point, zone)
                .and_then(|local| calendar::truncate(local, part))
                .and_then(|local| time_text::from_local(local, zone)),
        };
        truncated.map(Some).ok_or_else(|| out_of_range(name))
    })
}

/// A DATE has no parts within the day.
fn check_day(data_type: &DataType, part: Part, name: &str) -> Result<()> {
    if *data_type == DataType::Date32 && part.is_within_day() {
        return Err(fail(format!("a DATE has no date part {}", name.to_uppercase())));
    }
    Ok(())
}

fn add(args: &Args) -> Result<ArrayRef> {
    let name = args.constant(2);
    let part = part(name)?;
    check_day(args.data_type(0), part, name)?;
    let is_time = matches!(args.data_type(0), DataType::Time64(_));
    let (point, count) = (args.micros(0), args.ints(1));
    args.to_times(&args.returns, |row| {
        let Some((point, count)) = point(row).zip(count(row)) else { return Ok(None) };
        let sum = calendar::add(point, count, part).ok_or_else(|| out_of_range(name))?;
        Ok(Some(if is_time { sum.rem_euclid(DAY) } else { sum }))
    })
}

fn difference(args: &Args) -> Result<ArrayRef> {
    let (name, counted) = (args.constant(2), args.constant(3));
    let part = part(name)?;
    check_day(args.data_type(0), part, name)?;
    let (later, earlier) = (args.micros(0), args.micros(1));
    args.to_ints(|row| {
        let Some((later, earlier)) = later(row).zip(earlier(row)) else { return Ok(None) };
        let difference = match (counted, part) {
            ("whole", Part::Fixed(length)) => later.checked_sub(earlier).map(|micros| micros / length),
            ("whole", _) => {
                return Err(fail(format!("TIMESTAMP_DIFF does not take the date part {}", name.to_uppercase())));
            }
            _ => calendar::boundaries(later, earlier, part),
        };
        difference.map(Some).ok_or_else(|| out_of_range(name))
    })
}

fn extract(args: &Args) -> Result<ArrayRef> {
    let (name, zone) = (args.constant(1), zone(args, 2)?);
    if calendar::extract(0, name).is_none() {
        return Err(fail(format!("EXTRACT does not support the date part {}", name.to_uppercase())));
    }
    let point = args.micros(0);
    args.to_ints(|row| Ok(in_zone(point(row), zone).and_then(|point| calendar::extract(point, name))))
}

fn in_zone(point: Option<i64>, zone: Option<Tz>) -> Option<i64> {
    match zone {
        Some(zone) => time_text::to_local(point?, zone),
        None => point,
    }
}

/// What a clock shows, as a DATE, DATETIME or TIME.
fn local(args: &Args) -> Result<ArrayRef> {
    let zone = zone(args, args.len() - 1)?;
    let point = args.micros(0);
    let is_time = args.returns == TIME;
    args.to_times(&args.returns, |row| {
        Ok(in_zone(point(row), zone).map(|point| if is_time { point.rem_euclid(DAY) } else { point }))
    })
}

fn timestamp_in(args: &Args) -> Result<ArrayRef> {
    let zone = zone(args, 1)?;
    if *args.data_type(0) == DataType::Utf8 {
        let text = args.texts(0);
        return args.to_times(&args.returns, |row| {
            let Some(text) = text(row) else { return Ok(None) };
            let point = time_text::parse_timestamp(text, zone);
            point.map(Some).ok_or_else(|| fail(format!("Invalid timestamp: '{text}'")))
        });
    }
    let local = args.micros(0);
    args.to_times(&args.returns, |row| {
        Ok(match zone {
            Some(zone) => local(row).and_then(|local| time_text::from_local(local, zone)),
            None => local(row),
        })
    })
}

/// The INT64 arguments of a row; `None` where one is NULL.
fn numbers(args: &Args) -> impl Fn(usize) -> Option<Vec<i64>> {
    let columns: Vec<_> = (0..args.len()).map(|i| args.ints(i)).collect();
    move |row| columns.iter().map(|column| column(row)).collect()
}

fn of_numbers(args: &Args) -> Result<ArrayRef> {
    let numbers = numbers(args);
    args.to_times(&args.returns, |row| {
        let Some(numbers) = numbers(row) else { return Ok(None) };
        let point = civil_of(&numbers)
            .ok_or_else(|| fail(format!("Input calculates to an invalid date or time: {numbers:?}")))?;
        Ok(Some(point))
    })
}

fn time_of(args: &Args) -> Result<ArrayRef> {
    let numbers = numbers(args);
    args.to_times(&args.returns, |row| {
        let Some(numbers) = numbers(row) else { return Ok(None) };
        let point =
            clock_of(&numbers).ok_or_else(|| fail(format!("Input calculates to an invalid time: {numbers:?}")))?;
        Ok(Some(point))
    })
}

fn civil_of(numbers: &[i64]) -> Option<i64> {
    let (date, clock) = numbers.split_at_checked(3)?;
    let [year, month, day] = *date else { return None };
    let date = NaiveDate::from_ymd_opt(year.try_into().ok()?, month.try_into().ok()?, day.try_into().ok()?)?;
    Some(date_micros(date) + if clock.is_empty() { 0 } else { clock_of(clock)? })
}

fn clock_of(numbers: &[i64]) -> Option<i64> {
    let [hour, minute, second] = *numbers else { return None };
    let time = NaiveTime::from_hms_opt(hour.try_into().ok()?, minute.try_into().ok()?, second.try_into().ok()?)?;
    Some(i64::from(chrono::Timelike::num_seconds_from_midnight(&time)) * SECOND)
}
