//! What Weir is told: the only reader of configuration files and of the environment.

mod environment;
mod file;
mod units;

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use weir_plan::{Price, Query, Result, Scope, SourceDescriptor};

use crate::cache::FolderSettings;
use crate::engine::LocalSettings;
use crate::ledger::Budget;
use crate::monitoring::MonitoringSettings;
use crate::source::Priority;

pub use environment::{Environment, Host};
pub use units::{parse_bytes, parse_deadline, parse_duration};

/// The whole configuration. Its file is described in README.md, "Configuration reference".
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Address of the export API, `HOST:PORT`; `None` where the file names none.
    pub listen: Option<String>,
    /// Whether the export API may be reached from other machines without a login.
    pub allow_anonymous: bool,
    /// The deadline of queries that name none, over sources that name none.
    pub deadline: Duration,
    /// Bytes of the cache.
    pub cache_capacity: u64,
    /// Where settled answers outlive the process.
    pub cache_folder: Option<FolderSettings>,
    /// Sources by the name that selects them.
    pub sources: BTreeMap<String, SourceConfig>,
    /// Where the figures of experiments come from, for sources that say so.
    pub monitoring: BTreeMap<String, MonitoringSettings>,
}

impl Config {
    /// The address of the export API where none is named.
    pub const LISTEN: &str = "127.0.0.1:8088";
    /// Bytes of the cache where nothing else is said.
    pub const CACHE_CAPACITY: u64 = 512 * 1024 * 1024;

    /// Takes the cache's folder and its capacity from the environment, where it names them.
    ///
    /// # Errors
    /// `InvalidQuery` naming the variable; then there is no folder.
    pub fn take_cache_folder(&mut self, environment: &Environment) -> Result<()> {
        let mut folder = self.cache_folder.take();
        if let Some(path) = &environment.cache_folder {
            let capacity = folder.map_or(FolderSettings::CAPACITY, |folder| folder.capacity);
            folder = Some(FolderSettings { path: path.clone(), capacity });
        }
        if let Some(text) = &environment.cache_folder_capacity {
            let capacity = parse_bytes(text).map_err(|error| error.context("GF_PLUGIN_CACHE_FOLDER_CAPACITY"))?;
            folder = folder.map(|folder| FolderSettings { capacity, ..folder });
        }
        self.cache_folder = folder;
        Ok(())
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: None,
            allow_anonymous: false,
            deadline: Query::DEADLINE,
            cache_capacity: Self::CACHE_CAPACITY,
            cache_folder: None,
            sources: BTreeMap::new(),
            monitoring: BTreeMap::new(),
        }
    }
}

/// A source of the export API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SourceConfig {
    /// A `BigQuery` project.
    BigQuery(Box<BigQueryConfig>),
    /// A folder of Parquet, CSV or Arrow files as tables.
    Embedded(PathBuf),
}

/// A text that never appears in logs.
#[derive(Clone, PartialEq, Eq, Hash, Deserialize)]
#[serde(transparent)]
pub struct Secret(pub String);

impl Secret {
    /// Reads a secret from a file, for example a private key in PEM.
    ///
    /// # Errors
    /// `InvalidQuery` naming the path if it cannot be read.
    pub fn read(path: &std::path::Path) -> weir_plan::Result<Self> {
        let cannot = |error| {
            weir_plan::Error::invalid(format!("cannot read the secret file {}", path.display())).with_source(error)
        };
        std::fs::read_to_string(path).map(Self).map_err(cannot)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

/// How Weir shows `BigQuery` who it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Login {
    /// The fields of a service-account key.
    ServiceAccount {
        /// The account's address.
        client_email: String,
        /// PEM, with line ends or with `\n` written out.
        private_key: Secret,
        /// Where tokens are fetched.
        token_uri: String,
    },
    /// A credentials file in JSON: a service account's key, a user's, or one of workload identity
    /// federation or impersonation, as Google's tools write them.
    KeyFile(PathBuf),
    /// Application-default credentials: the file of [`application_default_file`], else the metadata server.
    ApplicationDefault,
    /// No login, for a local stand-in; refused for Google's own endpoint.
    Anonymous,
    /// The access token of each caller, which arrives with its requests.
    Forwarded,
    /// The ID token of each caller, exchanged for an access token by workload identity federation.
    Exchanged {
        /// `projects/NUMBER/locations/global/workloadIdentityPools/POOL/providers/PROVIDER`.
        provider: String,
        /// Where tokens are exchanged, in place of Google's security token service.
        token_uri: Option<String>,
    },
    /// A service account in whose name a login may act.
    Impersonated {
        /// The login that may.
        login: Box<Login>,
        /// The service account's address.
        service_account: String,
        /// Base URL in place of `https://iamcredentials.googleapis.com`.
        endpoint: Option<String>,
    },
}

/// A token that Grafana forwards with the requests of a signed-in user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ForwardedToken {
    /// The access token, in `Authorization`.
    Access,
    /// The ID token, in `X-Id-Token`.
    Id,
}

