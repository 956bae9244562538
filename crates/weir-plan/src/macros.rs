//! Expansion of Grafana's `$__macros` in code, and of its global variables that arrive unexpanded
//! (`${__from}`) everywhere but in comments. Anything else in literals, comments and names in
//! backticks stays as it is; any other variable in code is an error that names it.
//!
//! Meanings: half-open time filters with typed literals; `$__timeGroup` as the official `BigQuery`
//! data source defines it (`pkg/bigquery/macros.go` of grafana/google-bigquery-datasource); for the
//! targets of doitintl's data source its time column, alias and least interval
//! (`src/bigquery_query.ts` of doitintl/bigquery-grafana).

mod call;
mod renew;
#[cfg(test)]
mod tests;
mod variables;

use std::borrow::Cow;

use self::call::Call;
use self::variables::Found;
use crate::error::{Error, Result};
use crate::extent::{Extent, SECOND, Step, Timestamp};
use crate::sql::{Lexeme, lexemes};
use crate::target::{Dialect, Target, TimeType, plain_name, quoted};

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
/// `InvalidQuery` naming the macro or variable: unknown, an unclosed bracket, missing or surplus
/// arguments, a bad interval, a range macro without `range`, `$__interval` without `step`.
pub fn expand(template: &str, range: Option<Extent>, step: Option<Step>, target: &Target) -> Result<Expansion> {
    let mut scope = Scope { is_limited: is_limited(template), ..Scope::new(range, step, target) };
    let sql = scope.expand(template)?;
    Ok(Expansion { sql, uses_range: scope.uses_range })
}

/// The name of the function in [`probe`]'s text.
pub(crate) const PROBE: &str = "weir_time_column";

/// The text with every time macro over a plain column as a call of [`PROBE`] on that column, for a
/// parser to find out whose column it is; `None` where there is none.
pub(crate) fn probe(template: &str, target: &Target) -> Option<String> {
    if !template.contains("$__time") {
        return None;
    }
    let day = Extent::new(Timestamp::MIN, Timestamp::MAX).ok()?;
    let mut scope = Scope { probes: Some(0), ..Scope::new(Some(day), Some(Step::Micros(SECOND)), target) };
    let sql = scope.expand(template).ok()?;
    scope.probes.filter(|probes| *probes > 0).map(|_| sql)
}

/// By how much a doitintl target is to be asked for earlier rows as well: the intervals of its
/// `$__timeShifting` as they are written, each once.
///
/// # Errors
/// `InvalidQuery` for a bad interval or bracket.
pub fn shifts(template: &str) -> Result<Vec<&str>> {
    let mut shifts = Vec::new();
    let mut at = 0;
    for (lexeme, stretch) in lexemes(template) {
        let code = if lexeme == Lexeme::Code { stretch } else { "" };
        for (found, _) in code.match_indices("$__timeShifting") {
            let call = Call::read(&template[at + found..])?;
            shift(&call)?;
            let interval = unquoted(call.only_argument("an interval")?);
            if !shifts.contains(&interval) {
                shifts.push(interval);
            }
        }
        at += stretch.len();
    }
    Ok(shifts)
}

/// Every macro, for the error about an unknown one.
const KNOWN: &str = "$__timeFilter, $__timeFrom, $__timeTo, $__timeGroup, $__timeGroupAlias, $__millisTimeFrom, \
                     $__millisTimeTo, $__unixEpochFilter, $__unixEpochGroup, $__interval, $__interval_ms, $__table, \
                     $__column, $__from, $__to, $__range";

struct Scope<'a> {
    range: Option<Extent>,
    step: Option<Step>,
    target: &'a Target,
    uses_range: bool,
    /// How deep inside the arguments of macros.
    depth: usize,
    /// Whether the text so far is in a SELECT list.
    selecting: bool,
    /// Whether the text limits its rows itself.
    is_limited: bool,
    /// Columns that were marked, where they are to be.
    probes: Option<usize>,
}

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

impl<'a> Scope<'a> {
    fn new(range: Option<Extent>, step: Option<Step>, target: &'a Target) -> Self {
        Self { range, step, target, uses_range: false, depth: 0, selecting: false, is_limited: false, probes: None }
    }

    fn expand(&mut self, template: &str) -> Result<String> {
        let mut out = String::with_capacity(template.len() + 128);
        let mut at = 0;
        while let Some((lexeme, stretch)) = lexemes(&template[at..]).next() {
            at += stretch.len();
            match lexeme {
                Lexeme::Comment => out.push_str(stretch),
                Lexeme::Text | Lexeme::Name => match self.renewed(&out, stretch) {
                    Some(bound) => out.push_str(&bound),
                    None => out.push_str(&variables::replaced(stretch, |variable| self.variable(variable))?),
                },
                Lexeme::Code => {
                    let Some((begin, found)) = variables::find(stretch) else {
                        self.pass(stretch);
                        out.push_str(stretch);
                        continue;
                    };
                    at -= stretch.len() - begin;
                    self.pass(&stretch[..begin]);
                    out.push_str(&stretch[..begin]);
                    at += self.replace(&found, &template[at..], &mut out)?;
                }
            }
        }
        Ok(out)
    }

