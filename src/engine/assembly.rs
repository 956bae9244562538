//! Answers in parts: stored segments, the jobs for those that are missing, and their rows together.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use weir_plan::descriptor::{State, stays_on_its_day};
use weir_plan::plan::delta::{Assembly, TimeOutput, joined};
use weir_plan::{Error, Extent, Key, Plan, Query, Ranges, Result, Segment, Timestamp};

use super::answer::hull;
use super::fetch::LINGER;
use super::parts::Asking;
use super::{Engine, Piece, Status};
use crate::batches::{Batches, SortKey};
use crate::cache::Stored;
use crate::flight::{Departure, Landed};
use crate::ledger::Errand;

impl Engine {
    /// The pieces of a plan in parts, in order. What the store has not is fetched, neighbours by one
    /// job; what others fetch is waited for.
    pub(super) async fn parts_of(
        self: &Arc<Self>,
        query: &Query,
        plan: &Plan,
        assembly: &Assembly,
        now: Timestamp,
    ) -> Result<Vec<Piece>> {
        let segments = &plan.segments;
        let recalled = self.recall(query, segments, now).await;
        let looked = segments.iter().map(|segment| self.look(query, segment, &recalled, now));
        let mut pieces: Vec<Option<Piece>> = looked.collect::<Result<_>>()?;
        self.derive(query, plan, assembly, &mut pieces, now).await;
        let places = |pieces: &[Option<Piece>], is_it: &dyn Fn(&Option<Piece>) -> bool| -> Vec<usize> {
            (0..pieces.len()).filter(|place| is_it(&pieces[*place])).collect()
        };
        let is_stale = |piece: &Piece| piece.status == Status::Stale;
        let mut stale = places(&pieces, &|piece| piece.as_ref().is_some_and(is_stale));
        let live = live(segments, &pieces, now);
        let seen = |piece: &Option<Piece>| piece.as_ref().map(|piece| piece.stored.content_id);
        if pieces.iter().any(Option::is_none) {
            // What is stale comes along where it would have to be fetched by a job of its own soon.
            let old = places(&pieces, &|piece| piece.as_ref().is_none_or(is_stale));
            let wanted = self.worth_fetching(query, assembly, segments, &old, &live).await;
            let runs = wanted.chunk_by(|one, next| one + 1 == *next);
            let wanted: Vec<usize> =
                runs.filter(|run| run.iter().any(|place| pieces[*place].is_none())).flatten().copied().collect();
            stale.retain(|place| !wanted.contains(place));
            let of = |place: &usize| Wanted { segment: segments[*place].clone(), seen: seen(&pieces[*place]) };
            let fetched: Vec<Wanted> = wanted.iter().map(of).collect();
            for (place, landed) in
                wanted.into_iter().zip(self.fetch_all(query, assembly, &fetched, Errand::Answer).await)
            {
                pieces[place] = Some(Piece::landed(landed, query)?);
            }
        }
        if stale.iter().any(|place| self.may_refresh(query, &segments[*place], now)) {
            let seen = pieces.iter().map(seen).collect();
            self.refresh_parts(query, assembly, segments, seen, stale, live);
        }
        pieces.into_iter().map(|piece| piece.ok_or_else(|| Error::internal("a segment was lost"))).collect()
    }

    /// Fetches stale segments behind their caller.
    fn refresh_parts(
        self: &Arc<Self>,
        query: &Query,
        assembly: &Assembly,
        segments: &[Segment],
        seen: Vec<Option<u64>>,
        stale: Vec<usize>,
        live: Vec<bool>,
    ) {
        let (engine, query, assembly, segments) =
            (Arc::clone(self), query.clone(), assembly.clone(), segments.to_vec());
        tokio::spawn(async move {
            let wanted = engine.worth_fetching(&query, &assembly, &segments, &stale, &live).await;
            let wanted: Vec<Wanted> = wanted
                .into_iter()
                .map(|place| Wanted { segment: segments[place].clone(), seen: seen[place] })
                .collect();
            let fetch = engine.fetch_all(&query, &assembly, &wanted, Errand::Refresh);
            let landed = tokio::time::timeout(LINGER, fetch).await.map_err(super::fetch::too_long);
            let failed = |landed: Vec<Landed<_>>| landed.into_iter().find_map(|landed| landed.result.err());
            if let Some(error) = landed.map_or_else(Some, failed) {
                tracing::warn!(?error, "a fetch that nobody waited for failed");
            }
        });
    }

