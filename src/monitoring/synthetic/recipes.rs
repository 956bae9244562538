//! The list of experiments and rollouts: who they are, when they run and how many enrol. It knows
//! no rows.

use std::collections::BTreeSet;

use weir_plan::Timestamp;
use weir_plan::extent::{DAY, HOUR, MINUTE};

use super::apps::{self, CHANNEL_WEIGHTS, CHANNELS, Product};
use super::config::SyntheticConfig;
use super::draw::{Draw, Purpose, real, whole};
use super::names;

/// Median of all-time enrollments of a recipe.
const MEDIAN_ENROLLMENTS: f64 = 20_000.0;
/// Deviation of their logarithm, so that the 95th percentile is 1.5 million: ln(75) / 1.645.
const LOG_DEVIATION: f64 = 2.6247;
/// Share of the first branch where the split is broken on purpose.
const BROKEN_SPLIT: f64 = 0.56;
/// A broken split shows from here on, so such recipes have at least as many enrollments.
const BROKEN_SPLIT_ENROLLMENTS: f64 = 20_000.0;
/// Every enrollment curve has its first three days and at least as much again.
const SHORTEST_ENROLLMENT_DAYS: f64 = 7.0;

/// An experiment or rollout.
#[derive(Clone, Debug, PartialEq)]
pub struct Recipe {
    /// Slug, 20 to 80 characters.
    pub slug: String,
    /// Product, in Experimenter's spelling.
    pub app_name: &'static str,
    /// Whether it is a rollout.
    pub is_rollout: bool,
    /// Branches, the reference branch first.
    pub branches: Vec<Branch>,
    /// Release channels, each with its share of events.
    pub channels: Vec<(&'static str, f64)>,
    /// First moment.
    pub start: Timestamp,
    /// Enrollment stops here, at `end` at the latest.
    pub enrollment_end: Timestamp,
    /// First moment after.
    pub end: Timestamp,
    /// Expected number of enrollments from start to end.
    pub enrollments: f64,
    /// Expected unenrollments per enrollment.
    pub unenrollment_rate: f64,
    /// Whether the split differs from the branches' ratios on purpose.
    pub broken_split: bool,
    /// Expected exposures per enrollment.
    pub(super) exposure_rate: f64,
    /// Expected failures of all kinds per enrollment.
    pub(super) failure_rate: f64,
    /// Share of enrolled clients that are active on a day.
    pub(super) activity: f64,
    /// Whether its desktop clients report through Normandy, with rows of no branch beside.
    pub(super) legacy: bool,
    /// Features it configures.
    pub(super) features: Vec<&'static str>,
    pub(super) product: Product,
    /// Position of each of `channels` in [`CHANNELS`].
    pub(super) channel_positions: Vec<usize>,
}

/// A branch of a recipe.
#[derive(Clone, Debug, PartialEq)]
pub struct Branch {
    /// Slug.
    pub slug: String,
    /// Ratio that Experimenter knows.
    pub ratio: i64,
    /// Actual share of enrollments; all shares of a recipe add up to 1.
    pub share: f64,
}

impl Recipe {
    /// Whether it runs at `now`.
    pub fn is_live(&self, now: Timestamp) -> bool {
        self.start <= now && now < self.end
    }

    /// Days from start to end.
    pub(super) fn days(&self) -> f64 {
        real(self.end.micros() - self.start.micros()) / real(DAY)
    }

