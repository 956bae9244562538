//! Tokens: `POST /token` as an OAuth token endpoint for service accounts, and the check of bearer
//! tokens. Signatures are not verified: no key is known here, and the form of the assertion is what
//! a client can get wrong.

use std::collections::HashMap;

use base64::Engine;
use base64::alphabet::URL_SAFE;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use parking_lot::Mutex;
use serde_json::{Value, json};
use weir_plan::Timestamp;

use super::reply::ApiError;

/// The grant of RFC 7523.
const GRANT: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";

/// Longest life of an assertion and of a token, in seconds.
/// Source: <https://developers.google.com/identity/protocols/oauth2/service-account>.
pub(super) const LIFE_SECS: i64 = 3600;

/// RFC 7515 wants no padding; Google takes it from the clients that put it there, such as `yup_oauth2`.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Whom tokens were given to, and until when.
#[derive(Default)]
pub(super) struct Tokens(Mutex<HashMap<String, (String, Timestamp)>>);

impl Tokens {
    /// Checks a token request, a form, and answers with a new token.
    ///
    /// # Errors
    /// OAuth's error code and description.
    pub(super) fn grant(&self, form: &[u8], now: Timestamp) -> Result<Value, (&'static str, String)> {
        let form: HashMap<_, _> = url::form_urlencoded::parse(form).into_owned().collect();
        match form.get("grant_type").map(String::as_str) {
            Some(GRANT) => {}
            other => return Err(("unsupported_grant_type", format!("Invalid grant_type: {other:?}"))),
        }
        let assertion = form.get("assertion").ok_or(("invalid_request", "Missing assertion".to_owned()))?;
        let issuer = issuer(assertion).map_err(|wrong| ("invalid_grant", format!("Invalid JWT: {wrong}")))?;
        let token = self.issue(&issuer, now, LIFE_SECS);
        Ok(json!({"access_token": token, "expires_in": LIFE_SECS - 1, "token_type": "Bearer"}))
    }

    /// A new token for somebody.
    pub(super) fn issue(&self, principal: &str, now: Timestamp, life_secs: i64) -> String {
        let token = format!("ya29.{}", uuid::Uuid::new_v4().simple());
        self.0.lock().insert(token.clone(), (principal.to_owned(), later(now, life_secs)));
        token
    }

    /// Forgets all tokens.
    pub(super) fn revoke(&self) {
        self.0.lock().clear();
    }

    /// Whom a token was given to.
    ///
    /// # Errors
    /// `authError` for a missing, unknown or expired token where one is required.
    pub(super) fn principal(
        &self,
        token: Option<&str>,
        required: bool,
        now: Timestamp,
    ) -> Result<Option<String>, ApiError> {
        let known = token.and_then(|token| self.0.lock().get(token).cloned());
        let known = known.filter(|(_, expires_at)| now < *expires_at).map(|(principal, _)| principal);
        match (known, token) {
            (Some(principal), _) => Ok(Some(principal)),
            (None, _) if !required => Ok(None),
            (None, None) => Err(ApiError::new(
                401,
                "required",
                "Request is missing required authentication credential. Expected OAuth 2 access token",
            )),
            (None, Some(_)) => Err(ApiError::new(
                401,
                "authError",
                "Request had invalid authentication credentials. Expected OAuth 2 access token",
            )),
        }
    }
}

/// So many seconds after `now`.
pub(super) fn later(now: Timestamp, seconds: i64) -> Timestamp {
    Timestamp::saturating(seconds.saturating_mul(1_000_000).saturating_add(now.micros()))
}

/// The token in an `Authorization` header.
pub(super) fn bearer(header: Option<&str>) -> Option<&str> {
    let (scheme, token) = header?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
}

