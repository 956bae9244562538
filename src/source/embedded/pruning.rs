//! Which partitions can hold a row that a filter keeps.
//!
//! As in `BigQuery`, only comparisons of the partitioning column itself (or of its DATE) with a
//! constant prune; whatever is not understood keeps the partition.
//! Source: <https://cloud.google.com/bigquery/docs/querying-partitioned-tables>.

use std::sync::Arc;

use datafusion::arrow::datatypes::DataType;
use datafusion::common::ScalarValue;
use datafusion::logical_expr::{Between, BinaryExpr, Expr, Operator, expr::InList};
use weir_plan::extent::DAY;

use super::partition::{Partition, PartitionKey, partition_last};
use super::table::TableRows;

/// The partitions that survive all of `filters`, in order.
pub(super) fn surviving<'a>(table: &'a TableRows, filters: &[Expr]) -> Vec<(PartitionKey, &'a Arc<Partition>)> {
    let all = table.partitions().iter();
    let Some((column, unit)) = table.pruning() else {
        return all.map(|(key, partition)| (*key, partition)).collect();
    };
    all.filter(|(key, _)| {
        let range = key.map(|start| (start, partition_last(start, unit)));
        let partition = Span { column: column.name(), is_date: *column.data_type() == DataType::Date32, range };
        filters.iter().all(|filter| partition.may_keep(filter))
    })
    .map(|(key, partition)| (*key, partition))
    .collect()
}

/// The first and the last of `days` (µs) whose rows can survive all of `filters`, where there are any;
/// of a table without partitions all.
pub(super) fn days(table: &TableRows, filters: &[Expr], days: impl Iterator<Item = i64>) -> Option<(i64, i64)> {
    let column = table.pruning().map(|(column, _)| column);
    let survives = |day: &i64| {
        column.is_none_or(|column| {
            let range = Some((*day, *day + DAY - 1));
            let span = Span { column: column.name(), is_date: *column.data_type() == DataType::Date32, range };
            filters.iter().all(|filter| span.may_keep(filter))
        })
    };
    days.filter(survives).fold(None, |hull: Option<(i64, i64)>, day| {
        Some(hull.map_or((day, day), |(first, last)| (first.min(day), last.max(day))))
    })
}

/// What is known of the partitioning column in one partition.
struct Span<'a> {
    column: &'a str,
    is_date: bool,
    /// First and last microsecond; `None` where the column is NULL.
    range: Option<(i64, i64)>,
}

impl Span<'_> {
    fn may_keep(&self, filter: &Expr) -> bool {
        match filter {
            Expr::BinaryExpr(BinaryExpr { left, op: Operator::And, right }) => {
                self.may_keep(left) && self.may_keep(right)
            }
            Expr::BinaryExpr(BinaryExpr { left, op: Operator::Or, right }) => {
                self.may_keep(left) || self.may_keep(right)
            }
            Expr::BinaryExpr(BinaryExpr { left, op, right }) => {
                if let Some((subject, point)) = self.subject(left).zip(constant(right)) {
                    self.may_compare(subject, *op, point)
                } else if let Some((subject, op, point)) = swapped(self.subject(right), *op, constant(left)) {
                    self.may_compare(subject, op, point)
                } else {
                    true
                }
            }
            Expr::Between(Between { expr, negated: false, low, high }) => {
                let Some(subject) = self.subject(expr) else { return true };
                constant(low).is_none_or(|point| self.may_compare(subject, Operator::GtEq, point))
                    && constant(high).is_none_or(|point| self.may_compare(subject, Operator::LtEq, point))
            }
            Expr::InList(InList { expr, list, negated: false }) => {
                let Some(subject) = self.subject(expr) else { return true };
                list.iter()
                    .any(|item| constant(item).is_none_or(|point| self.may_compare(subject, Operator::Eq, point)))
            }
            Expr::IsNull(expr) if self.is_column(expr) => self.range.is_none(),
            Expr::IsNotNull(expr) if self.is_column(expr) => self.range.is_some(),
            Expr::Literal(ScalarValue::Boolean(keep), _) => *keep == Some(true),
            Expr::Alias(alias) => self.may_keep(&alias.expr),
            _ => true,
        }
    }

    /// How an expression depends on the partitioning column, where it is one that prunes.
    fn subject(&self, expr: &Expr) -> Option<Subject> {
        if self.is_column(expr) {
            return Some(Subject::Itself);
        }
        let (argument, to) = match expr {
            Expr::Cast(cast) => (&*cast.expr, cast.field.data_type().clone()),
            Expr::ScalarFunction(call) => match (call.func.name(), &*call.args) {
                // Not `$date_in`: the days of another zone lie across our partitions.
                ("$cast_date", [argument, ..]) => (argument, DataType::Date32),
                ("$cast_timestamp" | "$cast_datetime", [argument, ..]) if self.is_date => {
                    return self.subject(argument);
                }
                _ => return None,
            },
            Expr::Alias(alias) => return self.subject(&alias.expr),
            _ => return None,
        };
        match to {
            _ if !self.is_column(argument) => None,
            DataType::Date32 => Some(Subject::Date),
            DataType::Timestamp(..) => Some(Subject::Itself),
            _ => None,
        }
    }

    fn is_column(&self, expr: &Expr) -> bool {
        matches!(expr, Expr::Column(column) if column.name == self.column)
    }

    fn may_compare(&self, subject: Subject, op: Operator, point: Point) -> bool {
        // A comparison with NULL, or of one, keeps nothing.
        let (Some((first, last)), Point(Some(point))) = (self.range, point) else {
            return matches!(op, Operator::IsDistinctFrom | Operator::IsNotDistinctFrom);
        };
        let (first, last) = match subject {
            Subject::Date => (first.div_euclid(DAY) * DAY, last.div_euclid(DAY) * DAY),
            Subject::Itself if self.is_date => (first, last.div_euclid(DAY) * DAY),
            Subject::Itself => (first, last),
        };
        match op {
            Operator::Eq => first <= point && point <= last,
            Operator::Lt => first < point,
            Operator::LtEq => first <= point,
            Operator::Gt => last > point,
            Operator::GtEq => last >= point,
            Operator::NotEq => first != last || first != point,
            _ => true,
        }
    }
}

#[derive(Clone, Copy)]
enum Subject {
    Itself,
    Date,
}

fn swapped(subject: Option<Subject>, op: Operator, point: Option<Point>) -> Option<(Subject, Operator, Point)> {
    Some((subject?, op.swap()?, point?))
}

/// Microseconds of a constant time; `None` is NULL.
#[derive(Clone, Copy)]
struct Point(Option<i64>);

fn constant(expr: &Expr) -> Option<Point> {
    match expr {
        Expr::Literal(value, _) if value.is_null() => Some(Point(None)),
        Expr::Literal(ScalarValue::Date32(Some(day)), _) => Some(Point(Some(i64::from(*day) * DAY))),
        Expr::Literal(ScalarValue::TimestampMicrosecond(point, _), _) => Some(Point(*point)),
        _ => None,
    }
}
