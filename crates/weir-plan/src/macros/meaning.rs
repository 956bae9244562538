//! What each macro means.

use std::borrow::Cow;

use super::call::Call;
use super::{PROBE, Scope, variables};
use crate::error::{Error, Result};
use crate::extent::{Extent, SECOND, Step, Timestamp};
use crate::sql::{Lexeme, lexemes};
use crate::target::{Dialect, TimeType, plain_name, quoted};

/// Every macro, for the error about an unknown one.
const KNOWN: &str = "$__timeFilter, $__timeFrom, $__timeTo, $__timeGroup, $__timeGroupAlias, $__millisTimeFrom, \
                     $__millisTimeTo, $__unixEpochFilter, $__unixEpochGroup, $__interval, $__interval_ms, $__table, \
                     $__column, $__from, $__to, $__range";

/// The column of a time macro.
struct Column {
    text: String,
    /// Its plain name, where it has one.
    name: Option<String>,
    time_type: TimeType,
}

impl Column {
    /// The column as a TIMESTAMP.
    fn instant(&self) -> Cow<'_, str> {
        match self.time_type {
            TimeType::Timestamp => Cow::Borrowed(&self.text),
            TimeType::Date | TimeType::Datetime => Cow::Owned(format!("TIMESTAMP({})", self.text)),
        }
    }
}

impl Scope<'_> {
    /// The text that stands for a macro.
    ///
    /// # Errors
    /// Those of [`expand`](super::expand).
    pub(super) fn call(&mut self, call: &Call<'_>) -> Result<String> {
        match call.name {
            "timeFilter" => {
                let column = self.column(call)?;
                let range = self.range(call)?;
                let Column { text, time_type, .. } = &column;
                let filter = || format!("{text} >= {} AND {text} < {}", time_type.start(range), time_type.end(range));
                Ok(self.probed(&column).unwrap_or_else(filter))
            }
            "timeFrom" => self.bound(call, ">=", TimeType::start),
            "timeTo" => self.bound(call, "<", TimeType::end),
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
                let column = self.column(call)?.text;
                let range = self.range(call)?;
                let seconds = |bound: Timestamp| bound.ceil(SECOND).seconds();
                Ok(format!("{column} >= {} AND {column} < {}", seconds(range.start()), seconds(range.end())))
            }
            "unixEpochGroup" => self.unix_epoch_group(call),
            "table" => named(call, self.target.table.as_deref(), "table").map(|name| format!("`{name}`")),
            "column" => named(call, self.target.time_column.as_deref(), "timeColumn").map(quoted),
            "timeShifting" => {
                self.only_doitintl(call)?;
                shift(call).map(|_| String::new())
            }
            "limitPosition" => {
                self.only_doitintl(call)?;
                call.without_arguments()?;
                let points = self.target.max_data_points.filter(|_| !self.is_limited);
                Ok(points.map(|points| format!(" LIMIT {points}")).unwrap_or_default())
            }
            "from" | "to" | "range" | "range_s" | "range_ms" => {
                call.without_arguments()?;
                self.variable(call.name)
            }
            _ => Err(call.error(&format!("is not a known macro or variable; known are {KNOWN}"))),
        }
    }

    /// The value of a global variable, given without its `__`.
    ///
    /// # Errors
    /// Those of [`variables::value`].
    pub(super) fn variable(&mut self, variable: &str) -> Result<String> {
        let (value, uses_range) = variables::value(variable, self.range, self.step)?;
        self.uses_range |= uses_range;
        Ok(value)
    }

    fn unix_epoch_group(&mut self, call: &Call<'_>) -> Result<String> {
        let (column, step) = self.column_and_step(call)?;
        match step {
            Step::Micros(micros) if micros % SECOND == 0 => {
                let seconds = micros / SECOND;
                Ok(format!("DIV({}, {seconds}) * {seconds}", column.text))
            }
            _ => Err(call.error("takes an interval of whole seconds, for example 5m")),
        }
    }

    /// The column of a macro's only argument, or the target's.
    fn column(&mut self, call: &Call<'_>) -> Result<Column> {
        let argument = call.only_argument("the time column")?;
        self.column_of(call, argument)
    }

    fn column_of(&mut self, call: &Call<'_>, argument: &str) -> Result<Column> {
        let argument = without_comments(argument);
        let argument = argument.trim();
        let name = plain_name(argument);
        if let Some(time_column) = self.target.time_column.as_deref()
            && self.target.dialect == Dialect::Doitintl
            && call.name.starts_with("time")
        {
            return Ok(self.targets_column(time_column, argument, name));
        }
        if argument.is_empty() {
            return Err(call.error("needs the time column as its argument"));
        }
        self.depth += 1;
        let text = self.expand(argument)?;
        self.depth -= 1;
        let time_type = name.as_deref().map(|name| self.target.type_of(name)).unwrap_or_default();
        Ok(Column { text, name, time_type })
    }

    /// The target's time column in place of the argument, unless that is a longer name of the same.
    fn targets_column(&self, time_column: &str, argument: &str, name: Option<String>) -> Column {
        let own = plain_name(&quoted(time_column)).unwrap_or_default();
        let longer = name.filter(|name| name.ends_with(&format!(".{own}")));
        let known = self.target.column_types.get(&own).copied();
        let text = if longer.is_some() { argument.to_owned() } else { quoted(time_column) };
        let name = longer.unwrap_or(own);
        let time_type = known.unwrap_or_else(|| self.target.type_of(&name));
        Column { text, name: Some(name), time_type }
    }

    fn bound(&mut self, call: &Call<'_>, comparison: &str, end: fn(TimeType, Extent) -> String) -> Result<String> {
        let range = self.range(call)?;
        if call.only_argument("the time column")?.is_empty() {
            return Ok(end(TimeType::Timestamp, range));
        }
        let column = self.column(call)?;
        let filter = || format!("{} {comparison} {}", column.text, end(column.time_type, range));
        Ok(self.probed(&column).unwrap_or_else(filter))
    }

    /// The arguments of a grouping macro.
    fn column_and_step(&mut self, call: &Call<'_>) -> Result<(Column, Step)> {
        let (column, interval, rest) = match call.arguments.as_deref() {
            Some([column, interval, rest @ ..]) => (*column, *interval, rest),
            _ => return Err(call.error("takes the time column and an interval, for example (ts, 5m)")),
        };
        let column = self.column_of(call, column)?;
        let step = self.interval(call, interval)?;
        match rest {
            [least, ..] if self.target.dialect == Dialect::Doitintl && is_given(least) => {
                let least = self.interval(call, least)?;
                Ok((column, if least.millis() > step.millis() { least } else { step }))
            }
            _ => Ok((column, step)),
        }
    }

    fn interval(&self, call: &Call<'_>, text: &str) -> Result<Step> {
        match unquoted(text) {
            "$__interval" => self.step(call),
            "auto" if self.target.dialect == Dialect::Doitintl => self.step(call),
            "M" => Ok(Step::Months(1)),
            text => text.parse().map_err(|error: Error| error.context(format!("$__{}", call.name))),
        }
    }

    fn time_group(&mut self, call: &Call<'_>) -> Result<String> {
        let (column, step) = self.column_and_step(call)?;
        if let Some(probed) = self.probed(&column) {
            return Ok(probed);
        }
        let column = column.instant();
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

    fn probed(&mut self, column: &Column) -> Option<String> {
        let probes = self.probes.as_mut().filter(|_| column.name.is_some())?;
        *probes += 1;
        Some(format!("{PROBE}({})", column.text))
    }

    fn only_doitintl(&self, call: &Call<'_>) -> Result<()> {
        match self.target.dialect {
            Dialect::Doitintl => Ok(()),
            Dialect::Official => Err(call.error("is for targets of doitintl's data source only; leave it out")),
        }
    }

    fn range(&mut self, call: &Call<'_>) -> Result<Extent> {
        self.uses_range = true;
        self.range.ok_or_else(|| call.error("needs a time range; give from and to"))
    }

    fn step(&self, call: &Call<'_>) -> Result<Step> {
        self.step.ok_or_else(|| call.error("needs an interval; give a step, for example 5m"))
    }
}

