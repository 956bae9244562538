//! Faults and job rules on script.

use std::time::Duration;

use super::*;

#[tokio::test]
async fn the_next_requests_of_a_kind_meet_their_status_and_no_others() {
    let rig = Rig::start().await;
    let script = rig.server.script();
    script.fault(CallKind::Insert, 2, Fault::status(503, "backendError"));
    script.fault(CallKind::Insert, 1, Fault::status(403, "rateLimitExceeded"));
    assert_eq!(rig.get("/jobs").await.0, 200);
    for (status, expected) in [(503, "backendError"), (503, "backendError"), (403, "rateLimitExceeded")] {
        let (found, body) = rig.insert("j1", "rows 1").await;
        assert_eq!((found, reason(&body)), (status, expected));
    }
    assert!(rig.server.jobs_run().is_empty());
    rig.run("j1", "rows 1").await;
    let faults: Vec<_> = rig.server.calls_of(CallKind::Insert).into_iter().map(|call| call.fault).collect();
    assert_eq!(faults.iter().flatten().count(), 3);
    assert_eq!(faults[3], None);
}

#[tokio::test]
async fn a_fault_can_be_for_requests_of_ones_own_choice() {
    let rig = Rig::start().await;
    let fault = Fault::status(429, "rateLimitExceeded");
    rig.server.script().fault_where(1, fault, |call| call.sql() == Some("rows 2"));
    rig.run("a", "rows 1").await;
    assert_eq!(rig.insert("b", "rows 2").await.0, 429);
    rig.server.script().fault(CallKind::GetJob, 9, Fault::status(500, "internalError"));
    rig.server.script().clear();
    assert_eq!(rig.get("/jobs/a").await.0, 200);
}

#[tokio::test]
async fn an_error_page_is_not_in_the_apis_form() {
    let rig = Rig::start().await;
    rig.server.script().fault(CallKind::GetJob, 1, Fault::Html { http: 502 });
    let response = rig.http.get(format!("{}/projects/p/jobs/x", rig.server.v2_url())).send().await.unwrap();
    assert_eq!(response.status(), 502);
    assert!(response.text().await.unwrap().starts_with("<!DOCTYPE html>"));
}

#[tokio::test]
async fn a_dropped_request_is_not_processed_and_a_lost_answer_is() {
    let rig = Rig::start().await;
    rig.server.script().fault(CallKind::Insert, 1, Fault::Drop);
    assert!(rig.try_post("/jobs", &job_body("j1", "rows 1")).await.is_err());
    assert_eq!(rig.get("/jobs/j1").await.0, 404);

    rig.server.script().fault(CallKind::Insert, 1, Fault::LoseAnswer);
    assert!(rig.try_post("/jobs", &job_body("j1", "rows 1")).await.is_err());
    assert_eq!(rig.insert("j1", "rows 1").await.0, 409);
    assert_eq!(column(&rig.get("/queries/j1").await.1), ["0"]);
    assert_eq!(rig.server.jobs_run().len(), 1);
}

#[tokio::test]
async fn an_answer_breaks_off_in_its_middle() {
    let rig = Rig::start().await;
    rig.run("j1", "rows 1000").await;
    rig.server.script().fault(CallKind::GetResults, 1, Fault::CutAnswer { after_bytes: 5_000 });
    let response = rig.http.get(format!("{}/projects/p/queries/j1", rig.server.v2_url())).send().await.unwrap();
    assert_eq!(response.status(), 200);
    assert!(response.bytes().await.is_err());
    assert_eq!(column(&rig.get("/queries/j1").await.1).len(), 1000);
}

#[tokio::test]
async fn a_short_page_claims_to_be_the_last() {
    let rig = Rig::start().await;
    rig.run("j1", "rows 5").await;
    rig.server.script().fault(CallKind::GetResults, 1, Fault::ShortPage { rows: 2 });
    let (_, page) = rig.get("/queries/j1").await;
    assert_eq!((column(&page), &page["totalRows"], page.get("pageToken")), (vec!["0", "1"], &json!("5"), None));
    assert_eq!(column(&rig.get("/queries/j1").await.1).len(), 5);
}

#[tokio::test]
async fn a_job_fails_with_its_reason_after_its_time() {
    let rig = Rig::start().await;
    let rule =
        JobRule::new().takes(Duration::from_millis(1)).fails("backendError", "Error encountered during execution");
    rig.server.script().jobs_where(1, rule, |job| job.sql == "rows 2");
    rig.run("a", "rows 1").await;
    assert_eq!(rig.insert("b", "rows 2").await.1["status"]["state"], "RUNNING");
    let (status, body) = rig.get("/queries/b").await;
    assert_eq!((status, reason(&body)), (503, "backendError"));
    assert_eq!(rig.get("/jobs/b").await.1["status"]["errorResult"]["message"], "Error encountered during execution");
    assert_eq!(rig.source.runs.load(Ordering::SeqCst), 1);
    assert_eq!(rig.server.jobs_run().len(), 2);
}
