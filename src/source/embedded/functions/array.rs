//! Functions of ARRAY that the engine lacks or counts otherwise.

use std::sync::Arc;

use datafusion::arrow::array::builder::{Int64Builder, ListBuilder, PrimitiveBuilder};
use datafusion::arrow::array::new_null_array;
use datafusion::arrow::array::{Array, ArrayRef, UInt32Array};
use datafusion::arrow::compute::{SortOptions, concat, sort_to_indices, take};
use datafusion::arrow::datatypes::{DataType, Date32Type, TimestampMicrosecondType};
use datafusion::common::Result;
use datafusion::common::utils::SingleRowListArrayBuilder;
use datafusion::logical_expr::ScalarUDF;
use weir_plan::extent::DAY;

use super::scalar::{Args, fail, scalar};
use crate::source::embedded::calendar::{self, Part};
use crate::source::embedded::types::{array, timestamp};

/// `BigQuery`'s own limit is 16 MB a row; this keeps a slip from eating the memory.
const MOST_ELEMENTS: usize = 2_000_000;

pub(super) fn all() -> Vec<Arc<ScalarUDF>> {
    vec![
        scalar(
            "array_length",
            |types| of_list(types, |_| DataType::Int64),
            |args| {
                let list = args.lists(0);
                args.to_ints(|row| Ok(list(row).and_then(|list| list.len().try_into().ok())))
            },
        ),
        scalar("$offsets", |types| of_list(types, |_| array(DataType::Int64)), offsets),
        scalar("$element", element_types, element),
        scalar("$quantiles", quantile_types, quantiles),
        scalar("generate_array", |types| series(types.len(), &DataType::Int64), numbers),
        scalar("$generate_dates", |_| spaced(DataType::Date32), dates),
        scalar("$generate_timestamps", |_| spaced(timestamp()), timestamps),
    ]
}

type Types = Option<(Vec<DataType>, DataType)>;

fn list_of(data_type: &DataType) -> Option<DataType> {
    match data_type {
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
            Some(item.data_type().clone())
        }
        _ => None,
    }
}

fn of_list(types: &[DataType], returns: fn(DataType) -> DataType) -> Types {
    let item = list_of(types.first()?)?;
    Some((vec![array(item.clone())], returns(item)))
}

fn element_types(types: &[DataType]) -> Types {
    let item = list_of(types.first()?)?;
    Some((vec![array(item.clone()), DataType::Int64, DataType::Utf8], item))
}

fn quantile_types(types: &[DataType]) -> Types {
    let item = list_of(types.first()?)?;
    Some((vec![array(item.clone()), DataType::Int64], array(item)))
}

fn series(count: usize, of: &DataType) -> Types {
    (2..=3).contains(&count).then(|| (vec![of.clone(); count], array(of.clone())))
}

#[expect(clippy::unnecessary_wraps, reason = "the shape of a rule")]
fn spaced(time: DataType) -> Types {
    Some((vec![time.clone(), time.clone(), DataType::Int64, DataType::Utf8], array(time)))
}

fn offsets(args: &Args) -> Result<ArrayRef> {
    let list = args.lists(0);
    let mut offsets = ListBuilder::new(Int64Builder::new());
    for row in 0..args.rows {
        match list(row) {
            Some(list) => offsets.append_value((0..).map(Some).take(list.len())),
            None => offsets.append_null(),
        }
    }
    Ok(Arc::new(offsets.finish()))
}

/// `array[OFFSET(i)]` and its kin; the third argument is `offset`, `safe_offset`, `ordinal` or
/// `safe_ordinal`.
fn element(args: &Args) -> Result<ArrayRef> {
    let (list, position) = (args.lists(0), args.ints(1));
    let (safe, base) = match args.constant(2) {
        "safe_offset" => (true, 0),
        "ordinal" => (false, 1),
        "safe_ordinal" => (true, 1),
        _ => (false, 0),
    };
    let none = new_null_array(&args.returns, 1);
    let mut elements = Vec::with_capacity(args.rows);
    for row in 0..args.rows {
        let found = match list(row).zip(position(row)) {
            None => none.clone(),
            Some((list, position)) => match usize::try_from(position - base).ok().filter(|index| *index < list.len()) {
                Some(index) => list.slice(index, 1),
                None if safe => none.clone(),
                None => return Err(fail(format!("Array index {position} is out of bounds"))),
            },
        };
        elements.push(found);
    }
    joined(&elements, &args.returns)
}

fn joined(pieces: &[ArrayRef], data_type: &DataType) -> Result<ArrayRef> {
    if pieces.is_empty() {
        return Ok(new_null_array(data_type, 0));
    }
    let pieces: Vec<&dyn Array> = pieces.iter().map(|piece| &**piece).collect();
    Ok(concat(&pieces)?)
}

