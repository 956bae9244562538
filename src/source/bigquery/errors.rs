//! `BigQuery`'s reasons and statuses become kinds, by one table.
//!
//! It knows neither HTTP clients nor jobs: a failure arrives as numbers and texts. Reasons are those
//! of <https://cloud.google.com/bigquery/docs/error-messages>, and Google's common ones.

use std::time::Duration;

use gcp_bigquery_client::model::error_proto::ErrorProto;
use serde::Deserialize;
use weir_plan::{Error, Kind};

use super::login::Whose;
use crate::source::LoginRefused;

/// A call or a job that failed.
#[derive(Clone, Debug, thiserror::Error)]
pub(super) enum Failure {
    /// `BigQuery` answered with an error, or a job ended with one.
    #[error("{reason}: {message}")]
    Api {
        /// HTTP status; zero for a job that ended with an error.
        status: u16,
        /// `BigQuery`'s reason; empty if it gave none.
        reason: String,
        /// `BigQuery`'s own message.
        message: String,
        /// The header `Retry-After`.
        retry_after: Option<Duration>,
        /// Whose login the call was made with.
        whose: Whose,
    },
    /// Anything else: no answer, no token, an answer that cannot be read.
    #[error(transparent)]
    Other(#[from] Error),
}

impl Failure {
    /// Reads the answer to a call that failed. A body that is not in the API's form (a proxy's
    /// page, say) keeps the status and a piece of its text.
    pub(super) fn of_response(status: u16, retry_after: Option<Duration>, body: &[u8]) -> Self {
        let (reason, message) = match serde_json::from_slice::<Body>(body) {
            Ok(Body::Api { error }) => {
                let first = error.errors.into_iter().next().unwrap_or_default();
                let reason = first.reason.or(error.status).unwrap_or_default();
                (reason, error.message.or(first.message).unwrap_or_default())
            }
            Ok(Body::OAuth { error, error_description }) => (error, error_description.unwrap_or_default()),
            Err(_) => (String::new(), excerpt(body)),
        };
        let message = if message.is_empty() { format!("HTTP status {status}") } else { message };
        Self::Api { status, reason, message, retry_after, whose: Whose::Ours }
    }

    /// The error that a job ended with.
    pub(super) fn of_job(error: &ErrorProto) -> Self {
        Self::Api {
            status: 0,
            reason: error.reason.clone().unwrap_or_default(),
            message: error.message.clone().unwrap_or_else(|| "the job failed without a message".to_owned()),
            retry_after: None,
            whose: Whose::Ours,
        }
    }

    /// Says whose login the call was made with.
    pub(super) fn under(mut self, login: Whose) -> Self {
        if let Self::Api { whose, .. } = &mut self {
            *whose = login;
        }
        self
    }

    /// `BigQuery`'s reason; empty where there is none.
    pub(super) fn reason(&self) -> &str {
        match self {
            Self::Api { reason, .. } => reason,
            Self::Other(_) => "",
        }
    }

    /// Whether the id of a job is taken.
    pub(super) fn is_duplicate(&self) -> bool {
        matches!(self, Self::Api { status: 409, .. }) || self.reason() == "duplicate"
    }

    /// Whether somebody cancelled the job.
    pub(super) fn is_stopped(&self) -> bool {
        kind_of_reason(self.reason()) == Some(Kind::ClientGone)
    }

    /// The kind, by the table.
    pub(super) fn kind(&self) -> Kind {
        match self {
            Self::Api { whose: Whose::Callers, .. } if self.refuses_login() => Kind::Unauthenticated,
            Self::Api { whose: Whose::Ours, .. } if self.refuses_login() => Kind::Unavailable,
            Self::Api { status, reason, .. } => kind_of_reason(reason).unwrap_or_else(|| kind_of_status(*status)),
            Self::Other(error) => error.kind(),
        }
    }

    /// Whether `BigQuery` does not take the call's token.
    fn refuses_login(&self) -> bool {
        matches!(self, Self::Api { status: 401, .. }) || CREDENTIALS.contains(&self.reason())
    }

