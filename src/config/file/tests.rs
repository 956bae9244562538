use weir_plan::descriptor::History;
use weir_plan::{PartitionUnit, TableId};

use super::*;
use crate::config::Environment;

fn parse(text: &str) -> Result<Config> {
    Config::parse(text, Path::new("/etc/weir"))
}

fn only(text: &str) -> SourceConfig {
    parse(text).unwrap().sources.into_values().next().unwrap()
}

#[test]
fn an_empty_file_is_the_default() {
    let config = parse("").unwrap();
    assert_eq!(config.cache_capacity, 512 << 20);
    assert_eq!(config.deadline, Duration::from_mins(1));
    assert_eq!((config.listen, config.allow_anonymous, config.sources.len()), (None, false, 0));
    assert_eq!(Config::load(None).unwrap(), parse("").unwrap());
}

#[test]
fn every_key_is_read() {
    let config = parse(
        r#"
        listen = "0.0.0.0:80"
        allow_anonymous = true
        deadline = "2m"
        [cache]
        capacity = "1GiB"
        folder = "kept"
        folder_capacity = "2GiB"
        [source.prod]
        kind = "bigquery"
        login = { key_file = "key.json" }
        project = "p"
        location = "EU"
        endpoint = "http://localhost:1"
        storage_endpoint = "http://localhost:2"
        maximum_bytes_billed = "10GiB"
        priority = "batch"
        storage_read_above_rows = 7
        job_timeout = "5m"
        price_per_tib = "5.75 EUR"
        daily_bytes = "1TiB"
        daily_bytes_per_principal = 7
        audit_share = 0.25
        audit_daily_bytes = "1GiB"
        deadline = "3m"
        restrict_to_accessible_datasets = true
        additional_allowed_datasets = ["bigquery-public-data.samples"]
        local = "mozilla"
        local_memory = "2GiB"
        [[source.prod.descriptor]]
        table = "p.d.events"
        time_column = "ts"
        partition = "DAY"
        lag = "30m"
        history = "local"
        [source.local]
        kind = "embedded"
        folder = "/data"
        "#,
    )
    .unwrap();
    assert_eq!(config.listen.as_deref(), Some("0.0.0.0:80"));
    assert!(config.allow_anonymous);
    assert_eq!(config.deadline, Duration::from_mins(2));
    assert_eq!(config.cache_capacity, 1 << 30);
    let kept = FolderSettings { path: "/etc/weir/kept".into(), capacity: 2 << 30 };
    assert_eq!(config.cache_folder, Some(kept));
    assert_eq!(config.sources["local"], SourceConfig::Embedded("/data".into()));
    let expected = BigQueryConfig {
        login: Login::KeyFile("/etc/weir/key.json".into()),
        project: "p".into(),
        data_project: None,
        location: Some("EU".into()),
        endpoint: Some("http://localhost:1".into()),
        storage_endpoint: Some("http://localhost:2".into()),
        maximum_bytes_billed: Some(10 << 30),
        priority: Priority::Batch,
        storage_read_above_rows: Some(7),
        job_timeout: Some(Duration::from_mins(5)),
        price: Price::new(5.75, "EUR").unwrap(),
        budget: Budget {
            daily_bytes: Some(1 << 40),
            daily_bytes_per_principal: Some(7),
            audit_share: Share::new(0.25).unwrap(),
            audit_daily_bytes: Some(1 << 30),
        },
        deadline: Some(Duration::from_mins(3)),
        allowed_datasets: Some(vec!["bigquery-public-data.samples".into()]),
        local: LocalSettings { memory: Some(2 << 30), ..LocalSettings::ready_made() },
        descriptors: vec![SourceDescriptor {
            time_column: Some("ts".into()),
            partition: Some(PartitionUnit::Day),
            lag: Duration::from_mins(30),
            history: History::Local,
            ..SourceDescriptor::new(TableId::new("p", "d", "events"))
        }],
    };
    assert_eq!(config.sources["prod"], SourceConfig::BigQuery(Box::new(expected)));
}

