//! The one error of Weir, and the one table from its kind to every protocol's status.
//!
//! It does not know HTTP or gRPC: statuses are plain numbers here, and the edges only carry them.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// A `Result` with Weir's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong, seen from the caller's side.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The query, a parameter or a range cannot be answered as asked.
    InvalidQuery,
    /// The caller is not known.
    Unauthenticated,
    /// The caller is known and may not do this.
    PermissionDenied,
    /// A table, dataset, job or path does not exist.
    NotFound,
    /// Over a byte limit or a budget.
    TooExpensive,
    /// `BigQuery`'s quota or rate limit is used up.
    QuotaExceeded,
    /// Weir itself has too much to do.
    Overloaded,
    /// The deadline passed; the job may still end.
    Timeout,
    /// `BigQuery` cannot be reached, or refuses Weir's own credentials.
    Unavailable,
    /// No format that the caller accepts can be made.
    NotAcceptable,
    /// The request is larger than the limit.
    TooLarge,
    /// Nobody waits for the answer any more.
    ClientGone,
    /// A defect of Weir; its text is not shown to callers.
    Internal,
}

/// Whether and how the same request may be tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// The same request fails again.
    No,
    /// After the error's own delay.
    AfterDelay,
    /// By joining the running job by its id, never with a second job.
    Reattach,
    /// At once, with the usual backoff.
    Yes,
}

/// How loudly an edge logs a kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogLevel {
    /// The caller's mistake.
    Debug,
    /// Something an operator may want to know.
    Warn,
    /// Something an operator must mend.
    Error,
}

/// One row of the error table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// Stable name of the kind, in snake case.
    pub code: &'static str,
    /// Title for people, as in `application/problem+json`.
    pub title: &'static str,
    /// HTTP status.
    pub http: u16,
    /// Status of a Grafana data response.
    pub grafana: u16,
    /// Retry rule.
    pub retry: Retry,
    /// Level of the one log line.
    pub log: LogLevel,
}

impl Kind {
    /// Every kind, in the order of the table.
    pub const ALL: [Kind; 13] = [
        Kind::InvalidQuery,
        Kind::Unauthenticated,
        Kind::PermissionDenied,
        Kind::NotFound,
        Kind::TooExpensive,
        Kind::QuotaExceeded,
        Kind::Overloaded,
        Kind::Timeout,
        Kind::Unavailable,
        Kind::NotAcceptable,
        Kind::TooLarge,
        Kind::ClientGone,
        Kind::Internal,
    ];

    /// The table of all kinds. Grafana's statuses are those of its Go SDK (`backend/data.go`), which
    /// are HTTP's numbers.
    pub const fn row(self) -> Row {
        use LogLevel::{Debug, Error, Warn};
        use Retry::{AfterDelay, No, Reattach, Yes};
        let (code, title, http, grafana, retry, log) = match self {
            Kind::InvalidQuery => ("invalid_query", "Invalid query", 400, 400, No, Debug),
            Kind::Unauthenticated => ("unauthenticated", "Not authenticated", 401, 401, No, Warn),
            Kind::PermissionDenied => ("permission_denied", "Permission denied", 403, 403, No, Warn),
            Kind::NotFound => ("not_found", "Not found", 404, 404, No, Debug),
            Kind::TooExpensive => ("too_expensive", "Too expensive", 422, 422, No, Warn),
            Kind::QuotaExceeded => ("quota_exceeded", "Quota exceeded", 429, 429, AfterDelay, Warn),
            Kind::Overloaded => ("overloaded", "Overloaded", 503, 429, AfterDelay, Warn),
            Kind::Timeout => ("timeout", "Timed out", 504, 504, Reattach, Warn),
            Kind::Unavailable => ("unavailable", "Source unavailable", 502, 502, Yes, Error),
            Kind::NotAcceptable => ("not_acceptable", "Not acceptable", 406, 400, No, Debug),
            Kind::TooLarge => ("too_large", "Too large", 413, 400, No, Debug),
            Kind::ClientGone => ("client_gone", "Client gone", 499, 400, No, Debug),
            Kind::Internal => ("internal", "Internal error", 500, 500, No, Error),
        };
        Row { code, title, http, grafana, retry, log }
    }
}

