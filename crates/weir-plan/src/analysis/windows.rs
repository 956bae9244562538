//! Window functions: whether their windows stay inside a bucket.

use sqlparser::ast::{Expr, Ident, NamedWindowExpr, Select, WindowSpec, WindowType};

use super::outputs::Test;
use super::{Reason, reason};

/// Refuses a window that reaches over buckets. Gives the count of markers in its own text.
pub(super) fn partition_markers(
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
pub(super) fn marked(
    spec: &WindowSpec,
    is_bucket: Test<'_>,
    is_marker: &dyn Fn(&Expr) -> bool,
) -> Result<usize, Reason> {
    let order = spec.order_by.iter().map(|key| &key.expr);
    let mut markers = 0;
    for expr in spec.partition_by.iter().chain(order) {
        markers += usize::from(is_bucket(expr)? && is_marker(expr));
    }
    Ok(markers)
}
