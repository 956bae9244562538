//! Which rows of a base are fetched: one text for each length of buckets, over ranges that do not
//! overlap, the same for all experiments and datasets. It fetches nothing.

use weir_plan::extent::DAY;
use weir_plan::{Extent, Query, Timestamp};

use crate::monitoring::datasets::Base;
use crate::monitoring::granularity::{Granularity, recent_since};

/// Days before today whose rows are kept by hours; those before them by days.
const HOURLY_DAYS: i64 = 31;

/// Since when rows of some length of bucket are needed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Needs([Option<Timestamp>; 3]);

impl Needs {
    /// Notes that buckets of `granularity` are needed since `since`.
    pub(super) fn add(&mut self, granularity: Granularity, since: Timestamp) {
        let place = match granularity {
            Granularity::FiveMinutes => 0,
            Granularity::HalfHour => 1,
            Granularity::Hour => 2,
            // Days are what all that is older has.
            Granularity::Day => return,
        };
        let since = since.floor(DAY);
        self.0[place] = Some(self.0[place].map_or(since, |known| known.min(since)));
    }
}

/// The queries whose rows, together, are all rows of `base` since `begin`.
pub(super) fn queries(base: &Base, needs: Needs, begin: Timestamp, now: Timestamp) -> Vec<Query> {
    let zones = if base.is_level { vec![(base.grain, begin, now)] } else { zones(needs, begin, now) };
    zones
        .into_iter()
        .filter_map(|(granularity, start, end)| {
            let range = Extent::new(start, end).ok().filter(|range| !range.is_empty())?;
            let granularity = granularity.max(base.grain);
            let mut query = Query::new(text(base, granularity));
            query.range = Some(range);
            query.step = Some(granularity.step());
            query.labels.insert("weir_door".to_owned(), "export".to_owned());
            Some(query)
        })
        .collect()
}

fn zones(needs: Needs, begin: Timestamp, now: Timestamp) -> Vec<(Granularity, Timestamp, Timestamp)> {
    let earlier = |time: Timestamp, need: Option<Timestamp>| need.map_or(time, |need| need.min(time));
    let Needs([five, half, hour]) = needs;
    let five = earlier(recent_since(now), five).max(begin);
    let half = earlier(five, half).max(begin);
    let hour_days = Timestamp::saturating(now.floor(DAY).micros() - HOURLY_DAYS * DAY);
    let hour = earlier(hour_days.min(half), hour).max(begin);
    vec![
        (Granularity::Day, begin, hour),
        (Granularity::Hour, hour, half),
        (Granularity::HalfHour, half, five),
        (Granularity::FiveMinutes, five, now),
    ]
}

/// One text for all experiments; levels are not put in buckets, because they do not add up over time.
fn text(base: &Base, granularity: Granularity) -> String {
    let Base { table, time, experiment, .. } = base;
    let bucket = if base.is_level { time.clone() } else { format!("$__timeGroup({time}, {granularity})") };
    let mut outputs = vec![format!("{bucket} AS time"), experiment.clone(), "branch".to_owned()];
    outputs.extend(base.splits.iter().map(|split| split.column.clone()));
    let groups: Vec<String> = (1..=outputs.len()).map(|place| place.to_string()).collect();
    outputs.extend(base.measures.iter().map(|column| format!("SUM({column}) AS {column}")));
    format!(
        "SELECT {} FROM `{table}` WHERE $__timeFilter({time}) AND branch IS NOT NULL GROUP BY {}",
        outputs.join(", "),
        groups.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::monitoring::datasets::Datasets;

    fn at(text: &str) -> Timestamp {
        Timestamp::parse(text, Timestamp::MIN).unwrap()
    }

    fn check(needs: &[(Granularity, &str)], begin: &str, expected: &[&str]) {
        let mut all = Needs::default();
        for (granularity, since) in needs {
            all.add(*granularity, at(since));
        }
        let datasets = Datasets::ready_made("p");
        let queries = queries(&datasets.bases()[2], all, at(begin), at("2024-03-31T12:02:00Z"));
        let written: Vec<String> =
            queries.iter().map(|query| format!("{} {}", query.step.unwrap(), query.range.unwrap())).collect();
        assert_eq!(written, expected, "{needs:?}");
    }

    #[test]
    fn ranges_join_and_older_ones_have_longer_buckets() {
        let recent = "5m [2024-03-29T00:00:00Z, 2024-03-31T12:02:00Z)";
        let days = "1d [2024-01-01T00:00:00Z, 2024-02-29T00:00:00Z)";
        check(&[], "2024-01-01", &[days, "1h [2024-02-29T00:00:00Z, 2024-03-29T00:00:00Z)", recent]);
        check(
            &[(Granularity::Day, "2020-01-01")],
            "2024-03-20",
            &["1h [2024-03-20T00:00:00Z, 2024-03-29T00:00:00Z)", recent],
        );
        check(&[], "2024-03-31", &["5m [2024-03-31T00:00:00Z, 2024-03-31T12:02:00Z)"]);
    }

    #[test]
    fn finer_buckets_are_fetched_as_far_back_as_they_are_needed() {
        check(
            &[(Granularity::FiveMinutes, "2024-03-25T07:00:00Z"), (Granularity::FiveMinutes, "2024-03-26")],
            "2024-03-01",
            &["1h [2024-03-01T00:00:00Z, 2024-03-25T00:00:00Z)", "5m [2024-03-25T00:00:00Z, 2024-03-31T12:02:00Z)"],
        );
        check(
            &[(Granularity::HalfHour, "2024-03-25"), (Granularity::Hour, "2024-02-01")],
            "2024-01-01",
            &[
                "1d [2024-01-01T00:00:00Z, 2024-02-01T00:00:00Z)",
                "1h [2024-02-01T00:00:00Z, 2024-03-25T00:00:00Z)",
                "30m [2024-03-25T00:00:00Z, 2024-03-29T00:00:00Z)",
                "5m [2024-03-29T00:00:00Z, 2024-03-31T12:02:00Z)",
            ],
        );
    }

    #[test]
    fn a_text_names_no_experiment() {
        let datasets = Datasets::ready_made("p");
        let [crashes, active] = [2, 3].map(|base| text(&datasets.bases()[base], Granularity::Hour));
        assert_eq!(
            crashes,
            "SELECT $__timeGroup(window_start, 1h) AS time, experiment, branch, crash_process_type, \
             SUM(crash_count) AS crash_count FROM `p.telemetry.experiment_crash_rates_live` \
             WHERE $__timeFilter(window_start) AND branch IS NOT NULL GROUP BY 1, 2, 3, 4"
        );
        assert_eq!(
            active,
            "SELECT time AS time, experiment, branch, SUM(value) AS value \
             FROM `p.telemetry.experiment_enrollment_daily_active_population` \
             WHERE $__timeFilter(time) AND branch IS NOT NULL GROUP BY 1, 2, 3"
        );
    }
}
