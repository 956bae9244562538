//! What is asked of the engine, and what of it is remembered.

use std::any::Any;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use chrono::Datelike as _;
use futures::future::try_join_all;
use weir_plan::extent::DAY;
use weir_plan::{Query, Result, TableId, Timestamp};

use super::rows::Rows;
use super::zones::{self, Needs};
use super::{Experiment, Figures, FunnelRow, Made, experiments};
use crate::engine::{Answer, Door, Status};

/// The list of experiments by slug.
pub(crate) type Listed = BTreeMap<Arc<str>, Experiment>;

impl Figures {
    /// Asks the engine.
    pub(super) async fn ask(&self, query: &Query) -> Result<Answer> {
        let query = Query { cache: self.cache.clone(), ..query.clone() };
        let answer = self.engine.answer(&query, Door::Export).await?;
        let provenance = &answer.provenance;
        let is_own = matches!(provenance.status, Status::Miss | Status::Partial | Status::Bypass);
        self.answers.fetch_add(1, Ordering::Relaxed);
        self.jobs.fetch_add(u64::from(is_own), Ordering::Relaxed);
        self.bytes_billed.fetch_add(provenance.bytes_billed, Ordering::Relaxed);
        Ok(answer)
    }

    /// All rows of a table, read once for their content.
    async fn table_of<T: Any + Send + Sync>(
        &self,
        table: &TableId,
        columns: &str,
        read: impl FnOnce(&Answer) -> Result<T>,
    ) -> Result<Made<T>> {
        let answer = self.ask(&Query::new(format!("SELECT {columns} FROM `{table}`"))).await?;
        let answers = vec![answer];
        let figure =
            self.engine.made(&answers, "list", || Ok((read(&answers[0])?, answers[0].batches.memory_size())))?;
        Ok(Made { figure, answers })
    }

    /// The list of experiments.
    pub(crate) async fn listed(&self) -> Result<Made<Listed>> {
        let read = |answer: &Answer| experiments::experiments(&answer.batches);
        // Whatever columns it has: most are not needed, and their set grows.
        self.table_of(&self.settings.experiments, "*", read).await
    }

    /// The funnel.
    pub(crate) async fn funneled(&self) -> Result<Made<BTreeMap<Arc<str>, Vec<FunnelRow>>>> {
        const COLUMNS: &str = "slug, app_name, branch, status, reason, conflict_slug, client_count";
        let Some(table) = &self.settings.funnel else { return Ok(nothing()) };
        self.table_of(table, COLUMNS, |answer| experiments::funnel(&answer.batches)).await
    }

    /// The reasons for unenrollments.
    pub(super) async fn reasons(&self) -> Result<Made<Vec<experiments::Reason>>> {
        let Some(table) = &self.settings.reasons else { return Ok(nothing()) };
        let read = |answer: &Answer| experiments::reasons(&answer.batches);
        self.table_of(table, "slug, branch, reason, client_count", read).await
    }

    /// The answers with all rows of a base since the first experiment began.
    pub(super) async fn base(&self, base: usize, listed: &Listed, needs: Needs, now: Timestamp) -> Result<Vec<Answer>> {
        let base = &self.settings.datasets.bases()[base];
        let queries = zones::queries(base, needs, beginning(listed, now), now);
        try_join_all(queries.iter().map(|query| self.ask(query))).await
    }

    /// The rows of answers, each read once for its content.
    pub(super) fn rows(&self, base: usize, answers: &[Answer]) -> Result<Vec<Arc<Rows>>> {
        let name = format!("rows {base}");
        let base = &self.settings.datasets.bases()[base];
        let rows = answers
            .iter()
            .map(|answer| self.engine.made(std::slice::from_ref(answer), &name, || Rows::read(base, &answer.batches)));
        rows.collect()
    }
}

fn nothing<T: Default>() -> Made<T> {
    Made { figure: Arc::default(), answers: vec![] }
}

/// The beginning of the month before the first experiment's, so that events of its last checks before
/// the start count too; a range that moves with the list would leave settled rows behind.
fn beginning(listed: &Listed, now: Timestamp) -> Timestamp {
    let first = listed.values().filter_map(Experiment::start).min();
    let first = first.unwrap_or(now).min(now);
    let day = first.date();
    let in_month = Timestamp::saturating(first.floor(DAY).micros() - i64::from(day.day()) * DAY);
    Timestamp::saturating(in_month.micros() - i64::from(in_month.date().day0()) * DAY)
}
