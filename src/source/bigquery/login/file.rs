//! Credentials files, as Google's tools write them. A message names the file and the field, and quotes
//! neither.

use std::path::Path;
use std::sync::Arc;

use serde_json::{Map, Value};
use weir_plan::{Error, Result};

use super::exchange::Exchange;
use super::impersonation::{Impersonation, account_of};
use super::{Home, LoggedIn, Purpose, key, missing};
use crate::clock::Clock;

/// Reads the login in a file.
///
/// # Errors
/// `InvalidQuery` naming the file, and what is missing, wrong or not supported in it.
pub(super) async fn read(path: &Path, purpose: Purpose, clock: &Arc<dyn Clock>) -> Result<LoggedIn> {
    let named = |error: Error| error.context(format_args!("credentials file {}", path.display()));
    let bytes = tokio::fs::read(path).await;
    let bytes = bytes.map_err(|error| named(Error::invalid("cannot be read").with_source(error)))?;
    // The parser's error may quote a secret, so it goes no further.
    let fields = serde_json::from_slice(&bytes).map_err(|_| named(Error::invalid("is not a JSON object")))?;
    login(fields, path.parent().unwrap_or(Path::new("")), purpose, clock).await.map_err(named)
}

async fn login(
    fields: Map<String, Value>,
    folder: &Path,
    purpose: Purpose,
    clock: &Arc<dyn Clock>,
) -> Result<LoggedIn> {
    let text = |name: &str| fields.get(name).and_then(Value::as_str).unwrap_or_default();
    let project = ["project_id", "quota_project_id"].map(text).into_iter().find(|project| !project.is_empty());
    let home = project.map_or(Home::Nobody, |project| Home::Named(project.to_owned()));
    let impersonation_url = Some(text("service_account_impersonation_url")).filter(|url| !url.is_empty());
    let logged_in = match (text("type"), impersonation_url) {
        ("service_account" | "", _) => {
            let key = key::service_account_key(text("client_email"), text("private_key"), text("token_uri"))?;
            key::service_account(key, purpose, clock).await?
        }
        ("authorized_user", _) => {
            let secret = serde_json::from_value(Value::Object(fields))
                .map_err(|_| Error::invalid("client_id, client_secret or refresh_token is missing"))?;
            key::authorized_user(secret, clock).await?
        }
        ("external_account", None) => {
            let exchange = Exchange::of_file(&fields, folder, purpose)?;
            LoggedIn::new(exchange.principal(), exchange.cached(clock))
        }
        ("external_account", Some(url)) => {
            let exchange = Exchange::of_file(&fields, folder, Purpose::Impersonation)?;
            impersonated(LoggedIn::new(exchange.principal(), exchange.cached(clock)), url, &fields, purpose, clock)?
        }
        ("impersonated_service_account", Some(url)) => {
            let Some(Value::Object(source)) = fields.get("source_credentials").cloned() else {
                return Err(missing("source_credentials"));
            };
            let base = Box::pin(login(source, folder, Purpose::Impersonation, clock)).await;
            let base = base.map_err(|error| error.context("source_credentials"))?;
            impersonated(base, url, &fields, purpose, clock)?
        }
        ("impersonated_service_account", None) => return Err(missing("service_account_impersonation_url")),
        (other, _) => {
            return Err(Error::invalid(format!(
                "type {other:?} is not supported; use a service_account key, authorized_user, external_account or \
                 impersonated_service_account"
            )));
        }
    };
    Ok(LoggedIn { home, ..logged_in })
}

fn impersonated(
    base: LoggedIn,
    url: &str,
    fields: &Map<String, Value>,
    purpose: Purpose,
    clock: &Arc<dyn Clock>,
) -> Result<LoggedIn> {
    let principal = account_of(url).map_or(base.principal, str::to_owned);
    let delegates = fields.get("delegates").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let delegates = delegates.iter().filter_map(Value::as_str).map(str::to_owned).collect();
    Ok(LoggedIn::new(principal, Impersonation::at(base.tokens, url, delegates)?.to(purpose).cached(clock)))
}
