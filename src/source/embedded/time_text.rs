//! Dates and times as text: `GoogleSQL`'s canonical forms, read and written, and time zones.
//!
//! Source: <https://cloud.google.com/bigquery/docs/reference/standard-sql/data-types#canonical_format_for_timestamp_literals>.

use chrono::{NaiveDate, NaiveDateTime, NaiveTime, Offset, TimeZone};
use datafusion::arrow::array::timezone::Tz;
use weir_plan::extent::{DAY, HOUR, MINUTE, SECOND};

use super::calendar::{civil, date_micros, micros};

/// Reads a time zone: `UTC`, `Europe/Paris`, `+02:00`.
pub(super) fn zone(text: &str) -> Option<Tz> {
    let text = text.strip_prefix("UTC").filter(|rest| rest.starts_with(['+', '-'])).unwrap_or(text);
    if let Some((sign, rest)) = text.split_at_checked(1).filter(|(sign, _)| matches!(*sign, "+" | "-")) {
        let (hours, minutes) = rest.split_once(':').unwrap_or((rest, "0"));
        let (hours, minutes): (u8, u8) = (hours.parse().ok()?, minutes.parse().ok()?);
        return format!("{sign}{hours:02}:{minutes:02}").parse().ok();
    }
    text.parse().ok()
}

/// Microseconds that a clock in `zone` shows at a point.
pub(super) fn to_local(point: i64, zone: Tz) -> Option<i64> {
    let civil = civil(point)?;
    Some(point + i64::from(zone.offset_from_utc_datetime(&civil).fix().local_minus_utc()) * SECOND)
}

/// The point at which a clock in `zone` shows `local`; the earlier where there are two, the end of
/// the gap where there is none.
pub(super) fn from_local(local: i64, zone: Tz) -> Option<i64> {
    let civil = civil(local)?;
    let offset = match zone.offset_from_local_datetime(&civil).earliest() {
        Some(offset) => offset,
        None => zone.offset_from_utc_datetime(&civil),
    };
    Some(local - i64::from(offset.fix().local_minus_utc()) * SECOND)
}

/// Reads a TIMESTAMP; without a zone of its own it is in `default`, or UTC.
pub(super) fn parse_timestamp(text: &str, default: Option<Tz>) -> Option<i64> {
    let (local, zone_text) = parse_civil(text)?;
    let zone = match zone_text.trim() {
        "" => default,
        "Z" | "z" | "UTC" => return Some(local),
        name => Some(zone(name)?),
    };
    match zone {
        Some(zone) => from_local(local, zone),
        None => Some(local),
    }
}

/// Reads a DATETIME.
pub(super) fn parse_datetime(text: &str) -> Option<i64> {
    parse_civil(text).filter(|(_, zone)| zone.trim().is_empty()).map(|(local, _)| local)
}

/// Reads a DATE; a time after it is dropped, as casts do.
pub(super) fn parse_date(text: &str) -> Option<i64> {
    parse_civil(text).map(|(local, _)| local.div_euclid(DAY) * DAY)
}

/// Reads a TIME.
pub(super) fn parse_time(text: &str) -> Option<i64> {
    let mut rest = text.trim();
    let time = clock(&mut rest)?;
    rest.is_empty().then_some(time)
}

/// Reads `YYYY-[M]M-[D]D[( |T)[H]H:[M]M[:[S]S[.F]]]` and leaves what follows, the zone.
fn parse_civil(text: &str) -> Option<(i64, &str)> {
    let mut rest = text.trim();
    let year = number(&mut rest, 4)?;
    let month = after(&mut rest, '-').then(|| number(&mut rest, 2))??;
    let day = after(&mut rest, '-').then(|| number(&mut rest, 2))??;
    let date = NaiveDate::from_ymd_opt(year.try_into().ok()?, month.try_into().ok()?, day.try_into().ok()?)?;
    let mut local = date_micros(date);
    let mut time = rest;
    if time.starts_with([' ', 'T', 't']) {
        time = &time[1..];
        if time.starts_with(|c: char| c.is_ascii_digit()) {
            local += clock(&mut time)?;
            rest = time;
        }
    }
    Some((local, rest))
}

/// Reads a time of day and moves `rest` behind it.
fn clock(rest: &mut &str) -> Option<i64> {
    let hour = number(rest, 2)?;
    let minute = after(rest, ':').then(|| number(rest, 2))??;
    let second = if after(rest, ':') { number(rest, 2)? } else { 0 };
    let mut fraction = 0;
    if after(rest, '.') {
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        if !(1..=9).contains(&digits) {
            return None;
        }
        fraction = format!("{:0<6.6}", &rest[..digits]).parse().ok()?;
        *rest = &rest[digits..];
    }
    (hour < 24 && minute < 60 && second < 60).then(|| hour * HOUR + minute * MINUTE + second * SECOND + fraction)
}

