//! The bodies of `jobs.insert` and `jobs.query`, checked as strictly as `BigQuery` does, as one job
//! to run. Field names are those of the v2 discovery document.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Deserializer};
use serde_json::Value;
use weir_plan::Parameter;

use super::parameters::{WireParameter, parameters};
use super::reply::ApiError;
use crate::source::{Job, Priority};

/// A job to run, or to check.
#[derive(Clone, Debug)]
pub(super) struct Submission {
    pub(super) job: Job,
    pub(super) dry_run: bool,
    /// The `configuration` that the job's resource shows.
    pub(super) configuration: Value,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct JobResource {
    configuration: Configuration,
    #[serde(default)]
    job_reference: Reference,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Reference {
    project_id: Option<String>,
    job_id: Option<String>,
    location: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Configuration {
    query: Option<QueryFields>,
    #[serde(default)]
    dry_run: Option<bool>,
    #[serde(default)]
    labels: Option<BTreeMap<String, String>>,
    #[serde(default, deserialize_with = "int64")]
    job_timeout_ms: Option<u64>,
}

/// The fields that a query job's configuration and `jobs.query` share.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct QueryFields {
    query: String,
    #[serde(default)]
    use_legacy_sql: Option<bool>,
    #[serde(default)]
    default_dataset: Option<Dataset>,
    #[serde(default)]
    destination_table: Option<Value>,
    #[serde(default, deserialize_with = "int64")]
    maximum_bytes_billed: Option<u64>,
    #[serde(default)]
    parameter_mode: Option<String>,
    #[serde(default)]
    query_parameters: Vec<WireParameter>,
    #[serde(default)]
    priority: Option<Priority>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Dataset {
    dataset_id: String,
    project_id: Option<String>,
}

/// What `jobs.query` has besides.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct QueryRequest {
    #[serde(flatten)]
    fields: QueryFields,
    #[serde(default)]
    dry_run: Option<bool>,
    #[serde(default)]
    labels: Option<BTreeMap<String, String>>,
    #[serde(default)]
    location: Option<String>,
    #[serde(default, deserialize_with = "int64")]
    job_timeout_ms: Option<u64>,
    /// Idempotence: the same id joins the same job.
    #[serde(default)]
    request_id: Option<String>,
    /// Rows of the first page.
    #[serde(default, deserialize_with = "int64")]
    pub(super) max_results: Option<u64>,
    /// How long the answer may wait for the job's end.
    #[serde(default, deserialize_with = "int64")]
    pub(super) timeout_ms: Option<u64>,
    /// How values are written.
    #[serde(default)]
    pub(super) format_options: FormatOptions,
}

/// `DataFormatOptions`.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct FormatOptions {
    pub(super) use_int64_timestamp: bool,
}

impl Submission {
    /// Reads the body of `jobs.insert` in `project`.
    ///
    /// # Errors
    /// `invalid`, naming the field; `notImplemented` for jobs other than queries.
    pub(super) fn of_insert(project: &str, body: &[u8]) -> Result<Self, ApiError> {
        let value: Value = serde_json::from_slice(body).map_err(|error| parse_error(&error))?;
        let mut configuration = value.get("configuration").cloned().unwrap_or_default();
        let resource: JobResource = serde_json::from_value(value).map_err(|error| parse_error(&error))?;
        let Reference { project_id, job_id, location } = resource.job_reference;
        if let Some(other) = project_id.filter(|other| other != project) {
            return Err(ApiError::invalid(format!(
                "jobReference.projectId {other} does not match the URL's project {project}"
            )));
        }
        let id = job_id.unwrap_or_else(|| format!("job_{}", uuid::Uuid::new_v4().simple()));
        check_id(&id)?;
        let Configuration { query, dry_run, labels, job_timeout_ms } = resource.configuration;
        let query = query.ok_or_else(|| ApiError::unsupported("a job without configuration.query"))?;
        let mut job = job(query, id, project)?;
        job.location = location;
        job.labels = checked_labels(labels)?;
        job.timeout = job_timeout_ms.map(Duration::from_millis);
        configuration["jobType"] = "QUERY".into();
        Ok(Self { job, dry_run: dry_run.unwrap_or(false), configuration })
    }

