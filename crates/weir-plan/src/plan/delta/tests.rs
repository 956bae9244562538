//! Segments, their names and lives, over a table of days.

use super::*;
use crate::analysis::{Catalog, Measure};
use crate::descriptor::{Comparison, Compatible, Flip, History, Pruning, Verdict};
use crate::extent::PartitionUnit;
use crate::query::TableId;
use crate::{Descriptors, analyse};

const DAILY: &str = "SELECT $__timeGroup(ts, $__interval) AS time, branch, SUM(n) AS n FROM d.t \
    WHERE $__timeFilter(ts) GROUP BY 1, 2 ORDER BY 1 DESC";
const ROWS: &str = "SELECT ts, n FROM d.t WHERE $__timeFilter(ts) ORDER BY ts";

fn at(text: &str) -> Timestamp {
    Timestamp::parse(text, Timestamp::MIN).unwrap()
}

fn extent(from: &str, to: &str) -> Extent {
    Extent::new(at(from), at(to)).unwrap()
}

fn table() -> SourceDescriptor {
    SourceDescriptor {
        time_column: Some("ts".into()),
        partition: Some(PartitionUnit::Day),
        history: History::Local,
        ..SourceDescriptor::new(TableId::new("p", "d", "t"))
    }
}

fn query(sql: &str, from: &str, to: &str, step: &str) -> Query {
    let mut query = Query::new(sql);
    query.range = Some(extent(from, to));
    query.step = Some(step.parse().unwrap());
    query
}

fn planned(query: &Query, changed: Option<&str>, now: &str) -> Result<Plan, Reason> {
    planned_of(table(), query, changed, now)
}

fn template(table: SourceDescriptor, query: &Query) -> Result<Template, Reason> {
    let descriptors: Descriptors = [table.clone()].into_iter().collect();
    let analysis = analyse(&query.sql, &Catalog { descriptors: &descriptors, project: Some("p"), dataset: None });
    Template::new(&query.sql, &query.target, &analysis, table, None)
}

fn planned_of(table: SourceDescriptor, query: &Query, changed: Option<&str>, now: &str) -> Result<Plan, Reason> {
    let changed = changed.map(at);
    let listing = Listing {
        at: at(now),
        modified: None,
        changed: &|_| changed.map(|changed| (changed, 1)),
        purged: &|_| 0,
        statics: &[],
    };
    let template = template(table, query)?;
    delta(query, &Context::default(), &Arc::new(template), listing, at(now))
}

fn extents(plan: &Plan) -> Vec<Extent> {
    plan.segments.iter().map(|segment| segment.extent.unwrap()).collect()
}

const NOW: &str = "2024-01-10T12:00:00Z";

#[test]
fn a_range_is_cut_at_partitions_and_widened_to_whole_ones() {
    let plan = planned(&query(DAILY, "2024-01-08T06:02:00Z", "2024-01-10T12:00:00Z", "5m"), Some(NOW), NOW).unwrap();
    let days = ["2024-01-08", "2024-01-09", "2024-01-10", "2024-01-11"];
    let expected: Vec<_> = days.windows(2).map(|day| extent(day[0], day[1])).collect();
    assert_eq!(extents(&plan), expected);
    let assembly = plan.assembly.clone().unwrap();
    assert_eq!(assembly.range, extent("2024-01-08T06:00:00Z", "2024-01-10T12:00:00Z"));
    assert_eq!((plan.mode, plan.reason), (Mode::Delta, "buckets"));
    assert_eq!(assembly.time_output, TimeOutput::Place(0));
    assert_eq!(assembly.order, [OrderKey { output: 0, descending: true, nulls_first: false }]);
    let filter = "ts >= TIMESTAMP '2024-01-08T00:00:00Z' AND ts < TIMESTAMP '2024-01-09T00:00:00Z'";
    let job = joined(&assembly, &[&plan.segments[0]]).unwrap();
    assert!(job.sql.contains(filter), "{}", job.sql);
}

