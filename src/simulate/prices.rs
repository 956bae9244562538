//! What texts bill at chosen moments, and so between them; and the ways of answering that send texts
//! as they are: without a cache, and with one that knows nothing but the text.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::future::try_join_all;
use weir_plan::{Extent, Result, Step, Timestamp};

use super::place::Place;
use super::tally::Tally;
use super::trace::Trace;
use crate::source::Job;

/// What each of some texts bills at some moments, in order.
#[derive(Debug, Default)]
pub(super) struct Prices(Vec<(Timestamp, Vec<u64>)>);

/// What a text bills.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Priced {
    pub(super) bytes: u64,
    /// Whether it is known to the byte; otherwise `bytes` is the most it can be.
    pub(super) is_exact: bool,
}

impl Prices {
    pub(super) fn push(&mut self, at: Timestamp, prices: Vec<u64>) {
        self.0.push((at, prices));
    }

    /// The bill of a text at a moment: that of the next moment at which it was asked. Between two
    /// such moments tables only grow, so where both bills are equal so are all between.
    pub(super) fn at(&self, text: usize, at: Timestamp) -> Priced {
        let next = self.0.partition_point(|(priced, _)| *priced < at).min(self.0.len().saturating_sub(1));
        let of = |(_, prices): &(Timestamp, Vec<u64>)| prices.get(text).copied().unwrap_or_default();
        let bytes = self.0.get(next).map(of).unwrap_or_default();
        let before = next.checked_sub(1).and_then(|before| self.0.get(before)).map(of);
        let is_point = self.0.get(next).is_some_and(|(priced, _)| *priced == at);
        Priced { bytes, is_exact: is_point || before == Some(bytes) }
    }
}

/// What texts bill now, by dry run.
pub(super) async fn price(place: &Place, texts: &[String]) -> Result<Vec<u64>> {
    let jobs: Vec<Job> = texts.iter().map(|text| Job::new("price", text)).collect();
    try_join_all(jobs.iter().map(|job| place.source.price(job))).await
}

/// The range that a panel asks for.
pub(super) fn range(trace: &Trace, now: Timestamp) -> Result<Extent> {
    Extent::new(now.minus(trace.range), now)
}

/// Every request is a job. Also the number of requests whose bill is known to the byte.
pub(super) fn uncached(trace: &Trace, prices: &Prices) -> (Tally, u64) {
    let (mut tally, mut exact) = (Tally::default(), 0);
    for refresh in &trace.refreshes {
        for panel in 0..trace.panels.len() {
            let known = prices.at(panel, trace.moment(*refresh));
            tally.job(known.bytes);
            tally.served(Duration::ZERO);
            exact += u64::from(known.is_exact);
        }
    }
    (tally, exact)
}

/// Answers are kept by their text, whose range is floored to the panels' interval, for `lifetime`.
pub(super) fn by_text(trace: &Trace, prices: &Prices, lifetime: Duration) -> Tally {
    let Step::Micros(interval) = trace.interval else { return Tally::default() };
    let mut tally = Tally::default();
    let mut kept: BTreeMap<usize, (Timestamp, Timestamp)> = BTreeMap::new();
    for refresh in &trace.refreshes {
        let now = trace.moment(*refresh);
        let text = now.floor(interval);
        for panel in 0..trace.panels.len() {
            let found = kept.get(&panel).filter(|(known, fetched)| *known == text && now.since(*fetched) < lifetime);
            let fetched = found.map(|(_, fetched)| *fetched);
            if fetched.is_none() {
                tally.job(prices.at(panel, now).bytes);
                kept.insert(panel, (text, now));
            }
            tally.served(now.since(fetched.unwrap_or(now)));
        }
    }
    tally
}

#[cfg(test)]
mod tests {
    use super::super::trace::{Base, Kind, Panel, Refresh};
    use super::*;
    use crate::simulate::Setting;

    fn second(second: u64) -> Timestamp {
        Timestamp::saturating(1_715_803_200_000_000).plus(Duration::from_secs(second))
    }

    fn trace(seconds: &[u32]) -> Trace {
        let panel = Panel { kind: Kind::Flow, base: Base::Crash, title: "p".into(), sql: "SELECT 1".into() };
        Trace {
            panels: vec![panel],
            refreshes: seconds.iter().map(|at| Refresh { at_ms: at * 1000, viewer: 0 }).collect(),
            ..Trace::generate(Setting::default()).unwrap()
        }
    }

    fn prices(of: &[(u64, u64)]) -> Prices {
        Prices(of.iter().map(|(at, bytes)| (second(*at), vec![*bytes])).collect())
    }

    #[test]
    fn a_price_is_that_of_the_next_moment() {
        let prices = prices(&[(0, 10), (100, 10), (200, 12)]);
        let check = |at: u64, bytes: u64, is_exact: bool| {
            assert_eq!(prices.at(0, second(at)), Priced { bytes, is_exact }, "{at}");
        };
        check(0, 10, true);
        check(1, 10, true);
        check(100, 10, true);
        check(101, 12, false);
        check(200, 12, true);
    }

    #[test]
    fn every_uncached_request_is_billed() {
        let (tally, exact) = uncached(&trace(&[1, 50, 150]), &prices(&[(0, 10), (100, 10), (200, 12)]));
        assert_eq!((tally.requests, tally.jobs, tally.bytes, exact), (3, 3, 32, 2));
    }

    #[test]
    fn a_text_is_asked_again_after_its_life_and_when_its_range_moves_on() {
        let prices = prices(&[(0, 10), (10_000, 10)]);
        let check = |seconds: &[u32], jobs: u64, oldest: f64| {
            let tally = by_text(&trace(seconds), &prices, Duration::from_mins(1));
            assert_eq!((tally.jobs, tally.bytes, tally.age_p99_s()), (jobs, 10 * jobs, Some(oldest)), "{seconds:?}");
        };
        check(&[0, 59], 1, 59.0);
        check(&[0, 60], 2, 0.0);
        check(&[3590, 3600, 3601], 2, 1.0);
        check(&[0, 30, 61, 100], 2, 39.0);
    }
}
