//! The whole door over a scripted source.

mod conversation;
mod experiments;
mod rows;
mod scripted;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Request, StatusCode};
use bytes::Bytes;
use serde_json::{Value, json};
use tower::ServiceExt as _;
use weir_plan::{Kind, Timestamp};

use super::format::Format;
use super::{ExportSettings, router};
use crate::app::App;
use crate::cache::StoreSettings;
use crate::clock::ManualClock;
use crate::engine::EngineSettings;
use crate::source::scripted::Scripted;

/// A door, its source and its clock.
struct Bench {
    app: Arc<App>,
    router: Router,
    source: Arc<Scripted>,
    clock: Arc<ManualClock>,
}

/// A response that was read to its end.
struct Read {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

/// The benches' first moment.
fn started() -> Timestamp {
    Timestamp::parse("2024-01-01T12:00:00Z", Timestamp::MIN).unwrap()
}

fn bench() -> Bench {
    bench_with(ExportSettings::default())
}

fn bench_with(settings: ExportSettings) -> Bench {
    let clock = Arc::new(ManualClock::new(started()));
    let source = Arc::new(scripted::source());
    let mut app = App::new(StoreSettings::of(256 << 20), Arc::clone(&clock) as _, App::GRACE);
    app.add_source("only", Arc::clone(&source) as _, EngineSettings::default());
    let app = Arc::new(app);
    Bench { router: router(Arc::clone(&app), settings), app, source, clock }
}

impl Bench {
    async fn send(&self, request: Request<Body>) -> Read {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (status, headers) = (response.status(), response.headers().clone());
        Read { status, headers, body: to_bytes(response.into_body(), usize::MAX).await.unwrap() }
    }

    async fn post(&self, path: &str, body: &Value, headers: &[(&str, &str)]) -> Read {
        let mut request = Request::post(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.send(request.body(Body::from(body.to_string())).unwrap()).await
    }

    async fn query(&self, sql: &str, headers: &[(&str, &str)]) -> Read {
        self.post("/api/v1/query", &json!({ "sql": sql }), headers).await
    }

    async fn get(&self, path: &str) -> Read {
        self.send(Request::get(path).body(Body::empty()).unwrap()).await
    }
}

impl Read {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&self.body)))
    }

    /// Checks that this is a problem with the status and the code, and gives its detail.
    fn problem(&self, status: u16, code: &str) -> String {
        let problem = self.json();
        assert_eq!(self.status.as_u16(), status, "{problem}");
        assert_eq!(self.header("content-type"), Some("application/problem+json"));
        assert_eq!((&problem["status"], &problem["code"]), (&json!(status), &json!(code)));
        problem["detail"].as_str().unwrap().to_owned()
    }
}

#[tokio::test]
async fn an_answer_has_its_provenance_its_lifetime_and_what_it_varies_by_in_headers() {
    let bench = bench();
    let first = bench.query("SELECT 'types'", &[]).await;
    assert_eq!(first.status, StatusCode::OK);
    assert_eq!(first.header("x-weir-result"), Some("mode=whole, status=miss, age=0, billed=10485760, saved=0"));
    assert_eq!(first.header("content-type"), Some("application/json"));
    assert_eq!(first.header("vary"), Some("Accept, Accept-Encoding"));
    assert_eq!(first.header("cache-control"), Some("private, max-age=60"));
    bench.clock.set(started().plus(Duration::from_millis(12_500)));
    let second = bench.query("SELECT 'types'", &[]).await;
    assert_eq!(second.header("x-weir-result"), Some("mode=whole, status=hit, age=12, billed=0, saved=10485760"));
    assert_eq!(second.header("cache-control"), Some("private, max-age=47"));
    assert_eq!(first.body, second.body);
    assert_eq!(bench.source.jobs(), 1);
}

