//! The outermost SELECT: what it gives for each bucket (delta) or row (rows), and in which order.

use std::ops::ControlFlow;

use sqlparser::ast::{
    Distinct, DuplicateTreatment, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, GroupByExpr, Ident,
    NamedWindowExpr, OrderBy, OrderByKind, SelectItem, Value, visit_expressions,
};

use super::level::{Bucketing, Level, Origin};
use super::read::{Body, implied_name};
use super::walk::{Census, bare, is_plain, short_name};
use super::windows::{marked, partition_markers};
use super::{Measure, OrderKey, Output, Reason, Role, TimeRef, reason, rows};

/// What the outermost SELECT turned out to be.
pub(super) enum Outputs {
    /// Whole buckets.
    Buckets(Buckets),
    /// Raw rows: the output that is the time, and whether the last comes first if they are ordered.
    Rows { time_output: String, descending: Option<bool> },
}

/// Outputs of a grouped SELECT.
pub(super) struct Buckets {
    pub(super) bucket: Bucketing,
    pub(super) bucket_output: usize,
    pub(super) outputs: Vec<Output>,
    pub(super) order: Vec<OrderKey>,
    pub(super) keyed: bool,
    pub(super) derivable: bool,
    /// How many markers of buckets stood where they may.
    pub(super) markers: usize,
}

/// An output and its expression; `*` has none.
pub(super) struct Item<'q> {
    pub(super) expr: &'q Expr,
    pub(super) name: Option<&'q Ident>,
    bucket: Option<Bucketing>,
}

impl Item<'_> {
    pub(super) fn is_named(&self, name: &str) -> bool {
        self.name.is_some_and(|own| own.value.eq_ignore_ascii_case(name))
    }
}

/// Reads the outermost SELECT.
pub(super) fn outputs(body: &Body<'_>, level: &Level<'_>, filter: &TimeRef) -> Result<Outputs, Reason> {
    let select = body.select;
    if select.qualify.is_some() {
        return Err(reason::QUALIFY);
    }
    let by = match &select.group_by {
        GroupByExpr::All(modifiers) if modifiers.is_empty() => None,
        GroupByExpr::Expressions(by, modifiers) if modifiers.is_empty() => Some(&by[..]),
        _ => return Err(reason::GROUPING_SETS),
    };
    let sets = |expr: &Expr| matches!(expr, Expr::Rollup(_) | Expr::Cube(_) | Expr::GroupingSets(_));
    if by.is_some_and(|by| by.iter().any(sets)) {
        return Err(reason::GROUPING_SETS);
    }
    let mut items = Vec::new();
    let mut stars = false;
    for item in &select.projection {
        let (expr, name) = match item {
            SelectItem::UnnamedExpr(expr) => (expr, implied_name(expr)),
            SelectItem::ExprWithAlias { expr, alias } => (expr, Some(alias)),
            SelectItem::ExprWithAliases { .. } => return Err(reason::ODD_SYNTAX),
            SelectItem::Wildcard(_) | SelectItem::QualifiedWildcard(..) => {
                stars = true;
                continue;
            }
        };
        items.push(Item { expr, name, bucket: level.bucketing(expr)? });
    }
    let bucketed = items.iter().any(|item| item.bucket.is_some());
    if bucketed {
        if stars {
            return Err(reason::WILDCARD_OUTPUT);
        }
        return buckets(body, level, &items, by).map(Outputs::Buckets);
    }
    rows::rows(body, level, (&items, stars), by, filter)
}

