//! Requests of the export API: a JSON body or a query string becomes a [`Query`].

use std::collections::BTreeMap;
use std::time::Duration;

use weir_plan::{CacheControl, CacheMode, Error, Extent, Parameter, Query, Result, Step, Timestamp};

use super::fields::Fields;
use super::format::Format;
use crate::config::{parse_bytes, parse_duration};

/// Every field of a query.
const FIELDS: [&str; 13] = [
    "sql",
    "from",
    "to",
    "step",
    "params",
    "format",
    "source",
    "project",
    "dataset",
    "location",
    "cache",
    "maximumBytesBilled",
    "deadline",
];

/// A decoded request for an answer.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) query: Query,
    /// The source's name.
    pub(super) source: Option<String>,
    /// The format, where the request names one.
    pub(super) format: Option<Format>,
}

impl Request {
    /// Decodes a JSON body; relative times count from `now`.
    ///
    /// # Errors
    /// `InvalidQuery` naming the field.
    pub(super) fn from_json(body: &[u8], now: Timestamp) -> Result<Self> {
        Self::decode(Fields::from_json(body, &FIELDS)?, now)
    }

    /// Decodes a query string; relative times count from `now`.
    ///
    /// # Errors
    /// `InvalidQuery` naming the field.
    pub(super) fn from_query_string(text: &str, now: Timestamp) -> Result<Self> {
        Self::decode(Fields::from_query_string(text, &FIELDS)?, now)
    }

    fn decode(mut fields: Fields, now: Timestamp) -> Result<Self> {
        let sql = fields.text("sql")?.filter(|sql| !sql.trim().is_empty());
        let sql = sql.ok_or_else(|| Error::invalid("sql is missing; give the text of a SELECT"))?;
        let mut query = Query::new(sql);
        query.range = range(&mut fields, now)?;
        query.step = fields.parsed("step", str::parse::<Step>)?;
        query.parameters = parameters(&mut fields)?;
        query.default_dataset = default_dataset(&mut fields)?;
        query.location = fields.text("location")?;
        query.maximum_bytes_billed = fields.parsed("maximumBytesBilled", parse_bytes)?;
        query.deadline = fields.parsed("deadline", parse_duration)?;
        if query.deadline.is_some_and(|deadline| deadline > Query::LONGEST_DEADLINE) {
            return Err(fields.wrong("deadline", format!("at most {} s", Query::LONGEST_DEADLINE.as_secs())));
        }
        query.cache = cache(&mut fields)?;
        query.labels.insert("weir_door".to_owned(), "export".to_owned());
        let format = fields.parsed("format", Format::parse)?;
        Ok(Self { query, source: fields.text("source")?, format })
    }
}

/// The range: `to` is now where only `from` is given.
fn range(fields: &mut Fields, now: Timestamp) -> Result<Option<Extent>> {
    let from = fields.parsed("from", |text| Timestamp::parse(text, now))?;
    let to = fields.parsed("to", |text| Timestamp::parse(text, now))?;
    match (from, to) {
        (None, None) => Ok(None),
        (None, Some(_)) => Err(fields.wrong("from", "missing, while to is given; give both or neither")),
        (Some(from), to) => {
            let to = to.unwrap_or(now);
            if from > to {
                return Err(fields.wrong("from", format!("{from} is after to, {to}")));
            }
            Extent::new(from, to).map(Some)
        }
    }
}

fn parameters(fields: &mut Fields) -> Result<BTreeMap<String, Parameter>> {
    let parameters = fields.objects("params", &["type", "value"])?.into_iter().map(|(name, mut parameter)| {
        let mut letters = name.chars();
        let starts = letters.next().is_some_and(|letter| letter.is_ascii_alphabetic() || letter == '_');
        if !starts || !letters.all(|letter| letter.is_ascii_alphanumeric() || letter == '_') {
            return Err(fields.wrong("params", format!("{name:?} is not a name of letters, digits and underscores")));
        }
        let type_name = parameter.text("type")?.filter(|type_name| !type_name.trim().is_empty());
        let type_name =
            type_name.ok_or_else(|| parameter.wrong("type", "missing; give a type such as STRING or INT64"))?;
        let value =
            parameter.value("value").ok_or_else(|| parameter.wrong("value", "missing; null stands for NULL"))?;
        Ok((name, Parameter { type_name, value }))
    });
    parameters.collect()
}

