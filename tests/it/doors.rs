//! Both doors before one engine: the same answer, one job, and clear errors.

use std::io::Cursor;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::{Int64Type, TimestampNanosecondType};
use arrow::ipc::reader::FileReader;
use axum::Router;
use axum::body::Body;
use futures::future::{join, join_all};
use grafana_plugin_sdk::pluginv2::data_client::DataClient;
use grafana_plugin_sdk::pluginv2::{
    DataQuery, DataResponse, DataSourceInstanceSettings, PluginContext, QueryDataRequest, TimeRange,
};
use http::{Request, StatusCode};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic_grafana::transport::Channel;
use tower::ServiceExt;
use weir::app::App;
use weir::cache::StoreSettings;
use weir::clock::{Clock, ManualClock};
use weir::config::BigQueryConfig;
use weir::engine::EngineSettings;
use weir::export::{ExportSettings, router};
use weir::plugin;
use weir::source::bigquery::BigQuery;
use weir::source::fake::{CallKind, FakeServer, Gate, JobRule};
use weir::source::limited::{Limited, Limits};
use weir_plan::Timestamp;

use crate::conformance::{NOW, config, fake, seeded_emulator};

/// The common panel query of Mozilla's boards.
const PANEL: &str = "SELECT $__timeGroup(time,$__interval) AS time, branch AS metric, SUM(value) AS value \
    FROM `moz-fx-data-shared-prod.telemetry.experiment_enrollment_overall` \
    WHERE experiment='exp-a' AND branch IS NOT NULL AND $__timeFilter(time) GROUP BY 1,2 ORDER BY 1,2";

const FROM: &str = "2024-03-12T00:00:00Z";
const TO: &str = "2024-03-14T00:00:00Z";
const HOUR_MS: i64 = 3_600_000;

type Rows = Vec<(String, String, i64)>;

fn at(text: &str) -> Timestamp {
    Timestamp::parse(text, Timestamp::MIN).unwrap()
}

struct Doors {
    export: Router,
    panel: DataClient<Channel>,
    context: PluginContext,
}

impl Doors {
    async fn open(config: &BigQueryConfig, grace: Duration) -> Self {
        let clock: Arc<dyn Clock> = Arc::new(ManualClock::new(at(NOW)));
        let mut app = App::new(StoreSettings::of(64 << 20), clock, grace);
        let source = Limited::new(Arc::new(BigQuery::connect(config).await.unwrap()), Limits::default());
        app.add_source("main", Arc::new(source), EngineSettings::default());
        let app = Arc::new(app);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(plugin::serve_on(Arc::clone(&app), listener, CancellationToken::new()));
        let panel = DataClient::connect(format!("http://{address}")).await.unwrap();
        let settings = json!({
            "authenticationType": "none",
            "serviceEndpoint": config.endpoint,
            "storageEndpoint": config.storage_endpoint,
            "defaultProject": config.project,
        });
        let source = DataSourceInstanceSettings {
            uid: "main".into(),
            json_data: settings.to_string().into_bytes(),
            ..Default::default()
        };
        let context = PluginContext { org_id: 1, data_source_instance_settings: Some(source), ..Default::default() };
        Self { export: router(app, ExportSettings::default()), panel, context }
    }

    async fn export(&self, body: &Value) -> (StatusCode, http::HeaderMap, Value) {
        let request = Request::post("/api/v1/query").header("host", "localhost").body(Body::from(body.to_string()));
        let response = self.export.clone().oneshot(request.unwrap()).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        (parts.status, parts.headers, serde_json::from_slice(&bytes).unwrap())
    }

    async fn export_panel(&self, sql: &str) -> (StatusCode, http::HeaderMap, Value) {
        self.export(&json!({"sql": sql, "from": FROM, "to": TO, "step": "12h"})).await
    }

