//! Expansion of Grafana's `$__macros` in code, and of its global variables that arrive unexpanded
//! (`${__from}`) in code and literals. Anything else in literals, comments and names in backticks
//! stays as it is.
//!
//! Meanings: half-open time filters with typed literals; `$__timeGroup` as the official `BigQuery`
//! data source defines it (`pkg/bigquery/macros.go` of grafana/google-bigquery-datasource).

use crate::error::{Error, Result};
use crate::extent::{Extent, SECOND, Step, Timestamp};
use crate::sql::{Lexeme, lexemes};

/// An expanded text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expansion {
    /// Plain SQL.
    pub sql: String,
    /// Whether the text depends on the range.
    pub uses_range: bool,
}

/// Expands every macro of `template`.
///
/// # Errors
/// `InvalidQuery` naming the macro: unknown, an unclosed bracket, missing or surplus arguments, a
/// bad interval, a range macro without `range`, `$__interval` without `step`.
pub fn expand(template: &str, range: Option<Extent>, step: Option<Step>) -> Result<Expansion> {
    let mut scope = Scope { range, step, uses_range: false };
    let sql = scope.expand(template)?;
    Ok(Expansion { sql, uses_range: scope.uses_range })
}

/// Grafana's global variables that a backend can replace, without `__`.
const GLOBAL_VARIABLES: [&str; 7] = ["from", "to", "interval", "interval_ms", "range", "range_s", "range_ms"];

struct Scope {
    range: Option<Extent>,
    step: Option<Step>,
    uses_range: bool,
}

impl Scope {
    fn expand(&mut self, template: &str) -> Result<String> {
        let mut out = String::with_capacity(template.len() + 128);
        let mut at = 0;
        while at < template.len() {
            let Some((lexeme, stretch)) = lexemes(&template[at..]).next() else { break };
            let found = match lexeme {
                Lexeme::Code => begin(stretch),
                Lexeme::Text => {
                    out.push_str(&self.variables_in(stretch)?);
                    at += stretch.len();
                    continue;
                }
                Lexeme::Comment | Lexeme::Name => None,
            };
            let Some(found) = found else {
                out.push_str(stretch);
                at += stretch.len();
                continue;
            };
            out.push_str(&stretch[..found]);
            let text = &template[at + found..];
            if text.starts_with("${") {
                let (variable, length) = braced(text)?;
                out.push_str(&self.variable(variable)?);
                at += found + length;
                continue;
            }
            let call = Call::read(text)?;
            out.push_str(&self.call(&call)?);
            at += found + call.length;
        }
        Ok(out)
    }

    fn call(&mut self, call: &Call<'_>) -> Result<String> {
        match call.name {
            "timeFilter" => {
                let column = self.column(call)?;
                let range = self.range(call)?;
                Ok(format!("{column} >= {} AND {column} < {}", literal(range.start()), literal(range.end())))
            }
            "timeFrom" => self.bound(call, ">=", Extent::start),
            "timeTo" => self.bound(call, "<", Extent::end),
            "timeGroup" => self.time_group(call),
            "timeGroupAlias" => Ok(format!("{} AS time", self.time_group(call)?)),
            "interval" => {
                call.without_arguments()?;
                Ok(self.step(call)?.to_string())
            }
            "interval_ms" => {
                call.without_arguments()?;
                Ok(self.step(call)?.millis().to_string())
            }
            "millisTimeFrom" => Ok(format!("TIMESTAMP_MILLIS({})", self.range(call)?.start().millis())),
            "millisTimeTo" => Ok(format!("TIMESTAMP_MILLIS({})", self.range(call)?.end().millis())),
            "unixEpochFilter" => {
                let column = self.column(call)?;
                let range = self.range(call)?;
                let seconds = |bound: Timestamp| bound.ceil(SECOND).seconds();
                Ok(format!("{column} >= {} AND {column} < {}", seconds(range.start()), seconds(range.end())))
            }
            "unixEpochGroup" => self.unix_epoch_group(call),
            "from" | "to" | "range" | "range_s" | "range_ms" => {
                call.without_arguments()?;
                self.variable(call.name)
            }
            _ => Err(call.error("is not a known macro")),
        }
    }

