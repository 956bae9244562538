//! The metadata server of Google's machines, which gives tokens of the machine's own account.
//!
//! Source: <https://cloud.google.com/compute/docs/access/authenticate-workloads#applications>.

use std::sync::Arc;

use async_trait::async_trait;
use serde::Deserialize;
use weir_plan::{Result, Timestamp};

use super::cached::{Fetch, Fetched};
use super::endpoint::Endpoint;
use super::{BIGQUERY, CLOUD, Home, LoggedIn, Purpose, Whose};
use crate::clock::Clock;
use crate::config::Secret;
use crate::source::LoginRefused;

/// The header without which the server refuses: no browser can be made to send it.
const FLAVOR: (&str, &str) = ("Metadata-Flavor", "Google");

/// Tokens of the machine's account.
struct Machine {
    endpoint: Endpoint,
    scopes: &'static [&'static str],
}

#[derive(Deserialize)]
struct Answer {
    access_token: String,
    expires_in: i64,
}

/// The server at `host`.
///
/// # Errors
/// `InvalidQuery` for a host that is none.
pub(super) fn server(host: &str, purpose: Purpose, clock: &Arc<dyn Clock>) -> Result<LoggedIn> {
    let endpoint = |path: &str| {
        let url = format!("http://{host}/computeMetadata/v1/{path}");
        Endpoint::new(&url, "the metadata server", LoginRefused::Machine)
    };
    let machine = Machine {
        endpoint: endpoint("instance/service-accounts/default/token")?,
        scopes: if purpose == Purpose::BigQuery { BIGQUERY } else { CLOUD },
    };
    let home = Home::Metadata(endpoint("project/project-id")?);
    Ok(LoggedIn { home, ..LoggedIn::new("metadata-server", machine.cached(clock)) })
}

/// The machine's project.
///
/// # Errors
/// `Unavailable` if there is no answer.
pub(super) async fn project(endpoint: &Endpoint) -> Result<String> {
    let body = endpoint.bytes(endpoint.get().header(FLAVOR.0, FLAVOR.1), Whose::Ours, "").await?;
    let text = std::str::from_utf8(&body).map_err(|_| endpoint.unsound())?;
    Ok(text.trim().to_owned())
}

#[async_trait]
impl Fetch for Machine {
    async fn fetch(&self, asked_at: Timestamp) -> Result<Fetched> {
        let request = self.endpoint.get().query(&[("scopes", self.scopes.join(","))]).header(FLAVOR.0, FLAVOR.1);
        let answer: Answer = self.endpoint.json(request, Whose::Ours, &Secret(String::new())).await?;
        Ok(Fetched::living(answer.access_token, asked_at, answer.expires_in))
    }
}
