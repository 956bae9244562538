//! The money table, for people and for programs. It counts nothing.

use std::fmt::Write as _;

use serde::Serialize;
use weir_plan::{Cost, Error, Mode, Price, Result};

use super::replay::Replay;
use super::tally::Tally;

/// What a replay found out.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The trace.
    pub trace: About,
    /// One row for each way of answering.
    pub rows: Vec<Row>,
    /// Where the bytes of the row `delta` go, the most first.
    pub delta: Vec<Part>,
    /// Where those of the row `weir` go.
    pub weir: Vec<Part>,
    /// Where those of the row `exporter-weir` go.
    pub exporter: Vec<Part>,
    /// What was looked at besides.
    pub checks: Checks,
}

/// A trace and its data.
#[derive(Clone, Debug, Serialize)]
pub struct About {
    /// SHA-256 of the trace's text.
    pub sha256: String,
    /// Panels of the board.
    pub panels: usize,
    /// Viewers.
    pub viewers: usize,
    /// Hours.
    pub hours: u32,
    /// Live recipes.
    pub recipes: u32,
    /// Rows of all tables at the start.
    pub rows: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// One way of answering.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// Its name.
    pub name: &'static str,
    /// Requests that were answered, or files that were written.
    pub requests: u64,
    /// Jobs.
    pub jobs: u64,
    /// Bytes billed.
    pub bytes: u64,
    /// What they cost.
    pub cost: Cost,
    /// The age than which 99 of 100 answers were not older.
    pub age_p99_s: Option<f64>,
}

/// A part of a bill.
#[derive(Clone, Debug, Serialize)]
pub struct Part {
    /// `flow` or `cumulative`.
    pub kind: &'static str,
    /// How its panels are answered.
    pub mode: Mode,
    /// Why so.
    pub reason: &'static str,
    /// What its jobs read.
    pub reads: &'static str,
    /// Jobs.
    pub jobs: u64,
    /// Bytes billed.
    pub bytes: u64,
}

/// What was looked at to see that the figures are true.
#[derive(Clone, Debug, Serialize)]
pub struct Checks {
    /// Uncached requests whose bill is known to the byte; that of others is rounded up.
    pub priced_exactly: u64,
    /// Uncached requests that were run, and billed what the dry run said.
    pub executed: u64,
    /// Requests that had to be hits and were put to the engine.
    pub hits_confirmed: u64,
    /// Those of them that were none.
    pub hits_refuted: u64,
}

impl Row {
    pub(super) fn new(name: &'static str, tally: &Tally) -> Self {
        let Tally { requests, jobs, bytes, .. } = *tally;
        Self { name, requests, jobs, bytes, cost: Price::default().of(bytes), age_p99_s: tally.age_p99_s() }
    }
}

impl Part {
    pub(super) fn all(replay: &Replay) -> Vec<Self> {
        let part = |(cause, (jobs, bytes)): (&super::replay::Cause, &(u64, u64))| {
            let (kind, mode, reason, read) = *cause;
            Self { kind: kind.as_str(), mode, reason, reads: read.as_str(), jobs: *jobs, bytes: *bytes }
        };
        let mut parts: Vec<Self> = replay.causes.iter().map(part).collect();
        parts.sort_by_key(|part| std::cmp::Reverse(part.bytes));
        parts
    }
}

impl Report {
    /// As JSON.
    ///
    /// # Errors
    /// `Internal` only.
    pub fn json(&self) -> Result<String> {
        let json = serde_json::to_string_pretty(self);
        Ok(json.map_err(|error| Error::internal("a report is no JSON").with_source(error))? + "\n")
    }

    /// For people.
    pub fn text(&self) -> String {
        let About { sha256, panels, viewers, hours, recipes, rows, bytes } = &self.trace;
        let short = sha256.get(..12).unwrap_or(sha256);
        let mut text = format!(
            "Trace {short}: {panels} panels, {viewers} viewers, {hours} h; {recipes} live recipes, {rows} rows, {}\n\n",
            size(*bytes)
        );
        let heads = ["ROW", "REQUESTS", "JOBS", "BILLED", "COSTS", "AGE P99"];
        table(&mut text, &heads.map(str::to_owned), self.rows.iter().map(cells));
        for (name, parts) in [("delta", &self.delta), ("weir", &self.weir), ("exporter-weir", &self.exporter)] {
            let _ = writeln!(text, "\nWhere the bytes of {name} go:\n");
            let heads = ["PANELS", "MODE", "REASON", "READS", "JOBS", "BILLED"].map(str::to_owned);
            table(&mut text, &heads, parts.iter().map(part_cells));
        }
        let Checks { priced_exactly, executed, hits_confirmed, hits_refuted } = &self.checks;
        let _ = writeln!(
            text,
            "\n{priced_exactly} uncached requests are priced to the byte by dry run (the others rounded up), {executed} were \
             run and billed the same.\n{hits_confirmed} requests that had to be hits were put to the engine; \
             {hits_refuted} of them were none."
        );
        text
    }
}

fn cells(row: &Row) -> [String; 6] {
    [
        row.name.to_owned(),
        row.requests.to_string(),
        row.jobs.to_string(),
        size(row.bytes),
        format!("{:.4} {}", row.cost.amount, row.cost.currency),
        row.age_p99_s.map_or_else(|| "-".to_owned(), |age| format!("{age:.0} s")),
    ]
}

fn part_cells(part: &Part) -> [String; 6] {
    let [kind, mode, reason, reads] = [part.kind, part.mode.as_str(), part.reason, part.reads].map(str::to_owned);
    [kind, mode, reason, reads, part.jobs.to_string(), size(part.bytes)]
}

/// Adds lines of columns as wide as their longest cell.
fn table(text: &mut String, heads: &[String; 6], rows: impl Iterator<Item = [String; 6]>) {
    let lines: Vec<[String; 6]> = std::iter::once(heads.clone()).chain(rows).collect();
    let width = |column: usize| lines.iter().map(|line| line[column].len()).max().unwrap_or_default();
    let widths: [usize; 6] = std::array::from_fn(width);
    for line in &lines {
        let cells = line.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}"));
        let _ = writeln!(text, "{}", cells.collect::<Vec<_>>().join("  ").trim_end());
    }
}

/// Bytes for people.
fn size(bytes: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "two digits are shown")]
    let mebibytes = bytes as f64 / f64::from(1 << 20);
    if mebibytes < 1024.0 { format!("{mebibytes:.1} MiB") } else { format!("{:.1} GiB", mebibytes / 1024.0) }
}
