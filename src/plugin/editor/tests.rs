//! The routes over a small place of tables, and what the engine remembers of it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use async_trait::async_trait;
use weir_plan::{Kind, Price};

use super::*;
use crate::app::App;
use crate::cache::StoreSettings;
use crate::clock::ManualClock;
use crate::engine::EngineSettings;
use crate::plugin::scripted::NOW;
use crate::source::embedded::{Embedded, TableSpec};
use crate::source::{Estimate, Identity, Job, Listed, Outcome, PartitionUnit, Partitioning, Project, Source, Table};

/// The embedded source, and how often it was asked what there is.
struct Counted {
    embedded: Embedded,
    asked: AtomicUsize,
}

impl Counted {
    fn count(&self) -> &Embedded {
        self.asked.fetch_add(1, Ordering::SeqCst);
        &self.embedded
    }
}

#[async_trait]
impl Source for Counted {
    fn identity(&self) -> &Identity {
        self.embedded.identity()
    }

    async fn dry_run(&self, job: &Job) -> Result<Estimate> {
        self.embedded.dry_run(job).await
    }

    async fn run(&self, job: Job) -> Result<Outcome> {
        self.embedded.run(job).await
    }

    async fn table(&self, table: &TableId) -> Result<Table> {
        self.count().table(table).await
    }

    async fn list_projects(&self) -> Result<Vec<Project>> {
        self.count().list_projects().await
    }

    async fn list_datasets(&self, project: &str) -> Result<Vec<String>> {
        self.count().list_datasets(project).await
    }

    async fn list_tables(&self, project: &str, dataset: &str) -> Result<Vec<Listed>> {
        self.count().list_tables(project, dataset).await
    }
}

struct Bench {
    clock: Arc<ManualClock>,
    source: Arc<Counted>,
    engine: Arc<Engine>,
}

impl Bench {
    /// Tables `p.d.events`, by the day of `t`, and `q.e.other`; a view `p.d.names`.
    fn new() -> Self {
        let clock = Arc::new(ManualClock::new(Timestamp::saturating(NOW)));
        let embedded = Embedded::new("p", Arc::clone(&clock) as _);
        let fields = vec![
            Field::new("t", DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), true),
            Field::new("name", DataType::Utf8, true),
        ];
        for (name, column) in [("p.d.events", Some("t")), ("q.e.other", None)] {
            let partitioning =
                column.map(|column| Partitioning { column: Some(column.to_owned()), unit: PartitionUnit::Day });
            let schema = Arc::new(Schema::new(fields.clone()));
            embedded.create_table(TableSpec { id: name.parse().unwrap(), schema, partitioning }).unwrap();
        }
        embedded.create_view("p.d.names".parse().unwrap(), "SELECT name FROM `p.d.events`").unwrap();
        let source = Arc::new(Counted { embedded, asked: AtomicUsize::new(0) });
        let mut app = App::new(StoreSettings::of(10_000_000), Arc::clone(&clock) as _, Duration::from_secs(1));
        let settings = EngineSettings { price: Price::new(1.0, "EUR").unwrap(), ..EngineSettings::default() };
        let engine = app.add_source("only", Arc::clone(&source) as _, settings);
        Self { clock, source, engine }
    }

    async fn ask(&self, ask: Ask, arguments: Value) -> Result<Value> {
        self.ask_with(ask, arguments, &json!({})).await
    }

    async fn ask_with(&self, ask: Ask, arguments: Value, settings: &Value) -> Result<Value> {
        let settings = settings.to_string().into_bytes();
        let headers = Headers::default();
        let now = Timestamp::saturating(NOW);
        let editor = Editor { engine: &self.engine, settings: &settings, headers: &headers, now };
        editor.answer(ask, arguments.as_object().unwrap()).await
    }

    fn asked(&self) -> usize {
        self.source.asked.load(Ordering::SeqCst)
    }
}

#[tokio::test]
async fn editors_are_told_what_there_is() {
    let bench = Bench::new();
    let check = async |ask: Ask, arguments: Value, expected: Value| {
        let name = format!("{ask:?} {arguments}");
        assert_eq!(bench.ask(ask, arguments).await.unwrap(), expected, "{name}");
    };
    check(Ask::DefaultProject, json!({}), json!("p")).await;
    let projects = json!([{"projectId": "p", "displayName": "p"}, {"projectId": "q", "displayName": "q"}]);
    check(Ask::Projects, json!({"datasourceUid": "x"}), projects).await;
    check(Ask::Datasets, json!({"project": "q", "location": "US"}), json!(["e"])).await;
    check(Ask::Datasets, json!({}), json!(["d"])).await;
    check(Ask::Tables, json!({"project": "p", "dataset": "d", "location": ""}), json!(["events", "names"])).await;
    let table = json!({"project": "p", "dataset": "d", "table": "events", "isOrderable": "true"});
    check(Ask::Columns, table, json!(["t", "name"])).await;
    let schema = json!({"schema": [{"name": "name", "type": "STRING", "repeated": false}]});
    check(Ask::Schema, json!({"dataset": "d", "table": "names"}), schema).await;
    let schema = bench.ask(Ask::Schema, json!({"dataset": "d", "table": "events"})).await.unwrap();
    assert_eq!(schema["timePartitioning"], json!({"type": "DAY", "field": "t"}));
}

#[tokio::test]
async fn the_default_project_is_that_of_the_settings_and_always_among_the_projects() {
    let bench = Bench::new();
    let settings = json!({"defaultProject": " boards "});
    assert_eq!(bench.ask_with(Ask::DefaultProject, json!({}), &settings).await.unwrap(), "boards");
    let projects = bench.ask_with(Ask::Projects, json!({}), &settings).await.unwrap();
    assert_eq!(projects[0], json!({"projectId": "boards", "displayName": "boards"}));
    assert_eq!(projects.as_array().unwrap().len(), 3);
    let error = bench.ask_with(Ask::Datasets, json!({}), &settings).await.unwrap_err();
    assert_eq!(error.message(), "Not found: Project boards");
}

