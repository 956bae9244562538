//! Shows `BigQuery` who we are: a [`Login`] becomes a source of tokens.
//!
//! Nothing is fetched here until the first call; keys are checked at once. Tokens are cached by
//! `yup_oauth2` until shortly before they expire. No error, debug text or log line of ours holds a
//! key or a token. (`yup_oauth2` itself writes tokens at level debug: its log target must stay off.)

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use gcp_bigquery_client::auth::Authenticator;
use gcp_bigquery_client::error::BQError;
use gcp_bigquery_client::yup_oauth2::authenticator::{ApplicationDefaultCredentialsTypes, DefaultAuthenticator};
use gcp_bigquery_client::yup_oauth2::authorized_user::AuthorizedUserSecret;
use gcp_bigquery_client::yup_oauth2::{
    self as oauth, ApplicationDefaultCredentialsAuthenticator, ApplicationDefaultCredentialsFlowOpts,
    AuthorizedUserAuthenticator, ServiceAccountAuthenticator, ServiceAccountKey,
};
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};
use weir_plan::{Error, Kind, Result};

use crate::config::{Login, application_default_file};

/// Enough for jobs, results, tables and the Storage Read API.
const SCOPES: [&str; 1] = ["https://www.googleapis.com/auth/bigquery"];

/// A token endpoint answers in this time or not at all.
const TOKEN_TIMEOUT: Duration = Duration::from_secs(20);

/// A login that can be used.
pub(super) struct LoggedIn {
    /// The credential's name; no secret.
    pub(super) principal: String,
    /// Where tokens come from.
    pub(super) authenticator: Arc<dyn Authenticator>,
}

/// Prepares a login.
///
/// # Errors
/// `InvalidQuery`, naming the field or file that is missing or wrong.
pub(super) async fn prepare(login: &Login) -> Result<LoggedIn> {
    match login {
        Login::ServiceAccount { client_email, private_key, token_uri } => {
            let key = service_account_key(client_email, &private_key.0, token_uri)?;
            service_account(key).await
        }
        Login::KeyFile(path) => key_file(path).await,
        Login::ApplicationDefault => {
            let logged_in = match application_default_file() {
                Some(path) => key_file(&path).await?,
                None => metadata_server().await?,
            };
            Ok(LoggedIn { principal: format!("application-default:{}", logged_in.principal), ..logged_in })
        }
        Login::Anonymous => Ok(LoggedIn { principal: "anonymous".to_owned(), authenticator: Arc::new(Anonymous) }),
    }
}

/// A token for one call, from the cache or fetched.
///
/// # Errors
/// `Unavailable` if the token is refused or its endpoint cannot be reached: the credentials are
/// ours, so the caller cannot mend it.
pub(super) async fn token(authenticator: &dyn Authenticator) -> Result<String> {
    authenticator.access_token().await.map_err(|error| {
        let message = match &error {
            BQError::YupAuthError(oauth::Error::AuthError(refusal)) => {
                format!("BigQuery refuses our credentials: {refusal}")
            }
            BQError::YupAuthError(oauth::Error::HttpClientError(_) | oauth::Error::HttpError(_)) => {
                "cannot reach the endpoint that gives tokens for BigQuery (the key's token_uri, or the metadata server)"
                    .to_owned()
            }
            BQError::YupAuthError(oauth::Error::JSONError(_)) => {
                "the endpoint that gives tokens for BigQuery answered with something else; check the token URI"
                    .to_owned()
            }
            _ => "no token for BigQuery".to_owned(),
        };
        Error::new(Kind::Unavailable, message).with_source(error)
    })
}

#[derive(Clone)]
struct Tokens(DefaultAuthenticator);

#[async_trait]
impl Authenticator for Tokens {
    async fn access_token(&self) -> Result<String, BQError> {
        Ok(self.0.token(&SCOPES).await?.token().ok_or(BQError::NoToken)?.to_owned())
    }
}

/// Any token will do for a stand-in.
#[derive(Clone)]
struct Anonymous;

#[async_trait]
impl Authenticator for Anonymous {
    async fn access_token(&self) -> Result<String, BQError> {
        Ok("anonymous".to_owned())
    }
}

async fn service_account(key: ServiceAccountKey) -> Result<LoggedIn> {
    let principal = key.client_email.clone();
    let authenticator = ServiceAccountAuthenticator::builder(key).with_timeout(TOKEN_TIMEOUT).build().await;
    let authenticator = authenticator.map_err(|error| {
        Error::invalid(format!("the private key of {principal} cannot be read; it must be an RSA key in PEM"))
            .with_source(error)
    })?;
    Ok(LoggedIn { principal, authenticator: Arc::new(Tokens(authenticator)) })
}

