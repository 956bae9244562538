//! A data source's settings, with the keys of the official and of doitintl's plugin, as a
//! [`BigQueryConfig`]. Errors name keys, never the values of secrets.

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

use serde::Deserialize as _;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use weir_plan::{Error, LocalRelation, Price, Result, SourceDescriptor};

use super::keys::Keys;
use crate::config::{BigQueryConfig, Login, Secret, parse_bytes, parse_deadline};
use crate::engine::LocalSettings;
use crate::ledger::{Budget, Share};
use crate::source::Priority;

/// `BigQuery`'s own endpoint, which needs no mention.
const GOOGLE: &str = "https://bigquery.googleapis.com";

/// Reads `jsonData` and the decrypted `secureJsonData`.
///
/// # Errors
/// `InvalidQuery` naming the key that is missing, mistyped, or asks for what is not supported.
pub(super) fn big_query(json: &[u8], secure: &HashMap<String, String>) -> Result<BigQueryConfig> {
    let object = object(json)?;
    let keys = Keys::new(&object, "jsonData.");
    let endpoint = keys.text("serviceEndpoint")?.map(base_url).filter(|url| url != GOOGLE);
    let storage_endpoint = keys.text("storageEndpoint")?.map(base_url);
    let default_project = keys.text("defaultProject")?;
    let paying_project = keys.text("flatRateProject")?;
    let project = paying_project.or(default_project);
    let login = login(keys, secure, endpoint.is_some(), project.is_some())?;
    if project.is_none() && !knows_its_project(&login) {
        return Err(missing(&["jsonData.defaultProject"]));
    }
    // A stand-in for the REST API alone has no Storage Read API beside it.
    let reads_storage = endpoint.is_none() || storage_endpoint.is_some();
    Ok(BigQueryConfig {
        login,
        project: project.unwrap_or_default().to_owned(),
        data_project: default_project.filter(|_| paying_project.is_some()).map(str::to_owned),
        location: keys.text("processingLocation")?.map(str::to_owned),
        endpoint,
        storage_endpoint,
        maximum_bytes_billed: keys.natural("MaxBytesBilled")?.filter(|bytes| *bytes > 0),
        priority: priority(keys.text("queryPriority")?)?,
        storage_read_above_rows: reads_storage.then_some(BigQueryConfig::STORAGE_READ_ABOVE_ROWS),
        job_timeout: None,
        price: price(keys.value("pricePerTiB"))?,
        budget: Budget {
            daily_bytes: bytes(keys, "dailyBytes")?,
            daily_bytes_per_principal: bytes(keys, "dailyBytesPerPrincipal")?,
            audit_share: share(keys)?,
            audit_daily_bytes: bytes(keys, "auditDailyBytes")?,
        },
        deadline: deadline(keys)?,
        allowed_datasets: allowed_datasets(keys)?,
        descriptors: list("descriptors", keys.value("descriptors"), SourceDescriptor::check)?,
        local: local(keys)?,
    })
}

/// Whether the project may be left out, as the official plugin does on Google's machines.
fn knows_its_project(login: &Login) -> bool {
    match login {
        Login::ApplicationDefault | Login::KeyFile(_) => true,
        Login::Impersonated { login, .. } => knows_its_project(login),
        _ => false,
    }
}

/// Seconds, or a text such as `90s` or `5m`; zero and nothing leave the default.
fn deadline(keys: Keys<'_>) -> Result<Option<Duration>> {
    const KEY: &str = "queryTimeout";
    let text = match keys.value(KEY) {
        Some(Value::String(text)) if text.trim().parse::<u64>().is_err() => text.trim(),
        _ => match keys.natural(KEY)?.filter(|seconds| *seconds > 0) {
            Some(seconds) => &format!("{seconds}s"),
            None => "",
        },
    };
    if text.is_empty() {
        return Ok(None);
    }
    parse_deadline(text).map(Some).map_err(|error| error.context("jsonData.queryTimeout"))
}

