//! `GoogleSQL` of the views that monitoring reads. It knows the names of tables and no rows.
//!
//! Definitions are those of Mozilla's monitoring datasets with their running sums mended: rows are
//! grouped to (experiment, branch, window) before they are summed up over time.

use weir_plan::TableId;
use weir_plan::local::experiments::{FLOWS, crash_counts, flow, other_events};

use super::apps::in_v1;
use super::tables::{Fact, derived, telemetry};

/// The moment after which a view reads live tables, inclusive on the daily side: on UTC day D only
/// the window at 00:00 of D − 2 is daily, the rest of D − 2 is live.
const CUT: &str = "TIMESTAMP(DATE_SUB(CURRENT_DATE(), INTERVAL 2 DAY))";

/// The column of time of tables and union views.
const WINDOW: &str = "window_start";

/// Names and texts of all views, in an order in which they can be created.
pub(super) fn all() -> Vec<(TableId, String)> {
    let enrollment = derived("experiment_enrollment_aggregates_live_v1");
    let search = derived("experiment_search_aggregates_live_v1");
    let crash = telemetry("experiment_crash_rates_live");
    let mut views = vec![
        (enrollment.clone(), union(Fact::Enrollment)),
        (search.clone(), searches()),
        (crash.clone(), union(Fact::Crash)),
    ];
    for (view, counter) in FLOWS {
        views.push((telemetry(view), flow(&enrollment, WINDOW, counter)));
    }
    for (view, column) in [
        ("experiment_cumulative_search_count", "cumulative_search_count"),
        ("experiment_cumulative_search_with_ads_count", "cumulative_search_with_ads_count"),
        ("experiment_cumulative_ad_clicks", "cumulative_ad_clicks_count"),
    ] {
        views.push((telemetry(view), running(&search, column)));
    }
    views.push((telemetry("experiment_enrollment_other_events_overall"), other_events(&enrollment, WINDOW)));
    views.push((telemetry("experiment_enrollment_cumulative_population_estimate"), population(&enrollment)));
    views.push((telemetry("experiment_enrollment_daily_active_population"), active_population()));
    views.push((telemetry("experiment_crash_counts"), crash_counts(&crash, WINDOW)));
    views
}

/// Live tables after the cut, the daily table up to it.
///
/// Applications are those of upstream's v1 set, 17 of 18: `telemetry` and not `firefox_desktop`,
/// which tells the same events again; so the daily table (v1 too) is the 18th branch.
fn union(fact: Fact) -> String {
    let schema = fact.daily_schema();
    let columns: Vec<_> = schema.fields().iter().map(|field| field.name().as_str()).collect();
    let columns = columns.join(", ");
    // Crashes of the desktop come from Glean alone, so nothing is told twice there.
    let apps = fact.apps().into_iter().filter(|app| fact == Fact::Crash || in_v1(*app));
    let mut branches: Vec<String> = apps
        .map(|app| format!("SELECT {columns}\nFROM `{}`\nWHERE window_start > {CUT}", fact.live_table(app)))
        .collect();
    branches.push(format!("SELECT {columns}\nFROM `{}`\nWHERE window_start <= {CUT}", fact.daily_table()));
    branches.join("\nUNION ALL\n")
}

/// Clients that are enrolled: running sum of those who came less those who went.
fn population(source: &TableId) -> String {
    format!(
        "SELECT time, experiment, branch,\n\
         SUM(change) OVER (PARTITION BY experiment, branch ORDER BY time \
         ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS value\n\
         FROM (\n\
         SELECT window_start AS time, experiment, branch,\n\
         SUM(enroll_count) - SUM(unenroll_count) - SUM(graduate_count) AS change\n\
         FROM `{source}`\n\
         GROUP BY window_start, experiment, branch\n\
         )"
    )
}

/// Active clients of a day, told at its end.
fn active_population() -> String {
    let source = derived("experiments_daily_active_clients_v1");
    format!(
        "SELECT TIMESTAMP(DATE_ADD(submission_date, INTERVAL 1 DAY)) AS time, experiment_id AS experiment, branch,\n\
         SUM(active_clients) AS value\n\
         FROM `{source}`\n\
         GROUP BY submission_date, experiment_id, branch"
    )
}

