//! Cases of ranges, buckets and segments, and properties of them all.

use proptest::prelude::*;

use super::*;

fn at(text: &str) -> Timestamp {
    Timestamp::parse(text, Timestamp::MIN).unwrap()
}

fn extent(from: &str, to: &str) -> Extent {
    Extent::new(at(from), at(to)).unwrap()
}

fn step(text: &str) -> Step {
    text.parse().unwrap()
}

/// `[from, to)` in seconds, as a list of numbers has it.
fn seconds(from: i64, to: i64) -> Extent {
    Extent::new(Timestamp::saturating(from * SECOND), Timestamp::saturating(to * SECOND)).unwrap()
}

fn set(ranges: &[(i64, i64)]) -> Ranges {
    ranges.iter().map(|(from, to)| seconds(*from, *to)).collect()
}

#[test]
fn a_moment_is_told_in_every_unit_rounded_down() {
    let units = |time: Timestamp| (time.micros(), time.millis(), time.seconds());
    let time = at("2024-01-01T00:00:01.5009Z");
    assert_eq!(units(time), (1_704_067_201_500_900, 1_704_067_201_500, 1_704_067_201));
    assert_eq!(time.iso_millis(), "2024-01-01T00:00:01.500Z");
    assert_eq!(units(Timestamp::saturating(-1)), (-1, -1, -1));
    let ends = [Timestamp::MIN, Timestamp::MAX].map(|end| end.to_string());
    assert_eq!(ends, ["0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999Z"]);
}

#[test]
fn beyond_a_day_steps_are_of_whole_days_and_a_month_counts_as_thirty() {
    const DAY_MS: i64 = 86_400_000;
    for (millis, days) in [(DAY_MS - 1, 1), (DAY_MS, 1), (DAY_MS + 1, 2), (2 * DAY_MS, 2), (2 * DAY_MS + 1, 3)] {
        assert_eq!(Step::suggested(millis).unwrap(), Step::Micros(days * DAY), "{millis}");
    }
    assert_eq!((step("3M").millis(), step("1y").millis()), (90 * DAY_MS, 360 * DAY_MS));
    assert_eq!(step("1000000d"), Step::Micros(1_000_000 * DAY));
    assert!("1000001d".parse::<Step>().is_err());
}

#[test]
fn what_is_missing_is_what_is_needed_and_not_there() {
    type Pairs<'a> = &'a [(i64, i64)];
    let cases: [(Pairs, (i64, i64), Pairs); 10] = [
        (&[], (1, 101), &[(1, 101)]),
        (&[(50, 101)], (1, 101), &[(1, 50)]),
        (&[(50, 101)], (1, 102), &[(1, 50), (101, 102)]),
        (&[(1, 201)], (50, 101), &[]),
        (&[(1, 41), (60, 101)], (1, 101), &[(41, 60)]),
        (&[(200, 301)], (1, 101), &[(1, 101)]),
        (&[(1, 51), (51, 101)], (1, 101), &[]),
        (&[(50, 130), (160, 260)], (100, 210), &[(130, 160)]),
        (&[(1, 10)], (10, 10), &[]),
        (&[(1, 10)], (10, 20), &[(10, 20)]),
    ];
    for (have, (from, to), expected) in cases {
        let need = seconds(from, to);
        assert_eq!(set(have).missing(need), set(expected), "have {have:?} need {need}");
        assert_eq!(set(have).covers(need), expected.is_empty());
    }
}

#[test]
fn ranges_that_touch_or_overlap_become_one() {
    let ranges = set(&[(5, 9), (1, 3), (3, 4), (8, 12), (20, 20)]);
    assert_eq!(ranges.iter().collect::<Vec<_>>(), [seconds(1, 4), seconds(5, 12)]);
    assert_eq!(ranges.merge(&set(&[(4, 5)])), set(&[(1, 12)]));
    assert_eq!(ranges.hull(), Some(seconds(1, 12)));
    assert_eq!(Ranges::default().hull(), None);
    assert!(Ranges::default().is_empty());
}

/// One table: a minimum for each job, and so much for each second.
fn bill(minimum: u64, each: u64) -> impl Fn(Extent) -> u64 {
    move |extent| (u64::try_from(extent.micros() / SECOND).unwrap() * each).max(minimum)
}

