//! What must hold of every answer: it is the uncached one as of the moments that its parts admit to, no
//! line is lost or doubled, and no more was paid than asking once for all of it.

use std::time::Duration;

use weir_plan::descriptor::{DEFAULT_LAG, Regime, State, Verdict};
use weir_plan::plan::delta::joined;
use weir_plan::{Extent, Timestamp};

use crate::engine::{Answer, Asked, Engine, Piece};
use crate::oracle::{AsOf, truth, widened};
use crate::tables::MINIMUM;
use crate::world::{Shape, World};

/// Checks an answer that was given at `now`.
pub(crate) fn answer(world: &World<'_>, asked: &Asked, answer: &Answer, now: Timestamp) {
    tiles(asked, answer);
    for piece in &answer.pieces {
        of_its_moment(world, asked, piece, answer.listed_at, now);
        old_enough(world, piece, asked, now);
    }
    unchanged_is_exact(world, asked, answer, now);
    bill(world, answer, now.plus(asked.delay));
}

/// The parts lie side by side and hold the range, and each line is there once.
fn tiles(asked: &Asked, answer: &Answer) {
    let range = asked.query.range.unwrap();
    let expected = match asked.shape {
        Shape::Raw => range,
        Shape::Buckets(step) => widened(step, range),
    };
    assert_eq!(answer.assembly.range, expected);
    let extents: Vec<Extent> = answer.pieces.iter().map(|piece| piece.segment.extent.unwrap()).collect();
    assert!(extents.windows(2).all(|pair| pair[0].end() == pair[1].start()), "{extents:?}");
    assert!(extents[0].start() <= expected.start() && expected.end() <= extents[extents.len() - 1].end());
    let lines = answer.lines();
    let is_raw = asked.shape == Shape::Raw;
    assert!(lines.windows(2).all(|pair| is_raw || (pair[0].0, pair[0].1) < (pair[1].0, pair[1].1)), "{lines:?}");
}

/// A part is what the source would have said when it was read; a settled one is that still, as far as
/// the partitions are known.
fn of_its_moment(world: &World<'_>, asked: &Asked, piece: &Piece, listed_at: Timestamp, now: Timestamp) {
    let extent = piece.segment.extent.unwrap();
    let at = piece.read_at;
    let read = truth(world, extent, asked.shape, asked.groups, AsOf { live: at, daily: at, today: now });
    assert_eq!(piece.lines, read, "as it was read at {at}: {:?}", piece.segment);
    if rests(world, piece, now) && piece.segment.settling.is_some_and(|settling| settling.is_unchanged) {
        let known = truth(world, extent, asked.shape, asked.groups, AsOf { live: now, daily: now, today: now });
        assert_eq!(piece.lines, known, "its table has not changed since it was read: {:?}", piece.segment);
    }
    let Some(settling) = piece.segment.settling.filter(|settling| settling.state != State::Open) else { return };
    let known = at.max(listed_at);
    let as_of = match settling.regime {
        Regime::Single | Regime::Daily => AsOf { live: known, daily: known, today: now },
        Regime::Live => return,
        Regime::Seam(_) => AsOf { live: at, daily: known, today: now },
    };
    let known = truth(world, extent, asked.shape, asked.groups, as_of);
    assert_eq!(piece.lines, known, "as was known at {listed_at}: {:?}", piece.segment);
}

/// Whether a fresh part was read after its daily table last changed, as its description says.
fn rests(world: &World<'_>, piece: &Piece, now: Timestamp) -> bool {
    let modified = world.listed().modified(now);
    piece.verdict == Verdict::Fresh && modified.is_some_and(|modified| modified.plus(UNSURE) <= piece.fetched_at)
}

/// What changed this shortly before it was read may have changed again under the same stamp.
const UNSURE: Duration = Duration::from_mins(1);

/// A part is no older than its state and its caller allow.
fn old_enough(world: &World<'_>, piece: &Piece, asked: &Asked, now: Timestamp) {
    let age = now.since(piece.fetched_at);
    let state = piece.segment.settling.map_or(State::Open, |settling| settling.state);
    let fresh = piece.verdict == Verdict::Fresh;
    let is_alert = asked.query.cache.max_stale.is_some();
    assert!(fresh || !is_alert, "an alert got a stale answer: {piece:?}");
    let closed = piece.segment.extent.unwrap().end().plus(DEFAULT_LAG);
    match state {
        _ if rests(world, piece, now) && piece.segment.settling.is_some_and(|settling| settling.is_unchanged) => {}
        State::Open => assert!(age <= piece.segment.freshness.stale_until, "{piece:?}"),
        State::Pending if rests(world, piece, now) => assert!(age <= Duration::from_hours(1), "{piece:?}"),
        State::Pending => assert!(age <= Duration::from_mins(5), "{piece:?}"),
        State::Live => {
            let check = closed.plus(Duration::from_hours(1));
            assert!(piece.fetched_at >= closed, "{piece:?}");
            assert!(!fresh || now < check || piece.fetched_at >= check, "{piece:?}");
        }
        State::Final => {
            let is_single = !world.source.kind.has_daily();
            assert!(!is_single || piece.fetched_at >= closed, "{piece:?}");
        }
    }
}

/// Where nothing has changed since the parts were read, the answer is the uncached one.
fn unchanged_is_exact(world: &World<'_>, asked: &Asked, answer: &Answer, now: Timestamp) {
    let as_of = AsOf { live: now.plus(asked.delay), daily: now.plus(asked.delay), today: now };
    let same =
        |piece: &Piece| truth(world, piece.segment.extent.unwrap(), asked.shape, asked.groups, as_of) == piece.lines;
    if answer.pieces.iter().all(same) {
        let whole = truth(world, answer.assembly.range, asked.shape, asked.groups, as_of);
        assert_eq!(answer.lines(), whole);
    }
}

/// The jobs of an answer bill no more than one for all of it, but for their minimums.
fn bill(world: &World<'_>, answer: &Answer, began: Timestamp) {
    let segments: Vec<_> = answer.pieces.iter().map(|piece| &piece.segment).collect();
    let hull = joined(&answer.assembly, &segments).unwrap();
    let (_, whole) = world.read(&hull.sql, began);
    let paid: u64 = answer.jobs.iter().map(|(_, billed)| billed).sum();
    let minimums = (answer.jobs.len() as u64).saturating_sub(1) * 2 * MINIMUM;
    assert!(paid <= whole + minimums, "{paid} paid, {whole} for the whole");
}

/// The ledger is the source's bill.
pub(crate) fn ledger(world: &World<'_>, engine: &Engine) {
    assert_eq!(engine.ledger, world.billed);
}
