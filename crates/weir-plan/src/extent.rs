//! Half-open ranges of time and the steps that divide them. It knows no SQL and no clock.
//!
//! All times are UTC microseconds since the epoch, as in `BigQuery`'s TIMESTAMP.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use chrono::{DateTime, Datelike, NaiveDate, NaiveTime, SecondsFormat, Utc};
use serde::{Serialize, Serializer};

use crate::error::{Error, Result};

mod buckets;
#[cfg(test)]
mod cases;
mod ranges;
mod segments;

pub use ranges::Ranges;
pub use segments::{PartitionUnit, segment_at, segments};

/// Microseconds of a second, minute, hour, day and week.
pub const SECOND: i64 = 1_000_000;
/// Microseconds of a minute.
pub const MINUTE: i64 = 60 * SECOND;
/// Microseconds of an hour.
pub const HOUR: i64 = 60 * MINUTE;
/// Microseconds of a day.
pub const DAY: i64 = 24 * HOUR;
/// Microseconds of a week.
pub const WEEK: i64 = 7 * DAY;

/// A point in time: UTC microseconds since the epoch, within `BigQuery`'s range (years 1 to 9999).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Timestamp(i64);

impl Timestamp {
    /// 0001-01-01T00:00:00Z, the first timestamp of `BigQuery`.
    pub const MIN: Self = Self(-62_135_596_800 * SECOND);
    /// 9999-12-31T23:59:59.999999Z, the last one.
    pub const MAX: Self = Self(253_402_300_800 * SECOND - 1);

    /// Takes microseconds since the epoch.
    ///
    /// # Errors
    /// `InvalidQuery` outside the years 1 to 9999.
    pub fn from_micros(micros: i64) -> Result<Self> {
        if (Self::MIN.0..=Self::MAX.0).contains(&micros) {
            Ok(Self(micros))
        } else {
            Err(Error::invalid(format!("time {micros} µs is outside the years 1 to 9999")))
        }
    }

    /// Takes milliseconds since the epoch, as Grafana sends them.
    ///
    /// # Errors
    /// `InvalidQuery` outside the years 1 to 9999.
    pub fn from_millis(millis: i64) -> Result<Self> {
        match millis.checked_mul(1000).map(Self::from_micros) {
            Some(Ok(timestamp)) => Ok(timestamp),
            _ => Err(Error::invalid(format!("time {millis} ms is outside the years 1 to 9999"))),
        }
    }

    /// Takes microseconds and clamps them into `BigQuery`'s range.
    pub fn saturating(micros: i64) -> Self {
        Self(micros.clamp(Self::MIN.0, Self::MAX.0))
    }

    /// Microseconds since the epoch.
    pub const fn micros(self) -> i64 {
        self.0
    }

    /// Milliseconds since the epoch, rounded down.
    pub const fn millis(self) -> i64 {
        self.0.div_euclid(1000)
    }

    /// Seconds since the epoch, rounded down.
    pub const fn seconds(self) -> i64 {
        self.0.div_euclid(SECOND)
    }

    /// The same point as a `chrono` date and time.
    pub fn datetime(self) -> DateTime<Utc> {
        DateTime::from_timestamp_micros(self.0).unwrap_or_default()
    }

    /// ISO 8601 with milliseconds, as JavaScript writes it: `2024-01-01T00:00:00.000Z`.
    pub fn iso_millis(self) -> String {
        self.datetime().to_rfc3339_opts(SecondsFormat::Millis, true)
    }

    /// The UTC date.
    pub fn date(self) -> NaiveDate {
        self.datetime().date_naive()
    }

    /// The latest multiple of `unit` µs (counted from the epoch) at or before this point.
    #[must_use]
    pub fn floor(self, unit: i64) -> Self {
        Self::saturating(self.0.div_euclid(unit.max(1)) * unit.max(1))
    }

    /// The earliest multiple of `unit` µs at or after this point.
    #[must_use]
    pub fn ceil(self, unit: i64) -> Self {
        let floor = self.floor(unit);
        if floor == self { self } else { Self::saturating(floor.0.saturating_add(unit.max(1))) }
    }

    /// The point `duration` earlier.
    #[must_use]
    pub fn minus(self, duration: Duration) -> Self {
        Self::saturating(self.0.saturating_sub(micros_of(duration)))
    }

