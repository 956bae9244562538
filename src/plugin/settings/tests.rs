//! Settings as they are provisioned, and what is wrong with others.

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
        "serviceAccountToImpersonate": "unused@p.iam.gserviceaccount.com",
        "restrictToAccessibleDatasets": true,
        "additionalAllowedDatasets": "bigquery-public-data.samples, sales,",
        "queryTimeout": 120,
        "dailyBytes": "1TiB",
        "dailyBytesPerPrincipal": 1000,
        "auditShare": 0.5,
        "auditDailyBytes": "2GiB",
        "sendUsageData": true,
    });
    let config = read(&json, &[("privateKey", PEM)]).unwrap();
    let expected = BigQueryConfig {
        login: Login::ServiceAccount {
            client_email: "grafana@p.iam.gserviceaccount.com".into(),
            private_key: Secret(PEM.into()),
            token_uri: "https://oauth2.googleapis.com/token".into(),
        },
        project: "p".into(),
        data_project: None,
        location: Some("EU".into()),
        endpoint: None,
        storage_endpoint: None,
        maximum_bytes_billed: Some(1000),
        priority: Priority::Batch,
        storage_read_above_rows: Some(BigQueryConfig::STORAGE_READ_ABOVE_ROWS),
        job_timeout: None,
        deadline: Some(Duration::from_mins(2)),
        allowed_datasets: Some(vec!["bigquery-public-data.samples".into(), "sales".into()]),
        price: Price::default(),
        descriptors: vec![],
        local: LocalSettings::default(),
        budget: Budget {
            daily_bytes: Some(1 << 40),
            daily_bytes_per_principal: Some(1000),
            audit_share: Share::new(0.5).unwrap(),
            audit_daily_bytes: Some(2 << 30),
        },
    };
    assert_eq!(config, expected);
}

#[test]
fn descriptors_are_an_array_or_its_text() {
    let described = |value: Value| read(&with(jwt(), "descriptors", value), &[("privateKey", PEM)]);
    let array = json!([{"table": "p.d.t", "time_column": "ts", "lag": "1h"}]);
    let expected = SourceDescriptor {
        time_column: Some("ts".into()),
        lag: Duration::from_hours(1),
        ..SourceDescriptor::new("p.d.t".parse().unwrap())
    };
    for value in [array.clone(), array.to_string().into()] {
        assert_eq!(described(value).unwrap().descriptors, std::slice::from_ref(&expected));
    }
    assert!(described(json!(" ")).unwrap().descriptors.is_empty());
    for (value, part) in [
        (json!([{"table": "t"}]), "not of the form project.dataset.table"),
        (json!({}), "jsonData.descriptors: "),
        (json!("["), "jsonData.descriptors: "),
        (json!([{"table": "p.d.t", "flip": {"days": 1, "comparison": "by-date"}}]), "a flip needs a daily_table"),
    ] {
        let error = described(value.clone()).unwrap_err();
        assert!(error.message().contains(part), "{value}: {error}");
    }
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
    check(json!({"authenticationType": "forwardOAuthIdentity"}), "lack jsonData.defaultProject");
    check(json!({"authenticationType": "workloadIdentityFederation"}), "lack jsonData.privateKeyPath");
    check(with(jwt(), "MaxBytesBilled", json!("lots")), "jsonData.MaxBytesBilled");
    check(with(jwt(), "dailyBytes", json!("lots")), "jsonData.dailyBytes: \"lots\" is not a number of bytes");
    check(with(jwt(), "auditShare", json!("half")), "jsonData.auditShare: NaN is not a share");
    check(with(jwt(), "queryPriority", json!("high")), "jsonData.queryPriority");
    check(with(jwt(), "pricePerTiB", json!(-1)), "jsonData.pricePerTiB: -1 is not a price");
    check(with(jwt(), "clientEmail", json!(7)), "jsonData.clientEmail is a number");
    check(with(jwt(), "usingImpersonation", json!(true)), "lack jsonData.serviceAccountToImpersonate");
    check(with(jwt(), "usingImpersonation", json!("yes")), "jsonData.usingImpersonation is a text");
    check(with(jwt(), "authenticationType", json!("password")), "forwardOAuthIdentity");
    check(with(jwt(), "restrictToAccessibleDatasets", json!(1)), "jsonData.restrictToAccessibleDatasets");
    check(with(jwt(), "additionalAllowedDatasets", json!([])), "jsonData.additionalAllowedDatasets");
    check(with(jwt(), "queryTimeout", json!("soon")), "jsonData.queryTimeout: \"soon\"");
    check(with(jwt(), "queryTimeout", json!(3601)), "jsonData.queryTimeout: \"3601s\" is too long");
    check(with(jwt(), "queryTimeout", json!(-1)), "jsonData.queryTimeout: -1");
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
    assert_eq!((config.project.as_str(), config.data_project.as_deref()), ("paid", Some("p")));
}

