//! The API's resources as JSON: jobs, answers, tables. Field names are those of the v2 discovery
//! document; 64-bit integers are strings.

use serde_json::{Value, json};
use weir_plan::{TableId, Timestamp};

use super::jobs::{Answer, Done, JobRecord, State};
use super::reply::ApiError;
use super::schema::{answer_schema, table_schema};
use crate::source::{Estimate, Table};

/// A `JobReference`.
pub(super) fn job_reference(record: &JobRecord) -> Value {
    json!({"projectId": record.destination.project, "jobId": record.job.id, "location": record.location})
}

/// A `Job`.
pub(super) fn job(record: &JobRecord) -> Result<Value, ApiError> {
    let state = record.state();
    let mut configuration = record.configuration.clone();
    if let Some(query) = configuration.get_mut("query") {
        query["destinationTable"] = table_reference(&record.destination);
        query["writeDisposition"] = "WRITE_TRUNCATE".into();
        query["createDisposition"] = "CREATE_IF_NEEDED".into();
        query["priority"] = json!(record.job.priority);
    }
    Ok(json!({
        "kind": "bigquery#job",
        "etag": "weir",
        "id": format!("{}:{}.{}", record.destination.project, record.location, record.job.id),
        "jobReference": job_reference(record),
        "configuration": configuration,
        "user_email": record.principal,
        "status": status(&state),
        "statistics": statistics(record, &state)?,
    }))
}

/// A `Job` as `jobs.list` shows it.
pub(super) fn listed_job(record: &JobRecord) -> Result<Value, ApiError> {
    let mut listed = job(record)?;
    listed["state"] = listed["status"]["state"].clone();
    if let Some(error) = listed["status"].get("errorResult").cloned() {
        listed["errorResult"] = error;
    }
    Ok(listed)
}

fn status(state: &State) -> Value {
    match state {
        State::Pending => json!({"state": "PENDING"}),
        State::Running(_) => json!({"state": "RUNNING"}),
        State::Done(done) => match &done.result {
            Ok(_) => json!({"state": "DONE"}),
            Err(error) => json!({"state": "DONE", "errorResult": error.proto(), "errors": [error.proto()]}),
        },
    }
}

fn statistics(record: &JobRecord, state: &State) -> Result<Value, ApiError> {
    let mut statistics = json!({"creationTime": millis(record.created)});
    match state {
        State::Pending => {}
        State::Running(started) => statistics["startTime"] = millis(*started),
        State::Done(done) => {
            statistics["startTime"] = millis(done.started.unwrap_or(record.created));
            statistics["endTime"] = millis(done.ended);
            add_query_statistics(&mut statistics, done)?;
        }
    }
    Ok(statistics)
}

fn add_query_statistics(statistics: &mut Value, done: &Done) -> Result<(), ApiError> {
    let Ok(Answer { estimate, outcome }) = &done.result else {
        statistics["query"] = json!({"totalBytesProcessed": "0", "totalBytesBilled": "0", "totalSlotMs": "0"});
        return Ok(());
    };
    let mut query = estimate_statistics(estimate)?;
    query["totalBytesProcessed"] = outcome.bytes_processed.to_string().into();
    query["totalBytesBilled"] = outcome.bytes_billed.to_string().into();
    query["totalSlotMs"] = outcome.slot_ms.to_string().into();
    query["cacheHit"] = outcome.cache_hit.into();
    if let Some(query) = query.as_object_mut() {
        // The schema is shown by dry runs alone.
        query.remove("schema");
    }
    statistics["totalBytesProcessed"] = query["totalBytesProcessed"].clone();
    statistics["totalSlotMs"] = query["totalSlotMs"].clone();
    statistics["query"] = query;
    Ok(())
}

fn estimate_statistics(estimate: &Estimate) -> Result<Value, ApiError> {
    let tables: Vec<_> = estimate.referenced_tables.iter().map(table_reference).collect();
    Ok(json!({
        "statementType": estimate.statement_type,
        "totalBytesProcessed": estimate.bytes_processed.to_string(),
        "estimatedBytesProcessed": estimate.bytes_processed.to_string(),
        "totalBytesBilled": "0",
        "cacheHit": false,
        "referencedTables": tables,
        "schema": table_schema(&answer_schema(&estimate.schema))?,
    }))
}

