//! Logins from end to end: before the fake server, which gives tokens, refuses and forgets them, and
//! lets them expire by the same clock as the client's.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, Int64Array};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures::future::join_all;
use serde_json::{Value, json};
use weir_plan::{Kind, Result, Timestamp};

use super::key::TEST_ONLY_KEY;
use super::script::config;
use crate::batches::samples::batches;
use crate::clock::{Clock, ManualClock};
use crate::config::{BigQueryConfig, Login, Secret};
use crate::source::bigquery::{BigQuery, CallerTokens, Forwarded};
use crate::source::fake::{CallKind, FakeConfig, FakeServer};
use crate::source::limited::{Limited, Limits};
use crate::source::scripted::Scripted;
use crate::source::{Job, LoginRefused, Source};

const BASE: &str = "base@p.iam.gserviceaccount.com";
const TARGET: &str = "target@p.iam.gserviceaccount.com";
const PROVIDER: &str = "projects/1/locations/global/workloadIdentityPools/w/providers/g";

/// The start of the clock, in seconds.
const START: i64 = 1_704_067_200;

struct Rig {
    fake: FakeServer,
    clock: Arc<ManualClock>,
    folder: tempfile::TempDir,
}

impl Rig {
    async fn start() -> Self {
        let clock = Arc::new(ManualClock::new(at(0)));
        let source = Scripted::new(|_, _| Ok(batches(vec![("n", Arc::new(Int64Array::from(vec![1])) as ArrayRef)])));
        let pair = |principal: &str, account: &str| (principal.to_owned(), account.to_owned());
        let config = FakeConfig {
            require_token: true,
            token_creators: vec![pair(BASE, TARGET), pair("workload", TARGET), pair("ada", TARGET)],
            ..FakeConfig::default()
        };
        let told: Arc<dyn Clock> = Arc::<ManualClock>::clone(&clock);
        let fake = FakeServer::start(Arc::new(source), told, config).await.unwrap();
        Self { fake, clock, folder: tempfile::tempdir().unwrap() }
    }

    /// Lets time pass until so many seconds after the start.
    fn wait_until(&self, seconds: i64) {
        self.clock.set(at(seconds));
    }

    async fn connect(&self, login: Login) -> BigQuery {
        let clock: Arc<dyn Clock> = Arc::<ManualClock>::clone(&self.clock);
        let config = BigQueryConfig { login, ..config(self.fake.rest_url()) };
        BigQuery::connect_at(&config, &clock).await.unwrap()
    }

    fn key(&self) -> Login {
        Login::ServiceAccount {
            client_email: BASE.to_owned(),
            private_key: Secret(TEST_ONLY_KEY.to_owned()),
            token_uri: self.fake.token_url(),
        }
    }

    fn impersonated(&self, login: Login) -> Login {
        Login::Impersonated {
            login: Box::new(login),
            service_account: TARGET.to_owned(),
            endpoint: Some(self.fake.rest_url()),
        }
    }

    fn write(&self, name: &str, content: &str) {
        std::fs::write(self.folder.path().join(name), content).unwrap();
    }

    /// A credentials file of workload identity federation.
    fn federated(&self, source: &Value, impersonating: bool) -> Login {
        let mut file = json!({
            "type": "external_account",
            "audience": format!("//iam.googleapis.com/{PROVIDER}"),
            "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
            "token_url": self.fake.exchange_url(),
            "credential_source": source,
        });
        if impersonating {
            let url = format!("{}/v1/projects/-/serviceAccounts/{TARGET}:generateAccessToken", self.fake.rest_url());
            file["service_account_impersonation_url"] = url.into();
        }
        self.write("federation.json", &file.to_string());
        Login::KeyFile(self.folder.path().join("federation.json"))
    }

    fn count(&self, kind: CallKind) -> usize {
        self.fake.calls_of(kind).len()
    }

    /// Who made the dry runs so far.
    fn principals(&self) -> Vec<String> {
        self.fake.calls_of(CallKind::DryRun).into_iter().map(|call| call.principal.unwrap_or_default()).collect()
    }
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::saturating((START + seconds) * 1_000_000)
}

async fn check(client: &impl Source) -> Result<()> {
    client.dry_run(&Job::new("j", "SELECT 1")).await.map(drop)
}

/// A token of somebody else's that expires so many seconds after the start.
fn subject(name: &str, seconds: i64) -> String {
    let claims = json!({"sub": name, "exp": START + seconds, "iat": START});
    format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(claims.to_string()))
}

#[tokio::test]
async fn a_key_logs_in_once_for_many_calls_at_a_time() {
    let rig = Rig::start().await;
    let client = rig.connect(rig.key()).await;
    for answer in join_all((0..20).map(|_| check(&client))).await {
        answer.unwrap();
    }
    assert_eq!(rig.count(CallKind::Token), 1);
    assert!(rig.principals().iter().all(|principal| principal == BASE));
}