#[test]
fn what_is_settled_and_for_everybody_outlives_the_process() {
    let lasting = |scope: &str, to: &str| {
        let mut asked = query(DAILY, "2024-01-05", to, "1d");
        asked.scope = crate::Scope(scope.into());
        let plan = planned(&asked, Some("2024-01-05"), NOW).unwrap();
        plan.segments.iter().map(Segment::is_lasting).collect::<Vec<_>>()
    };
    assert_eq!(lasting("", "2024-01-07"), [true, true]);
    assert_eq!(lasting("", "2024-01-11")[4..], [true, false], "today is open");
    assert_eq!(lasting("ada", "2024-01-07"), [false, false]);
}

#[test]
fn segments_are_the_same_for_every_range_and_moment_until_their_partition_changes() {
    let week = planned(&query(DAILY, "2024-01-03", "2024-01-10", "5m"), Some("2024-01-05"), NOW).unwrap();
    let later = "2024-01-10T18:00:00Z";
    let fortnight = planned(&query(DAILY, "2023-12-27", "2024-01-10", "5m"), Some("2024-01-05"), later).unwrap();
    assert_eq!(
        fortnight.segments[7..14].iter().map(|it| &it.key).collect::<Vec<_>>(),
        week.segments[..7].iter().map(|it| &it.key).collect::<Vec<_>>()
    );
    let changed = planned(&query(DAILY, "2024-01-03", "2024-01-10", "5m"), Some("2024-01-06"), NOW).unwrap();
    assert!(week.segments.iter().zip(&changed.segments).all(|(one, other)| one.key != other.key));
    let hourly = planned(&query(DAILY, "2024-01-03", "2024-01-10", "1h"), Some("2024-01-05"), NOW).unwrap();
    assert_ne!(hourly.segments[0].key, week.segments[0].key);
}

#[test]
fn the_open_segment_lives_for_a_slot_and_keeps_its_name_while_rows_arrive() {
    let today = |changed, now| {
        let plan = planned(&query(DAILY, "2024-01-10", "2024-01-11", "5m"), Some(changed), now).unwrap();
        <[Segment; 1]>::try_from(plan.segments).unwrap()[0].clone()
    };
    let noon = today("2024-01-10T11:00:00Z", NOW);
    assert_eq!(noon.key, today("2024-01-10T11:59:00Z", NOW).key);
    assert_eq!(noon.freshness.fresh_for, Duration::from_secs(75));
    let judged = |fetched: &str| noon.judge(at(fetched), false, at(NOW));
    assert_eq!(judged("2024-01-10T11:59:00Z"), Verdict::Fresh);
    assert_eq!(judged("2024-01-10T11:58:00Z"), Verdict::Stale);
    assert_eq!(judged("2024-01-10T11:00:00Z"), Verdict::Expired);
    let settled = today("2024-01-11T00:05:00Z", "2024-01-11T00:11:00Z");
    assert_ne!(settled.key, noon.key);
    assert_eq!(settled.judge(at("2024-01-11T00:10:30Z"), true, at("2024-02-20")), Verdict::Fresh, "for good");
}

#[test]
fn a_partition_that_changed_just_before_it_was_listed_is_open() {
    let plan = |changed| planned(&query(DAILY, "2024-01-03", "2024-01-04", "5m"), Some(changed), NOW).unwrap();
    let unsure = &plan("2024-01-10T11:59:30Z").segments[0];
    assert_eq!((unsure.settling, unsure.freshness.fresh_for), (None, Duration::from_secs(75)));
    assert_eq!(unsure.judge(at("2024-01-10T11:00:00Z"), false, at(NOW)), Verdict::Expired);
    let sure = &plan("2024-01-10T11:59:00Z").segments[0];
    assert_eq!(sure.judge(at("2024-01-10T11:00:00Z"), false, at(NOW)), Verdict::Fresh);
    assert_ne!(sure.key, unsure.key);
}

