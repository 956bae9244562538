//! `jobs`: insert, get, getQueryResults, query, cancel, list.

use super::*;

#[tokio::test]
async fn a_job_is_inserted_run_and_read() {
    let rig = Rig::start().await;
    let mut body = job_body("j1", "rows 3");
    body["configuration"]["labels"] = json!({"board": "b1"});
    body["configuration"]["query"]["priority"] = "BATCH".into();
    let (status, job) = rig.post("/jobs", &body).await;
    assert_eq!(
        (status, job["jobReference"].clone()),
        (200, json!({"projectId": "p", "jobId": "j1", "location": "US"}))
    );

    let (status, page) = rig.get("/queries/j1?formatOptions.useInt64Timestamp=true").await;
    assert_eq!(status, 200);
    assert_eq!(page["jobComplete"], true);
    assert_eq!(page["totalRows"], "3");
    assert_eq!(
        page["schema"]["fields"],
        json!([
            {"name": "n", "type": "INTEGER", "mode": "NULLABLE"},
            {"name": "t", "type": "TIMESTAMP", "mode": "NULLABLE"},
        ])
    );
    assert_eq!(page["rows"][2], json!({"f": [{"v": "2"}, {"v": "1704067202000000"}]}));
    assert_eq!(page.get("pageToken"), None);

    let (_, job) = rig.get("/jobs/j1").await;
    assert_eq!(job["status"], json!({"state": "DONE"}));
    assert_eq!(job["statistics"]["query"]["totalBytesBilled"], MINIMUM_BYTES_PER_TABLE.to_string());
    assert_eq!(job["statistics"]["query"]["cacheHit"], false);
    assert_eq!(job["statistics"]["query"]["statementType"], "SELECT");
    assert_eq!(job["statistics"]["query"]["referencedTables"][0]["tableId"], "events");
    assert_eq!(job["statistics"]["totalBytesProcessed"], "4096");
    assert_eq!(job["statistics"]["startTime"], now().millis().to_string());
    assert_eq!(job["configuration"]["labels"], json!({"board": "b1"}));

    let run = &rig.server.jobs_run()[0];
    assert_eq!((run.id.as_str(), run.sql.as_str(), run.labels["board"].as_str()), ("j1", "rows 3", "b1"));
    assert_eq!(run.end, Some(JobEnd { bytes_billed: MINIMUM_BYTES_PER_TABLE, error: None }));
    assert_eq!(rig.server.bytes_billed(), MINIMUM_BYTES_PER_TABLE);
    let kinds: Vec<_> = rig.server.calls().iter().map(|call| call.kind).collect();
    assert_eq!(kinds, [CallKind::Insert, CallKind::GetResults, CallKind::GetJob]);
}

#[tokio::test]
async fn an_id_is_taken_once_and_the_first_job_stays() {
    let rig = Rig::start().await;
    let body = job_body("once", "rows 1");
    let inserts = (0..20).map(|_| rig.post("/jobs", &body));
    let answers = futures::future::join_all(inserts).await;
    assert_eq!(answers.iter().filter(|(status, _)| *status == 200).count(), 1);
    let (_, refused) = answers.iter().find(|(status, _)| *status == 409).unwrap();
    assert_eq!(reason(refused), "duplicate");
    assert_eq!(refused["error"]["status"], "ALREADY_EXISTS");
    assert_eq!(refused["error"]["message"], "Already Exists: Job p:US.once");
    let (status, _) = rig.insert("once", "rows 2").await;
    assert_eq!(status, 409);
    assert_eq!(column(&rig.get("/queries/once").await.1), ["0"]);
    assert_eq!(rig.source.runs.load(Ordering::SeqCst), 1);
    assert_eq!(rig.server.jobs_run().len(), 1);
}

#[tokio::test]
async fn get_query_results_waits_for_the_job_as_long_as_it_is_told() {
    let rig = Rig::start().await;
    let gate = Gate::new();
    rig.server.script().jobs(1, JobRule::new().held_by(&gate));
    let (_, job) = rig.insert("held", "rows 1").await;
    assert_eq!(job["status"]["state"], "RUNNING");
    for wait in ["0", "1"] {
        let (status, page) = rig.get(&format!("/queries/held?timeoutMs={wait}")).await;
        assert_eq!((status, &page["jobComplete"], page.get("rows")), (200, &json!(false), None));
    }
    let (page, ()) = tokio::join!(rig.get("/queries/held"), async {
        rig.server.until(|calls, _| calls.iter().filter(|call| call.kind == CallKind::GetResults).count() == 3).await;
        gate.open();
    });
    assert_eq!((page.1["jobComplete"].clone(), column(&page.1)), (json!(true), vec!["0"]));
}

