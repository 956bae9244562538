//! All-time totals of enrollments and unenrollments, in the form that Experimenter reads.

use std::collections::BTreeMap;
use std::sync::Arc;

use weir_plan::{Result, Timestamp};

use super::ask::Listed;
use super::experiments::Reason;
use super::rows::Rows;
use super::zones::Needs;
use super::{BranchCounts, Counts, Experiment, ExperimentCounts, Figures, Made};
use crate::engine::Provenance;
use crate::monitoring::datasets::Datasets;

/// Bytes of a branch's counts, more or less.
const BRANCH_BYTES: usize = 200;

impl Figures {
    /// The counts, and what they were made of.
    pub(crate) async fn counted(&self) -> Result<Made<Counts>> {
        let (listed, reasons) = tokio::try_join!(self.listed(), self.reasons())?;
        let base = self.settings.datasets.enrollment;
        let rows = self.base(base, &listed.figure, Needs::default(), self.engine.now()).await?;
        let zones = self.rows(base, &rows)?;
        let mut answers = listed.answers;
        answers.extend(rows);
        answers.extend(reasons.answers);
        let as_of = Provenance::together(&answers)?.fetched_at;
        let figure = self.engine.made(&answers, "counts", || {
            let counts = counts(&listed.figure, &zones, &reasons.figure, as_of);
            let branches: usize = counts.by_slug.values().map(|counts| counts.branches.len()).sum();
            Ok((counts, branches * BRANCH_BYTES))
        })?;
        Ok(Made { figure, answers })
    }
}

/// Totals of the branches that are listed, of experiments with a start date.
fn counts(listed: &Listed, zones: &[Arc<Rows>], reasons: &[Reason], as_of: Timestamp) -> Counts {
    let started = listed.values().filter(|experiment| experiment.start_date.is_some());
    let counted = started.filter_map(|experiment| {
        let counts = of_branches(experiment, zones);
        (!counts.branches.is_empty()).then(|| (Arc::clone(&experiment.slug), counts))
    });
    let mut by_slug: BTreeMap<_, _> = counted.collect();
    for reason in reasons {
        let Some(counts) = by_slug.get_mut(&reason.slug) else { continue };
        let of_branch = counts.reasons_by_branch.entry(Arc::clone(&reason.branch)).or_default();
        of_branch.entry(Arc::clone(&reason.reason)).or_default().sampled += reason.client_count;
    }
    Counts { by_slug, as_of }
}

fn of_branches(experiment: &Experiment, zones: &[Arc<Rows>]) -> ExperimentCounts {
    let (enrolled, left) = Datasets::ENROLLED_AND_LEFT;
    let mut counts = ExperimentCounts::default();
    for row in zones.iter().flat_map(|rows| rows.of(&experiment.slug)) {
        let Some(name) = row.branch() else { continue };
        if !experiment.branches.iter().any(|branch| branch.slug == *name) {
            continue;
        }
        let BranchCounts { enrollments, unenrollments } = counts.branches.entry(Arc::clone(name)).or_default();
        *enrollments += row.measure(enrolled);
        *unenrollments += row.measure(left);
        counts.total_enrollments += row.measure(enrolled);
        counts.total_unenrollments += row.measure(left);
    }
    counts
}
