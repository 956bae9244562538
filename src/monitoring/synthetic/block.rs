//! Finished rows of a day, and which of them a live table holds when.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Date32Array, RecordBatch, TimestampMicrosecondArray, UInt32Array};
use arrow::compute::{concat_batches, filter_record_batch, kernels::cmp, take_record_batch};
use weir_plan::extent::DAY;
use weir_plan::{Error, Result, Timestamp};

use super::apps::{App, EventType, FIREFOX_DESKTOP, TELEMETRY};
use super::rows::{Dictionaries, Keys, WINDOW, lookup, record_batch};
use super::tables::Fact;

/// Rows of some windows of one day.
pub(super) struct Day {
    blocks: [Block; 3],
}

impl Day {
    pub(super) fn new(blocks: [Block; 3]) -> Self {
        Self { blocks }
    }

    pub(super) fn blocks(&self) -> &[Block] {
        &self.blocks
    }
}

/// Rows of one fact in some windows of one day: complete and without duplicates.
pub(super) struct Block {
    pub(super) fact: Fact,
    midnight: Timestamp,
    /// Rows with the daily table's columns.
    pub(super) rows: RecordBatch,
    parts: Vec<Part>,
    /// Late rows in order, each with the tick at which it arrives.
    late: Vec<(u32, i64)>,
    /// Doubled rows in order.
    duplicates: Vec<u32>,
}

/// A run of rows that one application's live table holds.
struct Part {
    app: App,
    run: Range<usize>,
    /// Column `type` where it differs from the daily table's.
    types: Option<ArrayRef>,
}

/// Rows for a live table.
pub(super) struct Arrivals {
    /// Application.
    pub(super) app: App,
    /// Rows with the live table's columns.
    pub(super) rows: RecordBatch,
    /// When they arrive, in windows from the epoch; `None` if they have.
    pub(super) tick: Option<i64>,
}

impl Block {
    pub(super) fn new(fact: Fact, midnight: Timestamp, rows: RecordBatch, keys: Keys) -> Self {
        let parts = keys.runs.into_iter().map(|(app, run)| Part { app, run, types: None }).collect();
        Self { fact, midnight, rows, parts, late: keys.late, duplicates: keys.duplicates }
    }

    /// As [`Block::new`]; the rows of `telemetry` that have a branch are told by `firefox_desktop` too.
    pub(super) fn enrollment(
        midnight: Timestamp,
        rows: RecordBatch,
        keys: Keys,
        dictionaries: &Dictionaries,
    ) -> Result<Self> {
        let mut block = Self::new(Fact::Enrollment, midnight, rows, keys);
        // Rows without a branch come after all others, as a run of their own.
        let telemetry = block.parts.iter().find(|part| part.app == TELEMETRY && block.has_branches(&part.run));
        if let Some(run) = telemetry.map(|part| part.run.clone()) {
            let glean = UInt32Array::from_value(EventType::NimbusEvents as u32, run.len());
            let types = lookup(&dictionaries.types, glean.values().to_vec())?;
            block.parts.push(Part { app: FIREFOX_DESKTOP, run, types: Some(types) });
        }
        Ok(block)
    }

    fn has_branches(&self, run: &Range<usize>) -> bool {
        self.rows.column_by_name("branch").is_some_and(|branch| branch.is_valid(run.start))
    }