#[tokio::test]
async fn a_token_that_bigquery_refuses_is_fetched_anew_by_the_next_try() {
    let rig = Rig::start().await;
    let limits = Limits { first_pause: Duration::from_millis(1), ..Limits::default() };
    let client = Limited::new(Arc::new(rig.connect(rig.key()).await), limits);
    check(&client).await.unwrap();
    rig.fake.revoke_tokens();
    check(&client).await.unwrap();
    assert_eq!((rig.count(CallKind::Token), rig.count(CallKind::DryRun)), (2, 3));
}

#[tokio::test]
async fn an_impersonated_account_runs_jobs_and_its_token_is_renewed_before_its_end() {
    let rig = Rig::start().await;
    let client = rig.connect(rig.impersonated(rig.key())).await;
    assert_eq!(client.identity().principal, TARGET);
    for answer in join_all((0..20).map(|_| check(&client))).await {
        answer.unwrap();
    }
    assert_eq!((rig.count(CallKind::Token), rig.count(CallKind::Impersonate)), (1, 1));
    assert_eq!(rig.fake.calls_of(CallKind::Impersonate)[0].principal.as_deref(), Some(BASE));
    assert!(rig.principals().iter().all(|principal| principal == TARGET));
    rig.wait_until(3500);
    check(&client).await.unwrap();
    assert_eq!(rig.count(CallKind::Impersonate), 1);
    rig.fake.issue_token("unused");
    rig.wait_until(3545);
    check(&client).await.unwrap();
    assert_eq!(rig.count(CallKind::Impersonate), 2);
    assert_eq!(rig.principals().len(), 22);
}

#[tokio::test]
async fn an_account_that_may_not_be_impersonated_says_which_role_is_lacking() {
    let rig = Rig::start().await;
    let login = Login::Impersonated {
        login: Box::new(rig.key()),
        service_account: "other@p.iam.gserviceaccount.com".to_owned(),
        endpoint: Some(rig.fake.rest_url()),
    };
    let error = check(&rig.connect(login).await).await.unwrap_err();
    assert_eq!((error.kind(), LoginRefused::of(&error)), (Kind::Unavailable, Some(LoginRefused::Impersonation)));
    assert!(error.message().contains("iam.serviceAccounts.getAccessToken"), "{error}");
    assert!(format!("{error:?}").contains("Service Account Token Creator"), "{error:?}");
    assert_eq!(rig.count(CallKind::DryRun), 0);
}

#[tokio::test]
async fn a_base_token_that_iam_refuses_is_fetched_anew() {
    let rig = Rig::start().await;
    let limits = Limits { first_pause: Duration::from_millis(1), ..Limits::default() };
    let client = Limited::new(Arc::new(rig.connect(rig.impersonated(rig.key())).await), limits);
    check(&client).await.unwrap();
    rig.fake.revoke_tokens();
    check(&client).await.unwrap();
    assert_eq!((rig.count(CallKind::Token), rig.principals().last().unwrap().as_str()), (2, TARGET));
}

#[tokio::test]
async fn federation_reads_its_subject_token_from_a_file_anew_for_each_exchange() {
    let rig = Rig::start().await;
    rig.write("subject", &format!("{}\n", subject("workload", 600)));
    let client = rig.connect(rig.federated(&json!({"file": "subject"}), false)).await;
    for _ in 0..3 {
        check(&client).await.unwrap();
    }
    assert_eq!((rig.count(CallKind::Exchange), rig.principals()), (1, vec!["workload".to_owned(); 3]));
    rig.write("subject", &subject("renamed", 9000));
    rig.wait_until(3600);
    check(&client).await.unwrap();
    assert_eq!((rig.count(CallKind::Exchange), rig.principals().pop().unwrap().as_str()), (2, "renamed"));
}

#[tokio::test]
async fn federation_reads_its_subject_token_from_an_address_in_both_formats() {
    let rig = Rig::start().await;
    let token = subject("workload", 600);
    let giver = super::script::Server::start(move |call| match (call.path.as_str(), call.authorization.as_str()) {
        ("/json", "secret") => super::script::Reply::ok(json!({"id_token": token})),
        ("/wrong", _) => super::script::Reply::ok(json!({"other": token})),
        _ => super::script::Reply::Text(403, "who are you"),
    })
    .await;
    let source = |path: &str, headers: Value| {
        let format = json!({"type": "json", "subject_token_field_name": "id_token"});
        json!({"url": format!("{}{path}", giver.url), "headers": headers, "format": format})
    };
    let login = rig.federated(&source("/json", json!({"Authorization": "secret"})), true);
    check(&rig.connect(login).await).await.unwrap();
    assert_eq!((rig.count(CallKind::Impersonate), rig.principals()), (1, vec![TARGET.to_owned()]));
    for (path, expected) in [("/wrong", "holds no subject token"), ("/json", "refuses the login: HTTP status 403")] {
        let login = rig.federated(&source(path, json!(null)), true);
        let error = check(&rig.connect(login).await).await.unwrap_err();
        assert_eq!((error.kind(), LoginRefused::of(&error)), (Kind::Unavailable, Some(LoginRefused::Subject)));
        assert!(error.message().contains(expected), "{error}");
    }
}