    /// The point `duration` later.
    #[must_use]
    pub fn plus(self, duration: Duration) -> Self {
        Self::saturating(self.0.saturating_add(micros_of(duration)))
    }

    /// How long after `earlier` this point is; zero if it is not after it.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0).try_into().unwrap_or(0))
    }

    /// Whether this point lies so far after `now` that a clock which was ahead has been put right since;
    /// a minute is left to what lands while its caller waits.
    pub fn is_ahead_of(self, now: Self) -> bool {
        self > now.plus(Duration::from_mins(1))
    }

    /// Whether what was found out at this point holds at `now`, if it does so for `lifetime`.
    pub fn holds_at(self, now: Self, lifetime: Duration) -> bool {
        now.since(self) < lifetime && !self.is_ahead_of(now)
    }

    /// Reads RFC 3339 (`2024-01-01T00:00:00Z`), a date (`2024-01-01`), epoch milliseconds, or
    /// `now`, `now-6h`, `now+5m` relative to `now`.
    ///
    /// # Errors
    /// `InvalidQuery`, naming the text and the accepted forms.
    pub fn parse(text: &str, now: Self) -> Result<Self> {
        let text = text.trim();
        if let Some(rest) = text.strip_prefix("now") {
            return now.offset(rest).ok_or_else(|| not_a_time(text));
        }
        if let Ok(millis) = text.parse::<i64>() {
            return Self::from_millis(millis);
        }
        if let Ok(datetime) = DateTime::parse_from_rfc3339(text) {
            return Self::from_micros(datetime.timestamp_micros());
        }
        match text.parse::<NaiveDate>() {
            Ok(date) => Self::from_micros(date_micros(date)),
            Err(_) => Err(not_a_time(text)),
        }
    }

    fn offset(self, rest: &str) -> Option<Self> {
        if rest.is_empty() {
            return Some(self);
        }
        let (sign, interval) = match rest.split_at_checked(1)? {
            ("-", interval) => (-1, interval),
            ("+", interval) => (1, interval),
            _ => return None,
        };
        match interval.parse::<Step>().ok()? {
            Step::Micros(micros) => Some(Self::saturating(self.0.checked_add(sign * micros)?)),
            Step::Months(months) => {
                let months = chrono::Months::new(months);
                let datetime = self.datetime();
                let moved =
                    if sign < 0 { datetime.checked_sub_months(months) } else { datetime.checked_add_months(months) };
                Some(Self::saturating(moved?.timestamp_micros()))
            }
        }
    }
}

fn not_a_time(text: &str) -> Error {
    Error::invalid(format!(
        "{text:?} is not a time; give RFC 3339 (2024-01-01T00:00:00Z), epoch milliseconds, or now-6h"
    ))
}

fn micros_of(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

fn date_micros(date: NaiveDate) -> i64 {
    i64::from(date.num_days_from_ce() - 719_163) * DAY
}

impl From<DateTime<Utc>> for Timestamp {
    fn from(datetime: DateTime<Utc>) -> Self {
        Self::saturating(datetime.timestamp_micros())
    }
}

/// The midnight at its beginning.
impl From<NaiveDate> for Timestamp {
    fn from(date: NaiveDate) -> Self {
        date.and_time(NaiveTime::MIN).and_utc().into()
    }
}

/// RFC 3339 in UTC, with as many digits of the second as needed: `2024-01-01T00:00:00Z`.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.datetime().to_rfc3339_opts(SecondsFormat::AutoSi, true))
    }
}

/// As it is displayed.
impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A half-open range `[start, end)` of UTC microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct Extent {
    start: Timestamp,
    end: Timestamp,
}

impl Extent {
    /// Makes a range; an empty one (`start == end`) is allowed.
    ///
    /// # Errors
    /// `InvalidQuery` if `start` is after `end`.
    pub fn new(start: Timestamp, end: Timestamp) -> Result<Self> {
        if start > end {
            return Err(Error::invalid(format!("the range begins at {start}, after its end {end}")));
        }
        Ok(Self { start, end })
    }

    /// First point inside.
    pub const fn start(self) -> Timestamp {
        self.start
    }

    /// First point after.
    pub const fn end(self) -> Timestamp {
        self.end
    }

    /// Length in microseconds.
    pub const fn micros(self) -> i64 {
        self.end.0 - self.start.0
    }

    /// Whether nothing lies inside.
    pub const fn is_empty(self) -> bool {
        self.start.0 == self.end.0
    }

