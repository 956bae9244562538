//! Keeps web pages of strangers from asking on behalf of a browser on this machine.
//!
//! There are no tokens yet, and a query costs money: a page may neither send requests here from
//! another site, nor read answers through a name of its own that points at this machine.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::HOST;
use axum::http::uri::Authority;
use axum::http::{HeaderMap, Method};
use axum::middleware::Next;
use axum::response::Response;
use weir_plan::{Error, Kind};

use super::Export;
use super::problem::Problem;

/// Lets a request through, or refuses it with `PermissionDenied`.
pub(super) async fn guard(
    State(export): State<Arc<Export>>,
    request: Request,
    next: Next,
) -> Result<Response, Problem> {
    if let Some(message) = refusal(&request, export.settings.local_only) {
        return Err(Error::new(Kind::PermissionDenied, message).into());
    }
    Ok(next.run(request).await)
}

fn refusal(request: &Request, local_only: bool) -> Option<String> {
    let header = |name: &str| text(request.headers(), name);
    // A link that somebody clicked; not a frame, and not a script that sets the location.
    let navigates = header("sec-fetch-mode") == Some("navigate")
        && header("sec-fetch-dest") == Some("document")
        && header("sec-fetch-user") == Some("?1")
        && request.method() == Method::GET;
    if header("sec-fetch-site") == Some("cross-site") && !navigates {
        return Some("a page of another site may not send requests here; link to the address instead".to_owned());
    }
    let host = header(HOST.as_str()).or_else(|| request.uri().authority().map(Authority::as_str));
    let stranger = host.filter(|host| local_only && !is_local(host))?;
    Some(format!("host {stranger:?} is not this machine; use 127.0.0.1, or start with --allow-anonymous"))
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// Whether a host is an address or `localhost`: those cannot be taken over by a name server.
fn is_local(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    };
    name.parse::<IpAddr>().is_ok() || name.eq_ignore_ascii_case("localhost") || name.ends_with(".localhost")
}

#[cfg(test)]
mod tests {
    use super::is_local;

    #[test]
    fn addresses_and_localhost_are_local_and_names_are_not() {
        for host in ["127.0.0.1:8088", "127.0.0.1", "[::1]:8088", "[::1]", "localhost", "LOCALHOST:1", "a.localhost:2"]
        {
            assert!(is_local(host), "{host}");
        }
        for host in ["evil.example", "evil.example:8088", "localhost.evil.example", "127.0.0.1.evil.example", ""] {
            assert!(!is_local(host), "{host}");
        }
    }
}