/// `dataset`, or `project.dataset` where the project is given too.
fn default_dataset(fields: &mut Fields) -> Result<Option<String>> {
    match (fields.text("project")?, fields.text("dataset")?) {
        (None, dataset) => Ok(dataset),
        (Some(_), None) => Err(fields.wrong("project", "stands for the project of dataset, which is missing")),
        (Some(project), Some(dataset)) if dataset.contains('.') => {
            Err(fields.wrong("project", format!("{project:?} given, and dataset {dataset:?} names one too")))
        }
        (Some(project), Some(dataset)) => Ok(Some(format!("{project}.{dataset}"))),
    }
}

fn cache(fields: &mut Fields) -> Result<CacheControl> {
    let mut cache = fields.object("cache", &["mode", "maxStalenessMs"])?;
    let mode = cache.parsed("mode", |mode| match mode {
        "auto" => Ok(CacheMode::Auto),
        "whole" => Ok(CacheMode::Whole),
        "off" => Ok(CacheMode::Off),
        other => Err(Error::invalid(format!("{other:?} is none of auto, whole, off"))),
    })?;
    let max_stale = cache.parsed("maxStalenessMs", |millis| {
        let millis = millis.parse::<u64>().ok().filter(|millis| *millis <= 1_000_000_000_000);
        millis.map(Duration::from_millis).ok_or_else(|| Error::invalid("not a number of milliseconds"))
    })?;
    Ok(CacheControl { mode: mode.unwrap_or_default(), max_stale, ..CacheControl::default() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn now() -> Timestamp {
        Timestamp::parse("2024-01-01T12:00:00Z", Timestamp::MIN).unwrap()
    }

    fn decode(body: &str) -> Result<Request> {
        Request::from_json(body.as_bytes(), now())
    }

    #[test]
    fn a_full_body_and_its_query_string_mean_the_same() {
        let body = json!({
            "sql": "SELECT $__timeFrom()", "from": "2024-01-01T00:00:00Z", "to": 1_704_110_400_000_i64, "step": "5m",
            "params": {"branch": {"type": "STRING", "value": "control"}}, "format": "ndjson", "source": "prod",
            "project": "p", "dataset": "d", "location": "EU", "cache": {"mode": "off", "maxStalenessMs": 5000},
            "maximumBytesBilled": 1_048_576, "deadline": "10s",
        });
        let posted = decode(&body.to_string()).unwrap();
        let text = "sql=SELECT%20$__timeFrom()&from=2024-01-01T00:00:00Z&to=1704110400000&step=5m&\
            params=%7B%22branch%22:%7B%22type%22:%22STRING%22,%22value%22:%22control%22%7D%7D&format=ndjson&source=prod\
            &project=p&dataset=d&location=EU&cache.mode=off&cache.maxStalenessMs=5000&maximumBytesBilled=1MiB&deadline=10s";
        let got = Request::from_query_string(text, now()).unwrap();
        assert_eq!(posted.query, got.query);
        assert_eq!((posted.source.as_deref(), posted.format), (got.source.as_deref(), got.format));
        let query = posted.query;
        assert_eq!(query.range.unwrap().to_string(), "[2024-01-01T00:00:00Z, 2024-01-01T12:00:00Z)");
        assert_eq!(query.step.unwrap().to_string(), "5m");
        assert_eq!(query.parameters["branch"].value, json!("control"));
        assert_eq!(query.default_dataset.as_deref(), Some("p.d"));
        assert_eq!(query.cache.mode, CacheMode::Off);
        assert_eq!(query.cache.max_stale, Some(Duration::from_secs(5)));
        assert_eq!(query.maximum_bytes_billed, Some(1 << 20));
        assert_eq!(query.deadline, Some(Duration::from_secs(10)));
    }

    #[test]
    fn times_are_rfc_3339_epoch_milliseconds_or_relative_and_to_is_now_where_it_is_missing() {
        let check = |from: &str, to: &str, expected: &str| {
            let request = decode(&format!(r#"{{"sql": "SELECT 1", "from": {from}, "to": {to}}}"#)).unwrap();
            assert_eq!(request.query.range.unwrap().to_string(), expected, "{from} {to}");
        };
        check(r#""now-6h""#, r#""now""#, "[2024-01-01T06:00:00Z, 2024-01-01T12:00:00Z)");
        check("1704067200000", r#""1704070800000""#, "[2024-01-01T00:00:00Z, 2024-01-01T01:00:00Z)");
        check(r#""2024-01-01T01:00:00+01:00""#, "null", "[2024-01-01T00:00:00Z, 2024-01-01T12:00:00Z)");
        assert_eq!(decode(r#"{"sql": "SELECT 1"}"#).unwrap().query.range, None);
    }

    #[test]
    fn bad_input_is_named() {
        let check = |body: &str, expected: &str| {
            let error = decode(body).unwrap_err();
            assert_eq!(error.kind(), weir_plan::Kind::InvalidQuery, "{body}");
            assert!(error.message().contains(expected), "{body}: {error}");
        };
        check("", "not JSON");
        check("{", "line 1 column 1");
        check("[]", "the body is an array, not an object");
        check("{}", "sql is missing");
        check(r#"{"sql": "  "}"#, "sql is missing");
        check(r#"{"sql": 1}"#, "sql: a number is not a text");
        check(r#"{"sql": "SELECT 1", "fromat": "json"}"#, "unknown field fromat; did you mean format?");
        check(r#"{"sql": "SELECT 1", "zzz": 1}"#, "unknown field zzz; the fields are sql, from,");
        check(r#"{"sql": "SELECT 1", "from": "yesterday"}"#, "from: \"yesterday\" is not a time");
        check(r#"{"sql": "SELECT 1", "from": 1.5}"#, "from: a number is neither");
        check(r#"{"sql": "SELECT 1", "from": 99999999999999999}"#, "from: time 99999999999999999 ms");
        check(r#"{"sql": "SELECT 1", "to": "now"}"#, "from: missing");
        check(r#"{"sql": "SELECT 1", "from": "now", "to": "now-1h"}"#, "from: 2024-01-01T12:00:00Z is after to");
        check(r#"{"sql": "SELECT 1", "step": "5"}"#, "step: interval \"5\"");
        check(r#"{"sql": "SELECT 1", "params": []}"#, "params: an array is not an object");
        check(r#"{"sql": "SELECT 1", "params": {"a": 1}}"#, "params.a is a number, not an object");
        check(r#"{"sql": "SELECT 1", "params": {"a": {"type": "INT64"}}}"#, "params.a.value: missing");
        check(r#"{"sql": "SELECT 1", "params": {"a": {"value": 1}}}"#, "params.a.type: missing");
        check(r#"{"sql": "SELECT 1", "params": {"a": {"typ": "X", "value": 1}}}"#, "did you mean params.a.type?");
        check(r#"{"sql": "SELECT 1", "params": {"a b": {"type": "INT64", "value": 1}}}"#, "params: \"a b\"");
        check(r#"{"sql": "SELECT 1", "project": "p"}"#, "project: ");
        check(r#"{"sql": "SELECT 1", "cache": {"mode": "on"}}"#, "cache.mode: \"on\" is none of auto, whole, off");
        check(r#"{"sql": "SELECT 1", "cache": {"max_staleness_ms": 1}}"#, "did you mean cache.maxStalenessMs?");
        check(r#"{"sql": "SELECT 1", "cache": {"maxStalenessMs": -1}}"#, "cache.maxStalenessMs: not a number");
        check(r#"{"sql": "SELECT 1", "maximumBytesBilled": "much"}"#, "maximumBytesBilled: ");
        check(r#"{"sql": "SELECT 1", "deadline": "2h"}"#, "deadline: at most 3600 s");
        check(r#"{"sql": "SELECT 1", "format": "xml"}"#, "format: format \"xml\" is none of");
        let error = Request::from_query_string("sql=a&sql=b", now()).unwrap_err();
        assert_eq!(error.message(), "sql is given twice");
    }
}