    async fn panel(&self, queries: &[Value]) -> Vec<DataResponse> {
        let (from_epoch_ms, to_epoch_ms) = (at(FROM).millis(), at(TO).millis());
        let queries = queries.iter().enumerate().map(|(number, json)| DataQuery {
            ref_id: number.to_string(),
            interval_ms: 12 * HOUR_MS,
            time_range: Some(TimeRange { from_epoch_ms, to_epoch_ms }),
            json: json.to_string().into_bytes(),
            ..Default::default()
        });
        let request = QueryDataRequest {
            plugin_context: Some(self.context.clone()),
            queries: queries.collect(),
            ..Default::default()
        };
        let count = request.queries.len();
        let mut responses = self.panel.clone().query_data(request).await.unwrap().into_inner().responses;
        (0..count).map(|number| responses.remove(&number.to_string()).unwrap()).collect()
    }

    async fn panel_table(&self, sql: &str) -> DataResponse {
        self.panel(&[json!({"rawSql": sql, "format": 1})]).await.remove(0)
    }
}

fn frame(response: &DataResponse) -> RecordBatch {
    assert_eq!(response.error, "", "status {}", response.status);
    FileReader::try_new(Cursor::new(&response.frames[0]), None).unwrap().next().unwrap().unwrap()
}

fn rows_of_frame(response: &DataResponse) -> Rows {
    let batch = frame(response);
    let times = batch.column(0).as_primitive::<TimestampNanosecondType>();
    let (metrics, values) = (batch.column(1).as_string::<i32>(), batch.column(2).as_primitive::<Int64Type>());
    let time = |row| Timestamp::from_micros(times.value(row) / 1000).unwrap().to_string();
    (0..batch.num_rows()).map(|row| (time(row), metrics.value(row).to_owned(), values.value(row))).collect()
}

fn rows_of_json(body: &Value) -> Rows {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let rows = body["rows"].as_array().unwrap().iter();
    rows.map(|row| (text(&row[0]), text(&row[1]), row[2].as_i64().unwrap())).collect()
}

/// As computed by loops, without SQL, for the suite's case `enrollment_by_branch`.
fn expected() -> Rows {
    let values = [(1584, 1576), (1596, 1588), (1612, 1605), (1626, 1595)];
    let times = ["2024-03-12T00:00:00Z", "2024-03-12T12:00:00Z", "2024-03-13T00:00:00Z", "2024-03-13T12:00:00Z"];
    let pairs = times.iter().zip(values);
    pairs
        .flat_map(|(time, (control, treatment))| {
            [((*time).into(), "control".into(), control), ((*time).into(), "treatment".into(), treatment)]
        })
        .collect()
}

