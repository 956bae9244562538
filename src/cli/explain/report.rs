//! Explanations for people and programs. It asks nobody anything.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::Serialize;
use serde_json::{Value, json};
use weir_plan::{Cost, Error, Result};

use crate::engine::{Explanation, SegmentExplanation};

/// What became of one query of a board.
pub(super) struct Entry {
    pub(super) panel: String,
    pub(super) ref_id: String,
    pub(super) data_source: Option<String>,
    pub(super) hidden: bool,
    pub(super) outcome: Outcome,
}

/// How it went.
pub(super) enum Outcome {
    Explained(Explanation),
    Failed(Error),
    Skipped(String),
}

impl Entry {
    /// An entry of which nothing else is known.
    pub(super) fn of(panel: &str, ref_id: &str) -> Self {
        Self {
            panel: panel.to_owned(),
            ref_id: ref_id.to_owned(),
            data_source: None,
            hidden: false,
            outcome: Outcome::Skipped(String::new()),
        }
    }

    fn explanation(&self) -> Option<&Explanation> {
        match &self.outcome {
            Outcome::Explained(explanation) => Some(explanation),
            _ => None,
        }
    }
}

/// Every query of a board.
pub(super) struct Report {
    title: String,
    entries: Vec<Entry>,
}

impl Report {
    pub(super) fn new(title: &str, entries: Vec<Entry>) -> Self {
        Self { title: title.to_owned(), entries }
    }

    fn failed(&self) -> usize {
        self.entries.iter().filter(|entry| matches!(entry.outcome, Outcome::Failed(_))).count()
    }

    fn skipped(&self) -> usize {
        self.entries.iter().filter(|entry| matches!(entry.outcome, Outcome::Skipped(_))).count()
    }

    /// Bytes billed and their cost, if all jobs ran; one that several queries share runs once.
    fn total(&self) -> (u64, Option<Cost>) {
        let segments = self.entries.iter().filter_map(Entry::explanation).flat_map(|explanation| &explanation.segments);
        let jobs: BTreeMap<&str, &SegmentExplanation> = segments.map(|segment| (&*segment.key, segment)).collect();
        let amount = jobs.values().map(|job| job.cost.amount).sum();
        let currency = jobs.values().next().map(|job| job.cost.currency.clone());
        (jobs.values().map(|job| job.bytes_billed).sum(), currency.map(|currency| Cost { amount, currency }))
    }

    /// The report as JSON.
    ///
    /// # Errors
    /// `Internal` if JSON refuses.
    pub(super) fn json(&self) -> Result<String> {
        let targets = self.entries.iter().map(|entry| {
            let mut target = json!({"panel": entry.panel, "ref_id": entry.ref_id});
            if let Some(name) = &entry.data_source {
                target["data_source"] = name.as_str().into();
            }
            target["hidden"] = entry.hidden.into();
            match &entry.outcome {
                Outcome::Explained(explanation) => target["explanation"] = json!(explanation),
                Outcome::Failed(error) => {
                    target["error"] = json!({"code": error.kind().row().code, "message": error.public_message()});
                }
                Outcome::Skipped(reason) => target["skipped"] = reason.as_str().into(),
            }
            target
        });
        let targets: Vec<Value> = targets.collect();
        let (bytes_billed, cost) = self.total();
        pretty(&json!({"board": self.title, "targets": targets, "bytes_billed": bytes_billed, "cost": cost}))
    }

    /// A table of all queries, then the details of each.
    pub(super) fn text(&self) -> String {
        let mut text = format!("{}\n\n", if self.title.is_empty() { "A board without a title" } else { &self.title });
        text.push_str(&table(&self.entries));
        let (bytes_billed, cost) = self.total();
        let cost = cost.map(|cost| format!(", {cost}")).unwrap_or_default();
        let _ = writeln!(
            text,
            "\n{} queries, {} failed, {} skipped; with nothing stored, the others bill {}{cost}",
            self.entries.len(),
            self.failed(),
            self.skipped(),
            bytes(bytes_billed)
        );
        for (entry, explanation) in self.entries.iter().filter_map(|entry| Some((entry, entry.explanation()?))) {
            let source = entry.data_source.as_ref().map(|name| format!(" of {name}")).unwrap_or_default();
            let _ = write!(text, "\n{}, query {}{source}\n{}", entry.panel, entry.ref_id, details(explanation));
        }
        text
    }

