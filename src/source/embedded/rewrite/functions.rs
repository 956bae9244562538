//! `GoogleSQL`'s function calls in the engine's terms. What is not listed here is refused by name.

use sqlparser::ast::{BinaryOperator, Expr, Function};
use weir_plan::{Error, Result};

use super::times::{date_part, shifted, spaced, time, with_times};
use super::tree::{arguments, call, case, int, literal_text, null, text};
use super::{Rewriter, aggregates, values};
use crate::source::embedded::syntax::at;

/// Functions under their own or another name, without more ado.
const PLAIN: &[(&str, &str)] = &[
    ("abs", "abs"),
    ("array_concat", "array_concat"),
    ("array_length", "array_length"),
    ("array_reverse", "array_reverse"),
    ("array_to_string", "array_to_string"),
    ("byte_length", "byte_length"),
    ("ceil", "ceil"),
    ("ceiling", "ceil"),
    ("char_length", "length"),
    ("character_length", "length"),
    ("coalesce", "coalesce"),
    ("date_from_unix_date", "date_from_unix_date"),
    ("div", "div"),
    ("ends_with", "ends_with"),
    ("exp", "exp"),
    ("floor", "floor"),
    ("format_date", "format_date"),
    ("format_datetime", "format_datetime"),
    ("format_time", "format_time"),
    ("format_timestamp", "format_timestamp"),
    ("generate_array", "generate_array"),
    ("ieee_divide", "ieee_divide"),
    ("ifnull", "coalesce"),
    ("initcap", "initcap"),
    ("is_inf", "is_inf"),
    ("is_nan", "is_nan"),
    ("left", "left"),
    ("length", "length"),
    ("ln", "ln"),
    ("log", "log"),
    ("log10", "log10"),
    ("lower", "lower"),
    ("lpad", "lpad"),
    ("ltrim", "ltrim"),
    ("mod", "mod"),
    ("nullif", "nullif"),
    ("parse_date", "parse_date"),
    ("parse_datetime", "parse_datetime"),
    ("parse_time", "parse_time"),
    ("parse_timestamp", "parse_timestamp"),
    ("pow", "pow"),
    ("power", "pow"),
    ("regexp_contains", "regexp_like"),
    ("repeat", "repeat"),
    ("replace", "replace"),
    ("reverse", "reverse"),
    ("right", "right"),
    ("round", "round"),
    ("rpad", "rpad"),
    ("rtrim", "rtrim"),
    ("safe_divide", "safe_divide"),
    ("sign", "sign"),
    ("sqrt", "sqrt"),
    ("starts_with", "starts_with"),
    ("substr", "substr"),
    ("substring", "substr"),
    ("timestamp_micros", "timestamp_micros"),
    ("timestamp_millis", "timestamp_millis"),
    ("timestamp_seconds", "timestamp_seconds"),
    ("trim", "btrim"),
    ("trunc", "trunc"),
    ("unix_date", "unix_date"),
    ("unix_micros", "unix_micros"),
    ("unix_millis", "unix_millis"),
    ("unix_seconds", "unix_seconds"),
    ("upper", "upper"),
];

/// Window functions that count.
const RANKS: &[&str] = &["row_number", "rank", "dense_rank", "ntile"];

/// Other window functions.
const WINDOWS: &[&str] = &["percent_rank", "cume_dist", "lag", "lead", "first_value", "last_value", "nth_value"];

/// Shapes that only their surroundings understand: `WEEK(MONDAY)`, `array[OFFSET(0)]`.
const SHAPES: &[&str] = &["week", "offset", "safe_offset", "ordinal", "safe_ordinal"];

/// The name of a call, its parts joined by dots.
pub(super) fn name_of(function: &Function) -> String {
    let parts: Vec<_> =
        function.name.0.iter().filter_map(|part| part.as_ident()).map(|ident| ident.value.as_str()).collect();
    parts.join(".")
}

