//! What holds at every granularity.

use weir_plan::extent::DAY;

use super::*;

/// Granularities that reach as far back as the experiments of these tests.
const COARSE: [Option<Granularity>; 3] = [None, Some(Granularity::Hour), Some(Granularity::Day)];

/// A series by its experiment, branch and split.
type Named = (String, Option<String>, Option<String>);

/// Every series key without its time: the sum of its values, and the last of them.
fn sums_and_last(values: &Values) -> BTreeMap<Named, (i64, i64)> {
    let mut ends = BTreeMap::new();
    for ((experiment, _, branch, split), value) in values {
        let (sum, last) = ends.entry((experiment.clone(), branch.clone(), split.clone())).or_insert((0, 0));
        *sum += value;
        // Keys of one experiment come in order of time.
        *last = *value;
    }
    ends
}

#[tokio::test]
async fn sums_of_flows_and_last_points_of_running_sums_are_equal_at_every_granularity() {
    let place = place();
    for dataset in place.figures.datasets().iter().filter(|dataset| dataset.kind != DatasetKind::Level) {
        for by in [By::Total, By::Branch] {
            let at_granularity = async |granularity, cumulative| {
                let query =
                    SeriesQuery { granularity, cumulative: Some(cumulative), ..query(&dataset.name, by.clone()) };
                sums_and_last(&place.series(&query).await)
            };
            let by_age = at_granularity(None, false).await;
            let running = at_granularity(None, true).await;
            assert!(by_age.len() > 5, "{}", dataset.name);
            for granularity in COARSE {
                let flow = at_granularity(granularity, false).await;
                let sums = |ends: &BTreeMap<_, (i64, i64)>| ends.values().map(|(sum, _)| *sum).collect::<Vec<_>>();
                assert_eq!(sums(&flow), sums(&by_age), "{} {by:?} {granularity:?}", dataset.name);
                let last = |ends: &BTreeMap<_, (i64, i64)>| ends.values().map(|(_, last)| *last).collect::<Vec<_>>();
                let running_here = at_granularity(granularity, true).await;
                assert_eq!(last(&running_here), last(&running), "{} {by:?} {granularity:?}", dataset.name);
            }
        }
    }
}

#[tokio::test]
async fn sums_of_the_last_days_are_equal_at_the_finest_granularities_too() {
    let place = place();
    let from = Some(at("2024-03-20"));
    for by in [By::Total, By::Branch, By::BranchAndSplit("channel".into())] {
        let mut all = Vec::new();
        for granularity in Granularity::ALL {
            let query = SeriesQuery {
                from,
                granularity: Some(granularity),
                ..query("experiment_enrollment_overall", by.clone())
            };
            let ends = sums_and_last(&place.series(&query).await);
            all.push(ends.into_iter().map(|(key, (sum, _))| (key, sum)).collect::<BTreeMap<_, _>>());
        }
        assert!(all.iter().all(|sums| *sums == all[0]), "{by:?}");
    }
}

#[tokio::test]
async fn splits_add_up_to_the_total() {
    let place = place();
    for (dataset, splits) in [
        ("experiment_enrollment_other_events_overall", vec!["event", "channel"]),
        ("experiment_crash_counts", vec!["process"]),
    ] {
        let total = place.series(&query(dataset, By::Total)).await;
        let mut bys = vec![By::Branch];
        bys.extend(splits.into_iter().flat_map(|split| [By::Split(split.into()), By::BranchAndSplit(split.into())]));
        for by in bys {
            let mut sums = Values::new();
            for ((experiment, time, ..), value) in place.series(&query(dataset, by.clone())).await {
                *sums.entry((experiment, time, None, None)).or_insert(0) += value;
            }
            assert_eq!(sums, total, "{dataset} {by:?}");
        }
    }
}

#[tokio::test]
async fn older_points_are_coarser_as_the_age_of_the_experiment_says() {
    let place = place();
    let listed = place.figures.experiments().await.unwrap();
    let recent = at("2024-03-29").micros();
    let mut ages = [0, 0, 0];
    for series in place.figures.series(&query("experiment_enrollment_overall", By::Total)).await.unwrap() {
        let days = (at(NOW).micros() - listed[&series.experiment].start().unwrap().micros()) / DAY;
        let (age, finest, before) = match days {
            0..14 => (0, Granularity::FiveMinutes, Granularity::Hour),
            14..30 => (1, Granularity::HalfHour, Granularity::Hour),
            _ => (2, Granularity::Hour, Granularity::Day),
        };
        ages[age] += 1;
        assert_eq!(series.granularity, finest);
        for point in &series.points {
            let bucket = if point.time.micros() >= recent { finest } else { before };
            assert_eq!(point.time.micros() % bucket.micros(), 0, "{} at {}", series.experiment, point.time);
        }
        assert!(series.points.is_sorted_by_key(|point| point.time));
    }
    assert!(ages.iter().all(|count| *count > 0), "{ages:?}");
}

#[tokio::test]
async fn a_range_keeps_whole_buckets_and_running_sums_count_what_was_before() {
    let place = place();
    let whole = SeriesQuery {
        granularity: Some(Granularity::Hour),
        ..query("experiment_enrollment_cumulative_population_estimate", By::Total)
    };
    let (from, to) = (at("2024-03-30T06:20:00Z"), at("2024-03-30T09:00:00Z"));
    let part = SeriesQuery { from: Some(from), to: Some(to), ..whole.clone() };
    let mut expected = place.series(&whole).await;
    expected.retain(|(_, time, ..), _| (at("2024-03-30T06:00:00Z").micros()..to.micros()).contains(time));
    assert!(expected.len() > 3, "{expected:?}");
    assert_eq!(place.series(&part).await, expected);
}