#[tokio::test]
async fn an_answer_is_paged_by_rows_and_by_bytes() {
    let config = FakeConfig { page_bytes: 40_000, ..FakeConfig::default() };
    let rig = Rig::with(config).await;
    let mut page = rig.run("long", "rows 2500").await;
    let mut numbers: Vec<i64> = Vec::new();
    let mut pages = 1;
    loop {
        numbers.extend(column(&page).iter().map(|n| n.parse::<i64>().unwrap()));
        assert_eq!(page["totalRows"], "2500");
        let Some(token) = page["pageToken"].as_str() else { break };
        page = rig.get(&format!("/queries/long?pageToken={token}&maxResults=1500")).await.1;
        pages += 1;
    }
    assert_eq!(numbers, (0..2500).collect::<Vec<_>>());
    assert!(pages > 2, "{pages} pages");

    let (_, page) = rig.get("/queries/long?maxResults=2&startIndex=1999").await;
    assert_eq!(column(&page), ["1999", "2000"]);
    let token = page["pageToken"].as_str().unwrap().to_owned();
    assert_eq!(rig.get("/queries/long?maxResults=0").await.1.get("rows"), None);

    rig.run("other", "rows 2500").await;
    let (status, body) = rig.get(&format!("/queries/other?pageToken={token}")).await;
    assert_eq!((status, reason(&body)), (400, "invalid"));
    let (status, body) = rig.get("/queries/long?maxResults=many").await;
    assert_eq!((status, reason(&body)), (400, "invalid"));
}

#[tokio::test]
async fn every_type_is_written_as_bigquery_writes_it() {
    let rig = Rig::start().await;
    let page = rig.run("types", "types").await;
    let expected = json!([
        {"v": "9007199254740993"}, {"v": "0.1"}, {"v": "true"}, {"v": "ü\"\n"}, {"v": "AP8="},
        {"v": "2024-01-01"}, {"v": "1.5"}, {"v": "2024-01-01T00:00:00.000001"},
    ]);
    assert_eq!(page["rows"][0]["f"], expected);
    assert!(page["rows"][1]["f"].as_array().unwrap().iter().all(|value| value["v"].is_null()));
    let float = rig.run("float", "rows 1").await;
    assert_eq!(float["rows"][0]["f"][1]["v"], "1.7040672E9");
}

