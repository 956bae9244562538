//! `BigQuery` itself, or a server that speaks its v2 and Storage Read protocols.
//!
//! The only module that knows `gcp_bigquery_client`. It neither retries nor limits: that is
//! [`super::limited`]'s.

mod cancel;
mod columns;
mod configuration;
mod conform;
mod datasets;
mod errors;
mod gathered;
mod jobs;
mod listing;
mod login;
mod models;
mod parameters;
mod rest;
mod results;
mod rows;
mod schema;
mod storage;
#[cfg(test)]
mod tests;
mod text;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use async_trait::async_trait;
use weir_plan::{Error, Kind, Result, TableId, Timestamp};

use self::cancel::Running;
use self::configuration::Defaults;
use self::datasets::AllowedDatasets;
use self::gathered::LARGEST_ANSWER_BYTES;
use self::jobs::Jobs;
pub(crate) use self::login::CloudLogin;
use self::login::Tokens;
pub use self::login::{CallerTokens, Forwarded};
use self::models::{TableResource, TimePartitioning};
use self::rest::Rest;
use self::storage::Storage;
use super::{Estimate, Identity, Job, Listed, Outcome, PartitionUnit, Partitioning, Project, Source, Table};
use crate::clock::{Clock, SystemClock};
use crate::config::{BigQueryConfig, Login};

/// A `BigQuery` project.
pub struct BigQuery {
    identity: Identity,
    jobs: Jobs,
    tokens: Arc<dyn Tokens>,
    datasets: Option<Arc<AllowedDatasets>>,
}

impl BigQuery {
    /// As [`BigQuery::connect_at`], by the machine's clock.
    ///
    /// # Errors
    /// Those of [`BigQuery::connect_at`].
    pub async fn connect(config: &BigQueryConfig) -> Result<Self> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        Self::connect_at(config, &clock).await
    }

    /// Checks the configuration and prepares the login, whose tokens expire by `clock`; nothing is sent
    /// to `BigQuery` yet.
    ///
    /// With an `endpoint` that is not Google's and no `storage_endpoint`, large answers are read as
    /// JSON.
    ///
    /// # Errors
    /// `InvalidQuery`, naming the setting, field or file that is missing or wrong; `Unavailable` if the
    /// metadata server alone knows the project and does not answer.
    pub async fn connect_at(config: &BigQueryConfig, clock: &Arc<dyn Clock>) -> Result<Self> {
        let login = login::prepare(&config.login, clock).await?;
        let project = match config.project.trim() {
            "" => login
                .project()
                .await?
                .ok_or_else(|| Error::invalid("the BigQuery project is missing; name the project that jobs run in"))?,
            project => project.to_owned(),
        };
        let defaults = Defaults::new(config, &project);
        let rest = Rest::new(config.endpoint.as_deref(), Arc::clone(&login.tokens))?;
        if rest.is_google() && config.login == Login::Anonymous {
            return Err(Error::invalid(
                "Google's BigQuery needs a login: give a service account, a key file or application-default credentials",
            ));
        }
        let storage_endpoint = config.storage_endpoint.as_deref().filter(|endpoint| !endpoint.trim().is_empty());
        let storage = (rest.is_google() || storage_endpoint.is_some())
            .then(|| Storage::new(storage_endpoint, Arc::clone(&login.tokens), &defaults.project))
            .transpose()?;
        let identity = Identity {
            kind: "bigquery",
            project: defaults.project.clone(),
            principal: login.principal,
            endpoint: config.endpoint.clone().filter(|_| !rest.is_google()),
            location: defaults.location.clone(),
        };
        let allowed = config.allowed_datasets.as_deref();
        let datasets = allowed.map(|allowed| AllowedDatasets::new(allowed, &defaults, login.tokens.whose()));
        let datasets = datasets.transpose()?.map(Arc::new);
        let jobs = Jobs {
            rest: Arc::new(rest),
            defaults,
            storage,
            storage_read_above_rows: config.storage_read_above_rows,
            largest_answer_bytes: LARGEST_ANSWER_BYTES,
            running: Running::default(),
            warned: Arc::new(AtomicBool::new(false)),
        };
        Ok(Self { identity, jobs, tokens: login.tokens, datasets })
    }

    /// The same project seen by a caller whose login is forwarded; `None` where the login is our own.
    pub fn on_behalf(&self, caller: &Arc<Forwarded>) -> Option<Self> {
        let tokens = self.tokens.on_behalf(caller)?;
        Some(Self {
            identity: self.identity.clone(),
            jobs: self.jobs.under(Arc::clone(&tokens)),
            tokens,
            datasets: self.datasets.clone(),
        })
    }

    /// Checks a dataset that is read without a query.
    async fn check_dataset(&self, project: &str, dataset: &str) -> Result<()> {
        match &self.datasets {
            Some(allowed) => allowed.check_dataset(&self.jobs, project, dataset).await,
            None => Ok(()),
        }
    }
}

