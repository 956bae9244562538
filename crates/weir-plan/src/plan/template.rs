//! A text that may be answered in parts, prepared once: what its analysis found, what is known of its
//! source, and how the source is read.

use std::collections::BTreeSet;

use sha2::{Digest, Sha256};

use crate::analysis::{Analysis, Delta, Mode, Reason, Rows, TimeRef, reason, verify};
use crate::descriptor::SourceDescriptor;
use crate::extent::{DAY, Extent, HOUR, PartitionUnit, Step, Timestamp, segments};
use crate::macros;
use crate::query::TableId;
use crate::target::Target;
use crate::view::{View, substituted};

/// A text that may be answered in parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    sql: String,
    target: Target,
    pub(super) cut: Cut,
    reason: Reason,
    descriptor: SourceDescriptor,
    /// The view in place of its name, and the names that the text may have for it.
    view: Option<(View, Vec<Vec<String>>)>,
    digest: String,
}

/// How the answer is cut.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Cut {
    Delta(Box<Delta>),
    Rows(Box<Rows>),
}

impl Template {
    /// Prepares the text of an analysis whose source is that of `descriptor`; `view` is read in its
    /// place, where `names` are what the text may call it.
    ///
    /// # Errors
    /// Why the text must be answered whole.
    pub fn new(
        sql: &str,
        target: &Target,
        analysis: &Analysis,
        descriptor: SourceDescriptor,
        view: Option<(View, Vec<Vec<String>>)>,
    ) -> Result<Self, Reason> {
        let cut = match &analysis.mode {
            Mode::Delta(delta) => Cut::Delta(delta.clone()),
            Mode::Rows(rows) => Cut::Rows(rows.clone()),
            Mode::Whole | Mode::None => return Err(analysis.reason),
        };
        let named = serde_json::json!({
            "sql": sql,
            "column_types": target.column_types,
            "descriptor": descriptor,
            "view": format!("{view:?}"),
        });
        let digest = format!("{:x}", Sha256::digest(named.to_string().as_bytes()));
        let (sql, target, reason) = (sql.to_owned(), target.clone(), analysis.reason);
        let template = Self { sql, target, cut, reason, descriptor, view, digest };
        template.try_out()?;
        Ok(template)
    }

    /// Expands the text for a day; it differs from others in the range's literals alone.
    fn try_out(&self) -> Result<(), Reason> {
        let day =
            Extent::new(Timestamp::saturating(0), Timestamp::saturating(DAY)).map_err(|_| reason::NOT_EXPANDED)?;
        let step = Step::Micros(HOUR);
        let expanded = self.expand(day, step)?;
        verify(&self.sql, &expanded, self.filter(), day)?;
        self.text(day, step, day.start(), &BTreeSet::new()).map(drop)
    }

    /// The SQL that answers for `extent` as of `now`; of a view, tables in `empty` are left out.
    ///
    /// # Errors
    /// Why it cannot be written.
    pub fn text(
        &self,
        extent: Extent,
        step: Step,
        now: Timestamp,
        empty: &BTreeSet<TableId>,
    ) -> Result<String, Reason> {
        let expanded = self.expand(extent, step)?;
        let Some((view, names)) = &self.view else { return Ok(expanded) };
        let view = view.text(extent, self.descriptor.sides(extent, now), now, empty);
        substituted(&expanded, names, &view).ok_or(reason::VIEW_NOT_REPLACED)
    }

    /// The tables of a view that are read for `extent` as of `now`, as [`View::probes`] gives them.
    pub fn probes(&self, extent: Extent, now: Timestamp) -> Vec<(TableId, String)> {
        let view = self.view.as_ref();
        view.map(|(view, _)| view.probes(extent, self.descriptor.sides(extent, now))).unwrap_or_default()
    }

    pub(super) fn expand(&self, extent: Extent, step: Step) -> Result<String, Reason> {
        macros::expand(&self.sql, Some(extent), Some(step), &self.target)
            .map(|expansion| expansion.sql)
            .map_err(|_| reason::NOT_EXPANDED)
    }

    /// What the time filter is on.
    fn filter(&self) -> &TimeRef {
        match &self.cut {
            Cut::Delta(delta) => &delta.filter,
            Cut::Rows(rows) => &rows.filter,
        }
    }

    /// Why the text may be answered in parts.
    pub const fn reason(&self) -> Reason {
        self.reason
    }

    /// What is known of its source.
    pub const fn descriptor(&self) -> &SourceDescriptor {
        &self.descriptor
    }

    /// The static tables that are joined: whoever plans says their states.
    pub fn statics(&self) -> &[TableId] {
        match &self.cut {
            Cut::Delta(delta) => &delta.statics,
            Cut::Rows(rows) => &rows.statics,
        }
    }

    /// 256 bits that stand for the text, the types of its columns, the descriptor and the view.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// Whether the filter is on the very column that a table without a view is partitioned by, so that
    /// nobody need ask whether it prunes.
    pub fn surely_prunes(&self) -> bool {
        let filter = self.filter();
        let is_time =
            self.descriptor.time_column.as_ref().is_some_and(|name| name.eq_ignore_ascii_case(&filter.column));
        self.view.is_none() && self.descriptor.pruning.is_none() && is_time && !filter.cast
    }

    /// The ids of the partitions that settle the rows with a time in `extent`.
    pub fn partition_ids(&self, extent: Extent) -> Vec<String> {
        let unit = self.descriptor.segment_unit();
        let (_, pruning) = self.descriptor.settled_by();
        partition_ids(pruning.map_or(extent, |pruning| pruning.bounds(extent)), unit)
    }
}

/// The ids of the partitions that `extent` reads.
fn partition_ids(extent: Extent, unit: PartitionUnit) -> Vec<String> {
    segments(unit.cover(extent), unit.step(), unit).into_iter().map(|partition| unit.id(partition.start())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_have_the_ids_of_the_information_schema() {
        let at = |text: &str| Timestamp::parse(text, Timestamp::MIN).unwrap();
        let ids = |from: &str, to: &str, unit| partition_ids(Extent::new(at(from), at(to)).unwrap(), unit);
        assert_eq!(ids("2024-01-30T12:00:00Z", "2024-02-01", PartitionUnit::Day), ["20240130", "20240131"]);
        let hours = ids("2024-01-30T12:10:00Z", "2024-01-30T13:10:00Z", PartitionUnit::Hour);
        assert_eq!(hours, ["2024013012", "2024013013"]);
        assert_eq!(ids("2024-01-30", "2024-03-01", PartitionUnit::Month), ["202401", "202402"]);
        assert_eq!(ids("2023-12-31", "2024-01-02", PartitionUnit::Year), ["2023", "2024"]);
    }
}
