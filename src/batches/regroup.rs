//! Rows of fine buckets made into rows of coarse ones. It is told what each column is, and refuses,
//! by `None`, whatever would not be exactly the answer over the coarse buckets.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{
    Array as _, ArrayRef, ArrowPrimitiveType, AsArray as _, Decimal128Array, Int64Array, PrimitiveArray, RecordBatch,
    UInt32Array, make_comparator,
};
use arrow::compute::{SortOptions, take};
use arrow::datatypes::{DataType, Date32Type, Decimal128Type, Int64Type, TimeUnit, TimestampMicrosecondType};
use arrow::error::ArrowError;
use arrow::row::{OwnedRow, RowConverter, SortField};
use weir_plan::analysis::{Measure, Role};
use weir_plan::extent::DAY;
use weir_plan::{Error, Result, Step, Timestamp};

use super::Batches;

impl Batches {
    /// One row for each bucket of `step` and each group. `roles` are those of the columns: a bucket, of
    /// a step that divides this one, groups and constants, and measures, which are combined.
    ///
    /// `None` where types or values do not allow it: sums of anything but INT64 and NUMERIC, an
    /// overflow, floats to group by, whose equals differ in bits.
    ///
    /// # Errors
    /// `Internal` if Arrow fails.
    pub fn regroup(&self, roles: &[Role], step: Step) -> Result<Option<Self>> {
        let batch = self.concat()?;
        let cannot = |error: ArrowError| Error::internal("buckets cannot be combined").with_source(error);
        let Some(columns) = coarsened(&batch, roles, step) else { return Ok(None) };
        let Groups { of_row, first } = groups(&columns, roles).map_err(cannot)?;
        let combined = columns.iter().zip(roles).map(|(column, role)| match role {
            Role::Measure(Measure::Sum | Measure::Count) => Ok(sum(column, &of_row, first.len())),
            Role::Measure(measure) => extreme(column, &of_row, first.len(), *measure).map(Some),
            Role::Bucket | Role::Group | Role::Constant | Role::Other => take(column, &first, None).map(Some),
        });
        let Some(columns) = combined.collect::<Result<Option<Vec<ArrayRef>>, _>>().map_err(cannot)? else {
            return Ok(None);
        };
        let batch = RecordBatch::try_new(Arc::clone(self.schema()), columns).map_err(cannot)?;
        Self::new(Arc::clone(self.schema()), vec![batch]).map(Some)
    }
}

/// The columns with coarse buckets, where every one can be combined.
fn coarsened(batch: &RecordBatch, roles: &[Role], step: Step) -> Option<Vec<ArrayRef>> {
    if batch.num_columns() != roles.len() {
        return None;
    }
    let columns = batch.columns().iter().zip(roles).map(|(column, role)| match role {
        Role::Bucket => floored(column, step),
        role => can_combine(*role, column.data_type()).then(|| Arc::clone(column)),
    });
    columns.collect()
}

fn can_combine(role: Role, data_type: &DataType) -> bool {
    let is_exact = matches!(data_type, DataType::Int64 | DataType::Decimal128(..));
    let is_time = matches!(data_type, DataType::Date32 | DataType::Timestamp(TimeUnit::Microsecond, _));
    match role {
        Role::Group | Role::Constant => {
            let is_plain = matches!(data_type, DataType::Utf8 | DataType::Binary | DataType::Boolean);
            is_exact || is_time || is_plain
        }
        Role::Measure(Measure::Sum) => is_exact,
        Role::Measure(Measure::Count) => *data_type == DataType::Int64,
        Role::Measure(Measure::Min | Measure::Max) => is_exact || is_time,
        Role::Measure(Measure::Average) | Role::Bucket | Role::Other => false,
    }
}

/// The starts of the coarse buckets that fine ones lie in.
fn floored(column: &ArrayRef, step: Step) -> Option<ArrayRef> {
    let floor = |micros: i64| step.floor(Timestamp::saturating(micros)).micros();
    match column.data_type() {
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            let times: &PrimitiveArray<TimestampMicrosecondType> = column.as_primitive();
            Some(Arc::new(times.unary::<_, TimestampMicrosecondType>(floor).with_data_type(column.data_type().clone())))
        }
        DataType::Date32 => {
            let days: &PrimitiveArray<Date32Type> = column.as_primitive();
            let floor = |day: i32| i32::try_from(floor(i64::from(day) * DAY) / DAY).unwrap_or(day);
            Some(Arc::new(days.unary::<_, Date32Type>(floor)))
        }
        _ => None,
    }
}

