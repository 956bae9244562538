//! A server that does as a closure tells and writes down what reached it.

use std::sync::Arc;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::response::Response;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::Notify;

use crate::config::BigQueryConfig;
use crate::source::bigquery::BigQuery;

/// What reached the server.
#[derive(Clone, Debug)]
pub(super) struct Call {
    pub(super) method: String,
    /// Path below `/bigquery/v2/projects/p`, or the whole path.
    pub(super) path: String,
    pub(super) query: Vec<(String, String)>,
    pub(super) authorization: String,
    pub(super) text: String,
    /// The body, where it is JSON.
    pub(super) body: Value,
}

impl Call {
    /// `POST /jobs`, say.
    pub(super) fn line(&self) -> String {
        format!("{} {}", self.method, self.path)
    }

    pub(super) fn parameter(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The job id in the body of `jobs.insert`.
    pub(super) fn job_id(&self) -> &str {
        self.body["jobReference"]["jobId"].as_str().unwrap()
    }
}

/// What the server does with a call.
pub(super) enum Reply {
    Json(u16, Value),
    Text(u16, &'static str),
    /// Answers when told to by [`Server::release`], or never.
    Held(Value),
}

impl Reply {
    pub(super) fn ok(body: Value) -> Self {
        Self::Json(200, body)
    }

    /// An error in the API's form.
    pub(super) fn error(status: u16, reason: &str, message: &str) -> Self {
        let error = json!({"code": status, "message": message, "errors": [{"reason": reason, "message": message}]});
        Self::Json(status, json!({ "error": error }))
    }
}

type Script = dyn Fn(&Call) -> Reply + Send + Sync;

pub(super) struct Server {
    pub(super) url: String,
    shared: Arc<Shared>,
}

struct Shared {
    script: Box<Script>,
    calls: Mutex<Vec<Call>>,
    arrived: Notify,
    release: Notify,
}

impl Server {
    pub(super) async fn start(script: impl Fn(&Call) -> Reply + Send + Sync + 'static) -> Self {
        let shared = Arc::new(Shared {
            script: Box::new(script),
            calls: Mutex::default(),
            arrived: Notify::new(),
            release: Notify::new(),
        });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new().fallback(answer).with_state(Arc::clone(&shared));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { url, shared }
    }

    pub(super) fn config(&self) -> BigQueryConfig {
        config(self.url.clone())
    }

    pub(super) async fn client(&self) -> BigQuery {
        BigQuery::connect(&self.config()).await.unwrap()
    }

    pub(super) fn calls(&self) -> Vec<Call> {
        self.shared.calls.lock().clone()
    }

    /// All calls, as `POST /jobs`.
    pub(super) fn lines(&self) -> Vec<String> {
        self.calls().iter().map(Call::line).collect()
    }

    pub(super) fn count(&self, line: &str) -> usize {
        self.lines().iter().filter(|call| *call == line).count()
    }

    /// Waits until a call has arrived.
    pub(super) async fn wait_for(&self, line: &str) {
        loop {
            let arrived = self.shared.arrived.notified();
            if self.count(line) > 0 {
                return;
            }
            arrived.await;
        }
    }

    /// Lets one held call go.
    pub(super) fn release(&self) {
        self.shared.release.notify_one();
    }
}

/// A client's settings before a server.
pub(super) fn config(endpoint: String) -> BigQueryConfig {
    BigQueryConfig::stand_in("p", endpoint)
}

async fn answer(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let text = String::from_utf8_lossy(&to_bytes(body, usize::MAX).await.unwrap()).into_owned();
    let path = head.uri.path();
    let call = Call {
        method: head.method.to_string(),
        path: path.strip_prefix("/bigquery/v2/projects/p").unwrap_or(path).to_owned(),
        query: url::form_urlencoded::parse(head.uri.query().unwrap_or_default().as_bytes()).into_owned().collect(),
        authorization: head
            .headers
            .get("authorization")
            .map(|value| value.to_str().unwrap().to_owned())
            .unwrap_or_default(),
        body: serde_json::from_str(&text).unwrap_or_default(),
        text,
    };
    let reply = (shared.script)(&call);
    shared.calls.lock().push(call);
    shared.arrived.notify_waiters();
    let (status, body) = match reply {
        Reply::Json(status, body) => (status, body.to_string()),
        Reply::Text(status, text) => (status, text.to_owned()),
        Reply::Held(body) => {
            shared.release.notified().await;
            (200, body.to_string())
        }
    };
    Response::builder().status(status).header("content-type", "application/json").body(Body::from(body)).unwrap()
}

/// A job as `jobs.insert` and `jobs.get` show it, in the location `EU`.
pub(super) fn job(id: &str, state: &str) -> Value {
    json!({
        "jobReference": {"projectId": "p", "jobId": id, "location": "EU"},
        "configuration": {"query": {"destinationTable": {"projectId": "p", "datasetId": "_anon", "tableId": "t"}}},
        "status": {"state": state},
        "statistics": {
            "creationTime": "1704067199000", "startTime": "1704067200000", "endTime": "1704067260000",
            "totalSlotMs": "12",
            "query": {"totalBytesProcessed": "1000", "totalBytesBilled": "10485760", "cacheHit": false},
        },
    })
}

/// The same, ended with an error.
pub(super) fn failed_job(id: &str, reason: &str, message: &str) -> Value {
    let mut job = job(id, "DONE");
    job["status"]["errorResult"] = json!({"reason": reason, "message": message});
    job
}

/// A page of one INT64 column `n`.
pub(super) fn page(numbers: &[i64], total: u64, token: Option<&str>) -> Value {
    let rows: Vec<_> = numbers.iter().map(|number| json!({"f": [{"v": number.to_string()}]})).collect();
    json!({
        "jobComplete": true,
        "schema": {"fields": [{"name": "n", "type": "INTEGER", "mode": "NULLABLE"}]},
        "totalRows": total.to_string(),
        "rows": rows,
        "pageToken": token,
    })
}