    /// Days from start to the end of enrollment.
    pub(super) fn enrollment_days(&self) -> f64 {
        real(self.enrollment_end.micros() - self.start.micros()) / real(DAY)
    }
}

/// All recipes of a configuration: live ones, ended ones, then upcoming ones.
pub(super) fn catalogue(config: &SyntheticConfig) -> Vec<Recipe> {
    let (live, ended, upcoming) = (config.live_recipes, config.ended_recipes, config.upcoming_recipes);
    let mut slugs = BTreeSet::new();
    let mut experiments = 0;
    let mut log_enrollments = 0.0;
    (0..live + ended + upcoming)
        .map(|index| {
            let mut draw = Draw::new(config.seed, Purpose::Catalogue, u64::from(index), 0);
            // Pairs around the median, so that a short list keeps it too.
            log_enrollments = if index % 2 == 0 { LOG_DEVIATION * draw.normal() } else { -log_enrollments };
            // 5 of 12 are rollouts: 50 of 120.
            let is_rollout = index * 5 % 12 < 5;
            let experiment = (!is_rollout).then_some(experiments);
            experiments += usize::from(!is_rollout);
            let period = if index < live {
                Period::live(config.end, is_rollout, &mut draw)
            } else if index < live + ended {
                Period::ended(config.end, is_rollout, &mut draw)
            } else {
                Period::upcoming(config.end, index - live - ended, is_rollout, &mut draw)
            };
            let slug = loop {
                let slug = names::slug(&mut draw, is_rollout);
                if slugs.insert(slug.clone()) {
                    break slug;
                }
            };
            recipe(slug, index, experiment, period, MEDIAN_ENROLLMENTS * log_enrollments.exp(), &mut draw)
        })
        .collect()
}

fn recipe(
    slug: String,
    index: u32,
    experiment: Option<usize>,
    period: Period,
    enrollments: f64,
    draw: &mut Draw,
) -> Recipe {
    let broken_split = experiment.is_some_and(|position| position % 33 == 5);
    let product = apps::product(index as usize, draw);
    let channel_positions = channels(draw);
    let weight: f64 = channel_positions.iter().map(|position| CHANNEL_WEIGHTS[*position]).sum();
    Recipe {
        slug,
        app_name: product.name,
        is_rollout: experiment.is_none(),
        branches: branches(experiment, draw),
        channels: channel_positions.iter().map(|at| (CHANNELS[*at], CHANNEL_WEIGHTS[*at] / weight)).collect(),
        start: period.start,
        enrollment_end: period.enrollment_end,
        end: period.end,
        enrollments: if broken_split { enrollments.max(BROKEN_SPLIT_ENROLLMENTS) } else { enrollments },
        unenrollment_rate: if index % 20 == 3 { draw.between(0.12, 0.20) } else { draw.between(0.02, 0.08) },
        broken_split,
        exposure_rate: draw.log_between(0.3, 3.0),
        failure_rate: draw.log_between(0.0001, 0.005),
        activity: draw.between(0.5, 0.85),
        legacy: draw.chance(0.25),
        features: names::features(draw),
        product,
        channel_positions,
    }
}

/// Branches of the `experiment`-th experiment, or of a rollout: 65 % have two, 22 % three, the rest
/// four to six; 5 % are 95:5, 3 % have a broken split.
fn branches(experiment: Option<usize>, draw: &mut Draw) -> Vec<Branch> {
    let Some(position) = experiment else {
        return vec![Branch { slug: names::rollout_branch(draw).into(), ratio: 1, share: 1.0 }];
    };
    let pair = |ratios: [i64; 2], share: f64| {
        let names = ["control", "treatment"];
        let shares = [share, 1.0 - share];
        (0..2).map(|at| Branch { slug: names[at].into(), ratio: ratios[at], share: shares[at] }).collect()
    };
    if position % 33 == 5 {
        return pair([1, 1], BROKEN_SPLIT);
    }
    if position % 20 == 7 {
        return pair([95, 5], 0.95);
    }
    // 37 and 100 have no common factor: every hundred experiments hit each value once.
    let count = match position * 37 % 100 {
        0..65 => 2,
        65..87 => 3,
        _ => 4 + draw.below(3),
    };
    let share = 1.0 / super::draw::real_count(count);
    names::branches(count, draw).into_iter().map(|slug| Branch { slug, ratio: 1, share }).collect()
}

/// One to three channels (1.6 on average), the first and the others by their weights.
fn channels(draw: &mut Draw) -> Vec<usize> {
    let count = 1 + draw.weighted(&[0.5, 0.4, 0.1]);
    let mut weights = CHANNEL_WEIGHTS;
    (0..count)
        .map(|_| {
            let position = draw.weighted(&weights);
            weights[position] = 0.0;
            position
        })
        .collect()
}

/// When a recipe runs.
#[derive(Clone, Copy, Debug)]
struct Period {
    start: Timestamp,
    enrollment_end: Timestamp,
    end: Timestamp,
}

impl Period {
    fn live(now: Timestamp, is_rollout: bool, draw: &mut Draw) -> Self {
        let age = if draw.chance(0.85) { draw.between(0.2, 27.0) } else { draw.between(27.0, 75.0) };
        let days = (age + draw.between(1.0, 21.0)).max(SHORTEST_ENROLLMENT_DAYS);
        Self::new(shifted(now, -age), days, is_rollout, draw)
    }

    fn ended(now: Timestamp, is_rollout: bool, draw: &mut Draw) -> Self {
        let days = draw.between(SHORTEST_ENROLLMENT_DAYS, 45.0);
        let ended = draw.between(0.1, 13.9);
        Self::new(shifted(now, -ended - days), days, is_rollout, draw)
    }

    fn upcoming(now: Timestamp, position: u32, is_rollout: bool, draw: &mut Draw) -> Self {
        let start = Timestamp::saturating(now.micros() + i64::from(position + 1) * 6 * HOUR);
        Self::new(start, draw.between(SHORTEST_ENROLLMENT_DAYS, 45.0), is_rollout, draw)
    }

