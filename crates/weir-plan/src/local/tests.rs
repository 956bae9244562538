use super::experiments::relations;
use super::*;
use crate::descriptor::experiments::PROJECT;
use crate::extent::HOUR;

fn at(text: &str) -> Timestamp {
    Timestamp::parse(text, Timestamp::MIN).unwrap()
}

fn extent(from: &str, to: &str) -> Extent {
    Extent::new(at(from), at(to)).unwrap()
}

fn relation(name: &str) -> LocalRelation {
    relations(PROJECT).into_iter().find(|relation| relation.name == name).unwrap()
}

#[test]
fn ready_made_relations_can_be_read_in_parts_and_written_down() {
    let all = relations(PROJECT);
    assert_eq!(
        all.iter().map(|relation| &*relation.name).collect::<Vec<_>>(),
        ["enrollment", "search", "crash", "active"]
    );
    for relation in all {
        let again = serde_json::from_value(serde_json::to_value(&relation).unwrap()).unwrap();
        assert_eq!(relation.clone().check().unwrap(), again);
        let template = relation.template().unwrap_or_else(|reason| panic!("{}: {reason}", relation.name));
        assert_eq!(template.reason(), "buckets");
        let (settled_by, _) = template.descriptor().settled_by();
        assert_eq!(settled_by.project, PROJECT, "{}", relation.name);
    }
}

#[test]
fn the_base_reads_the_side_and_the_partitions_of_its_range() {
    let template = relation("search").template().unwrap();
    let text = |from, to, empty: &[&str]| {
        let empty =
            empty.iter().map(|app| TableId::new(PROJECT, format!("{app}_derived"), "experiment_search_events_live_v1"));
        template.text(extent(from, to), Step::Micros(HOUR), at("2024-05-10T12:00:00Z"), &empty.collect()).unwrap()
    };
    let open = text("2024-05-10", "2024-05-11", &[]);
    assert_eq!(
        (
            open.matches("_live_v1` WHERE `partition").count(),
            open.matches("search_aggregates_v1` WHERE `window_start` >=").count()
        ),
        (13, 0),
        "{open}"
    );
    assert!(open.contains("`partition_date` >= TIMESTAMP '2024-05-10T00:00:00Z'"), "{open}");
    let settled = text("2024-05-01", "2024-05-02", &[]);
    assert_eq!(
        (
            settled.matches("_live_v1` WHERE `partition").count(),
            settled.matches("search_aggregates_v1` WHERE `window_start` >=").count()
        ),
        (0, 1)
    );
    let two = text("2024-05-10", "2024-05-11", &["telemetry", "org_mozilla_fenix"]);
    assert_eq!(two.matches("_live_v1` WHERE `partition").count(), 11, "{two}");
    let source = relation("search").source;
    let apps: Vec<&str> =
        source.branches.iter().filter_map(|branch| branch.table.dataset.strip_suffix("_derived")).collect();
    let none = text("2024-05-10", "2024-05-11", &apps);
    assert!(none.contains("WHERE FALSE"), "{none}");
    let probes = template.probes(extent("2024-05-10", "2024-05-11"), at("2024-05-10T12:00:00Z"));
    assert_eq!(probes.len(), 13);
    assert!(
        probes[0].1.starts_with("SELECT `partition_date` FROM (SELECT * FROM `moz-fx-data-shared-prod."),
        "{}",
        probes[0].1
    );
}

#[test]
fn days_are_kept_by_their_age() {
    let now = at("2024-05-10T12:00:00Z");
    let tiers = |name: &str, from, to| -> Vec<(String, i64, Step)> {
        let tiers = relation(name).tiers(extent(from, to), now).into_iter();
        tiers.map(|Tier { days, step }| (days.start().to_string(), days.micros() / DAY, step)).collect()
    };
    let (fine, hour, day) = (Step::Micros(HOUR / 12), Step::Micros(HOUR), Step::Micros(DAY));
    assert_eq!(
        tiers("enrollment", "2024-01-01T03:00:00Z", "2024-05-10T12:00:00Z"),
        [
            ("2024-01-01T00:00:00Z".to_owned(), 40, day),
            ("2024-02-10T00:00:00Z".to_owned(), 58, hour),
            ("2024-04-08T00:00:00Z".to_owned(), 33, fine),
        ]
    );
    assert_eq!(tiers("enrollment", "2024-05-09", "2024-05-10"), [("2024-05-09T00:00:00Z".to_owned(), 1, fine)]);
    assert_eq!(tiers("enrollment", "2024-01-01", "2024-01-03"), [("2024-01-01T00:00:00Z".to_owned(), 2, day)]);
    assert_eq!(tiers("active", "2024-01-01", "2024-05-10"), [("2024-01-01T00:00:00Z".to_owned(), 130, day)]);
}

