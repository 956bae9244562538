//! Logical bytes of columns, as `BigQuery` bills them.
//!
//! Source: <https://cloud.google.com/bigquery/pricing#data> (data size calculation).

use datafusion::arrow::array::{Array, AsArray};
use datafusion::arrow::datatypes::DataType;

/// Logical bytes of a column of the types of [`crate::batches`]; NULLs weigh nothing.
pub(super) fn logical_bytes(column: &dyn Array) -> u64 {
    let values = u64::try_from(column.len() - column.null_count()).unwrap_or(u64::MAX);
    match column.data_type() {
        DataType::Boolean => values,
        DataType::Decimal128(..) => 16 * values,
        DataType::Decimal256(..) => 32 * values,
        DataType::Utf8 => {
            let column = column.as_string::<i32>();
            column.iter().flatten().map(|text| 2 + text.len() as u64).sum()
        }
        DataType::Binary => {
            let column = column.as_binary::<i32>();
            column.iter().flatten().map(|bytes| 2 + bytes.len() as u64).sum()
        }
        DataType::List(_) => column.as_list::<i32>().iter().flatten().map(|list| logical_bytes(&list)).sum(),
        DataType::Struct(_) => column.as_struct().columns().iter().map(|field| logical_bytes(field)).sum(),
        _ => 8 * values,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    use datafusion::arrow::array::{
        BooleanArray, Decimal128Array, Int64Array, ListArray, StringArray, StructArray, TimestampMicrosecondArray,
    };
    use datafusion::arrow::datatypes::{Field, Int64Type};

    #[test]
    fn sizes_are_those_of_the_price_list() {
        assert_eq!(logical_bytes(&Int64Array::from(vec![Some(1), None, Some(3)])), 16);
        assert_eq!(logical_bytes(&TimestampMicrosecondArray::from(vec![1, 2]).with_timezone("UTC")), 16);
        assert_eq!(logical_bytes(&BooleanArray::from(vec![true, false, true])), 3);
        assert_eq!(logical_bytes(&StringArray::from(vec![Some("é"), Some(""), None])), 6);
        assert_eq!(logical_bytes(&Decimal128Array::from(vec![1, 2])), 32);
        let lists =
            ListArray::from_iter_primitive::<Int64Type, _, _>([Some(vec![Some(1), Some(2)]), None, Some(vec![])]);
        assert_eq!(logical_bytes(&lists), 16);
        let field = Arc::new(Field::new("b", DataType::Boolean, true));
        let record = StructArray::from(vec![(field, Arc::new(BooleanArray::from(vec![true])) as _)]);
        assert_eq!(logical_bytes(&record), 1);
    }
}
