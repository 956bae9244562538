//! The configuration file, in TOML. What it does not know it refuses by name.
//!
//! Messages give line numbers and never the line itself: it may hold a key.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use toml::{Table, Value};
use weir_plan::{Error, Kind, LocalRelation, Price, Query, Result, SourceDescriptor};

use super::{BigQueryConfig, Config, Login, Secret, SourceConfig, parse_bytes, parse_deadline, parse_duration};
use crate::cache::FolderSettings;
use crate::engine::LocalSettings;
use crate::ledger::{Budget, Share};
use crate::monitoring::{MonitoringSettings, WrittenSettings};
use crate::source::Priority;

/// Where Google's service accounts fetch tokens.
const TOKEN_URI: &str = "https://oauth2.googleapis.com/token";

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    listen: Option<String>,
    #[serde(default)]
    allow_anonymous: bool,
    deadline: Option<String>,
    #[serde(default)]
    cache: Cache,
    #[serde(default)]
    source: BTreeMap<String, Table>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Cache {
    capacity: Option<Value>,
    folder: Option<PathBuf>,
    folder_capacity: Option<Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Embedded {
    folder: PathBuf,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BigQuery {
    login: Option<Value>,
    project: String,
    location: Option<String>,
    endpoint: Option<String>,
    storage_endpoint: Option<String>,
    maximum_bytes_billed: Option<Value>,
    priority: Option<String>,
    storage_read_above_rows: Option<Value>,
    job_timeout: Option<String>,
    price_per_tib: Option<Value>,
    daily_bytes: Option<Value>,
    daily_bytes_per_principal: Option<Value>,
    audit_share: Option<f64>,
    audit_daily_bytes: Option<Value>,
    deadline: Option<String>,
    #[serde(default)]
    restrict_to_accessible_datasets: bool,
    #[serde(default)]
    additional_allowed_datasets: Vec<String>,
    #[serde(default)]
    descriptor: Vec<SourceDescriptor>,
    local: Option<String>,
    local_memory: Option<Value>,
    #[serde(default)]
    relation: Vec<LocalRelation>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyFile {
    key_file: PathBuf,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Impersonation {
    impersonate: String,
    with: Option<Value>,
    endpoint: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyFields {
    client_email: String,
    private_key: Secret,
    token_uri: Option<String>,
}

impl Config {
    /// Reads a file; without one everything is at its default, and there is no source.
    ///
    /// # Errors
    /// `NotFound` if the file cannot be read; those of [`Config::parse`], naming the file.
    pub fn load(path: Option<&Path>) -> Result<Self> {
        let Some(path) = path else { return Ok(Self::default()) };
        let name = path.display();
        let text = std::fs::read_to_string(path).map_err(|error| {
            Error::new(Kind::NotFound, format!("cannot read the configuration file {name}: {error}")).with_source(error)
        })?;
        let folder = path.parent().unwrap_or(Path::new(""));
        Self::parse(&text, folder).map_err(|error| error.context(format_args!("configuration file {name}")))
    }

    /// Reads the text of a file; relative paths in it belong to `folder`.
    ///
    /// # Errors
    /// `InvalidQuery` naming the key and what it takes.
    pub fn parse(text: &str, folder: &Path) -> Result<Self> {
        let file: File = toml::from_str(text).map_err(|error| at_line(text, &error))?;
        let deadline = file.deadline.map(|text| parse_deadline(&text)).transpose().map_err(at("deadline"))?;
        let capacity = file.cache.capacity.map(|value| bytes(&value)).transpose().map_err(at("cache.capacity"))?;
        let cache_folder = cache_folder(file.cache.folder, file.cache.folder_capacity.as_ref(), folder)?;
        let (mut sources, mut monitoring) = (BTreeMap::new(), BTreeMap::new());
        for (name, mut table) in file.source {
            let place = format!("[source.{name}]");
            if let Some(experiments) = table.remove("experiments") {
                let settings = self::monitoring(experiments).map_err(at(&format!("{place}: experiments")))?;
                monitoring.insert(name.clone(), settings);
            }
            sources.insert(name, source(table, folder).map_err(at(&place))?);
        }
        Ok(Self {
            listen: file.listen,
            allow_anonymous: file.allow_anonymous,
            deadline: deadline.unwrap_or(Query::DEADLINE),
            cache_capacity: capacity.unwrap_or(Self::CACHE_CAPACITY),
            cache_folder,
            sources,
            monitoring,
        })
    }
}

fn at_line(text: &str, error: &toml::de::Error) -> Error {
    let line = error.span().map(|span| text.get(..span.start).unwrap_or_default().matches('\n').count() + 1);
    let error = Error::invalid(error.message());
    match line {
        Some(line) => error.context(format_args!("line {line}")),
        None => error,
    }
}

fn at(place: &str) -> impl Fn(Error) -> Error {
    let place = place.to_owned();
    move |error| error.context(&place)
}

fn cache_folder(path: Option<PathBuf>, capacity: Option<&Value>, folder: &Path) -> Result<Option<FolderSettings>> {
    let capacity = capacity.map(bytes).transpose().map_err(at("cache.folder_capacity"))?;
    match (path, capacity) {
        (None, None) => Ok(None),
        (None, Some(_)) => Err(Error::invalid("cache.folder_capacity bounds nothing without cache.folder")),
        (Some(path), capacity) => {
            let capacity = capacity.unwrap_or(FolderSettings::CAPACITY);
            Ok(Some(FolderSettings { path: folder.join(path), capacity }))
        }
    }
}

fn source(mut table: Table, folder: &Path) -> Result<SourceConfig> {
    let kind = table.remove("kind");
    match kind.as_ref().and_then(Value::as_str) {
        Some("bigquery") => Ok(SourceConfig::BigQuery(Box::new(bigquery(decode(table)?, folder)?))),
        Some("embedded") => Ok(SourceConfig::Embedded(folder.join(decode::<Embedded>(table)?.folder))),
        Some(other) => Err(Error::invalid(format!("kind {other:?} is none of bigquery, embedded"))),
        None => Err(Error::invalid("kind is missing; give bigquery or embedded")),
    }
}

fn monitoring(value: Value) -> Result<MonitoringSettings> {
    match value {
        Value::Table(table) => decode::<WrittenSettings>(table)?.read(),
        _ => Err(Error::invalid("give a table, [source.NAME.experiments]")),
    }
}

fn decode<T: DeserializeOwned>(table: Table) -> Result<T> {
    table.try_into().map_err(|error: toml::de::Error| Error::invalid(error.message()))
}

fn bigquery(file: BigQuery, folder: &Path) -> Result<BigQueryConfig> {
    let timeout: Option<Duration> =
        file.job_timeout.map(|text| parse_duration(&text)).transpose().map_err(at("job_timeout"))?;
    if !file.restrict_to_accessible_datasets && !file.additional_allowed_datasets.is_empty() {
        return Err(Error::invalid(
            "additional_allowed_datasets restricts nothing without restrict_to_accessible_datasets = true",
        ));
    }
    Ok(BigQueryConfig {
        login: file
            .login
            .map_or(Ok(Login::ApplicationDefault), |login| self::login(login, folder))
            .map_err(at("login"))?,
        project: file.project,
        data_project: None,
        location: file.location,
        endpoint: file.endpoint,
        storage_endpoint: file.storage_endpoint,
        maximum_bytes_billed: limit("maximum_bytes_billed", file.maximum_bytes_billed)?,
        budget: Budget {
            daily_bytes: limit("daily_bytes", file.daily_bytes)?,
            daily_bytes_per_principal: limit("daily_bytes_per_principal", file.daily_bytes_per_principal)?,
            audit_share: file.audit_share.map_or(Ok(Share::default()), Share::new).map_err(at("audit_share"))?,
            audit_daily_bytes: limit("audit_daily_bytes", file.audit_daily_bytes)?,
        },
        priority: match file.priority.as_deref() {
            None | Some("interactive") => Priority::Interactive,
            Some("batch") => Priority::Batch,
            Some(other) => return Err(Error::invalid(format!("priority {other:?} is none of interactive, batch"))),
        },
        storage_read_above_rows: match file.storage_read_above_rows {
            None => Some(BigQueryConfig::STORAGE_READ_ABOVE_ROWS),
            Some(Value::String(never)) if never == "never" => None,
            Some(Value::Integer(rows)) if rows >= 0 => Some(rows.unsigned_abs()),
            Some(_) => return Err(Error::invalid("storage_read_above_rows takes a number of rows or \"never\"")),
        },
        job_timeout: timeout,
        price: file.price_per_tib.map_or(Ok(Price::default()), |value| price(&value)).map_err(at("price_per_tib"))?,
        deadline: file.deadline.map(|text| parse_deadline(&text)).transpose().map_err(at("deadline"))?,
        allowed_datasets: file.restrict_to_accessible_datasets.then_some(file.additional_allowed_datasets),
        descriptors: file.descriptor.into_iter().map(SourceDescriptor::check).collect::<Result<_>>()?,
        local: LocalSettings::of(file.local.as_deref(), file.relation, limit("local_memory", file.local_memory)?)?,
    })
}

fn login(value: Value, folder: &Path) -> Result<Login> {
    match value {
        Value::String(name) if name == "application-default" => Ok(Login::ApplicationDefault),
        Value::String(name) if name == "anonymous" => Ok(Login::Anonymous),
        Value::Table(table) if table.contains_key("key_file") => {
            Ok(Login::KeyFile(folder.join(decode::<KeyFile>(table)?.key_file)))
        }
        Value::Table(table) if table.contains_key("impersonate") => {
            let Impersonation { impersonate, with, endpoint } = decode(table)?;
            let login = with.map_or(Ok(Login::ApplicationDefault), |with| login(with, folder)).map_err(at("with"))?;
            Ok(Login::Impersonated { login: Box::new(login), service_account: impersonate, endpoint })
        }
        Value::Table(table) => {
            let KeyFields { client_email, private_key, token_uri } = decode(table)?;
            let token_uri = token_uri.unwrap_or_else(|| TOKEN_URI.to_owned());
            Ok(Login::ServiceAccount { client_email, private_key, token_uri })
        }
        _ => Err(Error::invalid(
            "give \"application-default\", \"anonymous\", { key_file = \"…\" }, { client_email = \"…\", private_key = \"…\" } \
             or { impersonate = \"…\" }",
        )),
    }
}

fn limit(key: &str, value: Option<Value>) -> Result<Option<u64>> {
    value.map(|value| bytes(&value)).transpose().map_err(at(key))
}

fn bytes(value: &Value) -> Result<u64> {
    match value {
        Value::Integer(bytes) if *bytes >= 0 => Ok(bytes.unsigned_abs()),
        Value::String(text) => parse_bytes(text),
        _ => Err(Error::invalid("give a number of bytes, or a text such as \"512MiB\"")),
    }
}

fn price(value: &Value) -> Result<Price> {
    match value {
        Value::String(text) => text.parse(),
        Value::Integer(_) | Value::Float(_) => value.to_string().parse(),
        _ => Err(Error::invalid("give a number of dollars, or a text such as \"5.75 EUR\"")),
    }
}

#[cfg(test)]
mod tests;
