//! Logins: tokens are fetched with the key, once, and refusals are told without a secret.

use serde_json::json;
use weir_plan::Kind;

use super::key::TEST_ONLY_KEY;
use super::script::{Call, Reply, Server};
use crate::config::{BigQueryConfig, Login, Secret};
use crate::source::bigquery::BigQuery;
use crate::source::{Job, Source};

fn with_key(server: &Server, private_key: String) -> BigQueryConfig {
    let login = Login::ServiceAccount {
        client_email: "weir@p.iam.gserviceaccount.com".to_owned(),
        private_key: Secret(private_key),
        token_uri: format!("{}/token", server.url),
    };
    BigQueryConfig { login, ..server.config() }
}

fn dry_run(call: &Call) -> Reply {
    match call.line().as_str() {
        "POST /token" => Reply::ok(json!({"access_token": "t0ken", "expires_in": 3600, "token_type": "Bearer"})),
        _ => Reply::ok(json!({"statistics": {"query": {"statementType": "SELECT"}}})),
    }
}

#[tokio::test]
async fn a_service_accounts_token_is_fetched_once_with_a_signed_assertion() {
    for key in [TEST_ONLY_KEY.to_owned(), TEST_ONLY_KEY.replace('\n', "\\n")] {
        let server = Server::start(dry_run).await;
        let client = BigQuery::connect(&with_key(&server, key)).await.unwrap();
        assert_eq!(server.lines().len(), 0, "nothing is sent before the first call");
        for _ in 0..3 {
            client.dry_run(&Job::new("j", "SELECT 1")).await.unwrap();
        }
        assert_eq!(client.identity().principal, "weir@p.iam.gserviceaccount.com");
        assert_eq!(server.lines(), ["POST /token", "POST /jobs", "POST /jobs", "POST /jobs"]);
        let calls = server.calls();
        assert!(calls[0].text.contains("grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion="));
        assert!(calls[1..].iter().all(|call| call.authorization == "Bearer t0ken"));
    }
}

#[tokio::test]
async fn a_refused_token_is_our_fault_and_shows_no_secret() {
    let server = Server::start(|_| {
        Reply::Json(400, json!({"error": "invalid_grant", "error_description": "Invalid JWT Signature."}))
    })
    .await;
    let client = BigQuery::connect(&with_key(&server, TEST_ONLY_KEY.to_owned())).await.unwrap();
    let error = client.dry_run(&Job::new("j", "SELECT 1")).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Unavailable);
    assert_eq!(error.message(), "BigQuery refuses our credentials: invalid_grant: Invalid JWT Signature.");
    let second_line = TEST_ONLY_KEY.lines().nth(1).unwrap();
    for shown in [format!("{error:?}"), format!("{client:?}"), format!("{:?}", client.identity())] {
        assert!(!shown.contains(second_line), "{shown}");
    }
}

#[tokio::test]
async fn credentials_that_bigquery_refuses_are_our_fault() {
    let server = Server::start(|call| match call.line().as_str() {
        "POST /token" => dry_run(call),
        _ => Reply::error(401, "authError", "Invalid Credentials"),
    })
    .await;
    let client = BigQuery::connect(&with_key(&server, TEST_ONLY_KEY.to_owned())).await.unwrap();
    let error = client.dry_run(&Job::new("j", "SELECT 1")).await.unwrap_err();
    assert_eq!(
        (error.kind(), error.message()),
        (Kind::Unavailable, "BigQuery refuses our credentials: Invalid Credentials")
    );
}

#[tokio::test]
async fn a_key_file_is_as_good_as_its_fields() {
    let server = Server::start(dry_run).await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key.json");
    let key = json!({
        "type": "service_account", "client_email": "file@p", "private_key": TEST_ONLY_KEY,
        "token_uri": format!("{}/token", server.url),
    });
    std::fs::write(&path, key.to_string()).unwrap();
    let config = BigQueryConfig { login: Login::KeyFile(path), ..server.config() };
    let client = BigQuery::connect(&config).await.unwrap();
    client.dry_run(&Job::new("j", "SELECT 1")).await.unwrap();
    assert_eq!(client.identity().principal, "file@p");
}

#[tokio::test]
async fn google_takes_no_anonymous_jobs() {
    let server = Server::start(dry_run).await;
    for endpoint in [None, Some("https://bigquery.europe-west3.rep.googleapis.com")] {
        let config = BigQueryConfig { endpoint: endpoint.map(str::to_owned), ..server.config() };
        let error = BigQuery::connect(&config).await.err().unwrap();
        assert_eq!(error.kind(), Kind::InvalidQuery);
        assert!(error.message().contains("needs a login"), "{error}");
    }
}

#[tokio::test]
async fn a_missing_project_or_a_wrong_endpoint_is_named() {
    let server = Server::start(dry_run).await;
    let config = BigQueryConfig { project: " ".to_owned(), ..server.config() };
    assert!(BigQuery::connect(&config).await.err().unwrap().message().contains("project is missing"));
    let config = BigQueryConfig { storage_endpoint: Some("127.0.0.1:9060".to_owned()), ..server.config() };
    assert!(BigQuery::connect(&config).await.err().unwrap().message().contains("127.0.0.1:9060"));
}

#[tokio::test]
async fn a_server_that_is_away_is_unavailable() {
    let server = Server::start(dry_run).await;
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let config = BigQueryConfig { endpoint: Some(endpoint), ..server.config() };
    let client = BigQuery::connect(&config).await.unwrap();
    let error = client.dry_run(&Job::new("j", "SELECT 1")).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Unavailable);
    assert!(error.message().contains("cannot reach BigQuery at 127.0.0.1"), "{error}");
}
