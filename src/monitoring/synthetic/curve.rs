//! How many events a recipe expects in a 5-minute window. It draws nothing but bursts.
//!
//! Totals from start to end are the recipe's own: the day's and the week's rhythm have mean 1 over
//! a week here, though the factors themselves are the contract's 0.5 to 1.6 and 0.85.

use std::f64::consts::TAU;

use chrono::{Datelike, NaiveDate, Weekday};

use super::draw::{Draw, Purpose, real};
use super::recipes::Recipe;

/// 5-minute windows of a day.
pub(super) const WINDOWS: i64 = 288;
/// Counters of an enrollment row, in the tables' order.
pub(super) const COUNTERS: usize = 10;

/// Days in which 60 % of enrollments come.
const RUSH_DAYS: f64 = 3.0;
/// Share of enrollments that come in [`RUSH_DAYS`].
const RUSH_SHARE: f64 = 0.6;
/// Factors of the quietest (04:00 UTC) and the busiest (16:00 UTC) window.
const NIGHT: f64 = 0.5;
const NOON: f64 = 1.6;
const WEEKEND: f64 = 0.85;
/// A failing hour, and how much more fails in it.
const BURST_CHANCE: f64 = 0.04;
const BURST: f64 = 25.0;

/// The day's rhythm for each window of `day`, of mean 1 over a week.
pub(super) fn rhythm(day: NaiveDate) -> Vec<f64> {
    let mean = f64::midpoint(NIGHT, NOON) * (5.0 + 2.0 * WEEKEND) / 7.0;
    let weekend = if matches!(day.weekday(), Weekday::Sat | Weekday::Sun) { WEEKEND } else { 1.0 };
    (0..WINDOWS)
        .map(|window| {
            let phase = TAU * (real(window) + 0.5 - 192.0) / real(WINDOWS);
            (f64::midpoint(NIGHT, NOON) + (NOON - NIGHT) / 2.0 * phase.cos()) * weekend / mean
        })
        .collect()
}

/// Share of all enrollments that come per day at `age` days, before rhythm.
fn enrollment_density(recipe: &Recipe, age: f64) -> f64 {
    if age < 0.0 || age >= recipe.enrollment_days() {
        0.0
    } else if age < RUSH_DAYS {
        RUSH_SHARE / RUSH_DAYS
    } else {
        (1.0 - RUSH_SHARE) / (recipe.enrollment_days() - RUSH_DAYS)
    }
}

/// Share of all enrollments that have come by `age` days, before rhythm.
fn enrolled_share(recipe: &Recipe, age: f64) -> f64 {
    let tail = (age - RUSH_DAYS).max(0.0) / (recipe.enrollment_days() - RUSH_DAYS);
    (age.clamp(0.0, RUSH_DAYS) / RUSH_DAYS * RUSH_SHARE + tail.min(1.0) * (1.0 - RUSH_SHARE)).min(1.0)
}

/// Clients that are enrolled at `age` days.
pub(super) fn population(recipe: &Recipe, age: f64) -> f64 {
    recipe.enrollments * enrolled_share(recipe, age) * (1.0 - recipe.unenrollment_rate)
}

/// How much more than usual fails in an hour (counted from the epoch): mean 1.
pub(super) fn burst(seed: u64, place: u64, hour: i64) -> f64 {
    let failing = Draw::new(seed, Purpose::Burst, place, hour).chance(BURST_CHANCE);
    if failing { BURST } else { (1.0 - BURST_CHANCE * BURST) / (1.0 - BURST_CHANCE) }
}

/// Expected events of each counter in one window of average rhythm, over all branches and channels,
/// where the window's middle is at `age` days.
pub(super) fn expected(recipe: &Recipe, age: f64, burst: f64) -> [f64; COUNTERS] {
    let days = recipe.days();
    if !(0.0..days).contains(&age) {
        return [0.0; COUNTERS];
    }
    let per_window = recipe.enrollments / real(WINDOWS);
    let enrolling = enrollment_density(recipe, age);
    let spread = 1.0 / days;
    // Most who leave do so some hours after they came.
    let leaving = 0.85 * enrollment_density(recipe, age - 0.25) + 0.15 * spread;
    let using = 0.75 * enrolling + 0.25 * spread;
    let failures = recipe.failure_rate * using * burst;
    let graduating = if days - age < 2.0 { 0.02 } else { 0.0 };
    [
        enrolling,
        recipe.unenrollment_rate * leaving,
        graduating,
        0.05 * spread,
        0.5 * failures,
        0.1 * failures,
        0.1 * failures,
        0.1 * failures,
        recipe.exposure_rate * using,
        0.2 * failures,
    ]
    .map(|share| share * per_window)
}

#[cfg(test)]
mod tests {
    use super::super::config::SyntheticConfig;
    use super::super::recipes::catalogue;
    use super::*;
    use weir_plan::Timestamp;

    #[test]
    fn the_rhythm_is_the_contracts_and_has_mean_one_over_a_week() {
        let monday: NaiveDate = "2024-05-13".parse().unwrap();
        let week: Vec<f64> = monday.iter_days().take(7).flat_map(rhythm).collect();
        assert!((week.iter().sum::<f64>() / 2016.0 - 1.0).abs() < 1e-9);
        let (low, high) = week[..288].iter().fold((f64::MAX, f64::MIN), |(low, high), x| (low.min(*x), high.max(*x)));
        assert!((high / low - 1.6 / 0.5).abs() < 0.01, "{low} {high}");
        assert!((week[5 * 288] / week[0] - 0.85).abs() < 1e-9);
    }

    #[test]
    fn curves_add_up_to_the_recipes_totals() {
        let end = Timestamp::parse("2024-05-15T12:00:00Z", Timestamp::MIN).unwrap();
        for recipe in catalogue(&SyntheticConfig::small(end)) {
            let windows = super::super::draw::whole(recipe.days() * real(WINDOWS));
            let mut totals = [0.0; COUNTERS];
            let mut rush = 0.0;
            for window in 0..windows {
                let age = (real(window) + 0.5) / real(WINDOWS);
                let rates = expected(&recipe, age, 1.0);
                rush += if age < 3.0 { rates[0] } else { 0.0 };
                for (total, rate) in totals.iter_mut().zip(rates) {
                    *total += rate;
                }
            }
            let near = |got: f64, want: f64, tolerance: f64| {
                assert!((got / want - 1.0).abs() < tolerance, "{}: {got}, expected {want}", recipe.slug);
            };
            near(totals[0], recipe.enrollments, 0.01);
            near(rush / totals[0], 0.6, 0.01);
            near(totals[1] / totals[0], recipe.unenrollment_rate, 0.03);
            near(totals[8] / totals[0], recipe.exposure_rate, 0.01);
            near(totals[4..8].iter().sum::<f64>() + totals[9], recipe.failure_rate * recipe.enrollments, 0.01);
            near(enrolled_share(&recipe, recipe.days()), 1.0, 1e-9);
        }
    }

    #[test]
    fn bursts_have_mean_one() {
        let mean = (0..20_000).map(|hour| burst(1, 2, hour)).sum::<f64>() / 20_000.0;
        assert!((mean - 1.0).abs() < 0.2, "{mean}");
    }
}
