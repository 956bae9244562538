//! What is known of a source besides its schema: which column is its time, how it is pruned, when
//! its rows are settled. Found out by whoever asks, or ready-made for Mozilla's tables.
//!
//! It reads no tables: generations and `now` are told.

pub mod experiments;
mod settle;
pub(crate) mod text;

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::extent::{DAY, Extent, HOUR, PartitionUnit, Step, Timestamp};
use crate::query::TableId;
pub use crate::target::TimeType;

pub(crate) use settle::stale_cap;
pub use settle::{OPEN_SLOT, Regime, Settling, Sides, State, Verdict, open_slot, stays_on_its_day};

/// A table or view and what may be assumed of its rows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SourceDescriptor {
    /// Its full name.
    #[serde(with = "text::table")]
    pub table: TableId,
    /// The column that ranges and buckets are about; a source without one is answered whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_column: Option<String>,
    /// Type of the time column.
    #[serde(default)]
    pub time_type: TimeType,
    /// Columns that may stand for the time column in filters and buckets.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub compatible: Vec<Compatible>,
    /// The column whose bounds decide which partitions are billed; `None` where nothing prunes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pruning: Option<Pruning>,
    /// Length of a partition; `None` for an unpartitioned table.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partition: Option<PartitionUnit>,
    /// Whether the rows of a partition are clustered by the time column first, so that reading a part
    /// of one may bill less than all of it.
    #[serde(default)]
    pub clustered_by_time: bool,
    /// Length of the source's own buckets; zero where its times are arbitrary.
    #[serde(default, with = "text::duration")]
    pub grain: Duration,
    /// When rows change sides from a live to a daily table; `None` for a source of one side.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flip: Option<Flip>,
    /// Rows arrive at most this long after their time; what ends later is open.
    #[serde(default = "default_lag", with = "text::duration")]
    pub lag: Duration,
    /// The table that a daily job fills, whose partitions settle the past. Without a flip it is the
    /// whole source.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "text::optional_table")]
    pub daily_table: Option<TableId>,
    /// A daily partition younger than this may still be rewritten.
    #[serde(default = "default_grace", with = "text::duration")]
    pub landing_grace: Duration,
    /// On UTC day D, days up to D minus this may be final.
    #[serde(default = "default_final_days")]
    pub final_days: u16,
    /// What a row of the past depends on.
    #[serde(default)]
    pub history: History,
    /// The tables that a view reads, each with its own pruning.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub branches: Vec<Branch>,
    /// A table to join whose state is part of the key.
    #[serde(default, rename = "static")]
    pub is_static: bool,
}

/// A column that is the time column, perhaps rounded down.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Compatible {
    /// Its name.
    pub column: String,
    /// Its type.
    #[serde(default, rename = "type")]
    pub time_type: TimeType,
    /// It is the time column rounded down to multiples of this from the epoch; zero if equal to it.
    #[serde(default, with = "text::duration")]
    pub truncated: Duration,
}

/// The pruning column and what the time of a row says about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pruning {
    /// Its name in the table.
    pub column: String,
    /// Its type.
    #[serde(default, rename = "type")]
    pub time_type: TimeType,
    /// Whether the source shows the column, so that SQL over it can use it.
    #[serde(default)]
    pub hidden: bool,
    /// It is the time, `behind` earlier, rounded down to multiples of this; zero if not rounded.
    #[serde(default, with = "text::duration")]
    pub truncated: Duration,
    /// How much earlier than the time it is.
    #[serde(default, with = "text::duration")]
    pub behind: Duration,
    /// It may differ by this much more, either way.
    #[serde(default, with = "text::duration")]
    pub slack: Duration,
}

/// How rows change sides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Flip {
    /// On UTC day D the cut is at the midnight that begins day D minus this.
    pub days: u16,
    /// Where the cut lies exactly.
    pub comparison: Comparison,
}

/// How a view compares a row's time with the cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Comparison {
    /// Live where the instant is after the midnight: that one instant is daily, the rest of the day live.
    AfterInstant,
    /// Live where the date is after the cut's: all of the cut's day is daily.
    ByDate,
}

