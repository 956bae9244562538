//! The restriction of datasets: a dry run before a job, no job for what it forbids, and no word of it in lists.

use serde_json::{Value, json};
use weir_plan::{Error, Kind};

use super::calls::well;
use super::script::{Call, Reply, Server, job};
use crate::config::{BigQueryConfig, Login};
use crate::source::bigquery::{BigQuery, CallerTokens, Forwarded};
use crate::source::{Job, Source};

/// Dry runs read the table that the query names last; the login can list the projects `listed`.
fn server_of(listed: &'static [&'static str]) -> impl Fn(&Call) -> Reply + Send + Sync + 'static {
    move |call| match call.line().as_str() {
        "GET /bigquery/v2/projects" => {
            let page = usize::from(call.parameter("pageToken").is_some());
            let project = listed.get(page).map(|project| json!({"projectReference": {"projectId": project}}));
            let next = (listed.len() > page + 1).then_some("more");
            Reply::ok(json!({"projects": project.into_iter().collect::<Vec<_>>(), "nextPageToken": next}))
        }
        "POST /jobs" if call.body["configuration"]["dryRun"] == true => Reply::ok(dry_run(call)),
        _ => well(call),
    }
}

fn dry_run(call: &Call) -> Value {
    let sql = call.body["configuration"]["query"]["query"].as_str().unwrap();
    let table: Vec<_> = sql.rsplit(' ').next().unwrap().split('.').collect();
    let tables = match table[..] {
        [project, dataset, table] => json!([{"projectId": project, "datasetId": dataset, "tableId": table}]),
        _ => json!([]),
    };
    let mut job = job("", "DONE");
    job["statistics"]["query"] = json!({"statementType": "SELECT", "referencedTables": tables});
    job
}

async fn client(server: &Server, allowed: &[&str]) -> BigQuery {
    let allowed = allowed.iter().map(|name| (*name).to_owned()).collect();
    BigQuery::connect(&BigQueryConfig { allowed_datasets: Some(allowed), ..server.config() }).await.unwrap()
}

fn select(id: &str, table: &str) -> Job {
    Job::new(id, format!("SELECT '{id}' FROM {table}"))
}

fn dry_runs(server: &Server) -> usize {
    server.calls().iter().filter(|call| call.body["configuration"]["dryRun"] == true).count()
}

fn jobs(server: &Server) -> usize {
    server.count("POST /jobs") - dry_runs(server)
}

fn refused(error: &Error, table: &str) {
    assert_eq!(error.kind(), Kind::PermissionDenied, "{error}");
    assert!(error.message().contains(table), "{error}");
}

#[tokio::test]
async fn a_query_outside_the_projects_and_datasets_runs_no_job() {
    let server = Server::start(server_of(&["p", "other"])).await;
    let client = client(&server, &["public.samples"]).await;
    for (id, table) in [("a", "p.d.t"), ("b", "other.d.t"), ("c", "public.samples.t"), ("d", "1")] {
        client.run(select(id, table)).await.unwrap();
    }
    assert_eq!(jobs(&server), 4);
    for table in ["public.crypto.t", "third.d.t"] {
        refused(&client.run(select("e", table)).await.unwrap_err(), table);
        refused(&client.dry_run(&select("e", table)).await.unwrap_err(), table);
    }
    assert_eq!((jobs(&server), server.count("GET /bigquery/v2/projects")), (4, 2), "two pages, listed once");
}

#[tokio::test]
async fn a_warm_panel_pays_one_dry_run_for_all_its_refreshes() {
    let server = Server::start(server_of(&["p"])).await;
    let client = client(&server, &[]).await;
    for id in ["1", "2", "3"] {
        client.run(select(id, "p.d.t")).await.unwrap();
    }
    assert_eq!((jobs(&server), dry_runs(&server)), (3, 1));
    client.run(select("4", "p.e.t")).await.unwrap();
    assert_eq!(dry_runs(&server), 2);
}

#[tokio::test]
async fn a_list_of_projects_that_cannot_be_had_allows_nothing_more() {
    let server = Server::start(|call| match call.line().as_str() {
        "GET /bigquery/v2/projects" => Reply::error(403, "accessDenied", "no list for you"),
        _ => server_of(&[])(call),
    })
    .await;
    let client = client(&server, &["public.samples"]).await;
    client.run(select("a", "p.d.t")).await.unwrap();
    client.run(select("b", "public.samples.t")).await.unwrap();
    let error = client.run(select("c", "other.d.t")).await.unwrap_err();
    refused(&error, "no list for you");
    assert_eq!(jobs(&server), 2);
}

#[tokio::test]
async fn of_a_callers_projects_only_the_data_sources_own_count() {
    let server = Server::start(server_of(&["other", "p"])).await;
    let config = BigQueryConfig {
        login: Login::Forwarded,
        allowed_datasets: Some(vec!["sales".to_owned()]),
        data_project: Some("data".to_owned()),
        ..server.config()
    };
    let caller = std::sync::Arc::<Forwarded>::default();
    let access = Some(crate::config::Secret("token".to_owned()));
    caller.renew(CallerTokens { access, id: None });
    let client = BigQuery::connect(&config).await.unwrap().on_behalf(&caller).unwrap();
    client.run(select("a", "p.d.t")).await.unwrap();
    client.run(select("b", "data.any.t")).await.unwrap();
    refused(&client.run(select("c", "other.d.t")).await.unwrap_err(), "other.d.t");
    assert_eq!((jobs(&server), server.count("GET /bigquery/v2/projects")), (2, 0));
    let projects: Vec<_> = client.list_projects().await.unwrap().into_iter().map(|project| project.id).collect();
    assert_eq!(projects, ["p"]);
    assert!(server.calls().iter().all(|call| call.authorization == "Bearer token"));
}

#[tokio::test]
async fn lists_leave_out_what_may_not_be_read() {
    let dataset = |name: &str| json!({"datasetReference": {"projectId": "any", "datasetId": name}});
    let server = Server::start(move |call| match call.line().as_str() {
        line if line.ends_with("/datasets") => Reply::ok(json!({"datasets": [dataset("crypto"), dataset("samples")]})),
        line if line.ends_with("/tables") => Reply::ok(json!({"tables": []})),
        line if line.ends_with("/tables/t") => Reply::ok(json!({"schema": {"fields": []}})),
        _ => server_of(&["p", "other"])(call),
    })
    .await;
    let client = client(&server, &["public.samples"]).await;
    let projects: Vec<_> = client.list_projects().await.unwrap().into_iter().map(|project| project.id).collect();
    assert_eq!(projects, ["other", "p"], "a login's own list");
    for (project, expected) in
        [("p", &["crypto", "samples"][..]), ("other", &["crypto", "samples"]), ("public", &["samples"])]
    {
        assert_eq!(client.list_datasets(project).await.unwrap(), expected, "{project}");
    }
    for allowed in ["p.crypto", "other.crypto", "public.samples"] {
        let (project, dataset) = allowed.split_once('.').unwrap();
        client.list_tables(project, dataset).await.unwrap();
        client.table(&format!("{allowed}.t").parse().unwrap()).await.unwrap();
    }
    let calls = server.calls().len();
    refused(&client.list_tables("public", "crypto").await.unwrap_err(), "public.crypto");
    refused(&client.table(&"public.crypto.t".parse().unwrap()).await.unwrap_err(), "public.crypto");
    refused(&client.list_datasets("third").await.unwrap_err(), "project third");
    assert_eq!(server.calls().len(), calls, "what is forbidden is not asked for");
}
