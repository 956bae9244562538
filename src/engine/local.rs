//! Answers from relations that are kept here: any text over them is run in memory, from the days that
//! it reads, without a job of its own. What cannot be answered so is answered as if nothing were kept,
//! with the reason.

mod audit;
mod explain;
mod fine;
mod relation;
mod rows;
#[cfg(test)]
mod tests;
mod totals;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::OnceCell;
use weir_plan::analysis::{self, Reason, reason};
use weir_plan::descriptor::experiments::{EXPERIMENTS_PROJECT, PROJECT};
use weir_plan::extent::DAY;
use weir_plan::local::LocalRelation;
use weir_plan::local::experiments::relations;
use weir_plan::plan::Template;
use weir_plan::{
    Analysis, CacheMode, Catalog, Descriptors, Dialect, Error, Extent, Key, Kind, Mode, Plan, Query, Result, Scope,
    TableId, Timestamp, analyse, macros,
};

pub use self::relation::Loaded;
use self::relation::{Part, Relation};
use super::columns::FAILURE_LIFETIME;
use super::memo::Memo;
use super::parts::Asking;
use super::{Answer, Engine, Piece, Provenance};
use crate::cache::Stored;
use crate::source::embedded::{Embedded, Reads};
use crate::source::{Job, Source as _};

/// What is kept here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LocalSettings {
    /// The relations.
    pub relations: Vec<LocalRelation>,
    /// Tables that are kept as they are, looked at every ten minutes.
    pub companions: Vec<TableId>,
    /// The most bytes of each relation in memory; `None` for no limit.
    pub memory: Option<u64>,
}

impl LocalSettings {
    /// Mozilla's experiment monitoring, and its list of experiments.
    pub fn ready_made() -> Self {
        let experiments = TableId::new(EXPERIMENTS_PROJECT, "monitoring", "experimenter_experiments_v1");
        Self { relations: relations(PROJECT), companions: vec![experiments], memory: None }
    }

    /// Settings as a file writes them: the name of ready-made relations, and others.
    ///
    /// # Errors
    /// `InvalidQuery` naming what is unknown, contradicts itself or is there twice.
    pub fn of(ready_made: Option<&str>, others: Vec<LocalRelation>, memory: Option<u64>) -> Result<Self> {
        let ready_made = match ready_made {
            None => Self::default(),
            Some("mozilla") => Self::ready_made(),
            Some(other) => return Err(Error::invalid(format!("local {other:?} is none of mozilla"))),
        };
        let mut settings = Self { memory, ..ready_made };
        for relation in others {
            let relation = relation.check()?;
            if settings.relations.iter().any(|known| known.name == relation.name) {
                return Err(Error::invalid(format!("there are two local relations called {}", relation.name)));
            }
            settings.relations.push(relation);
        }
        Ok(settings)
    }
}

/// How long the rows of the open day are fresh.
const SLOT: Duration = Duration::from_mins(5);

/// How long a companion is fresh: the list of experiments is rewritten that often.
const COMPANION: Duration = Duration::from_mins(10);

/// How long an answer to the very same text over the same rows is kept.
const ANSWER_LIFE: Duration = Duration::from_mins(15);

/// How long it is remembered what a text reads: a text's range moves on with the slot.
const READS: Duration = SLOT;

/// What is kept here, and the place where it is.
pub(super) struct Locals {
    settings: Arc<LocalSettings>,
    place: Option<Embedded>,
    relations: Memo<usize, Result<Arc<Relation>, ()>>,
    templates: Vec<(String, Result<Arc<Template>, Reason>)>,
    /// What analysis is told of all views.
    views: Descriptors,
    /// What texts read.
    reads: Memo<String, Reads>,
    companions: OnceCell<()>,
    companion_contents: Mutex<HashMap<TableId, u64>>,
    /// When a text was found not to be answered here.
    refused: Memo<String, Reason>,
}

/// What of a relation a text reads.
struct Need {
    relation: Arc<Relation>,
    /// The days whose rows it reads.
    days: Extent,
    /// The views of running totals that it reads, with the days of their rows.
    totals: Vec<(TableId, Extent)>,
}

/// How a text is answered from what is kept here.
struct Located {
    analysis: Analysis,
    /// The text to run.
    job: Job,
    reads: Reads,
    needs: Vec<Need>,
}

/// Why a text is not answered here: its reason, or nothing where it is no affair of ours.
enum No {
    NotOurs,
    Because(Reason),
}

