//! Rows in the making: plain vectors that become record batches without a string of their own.
//!
//! Text columns are collected as positions in a dictionary and made by one `take` at the end; this
//! crate is not optimised in development builds, Arrow's kernels are.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray, UInt32Array};
use arrow::compute::take;
use arrow::datatypes::SchemaRef;
use weir_plan::extent::MINUTE;
use weir_plan::{Error, Result};

use super::apps::App;
use super::draw::{Draw, real, whole};

/// Length of a window in microseconds.
pub(super) const WINDOW: i64 = 5 * MINUTE;

/// What rows of every fact have.
#[derive(Debug, Default)]
pub(super) struct Keys {
    experiment: Vec<u32>,
    branch: Vec<u32>,
    window_start: Vec<i64>,
    /// Rows that arrive later than with their window, each with the window (from the epoch) in which.
    pub(super) late: Vec<(u32, i64)>,
    /// Rows that live tables hold twice.
    pub(super) duplicates: Vec<u32>,
    /// Rows of each application, in runs.
    pub(super) runs: Vec<(App, Range<usize>)>,
}

impl Keys {
    pub(super) fn len(&self) -> usize {
        self.window_start.len()
    }

    /// Adds the key of a row and draws when it arrives, and whether twice.
    pub(super) fn push(&mut self, app: App, experiment: u32, branch: u32, window: i64, draw: &mut Draw) {
        let position = self.len();
        let row = u32::try_from(position).unwrap_or(u32::MAX);
        let arrival = arrival(draw.bits());
        if arrival.late > 0 {
            self.late.push((row, window + 1 + arrival.late));
        }
        if arrival.twice {
            self.duplicates.push(row);
        }
        match self.runs.last_mut() {
            Some((last, run)) if *last == app => run.end = position + 1,
            _ => self.runs.push((app, position..position + 1)),
        }
        self.experiment.push(experiment);
        self.branch.push(branch);
        self.window_start.push(window * WINDOW);
    }

    /// The columns experiment and branch, and the window's two ends; to be asked once.
    fn columns(&mut self, dictionaries: &Dictionaries) -> Result<[ArrayRef; 4]> {
        let ends = self.window_start.iter().map(|start| start + WINDOW).collect();
        Ok([
            lookup(&dictionaries.experiments, std::mem::take(&mut self.experiment))?,
            lookup(&dictionaries.branches, std::mem::take(&mut self.branch))?,
            timestamps(std::mem::take(&mut self.window_start)),
            timestamps(ends),
        ])
    }

    fn append(&mut self, other: Self) {
        let offset = self.len();
        let shift = u32::try_from(offset).unwrap_or(u32::MAX);
        self.experiment.extend(other.experiment);
        self.branch.extend(other.branch);
        self.window_start.extend(other.window_start);
        self.late.extend(other.late.into_iter().map(|(row, tick)| (row + shift, tick)));
        self.duplicates.extend(other.duplicates.into_iter().map(|row| row + shift));
        self.runs.extend(other.runs.into_iter().map(|(app, run)| (app, run.start + offset..run.end + offset)));
    }
}

/// When a row comes to the live table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Arrival {
    /// Windows after its own has ended.
    late: i64,
    twice: bool,
}

/// 97 % with the window, 2.5 % within 30 minutes, 0.4 % within 2 hours, 0.1 % within 24; 0.2 % twice.
fn arrival(bits: u64) -> Arrival {
    let unit = |bits: u64| f64::from(u32::try_from(bits & 0xffff_ffff).unwrap_or(0)) / 4_294_967_296.0;
    let position = unit(bits);
    let within = |from: f64, share: f64, first: i64, last: i64| {
        let offset = whole(((position - from) / share * real(last - first + 1)).floor());
        (first + offset).clamp(first, last)
    };
    let late = if position < 0.97 {
        0
    } else if position < 0.995 {
        within(0.97, 0.025, 1, 6)
    } else if position < 0.999 {
        within(0.995, 0.004, 7, 24)
    } else {
        within(0.999, 0.001, 25, 288)
    };
    Arrival { late, twice: unit(bits >> 32) < 0.002 }
}

/// Texts that rows point into.
pub(super) struct Dictionaries {
    /// Slugs of recipes.
    pub(super) experiments: StringArray,
    /// Slugs of branches, NULL at the end.
    pub(super) branches: StringArray,
    /// Values of `type`.
    pub(super) types: StringArray,
    /// Values of `normalized_channel`.
    pub(super) channels: StringArray,
    /// Values of `crash_process_type`.
    pub(super) processes: StringArray,
    /// Values of `crash_signature`.
    pub(super) signatures: StringArray,
}