#[tokio::test]
async fn what_is_missing_or_wrong_is_named() {
    let bench = Bench::new();
    let check = async |ask: Ask, arguments: Value, kind: Kind, expected: &str| {
        let error = bench.ask(ask, arguments).await.unwrap_err();
        assert_eq!((error.kind(), error.message()), (kind, expected));
    };
    check(Ask::Tables, json!({}), Kind::InvalidQuery, "dataset is missing; give its name").await;
    check(Ask::Columns, json!({"dataset": "d"}), Kind::InvalidQuery, "table is missing; give its name").await;
    check(Ask::Tables, json!({"dataset": ".."}), Kind::InvalidQuery, "dataset: \"..\" is not a name").await;
    check(Ask::Datasets, json!({"project": 7}), Kind::InvalidQuery, "project is a number; give a text").await;
    check(Ask::Tables, json!({"dataset": "x"}), Kind::NotFound, "Not found: Dataset p:x").await;
    check(Ask::Validate, json!({}), Kind::InvalidQuery, "query is missing; give the query").await;
}

#[tokio::test]
async fn what_there_is_is_remembered_for_minutes_and_forgotten_by_a_purge() {
    let bench = Bench::new();
    let all = async || {
        for (ask, arguments) in [
            (Ask::Projects, json!({})),
            (Ask::Datasets, json!({})),
            (Ask::Tables, json!({"dataset": "d"})),
            (Ask::Columns, json!({"dataset": "d", "table": "events"})),
            (Ask::Schema, json!({"dataset": "d", "table": "events"})),
        ] {
            bench.ask(ask, arguments).await.unwrap();
        }
    };
    all().await;
    assert_eq!(bench.asked(), 4, "columns and schema are one description");
    bench.clock.set(Timestamp::saturating(NOW).plus(Duration::from_secs(299)));
    all().await;
    assert_eq!(bench.asked(), 4);
    bench.clock.set(Timestamp::saturating(NOW).plus(Duration::from_mins(5)));
    all().await;
    assert_eq!(bench.asked(), 8);
    bench.engine.purge().unwrap();
    all().await;
    assert_eq!(bench.asked(), 12);
    for _ in 0..2 {
        bench.ask(Ask::Tables, json!({"dataset": "x"})).await.unwrap_err();
    }
    assert_eq!(bench.asked(), 14, "a failure is not remembered");
}

#[tokio::test]
async fn a_valid_query_comes_back_expanded_with_its_bytes_and_price() {
    let bench = Bench::new();
    let body = json!({
        "project": "p",
        "query": {"rawSql": "SELECT $__timeGroup(t, $__interval) AS t FROM events WHERE $__timeFilter(t)", "dataset": "d"},
        "range": {"from": "2024-01-01T00:00:00.000Z", "to": "2024-01-02T00:00:00.000Z", "raw": {"from": "now-1d", "to": "now"}},
    });
    let answer = bench.ask(Ask::Validate, body).await.unwrap();
    let sql = "SELECT TIMESTAMP_MILLIS(DIV(UNIX_MILLIS(t), 60000) * 60000) AS t FROM events \
        WHERE t >= TIMESTAMP '2024-01-01T00:00:00Z' AND t < TIMESTAMP '2024-01-02T00:00:00Z'";
    let expected = json!({
        "isValid": true,
        "isError": false,
        "error": "",
        "statistics": {"TotalBytesProcessed": 0},
        "query": sql,
        "bytesBilled": 0,
        "price": {"amount": 0.0, "currency": "EUR"},
    });
    assert_eq!(answer, expected);
    assert_eq!(bench.source.embedded.bill().jobs, 0);
}

#[tokio::test]
async fn a_query_that_is_wrong_comes_back_with_what_is_wrong() {
    let bench = Bench::new();
    let check = async |query: Value, sql: &str, part: &str| {
        let answer = bench.ask(Ask::Validate, json!({"query": query})).await.unwrap();
        assert_eq!((&answer["isValid"], &answer["isError"]), (&json!(false), &json!(true)));
        assert_eq!((&answer["statistics"], &answer["query"]), (&json!(null), &json!(sql)));
        assert!(answer["error"].as_str().unwrap().contains(part), "{answer}");
        answer
    };
    let sql = "SELECT *\nFORM `p.d.events`";
    let answer = check(json!({"rawSql": sql}), sql, "Syntax error").await;
    assert_eq!(answer["position"]["line"], 2, "{answer}");
    check(json!({"rawSql": "SELECT 1 FROM `p.d.none`"}), "SELECT 1 FROM `p.d.none`", "p:d.none").await;
    let sql = "SELECT 1 FROM `p.d.events` WHERE $__timeFilter(t";
    check(json!({"rawSql": sql}), sql, "$__timeFilter").await;
    check(json!({}), "", "rawSql is missing").await;
}

#[test]
fn arguments_are_a_body_or_a_query_string() {
    let read = |body: &str, url: &str| arguments(body.as_bytes(), url).map(Value::Object);
    assert_eq!(read("{\"project\": \"p\"}", "tables?project=q").unwrap(), json!({"project": "p"}));
    assert_eq!(read("", "tables?project=p&dataset=a%20b").unwrap(), json!({"project": "p", "dataset": "a b"}));
    assert_eq!(read("null", "projects").unwrap(), json!({}));
    assert_eq!(read(" ", "projects").unwrap(), json!({}));
    for body in ["[]", "{", "7"] {
        assert!(read(body, "").is_err(), "{body}");
    }
}
