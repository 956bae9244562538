//! The client against a scripted server: what is sent, and what is made of the answers.

mod calls;
mod datasets;
mod key;
mod limits;
mod lists;
mod logins;
mod retries;
mod script;
mod tokens;
mod types;

pub(super) use self::key::TEST_ONLY_KEY;

/// A client's settings before a server that nobody starts.
pub(super) fn server_config() -> crate::config::BigQueryConfig {
    script::config("http://127.0.0.1:1".to_owned())
}
