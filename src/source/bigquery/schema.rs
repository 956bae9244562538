//! `BigQuery`'s schemas become Arrow's, with the types and field metadata of the Storage Read API.
//!
//! Types: <https://cloud.google.com/bigquery/docs/reference/storage#arrow_schema_details>. The
//! metadata `ARROW:extension:name` is that page's for DATETIME, GEOGRAPHY and JSON; INTERVAL and
//! RANGE, which are text here, are named in the same manner, so that a reader can tell them from
//! STRING. Every field is nullable.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef, TimeUnit};
use serde::Deserialize;
use weir_plan::{Error, Result};

/// A schema in the v2 API.
#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct TableSchema {
    #[serde(default)]
    pub(super) fields: Vec<FieldSchema>,
}

/// A column in the v2 API.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct FieldSchema {
    pub(super) name: String,
    #[serde(rename = "type")]
    type_name: String,
    mode: Option<String>,
    #[serde(default)]
    pub(super) fields: Vec<FieldSchema>,
    range_element_type: Option<RangeElement>,
}

#[derive(Clone, Debug, Deserialize)]
struct RangeElement {
    #[serde(rename = "type")]
    type_name: String,
}

/// A scalar or STRUCT type of `GoogleSQL`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SqlType {
    Int64,
    Float64,
    Numeric,
    BigNumeric,
    Bool,
    String,
    Bytes,
    Timestamp,
    Date,
    Time,
    Datetime,
    Geography,
    Json,
    Interval,
    /// A range of DATE or DATETIME.
    Range,
    /// A range of TIMESTAMP, whose bounds are numbers in JSON.
    TimestampRange,
    Struct,
}

impl SqlType {
    /// Reads a type's name, legacy spellings included.
    pub(super) fn parse(name: &str) -> Option<Self> {
        Some(match name.to_ascii_uppercase().as_str() {
            "INT64" | "INTEGER" | "INT" | "SMALLINT" | "BIGINT" | "TINYINT" | "BYTEINT" => Self::Int64,
            "FLOAT64" | "FLOAT" => Self::Float64,
            "NUMERIC" | "DECIMAL" => Self::Numeric,
            "BIGNUMERIC" | "BIGDECIMAL" => Self::BigNumeric,
            "BOOL" | "BOOLEAN" => Self::Bool,
            "STRING" => Self::String,
            "BYTES" => Self::Bytes,
            "TIMESTAMP" => Self::Timestamp,
            "DATE" => Self::Date,
            "TIME" => Self::Time,
            "DATETIME" => Self::Datetime,
            "GEOGRAPHY" => Self::Geography,
            "JSON" => Self::Json,
            "INTERVAL" => Self::Interval,
            "RANGE" => Self::Range,
            "STRUCT" | "RECORD" => Self::Struct,
            _ => return None,
        })
    }

    /// The name for people.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Int64 => "INT64",
            Self::Float64 => "FLOAT64",
            Self::Numeric => "NUMERIC",
            Self::BigNumeric => "BIGNUMERIC",
            Self::Bool => "BOOL",
            Self::String => "STRING",
            Self::Bytes => "BYTES",
            Self::Timestamp => "TIMESTAMP",
            Self::Date => "DATE",
            Self::Time => "TIME",
            Self::Datetime => "DATETIME",
            Self::Geography => "GEOGRAPHY",
            Self::Json => "JSON",
            Self::Interval => "INTERVAL",
            Self::Range | Self::TimestampRange => "RANGE",
            Self::Struct => "STRUCT",
        }
    }

    /// The type's mark in a field's metadata.
    const fn extension(self) -> Option<&'static str> {
        match self {
            Self::Datetime => Some("google:sqlType:datetime"),
            Self::Geography => Some("google:sqlType:geography"),
            Self::Json => Some("google:sqlType:json"),
            Self::Interval => Some("google:sqlType:interval"),
            Self::Range | Self::TimestampRange => Some("google:sqlType:range"),
            _ => None,
        }
    }
}

impl FieldSchema {
    /// The type of a value, or of an element where the column is repeated.
    pub(super) fn sql_type(&self) -> Result<SqlType> {
        let range_of_timestamps =
            self.range_element_type.as_ref().is_some_and(|element| element.type_name.eq_ignore_ascii_case("TIMESTAMP"));
        match SqlType::parse(&self.type_name) {
            Some(SqlType::Range) if range_of_timestamps => Ok(SqlType::TimestampRange),
            Some(sql_type) => Ok(sql_type),
            None => Err(Error::invalid(format!(
                "column {} has the type {}, which Weir does not read; cast it to STRING",
                self.name, self.type_name
            ))),
        }
    }

