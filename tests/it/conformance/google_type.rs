//! `GoogleSQL` types as text (`ARRAY<STRUCT<slug STRING, ratio INT64>>`), as Arrow types and as fields
//! of the REST API.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef, TimeUnit};
use serde_json::{Value, json};

/// A type of `GoogleSQL`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum GoogleType {
    /// A type without parts, by its name.
    Scalar(String),
    /// `ARRAY<element>`.
    Array(Box<GoogleType>),
    /// `STRUCT<name type, …>`.
    Struct(Vec<Column>),
}

/// A named column, or a field of a STRUCT.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Column {
    /// Name.
    pub(crate) name: String,
    /// Type.
    pub(crate) kind: GoogleType,
}

impl Column {
    /// Reads `name TYPE`.
    pub(crate) fn parse(text: &str) -> Self {
        let (name, kind) = text.trim().split_once(' ').unwrap_or_else(|| panic!("column {text:?} has no type"));
        Self { name: name.to_owned(), kind: GoogleType::parse(kind) }
    }

    /// The field of a `TableSchema` in the REST API.
    pub(crate) fn rest(&self) -> Value {
        let (kind, mode) = match &self.kind {
            GoogleType::Array(element) => (&**element, "REPEATED"),
            kind => (kind, "NULLABLE"),
        };
        match kind {
            GoogleType::Scalar(name) => json!({"name": self.name, "type": name, "mode": mode}),
            GoogleType::Struct(fields) => {
                json!({"name": self.name, "type": "RECORD", "mode": mode, "fields": rest(fields)})
            }
            GoogleType::Array(_) => panic!("column {}: BigQuery has no arrays of arrays", self.name),
        }
    }
}

/// The fields of a `TableSchema` in the REST API.
pub(crate) fn rest(columns: &[Column]) -> Value {
    columns.iter().map(Column::rest).collect()
}

/// The Arrow schema of columns; all nullable.
pub(crate) fn schema(columns: &[Column]) -> SchemaRef {
    Arc::new(Schema::new(fields(columns)))
}

fn fields(columns: &[Column]) -> Fields {
    columns.iter().map(|column| Field::new(&column.name, column.kind.arrow(), true)).collect()
}

impl GoogleType {
    /// Reads a type.
    pub(crate) fn parse(text: &str) -> Self {
        let text = text.trim();
        let Some((outer, inner)) = text.split_once('<') else { return Self::Scalar(text.to_owned()) };
        let inner = inner.strip_suffix('>').unwrap_or_else(|| panic!("type {text:?} is not closed"));
        match outer {
            "ARRAY" => Self::Array(Box::new(Self::parse(inner))),
            "STRUCT" => Self::Struct(top_level_parts(inner).into_iter().map(Column::parse).collect()),
            _ => panic!("type {text:?} is not known"),
        }
    }

    /// The Arrow type that every read path gives, as [`weir::batches`] says.
    pub(crate) fn arrow(&self) -> DataType {
        match self {
            Self::Array(element) => DataType::List(Arc::new(Field::new_list_field(element.arrow(), true))),
            Self::Struct(columns) => DataType::Struct(fields(columns)),
            Self::Scalar(name) => match name.as_str() {
                "INT64" => DataType::Int64,
                "FLOAT64" => DataType::Float64,
                "BOOL" => DataType::Boolean,
                "STRING" | "GEOGRAPHY" | "JSON" | "INTERVAL" | "RANGE" => DataType::Utf8,
                "BYTES" => DataType::Binary,
                "NUMERIC" => DataType::Decimal128(38, 9),
                "BIGNUMERIC" => DataType::Decimal256(76, 38),
                "DATE" => DataType::Date32,
                "TIME" => DataType::Time64(TimeUnit::Microsecond),
                "DATETIME" => DataType::Timestamp(TimeUnit::Microsecond, None),
                "TIMESTAMP" => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
                _ => panic!("type {name:?} is not known"),
            },
        }
    }
}

/// Whether two Arrow types are the same to a reader: names of list items and nullability do not count.
pub(crate) fn same_type(a: &DataType, b: &DataType) -> bool {
    match (a, b) {
        (DataType::List(a), DataType::List(b)) => same_type(a.data_type(), b.data_type()),
        (DataType::Struct(a), DataType::Struct(b)) => {
            let same =
                |(a, b): (&Arc<Field>, &Arc<Field>)| a.name() == b.name() && same_type(a.data_type(), b.data_type());
            a.len() == b.len() && a.iter().zip(b).all(same)
        }
        (a, b) => a == b,
    }
}

fn top_level_parts(text: &str) -> Vec<&str> {
    let mut depth = 0;
    text.split(|c: char| {
        depth += i32::from(c == '<') - i32::from(c == '>');
        c == ',' && depth == 0
    })
    .collect()
}

#[test]
fn nested_types_are_read() {
    let parsed = Column::parse("branches ARRAY<STRUCT<slug STRING, ratio INT64, tags ARRAY<STRING>>>");
    assert_eq!(parsed.name, "branches");
    let expected = json!({"name": "branches", "type": "RECORD", "mode": "REPEATED", "fields": [
        {"name": "slug", "type": "STRING", "mode": "NULLABLE"},
        {"name": "ratio", "type": "INT64", "mode": "NULLABLE"},
        {"name": "tags", "type": "STRING", "mode": "REPEATED"},
    ]});
    assert_eq!(parsed.rest(), expected);
}
