//! The least that the requests of a trace can cost: each partition of a base source is read once, once
//! more when it changes sides or lands late, and an open one once in each slot in which it is asked for.
//!
//! Counted from the sizes of tables alone; nothing of the planner is used.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::future::try_join_all;
use weir_plan::extent::DAY;
use weir_plan::{Result, TableId, Timestamp};

use super::place::{Place, landing};
use super::tally::Tally;
use super::trace::{Base, Trace};
use crate::monitoring::synthetic::{Fact, PROJECT};
use crate::source::{Job, Source as _, billed_bytes};

/// Views take a day from the daily table from the third midnight after its own on.
const FLIPS_AFTER: i64 = 3;

/// What is read of a base source, as sizes of tables.
#[derive(Clone, Debug, Default)]
pub(super) struct Reads {
    /// At first, all of it.
    pub(super) first: Vec<u64>,
    /// The open partitions, at some moments in order; those of the next moment hold before it.
    pub(super) open: BTreeMap<Timestamp, Vec<u64>>,
    /// Days that change sides or land, and their sizes.
    pub(super) turns: BTreeMap<Timestamp, u64>,
}

/// Bytes billed for tables of these sizes; a table without rows need not be read.
fn bill<'a>(sizes: impl IntoIterator<Item = &'a u64>) -> u64 {
    sizes.into_iter().filter(|size| **size > 0).map(|size| billed_bytes(*size)).sum()
}

impl Reads {
    /// The cost of requests, in order, each for `panels` panels.
    pub(super) fn least(&self, requests: &[Timestamp], panels: usize, slot: i64) -> Tally {
        let mut tally = Tally::default();
        let mut read: Option<(Timestamp, Timestamp)> = None;
        for now in requests {
            let (slot_start, before) = read.unwrap_or((Timestamp::MIN, Timestamp::MIN));
            let is_first = read.is_none();
            if is_first || slot_start != now.floor(slot) {
                let open = self.open.range(*now..).next().or_else(|| self.open.last_key_value());
                let open = open.map(|(_, sizes)| &**sizes).unwrap_or_default();
                let turns = self.turns.range(..=*now).filter(|(at, _)| **at > before).map(|(_, size)| size);
                let bytes = if is_first { bill(&self.first) } else { bill(open) + bill(turns) };
                if bytes > 0 {
                    tally.job(bytes);
                }
                read = Some((now.floor(slot), *now));
            }
            let fetched = read.map_or(*now, |(_, fetched)| fetched);
            // What has no open partition does not age.
            let age = if self.open.values().all(Vec::is_empty) { Duration::ZERO } else { now.since(fetched) };
            for _ in 0..panels {
                tally.served(age);
            }
        }
        tally
    }
}

/// The tables of a base source, and the columns that its panels need.
pub(super) struct Tables {
    base: Base,
    live: Vec<TableId>,
    daily: TableId,
}

impl Tables {
    pub(super) fn new(base: Base, place: &Place) -> Self {
        let (live, left_out, daily) = match base {
            Base::Enrollment => {
                ("experiment_events_live_v1", "firefox_desktop_derived", Fact::Enrollment.daily_table())
            }
            Base::Search => ("experiment_search_events_live_v1", "", Fact::Search.daily_table()),
            Base::Crash => ("experiment_crash_events_live_v1", "", Fact::Crash.daily_table()),
            Base::Active => ("", "", TableId::new(PROJECT, "telemetry_derived", "experiments_daily_active_clients_v1")),
        };
        let live = place.source.tables().into_iter().filter(|id| id.table == live && id.dataset != left_out).collect();
        Self { base, live, daily }
    }

