//! The rules that count: unenrollments, enrollments, conflicts.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;
use weir_plan::Timestamp;
use weir_plan::extent::DAY;

use super::{Judged, real};
use crate::monitoring::figures::{Experiment, ExperimentCounts, FunnelRow};

/// A rate of unenrollment above this is a spike.
const SPIKE: f64 = 0.10;

/// Days after which an experiment should have enrolled somebody.
const DAYS: i64 = 3;

/// Fewer enrollments than this are low.
const ENROLLMENTS: i64 = 1000;

/// A share of conflicts from this is too much.
const CONFLICTS: f64 = 0.25;

/// The reason of clients that a feature of another experiment kept out.
const CONFLICT: &str = "FeatureConflict";

/// The rate of unenrollment, and whether it is a spike.
pub(super) fn of_unenrollment(counts: &ExperimentCounts) -> Vec<Judged> {
    let (enrolled, left) = (counts.total_enrollments, counts.total_unenrollments);
    let rate = if enrolled == 0 { 0.0 } else { real(left) / real(enrolled) };
    let inputs = json!({"total_enrollments": enrolled, "total_unenrollments": left});
    vec![
        Judged::informs("unenrollment_rate", rate, inputs.clone()),
        Judged::of("unenrollment_spike", rate, json!(SPIKE), rate > SPIKE, inputs),
    ]
}

/// Whether few clients enrolled within the first days.
pub(super) fn low_enrollment(experiment: &Experiment, counts: &ExperimentCounts, now: Timestamp) -> Judged {
    let threshold = json!({"days_since_start": DAYS, "total_enrollments": ENROLLMENTS});
    let Some(start) = experiment.start() else {
        return Judged::not_applicable("low_enrollment", threshold, "it has no start date");
    };
    let days = (now.micros() - start.micros()).div_euclid(DAY);
    let enrolled = counts.total_enrollments;
    let inputs = json!({"days_since_start": days, "total_enrollments": enrolled});
    Judged::of("low_enrollment", enrolled, threshold, days >= DAYS && enrolled < ENROLLMENTS, inputs)
}

/// Whether features of other experiments keep clients out.
pub(super) fn feature_conflict(funnel: Option<&[FunnelRow]>) -> Judged {
    let Some(funnel) = funnel else {
        return Judged::not_applicable("feature_conflict", json!(CONFLICTS), "its enrollment funnel is not known");
    };
    let clients = |rows: &mut dyn Iterator<Item = &FunnelRow>| rows.map(|row| row.client_count).sum::<i64>();
    let all = clients(&mut funnel.iter());
    let conflicts = clients(&mut conflicts(funnel));
    let share = if all == 0 { 0.0 } else { real(conflicts) / real(all) };
    let inputs = json!({"clients": all, "conflicts": conflicts, "conflict_slugs": conflict_slugs(funnel)});
    Judged::of("feature_conflict", share, json!(CONFLICTS), share >= CONFLICTS, inputs)
}

fn conflicts(funnel: &[FunnelRow]) -> impl Iterator<Item = &FunnelRow> {
    funnel.iter().filter(|row| row.reason.as_deref() == Some(CONFLICT))
}

/// The experiments that were in the way, each once, sorted.
pub fn conflict_slugs(funnel: &[FunnelRow]) -> Vec<&str> {
    let slugs = conflicts(funnel).filter_map(|row| row.conflict_slug.as_deref()).flat_map(|slugs| slugs.split(','));
    let slugs: BTreeSet<&str> = slugs.map(str::trim).filter(|slug| !slug.is_empty()).collect();
    slugs.into_iter().collect()
}

/// The reason that most clients had.
pub(super) fn of_reasons(counts: &ExperimentCounts) -> Judged {
    let inputs = json!({ "reasons_by_branch": counts.reasons_by_branch });
    Judged::informs("top_unenrollment_reason", top_reason(counts), inputs)
}

