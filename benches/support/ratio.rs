//! Criterion, and one line beneath its own: baseline, ours, and how they compare.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use criterion::Criterion;
use serde_json::Value;

use super::{Outcome, say};

/// A run of one bench.
pub(crate) struct Bench {
    pub(crate) criterion: Criterion,
    /// Results that are older are those of another run, which a filter left alone.
    begun: SystemTime,
}

impl Bench {
    /// A run with the command line's settings.
    pub(crate) fn new() -> Self {
        let criterion = Criterion::default().output_directory(&folder()).configure_from_args();
        Self { criterion, begun: SystemTime::now() }
    }

    /// Prints the medians of two functions of a group, and the second's as a multiple of the first's.
    /// Silent about functions that were not measured in this run.
    pub(crate) fn compare(&self, group: &str, baseline: &str, ours: &str) -> Outcome {
        let (Some(theirs_ns), Some(ours_ns)) = (self.median_ns(group, baseline)?, self.median_ns(group, ours)?) else {
            return Ok(());
        };
        let (theirs, own, ratio) = (time(theirs_ns), time(ours_ns), ours_ns / theirs_ns);
        say(&format!("{group}: {baseline} {theirs}, {ours} {own}, ratio {ratio:.2}\n"));
        Ok(())
    }

    fn median_ns(&self, group: &str, function: &str) -> Outcome<Option<f64>> {
        let file = folder().join(group).join(function).join("new/estimates.json");
        match std::fs::metadata(&file) {
            Ok(metadata) if metadata.modified()? >= self.begun => {}
            _ => return Ok(None),
        }
        let estimates: Value = serde_json::from_slice(&std::fs::read(&file)?)?;
        let median = estimates["median"]["point_estimate"].as_f64();
        Ok(Some(median.ok_or_else(|| format!("{} has no median", file.display()))?))
    }
}

/// A duration for people.
pub(crate) fn time(nanoseconds: f64) -> String {
    if nanoseconds < 1e6 { format!("{:.1} µs", nanoseconds / 1e3) } else { format!("{:.2} ms", nanoseconds / 1e6) }
}

/// Criterion's results, beside cargo's other products.
fn folder() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("criterion")
}
