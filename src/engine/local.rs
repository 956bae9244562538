//! Answers from relations that are kept here: any text over them is run in memory, from the days that
//! it reads, without a job of its own. What cannot be answered so is answered as if nothing were kept,
//! with the reason.

mod relation;
#[cfg(test)]
mod tests;
mod totals;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use futures::future::try_join_all;
use parking_lot::Mutex;
use tokio::sync::OnceCell;
use weir_plan::analysis::{self, Measure, Reason, Role, reason};
use weir_plan::descriptor::experiments::{EXPERIMENTS_PROJECT, PROJECT};
use weir_plan::extent::DAY;
use weir_plan::local::experiments::relations;
use weir_plan::local::{Columns, LocalRelation, TIME, adds_up};
use weir_plan::plan::Template;
use weir_plan::{
    Analysis, CacheMode, Catalog, Descriptors, Dialect, Error, Extent, Key, Kind, Mode, Plan, Query, Result, Step,
    TableId, Timestamp, analyse, macros,
};

pub use self::relation::Loaded;
use self::relation::{Part, Relation, micros, midnight_after};
use super::columns::FAILURE_LIFETIME;
use super::memo::Memo;
use super::parts::Asking;
use super::{Answer, Engine, Piece, Provenance};
use crate::cache::Stored;
use crate::ledger::Errand;
use crate::source::embedded::{Embedded, Reads, TableSpec};
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

/// Days of a plan in parts.
const MOST_DAYS: i64 = 700;

