//! Jobs, pages, cancellation, dry runs and tables.

use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use arrow::array::AsArray;
use arrow::datatypes::{Int64Type, TimestampMicrosecondType};
use serde_json::json;
use weir_plan::{Error, Kind, TableId, Timestamp};

use super::script::{Call, Reply, Server, failed_job, job, page};
use crate::source::{Job, Outcome, PartitionUnit, Partitioning, Source};

/// Answers every call of a job that ends well with one row.
pub(super) fn well(call: &Call) -> Reply {
    match call.line().as_str() {
        "POST /jobs" => Reply::ok(job(call.job_id(), "RUNNING")),
        line if line.starts_with("GET /queries/") => Reply::ok(page(&[1], 1, None)),
        line if line.starts_with("GET /jobs/") => Reply::ok(job("j", "DONE")),
        line if line.ends_with("/cancel") => Reply::ok(json!({})),
        line => panic!("unexpected call {line}"),
    }
}

pub(super) fn select(id: &str) -> Job {
    Job::new(id, "SELECT 1")
}

async fn refused(server: &Server) -> Error {
    server.client().await.run(select("j")).await.unwrap_err()
}

pub(super) fn numbers(outcome: &Outcome) -> Vec<i64> {
    outcome.batches.iter().flat_map(|batch| batch.column(0).as_primitive::<Int64Type>().values().to_vec()).collect()
}

#[tokio::test]
async fn a_job_is_inserted_under_its_id_and_its_cost_is_told() {
    let server = Server::start(well).await;
    let outcome = server.client().await.run(select("j")).await.unwrap();
    assert_eq!(numbers(&outcome), [1]);
    assert_eq!((outcome.job_id.as_str(), outcome.joined), ("j", false));
    assert_eq!((outcome.bytes_processed, outcome.bytes_billed, outcome.slot_ms), (1000, 10_485_760, 12));
    assert_eq!(outcome.started_at, Some(Timestamp::from_millis(1_704_067_200_000).unwrap()));
    let insert = &server.calls()[0];
    assert_eq!((insert.job_id(), insert.authorization.as_str()), ("j", "Bearer anonymous"));
    assert_eq!(server.lines().iter().filter(|line| line.ends_with("/cancel")).count(), 0);
}

#[tokio::test]
async fn pages_are_read_to_the_end_with_exact_timestamps_in_the_jobs_location() {
    let schema = json!({"fields": [{"name": "ts", "type": "TIMESTAMP"}]});
    let server = Server::start(move |call| {
        let page = |micros: i64, token: Option<&str>| {
            let rows = json!([{"f": [{"v": micros.to_string()}]}]);
            Reply::ok(
                json!({"jobComplete": true, "schema": schema, "totalRows": "3", "rows": rows, "pageToken": token}),
            )
        };
        match (call.line().as_str(), call.parameter("pageToken")) {
            ("GET /queries/j", None) => page(1_704_067_200_123_456, Some("two/+=")),
            ("GET /queries/j", Some("two/+=")) => page(1_704_067_200_123_457, Some("three")),
            ("GET /queries/j", Some("three")) => page(-1, None),
            _ => well(call),
        }
    })
    .await;
    let outcome = server.client().await.run(select("j")).await.unwrap();
    let batch = outcome.batches.concat().unwrap();
    let times = batch.column(0).as_primitive::<TimestampMicrosecondType>().values().to_vec();
    assert_eq!(times, [1_704_067_200_123_456, 1_704_067_200_123_457, -1]);
    let pages: Vec<_> = server.calls().into_iter().filter(|call| call.line() == "GET /queries/j").collect();
    assert_eq!(pages.len(), 3);
    for page in pages {
        assert_eq!(page.parameter("formatOptions.useInt64Timestamp"), Some("true"));
        assert_eq!(page.parameter("location"), Some("EU"));
    }
}

