//! Calendar arithmetic of `GoogleSQL` on UTC microseconds since the epoch: truncate, add, count
//! boundaries, extract. It knows no SQL and no Arrow.
//!
//! Source: <https://cloud.google.com/bigquery/docs/reference/standard-sql/timestamp_functions> and
//! its siblings for DATE and DATETIME.

use chrono::{DateTime, Datelike, Months, NaiveDate, NaiveDateTime, Weekday};
use weir_plan::extent::{DAY, HOUR, MINUTE, SECOND};

/// A date part, as in `TIMESTAMP_TRUNC(x, HOUR)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// A length in microseconds, up to a day.
    Fixed(i64),
    /// A week that begins on the given day.
    Week(Weekday),
    /// A number of calendar months: 1, 3 or 12.
    Months(u32),
    /// The year of ISO weeks.
    IsoYear,
}

impl Part {
    /// Reads `day`, `week(monday)` and the like, in lower case.
    pub(super) fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "microsecond" => Self::Fixed(1),
            "millisecond" => Self::Fixed(1000),
            "second" => Self::Fixed(SECOND),
            "minute" => Self::Fixed(MINUTE),
            "hour" => Self::Fixed(HOUR),
            "day" => Self::Fixed(DAY),
            "week" => Self::Week(Weekday::Sun),
            "isoweek" => Self::Week(Weekday::Mon),
            "month" => Self::Months(1),
            "quarter" => Self::Months(3),
            "year" => Self::Months(12),
            "isoyear" => Self::IsoYear,
            _ => Self::Week(weekday(text)?),
        })
    }

    /// Whether the part is shorter than a day.
    pub(super) fn is_within_day(self) -> bool {
        matches!(self, Self::Fixed(length) if length < DAY)
    }
}

fn weekday(text: &str) -> Option<Weekday> {
    text.strip_prefix("week(")?.strip_suffix(')')?.parse().ok()
}

/// The civil date and time of a point; `None` outside chrono's range.
pub(super) fn civil(micros: i64) -> Option<NaiveDateTime> {
    DateTime::from_timestamp_micros(micros).map(|point| point.naive_utc())
}

/// The point of a civil date and time.
pub(super) fn micros(civil: NaiveDateTime) -> i64 {
    civil.and_utc().timestamp_micros()
}

/// Midnight of a date.
pub(super) fn date_micros(date: NaiveDate) -> i64 {
    micros(date.into())
}

/// The latest start of a `part` at or before a point.
pub(super) fn truncate(point: i64, part: Part) -> Option<i64> {
    Some(match part {
        Part::Fixed(length) => point.div_euclid(length).checked_mul(length)?,
        Part::Week(first) => {
            let day = point.div_euclid(DAY);
            (day - days_into_week(day, first)) * DAY
        }
        Part::Months(months) => {
            let months = i64::from(months);
            month_start(month_index(point)?.div_euclid(months) * months)?
        }
        Part::IsoYear => iso_year_start(civil(point)?.iso_week().year())?,
    })
}

/// The point `count` parts later; days of a month are clamped to its length.
pub(super) fn add(point: i64, count: i64, part: Part) -> Option<i64> {
    match part {
        Part::Fixed(length) => point.checked_add(count.checked_mul(length)?),
        Part::Week(_) => point.checked_add(count.checked_mul(7 * DAY)?),
        Part::Months(months) => {
            let count = count.checked_mul(i64::from(months))?;
            let distance = Months::new(count.unsigned_abs().try_into().ok()?);
            let civil = civil(point)?;
            let moved = if count < 0 { civil.checked_sub_months(distance) } else { civil.checked_add_months(distance) };
            moved.map(micros)
        }
        Part::IsoYear => None,
    }
}

/// How many starts of a `part` lie between `earlier` and `later` (negative the other way round),
/// as `DATE_DIFF` and `DATETIME_DIFF` count.
pub(super) fn boundaries(later: i64, earlier: i64, part: Part) -> Option<i64> {
    index(later, part)?.checked_sub(index(earlier, part)?)
}

fn index(point: i64, part: Part) -> Option<i64> {
    Some(match part {
        Part::Fixed(length) => point.div_euclid(length),
        Part::Week(first) => {
            let day = point.div_euclid(DAY);
            (day - days_into_week(day, first)).div_euclid(7)
        }
        Part::Months(months) => month_index(point)?.div_euclid(i64::from(months)),
        Part::IsoYear => i64::from(civil(point)?.iso_week().year()),
    })
}

/// The number that `EXTRACT(part FROM point)` gives; `None` for an unknown part.
pub(super) fn extract(point: i64, part: &str) -> Option<i64> {
    let within = point.rem_euclid(DAY);
    let civil = civil(point)?;
    Some(match part {
        "microsecond" => within % SECOND,
        "millisecond" => within % SECOND / 1000,
        "second" => within / SECOND % 60,
        "minute" => within / MINUTE % 60,
        "hour" => within / HOUR,
        "dayofweek" => i64::from(civil.weekday().number_from_sunday()),
        "day" => civil.day().into(),
        "dayofyear" => civil.ordinal().into(),
        "isoweek" => civil.iso_week().week().into(),
        "month" => civil.month().into(),
        "quarter" => civil.quarter().into(),
        "year" => civil.year().into(),
        "isoyear" => civil.iso_week().year().into(),
        _ => match Part::parse(part)? {
            Part::Week(first) => week_of_year(civil.date(), first),
            _ => return None,
        },
    })
}

