//! The shadow audit of what is kept here: a share of the texts that are answered here is run by their
//! source too, and the rows compared.
//!
//! Compared is what cannot have changed in between: the text over the part of its range whose days are
//! all final, with the same stamps before and after the source's job. A view of running totals is put
//! into the source's text as it is defined here ([`LocalRelation::total_text`]): the definitions of
//! mozilla/bigquery-etl count rows that tie more than once. Texts that read companions, which are
//! rewritten every few minutes, are not compared.
//!
//! [`LocalRelation::total_text`]: weir_plan::local::LocalRelation::total_text

use std::collections::HashSet;
use std::sync::Arc;

use weir_plan::view::substituted;
use weir_plan::{CacheMode, Error, Extent, Key, Query, Result, Timestamp};

use super::relation::Part;
use super::rows::chunks;
use super::{Located, No, SLOT};
use crate::engine::Engine;
use crate::engine::audit::is_final;
use crate::engine::parts::Asking;
use crate::ledger::Errand;
use crate::source::Source as _;
use crate::source::embedded::Embedded;

impl Engine {
    /// Audits a local answer in the background, if it is drawn.
    pub(super) fn audit_locally(self: &Arc<Self>, query: &Query, parts: &[Part], now: Timestamp) {
        if self.settings.budget.audit_share.is_none() {
            return;
        }
        let Some(settled) = settled(query, parts) else { return };
        let slot = now.floor(i64::try_from(SLOT.as_micros()).unwrap_or(i64::MAX));
        let asked = (&query.sql, &query.parameters, &query.default_dataset, query.step, settled.range);
        let draw = Key::new(format!("audit local {} {} {asked:?}", self.identity, slot.micros()));
        let engine = Arc::clone(self);
        self.audit_if_drawn(draw, now, async move {
            let Some(place) = &engine.locals.place else { return Ok(()) };
            engine.compare_locally(&settled, place).await
        });
    }

    async fn compare_locally(self: &Arc<Self>, query: &Query, place: &Embedded) -> Result<()> {
        let now = self.shared.clock.now();
        let unanswered = |no: No| match no {
            No::NotOurs => Error::internal("it is not answered here any more"),
            No::Because(reason) => Error::internal(format!("it is not answered here any more: {reason}")),
        };
        let located = self.located(query, place, Asking::Jobs, now).await.map_err(unanswered)?;
        let parts = self.loaded(&located, query, place, now).await.map_err(unanswered)?;
        if parts.iter().any(|part| !is_final(&part.segment)) {
            return Ok(());
        }
        let kept = place.run(located.job.clone()).await?.batches;
        let Some(sql) = text(&located) else { return Ok(()) };
        let mut whole = Query { sql, range: None, step: None, ..query.clone() };
        whole.cache.mode = CacheMode::Off;
        let plan = self.whole_plan(&whole, now)?;
        let [segment] = &*plan.segments else { return Err(Error::internal("an audit in parts")) };
        let again = self.fetch_past_the_store(&whole, segment, Errand::Audit, now).await?;
        let unchanged = self.final_keys(query, &located).await?;
        let is_comparable = parts.iter().all(|part| unchanged.contains(&part.segment.key));
        if is_comparable && !kept.has_same_rows(&again.batches)? {
            let jobs: HashSet<&str> = parts.iter().map(|part| &*part.piece.stored.job_id).collect();
            let jobs = jobs.into_iter().collect::<Vec<_>>().join(" ");
            self.drifted(query.range, &jobs, &again.job_id, [kept.num_rows(), again.batches.num_rows()]);
        }
        Ok(())
    }

    /// The keys of all days that a text reads and that are final, by stamps that are looked up anew.
    async fn final_keys(self: &Arc<Self>, query: &Query, located: &Located) -> Result<HashSet<Key>> {
        let now = self.shared.clock.now();
        let mut keys = HashSet::new();
        for need in &located.needs {
            for chunk in chunks(&need.relation, need.days, now) {
                let (_, plan) = self.rows_plan(&need.relation, query, chunk, Asking::Anew, now).await?;
                keys.extend(plan.segments.into_iter().filter(is_final).map(|segment| segment.key));
            }
        }
        Ok(keys)
    }
}

/// The query over the part of its range that is settled; `None` where nothing of it is, or where it reads
/// what has no days.
fn settled(query: &Query, parts: &[Part]) -> Option<Query> {
    let open = || parts.iter().map(|part| &part.segment).filter(|segment| !is_final(segment));
    if open().any(|segment| segment.extent.is_none()) {
        return None;
    }
    let Some(end) = open().filter_map(|segment| segment.extent).map(Extent::start).min() else {
        return Some(query.clone());
    };
    let range = query.range?;
    let settled = Extent::new(range.start(), range.end().min(end)).ok().filter(|settled| !settled.is_empty())?;
    Some(Query { range: Some(settled), ..query.clone() })
}

/// The text for the source: running totals are those that are kept here.
fn text(located: &Located) -> Option<String> {
    let mut sql = located.job.sql.clone();
    for need in &located.needs {
        let declared = &need.relation.declared;
        for total in declared.totals.iter().filter(|total| located.reads.relations.contains(&total.table)) {
            let name: Vec<String> = total.table.to_string().split('.').map(str::to_owned).collect();
            sql = substituted(&sql, &[name], &declared.total_text(total))?;
        }
    }
    Some(sql)
}

#[cfg(test)]
mod tests;
