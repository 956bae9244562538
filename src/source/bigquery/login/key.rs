//! Logins by a key of Google's, through `yup_oauth2`: service accounts and users.

use std::sync::Arc;

use async_trait::async_trait;
use gcp_bigquery_client::yup_oauth2::authenticator::DefaultAuthenticator;
use gcp_bigquery_client::yup_oauth2::authorized_user::AuthorizedUserSecret;
use gcp_bigquery_client::yup_oauth2::{
    self as oauth, AuthorizedUserAuthenticator, ServiceAccountAuthenticator, ServiceAccountKey,
};
use sha2::{Digest as _, Sha256};
use weir_plan::{Error, Kind, Result, Timestamp};

use super::cached::{Fetch, Fetched};
use super::endpoint::TIMEOUT;
use super::{BIGQUERY, BIGQUERY_AND_SHEETS, CLOUD, LoggedIn, Purpose};
use crate::clock::Clock;
use crate::config::Secret;
use crate::source::LoginRefused;

/// A login of `yup_oauth2`. Its own store of tokens is passed by: ours lets one caller fetch at a time,
/// and forgets what `BigQuery` refuses.
struct Key {
    authenticator: DefaultAuthenticator,
    scopes: &'static [&'static str],
}

#[async_trait]
impl Fetch for Key {
    async fn fetch(&self, asked_at: Timestamp) -> Result<Fetched> {
        let token = self.authenticator.force_refreshed_token(self.scopes).await.map_err(explained)?;
        let expires_at = token
            .expiration_time()
            .map_or(asked_at, |time| Timestamp::saturating(time.unix_timestamp().saturating_mul(1_000_000)));
        let token = token.token().ok_or_else(|| explained(oauth::Error::MissingAccessToken))?;
        Ok(Fetched { token: Secret(token.to_owned()), expires_at })
    }
}

fn explained(error: oauth::Error) -> Error {
    match error {
        oauth::Error::AuthError(refusal) => {
            let message = format!("BigQuery refuses our credentials: {refusal}");
            Error::new(Kind::Unavailable, message).with_source(LoginRefused::Key)
        }
        error @ (oauth::Error::HttpClientError(_) | oauth::Error::HttpError(_)) => {
            let message = "cannot reach the endpoint that gives tokens for BigQuery (the key's token_uri)";
            Error::new(Kind::Unavailable, message).with_source(error)
        }
        error @ (oauth::Error::JSONError(_) | oauth::Error::MissingAccessToken) => {
            let message =
                "the endpoint that gives tokens for BigQuery answered with something else; check the token URI";
            Error::new(Kind::Unavailable, message).with_source(error)
        }
        error => Error::new(Kind::Unavailable, "no token for BigQuery").with_source(error),
    }
}

fn logged_in(
    principal: String,
    authenticator: DefaultAuthenticator,
    scopes: &'static [&'static str],
    clock: &Arc<dyn Clock>,
) -> LoggedIn {
    LoggedIn::new(principal, Key { authenticator, scopes }.cached(clock))
}

pub(super) async fn service_account(
    key: ServiceAccountKey,
    purpose: Purpose,
    clock: &Arc<dyn Clock>,
) -> Result<LoggedIn> {
    let principal = key.client_email.clone();
    let scopes = if purpose == Purpose::BigQuery { BIGQUERY_AND_SHEETS } else { CLOUD };
    let authenticator = ServiceAccountAuthenticator::builder(key).with_timeout(TIMEOUT).build().await;
    let authenticator = authenticator.map_err(|error| {
        Error::invalid(format!("the private key of {principal} cannot be read; it must be an RSA key in PEM"))
            .with_source(error)
    })?;
    Ok(logged_in(principal, authenticator, scopes, clock))
}

/// A user, whose consent settled long ago what the tokens are good for.
pub(super) async fn authorized_user(secret: AuthorizedUserSecret, clock: &Arc<dyn Clock>) -> Result<LoggedIn> {
    // Users have no name in their file: a digest tells them apart, as cache keys must.
    let digest = Sha256::digest(format!("{}\n{}", secret.client_id, secret.refresh_token));
    let principal = format!(
        "authorized-user:{}",
        digest.iter().take(8).fold(String::new(), |text, byte| format!("{text}{byte:02x}"))
    );
    let authenticator = AuthorizedUserAuthenticator::builder(secret).with_timeout(TIMEOUT).build().await;
    let authenticator =
        authenticator.map_err(|error| Error::internal("cannot use a user's credentials").with_source(error))?;
    Ok(logged_in(principal, authenticator, BIGQUERY, clock))
}

/// Checks the three fields that a login needs.
pub(super) fn service_account_key(client_email: &str, private_key: &str, token_uri: &str) -> Result<ServiceAccountKey> {
    let fields = [("client email", client_email), ("private key", private_key), ("token URI", token_uri)];
    let missing: Vec<_> = fields.iter().filter(|(_, value)| value.trim().is_empty()).map(|(name, _)| *name).collect();
    if !missing.is_empty() {
        return Err(Error::invalid(format!("the service account's {} is missing", missing.join(", "))));
    }
    let private_key = private_key.replace("\\n", "\n");
    if !private_key.trim_start().starts_with("-----BEGIN") {
        return Err(Error::invalid(
            "the service account's private key is not PEM; it must start with -----BEGIN PRIVATE KEY-----",
        ));
    }
    let token_uri = token_uri.trim();
    match (token_uri.parse::<http::Uri>(), token_uri.parse::<url::Url>()) {
        (Ok(_), Ok(url)) if matches!(url.scheme(), "http" | "https") => {}
        _ => {
            return Err(Error::invalid(format!(
                "the service account's token URI {token_uri:?} is not an http or https address"
            )));
        }
    }
    Ok(ServiceAccountKey {
        key_type: Some("service_account".to_owned()),
        project_id: None,
        private_key_id: None,
        private_key,
        client_email: client_email.trim().to_owned(),
        client_id: None,
        auth_uri: None,
        token_uri: token_uri.to_owned(),
        auth_provider_x509_cert_url: None,
        client_x509_cert_url: None,
    })
}
