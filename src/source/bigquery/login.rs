//! Shows `BigQuery` who we are: a [`Login`] becomes a source of tokens.
//!
//! Nothing is fetched here until the first call (but a project that only the metadata server knows);
//! keys are checked at once. No error, debug text or log line of ours holds a key or a token.
//! (`yup_oauth2` itself writes tokens at level debug: its log target must stay off.)

mod cached;
mod cloud;
mod endpoint;
mod exchange;
mod file;
mod forwarded;
mod impersonation;
mod key;
mod metadata;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use async_trait::async_trait;
use weir_plan::{Error, Result};

pub(crate) use self::cloud::CloudLogin;
use self::endpoint::Endpoint;
use self::exchange::Exchange;
pub use self::forwarded::{CallerTokens, Forwarded};
use self::impersonation::Impersonation;
use crate::clock::Clock;
use crate::config::{Login, Secret, application_default_file, metadata_host};

/// What a token that `BigQuery` sees is good for: jobs, results, tables, the Storage Read API.
const BIGQUERY: &[&str] = &["https://www.googleapis.com/auth/bigquery"];

/// The same, and the sheets that external tables lie in. Only service accounts may ask for it unasked.
const BIGQUERY_AND_SHEETS: &[&str] =
    &["https://www.googleapis.com/auth/bigquery", "https://www.googleapis.com/auth/drive.readonly"];

/// What a token is good for that acts in the name of a service account, or writes to a bucket.
const CLOUD: &[&str] = &["https://www.googleapis.com/auth/cloud-platform"];

/// Where tokens come from.
#[async_trait]
pub(super) trait Tokens: Send + Sync {
    /// A token for one call.
    ///
    /// # Errors
    /// `Unavailable` if a login of our own is refused (then [`LoginRefused`] is among the causes) or
    /// its endpoint cannot be reached: the caller cannot mend it. `Unauthenticated` for one that the
    /// caller brought, or did not.
    ///
    /// [`LoginRefused`]: crate::source::LoginRefused
    async fn token(&self) -> Result<Secret>;

    /// `BigQuery` did not take a token: it is not given out again.
    fn refused(&self, _: &Secret) {}

    /// Whose login it is.
    fn whose(&self) -> Whose {
        Whose::Ours
    }

    /// The same login for one caller, where it lives on the callers' own tokens.
    fn on_behalf(&self, _: &Arc<Forwarded>) -> Option<Arc<dyn Tokens>> {
        None
    }
}

/// Whose login a call is made with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Whose {
    /// One of the settings.
    Ours,
    /// The caller's own.
    Callers,
}

/// A login that can be used.
pub(super) struct LoggedIn {
    /// The credential's name; no secret.
    pub(super) principal: String,
    /// Who knows the project that it belongs to.
    home: Home,
    /// Where tokens come from.
    pub(super) tokens: Arc<dyn Tokens>,
}

/// Who knows the project of a login.
enum Home {
    Nobody,
    Named(String),
    Metadata(Endpoint),
}

impl LoggedIn {
    fn new(principal: impl Into<String>, tokens: impl Tokens + 'static) -> Self {
        Self { principal: principal.into(), home: Home::Nobody, tokens: Arc::new(tokens) }
    }

    /// The project that the login belongs to, where somebody knows it.
    ///
    /// # Errors
    /// `Unavailable` if the metadata server does not answer.
    pub(super) async fn project(&self) -> Result<Option<String>> {
        match &self.home {
            Home::Nobody => Ok(None),
            Home::Named(project) => Ok(Some(project.clone())),
            Home::Metadata(endpoint) => metadata::project(endpoint).await.map(Some),
        }
    }
}

/// What the tokens of a login are for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Purpose {
    /// Calls of `BigQuery`.
    BigQuery,
    /// Acting in the name of a service account.
    Impersonation,
    /// Objects in buckets.
    Storage,
}

/// Prepares a login.
///
/// # Errors
/// `InvalidQuery`, naming the field or file that is missing or wrong.
pub(super) async fn prepare(login: &Login, clock: &Arc<dyn Clock>) -> Result<LoggedIn> {
    for_purpose(login, clock, Purpose::BigQuery).await
}

async fn for_purpose(login: &Login, clock: &Arc<dyn Clock>, purpose: Purpose) -> Result<LoggedIn> {
    match login {
        Login::ServiceAccount { client_email, private_key, token_uri } => {
            let key = key::service_account_key(client_email, &private_key.0, token_uri)?;
            key::service_account(key, purpose, clock).await
        }
        Login::KeyFile(path) => file::read(path, purpose, clock).await,
        Login::ApplicationDefault => {
            let logged_in = match application_default_file() {
                Some(path) => file::read(&path, purpose, clock).await?,
                None => metadata::server(&metadata_host(), purpose, clock)?,
            };
            Ok(LoggedIn { principal: format!("application-default:{}", logged_in.principal), ..logged_in })
        }
        Login::Anonymous => Ok(LoggedIn::new("anonymous", Anonymous)),
        Login::Forwarded => Ok(LoggedIn::new(forwarded::PRINCIPAL, forwarded::Access::default())),
        Login::Exchanged { provider, token_uri } => {
            let exchange = Exchange::of_callers(provider, token_uri.as_deref(), purpose)?;
            Ok(LoggedIn::new(forwarded::PRINCIPAL, exchange.cached(clock)))
        }
        Login::Impersonated { login, service_account, endpoint } => {
            let base = Box::pin(for_purpose(login, clock, Purpose::Impersonation)).await?;
            let impersonation = Impersonation::of(base.tokens, service_account, endpoint.as_deref())?;
            let tokens = impersonation.to(purpose).cached(clock);
            Ok(LoggedIn { home: base.home, ..LoggedIn::new(service_account.trim(), tokens) })
        }
    }
}

/// The login of this machine, as the metadata server at `host` gives it.
#[cfg(test)]
pub(super) fn machine(host: &str, clock: &Arc<dyn Clock>) -> Result<LoggedIn> {
    metadata::server(host, Purpose::BigQuery, clock)
}

/// Any token will do for a stand-in.
struct Anonymous;

#[async_trait]
impl Tokens for Anonymous {
    async fn token(&self) -> Result<Secret> {
        Ok(Secret("anonymous".to_owned()))
    }
}

fn missing(what: &str) -> Error {
    Error::invalid(format!("{what} is missing"))
}
