//! Judges a text over a range: whether its pieces are the whole, asked of the source itself, and from a
//! store that was warmed by pieces. It knows no table and no source.

use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use weir::batches::Batches;
use weir::engine::{Answer, Door, Engine};
use weir_plan::extent::MINUTE;
use weir_plan::{CacheMode, Error, Extent, Mode, Query, Step, Timestamp};

use super::grammar::{Text, texts};
use super::tables;

/// A text, the range it is asked for, and where that is cut, in thousandths.
#[derive(Clone, Debug)]
pub(super) struct Case {
    pub(super) text: Text,
    from: Timestamp,
    length: Duration,
    cuts: Vec<i64>,
}

pub(super) fn cases() -> impl Strategy<Value = Case> {
    let from = (0..10 * 24 * 60_i64).prop_map(|minutes| Timestamp::saturating(tables::FIRST + minutes * MINUTE));
    let hours = prop_oneof![Just(24), 6_u64..120];
    (texts(), from, hours, prop::collection::vec(0..1000_i64, 1..4)).prop_map(|(text, from, hours, cuts)| Case {
        text,
        from,
        length: Duration::from_hours(hours),
        cuts,
    })
}

impl Case {
    fn step(&self) -> Step {
        self.text.step.parse().unwrap()
    }

    pub(super) fn range(&self) -> Extent {
        Extent::new(self.from, self.from.plus(self.length)).unwrap()
    }

    pub(super) fn query(&self, range: Extent, mode: CacheMode) -> Query {
        let mut query = Query::new(&self.text.sql);
        query.range = Some(range);
        query.step = Some(self.step());
        query.cache.mode = mode;
        query
    }

    /// The range that an answer in this mode is of: whole buckets, or exactly what was asked.
    pub(super) fn widened(&self, mode: Mode) -> Extent {
        if mode == Mode::Delta { self.step().align(self.range(), Timestamp::MAX) } else { self.range() }
    }

    /// A range cut at bucket starts, or at any minute where there are none.
    fn pieces(&self, range: Extent, mode: Mode) -> Vec<Extent> {
        let place = |cut: &i64| Timestamp::saturating(range.start().micros() + range.micros() / 1000 * cut);
        let floor = |at: Timestamp| if mode == Mode::Delta { self.step().floor(at) } else { at.floor(MINUTE) };
        let mut ends: Vec<Timestamp> = self.cuts.iter().map(|cut| floor(place(cut))).collect();
        ends.retain(|at| *at > range.start());
        ends.extend([range.start(), range.end()]);
        ends.sort_unstable();
        ends.dedup();
        ends.windows(2).map(|ends| Extent::new(ends[0], ends[1]).unwrap()).collect()
    }
}

/// What became of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Verdict {
    /// The source does not run it.
    Refused,
    /// It is answered whole, for this reason.
    Whole(&'static str),
    /// The same, and cut it would be wrong.
    Needful(&'static str),
    /// It is answered in parts, and may be.
    Buckets,
    Rows,
}

async fn ask(engine: &Arc<Engine>, query: &Query) -> Result<Answer, Error> {
    engine.answer(query, Door::Export).await
}

/// The answer of the source itself.
pub(super) async fn uncached(engine: &Arc<Engine>, case: &Case, range: Extent) -> Result<Batches, Error> {
    Ok(ask(engine, &case.query(range, CacheMode::Off)).await?.batches)
}

fn same(found: &Batches, expected: &Batches, what: &str) -> Result<(), String> {
    if found.has_same_rows(expected).map_err(|error| format!("{error:?}"))? {
        return Ok(());
    }
    let (found, expected) = (found.concat().unwrap(), expected.concat().unwrap());
    Err(format!("{what}: {} rows instead of {}\n{found:?}\n{expected:?}", found.num_rows(), expected.num_rows()))
}

/// Whether the answers for pieces of a range are together the answer for all of it.
pub(super) async fn judge_pieces(engine: &Arc<Engine>, case: &Case, mode: Mode, whole: &Batches) -> Result<(), String> {
    let mut together = Vec::new();
    for piece in case.pieces(case.widened(mode), mode) {
        let rows = uncached(engine, case, piece).await.map_err(|error| format!("{piece:?}: {error:?}"))?;
        together.extend(rows.iter().cloned());
    }
    let together = Batches::new(Arc::clone(whole.schema()), together).map_err(|error| format!("{error:?}"))?;
    same(&together, whole, "cut")
}

/// What cutting would do to a text that is answered whole.
async fn judge_refusal(engine: &Arc<Engine>, case: &Case, reason: &'static str) -> Verdict {
    let Ok(whole) = uncached(engine, case, case.widened(Mode::Delta)).await else { return Verdict::Refused };
    match judge_pieces(engine, case, Mode::Delta, &whole).await {
        Ok(()) => Verdict::Whole(reason),
        Err(_) => Verdict::Needful(reason),
    }
}

/// Judges a text: first the cuts by themselves, then answers from a store that pieces have warmed.
pub(super) async fn judge(engine: &Arc<Engine>, case: &Case) -> Result<Verdict, String> {
    let explained = engine.explain(&case.query(case.range(), CacheMode::Auto)).await;
    let Ok(explanation) = explained else {
        let runs = uncached(engine, case, case.range()).await.is_ok();
        return if runs { Err("what runs is not explained".to_owned()) } else { Ok(Verdict::Refused) };
    };
    let mode = explanation.mode;
    if !matches!(mode, Mode::Delta | Mode::Rows) {
        return Ok(judge_refusal(engine, case, explanation.reason).await);
    }
    let range = case.widened(mode);
    let Ok(whole) = uncached(engine, case, range).await else { return Ok(Verdict::Refused) };
    judge_pieces(engine, case, mode, &whole).await?;
    let mut asked = case.pieces(range, mode);
    asked.reverse();
    asked.push(case.range());
    let mut last = None;
    for piece in asked {
        let answer = ask(engine, &case.query(piece, CacheMode::Auto)).await.map_err(|error| format!("{error:?}"))?;
        last = Some(answer);
    }
    let answer = last.unwrap();
    if answer.provenance.mode != mode {
        return Err(format!("answered {}: {}", answer.provenance.mode, answer.provenance.reason));
    }
    same(&answer.batches, &whole, "warm")?;
    Ok(if mode == Mode::Delta { Verdict::Buckets } else { Verdict::Rows })
}
