//! Answers in the names and types of [`crate::batches`].

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef};
use sqlparser::ast::{Query, SelectItem, SetExpr};
use weir_plan::{Error, Result};

use super::syntax::Words;
use super::{errors, types};

/// Names of a query's columns as they were written; `None` where `*` hides how many there are.
pub(super) fn written_names(query: &Query, words: &Words) -> Option<Vec<String>> {
    let mut body = &*query.body;
    let select = loop {
        body = match body {
            SetExpr::Select(select) => break select,
            SetExpr::Query(query) => &query.body,
            SetExpr::SetOperation { left, .. } => left,
            _ => return None,
        };
    };
    let name = |item: &SelectItem| match item {
        SelectItem::ExprWithAlias { alias, .. } => Some(words.written(alias).to_owned()),
        SelectItem::UnnamedExpr(sqlparser::ast::Expr::Identifier(name)) => Some(words.written(name).to_owned()),
        _ => None,
    };
    select.projection.iter().map(name).collect()
}

/// The schema of an answer: names as written, or as `spellings` has them.
///
/// # Errors
/// `InvalidQuery` for two columns of one name.
pub(super) fn schema(
    planned: &Schema,
    written: Option<Vec<String>>,
    spellings: &HashMap<String, String>,
) -> Result<SchemaRef> {
    let written = written.filter(|names| names.len() == planned.fields().len());
    let mut seen = HashSet::new();
    let mut fields = Vec::with_capacity(planned.fields().len());
    for (i, field) in planned.fields().iter().enumerate() {
        let name = match &written {
            Some(names) => names[i].clone(),
            None => spelled(field.name(), spellings),
        };
        if !seen.insert(name.to_lowercase()) {
            return Err(errors::duplicate(&name));
        }
        if matches!(field.data_type(), DataType::Interval(_) | DataType::Duration(_)) {
            return Err(Error::invalid(format!(
                "the embedded engine does not support answers of INTERVAL, as column {name}"
            )));
        }
        fields.push(Field::new(name, spell_type(&types::normal(field.data_type()), spellings), true));
    }
    Ok(Arc::new(Schema::new(fields)))
}

fn spelled(name: &str, spellings: &HashMap<String, String>) -> String {
    spellings.get(name).map_or(name, String::as_str).to_owned()
}

fn spell_type(data_type: &DataType, spellings: &HashMap<String, String>) -> DataType {
    match data_type {
        DataType::Struct(fields) => {
            let field = |field: &Arc<Field>| {
                Field::new(spelled(field.name(), spellings), spell_type(field.data_type(), spellings), true)
            };
            DataType::Struct(fields.iter().map(field).collect::<Fields>())
        }
        DataType::List(item) => types::array(spell_type(item.data_type(), spellings)),
        other => other.clone(),
    }
}

/// Casts a batch of the engine's types to the answer's.
pub(super) fn batch(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
    let columns = batch.columns().iter().zip(schema.fields()).map(|(column, field)| column_as(column, field));
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(Arc::clone(schema), columns.collect::<Result<_>>()?, &options)
        .map_err(|error| Error::internal("an answer does not fit its schema").with_source(error))
}

fn column_as(column: &ArrayRef, field: &Field) -> Result<ArrayRef> {
    if column.data_type() == field.data_type() {
        return Ok(Arc::clone(column));
    }
    cast(column, field.data_type()).map_err(|error| Error::invalid(format!("column {}: {error}", field.name())))
}

/// Spellings of a schema's names, fields of structs included, by their folded form.
pub(super) fn spellings(schema: &Schema, into: &mut HashMap<String, String>) {
    fn visit(field: &Field, into: &mut HashMap<String, String>) {
        into.entry(field.name().to_lowercase()).or_insert_with(|| field.name().clone());
        match field.data_type() {
            DataType::Struct(fields) => fields.iter().for_each(|field| visit(field, into)),
            DataType::List(item) => {
                if let DataType::Struct(fields) = item.data_type() {
                    fields.iter().for_each(|field| visit(field, into));
                }
            }
            _ => {}
        }
    }
    schema.fields().iter().for_each(|field| visit(field, into));
}