/// What is kept here, and the place where it is.
pub(super) struct Locals {
    settings: Arc<LocalSettings>,
    place: Option<Embedded>,
    relations: Memo<usize, std::result::Result<Arc<Relation>, ()>>,
    templates: Vec<(String, std::result::Result<Arc<Template>, Reason>)>,
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
    pub(super) fn template(&self, sql: &str) -> Option<&std::result::Result<Arc<Template>, Reason>> {
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
    pub(super) async fn local(
        self: &Arc<Self>,
        query: &Query,
        now: Timestamp,
    ) -> std::result::Result<Answer, Option<Reason>> {
        let Some(place) = &self.locals.place else { return Err(None) };
        let is_ours = query.cache.mode == CacheMode::Auto
            && query.target.dialect == Dialect::Official
            && self.locals.template(&query.sql).is_none()
            && self.locals.may_read(&query.sql);
        if !is_ours {
            return Err(None);
        }
        let known = self.locals.refused.slot(&query.sql, now);
        if let Some(reason) = known.get() {
            return Err(Some(*reason).filter(|reason| !reason.is_empty()));
        }
        match Box::pin(self.locally(query, place, now)).await {
            Ok(answer) => Ok(answer),
            Err(no) => {
                let reason = match no {
                    No::NotOurs => "",
                    No::Because(reason) => reason,
                };
                if reason != reason::FINER_THAN_KEPT {
                    let _ = known.set(reason);
                    self.locals.refused.forget(&query.sql, now.plus(FAILURE_LIFETIME));
                }
                Err(Some(reason).filter(|reason| !reason.is_empty()))
            }
        }
    }

    async fn locally(
        self: &Arc<Self>,
        query: &Query,
        place: &Embedded,
        now: Timestamp,
    ) -> std::result::Result<Answer, No> {
        let failed = |error: Error| {
            tracing::warn!(?error, "what is kept here cannot answer");
            No::Because(reason::LOCAL_FAILED)
        };
        let relations = self.relations(query, place, now).await;
        let analysis = self.analysed_locally(query);
        let sql = self.expanded(query, &analysis, now).map_err(|_| No::NotOurs)?;
        let job = self.job_of(query, format!("weir_local_{}", uuid::Uuid::new_v4().simple()), sql);
        let reads = self.reads(&job, place, &relations, now).await?;
        let needs = self.needs(&reads, &relations, query, now).await.map_err(failed)?;
        let asked = Asked { query, analysis: &analysis, sql: &job.sql, reads: &reads };
        granularity(&asked, &needs, now)?;
        let mut parts = self.load_all(&needs, query, place, now).await.map_err(failed)?;
        if self.make_room(&needs, query, place, now).await.map_err(failed)? {
            granularity(&asked, &needs, now)?;
            parts = self.load_all(&needs, query, place, now).await.map_err(failed)?;
        }
        parts.extend(self.companions(&reads, query, place, now).await.map_err(failed)?);
        for need in &needs {
            let first = need.days.start();
            for (table, days) in &need.totals {
                need.relation.total(table, first, *days, place).map_err(failed)?;
            }
        }
        self.answered(query, job, &parts, place, now).await.map_err(failed)
    }

    /// The relations whose columns are known, each found out once.
    async fn relations(self: &Arc<Self>, query: &Query, place: &Embedded, now: Timestamp) -> Vec<Arc<Relation>> {
        let mut relations = vec![];
        for (number, declared) in self.locals.settings.relations.iter().enumerate() {
            let slot = self.locals.relations.slot(&number, now);
            let found = slot.get_or_init(|| async {
                let made = self.relation(declared, query, place, now).await;
                made.map(Arc::new).map_err(|error| {
                    tracing::warn!(relation = declared.name, ?error, "a local relation cannot be read");
                    self.locals.relations.forget(&number, now.plus(FAILURE_LIFETIME));
                })
            });
            relations.extend(found.await.as_ref().ok().cloned());
        }
        self.locals
            .companions
            .get_or_init(|| async {
                for id in &self.locals.settings.companions {
                    let made = self.table(id).await.and_then(|table| {
                        let schema = Arc::clone(&table.schema);
                        place.create_table(TableSpec { id: id.clone(), schema, partitioning: None })
                    });
                    if let Err(error) = made {
                        tracing::warn!(table = %id, ?error, "a table cannot be kept here");
                    }
                }
            })
            .await;
        relations
    }

    async fn relation(
        &self,
        declared: &LocalRelation,
        query: &Query,
        place: &Embedded,
        now: Timestamp,
    ) -> Result<Relation> {
        let template = match self.locals.template(&declared.base().sql) {
            Some(Ok(template)) => Arc::clone(template),
            Some(Err(reason)) => return Err(Error::invalid(format!("it cannot be read in parts: {reason}"))),
            None => return Err(Error::internal("a relation without a template")),
        };
        let today = now.floor(DAY);
        let day = Extent::new(today, Timestamp::saturating(today.micros() + DAY))?;
        let step = declared.tiers(day, now).first().map_or(Step::Micros(DAY), |tier| tier.step);
        let sql = template.text(day, step, now, &BTreeSet::new()).map_err(Error::internal)?;
        let schema = self.try_text(query, "schema", sql).await?.schema;
        let (settled_by, _) = template.descriptor().settled_by();
        let location = self.table(settled_by).await.ok().and_then(|table| table.location.clone());
        Relation::new(declared.clone(), template, schema, location, place)
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
    ) -> std::result::Result<Reads, No> {
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
        let all = Extent::new(earliest(relations, now), last).map_err(no)?;
        let asked = format!("{all} {:?} {}", (&job.parameters, &job.default_dataset), job.sql);
        let known = self.locals.reads.slot(&asked, now);
        known.get_or_try_init(|| place.reads(job, all)).await.cloned().map_err(no)
    }

    async fn needs(
        self: &Arc<Self>,
        reads: &Reads,
        relations: &[Arc<Relation>],
        query: &Query,
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
            let first = self.first_day(relation, query, now).await?;
            let end = relation.end(now);
            let clip = |days: Extent| Extent::new(days.start().max(first), days.end().min(end).max(first));
            let ends = own.iter().chain(totals.iter().map(|(_, days)| days)).map(|days| days.end()).max();
            let starts = if totals.is_empty() { own.map_or(first, Extent::start) } else { first };
            let days = clip(Extent::new(starts.min(end), ends.unwrap_or(end).max(starts.min(end)))?)?;
            for (_, days) in &mut totals {
                *days = clip(*days)?;
            }
            needs.push(Need { relation: Arc::clone(relation), days, totals });
        }
        Ok(needs)
    }

