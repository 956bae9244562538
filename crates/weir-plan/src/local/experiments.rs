//! The local relations of Mozilla's experiment monitoring, ready-made, and the definitions of its
//! monitoring datasets: rows are grouped to windows before they are summed up over time.
//!
//! Source: mozilla/bigquery-etl, `sql_generators/experiment_monitoring/templates`, whose running sums
//! go over rows that tie.

use super::{LocalRelation, LocalView, RunningTotal, TIME, Total};
use crate::descriptor::SourceDescriptor;
use crate::descriptor::experiments::descriptors;
use crate::query::TableId;

/// Counters of enrollment rows.
pub const ENROLLMENT_COUNTERS: [&str; 10] = [
    "enroll_count",
    "unenroll_count",
    "graduate_count",
    "update_count",
    "enroll_failed_count",
    "unenroll_failed_count",
    "update_failed_count",
    "disqualification_count",
    "exposure_count",
    "validation_failed_count",
];

/// The event counters of enrollment, and how `experiment_enrollment_other_events_overall` calls them.
pub const OTHER_EVENTS: [(&str, &str); 7] = [
    ("graduated", "graduate_count"),
    ("enroll_failed", "enroll_failed_count"),
    ("unenroll_failed", "unenroll_failed_count"),
    ("updated", "update_count"),
    ("update_failed", "update_failed_count"),
    ("disqualification", "disqualification_count"),
    ("validation_failed", "validation_failed_count"),
];

/// Datasets that are a sum of one counter.
pub const FLOWS: [(&str, &str); 3] = [
    ("experiment_enrollment_overall", "enroll_count"),
    ("experiment_unenrollment_overall", "unenroll_count"),
    ("experiment_exposure_overall", "exposure_count"),
];

/// Search counters, and the datasets of their running sums.
pub const SEARCHES: [(&str, &str); 3] = [
    ("search_count", "experiment_cumulative_search_count"),
    ("search_with_ads_count", "experiment_cumulative_search_with_ads_count"),
    ("ad_clicks_count", "experiment_cumulative_ad_clicks"),
];

/// All relations over the tables of `project`.
pub fn relations(project: &str) -> Vec<LocalRelation> {
    let place = Place { project, sources: descriptors(project) };
    vec![place.enrollment(), place.search(), place.crash(), place.active()].into_iter().flatten().collect()
}

struct Place<'a> {
    project: &'a str,
    sources: Vec<SourceDescriptor>,
}

