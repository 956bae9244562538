//! Literals and query parameters as expressions that the engine plans.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
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
        // As the REST API writes them: <https://cloud.google.com/bigquery/docs/reference/rest/v2/QueryParameter>.
        SqlType::Bytes(_) => bytes(&STANDARD.decode(written).map_err(|_| invalid())?),
        other => cast(other, text(written))?,
    })
}

fn bytes(bytes: &[u8]) -> Expr {
    Expr::value(hexadecimal(bytes))
}

/// Bytes as a literal that the engine takes.
fn hexadecimal(bytes: &[u8]) -> Value {
    Value::HexStringLiteral(bytes.iter().fold(String::new(), |hex, byte| format!("{hex}{byte:02x}")))
}

/// What a bytes literal stands for, its escape sequences read.
/// Source: <https://cloud.google.com/bigquery/docs/reference/standard-sql/lexical#escape_sequences>.
pub(super) fn bytes_literal(written: &str) -> Result<Value> {
    let invalid = |escape: char| Error::invalid(format!("Illegal escape sequence \\{escape} in b\"{written}\""));
    let mut out = Vec::with_capacity(written.len());
    let mut rest = written.chars();
    while let Some(c) = rest.next() {
        if c != '\\' {
            out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
            continue;
        }
        let escape = rest.next().unwrap_or('\\');
        let digits = |rest: &mut std::str::Chars<'_>, first: Option<char>, count: usize, radix: u32| {
            let digits: String = first.into_iter().chain(rest.by_ref().take(count)).collect();
            (digits.len() == count + usize::from(first.is_some())).then_some(())?;
            u8::from_str_radix(&digits, radix).ok()
        };
        out.push(match escape {
            'a' => 7,
            'b' => 8,
            'f' => 12,
            'n' => b'\n',
            'r' => b'\r',
            't' => b'\t',
            'v' => 11,
            '\\' | '?' | '"' | '\'' | '`' => escape as u8,
            'x' | 'X' => digits(&mut rest, None, 2, 16).ok_or_else(|| invalid(escape))?,
            '0'..='3' => digits(&mut rest, Some(escape), 2, 8).ok_or_else(|| invalid(escape))?,
            _ => return Err(invalid(escape)),
        });
    }
    Ok(hexadecimal(&out))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_literals_are_read_with_their_escapes() {
        let check = |written: &str, expected: &str| {
            assert_eq!(bytes_literal(written).unwrap(), Value::HexStringLiteral(expected.to_owned()), "{written}");
        };
        check("ab", "6162");
        check(r"\x00\xfF\101\n\\\'", "00ff410a5c27");
        check("é", "c3a9");
        for written in [r"\x0", r"\400", r"\q", r"\08"] {
            assert!(bytes_literal(written).unwrap_err().message().contains("escape sequence"), "{written}");
        }
    }
}