#[test]
fn the_environment_beats_the_caches_folder() {
    let check = |file: &str, folder: Option<&str>, capacity: Option<&str>, expected: Option<(&str, u64)>| {
        let mut config = parse(file).unwrap();
        let environment = Environment {
            cache_folder: folder.map(PathBuf::from),
            cache_folder_capacity: capacity.map(str::to_owned),
            ..Environment::default()
        };
        config.take_cache_folder(&environment).unwrap();
        let expected = expected.map(|(path, capacity)| FolderSettings { path: path.into(), capacity });
        assert_eq!(config.cache_folder, expected, "{file} {folder:?} {capacity:?}");
    };
    let file = "[cache]\nfolder = \"/a\"\nfolder_capacity = 7";
    check("", None, None, None);
    check("", None, Some("1KiB"), None);
    check("", Some("/b"), None, Some(("/b", FolderSettings::CAPACITY)));
    check("[cache]\nfolder = \"/a\"", None, None, Some(("/a", FolderSettings::CAPACITY)));
    check(file, None, Some("1KiB"), Some(("/a", 1024)));
    check(file, Some("/b"), None, Some(("/b", 7)));
    let environment = Environment { cache_folder_capacity: Some("lots".into()), ..Environment::default() };
    let mut config = parse(file).unwrap();
    let error = config.take_cache_folder(&environment).unwrap_err();
    assert!(error.message().contains("GF_PLUGIN_CACHE_FOLDER_CAPACITY: \"lots\""), "{error}");
    assert_eq!(config.cache_folder, None);
}

#[test]
fn logins_are_names_files_or_fields() {
    let check = |login: &str, expected: Login| {
        let source = only(&format!("[source.a]\nkind = \"bigquery\"\nproject = \"p\"\n{login}"));
        let SourceConfig::BigQuery(config) = source else { panic!("{source:?}") };
        assert_eq!(config.login, expected, "{login}");
    };
    check("", Login::ApplicationDefault);
    check("login = \"application-default\"", Login::ApplicationDefault);
    check("login = \"anonymous\"", Login::Anonymous);
    check("login = { key_file = \"/k.json\" }", Login::KeyFile("/k.json".into()));
    let account = Login::ServiceAccount {
        client_email: "a@b".into(),
        private_key: Secret("PEM".into()),
        token_uri: TOKEN_URI.into(),
    };
    let key = "client_email = \"a@b\"\nprivate_key = \"PEM\"";
    check(&format!("[source.a.login]\n{key}"), account.clone());
    let impersonated = |login: Login, endpoint: Option<&str>| Login::Impersonated {
        login: Box::new(login),
        service_account: "c@d".into(),
        endpoint: endpoint.map(str::to_owned),
    };
    check("login = { impersonate = \"c@d\" }", impersonated(Login::ApplicationDefault, None));
    let endpoint = "[source.a.login]\nimpersonate = \"c@d\"\nendpoint = \"http://localhost:1\"";
    let expected = impersonated(account, Some("http://localhost:1"));
    check(&format!("{endpoint}\n[source.a.login.with]\n{key}"), expected);
}

#[test]
fn prices_are_numbers_of_dollars_or_have_a_currency() {
    let check = |price: &str, expected: Price| {
        let source = only(&format!("[source.a]\nkind = \"bigquery\"\nproject = \"p\"\n{price}"));
        let SourceConfig::BigQuery(config) = source else { panic!("{source:?}") };
        assert_eq!(config.price, expected, "{price}");
    };
    check("", Price::default());
    check("price_per_tib = 7", Price::new(7.0, "USD").unwrap());
    check("price_per_tib = 7.5", Price::new(7.5, "USD").unwrap());
    check("price_per_tib = \"8 CHF\"", Price::new(8.0, "CHF").unwrap());
}

