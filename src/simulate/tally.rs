//! What a way of answering costs: requests, jobs, bytes and ages, counted up.

use std::time::Duration;

/// Sums of one row of the table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) requests: u64,
    pub(super) jobs: u64,
    pub(super) bytes: u64,
    ages_ms: Vec<u32>,
}

impl Tally {
    pub(super) fn job(&mut self, bytes: u64) {
        self.jobs += 1;
        self.bytes += bytes;
    }

    pub(super) fn add(&mut self, other: &Self) {
        self.requests += other.requests;
        self.jobs += other.jobs;
        self.bytes += other.bytes;
        self.ages_ms.extend(&other.ages_ms);
    }

    /// Counts a request whose answer was this old.
    pub(super) fn served(&mut self, age: Duration) {
        self.requests += 1;
        self.ages_ms.push(u32::try_from(age.as_millis()).unwrap_or(u32::MAX));
    }

    /// The age in seconds than which 99 of 100 answers are not older: the nearest rank.
    pub(super) fn age_p99_s(&self) -> Option<f64> {
        let mut ages = self.ages_ms.clone();
        ages.sort_unstable();
        let rank = (ages.len() * 99).div_ceil(100);
        ages.get(rank.checked_sub(1)?).map(|ms| f64::from(*ms) / 1000.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_99th_percentile_is_the_nearest_rank() {
        let check = |count: u64, expected: Option<f64>| {
            let mut tally = Tally::default();
            (1..=count).for_each(|age| tally.served(Duration::from_secs(age)));
            assert_eq!(tally.age_p99_s(), expected);
        };
        check(0, None);
        check(1, Some(1.0));
        check(100, Some(99.0));
        check(101, Some(100.0));
        check(200, Some(198.0));
    }
}