    /// Whether the call may have been carried out all the same: no answer, or the server broke down.
    pub(super) fn leaves_doubt(&self) -> bool {
        match self {
            Self::Api { status, .. } => *status >= 500,
            Self::Other(_) => true,
        }
    }

    /// Names the job in the error.
    pub(super) fn of(self, job: &str) -> Error {
        let kind = self.kind();
        let error = Error::from(self);
        match kind {
            // The text and its position speak for themselves; which job found them is noise.
            Kind::InvalidQuery => error,
            _ => error.context(format_args!("BigQuery job {job}")),
        }
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        let kind = failure.kind();
        let refused = failure.refuses_login();
        match failure {
            Failure::Other(error) => error,
            Failure::Api { status, reason, message, retry_after, .. } => {
                let message = match kind {
                    Kind::Unauthenticated => {
                        format!("BigQuery refuses the login that Grafana forwards: {message}; sign in to Grafana again")
                    }
                    _ if refused => format!("BigQuery refuses our credentials: {message}"),
                    Kind::Unavailable | Kind::QuotaExceeded if status != 0 => {
                        format!("BigQuery answered {}: {message}", label(status, &reason))
                    }
                    Kind::PermissionDenied if reason == "billingNotEnabled" => {
                        format!("{message}; enable billing for the project that jobs run in")
                    }
                    _ => message,
                };
                let mut error = Error::new(kind, message);
                if refused {
                    error = error.with_source(LoginRefused::BigQuery);
                }
                retry_after.into_iter().fold(error, Error::with_retry_after)
            }
        }
    }
}

fn label(status: u16, reason: &str) -> String {
    if reason.is_empty() { status.to_string() } else { format!("{status} ({reason})") }
}

/// Reasons that blame who we are, not what we ask.
const CREDENTIALS: [&str; 3] = ["authError", "UNAUTHENTICATED", "invalidCredentials"];

fn kind_of_reason(reason: &str) -> Option<Kind> {
    Some(match reason {
        "invalidQuery"
        | "invalid"
        | "parseError"
        | "badRequest"
        | "required"
        | "invalidParameter"
        | "duplicate"
        | "notImplemented"
        | "resourceInUse"
        | "INVALID_ARGUMENT"
        | "FAILED_PRECONDITION" => Kind::InvalidQuery,
        "notFound" | "NOT_FOUND" => Kind::NotFound,
        "accessDenied"
        | "forbidden"
        | "insufficientPermissions"
        | "accessNotConfigured"
        | "billingNotEnabled"
        | "blocked"
        | "invalidUser"
        | "PERMISSION_DENIED" => Kind::PermissionDenied,
        "bytesBilledLimitExceeded" | "billingTierLimitExceeded" | "resourcesExceeded" => Kind::TooExpensive,
        "quotaExceeded"
        | "rateLimitExceeded"
        | "jobRateLimitExceeded"
        | "userRateLimitExceeded"
        | "dailyLimitExceeded"
        | "RESOURCE_EXHAUSTED" => Kind::QuotaExceeded,
        "stopped" | "cancelled" => Kind::ClientGone,
        "timeout" | "jobTimeout" => Kind::Timeout,
        "responseTooLarge" | "uploadTooLarge" => Kind::TooLarge,
        "backendError" | "internalError" | "jobBackendError" | "jobInternalError" | "tableUnavailable"
        | "UNAVAILABLE" | "INTERNAL" => Kind::Unavailable,
        _ => return None,
    })
}

fn kind_of_status(status: u16) -> Kind {
    match status {
        400 | 405 | 409 | 412 | 501 => Kind::InvalidQuery,
        403 => Kind::PermissionDenied,
        404 => Kind::NotFound,
        413 => Kind::TooLarge,
        429 => Kind::QuotaExceeded,
        _ => Kind::Unavailable,
    }
}

/// The start of a body, on one line.
fn excerpt(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(&body[..body.len().min(1024)]);
    text.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(200).collect()
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Body {
    Api { error: ApiError },
    OAuth { error: String, error_description: Option<String> },
}

#[derive(Deserialize)]
struct ApiError {
    message: Option<String>,
    status: Option<String>,
    #[serde(default)]
    errors: Vec<Detail>,
}

#[derive(Default, Deserialize)]
struct Detail {
    reason: Option<String>,
    message: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(status: u16, reason: &str) -> Failure {
        let body = serde_json::json!({"error": {"code": status, "message": "m", "errors": [{"reason": reason, "message": "m"}]}});
        Failure::of_response(status, None, body.to_string().as_bytes())
    }

    #[test]
    fn reasons_and_statuses_have_their_kinds() {
        let check = |status: u16, reason: &str, expected: Kind| {
            assert_eq!(failure(status, reason).kind(), expected, "{status} {reason}");
        };
        check(400, "invalidQuery", Kind::InvalidQuery);
        check(400, "parseError", Kind::InvalidQuery);
        check(404, "notFound", Kind::NotFound);
        check(403, "accessDenied", Kind::PermissionDenied);
        check(403, "billingNotEnabled", Kind::PermissionDenied);
        check(401, "authError", Kind::Unavailable);
        check(401, "required", Kind::Unavailable);
        check(400, "bytesBilledLimitExceeded", Kind::TooExpensive);
        check(403, "quotaExceeded", Kind::QuotaExceeded);
        check(403, "rateLimitExceeded", Kind::QuotaExceeded);
        check(400, "jobRateLimitExceeded", Kind::QuotaExceeded);
        check(400, "jobBackendError", Kind::Unavailable);
        check(503, "backendError", Kind::Unavailable);
        check(400, "stopped", Kind::ClientGone);
        check(403, "responseTooLarge", Kind::TooLarge);
        check(429, "somethingNew", Kind::QuotaExceeded);
        check(403, "somethingNew", Kind::PermissionDenied);
        check(502, "somethingNew", Kind::Unavailable);
        check(400, "somethingNew", Kind::InvalidQuery);
    }

    #[test]
    fn a_body_in_another_form_keeps_the_status() {
        let page = Failure::of_response(502, None, b"<html>\n <h1>Bad   gateway</h1></html>");
        assert_eq!(page.kind(), Kind::Unavailable);
        let error = Error::from(page);
        assert_eq!(error.message(), "BigQuery answered 502: <html> <h1>Bad gateway</h1></html>");
        assert_eq!(Failure::of_response(404, None, b"").kind(), Kind::NotFound);
    }

    #[test]
    fn the_message_is_bigquerys_own_with_its_position() {
        let body = br#"{"error":{"code":400,"message":"Syntax error: Unexpected keyword FROM at [1:8]","errors":[{"reason":"invalidQuery","location":"q"}]}}"#;
        let error = Failure::of_response(400, None, body).of("p:US.j");
        assert_eq!(error.message(), "Syntax error: Unexpected keyword FROM at [1:8]");
    }

    #[test]
    fn the_delay_that_bigquery_asks_for_is_kept() {
        let failure = Failure::of_response(429, Some(Duration::from_secs(7)), b"{}");
        assert_eq!(Error::from(failure).retry_after(), Some(Duration::from_secs(7)));
    }

    #[test]
    fn refused_credentials_are_ours_and_not_the_callers() {
        let body = br#"{"error":{"code":401,"message":"Request had invalid authentication credentials.","status":"UNAUTHENTICATED"}}"#;
        let error = Error::from(Failure::of_response(401, None, body));
        assert_eq!((error.kind(), LoginRefused::of(&error)), (Kind::Unavailable, Some(LoginRefused::BigQuery)));
        assert!(error.message().starts_with("BigQuery refuses our credentials"), "{error}");
        let error = Error::from(Failure::of_response(401, None, body).under(Whose::Callers));
        assert_eq!(error.kind(), Kind::Unauthenticated);
        assert!(error.message().contains("sign in to Grafana again"), "{error}");
        let down = Error::from(Failure::of_response(503, None, b""));
        assert_eq!((down.kind(), LoginRefused::of(&down)), (Kind::Unavailable, None));
    }
}