    /// Experiments enrol for one to four weeks, rollouts to their end.
    fn new(start: Timestamp, days: f64, is_rollout: bool, draw: &mut Draw) -> Self {
        let start = start.floor(5 * MINUTE);
        let weeks = 1 + draw.below(4);
        let enrollment_days = if is_rollout { days } else { days.min(7.0 * super::draw::real_count(weeks)) };
        Self { start, enrollment_end: shifted(start, enrollment_days), end: shifted(start, days) }
    }
}

fn shifted(time: Timestamp, days: f64) -> Timestamp {
    Timestamp::saturating(time.micros() + whole(days * real(DAY))).floor(5 * MINUTE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn at(text: &str) -> Timestamp {
        Timestamp::parse(text, Timestamp::MIN).unwrap()
    }

    fn share(recipes: &[Recipe], test: impl Fn(&Recipe) -> bool) -> f64 {
        let count = recipes.iter().filter(|recipe| test(recipe)).count();
        super::super::draw::real_count(count) / super::super::draw::real_count(recipes.len())
    }

    /// Four full lists of different seeds.
    fn many() -> Vec<Recipe> {
        let end = at("2024-05-15T12:00:00Z");
        (0..4).flat_map(|seed| catalogue(&SyntheticConfig { seed, ..SyntheticConfig::demo(end) })).collect()
    }

    #[test]
    fn the_demo_has_the_contracts_numbers_of_recipes() {
        let end = at("2024-05-15T12:00:00Z");
        let recipes = catalogue(&SyntheticConfig::demo(end));
        let live: Vec<_> = recipes.iter().filter(|recipe| recipe.is_live(end)).collect();
        assert_eq!(live.len(), 120);
        assert_eq!(live.iter().filter(|recipe| recipe.is_rollout).count(), 50);
        let fortnight = end.minus(Duration::from_hours(14 * 24));
        assert_eq!(recipes.iter().filter(|recipe| fortnight <= recipe.end && recipe.end <= end).count(), 40);
        assert_eq!(recipes.iter().filter(|recipe| recipe.start > end).count(), 40);
    }

    #[test]
    fn every_recipe_is_well_formed() {
        let recipes = many();
        for recipe in &recipes {
            assert!((20..=80).contains(&recipe.slug.len()), "{}", recipe.slug);
            assert!(recipe.start < recipe.enrollment_end && recipe.enrollment_end <= recipe.end);
            assert!(recipe.days() >= 6.99 && recipe.enrollment_days() >= 6.99, "{}", recipe.slug);
            let shares: f64 = recipe.branches.iter().map(|branch| branch.share).sum();
            let channels: f64 = recipe.channels.iter().map(|(_, share)| share).sum();
            assert!((shares - 1.0).abs() < 1e-9 && (channels - 1.0).abs() < 1e-9);
            assert_eq!(recipe.is_rollout, recipe.branches.len() == 1);
            let branches: BTreeSet<_> = recipe.branches.iter().map(|branch| &branch.slug).collect();
            assert_eq!(branches.len(), recipe.branches.len(), "{branches:?}");
        }
        let lengths: BTreeSet<_> = recipes.iter().map(|recipe| recipe.slug.len() / 10).collect();
        assert!(lengths.len() >= 5, "slugs are short and long: {lengths:?}");
    }

    #[test]
    fn recipes_are_distributed_as_the_contract_says() {
        let recipes = many();
        let mut enrollments: Vec<f64> = recipes.iter().map(|recipe| recipe.enrollments).collect();
        enrollments.sort_by(f64::total_cmp);
        let median = enrollments[enrollments.len() / 2];
        let p95 = enrollments[enrollments.len() * 95 / 100];
        assert!((15_000.0..27_000.0).contains(&median), "median {median}");
        assert!((0.8e6..2.8e6).contains(&p95), "p95 {p95}");

        let experiments: Vec<_> = recipes.iter().filter(|recipe| !recipe.is_rollout).cloned().collect();
        let near = |what: &str, got: f64, want: f64, tolerance: f64| {
            assert!((got - want).abs() <= tolerance, "{what}: {got}, expected {want}");
        };
        near("two branches", share(&experiments, |recipe| recipe.branches.len() == 2), 0.65, 0.07);
        near("three branches", share(&experiments, |recipe| recipe.branches.len() == 3), 0.22, 0.05);
        near("broken split", share(&experiments, |recipe| recipe.broken_split), 0.03, 0.01);
        near("95:5", share(&experiments, |recipe| recipe.branches[0].ratio == 95), 0.05, 0.01);
        near("many unenroll", share(&recipes, |recipe| recipe.unenrollment_rate >= 0.12), 0.05, 0.01);
        near("release first", share(&recipes, |recipe| recipe.channels[0].0 == "release"), 0.70, 0.07);
        near("beta first", share(&recipes, |recipe| recipe.channels[0].0 == "beta"), 0.15, 0.05);
        let channels: usize = recipes.iter().map(|recipe| recipe.channels.len()).sum();
        near(
            "channels",
            super::super::draw::real_count(channels) / super::super::draw::real_count(recipes.len()),
            1.6,
            0.1,
        );
    }
}