/// A number of bytes, or a text such as `1TiB`; zero and nothing are no limit.
fn bytes(keys: Keys<'_>, key: &str) -> Result<Option<u64>> {
    let bytes = match keys.value(key) {
        Some(Value::String(text)) if !text.trim().is_empty() => {
            Some(parse_bytes(text).map_err(|error| error.context(format_args!("jsonData.{key}")))?)
        }
        _ => keys.natural(key)?,
    };
    Ok(bytes.filter(|bytes| *bytes > 0))
}

/// A number from 0 to 1, also as a text.
fn share(keys: Keys<'_>) -> Result<Share> {
    const KEY: &str = "auditShare";
    let share = match keys.value(KEY) {
        None => return Ok(Share::default()),
        Some(Value::String(text)) if text.trim().is_empty() => return Ok(Share::default()),
        Some(Value::String(text)) => text.trim().parse().unwrap_or(f64::NAN),
        Some(other) => other.as_f64().unwrap_or(f64::NAN),
    };
    Share::new(share).map_err(|error| error.context(format_args!("jsonData.{KEY}")))
}

fn allowed_datasets(keys: Keys<'_>) -> Result<Option<Vec<String>>> {
    let additional = keys.text("additionalAllowedDatasets")?.unwrap_or_default();
    let names = additional.split(',').map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned);
    Ok(keys.flag("restrictToAccessibleDatasets")?.then(|| names.collect()))
}

fn object(json: &[u8]) -> Result<Map<String, Value>> {
    if json.is_empty() {
        return Ok(Map::new());
    }
    match serde_json::from_slice(json) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(Value::Null) => Ok(Map::new()),
        Ok(_) => Err(Error::invalid("the data source's jsonData is not a JSON object")),
        Err(error) => Err(Error::invalid(format!("the data source's jsonData is not JSON: {error}"))),
    }
}

/// Who logs in, and in whose name it acts.
fn login(keys: Keys<'_>, secure: &HashMap<String, String>, has_endpoint: bool, has_project: bool) -> Result<Login> {
    let login = own_login(keys, secure, has_endpoint, has_project)?;
    if !keys.flag("usingImpersonation")? {
        return Ok(login);
    }
    let service_account = keys.text("serviceAccountToImpersonate")?;
    impersonated(keys, login, service_account.ok_or_else(|| missing(&["jsonData.serviceAccountToImpersonate"]))?)
}

fn impersonated(keys: Keys<'_>, login: Login, service_account: &str) -> Result<Login> {
    Ok(Login::Impersonated {
        login: Box::new(login),
        service_account: service_account.to_owned(),
        endpoint: keys.text("iamCredentialsEndpoint")?.map(str::to_owned),
    })
}

fn own_login(keys: Keys<'_>, secure: &HashMap<String, String>, has_endpoint: bool, has_project: bool) -> Result<Login> {
    // What Grafana forwards beats the settings' own login, as in the official plugin.
    let forwards = keys.flag("oauthPassThru")?;
    match keys.text("authenticationType")?.unwrap_or("jwt") {
        "workloadIdentityFederation" => federated(keys),
        "forwardOAuthIdentity" => Ok(Login::Forwarded),
        "jwt" | "gce" if forwards => Ok(Login::Forwarded),
        "jwt" => service_account(keys, secure, has_project),
        "gce" => Ok(Login::ApplicationDefault),
        "none" if has_endpoint => Ok(Login::Anonymous),
        "none" => Err(Error::invalid(
            "jsonData.authenticationType: \"none\" is for a local stand-in; give jsonData.serviceEndpoint",
        )),
        other => Err(Error::invalid(format!(
            "jsonData.authenticationType: {other:?} is not supported; give jwt, gce, forwardOAuthIdentity, \
             workloadIdentityFederation, or none for a local stand-in"
        ))),
    }
}

/// Federation of the machine, by a credentials file, or of each caller, by a provider.
fn federated(keys: Keys<'_>) -> Result<Login> {
    match (keys.text("privateKeyPath")?, keys.text("workloadIdentityPoolProvider")?) {
        (Some(path), _) => Ok(Login::KeyFile(path.into())),
        (None, Some(provider)) => {
            let token_uri = keys.text("securityTokenUri")?.map(str::to_owned);
            let login = Login::Exchanged { provider: provider.to_owned(), token_uri };
            match keys.text("wifServiceAccountEmail")? {
                Some(service_account) => impersonated(keys, login, service_account),
                None => Ok(login),
            }
        }
        (None, None) => Err(missing(&[
            "jsonData.privateKeyPath (of a credentials file) or jsonData.workloadIdentityPoolProvider (for the logins of users)",
        ])),
    }
}

