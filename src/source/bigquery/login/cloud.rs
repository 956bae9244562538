//! A login for objects in buckets: the same ways to tokens as `BigQuery`'s, for another purpose. It knows
//! no bucket.

use std::sync::Arc;

use parking_lot::Mutex;
use weir_plan::{Error, Result};

use super::{Purpose, Tokens, for_purpose};
use crate::clock::Clock;
use crate::config::{Login, Secret};

/// A login of our own for Google's storage.
pub(crate) struct CloudLogin {
    principal: String,
    tokens: Arc<dyn Tokens>,
    /// The latest token that was given out.
    given: Mutex<Option<Secret>>,
}

impl CloudLogin {
    /// Prepares a login.
    ///
    /// # Errors
    /// `InvalidQuery` for a login that lives on callers' tokens, and for a field or file that is
    /// missing or wrong.
    pub(crate) async fn prepare(login: &Login, clock: &Arc<dyn Clock>) -> Result<Self> {
        if login.forwarded().is_some() {
            return Err(Error::invalid(
                "a bucket cannot be written with a login that callers bring; give the source a key file or \
                 application-default credentials",
            ));
        }
        let logged_in = for_purpose(login, clock, Purpose::Storage).await?;
        Ok(Self { principal: logged_in.principal, tokens: logged_in.tokens, given: Mutex::default() })
    }

    /// The credential's name; no secret.
    pub(crate) fn principal(&self) -> &str {
        &self.principal
    }

    /// A token for one call.
    ///
    /// # Errors
    /// `Unavailable` if the login is refused or its endpoint cannot be reached.
    pub(crate) async fn token(&self) -> Result<Secret> {
        let token = self.tokens.token().await?;
        *self.given.lock() = Some(token.clone());
        Ok(token)
    }

    /// The latest token was not taken: it is not given out again.
    pub(crate) fn refused(&self) {
        if let Some(token) = self.given.lock().take() {
            self.tokens.refused(&token);
        }
    }
}
