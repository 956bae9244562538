//! The exporter that writes files of every experiment: upstream's list of jobs, and the same rows
//! through the engine.

use std::time::Duration;

use weir_plan::extent::MINUTE;
use weir_plan::{Step, Timestamp};

use super::prices::Prices;
use super::replay::Asked;
use super::tally::Tally;
use super::trace::{Kind, Trace};
use crate::source::MINIMUM_BYTES_PER_TABLE;

/// The datasets, and what they are.
const DATASETS: [(&str, Kind); 8] = [
    ("experiment_enrollment_other_events_overall", Kind::Flow),
    ("experiment_enrollment_cumulative_population_estimate", Kind::Cumulative),
    ("experiment_enrollment_overall", Kind::Flow),
    ("experiment_unenrollment_overall", Kind::Flow),
    ("experiment_cumulative_ad_clicks", Kind::Cumulative),
    ("experiment_cumulative_search_count", Kind::Cumulative),
    ("experiment_cumulative_search_with_ads_count", Kind::Cumulative),
    ("experiment_enrollment_daily_active_population", Kind::Flow),
];

/// Each experiment's files are of a branch's rows and of their sums.
const FILES: u64 = 2;

fn view(name: &str) -> String {
    format!("`moz-fx-data-shared-prod.telemetry.{name}`")
}

/// Upstream's evaluations of the views, two for each dataset.
pub(super) fn evaluations() -> Vec<String> {
    let texts = |(name, _): (&str, Kind)| {
        let view = view(name);
        [
            format!("SELECT time, experiment, branch, SUM(value) AS value FROM {view} GROUP BY 1, 2, 3"),
            format!("SELECT time, experiment, SUM(value) AS value FROM {view} GROUP BY 1, 2"),
        ]
    };
    DATASETS.into_iter().flat_map(texts).collect()
}

/// The moments at which files are written.
pub(super) fn ticks(trace: &Trace) -> Vec<Timestamp> {
    let tick = |number: u32| trace.start.plus(trace.export_every * number);
    (0..u32::MAX).map(tick).take_while(|at| *at < trace.end()).collect()
}

/// Upstream's jobs: the evaluations, whose texts begin at `first` among the prices; and for each
/// experiment and file a query on their result, billed the least that a query bills, and an extract,
/// which is free.
pub(super) fn upstream(trace: &Trace, prices: &Prices, first: usize) -> Tally {
    let files = trace.exported * FILES * DATASETS.len() as u64;
    let mut tally = Tally::default();
    for tick in ticks(trace) {
        let evaluations = DATASETS.len() * 2;
        for text in first..first + evaluations {
            tally.job(prices.at(text, tick).bytes);
        }
        for _ in 0..files {
            tally.job(MINIMUM_BYTES_PER_TABLE);
            tally.job(0);
            tally.served(Duration::ZERO);
        }
    }
    tally
}

/// One text for each dataset, with all experiments' 5-minute rows of the two days in which files have
/// them; what is older is kept by the hour and does not change with a tick. An export takes no stale rows.
pub(super) fn asked() -> Vec<Asked> {
    let asked = |(name, kind): (&str, Kind)| {
        let (sum, event) = match (kind, name) {
            (Kind::Cumulative, _) => ("MAX", ""),
            (_, "experiment_enrollment_other_events_overall") => ("SUM", ", event"),
            _ => ("SUM", ""),
        };
        let group = if event.is_empty() { "" } else { ", 4" };
        Asked {
            kind,
            sql: format!(
                "SELECT $__timeGroup(time, $__interval) AS time, experiment, branch{event}, {sum}(value) AS value \
                 FROM {} WHERE branch IS NOT NULL AND $__timeFilter(time) GROUP BY 1, 2, 3{group}",
                view(name)
            ),
            step: Step::Micros(5 * MINUTE),
            range: Duration::from_hours(2 * 24),
            max_stale: Some(Duration::ZERO),
        }
    };
    DATASETS.into_iter().map(asked).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulate::Setting;

    #[test]
    fn upstream_sends_the_jobs_of_its_list() {
        let mut trace = Trace::generate(Setting::default()).unwrap();
        trace.exported = 50;
        let mut prices = Prices::default();
        prices.push(trace.end(), vec![7; 16]);
        let tally = upstream(&trace, &prices, 0);
        // 460,800 a day for 50 experiments beside 4,608 evaluations; a third of a day here.
        assert_eq!((ticks(&trace).len(), tally.jobs), (96, (460_800 + 4_608) / 3));
        assert_eq!(tally.bytes, 96 * (16 * 7 + 800 * MINIMUM_BYTES_PER_TABLE));
    }
}
