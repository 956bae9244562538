//! Tokens for tokens: the security token service of workload identity federation, and IAM's
//! impersonation. As in [`super::login`], form and claims are checked, and no signature.

use std::collections::HashMap;

use axum::body::Bytes;
use axum::extract::Path;
use axum::response::Response;
use serde::Deserialize;
use serde_json::{Value, json};
use weir_plan::Timestamp;

use super::catalog::oauth;
use super::log::CallKind;
use super::login::{LIFE_SECS, Tokens, decode, later};
use super::reply::{ApiError, Reply};
use super::rest::Asked;

/// The grant of RFC 8693.
const GRANT: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
const SUBJECT_TYPES: [&str; 2] = ["urn:ietf:params:oauth:token-type:jwt", "urn:ietf:params:oauth:token-type:id_token"];

pub(super) async fn exchange(asked: Asked, body: Bytes) -> Response {
    asked
        .answer(
            CallKind::Exchange,
            |_| {},
            |admitted| async move { Ok(oauth(admitted.shared.tokens.exchange(&body, admitted.shared.clock.now()))) },
        )
        .await
}

pub(super) async fn impersonate(asked: Asked, Path(verb): Path<String>, body: Bytes) -> Response {
    asked
        .answer(
            CallKind::Impersonate,
            |_| {},
            |admitted| async move {
                let account = verb.strip_suffix(":generateAccessToken");
                let account = account.ok_or_else(|| ApiError::not_found(format!("method {verb}")))?;
                let may =
                    |(principal, target): &(String, String)| *principal == admitted.principal && target == account;
                if !admitted.shared.config.token_creators.iter().any(may) {
                    return Err(ApiError::new(
                        403,
                        "forbidden",
                        "Permission 'iam.serviceAccounts.getAccessToken' denied on resource (or it may not exist).",
                    ));
                }
                let life_secs = life(&body)?;
                let now = admitted.shared.clock.now();
                let token = admitted.shared.tokens.issue(account, now, life_secs);
                Ok(Reply::new(json!({"accessToken": token, "expireTime": later(now, life_secs).to_string()})))
            },
        )
        .await
}

#[derive(Deserialize)]
struct Wish {
    scope: Vec<String>,
    lifetime: Option<String>,
}

/// The life that a request for a token asks for, in seconds.
fn life(body: &[u8]) -> Result<i64, ApiError> {
    let wish: Wish =
        serde_json::from_slice(body).map_err(|error| ApiError::invalid(format!("Invalid JSON: {error}")))?;
    if wish.scope.is_empty() {
        return Err(ApiError::invalid("scope is required"));
    }
    let life = wish.lifetime.as_deref().unwrap_or("3600s").strip_suffix('s').and_then(|life| life.parse().ok());
    life.filter(|life| (1..=LIFE_SECS).contains(life)).ok_or_else(|| ApiError::invalid("lifetime is not 1s to 3600s"))
}

impl Tokens {
    /// Exchanges the subject token in a form for a token of its subject.
    ///
    /// # Errors
    /// OAuth's error code and description.
    fn exchange(&self, form: &[u8], now: Timestamp) -> Result<Value, (&'static str, String)> {
        let form: HashMap<_, _> = url::form_urlencoded::parse(form).into_owned().collect();
        let field = |name: &str| form.get(name).map(String::as_str).unwrap_or_default();
        let wrong = |what: &str| Err(("invalid_request", format!("Invalid value for \"{what}\".")));
        match () {
            () if field("grant_type") != GRANT => return wrong("grant_type"),
            () if !field("audience").starts_with("//iam.googleapis.com/") => return wrong("audience"),
            () if field("requested_token_type") != ACCESS_TOKEN => return wrong("requested_token_type"),
            () if field("scope").is_empty() => return wrong("scope"),
            () if !SUBJECT_TYPES.contains(&field("subject_token_type")) => return wrong("subject_token_type"),
            () => {}
        }
        let subject = subject(field("subject_token"), now).map_err(|wrong| ("invalid_grant", wrong))?;
        let token = self.issue(&subject, now, LIFE_SECS);
        Ok(json!({
            "access_token": token,
            "issued_token_type": ACCESS_TOKEN,
            "token_type": "Bearer",
            "expires_in": LIFE_SECS,
        }))
    }
}

/// The subject of a JWT that has not expired.
fn subject(token: &str, now: Timestamp) -> Result<String, String> {
    let parts: Vec<_> = token.split('.').collect();
    let [_, claims, _] = parts[..] else { return Err("Error connecting to the given credential's issuer.".to_owned()) };
    let claims = decode(claims).ok_or("The claims of the ID Token are not JSON.")?;
    let expires = claims["exp"].as_i64().ok_or("The ID Token has no exp.")?;
    if expires <= now.seconds() {
        return Err(format!("ID Token issued at {} is stale to sign-in.", claims["iat"]));
    }
    claims["sub"].as_str().map(str::to_owned).ok_or_else(|| "The ID Token has no sub.".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;

    fn token(claims: &Value) -> String {
        format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(claims.to_string()))
    }

    fn exchange(changes: &[(&str, &str)]) -> Result<Value, (&'static str, String)> {
        let sound = token(&json!({"sub": "somebody", "exp": 100}));
        let mut form = HashMap::from([
            ("grant_type", GRANT),
            ("audience", "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/w/providers/g"),
            ("scope", "https://www.googleapis.com/auth/bigquery"),
            ("requested_token_type", ACCESS_TOKEN),
            ("subject_token_type", SUBJECT_TYPES[0]),
            ("subject_token", &sound),
        ]);
        form.extend(changes.iter().copied());
        let form = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        Tokens::default().exchange(form.as_bytes(), Timestamp::saturating(50_000_000))
    }

    #[test]
    fn a_sound_subject_token_is_exchanged_and_others_are_refused() {
        assert_eq!(exchange(&[]).unwrap()["token_type"], "Bearer");
        let check = |field: &str, value: &str, code: &str, part: &str| {
            let (error, description) = exchange(&[(field, value)]).unwrap_err();
            assert_eq!(error, code, "{field}");
            assert!(description.contains(part), "{field}: {description}");
        };
        for field in ["grant_type", "audience", "scope", "requested_token_type", "subject_token_type"] {
            check(field, "", "invalid_request", field);
        }
        check("subject_token", "opaque", "invalid_grant", "issuer");
        check("subject_token", &token(&json!({"sub": "s"})), "invalid_grant", "exp");
        check("subject_token", &token(&json!({"exp": 100})), "invalid_grant", "sub");
        check("subject_token", &token(&json!({"sub": "s", "exp": 50})), "invalid_grant", "stale");
    }

    #[test]
    fn a_life_is_an_hour_at_most() {
        assert_eq!(life(br#"{"scope": ["a"]}"#).unwrap(), 3600);
        assert_eq!(life(br#"{"scope": ["a"], "lifetime": "60s"}"#).unwrap(), 60);
        for wrong in [
            r#"{"scope": []}"#,
            r#"{"scope": ["a"], "lifetime": "3601s"}"#,
            "{",
            r#"{"scope": ["a"], "lifetime": "60"}"#,
        ] {
            assert_eq!(life(wrong.as_bytes()).unwrap_err().http, 400, "{wrong}");
        }
    }
}