async fn doors_of_fake(fake: &FakeServer) -> Doors {
    Doors::open(&config(fake.rest_url(), fake.storage_url(), None), Duration::from_millis(100)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_enrollment_panel_is_the_same_through_both_doors_and_in_duckdb() {
    let fake = fake().await;
    let doors = doors_of_fake(&fake).await;
    let (status, headers, body) = doors.export_panel(PANEL).await;
    assert_eq!((status, rows_of_json(&body)), (StatusCode::OK, expected()));
    assert!(headers["x-weir-result"].to_str().unwrap().contains("status=miss"));
    assert_eq!(rows_of_frame(&doors.panel_table(PANEL).await), expected());
    assert_eq!(fake.jobs_run().len(), 1, "the second door found what the first had stored");

    let emulator = seeded_emulator().await;
    let doors = Doors::open(&config(emulator.rest_url(), emulator.storage_url(), None), App::GRACE).await;
    let (status, _, body) = doors.export_panel(PANEL).await;
    assert_eq!((status, rows_of_json(&body)), (StatusCode::OK, expected()));
    assert_eq!(rows_of_frame(&doors.panel_table(PANEL).await), expected());
}

/// Over a table with partitions: the days of a shorter range are there when a longer one is asked for.
#[tokio::test(flavor = "multi_thread")]
async fn a_longer_range_reads_only_the_days_that_are_missing() {
    const DAILY: &str = "SELECT $__timeGroup(window_start, 12h) AS time, branch AS metric, SUM(enroll_count) AS value \
        FROM `moz-fx-data-shared-prod.telemetry_derived.experiment_enrollment_aggregates_v1` \
        WHERE branch IS NOT NULL AND $__timeFilter(window_start) GROUP BY 1, 2 ORDER BY 1, 2";
    let fake = fake().await;
    let doors = doors_of_fake(&fake).await;
    let ask = async |from: &str, mode: &str| {
        let body = json!({"sql": DAILY, "from": from, "to": TO, "step": "12h", "cache": {"mode": mode}});
        let (status, headers, body) = doors.export(&body).await;
        assert_eq!(status, StatusCode::OK, "{body}");
        let result = headers["x-weir-result"].to_str().unwrap().to_owned();
        (rows_of_json(&body), result, fake.jobs_run().len())
    };
    let (shorter, result, jobs) = ask("2024-03-12T00:00:00Z", "auto").await;
    assert!(result.starts_with("mode=delta, status=miss"), "{result}");
    assert_eq!(jobs, 2, "a listing of partitions, and the days");
    let (longer, result, jobs) = ask("2024-03-10T00:00:00Z", "auto").await;
    assert!(result.starts_with("mode=delta, status=partial"), "{result}");
    assert_eq!(jobs, 3, "the two days before");
    assert!(longer.ends_with(&shorter) && longer.len() > shorter.len() && !shorter.is_empty());
    assert_eq!(ask("2024-03-10T00:00:00Z", "off").await.0, longer);
    assert_eq!(rows_of_frame(&doors.panel_table(DAILY).await), shorter, "the other door takes the same days");
    assert_eq!(fake.jobs_run().len(), 4);
    assert_eq!(fake.jobs_run().iter().filter(|job| job.sql.contains("INFORMATION_SCHEMA")).count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_callers_at_both_doors_are_one_job() {
    let fake = fake().await;
    let doors = doors_of_fake(&fake).await;
    let gate = Gate::new();
    fake.script().jobs(usize::MAX, JobRule::new().held_by(&gate));
    let exports = join_all((0..50).map(|_| doors.export_panel(PANEL)));
    let panels = join_all((0..50).map(|_| doors.panel_table(PANEL)));
    let opening = async {
        fake.until(|_, runs| !runs.is_empty()).await;
        gate.open();
    };
    let ((exports, panels), ()) = join(join(exports, panels), opening).await;
    assert!(exports.iter().all(|(status, _, body)| *status == StatusCode::OK && rows_of_json(body) == expected()));
    assert!(panels.iter().all(|response| rows_of_frame(response) == expected()));
    assert_eq!(fake.jobs_run().len(), 1);
    assert_eq!(fake.calls_of(CallKind::Insert).len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_caller_that_started_leaves_and_the_other_door_still_gets_the_one_job() {
    let fake = fake().await;
    let doors = doors_of_fake(&fake).await;
    let gate = Gate::new();
    fake.script().jobs(usize::MAX, JobRule::new().held_by(&gate));
    let mut first = Box::pin(doors.export_panel(PANEL));
    tokio::select! {
        _ = &mut first => panic!("the job is held"),
        () = async { fake.until(|_, runs| !runs.is_empty()).await; } => {}
    }
    let mut second = Box::pin(doors.panel_table(PANEL));
    // Long enough to reach the engine, and then longer than the grace of the one that left.
    assert!(tokio::time::timeout(Duration::from_millis(500), &mut second).await.is_err());
    drop(first);
    assert!(tokio::time::timeout(Duration::from_millis(500), &mut second).await.is_err());
    gate.open();
    assert_eq!(rows_of_frame(&second.await), expected());
    assert_eq!((fake.jobs_run().len(), fake.calls_of(CallKind::Cancel).len()), (1, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn when_all_callers_leave_the_job_is_cancelled_and_nothing_is_stored() {
    let fake = fake().await;
    let doors = doors_of_fake(&fake).await;
    let gate = Gate::new();
    fake.script().jobs(1, JobRule::new().held_by(&gate));
    let both = join(doors.export_panel(PANEL), doors.panel_table(PANEL));
    tokio::select! {
        _ = both => panic!("the job is held"),
        () = async { fake.until(|_, runs| !runs.is_empty()).await; } => {}
    }
    fake.until(|calls, _| calls.iter().any(|call| call.kind == CallKind::Cancel)).await;
    assert_eq!(fake.jobs_run().len(), 1);
    let (status, headers, _) = doors.export_panel(PANEL).await;
    assert_eq!(status, StatusCode::OK);
    assert!(headers["x-weir-result"].to_str().unwrap().contains("status=miss"), "{headers:?}");
    assert_eq!(fake.jobs_run().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_job_stores_nothing() {
    let fake = fake().await;
    let doors = doors_of_fake(&fake).await;
    fake.script().jobs(usize::MAX, JobRule::new().fails("backendError", "Resources exceeded during query execution"));
    let (status, _, problem) = doors.export_panel(PANEL).await;
    assert!(status.is_client_error() || status.is_server_error(), "{problem}");
    assert!(problem["detail"].as_str().unwrap().contains("Resources exceeded"), "{problem}");
    fake.script().clear();
    // The engine remembers a mistake for ten seconds; this one is none.
    let (status, headers, body) = doors.export_panel(PANEL).await;
    assert_eq!((status, rows_of_json(&body)), (StatusCode::OK, expected()));
    assert!(headers["x-weir-result"].to_str().unwrap().contains("status=miss"), "{headers:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_input_is_a_clear_error_at_both_doors_and_other_queries_are_answered() {
    let fake = fake().await;
    let doors = doors_of_fake(&fake).await;
    let cases = [
        ("SELECT FROM", 400, "Syntax error"),
        ("SELECT nosuch FROM `moz-fx-data-shared-prod.telemetry.experiment_enrollment_overall`", 400, "nosuch"),
        ("SELECT * FROM `moz-fx-data-shared-prod.telemetry.nosuchtable`", 404, "nosuchtable"),
        ("DELETE FROM `moz-fx-data-shared-prod.conformance.numbers` WHERE TRUE", 400, "DELETE"),
        ("SELECT 1; SELECT 2", 400, "several statements"),
        ("SELECT $__nope(x)", 400, "$__nope"),
        ("SELECT $__timeFilter(x", 400, "unclosed bracket"),
        ("-- nothing", 400, "empty"),
    ];
    let mut panels: Vec<Value> = cases.iter().map(|(sql, ..)| json!({"rawSql": sql, "format": 1})).collect();
    panels.push(json!({"rawSql": PANEL, "format": 1}));
    panels.push(json!({"rawSql": PANEL, "format": "sankey"}));
    panels.push(json!("not an object"));
    let mut responses = doors.panel(&panels).await;
    let (odd, format, good) = (responses.pop().unwrap(), responses.pop().unwrap(), responses.pop().unwrap());
    assert_eq!(rows_of_frame(&good), expected());
    assert!((format.status, format.error.contains("sankey")) == (400, true), "{}", format.error);
    assert!(odd.status == 400 && !odd.error.is_empty(), "{}", odd.error);
    for ((sql, status, part), response) in cases.iter().zip(&responses) {
        assert_eq!(response.status, *status, "{sql}: {}", response.error);
        assert!(response.error.contains(part), "{sql}: {}", response.error);
        let (export_status, headers, problem) = doors.export_panel(sql).await;
        assert_eq!(i32::from(export_status.as_u16()), *status, "{sql}: {problem}");
        assert_eq!(headers["content-type"], "application/problem+json");
        assert!(problem["detail"].as_str().unwrap().contains(part), "{sql}: {problem}");
    }
    let position = doors.export_panel("SELECT nosuch FROM UNNEST([1]) AS x").await.2;
    assert!(position["detail"].as_str().unwrap().contains("[1:8]"), "{position}");
    assert_eq!(doors.export_panel("SELECT 1 AS one").await.0, StatusCode::OK);
}
