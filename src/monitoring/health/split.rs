//! Sample ratio mismatch: whether branches have the shares that their ratios promise.

use serde_json::json;
use statrs::distribution::{ChiSquared, ContinuousCDF as _};

use super::{Judged, real};
use crate::monitoring::figures::{Experiment, ExperimentBranch, ExperimentCounts};

/// Below this a split is unlikely to be chance.
const P_VALUE: f64 = 0.001;

/// Below this a deviation is too small to matter.
const DEVIATION: f64 = 0.05;

/// The three rules of the split.
pub(super) fn of_split(experiment: &Experiment, counts: &ExperimentCounts) -> Vec<Judged> {
    let branches = &experiment.branches;
    let enrollments: Vec<i64> = branches
        .iter()
        .map(|branch| counts.branches.get(&branch.slug).map_or(0, |counts| counts.enrollments))
        .collect();
    let weights = weights(branches);
    let (p_value, deviation) = (p_value(&enrollments, &weights), deviation(&enrollments, &weights));
    let observed: Vec<_> = branches
        .iter()
        .zip(&enrollments)
        .map(|(branch, count)| json!({"branch": branch.slug, "ratio": branch.ratio, "enrollments": count}))
        .collect();
    let inputs = json!({ "branches": observed });
    let threshold = json!({"srm_p_value": P_VALUE, "max_ratio_deviation": DEVIATION});
    let mismatch = if experiment.is_rollout {
        Judged::not_applicable("srm_mismatch", threshold, "a rollout has no split")
    } else {
        let alerts = branches.len() >= 2 && p_value < P_VALUE && deviation >= DEVIATION;
        let found = json!({"srm_p_value": p_value, "max_ratio_deviation": deviation, "branches": branches.len()});
        Judged::of("srm_mismatch", alerts, threshold, alerts, found)
    };
    vec![
        Judged::informs("srm_p_value", p_value, inputs.clone()),
        Judged::informs("max_ratio_deviation", deviation, inputs),
        mismatch,
    ]
}

/// The ratios, if every branch has one; else an equal split.
fn weights(branches: &[ExperimentBranch]) -> Vec<f64> {
    let ratios: Option<Vec<f64>> = branches.iter().map(|branch| branch.ratio.map(real)).collect();
    let ratios = ratios.filter(|ratios| ratios.iter().sum::<f64>() > 0.0 && ratios.iter().all(|ratio| *ratio >= 0.0));
    ratios.unwrap_or_else(|| vec![1.0; branches.len()])
}

/// The p-value of Pearson's chi-square test of counts against weights; 1 where there is nothing to
/// compare.
pub fn p_value(counts: &[i64], weights: &[f64]) -> f64 {
    let (total, all) = (real(counts.iter().sum()), weights.iter().sum::<f64>());
    if counts.len() < 2 || total <= 0.0 || all <= 0.0 {
        return 1.0;
    }
    let summand = |(count, weight): (&i64, &f64)| {
        let expected = total * weight / all;
        let deviation = real(*count) - expected;
        // A branch that should have nobody, and has, is a mismatch for certain.
        if deviation == 0.0 { 0.0 } else { deviation * deviation / expected }
    };
    let statistic: f64 = counts.iter().zip(weights).map(summand).sum();
    let freedom = u32::try_from(counts.len() - 1).map_or(f64::INFINITY, f64::from);
    if statistic.is_infinite() {
        return 0.0;
    }
    ChiSquared::new(freedom).map_or(1.0, |distribution| distribution.sf(statistic))
}