#[test]
fn mistakes_are_named_with_their_place() {
    const BIGQUERY: &str = "[source.a]\nkind = \"bigquery\"\nproject = \"p\"\n";
    let check = |text: &str, expected: &[&str]| {
        let error = parse(text).unwrap_err();
        for part in expected {
            assert!(error.message().contains(part), "{text}: {error}");
        }
    };
    check("lisen = \"x\"", &["line 1", "unknown field `lisen`", "`listen`"]);
    check("\n[cache]\nsize = 1", &["line 3", "unknown field `size`", "`capacity`"]);
    check("listen = ", &["line 1"]);
    check("deadline = \"soon\"", &["deadline: \"soon\""]);
    check("deadline = \"2h\"", &["deadline: \"2h\"", "at most 1h"]);
    check(&format!("{BIGQUERY}deadline = \"2h\""), &["[source.a]: deadline: \"2h\""]);
    check(&format!("{BIGQUERY}additional_allowed_datasets = [\"d\"]"), &["restrict_to_accessible_datasets"]);
    check(&format!("{BIGQUERY}login = {{ impersonate = \"a\", with = \"me\" }}"), &["login: with: give"]);
    check("[cache]\ncapacity = \"lots\"", &["cache.capacity: \"lots\""]);
    check("[cache]\ncapacity = -1", &["cache.capacity: "]);
    check("[cache]\nfolder = \"x\"\nfolder_capacity = \"lots\"", &["cache.folder_capacity: \"lots\""]);
    check("[cache]\nfolder_capacity = 1", &["cache.folder_capacity", "without cache.folder"]);
    check("[source.a]\nproject = \"p\"", &["[source.a]: kind is missing"]);
    check("[source.a]\nkind = \"postgres\"", &["[source.a]: kind \"postgres\""]);
    check("[source.a]\nkind = \"bigquery\"", &["[source.a]: ", "missing field `project`"]);
    check("[source.a]\nkind = \"embedded\"\npath = \"x\"", &["[source.a]: ", "unknown field `path`", "`folder`"]);
    check(&format!("{BIGQUERY}projcet = \"x\""), &["[source.a]: ", "unknown field `projcet`"]);
    check(&format!("{BIGQUERY}login = \"me\""), &["[source.a]: login: give"]);
    check(&format!("{BIGQUERY}login = {{ client_email = \"a\" }}"), &["login: ", "missing field `private_key`"]);
    check(&format!("{BIGQUERY}audit_share = 2.0"), &["audit_share: 2 is not a share"]);
    check(&format!("{BIGQUERY}daily_bytes = \"lots\""), &["daily_bytes: \"lots\""]);
    check(&format!("{BIGQUERY}priority = \"high\""), &["priority \"high\""]);
    check(&format!("{BIGQUERY}storage_read_above_rows = \"x\""), &["storage_read_above_rows takes"]);
    check(&format!("{BIGQUERY}price_per_tib = \"cheap\""), &["price_per_tib: \"cheap\" is not a price"]);
    let descriptor = |keys: &str| format!("{BIGQUERY}[[source.a.descriptor]]\n{keys}");
    check(&descriptor("table = \"d.t\""), &["[source.a]: ", "table \"d.t\" is not of the form"]);
    check(&descriptor("table = \"p.d.t\"\nlga = \"1m\""), &["[source.a]: ", "unknown field `lga`"]);
    let flip = "table = \"p.d.t\"\ntime_column = \"t\"\nflip = { days = 2, comparison = \"by-date\" }";
    check(&descriptor(flip), &["[source.a]: descriptor of p.d.t: a flip needs a daily_table"]);
    check(&format!("{BIGQUERY}price_per_tib = -1"), &["price_per_tib: -1 is not a price"]);
}

#[test]
fn a_message_never_shows_a_line_that_may_hold_a_key() {
    for text in [
        "privat_key = \"s3cret\"",
        "[source.a]\nkind = \"bigquery\"\nproject = \"p\"\nlogin = { client_email = \"a\", privat_key = \"s3cret\" }",
        "[source.a]\nkind = \"bigquery\"\nproject = \"p\"\nlogin = { client_email = \"a\", private_key = \"s3cret\"",
        "[source.a]\nprivate_key = \"s3cret",
    ] {
        let error = parse(text).unwrap_err();
        assert!(!format!("{error:?}").contains("s3cret"), "{error:?}");
    }
    let config = parse(
        "[source.a]\nkind = \"bigquery\"\nproject = \"p\"\nlogin = { client_email = \"a\", private_key = \"s3cret\" }",
    );
    assert!(!format!("{:?}", config.unwrap()).contains("s3cret"));
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let error = Config::load(Some(Path::new("/nowhere/weir.toml"))).unwrap_err();
    assert_eq!(error.kind(), Kind::NotFound);
    assert!(error.message().contains("/nowhere/weir.toml"), "{error}");
}
