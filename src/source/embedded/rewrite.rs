//! Rewrites a parsed `GoogleSQL` query into one that the engine plans to the same meaning.
//!
//! Expressions are rewritten from the leaves up, so that a rule sees rewritten parts and its own
//! result is not visited again. What no rule knows is refused by name.

mod access;
mod aggregates;
mod functions;
mod selects;
mod tables;
mod times;
mod tree;
mod unnest;
mod values;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use sqlparser::ast::{
    BinaryOperator, CastKind, CeilFloorKind, DateTimeField, Expr, Query, Select, TableFactor, UnaryOperator, Value,
    VisitMut, VisitorMut,
};
use weir_plan::{Error, Parameter, Result, TableId, Timestamp};

use super::syntax::{Words, at};
use tree::{call, text};

/// What a query's text depends on.
pub(super) struct Surroundings<'a> {
    /// The job's one present.
    pub(super) now: Timestamp,
    /// Query parameters by name.
    pub(super) parameters: &'a BTreeMap<String, Parameter>,
    /// Project of two-part names.
    pub(super) project: &'a str,
    /// Project and dataset of one-part names.
    pub(super) default_dataset: Option<(&'a str, &'a str)>,
    /// Columns of a table or view in lower case; fails where there is none.
    pub(super) columns: &'a mut dyn FnMut(&TableId) -> Result<Vec<String>>,
}

/// Rewrites a query in place and names the tables and views that it reads.
///
/// # Errors
/// `InvalidQuery` naming what the engine does not support, and those of `columns`.
pub(super) fn rewrite(query: &mut Query, words: &Words, surroundings: Surroundings<'_>) -> Result<BTreeSet<TableId>> {
    let Surroundings { now, parameters, project, default_dataset, columns } = surroundings;
    let parameters = parameters.iter().map(|(name, parameter)| (name.to_lowercase(), parameter)).collect();
    let mut rewriter = Rewriter {
        now,
        parameters,
        project,
        default_dataset,
        columns,
        words,
        scopes: Vec::new(),
        tables: BTreeSet::new(),
        unnamed: 0,
    };
    match query.visit(&mut rewriter) {
        ControlFlow::Break(error) => Err(error),
        ControlFlow::Continue(()) => Ok(rewriter.tables),
    }
}

struct Rewriter<'a> {
    now: Timestamp,
    parameters: BTreeMap<String, &'a Parameter>,
    project: &'a str,
    default_dataset: Option<(&'a str, &'a str)>,
    columns: &'a mut dyn FnMut(&TableId) -> Result<Vec<String>>,
    words: &'a Words,
    scopes: Vec<Scope>,
    tables: BTreeSet<TableId>,
    unnamed: usize,
}

/// Common table expressions of one query. They are visited first, so its first inner queries are
/// theirs.
struct Scope {
    ctes: Vec<String>,
    recursive: bool,
    planned: usize,
}

impl Scope {
    /// Whether a name means one of them here: an earlier one, or any of a recursive WITH.
    fn has(&self, name: &str) -> bool {
        let visible = if self.recursive { &*self.ctes } else { &self.ctes[..self.planned] };
        visible.iter().any(|cte| cte == name)
    }
}

fn flow(result: Result<()>) -> ControlFlow<Error> {
    match result {
        Ok(()) => ControlFlow::Continue(()),
        Err(error) => ControlFlow::Break(error),
    }
}

fn unsupported(what: &str) -> Error {
    Error::invalid(format!("the embedded engine does not support {what}"))
}