/// Shows who asks where; no secret.
impl fmt::Debug for BigQuery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BigQuery").field("identity", &self.identity).finish_non_exhaustive()
    }
}

#[async_trait]
impl Source for BigQuery {
    fn identity(&self) -> &Identity {
        &self.identity
    }

    async fn dry_run(&self, job: &Job) -> Result<Estimate> {
        let estimate = self.jobs.dry_run(job).await?;
        if let Some(datasets) = &self.datasets {
            datasets.check_estimate(&self.jobs, job, &estimate).await?;
        }
        Ok(estimate)
    }

    async fn run(&self, job: Job) -> Result<Outcome> {
        if let Some(datasets) = &self.datasets {
            datasets.check(&self.jobs, &job).await?;
        }
        self.jobs.run(&job).await
    }

    async fn settled(&self) {
        self.jobs.running.settled().await;
    }

    async fn table(&self, table: &TableId) -> Result<Table> {
        self.check_dataset(&table.project, &table.dataset).await?;
        let path = ["projects", &table.project, "datasets", &table.dataset, "tables", &table.table];
        let resource: TableResource = self.jobs.rest.get(&path, &[]).await.map_err(|failure| {
            let error = Error::from(failure);
            // BigQuery's own messages name the table; a proxy's page does not.
            if error.message().contains(&table.table) { error } else { error.context(table) }
        })?;
        describe(table, resource)
    }

    async fn list_projects(&self) -> Result<Vec<Project>> {
        let listed = listing::projects(&self.jobs.rest).await?;
        Ok(match &self.datasets {
            Some(allowed) => allowed.of_list(listed),
            None => listed,
        })
    }

    async fn list_datasets(&self, project: &str) -> Result<Vec<String>> {
        let only = match &self.datasets {
            Some(allowed) => allowed.of_project(&self.jobs, project).await?,
            None => None,
        };
        let mut listed = listing::datasets(&self.jobs.rest, project).await?;
        listed.retain(|dataset| only.as_ref().is_none_or(|only| only.contains(&**dataset)));
        Ok(listed)
    }

    async fn list_tables(&self, project: &str, dataset: &str) -> Result<Vec<Listed>> {
        self.check_dataset(project, dataset).await?;
        listing::tables(&self.jobs.rest, project, dataset).await
    }
}

fn describe(id: &TableId, resource: TableResource) -> Result<Table> {
    let millis = resource.last_modified_time.and_then(|millis| i64::try_from(millis).ok()).unwrap_or(0);
    Ok(Table {
        id: id.clone(),
        kind: resource.kind.unwrap_or_else(|| "TABLE".to_owned()),
        schema: schema::arrow_schema(&resource.schema).map_err(|error| error.context(id))?,
        partitioning: resource.time_partitioning.map(|partitioning| time_partitioning(id, partitioning)).transpose()?,
        clustering: resource.clustering.map(|clustering| clustering.fields).unwrap_or_default(),
        last_modified: Timestamp::from_millis(millis)?,
        view_sql: resource.view.or(resource.materialized_view).and_then(|view| view.query),
        num_rows: resource.num_rows.unwrap_or(0),
        num_bytes: resource.num_bytes.unwrap_or(0),
        location: resource.location,
    })
}

fn time_partitioning(id: &TableId, partitioning: TimePartitioning) -> Result<Partitioning> {
    let unit = match partitioning.unit.as_str() {
        "HOUR" => PartitionUnit::Hour,
        "DAY" => PartitionUnit::Day,
        "MONTH" => PartitionUnit::Month,
        "YEAR" => PartitionUnit::Year,
        unit => {
            return Err(Error::new(
                Kind::Unavailable,
                format!("table {id} is partitioned by the unknown unit {unit:?}"),
            ));
        }
    };
    Ok(Partitioning { column: partitioning.field, unit })
}
