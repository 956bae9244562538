//! What we read of `BigQuery`'s answers, by the field names of the v2 discovery document.
//!
//! Numbers of 64 bits arrive as strings (as everywhere in Google's JSON); plain numbers are taken
//! too. Unknown fields are ignored.

use gcp_bigquery_client::model::error_proto::ErrorProto;
use gcp_bigquery_client::model::job_reference::JobReference;
use gcp_bigquery_client::model::job_status::JobStatus;
use gcp_bigquery_client::model::table_reference::TableReference;
use serde::{Deserialize, Deserializer};
use weir_plan::Timestamp;

use super::errors::Failure;
use super::schema::TableSchema;
use crate::source::Billed;

/// A job.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct JobResource {
    pub(super) job_reference: Option<JobReference>,
    pub(super) configuration: Option<Configuration>,
    pub(super) statistics: Statistics,
    pub(super) status: Option<JobStatus>,
}

impl JobResource {
    /// The error that the job ended with.
    pub(super) fn failure(&self) -> Option<Failure> {
        self.status.as_ref()?.error_result.as_ref().map(Failure::of_job)
    }

    /// Where the job runs.
    pub(super) fn location(&self) -> Option<&str> {
        self.job_reference.as_ref()?.location.as_deref()
    }

    /// The table that holds the answer.
    pub(super) fn destination(&self) -> Option<&TableReference> {
        self.configuration.as_ref()?.query.as_ref()?.destination_table.as_ref()
    }
}

/// A job's configuration.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Configuration {
    pub(super) query: Option<QueryConfiguration>,
    #[serde(deserialize_with = "number")]
    pub(super) job_timeout_ms: Option<u64>,
}

/// The part of the configuration that is about a query.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct QueryConfiguration {
    pub(super) destination_table: Option<TableReference>,
}

/// A job's statistics; times in milliseconds since the epoch.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Statistics {
    #[serde(deserialize_with = "number")]
    pub(super) creation_time: Option<u64>,
    #[serde(deserialize_with = "number")]
    pub(super) start_time: Option<u64>,
    #[serde(deserialize_with = "number")]
    pub(super) end_time: Option<u64>,
    #[serde(deserialize_with = "number")]
    pub(super) total_bytes_processed: Option<u64>,
    #[serde(deserialize_with = "number")]
    pub(super) total_slot_ms: Option<u64>,
    pub(super) query: Option<QueryStatistics>,
}

impl Statistics {
    /// When the job began.
    pub(super) fn started_at(&self) -> Option<Timestamp> {
        Timestamp::from_millis(self.start_time?.try_into().ok()?).ok()
    }

    /// When the job was made.
    pub(super) fn created_at(&self) -> Option<Timestamp> {
        Timestamp::from_millis(self.creation_time?.try_into().ok()?).ok()
    }

    /// What the job billed.
    pub(super) fn billed(&self, ours: bool) -> Billed {
        let bytes_billed = self.query.as_ref().and_then(|query| query.total_bytes_billed);
        Billed { bytes_billed: bytes_billed.unwrap_or(0), slot_ms: self.total_slot_ms.unwrap_or(0), ours }
    }
}

/// The part of the statistics that is about a query.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct QueryStatistics {
    #[serde(deserialize_with = "number")]
    pub(super) total_bytes_processed: Option<u64>,
    #[serde(deserialize_with = "number")]
    pub(super) total_bytes_billed: Option<u64>,
    pub(super) cache_hit: Option<bool>,
    pub(super) statement_type: Option<String>,
    pub(super) referenced_tables: Vec<TableReference>,
    pub(super) schema: Option<TableSchema>,
}

/// A page of results without its rows, which are decoded apart.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Page {
    #[serde(default)]
    pub(super) job_complete: bool,
    #[serde(default, deserialize_with = "number")]
    pub(super) total_rows: Option<u64>,
    #[serde(rename = "pageToken")]
    pub(super) next: Option<String>,
    pub(super) schema: Option<TableSchema>,
    #[serde(default)]
    pub(super) errors: Vec<ErrorProto>,
}

/// A table or view.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct TableResource {
    #[serde(rename = "type")]
    pub(super) kind: Option<String>,
    #[serde(default)]
    pub(super) schema: TableSchema,
    pub(super) time_partitioning: Option<TimePartitioning>,
    pub(super) clustering: Option<Clustering>,
    #[serde(default, deserialize_with = "number")]
    pub(super) last_modified_time: Option<u64>,
    #[serde(default, deserialize_with = "number")]
    pub(super) num_rows: Option<u64>,
    #[serde(default, deserialize_with = "number")]
    pub(super) num_bytes: Option<u64>,
    pub(super) location: Option<String>,
    pub(super) view: Option<ViewDefinition>,
    pub(super) materialized_view: Option<ViewDefinition>,
}

/// Time partitioning; `type` is HOUR, DAY, MONTH or YEAR.
#[derive(Debug, Deserialize)]
pub(super) struct TimePartitioning {
    pub(super) field: Option<String>,
    #[serde(rename = "type")]
    pub(super) unit: String,
}

/// What rows are clustered by.
#[derive(Debug, Deserialize)]
pub(super) struct Clustering {
    #[serde(default)]
    pub(super) fields: Vec<String>,
}

/// A view's text.
#[derive(Debug, Deserialize)]
pub(super) struct ViewDefinition {
    pub(super) query: Option<String>,
}

/// A 64-bit number in Google's JSON: a string, as a rule.
fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Number {
        Text(String),
        Plain(u64),
    }
    match Option::<Number>::deserialize(deserializer)? {
        None => Ok(None),
        Some(Number::Plain(number)) => Ok(Some(number)),
        Some(Number::Text(text)) => text.parse().map(Some).map_err(serde::de::Error::custom),
    }
}