/// Which rows become one.
struct Groups {
    /// The group of each row.
    of_row: Vec<usize>,
    /// The first row of each group.
    first: UInt32Array,
}

fn groups(columns: &[ArrayRef], roles: &[Role]) -> Result<Groups, ArrowError> {
    let keys: Vec<ArrayRef> = columns
        .iter()
        .zip(roles)
        .filter(|(_, role)| !matches!(role, Role::Measure(_)))
        .map(|(column, _)| Arc::clone(column))
        .collect();
    let fields = keys.iter().map(|key| SortField::new(key.data_type().clone())).collect();
    let rows = RowConverter::new(fields)?.convert_columns(&keys)?;
    let mut known: HashMap<OwnedRow, usize> = HashMap::new();
    let (mut of_row, mut first) = (Vec::with_capacity(rows.num_rows()), Vec::new());
    for (number, row) in (0_u32..).zip(&rows) {
        let group = *known.entry(row.owned()).or_insert_with(|| {
            first.push(number);
            first.len() - 1
        });
        of_row.push(group);
    }
    Ok(Groups { of_row, first: first.into() })
}

/// The sum of each group, NULL where all its values are; `None` if one overflows its type.
fn sum(column: &ArrayRef, of_row: &[usize], groups: usize) -> Option<ArrayRef> {
    match column.data_type() {
        DataType::Int64 => {
            let sums = sums::<Int64Type>(column, of_row, groups)?;
            let sums = sums.into_iter().map(|sum| sum.map(i64::try_from).transpose());
            Some(Arc::new(sums.collect::<Result<Int64Array, _>>().ok()?))
        }
        DataType::Decimal128(precision, scale) => {
            let sums: Decimal128Array = sums::<Decimal128Type>(column, of_row, groups)?.into_iter().collect();
            let sums = sums.with_precision_and_scale(*precision, *scale).ok()?;
            sums.validate_decimal_precision(*precision).ok()?;
            Some(Arc::new(sums))
        }
        _ => None,
    }
}

fn sums<T>(column: &ArrayRef, of_row: &[usize], groups: usize) -> Option<Vec<Option<i128>>>
where
    T: ArrowPrimitiveType<Native: Into<i128>>,
{
    let mut sums: Vec<Option<i128>> = vec![None; groups];
    for (value, group) in column.as_primitive::<T>().iter().zip(of_row) {
        if let Some(value) = value {
            sums[*group] = Some(sums[*group].unwrap_or(0).checked_add(value.into())?);
        }
    }
    Some(sums)
}