#[tokio::test]
async fn a_dry_run_is_free_and_makes_no_job() {
    let rig = Rig::start().await;
    let mut body = job_body("dry", "rows 3");
    body["configuration"]["dryRun"] = true.into();
    let (status, job) = rig.post("/jobs", &body).await;
    assert_eq!((status, &job["status"]["state"]), (200, &json!("DONE")));
    assert_eq!(job["statistics"]["query"]["totalBytesProcessed"], "4096");
    assert_eq!(job["statistics"]["query"]["schema"]["fields"][0]["name"], "n");
    assert_eq!(job["jobReference"].get("jobId"), None);
    assert_eq!(rig.get("/jobs/dry").await.0, 404);
    body["configuration"]["query"]["query"] = "wrong".into();
    let (status, error) = rig.post("/jobs", &body).await;
    assert_eq!((status, reason(&error)), (400, "invalidQuery"));
    assert_eq!(rig.server.calls_of(CallKind::DryRun).len(), 2);
    assert!(rig.server.jobs_run().is_empty());
    assert_eq!(rig.source.runs.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn an_error_in_the_sql_refuses_the_insert() {
    let rig = Rig::start().await;
    for (sql, status, expected) in
        [("wrong", 400, "invalidQuery"), ("missing", 404, "notFound"), ("secret", 403, "accessDenied")]
    {
        let (found, body) = rig.insert(sql, sql).await;
        assert_eq!((found, reason(&body)), (status, expected));
        assert_eq!(body["error"]["code"], status);
        // The id is used up, and the job says why.
        assert_eq!(rig.insert(sql, sql).await.0, 409);
        assert_eq!(rig.get(&format!("/jobs/{sql}")).await.1["status"]["errorResult"]["reason"], expected);
    }
    let (_, body) = rig.get("/queries/wrong").await;
    assert!(body["error"]["message"].as_str().unwrap().ends_with("at [1:1]"), "{body}");
    assert!(rig.server.jobs_run().is_empty());
}

#[tokio::test]
async fn an_error_in_the_sql_ends_the_job_where_configured() {
    let rig = Rig::with(FakeConfig { late_errors: true, ..FakeConfig::default() }).await;
    for (sql, status, expected) in
        [("wrong", 400, "invalidQuery"), ("missing", 404, "notFound"), ("secret", 403, "accessDenied")]
    {
        assert_eq!(rig.insert(sql, sql).await.0, 200);
        let (found, body) = rig.get(&format!("/queries/{sql}")).await;
        assert_eq!((found, reason(&body)), (status, expected));
        let (_, job) = rig.get(&format!("/jobs/{sql}")).await;
        assert_eq!(
            (&job["status"]["state"], &job["status"]["errors"][0]["reason"]),
            (&json!("DONE"), &json!(expected))
        );
    }
}

#[tokio::test]
async fn a_job_that_fails_when_it_runs_says_so_and_is_not_billed() {
    let rig = Rig::start().await;
    assert_eq!(rig.insert("late", "late").await.0, 200);
    let (status, body) = rig.get("/queries/late").await;
    assert_eq!((status, reason(&body)), (400, "invalidQuery"));

    let mut body = job_body("limit", "rows 1");
    body["configuration"]["query"]["maximumBytesBilled"] = "1000".into();
    assert_eq!(rig.post("/jobs", &body).await.0, 200);
    let (status, error) = rig.get("/queries/limit").await;
    assert_eq!((status, reason(&error)), (400, "bytesBilledLimitExceeded"));
    assert_eq!(rig.get("/jobs/limit").await.1["status"]["errorResult"]["reason"], "bytesBilledLimitExceeded");
    assert_eq!(rig.server.bytes_billed(), 0);
    let ends: Vec<_> = rig.server.jobs_run().into_iter().map(|run| run.end.unwrap().error.unwrap()).collect();
    assert_eq!(ends, ["invalidQuery", "bytesBilledLimitExceeded"]);
}

#[tokio::test]
async fn a_cancelled_job_stops_at_the_source() {
    let rig = Rig::start().await;
    assert_eq!(rig.insert("long", "forever").await.1["status"]["state"], "RUNNING");
    let (waiting, cancelled) = tokio::join!(rig.get("/queries/long"), async {
        rig.server.until(|calls, _| calls.iter().any(|call| call.kind == CallKind::GetResults)).await;
        rig.post("/jobs/long/cancel", &json!({})).await
    });
    assert_eq!((cancelled.0, &cancelled.1["job"]["jobReference"]["jobId"]), (200, &json!("long")));
    assert_eq!((waiting.0, reason(&waiting.1)), (499, "stopped"));
    assert_eq!(rig.get("/jobs/long").await.1["status"]["errorResult"]["reason"], "stopped");
    assert_eq!(rig.source.dropped.load(Ordering::SeqCst), 1);
    assert_eq!(rig.server.jobs_run()[0].end, Some(JobEnd { bytes_billed: 0, error: Some("stopped".to_owned()) }));

    rig.run("short", "rows 1").await;
    assert_eq!(rig.post("/jobs/short/cancel", &json!({})).await.1["job"]["status"], json!({"state": "DONE"}));
    assert_eq!(rig.post("/jobs/none/cancel", &json!({})).await.0, 404);
}

#[tokio::test]
async fn bigquery_itself_stops_a_job_after_its_timeout() {
    let rig = Rig::start().await;
    let mut body = job_body("slow", "forever");
    body["configuration"]["jobTimeoutMs"] = "1".into();
    rig.post("/jobs", &body).await;
    let (status, error) = rig.get("/queries/slow").await;
    assert_eq!((status, reason(&error)), (499, "stopped"));
    assert!(error["error"]["message"].as_str().unwrap().contains("timed out"), "{error}");
}

#[tokio::test]
async fn jobs_query_answers_at_once_and_joins_by_request_id() {
    let rig = Rig::start().await;
    let body = json!({
        "query": "rows 3", "useLegacySql": false, "maxResults": 2, "requestId": "r1",
        "formatOptions": {"useInt64Timestamp": true},
    });
    let (status, page) = rig.post("/queries", &body).await;
    assert_eq!((status, page["kind"].as_str()), (200, Some("bigquery#queryResponse")));
    assert_eq!((column(&page), &page["rows"][0]["f"][1]["v"]), (vec!["0", "1"], &json!("1704067200000000")));
    let id = page["jobReference"]["jobId"].as_str().unwrap();
    let token = page["pageToken"].as_str().unwrap();
    assert_eq!(column(&rig.get(&format!("/queries/{id}?pageToken={token}")).await.1), ["2"]);
    assert_eq!(rig.post("/queries", &body).await.1["jobReference"]["jobId"], id);
    assert_eq!(rig.server.jobs_run().len(), 1);

    let dry = json!({"query": "rows 3", "useLegacySql": false, "dryRun": true});
    let (_, answer) = rig.post("/queries", &dry).await;
    assert_eq!((&answer["totalBytesProcessed"], &answer["jobComplete"]), (&json!("4096"), &json!(true)));
    let (status, error) = rig.post("/queries", &json!({"query": "rows 3"})).await;
    assert_eq!((status, reason(&error)), (501, "notImplemented"));
    let (status, error) = rig.post("/queries", &json!([])).await;
    assert_eq!((status, reason(&error)), (400, "parseError"));
}

#[tokio::test]
async fn a_job_outside_the_multi_regions_is_found_by_its_location_only() {
    let rig = Rig::start().await;
    let mut body = job_body("abroad", "rows 1");
    body["jobReference"]["location"] = "europe-west1".into();
    assert_eq!(rig.post("/jobs", &body).await.1["jobReference"]["location"], "europe-west1");
    assert_eq!(rig.get("/queries/abroad").await.0, 404);
    assert_eq!(rig.get("/queries/abroad?location=US").await.0, 404);
    assert_eq!(rig.get("/queries/abroad?location=europe-west1").await.0, 200);
}

#[tokio::test]
async fn jobs_run_at_the_same_time() {
    let rig = Rig::start().await;
    let gate = Gate::new();
    rig.server.script().jobs(50, JobRule::new().held_by(&gate));
    let ids: Vec<_> = (0..50).map(|n| format!("j{n}")).collect();
    futures::future::join_all(ids.iter().map(|id| rig.insert(id, "rows 1"))).await;
    assert_eq!(rig.server.jobs_run().iter().filter(|run| run.end.is_none()).count(), 50);
    assert_eq!(rig.get("/jobs?stateFilter=running&maxResults=30").await.1["jobs"].as_array().unwrap().len(), 30);
    gate.open();
    let ids = ids.iter().map(|id| format!("/queries/{id}")).collect::<Vec<_>>();
    let pages = futures::future::join_all(ids.iter().map(|path| rig.get(path))).await;
    assert!(pages.iter().all(|(status, page)| *status == 200 && column(page) == ["0"]));
}

#[tokio::test]
async fn only_so_many_finished_jobs_are_kept() {
    let rig = Rig::with(FakeConfig { kept_jobs: 2, ..FakeConfig::default() }).await;
    for id in ["a", "b", "c"] {
        rig.run(id, "rows 1").await;
    }
    rig.server.until(|_, runs| runs.iter().all(|run| run.end.is_some())).await;
    let (_, list) = rig.get("/jobs").await;
    let ids: Vec<_> =
        list["jobs"].as_array().unwrap().iter().map(|job| job["jobReference"]["jobId"].as_str().unwrap()).collect();
    assert_eq!(ids, ["c", "b"]);
    assert_eq!(rig.get("/queries/a").await.0, 404);
}

#[tokio::test]
async fn jobs_run_in_the_sources_own_project_alone() {
    let rig = Rig::start().await;
    let url = format!("{}/projects/other/jobs", rig.server.v2_url());
    let body = json!({"configuration": {"query": {"query": "rows 1", "useLegacySql": false}}});
    let response = rig.http.post(url).json(&body).send().await.unwrap();
    assert_eq!(response.status(), 403);
    assert_eq!(reason(&response.json().await.unwrap()), "accessDenied");
}

#[tokio::test]
async fn a_shutdown_ends_jobs_and_connections() {
    let rig = Rig::start().await;
    rig.insert("long", "forever").await;
    let url = rig.server.v2_url();
    let dropped = Arc::clone(&rig.source.dropped);
    let Rig { server, http, .. } = rig;
    let waiting = tokio::spawn(http.get(format!("{url}/projects/p/queries/long")).send());
    server.until(|calls, _| calls.iter().any(|call| call.kind == CallKind::GetResults)).await;
    server.shutdown().await;
    assert_eq!(dropped.load(Ordering::SeqCst), 1);
    assert_eq!(waiting.await.unwrap().map_or(499, |response| response.status().as_u16()), 499);
    assert!(http.get(format!("{url}/projects")).send().await.is_err());
}
