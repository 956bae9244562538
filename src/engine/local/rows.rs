//! The rows of relations and companions: brought by the engine's own answers in parts, put where texts
//! are run, and made to fit into memory.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures::future::try_join_all;
use weir_plan::extent::DAY;
use weir_plan::local::LocalRelation;
use weir_plan::{Error, Extent, Mode, Plan, Query, Result, Step, TableId, Timestamp};

use super::relation::{Loaded, Part, Relation, midnight_after, no_days};
use super::{COMPANION, Engine, Need, SLOT};
use crate::engine::aside;
use crate::engine::columns::FAILURE_LIFETIME;
use crate::engine::parts::{Asking, Unplanned};
use crate::ledger::Errand;
use crate::source::embedded::{Embedded, Reads, TableSpec};

/// Days of a plan in parts.
const MOST_DAYS: i64 = 700;

impl Engine {
    /// The relations whose columns are known, each found out once.
    pub(super) async fn relations(
        self: &Arc<Self>,
        query: &Query,
        place: &Embedded,
        now: Timestamp,
    ) -> Vec<Arc<Relation>> {
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

    /// The first day of a relation: as declared, or of the first partition of its source.
    pub(super) async fn first_day(
        self: &Arc<Self>,
        relation: &Relation,
        query: &Query,
        asking: Asking,
        now: Timestamp,
    ) -> Result<Timestamp> {
        if let Some(since) = since(&relation.declared) {
            return Ok(since);
        }
        let (table, _) = relation.template.descriptor().settled_by();
        let first = self.first_partition(query, table, relation.location.as_deref(), asking, now).await?;
        first.ok_or_else(|| no_days(&relation.declared))
    }

    pub(super) async fn load_all(
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
    pub(super) async fn make_room(
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
            let (base, plan) = self.rows_plan(relation, query, (range, step), Asking::Jobs, now).await?;
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
        aside(bytes, || relation.take(*days, &parts, purges, [listed, now], place, &self.shared.store))?;
        Ok(parts)
    }

    /// The relation's own query for one of the [`chunks`] of its days, and how it is answered in parts.
    pub(super) async fn rows_plan(
        self: &Arc<Self>,
        relation: &Relation,
        query: &Query,
        (range, step): (Extent, Step),
        asking: Asking,
        now: Timestamp,
    ) -> Result<(Query, Plan)> {
        let base = base_query(relation, query, range, step);
        let unplanned = |why: Unplanned| match why {
            Unplanned::Because(reason) => {
                Error::internal(format!("local relation {}: {reason}", relation.declared.name))
            }
            Unplanned::OverBudget(error) => error,
        };
        let plan = self.in_parts(&base, asking, now).await.map_err(unplanned)?;
        Ok((base, plan))
    }

    /// The companions that a text reads.
    pub(super) fn companions_of(&self, reads: &Reads) -> impl Iterator<Item = &TableId> {
        self.locals.settings.companions.iter().filter(|id| reads.relations.contains(id))
    }

    /// The companions that a text reads, each looked at when it is no longer fresh.
    pub(super) async fn companions(
        self: &Arc<Self>,
        reads: &Reads,
        query: &Query,
        place: &Embedded,
        now: Timestamp,
    ) -> Result<Vec<Part>> {
        let mut parts = vec![];
        for id in self.companions_of(reads) {
            let whole = companion_query(id, query);
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
        let mut query = Query::new("");
        query.principal = Some("weir".to_owned());
        for relation in self.relations(&query, place, now).await {
            let first = self.first_day(&relation, &query, Asking::Jobs, now).await?;
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
    pub(super) fn end(&self, now: Timestamp) -> Timestamp {
        let branches = &self.template.descriptor().branches;
        let behind = |branch: &weir_plan::descriptor::Branch| branch.pruning.as_ref().map(|pruning| pruning.behind);
        midnight_after(now).plus(branches.iter().filter_map(behind).max().unwrap_or_default())
    }
}

/// The first day that any relation may have: where nobody says, ten years ago.
pub(super) fn earliest(relations: &[Arc<Relation>], now: Timestamp) -> Timestamp {
    let since = |relation: &Arc<Relation>| since(&relation.declared);
    let declared: Option<Vec<Timestamp>> = relations.iter().map(since).collect();
    let ten_years = Timestamp::saturating(now.floor(DAY).micros() - 3660 * DAY);
    declared.and_then(|all| all.into_iter().min()).unwrap_or(ten_years)
}

/// The first day of a relation, where that is declared.
pub(super) fn since(relation: &LocalRelation) -> Option<Timestamp> {
    relation.since.map(Timestamp::from)
}

/// The days of a need in ranges that one plan takes.
pub(super) fn chunks(relation: &Relation, days: Extent, now: Timestamp) -> Vec<(Extent, Step)> {
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

/// The query for a companion's rows, for a caller.
pub(super) fn companion_query(id: &TableId, query: &Query) -> Query {
    let mut whole = Query::new(format!("SELECT * FROM `{id}`"));
    whole.scope = query.scope.clone();
    whole.labels.clone_from(&query.labels);
    whole.principal.clone_from(&query.principal);
    whole.cache.fresh_for = Some(COMPANION);
    whole.cache.max_stale = query.cache.max_stale;
    whole
}
