//! What the generator is asked for: how many recipes, how much history, and when the daily job
//! lands. It knows no rows.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::NaiveDate;
use weir_plan::Timestamp;
use weir_plan::extent::HOUR;

/// Days before a partition of a live table is dropped, where nothing else is said.
const LIVE_DAYS: u32 = 14;

/// Settings of [`super::Synthetic`]. Equal settings give equal rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyntheticConfig {
    /// Seed of every draw.
    pub seed: u64,
    /// Recipes (experiments and rollouts) that are live at `end`.
    pub live_recipes: u32,
    /// Recipes that ended in the 14 days before `end`.
    pub ended_recipes: u32,
    /// Recipes that will start after `end`, one every six hours.
    pub upcoming_recipes: u32,
    /// Days of history before the day of `end`.
    pub history_days: u32,
    /// Days that live tables keep, today included; at least 3 are kept.
    pub live_days: u32,
    /// The time at which the numbers of recipes above are true; usually the time of installation.
    pub end: Timestamp,
    /// When daily partitions land.
    pub daily_job: DailyJob,
}

impl SyntheticConfig {
    /// For the demo: the full number of recipes, 30 days.
    pub fn demo(end: Timestamp) -> Self {
        Self {
            seed: 1,
            live_recipes: 120,
            ended_recipes: 40,
            upcoming_recipes: 40,
            history_days: 30,
            live_days: LIVE_DAYS,
            end,
            daily_job: DailyJob::default(),
        }
    }

    /// For tests: 12 live and 4 ended recipes, 5 days.
    pub fn small(end: Timestamp) -> Self {
        Self { live_recipes: 12, ended_recipes: 4, upcoming_recipes: 4, history_days: 5, ..Self::demo(end) }
    }
}

/// When the daily job lands the partition of each day, once, after the day has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DailyJob {
    /// Time after the midnight (UTC) that ends the day.
    pub at: Duration,
    /// Days for which it goes otherwise.
    pub exceptions: BTreeMap<NaiveDate, Landing>,
    /// Later runs, each of which replaces the partition of a day by the complete one.
    pub backfills: Vec<Backfill>,
}

impl Default for DailyJob {
    /// 03:00, and no exceptions.
    fn default() -> Self {
        Self { at: Duration::from_hours(3), exceptions: BTreeMap::new(), backfills: Vec::new() }
    }
}

/// How a day's first run goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Landing {
    /// It lands this much later than [`DailyJob::at`].
    Late(Duration),
    /// It never runs.
    Missing,
    /// It lands on time, with windows before this hour of the day only.
    Partial {
        /// First hour that is left out, 0 to 24.
        until_hour: u8,
    },
}

/// A run of the daily job for a day of the past.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backfill {
    /// Day whose partition is replaced.
    pub day: NaiveDate,
    /// When that happens; without effect if it is before the day's end.
    pub at: Timestamp,
}

/// What the daily tables hold of a day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Landed {
    /// Nothing yet.
    No,
    /// Windows that start before this time.
    Until(Timestamp),
    /// Everything.
    Complete,
}

impl DailyJob {
    /// When the runs for `day` are, each with what it lands; unsorted.
    fn runs(&self, day: NaiveDate) -> impl Iterator<Item = (Timestamp, Landed)> {
        let midnight = start_of(day).plus(Duration::from_hours(24));
        let first = match self.exceptions.get(&day) {
            None => Some((midnight.plus(self.at), Landed::Complete)),
            Some(Landing::Late(delay)) => Some((midnight.plus(self.at).plus(*delay), Landed::Complete)),
            Some(Landing::Missing) => None,
            Some(Landing::Partial { until_hour }) => {
                let until = Timestamp::saturating(start_of(day).micros() + i64::from(*until_hour) * HOUR);
                Some((midnight.plus(self.at), Landed::Until(until)))
            }
        };
        let backfills = self.backfills.iter().filter(move |backfill| backfill.day == day && backfill.at >= midnight);
        first.into_iter().chain(backfills.map(|backfill| (backfill.at, Landed::Complete)))
    }

    /// What the daily tables hold of `day` at `now`: what the last run before it left.
    pub(super) fn landed(&self, day: NaiveDate, now: Timestamp) -> Landed {
        let past = self.runs(day).filter(|(at, _)| *at <= now);
        past.max_by_key(|(at, _)| *at).map_or(Landed::No, |(_, landed)| landed)
    }

    /// Whether a run for `day` falls in (`after`, `until`].
    pub(super) fn runs_between(&self, day: NaiveDate, after: Timestamp, until: Timestamp) -> bool {
        self.runs(day).any(|(at, _)| after < at && at <= until)
    }
}

/// Midnight at the beginning of `day`.
pub(super) fn start_of(day: NaiveDate) -> Timestamp {
    day.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        Timestamp::parse(text, Timestamp::MIN).unwrap()
    }

    fn day(text: &str) -> NaiveDate {
        text.parse().unwrap()
    }

    #[test]
    fn a_day_lands_when_its_last_run_says() {
        let mut job = DailyJob::default();
        job.exceptions.insert(day("2024-05-02"), Landing::Late(Duration::from_hours(1)));
        job.exceptions.insert(day("2024-05-03"), Landing::Missing);
        job.exceptions.insert(day("2024-05-04"), Landing::Partial { until_hour: 6 });
        for text in ["2024-05-03", "2024-05-04"] {
            job.backfills.push(Backfill { day: day(text), at: at("2024-05-09T12:00:00Z") });
        }
        let partial = Landed::Until(at("2024-05-04T06:00:00Z"));
        for (text, now, expected) in [
            ("2024-05-01", "2024-05-02T02:59:59Z", Landed::No),
            ("2024-05-01", "2024-05-02T03:00:00Z", Landed::Complete),
            ("2024-05-02", "2024-05-03T03:00:00Z", Landed::No),
            ("2024-05-02", "2024-05-03T04:00:00Z", Landed::Complete),
            ("2024-05-03", "2024-05-09T11:59:59Z", Landed::No),
            ("2024-05-03", "2024-05-09T12:00:00Z", Landed::Complete),
            ("2024-05-04", "2024-05-05T03:00:00Z", partial),
            ("2024-05-04", "2024-05-09T12:00:00Z", Landed::Complete),
        ] {
            assert_eq!(job.landed(day(text), at(now)), expected, "{text} at {now}");
        }
    }

    #[test]
    fn a_run_belongs_to_one_interval_only() {
        let job = DailyJob::default();
        let (day, run) = (day("2024-05-01"), at("2024-05-02T03:00:00Z"));
        let (before, after) = (at("2024-05-02T02:00:00Z"), at("2024-05-02T04:00:00Z"));
        assert!(job.runs_between(day, before, run));
        assert!(!job.runs_between(day, run, after));
    }
}