/// What a row of the past depends on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum History {
    /// Its own partition.
    Local,
    /// All earlier ones: a running total.
    Prefix,
    /// Nobody knows: never cut into segments.
    #[default]
    Opaque,
}

/// A table that a view reads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Branch {
    /// Its full name.
    #[serde(with = "text::table")]
    pub table: TableId,
    /// Which side of the flip it holds.
    #[serde(default)]
    pub side: Side,
    /// Its pruning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pruning: Option<Pruning>,
}

/// A side of the flip.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Side {
    /// Both, or there is no flip.
    #[default]
    Both,
    /// Fresh rows, not de-duplicated.
    Live,
    /// What a daily job made of them.
    Daily,
}

/// How long after their time rows may still arrive, where nobody says otherwise.
pub const DEFAULT_LAG: Duration = Duration::from_mins(10);

fn default_lag() -> Duration {
    DEFAULT_LAG
}

fn default_grace() -> Duration {
    Duration::from_hours(2)
}

fn default_final_days() -> u16 {
    3
}

impl SourceDescriptor {
    /// A source of which nothing is known but its name: answered whole.
    pub fn new(table: TableId) -> Self {
        Self {
            table,
            time_column: None,
            time_type: TimeType::Timestamp,
            compatible: Vec::new(),
            pruning: None,
            partition: None,
            clustered_by_time: false,
            grain: Duration::ZERO,
            flip: None,
            lag: default_lag(),
            daily_table: None,
            landing_grace: default_grace(),
            final_days: default_final_days(),
            history: History::Opaque,
            branches: Vec::new(),
            is_static: false,
        }
    }

    /// Refuses what contradicts itself.
    ///
    /// # Errors
    /// `InvalidQuery` naming the table, the field and the remedy.
    pub fn check(self) -> Result<Self> {
        let wrong = |what: &str| Err(Error::invalid(format!("descriptor of {}: {what}", self.table)));
        let positive = |unit: &Duration| unit.is_zero() || unit.as_micros().is_multiple_of(1000);
        if self.flip.is_some() && self.daily_table.is_none() {
            return wrong("a flip needs a daily_table");
        }
        if self.flip.is_some_and(|flip| flip.days == 0) {
            return wrong("flip.days is at least 1");
        }
        if self.is_static && self.flip.is_some() {
            return wrong("a static table has no flip");
        }
        if self.time_column.is_none() && (!self.compatible.is_empty() || self.flip.is_some()) {
            return wrong("compatible and flip need a time_column");
        }
        if !self.compatible.iter().all(|column| positive(&column.truncated)) {
            return wrong("truncated is whole milliseconds");
        }
        Ok(self)
    }

    /// Length of the pieces that time is cut into below a day: the partitions, or days where there
    /// are none.
    pub fn segment_unit(&self) -> PartitionUnit {
        self.partition.unwrap_or(PartitionUnit::Day)
    }

    /// The table whose partitions settle the past, and how they belong to the time.
    pub fn settled_by(&self) -> (&TableId, Option<&Pruning>) {
        let Some(daily) = &self.daily_table else {
            return match &*self.branches {
                [only] => (&only.table, only.pruning.as_ref()),
                _ => (&self.table, self.pruning.as_ref()),
            };
        };
        let branch = self.branches.iter().find(|branch| branch.table == *daily);
        (daily, branch.map_or(self.pruning.as_ref(), |branch| branch.pruning.as_ref()))
    }

    /// Whether `column` is the time column or may stand for it: its type, and what it is rounded
    /// down to. Case does not matter.
    pub fn time(&self, column: &str) -> Option<(TimeType, Duration)> {
        let same = |name: &str| name.eq_ignore_ascii_case(column);
        if self.time_column.as_deref().is_some_and(same) {
            return Some((self.time_type, Duration::ZERO));
        }
        self.time_column.as_ref()?;
        self.compatible.iter().find(|other| same(&other.column)).map(|other| (other.time_type, other.truncated))
    }
}

