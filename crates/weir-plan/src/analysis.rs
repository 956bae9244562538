//! Decides from a template, before macros are expanded, whether its answer may be put together from
//! answers for parts of the range: per bucket (delta), per row (rows), or not (whole).
//!
//! It fails closed: what is not understood is whole, with a reason. It plans nothing and reads no
//! schema; names of columns are trusted to be those of the descriptor.

mod details;
mod functions;
mod level;
mod mask;
mod outputs;
mod read;
pub mod reason;
mod rows;
#[cfg(test)]
mod tests;
mod verify;
mod walk;
mod windows;

use std::ops::ControlFlow;

use sqlparser::ast::{Expr, Ident, Query, Statement, visit_expressions_mut};
use sqlparser::dialect::BigQueryDialect;
use sqlparser::parser::Parser;

use crate::descriptor::{Descriptors, SourceDescriptor};
use crate::extent::{Extent, Timestamp};
use crate::query::TableId;
use crate::sql::{self, Lexeme};

pub use details::{BucketStep, Delta, Measure, OrderKey, Output, Role, Rows, TimeRef};
pub use verify::verify;

/// A stable code, one of [`reason::ALL`].
pub type Reason = &'static str;

/// How a template can be answered, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Analysis {
    /// The best mode that is safe.
    pub mode: Mode,
    /// Why that one.
    pub reason: Reason,
}

/// How a template can be answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mode {
    /// From answers for whole buckets.
    Delta(Box<Delta>),
    /// From raw rows, cropped by their time.
    Rows(Box<Rows>),
    /// From one answer for the whole range.
    Whole,
    /// Not at all: it is not one query.
    None,
}

impl Mode {
    /// The mode's name.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Delta(_) => "delta",
            Self::Rows(_) => "rows",
            Self::Whole => "whole",
            Self::None => "none",
        }
    }
}

/// The known sources, and where short table names belong.
#[derive(Clone, Copy, Debug)]
pub struct Catalog<'a> {
    /// What is known of tables.
    pub descriptors: &'a Descriptors,
    /// Project of names without one.
    pub project: Option<&'a str>,
    /// Default dataset, `dataset` or `project.dataset`.
    pub dataset: Option<&'a str>,
}

impl<'a> Catalog<'a> {
    /// The descriptor of a table named by its parts.
    fn resolve(&self, parts: &[&str]) -> Option<&'a SourceDescriptor> {
        let table = match *parts {
            [table] => match self.dataset?.rsplit_once('.') {
                Some((project, dataset)) => TableId::new(project, dataset, table),
                None => TableId::new(self.project?, self.dataset?, table),
            },
            [dataset, table] => TableId::new(self.project?, dataset, table),
            [project, dataset, table] => TableId::new(project, dataset, table),
            // A project with a domain has dots of its own.
            [ref project @ .., dataset, table] if project.join(".").contains(':') => {
                TableId::new(project.join("."), dataset, table)
            }
            _ => return None,
        };
        self.descriptors.get(&table)
    }
}

/// Analyses a template.
pub fn analyse(template: &str, catalog: &Catalog<'_>) -> Analysis {
    match not_one_query(template) {
        Some(reason) => Analysis { mode: Mode::None, reason },
        None => match judge(template, catalog) {
            Ok(mode @ Mode::Delta(_)) => Analysis { mode, reason: reason::BUCKETS },
            Ok(mode) => Analysis { mode, reason: reason::RAW_ROWS },
            Err(reason) => Analysis { mode: Mode::Whole, reason },
        },
    }
}

/// Why a text is not run at all.
fn not_one_query(template: &str) -> Option<Reason> {
    match sql::statement(template) {
        Ok(statement) if statement.is_query() => None,
        Ok(_) => Some(reason::NOT_A_QUERY),
        Err(_) => {
            let is_code = |(lexeme, text): (Lexeme, &str)| {
                lexeme != Lexeme::Comment && !text.trim_matches(|c: char| c == ';' || c.is_whitespace()).is_empty()
            };
            let empty = !sql::lexemes(template).any(is_code);
            Some(if empty { reason::EMPTY } else { reason::SEVERAL_STATEMENTS })
        }
    }
}

/// Parses a masked text. Names in expressions become lower case without backticks, so that equal
/// ones compare equal.
fn parse(sql: &str) -> Result<Box<Query>, Reason> {
    let mut statements = Parser::parse_sql(&BigQueryDialect {}, sql).map_err(|_| reason::NOT_PARSED)?;
    let _: ControlFlow<()> = visit_expressions_mut(&mut statements, |expr| {
        match expr {
            Expr::Identifier(name) => plain(name),
            Expr::CompoundIdentifier(path) => path.iter_mut().for_each(plain),
            _ => {}
        }
        ControlFlow::Continue(())
    });
    match <[Statement; 1]>::try_from(statements) {
        Ok([Statement::Query(query)]) => Ok(query),
        _ => Err(reason::NOT_PARSED),
    }
}

fn plain(name: &mut Ident) {
    name.value.make_ascii_lowercase();
    name.quote_style = None;
}

fn judge(template: &str, catalog: &Catalog<'_>) -> Result<Mode, Reason> {
    let masked = mask::mask(template)?;
    let query = parse(&masked.sql)?;
    let census = walk::Census::of(&*query);
    let mut reader = read::Reader::new(catalog);
    let body = reader.outermost(&query)?;
    let level = level::Level::read(body.select, &mut reader)?;
    match census.filters {
        0 => return Err(reason::NO_TIME_FILTER),
        1 => {}
        _ => return Err(reason::TWO_FILTERS),
    }
    if census.queries != reader.followed {
        return Err(reason::SUBQUERY);
    }
    if let Some(reason) = census.refused {
        return Err(reason);
    }
    let filter = level.filter(body.select)?.ok_or(reason::FILTER_NOT_CONJUNCT)?;
    let outputs = outputs::outputs(&body, &level, &filter)?;
    let (source, statics) = (level.fact.descriptor.table.clone(), level.statics);
    match outputs {
        outputs::Outputs::Rows { time_output, descending } => {
            Ok(Mode::Rows(Box::new(Rows { source, statics, filter, time_output, descending })))
        }
        outputs::Outputs::Buckets(buckets) => {
            if buckets.markers != census.groups {
                return Err(reason::BUCKET_ELSEWHERE);
            }
            let step = masked.steps.get(buckets.bucket.step).copied().ok_or(reason::BUCKET_ELSEWHERE)?;
            let delta = Delta {
                source,
                statics,
                filter,
                bucket: buckets.bucket.time,
                step,
                outputs: buckets.outputs,
                bucket_output: buckets.bucket_output,
                order: buckets.order,
                keyed: buckets.keyed,
                derivable: buckets.derivable && !masked.uses_step,
            };
            if let BucketStep::Written(step) = step {
                let after_epoch =
                    Extent::new(Timestamp::saturating(0), Timestamp::MAX).map_err(|_| reason::BEFORE_EPOCH)?;
                if let Some(reason) = delta.refusal(step, after_epoch) {
                    return Err(reason);
                }
            }
            Ok(Mode::Delta(Box::new(delta)))
        }
    }
}