#[tokio::test]
async fn the_same_content_has_the_same_weak_etag_and_is_not_sent_twice() {
    let bench = bench();
    let first = bench.query("SELECT 'types'", &[]).await;
    let etag = first.header("etag").unwrap().to_owned();
    assert!(etag.starts_with("W/\""), "{etag}");
    for known in [etag.as_str(), etag.trim_start_matches("W/"), "*", &format!("\"other\", {etag}")] {
        let again = bench.query("SELECT 'types'", &[("if-none-match", known)]).await;
        assert_eq!(again.status, StatusCode::NOT_MODIFIED, "{known}");
        assert!(again.body.is_empty());
        assert_eq!(again.header("etag"), Some(etag.as_str()));
        assert!(again.header("x-weir-result").unwrap().contains("status=hit"));
    }
    assert_eq!(bench.query("SELECT 'types'", &[("if-none-match", "\"other\"")]).await.status, StatusCode::OK);
    bench.post("/api/v1/purge", &json!({}), &[]).await;
    let anew = bench.query("SELECT 'types'", &[("if-none-match", &etag)]).await;
    assert_eq!((anew.status, bench.source.jobs()), (StatusCode::NOT_MODIFIED, 2));
    let arrow = bench.query("SELECT 'types'", &[("accept", "application/vnd.apache.arrow.stream")]).await;
    assert_ne!(arrow.header("etag"), Some(etag.as_str()));
}

#[tokio::test]
async fn the_parameter_format_beats_the_accept_header() {
    let bench = bench();
    let check = async |body: Value, accept: &str, expected: &str| {
        let read = bench.post("/api/v1/query", &body, &[("accept", accept)]).await;
        assert_eq!(read.header("content-type"), Some(expected), "{body} {accept}");
    };
    let plain = json!({"sql": "SELECT 'types'"});
    check(plain.clone(), "*/*", "application/json").await;
    check(plain.clone(), "application/x-ndjson", "application/x-ndjson").await;
    check(plain.clone(), "application/json;q=0.1, application/vnd.apache.arrow.stream;q=0.2", ARROW).await;
    check(json!({"sql": "SELECT 'types'", "format": "arrow"}), "application/json", ARROW).await;
    check(json!({"sql": "SELECT 'types'", "format": "ndjson"}), "text/html", "application/x-ndjson").await;
    let body = json!({"sql": "SELECT 'types'", "format": "json"});
    let read = bench.post("/api/v1/query?format=ndjson", &body, &[]).await;
    assert_eq!(read.header("content-type"), Some("application/x-ndjson"));
    let read = bench.post("/api/v1/query?from=now", &plain, &[]).await;
    assert!(read.problem(400, "invalid_query").contains("unknown field from"));
}

const ARROW: &str = "application/vnd.apache.arrow.stream";

#[tokio::test]
async fn a_format_that_cannot_be_made_is_refused_before_anything_is_billed() {
    let bench = bench();
    let read = bench.query("SELECT 'types'", &[("accept", "text/html")]).await;
    assert!(read.problem(406, "not_acceptable").contains("text/html"));
    let read = bench.post("/api/v1/query", &json!({"sql": "SELECT 'types'", "format": "xml"}), &[]).await;
    assert!(read.problem(400, "invalid_query").contains("json, arrow, ndjson"));
    assert_eq!(bench.source.jobs(), 0);
}

#[tokio::test]
async fn bodies_are_compressed_as_asked() {
    let bench = bench();
    let plain = bench.query("SELECT 'many'", &[]).await;
    assert_eq!(plain.header("content-encoding"), None);
    let zstd = bench.query("SELECT 'many'", &[("accept-encoding", "gzip, zstd")]).await;
    assert_eq!(zstd.header("content-encoding"), Some("zstd"));
    assert_eq!(zstd::stream::decode_all(&*zstd.body).unwrap(), plain.body);
    let gzip = bench.query("SELECT 'many'", &[("accept-encoding", "gzip")]).await;
    assert_eq!(gzip.header("content-encoding"), Some("gzip"));
    let mut unpacked = Vec::new();
    std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(&*gzip.body), &mut unpacked).unwrap();
    assert_eq!(unpacked, plain.body);
    assert!(zstd.body.len() < plain.body.len() / 2, "{} of {}", zstd.body.len(), plain.body.len());
    assert_eq!(plain.header("etag"), zstd.header("etag"));
    assert_eq!(bench.source.jobs(), 1);
}

