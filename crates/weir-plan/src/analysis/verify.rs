//! A second look, at the expanded text: that the time filter became the two comparisons that the
//! analysis of the template took it for, and nothing else bounds the time that way.

use sqlparser::ast::{BinaryOperator, DataType, Expr, Select, Visit, Visitor};
use std::ops::ControlFlow;

use super::mask::{self, Masked};
use super::reason;
use super::walk::{Census, bare, conjuncts};
use super::{Reason, TimeRef, parse};
use crate::extent::{DAY, Extent, Timestamp};

/// Checks that `expanded` is `template` with its filter expanded to `range`: the same number of
/// queries, and one SELECT whose WHERE holds, among the conditions that AND joins, exactly one
/// lower and one upper bound of that range on the filtered column.
///
/// # Errors
/// A reason to answer whole.
pub fn verify(template: &str, expanded: &str, filter: &TimeRef, range: Extent) -> Result<(), Reason> {
    let before = Census::of(&*parse(&mask::mask(template)?.sql)?);
    let masked = mask::mask(expanded)?;
    let query = parse(&masked.sql)?;
    let after = Census::of(&*query);
    if after.queries != before.queries || after.filters + after.groups > 0 {
        return Err(reason::EXPANSION_DIFFERS);
    }
    let mut bounds = Bounds { masked: &masked, filter, range, found: [0, 0], top: [0, 0] };
    let _: ControlFlow<()> = (*query).visit(&mut bounds);
    if bounds.found == [1, 1] && bounds.top == [1, 1] { Ok(()) } else { Err(reason::EXPANSION_DIFFERS) }
}

/// Counts lower and upper bounds: anywhere, and among the top conjuncts of a WHERE.
struct Bounds<'a> {
    masked: &'a Masked,
    filter: &'a TimeRef,
    range: Extent,
    found: [usize; 2],
    top: [usize; 2],
}

impl Bounds<'_> {
    /// Whether an expression is the lower (0) or upper (1) bound.
    fn bound(&self, expr: &Expr) -> Option<usize> {
        let Expr::BinaryOp { left, op, right } = bare(expr) else { return None };
        let (which, point) = match op {
            BinaryOperator::GtEq => (0, self.range.start()),
            BinaryOperator::Lt => (1, self.range.end()),
            _ => return None,
        };
        (left.to_string() == self.filter.text && self.is_literal(right, which, point)).then_some(which)
    }

    fn is_literal(&self, expr: &Expr, which: usize, point: Timestamp) -> bool {
        let Expr::TypedString(typed) = bare(expr) else { return false };
        let number = typed.value.value.clone().into_string().and_then(|text| text.strip_prefix('s')?.parse().ok());
        let Some(text) = number.and_then(|number: usize| self.masked.texts.get(number)) else { return false };
        let text = text.trim_matches(['\'', '"']);
        let is_point = |text: &str| Timestamp::parse(text, point).is_ok_and(|read| read == point);
        match typed.data_type {
            DataType::Timestamp(..) => is_point(text),
            DataType::Date => {
                let day = if which == 0 { point.floor(DAY) } else { point.ceil(DAY) };
                text.parse() == Ok(day.date())
            }
            DataType::Datetime(_) => is_point(&format!("{}Z", text.replace(' ', "T"))),
            _ => false,
        }
    }
}

impl Visitor for Bounds<'_> {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        // Brackets are visited as well as what is inside them.
        if let Some(which) = self.bound(expr).filter(|_| !matches!(expr, Expr::Nested(_))) {
            self.found[which] += 1;
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<()> {
        for part in select.selection.as_ref().map(conjuncts).unwrap_or_default() {
            if let Some(which) = self.bound(part) {
                self.top[which] += 1;
            }
        }
        ControlFlow::Continue(())
    }
}
