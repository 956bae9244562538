//! Servers and one keep-alive client on the loopback: ours, and a bare one with the same answer.

use std::time::Duration;

use axum::Router;
use axum::routing::get;
use bytes::Bytes;
use http::HeaderMap;
use reqwest::Client;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::Outcome;

/// Serves on a port of the loopback until the process ends; gives the address.
pub(crate) async fn serve(router: Router) -> Outcome<String> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(weir::export::serve(listener, router, CancellationToken::new(), Duration::ZERO));
    Ok(format!("http://{address}"))
}

/// Asks `ours` until its answer comes from the store, and serves the same bytes and headers by a
/// handler that knows nothing else; gives that one's address, and the bytes.
///
/// # Errors
/// If the second answer does not come from the store, or the bare handler gives other bytes.
pub(crate) async fn bare_twin(client: &Client, ours: &str) -> Outcome<(String, Bytes)> {
    fetch(client, ours).await;
    let cached = client.get(ours).send().await?;
    let headers = cached.headers().clone();
    let result = headers.get("x-weir-result").ok_or("the export API names no result")?.to_str()?;
    if !result.contains("status=hit") {
        return Err(format!("the second answer is no hit: {result}").into());
    }
    let body = cached.bytes().await?;
    let bare = format!("{}/", serve(bare(headers, body.clone())).await?);
    if fetch(client, &bare).await != body {
        return Err("the bare handler gives other bytes".into());
    }
    Ok((bare, body))
}

/// A handler that knows nothing but its bytes and headers; hyper adds date and length itself.
fn bare(mut headers: HeaderMap, body: Bytes) -> Router {
    headers.remove("date");
    headers.remove("content-length");
    Router::new().route("/", get(move || async move { (headers.clone(), body.clone()) }))
}

/// The whole body of an answer, which must be there.
pub(crate) async fn fetch(client: &Client, address: &str) -> Bytes {
    let response = client.get(address).send().await.expect("a server of this process answers");
    assert!(response.status().is_success(), "{}", response.status());
    response.bytes().await.expect("the body is complete")
}
