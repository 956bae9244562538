//! `BigQuery`'s texts for times become Arrow's numbers, and back for the bounds of ranges.
//!
//! Canonical forms: <https://cloud.google.com/bigquery/docs/reference/standard-sql/data-types>.

use chrono::{DateTime, Datelike, NaiveDate, NaiveDateTime};

const SECOND: i64 = 1_000_000;
const DAY: i64 = 86_400 * SECOND;

/// Days of the Common Era before the epoch.
const EPOCH_DAYS: i32 = 719_163;

/// A TIMESTAMP: microseconds as asked for, or seconds with a fraction as a server that ignores the
/// wish sends them (`1.7040672E9`).
pub(super) fn timestamp(text: &str) -> Option<i64> {
    if let Ok(micros) = text.parse() {
        return Some(micros);
    }
    let seconds: f64 = text.parse().ok().filter(|seconds: &f64| seconds.abs() < 1e12)?;
    #[expect(clippy::cast_possible_truncation, reason = "within i64: a trillion seconds at most")]
    Some((seconds * 1e6).round() as i64)
}

/// A DATE: days since the epoch.
pub(super) fn date(text: &str) -> Option<i32> {
    let bytes = text.as_bytes();
    let [_, _, _, _, b'-', _, _, b'-', _, _] = bytes else { return None };
    let year = i32::try_from(digits(&bytes[..4])?).ok()?;
    let date = NaiveDate::from_ymd_opt(year, digits(&bytes[5..7])?, digits(&bytes[8..])?)?;
    Some(date.num_days_from_ce() - EPOCH_DAYS)
}

/// A TIME: microseconds since midnight.
pub(super) fn time(text: &str) -> Option<i64> {
    let bytes = text.as_bytes();
    let (clock, fraction) = bytes.split_at_checked(8)?;
    let [_, _, b':', _, _, b':', _, _] = clock else { return None };
    let (hour, minute, second) = (digits(&clock[..2])?, digits(&clock[3..5])?, digits(&clock[6..])?);
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let micros = match fraction {
        [] => 0,
        [b'.', fraction @ ..] if (1..=6).contains(&fraction.len()) => {
            let missing = u32::try_from(6 - fraction.len()).ok()?;
            digits(fraction)? * 10_u32.pow(missing)
        }
        _ => return None,
    };
    Some(i64::from(hour * 3600 + minute * 60 + second) * SECOND + i64::from(micros))
}

/// A DATETIME, its parts divided by `T` or a space: microseconds since the epoch, without a zone.
pub(super) fn datetime(text: &str) -> Option<i64> {
    let (day, rest) = text.split_at_checked(10)?;
    let days = i64::from(date(day)?);
    let micros = match rest.strip_prefix(['T', ' ']) {
        Some(clock) => time(clock)?,
        None if rest.is_empty() => 0,
        None => return None,
    };
    Some(days * DAY + micros)
}

fn digits(bytes: &[u8]) -> Option<u32> {
    bytes.iter().try_fold(0_u32, |number, byte| match byte {
        b'0'..=b'9' => Some(number * 10 + u32::from(byte - b'0')),
        _ => None,
    })
}

/// A DATE as text.
pub(super) fn date_text(days: i32) -> Option<String> {
    Some(NaiveDate::from_num_days_from_ce_opt(days.checked_add(EPOCH_DAYS)?)?.to_string())
}

/// A DATETIME as text, `2024-01-01T00:00:00`.
pub(super) fn datetime_text(micros: i64) -> Option<String> {
    let datetime: NaiveDateTime = DateTime::from_timestamp_micros(micros)?.naive_utc();
    Some(datetime.format("%Y-%m-%dT%H:%M:%S%.f").to_string())
}

/// A TIMESTAMP as text, `2024-01-01 00:00:00+00`, as casts to STRING write it.
pub(super) fn timestamp_text(micros: i64) -> Option<String> {
    Some(DateTime::from_timestamp_micros(micros)?.format("%Y-%m-%d %H:%M:%S%.f+00").to_string())
}