/// The reason with most clients over all branches, of equals the first by name; `unknown` without any.
pub fn top_reason(counts: &ExperimentCounts) -> &str {
    let mut sums: BTreeMap<&str, i64> = BTreeMap::new();
    for (reason, count) in counts.reasons_by_branch.values().flatten() {
        *sums.entry(reason).or_default() += count.sampled;
    }
    // `max_by_key` keeps the last of equals.
    sums.into_iter().rev().max_by_key(|(_, sum)| *sum).map_or("unknown", |(reason, _)| reason)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::monitoring::figures::ReasonCount;
    use crate::monitoring::health::{Verdict, health};

    fn at(text: &str) -> Timestamp {
        Timestamp::parse(text, Timestamp::MIN).unwrap()
    }

    fn counted(enrollments: i64, unenrollments: i64) -> ExperimentCounts {
        ExperimentCounts {
            total_enrollments: enrollments,
            total_unenrollments: unenrollments,
            ..ExperimentCounts::default()
        }
    }

    fn verdict(
        rule: &str,
        experiment: &Experiment,
        counts: &ExperimentCounts,
        funnel: Option<&[FunnelRow]>,
    ) -> Verdict {
        let health = health(experiment, Some(counts), funnel, at("2024-03-10T12:00:00Z"));
        health.rules.iter().find(|judged| judged.rule == rule).unwrap().verdict
    }

    #[test]
    fn a_spike_is_a_rate_over_ten_percent() {
        let check = |enrollments, unenrollments, expected| {
            let found =
                verdict("unenrollment_spike", &Experiment::default(), &counted(enrollments, unenrollments), None);
            assert_eq!(found, expected, "{unenrollments} of {enrollments}");
        };
        check(1000, 100, Verdict::Ok);
        check(1000, 101, Verdict::Alert);
        check(0, 0, Verdict::Ok);
        check(0, 5, Verdict::Ok);
    }

    #[test]
    fn low_enrollment_needs_three_days() {
        let check = |start: Option<&str>, enrollments, expected| {
            let experiment =
                Experiment { start_date: start.map(|date| date.parse().unwrap()), ..Experiment::default() };
            let found = verdict("low_enrollment", &experiment, &counted(enrollments, 0), None);
            assert_eq!(found, expected, "{start:?} {enrollments}");
        };
        check(Some("2024-03-07"), 999, Verdict::Alert);
        check(Some("2024-03-07"), 1000, Verdict::Ok);
        check(Some("2024-03-08"), 0, Verdict::Ok);
        check(None, 0, Verdict::NotApplicable);
    }

    fn row(reason: Option<&str>, slugs: Option<&str>, client_count: i64) -> FunnelRow {
        FunnelRow {
            app_name: "firefox_desktop".into(),
            branch: None,
            status: "NotEnrolled".into(),
            reason: reason.map(Into::into),
            conflict_slug: slugs.map(Into::into),
            client_count,
        }
    }

    #[test]
    fn a_quarter_of_clients_in_conflict_is_too_much_and_their_slugs_are_told_once() {
        let conflict = |count| row(Some("FeatureConflict"), Some("b, a,,b"), count);
        let check = |funnel: Option<Vec<FunnelRow>>, expected| {
            let found = verdict("feature_conflict", &Experiment::default(), &counted(0, 0), funnel.as_deref());
            assert_eq!(found, expected, "{funnel:?}");
        };
        check(Some(vec![conflict(25), row(Some("NotTargeted"), Some("c"), 70), row(None, None, 5)]), Verdict::Alert);
        check(Some(vec![conflict(24), row(None, None, 76)]), Verdict::Ok);
        check(Some(vec![]), Verdict::Ok);
        check(None, Verdict::NotApplicable);
        assert_eq!(conflict_slugs(&[conflict(1), row(Some("NotTargeted"), Some("c"), 1)]), ["a", "b"]);
    }

    #[test]
    fn the_top_reason_is_that_of_most_clients_in_all_branches() {
        let mut counts = counted(0, 0);
        assert_eq!(top_reason(&counts), "unknown");
        for (branch, reason, sampled) in [("a", "x", 5), ("a", "y", 4), ("b", "y", 2), ("b", "z", 6)] {
            let of_branch = counts.reasons_by_branch.entry(branch.into()).or_default();
            of_branch.insert(reason.into(), ReasonCount { sampled });
        }
        assert_eq!(top_reason(&counts), "y");
    }
}
