//! Columns under construction: texts go in, Arrow arrays come out. It knows no JSON.

use std::sync::Arc;

use arrow::array::builder::{
    BinaryBuilder, BooleanBuilder, Date32Builder, Decimal128Builder, Decimal256Builder, Float64Builder, Int64Builder,
    NullBufferBuilder, StringBuilder, Time64MicrosecondBuilder, TimestampMicrosecondBuilder,
};
use arrow::array::{Array, ArrayRef, ListArray, StructArray};
use arrow::buffer::OffsetBuffer;
use arrow::compute::kernels::cast_utils::parse_decimal;
use arrow::datatypes::{Decimal128Type, Field, Fields};
use arrow::error::ArrowError;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use weir_plan::{Error, Result};

use super::schema::{self, FieldSchema, SqlType};
use super::text;
use crate::batches::decimal;

/// One column, or a part of one.
pub(super) struct Column {
    path: String,
    sql_type: SqlType,
    pub(super) values: Values,
}

/// The values so far.
pub(super) enum Values {
    Int(Int64Builder),
    Float(Float64Builder),
    Numeric(Decimal128Builder),
    BigNumeric(Decimal256Builder),
    Bool(BooleanBuilder),
    Text(StringBuilder),
    Bytes { builder: BinaryBuilder, scratch: Vec<u8> },
    Timestamp(TimestampMicrosecondBuilder),
    Datetime(TimestampMicrosecondBuilder),
    Date(Date32Builder),
    Time(Time64MicrosecondBuilder),
    Struct { fields: Fields, children: Vec<Column>, nulls: NullBufferBuilder },
    List { element: Box<Column>, lengths: Vec<usize> },
}

impl Values {
    fn new(sql_type: SqlType, field: &FieldSchema, path: &str) -> Result<Self> {
        Ok(match sql_type {
            SqlType::Int64 => Self::Int(Int64Builder::new()),
            SqlType::Float64 => Self::Float(Float64Builder::new()),
            SqlType::Numeric => Self::Numeric(Decimal128Builder::new()),
            SqlType::BigNumeric => Self::BigNumeric(Decimal256Builder::new()),
            SqlType::Bool => Self::Bool(BooleanBuilder::new()),
            SqlType::Bytes => Self::Bytes { builder: BinaryBuilder::new(), scratch: Vec::new() },
            SqlType::Timestamp => Self::Timestamp(TimestampMicrosecondBuilder::new()),
            SqlType::Datetime => Self::Datetime(TimestampMicrosecondBuilder::new()),
            SqlType::Date => Self::Date(Date32Builder::new()),
            SqlType::Time => Self::Time(Time64MicrosecondBuilder::new()),
            SqlType::String
            | SqlType::Geography
            | SqlType::Json
            | SqlType::Interval
            | SqlType::Range
            | SqlType::TimestampRange => Self::Text(StringBuilder::new()),
            SqlType::Struct => {
                let part = |child: &FieldSchema| Column::at(child, &format!("{path}.{}", child.name));
                let children = field.fields.iter().map(part).collect::<Result<_>>()?;
                Self::Struct { fields: schema::fields(&field.fields)?, children, nulls: NullBufferBuilder::new(0) }
            }
        })
    }
}

impl Column {
    /// An empty column.
    ///
    /// # Errors
    /// `InvalidQuery` for a type that we do not read.
    pub(super) fn new(field: &FieldSchema) -> Result<Self> {
        Self::at(field, &field.name)
    }

    fn at(field: &FieldSchema, path: &str) -> Result<Self> {
        let sql_type = field.sql_type()?;
        let scalar = Self { path: path.to_owned(), sql_type, values: Values::new(sql_type, field, path)? };
        if !field.is_repeated() {
            return Ok(scalar);
        }
        let values = Values::List { element: Box::new(scalar), lengths: Vec::new() };
        Ok(Self { path: path.to_owned(), sql_type, values })
    }

    /// The column's name, with those of the columns it is part of.
    pub(super) fn path(&self) -> &str {
        &self.path
    }