#[test]
fn only_open_buckets_live_for_a_slot_that_is_longer_than_the_look_at_closed_ones() {
    let daily = || SourceDescriptor { daily_table: Some(TableId::new("p", "d", "t")), ..table() };
    let mut asked = query(DAILY, "2023-12-28", "2024-01-18", "1w");
    for (fresh_for, open) in [(None, 3600), (Some(Duration::from_hours(2)), 7200), (Some(Duration::from_mins(1)), 60)] {
        asked.cache.fresh_for = fresh_for;
        let found = |changed| {
            let plan = planned_of(daily(), &asked, Some(changed), NOW).unwrap();
            let of = |segment: &Segment| {
                (segment.settling.map(|settling| settling.state), segment.freshness.fresh_for.as_secs())
            };
            plan.segments.iter().map(of).collect::<Vec<_>>()
        };
        let closed = open.min(300);
        let (pending, open) = ((Some(State::Pending), closed), (Some(State::Open), open));
        assert_eq!(found("2024-01-10T11:00:00Z"), [pending, open, open], "{fresh_for:?}");
        assert_eq!(found("2024-01-10T11:59:30Z")[0], (None, closed), "perhaps it has changed again");
    }
}

#[test]
fn what_one_caller_may_see_is_kept_for_an_hour() {
    let mut scoped = query(DAILY, "2024-01-03", "2024-01-04", "5m");
    let kept = |query: &Query| planned(query, Some("2024-01-05"), NOW).unwrap().segments[0].keep_for;
    assert_eq!(kept(&scoped), Duration::from_hours(720));
    scoped.scope.0 = "user:1".into();
    assert_eq!(kept(&scoped), Duration::from_hours(1));
}

#[test]
fn an_alert_takes_nothing_stale() {
    let mut alert = query(DAILY, "2024-01-10", "2024-01-11", "5m");
    alert.cache.max_stale = Some(Duration::ZERO);
    let plan = planned(&alert, Some(NOW), NOW).unwrap();
    assert_eq!(plan.segments[0].judge(at("2024-01-10T11:58:00Z"), false, at(NOW)), Verdict::Expired);
}

#[test]
fn a_caller_takes_what_is_stale_for_no_longer_than_it_says() {
    let mut asked = query(DAILY, "2024-01-10", "2024-01-11", "5m");
    asked.cache.max_stale = Some(Duration::from_mins(1));
    let plan = planned(&asked, Some(NOW), NOW).unwrap();
    let judged = |fetched: &str| plan.segments[0].judge(at(fetched), false, at(NOW));
    assert_eq!(judged("2024-01-10T11:57:46Z"), Verdict::Stale);
    assert_eq!(judged("2024-01-10T11:57:45Z"), Verdict::Expired);
}

#[test]
fn raw_rows_are_cropped_to_the_asked_range() {
    let plan = planned(&query(ROWS, "2024-01-08T06:02:00Z", "2024-01-09T12:00:00Z", "5m"), Some(NOW), NOW).unwrap();
    assert_eq!(extents(&plan), [extent("2024-01-08", "2024-01-09"), extent("2024-01-09", "2024-01-10")]);
    let assembly = plan.assembly.unwrap();
    assert_eq!(assembly.range, extent("2024-01-08T06:02:00Z", "2024-01-09T12:00:00Z"));
    assert_eq!((plan.mode, assembly.descending), (Mode::Rows, Some(false)));
}

#[test]
fn neighbours_are_one_job_with_a_name_of_its_own() {
    let asked = query(DAILY, "2024-01-08", "2024-01-10", "5m");
    let plan = planned(&asked, Some("2024-01-09"), NOW).unwrap();
    let segments: Vec<_> = plan.segments.iter().collect();
    let job = joined(plan.assembly.as_ref().unwrap(), &segments).unwrap();
    assert_eq!(job.extent, Some(extent("2024-01-08", "2024-01-10")));
    assert!(job.sql.contains("ts >= TIMESTAMP '2024-01-08T00:00:00Z' AND ts < TIMESTAMP '2024-01-10T00:00:00Z'"));
    assert!(segments.iter().all(|segment| segment.key != job.key));
    assert_eq!(sql(plan.assembly.as_ref().unwrap(), &plan.segments).unwrap(), job.sql, "a table by its name");
}

#[test]
fn a_job_lives_for_the_shortest_slot_of_its_parts() {
    let asked = query(DAILY, "2024-01-09", "2024-01-11", "5m");
    let plan = planned(&asked, Some("2024-01-09"), NOW).unwrap();
    let segments: Vec<_> = plan.segments.iter().collect();
    let job = joined(plan.assembly.as_ref().unwrap(), &segments).unwrap();
    let seconds = |segment: &Segment| segment.freshness.fresh_for.as_secs();
    assert_eq!([segments[0], segments[1], &job].map(seconds), [900, 75, 75]);
}