#[tokio::test]
async fn a_body_is_made_once_and_its_bytes_are_shared() {
    let bench = bench();
    for headers in [[("accept-encoding", "identity")], [("accept-encoding", "zstd")]] {
        let (first, second) =
            (bench.query("SELECT 'many'", &headers).await, bench.query("SELECT 'many'", &headers).await);
        assert_eq!(first.body.as_ptr(), second.body.as_ptr());
    }
}

#[tokio::test]
async fn an_answer_past_the_cache_is_not_to_be_kept() {
    let bench = bench();
    let body = json!({"sql": "SELECT 'types'", "cache": {"mode": "off"}});
    let read = bench.post("/api/v1/query", &body, &[]).await;
    assert_eq!(read.header("cache-control"), Some("no-store"));
    bench.post("/api/v1/query", &body, &[]).await;
    assert_eq!(bench.source.jobs(), 2);
}

#[tokio::test]
async fn every_kind_of_failure_is_a_problem_with_its_status() {
    for kind in Kind::ALL {
        let row = kind.row();
        let read = bench().query(&format!("SELECT 'error {}'", row.code), &[]).await;
        let detail = read.problem(row.http, row.code);
        assert_eq!(detail.contains("table p.d.t"), kind != Kind::Internal, "{detail}");
        let due = matches!(kind, Kind::QuotaExceeded | Kind::Overloaded);
        assert_eq!(read.header("retry-after"), due.then_some("7"));
    }
}

#[tokio::test]
async fn a_panic_is_an_internal_error_whose_text_stays_inside() {
    let read = bench().post("/api/v1/explain", &json!({"sql": "SELECT 'panic'"}), &[]).await;
    assert!(!read.problem(500, "internal").contains("secret"));
}

#[tokio::test]
async fn bad_requests_are_problems_that_name_what_is_wrong() {
    let bench = bench();
    let check = async |body: Value, expected: &str| {
        let detail = bench.post("/api/v1/query", &body, &[]).await.problem(400, "invalid_query");
        assert!(detail.contains(expected), "{body}: {detail}");
    };
    check(json!([]), "the body is an array").await;
    check(json!({"sql": "DELETE FROM t WHERE true"}), "DELETE is not a query").await;
    check(json!({"sql": "SELECT $__timeFrom()"}), "$__timeFrom").await;
    check(json!({"sql": "SELECT 1", "from": "now", "to": "now-1h"}), "from: ").await;
    check(json!({"sql": "SELECT 1", "form": "now"}), "unknown field form; did you mean from?").await;
    let raw = Request::post("/api/v1/query").body(Body::from("{\"sql\": ")).unwrap();
    assert!(bench.send(raw).await.problem(400, "invalid_query").contains("not JSON"));
    assert!(bench.get("/api/v1/query").await.problem(400, "invalid_query").contains("sql is missing"));
    let other = bench.post("/api/v1/query", &json!({"sql": "SELECT 1", "source": "prod"}), &[]).await;
    assert!(other.problem(404, "not_found").contains("there are: only"));
    assert_eq!(bench.source.jobs(), 0);
}