    /// What comes to the live tables, where the present is `tick`: first what has come, then the rest.
    pub(super) fn arrivals(&self, tick: i64) -> Result<Vec<Arrivals>> {
        let mut arrivals = Vec::new();
        for part in &self.parts {
            let duplicates = within(&self.duplicates, &part.run, |row| *row);
            let held: Vec<(u32, i64)> =
                within(&self.late, &part.run, |(row, _)| *row).iter().copied().filter(|(_, at)| *at > tick).collect();
            if held.is_empty() {
                let all = self.rows.slice(part.run.start, part.run.len());
                arrivals.push(self.live(part, &all, part.types.clone(), None)?);
                self.take(part, duplicates.to_vec(), None, &mut arrivals)?;
                continue;
            }
            let is_held = |row: u32| held.binary_search_by_key(&row, |(held, _)| *held).is_ok();
            let indices = indices(&part.run).chain(duplicates.iter().copied()).filter(|row| !is_held(*row)).collect();
            self.take(part, indices, None, &mut arrivals)?;
            let mut ticks: Vec<i64> = held.iter().map(|(_, at)| *at).collect();
            ticks.sort_unstable();
            ticks.dedup();
            for at in ticks {
                let once = held.iter().filter(|(_, held_until)| *held_until == at).map(|(row, _)| *row);
                let indices = once.flat_map(|row| {
                    let twice = duplicates.binary_search(&row).is_ok();
                    std::iter::repeat_n(row, 1 + usize::from(twice))
                });
                self.take(part, indices.collect(), Some(at), &mut arrivals)?;
            }
        }
        Ok(arrivals)
    }

    /// Rows of windows that start before `until`.
    pub(super) fn rows_until(&self, until: Timestamp) -> Result<RecordBatch> {
        let column =
            self.rows.column_by_name("window_start").ok_or_else(|| Error::internal("a block has no window_start"))?;
        let limit = TimestampMicrosecondArray::new_scalar(until.micros()).into_inner().with_timezone("UTC");
        let before = cmp::lt(column, &arrow::array::Scalar::new(limit)).map_err(kernel_error)?;
        filter_record_batch(&self.rows, &before).map_err(kernel_error)
    }

    fn take(&self, part: &Part, indices: Vec<u32>, tick: Option<i64>, arrivals: &mut Vec<Arrivals>) -> Result<()> {
        if indices.is_empty() {
            return Ok(());
        }
        let indices = UInt32Array::from(indices);
        let rows = take_record_batch(&self.rows, &indices).map_err(kernel_error)?;
        let types = part.types.as_ref().map(|types| types.slice(0, 1));
        let types = types.map(|first| {
            let same = UInt32Array::from_value(0, rows.num_rows());
            arrow::compute::take(&first, &same, None).map_err(kernel_error)
        });
        arrivals.push(self.live(part, &rows, types.transpose()?, tick)?);
        Ok(())
    }

    /// Gives rows the live table's columns.
    fn live(&self, part: &Part, rows: &RecordBatch, types: Option<ArrayRef>, tick: Option<i64>) -> Result<Arrivals> {
        let partition = TimestampMicrosecondArray::from_value(self.midnight.micros(), rows.num_rows());
        let day = i32::try_from(self.midnight.micros() / DAY).unwrap_or(i32::MAX);
        let submission = Date32Array::from_value(day, rows.num_rows());
        let mut columns: Vec<ArrayRef> = vec![Arc::new(partition.with_timezone("UTC")), Arc::new(submission)];
        columns.extend(rows.columns().iter().cloned());
        if let Some(types) = types {
            columns[2] = types;
        }
        Ok(Arrivals { app: part.app, rows: record_batch(self.fact.live_schema(), columns)?, tick })
    }
}

/// Puts late rows of one table and one tick together.
pub(super) fn concat(fact: Fact, batches: &[RecordBatch]) -> Result<RecordBatch> {
    concat_batches(&fact.live_schema(), batches).map_err(kernel_error)
}

/// The window in which `now` lies, in windows from the epoch: rows of earlier ones have arrived.
pub(super) fn tick(now: Timestamp) -> i64 {
    now.micros().div_euclid(WINDOW)
}

fn kernel_error(error: arrow::error::ArrowError) -> Error {
    Error::internal("cannot pick generated rows").with_source(error)
}

/// The items of a sorted list whose row lies in `run`.
fn within<'a, T>(items: &'a [T], run: &Range<usize>, row: impl Fn(&T) -> u32) -> &'a [T] {
    let from = items.partition_point(|item| (row(item) as usize) < run.start);
    let to = items.partition_point(|item| (row(item) as usize) < run.end);
    &items[from..to]
}

fn indices(run: &Range<usize>) -> Range<u32> {
    let index = |position: usize| u32::try_from(position).unwrap_or(u32::MAX);
    index(run.start)..index(run.end)
}
