//! Answers in parts: stored segments, the jobs for those that are missing, and their rows together.

use std::sync::Arc;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use weir_plan::plan::delta::{Assembly, TimeOutput, joined};
use weir_plan::{Error, Extent, Key, Plan, Query, Result, Segment, Timestamp};

use super::{Engine, Piece};
use crate::batches::{Batches, SortKey};
use crate::cache::Stored;
use crate::flight::Departure;

impl Engine {
    /// The pieces of a plan in parts, in order. Neighbours that nobody fetches yet are fetched by one
    /// job; what others fetch is waited for.
    pub(super) async fn parts_of(
        self: &Arc<Self>,
        query: &Query,
        plan: &Plan,
        assembly: &Assembly,
        now: Timestamp,
    ) -> Result<Vec<Piece>> {
        let looked = plan.segments.iter().map(|segment| self.look(query, segment, now));
        let mut pieces: Vec<Option<Piece>> = looked.collect::<Result<_>>()?;
        let missing: Vec<usize> = (0..pieces.len()).filter(|place| pieces[*place].is_none()).collect();
        let keys: Vec<Key> = missing.iter().map(|place| plan.segments[*place].key.clone()).collect();
        let start = |unclaimed: Vec<usize>| {
            let segment = |place: &usize| &plan.segments[missing[*place]];
            let neighbours = |one: &usize, next: &usize| {
                segment(one).extent.map(Extent::end) == segment(next).extent.map(Extent::start)
            };
            let departures = unclaimed.chunk_by(neighbours).map(|places| {
                let segments = places.iter().map(|place| segment(place).clone()).collect();
                let fetch = Arc::clone(self).fetch_parts(query.clone(), assembly.clone(), segments);
                Departure { places: places.to_vec(), fetch }
            });
            departures.collect()
        };
        let landed = if keys.is_empty() { vec![] } else { self.shared.flights.join_all(&keys, start).await };
        for (place, landed) in missing.into_iter().zip(landed) {
            pieces[place] = Some(Piece::landed(landed, query)?);
        }
        pieces.into_iter().map(|piece| piece.ok_or_else(|| Error::internal("a segment was lost"))).collect()
    }

    /// Runs one job for neighbouring segments and keeps each by itself.
    pub(super) fn fetch_parts(
        self: Arc<Self>,
        query: Query,
        assembly: Assembly,
        segments: Vec<Segment>,
    ) -> BoxFuture<'static, Result<Vec<Arc<Stored>>>> {
        async move {
            let now = self.shared.clock.now();
            if let Some(stored) = self.landed_before(&query, &segments, now) {
                return Ok(stored);
            }
            let all: Vec<&Segment> = segments.iter().collect();
            let job = joined(&query, &assembly, &all)?;
            let stored = match self.run(&query, &job, now, query.cache.skip_read).await {
                Ok(stored) => stored,
                Err(error) => {
                    self.remember(&segments, &error, now);
                    return Err(error);
                }
            };
            let column = column(&stored.batches, &assembly.time_output)?;
            let ranges: Vec<Extent> = segments.iter().filter_map(|segment| segment.extent).collect();
            let parts = stored.batches.split(column, &ranges)?;
            let shares = Shares { of: &stored, count: segments.len() as u64 };
            let kept = segments.iter().zip(parts).enumerate().map(|(number, (segment, batches))| {
                let part = shares.part(number as u64, self.shared.store.content_id(), batches);
                self.keep(segment, part)
            });
            Ok(kept.collect())
        }
        .boxed()
    }
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

fn column(batches: &Batches, output: &TimeOutput) -> Result<usize> {
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
