//! A table's columns as the official data source's editor reads them.

use arrow::datatypes::{DataType, Field, Fields};
use serde_json::{Value, json};
use weir_plan::Result;

use crate::batches::api_type::{EXTENSION, api_type};
use crate::source::Table;

/// Names of columns; those within a STRUCT follow it as `column.member`. Members of an ARRAY's
/// elements have no such name. `orderable` leaves out what ORDER BY does not take.
pub(super) fn names(fields: &Fields, orderable: bool) -> Vec<String> {
    let mut names = Vec::new();
    for field in fields {
        if !orderable || is_orderable(field) {
            names.push(field.name().clone());
        }
        if let DataType::Struct(members) = field.data_type() {
            names.extend(self::names(members, orderable).iter().map(|member| format!("{}.{member}", field.name())));
        }
    }
    names
}

/// Source: <https://cloud.google.com/bigquery/docs/reference/standard-sql/data-types#orderable_data_types>.
fn is_orderable(field: &Field) -> bool {
    match field.data_type() {
        DataType::Struct(_) | DataType::List(_) => false,
        _ => !matches!(
            field.metadata().get(EXTENSION).map(String::as_str),
            Some("google:sqlType:geography" | "google:sqlType:json")
        ),
    }
}

/// `{"schema": [{"name", "type", "repeated", "schema"}], "timePartitioning": {"type", "field"}}`, with
/// the type names of the v2 API.
///
/// # Errors
/// `Internal` for a type that is none of `BigQuery`'s.
pub(super) fn description(table: &Table) -> Result<Value> {
    let mut description = json!({"schema": members(table.schema.fields())?});
    if let Some(partitioning) = &table.partitioning {
        description["timePartitioning"] = json!({"type": partitioning.unit});
        if let Some(column) = &partitioning.column {
            description["timePartitioning"]["field"] = column.as_str().into();
        }
    }
    Ok(description)
}

fn members(fields: &Fields) -> Result<Vec<Value>> {
    fields.iter().map(|field| member(field)).collect()
}

fn member(field: &Field) -> Result<Value> {
    let (value, repeated) = match field.data_type() {
        // The marks of types that Arrow does not tell apart are the column's, not its element's.
        DataType::List(element) => (element.as_ref().clone().with_metadata(field.metadata().clone()), true),
        _ => (field.clone(), false),
    };
    let mut member = json!({"name": field.name(), "type": api_type(&value)?, "repeated": repeated});
    if let DataType::Struct(fields) = value.data_type() {
        member["schema"] = members(fields)?.into();
    }
    Ok(member)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::datatypes::{Schema, TimeUnit};
    use weir_plan::{TableId, Timestamp};

    use super::*;
    use crate::source::{PartitionUnit, Partitioning};

    fn field(name: &str, data_type: DataType) -> Field {
        Field::new(name, data_type, true)
    }

    fn marked(name: &str, mark: &str) -> Field {
        field(name, DataType::Utf8).with_metadata([(EXTENSION.to_owned(), format!("google:sqlType:{mark}"))].into())
    }

    fn fields() -> Fields {
        let inner = Fields::from(vec![field("n", DataType::Int64), marked("j", "json")]);
        let element = Arc::new(field("item", DataType::Struct(inner.clone())));
        let deep = Fields::from(vec![field("s", DataType::Struct(inner))]);
        Fields::from(vec![
            field("t", DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))),
            field("deep", DataType::Struct(deep)),
            field("list", DataType::List(element)),
            marked("place", "geography"),
        ])
    }

    #[test]
    fn members_of_structs_have_names_and_those_of_arrays_none() {
        assert_eq!(names(&fields(), false), ["t", "deep", "deep.s", "deep.s.n", "deep.s.j", "list", "place"]);
    }

    #[test]
    fn what_cannot_be_ordered_by_is_left_out() {
        assert_eq!(names(&fields(), true), ["t", "deep.s.n"]);
    }

    #[test]
    fn a_description_has_the_official_form() {
        let table = Table {
            id: TableId::new("p", "d", "t"),
            kind: "TABLE".to_owned(),
            schema: Arc::new(Schema::new(fields())),
            partitioning: Some(Partitioning { column: Some("t".to_owned()), unit: PartitionUnit::Hour }),
            clustering: vec![],
            last_modified: Timestamp::MIN,
            view_sql: None,
            num_rows: 0,
            num_bytes: 0,
            location: None,
        };
        let inner = json!([
            {"name": "n", "type": "INTEGER", "repeated": false},
            {"name": "j", "type": "JSON", "repeated": false},
        ]);
        let expected = json!({
            "schema": [
                {"name": "t", "type": "TIMESTAMP", "repeated": false},
                {"name": "deep", "type": "RECORD", "repeated": false, "schema": [
                    {"name": "s", "type": "RECORD", "repeated": false, "schema": inner},
                ]},
                {"name": "list", "type": "RECORD", "repeated": true, "schema": inner},
                {"name": "place", "type": "GEOGRAPHY", "repeated": false},
            ],
            "timePartitioning": {"type": "HOUR", "field": "t"},
        });
        assert_eq!(description(&table).unwrap(), expected);
        let plain = description(&Table { partitioning: None, ..table }).unwrap();
        assert_eq!(plain.get("timePartitioning"), None);
    }
}