impl Login {
    /// Which token of its caller a login lives on; `None` for a login of our own.
    pub fn forwarded(&self) -> Option<ForwardedToken> {
        match self {
            Self::Forwarded => Some(ForwardedToken::Access),
            Self::Exchanged { .. } => Some(ForwardedToken::Id),
            Self::Impersonated { login, .. } => login.forwarded(),
            Self::ServiceAccount { .. } | Self::KeyFile(_) | Self::ApplicationDefault | Self::Anonymous => None,
        }
    }
}

/// A `BigQuery` project to query, from a file or from a Grafana data source's settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BigQueryConfig {
    /// Login.
    pub login: Login,
    /// Project that jobs run in; where it is empty, the project of the login.
    pub project: String,
    /// Project of dataset names without one; `None` means `project`.
    pub data_project: Option<String>,
    /// Default location of jobs.
    pub location: Option<String>,
    /// Base URL in place of `https://bigquery.googleapis.com`, without `/bigquery/v2`.
    pub endpoint: Option<String>,
    /// Base URL of the Storage Read API (gRPC) in place of `https://bigquerystorage.googleapis.com`.
    pub storage_endpoint: Option<String>,
    /// Upper limit of billed bytes for each job.
    pub maximum_bytes_billed: Option<u64>,
    /// Priority of jobs.
    pub priority: Priority,
    /// Answers of more rows than this are read through the Storage Read API; `None` never.
    pub storage_read_above_rows: Option<u64>,
    /// `BigQuery` itself stops a job after this.
    pub job_timeout: Option<Duration>,
    /// What a TiB on the bill costs.
    pub price: Price,
    /// What may be billed in a day.
    pub budget: Budget,
    /// How long callers wait that do not say.
    pub deadline: Option<Duration>,
    /// Restricts queries to the projects that the login can list and to these datasets (`project.dataset`,
    /// or `dataset` in the data project); `None` leaves it to `BigQuery`'s own permissions.
    pub allowed_datasets: Option<Vec<String>>,
    /// What is known of tables and views, besides the ready-made.
    pub descriptors: Vec<SourceDescriptor>,
    /// What is kept here to be answered from without jobs.
    pub local: LocalSettings,
}

impl BigQueryConfig {
    /// Settings for a local stand-in: no login, and every other setting at its default.
    pub fn stand_in(project: impl Into<String>, endpoint: impl Into<String>) -> Self {
        Self {
            login: Login::Anonymous,
            project: project.into(),
            data_project: None,
            location: None,
            endpoint: Some(endpoint.into()),
            storage_endpoint: None,
            maximum_bytes_billed: None,
            priority: Priority::Interactive,
            storage_read_above_rows: None,
            job_timeout: None,
            deadline: None,
            allowed_datasets: None,
            descriptors: vec![],
            local: LocalSettings::default(),
            price: Price::default(),
            budget: Budget::default(),
        }
    }

    /// Answers of more rows than this are read through the Storage Read API by default: a JSON page
    /// is decoded at about 1 µs a row, an Arrow read session costs two more round trips.
    pub const STORAGE_READ_ABOVE_ROWS: u64 = 50_000;

    /// What answers depend on beyond who asks where: sources that differ in it must share none.
    pub fn scope(&self) -> Scope {
        let data_project = self.data_project.as_ref().filter(|project| **project != self.project);
        match (data_project, &self.allowed_datasets) {
            (None, None) => Scope::default(),
            (data_project, allowed) => Scope(serde_json::json!([data_project, allowed]).to_string()),
        }
    }
}

/// The file of application-default credentials: the one that `GOOGLE_APPLICATION_CREDENTIALS` names,
/// else the one that `gcloud auth application-default login` wrote, if it is there.
pub fn application_default_file() -> Option<PathBuf> {
    if let Some(path) = std::env::var_os("GOOGLE_APPLICATION_CREDENTIALS").filter(|path| !path.is_empty()) {
        return Some(path.into());
    }
    let file = PathBuf::from(std::env::var_os("HOME")?).join(".config/gcloud/application_default_credentials.json");
    file.is_file().then_some(file)
}

/// Host of the metadata server, which `GCE_METADATA_HOST` may name, as it does for Google's own clients.
pub fn metadata_host() -> String {
    let named = std::env::var("GCE_METADATA_HOST").ok().filter(|host| !host.trim().is_empty());
    named.unwrap_or_else(|| "metadata.google.internal".to_owned())
}
