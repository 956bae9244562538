//! How a query would be answered and what it would cost, without running it.

use std::sync::Arc;

use futures::future::try_join_all;
use serde::Serialize;
use weir_plan::descriptor::State;
use weir_plan::{Cost, Error, Extent, Mode, Plan, Query, Result, Segment, Timestamp};

use super::answer::hull;
use super::parts::Asking;
use super::{Engine, Piece, Status, text};

/// How a query would be answered. Bytes and cost are those of its jobs, whether or not an answer is
/// stored; each piece's `status` says whether its job would run.
#[derive(Clone, Debug, Serialize)]
pub struct Explanation {
    /// The mode.
    pub mode: Mode,
    /// Stable code of the reason for the mode.
    pub reason: &'static str,
    /// Bytes that all jobs would read, by dry run.
    pub bytes_processed: u64,
    /// Bytes that all jobs would bill, as far as a dry run tells.
    pub bytes_billed: u64,
    /// What they cost.
    pub cost: Cost,
    /// The pieces.
    pub segments: Vec<SegmentExplanation>,
}

/// How a piece would be answered.
#[derive(Clone, Debug, Serialize)]
pub struct SegmentExplanation {
    /// Its SQL.
    pub sql: String,
    /// Its range, where the text has one.
    pub range: Option<Extent>,
    /// The first 128 bits of its key.
    pub key: String,
    /// How settled it is, or the least settled of its parts; `None` where nobody knows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<State>,
    /// Its parts by their states, in order; neighbours that are alike are one. Empty where all are alike.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub states: Vec<Settled>,
    /// Seconds for which it stays fresh.
    pub fresh_for_s: f64,
    /// Where it would come from now.
    pub status: Status,
    /// Whether it would be made of finer segments that are stored, in place of a job.
    pub derived: bool,
    /// Bytes its job would read, by dry run.
    pub bytes_processed: u64,
    /// Bytes its job would bill, as far as a dry run tells.
    pub bytes_billed: u64,
    /// Bytes that such a job did bill when it last ran, where one has: of the same part today, or of the
    /// same text and length within a day.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes_learned: Option<u64>,
    /// What the bytes of the dry run cost.
    pub cost: Cost,
    /// Tables and views its job would read.
    pub referenced_tables: Vec<String>,
}

/// Neighbouring parts that are settled alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Settled {
    /// Their range.
    pub range: Extent,
    /// How settled they are.
    pub state: State,
}

/// A job, or what is there in its place.
struct Look {
    job: Segment,
    found: Found,
    /// The states of its parts.
    settled: Vec<Settled>,
    /// What such a job billed.
    bytes_learned: Option<u64>,
}

/// Where a piece would come from.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Found {
    status: Status,
    derived: bool,
}

/// A query that can be planned, and what the source says of it.
#[derive(Debug)]
pub struct Checked {
    /// The SQL that would run.
    pub sql: String,
    /// How the query would be answered, or why the source refuses it.
    pub outcome: Result<Explanation>,
}

impl Engine {
    /// Says how a query would be answered, and what its jobs would read and cost.
    ///
    /// # Errors
    /// Those of planning and of [`Source::dry_run`](crate::source::Source::dry_run).
    pub async fn explain(self: &Arc<Self>, query: &Query) -> Result<Explanation> {
        self.try_out(query).await?.outcome
    }

    /// As [`Engine::explain`], but a refusal by the source keeps the SQL that it refused.
    ///
    /// # Errors
    /// Those of planning.
    pub async fn try_out(self: &Arc<Self>, query: &Query) -> Result<Checked> {
        let query = &*self.typed(query).await;
        let now = self.shared.clock.now();
        let why_not = match self.try_out_locally(query, now).await {
            Ok(checked) => return Ok(checked),
            Err(reason) => reason,
        };
        let mut plan = self.plan(query, Asking::Nothing, now).await?;
        plan.reason = why_not.unwrap_or(plan.reason);
        let segments = self.explain_segments(query, &plan, now).await;
        let outcome = segments.map(|segments| self.explanation(plan.mode, plan.reason, segments));
        Ok(Checked { sql: text(&plan)?, outcome })
    }