    /// The places of the segments to fetch so that those in `wanted` cost least: what lies between
    /// them too where one job bills less than several, and what may have got late rows where that
    /// costs nothing.
    async fn worth_fetching(
        &self,
        query: &Query,
        assembly: &Assembly,
        segments: &[Segment],
        wanted: &[usize],
        live: &[bool],
    ) -> Vec<usize> {
        let missing: Ranges = wanted.iter().filter_map(|place| segments[*place].extent).collect();
        let mut jobs = self.cheapest(query, assembly, &missing).await;
        let last = wanted.last().copied().unwrap_or_default();
        let before = (0..last).rev().take_while(|place| live[*place]).filter_map(|place| segments[place].extent);
        if let Some(job) = jobs.last_mut() {
            for late in before.filter(|late| late.end() <= job.start()).collect::<Vec<_>>() {
                match Extent::new(late.start(), job.end()) {
                    Ok(wide) if self.is_free(query, assembly, *job, wide).await => *job = wide,
                    _ => break,
                }
            }
        }
        let jobs: Ranges = jobs.into_iter().collect();
        let is_wanted = |place: &usize| segments[*place].extent.is_some_and(|extent| jobs.covers(extent));
        (0..segments.len()).filter(is_wanted).collect()
    }

    /// Joins or starts the flights of segments; neighbours that nobody fetches yet are one job.
    async fn fetch_all(
        self: &Arc<Self>,
        query: &Query,
        assembly: &Assembly,
        wanted: &[Wanted],
        errand: Errand,
    ) -> Vec<Landed<Arc<Stored>>> {
        let keys: Vec<Key> = wanted.iter().map(|wanted| wanted.segment.key.clone()).collect();
        let start = |unclaimed: Vec<usize>| {
            let neighbours = |one: &usize, next: &usize| {
                wanted[*one].segment.extent.map(Extent::end) == wanted[*next].segment.extent.map(Extent::start)
            };
            let departures = unclaimed.chunk_by(neighbours).map(|places| {
                let wanted = places.iter().map(|place| wanted[*place].clone()).collect();
                let fetch = Arc::clone(self).fetch_parts(query.clone(), assembly.clone(), wanted, errand);
                Departure { places: places.to_vec(), fetch }
            });
            departures.collect()
        };
        self.shared.flights.join_all(&keys, start).await
    }

    /// The one job for neighbouring segments, without the tables that have no rows as of a moment.
    pub(super) async fn job_for(
        &self,
        query: &Query,
        assembly: &Assembly,
        segments: &[&Segment],
        now: Timestamp,
    ) -> Result<(Segment, Timestamp)> {
        let (empty, since) = match segments.iter().filter_map(|segment| segment.extent).reduce(hull) {
            Some(extent) => self.quiet(query, assembly, extent, now).await,
            None => (BTreeSet::new(), now),
        };
        let assembly = Assembly { empty, ..assembly.clone() };
        Ok((joined(&assembly, segments)?, since))
    }

