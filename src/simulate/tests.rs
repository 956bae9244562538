//! A small trace end to end: what is printed is what the source billed.

use weir_plan::Mode;

use super::*;

/// Two viewers who look for twelve minutes over a midnight at two flows and a running total.
fn small() -> Trace {
    let mut trace = Trace::generate(Setting { seed: 2, recipes: 6 }).unwrap();
    trace.history_days = 5;
    trace.start = Timestamp::parse("2024-05-15T23:54:00Z", Timestamp::MIN).unwrap();
    trace.hours = 1;
    trace.exported = 3;
    trace.export_every = Duration::from_mins(30);
    let wanted = ["Enrollment overall", "Daily enrollments", "Population estimate by branch"];
    trace.panels.retain(|panel| wanted.contains(&panel.title.as_str()));
    let refresh = |at: u32| Refresh { at_ms: at * 30_000 + 7, viewer: at % 2 };
    trace.refreshes = (0..26).map(refresh).collect();
    trace
}

#[tokio::test]
async fn a_small_trace_costs_what_the_source_bills() {
    let trace = small();
    let report = run(&trace).await.unwrap();
    let row = |name: &str| report.rows.iter().find(|row| row.name == name).unwrap();
    let requests = 26 * 3;
    for name in ["uncached", "ttl60", "ttl-slot", "delta", "weir", "limit"] {
        assert_eq!(row(name).requests, requests, "{name}");
    }
    // Views of 17 live tables and the daily one, whose every table bills the least.
    let view = 18 * crate::source::MINIMUM_BYTES_PER_TABLE;
    assert_eq!((row("uncached").jobs, row("uncached").bytes), (requests, requests * view));
    assert_eq!(report.checks.priced_exactly, requests);
    // Every second refresh, and the one after the range moved on to the next hour.
    assert_eq!((row("ttl60").jobs, row("ttl60").bytes), (13 * 3, 13 * 3 * view));
    assert_eq!((row("ttl-slot").jobs, row("ttl-slot").age_p99_s), (4 * 3, Some(270.0)));
    assert!(row("limit").bytes < row("delta").bytes && row("delta").bytes < row("uncached").bytes, "{}", report.text());
    assert!(row("delta").age_p99_s.unwrap() <= 330.0);
    assert_eq!(report.delta.iter().map(|part| part.bytes).sum::<u64>(), row("delta").bytes);
    assert_eq!(report.weir.iter().map(|part| part.bytes).sum::<u64>(), row("weir").bytes);
    assert!(report.weir.iter().all(|part| part.mode == Mode::Local), "{}", report.text());
    let (weir, limit) = (row("weir").bytes, row("limit").bytes);
    assert!(weir < row("delta").bytes && limit <= weir, "{}", report.text());
    assert_eq!(report.exporter.iter().map(|part| part.jobs).sum::<u64>(), row("exporter-weir").jobs);
    // The running total is asked whole, once in each slot and on each side of midnight.
    let whole = report.delta.iter().find(|part| part.kind == "cumulative").unwrap();
    assert_eq!(
        (whole.reason, whole.reads, whole.jobs, whole.bytes),
        ("prefix_history", "all of the view", 4, 4 * view)
    );
    assert_eq!((report.checks.hits_refuted, report.checks.executed), (0, 3));
    let json: serde_json::Value = serde_json::from_str(&report.json().unwrap()).unwrap();
    let json_row = json["rows"].as_array().unwrap().iter().find(|row| row["name"] == "uncached").unwrap();
    assert_eq!((json_row["bytes"].as_u64(), json_row["jobs"].as_u64()), (Some(requests * view), Some(requests)));
}

#[tokio::test]
async fn a_panel_that_is_no_query_is_named() {
    let mut trace = small();
    trace.panels[1].sql = "SELECT $__timeGroup(time)".to_owned();
    let error = run(&trace).await.unwrap_err();
    assert!(error.message().contains(&format!("{:?}", trace.panels[1].title)), "{error}");
}
