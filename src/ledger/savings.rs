//! What an answer would have billed without us, and why it did not.

use std::collections::BTreeMap;

use serde::Serialize;

use super::Saving;
use crate::source::billed_bytes;

/// A piece of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part<'a> {
    /// The job that brought it.
    pub job_id: &'a str,
    /// What its job read for it.
    pub bytes_processed: u64,
    /// Its share of its job's bill.
    pub bytes_billed: u64,
    /// Why it was not billed; `None` where this answer's own job brought it.
    pub saving: Option<Saving>,
}

/// The bytes of an answer: `uncached + overhead = billed + saved`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Savings {
    /// What one job for all of it would have billed.
    pub bytes_uncached: u64,
    /// What its own jobs billed.
    #[serde(skip)]
    pub bytes_billed: u64,
    /// What it did not bill.
    #[serde(skip)]
    pub bytes_saved: u64,
    /// What it billed over one job for all of it.
    pub bytes_overhead: u64,
    #[serde(rename = "savings")]
    causes: BTreeMap<Saving, u64>,
}

impl Savings {
    /// The savings of an answer of whole jobs.
    pub fn of_whole(parts: &[Part<'_>]) -> Self {
        Self::of(parts, parts.iter().map(|part| part.bytes_billed).sum())
    }

    /// The savings of an answer put together of parts of jobs. One job for all would have rounded up once
    /// and had each table's minimum once: it would have billed what all parts read, and no less than any
    /// of their jobs for its own. What is saved is divided by the bytes that parts read.
    pub fn of_parts(parts: &[Part<'_>]) -> Self {
        let paid: u64 = parts.iter().map(|part| part.bytes_billed).sum();
        let mut jobs: BTreeMap<&str, u64> = BTreeMap::new();
        for part in parts {
            *jobs.entry(part.job_id).or_default() += part.bytes_billed;
        }
        let read = billed_bytes(parts.iter().map(|part| part.bytes_processed).sum());
        let one_job = read.max(jobs.into_values().max().unwrap_or_default());
        let are_all_own = parts.iter().all(|part| part.saving.is_none());
        Self::of(parts, if paid == 0 || are_all_own { one_job.min(paid) } else { one_job })
    }

    fn of(parts: &[Part<'_>], bytes_uncached: u64) -> Self {
        let bytes_billed = parts.iter().filter(|part| part.saving.is_none()).map(|part| part.bytes_billed).sum();
        let bytes_saved = bytes_uncached.saturating_sub(bytes_billed);
        Self {
            bytes_uncached,
            bytes_billed,
            bytes_saved,
            bytes_overhead: bytes_billed.saturating_sub(bytes_uncached),
            causes: divided(bytes_saved, parts),
        }
    }

    /// The savings of an answer that was made here of parts, in place of a job that would have billed
    /// `bytes_uncached`.
    pub fn of_local(parts: &[Part<'_>], bytes_uncached: u64) -> Self {
        let all = Self::of(parts, bytes_uncached);
        let causes = [(Saving::Local, all.bytes_saved)].into_iter().filter(|(_, bytes)| *bytes > 0).collect();
        Self { causes, ..all }
    }

    /// Adds those of another answer.
    pub fn merge(&mut self, other: &Self) {
        self.bytes_uncached += other.bytes_uncached;
        self.bytes_billed += other.bytes_billed;
        self.bytes_saved += other.bytes_saved;
        self.bytes_overhead += other.bytes_overhead;
        for (saving, bytes) in other.by_cause() {
            *self.causes.entry(saving).or_default() += bytes;
        }
    }

    /// The saved bytes by cause; those of a cause are more than none.
    pub fn by_cause(&self) -> impl Iterator<Item = (Saving, u64)> {
        self.causes.iter().map(|(saving, bytes)| (*saving, *bytes))
    }
}

/// Divides bytes among the causes so that none is lost to rounding.
fn divided(bytes: u64, parts: &[Part<'_>]) -> BTreeMap<Saving, u64> {
    let mut causes = BTreeMap::new();
    // A part that read nothing still has a weight, lest all have none.
    let weight = |part: &Part<'_>| u128::from(part.bytes_processed) + 1;
    let saved = || parts.iter().filter_map(|part| Some((part.saving?, weight(part))));
    let all: u128 = saved().map(|(_, weight)| weight).sum();
    let (mut before, mut given) = (0, 0);
    for (saving, weight) in saved() {
        before += weight;
        let until = u64::try_from(u128::from(bytes) * before / all).unwrap_or(bytes);
        *causes.entry(saving).or_insert(0) += until - given;
        given = until;
    }
    causes.retain(|_, bytes| *bytes > 0);
    causes
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MIB: u64 = 1 << 20;

    fn part(job_id: &str, processed: u64, billed: u64, saving: Option<Saving>) -> Part<'_> {
        Part { job_id, bytes_processed: processed, bytes_billed: billed, saving }
    }

    #[test]
    fn savings_go_to_the_cause_of_each_part() {
        let check = |parts: &[Part<'_>], expected: (u64, u64, u64), causes: &[(Saving, u64)]| {
            let savings = Savings::of_parts(parts);
            assert_eq!((savings.bytes_uncached, savings.bytes_billed, savings.bytes_overhead), expected, "{parts:?}");
            assert_eq!(savings.by_cause().collect::<Vec<_>>(), causes, "{parts:?}");
        };
        let (own, fresh, last) = (None, Some(Saving::Fresh), Some(Saving::Final));
        check(&[part("a", 5, 10 * MIB, own)], (10 * MIB, 10 * MIB, 0), &[]);
        check(&[part("a", 5, 10 * MIB, fresh)], (10 * MIB, 0, 0), &[(Saving::Fresh, 10 * MIB)]);
        check(
            &[part("a", 90 * MIB, 90 * MIB, last), part("b", 10 * MIB, 10 * MIB, own)],
            (100 * MIB, 10 * MIB, 0),
            &[(Saving::Final, 90 * MIB)],
        );
        // Three jobs had three minimums; one would have had one, and this answer's own used that up.
        check(
            &[part("a", 1, 10 * MIB, last), part("b", 1, 10 * MIB, fresh), part("c", 1, 10 * MIB, own)],
            (10 * MIB, 10 * MIB, 0),
            &[],
        );
        check(&[part("a", 1, 10 * MIB, own), part("b", 1, 10 * MIB, own)], (10 * MIB, 20 * MIB, 10 * MIB), &[]);
        check(&[part("a", 0, 0, own), part("b", 0, 0, fresh)], (0, 0, 0), &[]);
        // A share of a job's minimum; by itself it would have had all of it.
        check(&[part("a", 5, MIB, last)], (10 * MIB, 0, 0), &[(Saving::Final, 10 * MIB)]);
        // A job that read three tables has three minimums, however it is divided.
        check(
            &[part("a", 5, 15 * MIB, last), part("a", 5, 15 * MIB, last), part("b", 5, 10 * MIB, fresh)],
            (30 * MIB, 0, 0),
            &[(Saving::Fresh, 10 * MIB), (Saving::Final, 20 * MIB)],
        );
        let halves = [part("a", 20 * MIB, 20 * MIB, fresh), part("b", 20 * MIB, 20 * MIB, last)];
        check(&halves, (40 * MIB, 0, 0), &[(Saving::Fresh, 20 * MIB), (Saving::Final, 20 * MIB)]);
        assert_eq!(Savings::of_whole(&[part("a", 5, 30 * MIB, fresh)]).bytes_saved, 30 * MIB, "of three tables");
    }

    proptest! {
        #[test]
        fn nothing_is_lost(parts in prop::collection::vec((0..1_u64 << 40, 0..1_u64 << 40, 0..6_usize), 0..20)) {
            use Saving::{Coalesced, Delta, Final, Fresh, Stale};
            let causes = [None, Some(Coalesced), Some(Fresh), Some(Final), Some(Stale), Some(Delta)];
            let jobs = ["a", "b", "c"];
            let parts: Vec<_> =
                parts.iter().map(|(read, paid, cause)| part(jobs[cause % 3], *read, *paid, causes[*cause])).collect();
            let savings = Savings::of_parts(&parts);
            prop_assert_eq!(
                savings.bytes_uncached + savings.bytes_overhead,
                savings.bytes_billed + savings.bytes_saved
            );
            prop_assert_eq!(savings.by_cause().map(|(_, bytes)| bytes).sum::<u64>(), savings.bytes_saved);
        }
    }
}
