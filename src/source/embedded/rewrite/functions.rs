//! `GoogleSQL`'s function calls in the engine's terms. What is not listed here is refused by name.

use sqlparser::ast::{
    BinaryOperator, DuplicateTreatment, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentClause,
    FunctionArguments, HavingBound, HavingBoundKind, Ident, NullTreatment, ObjectName, OrderByExpr, OrderByOptions,
    Value,
};
use weir_plan::{Error, Result};

use super::Rewriter;
use super::tree::{arguments, call, case, ident, int, literal_text, negative, null, text};
use super::values;
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

/// Aggregates, likewise.
const AGGREGATES: &[(&str, &str)] = &[
    ("avg", "avg"),
    ("bit_and", "bit_and"),
    ("bit_or", "bit_or"),
    ("bit_xor", "bit_xor"),
    ("corr", "corr"),
    ("count", "count"),
    ("covar_pop", "covar_pop"),
    ("covar_samp", "covar_samp"),
    ("grouping", "grouping"),
    ("logical_and", "bool_and"),
    ("logical_or", "bool_or"),
    ("max", "max"),
    ("min", "min"),
    ("stddev", "stddev"),
    ("stddev_pop", "stddev_pop"),
    ("stddev_samp", "stddev"),
    ("sum", "sum"),
    ("var_pop", "var_pop"),
    ("var_samp", "var"),
    ("variance", "var"),
];

/// Names of [`AGGREGATES`] and others that only this module gives.
const ENGINE_AGGREGATES: &[&str] = &["array_agg", "bool_and", "bool_or", "first_value", "string_agg", "var"];

/// Window functions that count.
const RANKS: &[&str] = &["row_number", "rank", "dense_rank", "ntile"];

/// Other window functions.
const WINDOWS: &[&str] = &["percent_rank", "cume_dist", "lag", "lead", "first_value", "last_value", "nth_value"];

/// Shapes that only their surroundings understand: `WEEK(MONDAY)`, `array[OFFSET(0)]`.
const SHAPES: &[&str] = &["week", "offset", "safe_offset", "ordinal", "safe_ordinal"];

/// Whether a rewritten call aggregates rows.
pub(super) fn is_aggregate(function: &Function) -> bool {
    let name = name_of(function);
    AGGREGATES.iter().any(|(_, engine)| *engine == name) || ENGINE_AGGREGATES.contains(&name.as_str())
}

fn name_of(function: &Function) -> String {
    let parts: Vec<_> =
        function.name.0.iter().filter_map(|part| part.as_ident()).map(|ident| ident.value.as_str()).collect();
    parts.join(".")
}

fn place_of(function: &Function) -> String {
    function.name.0.first().and_then(|part| part.as_ident()).map_or_else(String::new, |ident| at(ident.span.start))
}

