//! Workload identity federation: somebody else's token becomes one of Google's.
//!
//! Sources: RFC 8693; <https://google.aip.dev/auth/4117>. Subject tokens come from a file, an address
//! or the caller; nothing is executed for them, and no cloud's own signatures are made.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use serde::Deserialize;
use serde_json::{Map, Value};
use weir_plan::{Error, Kind, Result, Timestamp};

use super::cached::{Cached, Fetch, Fetched};
use super::endpoint::Endpoint;
use super::{BIGQUERY, CLOUD, Forwarded, Purpose, Whose, missing};
use crate::clock::Clock;
use crate::config::{ForwardedToken, Secret};
use crate::source::LoginRefused;

/// Google's security token service.
const GOOGLE: &str = "https://sts.googleapis.com/v1/token";

const GRANT: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
const ID_TOKEN: &str = "urn:ietf:params:oauth:token-type:id_token";

/// Tokens that a security token service gives for others.
#[derive(Clone)]
pub(super) struct Exchange {
    subject: Subject,
    endpoint: Endpoint,
    audience: String,
    subject_token_type: String,
    scopes: &'static [&'static str],
    /// The client's id and secret, where the service wants them.
    client: Option<(String, Secret)>,
}

/// Where subject tokens come from; they are read anew for each exchange, for they expire.
#[derive(Clone)]
enum Subject {
    File(PathBuf, Form),
    Address(Endpoint, HeaderMap, Form),
    Caller(Arc<Forwarded>),
}

/// How a subject token is written.
#[derive(Clone)]
enum Form {
    Text,
    /// A JSON object, in this field.
    Json(String),
}

#[derive(Deserialize)]
struct Answer {
    access_token: String,
    expires_in: Option<i64>,
}

impl Exchange {
    /// The exchange that a credentials file describes; relative paths in it belong to its folder.
    ///
    /// # Errors
    /// `InvalidQuery` naming the field that is missing, wrong or not supported.
    pub(super) fn of_file(fields: &Map<String, Value>, folder: &Path, purpose: Purpose) -> Result<Self> {
        let required = |name: &str| text(fields, name).ok_or_else(|| missing(name));
        let source = fields.get("credential_source").and_then(Value::as_object);
        let source = source.ok_or_else(|| missing("credential_source"))?;
        let client = match (text(fields, "client_id"), text(fields, "client_secret")) {
            (Some(id), secret) => Some((id.to_owned(), Secret(secret.unwrap_or_default().to_owned()))),
            (None, _) => None,
        };
        Ok(Self {
            subject: Subject::of(source, folder).map_err(|error| error.context("credential_source"))?,
            endpoint: service(required("token_url")?)?,
            audience: required("audience")?.to_owned(),
            subject_token_type: required("subject_token_type")?.to_owned(),
            scopes: scopes(purpose),
            client,
        })
    }

    /// The exchange of callers' ID tokens, by a provider of a workload identity pool.
    ///
    /// # Errors
    /// `InvalidQuery` for a provider or an address that is none.
    pub(super) fn of_callers(provider: &str, token_uri: Option<&str>, purpose: Purpose) -> Result<Self> {
        let provider = provider.trim().trim_start_matches("//iam.googleapis.com/").trim_matches('/');
        if !provider.starts_with("projects/") || !provider.contains("/providers/") {
            return Err(Error::invalid(format!(
                "the workload identity provider {provider:?} is not of the form \
                 projects/NUMBER/locations/global/workloadIdentityPools/POOL/providers/PROVIDER"
            )));
        }
        Ok(Self {
            subject: Subject::Caller(Arc::default()),
            endpoint: service(token_uri.unwrap_or(GOOGLE))?,
            audience: format!("//iam.googleapis.com/{provider}"),
            subject_token_type: ID_TOKEN.to_owned(),
            scopes: scopes(purpose),
            client: None,
        })
    }

    /// Tokens that are kept.
    pub(super) fn cached(self, clock: &Arc<dyn Clock>) -> Cached<Self> {
        Fetch::cached(self, clock)
    }

    /// Whom the exchange is for, as far as the settings say; no secret.
    pub(super) fn principal(&self) -> String {
        match &self.subject {
            Subject::File(path, _) => format!("federated:{}:{}", self.audience, path.display()),
            Subject::Address(endpoint, ..) => format!("federated:{}:{}", self.audience, endpoint.place()),
            Subject::Caller(_) => format!("federated:{}", self.audience),
        }
    }
}

fn service(url: &str) -> Result<Endpoint> {
    Endpoint::new(url, "the security token service", LoginRefused::Exchange)
}

fn scopes(purpose: Purpose) -> &'static [&'static str] {
    match purpose {
        Purpose::BigQuery => BIGQUERY,
        Purpose::Impersonation | Purpose::Storage => CLOUD,
    }
}

fn text<'a>(fields: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    fields.get(name).and_then(Value::as_str).map(str::trim).filter(|text| !text.is_empty())
}

