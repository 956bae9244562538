//! What the engine does with a plan, without threads: looks into its store, fetches neighbours that are
//! missing by one job, and keeps what came of it. The planner in it is the real one.

use std::collections::HashMap;
use std::time::Duration;

use weir_plan::analysis::Reason;
use weir_plan::descriptor::{DEFAULT_LAG, State, Verdict};
use weir_plan::plan::Context;
use weir_plan::plan::delta::{Assembly, Listing, delta, joined};
use weir_plan::{Extent, Key, Plan, Query, Segment, Timestamp};

use crate::tables::Table;
use crate::world::{Line, Shape, World};

/// How long a listing of partitions is taken for true.
pub(crate) const LISTING: Duration = Duration::from_mins(15);

/// A question.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) query: Query,
    pub(crate) shape: Shape,
    /// Groups that the caller may see.
    pub(crate) groups: u8,
    /// The job's way to its start.
    pub(crate) delay: Duration,
    /// A row that arrives meanwhile.
    pub(crate) meanwhile: Option<i64>,
    pub(crate) fate: Fate,
}

/// How the jobs of a question end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Done,
    Failed,
}

/// A stored part.
#[derive(Clone, Debug)]
struct Stored {
    lines: Vec<Line>,
    fetched_at: Timestamp,
    /// When the job really read.
    read_at: Timestamp,
    dropped_at: Timestamp,
}

/// A part of an answer, and what it is of.
#[derive(Clone, Debug)]
pub(crate) struct Piece {
    pub(crate) segment: Segment,
    pub(crate) lines: Vec<Line>,
    pub(crate) fetched_at: Timestamp,
    pub(crate) read_at: Timestamp,
    pub(crate) verdict: Verdict,
}

/// A job and its bill.
pub(crate) type Paid = (Segment, u64);

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) pieces: Vec<Piece>,
    pub(crate) assembly: Assembly,
    pub(crate) listed_at: Timestamp,
    /// Jobs that the caller waited for.
    pub(crate) jobs: Vec<Paid>,
}

impl Answer {
    /// The lines within the answer's range.
    pub(crate) fn lines(&self) -> Vec<Line> {
        let range = self.assembly.range;
        let inside = |line: &&Line| range.start() <= line.0 && line.0 < range.end();
        self.pieces.iter().flat_map(|piece| &piece.lines).filter(inside).copied().collect()
    }
}

/// A fetch of a part: when, in which state as far as that was sure, and whether there were rows.
#[derive(Clone, Debug)]
struct Fetch {
    at: Timestamp,
    state: State,
    empty: bool,
    dropped_at: Timestamp,
}

/// The store, and what was paid.
#[derive(Debug, Default)]
pub(crate) struct Engine {
    store: HashMap<Key, Stored>,
    listed_at: Option<Timestamp>,
    /// The last fetch of each part that is still in the store, unless it was dropped for its age.
    fetches: HashMap<Key, Fetch>,
    pub(crate) ledger: u64,
}

fn state(segment: &Segment) -> State {
    segment.settling.map_or(State::Open, |settling| settling.state)
}

impl Engine {
    /// Loses about one in `share` parts, or all.
    pub(crate) fn evict(&mut self, share: u8) {
        let share = u128::from(share.max(1));
        let is_lost = |key: &Key| u128::from_str_radix(&key.short_hex(), 16).unwrap().is_multiple_of(share);
        self.store.retain(|key, _| !is_lost(key));
        self.fetches.retain(|key, _| !is_lost(key));
    }

    pub(crate) fn restart(&mut self) {
        self.evict(1);
        self.listed_at = None;
    }

    /// Answers a question, or says why not in parts, or fails.
    pub(crate) fn ask(
        &mut self,
        world: &mut World<'_>,
        asked: &Asked,
        now: Timestamp,
    ) -> Result<Option<Answer>, Reason> {
        let listed_at = self.listed_at.filter(|at| now.since(*at) < LISTING).unwrap_or(now);
        self.listed_at = Some(listed_at);
        let plan = planned(world, asked, listed_at, now)?;
        if let Some(value) = asked.meanwhile {
            world.arrive(now, value, now.plus(asked.delay / 2));
        }
        let Some((pieces, jobs)) = self.pieces(world, asked, &plan, now) else { return Ok(None) };
        let assembly = plan.assembly.unwrap();
        for piece in pieces.iter().filter(|piece| piece.verdict == Verdict::Stale) {
            let _ = self.fetch(world, asked, &assembly, &[&piece.segment], now);
        }
        Ok(Some(Answer { pieces, assembly, listed_at, jobs }))
    }

    /// The pieces of a plan, and the jobs for those that were missing.
    fn pieces(
        &mut self,
        world: &mut World<'_>,
        asked: &Asked,
        plan: &Plan,
        now: Timestamp,
    ) -> Option<(Vec<Piece>, Vec<Paid>)> {
        let (mut pieces, mut jobs) = (vec![], vec![]);
        let looked: Vec<_> = plan.segments.iter().map(|segment| (segment, self.look(segment, now))).collect();
        for run in looked.chunk_by(|one, other| one.1.is_none() == other.1.is_none()) {
            if run.iter().any(|(_, found)| found.is_some()) {
                pieces.extend(run.iter().filter_map(|(_, found)| found.clone()));
                continue;
            }
            let segments: Vec<&Segment> = run.iter().map(|(segment, _)| *segment).collect();
            let (job, billed, fetched) = self.fetch(world, asked, plan.assembly.as_ref().unwrap(), &segments, now)?;
            jobs.push((job, billed));
            pieces.extend(fetched);
        }
        Some((pieces, jobs))
    }