#[test]
fn a_small_part_of_many_rows_is_not_cut() {
    let reason = |sql: &str, to: &str, step: &str| {
        planned(&query(sql, "2024-01-08T00:00:00Z", to, step), Some(NOW), NOW).map(|plan| plan.reason)
    };
    assert_eq!(reason(ROWS, "2024-01-08T05:59:59Z", "1m"), Err("small_range"));
    assert_eq!(reason(ROWS, "2024-01-08T06:00:00Z", "1m"), Ok("raw_rows"));
    assert_eq!(reason(DAILY, "2024-01-08T01:00:00Z", "1s"), Err("small_range"));
    assert_eq!(reason(DAILY, "2024-01-08T12:00:00Z", "1s"), Ok("buckets"));
    assert_eq!(reason(DAILY, "2024-01-08T01:00:00Z", "1m"), Ok("buckets"), "a day of minutes is little");
}

#[test]
fn what_cannot_be_cut_says_why() {
    let check = |sql: &str, from: &str, to: &str, step: &str, expected: Reason| {
        assert_eq!(planned(&query(sql, from, to, step), Some(NOW), NOW).unwrap_err(), expected, "{sql}");
    };
    check(
        "SELECT COUNT(*) FROM d.t WHERE $__timeFilter(ts)",
        "2024-01-01",
        "2024-01-02",
        "5m",
        "aggregate_without_bucket",
    );
    check(DAILY, "1969-01-01", "1970-02-01", "5m", "before_epoch");
    check(ROWS, "1969-12-31", "1970-02-01", "5m", "step_splits_column");
    check(DAILY, "2020-01-01", "2024-01-01", "5m", "many_segments");
    check(DAILY, "2024-01-01", "2024-01-01", "5m", "empty_range");
}

#[test]
fn raw_rows_are_cut_from_the_epoch_on_and_two_years_of_days_are_not_too_many() {
    let count = |sql: &str, from: &str, to: &str| {
        planned(&query(sql, from, to, "1d"), Some(NOW), NOW).map(|plan| plan.segments.len())
    };
    assert_eq!(count(ROWS, "1970-01-01", "1970-01-03"), Ok(2));
    assert_eq!(count(DAILY, "2022-01-01", "2024-01-21"), Ok(750));
    assert_eq!(count(DAILY, "2022-01-01", "2024-01-22"), Err("many_segments"));
}

#[test]
fn a_text_that_says_something_else_than_its_analysis_is_no_template() {
    let descriptors: Descriptors = [table()].into_iter().collect();
    let analysis = analyse(DAILY, &Catalog { descriptors: &descriptors, project: Some("p"), dataset: None });
    let made = |sql: &str| Template::new(sql, &Query::new(sql).target, &analysis, table(), None).map(drop);
    assert_eq!(made(DAILY), Ok(()));
    assert_eq!(made(&DAILY.replace("$__timeFilter(ts)", "$__timeFilter(created)")), Err("expansion_differs"));
}

/// A table by day with a column that has the day of its time.
fn with_days(time_type: TimeType, truncated: Duration) -> SourceDescriptor {
    let day = Compatible { column: "day".into(), time_type, truncated };
    SourceDescriptor { compatible: vec![day], ..table() }
}

#[test]
fn raw_rows_are_cut_by_their_very_time() {
    let reason = |table, sql: &str| {
        planned_of(table, &query(sql, "2024-01-05", "2024-01-08", "5m"), Some(NOW), NOW).map(|plan| plan.reason)
    };
    let dated = SourceDescriptor { time_type: TimeType::Date, ..table() };
    assert_eq!((reason(table(), ROWS), reason(dated, ROWS)), (Ok("raw_rows"), Err("step_splits_column")));
    let exact = with_days(TimeType::Timestamp, Duration::ZERO);
    assert_eq!(reason(exact, "SELECT ts, n FROM d.t WHERE $__timeFilter(day)"), Err("filter_column"));
}

