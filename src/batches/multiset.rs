//! Whether two tables hold the same rows, whatever their order.

use std::cmp::Ordering;

use arrow::array::{Array, AsArray, Float64Array, RecordBatch};
use arrow::datatypes::{DataType, Float64Type, Schema};
use arrow::row::{RowConverter, Rows, SortField};
use weir_plan::{Error, Result};

use super::Batches;

/// By how much of their size floats may differ: sums depend on the order of their terms.
const TOLERANCE: f64 = 1e-9;

impl Batches {
    /// Whether both have the same columns and rows, in any order; floats are the same up to 1e-9 of
    /// their size. Rows are paired by their other columns, then by their floats in order.
    ///
    /// # Errors
    /// `Internal` for columns that cannot be compared.
    pub fn has_same_rows(&self, other: &Self) -> Result<bool> {
        let kinds = |batches: &Self| -> Vec<(String, DataType)> {
            let fields = batches.schema().fields().iter();
            fields.map(|field| (field.name().clone(), field.data_type().clone())).collect()
        };
        if kinds(self) != kinds(other) || self.num_rows() != other.num_rows() {
            return Ok(false);
        }
        let mut converter = converter(self.schema())?;
        let (one, other) = (self.concat()?, other.concat()?);
        let (one, other) = (Sorted::new(&one, &mut converter)?, Sorted::new(&other, &mut converter)?);
        Ok(one.order.iter().zip(&other.order).all(|(row, opposite)| one.is_same(*row, &other, *opposite)))
    }
}

fn is_float(data_type: &DataType) -> bool {
    *data_type == DataType::Float64
}

fn converter(schema: &Schema) -> Result<RowConverter> {
    let exact = schema.fields().iter().filter(|field| !is_float(field.data_type()));
    RowConverter::new(exact.map(|field| SortField::new(field.data_type().clone())).collect()).map_err(incomparable)
}

fn incomparable(error: arrow::error::ArrowError) -> Error {
    Error::internal("rows cannot be compared").with_source(error)
}

/// Rows in an order that equal tables share.
struct Sorted<'a> {
    /// All other columns; `None` where there are only floats.
    exact: Option<Rows>,
    floats: Vec<&'a Float64Array>,
    order: Vec<usize>,
}

impl<'a> Sorted<'a> {
    fn new(batch: &'a RecordBatch, converter: &mut RowConverter) -> Result<Self> {
        let (floats, exact): (Vec<_>, Vec<_>) = batch.columns().iter().partition(|it| is_float(it.data_type()));
        let exact: Vec<_> = exact.into_iter().cloned().collect();
        let rows = (!exact.is_empty()).then(|| converter.convert_columns(&exact)).transpose().map_err(incomparable)?;
        let floats = floats.into_iter().map(AsArray::as_primitive::<Float64Type>).collect();
        let mut sorted = Self { exact: rows, floats, order: (0..batch.num_rows()).collect() };
        let mut order = std::mem::take(&mut sorted.order);
        order.sort_unstable_by(|one, other| sorted.cmp(*one, *other));
        sorted.order = order;
        Ok(sorted)
    }

    fn cmp(&self, one: usize, other: usize) -> Ordering {
        let exact = self.exact.as_ref().map_or(Ordering::Equal, |rows| rows.row(one).cmp(&rows.row(other)));
        self.floats.iter().fold(exact, |order, column| {
            order.then_with(|| {
                let (one, other) = (number(column, one), number(column, other));
                one.is_some().cmp(&other.is_some()).then(one.unwrap_or(0.0).total_cmp(&other.unwrap_or(0.0)))
            })
        })
    }

    fn is_same(&self, row: usize, other: &Self, opposite: usize) -> bool {
        let is_exact = match (&self.exact, &other.exact) {
            (Some(rows), Some(others)) => rows.row(row) == others.row(opposite),
            (one, another) => one.is_none() && another.is_none(),
        };
        let mut floats = self.floats.iter().zip(&other.floats);
        is_exact && floats.all(|(column, opposed)| is_close(number(column, row), number(opposed, opposite)))
    }
}

fn number(column: &Float64Array, row: usize) -> Option<f64> {
    column.is_valid(row).then(|| column.value(row))
}

#[expect(clippy::float_cmp, reason = "equal numbers, infinities among them, are surely close")]
fn is_close(one: Option<f64>, other: Option<f64>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => {
            one == other
                || (one.is_nan() && other.is_nan())
                || (one - other).abs() <= TOLERANCE * one.abs().max(other.abs()) && (one - other).is_finite()
        }
        (one, other) => one.is_none() && other.is_none(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::batches::samples::{batches, every_type};
    use arrow::array::{ArrayRef, Int64Array, StringArray};

    fn table(names: &[Option<&str>], numbers: &[Option<f64>]) -> Batches {
        let names: ArrayRef = Arc::new(StringArray::from(names.to_vec()));
        let numbers: ArrayRef = Arc::new(Float64Array::from(numbers.to_vec()));
        batches(vec![("name", names), ("number", numbers)])
    }

    #[test]
    fn rows_are_the_same_in_any_order_and_counted() {
        let check = |one: &Batches, other: &Batches, expected: bool| {
            assert_eq!(one.has_same_rows(other).unwrap(), expected, "{one:?} {other:?}");
            assert_eq!(other.has_same_rows(one).unwrap(), expected, "{other:?} {one:?}");
        };
        let (a, b) = (Some("a"), Some("b"));
        let (one, two) = (Some(1.0), Some(2.0));
        check(&table(&[a, b], &[one, two]), &table(&[b, a], &[two, one]), true);
        check(&table(&[a, b], &[one, two]), &table(&[b, a], &[one, two]), false);
        check(&table(&[a, a, b], &[one, one, two]), &table(&[a, b, b], &[one, two, two]), false);
        check(&table(&[a], &[one]), &table(&[a, a], &[one, one]), false);
        check(&table(&[None], &[None]), &table(&[None], &[None]), true);
        check(&table(&[None], &[Some(0.0)]), &table(&[None], &[None]), false);
        check(&table(&[a], &[Some(f64::NAN)]), &table(&[a], &[Some(f64::NAN)]), true);
        check(&table(&[a], &[Some(f64::INFINITY)]), &table(&[a], &[Some(f64::INFINITY)]), true);
        check(&table(&[a], &[Some(f64::INFINITY)]), &table(&[a], &[Some(1e300)]), false);
        check(&every_type(), &every_type(), true);
    }

    #[test]
    fn floats_may_differ_by_their_last_digits() {
        let check = |one: f64, other: f64, expected: bool| {
            let same = table(&[None], &[Some(one)]).has_same_rows(&table(&[None], &[Some(other)])).unwrap();
            assert_eq!(same, expected, "{one} {other}");
        };
        check(0.1 + 0.2, 0.3, true);
        check(1e9, 1e9 + 0.9, true);
        check(1e9, 1e9 + 1.1, false);
        check(0.0, 1e-300, false);
        check(-1.0, 1.0, false);
    }

    #[test]
    fn other_columns_are_other_tables() {
        let whole: ArrayRef = Arc::new(Int64Array::from(vec![1]));
        let float: ArrayRef = Arc::new(Float64Array::from(vec![1.0]));
        let table = |name: &str, column: &ArrayRef| batches(vec![(name, Arc::clone(column))]);
        assert!(table("n", &float).has_same_rows(&table("n", &float)).unwrap());
        assert!(!table("n", &float).has_same_rows(&table("n", &whole)).unwrap());
        assert!(!table("n", &float).has_same_rows(&table("m", &float)).unwrap());
    }
}
