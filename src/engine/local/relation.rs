//! One kept relation: its rows by day, brought by the engine's own answers in parts, and put into the
//! place where texts are run.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::SchemaRef;
use parking_lot::Mutex;
use weir_plan::descriptor::State as Settled;
use weir_plan::extent::DAY;
use weir_plan::local::{Keep, LocalRelation, TIME, Tier};
use weir_plan::plan::Template;
use weir_plan::{Error, Extent, Query, Result, Segment, Step, TableId, Timestamp};

use super::totals::{Day, Totals};
use crate::cache::{Store, Stored};
use crate::engine::parts::LISTING;
use crate::engine::{Piece, Status};
use crate::source::embedded::{Embedded, TableSpec};
use crate::source::{PartitionUnit, Partitioning};

/// A relation whose columns are known.
pub(super) struct Relation {
    pub(super) declared: LocalRelation,
    pub(super) template: Arc<Template>,
    /// The query for its rows; its range and step are those of what is missing.
    pub(super) base: Query,
    /// The location of its source.
    pub(super) location: Option<String>,
    schema: SchemaRef,
    state: Mutex<State>,
}

/// What is there of a relation.
struct State {
    held: BTreeMap<Timestamp, Held>,
    /// The ranges that were planned, until when their plan holds, and the purges it was made after.
    planned: Vec<(Extent, Timestamp, [u64; 2])>,
    totals: Vec<Totals>,
    ladder: Vec<Keep>,
    /// What does not fit into memory.
    left_out: Option<Timestamp>,
}

impl State {
    /// From the first to the last day that is there.
    fn days(&self) -> Option<Extent> {
        let (first, last) = (self.held.first_key_value()?.0, self.held.last_key_value()?.0);
        Extent::new(*first, Timestamp::saturating(last.micros() + DAY)).ok()
    }
}

/// A day.
#[derive(Clone)]
struct Held {
    segment: Segment,
    stored: Arc<Stored>,
    step: Step,
}

/// A day as it was answered.
pub(super) struct Part {
    pub(super) segment: Segment,
    pub(super) piece: Piece,
    pub(super) step: Step,
}

/// What is there of a relation, for whoever runs it.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Loaded {
    /// The relation's name.
    pub name: String,
    /// The first and the last day that are there.
    pub days: Option<Extent>,
    /// Rows.
    pub rows: u64,
    /// Bytes in memory.
    pub bytes: u64,
    /// The day before which nothing fits into memory.
    pub left_out_before: Option<Timestamp>,
}

impl Relation {
    /// A relation of which nothing is there; makes its tables and views in `place`.
    pub(super) fn new(
        declared: LocalRelation,
        template: Arc<Template>,
        schema: SchemaRef,
        location: Option<String>,
        place: &Embedded,
    ) -> Result<Self> {
        let by_day = |column: &str| Some(Partitioning { column: Some(column.to_owned()), unit: PartitionUnit::Day });
        let table = declared.table();
        place.create_table(TableSpec { id: table, schema: Arc::clone(&schema), partitioning: by_day(TIME) })?;
        let mut totals = vec![];
        for spec in &declared.totals {
            let all = Totals::new(spec, &schema)?;
            let schema = Arc::clone(all.schema());
            let partitioning = by_day(&spec.time_column);
            place.create_table(TableSpec { id: spec.table.clone(), schema, partitioning })?;
            totals.push(all);
        }
        for view in &declared.views {
            place.create_view(view.table.clone(), &view.sql)?;
        }
        let state = State { held: BTreeMap::new(), planned: vec![], totals, ladder: declared.ladder(), left_out: None };
        let base = declared.base();
        Ok(Self { declared, template, base, location, schema, state: Mutex::new(state) })
    }

    /// The days of `need` with the length of their windows, oldest first.
    pub(super) fn tiers(&self, need: Extent, now: Timestamp) -> Vec<Tier> {
        let ladder = self.state.lock().ladder.clone();
        LocalRelation { keep: ladder, ..self.declared.clone() }.tiers(need, now)
    }

