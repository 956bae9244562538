//! One shape for all scalar functions: a rule of types and an evaluation over columns.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Date32Array, Float64Array, Int64Array, StringArray, Time64MicrosecondArray,
    TimestampMicrosecondArray,
};
use datafusion::arrow::datatypes::{
    DataType, Date32Type, Float64Type, Int64Type, Time64MicrosecondType, TimestampMicrosecondType,
};
use datafusion::common::{DataFusionError, Result, ScalarValue};
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};
use weir_plan::Error;
use weir_plan::extent::DAY;

use crate::source::embedded::types;

/// The types that a function takes for the given ones, and what it then returns; `None` where no
/// signature matches.
pub(super) type Rule = fn(&[DataType]) -> Option<(Vec<DataType>, DataType)>;

/// Evaluates a function over columns of the rule's types.
pub(super) type Eval = fn(&Args) -> Result<ArrayRef>;

/// A scalar function that depends on its arguments alone.
pub(super) struct Scalar {
    name: &'static str,
    signature: Signature,
    rule: Rule,
    eval: Eval,
}

/// Makes a function.
pub(super) fn scalar(name: &'static str, rule: Rule, eval: Eval) -> Arc<ScalarUDF> {
    let signature = Signature::user_defined(Volatility::Immutable);
    Arc::new(ScalarUDF::new_from_impl(Scalar { name, signature, rule, eval }))
}

/// An error of the query's author, raised while it runs.
pub(super) fn fail(message: impl Into<String>) -> DataFusionError {
    DataFusionError::External(Box::new(Error::invalid(message)))
}

impl fmt::Debug for Scalar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

impl PartialEq for Scalar {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Scalar {}

impl Hash for Scalar {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

impl Scalar {
    fn apply(&self, given: &[DataType]) -> Result<(Vec<DataType>, DataType)> {
        let fits = |takes: &[DataType]| {
            takes.len() == given.len() && given.iter().zip(takes).all(|(given, takes)| coerces(given, takes))
        };
        (self.rule)(given).filter(|(takes, _)| fits(takes)).ok_or_else(|| {
            let types: Vec<_> = given.iter().map(types::name).collect();
            let name = self.name.to_uppercase();
            let name = match self.name {
                "$add" => "TIMESTAMP_ADD, DATE_ADD or their kin",
                "$diff" => "TIMESTAMP_DIFF, DATE_DIFF or DATETIME_DIFF",
                "$trunc" => "TIMESTAMP_TRUNC, DATE_TRUNC or DATETIME_TRUNC",
                _ => name.trim_start_matches('$'),
            };
            fail(format!("No matching signature for function {name} for argument types: {}", types.join(", ")))
        })
    }
}

/// Whether a type stands for another without a cast.
/// Source: <https://cloud.google.com/bigquery/docs/reference/standard-sql/conversion_rules>.
fn coerces(given: &DataType, takes: &DataType) -> bool {
    use DataType as T;
    let (given, takes) = match (given, takes) {
        (T::Null, _) => return true,
        (T::List(given) | T::LargeList(given) | T::FixedSizeList(given, _), T::List(takes)) => {
            return coerces(given.data_type(), takes.data_type());
        }
        _ => (types::normal(given), types::normal(takes)),
    };
    given == takes
        || matches!(
            (given, takes),
            (T::Int64, T::Float64 | T::Decimal128(..) | T::Decimal256(..))
                | (T::Decimal128(..), T::Float64 | T::Decimal256(..))
                | (T::Decimal256(..), T::Float64)
        )
}

impl ScalarUDFImpl for Scalar {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        // The engine replaces an error from here with words of its own; `return_type`'s is kept.
        Ok(self.apply(types).map_or_else(|_| types.to_vec(), |(takes, _)| takes))
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        Ok(self.apply(types)?.1)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let constant = args.args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
        let rows = if constant { 1 } else { args.number_rows };
        let columns = args.args.into_iter().map(Column::new).collect::<Result<_>>()?;
        let returns = args.return_field.data_type().clone();
        let array = (self.eval)(&Args { columns, rows, returns })?;
        Ok(if constant {
            ColumnarValue::Scalar(ScalarValue::try_from_array(&array, 0)?)
        } else {
            ColumnarValue::Array(array)
        })
    }
}

/// A function's arguments for a number of rows.
pub(super) struct Args {
    columns: Vec<Column>,
    /// Rows of the result.
    pub(super) rows: usize,
    /// Type of the result.
    pub(super) returns: DataType,
}

/// One argument: a value for each row, or one for all.
pub(super) struct Column {
    array: ArrayRef,
    constant: bool,
}

impl Column {
    fn new(value: ColumnarValue) -> Result<Self> {
        Ok(match value {
            ColumnarValue::Array(array) => Self { array, constant: false },
            ColumnarValue::Scalar(scalar) => Self { array: scalar.to_array()?, constant: true },
        })
    }

    fn at(&self, row: usize) -> Option<usize> {
        let row = if self.constant { 0 } else { row };
        self.array.is_valid(row).then_some(row)
    }
}

impl Args {
    /// How many arguments there are.
    pub(super) fn len(&self) -> usize {
        self.columns.len()
    }

