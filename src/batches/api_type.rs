//! Column types by the names of `BigQuery`'s v2 API, which are the legacy ones.

use arrow::datatypes::{DataType, Field, TimeUnit};
use weir_plan::{Error, Result};

/// Name of the metadata by which the Storage Read API tells types apart that Arrow does not.
/// Source: <https://cloud.google.com/bigquery/docs/reference/storage#arrow_schema_details>.
pub(crate) const EXTENSION: &str = "ARROW:extension:name";

/// The name of a column's type; of an ARRAY's elements, give the element.
///
/// # Errors
/// `Internal` naming the column, for a type that is none of `BigQuery`'s.
pub(crate) fn api_type(field: &Field) -> Result<&'static str> {
    Ok(match field.data_type() {
        DataType::Int64 => "INTEGER",
        DataType::Float64 => "FLOAT",
        DataType::Boolean => "BOOLEAN",
        DataType::Utf8 => match field.metadata().get(EXTENSION).map(String::as_str) {
            Some("google:sqlType:geography") => "GEOGRAPHY",
            Some("google:sqlType:json") => "JSON",
            Some("google:sqlType:interval") => "INTERVAL",
            Some("google:sqlType:range") => "RANGE",
            _ => "STRING",
        },
        DataType::Binary => "BYTES",
        DataType::Decimal128(_, _) => "NUMERIC",
        DataType::Decimal256(_, _) => "BIGNUMERIC",
        DataType::Date32 => "DATE",
        DataType::Time64(TimeUnit::Microsecond) => "TIME",
        DataType::Timestamp(TimeUnit::Microsecond, None) => "DATETIME",
        DataType::Timestamp(TimeUnit::Microsecond, Some(_)) => "TIMESTAMP",
        DataType::Struct(_) => "RECORD",
        other => {
            return Err(Error::internal(format!(
                "column {:?} has the type {other}, which is none of BigQuery's",
                field.name()
            )));
        }
    })
}
