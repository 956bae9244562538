//! How a query would be answered and what it would cost, without running it.

use std::sync::Arc;

use futures::future::try_join_all;
use serde::Serialize;
use weir_plan::plan::delta::joined;
use weir_plan::{Cost, Error, Extent, Mode, Plan, Query, Result, Segment, Timestamp};

use super::parts::Asking;
use super::{Engine, Status, text};

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
    /// Seconds for which it stays fresh.
    pub fresh_for_s: f64,
    /// Where it would come from now.
    pub status: Status,
    /// Bytes its job would read, by dry run.
    pub bytes_processed: u64,
    /// Bytes its job would bill, as far as a dry run tells.
    pub bytes_billed: u64,
    /// What they cost.
    pub cost: Cost,
    /// Tables and views its job would read.
    pub referenced_tables: Vec<String>,
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
        let plan = self.plan(query, Asking::Nothing, now).await?;
        Ok(Checked { sql: text(&plan)?, outcome: self.explain_plan(query, &plan, now).await })
    }

    async fn explain_plan(&self, query: &Query, plan: &Plan, now: Timestamp) -> Result<Explanation> {
        let jobs = self.jobs_of(plan, now)?;
        let segments = jobs.iter().map(|(segment, status)| self.explain_segment(query, segment, *status, now));
        let segments = try_join_all(segments).await?;
        let bytes_billed = segments.iter().map(|segment| segment.bytes_billed).sum();
        Ok(Explanation {
            mode: plan.mode,
            reason: plan.reason,
            bytes_processed: segments.iter().map(|segment| segment.bytes_processed).sum(),
            bytes_billed,
            cost: self.settings.price.of(bytes_billed),
            segments,
        })
    }

    /// The pieces with where they would come from; neighbours that come from the same place are one.
    fn jobs_of(&self, plan: &Plan, now: Timestamp) -> Result<Vec<(Segment, Status)>> {
        let status = |segment: &Segment| self.found(segment, now).map_or(Status::Miss, |(_, status)| status);
        let Some(assembly) = &plan.assembly else {
            return Ok(plan.segments.iter().map(|segment| (segment.clone(), status(segment))).collect());
        };
        let segments: Vec<(&Segment, Status)> =
            plan.segments.iter().map(|segment| (segment, status(segment))).collect();
        let runs = segments.chunk_by(|(_, one), (_, other)| one == other).map(|run| {
            let parts: Vec<&Segment> = run.iter().map(|(segment, _)| *segment).collect();
            let status = run.first().map_or(Status::Miss, |(_, status)| *status);
            Ok((joined(assembly, &parts)?, status))
        });
        runs.collect()
    }

    async fn explain_segment(
        &self,
        query: &Query,
        segment: &Segment,
        status: Status,
        now: Timestamp,
    ) -> Result<SegmentExplanation> {
        let estimate = self.source.dry_run(&self.job(query, segment, now, false)).await?;
        let bytes_billed = estimate.bytes_billed();
        self.learn(query, segment, bytes_billed, now);
        Ok::<_, Error>(SegmentExplanation {
            sql: segment.sql.clone(),
            range: segment.extent,
            key: segment.key.short_hex(),
            fresh_for_s: segment.freshness.fresh_for.as_secs_f64(),
            status,
            bytes_processed: estimate.bytes_processed,
            bytes_billed,
            cost: self.settings.price.of(bytes_billed),
            referenced_tables: estimate.referenced_tables.iter().map(ToString::to_string).collect(),
        })
    }
}