/// A name that the target has under `key`.
fn named<'t>(call: &Call<'_>, name: Option<&'t str>, key: &str) -> Result<&'t str> {
    call.without_arguments()?;
    let error = || call.error(&format!("needs the target's {key}, which is not set; write the name in its place"));
    name.ok_or_else(error)
}

/// The interval of `$__timeShifting`.
pub(super) fn shift(call: &Call<'_>) -> Result<Step> {
    let interval = unquoted(call.only_argument("an interval, for example 1d")?);
    interval.parse().map_err(|error: Error| error.context(format!("$__{}", call.name)))
}

/// Whether a least interval is one: doitintl's editor writes `none`, people `0` and `NULL`.
fn is_given(interval: &str) -> bool {
    !["", "none", "0", "null"].iter().any(|nothing| nothing.eq_ignore_ascii_case(unquoted(interval)))
}

/// An argument without white space and quotes round it.
pub(super) fn unquoted(argument: &str) -> &str {
    argument.trim().trim_matches(['\'', '"']).trim()
}

/// An argument that can be put on one line with what follows it.
fn without_comments(argument: &str) -> Cow<'_, str> {
    if lexemes(argument).all(|(lexeme, _)| lexeme != Lexeme::Comment) {
        return Cow::Borrowed(argument);
    }
    lexemes(argument).map(|(lexeme, text)| if lexeme == Lexeme::Comment { " " } else { text }).collect()
}
