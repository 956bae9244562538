//! A data source's settings, with the keys of the official and of doitintl's plugin, as a
//! [`BigQueryConfig`]. Errors name keys, never the values of secrets.

use std::collections::HashMap;
use std::path::Path;

use serde_json::{Map, Value};
use weir_plan::{Error, Price, Result};

use super::keys::Keys;
use crate::config::{BigQueryConfig, Login, Secret};
use crate::source::Priority;

/// `BigQuery`'s own endpoint, which needs no mention.
const GOOGLE: &str = "https://bigquery.googleapis.com";

/// Reads `jsonData` and the decrypted `secureJsonData`.
///
/// # Errors
/// `InvalidQuery` naming the key that is missing, mistyped, or asks for what is not supported.
pub(super) fn big_query(json: &[u8], secure: &HashMap<String, String>) -> Result<BigQueryConfig> {
    let object = object(json)?;
    let keys = Keys::new(&object, "jsonData.");
    refuse_impersonation(keys)?;
    let endpoint = keys.text("serviceEndpoint")?.map(base_url).filter(|url| url != GOOGLE);
    let storage_endpoint = keys.text("storageEndpoint")?.map(base_url);
    let project = keys.text("flatRateProject")?.or(keys.text("defaultProject")?);
    let login = login(keys, secure, endpoint.is_some(), project.is_some())?;
    // A stand-in for the REST API alone has no Storage Read API beside it.
    let reads_storage = endpoint.is_none() || storage_endpoint.is_some();
    Ok(BigQueryConfig {
        login,
        project: project.ok_or_else(|| missing(&["jsonData.defaultProject"]))?.to_owned(),
        location: keys.text("processingLocation")?.map(str::to_owned),
        endpoint,
        storage_endpoint,
        maximum_bytes_billed: keys.natural("MaxBytesBilled")?.filter(|bytes| *bytes > 0),
        priority: priority(keys.text("queryPriority")?)?,
        storage_read_above_rows: reads_storage.then_some(BigQueryConfig::STORAGE_READ_ABOVE_ROWS),
        job_timeout: None,
        price: price(keys.value("pricePerTiB"))?,
    })
}

fn object(json: &[u8]) -> Result<Map<String, Value>> {
    if json.is_empty() {
        return Ok(Map::new());
    }
    match serde_json::from_slice(json) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(Value::Null) => Ok(Map::new()),
        Ok(_) => Err(Error::invalid("the data source's jsonData is not a JSON object")),
        Err(error) => Err(Error::invalid(format!("the data source's jsonData is not JSON: {error}"))),
    }
}

/// Running queries as somebody else than the settings say would be worse than not running them.
fn refuse_impersonation(keys: Keys<'_>) -> Result<()> {
    if keys.flag("usingImpersonation")? {
        return Err(Error::invalid(
            "jsonData.usingImpersonation: impersonation is not supported; log in as the account itself",
        ));
    }
    Ok(())
}

fn login(keys: Keys<'_>, secure: &HashMap<String, String>, has_endpoint: bool, has_project: bool) -> Result<Login> {
    match keys.text("authenticationType")?.unwrap_or("jwt") {
        "jwt" => service_account(keys, secure, has_project),
        "gce" => Ok(Login::ApplicationDefault),
        "none" if has_endpoint => Ok(Login::Anonymous),
        "none" => Err(Error::invalid(
            "jsonData.authenticationType: \"none\" is for a local stand-in; give jsonData.serviceEndpoint",
        )),
        other => Err(Error::invalid(format!(
            "jsonData.authenticationType: {other:?} is not supported; give jwt, gce, or none for a local stand-in"
        ))),
    }
}

fn service_account(keys: Keys<'_>, secure: &HashMap<String, String>, has_project: bool) -> Result<Login> {
    let key = match secure.get("privateKey").filter(|key| !key.trim().is_empty()) {
        Some(key) => Some(Secret(key.clone())),
        None => match keys.text("privateKeyPath")?.map(Path::new) {
            Some(path) if path.extension().is_some_and(|end| end.eq_ignore_ascii_case("json")) => {
                return Ok(Login::KeyFile(path.to_owned()));
            }
            Some(path) => Some(Secret::read(path)?),
            None => None,
        },
    };
    let (email, token_uri) = (keys.text("clientEmail")?, keys.text("tokenUri")?);
    let lacking: Vec<_> = [
        ("jsonData.clientEmail", email.is_none()),
        ("secureJsonData.privateKey (or jsonData.privateKeyPath)", key.is_none()),
        ("jsonData.tokenUri", token_uri.is_none()),
        ("jsonData.defaultProject", !has_project),
    ]
    .into_iter()
    .filter_map(|(name, lacks)| lacks.then_some(name))
    .collect();
    match (email, key, token_uri) {
        (Some(email), Some(private_key), Some(token_uri)) if has_project => {
            Ok(Login::ServiceAccount { client_email: email.into(), private_key, token_uri: token_uri.into() })
        }
        _ => Err(missing(&lacking)),
    }
}

