//! Answers that are too large, and a Storage Read API that falls silent.

use std::time::Duration;

use serde_json::json;
use weir_plan::Kind;

use super::calls::{numbers, select, well};
use super::script::{Reply, Server, page};
use crate::source::Source;
use crate::source::bigquery::BigQuery;
use crate::source::bigquery::storage::MESSAGE_TIMEOUT;

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
