//! Tests over real sockets, with a source of canned answers.

mod faults;
mod jobs;
mod login;
mod storage;
mod tables;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arrow::array::{
    ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Float64Array, Int64Array, RecordBatch,
    StringArray, TimestampMicrosecondArray,
};
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use serde_json::{Value, json};
use weir_plan::{Error, Kind, Result, TableId, Timestamp};

use super::*;
use crate::batches::Batches;
use crate::clock::ManualClock;
use crate::source::{
    Estimate, Identity, Job, Listed, MINIMUM_BYTES_PER_TABLE, Outcome, PartitionUnit, Partitioning, Project, Source,
    Table,
};

const PROJECT: &str = "p";

/// Answers by the first word of the SQL: `rows N`, `types`, `wrong`, `missing`, `secret`, `late`
/// (fails when run), `forever`, and `SELECT … FROM` the one table.
struct Canned {
    identity: Identity,
    runs: AtomicUsize,
    /// Runs whose future was dropped before its end.
    dropped: Arc<AtomicUsize>,
}

impl Canned {
    fn new() -> Self {
        let identity = Identity {
            kind: "embedded",
            project: PROJECT.to_owned(),
            principal: "anonymous".to_owned(),
            endpoint: None,
            location: None,
        };
        Self { identity, runs: AtomicUsize::new(0), dropped: Arc::default() }
    }

    fn answer(sql: &str) -> Result<Batches> {
        match sql.split_whitespace().collect::<Vec<_>>()[..] {
            ["rows", count] => Ok(rows(count.parse().unwrap())),
            ["types"] => Ok(types()),
            ["wrong", ..] => Err(Error::invalid("Syntax error: Unexpected identifier \"wrong\" at [1:1]")),
            ["missing", ..] => Err(Error::not_found("Not found: Table p:d.missing was not found in location US")),
            ["secret", ..] => Err(Error::new(Kind::PermissionDenied, "Access Denied: Table p:d.secret")),
            ["late" | "forever", ..] => Ok(rows(1)),
            ["SELECT", ref columns @ .., "FROM", "`p.d.events`"] => {
                let names: Vec<_> = columns.iter().map(|name| name.trim_matches(['`', ','])).collect();
                let batch = rows(5).concat()?;
                let wanted: Vec<_> = names.iter().map(|name| batch.schema().index_of(name).unwrap()).collect();
                let batch = batch.project(&wanted).unwrap();
                Batches::new(batch.schema(), vec![batch])
            }
            _ => Err(Error::invalid(format!("the canned source does not know {sql:?}"))),
        }
    }
}

/// `n` counts up from 0; `t` is that many seconds after 2024-01-01. In batches of 1,000.
fn rows(count: i64) -> Batches {
    let starts = (0..count.max(1)).step_by(1_000);
    let batches: Vec<_> = starts
        .map(|start| {
            let range = start..count.min(start + 1_000);
            let n: ArrayRef = Arc::new(Int64Array::from_iter_values(range.clone()));
            let micros = range.map(|n| (1_704_067_200 + n) * 1_000_000);
            let t: ArrayRef = Arc::new(TimestampMicrosecondArray::from_iter_values(micros).with_timezone("UTC"));
            RecordBatch::try_from_iter_with_nullable([("n", n, true), ("t", t, true)]).unwrap()
        })
        .collect();
    Batches::new(batches[0].schema(), batches).unwrap()
}

fn types() -> Batches {
    let decimals = Decimal128Array::from(vec![Some(1_500_000_000), None]).with_precision_and_scale(38, 9).unwrap();
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("i", Arc::new(Int64Array::from(vec![Some(9_007_199_254_740_993), None]))),
        ("f", Arc::new(Float64Array::from(vec![Some(0.1), None]))),
        ("b", Arc::new(BooleanArray::from(vec![Some(true), None]))),
        ("s", Arc::new(StringArray::from(vec![Some("ü\"\n"), None]))),
        ("y", Arc::new(BinaryArray::from(vec![Some(b"\x00\xff".as_ref()), None]))),
        ("d", Arc::new(Date32Array::from(vec![Some(19_723), None]))),
        ("m", Arc::new(decimals)),
        ("dt", Arc::new(TimestampMicrosecondArray::from(vec![Some(1_704_067_200_000_001), None]))),
    ];
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    Batches::new(batch.schema(), vec![batch]).unwrap()
}

struct CountDrop(Arc<AtomicUsize>);

impl Drop for CountDrop {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[async_trait]
impl Source for Canned {
    fn identity(&self) -> &Identity {
        &self.identity
    }

    async fn dry_run(&self, job: &Job) -> Result<Estimate> {
        Ok(Estimate {
            bytes_processed: 4_096,
            schema: Arc::clone(Self::answer(&job.sql)?.schema()),
            statement_type: "SELECT".to_owned(),
            referenced_tables: vec![TableId::new(PROJECT, "d", "events")],
        })
    }