fn buckets(body: &Body<'_>, level: &Level<'_>, items: &[Item<'_>], by: Option<&[Expr]>) -> Result<Buckets, Reason> {
    let select = body.select;
    let found: Vec<_> = items.iter().enumerate().filter_map(|(at, item)| Some((at, item.bucket.clone()?))).collect();
    let [(bucket_output, bucket)] = &found[..] else { return Err(reason::TWO_BUCKETS) };
    if level.fact.bucket.as_ref().is_some_and(|inner| inner != bucket) {
        return Err(reason::TWO_BUCKETS);
    }
    let is_bucket = |expr: &Expr| match level.bucketing(expr)? {
        Some(other) if other != *bucket => Err(reason::TWO_BUCKETS),
        other => Ok(other.is_some()),
    };
    let is_marker = |expr: &Expr| level.origin(expr) != Some(Origin::Bucket);
    let mut markers = usize::from(level.fact.bucket.is_some());
    markers += usize::from(is_marker(items[*bucket_output].expr));
    let distinct = matches!(select.distinct, Some(Distinct::Distinct));
    let mut groups = vec![false; items.len()];
    let (mut grouped, mut keyed) = (false, true);
    for expr in by.unwrap_or_default() {
        let expr = bare(expr);
        let output = output_of(expr, items);
        if let Some(at) = output {
            groups[at] = true;
        }
        let is_bucket_expr = is_bucket(expr)?;
        markers += usize::from(is_bucket_expr && is_marker(expr));
        grouped |= is_bucket_expr || output == Some(*bucket_output);
        keyed &= is_bucket_expr || output.is_some();
    }
    let all = by.is_none() || distinct && by.is_some_and(<[Expr]>::is_empty);
    if all {
        grouped = true;
        for (at, item) in items.iter().enumerate() {
            let census = Census::of(item.expr);
            groups[at] = distinct || !census.aggregates && census.windows.is_empty();
        }
    }
    if !grouped {
        return Err(reason::BUCKET_NOT_GROUPED);
    }
    let windows = Census::of(select).windows;
    for window in &windows {
        markers += partition_markers(window, select, &is_bucket, &is_marker, 8)?;
    }
    for definition in &select.named_window {
        if let NamedWindowExpr::WindowSpec(spec) = &definition.1 {
            // Counted once for the definition, not for each use.
            markers += marked(spec, &is_bucket, &is_marker)?;
        }
    }
    let (order, order_markers) = order(body.query.order_by.as_ref(), items, &is_bucket, &is_marker, *bucket_output)?;
    markers += order_markers;
    let outputs: Vec<_> = items
        .iter()
        .enumerate()
        .map(|(at, item)| Output {
            name: item.name.map(|name| name.value.clone()),
            role: if at == *bucket_output { Role::Bucket } else { role(item.expr, groups[at]) },
        })
        .collect();
    let derivable = keyed
        && !distinct
        && by.is_some()
        && windows.is_empty()
        && select.having.is_none()
        && level.fact.bucket.is_none()
        && outputs.iter().all(|output| output.role != Role::Other);
    Ok(Buckets { bucket: bucket.clone(), bucket_output: *bucket_output, outputs, order, keyed, derivable, markers })
}

/// The output that GROUP BY or ORDER BY means: by number, by name (an alias goes before a column),
/// or by the same expression.
pub(super) fn output_of(expr: &Expr, items: &[Item<'_>]) -> Option<usize> {
    match expr {
        Expr::Value(value) => match &value.value {
            Value::Number(number, _) => number.parse::<usize>().ok()?.checked_sub(1).filter(|at| *at < items.len()),
            _ => None,
        },
        Expr::Identifier(name) if items.iter().any(|item| item.is_named(&name.value)) => {
            let mut named = items.iter().enumerate().filter(|(_, item)| item.is_named(&name.value));
            let (at, _) = named.next()?;
            named.next().is_none().then_some(at)
        }
        expr => items.iter().position(|item| bare(item.expr) == expr),
    }
}

/// A question about an expression.
pub(super) type Test<'t> = &'t dyn Fn(&Expr) -> Result<bool, Reason>;

fn order(
    order_by: Option<&OrderBy>,
    items: &[Item<'_>],
    is_bucket: Test<'_>,
    is_marker: &dyn Fn(&Expr) -> bool,
    bucket_output: usize,
) -> Result<(Vec<OrderKey>, usize), Reason> {
    let (mut keys, mut markers) = (Vec::new(), 0);
    let Some(order_by) = order_by else { return Ok((keys, 0)) };
    let OrderByKind::Expressions(exprs) = &order_by.kind else { return Err(reason::ODD_SYNTAX) };
    if order_by.interpolate.is_some() || exprs.iter().any(|key| key.with_fill.is_some()) {
        return Err(reason::ODD_SYNTAX);
    }
    for key in exprs {
        let expr = bare(&key.expr);
        let is_bucket_expr = is_bucket(expr)?;
        if !matches!(expr, Expr::Identifier(_)) && reads_an_output(expr, items, is_bucket_expr) {
            return Err(reason::ORDER_BY);
        }
        let output = match output_of(expr, items) {
            Some(output) => output,
            None if is_bucket_expr => bucket_output,
            None => return Err(reason::ORDER_BY),
        };
        // What equals a bucket's expression is a marker; names and numbers are none.
        markers += usize::from(matches!(expr, Expr::Function(_)) && is_bucket_expr && is_marker(expr));
        let descending = key.options.asc == Some(false);
        let nulls_first = key.options.nulls_first.unwrap_or(!descending);
        keys.push(OrderKey { output, descending, nulls_first });
    }
    Ok((keys, markers))
}

/// Whether a name inside an expression of ORDER BY means an output that is not the column of that
/// name: an alias goes before a column there too. The bucket of a bucket is itself.
fn reads_an_output(expr: &Expr, items: &[Item<'_>], is_bucket: bool) -> bool {
    let named = |name: &Ident| items.iter().filter(|item| item.is_named(&name.value)).collect::<Vec<_>>();
    let is_column = |item: &Item<'_>| match bare(item.expr) {
        Expr::Identifier(own) => item.is_named(&own.value),
        _ => is_bucket && item.bucket.is_some(),
    };
    let found = visit_expressions(expr, |expr| match expr {
        Expr::Identifier(name) if !named(name).into_iter().all(is_column) => ControlFlow::Break(()),
        Expr::CompoundIdentifier(path) if path.first().is_some_and(|name| !named(name).is_empty()) => {
            ControlFlow::Break(())
        }
        _ => ControlFlow::Continue(()),
    });
    found.is_break()
}

fn role(expr: &Expr, is_group: bool) -> Role {
    match bare(expr) {
        Expr::Value(_) | Expr::TypedString(_) => Role::Constant,
        Expr::Identifier(name) if name.value.starts_with('@') => Role::Constant,
        _ if is_group => Role::Group,
        Expr::Function(function) => measure(function).map_or(Role::Other, Role::Measure),
        _ => Role::Other,
    }
}

/// A bare aggregate that can be made of its parts.
fn measure(function: &Function) -> Option<Measure> {
    let FunctionArguments::List(list) = &function.args else { return None };
    let all_rows = matches!(&list.args[..], [FunctionArg::Unnamed(FunctionArgExpr::Wildcard)]);
    let one = matches!(&list.args[..], [FunctionArg::Unnamed(FunctionArgExpr::Expr(_))]);
    let distinct = list.duplicate_treatment == Some(DuplicateTreatment::Distinct);
    if distinct || !is_plain(function) {
        return None;
    }
    match short_name(function)?.as_str() {
        "COUNT" if one || all_rows => Some(Measure::Count),
        "COUNTIF" if one => Some(Measure::Count),
        "SUM" if one => Some(Measure::Sum),
        "MIN" if one => Some(Measure::Min),
        "MAX" if one => Some(Measure::Max),
        "AVG" if one => Some(Measure::Average),
        _ => None,
    }
}