    /// Whether the column is an ARRAY.
    pub(super) fn is_repeated(&self) -> bool {
        self.mode.as_deref().is_some_and(|mode| mode.eq_ignore_ascii_case("REPEATED"))
    }

    fn value_type(&self) -> Result<DataType> {
        Ok(match self.sql_type()? {
            SqlType::Int64 => DataType::Int64,
            SqlType::Float64 => DataType::Float64,
            SqlType::Numeric => DataType::Decimal128(38, 9),
            SqlType::BigNumeric => DataType::Decimal256(76, 38),
            SqlType::Bool => DataType::Boolean,
            SqlType::Bytes => DataType::Binary,
            SqlType::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            SqlType::Datetime => DataType::Timestamp(TimeUnit::Microsecond, None),
            SqlType::Date => DataType::Date32,
            SqlType::Time => DataType::Time64(TimeUnit::Microsecond),
            SqlType::Struct => DataType::Struct(fields(&self.fields)?),
            SqlType::String
            | SqlType::Geography
            | SqlType::Json
            | SqlType::Interval
            | SqlType::Range
            | SqlType::TimestampRange => DataType::Utf8,
        })
    }

    fn field(&self) -> Result<Field> {
        let value = self.value_type()?;
        let data_type =
            if self.is_repeated() { DataType::List(Arc::new(Field::new("item", value, true))) } else { value };
        let sql_type = self.sql_type()?;
        let mut metadata = HashMap::new();
        if let Some(extension) = sql_type.extension() {
            metadata.insert("ARROW:extension:name".to_owned(), extension.to_owned());
        }
        if sql_type == SqlType::Geography {
            metadata.insert("ARROW:extension:metadata".to_owned(), r#"{"encoding": "WKT"}"#.to_owned());
        }
        Ok(Field::new(&self.name, data_type, true).with_metadata(metadata))
    }
}

/// The fields of a STRUCT or a table.
pub(super) fn fields(schemas: &[FieldSchema]) -> Result<Fields> {
    schemas.iter().map(FieldSchema::field).collect()
}

/// The schema of a table or an answer.
///
/// # Errors
/// `InvalidQuery` for a type that nobody has taught us, naming the column.
pub(super) fn arrow_schema(schema: &TableSchema) -> Result<SchemaRef> {
    Ok(Arc::new(Schema::new(fields(&schema.fields)?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[expect(clippy::needless_pass_by_value, reason = "JSON literals are passed as they are written")]
    fn schema(json: serde_json::Value) -> TableSchema {
        serde_json::from_value(serde_json::json!({"fields": json})).unwrap()
    }

    #[test]
    fn types_are_those_of_the_storage_read_api() {
        let check = |type_name: &str, expected: DataType| {
            let schema = schema(serde_json::json!([{"name": "c", "type": type_name, "mode": "REQUIRED"}]));
            let arrow = arrow_schema(&schema).unwrap();
            assert_eq!(arrow.field(0).data_type(), &expected, "{type_name}");
            assert!(arrow.field(0).is_nullable());
        };
        check("INTEGER", DataType::Int64);
        check("FLOAT", DataType::Float64);
        check("NUMERIC", DataType::Decimal128(38, 9));
        check("BIGNUMERIC", DataType::Decimal256(76, 38));
        check("BOOLEAN", DataType::Boolean);
        check("BYTES", DataType::Binary);
        check("TIMESTAMP", DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())));
        check("DATETIME", DataType::Timestamp(TimeUnit::Microsecond, None));
        check("DATE", DataType::Date32);
        check("TIME", DataType::Time64(TimeUnit::Microsecond));
        for text in ["STRING", "GEOGRAPHY", "JSON", "INTERVAL", "RANGE"] {
            check(text, DataType::Utf8);
        }
    }

    #[test]
    fn text_types_are_told_apart_by_their_metadata() {
        let schema = schema(serde_json::json!([{"name": "j", "type": "JSON"}, {"name": "s", "type": "STRING"}]));
        let arrow = arrow_schema(&schema).unwrap();
        assert_eq!(arrow.field(0).metadata()["ARROW:extension:name"], "google:sqlType:json");
        assert!(arrow.field(1).metadata().is_empty());
    }

    #[test]
    fn an_unknown_type_names_its_column() {
        let error = arrow_schema(&schema(serde_json::json!([{"name": "p", "type": "PROTO"}]))).unwrap_err();
        assert!(error.message().contains("column p has the type PROTO"), "{error}");
    }
}
