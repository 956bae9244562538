//! Arguments that are times, date parts and intervals.

use sqlparser::ast::{DataType, Expr, TimezoneInfo};
use weir_plan::{Error, Result};

use super::functions::name_of;
use super::tree::{arguments, call, int, literal_text, negative, text};
use super::values;

/// A string literal where a function's name says which time it is.
pub(super) fn time(name: &str, value: Expr) -> Result<Expr> {
    let Some(written) = literal_text(&value) else { return Ok(value) };
    let sql_type = match name {
        "unix_seconds" | "unix_millis" | "unix_micros" => DataType::Timestamp(None, TimezoneInfo::None),
        _ if name.contains("timestamp") => DataType::Timestamp(None, TimezoneInfo::None),
        _ if name.contains("datetime") => DataType::Datetime(None),
        _ if name.contains("date") => DataType::Date,
        _ => DataType::Time(None, TimezoneInfo::None),
    };
    values::constant(&sql_type, written)
}

/// String literals among a plain function's arguments that are times.
pub(super) fn with_times(name: &str, mut args: Vec<Expr>) -> Result<Vec<Expr>> {
    let position = match name {
        "unix_seconds" | "unix_millis" | "unix_micros" | "unix_date" => 0,
        "format_timestamp" | "format_date" | "format_datetime" | "format_time" => 1,
        _ => return Ok(args),
    };
    if let Some(arg) = args.get_mut(position) {
        *arg = time(name, arg.clone())?;
    }
    Ok(args)
}

/// A date part, which is written like a column, as a string.
pub(super) fn date_part(expr: &Expr) -> Result<Expr> {
    match expr {
        Expr::Identifier(part) => Ok(text(&part.value)),
        Expr::Function(function) if name_of(function) == "week" => match arguments(function).as_deref() {
            Some([Expr::Identifier(day)]) => Ok(text(format!("week({})", day.value))),
            _ => Err(Error::invalid("A valid date part name is required but found WEEK(…)")),
        },
        other => Err(Error::invalid(format!("A valid date part name is required but found {other}"))),
    }
}

/// `time ± INTERVAL n part`.
pub(super) fn shifted(time: Expr, interval: Expr, back: bool) -> Result<Expr> {
    let (count, part) = amount(interval)?;
    Ok(call("$add", [time, if back { negative(count) } else { count }, part]))
}

/// A call over a range of times with an INTERVAL between.
pub(super) fn spaced(name: &str, first: Expr, last: Expr, interval: Expr) -> Result<Expr> {
    let (count, part) = amount(interval)?;
    Ok(call(name, [first, last, count, part]))
}

fn amount(interval: Expr) -> Result<(Expr, Expr)> {
    let Expr::Interval(interval) = interval else {
        return Err(Error::invalid(format!("Expected INTERVAL expression but found {interval}")));
    };
    let Some(part) = interval.leading_field.filter(|_| interval.last_field.is_none()) else {
        return Err(Error::invalid("the embedded engine does not support an INTERVAL of several date parts"));
    };
    let count = match literal_text(&interval.value) {
        Some(written) => {
            int(written.trim().parse().map_err(|_| Error::invalid(format!("Invalid INTERVAL '{written}'")))?)
        }
        None => *interval.value,
    };
    Ok((count, text(part.to_string().to_lowercase())))
}
