//! Draws that depend on nothing but the seed and the place they are for.
//!
//! The only module that knows the random number crates.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, Poisson, StandardNormal};

/// What draws are for; each purpose has draws of its own, so that adding one changes no other.
#[derive(Clone, Copy, Debug)]
pub(super) enum Purpose {
    /// The list of recipes.
    Catalogue = 1,
    /// The rows of one recipe, application and window.
    Window = 2,
    /// One recipe's failures in one hour.
    Burst = 3,
    /// One recipe's daily active clients on one day.
    Active = 4,
}

/// A sequence of draws. Logarithms and exponentials are the platform's, so that draws are equal on
/// machines with the same mathematics library.
pub(super) struct Draw(ChaCha8Rng);

impl Draw {
    /// The draws for one place: the same arguments give the same draws in any order of asking.
    pub(super) fn new(seed: u64, purpose: Purpose, place: u64, time: i64) -> Self {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&seed.to_le_bytes());
        key[8..16].copy_from_slice(&place.to_le_bytes());
        key[16..24].copy_from_slice(&time.to_le_bytes());
        key[24] = purpose as u8;
        Self(ChaCha8Rng::from_seed(key))
    }

    /// 64 even bits.
    pub(super) fn bits(&mut self) -> u64 {
        self.0.random()
    }

    /// Even on [0, 1).
    pub(super) fn unit(&mut self) -> f64 {
        self.0.random()
    }

    /// Even on [`low`, `high`).
    pub(super) fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.unit()
    }

    /// Even on the logarithm of [`low`, `high`).
    pub(super) fn log_between(&mut self, low: f64, high: f64) -> f64 {
        self.between(low.ln(), high.ln()).exp()
    }

    /// Even on 0 … `count` − 1; 0 if `count` is 0.
    pub(super) fn below(&mut self, count: usize) -> usize {
        if count == 0 { 0 } else { self.0.random_range(0..count) }
    }

    /// True with probability `share`.
    pub(super) fn chance(&mut self, share: f64) -> bool {
        self.unit() < share
    }

    /// Normal with mean 0 and deviation 1.
    pub(super) fn normal(&mut self) -> f64 {
        StandardNormal.sample(&mut self.0)
    }

    /// A position in `weights`, in proportion to them.
    pub(super) fn weighted(&mut self, weights: &[f64]) -> usize {
        let mut rest = self.unit() * weights.iter().sum::<f64>();
        let position = weights.iter().position(|weight| {
            rest -= weight;
            rest < 0.0
        });
        position.unwrap_or(weights.len().saturating_sub(1))
    }

    /// Poisson with mean `mean`.
    ///
    /// Small means by inversion (one draw), large ones by the normal limit (its error is below the
    /// noise from 50 on), since `rand_distr`'s exact samplers cost ten times as much where nothing
    /// is optimised.
    pub(super) fn poisson(&mut self, mean: f64) -> i64 {
        if mean <= 0.0 {
            0
        } else if mean < 12.0 {
            let mut rest = self.unit();
            let mut probability = (-mean).exp();
            let mut count = 0;
            while rest >= probability && count < 100 {
                rest -= probability;
                count += 1;
                probability *= mean / real(count);
            }
            count
        } else if mean < 50.0 {
            Poisson::new(mean).map_or(0, |poisson| whole(poisson.sample(&mut self.0)))
        } else {
            whole(mean + mean.sqrt() * self.normal()).max(0)
        }
    }

    /// A random order of `items`.
    pub(super) fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last + 1));
        }
    }
}

/// The nearest whole number.
#[expect(clippy::cast_possible_truncation, reason = "`as` clamps, and counts here are below 2^40")]
pub(super) fn whole(number: f64) -> i64 {
    number.round() as i64
}

/// The number as a float.
#[expect(clippy::cast_precision_loss, reason = "counts, windows and days here are below 2^52")]
pub(super) fn real(number: i64) -> f64 {
    number as f64
}

/// A count as a float.
pub(super) fn real_count(number: usize) -> f64 {
    real(i64::try_from(number).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_has_the_same_draws_whoever_asks_when() {
        let bits = |place, time| Draw::new(7, Purpose::Window, place, time).bits();
        let first = bits(1, 2);
        assert_eq!(bits(1, 2), first);
        assert_ne!(bits(2, 1), first);
        assert_ne!(Draw::new(7, Purpose::Burst, 1, 2).bits(), first);
        assert_ne!(Draw::new(8, Purpose::Window, 1, 2).bits(), first);
    }

    #[test]
    fn poisson_has_its_mean_and_variance() {
        let mut draw = Draw::new(1, Purpose::Catalogue, 0, 0);
        for mean in [0.01, 0.7, 11.0, 30.0, 5000.0] {
            let sample: Vec<f64> = (0..20_000).map(|_| real(draw.poisson(mean))).collect();
            let average = sample.iter().sum::<f64>() / 20_000.0;
            let variance = sample.iter().map(|count| (count - average).powi(2)).sum::<f64>() / 20_000.0;
            let error = 5.0 * (mean / 20_000.0).sqrt();
            assert!((average - mean).abs() < error, "mean {mean}: {average}");
            assert!((variance / mean - 1.0).abs() < 0.4, "mean {mean}: variance {variance}");
        }
        assert_eq!(draw.poisson(0.0), 0);
    }

    #[test]
    fn weighted_positions_follow_their_weights() {
        let mut draw = Draw::new(1, Purpose::Catalogue, 0, 0);
        let mut counts = [0; 3];
        for _ in 0..10_000 {
            counts[draw.weighted(&[0.7, 0.0, 0.3])] += 1;
        }
        assert!((6800..7200).contains(&counts[0]), "{counts:?}");
        assert_eq!(counts[1], 0);
    }
}