    /// # Errors
    /// `InvalidQuery` if a query could not be explained.
    pub(super) fn verdict(&self) -> Result<()> {
        match self.failed() {
            0 => Ok(()),
            failed => Err(Error::invalid(format!("{failed} of {} queries cannot be explained", self.entries.len()))),
        }
    }
}

/// A value as indented JSON with a line end.
///
/// # Errors
/// `Internal` if JSON refuses.
pub(super) fn pretty(value: &impl Serialize) -> Result<String> {
    let text = serde_json::to_string_pretty(value);
    text.map(|text| text + "\n").map_err(|error| Error::internal("cannot write the explanation").with_source(error))
}

/// An explanation for people, one block for each piece.
pub(super) fn details(explanation: &Explanation) -> String {
    let mut text = String::new();
    for segment in &explanation.segments {
        for (name, value) in facts(explanation, segment) {
            let _ = writeln!(text, "  {name:<7} {value}");
        }
        for line in segment.sql.trim().lines() {
            let _ = writeln!(text, "    {line}");
        }
    }
    text
}

fn facts(explanation: &Explanation, segment: &SegmentExplanation) -> Vec<(&'static str, String)> {
    let mut facts = vec![("mode", format!("{} ({})", explanation.mode, explanation.reason))];
    if let Some(range) = segment.range {
        facts.push(("range", format!("{} to {}", range.start(), range.end())));
    }
    facts.push(("key", segment.key.clone()));
    let derived = if segment.derived { ", made of finer segments" } else { "" };
    facts.push(("status", format!("{}{derived}, fresh for {:.0} s", segment.status.as_str(), segment.fresh_for_s)));
    if let Some(state) = state(segment) {
        facts.push(("state", state));
    }
    facts.push(("reads", bytes(segment.bytes_processed)));
    let learned = segment.bytes_learned.map(|learned| format!("; the last one billed {}", bytes(learned)));
    let learned = learned.unwrap_or_default();
    facts.push(("bills", format!("{}, {}{learned}", bytes(segment.bytes_billed), segment.cost)));
    if !segment.referenced_tables.is_empty() {
        facts.push(("tables", segment.referenced_tables.join(", ")));
    }
    facts
}

/// How settled the parts of a piece are: `final to 2024-01-20T00:00:00Z, then open`.
fn state(segment: &SegmentExplanation) -> Option<String> {
    let Some((last, before)) = segment.states.split_last() else {
        return segment.state.map(|state| state.as_str().to_owned());
    };
    let mut text = String::new();
    for part in before {
        let _ = write!(text, "{} to {}, then ", part.state.as_str(), part.range.end());
    }
    Some(text + last.state.as_str())
}