#[test]
fn what_is_awaited_is_kept_for_good_and_what_is_live_until_it_changes_sides() {
    let flipping = || SourceDescriptor {
        flip: Some(Flip { days: 2, comparison: Comparison::ByDate }),
        daily_table: Some(TableId::new("p", "d", "t")),
        ..table()
    };
    let asked = query(DAILY, "2024-01-06", "2024-01-11", "1d");
    let plan = planned_of(flipping(), &asked, Some("2024-01-10T11:00:00Z"), NOW).unwrap();
    let of = |segment: &Segment| {
        (
            segment.settling.unwrap().state,
            segment.keep_for.as_secs() / 3600,
            segment.freshness.stale_until.as_secs() / 3600,
        )
    };
    let found: Vec<_> = plan.segments.iter().map(of).collect();
    // The partitions are an hour old, which is less than the grace; the live day leaves its side at midnight.
    assert_eq!(
        found[..4],
        [(State::Pending, 720, 0), (State::Pending, 720, 0), (State::Pending, 720, 0), (State::Live, 12, 720)]
    );
    assert_eq!(found[4].0, State::Open);
}

#[test]
fn a_text_says_whether_coarse_buckets_are_sums_of_fine_ones() {
    let derivation = |sql: &str| {
        let asked = query(sql, "2024-01-05", "2024-01-08", "1d");
        planned(&asked, Some(NOW), NOW).unwrap().assembly.unwrap().derivation()
    };
    assert_eq!(derivation(DAILY), Some(vec![Role::Bucket, Role::Group, Role::Measure(Measure::Sum)]));
    assert_eq!(derivation(&DAILY.replace("SUM(n)", "COUNT(DISTINCT n)")), None);
    assert_eq!(derivation(&DAILY.replace("$__interval", "1d")), None, "its step is written");
}

#[test]
fn a_template_says_what_its_answers_depend_on() {
    let of = |table, sql: &str| template(table, &Query::new(sql)).unwrap();
    let digests = [DAILY, &DAILY.replace("SUM", "MAX")].map(|sql| of(table(), sql).digest().to_owned());
    assert_eq!(digests[0], of(table(), DAILY).digest());
    assert_ne!(digests[0], digests[1]);
    assert_eq!(digests[0].len(), 64);
    let noon = extent("2024-01-08T12:00:00Z", "2024-01-09T12:00:00Z");
    assert_eq!(of(table(), DAILY).partition_ids(noon), ["20240108", "20240109"]);
    let pruning = Pruning {
        column: "day".into(),
        time_type: TimeType::Date,
        hidden: false,
        truncated: Duration::ZERO,
        behind: Duration::from_hours(24),
        slack: Duration::ZERO,
    };
    let behind = || SourceDescriptor { pruning: Some(pruning.clone()), ..table() };
    assert_eq!(of(behind(), DAILY).partition_ids(noon), ["20240107", "20240108"]);

    assert!(of(table(), DAILY).surely_prunes());
    assert!(of(table(), &DAILY.replace("(ts)", "(TS)")).surely_prunes());
    assert!(!of(behind(), DAILY).surely_prunes());
    assert!(!of(table(), &DAILY.replace("(ts)", "(TIMESTAMP(ts))")).surely_prunes());
    let other = with_days(TimeType::Timestamp, Duration::ZERO);
    assert!(!of(other, &DAILY.replace("timeFilter(ts)", "timeFilter(day)")).surely_prunes());
}

#[test]
fn static_tables_are_named_in_the_order_of_the_text() {
    let named = |name: &str| SourceDescriptor {
        is_static: true,
        time_column: None,
        ..SourceDescriptor::new(TableId::new("p", "d", name))
    };
    let descriptors: Descriptors = [table(), named("a"), named("b")].into_iter().collect();
    let sql = "SELECT $__timeGroup(t.ts, 1h) AS time, COUNT(*) AS n FROM `p.d.t` AS t JOIN `p.d.b` AS b ON b.x = t.x \
        JOIN `p.d.a` AS a ON a.x = t.x WHERE $__timeFilter(t.ts) GROUP BY 1";
    let analysis = analyse(sql, &Catalog { descriptors: &descriptors, project: None, dataset: None });
    let template = Template::new(sql, &crate::Target::default(), &analysis, table(), None).unwrap();
    assert_eq!(template.statics(), [TableId::new("p", "d", "b"), TableId::new("p", "d", "a")]);
}
