//! A series as the rows of a file, newest first.
//!
//! Source of the exporter's form: the contract of its files, times as BigQuery's JSON export writes them
//! and INT64 as text.

use bytes::Bytes;
use serde::Serialize;
use weir_plan::{Error, Result, Timestamp};

use super::Form;
use crate::monitoring::figures::{Granularity, Point, Series};

#[derive(Serialize)]
struct Row<'a> {
    time: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    branch: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    event: Option<&'a str>,
    value: Value,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Value {
    Number(i64),
    Text(String),
}

/// The rows as a JSON array; `[]` where there are none.
///
/// # Errors
/// None that can happen.
pub(super) fn json(series: &Series, form: Form) -> Result<Bytes> {
    let rows: Vec<Row<'_>> = newest_first(&series.points).map(|point| row(point, series.granularity, form)).collect();
    let bytes = serde_json::to_vec(&rows);
    bytes.map(Bytes::from).map_err(|error| Error::internal("rows cannot be written").with_source(error))
}

/// Times from the newest to the oldest, the branches of one time in their order.
fn newest_first(points: &[Point]) -> impl Iterator<Item = &Point> {
    points.chunk_by(|a, b| a.time == b.time).rev().flatten()
}

fn row(point: &Point, granularity: Granularity, form: Form) -> Row<'_> {
    let (branch, event) = (point.branch.as_deref(), point.split.as_deref());
    match form {
        Form::Plain => {
            let time = point.time.datetime().format("%Y-%m-%dT%H:%M:%SZ").to_string();
            Row { time, branch, event, value: Value::Number(point.value) }
        }
        Form::Exporter => {
            let time = label(point.time, granularity).datetime().format("%Y-%m-%d %H:%M:%S UTC").to_string();
            Row { time, branch, event, value: Value::Text(point.value.to_string()) }
        }
    }
}

/// The exporter labels half hours with their end.
fn label(start: Timestamp, granularity: Granularity) -> Timestamp {
    match granularity {
        Granularity::HalfHour => Timestamp::saturating(start.micros() + granularity.micros()),
        _ => start,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(granularity: Granularity, points: &[(&str, Option<&str>, Option<&str>, i64)]) -> Series {
        let at = |text: &str| Timestamp::parse(text, Timestamp::MIN).unwrap();
        let point = |(time, branch, split, value): &(&str, Option<&str>, Option<&str>, i64)| Point {
            time: at(time),
            branch: branch.map(Into::into),
            split: split.map(Into::into),
            value: *value,
        };
        Series {
            dataset: "d".into(),
            experiment: "e".into(),
            granularity,
            points: points.iter().map(point).collect(),
            as_of: Timestamp::MIN,
        }
    }

    fn check(series: &Series, form: Form, expected: &str) {
        assert_eq!(json(series, form).unwrap(), expected.as_bytes());
    }

    #[test]
    fn rows_are_newest_first_with_numbers_and_bucket_starts() {
        let two = series(
            Granularity::FiveMinutes,
            &[
                ("2021-03-02T17:20:00Z", Some("control"), None, 42),
                ("2021-03-02T17:20:00Z", Some("treatment"), None, 41),
                ("2021-03-02T17:25:00Z", Some("control"), None, 9_007_199_254_740_993),
            ],
        );
        check(
            &two,
            Form::Plain,
            r#"[{"time":"2021-03-02T17:25:00Z","branch":"control","value":9007199254740993},{"time":"2021-03-02T17:20:00Z","branch":"control","value":42},{"time":"2021-03-02T17:20:00Z","branch":"treatment","value":41}]"#,
        );
    }

    #[test]
    fn the_exporters_form_has_text_and_the_ends_of_half_hours() {
        let total = |granularity| series(granularity, &[("2021-03-02T17:00:00Z", None, None, 84)]);
        let five = r#"[{"time":"2021-03-02 17:00:00 UTC","value":"84"}]"#;
        check(&total(Granularity::FiveMinutes), Form::Exporter, five);
        let half = r#"[{"time":"2021-03-02 17:30:00 UTC","value":"84"}]"#;
        check(&total(Granularity::HalfHour), Form::Exporter, half);
        let day = r#"[{"time":"2021-03-02 17:00:00 UTC","value":"84"}]"#;
        check(&total(Granularity::Day), Form::Exporter, day);
    }

    #[test]
    fn no_rows_are_an_empty_array() {
        check(&series(Granularity::Day, &[]), Form::Plain, "[]");
        check(&series(Granularity::Day, &[]), Form::Exporter, "[]");
    }

    #[test]
    fn an_event_has_its_key() {
        let one = series(Granularity::Hour, &[("2021-03-02T17:00:00Z", Some("a"), Some("graduated"), 1)]);
        let expected = r#"[{"time":"2021-03-02T17:00:00Z","branch":"a","event":"graduated","value":1}]"#;
        check(&one, Form::Plain, expected);
    }
}