/// Weeks begun in the year up to a date; days before the first `first` belong to week 0.
fn week_of_year(date: NaiveDate, first: Weekday) -> i64 {
    let into_week = i64::from(date.weekday().days_since(first));
    (i64::from(date.ordinal0()) + 7 - into_week) / 7
}

/// Days from the week's first day to `day` (days since the epoch, a Thursday).
fn days_into_week(day: i64, first: Weekday) -> i64 {
    (day + 3 - i64::from(first.num_days_from_monday())).rem_euclid(7)
}

fn month_index(point: i64) -> Option<i64> {
    let civil = civil(point)?;
    Some(i64::from(civil.year()) * 12 + i64::from(civil.month0()))
}

fn month_start(index: i64) -> Option<i64> {
    let year = index.div_euclid(12).try_into().ok()?;
    let month = u32::try_from(index.rem_euclid(12)).ok()? + 1;
    NaiveDate::from_ymd_opt(year, month, 1).map(date_micros)
}

fn iso_year_start(year: i32) -> Option<i64> {
    NaiveDate::from_isoywd_opt(year, 1, Weekday::Mon).map(date_micros)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> i64 {
        text.parse::<DateTime<chrono::Utc>>().unwrap().timestamp_micros()
    }

    #[test]
    fn a_point_truncates_to_the_start_of_each_part() {
        let check = |part: &str, expected: &str| {
            let truncated = truncate(at("2024-02-29T13:47:31.123456Z"), Part::parse(part).unwrap());
            assert_eq!(truncated, Some(at(expected)), "{part}");
        };
        check("millisecond", "2024-02-29T13:47:31.123Z");
        check("hour", "2024-02-29T13:00:00Z");
        check("day", "2024-02-29T00:00:00Z");
        check("week", "2024-02-25T00:00:00Z");
        check("isoweek", "2024-02-26T00:00:00Z");
        check("week(thursday)", "2024-02-29T00:00:00Z");
        check("month", "2024-02-01T00:00:00Z");
        check("quarter", "2024-01-01T00:00:00Z");
        check("year", "2024-01-01T00:00:00Z");
        check("isoyear", "2024-01-01T00:00:00Z");
        assert_eq!(truncate(-1, Part::Fixed(DAY)), Some(-DAY));
        assert_eq!(Part::parse("fortnight"), None);
    }

    #[test]
    fn adding_months_clamps_to_the_length_of_the_month() {
        let check = |from: &str, count: i64, part: &str, expected: &str| {
            assert_eq!(add(at(from), count, Part::parse(part).unwrap()), Some(at(expected)), "{from} {count} {part}");
        };
        check("2024-01-31T01:00:00Z", 1, "month", "2024-02-29T01:00:00Z");
        check("2024-03-31T00:00:00Z", -1, "month", "2024-02-29T00:00:00Z");
        check("2024-02-29T00:00:00Z", 1, "year", "2025-02-28T00:00:00Z");
        check("2024-02-29T00:00:00Z", -2, "week", "2024-02-15T00:00:00Z");
        assert_eq!(add(0, i64::MAX, Part::Fixed(DAY)), None);
    }

    #[test]
    fn differences_count_boundaries() {
        let check = |later: &str, earlier: &str, part: &str, expected: i64| {
            assert_eq!(
                boundaries(at(later), at(earlier), Part::parse(part).unwrap()),
                Some(expected),
                "{later} {part}"
            );
        };
        check("2024-01-01T00:00:00Z", "2023-12-31T23:59:59Z", "year", 1);
        check("2024-01-01T00:00:00Z", "2024-12-31T00:00:00Z", "quarter", -3);
        check("2017-10-15T00:00:00Z", "2017-10-14T00:00:00Z", "week", 1);
        check("2017-10-15T00:00:00Z", "2017-10-14T00:00:00Z", "isoweek", 0);
    }

    #[test]
    fn parts_are_extracted() {
        let point = at("2024-09-01T13:47:31.123456Z");
        for (part, expected) in [
            ("microsecond", 123_456),
            ("millisecond", 123),
            ("hour", 13),
            ("dayofweek", 1),
            ("dayofyear", 245),
            ("week", 35),
            ("week(monday)", 35),
            ("isoweek", 35),
            ("quarter", 3),
            ("isoyear", 2024),
        ] {
            assert_eq!(extract(point, part), Some(expected), "{part}");
        }
        assert_eq!(extract(at("2022-01-01T00:00:00Z"), "week"), Some(0));
        assert_eq!(extract(point, "century"), None);
    }
}