impl Subject {
    fn of(source: &Map<String, Value>, folder: &Path) -> Result<Self> {
        let form = Form::of(source.get("format"))?;
        if let Some(file) = text(source, "file") {
            return Ok(Self::File(folder.join(file), form));
        }
        let unsupported =
            ["environment_id", "executable", "certificate"].into_iter().find(|name| source.contains_key(*name));
        match (unsupported, text(source, "url")) {
            (Some(name), _) => Err(Error::invalid(format!("{name} is not supported; use file or url"))),
            (None, None) => Err(missing("file or url")),
            (None, Some(url)) => {
                let endpoint = Endpoint::new(url, "the address that gives subject tokens", LoginRefused::Subject)?;
                Ok(Self::Address(endpoint, headers(source.get("headers"))?, form))
            }
        }
    }

    async fn token(&self, whose: Whose) -> Result<Secret> {
        let (bytes, form) = match self {
            Self::Caller(caller) => return caller.required(ForwardedToken::Id),
            Self::File(path, form) => (tokio::fs::read(path).await.map_err(|error| unreadable(path, &error))?, form),
            Self::Address(endpoint, headers, form) => {
                (endpoint.bytes(endpoint.get().headers(headers.clone()), whose, "").await?.into(), form)
            }
        };
        form.read(&bytes).ok_or_else(|| {
            let place = match self {
                Self::File(path, _) => format!("file {}", path.display()),
                _ => "answer of its address".to_owned(),
            };
            let message = format!("the {place} holds no subject token in the format of credential_source");
            Error::new(Kind::Unavailable, message).with_source(LoginRefused::Subject)
        })
    }
}

fn unreadable(path: &Path, error: &std::io::Error) -> Error {
    let message = format!("cannot read the subject token in {}: {error}", path.display());
    Error::new(Kind::Unavailable, message).with_source(LoginRefused::Subject)
}

fn headers(headers: Option<&Value>) -> Result<HeaderMap> {
    let wrong = |name: &str| Error::invalid(format!("headers: {name} is not a header with a text"));
    let Some(headers) = headers.filter(|headers| !headers.is_null()) else { return Ok(HeaderMap::new()) };
    let headers = headers.as_object().ok_or_else(|| Error::invalid("headers is not an object"))?;
    let pairs = headers.iter().map(|(name, value)| {
        let key: HeaderName = name.parse().map_err(|_| wrong(name))?;
        let value = value.as_str().and_then(|value| value.parse::<HeaderValue>().ok());
        let mut value = value.ok_or_else(|| wrong(name))?;
        value.set_sensitive(true);
        Ok((key, value))
    });
    pairs.collect()
}

impl Form {
    fn of(format: Option<&Value>) -> Result<Self> {
        let Some(format) = format.filter(|format| !format.is_null()) else { return Ok(Self::Text) };
        match (format["type"].as_str(), format["subject_token_field_name"].as_str()) {
            (None | Some("text"), _) => Ok(Self::Text),
            (Some("json"), Some(field)) => Ok(Self::Json(field.to_owned())),
            (Some("json"), None) => Err(missing("format.subject_token_field_name")),
            (Some(other), _) => Err(Error::invalid(format!("format.type {other:?} is none of text, json"))),
        }
    }

    fn read(&self, bytes: &[u8]) -> Option<Secret> {
        let token = match self {
            Self::Text => std::str::from_utf8(bytes).ok()?.trim().to_owned(),
            Self::Json(field) => serde_json::from_slice::<Value>(bytes).ok()?[field].as_str()?.trim().to_owned(),
        };
        Some(Secret(token)).filter(|token| !token.0.is_empty())
    }
}

#[async_trait]
impl Fetch for Exchange {
    async fn fetch(&self, asked_at: Timestamp) -> Result<Fetched> {
        let subject = self.subject.token(self.whose()).await?;
        let scope = self.scopes.join(" ");
        let form = [
            ("grant_type", GRANT),
            ("audience", &self.audience),
            ("scope", &scope),
            ("requested_token_type", ACCESS_TOKEN),
            ("subject_token_type", &self.subject_token_type),
            ("subject_token", &subject.0),
        ];
        let mut request = self.endpoint.post().form(&form);
        if let Some((id, secret)) = &self.client {
            request = request.basic_auth(id, Some(&secret.0));
        }
        let answer: Answer = self.endpoint.json(request, self.whose(), &subject).await?;
        // A token whose life nobody tells is used once.
        Ok(Fetched::living(answer.access_token, asked_at, answer.expires_in.unwrap_or(0)))
    }

    fn whose(&self) -> Whose {
        if matches!(self.subject, Subject::Caller(_)) { Whose::Callers } else { Whose::Ours }
    }

    fn on_behalf(&self, caller: &Arc<Forwarded>) -> Option<Self> {
        let own = matches!(self.subject, Subject::Caller(_));
        own.then(|| Self { subject: Subject::Caller(Arc::clone(caller)), ..self.clone() })
    }
}