fn after(rest: &mut &str, mark: char) -> bool {
    rest.strip_prefix(mark).map(|tail| *rest = tail).is_some()
}

fn number(rest: &mut &str, most: usize) -> Option<i64> {
    let digits = rest.bytes().take(most).take_while(u8::is_ascii_digit).count();
    let (number, tail) = rest.split_at(digits);
    *rest = tail;
    number.parse().ok()
}

/// Writes a DATE.
pub(super) fn date_text(point: i64) -> Option<String> {
    Some(civil(point)?.format("%Y-%m-%d").to_string())
}

/// Writes a DATETIME, its fraction in as many groups of three digits as it needs.
pub(super) fn datetime_text(point: i64) -> Option<String> {
    Some(format!("{} {}", date_text(point)?, time_text(point)))
}

/// Writes a TIMESTAMP as of UTC.
pub(super) fn timestamp_text(point: i64) -> Option<String> {
    datetime_text(point).map(|text| text + "+00")
}

/// Writes the time of day.
pub(super) fn time_text(point: i64) -> String {
    let within = point.rem_euclid(DAY);
    let fraction = within % SECOND;
    let digits = match fraction {
        0 => String::new(),
        _ if fraction % 1000 == 0 => format!(".{:03}", fraction / 1000),
        _ => format!(".{fraction:06}"),
    };
    format!("{:02}:{:02}:{:02}{digits}", within / HOUR, within / MINUTE % 60, within / SECOND % 60)
}

/// The civil date and time of chrono's parts, each missing one at its least: 1970-01-01 00:00:00.
pub(super) fn of_parts(parsed: &chrono::format::Parsed) -> Option<i64> {
    if let Some(seconds) = parsed.timestamp() {
        return seconds.checked_mul(SECOND);
    }
    let mut parsed = parsed.clone();
    if parsed.year().is_none() && parsed.year_mod_100().is_none() && parsed.isoyear().is_none() {
        parsed.set_year(1970).ok()?;
    }
    let has_day = parsed.ordinal().is_some() || parsed.isoweek().is_some() || parsed.week_from_sun().is_some();
    if !has_day {
        if parsed.month().is_none() {
            parsed.set_month(1).ok()?;
        }
        if parsed.day().is_none() {
            parsed.set_day(1).ok()?;
        }
    }
    let date = parsed.to_naive_date().ok()?;
    if parsed.hour_mod_12().is_none() {
        parsed.set_hour(0).ok()?;
    }
    if parsed.minute().is_none() {
        parsed.set_minute(0).ok()?;
    }
    let time: NaiveTime = parsed.to_naive_time().ok()?;
    let local = micros(NaiveDateTime::new(date, time));
    Some(local - i64::from(parsed.offset().unwrap_or(0)) * SECOND)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_are_read_in_their_zones_and_written_in_utc() {
        for (text, expected) in [
            ("2024-01-01", "2024-01-01 00:00:00+00"),
            ("2024-01-01T00:00:00Z", "2024-01-01 00:00:00+00"),
            ("2024-1-2 3:04:05.5 UTC", "2024-01-02 03:04:05.500+00"),
            ("2024-01-01 00:00:00.123456789", "2024-01-01 00:00:00.123456+00"),
            ("2024-01-01 00:00+2", "2023-12-31 22:00:00+00"),
            ("2024-01-01 00:00:00-07:30", "2024-01-01 07:30:00+00"),
            ("2024-07-01 00:00:00 America/Los_Angeles", "2024-07-01 07:00:00+00"),
        ] {
            assert_eq!(parse_timestamp(text, None).and_then(timestamp_text).as_deref(), Some(expected), "{text}");
        }
        for text in ["", "2024", "2024-13-01", "2024-01-01 25:00", "2024-01-01 00:00:00 Mars/Base", "x2024-01-01"] {
            assert_eq!(parse_timestamp(text, None), None, "{text}");
        }
        assert_eq!(parse_datetime("2024-01-01 00:00:00Z"), None);
        assert_eq!(parse_time("01:02:03").map(time_text).as_deref(), Some("01:02:03"));
    }

    #[test]
    fn a_gap_and_a_fold_of_local_time_have_one_point_each() {
        let berlin = zone("Europe/Berlin").unwrap();
        let local = |text| from_local(parse_datetime(text).unwrap(), berlin).and_then(timestamp_text).unwrap();
        assert_eq!(local("2024-10-27 02:30:00"), "2024-10-27 00:30:00+00");
        assert_eq!(local("2024-03-31 02:30:00"), "2024-03-31 00:30:00+00");
    }
}