#[tokio::test]
async fn a_subject_token_that_is_gone_or_stale_is_our_fault_and_is_not_shown() {
    let rig = Rig::start().await;
    let client = rig.connect(rig.federated(&json!({"file": "subject"}), false)).await;
    let error = check(&client).await.unwrap_err();
    assert_eq!((error.kind(), LoginRefused::of(&error)), (Kind::Unavailable, Some(LoginRefused::Subject)));
    assert!(error.message().contains("subject"), "{error}");
    let stale = subject("workload", -1);
    rig.write("subject", &stale);
    let error = check(&client).await.unwrap_err();
    assert_eq!((error.kind(), LoginRefused::of(&error)), (Kind::Unavailable, Some(LoginRefused::Exchange)));
    assert!(error.message().contains("invalid_grant") && !format!("{error:?}").contains(&stale), "{error:?}");
}

fn tokens(access: Option<&str>, id: Option<&str>) -> CallerTokens {
    let secret = |token: &str| Secret(token.to_owned());
    CallerTokens { access: access.map(secret), id: id.map(secret) }
}

#[tokio::test]
async fn a_forwarded_token_is_used_for_its_callers_calls_and_the_newest_one_counts() {
    let rig = Rig::start().await;
    let nobody = rig.connect(Login::Forwarded).await;
    assert_eq!(check(&nobody).await.unwrap_err().kind(), Kind::Unauthenticated);
    let caller = |name: &str| {
        let login = Arc::<Forwarded>::default();
        login.renew(tokens(Some(&rig.fake.issue_token(name)), None));
        (nobody.on_behalf(&login).unwrap(), login)
    };
    let ((ada, login), (grace, _)) = (caller("ada"), caller("grace"));
    check(&ada).await.unwrap();
    check(&grace).await.unwrap();
    assert_eq!(rig.principals(), ["ada", "grace"]);
    rig.wait_until(3600);
    let error = check(&ada).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Unauthenticated);
    assert!(error.message().contains("sign in to Grafana again"), "{error}");
    login.renew(tokens(Some(&rig.fake.issue_token("ada")), None));
    check(&ada).await.unwrap();
    assert_eq!(check(&grace).await.unwrap_err().kind(), Kind::Unauthenticated, "hers is not renewed");
    assert!(rig.connect(rig.key()).await.on_behalf(&login).is_none(), "a login of our own is everybody's");
}

#[tokio::test]
async fn a_callers_id_token_is_exchanged_and_may_act_as_a_service_account() {
    let rig = Rig::start().await;
    let exchanged = Login::Exchanged { provider: PROVIDER.to_owned(), token_uri: Some(rig.fake.exchange_url()) };
    let caller = async |login: Login, token: &str| {
        let forwarded = Arc::<Forwarded>::default();
        forwarded.renew(tokens(None, Some(token)));
        check(&rig.connect(login).await.on_behalf(&forwarded).unwrap()).await
    };
    caller(exchanged.clone(), &subject("grace", 600)).await.unwrap();
    caller(rig.impersonated(exchanged.clone()), &subject("ada", 600)).await.unwrap();
    assert_eq!(rig.principals(), ["grace", TARGET]);
    for (login, name, life) in [(exchanged.clone(), "ada", -1), (rig.impersonated(exchanged), "grace", 600)] {
        let error = caller(login, &subject(name, life)).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Unauthenticated, "{error}");
    }
}

#[tokio::test]
async fn the_metadata_server_gives_tokens_and_the_project() {
    let server = super::script::Server::start(|call| match call.path.as_str() {
        "/computeMetadata/v1/project/project-id" => super::script::Reply::Text(200, "machine-project\n"),
        _ => super::script::Reply::ok(json!({"access_token": "machine", "expires_in": 3599, "token_type": "Bearer"})),
    })
    .await;
    let host = server.url.strip_prefix("http://").unwrap().to_owned();
    let clock: Arc<dyn Clock> = Arc::new(ManualClock::new(at(0)));
    let logged_in = crate::source::bigquery::login::machine(&host, &clock).unwrap();
    assert_eq!(logged_in.project().await.unwrap().as_deref(), Some("machine-project"));
    for _ in 0..2 {
        assert_eq!(logged_in.tokens.token().await.unwrap().0, "machine");
    }
    assert_eq!(server.lines().len(), 2);
    assert_eq!(server.calls()[1].parameter("scopes"), Some("https://www.googleapis.com/auth/bigquery"));
}