impl Locals {
    pub(super) fn new(settings: &Arc<LocalSettings>, project: &str, clock: Arc<dyn crate::clock::Clock>) -> Self {
        let place = (!settings.relations.is_empty()).then(|| Embedded::new(project, clock));
        let templates = settings.relations.iter().map(|relation| {
            let template = relation.template().map(Arc::new);
            if let Err(reason) = template {
                tracing::error!(relation = relation.name, reason, "a local relation cannot be read in parts");
            }
            (relation.base().sql, template)
        });
        Self {
            settings: Arc::clone(settings),
            place,
            relations: Memo::new(settings.relations.len().max(1), Duration::from_hours(24 * 365)),
            templates: templates.collect(),
            views: settings.relations.iter().flat_map(LocalRelation::view_descriptors).collect(),
            reads: Memo::new(super::columns::CAPACITY, READS),
            companions: OnceCell::new(),
            companion_contents: Mutex::default(),
            refused: Memo::new(super::columns::CAPACITY, Duration::from_mins(5)),
        }
    }

    /// The template of a relation's own query.
    pub(super) fn template(&self, sql: &str) -> Option<&Result<Arc<Template>, Reason>> {
        self.templates.iter().find(|(base, _)| base == sql).map(|(_, template)| template)
    }

    /// Whether a text may read something that is kept here.
    fn may_read(&self, sql: &str) -> bool {
        let views = self.settings.relations.iter().flat_map(|relation| {
            let views = relation.views.iter().map(|view| &view.table);
            views.chain(relation.totals.iter().map(|total| &total.table))
        });
        let names = views.chain(&self.settings.companions).map(|table| &*table.table);
        names.chain(["weir.local."]).any(|name| sql.contains(name))
    }
}

impl Engine {
    /// The answer to a query from what is kept here; else why there is none, where that is worth saying.
    pub(super) async fn local(self: &Arc<Self>, query: &Query, now: Timestamp) -> Result<Answer, Option<Reason>> {
        let place = self.keeps(query, now)?;
        let answer = Box::pin(self.locally(query, place, now)).await;
        answer.map_err(|no| self.refused(query, &no, now))
    }

    /// Whether a text may read something that is kept here.
    pub(super) fn may_be_kept(&self, sql: &str) -> bool {
        self.locals.place.is_some() && self.locals.may_read(sql)
    }

    /// The place where a query may be answered; else why not, where that is known already.
    fn keeps(&self, query: &Query, now: Timestamp) -> Result<&Embedded, Option<Reason>> {
        let Some(place) = &self.locals.place else { return Err(None) };
        // Rows are held for all who may ask this source as itself.
        let is_ours = query.cache.mode == CacheMode::Auto
            && query.target.dialect == Dialect::Official
            && query.scope == Scope::default()
            && self.locals.template(&query.sql).is_none()
            && self.locals.may_read(&query.sql);
        if !is_ours {
            return Err(None);
        }
        let known = self.locals.refused.slot(&query.sql, now);
        known.get().map_or(Ok(place), |reason| Err(Some(*reason).filter(|reason| !reason.is_empty())))
    }

    /// Remembers that a query is not answered here, and says why, where that is worth saying.
    fn refused(&self, query: &Query, no: &No, now: Timestamp) -> Option<Reason> {
        let reason = match no {
            No::NotOurs => "",
            No::Because(reason) => reason,
        };
        if reason != reason::FINER_THAN_KEPT {
            let _ = self.locals.refused.slot(&query.sql, now).set(reason);
            self.locals.refused.forget(&query.sql, now.plus(FAILURE_LIFETIME));
        }
        Some(reason).filter(|reason| !reason.is_empty())
    }

    async fn locally(self: &Arc<Self>, query: &Query, place: &Embedded, now: Timestamp) -> Result<Answer, No> {
        let located = self.located(query, place, Asking::Jobs, now).await?;
        let parts = self.loaded(&located, query, place, now).await?;
        let answer = self.answered(query, &located, &parts, place, now).await.map_err(failed)?;
        // Another caller may have made room meanwhile.
        located.is_fine_enough(query, now)?;
        self.audit_locally(query, &parts, now);
        Ok(answer)
    }

