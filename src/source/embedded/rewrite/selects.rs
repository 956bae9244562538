//! SELECT lists: names of unnamed columns, and where an alias stands for its expression.
//!
//! `GoogleSQL` takes the alias before the column in GROUP BY, HAVING, QUALIFY and ORDER BY, and
//! never in WHERE; the engine mostly does the reverse.
//! Source: <https://cloud.google.com/bigquery/docs/reference/standard-sql/query-syntax#using_aliases>.

use std::ops::ControlFlow;

use sqlparser::ast::{Expr, GroupByExpr, Ident, OrderByKind, Query, Select, SelectItem, SetExpr, VisitMut, VisitorMut};
use weir_plan::{Error, Result};

use super::aggregates::is_aggregate;
use super::tree::{ident, int, is_named, is_number};
use super::unsupported;

/// Refuses clauses that the engine would ignore.
pub(super) fn check(select: &Select) -> Result<()> {
    let clauses = [
        (select.value_table_mode.is_some(), "SELECT AS STRUCT or AS VALUE"),
        (!select.lateral_views.is_empty(), "LATERAL VIEW"),
        (select.into.is_some(), "SELECT INTO"),
        (select.exclude.is_some(), "EXCLUDE"),
        (select.prewhere.is_some(), "PREWHERE"),
        (!select.connect_by.is_empty(), "CONNECT BY"),
        (select.select_modifiers.is_some(), "modifiers of SELECT"),
    ];
    match clauses.iter().find(|(is_there, _)| *is_there) {
        Some((_, clause)) => Err(unsupported(clause)),
        None => Ok(()),
    }
}

/// Gives each column a name: that of its path, else `f0_`, `f1_`, …
pub(super) fn name_items(select: &mut Select) {
    let mut unnamed = 0;
    for item in &mut select.projection {
        let SelectItem::UnnamedExpr(expr) = item else { continue };
        let alias = path_name(expr).unwrap_or_else(|| {
            unnamed += 1;
            ident(format!("f{}_", unnamed - 1))
        });
        if !matches!(expr, Expr::Identifier(_)) {
            let expr = std::mem::replace(expr, int(0));
            *item = SelectItem::ExprWithAlias { expr, alias };
        }
    }
}

/// The last name of `a.b.c` or `f(x).c`.
fn path_name(expr: &Expr) -> Option<Ident> {
    match expr {
        Expr::Identifier(name) => Some(name.clone()),
        Expr::CompoundIdentifier(path) => path.last().cloned(),
        Expr::Function(function) if function.name.to_string() == "`get_field`" => {
            let args = super::tree::arguments(function)?;
            args.get(1).and_then(super::tree::literal_text).map(ident)
        }
        _ => None,
    }
}

/// The select list's expressions by alias.
fn aliases(select: &Select) -> Vec<(Ident, Expr)> {
    let aliased = select.projection.iter().filter_map(|item| match item {
        SelectItem::ExprWithAlias { expr, alias } => Some((alias.clone(), expr.clone())),
        _ => None,
    });
    aliased.collect()
}

/// Puts expressions in place of aliases in GROUP BY, HAVING and QUALIFY.
pub(super) fn resolve_aliases(select: &mut Select) -> Result<()> {
    let aliases = aliases(select);
    if let GroupByExpr::Expressions(exprs, modifiers) = &mut select.group_by {
        if !modifiers.is_empty() {
            return Err(unsupported("modifiers of GROUP BY"));
        }
        for expr in exprs {
            group_key(expr, &aliases);
        }
    }
    let mut substitution = Substitution { aliases: &aliases, depth: 0 };
    for clause in [&mut select.having, &mut select.qualify].into_iter().flatten() {
        if clause.visit(&mut substitution).is_break() {
            return Err(Error::internal("the substitution of aliases does not break off"));
        }
    }
    Ok(())
}

fn group_key(expr: &mut Expr, aliases: &[(Ident, Expr)]) {
    match expr {
        Expr::Rollup(sets) | Expr::Cube(sets) | Expr::GroupingSets(sets) => {
            sets.iter_mut().flatten().for_each(|expr| group_key(expr, aliases));
        }
        _ => {
            if let Some((_, meant)) = aliases.iter().find(|(alias, _)| is_named(expr, alias)) {
                *expr = meant.clone();
            }
        }
    }
}

/// Replaces aliases outside aggregates, whose arguments see columns only.
struct Substitution<'a> {
    aliases: &'a [(Ident, Expr)],
    depth: usize,
}

fn hides_aliases(expr: &Expr) -> bool {
    matches!(expr, Expr::Function(function) if is_aggregate(function) || function.over.is_some())
}

impl VisitorMut for Substitution<'_> {
    type Break = ();

    fn pre_visit_query(&mut self, _query: &mut Query) -> ControlFlow<()> {
        self.depth += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _query: &mut Query) -> ControlFlow<()> {
        self.depth -= 1;
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        self.depth += usize::from(hides_aliases(expr));
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        self.depth -= usize::from(hides_aliases(expr));
        if self.depth == 0
            && let Some((_, meant)) = self.aliases.iter().find(|(alias, _)| is_named(expr, alias))
        {
            *expr = Expr::Nested(Box::new(meant.clone()));
        }
        ControlFlow::Continue(())
    }
}

/// Orders by position where ORDER BY names a column of the select list or repeats its expression.
pub(super) fn order(query: &mut Query) {
    let (SetExpr::Select(select), Some(order)) = (&*query.body, &mut query.order_by) else { return };
    let OrderByKind::Expressions(keys) = &mut order.kind else { return };
    for key in keys {
        if is_number(&key.expr) {
            continue;
        }
        if let Some(position) = position(select, &key.expr) {
            key.expr = int(position);
        }
    }
}

/// The position, counted from 1, of an expression in a list without `*` before it.
fn position(select: &Select, expr: &Expr) -> Option<i64> {
    let by_name = select.projection.iter().position(|item| match item {
        SelectItem::ExprWithAlias { alias, .. } => is_named(expr, alias),
        SelectItem::UnnamedExpr(item) => item == expr,
        _ => false,
    });
    let by_value = || {
        select
            .projection
            .iter()
            .position(|item| matches!(item, SelectItem::ExprWithAlias { expr: item, .. } if item == expr))
    };
    let found = by_name.or_else(by_value)?;
    let is_wildcard = |item: &SelectItem| matches!(item, SelectItem::Wildcard(..) | SelectItem::QualifiedWildcard(..));
    if select.projection[..found].iter().any(is_wildcard) {
        return None;
    }
    i64::try_from(found + 1).ok()
}