/// Searches by window, and their running sums.
fn searches() -> String {
    let windows = union(Fact::Search);
    let running = |counter: &str, name: &str| {
        format!(
            "SUM({counter}) OVER (PARTITION BY experiment, branch ORDER BY window_start \
             ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS {name}"
        )
    };
    let sums = [
        running("search_count", "cumulative_search_count"),
        running("search_with_ads_count", "cumulative_search_with_ads_count"),
        running("ad_clicks_count", "cumulative_ad_clicks_count"),
    ]
    .join(",\n");
    format!(
        "WITH windows AS (\n\
         SELECT experiment, branch, window_start, window_end, SUM(ad_clicks_count) AS ad_clicks_count,\n\
         SUM(search_with_ads_count) AS search_with_ads_count, SUM(search_count) AS search_count\n\
         FROM (\n{windows}\n)\n\
         GROUP BY experiment, branch, window_start, window_end\n\
         )\n\
         SELECT experiment, branch, window_start, window_end, ad_clicks_count, search_with_ads_count, search_count,\n\
         {sums}\n\
         FROM windows"
    )
}

/// A running sum that is there already.
fn running(source: &TableId, column: &str) -> String {
    format!("SELECT window_start AS time, experiment, branch, {column} AS value\nFROM `{source}`")
}

#[cfg(test)]
mod tests {
    use super::*;
    use sqlparser::ast::{Query, SetExpr, Statement};
    use sqlparser::dialect::BigQueryDialect;
    use sqlparser::parser::Parser;
    use weir_plan::local::experiments::ENROLLMENT_COUNTERS;

    fn parsed(sql: &str) -> Box<Query> {
        let statements = Parser::parse_sql(&BigQueryDialect {}, sql).unwrap_or_else(|error| panic!("{error}:\n{sql}"));
        match <[Statement; 1]>::try_from(statements) {
            Ok([Statement::Query(query)]) => query,
            other => panic!("not one query: {other:?}"),
        }
    }

    fn branches(body: &SetExpr) -> usize {
        match body {
            SetExpr::SetOperation { left, right, .. } => branches(left) + branches(right),
            _ => 1,
        }
    }

    #[test]
    fn every_view_is_one_query() {
        let views = all();
        for (_, sql) in &views {
            parsed(sql);
        }
        let contract = [
            "telemetry_derived.experiment_enrollment_aggregates_live_v1",
            "telemetry_derived.experiment_search_aggregates_live_v1",
            "telemetry.experiment_crash_rates_live",
            "telemetry.experiment_enrollment_overall",
            "telemetry.experiment_unenrollment_overall",
            "telemetry.experiment_enrollment_other_events_overall",
            "telemetry.experiment_exposure_overall",
            "telemetry.experiment_enrollment_cumulative_population_estimate",
            "telemetry.experiment_enrollment_daily_active_population",
            "telemetry.experiment_cumulative_search_count",
            "telemetry.experiment_cumulative_ad_clicks",
            "telemetry.experiment_cumulative_search_with_ads_count",
            "telemetry.experiment_crash_counts",
        ];
        let mut names: Vec<_> = views.iter().map(|(id, _)| format!("{}.{}", id.dataset, id.table)).collect();
        names.sort();
        let mut expected: Vec<_> = contract.map(str::to_owned).into();
        expected.sort();
        assert_eq!(names, expected);
    }

    #[test]
    fn the_union_view_has_seventeen_live_branches_and_one_daily() {
        let (_, sql) = &all()[0];
        assert_eq!(branches(&parsed(sql).body), 18);
        assert_eq!(sql.matches(&format!("window_start > {CUT}")).count(), 17);
        assert_eq!(sql.matches(&format!("window_start <= {CUT}")).count(), 1);
        assert!(
            !sql.contains("firefox_desktop_derived")
                && sql.contains("`moz-fx-data-shared-prod.telemetry_derived.experiment_events_live_v1`")
        );
        assert!(ENROLLMENT_COUNTERS.iter().all(|counter| sql.contains(counter)));
    }
}