#[tokio::test]
async fn an_incomplete_answer_is_an_error() {
    for (rows, token) in [(vec![1, 2], None), (vec![], Some("again")), (vec![1, 2, 3, 4], None)] {
        let server = Server::start(move |call| match call.line().as_str() {
            "GET /queries/j" => Reply::ok(page(&rows, 3, token)),
            _ => well(call),
        })
        .await;
        let error = refused(&server).await;
        assert_eq!(error.kind(), Kind::Unavailable);
        assert!(error.message().contains("rows of 3"), "{error}");
    }
}

#[tokio::test]
async fn a_job_that_runs_long_is_asked_again() {
    let asked = AtomicUsize::new(0);
    let server = Server::start(move |call| match call.line().as_str() {
        "GET /queries/j" if asked.fetch_add(1, SeqCst) < 2 => Reply::ok(json!({"jobComplete": false})),
        _ => well(call),
    })
    .await;
    assert_eq!(numbers(&server.client().await.run(select("j")).await.unwrap()), [1]);
    assert_eq!((server.count("POST /jobs"), server.count("GET /queries/j")), (1, 3));
}

#[tokio::test]
async fn an_sql_error_keeps_bigquerys_message_and_position() {
    let message = "Syntax error: Unexpected identifier \"FORM\" at [1:10]";
    let server = Server::start(move |_| Reply::error(400, "invalidQuery", message)).await;
    let error = refused(&server).await;
    assert_eq!((error.kind(), error.message()), (Kind::InvalidQuery, message));

    let server = Server::start(move |call| match call.line().as_str() {
        "POST /jobs" => Reply::ok(failed_job("j", "invalidQuery", message)),
        _ => well(call),
    })
    .await;
    let error = refused(&server).await;
    assert_eq!((error.kind(), error.message()), (Kind::InvalidQuery, message));
}

#[tokio::test]
async fn an_error_inside_a_good_status_is_an_error() {
    let server = Server::start(|call| match call.line().as_str() {
        "GET /queries/j" => {
            Reply::ok(json!({"jobComplete": true, "errors": [{"reason": "invalidQuery", "message": "no such column"}]}))
        }
        _ => well(call),
    })
    .await;
    let error = refused(&server).await;
    assert_eq!((error.kind(), error.message()), (Kind::InvalidQuery, "no such column"));

    let server = Server::start(|call| match call.line().as_str() {
        "GET /jobs/j" => Reply::ok(failed_job("j", "resourcesExceeded", "too much")),
        _ => well(call),
    })
    .await;
    assert_eq!(refused(&server).await.kind(), Kind::TooExpensive);
}

#[tokio::test]
async fn a_proxys_page_keeps_its_status() {
    let server = Server::start(|_| Reply::Text(502, "<html>Bad gateway</html>")).await;
    let error = refused(&server).await;
    assert_eq!(error.kind(), Kind::Unavailable);
    assert!(error.message().contains("502") && error.message().contains("Bad gateway"), "{error}");
    let server = Server::start(|_| Reply::Text(404, "no such path")).await;
    assert_eq!(refused(&server).await.kind(), Kind::NotFound);
}

#[tokio::test]
async fn over_the_byte_limit_is_too_expensive() {
    let server = Server::start(|call| match call.line().as_str() {
        "GET /queries/j" => Reply::error(400, "bytesBilledLimitExceeded", "Query exceeded limit for bytes billed: 1."),
        _ => well(call),
    })
    .await;
    let error = refused(&server).await;
    assert_eq!(error.kind(), Kind::TooExpensive);
    assert!(error.message().contains("job j"), "{error}");
}

#[tokio::test]
async fn an_id_that_is_taken_means_joining_its_job() {
    let server = Server::start(|call| match call.line().as_str() {
        "POST /jobs" => Reply::error(409, "duplicate", "Already Exists: Job p:EU.j"),
        _ => well(call),
    })
    .await;
    let outcome = server.client().await.run(select("j")).await.unwrap();
    assert_eq!((numbers(&outcome), outcome.job_id.as_str()), (vec![1], "j"));
    assert!(outcome.joined && outcome.started_at.is_some());
    assert_eq!(server.count("POST /jobs"), 1);
}

