//! Expansion of Grafana's `$__macros` in code; strings, comments and names in backticks stay as
//! they are.
//!
//! Meanings: half-open time filters with typed literals; `$__timeGroup` as the official `BigQuery`
//! data source defines it (`pkg/bigquery/macros.go` of grafana/google-bigquery-datasource).

use crate::error::{Error, Result};
use crate::extent::{Extent, Step, Timestamp};
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
            let found = if lexeme == Lexeme::Code { stretch.find("$__") } else { None };
            let Some(found) = found else {
                out.push_str(stretch);
                at += stretch.len();
                continue;
            };
            out.push_str(&stretch[..found]);
            let call = Call::read(&template[at + found..])?;
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
            _ => Err(call.error("is not a known macro")),
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

    fn time_group(&mut self, call: &Call<'_>) -> Result<String> {
        let (column, interval) = match call.arguments.as_deref() {
            Some([column, interval, ..]) if !column.trim().is_empty() => (column.trim(), interval),
            _ => return Err(call.error("takes the time column and an interval, for example $__timeGroup(ts, 5m)")),
        };
        let interval = interval.trim().trim_matches(['\'', '"']).trim();
        let step = match interval {
            "$__interval" => self.step(call)?,
            text => text.parse().map_err(|error: Error| error.context(format!("$__{}", call.name)))?,
        };
        let column = self.expand(column)?;
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
        check("$__interval (1)", "macro $__interval needs an interval; give a step, for example 5m");
        check(
            "$__timeGroup(ts)",
            "macro $__timeGroup takes the time column and an interval, for example $__timeGroup(ts, 5m)",
        );
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
            if !template.contains("$__") {
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
    ];
}
