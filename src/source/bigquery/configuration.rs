//! A [`Job`] becomes the body of `jobs.insert`. It sends nothing.

use std::time::Duration;

use gcp_bigquery_client::model::dataset_reference::DatasetReference;
use gcp_bigquery_client::model::job::Job as ApiJob;
use gcp_bigquery_client::model::job_configuration::JobConfiguration;
use gcp_bigquery_client::model::job_configuration_query::JobConfigurationQuery;
use gcp_bigquery_client::model::job_reference::JobReference;
use weir_plan::{Error, Result};

use super::parameters::query_parameters;
use crate::config::BigQueryConfig;
use crate::source::{Job, Priority};

/// What every job of a source has, unless the job says otherwise.
#[derive(Clone, Debug)]
pub(super) struct Defaults {
    /// Project that jobs run in.
    pub(super) project: String,
    /// Project of dataset names without one.
    pub(super) data_project: String,
    /// Location.
    pub(super) location: Option<String>,
    /// Upper limit of billed bytes; the smaller of this and the job's holds.
    pub(super) maximum_bytes_billed: Option<u64>,
    /// BATCH makes every job a batch job.
    pub(super) priority: Priority,
    /// Timeout of jobs that have none.
    pub(super) job_timeout: Option<Duration>,
}

impl Defaults {
    /// The defaults of `config` for jobs in `project`.
    pub(super) fn new(config: &BigQueryConfig, project: &str) -> Self {
        let data_project = config.data_project.as_deref().map(str::trim).filter(|project| !project.is_empty());
        Self {
            project: project.to_owned(),
            data_project: data_project.unwrap_or(project).to_owned(),
            location: config.location.clone().filter(|location| !location.trim().is_empty()),
            maximum_bytes_billed: config.maximum_bytes_billed,
            priority: config.priority,
            job_timeout: config.job_timeout,
        }
    }

    /// Where the job is to run; `None` leaves it to `BigQuery`, which looks where its tables are.
    pub(super) fn location<'a>(&'a self, job: &'a Job) -> Option<&'a str> {
        job.location.as_deref().or(self.location.as_deref())
    }

    /// When `BigQuery` itself stops the job.
    pub(super) fn timeout(&self, job: &Job) -> Option<Duration> {
        job.timeout.or(self.job_timeout)
    }

    /// The body of `jobs.insert` for a job that runs under `id`.
    ///
    /// # Errors
    /// `InvalidQuery` for an id, a parameter or a default dataset that cannot be sent.
    pub(super) fn running(&self, job: &Job, id: &str) -> Result<ApiJob> {
        let valid = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
        if id.is_empty() || id.len() > 1024 || !id.bytes().all(valid) {
            return Err(Error::invalid(format!("job id {id:?} is not of letters, digits, - and _")));
        }
        self.body(job, Some(id))
    }

    /// The body of `jobs.insert` for a dry run. It has no id: a dry run makes no job, and must not
    /// use one up.
    ///
    /// # Errors
    /// As [`Defaults::running`].
    pub(super) fn dry_run(&self, job: &Job) -> Result<ApiJob> {
        self.body(job, None)
    }

    fn body(&self, job: &Job, id: Option<&str>) -> Result<ApiJob> {
        let parameters = query_parameters(&job.parameters)?;
        let limits = [job.maximum_bytes_billed, self.maximum_bytes_billed];
        let batch = [job.priority, self.priority].contains(&Priority::Batch);
        let query = JobConfigurationQuery {
            query: job.sql.clone(),
            use_legacy_sql: Some(false),
            use_query_cache: Some(true),
            parameter_mode: (!parameters.is_empty()).then(|| "NAMED".to_owned()),
            query_parameters: (!parameters.is_empty()).then_some(parameters),
            default_dataset: job.default_dataset.as_deref().map(|name| self.dataset(name)).transpose()?,
            priority: Some(if batch { "BATCH" } else { "INTERACTIVE" }.to_owned()),
            maximum_bytes_billed: limits.into_iter().flatten().min().map(|bytes| bytes.to_string()),
            ..JobConfigurationQuery::default()
        };
        let labels = || job.labels.iter().map(|(key, value)| (key.clone(), value.clone())).collect();
        let timeout = self.timeout(job).filter(|_| id.is_some());
        let configuration = JobConfiguration {
            dry_run: id.is_none().then_some(true),
            job_timeout_ms: timeout.map(|timeout| timeout.as_millis().to_string()),
            labels: (!job.labels.is_empty()).then(labels),
            query: Some(query),
            ..JobConfiguration::default()
        };
        let job_reference = JobReference {
            project_id: Some(self.project.clone()),
            job_id: id.map(str::to_owned),
            location: self.location(job).map(str::to_owned),
        };
        Ok(ApiJob { configuration: Some(configuration), job_reference: Some(job_reference), ..ApiJob::default() })
    }

