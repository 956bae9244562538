//! What jobs for parts would bill: by free dry runs, remembered for the day, and by the bills of jobs
//! that ran.

use std::collections::BTreeSet;
use std::time::Duration;

use futures::future::{join_all, try_join_all};
use parking_lot::Mutex;
use weir_plan::extent::{DAY, HOUR};
use weir_plan::plan::Template;
use weir_plan::plan::delta::Assembly;
use weir_plan::{Extent, Query, Ranges, Result, Step, TableId, Timestamp};

use super::Engine;
use super::budget::Likely;
use super::columns::CAPACITY;
use super::memo::Memo;

/// The most ranges of which every neighbours are weighed against one job for them.
const FEW_RANGES: usize = 5;

/// The most ranges that are weighed against one job for all of them; more are fetched by a job each.
const MOST_RANGES: usize = 20;

/// What is known of bills.
pub(super) struct Bills(Memo<Asked, Mutex<Likely>>);

/// What a bill depends on.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Asked {
    template: String,
    extent: Extent,
    /// The day on which it was asked: partitions grow and change sides.
    day: Timestamp,
}

impl Default for Bills {
    fn default() -> Self {
        Self(Memo::new(8 * CAPACITY, Duration::from_hours(24)))
    }
}

impl Asked {
    fn new(template: &Template, extent: Extent, now: Timestamp) -> Self {
        Self { template: template.digest().to_owned(), extent, day: now.floor(DAY) }
    }
}

impl Engine {
    /// The bytes that a job for `extent` bills.
    async fn bill(&self, query: &Query, assembly: &Assembly, extent: Extent) -> Result<u64> {
        let now = assembly.as_of;
        let known = self.bills.0.slot(&Asked::new(&assembly.template, extent, now), now);
        let asked = async || {
            let (empty, _) = self.quiet(query, assembly, extent, now).await;
            let bytes = self.estimate(query, &assembly.template, extent, assembly.step, now, &empty).await?;
            Ok(Mutex::new(Likely { bytes: bytes.1, is_learned: false }))
        };
        known.get_or_try_init(asked).await.map(|bill| bill.lock().bytes)
    }

    /// Learns from the bill of a job.
    pub(super) async fn learn_bill(&self, assembly: &Assembly, extent: Extent, bytes: u64) {
        let now = assembly.as_of;
        let known = self.bills.0.slot(&Asked::new(&assembly.template, extent, now), now);
        let bill = Likely { bytes, is_learned: true };
        let kept = known.get_or_init(async || Mutex::new(bill)).await;
        *kept.lock() = bill;
    }

    /// What a job for `extent` billed today.
    pub(super) fn learned_bill(&self, assembly: &Assembly, extent: Extent) -> Option<u64> {
        let now = assembly.as_of;
        let known = self.bills.0.slot(&Asked::new(&assembly.template, extent, now), now);
        known.get()?.lock().learned()
    }

    /// The ranges to fetch `missing` with, so that the sum of the bills is least.
    pub(super) async fn cheapest(&self, query: &Query, assembly: &Assembly, missing: &Ranges) -> Vec<Extent> {
        let ranges: Vec<Extent> = missing.iter().collect();
        let apart = || ranges.clone();
        if !(2..=MOST_RANGES).contains(&ranges.len()) {
            return apart();
        }
        let last = ranges.len() - 1;
        let is_weighed =
            |first: usize, end: usize| ranges.len() <= FEW_RANGES || first == end || (first, end) == (0, last);
        let hulls: Vec<Extent> = (0..=last)
            .flat_map(|first| (first..=last).map(move |end| (first, end)))
            .filter(|(first, end)| is_weighed(*first, *end))
            .filter_map(|(first, end)| Extent::new(ranges[first].start(), ranges[end].end()).ok())
            .collect();
        let bills = try_join_all(hulls.iter().map(|hull| self.bill(query, assembly, *hull))).await;
        let Ok(bills) = bills else { return apart() };
        missing.jobs(|hull| hulls.iter().position(|other| *other == hull).map_or(u64::MAX, |place| bills[place]))
    }

    /// Whether a job for `wide` bills no more than one for `narrow`.
    pub(super) async fn is_free(&self, query: &Query, assembly: &Assembly, narrow: Extent, wide: Extent) -> bool {
        let bills = join_all([narrow, wide].map(|extent| self.bill(query, assembly, extent))).await;
        matches!(&*bills, [Ok(narrow), Ok(wide)] if wide <= narrow)
    }

    /// The bytes that a text would read over one of the last days, and over the four weeks round it.
    pub(super) async fn probes(&self, query: &Query, template: &Template, now: Timestamp) -> Option<[u64; 2]> {
        let end = now.floor(DAY);
        let before = |days: u64| end.minus(Duration::from_hours(24 * days));
        let extents = [Extent::new(before(8), before(7)).ok()?, Extent::new(before(28), end).ok()?];
        let step = Step::Micros(HOUR);
        let none = BTreeSet::new();
        let estimates = extents.map(|extent| self.estimate(query, template, extent, step, now, &none));
        let estimates = join_all(estimates).await.into_iter().collect::<Result<Vec<_>>>();
        let estimates = estimates.inspect_err(|error| tracing::debug!(?error, "a text cannot be probed")).ok()?;
        let bytes: Vec<u64> = estimates.into_iter().map(|(processed, _)| processed).collect();
        bytes.try_into().ok()
    }

    /// The bytes that a text would read and bill over a range, by a dry run.
    async fn estimate(
        &self,
        query: &Query,
        template: &Template,
        extent: Extent,
        step: Step,
        now: Timestamp,
        empty: &BTreeSet<TableId>,
    ) -> Result<(u64, u64)> {
        let sql = template.text(extent, step, now, empty).map_err(weir_plan::Error::internal)?;
        let estimate = self.try_text(query, "estimate", sql).await?;
        Ok((estimate.bytes_processed, estimate.bytes_billed()))
    }
}