    /// The first day of a relation: as declared, or of the first partition of its source.
    async fn first_day(self: &Arc<Self>, relation: &Relation, query: &Query, now: Timestamp) -> Result<Timestamp> {
        if let Some(since) = since(&relation.declared) {
            return Ok(since);
        }
        let (table, _) = relation.template.descriptor().settled_by();
        let first = self.first_partition(query, table, relation.location.as_deref(), now).await?;
        first.ok_or_else(|| relation::no_days(&relation.declared))
    }

    async fn load_all(
        self: &Arc<Self>,
        needs: &[Need],
        query: &Query,
        place: &Embedded,
        now: Timestamp,
    ) -> Result<Vec<Part>> {
        let loads = needs.iter().map(|need| self.load(need, query, place, now));
        Ok(try_join_all(loads).await?.into_iter().flatten().collect())
    }

    /// Sees to it that what is held fits into memory; says whether anything had to go.
    async fn make_room(
        self: &Arc<Self>,
        needs: &[Need],
        query: &Query,
        place: &Embedded,
        now: Timestamp,
    ) -> Result<bool> {
        let Some(memory) = self.locals.settings.memory else { return Ok(false) };
        let mut has_shed = false;
        for Need { relation, .. } in needs {
            let left_out = relation.left_out_before();
            while let Some(days) = relation.shed(memory, place, &self.shared.store)? {
                let again = Need { relation: Arc::clone(relation), days, totals: vec![] };
                self.load(&again, query, place, now).await?;
                has_shed = true;
            }
            has_shed |= left_out != relation.left_out_before();
        }
        Ok(has_shed)
    }

    /// Brings the days that are needed and are not there, or are no longer fresh.
    async fn load(self: &Arc<Self>, need: &Need, query: &Query, place: &Embedded, now: Timestamp) -> Result<Vec<Part>> {
        let Need { relation, days, .. } = need;
        if days.is_empty() {
            return Ok(vec![]);
        }
        let is_plain = !query.cache.skip_read && query.cache.fresh_for.is_none();
        let purges = [self.shared.store.generation(&self.identity), self.purges_of_days()];
        if is_plain && let Some(parts) = relation.fresh(*days, purges, now) {
            return Ok(parts);
        }
        let mut parts = vec![];
        let mut listed = now;
        for (range, step) in chunks(relation, *days, now) {
            let base = base_query(relation, query, range, step);
            let plan = self
                .in_parts(&base, Asking::Jobs, now)
                .await
                .map_err(|reason| Error::internal(format!("local relation {}: {reason}", relation.declared.name)))?;
            let Some(assembly) = &plan.assembly else { return Err(Error::internal("a relation that is whole")) };
            listed = listed.min(assembly.listed);
            let pieces = self.parts_of(&base, &plan, assembly, now).await?;
            parts.extend(plan.segments.iter().cloned().zip(pieces).map(|(segment, piece)| Part {
                segment,
                piece,
                step,
            }));
        }
        let bytes = parts.iter().map(|part| part.piece.stored.batches.memory_size()).sum();
        super::aside(bytes, || relation.take(*days, &parts, purges, [listed, now], place, &self.shared.store))?;
        Ok(parts)
    }