impl VisitorMut for Rewriter<'_> {
    type Break = Error;

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<Error> {
        let ctes = query.with.iter().flat_map(|with| &with.cte_tables);
        let ctes = ctes.map(|cte| cte.alias.name.value.clone()).collect();
        let recursive = query.with.as_ref().is_some_and(|with| with.recursive);
        self.scopes.push(Scope { ctes, recursive, planned: 0 });
        if query.pipe_operators.is_empty() {
            ControlFlow::Continue(())
        } else {
            ControlFlow::Break(unsupported("pipe syntax"))
        }
    }

    fn post_visit_query(&mut self, query: &mut Query) -> ControlFlow<Error> {
        self.scopes.pop();
        if let Some(outer) = self.scopes.last_mut() {
            outer.planned = (outer.planned + 1).min(outer.ctes.len());
        }
        selects::order(query);
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<Error> {
        flow(selects::check(select))
    }

    fn post_visit_select(&mut self, select: &mut Select) -> ControlFlow<Error> {
        tables::hide_suffixes(select);
        selects::name_items(select);
        flow(selects::resolve_aliases(select).and_then(|()| self.unnest(select)))
    }

    fn post_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<Error> {
        flow(self.relation(factor))
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Error> {
        let taken = std::mem::replace(expr, Expr::value(Value::Null));
        match self.expr(taken) {
            Ok(rewritten) => {
                *expr = rewritten;
                ControlFlow::Continue(())
            }
            Err(error) => ControlFlow::Break(error),
        }
    }
}

impl Rewriter<'_> {
    fn expr(&mut self, expr: Expr) -> Result<Expr> {
        Ok(match expr {
            Expr::Function(function) => self.function(function)?,
            Expr::Identifier(ident) if ident.value.starts_with('@') && ident.quote_style.is_none() => {
                let name = &ident.value[1..];
                let Some(parameter) = self.parameters.get(name) else {
                    return Err(Error::invalid(format!("Query parameter '{name}' not found{}", at(ident.span.start))));
                };
                values::parameter(name, parameter)?
            }
            Expr::Value(value) => Expr::Value(literal(value.value)?.with_span(value.span)),
            Expr::TypedString(literal) => values::typed(&literal)?,
            Expr::Cast { kind, expr, data_type, array: false, format: None } => match kind {
                CastKind::Cast | CastKind::DoubleColon => values::cast(&data_type, *expr)?,
                CastKind::SafeCast | CastKind::TryCast => values::cast_with("$safe_cast_", &data_type, *expr)?,
            },
            Expr::Cast { .. } => return Err(unsupported("CAST with FORMAT")),
            Expr::Extract { field, expr, .. } => extract(&field, *expr),
            Expr::Between { expr, negated, low, high } => between(&expr, negated, *low, *high),
            Expr::BinaryOp { left, op, right } => match (op, *left, *right) {
                (BinaryOperator::Plus, time, interval @ Expr::Interval(_))
                | (BinaryOperator::Plus, interval @ Expr::Interval(_), time) => times::shifted(time, interval, false)?,
                (BinaryOperator::Minus, time, interval @ Expr::Interval(_)) => times::shifted(time, interval, true)?,
                (op, left, right) => Expr::BinaryOp { left: Box::new(left), op, right: Box::new(right) },
            },
            Expr::InUnnest { expr, array_expr, negated } => in_unnest(expr, *array_expr, negated),
            Expr::Ceil { expr, field: CeilFloorKind::DateTimeField(DateTimeField::NoDateTime) } => {
                call("ceil", [*expr])
            }
            Expr::Floor { expr, field: CeilFloorKind::DateTimeField(DateTimeField::NoDateTime) } => {
                call("floor", [*expr])
            }
            Expr::Substring { expr, substring_from: Some(from), substring_for, .. } => {
                call("substr", [*expr, *from].into_iter().chain(substring_for.map(|length| *length)))
            }
            Expr::Trim { expr, trim_where: None, trim_what: None, trim_characters } => {
                call("btrim", std::iter::once(*expr).chain(trim_characters.into_iter().flatten()))
            }
            Expr::CompoundFieldAccess { root, access_chain } => access::access(*root, access_chain)?,
            Expr::Struct { values, fields } if fields.is_empty() => {
                Expr::Struct { values: values.into_iter().map(access::named).collect(), fields }
            }
            Expr::Struct { .. } => return Err(unsupported("typed STRUCT<…>(…)")),
            Expr::Subquery(_) | Expr::Exists { .. } => expr,
            other => other,
        })
    }
}

/// Raw, triple-quoted and byte strings in the forms that the engine takes.
fn literal(value: Value) -> Result<Value> {
    use Value as V;
    Ok(match value {
        V::TripleSingleQuotedString(text)
        | V::TripleDoubleQuotedString(text)
        | V::SingleQuotedRawStringLiteral(text)
        | V::DoubleQuotedRawStringLiteral(text)
        | V::TripleSingleQuotedRawStringLiteral(text)
        | V::TripleDoubleQuotedRawStringLiteral(text)
        | V::DoubleQuotedString(text) => V::SingleQuotedString(text),
        V::SingleQuotedByteStringLiteral(bytes)
        | V::DoubleQuotedByteStringLiteral(bytes)
        | V::TripleSingleQuotedByteStringLiteral(bytes)
        | V::TripleDoubleQuotedByteStringLiteral(bytes) => values::bytes_literal(&bytes)?,
        V::Placeholder(text) => return Err(unsupported(&format!("the positional parameter {text}; name it @name"))),
        other => other,
    })
}

fn extract(field: &DateTimeField, expr: Expr) -> Expr {
    let (time, zone) = match expr {
        Expr::AtTimeZone { timestamp, time_zone } => (*timestamp, *time_zone),
        time => (time, text("")),
    };
    let part = field.to_string().to_lowercase();
    let name = match part.as_str() {
        "date" => "$extract_date",
        "time" => "$extract_time",
        "datetime" => "$extract_datetime",
        _ => "$extract",
    };
    call(name, [time, text(part), zone])
}

/// Two comparisons, which literals and pruning understand.
fn between(expr: &Expr, negated: bool, low: Expr, high: Expr) -> Expr {
    let compare = |op, bound| Expr::BinaryOp { left: Box::new(expr.clone()), op, right: Box::new(bound) };
    let both = Expr::BinaryOp {
        left: Box::new(compare(BinaryOperator::GtEq, low)),
        op: BinaryOperator::And,
        right: Box::new(compare(BinaryOperator::LtEq, high)),
    };
    let both = Expr::Nested(Box::new(both));
    if negated { Expr::UnaryOp { op: UnaryOperator::Not, expr: Box::new(both) } } else { both }
}

fn in_unnest(expr: Box<Expr>, array: Expr, negated: bool) -> Expr {
    match array {
        Expr::Array(array) if !array.elem.is_empty() => Expr::InList { expr, list: array.elem, negated },
        array => {
            let found = call("array_has", [array, *expr]);
            if negated { Expr::UnaryOp { op: UnaryOperator::Not, expr: Box::new(found) } } else { found }
        }
    }
}
