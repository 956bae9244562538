//! Projects, datasets, tables, and rows without a query.

use super::*;

#[tokio::test]
async fn a_table_is_described() {
    let rig = Rig::start().await;
    let (status, table) = rig.get("/datasets/d/tables/events").await;
    assert_eq!((status, table["id"].as_str(), table["type"].as_str()), (200, Some("p:d.events"), Some("TABLE")));
    assert_eq!(table["timePartitioning"], json!({"type": "DAY", "field": "t"}));
    assert_eq!((table["numRows"].as_str(), table["numBytes"].as_str()), (Some("5"), Some("80")));
    assert_eq!(table["lastModifiedTime"], now().millis().to_string());
    assert_eq!(table["schema"]["fields"][1]["type"], "TIMESTAMP");
    let (_, view) = rig.get("/datasets/d/tables/events_view").await;
    assert_eq!(
        (view["type"].as_str(), view["view"]["query"].as_str()),
        (Some("VIEW"), Some("SELECT n FROM `p.d.events`"))
    );
    let (status, error) = rig.get("/datasets/d/tables/none").await;
    assert_eq!((status, reason(&error)), (404, "notFound"));
    assert_eq!(rig.server.calls_of(CallKind::GetTable)[2].table, Some(TableId::new("p", "d", "none")));
}

#[tokio::test]
async fn projects_datasets_and_tables_are_listed_in_pages() {
    let rig = Rig::start().await;
    let url = format!("{}/projects", rig.server.v2_url());
    let projects: Value = rig.http.get(url).send().await.unwrap().json().await.unwrap();
    assert_eq!((&projects["projects"][0]["id"], &projects["projects"][1]["id"]), (&json!("p"), &json!("q")));
    let (_, datasets) = rig.get("/datasets").await;
    assert_eq!(datasets["datasets"][0]["datasetReference"], json!({"projectId": "p", "datasetId": "d"}));
    let (_, page) = rig.get("/datasets/d/tables?maxResults=1").await;
    assert_eq!((&page["totalItems"], &page["tables"][0]["tableReference"]["tableId"]), (&json!(2), &json!("events")));
    let token = page["nextPageToken"].as_str().unwrap();
    let (_, page) = rig.get(&format!("/datasets/d/tables?maxResults=1&pageToken={token}")).await;
    assert_eq!((&page["tables"][0]["type"], page.get("nextPageToken")), (&json!("VIEW"), None));
    assert_eq!(rig.get("/datasets/d/tables?pageToken=another").await.0, 400);
    assert_eq!(rig.get("/datasets/none/tables").await.0, 404);
    assert_eq!(rig.get("/datasets/d").await.1["location"], "US");
    assert_eq!(rig.get("/nothing").await.0, 404);
}

#[tokio::test]
async fn a_page_of_a_list_is_never_longer_than_the_server_allows() {
    let rig = Rig::with(FakeConfig { list_entries: 1, ..FakeConfig::default() }).await;
    let url = format!("{}/projects?maxResults=1000", rig.server.v2_url());
    let page: Value = rig.http.get(&url).send().await.unwrap().json().await.unwrap();
    assert_eq!((page["projects"].as_array().unwrap().len(), &page["totalItems"]), (1, &json!(2)));
    let url = format!("{url}&pageToken={}", page["nextPageToken"].as_str().unwrap());
    let page: Value = rig.http.get(url).send().await.unwrap().json().await.unwrap();
    assert_eq!((&page["projects"][0]["id"], page.get("nextPageToken")), (&json!("q"), None));
    let (_, page) = rig.get("/datasets").await;
    assert_eq!((page["datasets"].as_array().unwrap().len(), page.get("nextPageToken")), (1, None));
}

#[tokio::test]
async fn rows_of_ordinary_and_anonymous_tables_are_listed() {
    let rig = Rig::start().await;
    let (status, page) = rig.get("/datasets/d/tables/events/data?maxResults=3").await;
    assert_eq!((status, column(&page)), (200, vec!["0", "1", "2"]));
    let token = page["pageToken"].as_str().unwrap();
    let (_, page) = rig.get(&format!("/datasets/d/tables/events/data?pageToken={token}")).await;
    assert_eq!((column(&page), &page["totalRows"]), (vec!["3", "4"], &json!("5")));
    assert_eq!(rig.get("/datasets/d/tables/events_view/data").await.0, 400);

    rig.run("j1", "rows 2").await;
    let (_, job) = rig.get("/jobs/j1").await;
    let reference = &job["configuration"]["query"]["destinationTable"];
    let (dataset, table) = (reference["datasetId"].as_str().unwrap(), reference["tableId"].as_str().unwrap());
    assert!(dataset.starts_with('_') && table.starts_with("anon"), "{reference}");
    let (_, page) = rig.get(&format!("/datasets/{dataset}/tables/{table}/data")).await;
    assert_eq!(column(&page), ["0", "1"]);
    let (_, described) = rig.get(&format!("/datasets/{dataset}/tables/{table}")).await;
    assert_eq!(described["numRows"], "2");
}
