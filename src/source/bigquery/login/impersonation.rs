//! Acting in the name of a service account: IAM gives a token for it to a login that may.
//!
//! Source: <https://cloud.google.com/iam/docs/reference/credentials/rest/v1/projects.serviceAccounts/generateAccessToken>.

use std::sync::Arc;

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::json;
use weir_plan::{Error, Result, Timestamp};

use super::cached::{Cached, Fetch, Fetched};
use super::endpoint::Endpoint;
use super::{BIGQUERY_AND_SHEETS, CLOUD, Forwarded, Purpose, Tokens, Whose, missing};
use crate::clock::Clock;
use crate::source::LoginRefused;

/// Google's own endpoint.
const GOOGLE: &str = "https://iamcredentials.googleapis.com";

/// The life that is asked for, in seconds: the longest that needs no policy of its own.
const LIFE_SECONDS: u32 = 3600;

/// Tokens of a service account, given to another login.
#[derive(Clone)]
pub(super) struct Impersonation {
    base: Arc<dyn Tokens>,
    endpoint: Endpoint,
    /// Accounts between the login and the service account, as full resource names.
    delegates: Vec<String>,
    scopes: &'static [&'static str],
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    access_token: String,
    expire_time: String,
}

impl Impersonation {
    /// The service account with this address, at `endpoint` or Google's own.
    ///
    /// # Errors
    /// `InvalidQuery` for an address that is none.
    pub(super) fn of(base: Arc<dyn Tokens>, service_account: &str, endpoint: Option<&str>) -> Result<Self> {
        let service_account = service_account.trim();
        if service_account.is_empty() {
            return Err(missing("the address of the service account to impersonate"));
        }
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '@' | '.' | '-' | '_');
        if !service_account.contains('@') || !service_account.chars().all(plain) {
            return Err(Error::invalid(format!(
                "the service account to impersonate is {service_account:?}, which is not an address such as name@project.iam.gserviceaccount.com"
            )));
        }
        let host =
            endpoint.map(str::trim).filter(|endpoint| !endpoint.is_empty()).unwrap_or(GOOGLE).trim_end_matches('/');
        Self::at(
            base,
            &format!("{host}/v1/projects/-/serviceAccounts/{service_account}:generateAccessToken"),
            Vec::new(),
        )
    }

    /// The service account whose tokens this address gives.
    ///
    /// # Errors
    /// `InvalidQuery` for an address that is none.
    pub(super) fn at(base: Arc<dyn Tokens>, url: &str, delegates: Vec<String>) -> Result<Self> {
        let endpoint = Endpoint::new(url, "IAM's service for impersonation", LoginRefused::Impersonation)?;
        Ok(Self { base, endpoint, delegates, scopes: BIGQUERY_AND_SHEETS })
    }

    /// The same, with tokens for a purpose.
    pub(super) fn to(self, purpose: Purpose) -> Self {
        Self { scopes: if purpose == Purpose::BigQuery { BIGQUERY_AND_SHEETS } else { CLOUD }, ..self }
    }

    /// Tokens that are kept.
    pub(super) fn cached(self, clock: &Arc<dyn Clock>) -> Cached<Self> {
        Fetch::cached(self, clock)
    }
}

/// The address in `…/serviceAccounts/ADDRESS:generateAccessToken`.
pub(super) fn account_of(url: &str) -> Option<&str> {
    let (_, account) = url.rsplit_once("/serviceAccounts/")?;
    account.strip_suffix(":generateAccessToken").filter(|account| !account.is_empty())
}

#[async_trait]
impl Fetch for Impersonation {
    async fn fetch(&self, _: Timestamp) -> Result<Fetched> {
        let base = self.base.token().await?;
        let mut body = json!({"scope": self.scopes, "lifetime": format!("{LIFE_SECONDS}s")});
        if !self.delegates.is_empty() {
            body["delegates"] = self.delegates.clone().into();
        }
        let request = self.endpoint.post().bearer_auth(&base.0).json(&body);
        let answer = self.endpoint.json::<Answer>(request, self.whose(), &base).await.inspect_err(|error| {
            if LoginRefused::of(error).is_some() {
                self.base.refused(&base);
            }
        })?;
        let expires_at = Timestamp::parse(&answer.expire_time, Timestamp::MIN).map_err(|_| self.endpoint.unsound())?;
        Ok(Fetched { token: crate::config::Secret(answer.access_token), expires_at })
    }

    fn whose(&self) -> Whose {
        self.base.whose()
    }

    fn on_behalf(&self, caller: &Arc<Forwarded>) -> Option<Self> {
        Some(Self { base: self.base.on_behalf(caller)?, ..self.clone() })
    }
}
