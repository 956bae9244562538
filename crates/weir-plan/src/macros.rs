//! Expansion of Grafana's `$__macros` in code, and of its global variables that arrive unexpanded
//! (`${__from}`) everywhere but in comments. Anything else in literals, comments and names in
//! backticks stays as it is; any other variable in code is an error that names it.
//!
//! Meanings: half-open time filters with typed literals; `$__timeGroup` as the official `BigQuery`
//! data source defines it (`pkg/bigquery/macros.go` of grafana/google-bigquery-datasource); for the
//! targets of doitintl's data source its time column, alias and least interval
//! (`src/bigquery_query.ts` of doitintl/bigquery-grafana).

mod call;
mod meaning;
mod renew;
#[cfg(test)]
mod tests;
mod variables;

use self::call::Call;
use self::meaning::{shift, unquoted};
use self::variables::Found;
use crate::error::{Error, Result};
use crate::extent::{Extent, SECOND, Step, Timestamp};
use crate::sql::{Lexeme, has_word, lexemes};
use crate::target::{Dialect, Target};

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
    let mut scope = Scope { is_limited: has_word(template, "LIMIT"), ..Scope::new(range, step, target) };
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

/// A part of a template, as [`expand`] reads it.
pub(crate) enum Piece<'a> {
    /// Text without macros; only global variables in a literal would still be replaced.
    Stretch(Lexeme, &'a str),
    /// A macro: its name without `$__`, and its arguments, untrimmed and unexpanded.
    Call(&'a str, Option<Vec<&'a str>>),
    /// A global variable in braces, without its `__`.
    Variable(&'a str),
    /// A variable that only a browser knows.
    Unreplaced,
}

/// Splits a template into the parts that [`expand`] tells apart, in order.
///
/// # Errors
/// `InvalidQuery` for an unclosed bracket or brace.
pub(crate) fn pieces(template: &str) -> Result<Vec<Piece<'_>>> {
    let mut pieces = Vec::new();
    let mut at = 0;
    while let Some((lexeme, stretch)) = lexemes(&template[at..]).next() {
        let Some((begin, found)) = variables::find(stretch).filter(|_| lexeme == Lexeme::Code) else {
            pieces.push(Piece::Stretch(lexeme, stretch));
            at += stretch.len();
            continue;
        };
        if begin > 0 {
            pieces.push(Piece::Stretch(lexeme, &stretch[..begin]));
        }
        at += begin;
        let text = &template[at..];
        at += match found {
            Found::Macro => {
                let Call { name, arguments, length } = Call::read(text)?;
                pieces.push(Piece::Call(name, arguments));
                length
            }
            Found::Variable(name, length) => {
                pieces.push(name.strip_prefix("__").map_or(Piece::Unreplaced, Piece::Variable));
                length
            }
            Found::Bare(name) => {
                pieces.push(Piece::Unreplaced);
                name.len() + 1
            }
            Found::Unclosed => return Err(Error::invalid("a variable has an unclosed brace")),
        };
    }
    Ok(pieces)
}

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
}

/// Whether an item of a SELECT list ends where `after` begins.
fn ends_an_item(after: &str) -> bool {
    let mut code = lexemes(after).filter(|(lexeme, _)| *lexeme != Lexeme::Comment).map(|(_, text)| text.trim_start());
    let next = code.find(|text| !text.is_empty());
    let is_from = |text: &str| {
        text.split(|c: char| !c.is_ascii_alphabetic()).next().is_some_and(|word| word.eq_ignore_ascii_case("FROM"))
    };
    next.is_none_or(|text| text.starts_with(',') || is_from(text))
}