#[test]
fn holes_are_fetched_apart_only_where_that_bills_less_than_their_hull() {
    let have: Ranges = [extent("2024-01-02", "2024-01-03"), extent("2024-01-04", "2024-01-05")].into_iter().collect();
    let holes = have.missing(extent("2024-01-01", "2024-01-06"));
    assert_eq!(holes.iter().count(), 3);
    let dear_partitions = holes.jobs(bill(10, 1));
    assert_eq!(dear_partitions, holes.iter().collect::<Vec<_>>());
    let dear_minimums = holes.jobs(bill(1_000_000, 1));
    assert_eq!(dear_minimums, [extent("2024-01-01", "2024-01-06")]);
    assert_eq!(set(&[(0, 1), (2, 3), (90, 91)]).jobs(bill(5, 1)), [seconds(0, 3), seconds(90, 91)]);
    assert_eq!(set(&[(0, 1), (2, 3)]).jobs(|_| 0), [seconds(0, 3)], "one job where the bills are equal");
    assert_eq!(Ranges::default().jobs(bill(1, 1)), []);
}

#[test]
fn a_request_widens_to_whole_buckets_and_ends_with_the_one_that_holds_now() {
    let ten = Step::Micros(10 * SECOND);
    assert_eq!(ten.align(seconds(1, 103), Timestamp::saturating(105 * SECOND)), seconds(0, 110));
    assert_eq!(ten.align(seconds(1, 103), Timestamp::saturating(81 * SECOND)), seconds(0, 90));
    assert_eq!(ten.align(seconds(10, 20), Timestamp::saturating(20 * SECOND)), seconds(10, 20));
    assert!(ten.align(seconds(100, 200), Timestamp::saturating(50 * SECOND)).is_empty());
}

#[test]
fn buckets_begin_where_the_expansion_of_time_group_says() {
    let check = |name: &str, instant: &str, start: &str, end: &str| {
        let step = step(name);
        assert_eq!((step.floor(at(instant)), step.next(at(instant))), (at(start), at(end)), "{name} at {instant}");
        assert_eq!(step.ceil(at(start)), at(start));
        assert_eq!(step.ceil(at(instant)), if instant == start { at(start) } else { at(end) });
    };
    check("5m", "2024-02-29T12:34:56Z", "2024-02-29T12:30:00Z", "2024-02-29T12:35:00Z");
    check("1d", "2024-02-29", "2024-02-29", "2024-03-01");
    check("1w", "2024-02-29", "2024-02-29", "2024-03-07");
    check("1w", "2024-03-06T23:59:59Z", "2024-02-29", "2024-03-07");
    check("7h", "1970-01-02", "1970-01-01T21:00:00Z", "1970-01-02T04:00:00Z");
    check("1M", "2024-02-29T12:00:00Z", "2024-02-01", "2024-03-01");
    check("3M", "2024-12-31", "2024-10-01", "2025-01-01");
    check("5M", "2024-11-15", "2024-11-01", "2025-01-01");
    check("5M", "2024-10-15", "2024-06-01", "2024-11-01");
    check("1y", "2024-02-29", "2024-01-01", "2025-01-01");
    check("2y", "2025-02-28", "2024-01-01", "2026-01-01");
    check("18M", "2024-02-29", "2023-07-01", "2025-01-01");
}

#[test]
fn a_bucket_at_the_end_of_time_ends_with_it() {
    assert_eq!(step("1M").next(Timestamp::MAX), Timestamp::MAX);
    assert_eq!(step("1d").next(Timestamp::MAX), Timestamp::MAX);
    let last = Extent::new(at("9999-12-31T23:00:00Z"), Timestamp::MAX).unwrap();
    assert_eq!(segments(last, step("1h"), PartitionUnit::Day).len(), 1);
    assert_eq!(segments(last, step("1y"), PartitionUnit::Day).len(), 1);
}

#[test]
fn a_suggested_step_is_never_below_the_grain() {
    let check = |millis: i64, grain: &str, expected: &str| {
        let Step::Micros(micros) = step(grain) else { panic!("{grain}") };
        let grain = Duration::from_micros(micros.unsigned_abs());
        assert_eq!(Step::suggested_for(millis, grain).unwrap().to_string(), expected);
    };
    check(20_000, "5m", "5m");
    check(600_000, "5m", "10m");
    check(1, "7m", "10m");
    check(1, "36h", "2d");
    check(1, "1s", "1s");
    assert_eq!(Step::suggested_for(1, Duration::ZERO).unwrap(), step("1s"));
    assert!(Step::suggested_for(0, Duration::from_mins(5)).is_err());
}

