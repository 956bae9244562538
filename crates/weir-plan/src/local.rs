//! Local relations: what is declared of a source whose rows are kept here at its grain, and of the
//! views that are answered from them.
//!
//! A relation is read by one query, its [`base`](LocalRelation::base): sums of its measures by its
//! dimensions in each window, answered in parts like any other. It runs no SQL and keeps no rows.

mod additive;
pub mod experiments;

pub use additive::{Columns, adds_up};

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::analysis::{Analysis, Catalog, Reason, analyse};
use crate::descriptor::{Branch, Comparison, Descriptors, Flip, History, Side, SourceDescriptor, TimeType, text};
use crate::error::{Error, Result};
use crate::extent::{DAY, Extent, PartitionUnit, Step, Timestamp};
use crate::plan::Template;
use crate::query::{Query, TableId};
use crate::view::View;

/// The column of a kept relation that has the start of its windows.
pub const TIME: &str = "time";

/// A source whose rows are kept here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LocalRelation {
    /// Its name: `weir.local.NAME` is the relation in the texts of views.
    pub name: String,
    /// What is known of the source. A table, or a view that is read by the tables in `branches`.
    pub source: SourceDescriptor,
    /// What rows are read from, in place of the source's own text or table: `GoogleSQL`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// Columns to group by.
    pub dimensions: Vec<String>,
    /// INT64 columns to add up.
    pub measures: Vec<String>,
    /// How finely rows are kept, by their age, finest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keep: Vec<Keep>,
    /// The first day that is kept; `None` for the first that the source has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<chrono::NaiveDate>,
    /// Views that are answered from it.
    #[serde(default, skip_serializing_if = "Vec::is_empty", rename = "view")]
    pub views: Vec<LocalView>,
    /// Running totals that are answered from it.
    #[serde(default, skip_serializing_if = "Vec::is_empty", rename = "total")]
    pub totals: Vec<RunningTotal>,
}

/// Rows up to an age are kept in windows of a length.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Keep {
    /// The windows' length: the source's grain or a multiple that divides a day.
    #[serde(with = "text::duration")]
    pub step: Duration,
    /// Up to this age in whole days; `None` for all that are older.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub days: Option<u32>,
}

/// A view over kept relations.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LocalView {
    /// The name under which texts read it.
    #[serde(with = "text::table")]
    pub table: TableId,
    /// Its `GoogleSQL` over `weir.local.NAME`.
    pub sql: String,
    /// Its column of time.
    #[serde(default = "time")]
    pub time_column: String,
    /// Columns that a coarser row has the sum of: only of those may sums be answered where windows are
    /// kept coarser than the source's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub additive: Vec<String>,
    /// Whether its rows are sums of the source's rows: then nothing but sums is answered from it.
    #[serde(default)]
    pub sums_only: bool,
}

/// A view of running totals: one row for each group and window, with all that came before it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunningTotal {
    /// The name under which texts read it.
    #[serde(with = "text::table")]
    pub table: TableId,
    /// Its column of time.
    #[serde(default = "time")]
    pub time_column: String,
    /// A column with the end of the window, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end_column: Option<String>,
    /// The dimensions to group by.
    pub dimensions: Vec<String>,
    /// Measures that are shown as they are, by window.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub measures: Vec<String>,
    /// Columns of running totals.
    pub column: Vec<Total>,
}

/// A running total.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Total {
    /// The column's name.
    pub name: String,
    /// Measures that are added.
    pub plus: Vec<String>,
    /// Measures that are taken away.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub minus: Vec<String>,
}

fn time() -> String {
    TIME.to_owned()
}

/// Days for which the windows of the source are kept where nobody says: the boards' four weeks.
const FINE_DAYS: u32 = 32;

/// Days for which hours are kept where nobody says.
const HOURLY_DAYS: u32 = 90;

/// A range of whole days that is kept in windows of one length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tier {
    /// The days.
    pub days: Extent,
    /// The windows' length.
    pub step: Step,
}

impl LocalRelation {
    /// The name of a kept relation in texts.
    pub fn table(&self) -> TableId {
        TableId::new("weir", "local", &self.name)
    }

