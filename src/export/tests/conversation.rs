//! Callers together, callers that leave, and the door on real sockets.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, StatusCode};
use futures::future::join_all;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;
use weir_plan::Kind;

use super::{Bench, bench};
use crate::export::{bind, serve};
use crate::source::scripted::Scripted;

/// Lets every other task run until none has anything to do; the clock is paused.
async fn settle() {
    tokio::time::sleep(Duration::from_millis(1)).await;
}

#[tokio::test(start_paused = true)]
async fn a_hundred_equal_requests_are_one_job_and_one_body() {
    let bench = bench();
    let callers = (0..100).map(|_| bench.query("SELECT 'slow'", &[]));
    let (answers, ()) = tokio::join!(join_all(callers), async {
        settle().await;
        bench.source.gate.add_permits(1);
    });
    assert_eq!(bench.source.jobs(), 1);
    assert!(answers.iter().all(|answer| answer.status == StatusCode::OK && answer.body == answers[0].body));
    let joined = answers.iter().filter(|answer| answer.header("x-weir-result").unwrap().contains("status=joined"));
    assert_eq!(joined.count(), 99);
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_leaves_frees_its_waiter_and_the_last_one_ends_the_job() {
    let bench = bench();
    let ask = || {
        let body = Body::from(r#"{"sql": "SELECT 'slow'"}"#);
        bench.router.clone().oneshot(Request::post("/api/v1/query").body(body).unwrap())
    };
    let (first, second) = (tokio::spawn(ask()), tokio::spawn(ask()));
    settle().await;
    first.abort();
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!((bench.source.jobs(), bench.source.cancelled()), (1, 0));
    second.abort();
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!((bench.source.jobs(), bench.source.cancelled()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_deadline_is_a_timeout_and_the_job_goes_on_for_the_next_caller() {
    let bench = bench();
    let body = serde_json::json!({"sql": "SELECT 'slow'", "deadline": "1s"});
    let read = bench.post("/api/v1/query", &body, &[]).await;
    assert!(read.problem(504, "timeout").contains("within 1 s"));
    bench.source.gate.add_permits(1);
    assert_eq!(bench.query("SELECT 'slow'", &[]).await.status, StatusCode::OK);
    assert_eq!(bench.source.jobs(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_end_of_the_process_cancels_the_jobs_of_callers_who_still_wait() {
    let bench = bench();
    let (read, ()) = tokio::join!(bench.query("SELECT 'slow'", &[]), async {
        settle().await;
        bench.app.stop().await;
    });
    assert!(read.status.is_server_error());
    assert_eq!((bench.source.jobs(), bench.source.cancelled()), (1, 1));
}

/// A door on a socket of its own.
struct Open {
    address: SocketAddr,
    source: Arc<Scripted>,
    stop: CancellationToken,
    server: tokio::task::JoinHandle<weir_plan::Result<()>>,
}

async fn open(drain: Duration) -> Open {
    let Bench { router, source, .. } = bench();
    let listener = bind("127.0.0.1:0", false).await.unwrap();
    let (address, stop) = (listener.local_addr().unwrap(), CancellationToken::new());
    let server = tokio::spawn(serve(listener, router, stop.clone(), drain));
    Open { address, source, stop, server }
}

impl Open {
    /// Sends a text and reads until the server closes the connection; says whether that was an error.
    async fn exchange(&self, request: &[u8]) -> (Vec<u8>, bool) {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(request).await.unwrap();
        let mut response = Vec::new();
        let failed = stream.read_to_end(&mut response).await.is_err();
        (response, failed)
    }
}

fn get(sql: &str) -> Vec<u8> {
    let sql = sql.replace(' ', "+");
    format!("GET /api/v1/query?sql={sql} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").into_bytes()
}

#[tokio::test]
async fn an_answer_on_the_wire_has_its_length() {
    let open = open(Duration::ZERO).await;
    let (response, _) = open.exchange(&get("SELECT 'types'")).await;
    let text = String::from_utf8_lossy(&response);
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 OK"), "{head}");
    assert!(head.contains(&format!("content-length: {}", body.len())), "{head}");
}

#[tokio::test]
async fn a_failure_in_mid_stream_is_never_a_clean_end() {
    let open = open(Duration::ZERO).await;
    let end = b"\r\n0\r\n\r\n";
    let (whole, _) = open.exchange(&get("SELECT 'large'")).await;
    assert!(whole.starts_with(b"HTTP/1.1 200 OK") && whole.ends_with(end));
    let (torn, _) = open.exchange(&get("SELECT 'torn'")).await;
    assert!(torn.starts_with(b"HTTP/1.1 200 OK"));
    assert!(torn.len() > 10_000_000 && !torn.ends_with(end), "{}", torn.len());
}

#[tokio::test]
async fn a_hundred_megabytes_are_answered_with_too_large_and_the_process_lives() {
    let open = open(Duration::ZERO).await;
    let mut stream = TcpStream::connect(open.address).await.unwrap();
    let head =
        "POST /api/v1/query HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 104857600\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let piece = vec![b'x'; 1 << 20];
    for _ in 0..100 {
        stream.write_all(&piece).await.unwrap();
    }
    let mut response = Vec::new();
    stream.read_to_end(&mut response).await.unwrap();
    let text = String::from_utf8_lossy(&response);
    assert!(text.starts_with("HTTP/1.1 413") && text.contains("application/problem+json"), "{text}");
    assert!(open.exchange(&get("SELECT 'types'")).await.0.starts_with(b"HTTP/1.1 200 OK"));
}

#[tokio::test]
async fn a_connection_that_is_dropped_ends_the_job_that_nobody_else_waits_for() {
    let open = open(Duration::ZERO).await;
    let mut stream = TcpStream::connect(open.address).await.unwrap();
    stream.write_all(&get("SELECT 'slow'")).await.unwrap();
    while open.source.jobs() == 0 {
        tokio::task::yield_now().await;
    }
    drop(stream);
    while open.source.cancelled() == 0 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_stop_lets_requests_under_way_end_and_takes_no_more() {
    let open = open(Duration::from_mins(1)).await;
    let request = tokio::spawn({
        let address = open.address;
        async move {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(&get("SELECT 'slow'")).await.unwrap();
            let mut response = Vec::new();
            stream.read_to_end(&mut response).await.unwrap();
            response
        }
    });
    while open.source.jobs() == 0 {
        tokio::task::yield_now().await;
    }
    open.stop.cancel();
    while TcpStream::connect(open.address).await.is_ok() {
        tokio::task::yield_now().await;
    }
    open.source.gate.add_permits(1);
    assert!(request.await.unwrap().starts_with(b"HTTP/1.1 200 OK"));
    open.server.await.unwrap().unwrap();
}

#[tokio::test]
async fn the_drain_has_an_end() {
    let open = open(Duration::from_millis(10)).await;
    let mut stream = TcpStream::connect(open.address).await.unwrap();
    stream.write_all(&get("SELECT 'slow'")).await.unwrap();
    while open.source.jobs() == 0 {
        tokio::task::yield_now().await;
    }
    open.stop.cancel();
    open.server.await.unwrap().unwrap();
}

#[tokio::test]
async fn addresses_that_cannot_be_served_are_named_with_the_remedy() {
    let taken = bind("127.0.0.1:0", false).await.unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let error = bind(&address, false).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Unavailable);
    assert!(error.message().contains(&address) && error.message().contains("--listen"), "{error}");
    let error = bind("0.0.0.0:0", false).await.unwrap_err();
    assert!(error.message().contains("--allow-anonymous"), "{error}");
    assert!(bind("0.0.0.0:0", true).await.is_ok());
    let error = bind("8088", false).await.unwrap_err();
    assert!(error.message().contains("\"8088\" is not HOST:PORT"), "{error}");
}
