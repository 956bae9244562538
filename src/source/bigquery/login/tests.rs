//! Settings and files that cannot be used are named, and never quoted.

use serde_json::{Value, json};
use weir_plan::Kind;

use super::*;
use crate::clock::SystemClock;
use crate::source::bigquery::tests::TEST_ONLY_KEY;

const TOKEN_URI: &str = "https://oauth2.googleapis.com/token";

async fn prepared(login: &Login) -> Result<LoggedIn> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    prepare(login, &clock).await
}

async fn refusal(client_email: &str, private_key: &str, token_uri: &str) -> String {
    let login = Login::ServiceAccount {
        client_email: client_email.to_owned(),
        private_key: Secret(private_key.to_owned()),
        token_uri: token_uri.to_owned(),
    };
    let error = prepared(&login).await.err().unwrap();
    assert_eq!(error.kind(), Kind::InvalidQuery);
    format!("{error:?}")
}

#[tokio::test]
async fn a_missing_or_wrong_field_is_named_and_never_quoted() {
    let text = refusal("", "", TOKEN_URI).await;
    assert!(text.contains("client email, private key is missing"), "{text}");
    let text = refusal("a@b", "hunter2", TOKEN_URI).await;
    assert!(text.contains("private key is not PEM") && !text.contains("hunter2"), "{text}");
    let text = refusal("a@b", "-----BEGIN PRIVATE KEY-----\\nhunter2\\n-----END PRIVATE KEY-----", TOKEN_URI).await;
    assert!(text.contains("private key of a@b cannot be read") && !text.contains("hunter2"), "{text}");
    let text = refusal("a@b", "-----BEGIN PRIVATE KEY-----", "not a uri").await;
    assert!(text.contains("token URI \"not a uri\""), "{text}");
}

#[tokio::test]
async fn a_wrong_credentials_file_is_named_and_never_quoted() {
    let folder = tempfile::tempdir().unwrap();
    let check = async |content: Option<&str>, expected: &str| {
        let path = folder.path().join("key.json");
        match content {
            Some(content) => std::fs::write(&path, content).unwrap(),
            None => drop(std::fs::remove_file(&path)),
        }
        let error = prepared(&Login::KeyFile(path)).await.err().unwrap();
        let text = format!("{error:?}");
        assert!(text.contains("key.json") && text.contains(expected) && !text.contains("hunter2"), "{text}");
    };
    check(None, "cannot be read").await;
    check(Some("\"hunter2\""), "not a JSON object").await;
    check(Some(r#"{"type":"service_account","private_key":"hunter2"}"#), "client email, token URI is missing").await;
    check(Some(r#"{"type":"authorized_user","refresh_token":"hunter2"}"#), "client_id").await;
    check(Some(r#"{"type":"gdch_service_account"}"#), "\"gdch_service_account\" is not supported").await;
    check(Some(r#"{"type":"impersonated_service_account"}"#), "service_account_impersonation_url is missing").await;
    let source = r#"{"type":"impersonated_service_account","service_account_impersonation_url":"http://h/a","source_credentials":{"type":"authorized_user","refresh_token":"hunter2"}}"#;
    check(Some(source), "source_credentials: client_id").await;
}

/// A file of workload identity federation, after changes.
fn federation(changes: &[(&str, Value)]) -> Value {
    let mut file = json!({
        "type": "external_account",
        "audience": "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/w/providers/g",
        "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
        "token_url": "https://sts.googleapis.com/v1/token",
        "credential_source": {"file": "subject"},
    });
    for (name, value) in changes {
        file[*name] = value.clone();
    }
    file
}

async fn of_file(content: &Value) -> Result<LoggedIn> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key.json");
    std::fs::write(&path, content.to_string()).unwrap();
    prepared(&Login::KeyFile(path)).await
}

#[tokio::test]
async fn what_federation_cannot_do_is_named() {
    let check = async |changes: &[(&str, Value)], expected: &str| {
        let error = of_file(&federation(changes)).await.err().unwrap();
        assert_eq!(error.kind(), Kind::InvalidQuery);
        assert!(error.message().contains(expected), "{error}");
    };
    let source = |source: Value| [("credential_source", source)];
    check(&[("audience", json!(null))], "key.json: audience is missing").await;
    check(&[("token_url", json!("sts"))], "the security token service: \"sts\"").await;
    check(&source(json!(null)), "credential_source is missing").await;
    check(&source(json!({})), "credential_source: file or url is missing").await;
    check(&source(json!({"executable": {"command": "x"}})), "executable is not supported").await;
    check(&source(json!({"environment_id": "aws1", "url": "http://h"})), "environment_id is not supported").await;
    check(&source(json!({"url": "http://h", "headers": {"a b": "c"}})), "headers: a b").await;
    check(&source(json!({"file": "f", "format": {"type": "xml"}})), "format.type \"xml\"").await;
    check(&source(json!({"file": "f", "format": {"type": "json"}})), "subject_token_field_name is missing").await;
    check(&[("service_account_impersonation_url", json!("iam"))], "service for impersonation: \"iam\"").await;
}

#[tokio::test]
async fn a_login_is_called_by_the_account_that_bigquery_sees() {
    let check = async |content: Value, principal: &str, project: Option<&str>| {
        let logged_in = of_file(&content).await.unwrap();
        assert!(logged_in.principal.starts_with(principal), "{}", logged_in.principal);
        assert_eq!(logged_in.project().await.unwrap().as_deref(), project);
    };
    let key = json!({
        "type": "service_account", "client_email": "a@p", "private_key": TEST_ONLY_KEY,
        "token_uri": "http://h/token", "project_id": "p",
    });
    check(key.clone(), "a@p", Some("p")).await;
    let user = json!({
        "type": "authorized_user", "client_id": "c", "client_secret": "s", "refresh_token": "r", "quota_project_id": "q",
    });
    check(user.clone(), "authorized-user:", Some("q")).await;
    check(federation(&[]), "federated://iam.googleapis.com/projects/1/", None).await;
    let url = json!("https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/b@p:generateAccessToken");
    check(federation(&[("service_account_impersonation_url", url.clone())]), "b@p", None).await;
    let impersonated = json!({
        "type": "impersonated_service_account", "service_account_impersonation_url": url, "source_credentials": user,
    });
    check(impersonated, "b@p", None).await;
}

#[tokio::test]
async fn two_subject_tokens_are_two_principals() {
    let principal =
        async |source: Value| of_file(&federation(&[("credential_source", source)])).await.unwrap().principal;
    let (first, second) = (principal(json!({"file": "/a"})).await, principal(json!({"file": "/b"})).await);
    assert_ne!(first, second);
    let address = principal(json!({"url": "http://h/token?secret=hunter2"})).await;
    assert!(address.ends_with("h/token"), "{address}");
}

#[tokio::test]
async fn an_account_that_cannot_be_impersonated_is_named() {
    for account in ["", "somebody", "a@p/../b@p", "a@p:generateIdToken?x="] {
        let login = Login::Impersonated {
            login: Box::new(Login::Anonymous),
            service_account: account.to_owned(),
            endpoint: None,
        };
        let error = prepared(&login).await.err().unwrap();
        assert_eq!(error.kind(), Kind::InvalidQuery);
        assert!(error.message().contains("service account to impersonate"), "{error}");
    }
    let provider = Login::Exchanged { provider: "pools/w".to_owned(), token_uri: None };
    assert!(prepared(&provider).await.err().unwrap().message().contains("\"pools/w\""));
}
