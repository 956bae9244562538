//! Where the buckets of a step begin, and how a range is widened to whole ones.
//!
//! Boundaries are those of the expansion of `$__timeGroup` at and after the epoch. Before it that
//! expansion's division rounds towards zero, so that its first bucket is twice as long: callers
//! answer such ranges whole.

use std::time::Duration;

use chrono::{Datelike, NaiveDate};

use super::{DAY, Extent, LADDER, Step, Timestamp, date_micros, micros_of};
use crate::error::Result;

impl Step {
    /// Start of the bucket that holds `at`.
    pub fn floor(self, at: Timestamp) -> Timestamp {
        match self {
            Self::Micros(micros) => at.floor(micros),
            Self::Months(months) => first_of(month_bucket(months, at)),
        }
    }

    /// The earliest bucket start at or after `at`.
    pub fn ceil(self, at: Timestamp) -> Timestamp {
        let floor = self.floor(at);
        if floor == at { at } else { self.next(at) }
    }

    /// The earliest bucket start after `at`.
    pub fn next(self, at: Timestamp) -> Timestamp {
        match self {
            Self::Micros(micros) => Timestamp::saturating(at.floor(micros).micros().saturating_add(micros.max(1))),
            Self::Months(months) => {
                let start = month_bucket(months, at);
                let end = start.saturating_add(months.into());
                // Below a year the count begins anew each January, so the last bucket may be short.
                let january = (start.div_euclid(12) + 1) * 12;
                first_of(if months < 12 { end.min(january) } else { end })
            }
        }
    }

    /// The range that answers `range` in whole buckets as of `now`: from the start of its first
    /// bucket to the end of its last, or of the one that holds `now` where that is earlier.
    pub fn align(self, range: Extent, now: Timestamp) -> Extent {
        let start = self.floor(range.start());
        let end = self.ceil(range.end()).min(self.ceil(now)).max(start);
        Extent { start, end }
    }

    /// As [`Step::suggested`], and never below `grain`, the length of the source's own buckets.
    ///
    /// # Errors
    /// Those of [`Step::suggested`].
    pub fn suggested_for(millis: i64, grain: Duration) -> Result<Self> {
        Self::suggested(millis)?.at_least(grain)
    }

    /// This step, or the first suggested one that is no shorter than `grain`.
    ///
    /// # Errors
    /// Those of [`Step::suggested`].
    pub fn at_least(self, grain: Duration) -> Result<Self> {
        let grain = micros_of(grain);
        let shorter = matches!(self, Self::Micros(micros) if micros < grain);
        if shorter { Self::suggested(grain.saturating_add(999) / 1000) } else { Ok(self) }
    }

    /// The suggested steps whose buckets make up this one's, the longest first. (Weeks make no months,
    /// and days of any number are suggested, but days alone are looked for.)
    pub fn finer(self) -> impl Iterator<Item = Self> {
        let divides = move |micros: &i64| match self {
            Self::Micros(own) => *micros < own && own % micros == 0,
            Self::Months(_) => DAY % micros == 0,
        };
        LADDER.into_iter().rev().filter(divides).map(Self::Micros)
    }

    /// Whether every bucket start is a multiple of `unit` µs counted from the epoch.
    pub const fn is_multiple_of(self, unit: i64) -> bool {
        match self {
            Self::Micros(micros) => unit > 0 && micros % unit == 0,
            Self::Months(_) => unit > 0 && DAY % unit == 0,
        }
    }

    /// Whether a bucket is a day or longer.
    pub const fn is_of_days(self) -> bool {
        match self {
            Self::Micros(micros) => micros >= DAY,
            Self::Months(_) => true,
        }
    }
}

/// The first month of the bucket that holds `at`, counted from January of year 0. Steps below a
/// year are counted from January of each year, longer ones from year 0.
fn month_bucket(months: u32, at: Timestamp) -> i64 {
    let date = at.date();
    let (year, month) = (i64::from(date.year()), i64::from(date.month0()));
    let months = i64::from(months.max(1));
    let index = year * 12 + month;
    if months < 12 { year * 12 + month / months * months } else { index.div_euclid(months) * months }
}

/// Midnight of the first day of a month counted from January of year 0, within `BigQuery`'s range.
fn first_of(month: i64) -> Timestamp {
    let year = month.div_euclid(12).clamp(0, 10_000);
    let date = i32::try_from(year).ok().zip(u32::try_from(month.rem_euclid(12)).ok());
    let date = date.and_then(|(year, month)| NaiveDate::from_ymd_opt(year, month + 1, 1));
    Timestamp::saturating(date.map_or(i64::MAX, date_micros))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finer_steps_begin_wherever_a_coarser_one_does() {
        let check = |step: &str, expected: &[&str]| {
            let finer: Vec<String> = step.parse::<Step>().unwrap().finer().map(|step| step.to_string()).collect();
            assert_eq!(finer, expected, "{step}");
        };
        check("1s", &[]);
        check("5s", &["1s"]);
        check("15m", &["5m", "1m", "30s", "15s", "10s", "5s", "1s"]);
        check("7s", &["1s"]);
        let days =
            ["1d", "12h", "6h", "3h", "2h", "1h", "30m", "15m", "10m", "5m", "1m", "30s", "15s", "10s", "5s", "1s"];
        check("1d", &days[1..]);
        check("1w", &days);
        check("1M", &days);
    }
}
