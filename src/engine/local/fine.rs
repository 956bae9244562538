//! Whether what is kept is as fine as a text asks: coarser windows answer sums of what adds up alone.

use std::time::Duration;

use weir_plan::analysis::{self, Measure, Role, reason};
use weir_plan::local::{Columns, TIME, adds_up};
use weir_plan::{Extent, Query, Result, Step, Timestamp};

use super::relation::micros;
use super::{Located, Need, No};

impl Located {
    /// Whether what is kept is as fine as a text asks.
    pub(super) fn is_fine_enough(&self, query: &Query, now: Timestamp) -> Result<(), No> {
        for need in &self.needs {
            let relation = &need.relation;
            if relation.left_out_before().is_some_and(|before| need.days.start() < before) {
                return Err(No::Because(reason::LOCAL_MEMORY));
            }
            let grain = relation.declared.source.grain;
            let is_fine = |days: Extent| {
                let coarse = |step: Step| Duration::from_micros(micros(step).unsigned_abs()) > grain;
                !relation.tiers(days, now).iter().any(|tier| coarse(tier.step))
            };
            let fine = if need.totals.is_empty() {
                is_fine(need.days)
            } else {
                need.totals.iter().all(|(_, days)| is_fine(*days))
            };
            let declared = &relation.declared;
            let mut read = declared.views.iter().filter(|view| self.reads.relations.contains(&view.table));
            let sums_only = read.any(|view| view.sums_only);
            if (!fine || sums_only) && !(self.needs.len() == 1 && self.adds_up(query, need, fine, now)) {
                return Err(No::Because(reason::FINER_THAN_KEPT));
            }
        }
        Ok(())
    }

    /// Whether sums of what is kept are what a text asks for; `fine` says whether its windows are the source's.
    fn adds_up(&self, query: &Query, need: &Need, fine: bool, now: Timestamp) -> bool {
        let declared = &need.relation.declared;
        let views = declared.views.iter().filter(|view| self.reads.relations.contains(&view.table));
        let views = views.map(|view| (&view.additive, view.time_column.as_str(), vec![]));
        let totals = declared.totals.iter().filter(|total| self.reads.relations.contains(&total.table));
        let totals = totals.map(|total| {
            let running = total.column.iter().map(|column| &column.name).chain(&total.end_column);
            (&total.measures, total.time_column.as_str(), running.map(String::as_str).collect())
        });
        let mut read = views.chain(totals);
        let (additive, time, mut unlike) = match (read.next(), read.next()) {
            (Some(only), None) => only,
            (None, None) => (&declared.measures, TIME, vec![]),
            _ => return false,
        };
        let analysis::Mode::Delta(delta) = &self.analysis.mode else {
            unlike.extend((!fine).then_some(time));
            return adds_up(&self.job.sql, Columns { additive, unlike: &unlike, is_analysed: false });
        };
        let are_sums = delta.outputs.iter().all(|output| match output.role {
            Role::Measure(measure) => measure == Measure::Sum,
            Role::Bucket | Role::Group | Role::Constant => true,
            Role::Other => false,
        });
        let step = delta.step.of(query.step, declared.source.grain).ok();
        let tiers = need.relation.tiers(need.days, now);
        let fits = |step: Step| tiers.iter().all(|tier| step.is_multiple_of(micros(tier.step)));
        let fits = fine || step.is_some_and(fits);
        are_sums && fits && adds_up(&self.job.sql, Columns { additive, unlike: &unlike, is_analysed: true })
    }
}