    /// Both ends moved back to multiples of `slot` µs: a shift, never a widening. A range that
    /// would become empty keeps its own ends.
    #[must_use]
    pub fn floor(self, slot: i64) -> Self {
        let floored = Self { start: self.start.floor(slot), end: self.end.floor(slot) };
        if floored.is_empty() { self } else { floored }
    }
}

impl fmt::Display for Extent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}, {})", self.start, self.end)
    }
}

/// The length of a bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Step {
    /// A fixed length in microseconds, counted from the epoch (weeks therefore begin on Thursdays).
    Micros(i64),
    /// Calendar months, counted from January; a year is twelve.
    Months(u32),
}

/// Steps that Grafana's suggested interval snaps up to, in microseconds: divisors of a day.
const LADDER: [i64; 16] = [
    SECOND,
    5 * SECOND,
    10 * SECOND,
    15 * SECOND,
    30 * SECOND,
    MINUTE,
    5 * MINUTE,
    10 * MINUTE,
    15 * MINUTE,
    30 * MINUTE,
    HOUR,
    2 * HOUR,
    3 * HOUR,
    6 * HOUR,
    12 * HOUR,
    DAY,
];

impl Step {
    /// The step for a suggested interval in milliseconds, snapped up to a divisor of a day, and
    /// above a day to whole days.
    ///
    /// # Errors
    /// `InvalidQuery` for zero, a negative number, or more than a million days.
    pub fn suggested(millis: i64) -> Result<Self> {
        let micros = millis.checked_mul(1000).filter(|micros| (1..=1_000_000 * DAY).contains(micros));
        let Some(micros) = micros else {
            return Err(Error::invalid(format!("interval {millis} ms is not between 1 ms and a million days")));
        };
        let snapped = LADDER.into_iter().find(|step| *step >= micros);
        Ok(Self::Micros(snapped.unwrap_or_else(|| (micros + DAY - 1) / DAY * DAY)))
    }

    /// The length in milliseconds; a month counts as 30 days here, as in Grafana's `kbn`.
    pub const fn millis(self) -> i64 {
        match self {
            Self::Micros(micros) => micros / 1000,
            Self::Months(months) => months as i64 * 30 * DAY / 1000,
        }
    }
}

impl FromStr for Step {
    type Err = Error;

    /// Reads `500ms`, `15s`, `5m`, `1h`, `1d`, `1w`, `1M` or `1y`, and doitintl's `5min`.
    fn from_str(text: &str) -> Result<Self> {
        let invalid = || {
            Error::invalid(format!(
                "interval {text:?} is not a number and a unit (ms, s, m, h, d, w, M, y), for example 5m"
            ))
        };
        let text = text.trim();
        let digits = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(invalid)?;
        let (number, unit) = text.split_at(digits);
        let number: i64 = number.parse().map_err(|_| invalid())?;
        let micros = match unit {
            "ms" => 1000,
            "s" => SECOND,
            "m" | "min" => MINUTE,
            "h" => HOUR,
            "d" => DAY,
            "w" => WEEK,
            "M" | "y" => {
                let months = if unit == "y" { number.checked_mul(12) } else { Some(number) };
                return match months.and_then(|months| u32::try_from(months).ok()) {
                    Some(months @ 1..=120_000) => Ok(Self::Months(months)),
                    _ => Err(invalid()),
                };
            }
            _ => return Err(invalid()),
        };
        match number.checked_mul(micros) {
            Some(micros @ 1..) if micros <= 1_000_000 * DAY => Ok(Self::Micros(micros)),
            _ => Err(invalid()),
        }
    }
}