/// Rows of enrollment events.
#[derive(Debug, Default)]
pub(super) struct EnrollmentRows {
    pub(super) keys: Keys,
    pub(super) types: Vec<u32>,
    pub(super) channels: Vec<u32>,
    pub(super) counts: [Vec<i64>; 10],
}

impl EnrollmentRows {
    pub(super) fn append(&mut self, other: Self) {
        self.keys.append(other.keys);
        self.types.extend(other.types);
        self.channels.extend(other.channels);
        for (counts, more) in self.counts.iter_mut().zip(other.counts) {
            counts.extend(more);
        }
    }

    pub(super) fn batch(&mut self, schema: SchemaRef, dictionaries: &Dictionaries) -> Result<RecordBatch> {
        let [experiment, branch, start, end] = self.keys.columns(dictionaries)?;
        let types = lookup(&dictionaries.types, std::mem::take(&mut self.types))?;
        let channel = lookup(&dictionaries.channels, std::mem::take(&mut self.channels))?;
        let counts = std::mem::take(&mut self.counts).map(integers);
        record_batch(schema, [types, experiment, branch, channel, start, end].into_iter().chain(counts).collect())
    }
}

/// Rows of searches.
#[derive(Debug, Default)]
pub(super) struct SearchRows {
    pub(super) keys: Keys,
    pub(super) counts: [Vec<i64>; 3],
}

impl SearchRows {
    pub(super) fn batch(&mut self, schema: SchemaRef, dictionaries: &Dictionaries) -> Result<RecordBatch> {
        let keys = self.keys.columns(dictionaries)?;
        let counts = std::mem::take(&mut self.counts).map(integers);
        record_batch(schema, keys.into_iter().chain(counts).collect())
    }
}

/// Rows of crashes.
#[derive(Debug, Default)]
pub(super) struct CrashRows {
    pub(super) keys: Keys,
    pub(super) processes: Vec<u32>,
    pub(super) signatures: Vec<u32>,
    pub(super) counts: Vec<i64>,
}

impl CrashRows {
    pub(super) fn batch(&mut self, schema: SchemaRef, dictionaries: &Dictionaries) -> Result<RecordBatch> {
        let keys = self.keys.columns(dictionaries)?;
        let process = lookup(&dictionaries.processes, std::mem::take(&mut self.processes))?;
        let signature = lookup(&dictionaries.signatures, std::mem::take(&mut self.signatures))?;
        let counts = integers(std::mem::take(&mut self.counts));
        record_batch(schema, keys.into_iter().chain([process, signature, counts]).collect())
    }
}

/// A batch of `columns`.
pub(super) fn record_batch(schema: SchemaRef, columns: Vec<ArrayRef>) -> Result<RecordBatch> {
    RecordBatch::try_new(schema, columns)
        .map_err(|error| Error::internal("generated columns do not fit their table").with_source(error))
}

/// The texts at `positions`.
pub(super) fn lookup(dictionary: &StringArray, positions: Vec<u32>) -> Result<ArrayRef> {
    take(dictionary, &UInt32Array::from(positions), None)
        .map_err(|error| Error::internal("cannot look generated texts up").with_source(error))
}

/// A TIMESTAMP column of microseconds.
pub(super) fn timestamps(micros: Vec<i64>) -> ArrayRef {
    Arc::new(TimestampMicrosecondArray::from(micros).with_timezone("UTC"))
}

fn integers(values: Vec<i64>) -> ArrayRef {
    Arc::new(Int64Array::from(values))
}

#[cfg(test)]
mod tests {
    use super::super::draw::Purpose;
    use super::*;

    #[test]
    fn lateness_and_duplicates_have_the_contracts_shares() {
        let mut draw = Draw::new(3, Purpose::Catalogue, 0, 0);
        let arrivals: Vec<_> = (0..200_000).map(|_| arrival(draw.bits())).collect();
        let share = |test: &dyn Fn(&Arrival) -> bool| {
            super::super::draw::real_count(arrivals.iter().filter(|arrival| test(arrival)).count()) / 200_000.0
        };
        let near = |got: f64, want: f64| assert!((got - want).abs() < want * 0.25 + 1e-9, "{got}, expected {want}");
        near(share(&|arrival| arrival.late == 0), 0.97);
        near(share(&|arrival| (1..=6).contains(&arrival.late)), 0.025);
        near(share(&|arrival| (7..=24).contains(&arrival.late)), 0.004);
        near(share(&|arrival| (25..=288).contains(&arrival.late)), 0.001);
        near(share(&|arrival| arrival.twice), 0.002);
        assert!(arrivals.iter().all(|arrival| arrival.late <= 288));
        assert!(arrivals.iter().any(|arrival| arrival.late == 6) && arrivals.iter().any(|arrival| arrival.late == 1));
    }
}
