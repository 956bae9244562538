//! What does a cached export cost over the bytes alone?
//!
//! About 100 kB of JSON and of Arrow, asked over loopback by one keep-alive client: from the export
//! API, whose answer is in the store, and from a bare axum handler with the same bytes and headers.

mod support;

use std::sync::Arc;

use criterion::Throughput;
use reqwest::Client;
use tokio::runtime::Runtime;
use weir::engine::EngineSettings;
use weir::export::{ExportSettings, router};

use support::fixed::{self, Fixed};
use support::loopback::{bare_twin, fetch, serve};
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
    let (bare, body) = bare_twin(client, &ours).await?;
    say(&format!("export_{format}: {rows} rows, {} bytes", body.len()));
    Ok((ours, bare))
}
