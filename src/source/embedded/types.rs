//! The types of answers, and their `GoogleSQL` names.

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field, Fields, TimeUnit};
use sqlparser::ast::DataType as SqlType;

/// TIMESTAMP.
pub(super) fn timestamp() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

/// DATETIME.
pub(super) const DATETIME: DataType = DataType::Timestamp(TimeUnit::Microsecond, None);
/// TIME.
pub(super) const TIME: DataType = DataType::Time64(TimeUnit::Microsecond);
/// NUMERIC.
pub(super) const NUMERIC: DataType = DataType::Decimal128(38, 9);
/// BIGNUMERIC.
pub(super) const BIGNUMERIC: DataType = DataType::Decimal256(76, 38);

/// An ARRAY of `element`s.
pub(super) fn array(element: DataType) -> DataType {
    DataType::List(Arc::new(Field::new("item", element, true)))
}

/// The type of [`crate::batches`] that stands for whatever an engine made on its way.
pub(super) fn normal(data_type: &DataType) -> DataType {
    use DataType as T;
    match data_type {
        T::Null | T::Int8 | T::Int16 | T::Int32 | T::Int64 | T::UInt8 | T::UInt16 | T::UInt32 | T::UInt64 => T::Int64,
        T::Float16 | T::Float32 | T::Float64 => T::Float64,
        T::Boolean => T::Boolean,
        T::Binary | T::LargeBinary | T::BinaryView | T::FixedSizeBinary(_) => T::Binary,
        T::Decimal32(..) | T::Decimal64(..) | T::Decimal128(..) => NUMERIC,
        T::Decimal256(..) => BIGNUMERIC,
        T::Date32 | T::Date64 => T::Date32,
        T::Time32(_) | T::Time64(_) => TIME,
        T::Timestamp(_, Some(_)) => timestamp(),
        T::Timestamp(_, None) => DATETIME,
        T::List(item) | T::LargeList(item) | T::FixedSizeList(item, _) | T::ListView(item) | T::LargeListView(item) => {
            array(normal(item.data_type()))
        }
        T::Struct(fields) => {
            T::Struct(fields.iter().map(|field| normal_field(field, field.name())).collect::<Fields>())
        }
        T::Dictionary(_, value) => normal(value),
        T::RunEndEncoded(_, value) => normal(value.data_type()),
        T::Utf8 | T::LargeUtf8 | T::Utf8View | T::Interval(_) | T::Duration(_) | T::Union(..) | T::Map(..) => T::Utf8,
    }
}

/// A nullable field of [`normal`] type and without metadata.
pub(super) fn normal_field(field: &Field, name: &str) -> Field {
    Field::new(name, normal(field.data_type()), true)
}

/// The `GoogleSQL` name of a type, for messages.
pub(super) fn name(data_type: &DataType) -> String {
    match normal(data_type) {
        DataType::Int64 => "INT64".into(),
        DataType::Float64 => "FLOAT64".into(),
        DataType::Boolean => "BOOL".into(),
        DataType::Binary => "BYTES".into(),
        DataType::Decimal128(..) => "NUMERIC".into(),
        DataType::Decimal256(..) => "BIGNUMERIC".into(),
        DataType::Date32 => "DATE".into(),
        DataType::Time64(_) => "TIME".into(),
        DataType::Timestamp(_, Some(_)) => "TIMESTAMP".into(),
        DataType::Timestamp(_, None) => "DATETIME".into(),
        DataType::List(item) => format!("ARRAY<{}>", name(item.data_type())),
        DataType::Struct(fields) => {
            let fields: Vec<_> =
                fields.iter().map(|field| format!("{} {}", field.name(), name(field.data_type()))).collect();
            format!("STRUCT<{}>", fields.join(", "))
        }
        _ => "STRING".into(),
    }
}

/// The type that a `GoogleSQL` type name stands for; `None` for those without a counterpart.
pub(super) fn of_sql(sql_type: &SqlType) -> Option<DataType> {
    Some(match sql_type {
        SqlType::Int64
        | SqlType::Int(None)
        | SqlType::Integer(None)
        | SqlType::BigInt(None)
        | SqlType::SmallInt(None) => DataType::Int64,
        SqlType::Float64 => DataType::Float64,
        SqlType::Bool | SqlType::Boolean => DataType::Boolean,
        SqlType::String(_) => DataType::Utf8,
        SqlType::Bytes(_) => DataType::Binary,
        SqlType::Numeric(_) | SqlType::Decimal(_) => NUMERIC,
        SqlType::BigNumeric(_) | SqlType::BigDecimal(_) => BIGNUMERIC,
        SqlType::Date => DataType::Date32,
        SqlType::Datetime(_) => DATETIME,
        SqlType::Time(..) => TIME,
        SqlType::Timestamp(..) => timestamp(),
        SqlType::Array(element) => match element {
            sqlparser::ast::ArrayElemTypeDef::AngleBracket(element) => array(of_sql(element)?),
            _ => return None,
        },
        _ => return None,
    })
}