#[test]
fn contradictions_are_refused_with_their_remedy() {
    let check = |change: fn(&mut LocalRelation), expected: &str| {
        let mut relation = relation("enrollment");
        change(&mut relation);
        let error = relation.check().unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    };
    let minutes = |step, days| Keep { step: Duration::from_mins(step), days };
    check(|relation| relation.name = "a b".into(), "letters, digits and _");
    check(|relation| relation.source.time_column = None, "time_column");
    check(|relation| relation.source.time_type = TimeType::Date, "type TIMESTAMP");
    check(|relation| relation.source.grain = Duration::from_mins(7), "its source needs a grain");
    check(|relation| relation.source.grain = Duration::ZERO, "its source needs a grain");
    check(|relation| relation.measures.clear(), "no measures");
    check(|relation| relation.totals[0].dimensions.push("os".into()), "names os");
    check(|relation| relation.totals[0].column[0].plus.clear(), "adds at least one");
    check(|relation| relation.keep = vec![Keep { step: Duration::from_mins(10), days: None }], "begins with the grain");
    check(
        |relation| relation.keep = vec![Keep { step: Duration::from_mins(5), days: Some(3) }],
        "but the last has days",
    );
    for step in [0, 12, 25] {
        let mut odd = relation("enrollment");
        odd.keep = vec![minutes(5, Some(3)), minutes(step, None)];
        assert!(odd.check().unwrap_err().to_string().contains("keep[1].step is a multiple of the grain"), "{step}");
    }
    let keep = vec![minutes(5, Some(3)), minutes(60, Some(2)), minutes(1440, None)];
    let mut older = relation("enrollment");
    older.keep = keep;
    assert!(older.check().unwrap_err().to_string().contains("keep[1]"));
}

/// Two dimensions and measures of a table, or of live and daily tables.
fn small(branches: &[(&str, Side)], comparison: Comparison) -> LocalRelation {
    let branches =
        branches.iter().map(|(table, side)| serde_json::json!({ "table": format!("p.d.{table}"), "side": side }));
    let comparison = match comparison {
        Comparison::AfterInstant => "after-instant",
        Comparison::ByDate => "by-date",
    };
    serde_json::from_value(serde_json::json!({
        "name": "small",
        "source": {
            "table": "p.d.t",
            "time_column": "at",
            "grain": "1h",
            "flip": { "days": 2, "comparison": comparison },
            "daily_table": "p.d.daily",
            "branches": branches.collect::<Vec<_>>(),
        },
        "dimensions": ["a", "b"],
        "measures": ["m", "n"],
        "view": [{ "table": "p.d.view", "sql": "SELECT * FROM weir.local.small" }],
        "total": [{
            "table": "p.d.total",
            "time_column": "began",
            "end_column": "ended",
            "dimensions": ["a"],
            "measures": ["n"],
            "column": [{ "name": "x", "plus": ["m", "n"], "minus": ["n"] }, { "name": "y", "plus": ["m"] }],
        }],
    }))
    .unwrap()
}

#[test]
fn rows_are_asked_for_by_window_and_dimensions() {
    let relation = small(&[], Comparison::ByDate);
    assert_eq!(
        relation.base().sql,
        "SELECT $__timeGroup(`at`, $__interval) AS time, `a`, `b`, SUM(`m`) AS `m`, SUM(`n`) AS `n`\n\
         FROM `weir.local.small`\nWHERE $__timeFilter(`at`)\nGROUP BY 1, 2, 3"
    );
    let hour = Keep { step: Duration::from_hours(1), days: Some(32) };
    let day = Keep { step: Duration::from_hours(24), days: None };
    assert_eq!(relation.ladder(), [hour, day], "hours are not kept twice");
    assert_eq!(relation.check().unwrap().views[0].time_column, "time");
}

#[test]
fn running_totals_are_sums_over_grouped_windows_of_both_sides() {
    let text = |branches, comparison| {
        let relation = small(branches, comparison);
        relation.total_text(&relation.totals[0])
    };
    let around = |source: &str| {
        format!(
            "SELECT time AS `began`, TIMESTAMP_ADD(time, INTERVAL 3600000000 MICROSECOND) AS `ended`, `a`, `n`, \
             SUM(`m` + `n` - `n`) OVER (PARTITION BY `a` ORDER BY time) AS `x`, \
             SUM(`m`) OVER (PARTITION BY `a` ORDER BY time) AS `y`\n\
             FROM (\nSELECT `at` AS time, `a`, SUM(`m`) AS `m`, SUM(`n`) AS `n`\nFROM (\n{source}\n)\nGROUP BY 1, 2\n)"
        )
    };
    assert_eq!(text(&[], Comparison::ByDate), around("SELECT `at`, `a`, `b`, `m`, `n` FROM `p.d.t`"));
    let sides = [("live", Side::Live), ("daily", Side::Daily), ("both", Side::Both)];
    let arms = |live: &str, daily: &str| {
        let arm = |table: &str, side: &str| format!("SELECT `at`, `a`, `b`, `m`, `n` FROM `p.d.{table}`{side}");
        around(&[arm("live", live), arm("daily", daily), arm("both", "")].join("\nUNION ALL\n"))
    };
    assert_eq!(
        text(&sides, Comparison::AfterInstant),
        arms(
            " WHERE `at` > TIMESTAMP(DATE_SUB(CURRENT_DATE(), INTERVAL 2 DAY))",
            " WHERE `at` <= TIMESTAMP(DATE_SUB(CURRENT_DATE(), INTERVAL 2 DAY))"
        )
    );
    assert_eq!(
        text(&sides, Comparison::ByDate),
        arms(
            " WHERE DATE(`at`) > DATE_SUB(CURRENT_DATE(), INTERVAL 2 DAY)",
            " WHERE DATE(`at`) <= DATE_SUB(CURRENT_DATE(), INTERVAL 2 DAY)"
        )
    );
}

