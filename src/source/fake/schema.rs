//! Arrow schemas as `BigQuery` table schemas. It knows no rows.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef, TimeUnit};
use serde_json::{Value, json};
use weir_plan::Result;

pub(super) use crate::batches::api_type::EXTENSION;
use crate::batches::api_type::api_type;

/// A `TableSchema` object.
///
/// # Errors
/// `Internal` for an Arrow type that is none of `BigQuery`'s.
pub(super) fn table_schema(schema: &Schema) -> Result<Value> {
    Ok(json!({"fields": fields_json(schema.fields())?}))
}

/// The schema of an answer: `BigQuery` makes every column of one nullable, and marks the types that
/// share an Arrow type.
pub(super) fn answer_schema(schema: &Schema) -> SchemaRef {
    let fields: Fields = schema
        .fields()
        .iter()
        .map(|field| {
            let marked = match field.data_type() {
                DataType::Timestamp(TimeUnit::Microsecond, None) => {
                    let mut metadata: HashMap<_, _> = field.metadata().clone();
                    metadata.insert(EXTENSION.to_owned(), "google:sqlType:datetime".to_owned());
                    field.as_ref().clone().with_metadata(metadata)
                }
                _ => field.as_ref().clone(),
            };
            Arc::new(marked.with_nullable(true))
        })
        .collect();
    Arc::new(Schema::new(fields))
}

fn fields_json(fields: &Fields) -> Result<Vec<Value>> {
    fields.iter().map(|field| field_json(field)).collect()
}

fn field_json(field: &Field) -> Result<Value> {
    let (item, mode) = match field.data_type() {
        DataType::List(item) => (item.as_ref(), "REPEATED"),
        _ if field.is_nullable() => (field, "NULLABLE"),
        _ => (field, "REQUIRED"),
    };
    let mut json = json!({"name": field.name(), "type": api_type(item)?, "mode": mode});
    if let DataType::Struct(fields) = item.data_type() {
        json["fields"] = fields_json(fields)?.into();
    }
    Ok(json)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_have_the_names_of_the_v2_api() {
        let item = Field::new("item", DataType::Struct(vec![Field::new("k", DataType::Utf8, true)].into()), true);
        let json_text = Field::new("j", DataType::Utf8, true)
            .with_metadata([(EXTENSION.to_owned(), "google:sqlType:json".to_owned())].into());
        let schema = Schema::new(vec![
            Field::new("n", DataType::Int64, false),
            Field::new("t", DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), true),
            Field::new("d", DataType::Timestamp(TimeUnit::Microsecond, None), true),
            Field::new("r", DataType::List(Arc::new(item)), true),
            json_text,
        ]);
        let expected = json!({"fields": [
            {"name": "n", "type": "INTEGER", "mode": "REQUIRED"},
            {"name": "t", "type": "TIMESTAMP", "mode": "NULLABLE"},
            {"name": "d", "type": "DATETIME", "mode": "NULLABLE"},
            {"name": "r", "type": "RECORD", "mode": "REPEATED", "fields": [{"name": "k", "type": "STRING", "mode": "NULLABLE"}]},
            {"name": "j", "type": "JSON", "mode": "NULLABLE"},
        ]});
        assert_eq!(table_schema(&schema).unwrap(), expected);
    }

    #[test]
    fn a_type_that_bigquery_has_not_is_named() {
        let schema = Schema::new(vec![Field::new("small", DataType::Int8, true)]);
        let error = table_schema(&schema).unwrap_err();
        assert!(error.message().contains("\"small\"") && error.message().contains("Int8"), "{error}");
    }

    #[test]
    fn an_answer_is_nullable_and_marks_datetimes() {
        let schema = Schema::new(vec![Field::new("d", DataType::Timestamp(TimeUnit::Microsecond, None), false)]);
        let answer = answer_schema(&schema);
        assert!(answer.field(0).is_nullable());
        assert_eq!(answer.field(0).metadata()[EXTENSION], "google:sqlType:datetime");
    }
}