    fn renewed(&mut self, before: &str, literal: &str) -> Option<String> {
        let bound = renew::renewed(before, literal, self.target.partition_column.as_deref()?, self.range?)?;
        self.uses_range = true;
        Some(bound)
    }

    /// Appends what stands for the macro or variable that `text` begins with; returns its length.
    fn replace(&mut self, found: &Found<'_>, text: &str, out: &mut String) -> Result<usize> {
        match *found {
            Found::Macro => {
                let call = Call::read(text)?;
                out.push_str(&self.call(&call)?);
                if self.is_named_time(&call, &text[call.length..]) {
                    out.push_str(" AS time");
                }
                Ok(call.length)
            }
            Found::Variable(name, length) => {
                let global = name.strip_prefix("__").ok_or_else(|| variables::unreplaced(&text[..length]))?;
                out.push_str(&self.variable(global)?);
                Ok(length)
            }
            Found::Bare(name) => Err(variables::unreplaced(&format!("${name}"))),
            Found::Unclosed => Err(Error::invalid("a variable ${… has an unclosed brace")),
        }
    }

    /// Follows the clauses of a query.
    fn pass(&mut self, code: &str) {
        const CLAUSES: [&str; 7] = ["SELECT", "FROM", "WHERE", "BY", "HAVING", "QUALIFY", "ON"];
        if self.target.dialect == Dialect::Doitintl {
            let mut words = code.rsplit(|c: char| !c.is_ascii_alphanumeric() && c != '_');
            let clause = words.find_map(|word| CLAUSES.into_iter().find(|clause| clause.eq_ignore_ascii_case(word)));
            self.selecting = clause.map_or(self.selecting, |clause| clause == "SELECT");
        }
    }

    /// Whether doitintl's plugin would name this group `time`, and no other name follows.
    fn is_named_time(&self, call: &Call<'_>, after: &str) -> bool {
        let is_group = self.target.dialect == Dialect::Doitintl && call.name == "timeGroup";
        is_group && self.depth == 0 && self.selecting && ends_an_item(after)
    }

    fn call(&mut self, call: &Call<'_>) -> Result<String> {
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
            "table" => self.named(call, self.target.table.as_deref(), "table").map(|name| format!("`{name}`")),
            "column" => self.named(call, self.target.time_column.as_deref(), "timeColumn").map(quoted),
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

    fn variable(&mut self, variable: &str) -> Result<String> {
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

    fn named<'t>(&self, call: &Call<'_>, name: Option<&'t str>, key: &str) -> Result<&'t str> {
        call.without_arguments()?;
        let error = || call.error(&format!("needs the target's {key}, which is not set; write the name in its place"));
        name.ok_or_else(error)
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

/// Whether an item of a SELECT list ends where `after` begins.
fn ends_an_item(after: &str) -> bool {
    let code = lexemes(after).filter(|(lexeme, _)| *lexeme != Lexeme::Comment).map(|(_, text)| text.trim_start());
    let next = code.filter(|text| !text.is_empty()).next();
    let is_from = |text: &str| {
        text.split(|c: char| !c.is_ascii_alphabetic()).next().is_some_and(|word| word.eq_ignore_ascii_case("FROM"))
    };
    next.is_none_or(|text| text.starts_with(',') || is_from(text))
}

/// Whether the code of a text has the word LIMIT.
fn is_limited(template: &str) -> bool {
    let code = lexemes(template).filter(|(lexeme, _)| *lexeme == Lexeme::Code);
    code.flat_map(|(_, code)| code.split(|c: char| !c.is_ascii_alphanumeric() && c != '_'))
        .any(|word| word.eq_ignore_ascii_case("LIMIT"))
}

/// The interval of `$__timeShifting`.
fn shift(call: &Call<'_>) -> Result<Step> {
    let interval = unquoted(call.only_argument("an interval, for example 1d")?);
    interval.parse().map_err(|error: Error| error.context(format!("$__{}", call.name)))
}

/// Whether a least interval is one: doitintl's editor writes `none`, people `0` and `NULL`.
fn is_given(interval: &str) -> bool {
    !["", "none", "0", "null"].iter().any(|nothing| nothing.eq_ignore_ascii_case(unquoted(interval)))
}

/// An argument without white space and quotes round it.
fn unquoted(argument: &str) -> &str {
    argument.trim().trim_matches(['\'', '"']).trim()
}

/// An argument that can be put on one line with what follows it.
fn without_comments(argument: &str) -> Cow<'_, str> {
    if lexemes(argument).all(|(lexeme, _)| lexeme != Lexeme::Comment) {
        return Cow::Borrowed(argument);
    }
    lexemes(argument).map(|(lexeme, text)| if lexeme == Lexeme::Comment { " " } else { text }).collect()
}
