//! Talks to `BigQuery`; the only module that knows gcp-bigquery-client.

use async_trait::async_trait;
use weir_plan::{Result, TableId};

use super::{Estimate, Identity, Job, Outcome, Source, Table};
use crate::config::BigQueryConfig;

/// A `BigQuery` project.
pub struct BigQuery;

impl BigQuery {
    /// Logs in.
    pub async fn connect(_config: &BigQueryConfig) -> Result<Self> {
        unimplemented!()
    }
}

#[async_trait]
impl Source for BigQuery {
    fn identity(&self) -> &Identity {
        unimplemented!()
    }
    async fn dry_run(&self, _job: &Job) -> Result<Estimate> {
        unimplemented!()
    }
    async fn run(&self, _job: Job) -> Result<Outcome> {
        unimplemented!()
    }
    async fn table(&self, _table: &TableId) -> Result<Table> {
        unimplemented!()
    }
}