#[test]
fn data_sources_share_answers_only_where_both_may_give_them() {
    let scope = |changes: &[(&str, Value)]| {
        let json = changes.iter().fold(jwt(), |json, (key, value)| with(json, key, value.clone()));
        read(&json, &[("privateKey", PEM)]).unwrap().scope()
    };
    let plain = scope(&[]);
    let restricted = ("restrictToAccessibleDatasets", json!(true));
    let additional = |names: &str| ("additionalAllowedDatasets", json!(names));
    assert_eq!(scope(&[("queryTimeout", json!(5)), additional("unused.while_nothing_is_restricted")]), plain);
    let scopes = [
        plain,
        scope(std::slice::from_ref(&restricted)),
        scope(&[restricted.clone(), additional("a.b")]),
        scope(&[restricted, additional("a.c")]),
        scope(&[("flatRateProject", json!("paid"))]),
    ];
    for (at, one) in scopes.iter().enumerate() {
        assert!(!scopes[at + 1..].contains(one), "{one:?}");
    }
}

#[test]
fn callers_wait_as_long_as_the_settings_say() {
    let check = |value: Value, expected: Option<u64>| {
        let config = read(&with(jwt(), "queryTimeout", value.clone()), &[("privateKey", PEM)]).unwrap();
        assert_eq!(config.deadline, expected.map(Duration::from_secs), "{value}");
    };
    check(json!(null), None);
    check(json!(""), None);
    check(json!(0), None);
    check(json!(90), Some(90));
    check(json!("90"), Some(90));
    check(json!("90s"), Some(90));
    check(json!("5m"), Some(300));
    check(json!("1h"), Some(3600));
}

#[test]
fn logins_are_those_of_the_official_plugin() {
    let check = |json: Value, expected: Login| {
        assert_eq!(read(&json, &[("privateKey", PEM)]).unwrap().login, expected, "{json}");
    };
    let key = Login::ServiceAccount {
        client_email: "grafana@p.iam.gserviceaccount.com".into(),
        private_key: Secret(PEM.into()),
        token_uri: "https://oauth2.googleapis.com/token".into(),
    };
    let impersonated = |login: &Login, endpoint: Option<&str>| Login::Impersonated {
        login: Box::new(login.clone()),
        service_account: "bq@p.iam.gserviceaccount.com".into(),
        endpoint: endpoint.map(str::to_owned),
    };
    let impersonating = |json: Value| {
        let json = with(json, "usingImpersonation", json!(true));
        with(json, "serviceAccountToImpersonate", json!("bq@p.iam.gserviceaccount.com"))
    };
    let typed = |name: &str| json!({"authenticationType": name, "defaultProject": "p"});
    check(jwt(), key.clone());
    check(impersonating(jwt()), impersonated(&key, None));
    check(typed("gce"), Login::ApplicationDefault);
    check(json!({"authenticationType": "gce"}), Login::ApplicationDefault);
    let gce = impersonating(typed("gce"));
    check(gce.clone(), impersonated(&Login::ApplicationDefault, None));
    let elsewhere = with(gce, "iamCredentialsEndpoint", json!("http://127.0.0.1:1"));
    check(elsewhere, impersonated(&Login::ApplicationDefault, Some("http://127.0.0.1:1")));
    check(typed("forwardOAuthIdentity"), Login::Forwarded);
    check(with(typed("forwardOAuthIdentity"), "oauthPassThru", json!(true)), Login::Forwarded);
    check(with(jwt(), "oauthPassThru", json!(true)), Login::Forwarded);
    let federation = typed("workloadIdentityFederation");
    let file = with(federation.clone(), "privateKeyPath", json!("/etc/federation.json"));
    check(file, Login::KeyFile("/etc/federation.json".into()));
    let provider = "projects/1/locations/global/workloadIdentityPools/w/providers/g";
    let exchanged = Login::Exchanged { provider: provider.into(), token_uri: None };
    let federation = with(federation, "workloadIdentityPoolProvider", json!(provider));
    check(federation.clone(), exchanged.clone());
    let acting = with(federation, "wifServiceAccountEmail", json!("bq@p.iam.gserviceaccount.com"));
    check(acting, impersonated(&exchanged, None));
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
