//! Coarse segments made of finer ones that are stored, in place of a job. What may be made so the
//! analysis says; whether it comes out exactly, the rows.

use std::sync::Arc;

use weir_plan::analysis::Role;
use weir_plan::descriptor::{Regime, State};
use weir_plan::plan::delta::Assembly;
use weir_plan::{Extent, Plan, Query, Result, Segment, Step, Timestamp};

use super::parts::Asking;
use super::recall::Recalled;
use super::{Engine, Piece, Status, aside, assembly, merge};
use crate::cache::Stored;

/// Segments of a finer step, and what the folder had of them.
struct Finer {
    segments: Vec<Segment>,
    recalled: Recalled,
}

impl Engine {
    /// Fills in the missing pieces that finer stored segments add up to, the coarsest of those first.
    pub(super) async fn derive(
        self: &Arc<Self>,
        query: &Query,
        plan: &Plan,
        assembly: &Assembly,
        pieces: &mut [Option<Piece>],
        now: Timestamp,
    ) {
        let Some(roles) = assembly.derivation().filter(|_| !query.cache.skip_read) else { return };
        for step in assembly.step.finer() {
            let missing: Vec<usize> = (0..pieces.len()).filter(|place| pieces[*place].is_none()).collect();
            for run in missing.chunk_by(|one, next| one + 1 == *next) {
                let Some(finer) = self.finer(query, plan, run, step, now).await else { continue };
                for place in run {
                    pieces[*place] = self.derived(&plan.segments[*place], &finer, assembly, &roles, now);
                }
            }
        }
    }

    /// The segments by which the neighbours of a `run` would be answered at a finer step.
    async fn finer(
        self: &Arc<Self>,
        query: &Query,
        plan: &Plan,
        run: &[usize],
        step: Step,
        now: Timestamp,
    ) -> Option<Finer> {
        let extent = |place: &usize| plan.segments[*place].extent;
        let (first, last) = (run.first().and_then(extent)?, run.last().and_then(extent)?);
        let range = Some(Extent::new(first.start(), last.end()).ok()?);
        let query = Query { range, step: Some(step), ..query.clone() };
        let finer = self.in_parts(&query, Asking::Nothing, now).await.ok()?;
        // A source's grain may be coarser.
        finer.assembly.filter(|assembly| assembly.step == step)?;
        let recalled = self.recall(&query, &finer.segments, now).await;
        Some(Finer { segments: finer.segments, recalled })
    }

    /// A segment made of those of `finer` that it covers, if all are stored and fresh.
    fn derived(
        &self,
        segment: &Segment,
        finer: &Finer,
        assembly: &Assembly,
        roles: &[Role],
        now: Timestamp,
    ) -> Option<Piece> {
        let extent = segment.extent?;
        let regime = regime(segment)?;
        let covers = |fine: &&Segment| {
            fine.extent.is_some_and(|fine| fine.start() < extent.end() && extent.start() < fine.end())
        };
        let part = |fine: &Segment| match self.found(fine, &finer.recalled, now)? {
            (stored, status @ Status::Hit) if self::regime(fine)? == regime => Some(Piece::of(stored, status)),
            _ => None,
        };
        let covered = || finer.segments.iter().filter(covers);
        let parts: Vec<Piece> = covered().map(part).collect::<Option<_>>()?;
        // What is final is as it was read by its partitions' state, which is as of now.
        let is_final = |fine: &Segment| fine.settling.is_some_and(|settling| settling.state == State::Final);
        let open = covered().zip(&parts).filter(|(fine, _)| !is_final(fine));
        let fetched_at = open.map(|(_, part)| part.stored.fetched_at).min().unwrap_or(now);
        let bytes = parts.iter().map(|part| part.stored.batches.memory_size()).sum();
        let combined =
            aside(bytes, || self.combined(&parts, fetched_at, extent, assembly, roles)).unwrap_or_else(|error| {
                tracing::error!(?error, key = segment.key.short_hex(), "finer segments do not add up; a job is run");
                None
            });
        Some(Piece { derived: true, ..Piece::of(self.keep(segment, combined?), Status::Hit) })
    }

    /// The rows of all `parts` in coarse buckets, worth what all cost.
    fn combined(
        &self,
        parts: &[Piece],
        fetched_at: Timestamp,
        extent: Extent,
        assembly: &Assembly,
        roles: &[Role],
    ) -> Result<Option<Stored>> {
        let Some(oldest) = parts.iter().map(|part| &part.stored).min_by_key(|stored| stored.fetched_at) else {
            return Ok(None);
        };
        let rows = merge(parts)?;
        let column = assembly::column(&rows, &assembly.time_output)?;
        let Some(batches) = rows.crop(column, extent)?.regroup(roles, assembly.step)? else { return Ok(None) };
        let sum = |of: fn(&Stored) -> u64| parts.iter().map(|part| of(&part.stored)).sum();
        Ok(Some(Stored {
            content_id: self.shared.store.content_id(),
            batches,
            fetched_at,
            job_id: oldest.job_id.clone(),
            bytes_processed: sum(|stored| stored.bytes_processed),
            bytes_billed: sum(|stored| stored.bytes_billed),
            joined: false,
            slot_ms: sum(|stored| stored.slot_ms),
        }))
    }
}

/// The side of the flip that all of a segment is on, if it is known and one.
fn regime(segment: &Segment) -> Option<Regime> {
    let regime = segment.settling?.regime;
    (!matches!(regime, Regime::Seam(_))).then_some(regime)
}

#[cfg(test)]
mod tests;
