//! Calls of an endpoint that gives tokens, and what its refusals mean.

use std::time::Duration;

use reqwest::{Client, RequestBuilder, StatusCode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use url::Url;
use weir_plan::{Error, Kind, Result};

use super::Whose;
use crate::config::Secret;
use crate::source::LoginRefused;
use crate::source::bigquery::rest::is_loopback;

/// A token endpoint answers in this time or not at all.
pub(super) const TIMEOUT: Duration = Duration::from_secs(20);

/// An endpoint that gives tokens.
#[derive(Clone)]
pub(super) struct Endpoint {
    http: Client,
    url: Url,
    /// What it is, for messages.
    name: &'static str,
    /// What to check when it refuses.
    refusal: LoginRefused,
}

impl Endpoint {
    /// Prepares calls of `url`, without sending any.
    ///
    /// # Errors
    /// `InvalidQuery` for a text that is not an HTTP address.
    pub(super) fn new(url: &str, name: &'static str, refusal: LoginRefused) -> Result<Self> {
        let parsed = url.trim().parse::<Url>().ok().filter(|url| matches!(url.scheme(), "http" | "https"));
        let url = parsed.ok_or_else(|| Error::invalid(format!("{name}: {url:?} is not an http or https address")))?;
        let mut http = Client::builder().timeout(TIMEOUT);
        if is_loopback(&url) {
            http = http.no_proxy();
        }
        let http = http.build().map_err(|error| Error::internal("cannot make an HTTP client").with_source(error))?;
        Ok(Self { http, url, name, refusal })
    }

    /// Host and path, without what may be secret in an address.
    pub(super) fn place(&self) -> String {
        format!("{}{}", self.url.host_str().unwrap_or_default(), self.url.path())
    }

    pub(super) fn get(&self) -> RequestBuilder {
        self.http.get(self.url.clone())
    }

    pub(super) fn post(&self) -> RequestBuilder {
        self.http.post(self.url.clone())
    }

    /// The bytes of the answer. `sent` is the secret that the request carries.
    ///
    /// # Errors
    /// For the endpoint's refusal, `Unavailable` or, where the login is the caller's, `Unauthenticated`,
    /// both with a [`LoginRefused`] as their cause; `Unavailable` if there is no sound answer.
    pub(super) async fn bytes(&self, request: RequestBuilder, whose: Whose, sent: &str) -> Result<bytes::Bytes> {
        let response = request.send().await.map_err(|error| self.unreachable(error))?;
        let status = response.status();
        let body = response.bytes().await.map_err(|error| self.unreachable(error))?;
        match status {
            status if status.is_success() => Ok(body),
            StatusCode::TOO_MANY_REQUESTS => Err(self.answered(status, &body, sent)),
            status if status.is_client_error() => {
                let kind = match whose {
                    Whose::Ours => Kind::Unavailable,
                    Whose::Callers => Kind::Unauthenticated,
                };
                let message = format!("{} refuses the login: {}", self.name, reason(status, &body, sent));
                Err(Error::new(kind, message).with_source(self.refusal))
            }
            status => Err(self.answered(status, &body, sent)),
        }
    }

    /// The answer as JSON.
    ///
    /// # Errors
    /// As [`Endpoint::bytes`]; `Unavailable` for another form.
    pub(super) async fn json<T: DeserializeOwned>(
        &self,
        request: RequestBuilder,
        whose: Whose,
        sent: &Secret,
    ) -> Result<T> {
        let body = self.bytes(request, whose, &sent.0).await?;
        // The parser's error may quote a token, so it goes no further.
        serde_json::from_slice(&body).map_err(|_| self.unsound())
    }

    /// An answer in another form than the endpoint's.
    pub(super) fn unsound(&self) -> Error {
        Error::new(
            Kind::Unavailable,
            format!("{} answered with something else than a token; check its address", self.name),
        )
    }

    fn answered(&self, status: StatusCode, body: &[u8], sent: &str) -> Error {
        Error::new(Kind::Unavailable, format!("{} answered {}", self.name, reason(status, body, sent)))
    }

    fn unreachable(&self, error: reqwest::Error) -> Error {
        let what = if error.is_timeout() { "no answer in time from" } else { "cannot reach" };
        let host = self.url.host_str().unwrap_or("an unknown host");
        let message = format!("{what} {} at {host}", self.name);
        Error::new(Kind::Unavailable, message).with_source(error.without_url())
    }
}

/// Errors of OAuth (RFC 6749, §5.2), and of Google's APIs.
#[derive(Deserialize)]
#[serde(untagged)]
enum Problem {
    OAuth { error: String, error_description: Option<String> },
    Api { error: ApiProblem },
}

#[derive(Deserialize)]
struct ApiProblem {
    message: String,
}

/// What the endpoint says is wrong, without the secret that it was sent.
fn reason(status: StatusCode, body: &[u8], sent: &str) -> String {
    let text = match serde_json::from_slice(body) {
        Ok(Problem::OAuth { error, error_description: Some(description) }) => format!("{error}: {description}"),
        Ok(Problem::OAuth { error: text, .. } | Problem::Api { error: ApiProblem { message: text } }) => text,
        Err(_) => return format!("HTTP status {}", status.as_u16()),
    };
    if sent.is_empty() { text } else { text.replace(sent, "[secret]") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_endpoints_own_words_are_shown_without_the_secret() {
        let check = |body: &str, expected: &str| {
            assert_eq!(reason(StatusCode::FORBIDDEN, body.as_bytes(), "hunter2"), expected, "{body}");
        };
        check(r#"{"error": "invalid_grant"}"#, "invalid_grant");
        check(r#"{"error": "invalid_grant", "error_description": "bad hunter2"}"#, "invalid_grant: bad [secret]");
        check(r#"{"error": {"code": 403, "message": "denied on hunter2"}}"#, "denied on [secret]");
        check("<html>hunter2</html>", "HTTP status 403");
    }

    #[test]
    fn an_address_that_is_none_is_named() {
        for url in ["", "iam", "ftp://x"] {
            let error = Endpoint::new(url, "the token service", LoginRefused::Exchange).err().unwrap();
            assert!(error.message().contains(&format!("the token service: {url:?}")), "{error}");
        }
    }
}
