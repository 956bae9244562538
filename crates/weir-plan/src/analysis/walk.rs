//! What stands anywhere in a syntax tree: markers, windows, subqueries, functions, tables.

use std::ops::ControlFlow;

use sqlparser::ast::{
    CastFormat, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, ObjectName, Query, Visit, Visitor,
    WindowType,
};

use super::Reason;
use super::functions::{is_aggregate, is_known};
use super::mask::{FILTER, GROUP, RESERVED};
use super::reason;

/// Counts and findings of one tree.
#[derive(Default)]
pub(super) struct Census {
    /// Queries, the outermost one included.
    pub(super) queries: usize,
    /// Time filters.
    pub(super) filters: usize,
    /// Buckets.
    pub(super) groups: usize,
    /// Windows of window functions.
    pub(super) windows: Vec<WindowType>,
    /// Whether there is an aggregate that is not a window function.
    pub(super) aggregates: bool,
    /// Names of tables with one part, in lower case.
    pub(super) short_names: Vec<String>,
    /// The first thing that no mode but whole can answer.
    pub(super) refused: Option<Reason>,
}

impl Census {
    /// Takes the census of a tree.
    pub(super) fn of(node: &impl Visit) -> Self {
        let mut census = Self::default();
        let _: ControlFlow<()> = node.visit(&mut census);
        census
    }

    fn function(&mut self, function: &Function) {
        let parts: Option<Vec<_>> = function.name.0.iter().map(|part| part.as_ident()).collect();
        let name: Vec<_> = parts.unwrap_or_default().iter().map(|part| part.value.to_ascii_uppercase()).collect();
        let name: Vec<_> = name.iter().map(String::as_str).collect();
        // Names in backticks may hold dots; those are functions of the user's too.
        let short = match name[..] {
            [name] | ["SAFE", name] if is_known(name) => name,
            [name] if name.starts_with(&RESERVED.to_ascii_uppercase()) => name,
            ["NET" | "HLL_COUNT" | "KLL_QUANTILES", _] => "",
            _ => {
                self.refuse(reason::UNKNOWN_FUNCTION);
                ""
            }
        };
        self.filters += usize::from(short.eq_ignore_ascii_case(FILTER));
        self.groups += usize::from(short.eq_ignore_ascii_case(GROUP));
        if has_zone(short, arguments(function).map(|arguments| arguments.len())) {
            self.refuse(reason::TIME_ZONE);
        }
        match &function.over {
            Some(window) => self.windows.push(window.clone()),
            None => self.aggregates |= is_aggregate(short) || matches!(name[..], ["HLL_COUNT" | "KLL_QUANTILES", _]),
        }
    }

    fn refuse(&mut self, reason: Reason) {
        self.refused.get_or_insert(reason);
    }
}

impl Visitor for Census {
    type Break = ();

    fn pre_visit_query(&mut self, _query: &Query) -> ControlFlow<()> {
        self.queries += 1;
        ControlFlow::Continue(())
    }

    fn pre_visit_relation(&mut self, relation: &ObjectName) -> ControlFlow<()> {
        if let [part] = &relation.0[..] {
            self.short_names.extend(part.as_ident().map(|ident| ident.value.to_ascii_lowercase()));
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        match expr {
            Expr::Function(function) => self.function(function),
            Expr::AtTimeZone { .. } | Expr::Cast { format: Some(CastFormat::ValueAtTimeZone(..)), .. } => {
                self.refuse(reason::TIME_ZONE);
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }
}

/// The arguments of a call if all are plain expressions.
fn arguments(function: &Function) -> Option<Vec<&Expr>> {
    let FunctionArguments::List(list) = &function.args else { return None };
    list.args
        .iter()
        .map(|argument| match argument {
            FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr),
            _ => None,
        })
        .collect()
}

/// Whether a call has nothing but a name and arguments.
pub(super) fn is_plain(function: &Function) -> bool {
    let list = match &function.args {
        FunctionArguments::List(list) => list.duplicate_treatment.is_none() && list.clauses.is_empty(),
        FunctionArguments::None | FunctionArguments::Subquery(_) => false,
    };
    list && function.parameters == FunctionArguments::None
        && function.filter.is_none()
        && function.null_treatment.is_none()
        && function.over.is_none()
        && function.within_group.is_empty()
        && !function.uses_odbc_syntax
}

/// The name of a call of one part, in capitals.
pub(super) fn short_name(function: &Function) -> Option<String> {
    match &function.name.0[..] {
        [part] => part.as_ident().map(|ident| ident.value.to_ascii_uppercase()),
        _ => None,
    }
}

/// The arguments of a plain call of the function `name`, if there are `N`.
pub(super) fn call<'a, const N: usize>(expr: &'a Expr, name: &str) -> Option<[&'a Expr; N]> {
    match expr {
        Expr::Function(function) if is_plain(function) => {
            let same = short_name(function).is_some_and(|short| short.eq_ignore_ascii_case(name));
            arguments(function).filter(|_| same)?.try_into().ok()
        }
        _ => None,
    }
}

/// An expression without the brackets round it.
pub(super) fn bare(mut expr: &Expr) -> &Expr {
    while let Expr::Nested(inner) = expr {
        expr = inner;
    }
    expr
}

/// The expressions that AND joins.
pub(super) fn conjuncts(expr: &Expr) -> Vec<&Expr> {
    let (mut open, mut parts) = (vec![expr], Vec::new());
    while let Some(expr) = open.pop() {
        match bare(expr) {
            Expr::BinaryOp { left, op: sqlparser::ast::BinaryOperator::And, right } => open.extend([&**right, &**left]),
            part => parts.push(part),
        }
    }
    parts
}

/// Whether a function is given a time zone, as far as the count of arguments tells.
fn has_zone(name: &str, count: Option<usize>) -> bool {
    let zoned: fn(usize) -> bool = match name {
        "DATE" | "DATETIME" | "TIME" | "TIMESTAMP" | "STRING" => |count| count == 2,
        "TIMESTAMP_TRUNC" | "FORMAT_TIMESTAMP" | "PARSE_TIMESTAMP" => |count| count > 2,
        _ => return false,
    };
    count.is_none_or(zoned)
}
