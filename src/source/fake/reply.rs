//! What the server says: Google's error envelope, and JSON bodies with a page of rows spliced in.
//! It knows no request and no job.

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, StatusCode};
use serde_json::{Map, Value, json};
use weir_plan::{Error, Kind};

/// An error in `BigQuery`'s terms. The same error is a request's answer, or the end of a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ApiError {
    pub(super) http: u16,
    pub(super) reason: String,
    pub(super) message: String,
    retry_after_secs: Option<u64>,
}

impl ApiError {
    pub(super) fn new(http: u16, reason: impl Into<String>, message: impl Into<String>) -> Self {
        Self { http, reason: reason.into(), message: message.into(), retry_after_secs: None }
    }

    /// A request that does not say what it must.
    pub(super) fn invalid(message: impl Into<String>) -> Self {
        Self::new(400, "invalid", message)
    }

    pub(super) fn not_found(message: impl Into<String>) -> Self {
        Self::new(404, "notFound", format!("Not found: {}", message.into()))
    }

    /// What a scripted fault says.
    pub(super) fn scripted(http: u16, reason: &str) -> Self {
        Self::new(http, reason, format!("{reason}, as scripted"))
    }

    /// Something that `BigQuery` has and this server has not.
    pub(super) fn unsupported(what: &str) -> Self {
        Self::new(501, "notImplemented", format!("{what} is not supported by this server"))
    }

    /// An `ErrorProto`, as in a job's `status.errorResult`.
    pub(super) fn proto(&self) -> Value {
        let mut proto = json!({"reason": self.reason, "message": self.message});
        if self.reason == "invalidQuery" {
            proto["location"] = "query".into();
        }
        proto
    }

    fn envelope(&self) -> Value {
        let mut error = json!({"message": self.message, "domain": "global", "reason": self.reason});
        if self.reason == "invalidQuery" {
            error["location"] = "q".into();
            error["locationType"] = "parameter".into();
        }
        json!({"error": {
            "code": self.http,
            "message": self.message,
            "errors": [error],
            "status": status_name(self.http),
        }})
    }
}

/// Canonical names of HTTP statuses. Source: `google.rpc.Code`, <https://cloud.google.com/apis/design/errors>.
fn status_name(http: u16) -> &'static str {
    match http {
        400 => "INVALID_ARGUMENT",
        401 => "UNAUTHENTICATED",
        403 => "PERMISSION_DENIED",
        404 => "NOT_FOUND",
        409 => "ALREADY_EXISTS",
        429 => "RESOURCE_EXHAUSTED",
        499 => "CANCELLED",
        501 => "UNIMPLEMENTED",
        503 => "UNAVAILABLE",
        504 => "DEADLINE_EXCEEDED",
        _ => "INTERNAL",
    }
}

/// Statuses and reasons as in <https://cloud.google.com/bigquery/docs/error-messages>.
impl From<&Error> for ApiError {
    fn from(error: &Error) -> Self {
        let (http, reason) = match error.kind() {
            Kind::InvalidQuery => (400, "invalidQuery"),
            Kind::Unauthenticated => (401, "authError"),
            Kind::PermissionDenied => (403, "accessDenied"),
            Kind::NotFound => (404, "notFound"),
            Kind::TooExpensive => (400, "bytesBilledLimitExceeded"),
            Kind::QuotaExceeded => (403, "quotaExceeded"),
            Kind::TooLarge => (403, "responseTooLarge"),
            Kind::ClientGone => (499, "stopped"),
            Kind::Overloaded | Kind::Unavailable | Kind::Timeout => (503, "backendError"),
            Kind::NotAcceptable | Kind::Internal => (500, "internalError"),
        };
        let mut api = Self::new(http, reason, error.public_message());
        api.retry_after_secs = error.retry_after().map(|delay| delay.as_secs());
        api
    }
}

impl From<Error> for ApiError {
    fn from(error: Error) -> Self {
        Self::from(&error)
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = json_response(self.http, self.envelope().to_string().into_bytes());
        if let Some(secs) = self.retry_after_secs {
            response.headers_mut().insert(RETRY_AFTER, secs.into());
        }
        response
    }
}

/// A successful answer: fields, and perhaps rows that are JSON text already.
#[derive(Debug, Default)]
pub(super) struct Reply {
    fields: Map<String, Value>,
    rows: Vec<u8>,
}

impl Reply {
    /// An object's fields.
    pub(super) fn new(fields: Value) -> Self {
        match fields {
            Value::Object(fields) => Self { fields, rows: Vec::new() },
            other => Self { fields: Map::from_iter([("value".to_owned(), other)]), rows: Vec::new() },
        }
    }

    /// Adds rows, separated by commas; none are left out, as `BigQuery` leaves out an empty `rows`.
    pub(super) fn with_rows(mut self, rows: Vec<u8>) -> Self {
        self.rows = rows;
        self
    }
}

impl IntoResponse for Reply {
    fn into_response(self) -> Response {
        let mut body = Value::Object(self.fields).to_string().into_bytes();
        if !self.rows.is_empty() {
            body.pop();
            body.extend_from_slice(b",\"rows\":[");
            body.extend_from_slice(&self.rows);
            body.extend_from_slice(b"]}");
        }
        json_response(200, body)
    }
}

fn json_response(http: u16, body: Vec<u8>) -> Response {
    response(http, "application/json; charset=UTF-8", body)
}

/// An answer that is not in the API's form, like those of Google's front ends.
pub(super) fn html_response(http: u16) -> Response {
    let body = format!(
        "<!DOCTYPE html>\n<html lang=en><title>Error {http}</title><p><b>{http}.</b> That\u{2019}s an error.\n"
    );
    response(http, "text/html; charset=UTF-8", body.into_bytes())
}

fn response(http: u16, content_type: &'static str, body: Vec<u8>) -> Response {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = StatusCode::from_u16(http).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}