/// A clonable error: a kind, a message for the caller, and the chain of causes for the log.
#[derive(Clone)]
pub struct Error {
    kind: Kind,
    message: Arc<str>,
    retry_after: Option<Duration>,
    source: Option<Arc<dyn StdError + Send + Sync>>,
}

impl Error {
    /// Makes an error; `message` names the object at fault and the remedy, in lower case.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        let message: String = message.into();
        Self { kind, message: message.into(), retry_after: None, source: None }
    }

    /// An [`Kind::InvalidQuery`] error.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(Kind::InvalidQuery, message)
    }

    /// A [`Kind::NotFound`] error.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(Kind::NotFound, message)
    }

    /// An [`Kind::Internal`] error; the message is for the log only.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(Kind::Internal, message)
    }

    /// Keeps the cause.
    #[must_use]
    pub fn with_source(mut self, source: impl StdError + Send + Sync + 'static) -> Self {
        self.source = Some(Arc::new(source));
        self
    }

    /// Says when to try again, for kinds with [`Retry::AfterDelay`].
    #[must_use]
    pub fn with_retry_after(mut self, delay: Duration) -> Self {
        self.retry_after = Some(delay);
        self
    }

    /// Puts `context` before the message: `context: message`.
    #[must_use]
    pub fn context(mut self, context: impl fmt::Display) -> Self {
        self.message = format!("{context}: {}", self.message).into();
        self
    }

    /// The kind.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The whole message, for logs.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The message a caller may see: constant for [`Kind::Internal`].
    pub fn public_message(&self) -> &str {
        match self.kind {
            Kind::Internal => "internal error; the server's log has the details",
            _ => &self.message,
        }
    }

    /// The delay before another try, at least one second where the kind asks for one.
    pub fn retry_after(&self) -> Option<Duration> {
        match self.kind.row().retry {
            Retry::AfterDelay => Some(self.retry_after.unwrap_or(Duration::from_secs(1))),
            _ => None,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.kind.row().code, self.message)?;
        let mut cause = self.source();
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_ref().map(|source| &**source as &(dyn StdError + 'static))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_its_own_code_and_a_status_of_an_error() {
        let mut codes: Vec<_> = Kind::ALL.iter().map(|kind| kind.row().code).collect();
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), Kind::ALL.len());
        for kind in Kind::ALL {
            assert!((400..600).contains(&kind.row().http), "{kind:?}");
            assert!((400..600).contains(&kind.row().grafana), "{kind:?}");
        }
    }

    #[test]
    fn an_internal_message_is_not_shown_to_callers() {
        let error = Error::internal("lock of table x poisoned");
        assert_eq!(error.public_message(), "internal error; the server's log has the details");
        assert_eq!(error.message(), "lock of table x poisoned");
        assert_eq!(Error::invalid("no such macro").public_message(), "no such macro");
    }

    #[test]
    fn only_what_is_worth_another_try_has_a_delay_before_it() {
        let delay = |kind| Error::new(kind, "").retry_after();
        assert_eq!((delay(Kind::QuotaExceeded), delay(Kind::InvalidQuery)), (Some(Duration::from_secs(1)), None));
        let asked = Error::new(Kind::QuotaExceeded, "").with_retry_after(Duration::from_secs(7));
        assert_eq!(asked.retry_after(), Some(Duration::from_secs(7)));
    }

    #[test]
    fn the_chain_of_causes_is_kept() {
        let cause = std::io::Error::other("disk full");
        let error = Error::new(Kind::Unavailable, "cannot reach BigQuery").with_source(cause).context("project p");
        assert_eq!(error.to_string(), "project p: cannot reach BigQuery");
        assert_eq!(format!("{error:?}"), "unavailable: project p: cannot reach BigQuery: disk full");
    }
}
