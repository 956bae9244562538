//! Literals and query parameters as expressions that the engine plans.

use serde_json::Value as Json;
use sqlparser::ast::{Array, DataType as SqlType, Expr, TypedString, Value};
use sqlparser::dialect::BigQueryDialect;
use sqlparser::parser::Parser;
use weir_plan::extent::DAY;
use weir_plan::{Error, Parameter, Result, Timestamp};

use super::tree::{call, int, null, text};
use crate::source::embedded::functions::cast::suffix;
use crate::source::embedded::{time_text, types};

/// A TIMESTAMP of microseconds.
pub(super) fn timestamp(micros: i64) -> Expr {
    call("timestamp_micros", [int(micros)])
}

/// The DATE of a point.
pub(super) fn date(micros: i64) -> Expr {
    call("date_from_unix_date", [int(micros.div_euclid(DAY))])
}

/// A DATETIME of microseconds.
pub(super) fn datetime(micros: i64) -> Expr {
    call("$datetime_micros", [int(micros)])
}

/// `CURRENT_DATE` and the like as of `now`, in a zone; `None` for another name.
pub(super) fn current(name: &str, now: Timestamp, zone: Option<&str>) -> Result<Option<Expr>> {
    let local = match zone {
        None => now.micros(),
        Some(name) => time_text::zone(name)
            .and_then(|zone| time_text::to_local(now.micros(), zone))
            .ok_or_else(|| Error::invalid(format!("Invalid time zone: {name}")))?,
    };
    Ok(Some(match name {
        "current_timestamp" => timestamp(now.micros()),
        "current_date" => date(local),
        "current_datetime" => datetime(local),
        "current_time" => call("$time_micros", [int(local.rem_euclid(DAY))]),
        _ => return Ok(None),
    }))
}

/// `DATE '2024-01-01'` and the like.
pub(super) fn typed(literal: &TypedString) -> Result<Expr> {
    let written = match &literal.value.value {
        Value::SingleQuotedString(text) | Value::DoubleQuotedString(text) => text,
        other => return Err(Error::invalid(format!("Invalid {} literal {other}", literal.data_type))),
    };
    constant(&literal.data_type, written)
}

/// A value of a type, written as text.
pub(super) fn constant(sql_type: &SqlType, written: &str) -> Result<Expr> {
    let invalid = || Error::invalid(format!("Invalid {} literal \"{written}\"", name(sql_type)));
    Ok(match sql_type {
        SqlType::Date => date(time_text::parse_date(written).ok_or_else(invalid)?),
        SqlType::Datetime(_) => datetime(time_text::parse_datetime(written).ok_or_else(invalid)?),
        SqlType::Timestamp(..) => timestamp(time_text::parse_timestamp(written, None).ok_or_else(invalid)?),
        SqlType::Time(..) => call("$time_micros", [int(time_text::parse_time(written).ok_or_else(invalid)?)]),
        SqlType::String(_) => text(written),
        SqlType::Int64 => int(written.trim().parse().map_err(|_| invalid())?),
        SqlType::Bool => Expr::value(Value::Boolean(written.trim().to_lowercase().parse().map_err(|_| invalid())?)),
        other => cast(other, text(written))?,
    })
}

fn name(sql_type: &SqlType) -> String {
    sql_type.to_string().to_uppercase()
}

/// `CAST(expr AS type)`.
pub(super) fn cast(sql_type: &SqlType, expr: Expr) -> Result<Expr> {
    cast_with("$cast_", sql_type, expr)
}

/// `CAST` or `SAFE_CAST`, by the prefix of their functions' names.
pub(super) fn cast_with(prefix: &str, sql_type: &SqlType, expr: Expr) -> Result<Expr> {
    let suffix = types::of_sql(sql_type).as_ref().and_then(suffix);
    let suffix = suffix
        .ok_or_else(|| Error::invalid(format!("the embedded engine does not support casts to {}", name(sql_type))))?;
    Ok(call(&format!("{prefix}{suffix}"), [expr]))
}

/// A query parameter's value.
pub(super) fn parameter(name: &str, parameter: &Parameter) -> Result<Expr> {
    let unsupported = || {
        Error::invalid(format!(
            "parameter @{name}: the embedded engine does not support the type {}",
            parameter.type_name
        ))
    };
    let sql_type = Parser::new(&BigQueryDialect)
        .try_with_sql(&parameter.type_name)
        .and_then(|mut parser| parser.parse_data_type())
        .map_err(|_| unsupported())?;
    types::of_sql(&sql_type).ok_or_else(unsupported)?;
    value(&sql_type, &parameter.value).map_err(|error| error.context(format!("parameter @{name}")))
}

fn value(sql_type: &SqlType, json: &Json) -> Result<Expr> {
    if let SqlType::Array(sqlparser::ast::ArrayElemTypeDef::AngleBracket(element)) = sql_type {
        let Json::Array(items) = json else {
            return Err(Error::invalid(format!("a value of {} is a JSON array, not {json}", name(sql_type))));
        };
        let mut elem = items.iter().map(|item| value(element, item)).collect::<Result<Vec<_>>>()?;
        // An empty array has its type from a NULL that is cut off again.
        if elem.is_empty() {
            elem.push(cast(element, null())?);
            return Ok(call("array_slice", [array(elem), int(2), int(1)]));
        }
        return Ok(array(elem));
    }
    match json {
        Json::Null => cast(sql_type, null()),
        Json::Bool(truth) => constant(sql_type, &truth.to_string()),
        Json::Number(number) => constant(sql_type, &number.to_string()),
        Json::String(written) => constant(sql_type, written),
        other => {
            Err(Error::invalid(format!("a value of {} is text, a number or a truth, not {other}", name(sql_type))))
        }
    }
}

fn array(elem: Vec<Expr>) -> Expr {
    Expr::Array(Array { elem, named: false })
}
