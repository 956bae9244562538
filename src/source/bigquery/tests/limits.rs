//! Answers that are too large, and a Storage Read API that falls silent.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use serde_json::json;
use weir_plan::{Kind, Query, Timestamp};

use super::calls::{numbers, select, well};
use super::script::{Reply, Server, page};
use crate::app::App;
use crate::cache::StoreSettings;
use crate::clock::ManualClock;
use crate::engine::{Door, EngineSettings};
use crate::source::bigquery::BigQuery;
use crate::source::bigquery::storage::MESSAGE_TIMEOUT;
use crate::source::{Billed, Source};

#[tokio::test]
async fn an_answer_over_the_limit_is_too_large() {
    let server = Server::start(|call| match (call.line().as_str(), call.parameter("pageToken")) {
        ("GET /queries/j", None) => Reply::ok(page(&[1, 2], 6, Some("next"))),
        ("GET /queries/j", Some("next")) => Reply::ok(page(&[3, 4], 6, Some("last"))),
        ("GET /queries/j", _) => Reply::ok(page(&[5, 6], 6, None)),
        _ => well(call),
    })
    .await;
    let mut client = server.client().await;
    assert_eq!(numbers(&client.run(select("j")).await.unwrap()).len(), 6);
    client.jobs.largest_answer_bytes = 24;
    let error = client.run(select("j")).await.unwrap_err();
    assert_eq!(error.kind(), Kind::TooLarge);
    assert!(error.message().contains("6 rows") && error.message().contains("24"), "{error}");
    assert_eq!(server.calls().iter().filter(|call| call.parameter("pageToken") == Some("last")).count(), 1);
}

#[tokio::test]
async fn the_bill_of_an_answer_over_the_limit_reaches_the_ledger_once() {
    let server = Server::start(|call| match call.line().as_str() {
        line if line.starts_with("GET /queries/") => Reply::ok(page(&[1, 2], 2, None)),
        _ => well(call),
    })
    .await;
    let mut client = server.client().await;
    client.jobs.largest_answer_bytes = 8;
    let clock = Arc::new(ManualClock::new(Timestamp::parse("2024-01-01", Timestamp::MIN).unwrap()));
    let mut app = App::new(StoreSettings::of(1 << 20), clock, App::GRACE);
    let engine = app.add_source("only", Arc::new(client), EngineSettings::default());
    for _ in 0..2 {
        let error = engine.answer(&Query::new("SELECT n FROM t"), Door::Export).await.unwrap_err();
        assert_eq!(error.kind(), Kind::TooLarge);
    }
    let line = app.ledger().total();
    assert_eq!((line.jobs, line.jobs_failed, line.bytes_billed, line.slot_ms), (1, 0, 10_485_760, 12));
    assert_eq!(server.count("POST /jobs"), 1);
    // Its end is known: nothing is cancelled.
    engine.source().settled().await;
    assert!(server.lines().iter().all(|line| !line.ends_with("/cancel")));
}

#[tokio::test]
async fn an_answer_over_the_limit_of_a_job_that_is_met_is_not_ours_to_pay() {
    let inserts = AtomicUsize::new(0);
    let server = Server::start(move |call| match call.line().as_str() {
        "POST /jobs" if inserts.fetch_add(1, SeqCst) > 0 => Reply::error(409, "duplicate", "Already Exists: Job p:j"),
        "GET /queries/j" => Reply::ok(page(&[1, 2], 2, None)),
        _ => well(call),
    })
    .await;
    let mut client = server.client().await;
    client.jobs.largest_answer_bytes = 8;
    for ours in [true, false] {
        let billed = Billed::of(&client.run(select("j")).await.unwrap_err());
        assert_eq!(billed, Some(Billed { bytes_billed: 10_485_760, slot_ms: 12, ours }));
    }
}

#[tokio::test]
async fn a_storage_read_api_that_falls_silent_is_given_up() {
    let server = Server::start(|call| match (call.line().as_str(), call.parameter("pageToken")) {
        ("GET /queries/j", None) => Reply::ok(page(&[1, 2], 3, Some("next"))),
        ("GET /queries/j", Some(_)) => Reply::ok(page(&[3], 3, None)),
        (line, _) if line.contains("CreateReadSession") => Reply::Held(json!({})),
        _ => well(call),
    })
    .await;
    let mut config = server.config();
    config.storage_endpoint = Some(server.url.clone());
    config.storage_read_above_rows = Some(2);
    let client = BigQuery::connect(&config).await.unwrap();
    let silence = async {
        server.wait_for("POST /google.cloud.bigquery.storage.v1.BigQueryRead/CreateReadSession").await;
        tokio::time::pause();
        tokio::time::advance(MESSAGE_TIMEOUT + Duration::from_secs(1)).await;
        tokio::time::resume();
    };
    let (outcome, ()) = tokio::join!(client.run(select("j")), silence);
    assert_eq!(numbers(&outcome.unwrap()), [1, 2, 3]);
}