/// Runs `j`, whose id is taken by a job that failed for `reason`; ids in `taken` are too.
async fn burnt(reason: &'static str, taken: &'static [&'static str]) -> (Server, weir_plan::Result<Outcome>) {
    let server = Server::start(move |call| match call.line().as_str() {
        "POST /jobs" if taken.contains(&call.job_id()) => Reply::error(409, "duplicate", "Already Exists"),
        line if taken.iter().any(|id| line == format!("GET /jobs/{id}")) => {
            Reply::ok(failed_job("j", reason, "it failed"))
        }
        _ => well(call),
    })
    .await;
    let outcome = server.client().await.run(select("j")).await;
    (server, outcome)
}

#[tokio::test]
async fn a_met_job_that_failed_has_used_up_its_id_whatever_the_reason() {
    for reason in ["backendError", "rateLimitExceeded", "stopped", "accessDenied", "notFound", "invalidQuery"] {
        let outcome = burnt(reason, &["j"]).await.1.unwrap();
        assert_eq!((outcome.job_id.as_str(), outcome.joined), ("j_r1", false), "{reason}");
    }
    assert_eq!(burnt("backendError", &["j", "j_r1"]).await.1.unwrap().job_id, "j_r2");
    let (server, outcome) = burnt("backendError", &["j", "j_r1", "j_r2"]).await;
    let id = outcome.unwrap().job_id;
    assert!(id.starts_with("j_own"), "{id}");
    assert_eq!(server.count("POST /jobs"), 4);
}

#[tokio::test]
async fn ids_end_where_every_one_is_taken() {
    let server = Server::start(|call| match call.line().as_str() {
        "POST /jobs" => Reply::error(409, "duplicate", "Already Exists"),
        line if line.starts_with("GET /jobs/") => Reply::ok(failed_job("j", "backendError", "it failed")),
        _ => well(call),
    })
    .await;
    let error = refused(&server).await;
    assert_eq!(error.kind(), Kind::Unavailable);
    assert!(error.message().contains("it failed"), "{error}");
    assert_eq!(server.count("POST /jobs"), 5);
}

#[tokio::test]
async fn a_job_of_our_own_that_failed_for_good_is_not_run_again() {
    let server = Server::start(|call| match call.line().as_str() {
        "POST /jobs" => Reply::ok(failed_job("j", "invalidQuery", "it failed")),
        _ => well(call),
    })
    .await;
    let error = refused(&server).await;
    assert_eq!((error.kind(), error.message()), (Kind::InvalidQuery, "it failed"));
    assert_eq!(server.count("POST /jobs"), 1);
}

#[tokio::test]
async fn dropping_a_run_cancels_its_job() {
    let server = Server::start(|call| match call.line().as_str() {
        "GET /queries/j" => Reply::Held(json!({})),
        _ => well(call),
    })
    .await;
    let client = server.client().await;
    {
        let run = client.run(select("j"));
        tokio::select! {
            _ = run => panic!("the job never ends"),
            () = server.wait_for("GET /queries/j") => {}
        }
    }
    client.settled().await;
    let calls = server.calls();
    let cancels: Vec<_> = calls.iter().filter(|call| call.line() == "POST /jobs/j/cancel").collect();
    assert_eq!(cancels.len(), 1);
    assert_eq!(cancels[0].parameter("location"), Some("EU"));
}

#[tokio::test]
async fn who_comes_back_while_the_job_is_cancelled_gets_an_answer() {
    let inserts = AtomicUsize::new(0);
    let server = Server::start(move |call| match call.line().as_str() {
        "POST /jobs" if call.job_id() == "j" && inserts.fetch_add(1, SeqCst) > 0 => {
            Reply::error(409, "duplicate", "Already Exists")
        }
        "GET /queries/j" if inserts.load(SeqCst) == 1 => Reply::Held(json!({})),
        "GET /queries/j" => Reply::error(400, "stopped", "Job execution was cancelled"),
        _ => well(call),
    })
    .await;
    let client = server.client().await;
    tokio::select! {
        _ = client.run(select("j")) => panic!("the job never ends"),
        () = server.wait_for("GET /queries/j") => {}
    }
    assert_eq!(client.run(select("j")).await.unwrap().job_id, "j_r1");
}

#[tokio::test]
async fn a_run_dropped_before_its_job_exists_cancels_it_afterwards() {
    let server = Server::start(|call| match call.line().as_str() {
        "POST /jobs" => Reply::Held(job("j", "RUNNING")),
        _ => well(call),
    })
    .await;
    let client = server.client().await;
    {
        let run = client.run(select("j"));
        tokio::select! {
            _ = run => panic!("the call never ends"),
            () = server.wait_for("POST /jobs") => {}
        }
    }
    assert_eq!(server.count("POST /jobs/j/cancel"), 0);
    server.release();
    client.settled().await;
    assert_eq!(server.lines(), ["POST /jobs", "POST /jobs/j/cancel"]);
}

#[tokio::test]
async fn a_joined_job_of_someone_else_is_left_running() {
    let server = Server::start(|call| match call.line().as_str() {
        "POST /jobs" => Reply::error(409, "duplicate", "Already Exists"),
        "GET /queries/j" => Reply::Held(json!({})),
        _ => well(call),
    })
    .await;
    let client = server.client().await;
    {
        let run = client.run(select("j"));
        tokio::select! {
            _ = run => panic!("the job never ends"),
            () = server.wait_for("GET /queries/j") => {}
        }
    }
    client.settled().await;
    assert_eq!(server.count("POST /jobs/j/cancel"), 0);
}

#[tokio::test]
async fn a_failed_wait_leaves_the_job_to_the_next_try_which_owns_it() {
    let inserts = AtomicUsize::new(0);
    let server = Server::start(move |call| match call.line().as_str() {
        "POST /jobs" if inserts.fetch_add(1, SeqCst) > 0 => Reply::error(409, "duplicate", "Already Exists"),
        "GET /queries/j" if inserts.load(SeqCst) == 1 => Reply::Text(503, "busy"),
        "GET /queries/j" => Reply::Held(json!({})),
        _ => well(call),
    })
    .await;
    let client = server.client().await;
    assert_eq!(client.run(select("j")).await.unwrap_err().kind(), Kind::Unavailable);
    assert_eq!(server.count("POST /jobs/j/cancel"), 0);
    {
        let waiting = async {
            while server.count("GET /queries/j") < 2 {
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            _ = client.run(select("j")) => panic!("the job never ends"),
            () = waiting => {}
        }
    }
    client.settled().await;
    assert_eq!(server.count("POST /jobs/j/cancel"), 1);
}

#[tokio::test]
async fn a_stopped_job_was_cancelled_or_ran_out_of_time() {
    let server = Server::start(|call| match call.line().as_str() {
        "GET /queries/j" => Reply::error(400, "stopped", "Job execution was cancelled"),
        "GET /jobs/j" => Reply::ok(failed_job("j", "stopped", "Job execution was cancelled")),
        _ => well(call),
    })
    .await;
    let client = server.client().await;
    assert_eq!(client.run(select("j")).await.unwrap_err().kind(), Kind::ClientGone);
    let job = |seconds| Job { timeout: Some(Duration::from_secs(seconds)), ..select("j") };
    assert_eq!(client.run(job(600)).await.unwrap_err().kind(), Kind::ClientGone);
    assert_eq!(client.run(job(60)).await.unwrap_err().kind(), Kind::Timeout);
}

#[tokio::test]
async fn a_joined_job_that_its_owner_cancels_is_run_again() {
    let server = Server::start(|call| match call.line().as_str() {
        "POST /jobs" if call.job_id() == "j" => Reply::error(409, "duplicate", "Already Exists"),
        "GET /queries/j" => Reply::error(400, "stopped", "Job execution was cancelled"),
        _ => well(call),
    })
    .await;
    assert_eq!(server.client().await.run(select("j")).await.unwrap().job_id, "j_r1");
}

#[tokio::test]
async fn a_dry_run_tells_bytes_schema_statement_and_tables() {
    let server = Server::start(|_| {
        Reply::ok(json!({
            "jobReference": {"projectId": "p", "location": "EU"},
            "status": {"state": "DONE"},
            "statistics": {
                "totalBytesProcessed": "123456789012",
                "query": {
                    "statementType": "INSERT",
                    "schema": {"fields": [{"name": "r", "type": "RANGE", "rangeElementType": {"type": "DATE"}}]},
                    "referencedTables": [{"projectId": "p", "datasetId": "d", "tableId": "t"}],
                },
            },
        }))
    })
    .await;
    let estimate = server.client().await.dry_run(&select("j")).await.unwrap();
    assert_eq!((estimate.bytes_processed, estimate.statement_type.as_str()), (123_456_789_012, "INSERT"));
    assert_eq!(estimate.schema.field(0).name(), "r");
    assert_eq!(estimate.referenced_tables, [TableId::new("p", "d", "t")]);
    let body = &server.calls()[0].body;
    assert_eq!(body["configuration"]["dryRun"], true);
    assert!(body["jobReference"].get("jobId").is_none());
}

#[tokio::test]
async fn tables_and_views_are_described() {
    let server = Server::start(|call| match call.line().as_str() {
        "GET /datasets/d/tables/t" => Reply::ok(json!({
            "type": "TABLE", "schema": {"fields": [{"name": "day", "type": "DATE"}]},
            "timePartitioning": {"type": "DAY", "field": "day"},
            "lastModifiedTime": "1704067200000", "numRows": "7", "numBytes": "70", "location": "EU",
        })),
        "GET /datasets/d/tables/v" => Reply::ok(json!({
            "type": "VIEW", "view": {"query": "SELECT 1", "useLegacySql": false}, "lastModifiedTime": "1704067200000",
        })),
        _ => Reply::error(404, "notFound", "Not found: Table p:d.x was not found in location EU"),
    })
    .await;
    let client = server.client().await;
    let table = client.table(&TableId::new("p", "d", "t")).await.unwrap();
    assert_eq!(table.partitioning, Some(Partitioning { column: Some("day".to_owned()), unit: PartitionUnit::Day }));
    assert_eq!((table.num_rows, table.num_bytes, table.last_modified.millis()), (7, 70, 1_704_067_200_000));
    let view = client.table(&TableId::new("p", "d", "v")).await.unwrap();
    assert_eq!((view.kind.as_str(), view.view_sql.as_deref()), ("VIEW", Some("SELECT 1")));
    let error = client.table(&TableId::new("p", "d", "x")).await.unwrap_err();
    assert_eq!(error.kind(), Kind::NotFound);
    assert!(error.message().contains("p:d.x"), "{error}");
}

#[tokio::test]
async fn a_large_answer_is_read_as_json_where_there_is_no_storage_read_api() {
    let server = Server::start(|call| match (call.line().as_str(), call.parameter("pageToken")) {
        ("GET /queries/j", None) => Reply::ok(page(&[1, 2], 3, Some("next"))),
        ("GET /queries/j", Some(_)) => Reply::ok(page(&[3], 3, None)),
        (line, _) if line.contains("CreateReadSession") => Reply::Text(404, ""),
        _ => well(call),
    })
    .await;
    let mut config = server.config();
    config.storage_endpoint = Some(server.url.clone());
    config.storage_read_above_rows = Some(2);
    let client = super::super::BigQuery::connect(&config).await.unwrap();
    assert_eq!(numbers(&client.run(select("j")).await.unwrap()), [1, 2, 3]);
    assert_eq!(server.lines().iter().filter(|line| line.contains("CreateReadSession")).count(), 1);
}