    /// The type's name.
    pub(super) fn type_name(&self) -> &'static str {
        if matches!(self.values, Values::List { .. }) { "ARRAY" } else { self.sql_type.name() }
    }

    /// Appends NULL. A NULL array is an empty one, as in all of `BigQuery`'s answers.
    pub(super) fn append_null(&mut self) {
        match &mut self.values {
            Values::Int(builder) => builder.append_null(),
            Values::Float(builder) => builder.append_null(),
            Values::Numeric(builder) => builder.append_null(),
            Values::BigNumeric(builder) => builder.append_null(),
            Values::Bool(builder) => builder.append_null(),
            Values::Text(builder) => builder.append_null(),
            Values::Bytes { builder, .. } => builder.append_null(),
            Values::Timestamp(builder) | Values::Datetime(builder) => builder.append_null(),
            Values::Date(builder) => builder.append_null(),
            Values::Time(builder) => builder.append_null(),
            Values::Struct { children, nulls, .. } => {
                nulls.append_null();
                children.iter_mut().for_each(Self::append_null);
            }
            Values::List { lengths, .. } => lengths.push(0),
        }
    }

    /// Appends a value; false if the text is not one of the type.
    #[must_use]
    pub(super) fn append_text(&mut self, text: &str) -> bool {
        match &mut self.values {
            Values::Int(builder) => push(text.parse().ok(), |value| builder.append_value(value)),
            Values::Float(builder) => push(text.parse().ok(), |value| builder.append_value(value)),
            Values::Numeric(builder) => {
                push(parse_decimal::<Decimal128Type>(text, 38, 9).ok(), |value| builder.append_value(value))
            }
            Values::BigNumeric(builder) => push(decimal::big_numeric(text), |value| builder.append_value(value)),
            Values::Bool(builder) => {
                let value = match text {
                    "true" | "TRUE" => Some(true),
                    "false" | "FALSE" => Some(false),
                    _ => None,
                };
                push(value, |value| builder.append_value(value))
            }
            Values::Text(builder) if self.sql_type == SqlType::TimestampRange => {
                push(text::timestamp_range(text), |range| builder.append_value(range))
            }
            Values::Text(builder) => push(Some(text), |text| builder.append_value(text)),
            Values::Bytes { builder, scratch } => {
                scratch.clear();
                push(STANDARD.decode_vec(text, scratch).ok(), |()| builder.append_value(scratch))
            }
            Values::Timestamp(builder) => push(text::timestamp(text), |value| builder.append_value(value)),
            Values::Datetime(builder) => push(text::datetime(text), |value| builder.append_value(value)),
            Values::Date(builder) => push(text::date(text), |value| builder.append_value(value)),
            Values::Time(builder) => push(text::time(text), |value| builder.append_value(value)),
            Values::Struct { .. } | Values::List { .. } => false,
        }
    }

    /// The finished array.
    ///
    /// # Errors
    /// `Internal` if the parts do not fit together.
    pub(super) fn finish(self) -> Result<ArrayRef> {
        let Self { path, values, .. } = self;
        let mismatch =
            |error: ArrowError| Error::internal(format!("column {path} cannot be put together")).with_source(error);
        Ok(match values {
            Values::Int(mut builder) => Arc::new(builder.finish()),
            Values::Float(mut builder) => Arc::new(builder.finish()),
            Values::Numeric(mut builder) => {
                Arc::new(builder.finish().with_precision_and_scale(38, 9).map_err(mismatch)?)
            }
            Values::BigNumeric(mut builder) => {
                Arc::new(builder.finish().with_precision_and_scale(76, 38).map_err(mismatch)?)
            }
            Values::Bool(mut builder) => Arc::new(builder.finish()),
            Values::Text(mut builder) => Arc::new(builder.finish()),
            Values::Bytes { mut builder, .. } => Arc::new(builder.finish()),
            Values::Timestamp(mut builder) => Arc::new(builder.finish().with_timezone("UTC")),
            Values::Datetime(mut builder) => Arc::new(builder.finish()),
            Values::Date(mut builder) => Arc::new(builder.finish()),
            Values::Time(mut builder) => Arc::new(builder.finish()),
            Values::Struct { fields, children, mut nulls } => {
                let length = nulls.len();
                let arrays = children.into_iter().map(Self::finish).collect::<Result<Vec<_>>>()?;
                Arc::new(StructArray::try_new_with_length(fields, arrays, nulls.finish(), length).map_err(mismatch)?)
            }
            Values::List { element, lengths } => {
                let elements = element.finish()?;
                let item = Arc::new(Field::new("item", elements.data_type().clone(), true));
                let offsets = OffsetBuffer::from_lengths(lengths);
                Arc::new(ListArray::try_new(item, offsets, elements, None).map_err(mismatch)?)
            }
        })
    }
}

/// Appends what was read; false if nothing was.
fn push<T>(value: Option<T>, append: impl FnOnce(T)) -> bool {
    value.map(append).is_some()
}