    /// A literal with its global variables replaced, as Grafana's front end does: `'${__from:date}'`.
    /// Whatever else stands in it is text.
    fn variables_in(&mut self, literal: &str) -> Result<String> {
        let mut out = String::with_capacity(literal.len());
        let mut rest = literal;
        while let Some(found) = rest.find("${__") {
            let (before, text) = rest.split_at(found);
            out.push_str(before);
            let known = braced(text).ok().filter(|(variable, _)| {
                let name = variable.split(':').next().unwrap_or_default();
                GLOBAL_VARIABLES.contains(&name)
            });
            let length = if let Some((variable, length)) = known {
                out.push_str(&self.variable(variable)?);
                length
            } else {
                out.push_str("${__");
                "${__".len()
            };
            rest = &text[length..];
        }
        out.push_str(rest);
        Ok(out)
    }

    /// One of Grafana's global variables that reached the backend unexpanded, without its `__`.
    /// Source: <https://grafana.com/docs/grafana/latest/dashboards/variables/add-template-variables/#global-variables>.
    fn variable(&mut self, variable: &str) -> Result<String> {
        let (name, format) = variable.split_once(':').unwrap_or((variable, ""));
        let error = |what: &str| Error::invalid(format!("variable ${{__{variable}}} {what}"));
        let point: fn(Extent) -> Timestamp = match name {
            "from" => Extent::start,
            "to" => Extent::end,
            "interval" if format.is_empty() => {
                return Ok(self
                    .step
                    .ok_or_else(|| error("needs an interval; give a step, for example 5m"))?
                    .to_string());
            }
            "interval_ms" if format.is_empty() => {
                let step = self.step.ok_or_else(|| error("needs an interval; give a step, for example 5m"))?;
                return Ok(step.millis().to_string());
            }
            "range" | "range_s" | "range_ms" if format.is_empty() => |extent| extent.end(),
            _ => return Err(error("is not known to the backend; it must be replaced before the query is sent")),
        };
        self.uses_range = true;
        let range = self.range.ok_or_else(|| error("needs a time range; give from and to"))?;
        let length = range.micros();
        match (name, format) {
            ("range", _) => Ok(format!("{}s", length / SECOND)),
            ("range_s", _) => Ok((length / SECOND).to_string()),
            ("range_ms", _) => Ok((length / 1000).to_string()),
            (_, "") => Ok(point(range).millis().to_string()),
            (_, "date" | "date:iso") => Ok(point(range).iso_millis()),
            (_, "date:seconds") => Ok(point(range).seconds().to_string()),
            _ => Err(error("has a format that the backend does not know; date, date:iso and date:seconds are")),
        }
    }

    fn unix_epoch_group(&mut self, call: &Call<'_>) -> Result<String> {
        let (column, step) = self.column_and_step(call)?;
        match step {
            Step::Micros(micros) if micros % SECOND == 0 => {
                let seconds = micros / SECOND;
                Ok(format!("DIV({column}, {seconds}) * {seconds}"))
            }
            _ => Err(call.error("takes an interval of whole seconds, for example 5m")),
        }
    }

    fn column(&mut self, call: &Call<'_>) -> Result<String> {
        match call.arguments.as_deref() {
            Some([column]) if !column.trim().is_empty() => self.expand(column.trim()),
            _ => Err(call.error("takes one argument, the time column")),
        }
    }

    fn bound(&mut self, call: &Call<'_>, comparison: &str, end: fn(Extent) -> Timestamp) -> Result<String> {
        let bound = literal(end(self.range(call)?));
        match call.arguments.as_deref() {
            None => Ok(bound),
            Some([nothing]) if nothing.trim().is_empty() => Ok(bound),
            Some(_) => Ok(format!("{} {comparison} {bound}", self.column(call)?)),
        }
    }

    /// The arguments of a grouping macro.
    fn column_and_step(&mut self, call: &Call<'_>) -> Result<(String, Step)> {
        let (column, interval) = match call.arguments.as_deref() {
            Some([column, interval, ..]) if !column.trim().is_empty() => (column.trim(), interval),
            _ => return Err(call.error("takes the time column and an interval, for example (ts, 5m)")),
        };
        let interval = interval.trim().trim_matches(['\'', '"']).trim();
        let step = match interval {
            "$__interval" => self.step(call)?,
            text => text.parse().map_err(|error: Error| error.context(format!("$__{}", call.name)))?,
        };
        Ok((self.expand(column)?, step))
    }