    /// Refuses what contradicts itself.
    ///
    /// # Errors
    /// `InvalidQuery` naming the relation, the field and the remedy.
    pub fn check(mut self) -> Result<Self> {
        let name = self.name.clone();
        let error = |what: String| Error::invalid(format!("local relation {name}: {what}"));
        let wrong = |what: String| Err(error(what));
        if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
            return wrong("its name is made of letters, digits and _".to_owned());
        }
        self.source = self.source.check().map_err(|error| error.context(format!("local relation {name}")))?;
        let source = &self.source;
        if source.time_column.is_none() || source.time_type != TimeType::Timestamp {
            return wrong("its source needs a time_column of type TIMESTAMP".to_owned());
        }
        let grain = source.grain.as_micros();
        if !u128::from(DAY.unsigned_abs()).is_multiple_of(grain) {
            return wrong("its source needs a grain that divides a day, such as 5m".to_owned());
        }
        if self.measures.is_empty() {
            return wrong("it has no measures; name INT64 columns to add up".to_owned());
        }
        self.check_ladder().map_err(error)?;
        let known = |column: &String| self.dimensions.contains(column) || self.measures.contains(column);
        for total in &self.totals {
            let sums = total.column.iter().flat_map(|column| column.plus.iter().chain(&column.minus));
            let named = total.dimensions.iter().chain(&total.measures).chain(sums);
            if let Some(unknown) = named.into_iter().find(|column| !known(column)) {
                return wrong(format!("{} names {unknown}, which is neither dimension nor measure", total.table));
            }
            if total.column.iter().any(|column| column.plus.is_empty()) {
                return wrong(format!("{}: a running total adds at least one measure", total.table));
            }
        }
        Ok(self)
    }

    fn check_ladder(&self) -> std::result::Result<(), String> {
        let ladder = self.ladder();
        let grain = self.source.grain;
        for (place, keep) in ladder.iter().enumerate() {
            let micros = keep.step.as_micros();
            if !micros.is_multiple_of(grain.as_micros()) || !(DAY as u128).is_multiple_of(micros) {
                return Err(format!("keep[{place}].step is a multiple of the grain that divides a day"));
            }
            if (keep.days.is_none()) != (place + 1 == ladder.len()) {
                return Err("every entry of keep but the last has days".to_owned());
            }
            let finer = place.checked_sub(1).map(|before| ladder[before]);
            if finer.is_some_and(|finer| finer.step >= keep.step || keep.days.is_some() && keep.days <= finer.days) {
                return Err(format!("keep[{place}] is neither coarser nor older than the one before it"));
            }
        }
        if ladder[0].step != grain {
            return Err("keep begins with the grain of the source".to_owned());
        }
        Ok(())
    }

    /// How finely rows are kept; never empty.
    pub fn ladder(&self) -> Vec<Keep> {
        if !self.keep.is_empty() {
            return self.keep.clone();
        }
        let grain = self.source.grain;
        let hour = Duration::from_hours(1);
        let mut ladder = vec![Keep { step: grain, days: Some(FINE_DAYS) }];
        ladder.extend((grain < hour).then_some(Keep { step: hour, days: Some(HOURLY_DAYS) }));
        ladder.push(Keep { step: Duration::from_hours(24), days: None });
        if grain == Duration::from_hours(24) {
            ladder = vec![Keep { step: grain, days: None }];
        }
        ladder
    }

    /// The days of `need`, as of `now`, with the length of their windows; oldest first.
    pub fn tiers(&self, need: Extent, now: Timestamp) -> Vec<Tier> {
        let mut end = Timestamp::saturating(need.end().ceil(DAY).micros());
        let first = need.start().floor(DAY);
        let mut tiers = vec![];
        for Keep { step, days } in self.ladder() {
            let start = days.map_or(first, |days| {
                let age = i64::from(days).saturating_mul(DAY);
                Timestamp::saturating(now.floor(DAY).micros().saturating_sub(age)).max(first)
            });
            let micros = i64::try_from(step.as_micros()).unwrap_or(DAY);
            if let Ok(days) = Extent::new(start, end)
                && !days.is_empty()
            {
                tiers.push(Tier { days, step: Step::Micros(micros) });
                end = start;
            }
        }
        tiers.reverse();
        tiers
    }

    /// The query for the rows of a range in windows of a length.
    pub fn base(&self) -> Query {
        let time = self.source.time_column.as_deref().unwrap_or(TIME);
        let dimensions = self.dimensions.iter().map(|name| format!("`{name}`"));
        let sums = self.measures.iter().map(|name| format!("SUM(`{name}`) AS `{name}`"));
        let columns = dimensions.chain(sums).collect::<Vec<_>>().join(", ");
        let groups = (1..=self.dimensions.len() + 1).map(|place| place.to_string()).collect::<Vec<_>>().join(", ");
        Query::new(format!(
            "SELECT $__timeGroup(`{time}`, $__interval) AS {TIME}, {columns}\nFROM `{}`\n\
             WHERE $__timeFilter(`{time}`)\nGROUP BY {groups}",
            self.table()
        ))
    }

    /// The source's descriptor under the relation's name.
    pub fn descriptor(&self) -> SourceDescriptor {
        SourceDescriptor { table: self.table(), history: History::Local, ..self.source.clone() }
    }

    /// The base's query, prepared for answers in parts.
    ///
    /// # Errors
    /// Why its answers cannot be put together of parts.
    pub fn template(&self) -> std::result::Result<Template, Reason> {
        let base = self.base();
        let descriptor = self.descriptor();
        let descriptors: Descriptors = [descriptor.clone()].into_iter().collect();
        let catalog = Catalog { descriptors: &descriptors, project: None, dataset: None };
        let analysis: Analysis = analyse(&base.sql, &catalog);
        let text = self.source_text();
        let mut read = descriptor.clone();
        if read.branches.is_empty() {
            let whole = Branch { table: self.source.table.clone(), side: Side::Both, pruning: read.pruning.clone() };
            read.branches.push(whole);
        }
        let view = View::new(&read, |id| (*id == descriptor.table).then_some(&*text))?;
        let name: Vec<String> = descriptor.table.to_string().split('.').map(str::to_owned).collect();
        Template::new(&base.sql, &base.target, &analysis, read, Some((view, vec![name])))
    }

    /// The `GoogleSQL` of a view of running totals over the source itself: windows are grouped before
    /// they are summed up, so that rows that tie count once.
    pub fn total_text(&self, total: &RunningTotal) -> String {
        let time = self.source.time_column.as_deref().unwrap_or(TIME);
        let quoted = |names: &[String]| names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>();
        let groups = quoted(&total.dimensions);
        let sums = total.column.iter().flat_map(|column| column.plus.iter().chain(&column.minus));
        let mut measures: Vec<String> = total.measures.iter().chain(sums).cloned().collect();
        measures.sort();
        measures.dedup();
        let sums = quoted(&measures).into_iter().map(|name| format!("SUM({name}) AS {name}"));
        let windows: Vec<String> =
            [format!("`{time}` AS {TIME}")].into_iter().chain(groups.clone()).chain(sums).collect();
        let places: Vec<String> = (1..=groups.len() + 1).map(|place| place.to_string()).collect();
        let mut columns = vec![format!("{TIME} AS `{}`", total.time_column)];
        let grain = self.source.grain.as_micros();
        columns.extend(
            total
                .end_column
                .iter()
                .map(|end| format!("TIMESTAMP_ADD({TIME}, INTERVAL {grain} MICROSECOND) AS `{end}`")),
        );
        columns.extend(groups.clone());
        columns.extend(quoted(&total.measures));
        let partition = if groups.is_empty() { String::new() } else { format!("PARTITION BY {} ", groups.join(", ")) };
        columns.extend(total.column.iter().map(|column| {
            let (plus, minus) = (quoted(&column.plus).join(" + "), quoted(&column.minus).join(" - "));
            let change = if minus.is_empty() { plus } else { format!("{plus} - {minus}") };
            format!("SUM({change}) OVER ({partition}ORDER BY {TIME}) AS `{}`", column.name)
        }));
        format!(
            "SELECT {}\nFROM (\nSELECT {}\nFROM (\n{}\n)\nGROUP BY {}\n)",
            columns.join(", "),
            windows.join(", "),
            self.source_text(),
            places.join(", ")
        )
    }

    /// What rows are read from.
    fn source_text(&self) -> String {
        if let Some(text) = &self.text {
            return text.clone();
        }
        let time = self.source.time_column.as_deref().unwrap_or(TIME);
        let columns: Vec<&str> =
            [time].into_iter().chain(self.dimensions.iter().chain(&self.measures).map(String::as_str)).collect();
        let columns = columns.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
        if self.source.branches.is_empty() {
            return format!("SELECT {columns} FROM `{}`", self.source.table);
        }
        let arm = |branch: &Branch| {
            let side = self.source.flip.and_then(|flip| condition(flip, branch.side, time)).unwrap_or_default();
            format!("SELECT {columns} FROM `{}`{side}", branch.table)
        };
        self.source.branches.iter().map(arm).collect::<Vec<_>>().join("\nUNION ALL\n")
    }

    /// What analysis is told of the views: each is a source of its own whose rows depend on their own
    /// windows alone, since running totals are kept as rows.
    pub fn view_descriptors(&self) -> Vec<SourceDescriptor> {
        let of = |table: &TableId, time: &str| SourceDescriptor {
            time_column: Some(time.to_owned()),
            grain: self.source.grain,
            history: History::Local,
            partition: Some(PartitionUnit::Day),
            ..SourceDescriptor::new(table.clone())
        };
        let views = self.views.iter().map(|view| of(&view.table, &view.time_column));
        views.chain(self.totals.iter().map(|total| of(&total.table, &total.time_column))).collect()
    }
}

/// The condition for rows of a side of the flip, as views write it.
fn condition(flip: Flip, side: Side, time: &str) -> Option<String> {
    let operator = match side {
        Side::Both => return None,
        Side::Live => ">",
        Side::Daily => "<=",
    };
    let cut = format!("DATE_SUB(CURRENT_DATE(), INTERVAL {} DAY)", flip.days);
    Some(match flip.comparison {
        Comparison::AfterInstant => format!(" WHERE `{time}` {operator} TIMESTAMP({cut})"),
        Comparison::ByDate => format!(" WHERE DATE(`{time}`) {operator} {cut}"),
    })
}

#[cfg(test)]
mod tests;
