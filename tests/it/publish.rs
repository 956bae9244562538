//! `weir publish` as a program, and its files read with their users' tools; and the client example.

use std::time::Duration;

use crate::support::process::{Running, weir};
use crate::support::python;

/// The demo's data take this long on a busy machine.
const LONG: Duration = Duration::from_mins(5);

async fn published_and_read(form: &str, options: &[&str]) {
    let folder = tempfile::tempdir().unwrap();
    let to = format!("file://{}", folder.path().display());
    let mut run = Running::start(weir(["publish", "--demo", "--to", &to].iter().chain(options)));
    let (status, _) = run.wait(LONG);
    assert!(status.success(), "{}", run.stderr());
    assert!(run.stdout().contains(&format!("experiments to {to}")), "{}", run.stdout());
    python::check("published_reader.py", &[folder.path().to_str().unwrap(), form]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn python_reads_what_is_published_from_the_demo() {
    published_and_read("plain", &["--counts-at", "00:00"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn python_reads_what_is_published_in_the_exporters_form() {
    published_and_read("compat", &["--counts-at", "00:00", "--compat"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_client_example_runs_against_the_demo() {
    let demo = Running::start(weir(["demo", "--listen", "127.0.0.1:0"]));
    let url = format!("http://{}", demo.wait_for_address());
    python::check("experimenter_example.py", &[&url]).await;
}

#[test]
fn a_destination_that_weir_cannot_write_to_is_refused_at_once() {
    let mut run = Running::start(weir(["publish", "--demo", "--to", "s3://bucket/x"]));
    let (status, _) = run.wait(LONG);
    assert!(!status.success());
    assert!(run.stderr().contains("begins with s3:, which Weir cannot write to"), "{}", run.stderr());
}