impl Pruning {
    /// The values of the pruning column that rows with a time in `extent` can have.
    pub fn bounds(&self, extent: Extent) -> Extent {
        let unit = match self.time_type {
            TimeType::Date => DAY,
            TimeType::Timestamp | TimeType::Datetime => 1,
        };
        let unit = unit.max(i64::try_from(self.truncated.as_micros()).unwrap_or(i64::MAX));
        let start = extent.start().minus(self.behind).minus(self.slack).floor(unit);
        let end = extent.end().minus(self.behind).plus(self.slack).ceil(unit);
        Extent::new(start, end.max(start)).unwrap_or(extent)
    }

    /// The partitions that a read of `extent` bills.
    pub fn partitions(&self, extent: Extent, unit: PartitionUnit) -> Extent {
        unit.cover(self.bounds(extent))
    }
}

/// Descriptors by the tables' full names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Descriptors(BTreeMap<TableId, SourceDescriptor>);

impl Descriptors {
    /// The ready-made ones, for tables of Mozilla's own projects.
    pub fn ready_made() -> Self {
        experiments::descriptors(experiments::PROJECT).into_iter().collect()
    }

    /// The descriptor of a table.
    pub fn get(&self, table: &TableId) -> Option<&SourceDescriptor> {
        self.0.get(table)
    }

    /// All of them, by name.
    pub fn iter(&self) -> impl Iterator<Item = &SourceDescriptor> {
        self.0.values()
    }
}

/// A later descriptor of a table takes the place of an earlier one.
impl FromIterator<SourceDescriptor> for Descriptors {
    fn from_iter<I: IntoIterator<Item = SourceDescriptor>>(descriptors: I) -> Self {
        Self(descriptors.into_iter().map(|descriptor| (descriptor.table.clone(), descriptor)).collect())
    }
}

