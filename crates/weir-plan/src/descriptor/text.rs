//! Durations and table names as configuration writes them: `5m`, `project.dataset.table`.

use std::time::Duration;

use crate::error::{Error, Result};
use crate::extent::{DAY, HOUR, MINUTE, SECOND, Step};

/// Reads `0s`, `90s`, `5m`, `1h`, `1d`, `1w`.
fn parse_duration(text: &str) -> Result<Duration> {
    let trimmed = text.trim();
    let unit = trimmed.trim_start_matches('0');
    if unit != trimmed && matches!(unit, "ms" | "s" | "m" | "h" | "d") {
        return Ok(Duration::ZERO);
    }
    match trimmed.parse() {
        Ok(Step::Micros(micros)) => Ok(Duration::from_micros(micros.unsigned_abs())),
        _ => Err(Error::invalid(format!("{text:?} is not a duration; write 90s, 5m, 1h or 1d, for example"))),
    }
}

fn duration_text(duration: Duration) -> String {
    let micros = i64::try_from(duration.as_micros()).unwrap_or(i64::MAX);
    let units = [(DAY, "d"), (HOUR, "h"), (MINUTE, "m"), (SECOND, "s")];
    match units.into_iter().find(|(unit, _)| micros % unit == 0) {
        _ if micros == 0 => "0s".to_owned(),
        Some((unit, name)) => format!("{}{name}", micros / unit),
        None => format!("{}ms", micros / 1000),
    }
}

/// A duration as text.
pub(crate) mod duration {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer, de};

    pub(crate) fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&super::duration_text(*duration))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        let text = String::deserialize(deserializer)?;
        super::parse_duration(&text).map_err(|error| de::Error::custom(error.message()))
    }
}

/// A table's name as text.
pub(crate) mod table {
    use serde::{Deserialize, Deserializer, Serializer, de};

    use crate::query::TableId;

    pub(crate) fn serialize<S: Serializer>(table: &TableId, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(table)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<TableId, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(|error: crate::Error| de::Error::custom(error.message()))
    }
}

/// A table's name as text, where there is one.
pub(crate) mod optional_table {
    use serde::{Deserializer, Serializer};

    use crate::query::TableId;

    #[expect(clippy::ref_option, reason = "serde's signature")]
    pub(crate) fn serialize<S: Serializer>(table: &Option<TableId>, serializer: S) -> Result<S::Ok, S::Error> {
        match table {
            Some(table) => serializer.collect_str(table),
            None => serializer.serialize_none(),
        }
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<TableId>, D::Error> {
        super::table::deserialize(deserializer).map(Some)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_and_written_in_the_largest_unit_that_fits() {
        for (text, millis, written) in [
            ("0s", 0, "0s"),
            ("00m", 0, "0s"),
            ("90s", 90_000, "90s"),
            (" 5m ", 300_000, "5m"),
            ("05m", 300_000, "5m"),
            ("60m", 3_600_000, "1h"),
            ("1w", 604_800_000, "7d"),
            ("250ms", 250, "250ms"),
        ] {
            let duration = parse_duration(text).unwrap();
            assert_eq!((duration, &*duration_text(duration)), (Duration::from_millis(millis), written), "{text}");
        }
        for text in ["0", "s", "", "5", "-5m", "1M", "0x"] {
            assert!(parse_duration(text).unwrap_err().message().contains("is not a duration"), "{text}");
        }
    }
}
