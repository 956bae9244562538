//! A SELECT of raw rows: its time among the outputs, and its order.

use sqlparser::ast::{Distinct, Expr, OrderBy, OrderByKind, Select, SelectItem, SelectItemQualifiedWildcardKind};

use super::level::{Level, Origin};
use super::outputs::{Item, Outputs, output_of};
use super::read::{Body, star};
use super::walk::{Census, bare};
use super::{Reason, TimeRef, reason};

/// Reads a SELECT without a bucket; `stars` says that `*` is among its outputs besides the items.
pub(super) fn rows(
    body: &Body<'_>,
    level: &Level<'_>,
    (items, stars): (&[Item<'_>], bool),
    by: Option<&[Expr]>,
    filter: &TimeRef,
) -> Result<Outputs, Reason> {
    let select = body.select;
    let census = Census::of(select);
    if census.groups > 0 {
        let grouped = by.is_some_and(|by| by.iter().any(|expr| matches!(level.bucketing(expr), Ok(Some(_)))));
        return Err(if grouped { reason::BUCKET_NOT_PROJECTED } else { reason::BUCKET_ELSEWHERE });
    }
    if level.fact.bucket.is_some() {
        return Err(reason::BUCKET_NOT_PROJECTED);
    }
    if by.is_none_or(|by| !by.is_empty()) {
        return Err(reason::NO_BUCKET);
    }
    if census.aggregates || select.having.is_some() {
        return Err(reason::AGGREGATE_WITHOUT_BUCKET);
    }
    if matches!(select.distinct, Some(Distinct::Distinct)) {
        return Err(reason::DISTINCT);
    }
    if !census.windows.is_empty() {
        return Err(reason::WINDOW);
    }
    // Rows are cropped by their time, so it must be what was filtered, as it is in the source.
    let time = Origin::Column(filter.column.clone());
    if filter.cast
        || level.fact.descriptor.time_column.as_ref().is_none_or(|name| !name.eq_ignore_ascii_case(&filter.column))
    {
        return Err(reason::FILTER_COLUMN);
    }
    let time_output = time_output(select, level, items, &time)?;
    let descending = match body.query.order_by.as_ref() {
        None => None,
        Some(order_by) => Some(time_order(order_by, level, items, &time, (&time_output, stars))?),
    };
    Ok(Outputs::Rows { time_output, descending })
}

/// The name of the output that is the bare time column.
fn time_output(select: &Select, level: &Level<'_>, items: &[Item<'_>], time: &Origin) -> Result<String, Reason> {
    let projected = items.iter().find(|item| level.origin(item.expr).as_ref() == Some(time));
    if let Some(name) = projected.and_then(|item| item.name) {
        let unique = items.iter().filter(|item| item.is_named(&name.value)).count() == 1;
        return if unique { Ok(name.value.clone()) } else { Err(reason::NO_BUCKET) };
    }
    for item in &select.projection {
        let options = match item {
            SelectItem::Wildcard(options) => options,
            SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(name), options)
                if level.is_alias(name) =>
            {
                options
            }
            _ => continue,
        };
        let columns = star(options, level)?;
        for name in level.fact.columns.names_of(time) {
            if columns.lookup(&name).as_ref() == Some(time) && !items.iter().any(|item| item.is_named(&name)) {
                return Ok(name);
            }
        }
    }
    Err(reason::NO_BUCKET)
}

/// Whether rows are ordered by their time, the last first.
fn time_order(
    order_by: &OrderBy,
    level: &Level<'_>,
    items: &[Item<'_>],
    time: &Origin,
    (time_output, stars): (&str, bool),
) -> Result<bool, Reason> {
    let OrderByKind::Expressions(exprs) = &order_by.kind else { return Err(reason::ODD_SYNTAX) };
    let [key] = &exprs[..] else { return Err(reason::ORDER_BY) };
    if order_by.interpolate.is_some() || key.with_fill.is_some() {
        return Err(reason::ODD_SYNTAX);
    }
    let expr = bare(&key.expr);
    let is_time = match expr {
        Expr::Identifier(name) if name.value.eq_ignore_ascii_case(time_output) => true,
        // Another output of that name goes before the column.
        Expr::Identifier(name) if items.iter().any(|item| item.is_named(&name.value)) => false,
        Expr::CompoundIdentifier(path)
            if path.first().is_some_and(|name| items.iter().any(|item| item.is_named(&name.value))) =>
        {
            false
        }
        Expr::Value(_) if stars => false,
        Expr::Value(_) => output_of(expr, items).is_some_and(|at| items[at].is_named(time_output)),
        expr => level.origin(expr).as_ref() == Some(time),
    };
    if is_time { Ok(key.options.asc == Some(false)) } else { Err(reason::ORDER_BY) }
}