impl Extend<SourceDescriptor> for Descriptors {
    fn extend<I: IntoIterator<Item = SourceDescriptor>>(&mut self, descriptors: I) {
        self.0.extend(descriptors.into_iter().map(|descriptor| (descriptor.table.clone(), descriptor)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        Timestamp::parse(text, Timestamp::MIN).unwrap()
    }

    fn extent(from: &str, to: &str) -> Extent {
        Extent::new(at(from), at(to)).unwrap()
    }

    #[test]
    fn a_descriptor_is_read_from_configuration() {
        let json = r#"{
            "table": "p.d.events", "time_column": "window_start", "partition": "DAY", "grain": "5m", "lag": "0s",
            "compatible": [{"column": "day", "type": "DATE", "truncated": "1d"}],
            "pruning": {"column": "partition_date", "truncated": "1d", "hidden": true},
            "flip": {"days": 2, "comparison": "after-instant"},
            "daily_table": "p.d.daily", "landing_grace": "90m", "history": "local",
            "branches": [{"table": "p.d.live", "side": "live", "pruning": {"column": "partition_date"}}]
        }"#;
        let read: SourceDescriptor = serde_json::from_str(json).unwrap();
        let read = read.check().unwrap();
        assert_eq!(read.grain, Duration::from_mins(5));
        assert_eq!((read.lag, read.landing_grace), (Duration::ZERO, Duration::from_mins(90)));
        assert_eq!(read.final_days, 3);
        assert_eq!(read.flip, Some(Flip { days: 2, comparison: Comparison::AfterInstant }));
        assert_eq!(read.time("WINDOW_START"), Some((TimeType::Timestamp, Duration::ZERO)));
        assert_eq!(read.time("day"), Some((TimeType::Date, Duration::from_hours(24))));
        assert_eq!(read.time("other"), None);
        assert_eq!(read.branches[0].side, Side::Live);
        let again: SourceDescriptor = serde_json::from_value(serde_json::to_value(&read).unwrap()).unwrap();
        assert_eq!(again, read);
    }

    #[test]
    fn what_is_left_out_is_the_careful_choice() {
        let read: SourceDescriptor = serde_json::from_str(r#"{"table": "p.d.t"}"#).unwrap();
        assert_eq!(read, SourceDescriptor::new(TableId::new("p", "d", "t")));
        assert_eq!(read.history, History::Opaque);
        assert!(!read.is_static);
        assert_eq!(read.segment_unit(), PartitionUnit::Day);
    }

    #[test]
    fn mistakes_are_named() {
        let error = |json: &str| match serde_json::from_str::<SourceDescriptor>(json) {
            Ok(read) => read.check().unwrap_err().message().to_owned(),
            Err(error) => error.to_string(),
        };
        let check = |json: &str, expected: &str| {
            let error = error(json);
            assert!(error.contains(expected), "{json}: {error}");
        };
        check(r#"{"table": "d.t"}"#, "table \"d.t\" is not of the form project.dataset.table");
        check(r#"{"table": "p.d.t", "tme_column": "x"}"#, "unknown field `tme_column`");
        check(r#"{"table": "p.d.t", "lag": "soon"}"#, "\"soon\" is not a duration");
        check(r#"{"table": "p.d.t", "lag": "1M"}"#, "\"1M\" is not a duration");
        check(r#"{"table": "p.d.t", "partition": "WEEK"}"#, "unknown variant `WEEK`");
        let flip = r#""time_column": "t", "flip": {"days": 0, "comparison": "by-date"}"#;
        check(&format!(r#"{{"table": "p.d.t", {flip}}}"#), "descriptor of p.d.t: a flip needs a daily_table");
        check(&format!(r#"{{"table": "p.d.t", "daily_table": "p.d.u", {flip}}}"#), "flip.days is at least 1");
        check(r#"{"table": "p.d.t", "compatible": [{"column": "x"}]}"#, "need a time_column");
    }

    #[test]
    fn the_pruning_column_is_bounded_by_the_time() {
        let same = Pruning {
            column: "p".into(),
            time_type: TimeType::Timestamp,
            hidden: false,
            truncated: Duration::ZERO,
            behind: Duration::ZERO,
            slack: Duration::ZERO,
        };
        let noon = extent("2024-01-02T06:00:00Z", "2024-01-02T18:00:00Z");
        let check = |pruning: Pruning, expected: Extent| assert_eq!(pruning.bounds(noon), expected, "{pruning:?}");
        check(same.clone(), noon);
        let day = Duration::from_hours(24);
        let whole = extent("2024-01-02", "2024-01-03");
        check(Pruning { truncated: day, ..same.clone() }, whole);
        check(Pruning { time_type: TimeType::Date, ..same.clone() }, whole);
        check(Pruning { time_type: TimeType::Date, behind: day, ..same.clone() }, extent("2024-01-01", "2024-01-02"));
        let slack = Duration::from_hours(1);
        check(Pruning { slack, ..same.clone() }, extent("2024-01-02T05:00:00Z", "2024-01-02T19:00:00Z"));
        assert_eq!(same.partitions(noon, PartitionUnit::Day), whole);
    }

    #[test]
    fn the_daily_table_settles_the_past_by_its_own_partitions() {
        let json = r#"{
            "table": "p.d.view", "time_column": "ts", "daily_table": "p.d.daily",
            "branches": [
                {"table": "p.d.live", "side": "live", "pruning": {"column": "received"}},
                {"table": "p.d.daily", "side": "daily", "pruning": {"column": "day"}}
            ]
        }"#;
        let read: SourceDescriptor = serde_json::from_str(json).unwrap();
        let (table, pruning) = read.settled_by();
        assert_eq!((table.table.as_str(), pruning.unwrap().column.as_str()), ("daily", "day"));
        let only = SourceDescriptor {
            branches: read.branches[..1].to_vec(),
            daily_table: None,
            ..SourceDescriptor::new(TableId::new("p", "d", "filtered"))
        };
        assert_eq!(only.settled_by().0.table, "live");
        let ready_made = Descriptors::ready_made();
        let known = "moz-fx-data-shared-prod.telemetry.experiment_enrollment_overall".parse().unwrap();
        assert_eq!(ready_made.get(&known).unwrap().time_column.as_deref(), Some("time"));
    }

    #[test]
    fn a_later_descriptor_replaces_an_earlier_one() {
        let table = TableId::new("p", "d", "t");
        let mut all: Descriptors = [SourceDescriptor::new(table.clone())].into_iter().collect();
        all.extend([SourceDescriptor { is_static: true, ..SourceDescriptor::new(table.clone()) }]);
        assert!(all.get(&table).unwrap().is_static);
        assert_eq!(all.iter().count(), 1);
    }
}
