//! Amounts as people write them: `512MiB`, `90s`.

use std::time::Duration;

use weir_plan::{Error, Query, Result, Step};

/// Units of bytes, as letters before the `B`.
const UNITS: [(&str, u32); 5] = [("", 0), ("K", 10), ("M", 20), ("G", 30), ("T", 40)];

/// Reads a number of bytes: `1048576`, `512MiB`, `2GB` (powers of 1000 without the `i`).
///
/// # Errors
/// `InvalidQuery`, naming the text and the form.
pub fn parse_bytes(text: &str) -> Result<u64> {
    let wrong =
        || Error::invalid(format!("{text:?} is not a number of bytes; write 1048576, 512MiB or 2GiB, for example"));
    let trimmed = text.trim();
    let digits = trimmed.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(trimmed.len());
    let (number, unit) = trimmed.split_at(digits);
    let number: u64 = number.parse().map_err(|_| wrong())?;
    let unit = unit.trim_start().to_ascii_uppercase();
    let unit = unit.strip_suffix('B').unwrap_or(&unit);
    let (prefix, binary) = unit.strip_suffix('I').map_or((unit, false), |prefix| (prefix, true));
    let (_, shift) = UNITS.into_iter().find(|(name, _)| *name == prefix).ok_or_else(wrong)?;
    let factor = match binary {
        true if shift == 0 => return Err(wrong()),
        true => 1_u64 << shift,
        false => 1000_u64.pow(shift / 10),
    };
    number.checked_mul(factor).ok_or_else(wrong)
}

/// Reads a duration: `500ms`, `60s`, `5m`, `1h`.
///
/// # Errors
/// `InvalidQuery`, naming the text and the form.
pub fn parse_duration(text: &str) -> Result<Duration> {
    match text.parse() {
        Ok(Step::Micros(micros)) => Ok(Duration::from_micros(micros.unsigned_abs())),
        _ => Err(Error::invalid(format!("{text:?} is not a duration; write 500ms, 60s, 5m or 1h, for example"))),
    }
}

/// Reads how long callers wait: a duration of at most [`Query::LONGEST_DEADLINE`].
///
/// # Errors
/// `InvalidQuery`, naming the text and the limit.
pub fn parse_deadline(text: &str) -> Result<Duration> {
    match parse_duration(text)? {
        deadline if deadline > Query::LONGEST_DEADLINE => {
            Err(Error::invalid(format!("{text:?} is too long; give at most 1h")))
        }
        deadline => Ok(deadline),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_plain_or_in_units_of_1024_or_1000() {
        let check = |text: &str, expected: u64| assert_eq!(parse_bytes(text).unwrap(), expected, "{text}");
        check("0", 0);
        check("1048576", 1 << 20);
        check("512MiB", 512 << 20);
        check("2 GiB", 2 << 30);
        check("2GB", 2_000_000_000);
        check("10k", 10_000);
        check("7B", 7);
        for text in ["", "MiB", "-1", "1.5GiB", "1iB", "1XB", "99999999999TiB"] {
            assert!(parse_bytes(text).is_err(), "{text}");
        }
    }

    #[test]
    fn nobody_waits_for_more_than_an_hour() {
        assert_eq!(parse_deadline("1h").unwrap(), Query::LONGEST_DEADLINE);
        assert!(parse_deadline("61m").unwrap_err().message().contains("\"61m\""));
    }

    #[test]
    fn durations_have_a_unit() {
        assert_eq!(parse_duration("90s").unwrap(), Duration::from_secs(90));
        assert_eq!(parse_duration("250ms").unwrap(), Duration::from_millis(250));
        for text in ["", "60", "0s", "1M", "soon"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }
}