    /// The first day that fits into memory, where not all do.
    pub(super) fn left_out_before(&self) -> Option<Timestamp> {
        self.state.lock().left_out
    }

    /// The days of `need` that are there, if all are, each fresh enough to need no look at its source.
    pub(super) fn fresh(&self, need: Extent, purges: [u64; 2], now: Timestamp) -> Option<Vec<Part>> {
        let state = self.state.lock();
        let holds = |(range, until, after): &(Extent, Timestamp, [u64; 2])| {
            now < *until && *after == purges && range.start() <= need.start() && need.end() <= range.end()
        };
        state.planned.iter().find(|planned| holds(planned))?;
        let mut parts = vec![];
        let mut end = need.start();
        for (day, held) in state.held.range(need.start()..need.end()) {
            if *day != end {
                return None;
            }
            end = Timestamp::saturating(day.micros() + DAY);
            let piece = Piece::of(Arc::clone(&held.stored), Status::Hit);
            parts.push(Part { segment: held.segment.clone(), piece, step: held.step });
        }
        (end == need.end()).then_some(parts)
    }

    /// Takes in what was answered for `need` by a plan that was made as of `now` from a listing of
    /// `listed`, and puts what is new of it into the place.
    ///
    /// # Errors
    /// `Internal` where the source's columns are no longer those that the relation began with.
    pub(super) fn take(
        &self,
        need: Extent,
        parts: &[Part],
        purges: [u64; 2],
        [listed, now]: [Timestamp; 2],
        place: &Embedded,
        store: &Store,
    ) -> Result<()> {
        let mut state = self.state.lock();
        let table = self.declared.table();
        for part in parts {
            let Some(extent) = part.segment.extent else { continue };
            let day = extent.start();
            let before = state.held.get(&day);
            if before.is_some_and(|held| is_newer(held, part)) {
                continue;
            }
            let is_same = before.is_some_and(|held| held.stored.content_id == part.piece.stored.content_id);
            if !is_same {
                let rows = part.piece.stored.batches.concat()?;
                place.replace_partition(&table, day, &rows).map_err(|error| {
                    error.context(format_args!("local relation {}: its source has changed", self.declared.name))
                })?;
            }
            if let Some(before) = before {
                store.unpin(&before.segment.key);
            }
            store.pin(part.segment.key.clone(), Arc::clone(&part.piece.stored));
            let (segment, stored) = (part.segment.clone(), Arc::clone(&part.piece.stored));
            state.held.insert(day, Held { segment, stored, step: part.step });
        }
        let until = parts.iter().map(|part| part.holds_until(now)).fold(listed.plus(LISTING), Timestamp::min);
        let until = until.min(midnight_after(now));
        state
            .planned
            .retain(|(range, until, _)| now < *until && !(need.start() <= range.start() && range.end() <= need.end()));
        state.planned.push((need, until, purges));
        Ok(())
    }

    /// Brings a view of running totals up to the days that are there, for rows from `wanted` on; the
    /// days before `end` are all there from the first of the source on.
    pub(super) fn total(&self, table: &TableId, first: Timestamp, wanted: Extent, place: &Embedded) -> Result<()> {
        let mut state = self.state.lock();
        let State { held, totals, .. } = &mut *state;
        let Some(total) = totals.iter_mut().find(|total| total.spec().table == *table) else { return Ok(()) };
        let days = held.range(first..wanted.end()).map(|(start, held)| Day {
            start: *start,
            content: held.stored.content_id,
            step: micros(held.step),
            batches: &held.stored.batches,
        });
        let changed = total.follow(&days.collect::<Vec<_>>(), wanted.start())?;
        for (day, rows) in changed {
            place.replace_partition(table, day, &rows)?;
        }
        Ok(())
    }