    /// Runs a text over what is there.
    async fn answered(
        self: &Arc<Self>,
        query: &Query,
        job: Job,
        parts: &[Part],
        place: &Embedded,
        now: Timestamp,
    ) -> Result<Answer> {
        let executed_sql: Arc<str> = job.sql.as_str().into();
        let contents: Vec<u64> = parts.iter().map(|part| part.piece.stored.content_id).collect();
        let asked = (&self.settings.scope, &query.scope, &query.parameters, &query.default_dataset);
        let key = Key::new(format!("local {} {asked:?} {contents:?} {executed_sql}", self.identity));
        let stored = match self.shared.store.segment(&key) {
            Some(stored) => stored,
            None => {
                self.shared.flights.join(key.clone(), || self.run_locally(job, key.clone(), place, now)).await.result?
            }
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
                batches: outcome.batches,
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

    /// The companions that a text reads, each looked at when it is no longer fresh.
    async fn companions(
        self: &Arc<Self>,
        reads: &Reads,
        query: &Query,
        place: &Embedded,
        now: Timestamp,
    ) -> Result<Vec<Part>> {
        let mut parts = vec![];
        for id in self.locals.settings.companions.iter().filter(|id| reads.relations.contains(id)) {
            let mut whole = Query::new(format!("SELECT * FROM `{id}`"));
            whole.scope = query.scope.clone();
            whole.labels.clone_from(&query.labels);
            whole.principal.clone_from(&query.principal);
            whole.cache.fresh_for = Some(COMPANION);
            whole.cache.max_stale = query.cache.max_stale;
            let mut plan = self.whole_plan(&whole, now)?;
            let segment = plan.segments.pop().ok_or_else(|| Error::internal("a plan without segments"))?;
            let piece = self.piece(&whole, Mode::Whole, &segment, Errand::Answer, now).await?;
            let content = piece.stored.content_id;
            if self.locals.companion_contents.lock().insert(id.clone(), content) != Some(content) {
                place.replace(id, &piece.stored.batches.concat()?)?;
            }
            parts.push(Part { segment, piece, step: Step::Micros(DAY) });
        }
        Ok(parts)
    }

    /// Brings all days of all relations, the latest first; `progress` is told of each step.
    ///
    /// # Errors
    /// Those of the relations' jobs.
    pub async fn load_locals(self: &Arc<Self>, mut progress: impl FnMut(&Loaded)) -> Result<()> {
        let Some(place) = &self.locals.place else { return Ok(()) };
        let now = self.shared.clock.now();
        let query = Query::new("");
        for relation in self.relations(&query, place, now).await {
            let first = self.first_day(&relation, &query, now).await?;
            let end = relation.end(now);
            let mut ends = vec![];
            let recent = Timestamp::saturating(now.floor(DAY).micros() - 2 * DAY);
            let tiers = relation.tiers(Extent::new(first.min(end), end)?, now);
            ends.extend(tiers.iter().map(|tier| tier.days.start()));
            ends.push(recent.max(first));
            ends.sort();
            ends.dedup();
            for start in ends.into_iter().rev() {
                let need = Need { relation: Arc::clone(&relation), days: Extent::new(start, end)?, totals: vec![] };
                self.load(&need, &query, place, now).await?;
                progress(&relation.loaded());
            }
        }
        Ok(())
    }

    /// As [`Engine::load_locals`], in the background, with a line in the log for each step.
    pub fn load_locals_behind(self: &Arc<Self>) {
        if self.locals.place.is_none() {
            return;
        }
        let engine = Arc::clone(self);
        tokio::spawn(async move {
            let source = engine.name().to_owned();
            let said = |loaded: &Loaded| {
                let days = loaded.days.map(tracing::field::display);
                tracing::info!(
                    source,
                    relation = loaded.name,
                    days,
                    rows = loaded.rows,
                    bytes = loaded.bytes,
                    "kept here"
                );
            };
            if let Err(error) = engine.load_locals(said).await {
                tracing::warn!(
                    source,
                    ?error,
                    "what is to be kept here could not be loaded; it is when it is asked for"
                );
            }
        });
    }

    /// What is there of each local relation whose columns are known.
    pub fn locals(&self) -> Vec<Loaded> {
        let now = self.shared.clock.now();
        let slots = (0..self.locals.settings.relations.len()).map(|number| self.locals.relations.slot(&number, now));
        slots.filter_map(|slot| Some(slot.get()?.as_ref().ok()?.loaded())).collect()
    }
}

impl Relation {
    /// The end of the last day that may have rows: today, or later where a source tells a day at its end.
    fn end(&self, now: Timestamp) -> Timestamp {
        let branches = &self.template.descriptor().branches;
        let behind = |branch: &weir_plan::descriptor::Branch| branch.pruning.as_ref().map(|pruning| pruning.behind);
        midnight_after(now).plus(branches.iter().filter_map(behind).max().unwrap_or_default())
    }
}

/// A text, and what was found out of it.
struct Asked<'a> {
    query: &'a Query,
    analysis: &'a Analysis,
    sql: &'a str,
    reads: &'a Reads,
}

/// Whether what is kept is as fine as a text asks.
fn granularity(asked: &Asked<'_>, needs: &[Need], now: Timestamp) -> std::result::Result<(), No> {
    for need in needs {
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
        let mut read = declared.views.iter().filter(|view| asked.reads.relations.contains(&view.table));
        let sums_only = read.any(|view| view.sums_only);
        if (!fine || sums_only) && !(needs.len() == 1 && adds_up_here(asked, need, fine, now)) {
            return Err(No::Because(reason::FINER_THAN_KEPT));
        }
    }
    Ok(())
}

/// Whether sums of what is kept are what a text asks for; `fine` says whether its windows are the source's.
fn adds_up_here(asked: &Asked<'_>, need: &Need, fine: bool, now: Timestamp) -> bool {
    let declared = &need.relation.declared;
    let views = declared.views.iter().filter(|view| asked.reads.relations.contains(&view.table));
    let views = views.map(|view| (&view.additive, view.time_column.as_str(), vec![]));
    let totals = declared.totals.iter().filter(|total| asked.reads.relations.contains(&total.table));
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
    let analysis::Mode::Delta(delta) = &asked.analysis.mode else {
        unlike.extend((!fine).then_some(time));
        return adds_up(asked.sql, Columns { additive, unlike: &unlike, is_analysed: false });
    };
    let are_sums = delta.outputs.iter().all(|output| match output.role {
        Role::Measure(measure) => measure == Measure::Sum,
        Role::Bucket | Role::Group | Role::Constant => true,
        Role::Other => false,
    });
    let step = delta.step.of(asked.query.step, declared.source.grain).ok();
    let tiers = need.relation.tiers(need.days, now);
    let fits = |step: Step| tiers.iter().all(|tier| step.is_multiple_of(micros(tier.step)));
    let fits = fine || step.is_some_and(fits);
    are_sums && fits && adds_up(asked.sql, Columns { additive, unlike: &unlike, is_analysed: true })
}

/// The first day that any relation may have: where nobody says, ten years ago.
fn earliest(relations: &[Arc<Relation>], now: Timestamp) -> Timestamp {
    let since = |relation: &Arc<Relation>| since(&relation.declared);
    let declared: Option<Vec<Timestamp>> = relations.iter().map(since).collect();
    let ten_years = Timestamp::saturating(now.floor(DAY).micros() - 3660 * DAY);
    declared.and_then(|all| all.into_iter().min()).unwrap_or(ten_years)
}

/// The first day of a relation, where that is declared.
fn since(relation: &LocalRelation) -> Option<Timestamp> {
    relation.since.map(Timestamp::from)
}

/// The days of a need in ranges that one plan takes.
fn chunks(relation: &Relation, days: Extent, now: Timestamp) -> Vec<(Extent, Step)> {
    let mut chunks = vec![];
    for tier in relation.tiers(days, now) {
        let mut start = tier.days.start();
        while start < tier.days.end() {
            let end = Timestamp::saturating(start.micros() + MOST_DAYS * DAY).min(tier.days.end());
            chunks.extend(Extent::new(start, end).ok().map(|range| (range, tier.step)));
            start = end;
        }
    }
    chunks
}

/// The relation's own query, for a caller.
fn base_query(relation: &Relation, query: &Query, range: Extent, step: Step) -> Query {
    let mut base = relation.base.clone();
    base.range = Some(range);
    base.step = Some(step);
    base.location = query.location.clone().or_else(|| relation.location.clone());
    base.scope = query.scope.clone();
    base.labels.clone_from(&query.labels);
    base.principal.clone_from(&query.principal);
    base.cache.max_stale = query.cache.max_stale;
    base.cache.fresh_for = query.cache.fresh_for.or(Some(SLOT.min(relation.declared.source.grain)));
    // What is settled need not be paid for again to be sure of it.
    if query.cache.skip_read {
        base.cache.fresh_for = Some(Duration::ZERO);
        base.cache.max_stale = Some(Duration::ZERO);
    }
    base
}
