//! Permits and retries round a source.

use std::sync::Arc;

use async_trait::async_trait;
use weir_plan::{Result, TableId};

use super::{Estimate, Identity, Job, Outcome, Source, Table};

/// How a source is limited.
#[derive(Clone, Debug, Default)]
pub struct Limits;

/// A source with limits.
pub struct Limited(Arc<dyn Source>);

impl Limited {
    /// Wraps a source.
    pub fn new(source: Arc<dyn Source>, _limits: Limits) -> Self {
        Self(source)
    }
}

#[async_trait]
impl Source for Limited {
    fn identity(&self) -> &Identity {
        self.0.identity()
    }
    async fn dry_run(&self, job: &Job) -> Result<Estimate> {
        self.0.dry_run(job).await
    }
    async fn run(&self, job: Job) -> Result<Outcome> {
        self.0.run(job).await
    }
    async fn table(&self, table: &TableId) -> Result<Table> {
        self.0.table(table).await
    }
    async fn settled(&self) {
        self.0.settled().await;
    }
}