#[test]
fn views_are_sources_of_their_own_with_the_grain_of_theirs() {
    let of = |table: &str, time: &str| SourceDescriptor {
        time_column: Some(time.to_owned()),
        grain: Duration::from_hours(1),
        history: History::Local,
        partition: Some(PartitionUnit::Day),
        ..SourceDescriptor::new(TableId::new("p", "d", table))
    };
    let relation = small(&[], Comparison::ByDate);
    assert_eq!(relation.view_descriptors(), [of("view", "time"), of("total", "began")]);
}

#[test]
fn the_ready_made_views_are_sums_of_their_relations() {
    let of = |name: &str| {
        let relation = relation(name);
        let views: Vec<(String, String, bool)> =
            relation.views.iter().map(|view| (view.table.table.clone(), view.sql.clone(), view.sums_only)).collect();
        let totals = relation.totals.iter().map(|total| {
            let columns = total.column.iter().map(|column| {
                format!("{} = {} less {}", column.name, column.plus.join(" + "), column.minus.join(" + "))
            });
            let columns = columns.collect::<Vec<_>>().join(", ");
            format!(
                "{} by {}: {columns}; {}",
                total.table.table,
                total.dimensions.join(", "),
                total.measures.join(", ")
            )
        });
        (views, totals.collect::<Vec<_>>())
    };
    let flow = |counter: &str| {
        format!(
            "SELECT time AS time, experiment, branch, normalized_channel, SUM({counter}) AS value\n\
             FROM `weir.local.enrollment`\nGROUP BY time, experiment, branch, normalized_channel"
        )
    };
    let (views, totals) = of("enrollment");
    let names: Vec<&str> = views.iter().map(|(name, ..)| &**name).collect();
    assert_eq!(
        names,
        [
            "experiment_enrollment_overall",
            "experiment_unenrollment_overall",
            "experiment_exposure_overall",
            "experiment_enrollment_other_events_overall",
            "experiment_enrollment_aggregates_live_v1",
        ]
    );
    assert_eq!([&views[0].1, &views[1].1], [&flow("enroll_count"), &flow("unenroll_count")]);
    let others = &views[3].1;
    for part in [
        "CASE events.event WHEN 'graduated' THEN windows.graduate_count",
        "SUM(validation_failed_count) AS validation_failed_count\nFROM `weir.local.enrollment`\n",
        "CROSS JOIN (SELECT 'graduated' AS event UNION ALL ",
    ] {
        assert!(others.contains(part), "{others}");
    }
    assert_eq!(views.iter().map(|view| view.2).collect::<Vec<_>>(), [false, false, false, false, true]);
    assert!(
        views[4].1.starts_with("SELECT time AS window_start, experiment, branch, normalized_channel, enroll_count, ")
    );
    let population = "experiment_enrollment_cumulative_population_estimate by experiment, branch: \
        value = enroll_count less unenroll_count + graduate_count; ";
    assert_eq!(totals, [population]);

    let (views, totals) = of("search");
    assert_eq!((views.len(), totals.len()), (0, 4));
    assert!(totals.contains(
        &"experiment_cumulative_ad_clicks by experiment, branch: value = ad_clicks_count less ; ".to_owned()
    ));
    let union = totals.last().unwrap();
    assert!(union.starts_with("experiment_search_aggregates_live_v1 by experiment, branch: cumulative_"), "{union}");
    assert!(union.ends_with("; search_count, search_with_ads_count, ad_clicks_count"), "{union}");

    let (views, _) = of("crash");
    let counts = "SELECT time AS time, experiment, branch, crash_process_type, SUM(crash_count) AS value\n\
        FROM `weir.local.crash`\nGROUP BY time, experiment, branch, crash_process_type";
    assert_eq!((&*views[0].1, &*views[1].0), (counts, "experiment_crash_rates_live"));

    let (views, _) = of("active");
    assert_eq!(views.len(), 1);
    assert!(views[0].1.starts_with("SELECT time, experiment, branch, SUM(active_clients) AS value\n"));
    let text = relation("active").text.unwrap();
    assert!(text.starts_with("SELECT TIMESTAMP(DATE_ADD(submission_date, INTERVAL 1 DAY)) AS time, "), "{text}");
}