/// The shortest exact spelling: `5m`, `90s`, `1d`, `3M`.
impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Months(months) if months % 12 == 0 => write!(f, "{}y", months / 12),
            Self::Months(months) => write!(f, "{months}M"),
            Self::Micros(micros) => {
                let units = [(DAY, "d"), (HOUR, "h"), (MINUTE, "m"), (SECOND, "s")];
                match units.into_iter().find(|(unit, _)| micros % unit == 0) {
                    Some((unit, name)) => write!(f, "{}{name}", micros / unit),
                    None => write!(f, "{}ms", micros / 1000),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        Timestamp::parse(text, Timestamp(0)).unwrap()
    }

    #[test]
    fn times_are_read_in_every_documented_form() {
        let now = at("2024-03-31T12:00:00Z");
        let check = |text: &str, expected: &str| {
            assert_eq!(Timestamp::parse(text, now).unwrap().to_string(), expected, "{text}");
        };
        check("2024-01-01T00:00:00Z", "2024-01-01T00:00:00Z");
        check("2024-01-01T01:00:00.5+01:00", "2024-01-01T00:00:00.500Z");
        check("2024-01-01", "2024-01-01T00:00:00Z");
        check("1704067200000", "2024-01-01T00:00:00Z");
        check("now", "2024-03-31T12:00:00Z");
        check("now-6h", "2024-03-31T06:00:00Z");
        check("now+5m", "2024-03-31T12:05:00Z");
        check("now-1M", "2024-02-29T12:00:00Z");
    }

    #[test]
    fn what_was_found_out_holds_for_its_lifetime_and_not_by_a_clock_that_was_ahead() {
        let (noted, lifetime) = (at("2024-01-01T12:00:00Z"), Duration::from_mins(5));
        for (now, is_ahead, holds) in [
            ("2024-01-01T11:58:59.999999Z", true, false),
            ("2024-01-01T11:59:00Z", false, true),
            ("2024-01-01T12:00:00Z", false, true),
            ("2024-01-01T12:04:59Z", false, true),
            ("2024-01-01T12:05:00Z", false, false),
        ] {
            let found = (noted.is_ahead_of(at(now)), noted.holds_at(at(now), lifetime));
            assert_eq!(found, (is_ahead, holds), "{now}");
        }
    }

    #[test]
    fn absurd_times_are_errors_that_name_the_text() {
        for text in [
            "yesterday",
            "",
            "now-",
            "now*1h",
            "now-5x",
            "nowé",
            "99999999999999999",
            "10000-01-01",
            "now-99999999999999999y",
        ] {
            let error = Timestamp::parse(text, Timestamp(0)).unwrap_err();
            assert!(error.message().contains(text), "{text}: {error}");
        }
    }

    #[test]
    fn a_range_that_ends_before_it_begins_is_refused() {
        let error = Extent::new(at("2024-01-02"), at("2024-01-01")).unwrap_err();
        assert_eq!(error.message(), "the range begins at 2024-01-02T00:00:00Z, after its end 2024-01-01T00:00:00Z");
    }

    #[test]
    fn floor_shifts_and_never_widens() {
        let extent = Extent::new(at("2024-01-01T00:00:07Z"), at("2024-01-01T01:00:22Z")).unwrap();
        assert_eq!(extent.floor(15 * SECOND).to_string(), "[2024-01-01T00:00:00Z, 2024-01-01T01:00:15Z)");
        let short = Extent::new(at("2024-01-01T00:00:01Z"), at("2024-01-01T00:00:02Z")).unwrap();
        assert_eq!(short.floor(15 * SECOND), short);
        assert_eq!(Timestamp(-1).floor(SECOND), Timestamp(-SECOND));
        assert_eq!(Timestamp(-1).ceil(SECOND), Timestamp(0));
    }

    #[test]
    fn steps_are_read_and_written() {
        for (text, expected) in [
            ("500ms", "500ms"),
            ("15s", "15s"),
            ("60s", "1m"),
            ("5min", "5m"),
            ("90m", "90m"),
            ("24h", "1d"),
            ("1w", "7d"),
            ("1M", "1M"),
            ("12M", "1y"),
        ] {
            assert_eq!(text.parse::<Step>().unwrap().to_string(), expected);
        }
        for text in ["", "5", "m", "0s", "-5m", "5 m", "1Q", "99999999999999999999s", "9223372036854775807d", "1é"] {
            let error = text.parse::<Step>().unwrap_err();
            assert!(error.message().contains(&format!("{text:?}")), "{error}");
        }
    }

    #[test]
    fn a_suggested_interval_snaps_up() {
        let check = |millis: i64, expected: &str| assert_eq!(Step::suggested(millis).unwrap().to_string(), expected);
        check(1, "1s");
        check(1000, "1s");
        check(1001, "5s");
        check(20_000, "30s");
        check(600_000, "10m");
        check(4 * 3_600_000, "6h");
        check(86_400_000, "1d");
        check(86_400_001, "2d");
        assert!(Step::suggested(0).is_err());
        assert!(Step::suggested(i64::MAX).is_err());
    }
}