/// The least or the greatest value of each group, NULL where all are.
fn extreme(column: &ArrayRef, of_row: &[usize], groups: usize, measure: Measure) -> Result<ArrayRef, ArrowError> {
    let options = SortOptions { descending: measure == Measure::Max, nulls_first: false };
    let compare = make_comparator(column, column, options)?;
    let mut best: Vec<Option<u32>> = vec![None; groups];
    for ((number, group), row) in (0_u32..).zip(of_row).zip(0_usize..) {
        let is_better = best[*group].is_none_or(|other| compare(row, other as usize).is_lt());
        if column.is_valid(row) && is_better {
            best[*group] = Some(number);
        }
    }
    take(column, &UInt32Array::from(best), None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batches::samples::{batches, utc};
    use arrow::array::{Float64Array, StringArray};

    const TEN: &str = "10s";
    const ROLES: [Role; 5] = [
        Role::Bucket,
        Role::Group,
        Role::Measure(Measure::Sum),
        Role::Measure(Measure::Min),
        Role::Measure(Measure::Max),
    ];

    fn step(text: &str) -> Step {
        text.parse().unwrap()
    }

    fn numbers(numbers: &[Option<i64>]) -> ArrayRef {
        Arc::new(Int64Array::from(numbers.to_vec()))
    }

    fn numeric(numbers: &[Option<i128>]) -> ArrayRef {
        Arc::new(Decimal128Array::from(numbers.to_vec()).with_precision_and_scale(38, 9).unwrap())
    }

    fn table(times: &[i64], names: &[Option<&str>], values: &ArrayRef) -> Batches {
        let names: ArrayRef = Arc::new(StringArray::from(names.to_vec()));
        let columns = ["sum", "min", "max"].map(|name| (name, Arc::clone(values)));
        batches([vec![("time", utc(times)), ("name", names)], columns.to_vec()].concat())
    }

    #[test]
    fn groups_of_a_coarse_bucket_are_combined_and_nulls_are_a_group() {
        let values = numbers(&[Some(5), Some(-1), None, Some(7), None, Some(2)]);
        let names = [Some("a"), None, Some("a"), Some("a"), Some("b"), None];
        let fine = table(&[10, 10, 15, 20, 15, 15], &names, &values);
        let coarse = fine.regroup(&ROLES, step(TEN)).unwrap().unwrap();
        let names: ArrayRef = Arc::new(StringArray::from(vec![Some("a"), None, Some("a"), Some("b")]));
        let expected = batches(vec![
            ("time", utc(&[10, 10, 20, 10])),
            ("name", names),
            ("sum", numbers(&[Some(5), Some(1), Some(7), None])),
            ("min", numbers(&[Some(5), Some(-1), Some(7), None])),
            ("max", numbers(&[Some(5), Some(2), Some(7), None])),
        ]);
        assert_eq!(coarse.concat().unwrap(), expected.concat().unwrap());
    }

    #[test]
    fn sums_that_fit_are_exact_and_others_are_refused() {
        let check = |values: ArrayRef, expected: Option<ArrayRef>| {
            let times: Vec<i64> = (0..i64::try_from(values.len()).unwrap()).collect();
            let fine = table(&times, &vec![None; values.len()], &values);
            let coarse = fine.regroup(&ROLES, step("1m")).unwrap();
            assert_eq!(coarse.map(|coarse| Arc::clone(coarse.concat().unwrap().column(2))), expected);
        };
        check(numbers(&[Some(i64::MAX), Some(1), Some(-1)]), Some(numbers(&[Some(i64::MAX)])));
        check(numbers(&[Some(i64::MAX), Some(1)]), None);
        check(numbers(&[Some(i64::MIN), Some(-1)]), None);
        let most = 10_i128.pow(38) - 1;
        check(numeric(&[Some(most - 1), Some(1), None]), Some(numeric(&[Some(most)])));
        check(numeric(&[Some(most), Some(1)]), None);
    }

    #[test]
    fn what_would_not_be_exact_is_refused() {
        let floats: ArrayRef = Arc::new(Float64Array::from(vec![1.0]));
        let check = |column: &ArrayRef, role: Role, expected: bool| {
            let fine = batches(vec![("time", utc(&[10])), ("value", Arc::clone(column))]);
            let coarse = fine.regroup(&[Role::Bucket, role], step(TEN)).unwrap();
            assert_eq!(coarse.is_some(), expected, "{role:?} of {}", column.data_type());
        };
        let ints = numbers(&[Some(1)]);
        for role in [Role::Group, Role::Constant, Role::Measure(Measure::Sum), Role::Measure(Measure::Max)] {
            check(&floats, role, false);
            check(&ints, role, true);
        }
        check(&ints, Role::Measure(Measure::Average), false);
        check(&ints, Role::Other, false);
        check(&numeric(&[Some(1)]), Role::Measure(Measure::Count), false);
        let fine = batches(vec![("time", utc(&[10])), ("value", ints)]);
        assert!(fine.regroup(&[Role::Bucket], step(TEN)).unwrap().is_none(), "a column more than was told");
    }

    #[test]
    fn days_become_weeks_and_months_and_nothing_stays_nothing() {
        let days: ArrayRef = Arc::new(arrow::array::Date32Array::from(vec![19_783, 19_784, 19_790, 19_783]));
        let fine = batches(vec![("day", days), ("n", numbers(&[Some(1), Some(2), Some(4), None]))]);
        let coarse = |text: &str| {
            let roles = [Role::Bucket, Role::Measure(Measure::Count)];
            let coarse = fine.regroup(&roles, step(text)).unwrap().unwrap().concat().unwrap();
            let counts = coarse.column(1).as_primitive::<Int64Type>().values().to_vec();
            (coarse.column(0).as_primitive::<Date32Type>().values().to_vec(), counts)
        };
        // The first of March 2024 is day 19,783, a Friday; weeks begin on Thursdays as the epoch did.
        assert_eq!(coarse("1w"), (vec![19_782, 19_789], vec![3, 4]));
        assert_eq!(coarse("1M"), (vec![19_783], vec![7]));
        let nothing = Batches::empty(Arc::clone(fine.schema()));
        let roles = [Role::Bucket, Role::Measure(Measure::Count)];
        assert_eq!(nothing.regroup(&roles, step("1w")).unwrap().unwrap().num_rows(), 0);
    }
}
