//! What a round of publishing did, for people.

use std::fmt;
use std::time::Duration;

use crate::monitoring::figures::Spent;

/// What became of the objects. The index is not counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Objects that were written.
    pub written: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Objects that were there already with the same content.
    pub unchanged: u64,
    /// Objects that another publisher replaced at the same time with fresher figures.
    pub left: u64,
}

impl Tally {
    pub(super) fn wrote(&mut self, bytes: usize) {
        self.written += 1;
        self.bytes += bytes as u64;
    }
}

/// A round of publishing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Where.
    pub destination: String,
    /// Experiments that have files.
    pub experiments: usize,
    /// What became of the objects.
    pub tally: Tally,
    /// Jobs that were sent for it.
    pub jobs: u64,
    /// What they billed.
    pub bytes_billed: u64,
    /// How long it took.
    pub took: Duration,
}

impl Summary {
    pub(super) fn jobs(before: Spent, after: Spent) -> (u64, u64) {
        (after.jobs - before.jobs, after.bytes_billed - before.bytes_billed)
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { destination, experiments, tally, jobs, bytes_billed, took } = self;
        let Tally { written, bytes, unchanged, left } = tally;
        write!(
            f,
            "published {experiments} experiments to {destination} in {:.1} s: {written} objects written ({}), \
             {unchanged} unchanged",
            took.as_secs_f64(),
            size(*bytes)
        )?;
        if *left > 0 {
            write!(f, ", {left} left to another publisher with fresher figures")?;
        }
        write!(f, "; {jobs} jobs, {} billed", size(*bytes_billed))
    }
}

#[expect(clippy::cast_precision_loss, reason = "one decimal is shown")]
fn size(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / 1024.0 / 1024.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_says_what_was_done_and_what_it_cost() {
        let mut summary = Summary {
            destination: "gs://bucket".into(),
            experiments: 160,
            tally: Tally { written: 20, bytes: 3 << 20, unchanged: 2540, left: 0 },
            jobs: 4,
            bytes_billed: 40 << 20,
            took: Duration::from_millis(1540),
        };
        assert_eq!(
            summary.to_string(),
            "published 160 experiments to gs://bucket in 1.5 s: 20 objects written (3.0 MiB), 2540 unchanged; \
             4 jobs, 40.0 MiB billed"
        );
        summary.tally.left = 2;
        assert!(summary.to_string().contains("2540 unchanged, 2 left to another publisher"), "{summary}");
    }
}