/// The greatest difference between a branch's share and the one that its weight promises; 0 for less
/// than two branches, or nobody.
pub fn deviation(counts: &[i64], weights: &[f64]) -> f64 {
    let (total, all) = (real(counts.iter().sum()), weights.iter().sum::<f64>());
    if counts.len() < 2 || total <= 0.0 || all <= 0.0 {
        return 0.0;
    }
    let shares = counts.iter().zip(weights).map(|(count, weight)| (real(*count) / total - weight / all).abs());
    shares.fold(0.0, f64::max)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::monitoring::figures::BranchCounts;
    use crate::monitoring::health::{Verdict, health};
    use weir_plan::Timestamp;

    fn experiment(branches: &[(i64, Option<i64>)]) -> (Experiment, ExperimentCounts) {
        let (mut experiment, mut counts) = (Experiment::default(), ExperimentCounts::default());
        for (at, (enrollments, ratio)) in branches.iter().enumerate() {
            let slug: std::sync::Arc<str> = format!("branch-{at}").into();
            experiment.branches.push(ExperimentBranch { slug: std::sync::Arc::clone(&slug), ratio: *ratio });
            counts.branches.insert(slug, BranchCounts { enrollments: *enrollments, unenrollments: 0 });
            counts.total_enrollments += enrollments;
        }
        (experiment, counts)
    }

    /// The p-value and whether the split is judged to be broken.
    fn judged(branches: &[(i64, Option<i64>)], is_rollout: bool) -> (f64, Verdict) {
        let (mut experiment, counts) = experiment(branches);
        experiment.is_rollout = is_rollout;
        let health = health(&experiment, Some(&counts), None, Timestamp::MIN);
        let rule = |name: &str| health.rules.iter().find(|rule| rule.rule == name).unwrap();
        (rule("srm_p_value").value.as_f64().unwrap(), rule("srm_mismatch").verdict)
    }

    fn check(counts: &[i64], ratios: &[i64], p_value: f64, is_mismatch: bool) {
        let branches: Vec<_> = counts.iter().zip(ratios).map(|(count, ratio)| (*count, Some(*ratio))).collect();
        let (found, verdict) = judged(&branches, false);
        // Half a unit of the fourth digit, which is the last one there.
        assert!((found - p_value).abs() <= p_value * 2.5e-4, "{counts:?}: {found:e}, not {p_value:e}");
        assert_eq!(verdict, if is_mismatch { Verdict::Alert } else { Verdict::Ok }, "{counts:?}");
    }

    #[test]
    fn splits_are_judged_as_experimenter_judges_them() {
        check(&[7500, 7500], &[1, 1], 1.0, false);
        check(&[900, 100], &[1, 1], 3.3415e-141, true);
        check(&[5200, 4800], &[1, 1], 6.334e-05, false);
        check(&[11000, 9000], &[1, 1], 2.088e-45, true);
        check(&[55, 45], &[1, 1], 0.3173, false);
        check(&[1000, 1000, 1300], &[1, 1, 1], 1.4309e-12, true);
        check(&[850_000, 150_000], &[95, 5], 0.0, true);
        check(&[500], &[1], 1.0, false);
        check(&[0, 0], &[1, 1], 1.0, false);
        check(&[], &[], 1.0, false);
    }

    #[test]
    fn p_values_are_those_of_scipy() {
        // scipy.stats.chisquare, 1.17.1.
        let check = |counts: &[i64], weights: &[f64], expected: f64| {
            let found = p_value(counts, weights);
            assert!((found - expected).abs() <= expected * 1e-9, "{counts:?}: {found:e}, not {expected:e}");
        };
        check(&[900, 100], &[1.0, 1.0], 3.341_488_038_641_387_3e-141);
        check(&[5200, 4800], &[1.0, 1.0], 6.334_248_366_623_988e-5);
        check(&[11_000, 9000], &[1.0, 1.0], 2.088_487_583_762_568_8e-45);
        check(&[55, 45], &[1.0, 1.0], 0.317_310_507_862_911_15);
        check(&[1000, 1000, 1300], &[1.0, 1.0, 1.0], 1.430_886_014_839_122_9e-12);
        check(&[310, 290, 305, 280, 330], &[1.0; 5], 0.299_356_360_261_146_2);
        check(&[9400, 610], &[95.0, 5.0], 5.121_764_191_010_21e-7);
        check(&[10, 20, 30, 40, 50, 60], &[1.0, 2.0, 3.0, 4.0, 5.0, 7.0], 0.960_902_974_791_230_5);
    }

    #[test]
    fn without_the_ratio_of_every_branch_the_split_is_equal() {
        assert_eq!(judged(&[(900, Some(9)), (100, Some(1))], false).1, Verdict::Ok);
        assert_eq!(judged(&[(900, Some(9)), (100, None)], false).1, Verdict::Alert);
        assert_eq!(judged(&[(900, Some(0)), (100, Some(0))], false).1, Verdict::Alert);
        assert_eq!(judged(&[(900, Some(1)), (100, Some(0))], false), (0.0, Verdict::Alert));
    }

    #[test]
    fn a_rollout_has_no_split_to_judge() {
        assert_eq!(judged(&[(900, Some(1)), (100, Some(1))], true).1, Verdict::NotApplicable);
    }

    #[test]
    fn a_deviation_of_exactly_five_percent_is_a_mismatch() {
        assert!((deviation(&[5500, 4500], &[1.0, 1.0]) - 0.05).abs() < 1e-12);
        assert_eq!(judged(&[(55_100, Some(1)), (44_900, Some(1))], false).1, Verdict::Alert);
        assert_eq!(judged(&[(54_900, Some(1)), (45_100, Some(1))], false).1, Verdict::Ok);
    }
}