#[test]
fn steps_are_multiples_of_units_that_divide_their_bucket_starts() {
    assert!(step("1h").is_multiple_of(5 * MINUTE));
    assert!(!step("7m").is_multiple_of(5 * MINUTE));
    assert!(step("1M").is_multiple_of(DAY));
    assert!(!step("1M").is_multiple_of(WEEK));
    assert!(!step("1h").is_multiple_of(0));
    assert!(!step("1M").is_multiple_of(0));
    assert_eq!(["23h", "1d", "1w", "1M"].map(|name| step(name).is_of_days()), [false, true, true, true]);
}

#[test]
fn a_segment_is_a_partition_below_a_day_and_a_bucket_from_a_day_on() {
    use PartitionUnit::{Day, Hour, Month, Year};
    let check = |name: &str, unit: PartitionUnit, from: &str, to: &str, expected: &[&str]| {
        let cut: Vec<_> = segments(extent(from, to), step(name), unit).iter().map(|part| part.start()).collect();
        assert_eq!(cut, expected.iter().map(|text| at(text)).collect::<Vec<_>>(), "{name} {unit:?} {from} {to}");
    };
    check("5m", Day, "2024-01-01T23:00:00Z", "2024-01-02T01:00:00Z", &["2024-01-01", "2024-01-02"]);
    check("5m", Day, "2024-01-01", "2024-01-02", &["2024-01-01"]);
    check("5m", Hour, "2024-01-01T00:59:00Z", "2024-01-01T01:01:00Z", &["2024-01-01", "2024-01-01T01:00:00Z"]);
    check("6h", Hour, "2024-01-01T05:00:00Z", "2024-01-01T07:00:00Z", &["2024-01-01", "2024-01-01T06:00:00Z"]);
    check("1h", Month, "2024-01-31", "2024-02-02", &["2024-01-01", "2024-02-01"]);
    check("1h", Year, "2024-01-31", "2024-02-02", &["2024-01-01"]);
    check("1d", Day, "2024-01-01", "2024-01-03", &["2024-01-01", "2024-01-02"]);
    check("1w", Day, "2024-01-01", "2024-01-05", &["2023-12-28", "2024-01-04"]);
    check("1M", Day, "2024-01-31", "2024-02-02", &["2024-01-01", "2024-02-01"]);
    check("1d", Day, "2024-01-01", "2024-01-01", &[]);
}

#[test]
fn a_seven_hour_step_cuts_its_segments_at_the_first_bucket_of_each_day() {
    let parts = segments(extent("1970-01-01", "1970-01-03"), step("7h"), PartitionUnit::Day);
    let expected = ["1970-01-01T00:00:00Z", "1970-01-02T04:00:00Z", "1970-01-03T01:00:00Z"];
    assert_eq!(parts.iter().map(|part| part.start()).collect::<Vec<_>>(), [at(expected[0]), at(expected[1])]);
    assert_eq!(parts[1].end(), at(expected[2]));
}

#[test]
fn partitions_cover_a_range_with_whole_ones() {
    let range = extent("2024-01-31T12:00:00Z", "2024-02-01T00:00:01Z");
    assert_eq!(PartitionUnit::Day.cover(range), extent("2024-01-31", "2024-02-02"));
    assert_eq!(PartitionUnit::Month.cover(range), extent("2024-01-01", "2024-03-01"));
}

#[test]
fn a_cold_week_is_one_run_of_whole_days_and_a_longer_request_fetches_only_the_older_ones() {
    let now = at("2024-03-10T12:00:00Z");
    let five = step("5m");
    let need = |days: &str| {
        let range = Extent::new(Timestamp::parse(days, now).unwrap(), now).unwrap();
        segments(five.align(range, now), five, PartitionUnit::Day)
    };
    let week: Ranges = need("now-7d").into_iter().collect();
    assert_eq!(week, extent("2024-03-03", "2024-03-11").into());
    let fortnight: Ranges = need("now-14d").into_iter().collect();
    let missing = week.missing(fortnight.hull().unwrap());
    assert_eq!(missing, extent("2024-02-25", "2024-03-03").into());
}