fn find(table: &[(&str, &'static str)], name: &str) -> Option<&'static str> {
    table.iter().find(|(google, _)| *google == name).map(|(_, engine)| *engine)
}

impl Rewriter<'_> {
    /// Rewrites a call whose arguments are rewritten already.
    pub(super) fn function(&mut self, mut function: Function) -> Result<Expr> {
        let name = name_of(&function);
        let place = place_of(&function);
        if let Some(engine) = find(AGGREGATES, &name) {
            rename(&mut function, engine);
            return Ok(Expr::Function(function));
        }
        if WINDOWS.contains(&name.as_str()) && function.over.is_some() || SHAPES.contains(&name.as_str()) {
            return Ok(Expr::Function(function));
        }
        if RANKS.contains(&name.as_str()) && function.over.is_some() {
            return Ok(call("$cast_int64", [Expr::Function(function)]));
        }
        if let Some(aggregate) = aggregate(&name, &mut function)? {
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
            Some(Special::Is(expr)) => Ok(expr),
            Some(Special::WrongArguments) => Err(wrong(&format!("does not take these {count} arguments"))),
            None => Err(unsupported()),
        }
    }
}

enum Special {
    Is(Expr),
    WrongArguments,
}

fn rename(function: &mut Function, name: &str) {
    let span = function.name.0.first().and_then(|part| part.as_ident()).map(|ident| ident.span);
    let mut ident = ident(name);
    if let Some(span) = span {
        ident.span = span;
    }
    function.name = ObjectName::from(ident);
}

/// Functions of a fixed shape.
fn special(name: &str, args: Vec<Expr>) -> Result<Option<Special>> {
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
        _ => return Ok(is_special(name).then_some(Special::WrongArguments)),
    };
    Ok(Some(Special::Is(expr)))
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

/// A string literal where a function's name says which time it is.
fn time(name: &str, value: Expr) -> Result<Expr> {
    use sqlparser::ast::{DataType, TimezoneInfo};
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
fn with_times(name: &str, mut args: Vec<Expr>) -> Result<Vec<Expr>> {
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
fn date_part(expr: &Expr) -> Result<Expr> {
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

fn spaced(name: &str, first: Expr, last: Expr, interval: Expr) -> Result<Expr> {
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

/// Aggregates of another name and shape.
fn aggregate(name: &str, function: &mut Function) -> Result<Option<Expr>> {
    let clauses = match &mut function.args {
        FunctionArguments::List(list) => std::mem::take(&mut list.clauses),
        _ => vec![],
    };
    let args = arguments(function);
    let first = args.as_ref().and_then(|args| args.first().cloned());
    let second = args.as_ref().and_then(|args| args.get(1).cloned());
    match (name, first, second) {
        ("countif", Some(condition), None) => {
            put(function, vec![case(condition, int(1), None)], vec![]);
            rename(function, "count");
        }
        ("approx_count_distinct", Some(value), None) => {
            put(function, vec![value], vec![]);
            rename(function, "count");
            if let FunctionArguments::List(list) = &mut function.args {
                list.duplicate_treatment = Some(DuplicateTreatment::Distinct);
            }
        }
        ("any_value", Some(value), None) => {
            let order = clauses.into_iter().find_map(|clause| match clause {
                FunctionArgumentClause::Having(HavingBound(kind, by)) => {
                    Some((by, matches!(kind, HavingBoundKind::Max)))
                }
                _ => None,
            });
            pick(function, value, order);
        }
        ("max_by" | "min_by", Some(value), Some(by)) => pick(function, value, Some((by, name == "max_by"))),
        ("string_agg", Some(value), separator) => {
            put(function, vec![value, separator.unwrap_or_else(|| text(","))], clauses);
            rename(function, "string_agg");
        }
        ("array_agg", Some(value), None) => return array_agg(function, value, clauses).map(Some),
        ("approx_quantiles", Some(value), Some(count)) => {
            put(function, vec![value.clone()], vec![]);
            rename(function, "array_agg");
            function.filter = Some(Box::new(Expr::IsNotNull(Box::new(value))));
            return Ok(Some(call("$quantiles", [Expr::Function(function.clone()), count])));
        }
        _ => {
            if let FunctionArguments::List(list) = &mut function.args {
                list.clauses = clauses;
            }
            return Ok(None);
        }
    }
    Ok(Some(Expr::Function(function.clone())))
}

fn put(function: &mut Function, args: Vec<Expr>, clauses: Vec<FunctionArgumentClause>) {
    if let FunctionArguments::List(list) = &mut function.args {
        list.args = args.into_iter().map(|arg| FunctionArg::Unnamed(FunctionArgExpr::Expr(arg))).collect();
        list.clauses = clauses;
    }
}

/// The first value that is not NULL, in the order of another one.
fn pick(function: &mut Function, value: Expr, order: Option<(Expr, bool)>) {
    let clauses = order.map(|(expr, descending)| {
        let options = OrderByOptions { asc: Some(!descending), nulls_first: Some(false) };
        FunctionArgumentClause::OrderBy(vec![OrderByExpr { expr, options, with_fill: None }])
    });
    put(function, vec![value], clauses.into_iter().collect());
    rename(function, "first_value");
    function.null_treatment = Some(NullTreatment::IgnoreNulls);
}

fn array_agg(function: &mut Function, value: Expr, clauses: Vec<FunctionArgumentClause>) -> Result<Expr> {
    let mut kept = vec![];
    let mut limit = None;
    let ignored = function.null_treatment.take();
    let mut ignores_nulls = matches!(ignored, Some(NullTreatment::IgnoreNulls));
    for clause in clauses {
        match clause {
            FunctionArgumentClause::IgnoreOrRespectNulls(treatment) => {
                ignores_nulls = treatment == NullTreatment::IgnoreNulls
            }
            FunctionArgumentClause::Limit(count) => limit = Some(count),
            FunctionArgumentClause::OrderBy(order) => kept.push(FunctionArgumentClause::OrderBy(order)),
            other => {
                return Err(Error::invalid(format!("the embedded engine does not support ARRAY_AGG with {other}")));
            }
        }
    }
    if ignores_nulls {
        function.filter = Some(Box::new(Expr::IsNotNull(Box::new(value.clone()))));
    }
    put(function, vec![value], kept);
    rename(function, "array_agg");
    let array = Expr::Function(function.clone());
    Ok(match limit {
        Some(limit) => call("array_slice", [array, int(1), limit]),
        None => array,
    })
}

/// Whether an expression is the bare identifier of a name.
pub(super) fn is_named(expr: &Expr, name: &Ident) -> bool {
    matches!(expr, Expr::Identifier(ident) if ident.value == name.value)
}

/// A number literal's text.
pub(super) fn is_number(expr: &Expr) -> bool {
    matches!(expr, Expr::Value(value) if matches!(value.value, Value::Number(..)))
}