impl Place<'_> {
    fn id(&self, dataset: &str, table: &str) -> TableId {
        TableId::new(self.project, dataset, table)
    }

    fn telemetry(&self, table: &str) -> TableId {
        self.id("telemetry", table)
    }

    fn relation(&self, name: &str, source: &TableId, dimensions: &[&str], measures: &[&str]) -> Option<LocalRelation> {
        let source = self.sources.iter().find(|descriptor| descriptor.table == *source)?.clone();
        Some(LocalRelation {
            name: name.to_owned(),
            source,
            text: None,
            dimensions: owned(dimensions),
            measures: owned(measures),
            keep: vec![],
            since: None,
            views: vec![],
            totals: vec![],
        })
    }

    fn enrollment(&self) -> Option<LocalRelation> {
        let source = self.id("telemetry_derived", "experiment_enrollment_aggregates_live_v1");
        let dimensions = ["experiment", "branch", "normalized_channel"];
        let relation = self.relation("enrollment", &source, &dimensions, &ENROLLMENT_COUNTERS)?;
        let base = relation.table();
        let flows = FLOWS.iter().map(|(view, counter)| self.view(view, flow(&base, TIME, counter)));
        let others = self.view("experiment_enrollment_other_events_overall", other_events(&base, TIME));
        let population = self.totals(
            "experiment_enrollment_cumulative_population_estimate",
            vec![total("value", &["enroll_count"], &["unenroll_count", "graduate_count"])],
        );
        let union = Self::union(&relation);
        Some(LocalRelation { views: flows.chain([others, union]).collect(), totals: vec![population], ..relation })
    }

    fn search(&self) -> Option<LocalRelation> {
        let source = self.id("telemetry_derived", "experiment_search_aggregates_live_v1");
        let counters = SEARCHES.map(|(counter, _)| counter);
        let relation = self.relation("search", &source, &["experiment", "branch"], &counters)?;
        let mut totals: Vec<RunningTotal> =
            SEARCHES.iter().map(|(counter, view)| self.totals(view, vec![total("value", &[counter], &[])])).collect();
        totals.push(RunningTotal {
            table: source,
            time_column: "window_start".to_owned(),
            end_column: Some("window_end".to_owned()),
            dimensions: owned(&["experiment", "branch"]),
            measures: owned(&counters),
            column: counters.iter().map(|counter| total(&format!("cumulative_{counter}"), &[counter], &[])).collect(),
        });
        Some(LocalRelation { totals, ..relation })
    }

    fn crash(&self) -> Option<LocalRelation> {
        let source = self.telemetry("experiment_crash_rates_live");
        let dimensions = ["experiment", "branch", "crash_process_type"];
        let relation = self.relation("crash", &source, &dimensions, &["crash_count"])?;
        let counts = self.view("experiment_crash_counts", crash_counts(&relation.table(), TIME));
        Some(LocalRelation { views: vec![counts, Self::union(&relation)], ..relation })
    }

    fn active(&self) -> Option<LocalRelation> {
        let view = self.telemetry("experiment_enrollment_daily_active_population");
        let dimensions = ["experiment", "branch", "normalized_channel"];
        let relation = self.relation("active", &view, &dimensions, &["active_clients"])?;
        let clients = self.id("telemetry_derived", "experiments_daily_active_clients_v1");
        let text = format!(
            "SELECT TIMESTAMP(DATE_ADD(submission_date, INTERVAL 1 DAY)) AS time, experiment_id AS experiment, branch, \
             normalized_channel, active_clients\nFROM `{clients}`"
        );
        let overall = format!(
            "SELECT time, experiment, branch, SUM(active_clients) AS value\nFROM `{}`\n\
             GROUP BY time, experiment, branch",
            relation.table()
        );
        let view = self.view("experiment_enrollment_daily_active_population", overall);
        Some(LocalRelation { text: Some(text), views: vec![view], ..relation })
    }

    fn view(&self, name: &str, sql: String) -> LocalView {
        LocalView {
            table: self.telemetry(name),
            sql,
            time_column: TIME.to_owned(),
            additive: vec!["value".to_owned()],
            sums_only: false,
        }
    }

    /// The union view that a relation is read from, for sums.
    fn union(relation: &LocalRelation) -> LocalView {
        let columns = relation.dimensions.iter().chain(&relation.measures);
        let columns = columns.map(String::as_str).collect::<Vec<_>>().join(", ");
        LocalView {
            table: relation.source.table.clone(),
            sql: format!("SELECT {TIME} AS window_start, {columns} FROM `{}`", relation.table()),
            time_column: "window_start".to_owned(),
            additive: relation.measures.clone(),
            sums_only: true,
        }
    }

    fn totals(&self, name: &str, column: Vec<Total>) -> RunningTotal {
        RunningTotal {
            table: self.telemetry(name),
            time_column: TIME.to_owned(),
            end_column: None,
            dimensions: owned(&["experiment", "branch"]),
            measures: vec![],
            column,
        }
    }
}

fn owned(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn total(name: &str, plus: &[&str], minus: &[&str]) -> Total {
    Total { name: name.to_owned(), plus: owned(plus), minus: owned(minus) }
}

/// The text of a dataset that is a sum of one counter; `time` is the source's column of time.
pub fn flow(source: &TableId, time: &str, counter: &str) -> String {
    format!(
        "SELECT {time} AS time, experiment, branch, normalized_channel, SUM({counter}) AS value\n\
         FROM `{source}`\n\
         GROUP BY {time}, experiment, branch, normalized_channel"
    )
}

/// The text of the dataset of other events: one row for each window and kind of event, zeros too.
pub fn other_events(source: &TableId, time: &str) -> String {
    let names: Vec<_> = OTHER_EVENTS.iter().map(|(event, _)| format!("SELECT '{event}' AS event")).collect();
    let names = names.join(" UNION ALL ");
    let sums: Vec<_> = OTHER_EVENTS.iter().map(|(_, counter)| format!("SUM({counter}) AS {counter}")).collect();
    let sums = sums.join(", ");
    let cases: Vec<_> =
        OTHER_EVENTS.iter().map(|(event, counter)| format!("WHEN '{event}' THEN windows.{counter}")).collect();
    let cases = cases.join(" ");
    format!(
        "SELECT windows.time, windows.experiment, windows.branch, windows.normalized_channel, events.event,\n\
         CASE events.event {cases} END AS value\n\
         FROM (\n\
         SELECT {time} AS time, experiment, branch, normalized_channel, {sums}\n\
         FROM `{source}`\n\
         GROUP BY {time}, experiment, branch, normalized_channel\n\
         ) AS windows\n\
         CROSS JOIN ({names}) AS events"
    )
}

/// The text of the dataset of crashes, by process.
pub fn crash_counts(source: &TableId, time: &str) -> String {
    format!(
        "SELECT {time} AS time, experiment, branch, crash_process_type, SUM(crash_count) AS value\n\
         FROM `{source}`\n\
         GROUP BY {time}, experiment, branch, crash_process_type"
    )
}
