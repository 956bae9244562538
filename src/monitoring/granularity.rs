//! The lengths of buckets, and which one is kept for an experiment of some age. It knows no rows.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};
use weir_plan::extent::{DAY, HOUR, MINUTE};
use weir_plan::{Error, Result, Step, Timestamp};

/// The length of the buckets of a series.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Granularity {
    /// Five minutes: a window.
    FiveMinutes,
    /// Half an hour.
    HalfHour,
    /// An hour.
    Hour,
    /// A UTC day.
    Day,
}

impl Granularity {
    /// All, the finest first.
    pub const ALL: [Self; 4] = [Self::FiveMinutes, Self::HalfHour, Self::Hour, Self::Day];

    /// Its length in microseconds.
    pub const fn micros(self) -> i64 {
        match self {
            Self::FiveMinutes => 5 * MINUTE,
            Self::HalfHour => 30 * MINUTE,
            Self::Hour => HOUR,
            Self::Day => DAY,
        }
    }

    /// Its name, as requests write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::FiveMinutes => "5m",
            Self::HalfHour => "30m",
            Self::Hour => "1h",
            Self::Day => "1d",
        }
    }

    /// The same as a step of a query.
    pub const fn step(self) -> Step {
        Step::Micros(self.micros())
    }

    /// Days before today of which all experiments' rows of this length are worth reading at once: about
    /// as many rows for each.
    pub const fn reach_days(self) -> i64 {
        match self {
            Self::FiveMinutes => 31,
            Self::HalfHour => 93,
            Self::Hour => 400,
            Self::Day => i64::MAX / DAY,
        }
    }
}

impl fmt::Display for Granularity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for Granularity {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl FromStr for Granularity {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let known = || Self::ALL.map(Self::as_str).join(", ");
        Self::ALL
            .into_iter()
            .find(|granularity| granularity.as_str() == text)
            .ok_or_else(|| Error::invalid(format!("{text:?} is none of {}", known())))
    }
}

/// Days before today that are recent: they have finer buckets than what is before.
pub(super) const RECENT_DAYS: i64 = 2;

/// What is kept of an experiment that is younger than some age.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Age {
    /// Days since its start; `None` for every older one.
    pub younger_than_days: Option<i64>,
    /// Buckets of the last two days and of today.
    pub recent: Granularity,
    /// Buckets of what is before.
    pub before: Granularity,
}

/// Granularity by age: the first that fits holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ages(Vec<Age>);

impl Ages {
    /// Ages in order, the last one for all that are older.
    ///
    /// # Errors
    /// `InvalidQuery` naming what is out of order.
    pub fn new(ages: Vec<Age>) -> Result<Self> {
        let Some((last, others)) = ages.split_last() else {
            return Err(Error::invalid("granularity_by_age is empty; leave it out, or give what is kept"));
        };
        if last.younger_than_days.is_some() || others.iter().any(|age| age.younger_than_days.is_none()) {
            return Err(Error::invalid(
                "granularity_by_age: all but the last have younger_than_days, the last has not",
            ));
        }
        if !others.is_sorted_by_key(|age| age.younger_than_days) {
            return Err(Error::invalid("granularity_by_age: younger_than_days must grow from one to the next"));
        }
        if let Some(age) = ages.iter().find(|age| age.recent > age.before) {
            let message = format!("granularity_by_age: {} for recent days is coarser than {}", age.recent, age.before);
            return Err(Error::invalid(message));
        }
        Ok(Self(ages))
    }

    /// What is kept of an experiment that started at `start`: of the recent days, and of those before.
    pub fn of(&self, start: Timestamp, now: Timestamp) -> (Granularity, Granularity) {
        let days = (now.micros() - start.micros()).div_euclid(DAY);
        let fits = |age: &&Age| age.younger_than_days.is_none_or(|limit| days < limit);
        let age = self.0.iter().find(fits).or(self.0.last());
        age.map_or((Granularity::Hour, Granularity::Day), |age| (age.recent, age.before))
    }
}

impl Default for Ages {
    /// To 14 days 5 minutes and hours, to 30 half hours and hours, then hours and days.
    fn default() -> Self {
        let age = |younger_than_days, recent, before| Age { younger_than_days, recent, before };
        Self(vec![
            age(Some(14), Granularity::FiveMinutes, Granularity::Hour),
            age(Some(30), Granularity::HalfHour, Granularity::Hour),
            age(None, Granularity::Hour, Granularity::Day),
        ])
    }
}

/// The beginning of the recent days.
pub(super) fn recent_since(now: Timestamp) -> Timestamp {
    Timestamp::saturating(now.floor(DAY).micros() - RECENT_DAYS * DAY)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        Timestamp::parse(text, Timestamp::MIN).unwrap()
    }

    #[test]
    fn what_is_kept_goes_by_the_age_of_the_experiment() {
        let now = at("2024-03-31T12:00:00Z");
        let check = |start: &str, recent: &str, before: &str| {
            let (kept_recent, kept_before) = Ages::default().of(at(start), now);
            assert_eq!((kept_recent.as_str(), kept_before.as_str()), (recent, before), "{start}");
        };
        check("2024-03-31T11:30:00Z", "5m", "1h");
        check("2024-03-17T12:00:01Z", "5m", "1h");
        check("2024-03-17T12:00:00Z", "30m", "1h");
        check("2024-03-01T12:00:01Z", "30m", "1h");
        check("2024-03-01T12:00:00Z", "1h", "1d");
        check("2020-01-01", "1h", "1d");
    }

    #[test]
    fn ages_out_of_order_are_refused() {
        use Granularity::{Day, FiveMinutes, Hour};
        let age = |limit, recent, before| Age { younger_than_days: limit, recent, before };
        let check = |ages: Vec<Age>, expected: &str| {
            let error = Ages::new(ages).unwrap_err();
            assert!(error.message().contains(expected), "{error}");
        };
        check(vec![], "empty");
        check(vec![age(Some(3), Hour, Day)], "the last has not");
        check(vec![age(Some(3), Hour, Day), age(Some(2), Hour, Day), age(None, Hour, Day)], "must grow");
        check(vec![age(None, Day, FiveMinutes)], "1d for recent days is coarser than 5m");
        assert!(Ages::new(vec![age(Some(2), FiveMinutes, Hour), age(None, Hour, Day)]).is_ok());
    }

    #[test]
    fn a_granularity_is_read_as_it_is_written() {
        for granularity in Granularity::ALL {
            assert_eq!(granularity.as_str().parse::<Granularity>().unwrap(), granularity);
        }
        assert_eq!("2h".parse::<Granularity>().unwrap_err().message(), "\"2h\" is none of 5m, 30m, 1h, 1d");
    }
}