fn place_of(function: &Function) -> String {
    function.name.0.first().and_then(|part| part.as_ident()).map_or_else(String::new, |ident| at(ident.span.start))
}

/// The engine's name for a `GoogleSQL` name.
pub(super) fn find(table: &[(&str, &'static str)], name: &str) -> Option<&'static str> {
    table.iter().find(|(google, _)| *google == name).map(|(_, engine)| *engine)
}

impl Rewriter<'_> {
    /// Rewrites a call whose arguments are rewritten already.
    pub(super) fn function(&mut self, mut function: Function) -> Result<Expr> {
        let name = name_of(&function);
        let place = place_of(&function);
        if WINDOWS.contains(&name.as_str()) && function.over.is_some() || SHAPES.contains(&name.as_str()) {
            return Ok(Expr::Function(function));
        }
        if RANKS.contains(&name.as_str()) && function.over.is_some() {
            return Ok(call("$cast_int64", [Expr::Function(function)]));
        }
        if let Some(aggregate) = aggregates::rewritten(&name, &mut function)? {
            return Ok(aggregate);
        }
        let wrong = |what: &str| Error::invalid(format!("FUNCTION {} {what}{place}", name.to_uppercase()));
        let unsupported =
            || Error::invalid(format!("the embedded engine does not support FUNCTION {}{place}", name.to_uppercase()));
        if function.over.is_some() || function.filter.is_some() {
            return Err(unsupported());
        }
        let Some(args) = arguments(&function) else { return Err(unsupported()) };
        if let Some(engine) = find(PLAIN, &name) {
            return if args.is_empty() {
                Err(wrong("takes arguments"))
            } else {
                Ok(call(engine, with_times(&name, args)?))
            };
        }
        if name.starts_with("current_") {
            let zone = args.first().and_then(literal_text);
            if let Some(expr) = values::current(&name, self.now, zone)? {
                return Ok(expr);
            }
        }
        let count = args.len();
        match special(&name, args)? {
            Some(expr) => Ok(expr),
            None if is_special(&name) => Err(wrong(&format!("does not take these {count} arguments"))),
            None => Err(unsupported()),
        }
    }
}

/// Functions of a fixed shape; `None` for another name or other arguments.
fn special(name: &str, args: Vec<Expr>) -> Result<Option<Expr>> {
    let expr = match (
        name,
        <[Expr; 1]>::try_from(args.clone()),
        <[Expr; 2]>::try_from(args.clone()),
        <[Expr; 3]>::try_from(args.clone()),
    ) {
        ("if", _, _, Ok([condition, result, otherwise])) => case(condition, result, Some(otherwise)),
        ("string", Ok([value]), ..) => call("$cast_string", [value]),
        ("date", Ok([value]), ..) => call("$cast_date", [value]),
        ("date", _, Ok([value, zone]), _) => call("$date_in", [value, text(""), zone]),
        ("date", _, _, Ok(numbers)) => call("$date_of", numbers),
        ("timestamp", Ok([value]), ..) => call("$cast_timestamp", [value]),
        ("timestamp", _, Ok([value, zone]), _) => call("$timestamp_in", [value, zone]),
        ("datetime", Ok([value]), ..) => call("$cast_datetime", [value]),
        ("datetime", _, Ok([value, other]), _) if literal_text(&other).is_some() => {
            call("$datetime_in", [value, text(""), other])
        }
        ("datetime", _, Ok([date, time]), _) => call("$datetime_join", [date, time]),
        ("datetime", ..) if args.len() == 6 => call("$datetime_of", args),
        ("time", Ok([value]), ..) => call("$cast_time", [value]),
        ("time", _, _, Ok(numbers)) => call("$time_of", numbers),
        ("timestamp_trunc" | "date_trunc" | "datetime_trunc" | "time_trunc", _, Ok([value, part]), _) => {
            call("$trunc", [time(name, value)?, date_part(&part)?, text("")])
        }
        ("timestamp_trunc" | "date_trunc" | "datetime_trunc", _, _, Ok([value, part, zone])) => {
            call("$trunc", [time(name, value)?, date_part(&part)?, zone])
        }
        ("timestamp_add" | "date_add" | "datetime_add" | "time_add", _, Ok([value, interval]), _) => {
            shifted(time(name, value)?, interval, false)?
        }
        ("timestamp_sub" | "date_sub" | "datetime_sub" | "time_sub", _, Ok([value, interval]), _) => {
            shifted(time(name, value)?, interval, true)?
        }
        ("timestamp_diff", _, _, Ok([later, earlier, part])) => {
            call("$diff", [time(name, later)?, time(name, earlier)?, date_part(&part)?, text("whole")])
        }
        ("date_diff" | "datetime_diff" | "time_diff", _, _, Ok([later, earlier, part])) => {
            call("$diff", [time(name, later)?, time(name, earlier)?, date_part(&part)?, text("boundaries")])
        }
        ("greatest" | "least", ..) if !args.is_empty() => known_extreme(name, args),
        ("concat", ..) if !args.is_empty() => joined(args),
        ("split", Ok([value]), ..) => call("string_to_array", [value, text(",")]),
        ("split", _, Ok(both), _) => call("string_to_array", both),
        ("regexp_replace", _, _, Ok([value, pattern, replacement])) => {
            call("regexp_replace", [value, pattern, replacement, text("g")])
        }
        ("regexp_extract", _, Ok(both), _) => call("array_element", [call("regexp_match", both), int(1)]),
        ("strpos", _, Ok(both), _) => call("$cast_int64", [call("strpos", both)]),
        ("generate_date_array", _, Ok([first, last]), _) => {
            call("$generate_dates", [time(name, first)?, time(name, last)?, int(1), text("day")])
        }
        ("generate_date_array", _, _, Ok([first, last, interval])) => {
            spaced("$generate_dates", time(name, first)?, time(name, last)?, interval)?
        }
        ("generate_timestamp_array", _, _, Ok([first, last, interval])) => {
            spaced("$generate_timestamps", time(name, first)?, time(name, last)?, interval)?
        }
        _ => return Ok(None),
    };
    Ok(Some(expr))
}

/// Names of [`special`], to tell a wrong call from an unknown function.
fn is_special(name: &str) -> bool {
    [
        "if",
        "string",
        "date",
        "timestamp",
        "datetime",
        "time",
        "timestamp_trunc",
        "date_trunc",
        "datetime_trunc",
        "time_trunc",
        "timestamp_add",
        "date_add",
        "datetime_add",
        "time_add",
        "timestamp_sub",
        "date_sub",
        "datetime_sub",
        "time_sub",
        "timestamp_diff",
        "date_diff",
        "datetime_diff",
        "time_diff",
        "greatest",
        "least",
        "concat",
        "split",
        "regexp_replace",
        "regexp_extract",
        "strpos",
        "generate_date_array",
        "generate_timestamp_array",
    ]
    .contains(&name)
}

/// `GREATEST` and `LEAST` are NULL where an argument is.
fn known_extreme(name: &str, args: Vec<Expr>) -> Expr {
    let is_null = |arg: &Expr| Expr::IsNull(Box::new(arg.clone()));
    let any_null = args.iter().map(is_null).reduce(|a, b| binary(a, BinaryOperator::Or, b)).unwrap_or_else(null);
    case(any_null, null(), Some(call(name, args)))
}

fn joined(args: Vec<Expr>) -> Expr {
    let nested = |expr| Expr::Nested(Box::new(expr));
    args.into_iter().map(nested).reduce(|a, b| binary(a, BinaryOperator::StringConcat, b)).unwrap_or_else(null)
}

fn binary(left: Expr, op: BinaryOperator, right: Expr) -> Expr {
    Expr::BinaryOp { left: Box::new(left), op, right: Box::new(right) }
}