/// The exact quantiles of an ARRAY: its least value, `count` − 1 values between, its greatest.
fn quantiles(args: &Args) -> Result<ArrayRef> {
    let (list, count) = (args.lists(0), args.ints(1));
    let mut rows = Vec::with_capacity(args.rows);
    for row in 0..args.rows {
        let quantiles =
            list(row).zip(count(row)).map(|(list, count)| quantiles_of(&list, count)).transpose()?.flatten();
        rows.push(match quantiles {
            Some(values) => Arc::new(SingleRowListArrayBuilder::new(values).build_list_array()) as ArrayRef,
            None => new_null_array(&args.returns, 1),
        });
    }
    joined(&rows, &args.returns)
}

fn quantiles_of(list: &ArrayRef, count: i64) -> Result<Option<ArrayRef>> {
    let Some(count) = u32::try_from(count).ok().filter(|count| *count > 0) else {
        return Err(fail("APPROX_QUANTILES takes a positive number of quantiles"));
    };
    let sorted = sort_to_indices(list, Some(SortOptions { descending: false, nulls_first: false }), None)?;
    let Some(last) = (list.len() - list.null_count()).checked_sub(1) else { return Ok(None) };
    let last = u64::try_from(last).unwrap_or(u64::MAX);
    let picks = (0..=u64::from(count)).map(|quantile| {
        let index = (last * quantile + u64::from(count) / 2) / u64::from(count);
        sorted.value(usize::try_from(index).unwrap_or(usize::MAX))
    });
    Ok(Some(take(list, &UInt32Array::from_iter_values(picks), None)?))
}

/// Fills ARRAYs row by row with `next`, which gives each value's successor.
fn fill(first: i64, last: i64, ascending: bool, next: impl Fn(i64, i64) -> Option<i64>) -> Result<Vec<i64>> {
    let mut values = Vec::new();
    let mut index = 0;
    let mut value = Some(first);
    while let Some(current) = value.filter(|value| if ascending { *value <= last } else { *value >= last }) {
        if values.len() == MOST_ELEMENTS {
            return Err(fail(format!("a generated array has over {MOST_ELEMENTS} elements")));
        }
        values.push(current);
        index += 1;
        value = next(first, index);
    }
    Ok(values)
}

fn numbers(args: &Args) -> Result<ArrayRef> {
    let (first, last) = (args.ints(0), args.ints(1));
    let step = (args.len() > 2).then(|| args.ints(2));
    let mut lists = ListBuilder::new(Int64Builder::new());
    for row in 0..args.rows {
        let step = step.as_ref().map_or(Some(1), |step| step(row));
        match (first(row), last(row), step) {
            (_, _, Some(0)) => return Err(fail("GENERATE_ARRAY takes a step other than 0")),
            (Some(first), Some(last), Some(step)) => {
                let values = fill(first, last, step > 0, |first, index| first.checked_add(step.checked_mul(index)?))?;
                lists.append_value(values.into_iter().map(Some));
            }
            _ => lists.append_null(),
        }
    }
    Ok(Arc::new(lists.finish()))
}

/// The values of `GENERATE_DATE_ARRAY` and `GENERATE_TIMESTAMP_ARRAY` for each row.
fn times(args: &Args, mut put: impl FnMut(Option<Vec<i64>>)) -> Result<()> {
    let (first, last, step) = (args.micros(0), args.micros(1), args.ints(2));
    let name = args.constant(3);
    let part = Part::parse(name)
        .ok_or_else(|| fail(format!("A valid date part name is required but found {}", name.to_uppercase())))?;
    for row in 0..args.rows {
        match (first(row), last(row), step(row)) {
            (_, _, Some(0)) => return Err(fail("a generated array takes a step other than 0")),
            (Some(first), Some(last), Some(step)) => {
                put(Some(fill(first, last, step > 0, |first, index| {
                    calendar::add(first, step.checked_mul(index)?, part)
                })?));
            }
            _ => put(None),
        }
    }
    Ok(())
}

fn dates(args: &Args) -> Result<ArrayRef> {
    let mut lists = ListBuilder::new(PrimitiveBuilder::<Date32Type>::new());
    times(args, |values| match values {
        Some(values) => lists.append_value(values.into_iter().map(|value| i32::try_from(value.div_euclid(DAY)).ok())),
        None => lists.append_null(),
    })?;
    Ok(Arc::new(lists.finish()))
}

fn timestamps(args: &Args) -> Result<ArrayRef> {
    let values = PrimitiveBuilder::<TimestampMicrosecondType>::new().with_data_type(timestamp());
    let mut lists = ListBuilder::new(values);
    times(args, |values| match values {
        Some(values) => lists.append_value(values.into_iter().map(Some)),
        None => lists.append_null(),
    })?;
    Ok(Arc::new(lists.finish()))
}