async fn authorized_user(secret: AuthorizedUserSecret) -> Result<LoggedIn> {
    // Users have no name in their file: a digest tells them apart, as cache keys must.
    let digest = Sha256::digest(format!("{}\n{}", secret.client_id, secret.refresh_token));
    let principal = format!(
        "authorized-user:{}",
        digest.iter().take(8).fold(String::new(), |text, byte| format!("{text}{byte:02x}"))
    );
    let authenticator = AuthorizedUserAuthenticator::builder(secret).with_timeout(TOKEN_TIMEOUT).build().await;
    let authenticator =
        authenticator.map_err(|error| Error::internal("cannot use a user's credentials").with_source(error))?;
    Ok(LoggedIn { principal, authenticator: Arc::new(Tokens(authenticator)) })
}

async fn metadata_server() -> Result<LoggedIn> {
    let options = ApplicationDefaultCredentialsFlowOpts::default();
    let authenticator = match ApplicationDefaultCredentialsAuthenticator::builder(options).await {
        ApplicationDefaultCredentialsTypes::InstanceMetadata(builder) => {
            builder.with_timeout(TOKEN_TIMEOUT).build().await
        }
        ApplicationDefaultCredentialsTypes::ServiceAccount(builder) => {
            builder.with_timeout(TOKEN_TIMEOUT).build().await
        }
    };
    let authenticator = authenticator
        .map_err(|error| Error::internal("cannot use application-default credentials").with_source(error))?;
    Ok(LoggedIn { principal: "metadata-server".to_owned(), authenticator: Arc::new(Tokens(authenticator)) })
}

async fn key_file(path: &Path) -> Result<LoggedIn> {
    let file = path.display();
    let bytes = tokio::fs::read(path).await;
    let bytes =
        bytes.map_err(|error| Error::invalid(format!("credentials file {file}: cannot be read")).with_source(error))?;
    // The parser's error may quote a secret, so it goes no further.
    let fields: Map<String, Value> = serde_json::from_slice(&bytes)
        .map_err(|_| Error::invalid(format!("credentials file {file}: is not a JSON object")))?;
    let text = |name: &str| fields.get(name).and_then(Value::as_str).unwrap_or_default();
    match text("type") {
        "service_account" | "" => {
            let key = service_account_key(text("client_email"), text("private_key"), text("token_uri"));
            service_account(key.map_err(|error| error.context(format_args!("credentials file {file}")))?).await
        }
        "authorized_user" => {
            let secret = serde_json::from_value(Value::Object(fields)).map_err(|_| {
                Error::invalid(format!("credentials file {file}: client_id, client_secret or refresh_token is missing"))
            })?;
            authorized_user(secret).await
        }
        other => Err(Error::invalid(format!(
            "credentials file {file}: type {other:?} is not supported; use a service_account key or authorized_user"
        ))),
    }
}

/// Checks the three fields that a login needs.
fn service_account_key(client_email: &str, private_key: &str, token_uri: &str) -> Result<ServiceAccountKey> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Secret;

    const TOKEN_URI: &str = "https://oauth2.googleapis.com/token";

    async fn refusal(client_email: &str, private_key: &str, token_uri: &str) -> String {
        let login = Login::ServiceAccount {
            client_email: client_email.to_owned(),
            private_key: Secret(private_key.to_owned()),
            token_uri: token_uri.to_owned(),
        };
        let error = prepare(&login).await.err().unwrap();
        assert_eq!(error.kind(), Kind::InvalidQuery);
        format!("{error:?}")
    }

    #[tokio::test]
    async fn a_missing_or_wrong_field_is_named_and_never_quoted() {
        let text = refusal("", "", TOKEN_URI).await;
        assert!(text.contains("client email, private key is missing"), "{text}");
        let text = refusal("a@b", "hunter2", TOKEN_URI).await;
        assert!(text.contains("private key is not PEM") && !text.contains("hunter2"), "{text}");
        let text = refusal("a@b", "-----BEGIN PRIVATE KEY-----\\nhunter2\\n-----END PRIVATE KEY-----", TOKEN_URI).await;
        assert!(text.contains("private key of a@b cannot be read") && !text.contains("hunter2"), "{text}");
        let text = refusal("a@b", "-----BEGIN PRIVATE KEY-----", "not a uri").await;
        assert!(text.contains("token URI \"not a uri\""), "{text}");
    }

    #[tokio::test]
    async fn a_wrong_credentials_file_is_named_and_never_quoted() {
        let folder = tempfile::tempdir().unwrap();
        let check = async |content: Option<&str>, expected: &str| {
            let path = folder.path().join("key.json");
            match content {
                Some(content) => std::fs::write(&path, content).unwrap(),
                None => drop(std::fs::remove_file(&path)),
            }
            let error = prepare(&Login::KeyFile(path)).await.err().unwrap();
            let text = format!("{error:?}");
            assert!(text.contains("key.json") && text.contains(expected) && !text.contains("hunter2"), "{text}");
        };
        check(None, "cannot be read").await;
        check(Some("\"hunter2\""), "not a JSON object").await;
        check(Some(r#"{"type":"service_account","private_key":"hunter2"}"#), "client email, token URI is missing")
            .await;
        check(Some(r#"{"type":"authorized_user","refresh_token":"hunter2"}"#), "client_id").await;
        check(Some(r#"{"type":"external_account"}"#), "\"external_account\" is not supported").await;
    }
}