    /// What pieces make together.
    pub(super) fn explanation(
        &self,
        mode: Mode,
        reason: &'static str,
        segments: Vec<SegmentExplanation>,
    ) -> Explanation {
        let bytes_billed = segments.iter().map(|segment| segment.bytes_billed).sum();
        Explanation {
            mode,
            reason,
            bytes_processed: segments.iter().map(|segment| segment.bytes_processed).sum(),
            bytes_billed,
            cost: self.settings.price.of(bytes_billed),
            segments,
        }
    }

    /// The pieces of a plan; neighbours that come from the same place are one.
    pub(super) async fn explain_segments(
        self: &Arc<Self>,
        query: &Query,
        plan: &Plan,
        now: Timestamp,
    ) -> Result<Vec<SegmentExplanation>> {
        let found = self.whence(query, plan, now).await;
        let pieces: Vec<(&Segment, Found)> = plan.segments.iter().zip(found).collect();
        let mut looks = vec![];
        for run in pieces.chunk_by(|(_, one), (_, other)| plan.assembly.is_some() && one == other) {
            let [(first, found), ..] = run else { continue };
            let parts: Vec<&Segment> = run.iter().map(|(segment, _)| *segment).collect();
            let (job, bytes_learned) = match &plan.assembly {
                Some(assembly) => {
                    let (job, _) = self.job_for(query, assembly, &parts, now).await?;
                    let bytes_learned = job.extent.and_then(|extent| self.learned_bill(assembly, extent));
                    (job, bytes_learned)
                }
                None => (Segment::clone(first), self.learned(query, first)),
            };
            looks.push(Look { job, found: *found, settled: settled(&parts), bytes_learned });
        }
        try_join_all(looks.iter().map(|look| self.explain_segment(query, look, now))).await
    }

    /// Where each piece of a plan would come from: as for an answer, also from the folder and from finer
    /// segments.
    async fn whence(self: &Arc<Self>, query: &Query, plan: &Plan, now: Timestamp) -> Vec<Found> {
        let recalled = self.recall(query, &plan.segments, now).await;
        let found =
            |segment: &Segment| self.found(segment, &recalled, now).map(|(stored, status)| Piece::of(stored, status));
        let mut pieces: Vec<Option<Piece>> = plan.segments.iter().map(found).collect();
        if let Some(assembly) = &plan.assembly {
            self.derive(query, plan, assembly, &mut pieces, now).await;
        }
        let found = |piece: Option<Piece>| match piece {
            Some(piece) => Found { status: piece.status, derived: piece.derived },
            None => Found { status: Status::Miss, derived: false },
        };
        pieces.into_iter().map(found).collect()
    }

    async fn explain_segment(&self, query: &Query, look: &Look, now: Timestamp) -> Result<SegmentExplanation> {
        let Look { job: segment, found, settled, bytes_learned } = look;
        let estimate = self.source.dry_run(&self.job(query, segment, now, false)).await?;
        let bytes_billed = estimate.bytes_billed();
        self.tried(query, segment, bytes_billed, now);
        Ok::<_, Error>(SegmentExplanation {
            sql: segment.sql.clone(),
            range: segment.extent,
            key: segment.key.short_hex(),
            state: settled.iter().map(|part| part.state).min(),
            states: if settled.len() > 1 { settled.clone() } else { vec![] },
            fresh_for_s: segment.freshness.fresh_for.as_secs_f64(),
            status: found.status,
            derived: found.derived,
            bytes_processed: estimate.bytes_processed,
            bytes_billed,
            bytes_learned: *bytes_learned,
            cost: self.settings.price.of(bytes_billed),
            referenced_tables: estimate.referenced_tables.iter().map(ToString::to_string).collect(),
        })
    }
}

/// The states of parts, oldest first.
fn settled(parts: &[&Segment]) -> Vec<Settled> {
    let of = |part: &&Segment| Some(Settled { range: part.extent?, state: part.settling?.state });
    let mut settled: Vec<Settled> = vec![];
    for part in parts.iter().filter_map(of) {
        match settled.last_mut() {
            Some(last) if last.state == part.state && last.range.end() == part.range.start() => {
                last.range = hull(last.range, part.range);
            }
            _ => settled.push(part),
        }
    }
    settled
}

#[cfg(test)]
mod tests;