    fn time_group(&mut self, call: &Call<'_>) -> Result<String> {
        let (column, step) = self.column_and_step(call)?;
        Ok(match step {
            Step::Micros(_) => {
                let millis = step.millis();
                format!("TIMESTAMP_MILLIS(DIV(UNIX_MILLIS({column}), {millis}) * {millis})")
            }
            Step::Months(1) => format!("TIMESTAMP_TRUNC({column}, MONTH)"),
            Step::Months(3) => format!("TIMESTAMP_TRUNC({column}, QUARTER)"),
            Step::Months(12) => format!("TIMESTAMP_TRUNC({column}, YEAR)"),
            // Counted from January of each year; above a year from year 0, so that buckets are equal.
            Step::Months(months) => {
                let month = if months < 12 {
                    format!("EXTRACT(MONTH FROM {column}) - 1")
                } else {
                    format!("EXTRACT(YEAR FROM {column}) * 12 + EXTRACT(MONTH FROM {column}) - 1")
                };
                format!("TIMESTAMP(DATE_SUB(DATE_TRUNC(DATE({column}), MONTH), INTERVAL MOD({month}, {months}) MONTH))")
            }
        })
    }

    fn range(&mut self, call: &Call<'_>) -> Result<Extent> {
        self.uses_range = true;
        self.range.ok_or_else(|| call.error("needs a time range; give from and to"))
    }

    fn step(&self, call: &Call<'_>) -> Result<Step> {
        self.step.ok_or_else(|| call.error("needs an interval; give a step, for example 5m"))
    }
}

/// Where the first macro or global variable begins.
fn begin(code: &str) -> Option<usize> {
    [code.find("$__"), code.find("${__")].into_iter().flatten().min()
}

/// The name of the variable in braces that `text` begins with, without `__`, and its length.
fn braced(text: &str) -> Result<(&str, usize)> {
    match text.find('}') {
        Some(end) => Ok((&text["${__".len()..end], end + 1)),
        None => Err(Error::invalid("a variable ${__… has an unclosed brace")),
    }
}

/// A macro as it stands in the text.
struct Call<'a> {
    /// Its name without `$__`.
    name: &'a str,
    /// Its arguments, untrimmed; `None` without brackets.
    arguments: Option<Vec<&'a str>>,
    /// Bytes from `$` to the closing bracket.
    length: usize,
}

impl<'a> Call<'a> {
    /// Reads the macro that `text` begins with. A bracket belongs to it only without white space.
    fn read(text: &'a str) -> Result<Self> {
        const PREFIX: usize = "$__".len();
        let name_length =
            text[PREFIX..].find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(text.len() - PREFIX);
        let name = &text[PREFIX..PREFIX + name_length];
        let open = PREFIX + name_length;
        let mut call = Self { name, arguments: None, length: open };
        if !text[open..].starts_with('(') {
            return Ok(call);
        }
        let mut arguments = Vec::new();
        let (mut at, mut begin, mut depth) = (open + 1, open + 1, 0_usize);
        for (lexeme, stretch) in lexemes(&text[open + 1..]) {
            if lexeme == Lexeme::Code {
                for (offset, c) in stretch.char_indices() {
                    match c {
                        '(' | '[' => depth += 1,
                        ')' if depth == 0 => {
                            arguments.push(&text[begin..at + offset]);
                            call.length = at + offset + 1;
                            call.arguments = Some(arguments);
                            return Ok(call);
                        }
                        ')' | ']' => depth = depth.saturating_sub(1),
                        ',' if depth == 0 => {
                            arguments.push(&text[begin..at + offset]);
                            begin = at + offset + 1;
                        }
                        _ => {}
                    }
                }
            }
            at += stretch.len();
        }
        Err(call.error("has an unclosed bracket"))
    }

    fn without_arguments(&self) -> Result<()> {
        match self.arguments {
            None => Ok(()),
            Some(_) => Err(self.error("takes no arguments")),
        }
    }

    fn error(&self, what: &str) -> Error {
        Error::invalid(format!("macro $__{} {what}", self.name))
    }
}

