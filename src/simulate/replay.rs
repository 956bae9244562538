//! Panels asked of a real engine while the clock moves.
//!
//! A request that the engine has just answered at the same aligned range, within the answer's freshness,
//! would get the same rows again: it is counted as a hit and not asked, unless the caller wants to see
//! that it is so.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::future::try_join_all;
use weir_plan::descriptor::OPEN_SLOT;
use weir_plan::{Error, Mode, Query, Result, Step, Timestamp};

use super::place::{ASKER, Meter, Place, Read};
use super::tally::Tally;
use super::trace::Kind;
use crate::engine::{Answer, Door, Engine, LISTING, LocalSettings, Status};

/// How long the end of a job is waited for before the engine is asked again whether it has it.
const PATIENCE: Duration = Duration::from_millis(50);

/// A refresh that does not end in this many of those is not under way at all.
const ATTEMPTS: u32 = 1000;

/// One text that is asked again and again.
#[derive(Clone)]
pub(super) struct Asked {
    pub(super) kind: Kind,
    pub(super) sql: String,
    pub(super) step: Step,
    pub(super) range: Duration,
    pub(super) max_stale: Option<Duration>,
}

/// Why bytes were billed: what a panel shows, how it is answered and why, and what its jobs read.
pub(super) type Cause = (Kind, Mode, &'static str, Read);

/// An engine and those who ask it.
pub(super) struct Replay {
    engine: Arc<Engine>,
    meter: Arc<Meter>,
    asked: Vec<Asked>,
    answers: Vec<Option<Known>>,
    pub(super) tally: Tally,
    /// Jobs and bytes.
    pub(super) causes: BTreeMap<Cause, (u64, u64)>,
    /// Requests that should be hits and were asked to see it, and those of them that were none.
    pub(super) confirmed: (u64, u64),
}

/// The last answer to a text.
struct Known {
    fetched_at: Timestamp,
    fresh_until: Timestamp,
    mode: Mode,
    reason: &'static str,
}

impl Replay {
    pub(super) fn new(name: &'static str, place: &Place, asked: Vec<Asked>, local: LocalSettings) -> Self {
        let (engine, meter) = place.engine(name, local);
        let answers = asked.iter().map(|_| None).collect();
        let (tally, causes) = (Tally::default(), BTreeMap::new());
        Self { engine, meter, asked, answers, tally, causes, confirmed: (0, 0) }
    }

    /// Asks everything once, as of the clock's `now`; with `all` also what is surely a hit.
    pub(super) async fn refresh(&mut self, now: Timestamp, all: bool) -> Result<()> {
        let known: Vec<bool> = (0..self.asked.len()).map(|place| self.is_known(place, now)).collect();
        let due: Vec<usize> = (0..known.len()).filter(|place| all || !known[*place]).collect();
        let answers = self.ask(&due, now).await?;
        for known in known
            .iter()
            .zip(&self.answers)
            .filter(|(is_known, _)| **is_known && !all)
            .filter_map(|(_, known)| known.as_ref())
        {
            self.tally.served(now.since(known.fetched_at));
        }
        let mut stale = vec![];
        for (place, answer) in due.iter().zip(answers) {
            self.tally.served(Duration::from_secs_f64(answer.provenance.age_s));
            let status = answer.provenance.status;
            if known[*place] {
                self.confirmed.0 += 1;
                self.confirmed.1 += u64::from(status != Status::Hit);
            }
            if status == Status::Stale {
                stale.push(*place);
            }
            self.learn(*place, &answer, now);
        }
        self.settle(stale, now).await?;
        self.attribute();
        Ok(())
    }

    /// Whether the last answer is what the engine would give.
    fn is_known(&self, place: usize, now: Timestamp) -> bool {
        let listings_hold = self.meter.oldest_listing().is_none_or(|listed| now.since(listed) < LISTING);
        listings_hold && self.answers[place].as_ref().is_some_and(|known| now < known.fresh_until)
    }

    fn learn(&mut self, place: usize, answer: &Answer, now: Timestamp) {
        let provenance = &answer.provenance;
        let fetched_at = provenance.fetched_at;
        let fresh_until = fetched_at.plus(Duration::from_secs_f64(provenance.fresh_for_s));
        // Ranges are aligned to steps and slots, of which the longest slot is a multiple or a part.
        let slot = i64::try_from(OPEN_SLOT.1.as_micros()).unwrap_or(i64::MAX);
        let next = Timestamp::saturating(now.floor(slot).micros().saturating_add(slot));
        let (mode, reason) = (provenance.mode, provenance.reason);
        self.answers[place] = Some(Known { fetched_at, fresh_until: fresh_until.min(next), mode, reason });
    }

    async fn ask(&self, places: &[usize], now: Timestamp) -> Result<Vec<Answer>> {
        let answers = places.iter().map(|place| {
            let asked = &self.asked[*place];
            let mut query = Query::new(&asked.sql);
            query.range = Some(weir_plan::Extent::new(now.minus(asked.range), now)?);
            query.step = Some(asked.step);
            query.cache.max_stale = asked.max_stale;
            query.deadline = Some(Query::LONGEST_DEADLINE);
            query.labels.insert(ASKER.to_owned(), place.to_string());
            let engine = Arc::clone(&self.engine);
            // On threads of their own, as connections are.
            Ok(tokio::spawn(async move { engine.answer(&query, Door::Grafana).await }))
        });
        let answers = try_join_all(answers.collect::<Result<Vec<_>>>()?).await;
        let answers = answers.map_err(|error| Error::internal("a request broke off").with_source(error))?;
        answers.into_iter().collect()
    }

    /// Lets the fetches behind stale answers end: here jobs take no time.
    async fn settle(&mut self, mut stale: Vec<usize>, now: Timestamp) -> Result<()> {
        let mut ended = self.meter.ended();
        for _ in 0..ATTEMPTS {
            if stale.is_empty() {
                return Ok(());
            }
            let _ = tokio::time::timeout(PATIENCE, ended.changed()).await;
            ended.mark_unchanged();
            let answers = self.ask(&stale, now).await?;
            let mut left = vec![];
            for (place, answer) in stale.into_iter().zip(answers) {
                self.learn(place, &answer, now);
                if answer.provenance.status == Status::Stale {
                    left.push(place);
                }
            }
            stale = left;
        }
        Err(Error::internal(format!("a stale answer is not fetched anew: {}", self.asked[stale[0]].sql)))
    }

    /// Adds what was billed to those who asked.
    fn attribute(&mut self) {
        for billed in self.meter.take() {
            self.tally.job(billed.bytes);
            let place: Option<usize> = billed.asker.parse().ok();
            let Some((asked, Some(known))) = place.and_then(|place| self.asked.get(place).zip(self.answers.get(place)))
            else {
                continue;
            };
            let cause = self.causes.entry((asked.kind, known.mode, known.reason, billed.read)).or_default();
            *cause = (cause.0 + 1, cause.1 + billed.bytes);
        }
    }
}