    /// Makes a job of the body of `jobs.query`.
    ///
    /// # Errors
    /// As [`Submission::of_insert`].
    pub(super) fn of_query(project: &str, request: QueryRequest, body: &Value) -> Result<Self, ApiError> {
        let id = match &request.request_id {
            Some(request_id) => format!("job_{}", super::digest(&[project, request_id])),
            None => format!("job_{}", uuid::Uuid::new_v4().simple()),
        };
        let mut job = job(request.fields, id, project)?;
        job.location = request.location;
        job.labels = checked_labels(request.labels)?;
        job.timeout = request.job_timeout_ms.map(Duration::from_millis);
        let configuration = serde_json::json!({"jobType": "QUERY", "query": {
            "query": job.sql,
            "useLegacySql": false,
            "queryParameters": body.get("queryParameters"),
        }});
        Ok(Self { job, dry_run: request.dry_run.unwrap_or(false), configuration })
    }
}

fn job(query: QueryFields, id: String, project: &str) -> Result<Job, ApiError> {
    // The API's default is true: whoever forgets the field gets legacy SQL.
    if query.use_legacy_sql.unwrap_or(true) {
        return Err(ApiError::unsupported("legacy SQL (useLegacySql is true unless it is set to false)"));
    }
    if query.destination_table.is_some_and(|table| !table.is_null()) {
        return Err(ApiError::unsupported("destinationTable"));
    }
    if query.query.trim().is_empty() {
        return Err(ApiError::new(400, "required", "Required parameter is missing: query"));
    }
    let parameters: BTreeMap<String, Parameter> = parameters(query.parameter_mode.as_deref(), &query.query_parameters)?;
    Ok(Job {
        parameters,
        default_dataset: query
            .default_dataset
            .map(|dataset| format!("{}.{}", dataset.project_id.as_deref().unwrap_or(project), dataset.dataset_id)),
        priority: query.priority.unwrap_or_default(),
        maximum_bytes_billed: query.maximum_bytes_billed,
        ..Job::new(id, query.query)
    })
}

fn check_id(id: &str) -> Result<(), ApiError> {
    let plain = id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-');
    if plain && (1..=1024).contains(&id.len()) {
        Ok(())
    } else {
        Err(ApiError::invalid(format!("Invalid job ID {id:?}")))
    }
}

/// Rules of <https://cloud.google.com/bigquery/docs/labels-intro#requirements>, for ASCII.
fn checked_labels(labels: Option<BTreeMap<String, String>>) -> Result<BTreeMap<String, String>, ApiError> {
    let labels = labels.unwrap_or_default();
    let plain = |text: &str| {
        text.chars().count() <= 63
            && text.chars().all(|c| (c.is_alphanumeric() && !c.is_uppercase()) || c == '_' || c == '-')
    };
    if labels.len() > 64 {
        return Err(ApiError::invalid("A resource can have at most 64 labels"));
    }
    for (key, value) in &labels {
        if !plain(key) || !plain(value) || !key.starts_with(char::is_alphabetic) {
            return Err(ApiError::invalid(format!("Label {key:?}: {value:?} has invalid characters or is too long")));
        }
    }
    Ok(labels)
}

/// Errors of a body that is not the resource it should be.
pub(super) fn parse_error(error: &serde_json::Error) -> ApiError {
    ApiError::new(400, "parseError", format!("Invalid JSON payload received: {error}"))
}

/// The API writes 64-bit integers as strings and takes both.
fn int64<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    match Option::<Value>::deserialize(deserializer)? {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => text.parse().map(Some).map_err(serde::de::Error::custom),
        Some(Value::Number(number)) => {
            number.as_u64().map(Some).ok_or_else(|| serde::de::Error::custom("not a non-negative integer"))
        }
        Some(other) => Err(serde::de::Error::custom(format!("{other} is not an integer"))),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn insert(body: &Value) -> Result<Submission, ApiError> {
        Submission::of_insert("p", body.to_string().as_bytes())
    }

    #[test]
    fn every_field_of_a_query_job_reaches_it() {
        let body = json!({
            "jobReference": {"projectId": "p", "jobId": "weir-1", "location": "EU"},
            "configuration": {"labels": {"board": "a-b_1"}, "jobTimeoutMs": "5000", "query": {
                "query": "SELECT 1", "useLegacySql": false, "maximumBytesBilled": "1000", "priority": "BATCH",
                "defaultDataset": {"datasetId": "d"},
            }},
        });
        let job = insert(&body).unwrap().job;
        assert_eq!((job.id.as_str(), job.sql.as_str()), ("weir-1", "SELECT 1"));
        assert_eq!((job.location.as_deref(), job.default_dataset.as_deref()), (Some("EU"), Some("p.d")));
        assert_eq!((job.maximum_bytes_billed, job.priority), (Some(1000), Priority::Batch));
        assert_eq!((job.labels["board"].as_str(), job.timeout), ("a-b_1", Some(Duration::from_secs(5))));
    }

    #[test]
    fn what_bigquery_refuses_is_refused() {
        let good = || json!({"query": "SELECT 1", "useLegacySql": false});
        let with = |field: &str, value: Value| {
            let mut query = good();
            query[field] = value;
            json!({"configuration": {"query": query}})
        };
        let cases = [
            (json!({"configuration": {"query": {"query": "SELECT 1"}}}), 501, "legacy SQL"),
            (with("destinationTable", json!({"tableId": "t"})), 501, "destinationTable"),
            (with("query", json!(" ")), 400, "query"),
            (with("maximumBytesBilled", json!("many")), 400, "JSON"),
            (with("priority", json!("URGENT")), 400, "URGENT"),
            (json!({"configuration": {"load": {}}}), 501, "configuration.query"),
            (json!({"configuration": {"query": good()}, "jobReference": {"jobId": "a b"}}), 400, "a b"),
            (json!({"configuration": {"query": good()}, "jobReference": {"projectId": "q"}}), 400, "projectId"),
            (json!({"configuration": {"query": good(), "labels": {"Board": "x"}}}), 400, "Board"),
            (json!({"configuration": {"query": good(), "labels": {"b": "x".repeat(64)}}}), 400, "Label"),
        ];
        for (body, http, part) in cases {
            let error = insert(&body).unwrap_err();
            assert_eq!(error.http, http, "{body}");
            assert!(error.message.contains(part), "{body}: {}", error.message);
        }
    }
}