/// A part of a template, as [`expand`] reads it.
pub(crate) enum Piece<'a> {
    /// Text without macros; only global variables in a literal would still be replaced.
    Stretch(Lexeme, &'a str),
    /// A macro: its name without `$__`, and its arguments, untrimmed and unexpanded.
    Call(&'a str, Option<Vec<&'a str>>),
    /// A global variable in braces, without its `__`.
    Variable(&'a str),
}

/// Splits a template into the parts that [`expand`] tells apart, in order.
///
/// # Errors
/// `InvalidQuery` for an unclosed bracket or brace.
pub(crate) fn pieces(template: &str) -> Result<Vec<Piece<'_>>> {
    let mut pieces = Vec::new();
    let mut at = 0;
    while let Some((lexeme, stretch)) = lexemes(&template[at..]).next() {
        let Some(found) = begin(stretch).filter(|_| lexeme == Lexeme::Code) else {
            pieces.push(Piece::Stretch(lexeme, stretch));
            at += stretch.len();
            continue;
        };
        if found > 0 {
            pieces.push(Piece::Stretch(lexeme, &stretch[..found]));
        }
        let text = &template[at + found..];
        let length = if text.starts_with("${") {
            let (variable, length) = braced(text)?;
            pieces.push(Piece::Variable(variable));
            length
        } else {
            let Call { name, arguments, length } = Call::read(text)?;
            pieces.push(Piece::Call(name, arguments));
            length
        };
        at += found + length;
    }
    Ok(pieces)
}