#[tokio::test]
async fn paths_and_methods_that_there_are_not_are_problems_too() {
    let bench = bench();
    assert!(bench.get("/api/v2/query").await.problem(404, "not_found").contains("/api/v1/query"));
    let read = bench.send(Request::delete("/api/v1/query").body(Body::empty()).unwrap()).await;
    assert!(read.problem(405, "method_not_allowed").contains("DELETE"));
    assert_eq!(read.header("allow"), Some("GET,HEAD,POST"));
    bench.get("/api/v1/purge").await.problem(405, "method_not_allowed");
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused_whether_it_says_its_length_or_not() {
    let bench = bench();
    let large = vec![b' '; 3 << 20];
    let announced = Request::post("/api/v1/query").body(Body::from(large.clone())).unwrap();
    assert!(bench.send(announced).await.problem(413, "too_large").contains("1048576"));
    let pieces = large.chunks(1000).map(|piece| Ok::<_, std::io::Error>(piece.to_vec())).collect::<Vec<_>>();
    let unannounced = Body::from_stream(futures::stream::iter(pieces));
    bench.send(Request::post("/api/v1/query").body(unannounced).unwrap()).await.problem(413, "too_large");
}

#[tokio::test]
async fn explain_says_what_a_query_would_cost_and_runs_nothing() {
    let bench = bench();
    let body = json!({"sql": "SELECT 'types', $__timeFrom()", "from": "now-1d"});
    let explanation = bench.post("/api/v1/explain", &body, &[]).await.json();
    assert_eq!(explanation["mode"], "whole");
    assert_eq!(explanation["segments"][0]["bytes_processed"], 1234);
    assert!(explanation["segments"][0]["sql"].as_str().unwrap().contains("2023-12-31T12:00:00Z"), "{explanation}");
    let got = bench.get("/api/v1/explain?sql=SELECT+'types',+$__timeFrom()&from=now-1d").await;
    assert_eq!(got.json(), explanation);
    assert_eq!(bench.source.jobs(), 0);
}

#[tokio::test]
async fn purge_leaves_stored_answers_behind() {
    let bench = bench();
    bench.query("SELECT 'types'", &[]).await;
    let read = bench.post("/api/v1/purge", &json!({"source": "only"}), &[]).await;
    assert_eq!(read.json(), json!({"generation": 1}));
    assert!(bench.query("SELECT 'types'", &[]).await.header("x-weir-result").unwrap().contains("status=miss"));
    bench.post("/api/v1/purge", &json!({"source": "other"}), &[]).await.problem(404, "not_found");
    let empty = Request::post("/api/v1/purge").body(Body::empty()).unwrap();
    assert_eq!(bench.send(empty).await.json(), json!({"generation": 2}));
}

#[tokio::test]
async fn the_ledger_tells_what_was_billed_and_saved() {
    let bench = bench();
    bench.query("SELECT 'types'", &[]).await;
    bench.query("SELECT 'types'", &[]).await;
    let lines = bench.get("/api/v1/ledger?by=day,principal&format=ndjson&source=only&from=2024-01-01").await;
    assert_eq!(lines.header("cache-control"), Some("no-store"));
    let row: Value = serde_json::from_slice(&lines.body).unwrap();
    let row = ["day", "principal", "jobs", "bytes_billed", "answers", "bytes_saved"].map(|name| row[name].to_string());
    assert_eq!(row.map(|cell| cell.replace('"', "")), ["2024-01-01", "anonymous", "1", "10485760", "2", "10485760"]);
    let by_source = bench.get("/api/v1/ledger").await.json();
    assert_eq!((&by_source["columns"][0]["name"], &by_source["rows"][0][0]), (&json!("source"), &json!("only")));
    assert_eq!(bench.get("/api/v1/ledger?to=2024-01-01").await.json()["rows"], json!([]));
    let check = async |text: &str, expected: &str| {
        let detail = bench.get(&format!("/api/v1/ledger?{text}")).await.problem(400, "invalid_query");
        assert!(detail.contains(expected), "{text}: {detail}");
    };
    check("by=week", "by: \"week\" is none of source, board, panel, principal, day, cause").await;
    check("from=someday", "from: ").await;
    check("until=now", "unknown field until").await;
    assert_eq!(bench.source.jobs(), 1);
}

#[tokio::test]
async fn the_probes_tell_the_process_from_its_readiness() {
    let settings = ExportSettings::default();
    let stop = settings.stop.clone();
    let ready = bench_with(settings);
    assert_eq!(&*ready.get("/healthz").await.body, b"ok\n");
    assert_eq!(ready.get("/readyz").await.json(), json!({"ready": true, "sources": ["only"]}));
    stop.cancel();
    ready.get("/readyz").await.problem(503, "overloaded");
    assert_eq!(ready.get("/healthz").await.status, StatusCode::OK);
    let clock = Arc::new(ManualClock::new(Timestamp::MIN));
    let empty = App::new(StoreSettings::of(1 << 20), clock, App::GRACE);
    let empty = Bench { router: router(Arc::new(empty), ExportSettings::default()), ..bench() };
    assert!(empty.get("/readyz").await.problem(503, "overloaded").contains("no source"));
}

#[tokio::test]
async fn metrics_count_answers_and_failures_of_this_door() {
    let bench = bench();
    bench.query("SELECT 'types'", &[]).await;
    bench.query("SELECT 'error not_found'", &[]).await;
    let read = bench.get("/metrics").await;
    assert!(read.header("content-type").unwrap().starts_with("text/plain; version=0.0.4"));
    let text = String::from_utf8(read.body.to_vec()).unwrap();
    assert!(text.contains(r#"weir_requests_total{edge="export",mode="whole",status="miss"} 1"#), "{text}");
    assert!(text.contains(r#"weir_errors_total{edge="export",kind="not_found"} 1"#), "{text}");
}

#[tokio::test]
async fn parameters_location_dataset_and_limit_reach_the_job() {
    let bench = bench();
    let body = json!({
        "sql": "SELECT 'types', @branch", "params": {"branch": {"type": "STRING", "value": "control"}},
        "project": "p", "dataset": "d", "location": "EU", "maximumBytesBilled": 1000,
    });
    assert_eq!(bench.post("/api/v1/query", &body, &[]).await.status, StatusCode::OK);
    let job = bench.source.last_job();
    assert_eq!(job.parameters["branch"].value, json!("control"));
    assert_eq!(job.default_dataset.as_deref(), Some("p.d"));
    assert_eq!(job.location.as_deref(), Some("EU"));
    assert_eq!(job.maximum_bytes_billed, Some(1000));
    assert_eq!(job.labels, BTreeMap::from([("weir_door".to_owned(), "export".to_owned())]));
}

#[tokio::test]
async fn pages_of_other_sites_and_names_of_other_hosts_are_refused() {
    let bench = bench();
    let refused =
        [[("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "cors")], [("host", "evil.example"), ("x", "y")]];
    for headers in refused {
        bench.query("SELECT 'types'", &headers).await.problem(403, "permission_denied");
    }
    assert_eq!(bench.source.jobs(), 0);
    let served = [[("sec-fetch-site", "same-origin"), ("host", "localhost:8088")], [("host", "10.0.0.1"), ("x", "y")]];
    for headers in served {
        assert_eq!(bench.query("SELECT 'types'", &headers).await.status, StatusCode::OK);
    }
    let open = bench_with(ExportSettings { local_only: false, ..ExportSettings::default() });
    assert_eq!(open.query("SELECT 'types'", &[("host", "weir.example")]).await.status, StatusCode::OK);
    let navigation = |into: &str, by_hand: &str| {
        let request = Request::get("/api/v1/query?sql=SELECT+'types'").header("sec-fetch-site", "cross-site");
        let request = request.header("sec-fetch-mode", "navigate").header("sec-fetch-dest", into);
        request.header("sec-fetch-user", by_hand).body(Body::empty()).unwrap()
    };
    assert_eq!(open.send(navigation("document", "?1")).await.status, StatusCode::OK);
    assert_eq!(open.send(navigation("document", "?0")).await.status, StatusCode::FORBIDDEN);
    assert_eq!(open.send(navigation("iframe", "?1")).await.status, StatusCode::FORBIDDEN);
}
