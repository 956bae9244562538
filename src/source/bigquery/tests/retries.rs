//! What one try leaves to the next: the claim to the job, its place, and who cancels it.

use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use serde_json::{Value, json};
use weir_plan::Kind;

use super::calls::{select, well};
use super::script::{Call, Reply, Server, failed_job, job, page};
use crate::source::Source;
use crate::source::bigquery::BigQuery;
use crate::source::bigquery::cancel::LEFT;

const CANCEL: &str = "POST /jobs/j/cancel";

fn taken() -> Reply {
    Reply::error(409, "duplicate", "Already Exists: Job p:j")
}

/// A job in Tokyo, which is found only by who says so.
fn in_tokyo(call: &Call) -> Reply {
    let tokyo = "asia-northeast1";
    let in_tokyo = |mut job: Value| {
        job["jobReference"]["location"] = json!(tokyo);
        Reply::ok(job)
    };
    let found = call.parameter("location") == Some(tokyo);
    match call.line().as_str() {
        "POST /jobs" if call.body["configuration"]["dryRun"] == true => {
            in_tokyo(json!({"jobReference": {"projectId": "p"}}))
        }
        "POST /jobs" => in_tokyo(job("j", "RUNNING")),
        "GET /jobs/j" if found => in_tokyo(job("j", "DONE")),
        _ if found => well(call),
        _ => Reply::error(404, "notFound", "Not found: Job p:j"),
    }
}

