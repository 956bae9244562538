//! The outermost SELECT: what it gives for each bucket (delta) or row (rows), and in which order.

use sqlparser::ast::{
    DuplicateTreatment, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, GroupByExpr, Ident,
    NamedWindowExpr, OrderBy, OrderByKind, Select, SelectItem, SelectItemQualifiedWildcardKind, Value, WindowSpec,
    WindowType,
};

use super::level::{Bucketing, Level, Origin};
use super::read::{Body, implied_name, star};
use super::reason;
use super::walk::{Census, bare, is_plain, short_name};
use super::{Measure, OrderKey, Output, Reason, Role, TimeRef};

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
struct Item<'q> {
    expr: &'q Expr,
    name: Option<&'q Ident>,
    bucket: Option<Bucketing>,
}

impl Item<'_> {
    fn is_named(&self, name: &str) -> bool {
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
    rows(body, level, (&items, stars), by, filter)
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
    let distinct = matches!(select.distinct, Some(sqlparser::ast::Distinct::Distinct));
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
fn output_of(expr: &Expr, items: &[Item<'_>]) -> Option<usize> {
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

type Test<'t> = &'t dyn Fn(&Expr) -> Result<bool, Reason>;

/// Refuses a window that reaches over buckets. Gives the count of markers in its own text.
fn partition_markers(
    window: &WindowType,
    select: &Select,
    is_bucket: Test<'_>,
    is_marker: &dyn Fn(&Expr) -> bool,
    depth: usize,
) -> Result<usize, Reason> {
    let depth = depth.checked_sub(1).ok_or(reason::WINDOW)?;
    let (spec, base) = match window {
        WindowType::WindowSpec(spec) => (Some(spec), spec.window_name.as_ref()),
        WindowType::NamedWindow(name) => (None, Some(name)),
    };
    if let Some(spec) = spec {
        for expr in &spec.partition_by {
            if is_bucket(expr)? {
                return marked(spec, is_bucket, is_marker);
            }
        }
    }
    let base = base.ok_or(reason::WINDOW)?;
    let same = |name: &Ident| name.value.eq_ignore_ascii_case(&base.value);
    let mut definitions = select.named_window.iter().filter(|definition| same(&definition.0));
    let (Some(definition), None) = (definitions.next(), definitions.next()) else { return Err(reason::WINDOW) };
    let base = match &definition.1 {
        NamedWindowExpr::NamedWindow(name) => WindowType::NamedWindow(name.clone()),
        NamedWindowExpr::WindowSpec(spec) => WindowType::WindowSpec(spec.clone()),
    };
    partition_markers(&base, select, is_bucket, is_marker, depth)?;
    spec.map_or(Ok(0), |spec| marked(spec, is_bucket, is_marker))
}

/// Markers of the bucket that a window is partitioned or ordered by.
fn marked(spec: &WindowSpec, is_bucket: Test<'_>, is_marker: &dyn Fn(&Expr) -> bool) -> Result<usize, Reason> {
    let order = spec.order_by.iter().map(|key| &key.expr);
    let mut markers = 0;
    for expr in spec.partition_by.iter().chain(order) {
        markers += usize::from(is_bucket(expr)? && is_marker(expr));
    }
    Ok(markers)
}

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
        let output = match output_of(expr, items) {
            Some(output) => output,
            None if is_bucket(expr)? => bucket_output,
            None => return Err(reason::ORDER_BY),
        };
        // What equals a bucket's expression is a marker; names and numbers are none.
        markers += usize::from(matches!(expr, Expr::Function(_)) && is_bucket(expr)? && is_marker(expr));
        let descending = key.options.asc == Some(false);
        let nulls_first = key.options.nulls_first.unwrap_or(!descending);
        keys.push(OrderKey { output, descending, nulls_first });
    }
    Ok((keys, markers))
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

fn rows(
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
    if matches!(select.distinct, Some(sqlparser::ast::Distinct::Distinct)) {
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
        Expr::Value(_) if stars => false,
        Expr::Value(_) => output_of(expr, items).is_some_and(|at| items[at].is_named(time_output)),
        expr => level.origin(expr).as_ref() == Some(time),
    };
    if is_time { Ok(key.options.asc == Some(false)) } else { Err(reason::ORDER_BY) }
}
