//! The tables that can be described and read without a query: those of the source, and the anonymous
//! tables of finished jobs. It knows no protocol.

use std::sync::Arc;

use weir_plan::{Error, TableId};

use super::Shared;
use super::jobs::{Done, JobRecord, State};
use super::reply::ApiError;
use super::resources;
use crate::batches::Batches;
use crate::source::{Job, Table};

impl Shared {
    /// Describes a table.
    ///
    /// # Errors
    /// `notFound`, and those of the source.
    pub(super) async fn table(&self, id: &TableId) -> Result<Table, ApiError> {
        let Some(record) = self.jobs.of_table(id) else {
            return Ok(self.source.table(id).await?);
        };
        let done = finished(&record)?;
        match &done.result {
            Ok(answer) => Ok(resources::anonymous_table(&record, &done, answer)),
            Err(_) => Err(missing(&record)),
        }
    }

    /// Reads a table: all columns, or those named, in the table's order.
    ///
    /// # Errors
    /// `notFound`; `invalid` for a view and for a column that is not there; those of the source.
    pub(super) async fn table_rows(&self, id: &TableId, columns: &[String]) -> Result<Batches, ApiError> {
        match self.jobs.of_table(id) {
            Some(record) => match &finished(&record)?.result {
                Ok(answer) => select(&answer.outcome.batches, columns),
                Err(_) => Err(missing(&record)),
            },
            None => self.source_rows(id, columns).await,
        }
    }

    async fn source_rows(&self, id: &TableId, columns: &[String]) -> Result<Batches, ApiError> {
        let table = self.source.table(id).await?;
        if table.kind == "VIEW" {
            return Err(ApiError::invalid(format!(
                "Table {id} is a view: only the rows of tables can be read without a query"
            )));
        }
        for name in columns {
            table
                .schema
                .field_with_name(name)
                .map_err(|_| ApiError::invalid(format!("Table {id} has no column {name}")))?;
        }
        let names = table.schema.fields().iter().map(|field| field.name());
        let wanted = names.filter(|name| columns.is_empty() || columns.contains(name));
        let list: Vec<_> = wanted.map(|name| format!("`{name}`")).collect();
        let sql = format!("SELECT {} FROM `{id}`", list.join(", "));
        let job = Job::new(format!("read_{}", uuid::Uuid::new_v4().simple()), sql);
        Ok(self.source.run(job).await?.batches)
    }
}

/// The end of a job whose anonymous table is wanted: before it there is none.
fn finished(record: &JobRecord) -> Result<Arc<Done>, ApiError> {
    match record.state() {
        State::Done(done) => Ok(done),
        State::Pending | State::Running(_) => Err(missing(record)),
    }
}

fn missing(record: &JobRecord) -> ApiError {
    ApiError::not_found(format!("Table {}", record.destination))
}

/// The named columns in the table's order; all if none is named.
fn select(rows: &Batches, columns: &[String]) -> Result<Batches, ApiError> {
    if columns.is_empty() {
        return Ok(rows.clone());
    }
    for name in columns {
        rows.schema()
            .field_with_name(name)
            .map_err(|_| ApiError::invalid(format!("the table has no column {name}")))?;
    }
    let wanted: Vec<_> = rows
        .schema()
        .fields()
        .iter()
        .enumerate()
        .filter(|(_, field)| columns.contains(field.name()))
        .map(|(index, _)| index)
        .collect();
    let internal = |error| Error::internal("cannot select columns").with_source(error);
    let schema = rows.schema().project(&wanted).map_err(internal)?;
    let batches = rows.iter().map(|batch| batch.project(&wanted)).collect::<Result<_, _>>().map_err(internal)?;
    Ok(Batches::new(Arc::new(schema), batches)?)
}