    /// Makes room where more than `memory` bytes are held: old days are to be kept coarser, and where that
    /// is not enough, the oldest are left out. Returns the days that are to be loaded again, coarser.
    pub(super) fn shed(&self, memory: u64, place: &Embedded, store: &Store) -> Result<Option<Extent>> {
        let mut state = self.state.lock();
        let sizes: HashMap<Timestamp, u64> =
            state.held.iter().map(|(day, held)| (*day, held.stored.batches.memory_size() as u64)).collect();
        let total: u64 = sizes.values().sum();
        if total <= memory {
            return Ok(None);
        }
        if let Some(place) = state.ladder.iter().position(|keep| keep.days.is_some_and(|days| days > FEWEST_DAYS)) {
            let days = state.ladder[place].days.unwrap_or_default();
            // A limit beyond the days that are there makes no room.
            let held = u32::try_from(state.held.len()).unwrap_or(u32::MAX);
            state.ladder[place].days = Some((days.min(held) * 3 / 4).max(FEWEST_DAYS));
            state.planned.clear();
            let kept = state.ladder[place];
            tracing::warn!(relation = self.declared.name, ?kept, "rows do not fit into memory and are kept coarser");
            return Ok(state.days());
        }
        let mut over = total - memory;
        let days: Vec<Timestamp> = state.held.keys().copied().collect();
        for day in days {
            let Some(held) = state.held.remove(&day) else { continue };
            store.unpin(&held.segment.key);
            place.replace_partition(
                &self.declared.table(),
                day,
                &arrow::array::RecordBatch::new_empty(Arc::clone(&self.schema)),
            )?;
            state.left_out = Some(Timestamp::saturating(day.micros() + DAY));
            over = over.saturating_sub(sizes[&day]);
            if over == 0 {
                break;
            }
        }
        let before = state.left_out.map(tracing::field::display);
        tracing::warn!(relation = self.declared.name, before, "rows do not fit into memory and are left out");
        Ok(None)
    }

    /// What is there.
    pub(super) fn loaded(&self) -> Loaded {
        let state = self.state.lock();
        let stored = || state.held.values().map(|held| &held.stored.batches);
        Loaded {
            name: self.declared.name.clone(),
            days: state.days(),
            rows: stored().map(|batches| batches.num_rows() as u64).sum(),
            bytes: stored().map(|batches| batches.memory_size() as u64).sum(),
            left_out_before: state.left_out,
        }
    }
}

/// Days whose windows are not made coarser to make room.
const FEWEST_DAYS: u32 = 2;

/// How long what is awaited is not looked at again.
const AWAITED: Duration = Duration::from_mins(1);

impl Part {
    /// Until when nobody need look whether there is something newer.
    fn holds_until(&self, now: Timestamp) -> Timestamp {
        let settling = self.segment.settling;
        match settling.map(|settling| settling.state) {
            _ if self.piece.status == Status::Stale => now,
            Some(Settled::Final) => Timestamp::MAX,
            _ if settling.is_some_and(|settling| settling.is_unchanged) => now.plus(AWAITED),
            Some(Settled::Live | Settled::Pending) => now.plus(AWAITED),
            Some(Settled::Open) | None => self.piece.stored.fetched_at.plus(self.segment.freshness.fresh_for),
        }
    }
}

/// Whether what is held is of a later job than `part`: another caller was faster.
fn is_newer(held: &Held, part: &Part) -> bool {
    held.step == part.step && part.piece.stored.fetched_at < held.stored.fetched_at
}

/// The length of a step of less than a month.
pub(super) const fn micros(step: Step) -> i64 {
    match step {
        Step::Micros(micros) => micros,
        Step::Months(_) => DAY,
    }
}

/// The midnight that ends the day of a moment.
pub(super) fn midnight_after(now: Timestamp) -> Timestamp {
    Timestamp::saturating(now.floor(DAY).micros() + DAY)
}

/// An error for a relation that has no days.
pub(super) fn no_days(relation: &LocalRelation) -> Error {
    Error::not_found(format!("local relation {}: its source has no partitions", relation.name))
}