fn missing(keys: &[&str]) -> Error {
    Error::invalid(format!("the data source's settings lack {}", keys.join(", ")))
}

/// A number of dollars, or a text with a currency; an empty text is what a form leaves.
fn price(value: Option<&Value>) -> Result<Price> {
    let price = match value {
        None => return Ok(Price::default()),
        Some(Value::String(text)) if text.trim().is_empty() => return Ok(Price::default()),
        Some(Value::String(text)) => text.parse(),
        Some(other) => other.to_string().parse(),
    };
    price.map_err(|error: Error| error.context("jsonData.pricePerTiB"))
}

fn priority(text: Option<&str>) -> Result<Priority> {
    match text.map(str::to_ascii_uppercase).as_deref() {
        None | Some("INTERACTIVE") => Ok(Priority::Interactive),
        Some("BATCH") => Ok(Priority::Batch),
        Some(other) => {
            Err(Error::invalid(format!("jsonData.queryPriority: {other:?} is neither INTERACTIVE nor BATCH")))
        }
    }
}

/// The base URL of an endpoint that may be given with the path of the API's version.
fn base_url(endpoint: &str) -> String {
    let endpoint = endpoint.trim_end_matches('/');
    endpoint.strip_suffix("/bigquery/v2").unwrap_or(endpoint).trim_end_matches('/').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const PEM: &str = "-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n";

    fn read(json: &Value, secure: &[(&str, &str)]) -> Result<BigQueryConfig> {
        let secure = secure.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        big_query(json.to_string().as_bytes(), &secure)
    }

    fn jwt() -> Value {
        json!({
            "clientEmail": "grafana@p.iam.gserviceaccount.com",
            "tokenUri": "https://oauth2.googleapis.com/token",
            "defaultProject": "p",
        })
    }

    fn with(mut json: Value, key: &str, value: Value) -> Value {
        json[key] = value;
        json
    }

    #[test]
    fn the_official_keys_are_read() {
        let json = json!({
            "authenticationType": "jwt",
            "clientEmail": "grafana@p.iam.gserviceaccount.com",
            "defaultProject": "p",
            "tokenUri": "https://oauth2.googleapis.com/token",
            "processingLocation": "EU",
            "serviceEndpoint": "https://bigquery.googleapis.com/bigquery/v2/",
            "MaxBytesBilled": "1000",
            "queryPriority": "batch",
            "oauthPassThru": false,
            "usingImpersonation": false,
        });
        let config = read(&json, &[("privateKey", PEM)]).unwrap();
        let expected = BigQueryConfig {
            login: Login::ServiceAccount {
                client_email: "grafana@p.iam.gserviceaccount.com".into(),
                private_key: Secret(PEM.into()),
                token_uri: "https://oauth2.googleapis.com/token".into(),
            },
            project: "p".into(),
            location: Some("EU".into()),
            endpoint: None,
            storage_endpoint: None,
            maximum_bytes_billed: Some(1000),
            priority: Priority::Batch,
            storage_read_above_rows: Some(BigQueryConfig::STORAGE_READ_ABOVE_ROWS),
            job_timeout: None,
            price: Price::default(),
        };
        assert_eq!(config, expected);
    }

    #[test]
    fn bytes_are_limited_by_a_number_or_a_text_and_not_by_zero() {
        let check = |value: Value, expected: Option<u64>| {
            let config = read(&with(jwt(), "MaxBytesBilled", value.clone()), &[("privateKey", PEM)]).unwrap();
            assert_eq!(config.maximum_bytes_billed, expected, "{value}");
        };
        check(json!(5), Some(5));
        check(json!("5"), Some(5));
        check(json!(0), None);
        check(json!(""), None);
        check(json!(null), None);
    }

    #[test]
    fn the_price_is_a_number_or_a_text_with_a_currency() {
        let check = |value: Value, expected: Price| {
            let config = read(&with(jwt(), "pricePerTiB", value.clone()), &[("privateKey", PEM)]).unwrap();
            assert_eq!(config.price, expected, "{value}");
        };
        check(json!(null), Price::default());
        check(json!(""), Price::default());
        check(json!(5.5), Price::new(5.5, "USD").unwrap());
        check(json!("5.75 EUR"), Price::new(5.75, "EUR").unwrap());
    }

    #[test]
    fn errors_say_which_key_is_at_fault() {
        let check = |json: Value, expected: &str| {
            let error = read(&json, &[("privateKey", PEM)]).unwrap_err();
            assert!(error.message().contains(expected), "{json}: {error}");
            assert!(!format!("{error:?}").contains("c2VjcmV0"));
        };
        check(json!({}), "lack jsonData.clientEmail, jsonData.tokenUri, jsonData.defaultProject");
        check(with(jwt(), "tokenUri", json!("")), "lack jsonData.tokenUri");
        check(with(jwt(), "defaultProject", json!(null)), "lack jsonData.defaultProject");
        check(json!({"authenticationType": "gce"}), "lack jsonData.defaultProject");
        check(with(jwt(), "MaxBytesBilled", json!("lots")), "jsonData.MaxBytesBilled");
        check(with(jwt(), "queryPriority", json!("high")), "jsonData.queryPriority");
        check(with(jwt(), "pricePerTiB", json!(-1)), "jsonData.pricePerTiB: -1 is not a price");
        check(with(jwt(), "clientEmail", json!(7)), "jsonData.clientEmail is a number");
        check(with(jwt(), "usingImpersonation", json!(true)), "jsonData.usingImpersonation");
        check(with(jwt(), "authenticationType", json!("forwardOAuthIdentity")), "forwardOAuthIdentity");
        check(with(jwt(), "authenticationType", json!("none")), "jsonData.serviceEndpoint");
        assert!(read(&jwt(), &[]).unwrap_err().message().contains("lack secureJsonData.privateKey"));
        assert!(big_query(b"[]", &HashMap::new()).is_err());
        assert!(big_query(b"{", &HashMap::new()).is_err());
    }

    #[test]
    fn a_local_stand_in_needs_no_login() {
        let json = json!({
            "authenticationType": "none",
            "serviceEndpoint": "http://127.0.0.1:9050/bigquery/v2/",
            "defaultProject": "p",
        });
        let config = read(&json, &[]).unwrap();
        assert_eq!(config.login, Login::Anonymous);
        assert_eq!(config.endpoint.as_deref(), Some("http://127.0.0.1:9050"));
        assert_eq!(config.storage_read_above_rows, None);
        let config = read(&with(json, "storageEndpoint", json!("http://127.0.0.1:9060/")), &[]).unwrap();
        assert_eq!(config.storage_endpoint.as_deref(), Some("http://127.0.0.1:9060"));
        assert_eq!(config.storage_read_above_rows, Some(BigQueryConfig::STORAGE_READ_ABOVE_ROWS));
    }

    #[test]
    fn jobs_run_in_the_flat_rate_project_where_there_is_one() {
        let config = read(&with(jwt(), "flatRateProject", json!("paid")), &[("privateKey", PEM)]).unwrap();
        assert_eq!(config.project, "paid");
    }

    #[test]
    fn a_key_may_lie_in_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key.pem");
        std::fs::write(&path, PEM).unwrap();
        let config = read(&with(jwt(), "privateKeyPath", json!(path)), &[]).unwrap();
        assert!(matches!(config.login, Login::ServiceAccount { private_key: Secret(key), .. } if key == PEM));
        let error = read(&with(jwt(), "privateKeyPath", json!("/nowhere/key.pem")), &[]).unwrap_err();
        assert!(error.message().contains("/nowhere/key.pem"), "{error}");
        let json = json!({"privateKeyPath": "/etc/key.json", "defaultProject": "p"});
        assert_eq!(read(&json, &[]).unwrap().login, Login::KeyFile("/etc/key.json".into()));
    }

    #[test]
    fn secrets_do_not_show_in_debug_output() {
        let config = read(&jwt(), &[("privateKey", PEM)]).unwrap();
        assert!(!format!("{config:?}").contains("c2VjcmV0"));
    }
}
