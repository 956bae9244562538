//! A small Google storage: the XML API that `object_store` speaks, with generations, logins that IAM gives,
//! and refusals on demand. Strict where the real one is: a write without a matching generation is refused.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use object_store::path::Path;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// The only bucket.
pub(super) const BUCKET: &str = "experiments";

/// A stored object.
#[derive(Clone)]
pub(super) struct Stored {
    pub(super) bytes: Bytes,
    pub(super) generation: u64,
    pub(super) headers: BTreeMap<String, String>,
}

#[derive(Default)]
pub(super) struct Inner {
    pub(super) objects: BTreeMap<String, Stored>,
    /// Whether nothing may be written.
    pub(super) is_read_only: bool,
    /// Tokens that were given out and are not taken any more.
    pub(super) revoked: Vec<String>,
    /// Whether IAM gives no more tokens.
    pub(super) is_logged_out: bool,
    /// Tokens that were given out.
    pub(super) given: Vec<String>,
    /// What the last token was asked for.
    pub(super) scope: Value,
    /// Writes that were taken, in order.
    pub(super) writes: Vec<String>,
    /// The token in use is revoked when so many writes were taken.
    pub(super) revoke_after: Option<usize>,
    generation: u64,
}

/// The server, until it is dropped.
pub(super) struct Google {
    pub(super) url: String,
    pub(super) inner: Arc<Mutex<Inner>>,
    task: JoinHandle<()>,
}

impl Drop for Google {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Google {
    pub(super) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let inner = Arc::new(Mutex::new(Inner::default()));
        let router = Router::new().fallback(serve).with_state(Arc::clone(&inner));
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { url, inner, task }
    }
}

async fn serve(
    State(inner): State<Arc<Mutex<Inner>>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let mut inner = inner.lock();
    if uri.path().ends_with(":generateAccessToken") {
        return inner.token(&body);
    }
    let token = headers.get("authorization").map(|value| value.to_str().unwrap().trim_start_matches("Bearer "));
    let Some(token) = token.filter(|token| inner.given.iter().any(|given| given == token)) else {
        return (StatusCode::UNAUTHORIZED, "no token of ours").into_response();
    };
    if inner.revoked.iter().any(|revoked| revoked == token) {
        return (StatusCode::UNAUTHORIZED, "<Error><Code>AuthenticationRequired</Code></Error>").into_response();
    }
    let (bucket, name) = uri.path().trim_start_matches('/').split_once('/').unwrap_or((&uri.path()[1..], ""));
    if bucket != BUCKET {
        return (StatusCode::NOT_FOUND, "<Error><Code>NoSuchBucket</Code></Error>").into_response();
    }
    let name = Path::from_url_path(name).unwrap().to_string();
    match method {
        Method::GET if name.is_empty() => inner.list(uri.query().unwrap_or_default()),
        Method::GET | Method::HEAD => inner.get(&name),
        Method::PUT => inner.put(name, token, &headers, body),
        other => panic!("nothing of ours sends {other} {uri}"),
    }
}

impl Inner {
    fn token(&mut self, body: &[u8]) -> Response {
        if self.is_logged_out {
            return (StatusCode::FORBIDDEN, r#"{"error": {"message": "the account is disabled"}}"#).into_response();
        }
        self.scope = serde_json::from_slice::<Value>(body).unwrap()["scope"].clone();
        let token = format!("token-{}", self.given.len() + 1);
        self.given.push(token.clone());
        axum::Json(json!({"accessToken": token, "expireTime": "2099-01-01T00:00:00Z"})).into_response()
    }

    fn list(&self, query: &str) -> Response {
        let prefix = url::form_urlencoded::parse(query.as_bytes()).find(|(key, _)| key == "prefix");
        let prefix = prefix.map(|(_, prefix)| prefix.into_owned()).unwrap_or_default();
        let mut xml = "<?xml version='1.0'?><ListBucketResult><IsTruncated>false</IsTruncated>".to_owned();
        for (name, stored) in self.objects.iter().filter(|(name, _)| name.starts_with(&prefix)) {
            write!(
                xml,
                "<Contents><Key>{name}</Key><Generation>{}</Generation><LastModified>2024-03-01T00:00:00Z\
                 </LastModified><ETag>\"e{0}\"</ETag><Size>{}</Size></Contents>",
                stored.generation,
                stored.bytes.len()
            )
            .unwrap();
        }
        xml.push_str("</ListBucketResult>");
        xml.into_response()
    }

    fn get(&self, name: &str) -> Response {
        let Some(stored) = self.objects.get(name) else {
            return (StatusCode::NOT_FOUND, "<Error><Code>NoSuchKey</Code></Error>").into_response();
        };
        let mut response = Response::builder()
            .header("last-modified", "Fri, 01 Mar 2024 00:00:00 GMT")
            .header("etag", format!("\"e{}\"", stored.generation))
            .header("x-goog-generation", stored.generation);
        for (name, value) in &stored.headers {
            response = response.header(name, value);
        }
        response.header("content-length", stored.bytes.len()).body(Body::from(stored.bytes.clone())).unwrap()
    }

    fn put(&mut self, name: String, token: &str, headers: &HeaderMap, bytes: Bytes) -> Response {
        if self.is_read_only {
            return (StatusCode::FORBIDDEN, "<Error><Code>AccessDenied</Code></Error>").into_response();
        }
        let there = self.objects.get(&name).map_or(0, |stored| stored.generation);
        let wanted = headers.get("x-goog-if-generation-match").and_then(|value| value.to_str().ok()?.parse().ok());
        if wanted != Some(there) {
            return (StatusCode::PRECONDITION_FAILED, "<Error><Code>PreconditionFailed</Code></Error>").into_response();
        }
        self.generation += 1;
        let kept = headers.iter().filter(|(name, _)| {
            matches!(name.as_str(), "content-type" | "cache-control") || name.as_str().starts_with("x-goog-meta-")
        });
        let headers = kept.map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned())).collect();
        self.objects.insert(name.clone(), Stored { bytes, generation: self.generation, headers });
        self.writes.push(name);
        if self.revoke_after.is_some_and(|after| self.writes.len() == after) {
            self.revoked.push(token.to_owned());
        }
        let generation = self.generation;
        ([("etag", format!("\"e{generation}\"")), ("x-goog-generation", generation.to_string())], "").into_response()
    }
}