    /// What a text reads of what is kept here.
    async fn located(
        self: &Arc<Self>,
        query: &Query,
        place: &Embedded,
        asking: Asking,
        now: Timestamp,
    ) -> Result<Located, No> {
        let relations = self.relations(query, place, now).await;
        let analysis = self.analysed_locally(query);
        let sql = self.expanded(query, &analysis, now).map_err(|_| No::NotOurs)?;
        let job = self.job_of(query, format!("weir_local_{}", uuid::Uuid::new_v4().simple()), sql);
        let reads = self.reads(&job, place, &relations, now).await?;
        let needs = self.needs(&reads, &relations, query, asking, now).await.map_err(failed)?;
        let located = Located { analysis, job, reads, needs };
        located.is_fine_enough(query, now)?;
        Ok(located)
    }

    /// Brings all that a text reads to its place.
    async fn loaded(
        self: &Arc<Self>,
        located: &Located,
        query: &Query,
        place: &Embedded,
        now: Timestamp,
    ) -> Result<Vec<Part>, No> {
        let needs = &located.needs;
        let mut parts = self.load_all(needs, query, place, now).await.map_err(failed)?;
        if self.make_room(needs, query, place, now).await.map_err(failed)? {
            located.is_fine_enough(query, now)?;
            parts = self.load_all(needs, query, place, now).await.map_err(failed)?;
        }
        parts.extend(self.companions(&located.reads, query, place, now).await.map_err(failed)?);
        for need in needs {
            let first = need.days.start();
            for (table, days) in &need.totals {
                need.relation.total(table, first, *days, place).map_err(failed)?;
            }
        }
        Ok(parts)
    }

    /// What analysis says of a text whose views are sources of their own.
    fn analysed_locally(&self, query: &Query) -> Analysis {
        let project = Some(self.source.identity().project.as_str());
        let dataset = query.default_dataset.as_deref();
        let catalog = Catalog { descriptors: &self.locals.views, project, dataset };
        analyse(&query.sql, &catalog)
    }

    /// The text to run: of whole buckets, as answers in parts are, or as a whole answer's.
    fn expanded(&self, query: &Query, analysis: &Analysis, now: Timestamp) -> Result<String> {
        let whole = || {
            let plan = self.whole_plan(query, now)?;
            let [segment] = &*plan.segments else { return Err(Error::internal("a whole answer in parts")) };
            Ok(segment.sql.clone())
        };
        let analysis::Mode::Delta(delta) = &analysis.mode else { return whole() };
        let is_unsaid = delta.step == analysis::BucketStep::Suggested && query.step.is_none();
        let Some(range) = query.range.filter(|_| !is_unsaid) else { return whole() };
        let grain = self.locals.views.get(&delta.source).map_or(Duration::ZERO, |view| view.grain);
        let step = delta.step.of(query.step, grain).map_err(Error::invalid)?;
        let range = step.align(range, Timestamp::MAX);
        Ok(macros::expand(&query.sql, Some(range), Some(step), &query.target)?.sql)
    }

    /// The days that a text reads, by table.
    async fn reads(
        &self,
        job: &Job,
        place: &Embedded,
        relations: &[Arc<Relation>],
        now: Timestamp,
    ) -> Result<Reads, No> {
        let no = |error: Error| {
            tracing::debug!(?error, "a text is not answered from what is kept here");
            // An unknown name is of a table that is not kept; anything else would be the engine's limits.
            if error.kind() == Kind::NotFound { No::NotOurs } else { No::Because(reason::LOCAL_FAILED) }
        };
        if relations.is_empty() {
            return Err(No::Because(reason::LOCAL_FAILED));
        }
        // A day more than today, since some sources tell a day at its end.
        let last = Timestamp::saturating(now.ceil(DAY).micros() + DAY);
        let all = Extent::new(rows::earliest(relations, now), last).map_err(no)?;
        let asked = format!("{all} {:?} {}", (&job.parameters, &job.default_dataset), job.sql);
        let known = self.locals.reads.slot(&asked, now);
        known.get_or_try_init(|| place.reads(job, all)).await.cloned().map_err(no)
    }

