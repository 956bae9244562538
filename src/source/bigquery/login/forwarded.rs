//! Logins that callers bring with their requests: Grafana forwards the tokens of a signed-in user.

use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::Mutex;
use weir_plan::{Error, Kind, Result};

use super::{Tokens, Whose};
use crate::config::{ForwardedToken, Secret};

/// What the principal of such a login is called where no caller is meant.
pub(super) const PRINCIPAL: &str = "the signed-in user";

/// The tokens of one request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CallerTokens {
    /// The access token.
    pub access: Option<Secret>,
    /// The ID token.
    pub id: Option<Secret>,
}

impl CallerTokens {
    /// The token that a login lives on.
    ///
    /// # Errors
    /// `Unauthenticated`, with who has none and what to do.
    pub fn required(&self, token: ForwardedToken) -> Result<&Secret> {
        let (token, name) = match token {
            ForwardedToken::Access => (&self.access, "access token"),
            ForwardedToken::Id => (&self.id, "ID token"),
        };
        token.as_ref().ok_or_else(|| {
            let message = format!(
                "the request brings no {name} of a signed-in user, which this data source forwards to BigQuery: sign in to \
                 Grafana with Google, and check that the data source has oauthPassThru on; alert rules, reports and public \
                 dashboards need a data source with a login of its own"
            );
            Error::new(Kind::Unauthenticated, message)
        })
    }
}

/// A caller: the tokens of its latest request, which its running jobs use from then on.
#[derive(Default)]
pub struct Forwarded(Mutex<CallerTokens>);

impl Forwarded {
    /// A request has come with these tokens.
    pub fn renew(&self, tokens: CallerTokens) {
        *self.0.lock() = tokens;
    }

    /// As [`CallerTokens::required`], of the latest request.
    pub(super) fn required(&self, token: ForwardedToken) -> Result<Secret> {
        self.0.lock().required(token).cloned()
    }
}

/// The access token of a caller; of nobody until there is one.
#[derive(Default)]
pub(super) struct Access(Arc<Forwarded>);

#[async_trait]
impl Tokens for Access {
    async fn token(&self) -> Result<Secret> {
        self.0.required(ForwardedToken::Access)
    }

    fn whose(&self) -> Whose {
        Whose::Callers
    }

    fn on_behalf(&self, caller: &Arc<Forwarded>) -> Option<Arc<dyn Tokens>> {
        Some(Arc::new(Self(Arc::clone(caller))))
    }
}