/// A RANGE of its bounds as text; an open end is `UNBOUNDED`.
pub(super) fn range_text(start: Option<String>, end: Option<String>) -> String {
    let bound = |bound: Option<String>| bound.unwrap_or_else(|| "UNBOUNDED".to_owned());
    format!("[{}, {})", bound(start), bound(end))
}

/// A RANGE of TIMESTAMP whose bounds arrive as microseconds, made readable.
pub(super) fn timestamp_range(text: &str) -> Option<String> {
    let (start, end) = text.strip_prefix('[')?.strip_suffix(')')?.split_once(", ")?;
    let bound = |text: &str| match text {
        "UNBOUNDED" | "NULL" => Some(None),
        _ => Some(Some(timestamp_text(timestamp(text)?)?)),
    };
    Some(range_text(bound(start)?, bound(end)?))
}

/// An INTERVAL as text, `Y-M D H:M:S[.F]`.
pub(super) fn interval_text(months: i32, days: i32, nanos: i64) -> String {
    let sign = |negative: bool| if negative { "-" } else { "" };
    let (years, rest) = (months.unsigned_abs() / 12, months.unsigned_abs() % 12);
    let micros = nanos.unsigned_abs() / 1000;
    let (seconds, fraction) = (micros / 1_000_000, micros % 1_000_000);
    let fraction = match fraction {
        0 => String::new(),
        fraction => format!(".{fraction:06}").trim_end_matches('0').to_owned(),
    };
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    format!("{}{years}-{rest} {days} {}{hours}:{minutes}:{seconds}{fraction}", sign(months < 0), sign(nanos < 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_to_the_microsecond() {
        assert_eq!(timestamp("1704067200123456"), Some(1_704_067_200_123_456));
        assert_eq!(timestamp("1.704067200123456E9"), Some(1_704_067_200_123_456));
        assert_eq!(timestamp("-1.5"), Some(-1_500_000));
        assert_eq!(timestamp("soon"), None);
        assert_eq!(timestamp("1e300"), None);
        assert_eq!(date("1970-01-02"), Some(1));
        assert_eq!(date("0001-01-01"), Some(-719_162));
        assert_eq!(date("9999-12-31"), Some(2_932_896));
        assert_eq!(time("01:02:03"), Some(3_723_000_000));
        assert_eq!(time("23:59:59.000001"), Some(86_399_000_001));
        assert_eq!(time("23:59:59.1"), Some(86_399_100_000));
        assert_eq!(datetime("1970-01-02T00:00:01.5"), Some(86_401_500_000));
        assert_eq!(datetime("1970-01-02 00:00:01"), Some(86_401_000_000));
        for text in ["", "2024-1-1", "2024-02-30", "20240101", "2024-01-01x", "+024-01-01"] {
            assert_eq!(date(text), None, "{text}");
        }
        for text in ["", "1:2:3", "24:00:00", "00:00:60", "00:00:00.", "00:00:00.1234567", "00:00:0é"] {
            assert_eq!(time(text), None, "{text}");
        }
        assert_eq!(datetime("2024-01-01T"), None);
        assert_eq!(datetime("2024-01-0é00:00:00"), None);
    }

    #[test]
    fn ranges_and_intervals_are_written_as_bigquery_does() {
        assert_eq!(
            timestamp_range("[1704067200000000, UNBOUNDED)").as_deref(),
            Some("[2024-01-01 00:00:00+00, UNBOUNDED)")
        );
        assert_eq!(date_text(19_723).as_deref(), Some("2024-01-01"));
        assert_eq!(datetime_text(1_500_000).as_deref(), Some("1970-01-01T00:00:01.500"));
        assert_eq!(interval_text(14, -3, 3_723_500_000_000), "1-2 -3 1:2:3.5");
        assert_eq!(interval_text(-1, 0, -1_000_000_000), "-0-1 0 -0:0:1");
    }
}