/// The `Job` that a dry run answers: done, and without an id.
pub(super) fn dry_run(
    project: &str,
    location: &str,
    configuration: Value,
    estimate: &Estimate,
    now: Timestamp,
) -> Result<Value, ApiError> {
    let mut configuration = configuration;
    configuration["dryRun"] = true.into();
    Ok(json!({
        "kind": "bigquery#job",
        "etag": "weir",
        "id": format!("{project}:{location}."),
        "jobReference": {"projectId": project, "location": location},
        "configuration": configuration,
        "status": {"state": "DONE"},
        "statistics": {
            "creationTime": millis(now),
            "totalBytesProcessed": estimate.bytes_processed.to_string(),
            "query": estimate_statistics(estimate)?,
        },
    }))
}

/// What a finished job's answers share: schema, totals, statistics; the rows come besides.
pub(super) fn results(kind: &str, record: &JobRecord, answer: &Answer) -> Result<Value, ApiError> {
    Ok(json!({
        "kind": kind,
        "etag": "weir",
        "schema": table_schema(&answer_schema(answer.outcome.batches.schema()))?,
        "jobReference": job_reference(record),
        "location": record.location,
        "totalRows": answer.outcome.batches.num_rows().to_string(),
        "totalBytesProcessed": answer.outcome.bytes_processed.to_string(),
        "totalBytesBilled": answer.outcome.bytes_billed.to_string(),
        "totalSlotMs": answer.outcome.slot_ms.to_string(),
        "jobComplete": true,
        "cacheHit": answer.outcome.cache_hit,
    }))
}

/// The answer while a job still runs.
pub(super) fn incomplete(kind: &str, record: &JobRecord) -> Value {
    json!({"kind": kind, "jobReference": job_reference(record), "location": record.location, "jobComplete": false})
}

/// A `TableReference`.
pub(super) fn table_reference(table: &TableId) -> Value {
    json!({"projectId": table.project, "datasetId": table.dataset, "tableId": table.table})
}

/// A `Table`.
pub(super) fn table(table: &Table, location: &str) -> Result<Value, ApiError> {
    let TableId { project, dataset, table: name } = &table.id;
    let mut json = json!({
        "kind": "bigquery#table",
        "etag": "weir",
        "id": format!("{project}:{dataset}.{name}"),
        "tableReference": table_reference(&table.id),
        "type": table.kind,
        "schema": table_schema(&table.schema)?,
        "numRows": table.num_rows.to_string(),
        "numBytes": table.num_bytes.to_string(),
        "creationTime": millis(table.last_modified),
        "lastModifiedTime": millis(table.last_modified),
        "location": table.location.as_deref().unwrap_or(location),
    });
    if let Some(partitioning) = &table.partitioning {
        json["timePartitioning"] = json!({"type": partitioning.unit});
        if let Some(column) = &partitioning.column {
            json["timePartitioning"]["field"] = column.as_str().into();
        }
    }
    if let Some(sql) = &table.view_sql {
        let view = if table.kind == "MATERIALIZED_VIEW" { "materializedView" } else { "view" };
        json[view] = json!({"query": sql, "useLegacySql": false});
    }
    Ok(json)
}

/// The anonymous table of a finished job.
pub(super) fn anonymous_table(record: &JobRecord, done: &Done, answer: &Answer) -> Table {
    Table {
        id: record.destination.clone(),
        kind: "TABLE".to_owned(),
        schema: answer_schema(answer.outcome.batches.schema()),
        partitioning: None,
        clustering: vec![],
        last_modified: done.ended,
        view_sql: None,
        num_rows: answer.outcome.batches.num_rows() as u64,
        num_bytes: answer.outcome.batches.memory_size() as u64,
        location: Some(record.location.clone()),
    }
}

fn millis(time: Timestamp) -> Value {
    time.millis().to_string().into()
}