    fn columns(&self) -> &'static str {
        match self.base {
            Base::Enrollment => {
                "experiment, branch, window_start, enroll_count, unenroll_count, graduate_count, update_count, \
                 enroll_failed_count, unenroll_failed_count, update_failed_count, disqualification_count, \
                 validation_failed_count"
            }
            Base::Search => "experiment, branch, window_start, ad_clicks_count, search_with_ads_count, search_count",
            Base::Crash => "experiment, branch, window_start, crash_process_type, crash_count",
            Base::Active => "experiment_id, branch, submission_date, active_clients",
        }
    }

    /// Sizes of the live tables from a midnight on.
    async fn live_since(&self, place: &Place, midnight: Timestamp) -> Result<Vec<u64>> {
        let texts = self.live.iter().map(|table| {
            format!("SELECT {} FROM `{table}` WHERE partition_date >= TIMESTAMP '{midnight}'", self.columns())
        });
        try_join_all(texts.map(|text| size(place, text))).await
    }

    /// Everything, as of the start.
    pub(super) async fn all(&self, place: &Place, now: Timestamp) -> Result<Vec<u64>> {
        let cut = Timestamp::saturating(now.floor(DAY).micros() - (FLIPS_AFTER - 1) * DAY);
        let mut sizes = self.live_since(place, cut).await?;
        sizes.push(size(place, format!("SELECT {} FROM `{}`", self.columns(), self.daily)).await?);
        Ok(sizes)
    }

    /// The open partitions.
    pub(super) async fn open(&self, place: &Place, now: Timestamp) -> Result<Vec<u64>> {
        self.live_since(place, now.floor(DAY)).await
    }

    /// Days of the daily table that show for the first time at `now`, all in all.
    pub(super) async fn turned(&self, trace: &Trace, place: &Place, now: Timestamp) -> Result<u64> {
        let first = Timestamp::saturating(trace.start.floor(DAY).micros() - i64::from(trace.history_days) * DAY);
        let mut bytes = 0;
        for day in first.date().iter_days().take_while(|day| *day < now.date()) {
            let midnight = Timestamp::from(day);
            let flips = Timestamp::saturating(midnight.micros() + FLIPS_AFTER * DAY);
            let landed = landing(trace, day);
            let shows = if self.base == Base::Active { landed } else { landed.max(flips) };
            if shows == now {
                let is_of_day = match self.base {
                    Base::Active => format!("submission_date = DATE '{day}'"),
                    _ => format!("DATE(window_start) = DATE '{day}'"),
                };
                let sql = format!("SELECT {} FROM `{}` WHERE {is_of_day}", self.columns(), self.daily);
                bytes += size(place, sql).await?;
            }
        }
        Ok(bytes)
    }
}

async fn size(place: &Place, sql: String) -> Result<u64> {
    Ok(place.source.dry_run(&Job::new("size", sql)).await?.bytes_processed)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;
    const SLOT: i64 = 300_000_000;

    fn minute(minute: i64) -> Timestamp {
        Timestamp::saturating(minute * 60_000_000)
    }

    #[test]
    fn the_least_is_counted_by_hand() {
        let check = |reads: &Reads, minutes: &[i64], jobs: u64, mebibytes: u64, oldest: f64| {
            let requests: Vec<Timestamp> = minutes.iter().map(|at| minute(*at)).collect();
            let tally = reads.least(&requests, 2, SLOT);
            assert_eq!((tally.jobs, tally.bytes), (jobs, mebibytes * MIB), "{minutes:?}");
            assert_eq!((tally.requests, tally.age_p99_s()), (2 * minutes.len() as u64, Some(oldest)), "{minutes:?}");
        };
        let mut reads = Reads {
            first: vec![25 * MIB, 1, 0],
            open: [(minute(0), vec![1, 0]), (minute(60), vec![1, 0]), (minute(120), vec![11 * MIB + 1, 0])].into(),
            turns: BTreeMap::new(),
        };
        // 25 MiB and the least charge at first; a table without rows is not read.
        check(&reads, &[1], 1, 35, 0.0);
        check(&reads, &[1, 4], 1, 35, 180.0);
        check(&reads, &[1, 4, 5], 2, 45, 180.0);
        check(&reads, &[1, 6, 59], 3, 55, 0.0);
        // Rounded up to the next MiB, as large as it is at the next moment that is known.
        check(&reads, &[1, 61], 2, 47, 0.0);
        // A day that shows at minute 30 is read once more, with the slot that asks next.
        reads.turns.insert(minute(30), 3);
        check(&reads, &[1, 29, 31, 36], 4, 35 + 10 + 20 + 10, 0.0);
        // It was there before the first request.
        check(&reads, &[31, 36], 2, 45, 0.0);
        // A day that does not exist costs nothing.
        reads.turns.insert(minute(31), 0);
        check(&reads, &[1, 29, 36], 3, 35 + 10 + 20, 0.0);
        // Without open partitions only days that show are read.
        let settled = Reads { first: vec![1], open: BTreeMap::new(), turns: [(minute(30), 1)].into() };
        check(&settled, &[1, 29, 31, 36], 2, 20, 0.0);
    }
}
