//! Tokens over the wire.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::*;

fn assertion(audience: &str) -> String {
    let part = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let claims = json!({"iss": "weir@p.iam", "aud": audience, "scope": "bigquery", "iat": 100, "exp": 3700});
    format!("{}.{}.{}", part(json!({"alg": "RS256"})), part(claims), URL_SAFE_NO_PAD.encode([1; 256]))
}

#[tokio::test]
async fn a_request_without_a_token_is_refused_where_one_is_required() {
    let rig = Rig::with(FakeConfig { require_token: true, ..FakeConfig::default() }).await;
    let (status, error) = rig.insert("j1", "rows 1").await;
    assert_eq!((status, reason(&error), &error["error"]["status"]), (401, "required", &json!("UNAUTHENTICATED")));
    let url = format!("{}/projects/p/jobs", rig.server.v2_url());
    let insert = |token: &str| rig.http.post(&url).bearer_auth(token).json(&job_body("j1", "rows 1")).send();
    let response = insert("made-up").await.unwrap();
    assert_eq!(response.status(), 401);

    let grant = "urn:ietf:params:oauth:grant-type:jwt-bearer";
    let form = |assertion: &str| {
        url::form_urlencoded::Serializer::new(String::new())
            .append_pair("grant_type", grant)
            .append_pair("assertion", assertion)
            .finish()
    };
    let ask = |assertion: &str| rig.http.post(rig.server.token_url()).body(form(assertion)).send();
    let refused = ask("a.b.c").await.unwrap();
    assert_eq!(refused.status(), 400);
    assert_eq!(refused.json::<Value>().await.unwrap()["error"], "invalid_grant");
    let granted: Value = ask(&assertion(&rig.server.token_url())).await.unwrap().json().await.unwrap();
    assert_eq!(granted["token_type"], "Bearer");

    let response = insert(granted["access_token"].as_str().unwrap()).await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(response.json::<Value>().await.unwrap()["user_email"], "weir@p.iam");
    let principals: Vec<_> = rig.server.calls_of(CallKind::Insert).into_iter().map(|call| call.principal).collect();
    assert_eq!(principals, [None, None, Some("weir@p.iam".to_owned())]);
    assert_eq!(rig.server.jobs_run().len(), 1);
}