fn any_step() -> impl Strategy<Value = Step> {
    let names = ["1s", "7s", "5m", "7m", "1h", "7h", "12h", "1d", "36h", "1w", "1M", "5M", "1y", "18M"];
    prop::sample::select(names.map(step).to_vec())
}

fn any_unit() -> impl Strategy<Value = PartitionUnit> {
    use PartitionUnit::{Day, Hour, Month, Year};
    prop::sample::select(vec![Hour, Day, Month, Year])
}

/// Ranges of up to forty days between 1970 and 2100.
fn any_extent() -> impl Strategy<Value = Extent> {
    (0..47_482 * DAY, 1..40 * DAY).prop_map(|(start, length)| {
        Extent::new(Timestamp::saturating(start), Timestamp::saturating(start + length)).unwrap()
    })
}

proptest! {
    #[test]
    fn segments_tile_the_whole_at_bucket_starts(extent in any_extent(), step in any_step(), unit in any_unit()) {
        let parts = segments(extent, step, unit);
        prop_assert!(parts[0].start() <= extent.start() && extent.start() < parts[0].end());
        let last = parts[parts.len() - 1];
        prop_assert!(last.start() < extent.end() && extent.end() <= last.end());
        for pair in parts.windows(2) {
            prop_assert_eq!(pair[0].end(), pair[1].start());
        }
        for part in &parts {
            prop_assert!(!part.is_empty());
            prop_assert_eq!(step.floor(part.start()), part.start());
            prop_assert_eq!(step.floor(part.end()), part.end());
        }
    }

    #[test]
    fn a_segment_is_the_same_for_every_range_that_meets_it(
        extent in any_extent(), step in any_step(), unit in any_unit(), share in 0.0..1.0_f64
    ) {
        #[expect(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "any point inside will do")]
        let offset = (extent.micros() as f64 * share) as i64;
        let inside = Timestamp::saturating(extent.start().micros() + offset);
        let held = segments(extent, step, unit).into_iter().find(|part| part.start() <= inside && inside < part.end());
        prop_assert_eq!(held, Some(segment_at(inside, step, unit)));
    }

    #[test]
    fn buckets_hold_their_points_and_follow_each_other(extent in any_extent(), step in any_step()) {
        let point = extent.start();
        let (start, end) = (step.floor(point), step.next(point));
        prop_assert!(start <= point && point < end);
        prop_assert_eq!(step.floor(end), end);
        prop_assert_eq!(step.floor(Timestamp::saturating(end.micros() - 1)), start);
    }

    #[test]
    fn aligned_ranges_hold_what_was_asked_up_to_now(extent in any_extent(), step in any_step(), now in any_extent()) {
        let aligned = step.align(extent, now.start());
        prop_assert!(aligned.start() <= extent.start());
        prop_assert!(aligned.end() >= extent.end().min(now.start()) || aligned.end() == aligned.start());
        prop_assert_eq!(step.align(aligned, now.start()), aligned);
    }

    #[test]
    fn missing_and_had_together_are_the_need_and_do_not_overlap(
        have in prop::collection::vec((0..100_i64, 0..30_i64), 0..8), from in 0..100_i64, length in 0..100_i64
    ) {
        let pairs: Vec<_> = have.iter().map(|(start, length)| (*start, start + length)).collect();
        let (have, need) = (set(&pairs), seconds(from, from + length));
        let missing = have.missing(need);
        for second in 0..230 {
            let inside = |ranges: &Ranges| ranges.covers(seconds(second, second + 1));
            let needed = second >= from && second < from + length;
            prop_assert_eq!(inside(&missing), needed && !inside(&have), "second {}", second);
        }
        let jobs: Ranges = missing.jobs(bill(7, 1)).into_iter().collect();
        let bills = |ranges: &Ranges| ranges.iter().map(bill(7, 1)).sum::<u64>();
        prop_assert!(missing.iter().all(|part| jobs.covers(part)));
        prop_assert!(bills(&jobs) <= bills(&missing));
        prop_assert!(missing.hull().is_none_or(|hull| bills(&jobs) <= bill(7, 1)(hull)));
    }
}
