//! Tables whose partitions change over time, as rows and nothing else. They know no planner.

use std::collections::BTreeMap;

use weir_plan::extent::SECOND;
use weir_plan::{Extent, PartitionUnit, Timestamp};

/// A row of any table here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Row {
    pub(crate) time: Timestamp,
    pub(crate) group: u8,
    pub(crate) value: i64,
}

/// Clocks of tables are this coarse, so that two changes may have one stamp.
const STAMP: i64 = 10 * SECOND;

/// Since when a partition has which rows; `None` where it is gone.
type State = (Timestamp, Option<Vec<Row>>);

/// All states of a table's partitions, by their starts.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    pub(crate) unit: PartitionUnit,
    states: BTreeMap<Timestamp, Vec<State>>,
}

impl Table {
    pub(crate) fn new(unit: PartitionUnit) -> Self {
        Self { unit, states: BTreeMap::new() }
    }

    /// The start of the partition that a time belongs to.
    pub(crate) fn partition(&self, time: Timestamp) -> Timestamp {
        self.unit.step().floor(time)
    }

    fn state(&self, partition: Timestamp, as_of: Timestamp) -> Option<(Timestamp, &[Row])> {
        let (since, rows) = self.states.get(&partition)?.iter().rfind(|(since, _)| *since <= as_of)?;
        rows.as_ref().map(|rows| (*since, &rows[..]))
    }

    /// Makes a partition what is given, or takes it away.
    pub(crate) fn set(&mut self, partition: Timestamp, now: Timestamp, rows: Option<Vec<Row>>) {
        self.states.entry(partition).or_default().push((now, rows));
    }

    pub(crate) fn append(&mut self, row: Row, now: Timestamp) {
        let partition = self.partition(row.time);
        let mut rows = self.state(partition, now).map_or_else(Vec::new, |(_, rows)| rows.to_vec());
        rows.push(row);
        self.set(partition, now, Some(rows));
    }

    /// When a partition last changed, as a listing tells it.
    pub(crate) fn stamp(&self, partition: Timestamp, as_of: Timestamp) -> Option<Timestamp> {
        self.state(partition, as_of).map(|(since, _)| since.floor(STAMP))
    }

    /// When any partition last changed, as the table's description tells it.
    pub(crate) fn modified(&self, as_of: Timestamp) -> Option<Timestamp> {
        let changes = self.states.values().flatten().map(|(since, _)| *since);
        changes.filter(|since| *since <= as_of).max().map(|since| since.floor(STAMP))
    }

    /// Whether a partition has not changed for a while, so that a listing surely told of it.
    pub(crate) fn rests_since(&self, partition: Timestamp, moment: Timestamp) -> bool {
        self.states.get(&partition).is_none_or(|states| states.last().is_none_or(|(since, _)| *since < moment))
    }

    /// The rows with a time in `extent`, as of a moment.
    pub(crate) fn rows(&self, extent: Extent, as_of: Timestamp) -> impl Iterator<Item = Row> {
        let partitions = self.states.range(self.partition(extent.start())..extent.end());
        let rows =
            partitions.filter_map(move |(partition, _)| self.state(*partition, as_of)).flat_map(|(_, rows)| rows);
        rows.copied().filter(move |row| extent.start() <= row.time && row.time < extent.end())
    }

    /// What a job bills that reads the partitions of `extent`: rows times a size, and at least a minimum.
    pub(crate) fn bill(&self, extent: Extent, as_of: Timestamp) -> u64 {
        let partitions = self.states.range(self.partition(extent.start())..extent.end());
        let rows = partitions.filter_map(|(partition, _)| self.state(*partition, as_of)).map(|(_, rows)| rows.len());
        (rows.sum::<usize>() as u64 * BYTES_OF_A_ROW).max(MINIMUM)
    }
}

/// A few rows are more than the minimum, so that both count.
const BYTES_OF_A_ROW: u64 = 4_000_000;

/// Source: <https://cloud.google.com/bigquery/pricing#on_demand_pricing>.
pub(crate) const MINIMUM: u64 = 10 << 20;