fn service_account(keys: Keys<'_>, secure: &HashMap<String, String>, has_project: bool) -> Result<Login> {
    let key = match secure.get("privateKey").filter(|key| !key.trim().is_empty()) {
        Some(key) => Some(Secret(key.clone())),
        None => match keys.text("privateKeyPath")?.map(Path::new) {
            Some(path) if path.extension().is_some_and(|end| end.eq_ignore_ascii_case("json")) => {
                return Ok(Login::KeyFile(path.to_owned()));
            }
            Some(path) => Some(Secret::read(path)?),
            None => None,
        },
    };
    let (email, token_uri) = (keys.text("clientEmail")?, keys.text("tokenUri")?);
    let lacking: Vec<_> = [
        ("jsonData.clientEmail", email.is_none()),
        ("secureJsonData.privateKey (or jsonData.privateKeyPath)", key.is_none()),
        ("jsonData.tokenUri", token_uri.is_none()),
        ("jsonData.defaultProject", !has_project),
    ]
    .into_iter()
    .filter_map(|(name, lacks)| lacks.then_some(name))
    .collect();
    match (email, key, token_uri) {
        (Some(email), Some(private_key), Some(token_uri)) if has_project => {
            Ok(Login::ServiceAccount { client_email: email.into(), private_key, token_uri: token_uri.into() })
        }
        _ => Err(missing(&lacking)),
    }
}

fn missing(keys: &[&str]) -> Error {
    Error::invalid(format!("the data source's settings lack {}", keys.join(", ")))
}

/// A number of dollars, or a text with a currency; an empty text is what a form leaves.
fn price(value: Option<&Value>) -> Result<Price> {
    let price = match value {
        None => return Ok(Price::default()),
        Some(Value::String(text)) if text.trim().is_empty() => return Ok(Price::default()),
        Some(Value::String(text)) => text.parse(),
        Some(other) => other.to_string().parse(),
    };
    price.map_err(|error: Error| error.context("jsonData.pricePerTiB"))
}

/// An array, or its text, of what `check` accepts; an empty text is what a form leaves.
fn list<T: DeserializeOwned>(key: &str, value: Option<&Value>, check: impl Fn(T) -> Result<T>) -> Result<Vec<T>> {
    let read = match value {
        None => return Ok(vec![]),
        Some(Value::String(text)) if text.trim().is_empty() => return Ok(vec![]),
        Some(Value::String(text)) => serde_json::from_str(text),
        Some(other) => Vec::<T>::deserialize(other),
    };
    let read: Vec<T> = read.map_err(|error| Error::invalid(format!("jsonData.{key}: {error}")))?;
    let checked = read.into_iter().map(check).collect::<Result<_>>();
    checked.map_err(|error| error.context(format_args!("jsonData.{key}")))
}

/// What is kept here.
fn local(keys: Keys<'_>) -> Result<LocalSettings> {
    let ready_made = keys.text("localRelations")?.filter(|name| !name.trim().is_empty());
    let others = list("relations", keys.value("relations"), LocalRelation::check)?;
    LocalSettings::of(ready_made, others, bytes(keys, "localMemory")?)
        .map_err(|error| error.context("jsonData.localRelations"))
}

fn priority(text: Option<&str>) -> Result<Priority> {
    match text.map(str::to_ascii_uppercase).as_deref() {
        None | Some("INTERACTIVE") => Ok(Priority::Interactive),
        Some("BATCH") => Ok(Priority::Batch),
        Some(other) => {
            Err(Error::invalid(format!("jsonData.queryPriority: {other:?} is neither INTERACTIVE nor BATCH")))
        }
    }
}

/// The base URL of an endpoint that may be given with the path of the API's version.
fn base_url(endpoint: &str) -> String {
    let endpoint = endpoint.trim_end_matches('/');
    endpoint.strip_suffix("/bigquery/v2").unwrap_or(endpoint).trim_end_matches('/').to_owned()
}