    async fn needs(
        self: &Arc<Self>,
        reads: &Reads,
        relations: &[Arc<Relation>],
        query: &Query,
        asking: Asking,
        now: Timestamp,
    ) -> Result<Vec<Need>> {
        let mut needs = vec![];
        for relation in relations {
            let own = reads.days.get(&relation.declared.table()).copied();
            let totals = relation.declared.totals.iter();
            let mut totals: Vec<(TableId, Extent)> =
                totals.filter_map(|total| Some((total.table.clone(), *reads.days.get(&total.table)?))).collect();
            if own.is_none() && totals.is_empty() {
                continue;
            }
            let ranges = || own.iter().chain(totals.iter().map(|(_, days)| days)).copied();
            let first = match self.first_day(relation, query, asking, now).await {
                Err(_) if asking == Asking::Nothing => ranges().map(Extent::start).min().unwrap_or(now),
                first => first?,
            };
            let end = relation.end(now);
            let clip = |days: Extent| Extent::new(days.start().max(first), days.end().min(end).max(first));
            let ends = ranges().map(Extent::end).max();
            let starts = if totals.is_empty() { own.map_or(first, Extent::start) } else { first };
            let days = clip(Extent::new(starts.min(end), ends.unwrap_or(end).max(starts.min(end)))?)?;
            for (_, days) in &mut totals {
                *days = clip(*days)?;
            }
            needs.push(Need { relation: Arc::clone(relation), days, totals });
        }
        Ok(needs)
    }

    /// Runs a text over what is there.
    async fn answered(
        self: &Arc<Self>,
        query: &Query,
        located: &Located,
        parts: &[Part],
        place: &Embedded,
        now: Timestamp,
    ) -> Result<Answer> {
        let job = &located.job;
        let executed_sql: Arc<str> = job.sql.as_str().into();
        let contents: Vec<u64> = parts.iter().map(|part| part.piece.stored.content_id).collect();
        let asked = (&self.settings.scope, &query.scope, &query.parameters, &query.default_dataset);
        let purges = self.purges_of(query);
        let key = Key::new(format!("local {} {purges:?} {asked:?} {contents:?} {executed_sql}", self.identity));
        let stored = if let Some(stored) = self.shared.store.segment(&key) {
            stored
        } else {
            let run = || self.run_locally(job.clone(), key.clone(), place, now);
            self.shared.flights.join(key.clone(), run).await.result?
        };
        let uncached = self.uncached(query, &executed_sql, now).await;
        let plan = Plan {
            mode: Mode::Local,
            reason: reason::LOCAL,
            segments: parts.iter().map(|part| part.segment.clone()).collect(),
            assembly: None,
        };
        let pieces: Vec<Piece> = parts.iter().map(|part| part.piece.clone()).collect();
        self.shared.metrics.analysis.with_label_values(&[plan.mode.as_str(), plan.reason]).inc();
        self.count_pieces(&plan, &pieces);
        let provenance =
            Provenance::local(&plan, &pieces, self.shared.clock.now(), &self.settings.price, query.range, uncached);
        Ok(Answer {
            batches: stored.batches.clone(),
            provenance,
            executed_sql,
            content_id: stored.content_id,
            lifetime: ANSWER_LIFE,
            step: query.step,
        })
    }

    fn run_locally(
        self: &Arc<Self>,
        job: Job,
        key: Key,
        place: &Embedded,
        now: Timestamp,
    ) -> impl Future<Output = Result<Arc<Stored>>> + Send + 'static {
        let (engine, place) = (Arc::clone(self), place.clone());
        async move {
            let outcome = place.run(job).await?;
            let stored = Arc::new(Stored {
                content_id: engine.shared.store.content_id(),
                batches: outcome.batches.detach()?,
                fetched_at: now,
                job_id: String::new(),
                bytes_processed: 0,
                bytes_billed: 0,
                joined: false,
                slot_ms: 0,
            });
            engine.shared.store.keep(key, Arc::clone(&stored), ANSWER_LIFE);
            Ok(stored)
        }
    }

    /// What one job for the same text would bill, by a dry run once a day; `None` where the source does
    /// not know what the text reads.
    async fn uncached(&self, query: &Query, sql: &str, now: Timestamp) -> Option<u64> {
        let length = query.range.map(Extent::micros);
        let key = Key::new(format!("uncached {} {} {length:?} {}", self.identity, now.floor(DAY), query.sql));
        if let Some((bytes, _)) = self.shared.store.note::<Option<u64>>(&key) {
            return *bytes;
        }
        let estimate = self.try_text(query, "estimate", sql.to_owned()).await;
        let bytes = estimate.ok().map(|estimate| estimate.bytes_billed());
        self.shared.store.keep_note(key, Arc::new(bytes), size_of::<u64>(), now, Duration::from_hours(24));
        bytes
    }
}

/// What went wrong over what is kept here is no error of the query, which its source may answer.
#[expect(clippy::needless_pass_by_value, reason = "as `map_err` hands it over")]
fn failed(error: Error) -> No {
    tracing::warn!(?error, "what is kept here cannot answer");
    No::Because(reason::LOCAL_FAILED)
}