fn literal(timestamp: Timestamp) -> String {
    format!("TIMESTAMP '{timestamp}'")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn day() -> Extent {
        let at = |text| Timestamp::parse(text, Timestamp::MIN).unwrap();
        Extent::new(at("2024-01-01"), at("2024-01-02")).unwrap()
    }

    fn ten_minutes() -> Step {
        "10m".parse().unwrap()
    }

    #[test]
    fn macros_expand_to_their_documented_text() {
        let check = |template: &str, expected: &str| {
            assert_eq!(expand(template, Some(day()), Some(ten_minutes())).unwrap().sql, expected, "{template}");
        };
        let filter = "ts >= TIMESTAMP '2024-01-01T00:00:00Z' AND ts < TIMESTAMP '2024-01-02T00:00:00Z'";
        check("WHERE $__timeFilter(ts)", &format!("WHERE {filter}"));
        check("WHERE $__timeFilter( ts ) AND x", &format!("WHERE {filter} AND x"));
        check(
            "$__timeFilter(cast(sth as timestamp) )",
            "cast(sth as timestamp) >= TIMESTAMP '2024-01-01T00:00:00Z' AND cast(sth as timestamp) < TIMESTAMP '2024-01-02T00:00:00Z'",
        );
        check("$__timeFrom(ts)", "ts >= TIMESTAMP '2024-01-01T00:00:00Z'");
        check("$__timeTo(ts)", "ts < TIMESTAMP '2024-01-02T00:00:00Z'");
        check(
            "ts BETWEEN $__timeFrom() AND $__timeTo",
            "ts BETWEEN TIMESTAMP '2024-01-01T00:00:00Z' AND TIMESTAMP '2024-01-02T00:00:00Z'",
        );
        check("$__timeGroup(created_at, 1w)", "TIMESTAMP_MILLIS(DIV(UNIX_MILLIS(created_at), 604800000) * 604800000)");
        check("$__timeGroup(t,$__interval)", "TIMESTAMP_MILLIS(DIV(UNIX_MILLIS(t), 600000) * 600000)");
        check("$__timeGroup(t, '$__interval')", "TIMESTAMP_MILLIS(DIV(UNIX_MILLIS(t), 600000) * 600000)");
        check("$__timeGroup(t, '5m', NULL)", "TIMESTAMP_MILLIS(DIV(UNIX_MILLIS(t), 300000) * 300000)");
        check("$__timeGroup(t, 1M)", "TIMESTAMP_TRUNC(t, MONTH)");
        check("$__timeGroup(t, '3M')", "TIMESTAMP_TRUNC(t, QUARTER)");
        check(
            "$__timeGroup(t, 2M)",
            "TIMESTAMP(DATE_SUB(DATE_TRUNC(DATE(t), MONTH), INTERVAL MOD(EXTRACT(MONTH FROM t) - 1, 2) MONTH))",
        );
        check("$__timeGroupAlias(t, 1h)", "TIMESTAMP_MILLIS(DIV(UNIX_MILLIS(t), 3600000) * 3600000) AS time");
        check("bin(time, $__interval), $__interval_ms", "bin(time, 10m), 600000");
        check(
            "$__millisTimeFrom(x) $__millisTimeTo(x)",
            "TIMESTAMP_MILLIS(1704067200000) TIMESTAMP_MILLIS(1704153600000)",
        );
        check("$__unixEpochFilter(x)", "x >= 1704067200 AND x < 1704153600");
        check("$__unixEpochGroup(x, 5m)", "DIV(x, 300) * 300");
        check("$__from-${__from}-${__to:date:seconds}", "1704067200000-1704067200000-1704153600");
        check("ts > '${__from:date:iso}' ${__interval} ${x}", "ts > '2024-01-01T00:00:00.000Z' 10m ${x}");
        check("'${__nope} ${__to' -- ${__from}", "'${__nope} ${__to' -- ${__from}");
        check("$__range $__range_s ${__range_ms}", "86400s 86400 86400000");
        check("$__timeGroup(IF(a, b, c), 1h)", "TIMESTAMP_MILLIS(DIV(UNIX_MILLIS(IF(a, b, c)), 3600000) * 3600000)");
        check("$__timeGroup(f(')', x[0]), 1h)", "TIMESTAMP_MILLIS(DIV(UNIX_MILLIS(f(')', x[0])), 3600000) * 3600000)");
    }

    #[test]
    fn macros_in_strings_comments_and_names_stay_text() {
        for template in
            ["SELECT '$__timeFilter(x)'", "-- $__interval\n", "/* $__nope( */", "`$__timeFrom`", "# $__x", "$x $_y $"]
        {
            let expansion = expand(template, None, None).unwrap();
            assert_eq!(expansion, Expansion { sql: template.into(), uses_range: false });
        }
    }

    #[test]
    fn misuse_is_an_error_that_names_the_macro() {
        let check = |template: &str, expected: &str| {
            let error = expand(template, None, None).unwrap_err();
            assert_eq!(error.message(), expected);
        };
        check("$__timeFilter(ts", "macro $__timeFilter has an unclosed bracket");
        check("$__timeFilter(a, ')'", "macro $__timeFilter has an unclosed bracket");
        check("$__timeFilter", "macro $__timeFilter takes one argument, the time column");
        check("$__timeFilter()", "macro $__timeFilter takes one argument, the time column");
        check("$__timeFilter(ts)", "macro $__timeFilter needs a time range; give from and to");
        check("$__timeFilterEpoch(x)", "macro $__timeFilterEpoch is not a known macro");
        check("$__interval", "macro $__interval needs an interval; give a step, for example 5m");
        check("$__from", "variable ${__from} needs a time range; give from and to");
        check(
            "${__nope}",
            "variable ${__nope} is not known to the backend; it must be replaced before the query is sent",
        );
        check("${__from", "a variable ${__… has an unclosed brace");
        check("$__interval (1)", "macro $__interval needs an interval; give a step, for example 5m");
        check("$__timeGroup(ts)", "macro $__timeGroup takes the time column and an interval, for example (ts, 5m)");
        let error = expand("$__timeGroup(ts, 5x)", Some(day()), None).unwrap_err();
        assert!(error.message().starts_with("$__timeGroup: interval \"5x\" is not"), "{error}");
    }

    #[test]
    fn a_text_without_range_macros_does_not_depend_on_the_range() {
        assert!(!expand("SELECT $__interval_ms", Some(day()), Some(ten_minutes())).unwrap().uses_range);
        assert!(expand("SELECT $__timeFrom()", Some(day()), None).unwrap().uses_range);
    }

    proptest! {
        #[test]
        fn expansion_never_panics_and_leaves_text_without_macros_alone(
            pieces in prop::collection::vec(prop::sample::select(PIECES), 0..24)
        ) {
            let template = pieces.concat();
            let expanded = expand(&template, Some(day()), Some(ten_minutes()));
            if begin(&template).is_none() {
                prop_assert_eq!(expanded.unwrap().sql, template);
            }
        }

        #[test]
        fn lexemes_tile_the_text(pieces in prop::collection::vec(prop::sample::select(PIECES), 0..40)) {
            let sql = pieces.concat();
            prop_assert_eq!(lexemes(&sql).map(|(_, text)| text).collect::<String>(), sql);
        }
    }

    const PIECES: &[&str] = &[
        " ",
        "a",
        "'",
        "\"",
        "`",
        "(",
        ")",
        "[",
        "]",
        ",",
        "#",
        "/",
        "*",
        "-",
        "\\",
        "\n",
        "é",
        "'''",
        "$__",
        "$__timeFilter(",
        "$__interval",
        "timeGroup(",
        "1M)",
        "${__",
        "from}",
    ];
}
