//! What the demo tells people to try. Every line works when it is pasted into a shell.

use std::fmt::Write as _;
use std::net::SocketAddr;

use serde_json::json;
use url::form_urlencoded::Serializer;

use super::PANEL;
use super::place::Place;

pub(super) fn what_to_try(address: SocketAddr, place: &Place) -> String {
    let body = json!({
        "sql": PANEL, "from": "now-28d", "step": "1h",
        "params": {"experiment": {"type": "STRING", "value": place.experiment}},
    });
    let query = format!("http://{address}/api/v1/query");
    let body = shell(&body.to_string());
    let arrow = Serializer::new(String::new())
        .append_pair("sql", "SELECT app_name, COUNT(*) AS live FROM `moz-fx-data-experiments.monitoring.experimenter_experiments_v1` WHERE status = 'Live' GROUP BY 1 ORDER BY 2 DESC")
        .append_pair("format", "arrow")
        .finish();
    let python = format!(
        "import pyarrow as pa, urllib.request as http; print(pa.ipc.open_stream(http.urlopen(\"{query}?{arrow}\")).read_all())"
    );
    let mut text = format!("\nThe export API is at http://{address}; the data are in memory. To try:\n");
    let mut step = |what: &str, line: &str| {
        let _ = write!(text, "\n# {what}\n{line}\n");
    };
    step("the same panel, with the headers that say what it cost", &format!("curl -sSi {query} -d {body}"));
    step(
        "one JSON object a row, compressed on the way",
        &format!("curl -sS --compressed '{query}?format=ndjson' -d {body}"),
    );
    step("what it would read, without running it", &format!("curl -sS http://{address}/api/v1/explain -d {body}"));
    let experiment = format!("http://{address}/api/v1/experiments/{}", place.experiment);
    step("an experiment's health, as Experimenter judges it", &format!("curl -sS {experiment}/health"));
    step(
        "one of its datasets as CSV; all routes are at /api/v1/docs",
        &format!("curl -sS '{experiment}/series/experiment_enrollment_overall.csv?by=branch'"),
    );
    step("into pyarrow", &format!("python3 -c {}", shell(&python)));
    step("bytes billed and saved so far", &format!("curl -sS http://{address}/metrics"));
    if let Some(server) = &place.bigquery {
        let (rest, storage) = (server.rest_url(), server.storage_url());
        let _ =
            write!(text, "\nThe same data as a BigQuery server: REST at {rest}, Storage Read (gRPC) at {storage}\n");
    }
    text.push_str("\nCtrl-C ends the demo.\n\n");
    text
}

/// A text as one word of a POSIX shell.
fn shell(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// Bytes for people.
pub(super) fn mebibytes(bytes: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "one digit is shown")]
    let mebibytes = bytes as f64 / f64::from(1 << 20);
    if bytes == 0 { "0 B".to_owned() } else { format!("{mebibytes:.1} MiB") }
}
