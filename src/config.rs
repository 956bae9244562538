//! What Weir is told: the only reader of configuration files and of the environment.

mod environment;
mod file;
mod units;

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use weir_plan::{Price, Query};

use crate::source::Priority;

pub use environment::{Environment, Host};
pub use units::{parse_bytes, parse_duration};

/// The whole configuration. Its file is described in README.md, "Configuration reference".
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Address of the export API, `HOST:PORT`; `None` where the file names none.
    pub listen: Option<String>,
    /// Whether the export API may be reached from other machines without a login.
    pub allow_anonymous: bool,
    /// The deadline of export requests that name none.
    pub deadline: Duration,
    /// Bytes of the cache.
    pub cache_capacity: u64,
    /// Sources by the name that selects them.
    pub sources: BTreeMap<String, SourceConfig>,
}

impl Config {
    /// The address of the export API where none is named.
    pub const LISTEN: &str = "127.0.0.1:8088";
    /// Bytes of the cache where nothing else is said.
    pub const CACHE_CAPACITY: u64 = 512 * 1024 * 1024;
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: None,
            allow_anonymous: false,
            deadline: Query::DEADLINE,
            cache_capacity: Self::CACHE_CAPACITY,
            sources: BTreeMap::new(),
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
    /// A service-account key in a JSON file.
    KeyFile(PathBuf),
    /// Application-default credentials: the file of [`application_default_file`], else the metadata server.
    ApplicationDefault,
    /// No login, for a local stand-in; refused for Google's own endpoint.
    Anonymous,
}

/// A `BigQuery` project to query, from a file or from a Grafana data source's settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BigQueryConfig {
    /// Login.
    pub login: Login,
    /// Project that jobs run in.
    pub project: String,
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
}

impl BigQueryConfig {
    /// Answers of more rows than this are read through the Storage Read API by default: a JSON page
    /// is decoded at about 1 µs a row, an Arrow read session costs two more round trips.
    pub const STORAGE_READ_ABOVE_ROWS: u64 = 50_000;
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