/// Runs `j` until a call has arrived `count` times, then drops the run.
async fn drop_at(server: &Server, client: &BigQuery, line: &str, count: usize) {
    let arrived = async {
        while server.count(line) < count {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        _ = client.run(select("j")) => panic!("the run never ends"),
        () = arrived => {}
    }
}

#[tokio::test]
async fn the_place_that_an_insert_told_is_known_to_the_next_try() {
    let (inserts, waits) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let server = Server::start(move |call| match call.line().as_str() {
        "POST /jobs" if inserts.fetch_add(1, SeqCst) > 0 => taken(),
        "GET /queries/j" if waits.fetch_add(1, SeqCst) == 0 => Reply::Text(503, "busy"),
        "GET /queries/j" if waits.load(SeqCst) == 2 => Reply::Held(json!({})),
        _ => in_tokyo(call),
    })
    .await;
    let client = server.client().await;
    assert_eq!(client.run(select("j")).await.unwrap_err().kind(), Kind::Unavailable);
    drop_at(&server, &client, "GET /queries/j", 2).await;
    client.settled().await;
    let calls = server.calls();
    let places: Vec<_> = calls.iter().filter(|call| call.line() != "POST /jobs").collect();
    assert_eq!(places.len(), 4, "{:?}", server.lines());
    for call in places {
        assert_eq!(call.parameter("location"), Some("asia-northeast1"), "{}", call.line());
    }
    assert_eq!(server.count("POST /jobs"), 2);
}

#[tokio::test]
async fn the_place_of_someone_elses_job_is_learned_by_a_dry_run() {
    let server = Server::start(|call| match call.line().as_str() {
        "POST /jobs" if call.body["configuration"]["dryRun"] != true => taken(),
        _ => in_tokyo(call),
    })
    .await;
    let outcome = server.client().await.run(select("j")).await.unwrap();
    assert_eq!((outcome.job_id.as_str(), outcome.joined), ("j", true));
    assert_eq!((server.count("POST /jobs"), server.count("GET /jobs/j")), (2, 3));
}

#[tokio::test]
async fn a_job_left_by_a_failed_wait_is_cancelled_if_nobody_takes_it_up() {
    let server = Server::start(|call| match call.line().as_str() {
        "GET /queries/j" => Reply::Text(503, "busy"),
        _ => well(call),
    })
    .await;
    let client = server.client().await;
    client.run(select("j")).await.unwrap_err();
    tokio::time::pause();
    tokio::time::advance(LEFT + Duration::from_secs(1)).await;
    tokio::time::resume();
    server.wait_for(CANCEL).await;

    client.run(select("j")).await.unwrap_err();
    assert_eq!(server.count(CANCEL), 1);
    client.settled().await;
    assert_eq!(server.count(CANCEL), 2);
}

#[tokio::test]
async fn a_job_that_the_next_try_has_finished_is_not_cancelled() {
    let (inserts, waits) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let server = Server::start(move |call| match call.line().as_str() {
        "POST /jobs" if inserts.fetch_add(1, SeqCst) > 0 => taken(),
        "GET /queries/j" if waits.fetch_add(1, SeqCst) == 0 => Reply::Text(503, "busy"),
        _ => well(call),
    })
    .await;
    let client = server.client().await;
    client.run(select("j")).await.unwrap_err();
    assert!(!client.run(select("j")).await.unwrap().joined, "it is the job of this process");
    client.settled().await;
    assert_eq!(server.count(CANCEL), 0);
}

#[tokio::test]
async fn the_next_try_after_a_lost_page_reads_its_own_job() {
    let (inserts, pages) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let server = Server::start(move |call| match (call.line().as_str(), call.parameter("pageToken")) {
        ("POST /jobs", _) if inserts.fetch_add(1, SeqCst) > 0 => taken(),
        ("GET /queries/j", None) => Reply::ok(page(&[1], 2, Some("next"))),
        ("GET /queries/j", Some(_)) if pages.fetch_add(1, SeqCst) == 0 => Reply::Text(503, "busy"),
        ("GET /queries/j", Some(_)) => Reply::ok(page(&[2], 2, None)),
        _ => well(call),
    })
    .await;
    let client = server.client().await;
    client.run(select("j")).await.unwrap_err();
    assert!(!client.run(select("j")).await.unwrap().joined);
    client.settled().await;
    assert_eq!(server.count(CANCEL), 0);
}

#[tokio::test]
async fn a_job_whose_insertion_broke_down_is_ours() {
    // A refusal for too many calls says nothing about the insertion before it.
    for (statuses, cancels) in [(&[503][..], 1), (&[400], 0), (&[503, 429], 1), (&[503, 400], 0)] {
        let inserts = AtomicUsize::new(0);
        let server = Server::start(move |call| match call.line().as_str() {
            "POST /jobs" => match statuses.get(inserts.fetch_add(1, SeqCst)) {
                Some(status) => Reply::Text(*status, "no"),
                None => taken(),
            },
            "GET /queries/j" => Reply::Held(json!({})),
            _ => well(call),
        })
        .await;
        let client = server.client().await;
        for _ in statuses {
            client.run(select("j")).await.unwrap_err();
        }
        drop_at(&server, &client, "GET /queries/j", 1).await;
        client.settled().await;
        assert_eq!(server.count(CANCEL), cancels, "{statuses:?}");
    }
}

#[tokio::test]
async fn a_job_left_under_an_id_of_our_own_is_taken_up_by_the_next_try() {
    let waits = AtomicUsize::new(0);
    let own = AtomicUsize::new(0);
    let server = Server::start(move |call| match call.line().as_str() {
        "POST /jobs" if !call.job_id().starts_with("j_own") => taken(),
        "POST /jobs" if own.fetch_add(1, SeqCst) > 0 => taken(),
        line if line.starts_with("GET /jobs/j_own") => well(call),
        line if line.starts_with("GET /jobs/") => Reply::ok(failed_job("j", "backendError", "it failed")),
        line if line.starts_with("GET /queries/") && waits.fetch_add(1, SeqCst) == 0 => Reply::Text(503, "busy"),
        _ => well(call),
    })
    .await;
    let client = server.client().await;
    client.run(select("j")).await.unwrap_err();
    let id = client.run(select("j")).await.unwrap().job_id;
    let ids: Vec<_> = server
        .calls()
        .iter()
        .filter(|call| call.line() == "POST /jobs" && call.job_id().starts_with("j_own"))
        .map(|call| call.job_id().to_owned())
        .collect();
    assert_eq!(ids, [id.clone(), id]);
}
