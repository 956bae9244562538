//! Calls of the `BigQuery` v2 API over HTTP, with the token of our login.
//!
//! The client crate lends its models. Its own calls are not used because they
//! lose what we act on: the HTTP status of an error body in another form, `Retry-After`, errors
//! without an `errors` list, every resource with a column type that its closed list lacks (RANGE),
//! and `formatOptions` of results. It knows neither jobs nor rows.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use reqwest::{Method, RequestBuilder, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use url::Url;
use weir_plan::{Error, Kind, Result, Timestamp};

use super::errors::Failure;
use super::login::Tokens;

/// Google's own endpoint.
const GOOGLE: &str = "https://bigquery.googleapis.com";

/// A connection is made in this time or not at all.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// The longest silence of a call: a page of results waits up to [`super::jobs::POLL`] and then
/// arrives at its own speed.
const READ_TIMEOUT: Duration = Duration::from_mins(1);

/// The v2 API at one endpoint, under one login.
pub(super) struct Rest {
    http: reqwest::Client,
    base: Url,
    tokens: Arc<dyn Tokens>,
}

impl Rest {
    /// Prepares calls to `endpoint`, without sending any.
    ///
    /// # Errors
    /// `InvalidQuery` for an endpoint that is not an HTTP address.
    pub(super) fn new(endpoint: Option<&str>, tokens: Arc<dyn Tokens>) -> Result<Self> {
        let base = base_url(endpoint)?;
        let mut http = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .read_timeout(READ_TIMEOUT)
            .user_agent(concat!("weir/", env!("CARGO_PKG_VERSION")));
        if is_loopback(&base) {
            http = http.no_proxy();
        }
        let http = http.build().map_err(|error| Error::internal("cannot make an HTTP client").with_source(error))?;
        Ok(Self { http, base, tokens })
    }

    /// The same API under another login.
    pub(super) fn under(&self, tokens: Arc<dyn Tokens>) -> Self {
        Self { http: self.http.clone(), base: self.base.clone(), tokens }
    }

    /// Whether the endpoint is one of Google's.
    pub(super) fn is_google(&self) -> bool {
        self.base.host_str().is_some_and(|host| host == "googleapis.com" || host.ends_with(".googleapis.com"))
    }

    /// Fetches a resource, its bytes as they come.
    pub(super) async fn get_bytes(&self, path: &[&str], query: &[(&str, String)]) -> Result<Bytes, Failure> {
        Ok(self.send(self.http.request(Method::GET, self.url(path)).query(query)).await?.body)
    }

    /// Fetches a resource.
    pub(super) async fn get<T: DeserializeOwned>(&self, path: &[&str], query: &[(&str, String)]) -> Result<T, Failure> {
        parse(&self.get_bytes(path, query).await?)
    }

    /// Fetches a resource, and the server's time in whole seconds, where it says so.
    pub(super) async fn get_dated<T: DeserializeOwned>(
        &self,
        path: &[&str],
        query: &[(&str, String)],
    ) -> Result<(T, Option<Timestamp>), Failure> {
        let answer = self.send(self.http.request(Method::GET, self.url(path)).query(query)).await?;
        Ok((parse(&answer.body)?, answer.date))
    }

    /// Posts `body` and reads the answer.
    pub(super) async fn post<T: DeserializeOwned>(
        &self,
        path: &[&str],
        body: &(impl Serialize + Sync),
    ) -> Result<T, Failure> {
        parse(&self.send(self.http.request(Method::POST, self.url(path)).json(body)).await?.body)
    }

    /// Posts nothing and reads nothing.
    pub(super) async fn poke(&self, path: &[&str], query: &[(&str, String)]) -> Result<(), Failure> {
        let request = self.http.request(Method::POST, self.url(path)).query(query).header("content-length", "0");
        self.send(request).await.map(drop)
    }

    fn url(&self, path: &[&str]) -> Url {
        let mut url = self.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path);
        }
        url
    }

    async fn send(&self, request: RequestBuilder) -> Result<Answer, Failure> {
        let token = self.tokens.token().await?;
        let response = request.bearer_auth(&token.0).send().await.map_err(|error| self.unreachable(error))?;
        let status = response.status();
        if status == StatusCode::UNAUTHORIZED {
            self.tokens.refused(&token);
        }
        let refused = |body: &[u8], retry_after| {
            Failure::of_response(status.as_u16(), retry_after, body).under(self.tokens.whose())
        };
        let retry_after = response
            .headers()
            .get("retry-after")
            .and_then(|value| value.to_str().ok()?.trim().parse().ok())
            .map(Duration::from_secs);
        let date = response.headers().get("date").and_then(|value| date(value.to_str().ok()?));
        match response.bytes().await {
            Ok(body) if status.is_success() => Ok(Answer { body, date }),
            Ok(body) => Err(refused(&body, retry_after)),
            Err(_) if !status.is_success() => Err(refused(b"", retry_after)),
            Err(error) => Err(self.unreachable(error)),
        }
    }

    fn unreachable(&self, error: reqwest::Error) -> Failure {
        let what = if error.is_timeout() { "no answer in time from" } else { "cannot reach" };
        let host = self.base.host_str().unwrap_or("BigQuery");
        Error::new(Kind::Unavailable, format!("{what} BigQuery at {host}")).with_source(error.without_url()).into()
    }
}

/// The answer to a call that went well.
struct Answer {
    body: Bytes,
    /// The header `Date`.
    date: Option<Timestamp>,
}

fn date(text: &str) -> Option<Timestamp> {
    let date = chrono::DateTime::parse_from_rfc2822(text).ok()?;
    Timestamp::from_millis(date.timestamp_millis()).ok()
}

/// Shows where, never as whom.
impl fmt::Debug for Rest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rest").field("base", &self.base.as_str()).finish_non_exhaustive()
    }
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Failure> {
    serde_json::from_slice(body).map_err(|error| {
        Error::new(Kind::Unavailable, "BigQuery's answer is not in the API's form").with_source(error).into()
    })
}

/// The address of the v2 API: `/bigquery/v2` is added unless it is there.
fn base_url(endpoint: Option<&str>) -> Result<Url> {
    let endpoint = endpoint.map(str::trim).filter(|text| !text.is_empty()).unwrap_or(GOOGLE);
    let not_an_address = || Error::invalid(format!("BigQuery's endpoint {endpoint:?} is not an http or https address"));
    let host = endpoint.trim_end_matches('/').trim_end_matches("/bigquery/v2");
    let mut url: Url = host.parse().map_err(|_| not_an_address())?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(not_an_address());
    }
    url.path_segments_mut().map_err(|()| not_an_address())?.pop_if_empty().extend(["bigquery", "v2"]);
    Ok(url)
}

/// Whether the address is on this machine, where no proxy can help.
pub(super) fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost",
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_base_of_the_api_is_added_once() {
        let check = |endpoint: Option<&str>, expected: &str| assert_eq!(base_url(endpoint).unwrap().as_str(), expected);
        check(None, "https://bigquery.googleapis.com/bigquery/v2");
        check(Some(""), "https://bigquery.googleapis.com/bigquery/v2");
        check(Some("http://127.0.0.1:9050"), "http://127.0.0.1:9050/bigquery/v2");
        check(Some("http://127.0.0.1:9050/bigquery/v2/"), "http://127.0.0.1:9050/bigquery/v2");
        for endpoint in ["localhost:9050", "ftp://x", "http://", "not an address"] {
            let error = base_url(Some(endpoint)).unwrap_err();
            assert!(error.message().contains(endpoint), "{error}");
        }
    }
}
