//! The documents that Experimenter reads once a day: all-time counts and the enrollment funnel, and when
//! they are due.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use chrono::{NaiveDate, NaiveTime};
use serde::Serialize;
use weir_plan::{Error, Result, Timestamp};

use super::object::{Media, Object};
use crate::monitoring::figures::{Counts, FunnelRow};

/// Their folder.
pub(super) const FOLDER: &str = "enrollment_counts";

/// The file of counts that is replaced each day.
pub(super) const LATEST: &str = "enrollment_counts_latest.json";

/// What of the daily documents is to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// They are there, and today's are written or not due yet.
    Nothing,
    /// There are none at all, and it is too early for today's.
    Latest,
    /// Today's.
    Today(NaiveDate),
}

impl Due {
    /// What is due at `now`, if today's are due at `at`.
    pub(super) fn of(now: Timestamp, at: NaiveTime, has: impl Fn(&str) -> bool) -> Self {
        let today = now.date();
        if now.datetime().time() >= at && !has(&dated(today)) {
            return Self::Today(today);
        }
        if has(LATEST) { Self::Nothing } else { Self::Latest }
    }
}

fn dated(day: NaiveDate) -> String {
    format!("enrollment_counts_{day}.json")
}

/// `generated_at` is no part of `v1`: Experimenter writes a line of its change log for each key of a
/// slug that has changed.
#[derive(Serialize)]
struct Document<'a, T> {
    v1: &'a BTreeMap<Arc<str>, T>,
    #[serde(skip_serializing_if = "Option::is_none")]
    generated_at: Option<String>,
}

fn json<T: Serialize>(v1: &BTreeMap<Arc<str>, T>, generated_at: Option<Timestamp>) -> Result<Bytes> {
    let document = Document { v1, generated_at: generated_at.map(Timestamp::iso_millis) };
    let bytes = serde_json::to_vec(&document);
    bytes.map(Bytes::from).map_err(|error| Error::internal("a document cannot be written").with_source(error))
}

/// The counts, and their dated copy; in this order, since the copy says that the day is done.
///
/// # Errors
/// None that can happen.
pub(super) fn counts(counts: &Counts, day: Option<NaiveDate>) -> Result<Vec<Object>> {
    let bytes = json(&counts.by_slug, Some(counts.as_of))?;
    let mut objects = vec![Object::new(FOLDER, LATEST, Media::JSON, bytes.clone())];
    objects.extend(day.map(|day| Object::new(FOLDER, &dated(day), Media::DATED_JSON, bytes)));
    Ok(objects)
}

/// The funnel.
///
/// # Errors
/// None that can happen.
pub(super) fn funnel(by_slug: &BTreeMap<Arc<str>, Vec<FunnelRow>>) -> Result<Object> {
    Ok(Object::new(FOLDER, "enrollment_funnel_v1_latest.json", Media::JSON, json(by_slug, None)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::monitoring::figures::{BranchCounts, ExperimentCounts};

    fn at(text: &str) -> Timestamp {
        Timestamp::parse(text, Timestamp::MIN).unwrap()
    }

    #[test]
    fn todays_counts_are_due_once_a_day_from_an_hour_on() {
        let five = NaiveTime::from_hms_opt(5, 0, 0).unwrap();
        let check = |now: &str, there: &[&str], expected: Due| {
            assert_eq!(Due::of(at(now), five, |file| there.contains(&file)), expected, "{now} {there:?}");
        };
        let today = Due::Today(NaiveDate::from_ymd_opt(2024, 3, 2).unwrap());
        let (first, second) = ("enrollment_counts_2024-03-01.json", "enrollment_counts_2024-03-02.json");
        check("2024-03-02T04:59:59Z", &[], Due::Latest);
        check("2024-03-02T04:59:59Z", &[LATEST, first], Due::Nothing);
        check("2024-03-02T05:00:00Z", &[LATEST, first], today);
        check("2024-03-02T23:55:00Z", &[LATEST], today);
        check("2024-03-02T05:05:00Z", &[LATEST, second], Due::Nothing);
        check("2024-03-02T05:05:00Z", &[second], Due::Latest);
    }

    #[test]
    fn the_time_is_outside_of_what_experimenter_compares() {
        let branches = BTreeMap::from([("control".into(), BranchCounts { enrollments: 7, unenrollments: 1 })]);
        let experiment =
            ExperimentCounts { total_enrollments: 7, total_unenrollments: 1, branches, ..ExperimentCounts::default() };
        let found =
            Counts { by_slug: BTreeMap::from([("some-slug".into(), experiment)]), as_of: at("2024-03-02T05:00:00Z") };
        let objects = counts(&found, NaiveDate::from_ymd_opt(2024, 3, 2)).unwrap();
        let names: Vec<&str> = objects.iter().map(|object| object.name.as_ref()).collect();
        assert_eq!(
            names,
            ["enrollment_counts/enrollment_counts_latest.json", "enrollment_counts/enrollment_counts_2024-03-02.json"]
        );
        let expected = r#"{"v1":{"some-slug":{"total_enrollments":7,"total_unenrollments":1,"branches":{"control":{"enrollments":7,"unenrollments":1}},"unenrollment_reasons":{}}},"generated_at":"2024-03-02T05:00:00.000Z"}"#;
        assert!(objects.iter().all(|object| object.bytes == expected), "{:?}", objects[0].bytes);
    }

    #[test]
    fn a_funnel_of_nobody_is_an_envelope() {
        assert_eq!(funnel(&BTreeMap::new()).unwrap().bytes, r#"{"v1":{}}"#);
    }
}
