//! Points of a series from rows: buckets, splits, running sums. Pure; time comes in as a value.

use std::collections::HashMap;
use std::sync::Arc;

use weir_plan::Timestamp;

use super::rows::{Row, Rows};
use super::{By, Point};
use crate::monitoring::datasets::{Base, Dataset, Names};
use crate::monitoring::granularity::Granularity;

/// How the points of a series are made.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape<'a> {
    pub(super) dataset: &'a Dataset,
    pub(super) base: &'a Base,
    pub(super) branches: bool,
    pub(super) split: Option<Names>,
    pub(super) cumulative: bool,
    pub(super) buckets: Buckets,
    pub(super) from: Option<Timestamp>,
    pub(super) to: Option<Timestamp>,
}

/// Buckets by the age of a point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Buckets {
    /// The beginning of the recent days.
    pub(super) recent_since: Timestamp,
    pub(super) recent: Granularity,
    pub(super) before: Granularity,
}

impl Buckets {
    /// The start of the bucket that a time is in.
    fn start(&self, time: i64) -> i64 {
        let granularity = if time >= self.recent_since.micros() { self.recent } else { self.before };
        time.div_euclid(granularity.micros()) * granularity.micros()
    }
}

type Name<'a> = Option<&'a Arc<str>>;

/// A value on its way to a point.
#[derive(Clone, Copy)]
struct Cell<'a> {
    time: i64,
    branch: Name<'a>,
    split: Name<'a>,
    value: i64,
}

impl<'a> Cell<'a> {
    fn key(&self) -> (i64, Name<'a>, Name<'a>) {
        (self.time, self.branch, self.split)
    }
}

/// The points of an experiment, oldest first.
pub(super) fn points<'a>(shape: Shape<'a>, zones: &'a [Arc<Rows>], experiment: &str) -> Vec<Point> {
    let rows = zones.iter().flat_map(|rows| rows.of(experiment));
    let mut cells =
        if shape.base.is_level { levels(shape, rows) } else { rows.flat_map(|row| cells(shape, row)).collect() };
    // Stable: rows come nearly in order, which it makes use of.
    cells.sort_by(|one, other| one.key().cmp(&other.key()));
    let mut cells = summed(cells);
    if shape.cumulative {
        run(&mut cells);
    }
    let from = shape.from.map(|from| shape.buckets.start(from.micros()));
    let is_asked = |cell: &Cell<'_>| {
        from.is_none_or(|from| cell.time >= from) && shape.to.is_none_or(|to| cell.time < to.micros())
    };
    cells.into_iter().filter(is_asked).map(Point::from).collect()
}

/// The values of a row: one, or one for each event that is told apart.
fn cells<'a>(shape: Shape<'a>, row: Row<'a>) -> Vec<Cell<'a>> {
    let time = shape.buckets.start(row.time());
    let branch = row.branch().filter(|_| shape.branches);
    let terms = shape.dataset.terms.iter().map(|term| (term.event.as_ref(), term.sign * row.measure(term.measure)));
    match shape.split {
        Some(Names::Terms) => terms.map(|(split, value)| Cell { time, branch, split, value }).collect(),
        split => {
            let split = match split {
                Some(Names::Column(column)) => row.split(column),
                _ => None,
            };
            vec![Cell { time, branch, split, value: terms.map(|(_, value)| value).sum() }]
        }
    }
}

/// The last values in each bucket, of everything that rows tell apart; they are added up afterwards.
fn levels<'a>(shape: Shape<'a>, rows: impl Iterator<Item = Row<'a>>) -> Vec<Cell<'a>> {
    let mut last: HashMap<_, (i64, Vec<Cell<'a>>)> = HashMap::new();
    for row in rows {
        let key = (shape.buckets.start(row.time()), row.branch(), row.splits().collect::<Vec<_>>());
        let kept = last.entry(key).or_insert((row.time(), vec![]));
        if kept.1.is_empty() || row.time() > kept.0 {
            *kept = (row.time(), cells(shape, row));
        }
    }
    last.into_values().flat_map(|(_, cells)| cells).collect()
}

/// Cells of one key added up; `cells` are in order of their keys.
fn summed(cells: Vec<Cell<'_>>) -> Vec<Cell<'_>> {
    let mut sums: Vec<Cell<'_>> = Vec::with_capacity(cells.len());
    for cell in cells {
        match sums.last_mut() {
            Some(last) if last.key() == cell.key() => last.value = last.value.saturating_add(cell.value),
            _ => sums.push(cell),
        }
    }
    sums
}

/// Puts running sums in place of the values.
fn run(cells: &mut [Cell<'_>]) {
    let mut sums = HashMap::new();
    for cell in cells {
        let sum: &mut i64 = sums.entry((cell.branch, cell.split)).or_default();
        *sum = sum.saturating_add(cell.value);
        cell.value = *sum;
    }
}

impl From<Cell<'_>> for Point {
    fn from(cell: Cell<'_>) -> Self {
        let Cell { time, branch, split, value } = cell;
        Self { time: Timestamp::saturating(time), branch: branch.cloned(), split: split.cloned(), value }
    }
}

impl By {
    /// Whether there is a value for each branch.
    pub const fn has_branches(&self) -> bool {
        matches!(self, Self::Branch | Self::BranchAndSplit(_))
    }

    /// The split's name, where there is one.
    pub fn split(&self) -> Option<&str> {
        match self {
            Self::Total | Self::Branch => None,
            Self::Split(name) | Self::BranchAndSplit(name) => Some(name),
        }
    }
}