    fn look(&self, segment: &Segment, now: Timestamp) -> Option<Piece> {
        let stored = self.store.get(&segment.key).filter(|stored| now < stored.dropped_at)?;
        let verdict = segment.judge(stored.fetched_at, stored.lines.is_empty(), now);
        (verdict != Verdict::Expired).then(|| Piece {
            segment: segment.clone(),
            lines: stored.lines.clone(),
            fetched_at: stored.fetched_at,
            read_at: stored.read_at,
            verdict,
        })
    }

    /// Runs one job for neighbours; `None` where it fails, and then nothing is kept.
    fn fetch(
        &mut self,
        world: &mut World<'_>,
        asked: &Asked,
        assembly: &Assembly,
        segments: &[&Segment],
        now: Timestamp,
    ) -> Option<(Segment, u64, Vec<Piece>)> {
        let job = joined(assembly, segments).unwrap();
        if asked.fate == Fate::Failed {
            return None;
        }
        let slot = i64::try_from(job.freshness.fresh_for.as_micros()).unwrap();
        let id = (job.key.clone(), now.floor(slot).seconds());
        let outcome = world.run(id, &job.sql, asked.shape, asked.groups, now.plus(asked.delay));
        self.ledger += outcome.billed;
        let fetched_at = if outcome.joined { outcome.began.min(now) } else { now };
        let mut pieces = vec![];
        for segment in segments {
            let extent = segment.extent.unwrap();
            let inside = |line: &&Line| extent.start() <= line.0 && line.0 < extent.end();
            let lines: Vec<Line> = outcome.lines.iter().filter(inside).copied().collect();
            if !outcome.joined {
                self.note(segment, lines.is_empty(), !asked.query.scope.0.is_empty(), now);
            }
            let (read_at, dropped_at) = (outcome.began, now.plus(segment.keep_for));
            self.store.insert(segment.key.clone(), Stored { lines: lines.clone(), fetched_at, read_at, dropped_at });
            let (segment, verdict) = ((*segment).clone(), Verdict::Fresh);
            pieces.push(Piece { segment, lines, fetched_at, read_at, verdict });
        }
        let kept: usize =
            outcome.lines.iter().filter(|line| pieces.iter().any(|piece| piece.lines.contains(line))).count();
        assert_eq!(kept, outcome.lines.len(), "no line of a job is outside of its segments");
        Some((job, outcome.billed, pieces))
    }

    /// Checks that a part that is paid for again has changed, or is at the end of its life.
    fn note(&mut self, segment: &Segment, empty: bool, is_scoped: bool, now: Timestamp) {
        let state = state(segment);
        let fetch = Fetch { at: now, state, empty, dropped_at: now.plus(segment.keep_for) };
        let Some(before) = self.fetches.insert(segment.key.clone(), fetch) else { return };
        let age = now.since(before.at);
        let is_due = match state {
            State::Open => age >= segment.freshness.fresh_for,
            State::Pending => age > Duration::from_mins(5),
            // Once after it closed, and once an hour later.
            State::Live if is_scoped && before.dropped_at <= now => true,
            State::Live => {
                let closed = segment.extent.unwrap().end().plus(DEFAULT_LAG);
                let check = closed.plus(Duration::from_hours(1));
                before.at < check && check <= now
            }
            // What one caller may see is kept for an hour.
            State::Final => before.state == State::Pending && before.empty || is_scoped && before.dropped_at <= now,
        };
        assert!(is_due, "paid for twice: {segment:?} at {now}, before {before:?}");
    }
}

/// The planner's plan.
fn planned(world: &World<'_>, asked: &Asked, listed_at: Timestamp, now: Timestamp) -> Result<Plan, Reason> {
    let template = match asked.shape {
        Shape::Raw => &world.source.raw,
        Shape::Buckets(_) => &world.source.buckets,
    };
    let table: &Table = world.listed();
    let changed = |extent: Extent| {
        let ids = template.partition_ids(extent);
        let stamps: Vec<_> = ids.iter().filter_map(|id| table.stamp(start(id), listed_at)).collect();
        Some((stamps.iter().max().copied()?, stamps.len()))
    };
    let listing =
        Listing { at: listed_at, modified: table.modified(now), changed: &changed, purged: &|_| 0, statics: &[] };
    delta(&asked.query, &Context::default(), template, listing, now)
}

/// The start of the partition of an id of a day or an hour.
fn start(id: &str) -> Timestamp {
    let (day, hour) = id.split_at(8);
    let hour = if hour.is_empty() { "00" } else { hour };
    let text = format!("{}-{}-{}T{hour}:00:00Z", &day[..4], &day[4..6], &day[6..]);
    Timestamp::parse(&text, Timestamp::MIN).unwrap()
}
