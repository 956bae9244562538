//! The configuration file, in TOML. What it does not know it refuses by name.
//!
//! Messages give line numbers and never the line itself: it may hold a key.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use toml::{Table, Value};
use weir_plan::{Error, Kind, LocalRelation, Price, Query, Result, SourceDescriptor};

use super::{BigQueryConfig, Config, Login, Secret, SourceConfig, parse_bytes, parse_deadline, parse_duration};
use crate::cache::FolderSettings;
use crate::engine::LocalSettings;
use crate::ledger::{Budget, Share};
use crate::monitoring::{MonitoringSettings, WrittenSettings};
use crate::source::Priority;

/// Where Google's service accounts fetch tokens.
const TOKEN_URI: &str = "https://oauth2.googleapis.com/token";

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    listen: Option<String>,
    #[serde(default)]
    allow_anonymous: bool,
    deadline: Option<String>,
    #[serde(default)]
    cache: Cache,
    #[serde(default)]
    source: BTreeMap<String, Table>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Cache {
    capacity: Option<Value>,
    folder: Option<PathBuf>,
    folder_capacity: Option<Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Embedded {
    folder: PathBuf,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BigQuery {
    login: Option<Value>,
    project: String,
    location: Option<String>,
    endpoint: Option<String>,
    storage_endpoint: Option<String>,
    maximum_bytes_billed: Option<Value>,
    priority: Option<String>,
    storage_read_above_rows: Option<Value>,
    job_timeout: Option<String>,
    price_per_tib: Option<Value>,
    daily_bytes: Option<Value>,
    daily_bytes_per_principal: Option<Value>,
    audit_share: Option<f64>,
    audit_daily_bytes: Option<Value>,
    deadline: Option<String>,
    #[serde(default)]
    restrict_to_accessible_datasets: bool,
    #[serde(default)]
    additional_allowed_datasets: Vec<String>,
    #[serde(default)]
    descriptor: Vec<SourceDescriptor>,
    local: Option<String>,
    local_memory: Option<Value>,
    #[serde(default)]
    relation: Vec<LocalRelation>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyFile {
    key_file: PathBuf,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Impersonation {
    impersonate: String,
    with: Option<Value>,
    endpoint: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyFields {
    client_email: String,
    private_key: Secret,
    token_uri: Option<String>,
}

impl Config {
    /// Reads a file; without one everything is at its default, and there is no source.
    ///
    /// # Errors
    /// `NotFound` if the file cannot be read; those of [`Config::parse`], naming the file.
    pub fn load(path: Option<&Path>) -> Result<Self> {
        let Some(path) = path else { return Ok(Self::default()) };
        let name = path.display();
        let text = std::fs::read_to_string(path).map_err(|error| {
            Error::new(Kind::NotFound, format!("cannot read the configuration file {name}: {error}")).with_source(error)
        })?;
        let folder = path.parent().unwrap_or(Path::new(""));
        Self::parse(&text, folder).map_err(|error| error.context(format_args!("configuration file {name}")))
    }

    /// Reads the text of a file; relative paths in it belong to `folder`.
    ///
    /// # Errors
    /// `InvalidQuery` naming the key and what it takes.
    pub fn parse(text: &str, folder: &Path) -> Result<Self> {
        let file: File = toml::from_str(text).map_err(|error| at_line(text, &error))?;
        let deadline = file.deadline.map(|text| parse_deadline(&text)).transpose().map_err(at("deadline"))?;
        let capacity = file.cache.capacity.map(|value| bytes(&value)).transpose().map_err(at("cache.capacity"))?;
        let cache_folder = cache_folder(file.cache.folder, file.cache.folder_capacity.as_ref(), folder)?;
        let (mut sources, mut monitoring) = (BTreeMap::new(), BTreeMap::new());
        for (name, mut table) in file.source {
            let place = format!("[source.{name}]");
            if let Some(experiments) = table.remove("experiments") {
                let settings = self::monitoring(experiments).map_err(at(&format!("{place}: experiments")))?;
                monitoring.insert(name.clone(), settings);
            }
            sources.insert(name, source(table, folder).map_err(at(&place))?);
        }
        Ok(Self {
            listen: file.listen,
            allow_anonymous: file.allow_anonymous,
            deadline: deadline.unwrap_or(Query::DEADLINE),
            cache_capacity: capacity.unwrap_or(Self::CACHE_CAPACITY),
            cache_folder,
            sources,
            monitoring,
        })
    }
}

fn at_line(text: &str, error: &toml::de::Error) -> Error {
    let line = error.span().map(|span| text.get(..span.start).unwrap_or_default().matches('\n').count() + 1);
    let error = Error::invalid(error.message());
    match line {
        Some(line) => error.context(format_args!("line {line}")),
        None => error,
    }
}

fn at(place: &str) -> impl Fn(Error) -> Error {
    let place = place.to_owned();
    move |error| error.context(&place)
}

fn cache_folder(path: Option<PathBuf>, capacity: Option<&Value>, folder: &Path) -> Result<Option<FolderSettings>> {
    let capacity = capacity.map(bytes).transpose().map_err(at("cache.folder_capacity"))?;
    match (path, capacity) {
        (None, None) => Ok(None),
        (None, Some(_)) => Err(Error::invalid("cache.folder_capacity bounds nothing without cache.folder")),
        (Some(path), capacity) => {
            let capacity = capacity.unwrap_or(FolderSettings::CAPACITY);
            Ok(Some(FolderSettings { path: folder.join(path), capacity }))
        }
    }
}

fn source(mut table: Table, folder: &Path) -> Result<SourceConfig> {
    let kind = table.remove("kind");
    match kind.as_ref().and_then(Value::as_str) {
        Some("bigquery") => Ok(SourceConfig::BigQuery(Box::new(bigquery(decode(table)?, folder)?))),
        Some("embedded") => Ok(SourceConfig::Embedded(folder.join(decode::<Embedded>(table)?.folder))),
        Some(other) => Err(Error::invalid(format!("kind {other:?} is none of bigquery, embedded"))),
        None => Err(Error::invalid("kind is missing; give bigquery or embedded")),
    }
}

fn monitoring(value: Value) -> Result<MonitoringSettings> {
    match value {
        Value::Table(table) => decode::<WrittenSettings>(table)?.read(),
        _ => Err(Error::invalid("give a table, [source.NAME.experiments]")),
    }
}

fn decode<T: DeserializeOwned>(table: Table) -> Result<T> {
    table.try_into().map_err(|error: toml::de::Error| Error::invalid(error.message()))
}

fn bigquery(file: BigQuery, folder: &Path) -> Result<BigQueryConfig> {
    let timeout: Option<Duration> =
        file.job_timeout.map(|text| parse_duration(&text)).transpose().map_err(at("job_timeout"))?;
    if !file.restrict_to_accessible_datasets && !file.additional_allowed_datasets.is_empty() {
        return Err(Error::invalid(
            "additional_allowed_datasets restricts nothing without restrict_to_accessible_datasets = true",
        ));
    }
    Ok(BigQueryConfig {
        login: file
            .login
            .map_or(Ok(Login::ApplicationDefault), |login| self::login(login, folder))
            .map_err(at("login"))?,
        project: file.project,
        data_project: None,
        location: file.location,
        endpoint: file.endpoint,
        storage_endpoint: file.storage_endpoint,
        maximum_bytes_billed: limit("maximum_bytes_billed", file.maximum_bytes_billed)?,
        budget: Budget {
            daily_bytes: limit("daily_bytes", file.daily_bytes)?,
            daily_bytes_per_principal: limit("daily_bytes_per_principal", file.daily_bytes_per_principal)?,
            audit_share: file.audit_share.map_or(Ok(Share::default()), Share::new).map_err(at("audit_share"))?,
            audit_daily_bytes: limit("audit_daily_bytes", file.audit_daily_bytes)?,
        },
        priority: match file.priority.as_deref() {
            None | Some("interactive") => Priority::Interactive,
            Some("batch") => Priority::Batch,
            Some(other) => return Err(Error::invalid(format!("priority {other:?} is none of interactive, batch"))),
        },
        storage_read_above_rows: match file.storage_read_above_rows {
            None => Some(BigQueryConfig::STORAGE_READ_ABOVE_ROWS),
            Some(Value::String(never)) if never == "never" => None,
            Some(Value::Integer(rows)) if rows >= 0 => Some(rows.unsigned_abs()),
            Some(_) => return Err(Error::invalid("storage_read_above_rows takes a number of rows or \"never\"")),
        },
        job_timeout: timeout,
        price: file.price_per_tib.map_or(Ok(Price::default()), |value| price(&value)).map_err(at("price_per_tib"))?,
        deadline: file.deadline.map(|text| parse_deadline(&text)).transpose().map_err(at("deadline"))?,
        allowed_datasets: file.restrict_to_accessible_datasets.then_some(file.additional_allowed_datasets),
        descriptors: file.descriptor.into_iter().map(SourceDescriptor::check).collect::<Result<_>>()?,
        local: LocalSettings::of(file.local.as_deref(), file.relation, limit("local_memory", file.local_memory)?)?,
    })
}

fn login(value: Value, folder: &Path) -> Result<Login> {
    match value {
        Value::String(name) if name == "application-default" => Ok(Login::ApplicationDefault),
        Value::String(name) if name == "anonymous" => Ok(Login::Anonymous),
        Value::Table(table) if table.contains_key("key_file") => {
            Ok(Login::KeyFile(folder.join(decode::<KeyFile>(table)?.key_file)))
        }
        Value::Table(table) if table.contains_key("impersonate") => {
            let Impersonation { impersonate, with, endpoint } = decode(table)?;
            let login = with.map_or(Ok(Login::ApplicationDefault), |with| login(with, folder)).map_err(at("with"))?;
            Ok(Login::Impersonated { login: Box::new(login), service_account: impersonate, endpoint })
        }
        Value::Table(table) => {
            let KeyFields { client_email, private_key, token_uri } = decode(table)?;
            let token_uri = token_uri.unwrap_or_else(|| TOKEN_URI.to_owned());
            Ok(Login::ServiceAccount { client_email, private_key, token_uri })
        }
        _ => Err(Error::invalid(
            "give \"application-default\", \"anonymous\", { key_file = \"…\" }, { client_email = \"…\", private_key = \"…\" } \
             or { impersonate = \"…\" }",
        )),
    }
}

fn limit(key: &str, value: Option<Value>) -> Result<Option<u64>> {
    value.map(|value| bytes(&value)).transpose().map_err(at(key))
}

fn bytes(value: &Value) -> Result<u64> {
    match value {
        Value::Integer(bytes) if *bytes >= 0 => Ok(bytes.unsigned_abs()),
        Value::String(text) => parse_bytes(text),
        _ => Err(Error::invalid("give a number of bytes, or a text such as \"512MiB\"")),
    }
}

fn price(value: &Value) -> Result<Price> {
    match value {
        Value::String(text) => text.parse(),
        Value::Integer(_) | Value::Float(_) => value.to_string().parse(),
        _ => Err(Error::invalid("give a number of dollars, or a text such as \"5.75 EUR\"")),
    }
}

#[cfg(test)]
mod tests {
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
}