fn table(entries: &[Entry]) -> String {
    let mut rows = vec![["PANEL", "QUERY", "MODE", "STATUS", "READS", "BILLS", "COSTS"].map(str::to_owned)];
    let mut remarks = vec![None];
    for entry in entries {
        let query = format!("{}{}", entry.ref_id, if entry.hidden { " (hidden)" } else { "" });
        let [mode, status, reads, bills, costs] = match &entry.outcome {
            Outcome::Explained(e) => {
                let status = e.segments.iter().map(|segment| segment.status).max();
                [
                    e.mode.to_string(),
                    status.map_or_else(String::new, |status| status.as_str().to_owned()),
                    bytes(e.bytes_processed),
                    bytes(e.bytes_billed),
                    e.cost.to_string(),
                ]
            }
            _ => Default::default(),
        };
        rows.push([entry.panel.clone(), query, mode, status, reads, bills, costs]);
        remarks.push(match &entry.outcome {
            Outcome::Explained(_) => None,
            Outcome::Failed(error) => Some(format!("failed: {}", one_line(error.public_message()))),
            Outcome::Skipped(reason) => Some(format!("skipped: {}", one_line(reason))),
        });
    }
    let widths: Vec<usize> =
        (0..7).map(|column| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default()).collect();
    let mut text = String::new();
    for (row, remark) in rows.iter().zip(remarks) {
        let cells = if remark.is_some() { &row[..2] } else { &row[..] };
        let mut line = String::new();
        for (cell, width) in cells.iter().zip(&widths) {
            let _ = write!(line, "{cell:<width$}  ");
        }
        let _ = writeln!(text, "{}", (line + &remark.unwrap_or_default()).trim_end());
    }
    text
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Bytes for people, in the largest unit of which there is one.
fn bytes(bytes: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "one digit is shown")]
    let mut value = bytes as f64;
    let mut units = ["B", "KiB", "MiB", "GiB", "TiB"].into_iter();
    let mut unit = units.next().unwrap_or_default();
    for larger in units {
        if value < 1024.0 {
            break;
        }
        value /= 1024.0;
        unit = larger;
    }
    if unit == "B" { format!("{bytes} B") } else { format!("{value:.1} {unit}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{Settled, Status};
    use weir_plan::descriptor::State;
    use weir_plan::{Extent, Mode, Timestamp};

    #[test]
    fn bytes_are_shown_in_their_largest_unit() {
        let check = |number: u64, expected: &str| assert_eq!(bytes(number), expected);
        check(0, "0 B");
        check(1023, "1023 B");
        check(1536, "1.5 KiB");
        check(10 << 20, "10.0 MiB");
        check(5 << 40, "5.0 TiB");
        check(5000 << 40, "5000.0 TiB");
    }

    #[test]
    fn a_piece_says_how_settled_it_is_and_what_the_last_job_billed() {
        let at = |day: &str| Timestamp::parse(day, Timestamp::MIN).unwrap();
        let settled = |from, to, state| Settled { range: Extent::new(at(from), at(to)).unwrap(), state };
        let states =
            vec![settled("2024-01-18", "2024-01-21", State::Final), settled("2024-01-21", "2024-01-22", State::Open)];
        let cost = weir_plan::Price::default().of(10 << 20);
        let mut segment = SegmentExplanation {
            sql: "SELECT 1".to_owned(),
            range: None,
            key: "k".to_owned(),
            state: Some(State::Open),
            states,
            fresh_for_s: 60.0,
            status: Status::Miss,
            derived: false,
            bytes_processed: 1,
            bytes_billed: 10 << 20,
            bytes_learned: Some(20 << 20),
            cost: cost.clone(),
            referenced_tables: vec![],
        };
        let text = |segment: &SegmentExplanation| {
            let (bytes_processed, bytes_billed) = (segment.bytes_processed, segment.bytes_billed);
            let segments = vec![segment.clone()];
            details(&Explanation {
                mode: Mode::Delta,
                reason: "buckets",
                bytes_processed,
                bytes_billed,
                cost: cost.clone(),
                segments,
            })
        };
        let both = "  status  miss, fresh for 60 s\n  \
            state   final to 2024-01-21T00:00:00Z, then open\n  \
            reads   1 B\n  \
            bills   10.0 MiB, 0.000060 USD; the last one billed 20.0 MiB\n";
        assert!(text(&segment).contains(both), "{}", text(&segment));
        segment.states.clear();
        segment.bytes_learned = None;
        let alone = text(&segment);
        assert!(alone.contains("  state   open\n") && alone.contains(" USD\n    SELECT 1\n"), "{alone}");
        segment.state = None;
        assert!(!text(&segment).contains("state"));
    }

    #[test]
    fn what_is_not_explained_is_said_in_its_line() {
        let failed = Outcome::Failed(Error::not_found("Not found:\n  Table p:d.t"));
        let entries = vec![
            Entry { outcome: failed, hidden: true, ..Entry::of("Ä panel", "A") },
            Entry { outcome: Outcome::Skipped("library".to_owned()), ..Entry::of("Other", "") },
        ];
        let report = Report::new("Board", entries);
        let text = report.text();
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines[2], "PANEL    QUERY       MODE  STATUS  READS  BILLS  COSTS");
        assert_eq!(lines[3], "Ä panel  A (hidden)  failed: Not found: Table p:d.t");
        assert_eq!(lines[4], "Other                skipped: library");
        assert_eq!(lines[6], "2 queries, 1 failed, 1 skipped; with nothing stored, the others bill 0 B");
        assert_eq!(report.verdict().unwrap_err().message(), "1 of 2 queries cannot be explained");
        let json: Value = serde_json::from_str(&report.json().unwrap()).unwrap();
        assert_eq!(json["targets"][0]["error"]["code"], "not_found");
        assert_eq!(json["cost"], json!(null));
    }
}
