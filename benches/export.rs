//! What does a cached export cost over the bytes alone?
//!
//! About 100 kB of JSON and of Arrow, asked over loopback by one keep-alive client: from the export
//! API, whose answer is in the store, and from a bare axum handler with the same bytes and headers.

mod support;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use bytes::Bytes;
use criterion::Throughput;
use http::HeaderMap;
use reqwest::Client;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;
use weir::engine::EngineSettings;
use weir::export::{ExportSettings, router};

use support::fixed::{self, Fixed};
use support::ratio::Bench;
use support::{Outcome, say};

/// Formats, with the rows that fill 100 kB.
const FORMATS: [(&str, usize); 2] = [("json", 2250), ("arrow", 3290)];

fn main() -> Outcome {
    let runtime = Runtime::new()?;
    let mut bench = Bench::new();
    for (format, rows) in FORMATS {
        let group = format!("export_{format}");
        let client = Client::new();
        let (ours, bare) = runtime.block_on(addresses(&client, format, rows))?;
        let length = runtime.block_on(fetch(&client, &ours)).len();
        let mut comparison = bench.criterion.benchmark_group(&group);
        comparison.throughput(Throughput::Bytes(length.try_into()?));
        for (name, address) in [("bare-axum", &bare), ("weir", &ours)] {
            comparison.bench_function(name, |bencher| bencher.to_async(&runtime).iter(|| fetch(&client, address)));
        }
        comparison.finish();
        bench.compare(&group, "bare-axum", "weir")?;
    }
    bench.criterion.final_summary();
    Ok(())
}

/// Starts both servers; gives the addresses of the same answer.
async fn addresses(client: &Client, format: &str, rows: usize) -> Outcome<(String, String)> {
    let mut app = support::app();
    app.add_source("fixed", Fixed::new(fixed::rows(rows)?), EngineSettings::default());
    let address = serve(router(Arc::new(app), ExportSettings::default())).await?;
    let ours = format!("{address}/api/v1/query?sql=SELECT+1&format={format}");

    fetch(client, &ours).await;
    let cached = client.get(&ours).send().await?;
    let headers = cached.headers().clone();
    let result = headers.get("x-weir-result").ok_or("the export API names no result")?.to_str()?;
    if !result.contains("status=hit") {
        return Err(format!("the second answer is no hit: {result}").into());
    }
    let body = cached.bytes().await?;
    say(&format!("export_{format}: {rows} rows, {} bytes", body.len()));

    let bare = format!("{}/", serve(bare(headers, body.clone())).await?);
    if fetch(client, &bare).await != body {
        return Err("the bare handler gives other bytes".into());
    }
    Ok((ours, bare))
}

/// A handler that knows nothing but its bytes and headers; hyper adds date and length itself.
fn bare(mut headers: HeaderMap, body: Bytes) -> Router {
    headers.remove("date");
    headers.remove("content-length");
    Router::new().route("/", get(move || async move { (headers.clone(), body.clone()) }))
}

/// Serves on a port of the loopback until the process ends.
async fn serve(router: Router) -> Outcome<String> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(weir::export::serve(listener, router, CancellationToken::new(), Duration::ZERO));
    Ok(format!("http://{address}"))
}

async fn fetch(client: &Client, address: &str) -> Bytes {
    let response = client.get(address).send().await.expect("a server of this process answers");
    assert!(response.status().is_success(), "{}", response.status());
    response.bytes().await.expect("the body is complete")
}