    /// Runs one job for neighbouring segments and keeps each by itself.
    pub(super) fn fetch_parts(
        self: Arc<Self>,
        query: Query,
        assembly: Assembly,
        wanted: Vec<Wanted>,
        errand: Errand,
    ) -> BoxFuture<'static, Result<Vec<Arc<Stored>>>> {
        async move {
            let now = self.shared.clock.now();
            // Flights that landed since somebody looked may have brought some.
            let landed = |wanted: &Wanted| self.landed_before(&query, &wanted.segment, wanted.seen, now);
            let mut landed: Vec<Option<Arc<Stored>>> = wanted.iter().map(landed).collect();
            let is_missing = |stored: &Option<Arc<Stored>>| stored.is_none();
            let Some((first, last)) = landed.iter().position(is_missing).zip(landed.iter().rposition(is_missing))
            else {
                return Ok(landed.into_iter().flatten().collect());
            };
            let segments: Vec<&Segment> = wanted[first..=last].iter().map(|wanted| &wanted.segment).collect();
            let (job, since) = self.job_for(&query, &assembly, &segments, now).await?;
            let stored = match self.run(&query, &job, errand, now, query.cache.skip_read).await {
                Ok(stored) => Stored { fetched_at: stored.fetched_at.min(since), ..stored },
                Err(error) => {
                    self.remember(&segments, &error, now);
                    return Err(error);
                }
            };
            // Segments that are kept were joined to the tables as they were planned with.
            let statics = self.statics(&assembly.template, Asking::Anew).await;
            if statics.is_ok_and(|statics| statics != assembly.statics) {
                return Err(Error::internal("a static table has changed since it was looked at"));
            }
            if let Some(extent) = job.extent.filter(|_| !stored.joined) {
                self.learn_bill(&assembly, extent, stored.bytes_billed).await;
            }
            // Over midnight rows change sides.
            let is_kept = assembly.template.descriptor().flip.is_none()
                || stays_on_its_day(assembly.as_of, self.shared.clock.now());
            let column = column(&stored.batches, &assembly.time_output)?;
            let ranges: Vec<Extent> = segments.iter().filter_map(|segment| segment.extent).collect();
            let parts = stored.batches.split(column, &ranges)?;
            let shares = Shares { of: &stored, count: segments.len() as u64 };
            for (number, (segment, batches)) in segments.into_iter().zip(parts).enumerate() {
                let part = shares.part(number as u64, self.shared.store.content_id(), batches);
                landed[first + number] = Some(if is_kept {
                    self.keep(segment, part)
                } else {
                    self.shared.store.reject(segment.key.clone(), "midnight");
                    Arc::new(part)
                });
            }
            Ok(landed.into_iter().flatten().collect())
        }
        .boxed()
    }
}

/// A segment to fetch, and the content that was found of it.
#[derive(Clone)]
pub(super) struct Wanted {
    pub(super) segment: Segment,
    pub(super) seen: Option<u64>,
}

/// Which segments are stored, and may have got late rows since.
fn live(segments: &[Segment], pieces: &[Option<Piece>], now: Timestamp) -> Vec<bool> {
    let is_live = |(segment, piece): (&Segment, &Option<Piece>)| {
        let state = segment.settling.map(|settling| settling.state);
        let age = piece.as_ref().map(|piece| now.since(piece.stored.fetched_at));
        state == Some(State::Live) && age.is_some_and(|age| age >= segment.freshness.fresh_for)
    };
    segments.iter().zip(pieces).map(is_live).collect()
}

/// A job's bill divided among its segments, so that the sum stays the same.
struct Shares<'a> {
    of: &'a Stored,
    count: u64,
}

impl Shares<'_> {
    fn part(&self, number: u64, content_id: u64, batches: Batches) -> Stored {
        let share = |total: u64| total / self.count + u64::from(number < total % self.count);
        Stored {
            content_id,
            batches,
            fetched_at: self.of.fetched_at,
            job_id: self.of.job_id.clone(),
            bytes_processed: share(self.of.bytes_processed),
            bytes_billed: share(self.of.bytes_billed),
            joined: self.of.joined,
            slot_ms: share(self.of.slot_ms),
        }
    }
}

/// The place of the column by whose time rows are cut.
pub(super) fn column(batches: &Batches, output: &TimeOutput) -> Result<usize> {
    match output {
        TimeOutput::Place(place) => Ok(*place),
        TimeOutput::Name(name) => {
            let mut fields = batches.schema().fields().iter();
            let found = fields.position(|field| field.name().eq_ignore_ascii_case(name));
            found.ok_or_else(|| Error::internal(format!("the answer has no column {name}")))
        }
    }
}

/// The rows of all pieces within the answer's range and in its order.
///
/// # Errors
/// `Internal` where the pieces' columns differ: nothing is cast in silence.
pub(super) fn assembled(pieces: &[Piece], assembly: &Assembly) -> Result<Batches> {
    let all = super::merge(pieces)?;
    let column = column(&all, &assembly.time_output)?;
    let mut keys: Vec<SortKey> = assembly
        .order
        .iter()
        .map(|key| SortKey { column: key.output, descending: key.descending, nulls_first: key.nulls_first })
        .collect();
    keys.extend(assembly.descending.map(|descending| SortKey { column, descending, nulls_first: !descending }));
    all.crop(column, assembly.range)?.order_by(&keys)
}