/// The issuer of an RS256 assertion whose claims are complete.
fn issuer(assertion: &str) -> Result<String, String> {
    let parts: Vec<_> = assertion.split('.').collect();
    let [header, claims, signature] = parts[..] else {
        return Err(format!("it has {} parts, not 3", parts.len()));
    };
    let header = decode(header).ok_or("its header is not base64url JSON")?;
    if header["alg"] != "RS256" {
        return Err(format!("its algorithm is {}, not RS256", header["alg"]));
    }
    match BASE64.decode(signature) {
        Ok(signature) if signature.len() >= 256 => {}
        _ => return Err("its signature is not that of an RSA key of 2048 bits or more".to_owned()),
    }
    let claims = decode(claims).ok_or("its claims are not base64url JSON")?;
    let text = |name: &str| {
        let claim = claims[name].as_str().filter(|claim| !claim.is_empty());
        claim.map(str::to_owned).ok_or(format!("it has no {name}"))
    };
    let number = |name: &str| claims[name].as_i64().ok_or(format!("it has no {name}"));
    if !text("aud")?.ends_with("/token") {
        return Err("its audience is not this endpoint".to_owned());
    }
    if text("scope").is_err() && text("target_audience").is_err() {
        return Err("it has no scope".to_owned());
    }
    let life = number("exp")? - number("iat")?;
    if !(1..=LIFE_SECS).contains(&life) {
        return Err(format!("it lives {life} s, not 1 to {LIFE_SECS}"));
    }
    text("iss")
}

/// A part of a JWT.
pub(super) fn decode(part: &str) -> Option<Value> {
    serde_json::from_slice(&BASE64.decode(part).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;

    fn jwt(header: &Value, claims: &Value) -> String {
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        format!("{}.{}.{}", part(header), part(claims), URL_SAFE_NO_PAD.encode([7; 256]))
    }

    fn claims() -> Value {
        json!({"iss": "a@p.iam", "aud": "http://127.0.0.1:1/token", "scope": "bigquery", "iat": 100, "exp": 3700})
    }

    fn now(seconds: i64) -> Timestamp {
        Timestamp::saturating(seconds * 1_000_000)
    }

    fn grant(tokens: &Tokens, grant: &str, assertion: &str) -> Result<Value, (&'static str, String)> {
        let form = url::form_urlencoded::Serializer::new(String::new())
            .append_pair("grant_type", grant)
            .append_pair("assertion", assertion)
            .finish();
        tokens.grant(form.as_bytes(), now(0))
    }

    #[test]
    fn a_sound_assertion_gets_a_token_of_its_issuer() {
        let tokens = Tokens::default();
        let answer = grant(&tokens, GRANT, &jwt(&json!({"alg": "RS256"}), &claims())).unwrap();
        let token = answer["access_token"].as_str().unwrap();
        assert_eq!(tokens.principal(Some(token), true, now(3599)).unwrap().as_deref(), Some("a@p.iam"));
        assert_eq!(tokens.principal(Some(token), true, now(3600)).unwrap_err().reason, "authError");
        assert_eq!(tokens.principal(Some("other"), true, now(0)).unwrap_err().reason, "authError");
        assert_eq!(tokens.principal(None, true, now(0)).unwrap_err().reason, "required");
        assert_eq!(tokens.principal(None, false, now(0)).unwrap(), None);
        tokens.revoke();
        assert_eq!(tokens.principal(Some(token), true, now(0)).unwrap_err().reason, "authError");
    }

    #[test]
    fn a_wrong_assertion_is_refused_with_what_is_wrong() {
        let without = |claim: &str| {
            let mut claims = claims();
            claims.as_object_mut().unwrap().remove(claim);
            jwt(&json!({"alg": "RS256"}), &claims)
        };
        let mut long = claims();
        long["exp"] = 99_999.into();
        let cases = [
            ("a.b".to_owned(), "2 parts"),
            (jwt(&json!({"alg": "none"}), &claims()), "RS256"),
            (without("iss"), "iss"),
            (without("aud"), "aud"),
            (without("scope"), "scope"),
            (without("exp"), "exp"),
            (jwt(&json!({"alg": "RS256"}), &long), "99899 s"),
        ];
        for (assertion, part) in cases {
            let (code, description) = grant(&Tokens::default(), GRANT, &assertion).unwrap_err();
            assert_eq!(code, "invalid_grant");
            assert!(description.contains(part), "{part}: {description}");
        }
        assert_eq!(grant(&Tokens::default(), "password", "").unwrap_err().0, "unsupported_grant_type");
    }
}
