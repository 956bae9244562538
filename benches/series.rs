//! What does a warm series cost over its bytes alone?
//!
//! A dataset by branch as JSON, of one experiment and of all that are active, asked over loopback by one
//! keep-alive client: from Experimenter's door, whose figures are made, and from a bare axum handler with
//! the same bytes and headers. The data are the demo's.

mod support;

use std::sync::Arc;

use reqwest::Client;
use tokio::runtime::Runtime;
use weir::export::{ExportSettings, router};

use support::generated::Generated;
use support::loopback::{bare_twin, fetch, serve};
use support::{Outcome, latency, say};

const DATASET: &str = "experiment_enrollment_overall";

fn main() -> Outcome {
    let generated = Generated::new()?;
    Runtime::new()?.block_on(requests(&generated))
}

async fn requests(generated: &Generated) -> Outcome {
    let api = format!("{}/api/v1", serve(router(Arc::clone(&generated.app), ExportSettings::default())).await?);
    let one = format!("{api}/experiments/{}/series/{DATASET}?by=branch", generated.largest()?.slug);
    let all = format!("{api}/series/{DATASET}?by=branch");
    for (name, address, count) in [("series_one", one, 300), ("series_all", all, 100)] {
        let client = Client::new();
        let (bare, body) = bare_twin(&client, &address).await?;
        say(&format!("{name}: {} bytes, {count} requests", body.len()));
        latency::compare(name, count, ("bare-axum", || fetch(&client, &bare)), ("weir", || fetch(&client, &address)))
            .await;
    }
    Ok(())
}