    /// The type of argument `i`.
    pub(super) fn data_type(&self, i: usize) -> &DataType {
        self.columns[i].array.data_type()
    }

    /// Argument `i` with a value for each row.
    pub(super) fn array(&self, i: usize) -> Result<ArrayRef> {
        let column = &self.columns[i];
        if column.constant && self.rows != 1 {
            return ScalarValue::try_from_array(&column.array, 0)?.to_array_of_size(self.rows);
        }
        Ok(Arc::clone(&column.array))
    }

    /// INT64 values of argument `i`.
    pub(super) fn ints(&self, i: usize) -> impl Fn(usize) -> Option<i64> {
        let column = &self.columns[i];
        let values = column.array.as_primitive::<Int64Type>();
        move |row| column.at(row).map(|row| values.value(row))
    }

    /// FLOAT64 values of argument `i`.
    pub(super) fn floats(&self, i: usize) -> impl Fn(usize) -> Option<f64> {
        let column = &self.columns[i];
        let values = column.array.as_primitive::<Float64Type>();
        move |row| column.at(row).map(|row| values.value(row))
    }

    /// STRING values of argument `i`.
    pub(super) fn texts<'a>(&'a self, i: usize) -> impl Fn(usize) -> Option<&'a str> {
        let column = &self.columns[i];
        let values = column.array.as_string::<i32>();
        move |row| column.at(row).map(|row| values.value(row))
    }

    /// Lists of argument `i`.
    pub(super) fn lists(&self, i: usize) -> impl Fn(usize) -> Option<ArrayRef> {
        let column = &self.columns[i];
        let values = column.array.as_list::<i32>();
        move |row| column.at(row).map(|row| values.value(row))
    }

    /// The text that argument `i` is for all rows; the empty text where it is NULL.
    ///
    /// Only for arguments that the rewriting puts there, date parts for example.
    pub(super) fn constant(&self, i: usize) -> &str {
        self.columns[i].at(0).map_or("", |row| self.columns[i].array.as_string::<i32>().value(row))
    }

    /// Microseconds of argument `i`, a DATE, DATETIME, TIMESTAMP or TIME.
    pub(super) fn micros(&self, i: usize) -> Box<dyn Fn(usize) -> Option<i64> + '_> {
        let column = &self.columns[i];
        match column.array.data_type() {
            DataType::Date32 => {
                let values = column.array.as_primitive::<Date32Type>();
                Box::new(move |row| column.at(row).map(|row| i64::from(values.value(row)) * DAY))
            }
            DataType::Time64(_) => {
                let values = column.array.as_primitive::<Time64MicrosecondType>();
                Box::new(move |row| column.at(row).map(|row| values.value(row)))
            }
            _ => {
                let values = column.array.as_primitive::<TimestampMicrosecondType>();
                Box::new(move |row| column.at(row).map(|row| values.value(row)))
            }
        }
    }

    /// Makes a column of INT64.
    pub(super) fn to_ints(&self, value: impl FnMut(usize) -> Result<Option<i64>>) -> Result<ArrayRef> {
        Ok(Arc::new((0..self.rows).map(value).collect::<Result<Int64Array>>()?))
    }

    /// Makes a column of FLOAT64.
    pub(super) fn to_floats(&self, value: impl FnMut(usize) -> Result<Option<f64>>) -> Result<ArrayRef> {
        Ok(Arc::new((0..self.rows).map(value).collect::<Result<Float64Array>>()?))
    }

    /// Makes a column of BOOL.
    pub(super) fn to_bools(&self, value: impl FnMut(usize) -> Result<Option<bool>>) -> Result<ArrayRef> {
        Ok(Arc::new((0..self.rows).map(value).collect::<Result<BooleanArray>>()?))
    }

    /// Makes a column of STRING.
    pub(super) fn to_texts(&self, value: impl FnMut(usize) -> Result<Option<String>>) -> Result<ArrayRef> {
        Ok(Arc::new((0..self.rows).map(value).collect::<Result<StringArray>>()?))
    }

    /// Makes a column of `data_type`, a DATE, DATETIME, TIMESTAMP or TIME, of microseconds.
    pub(super) fn to_times(
        &self,
        data_type: &DataType,
        value: impl FnMut(usize) -> Result<Option<i64>>,
    ) -> Result<ArrayRef> {
        let values = (0..self.rows).map(value);
        Ok(match data_type {
            DataType::Date32 => {
                let days = values
                    .map(|value| value.map(|micros| micros.and_then(|micros| micros.div_euclid(DAY).try_into().ok())));
                Arc::new(days.collect::<Result<Date32Array>>()?)
            }
            DataType::Time64(_) => Arc::new(values.collect::<Result<Time64MicrosecondArray>>()?),
            DataType::Timestamp(_, zone) => {
                Arc::new(values.collect::<Result<TimestampMicrosecondArray>>()?.with_timezone_opt(zone.clone()))
            }
            other => return Err(DataFusionError::Internal(format!("{other} is no type of time"))),
        })
    }
}
