//! Failures as `application/problem+json` (RFC 9457), each logged once, here.

use axum::http::header::{CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderValue, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use serde_json::json;
use uuid::Uuid;
use weir_plan::error::LogLevel;
use weir_plan::{Error, Kind};

const PROBLEM: HeaderValue = HeaderValue::from_static("application/problem+json");

/// An error on its way out of the door.
pub(super) struct Problem(Error);

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        Self(error)
    }
}

impl IntoResponse for Problem {
    /// Logs the error with its causes; the caller sees what the kind allows, and an id by which the
    /// log line is found.
    fn into_response(self) -> Response {
        let Self(error) = self;
        let (row, id) = (error.kind().row(), Uuid::new_v4());
        match row.log {
            LogLevel::Debug => tracing::debug!(%id, ?error, "a request was refused"),
            LogLevel::Warn => tracing::warn!(%id, ?error, "a request failed"),
            LogLevel::Error => tracing::error!(%id, ?error, "a request failed"),
        }
        let status = StatusCode::from_u16(row.http).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = response(status, row.title, error.public_message(), row.code, id);
        if let Some(delay) = error.retry_after() {
            let seconds = delay.as_secs() + u64::from(delay.subsec_nanos() > 0);
            response.headers_mut().insert(RETRY_AFTER, seconds.max(1).into());
        }
        response
    }
}

fn response(status: StatusCode, title: &str, detail: &str, code: &str, id: Uuid) -> Response {
    let body = json!({
        "type": "about:blank",
        "title": title,
        "status": status.as_u16(),
        "detail": detail,
        "code": code,
        "instance": id.urn().to_string(),
    });
    (status, [(CONTENT_TYPE, PROBLEM)], format!("{body}\n")).into_response()
}

/// The answer for a path that there is not.
pub(super) async fn unknown_path(uri: Uri) -> Problem {
    let paths = "/api/v1/query, /api/v1/experiments and others, described at /api/v1/docs; /healthz, /readyz, /metrics";
    Problem(Error::not_found(format!("no path {}; there are {paths}", uri.path())))
}

/// The answer for a method that a path does not take; axum adds `Allow`. It has no kind, because
/// only HTTP knows methods.
pub(super) async fn wrong_method(method: Method, uri: Uri) -> Response {
    let detail = format!("{} does not take {method}; see the header Allow", uri.path());
    response(StatusCode::METHOD_NOT_ALLOWED, "Method not allowed", &detail, "method_not_allowed", Uuid::new_v4())
}

/// The answer after a panic, which is a defect: its text goes to the log alone.
#[expect(clippy::needless_pass_by_value, reason = "the signature that tower-http asks for")]
pub(super) fn panicked(panic: Box<dyn std::any::Any + Send>) -> Response {
    let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    Problem(Error::new(Kind::Internal, format!("a handler panicked: {}", text.unwrap_or("no text")))).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::to_bytes;
    use std::time::Duration;

    async fn body(response: Response) -> serde_json::Value {
        serde_json::from_slice(&to_bytes(response.into_body(), 1 << 16).await.unwrap()).unwrap()
    }

    #[tokio::test]
    async fn every_kind_is_a_problem_with_the_tables_status_and_code() {
        for kind in Kind::ALL {
            let response = Problem(Error::new(kind, "table p.d.t is gone")).into_response();
            let row = kind.row();
            assert_eq!(response.status().as_u16(), row.http, "{kind:?}");
            assert_eq!(response.headers()[CONTENT_TYPE], "application/problem+json");
            let due = matches!(kind, Kind::QuotaExceeded | Kind::Overloaded);
            assert_eq!(response.headers().contains_key(RETRY_AFTER), due, "{kind:?}");
            let body = body(response).await;
            assert_eq!(body["status"], row.http);
            assert_eq!(body["code"], row.code);
            assert_eq!(body["title"], row.title);
            assert_eq!(body["detail"].as_str().unwrap().contains("p.d.t"), kind != Kind::Internal, "{kind:?}");
            assert!(body["instance"].as_str().unwrap().starts_with("urn:uuid:"));
        }
    }

    #[tokio::test]
    async fn a_delay_is_told_in_whole_seconds_rounded_up() {
        let error = Error::new(Kind::QuotaExceeded, "slow down").with_retry_after(Duration::from_millis(2500));
        assert_eq!(Problem(error).into_response().headers()[RETRY_AFTER], "3");
    }
}