    async fn run(&self, job: Job) -> Result<Outcome> {
        self.runs.fetch_add(1, Ordering::SeqCst);
        if job.sql.starts_with("forever") {
            let _counts = CountDrop(Arc::clone(&self.dropped));
            std::future::pending::<()>().await;
        }
        if job.sql.starts_with("late") {
            return Err(Error::invalid("division by zero: 1 / 0"));
        }
        if job.maximum_bytes_billed.is_some_and(|limit| limit < MINIMUM_BYTES_PER_TABLE) {
            return Err(Error::new(Kind::TooExpensive, "Query exceeded limit for bytes billed"));
        }
        Ok(Outcome {
            batches: Self::answer(&job.sql)?,
            job_id: job.id,
            bytes_processed: 4_096,
            bytes_billed: MINIMUM_BYTES_PER_TABLE,
            slot_ms: 7,
            cache_hit: false,
            started_at: None,
            joined: false,
            ours: true,
        })
    }

    async fn table(&self, table: &TableId) -> Result<Table> {
        let view = match table.to_string().as_str() {
            "p.d.events" => None,
            "p.d.events_view" => Some("SELECT n FROM `p.d.events`".to_owned()),
            _ => return Err(Error::not_found(format!("Not found: Table {table}"))),
        };
        Ok(Table {
            id: table.clone(),
            kind: if view.is_some() { "VIEW" } else { "TABLE" }.to_owned(),
            schema: schema(),
            partitioning: Some(Partitioning { column: Some("t".to_owned()), unit: PartitionUnit::Day }),
            clustering: vec![],
            last_modified: now(),
            view_sql: view,
            num_rows: 5,
            num_bytes: 80,
            location: None,
        })
    }

    async fn list_projects(&self) -> Result<Vec<Project>> {
        Ok([PROJECT, "q"].map(|id| Project { id: id.to_owned(), name: id.to_owned() }).into())
    }

    async fn list_datasets(&self, project: &str) -> Result<Vec<String>> {
        match project {
            PROJECT => Ok(vec!["d".to_owned()]),
            "q" => Ok(vec!["other".to_owned()]),
            _ => Err(Error::not_found(format!("Not found: Project {project}"))),
        }
    }

    async fn list_tables(&self, project: &str, dataset: &str) -> Result<Vec<Listed>> {
        let listed = |(name, kind): (&str, &str)| Listed { name: name.to_owned(), kind: kind.to_owned() };
        match (project, dataset) {
            (PROJECT, "d") => Ok([("events", "TABLE"), ("events_view", "VIEW")].map(listed).into()),
            _ => Err(Error::not_found(format!("Not found: Dataset {project}:{dataset}"))),
        }
    }
}

fn schema() -> SchemaRef {
    Arc::clone(rows(1).schema())
}

fn now() -> Timestamp {
    Timestamp::from_millis(1_704_153_600_000).unwrap()
}

/// A server and a plain HTTP client.
struct Rig {
    server: FakeServer,
    source: Arc<Canned>,
    http: reqwest::Client,
}

impl Rig {
    async fn start() -> Self {
        Self::with(FakeConfig::default()).await
    }

    async fn with(config: FakeConfig) -> Self {
        let source = Arc::new(Canned::new());
        let clock = Arc::new(ManualClock::new(now()));
        let over: Arc<dyn Source> = Arc::<Canned>::clone(&source);
        let server = FakeServer::start(over, clock, config).await.unwrap();
        Self { server, source, http: reqwest::Client::new() }
    }

    /// A GET below the project, or the transport's error.
    async fn try_get(&self, path: &str) -> reqwest::Result<(u16, Value)> {
        let url = format!("{}/projects/{PROJECT}{path}", self.server.v2_url());
        let response = self.http.get(url).send().await?;
        Ok((response.status().as_u16(), response.json().await?))
    }

    async fn get(&self, path: &str) -> (u16, Value) {
        self.try_get(path).await.unwrap()
    }

    async fn try_post(&self, path: &str, body: &Value) -> reqwest::Result<(u16, Value)> {
        let url = format!("{}/projects/{PROJECT}{path}", self.server.v2_url());
        let response = self.http.post(url).json(body).send().await?;
        Ok((response.status().as_u16(), response.json().await?))
    }

    async fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        self.try_post(path, body).await.unwrap()
    }

    async fn insert(&self, id: &str, sql: &str) -> (u16, Value) {
        self.post("/jobs", &job_body(id, sql)).await
    }

    /// Inserts a job that must be accepted, and waits for its end.
    async fn run(&self, id: &str, sql: &str) -> Value {
        let (status, body) = self.insert(id, sql).await;
        assert_eq!(status, 200, "{body}");
        let (status, body) = self.get(&format!("/queries/{id}")).await;
        assert_eq!(status, 200, "{body}");
        body
    }
}

fn job_body(id: &str, sql: &str) -> Value {
    json!({
        "jobReference": {"projectId": PROJECT, "jobId": id},
        "configuration": {"query": {"query": sql, "useLegacySql": false}},
    })
}

/// The first column of a page.
fn column(page: &Value) -> Vec<&str> {
    let rows = page["rows"].as_array().map(Vec::as_slice).unwrap_or_default();
    rows.iter().map(|row| row["f"][0]["v"].as_str().unwrap()).collect()
}

fn reason(body: &Value) -> &str {
    body["error"]["errors"][0]["reason"].as_str().unwrap_or_default()
}
