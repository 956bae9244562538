//! bqemulator, the outside judge of SQL: one per test process, used by one test at a time.
//!
//! It is strictly serial and its memory grows with each answer, so there is one and it is leased; tests whose
//! tables are called as its are have another. Each ends when this process does, however that ends: `tests/emulator/launch.py` watches its standard input.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use arrow::array::RecordBatch;
use parquet::arrow::ArrowWriter;
use serde_json::{Value, json};
use tokio::sync::{Mutex, MutexGuard, OnceCell};
use weir::source::Partitioning;
use weir_plan::TableId;

use super::ports::free_ports;
use super::python;

/// The project that jobs run in.
pub(crate) const PROJECT: &str = "moz-fx-data-shared-prod";

/// One second when the machine is quiet, up to seven when it is busy.
const TO_START: Duration = Duration::from_secs(30);

/// The bucket that load jobs read; a folder in the emulator's place of buckets.
const BUCKET: &str = "seed";

/// A running emulator.
pub(crate) struct Emulator {
    rest_port: u16,
    grpc_port: u16,
    folder: PathBuf,
    /// Holds the standard input whose end is the order to stop.
    _child: Child,
}

/// The emulator, for as long as the guard lives.
pub(crate) async fn lease() -> MutexGuard<'static, Emulator> {
    static EMULATOR: OnceCell<Mutex<Emulator>> = OnceCell::const_new();
    EMULATOR.get_or_init(|| async { Mutex::new(Emulator::start().await) }).await.lock().await
}

impl Emulator {
    /// Base URL of the REST API, without `/bigquery/v2`.
    pub(crate) fn rest_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.rest_port)
    }

    /// Base URL of the Storage Read API.
    pub(crate) fn storage_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.grpc_port)
    }

    /// Makes a dataset unless it is there.
    pub(crate) async fn create_dataset(&self, project: &str, dataset: &str) {
        let body = json!({"datasetReference": {"projectId": project, "datasetId": dataset}});
        let answer = self.post(project, "datasets", &body).await;
        let exists = answer["error"]["code"] == 409;
        assert!(exists || answer.get("error").is_none(), "cannot make dataset {dataset}: {answer}");
    }

    /// Makes an empty table; `fields` are those of the REST API's `TableSchema`.
    ///
    /// # Errors
    /// The emulator's message: it has no table columns of some types.
    pub(crate) async fn create_table(
        &self,
        id: &TableId,
        fields: Value,
        partitioning: Option<&Partitioning>,
    ) -> Result<(), String> {
        let mut body = json!({"tableReference": reference(id), "schema": {"fields": fields}});
        if let Some(partitioning) = partitioning {
            body["timePartitioning"] = json!({"type": partitioning.unit, "field": partitioning.column});
        }
        let answer = self.post(&id.project, &format!("datasets/{}/tables", id.dataset), &body).await;
        match answer.get("error") {
            None => Ok(()),
            Some(error) => Err(format!("{id}: {error}")),
        }
    }

    /// Makes a view of `GoogleSQL` text; by DDL, since only then `tables.get` knows its columns.
    pub(crate) async fn create_view(&self, id: &TableId, sql: &str) {
        let query = format!("CREATE VIEW `{id}` AS {sql}");
        let answer = self.post(&id.project, "queries", &json!({"query": query, "useLegacySql": false})).await;
        // Errors in SQL have the status 200 here.
        let failed =
            answer.get("error").is_some() || answer["errors"].as_array().is_some_and(|errors| !errors.is_empty());
        assert!(!failed, "cannot make view {id}: {answer}");
    }

    /// Appends rows by a load job of Parquet.
    pub(crate) async fn load(&self, id: &TableId, rows: &RecordBatch) {
        let name = format!("{}.{}.parquet", id.dataset, id.table);
        let path = self.folder.join(BUCKET).join(&name);
        let mut writer = ArrowWriter::try_new(File::create(&path).unwrap(), rows.schema(), None).unwrap();
        writer.write(rows).unwrap();
        writer.close().unwrap();
        let load = json!({
            "sourceUris": [format!("gs://{BUCKET}/{name}")],
            "sourceFormat": "PARQUET",
            "writeDisposition": "WRITE_APPEND",
            "destinationTable": reference(id),
        });
        let job = self.post(&id.project, "jobs", &json!({"configuration": {"load": load}})).await;
        let ended_well =
            job["status"]["state"] == "DONE" && job["status"].get("errorResult").is_none_or(Value::is_null);
        assert!(ended_well, "cannot load {id}: {job}");
        std::fs::remove_file(path).unwrap();
    }

    async fn post(&self, project: &str, path: &str, body: &Value) -> Value {
        let url = format!("{}/bigquery/v2/projects/{project}/{path}", self.rest_url());
        let answer = reqwest::Client::new().post(url).json(body).send().await.unwrap();
        answer.json().await.unwrap()
    }

    /// One of its own, beside the leased one.
    pub(crate) async fn start() -> Self {
        let mut last = String::new();
        // A port may be taken between its choice and its use.
        for _ in 0..3 {
            match Self::try_start().await {
                Ok(emulator) => return emulator,
                Err(error) => last = error,
            }
        }
        panic!("bqemulator does not start: {last}");
    }

    async fn try_start() -> Result<Self, String> {
        let [rest_port, grpc_port] = free_ports();
        let folder = tempfile::Builder::new().prefix("weir-emulator-").tempdir().unwrap().keep();
        std::fs::create_dir(folder.join(BUCKET)).unwrap();
        let log = folder.join("log");
        let mut child = command(rest_port, grpc_port, &folder)
            .stdin(Stdio::piped())
            .stdout(File::create(&log).unwrap())
            .stderr(File::options().append(true).open(&log).unwrap())
            .spawn()
            .unwrap();
        let health = format!("http://127.0.0.1:{rest_port}/healthz");
        let until = Instant::now() + TO_START;
        let mut pause = tokio::time::interval(Duration::from_millis(50));
        loop {
            pause.tick().await;
            if reqwest::get(&health).await.is_ok_and(|answer| answer.status().is_success()) {
                return Ok(Self { rest_port, grpc_port, folder, _child: child });
            }
            let ended = child.try_wait().unwrap();
            if ended.is_some() || Instant::now() > until {
                let _ = child.kill();
                let _ = child.wait();
                let said = std::fs::read_to_string(&log).unwrap_or_default();
                let _ = std::fs::remove_dir_all(&folder);
                let why = ended.map_or_else(|| format!("not ready after {TO_START:?}"), |status| status.to_string());
                return Err(format!("{why}\n{said}"));
            }
        }
    }
}

fn command(rest_port: u16, grpc_port: u16, folder: &Path) -> Command {
    let mut command = Command::new(python::interpreter());
    command
        .arg(python::repository("tests/emulator/launch.py"))
        .args(["start", "--rest-host", "127.0.0.1", "--rest-port", &rest_port.to_string()])
        .args(["--grpc-host", "127.0.0.1", "--grpc-port", &grpc_port.to_string()])
        .args(["--project", PROJECT, "--ephemeral", "--log-level", "warning"])
        .env("BQEMU_ENABLE_FORMAT_EXTENSIONS", "false")
        .env("BQEMU_GCS_LOCAL_ROOT", folder)
        .env("WEIR_REMOVE_AFTER", folder);
    command
}

fn reference(id: &TableId) -> Value {
    json!({"projectId": id.project, "datasetId": id.dataset, "tableId": id.table})
}
