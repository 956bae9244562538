//! Lists of projects, datasets and tables.

use serde_json::{Value, json};
use weir_plan::Kind;

use super::script::{Call, Reply, Server};
use crate::source::{Listed, Project, Source};

/// Two pages under the name `list`, told apart by the token; every other path is not there.
fn pages(path: &'static str, list: &'static str, first: Value, second: Value) -> impl Fn(&Call) -> Reply {
    move |call| match (call.path == path, call.parameter("pageToken")) {
        (true, None) => Reply::ok(json!({list: first, "nextPageToken": "two"})),
        (true, Some("two")) => Reply::ok(json!({list: second})),
        _ => Reply::error(404, "notFound", &format!("Not found: {}", call.path)),
    }
}

#[tokio::test]
async fn projects_of_all_pages_are_sorted_and_named_for_people() {
    let entry = |id: &str, name: Option<&str>| json!([{"projectReference": {"projectId": id}, "friendlyName": name}]);
    let (first, second) = (entry("q", Some("Questions")), entry("a", None));
    let server = Server::start(pages("/bigquery/v2/projects", "projects", first, second)).await;
    let project = |id: &str, name: &str| Project { id: id.into(), name: name.into() };
    assert_eq!(server.client().await.list_projects().await.unwrap(), [project("a", "a"), project("q", "Questions")]);
    assert_eq!(server.calls()[0].parameter("maxResults"), Some("1000"));
}

#[tokio::test]
async fn datasets_of_all_pages_are_sorted() {
    let dataset = |name: &str| json!([{"datasetReference": {"projectId": "p", "datasetId": name}}]);
    let server = Server::start(pages("/datasets", "datasets", dataset("z"), dataset("a"))).await;
    assert_eq!(server.client().await.list_datasets("p").await.unwrap(), ["a", "z"]);
}

#[tokio::test]
async fn tables_of_all_pages_are_sorted_and_have_their_kind() {
    let table = |name: &str, kind: Option<&str>| json!([{"tableReference": {"projectId": "p", "datasetId": "d", "tableId": name}, "type": kind}]);
    let server = Server::start(pages("/datasets/d/tables", "tables", table("z", Some("VIEW")), table("a", None))).await;
    let listed = |name: &str, kind: &str| Listed { name: name.into(), kind: kind.into() };
    let found = server.client().await.list_tables("p", "d").await.unwrap();
    assert_eq!(found, [listed("a", "TABLE"), listed("z", "VIEW")]);
}

#[tokio::test]
async fn an_empty_list_has_no_entries() {
    let server = Server::start(|_| Reply::ok(json!({"kind": "bigquery#tableList", "totalItems": 0}))).await;
    assert_eq!(server.client().await.list_tables("p", "d").await.unwrap(), []);
}

#[tokio::test]
async fn what_is_not_there_is_named() {
    let server = Server::start(|_| Reply::Text(404, "<html>no such page</html>")).await;
    let error = server.client().await.list_tables("p", "missing").await.unwrap_err();
    assert_eq!(error.kind(), Kind::NotFound);
    assert!(error.message().starts_with("missing: "), "{error}");
    let server = Server::start(|_| Reply::error(403, "accessDenied", "Access Denied: Project x")).await;
    let error = server.client().await.list_datasets("x").await.unwrap_err();
    assert_eq!((error.kind(), error.message()), (Kind::PermissionDenied, "Access Denied: Project x"));
}

#[tokio::test]
async fn a_list_that_does_not_move_on_ends() {
    let server = Server::start(|_| Reply::ok(json!({"projects": [], "nextPageToken": "again"}))).await;
    let error = server.client().await.list_projects().await.unwrap_err();
    assert_eq!((error.kind(), server.calls().len()), (Kind::Unavailable, 2));
}
