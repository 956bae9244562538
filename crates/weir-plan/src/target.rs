//! What a panel's target says beside its SQL: whose macros it writes, and what they stand for.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::extent::{DAY, Extent, Timestamp};

/// What macros stand for besides range and step. The default is a text without a target.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Target {
    /// Whose macros the text holds.
    pub dialect: Dialect,
    /// What `$__table` stands for: `project.dataset.table`, `dataset.table` or `table`.
    pub table: Option<String>,
    /// What `$__column` stands for, and in [`Dialect::Doitintl`] the column of every time macro.
    pub time_column: Option<String>,
    /// The column of a partition whose bounds doitintl's editor wrote as literals into a text that it
    /// generated; these and the bounds of `_TABLE_SUFFIX` are renewed. `None` for a text of people.
    pub partition_column: Option<String>,
    /// Points that the panel can draw; the limit at `$__limitPosition`.
    pub max_data_points: Option<u64>,
    /// Types of the columns in time macros, by [`plain_name`]. One that is not here is a TIMESTAMP.
    pub column_types: BTreeMap<String, TimeType>,
}

/// Whose macros a text holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// Those of Grafana's own `BigQuery` data source, and ours.
    #[default]
    Official,
    /// Those of doitintl's data source: the time column is the target's, `$__timeGroup` is called
    /// `time` and has a least interval.
    Doitintl,
}

/// The type of a time column.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum TimeType {
    /// A point in time.
    #[default]
    Timestamp,
    /// A day; ranges are widened to whole days, in UTC.
    Date,
    /// A civil date and time, taken as UTC.
    Datetime,
}

impl TimeType {
    /// The type of that `GoogleSQL` name, where it is one of these.
    pub fn parse(name: &str) -> Option<Self> {
        match name.trim().to_ascii_uppercase().as_str() {
            "TIMESTAMP" => Some(Self::Timestamp),
            "DATE" => Some(Self::Date),
            "DATETIME" => Some(Self::Datetime),
            _ => None,
        }
    }

    /// The first value of a range.
    pub(crate) fn start(self, range: Extent) -> String {
        self.literal(match self {
            Self::Date => range.start().floor(DAY),
            Self::Timestamp | Self::Datetime => range.start(),
        })
    }

    /// The first value after a range.
    pub(crate) fn end(self, range: Extent) -> String {
        self.literal(match self {
            Self::Date => range.end().ceil(DAY),
            Self::Timestamp | Self::Datetime => range.end(),
        })
    }

    fn literal(self, at: Timestamp) -> String {
        match self {
            Self::Timestamp => format!("TIMESTAMP '{at}'"),
            Self::Date => format!("DATE '{}'", at.date()),
            Self::Datetime => format!("DATETIME '{}'", at.to_string().trim_end_matches('Z')),
        }
    }
}

impl Target {
    /// The type of a column, by its [`plain_name`].
    pub fn type_of(&self, column: &str) -> TimeType {
        match column.rsplit('.').next() {
            // A pseudo-column, which no schema lists.
            Some("_partitiondate") => TimeType::Date,
            _ => self.column_types.get(column).copied().unwrap_or_default(),
        }
    }
}

/// The parts of a column's name in lower case with dots between, without backticks; `None` for
/// anything but a name, such as `CAST(a AS DATE)`.
pub fn plain_name(text: &str) -> Option<String> {
    let mut name = String::new();
    let mut rest = text.trim();
    loop {
        let (part, after) = match rest.strip_prefix('`') {
            Some(quoted) => quoted.split_once('`')?,
            None => rest.split_at(rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len())),
        };
        if part.is_empty() || rest.starts_with(|c: char| c.is_ascii_digit()) {
            return None;
        }
        name.push_str(&part.to_lowercase());
        match after.strip_prefix('.') {
            Some(next) => rest = next,
            None if after.is_empty() => return Some(name),
            None => return None,
        }
        name.push('.');
    }
}

/// A name with every part in backticks.
pub(crate) fn quoted(name: &str) -> String {
    let parts: Vec<_> = name.split('.').map(|part| format!("`{}`", part.trim_matches('`'))).collect();
    parts.join(".")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_read_by_their_names() {
        let types = ["timestamp", " DATE ", "DateTime", "TIME", ""].map(TimeType::parse);
        assert_eq!(types, [Some(TimeType::Timestamp), Some(TimeType::Date), Some(TimeType::Datetime), None, None]);
    }

    #[test]
    fn names_are_told_from_expressions() {
        let check = |text: &str, expected: Option<&str>| assert_eq!(plain_name(text).as_deref(), expected, "{text}");
        check(" Created_At ", Some("created_at"));
        check("t.`Created At`", Some("t.created at"));
        check("`a`.b", Some("a.b"));
        for expression in
            ["", "a.", ".a", "1", "a.1b", "CAST(a AS DATE)", "a b", "`a", "a + 1", "TIMESTAMP '2024'", "é"]
        {
            check(expression, None);
        }
    }

    #[test]
    fn a_date_range_is_widened_to_whole_days() {
        let at = |text| Timestamp::parse(text, Timestamp::MIN).unwrap();
        let check = |from, to, time_type: TimeType, expected: &str| {
            let range = Extent::new(at(from), at(to)).unwrap();
            assert_eq!(format!("[{}, {})", time_type.start(range), time_type.end(range)), expected);
        };
        let (from, to) = ("2024-01-01T06:00:00Z", "2024-01-02T06:00:00.5Z");
        check(from, to, TimeType::Date, "[DATE '2024-01-01', DATE '2024-01-03')");
        check("2024-01-01", "2024-01-02", TimeType::Date, "[DATE '2024-01-01', DATE '2024-01-02')");
        check(from, to, TimeType::Datetime, "[DATETIME '2024-01-01T06:00:00', DATETIME '2024-01-02T06:00:00.500')");
        check(
            from,
            to,
            TimeType::Timestamp,
            "[TIMESTAMP '2024-01-01T06:00:00Z', TIMESTAMP '2024-01-02T06:00:00.500Z')",
        );
    }
}