    fn dataset(&self, name: &str) -> Result<DatasetReference> {
        let (project, dataset) = name.rsplit_once('.').unwrap_or((&self.data_project, name));
        if project.is_empty() || dataset.is_empty() {
            return Err(Error::invalid(format!(
                "default dataset {name:?} is not of the form dataset or project.dataset"
            )));
        }
        Ok(DatasetReference { project_id: project.to_owned(), dataset_id: dataset.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};
    use weir_plan::Parameter;

    fn defaults() -> Defaults {
        Defaults {
            project: "p".to_owned(),
            data_project: "data".to_owned(),
            location: Some("EU".to_owned()),
            maximum_bytes_billed: Some(100),
            priority: Priority::Interactive,
            job_timeout: Some(Duration::from_mins(1)),
        }
    }

    fn json_of(job: &ApiJob) -> Value {
        serde_json::to_value(job).unwrap()
    }

    #[test]
    fn a_job_is_sent_with_all_that_it_says() {
        let mut job = Job::new("id-1", "SELECT @n");
        job.parameters.insert("n".to_owned(), Parameter { type_name: "INT64".to_owned(), value: json!(1) });
        job.labels.insert("board".to_owned(), "b".to_owned());
        job.default_dataset = Some("q.d".to_owned());
        job.maximum_bytes_billed = Some(200);
        job.priority = Priority::Batch;
        let expected = json!({
            "jobReference": {"projectId": "p", "jobId": "id-1", "location": "EU"},
            "configuration": {
                "jobTimeoutMs": "60000",
                "labels": {"board": "b"},
                "query": {
                    "query": "SELECT @n",
                    "useLegacySql": false,
                    "useQueryCache": true,
                    "parameterMode": "NAMED",
                    "queryParameters": [{"name": "n", "parameterType": {"type": "INT64"}, "parameterValue": {"value": "1"}}],
                    "defaultDataset": {"projectId": "q", "datasetId": "d"},
                    "priority": "BATCH",
                    "maximumBytesBilled": "100",
                },
            },
        });
        assert_eq!(json_of(&defaults().running(&job, "id-1").unwrap()), expected);
    }

    #[test]
    fn a_dataset_without_a_project_is_not_of_the_project_that_pays() {
        let dataset = |name: &str| {
            let job = Job { default_dataset: Some(name.to_owned()), ..Job::new("id", "SELECT 1") };
            let body = json_of(&defaults().dry_run(&job).unwrap());
            body["configuration"]["query"]["defaultDataset"].clone()
        };
        assert_eq!(dataset("d"), json!({"projectId": "data", "datasetId": "d"}));
        assert_eq!(dataset("q.d"), json!({"projectId": "q", "datasetId": "d"}));
    }

    #[test]
    fn a_dry_run_uses_up_no_id() {
        let body = json_of(&defaults().dry_run(&Job::new("id", "SELECT 1")).unwrap());
        assert_eq!(body["jobReference"], json!({"projectId": "p", "location": "EU"}));
        assert_eq!(body["configuration"]["dryRun"], true);
        assert!(body["configuration"].get("jobTimeoutMs").is_none());
    }

    #[test]
    fn what_cannot_be_sent_is_named() {
        let mut job = Job::new("id", "SELECT 1");
        assert!(defaults().running(&job, "a b").unwrap_err().message().contains("\"a b\""));
        job.default_dataset = Some("p.".to_owned());
        assert!(defaults().dry_run(&job).unwrap_err().message().contains("\"p.\""));
    }
}
