//! Ready-made descriptors of Mozilla's experiment monitoring: tables, union views and monitoring
//! datasets. Data, not SQL: the views' texts belong to whoever defines them.
//!
//! Source: mozilla/bigquery-etl, `sql_generators/experiment_monitoring/templates`.

use std::time::Duration;

use super::{Branch, Comparison, Compatible, Flip, History, Pruning, Side, SourceDescriptor, TimeType};
use crate::extent::PartitionUnit;
use crate::query::TableId;

/// Project of the tables.
pub const PROJECT: &str = "moz-fx-data-shared-prod";

/// Project of the list of experiments.
pub const EXPERIMENTS_PROJECT: &str = "moz-fx-data-experiments";

/// Applications that count enrollment events, each in a dataset `<app>_derived`, in the order of the
/// union view.
pub const APPS: [&str; 18] = [
    "org_mozilla_firefox_beta",
    "org_mozilla_fenix",
    "org_mozilla_firefox",
    "org_mozilla_ios_firefox",
    "org_mozilla_ios_firefoxbeta",
    "org_mozilla_ios_fennec",
    "telemetry",
    "firefox_desktop",
    "org_mozilla_klar",
    "org_mozilla_focus",
    "org_mozilla_focus_nightly",
    "org_mozilla_focus_beta",
    "org_mozilla_ios_klar",
    "org_mozilla_ios_focus",
    "monitor_cirrus",
    "accounts_cirrus",
    "experimenter_cirrus",
    "subscription_platform_backend_cirrus",
];

/// Rows of live tables are there this long after their window for all but one in two hundred.
const LIVE_LAG: Duration = Duration::from_mins(30);

const WINDOW: Duration = Duration::from_mins(5);
const DAY: Duration = Duration::from_hours(24);

/// All tables and views whose tables are in `project`, and the list of experiments in its own.
pub fn descriptors(project: &str) -> Vec<SourceDescriptor> {
    let place = Place { project };
    let mut all = place.tables();
    all.extend(place.views());
    all
}

struct Place<'a> {
    project: &'a str,
}

impl Place<'_> {
    fn derived(&self, table: &str) -> TableId {
        TableId::new(self.project, "telemetry_derived", table)
    }

    fn telemetry(&self, table: &str) -> TableId {
        TableId::new(self.project, "telemetry", table)
    }

    fn live(&self, app: &str, table: &str) -> TableId {
        TableId::new(self.project, format!("{app}_derived"), table)
    }

    fn tables(&self) -> Vec<SourceDescriptor> {
        let mut tables = Vec::new();
        for (table, apps) in [
            ("experiment_events_live_v1", APPS.to_vec()),
            ("experiment_search_events_live_v1", search_apps()),
            ("experiment_crash_events_live_v1", crash_apps()),
        ] {
            tables.extend(apps.into_iter().map(|app| live_table(self.live(app, table))));
        }
        for table in [
            "experiment_enrollment_aggregates_v1",
            "experiment_enrollment_aggregates_v2",
            "experiment_search_aggregates_v1",
            "experiment_crash_aggregates_v1",
        ] {
            tables.push(daily_table(self.derived(table), "window_start", TimeType::Timestamp, WINDOW));
        }
        for table in ["experiments_daily_active_clients_v1", "experiments_daily_active_clients_v2"] {
            tables.push(daily_table(self.derived(table), "submission_date", TimeType::Date, DAY));
        }
        let experiments = TableId::new(EXPERIMENTS_PROJECT, "monitoring", "experimenter_experiments_v1");
        tables.push(SourceDescriptor::new(experiments));
        tables
    }

    fn views(&self) -> Vec<SourceDescriptor> {
        let without = |left_out: &str| APPS.into_iter().filter(|app| *app != left_out).collect::<Vec<_>>();
        let events = "experiment_events_live_v1";
        let enrollment = self.union(
            self.derived("experiment_enrollment_aggregates_live_v1"),
            (events, without("firefox_desktop")),
            self.derived("experiment_enrollment_aggregates_v1"),
        );
        let glean = self.union(
            self.derived("experiment_enrollment_aggregates_live_v2"),
            (events, without("telemetry")),
            self.derived("experiment_enrollment_aggregates_v2"),
        );
        // Its running sums make all of it a running total.
        let search = SourceDescriptor {
            history: History::Prefix,
            ..self.union(
                self.derived("experiment_search_aggregates_live_v1"),
                ("experiment_search_events_live_v1", search_apps()),
                self.derived("experiment_search_aggregates_v1"),
            )
        };
        let crash = self.union(
            self.telemetry("experiment_crash_rates_live"),
            ("experiment_crash_events_live_v1", crash_apps()),
            self.derived("experiment_crash_aggregates_v1"),
        );
        let mut views = Vec::new();
        for (name, base, history) in [
            ("experiment_enrollment_overall", &enrollment, History::Local),
            ("experiment_unenrollment_overall", &enrollment, History::Local),
            ("experiment_exposure_overall", &enrollment, History::Local),
            ("experiment_enrollment_other_events_overall", &enrollment, History::Local),
            ("experiment_enrollment_cumulative_population_estimate", &enrollment, History::Prefix),
            ("experiment_cumulative_search_count", &search, History::Prefix),
            ("experiment_cumulative_search_with_ads_count", &search, History::Prefix),
            ("experiment_cumulative_ad_clicks", &search, History::Prefix),
            ("experiment_crash_counts", &crash, History::Local),
        ] {
            views.push(SourceDescriptor {
                table: self.telemetry(name),
                time_column: Some("time".into()),
                history,
                ..base.clone()
            });
        }
        views.push(self.active_population());
        views.extend([enrollment, glean, search, crash]);
        views
    }

    /// Live tables after the instant of the cut, the daily table up to it.
    fn union(&self, view: TableId, (table, apps): (&str, Vec<&str>), daily: TableId) -> SourceDescriptor {
        let mut branches: Vec<_> = apps
            .into_iter()
            .map(|app| Branch {
                table: self.live(app, table),
                side: Side::Live,
                pruning: Some(Pruning { hidden: true, truncated: DAY, ..exact("partition_date", TimeType::Timestamp) }),
            })
            .collect();
        branches.push(Branch {
            table: daily.clone(),
            side: Side::Daily,
            pruning: Some(exact("window_start", TimeType::Timestamp)),
        });
        SourceDescriptor {
            time_column: Some("window_start".into()),
            partition: Some(PartitionUnit::Day),
            grain: WINDOW,
            flip: Some(Flip { days: 2, comparison: Comparison::AfterInstant }),
            lag: LIVE_LAG,
            daily_table: Some(daily),
            history: History::Local,
            branches,
            ..SourceDescriptor::new(view)
        }
    }

    /// A day's active clients, told at its end.
    fn active_population(&self) -> SourceDescriptor {
        let clients = self.derived("experiments_daily_active_clients_v1");
        let pruning = Pruning { hidden: true, behind: DAY, ..exact("submission_date", TimeType::Date) };
        SourceDescriptor {
            branches: vec![Branch { table: clients.clone(), side: Side::Daily, pruning: Some(pruning.clone()) }],
            pruning: Some(pruning),
            daily_table: Some(clients),
            ..daily_table(
                self.telemetry("experiment_enrollment_daily_active_population"),
                "time",
                TimeType::Timestamp,
                DAY,
            )
        }
    }
}

/// Applications with search counts: no servers, and the desktop through its legacy pings alone.
fn search_apps() -> Vec<&'static str> {
    APPS.into_iter().filter(|app| !app.ends_with("_cirrus") && *app != "firefox_desktop").collect()
}

/// Applications with crash pings: no iOS, no servers, and the desktop through Glean alone.
fn crash_apps() -> Vec<&'static str> {
    let has_crashes = |app: &&str| !app.ends_with("_cirrus") && !app.contains("_ios_") && *app != "telemetry";
    APPS.into_iter().filter(has_crashes).collect()
}

fn exact(column: &str, time_type: TimeType) -> Pruning {
    Pruning {
        column: column.into(),
        time_type,
        hidden: false,
        truncated: Duration::ZERO,
        behind: Duration::ZERO,
        slack: Duration::ZERO,
    }
}

fn live_table(table: TableId) -> SourceDescriptor {
    let day = |column: &str, time_type| Compatible { column: column.into(), time_type, truncated: DAY };
    SourceDescriptor {
        time_column: Some("window_start".into()),
        compatible: vec![day("partition_date", TimeType::Timestamp), day("submission_date", TimeType::Date)],
        pruning: Some(Pruning { truncated: DAY, ..exact("partition_date", TimeType::Timestamp) }),
        partition: Some(PartitionUnit::Day),
        grain: WINDOW,
        lag: LIVE_LAG,
        history: History::Local,
        ..SourceDescriptor::new(table)
    }
}

/// A table that a daily job fills, one partition for each day.
fn daily_table(table: TableId, column: &str, time_type: TimeType, grain: Duration) -> SourceDescriptor {
    SourceDescriptor {
        time_column: Some(column.into()),
        time_type,
        pruning: Some(exact(column, time_type)),
        partition: Some(PartitionUnit::Day),
        grain,
        daily_table: Some(table.clone()),
        history: History::Local,
        ..SourceDescriptor::new(table)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::{Descriptors, Regime, State};
    use super::*;
    use crate::extent::{Extent, Timestamp};

    fn get(name: &str) -> SourceDescriptor {
        let all: Descriptors = descriptors(PROJECT).into_iter().collect();
        all.get(&name.parse().unwrap()).unwrap_or_else(|| panic!("{name}")).clone()
    }

    fn shared(name: &str) -> SourceDescriptor {
        get(&format!("{PROJECT}.{name}"))
    }

    fn at(text: &str) -> Timestamp {
        Timestamp::parse(text, Timestamp::MIN).unwrap()
    }

    #[test]
    fn every_descriptor_is_consistent_and_named_once() {
        let all = descriptors(PROJECT);
        let names: BTreeSet<_> = all.iter().map(|descriptor| descriptor.table.clone()).collect();
        assert_eq!(names.len(), all.len());
        for descriptor in all {
            let again = serde_json::from_value(serde_json::to_value(&descriptor).unwrap()).unwrap();
            assert_eq!(descriptor.clone().check().unwrap(), again);
            for branch in &descriptor.branches {
                assert!(names.contains(&branch.table), "{} reads {}", descriptor.table, branch.table);
            }
        }
    }

    #[test]
    fn the_union_views_read_seventeen_live_tables_and_one_daily() {
        for (name, left_out) in [
            ("experiment_enrollment_aggregates_live_v1", "firefox_desktop_derived"),
            ("experiment_enrollment_aggregates_live_v2", "telemetry_derived"),
        ] {
            let union = shared(&format!("telemetry_derived.{name}"));
            let live: Vec<_> = union.branches.iter().filter(|branch| branch.side == Side::Live).collect();
            assert_eq!((live.len(), union.branches.len()), (17, 18));
            assert!(live.iter().all(|branch| branch.table.dataset != left_out));
            assert!(live.iter().all(|branch| branch.pruning.as_ref().is_some_and(|pruning| pruning.hidden)));
        }
    }

    #[test]
    fn running_totals_are_prefixes_and_flows_are_local() {
        let history = |name: &str| shared(&format!("telemetry.{name}")).history;
        assert_eq!(history("experiment_enrollment_overall"), History::Local);
        assert_eq!(history("experiment_crash_counts"), History::Local);
        assert_eq!(history("experiment_enrollment_daily_active_population"), History::Local);
        assert_eq!(history("experiment_enrollment_cumulative_population_estimate"), History::Prefix);
        assert_eq!(history("experiment_cumulative_ad_clicks"), History::Prefix);
        assert_eq!(shared("telemetry_derived.experiment_search_aggregates_live_v1").history, History::Prefix);
    }

    #[test]
    fn the_list_of_experiments_is_neither_static_nor_has_it_a_time() {
        let experiments = get("moz-fx-data-experiments.monitoring.experimenter_experiments_v1");
        assert!(!experiments.is_static);
        assert_eq!(experiments.time_column, None);
    }

    #[test]
    fn a_live_table_has_its_days_in_two_more_columns() {
        let live = shared("org_mozilla_fenix_derived.experiment_events_live_v1");
        assert_eq!(live.time("partition_date"), Some((TimeType::Timestamp, DAY)));
        assert_eq!(live.time("submission_date"), Some((TimeType::Date, DAY)));
        assert_eq!(live.time("window_end"), None);
        let noon = Extent::new(at("2024-03-10T11:00:00Z"), at("2024-03-10T12:00:00Z")).unwrap();
        let day = Extent::new(at("2024-03-10"), at("2024-03-11")).unwrap();
        assert_eq!(live.pruning.unwrap().bounds(noon), day);
    }

    #[test]
    fn active_clients_of_a_day_are_in_the_partition_before_their_time() {
        let view = shared("telemetry.experiment_enrollment_daily_active_population");
        let segment = Extent::new(at("2024-03-10"), at("2024-03-11")).unwrap();
        let partition = Extent::new(at("2024-03-09"), at("2024-03-10")).unwrap();
        assert_eq!(view.pruning.as_ref().unwrap().partitions(segment, PartitionUnit::Day), partition);
        let settling = view.settle(segment, WINDOW, at("2024-03-13"), Some(at("2024-03-10T04:00:00Z")));
        assert_eq!((settling.regime, settling.state), (Regime::Daily, State::Final));
    }

    /// A pruning in a line.
    fn pruned(pruning: Option<&Pruning>) -> String {
        let Some(Pruning { column, time_type, hidden, truncated, behind, slack }) = pruning else {
            return "nothing".to_owned();
        };
        assert_eq!(*slack, Duration::ZERO);
        let column = format!("{column} {time_type:?}");
        let words = [(*hidden, "hidden"), (*truncated == DAY, "of the day"), (*behind == DAY, "a day behind")];
        let said = words.into_iter().filter(|(is_said, _)| *is_said).map(|(_, word)| word);
        [&*column].into_iter().chain(said).collect::<Vec<_>>().join(", ")
    }

    #[test]
    fn sources_are_as_the_public_texts_have_them() {
        let check = |name: &str, expected: &[&str]| {
            let SourceDescriptor {
                time_column,
                time_type,
                grain,
                lag,
                partition,
                flip,
                daily_table,
                history,
                pruning,
                branches,
                ..
            } = shared(name);
            let mut lines = vec![format!(
                "{} {time_type:?}, {} min, lag {} min, {partition:?}, {history:?}",
                time_column.unwrap(),
                grain.as_secs() / 60,
                lag.as_secs() / 60
            )];
            lines.push(pruned(pruning.as_ref()));
            lines.extend(flip.map(|flip| format!("{flip:?}")));
            lines.extend(daily_table.map(|table| format!("daily {}", table.table)));
            let mut kinds: Vec<(String, usize)> = vec![];
            for branch in &branches {
                let kind = format!("{:?} {} by {}", branch.side, branch.table.table, pruned(branch.pruning.as_ref()));
                match kinds.last_mut() {
                    Some((last, count)) if *last == kind => *count += 1,
                    _ => kinds.push((kind, 1)),
                }
            }
            lines.extend(kinds.into_iter().map(|(kind, count)| format!("{count} {kind}")));
            assert_eq!(lines, expected, "{name}");
        };
        for (app, table) in [
            ("org_mozilla_fenix", "experiment_events_live_v1"),
            ("telemetry", "experiment_search_events_live_v1"),
            ("firefox_desktop", "experiment_crash_events_live_v1"),
        ] {
            check(
                &format!("{app}_derived.{table}"),
                &[
                    "window_start Timestamp, 5 min, lag 30 min, Some(Day), Local",
                    "partition_date Timestamp, of the day",
                ],
            );
        }
        check(
            "telemetry_derived.experiment_enrollment_aggregates_v2",
            &[
                "window_start Timestamp, 5 min, lag 10 min, Some(Day), Local",
                "window_start Timestamp",
                "daily experiment_enrollment_aggregates_v2",
            ],
        );
        check(
            "telemetry_derived.experiments_daily_active_clients_v1",
            &[
                "submission_date Date, 1440 min, lag 10 min, Some(Day), Local",
                "submission_date Date",
                "daily experiments_daily_active_clients_v1",
            ],
        );
        let flip = "Flip { days: 2, comparison: AfterInstant }";
        check(
            "telemetry.experiment_enrollment_overall",
            &[
                "time Timestamp, 5 min, lag 30 min, Some(Day), Local",
                "nothing",
                flip,
                "daily experiment_enrollment_aggregates_v1",
                "17 Live experiment_events_live_v1 by partition_date Timestamp, hidden, of the day",
                "1 Daily experiment_enrollment_aggregates_v1 by window_start Timestamp",
            ],
        );
        check(
            "telemetry_derived.experiment_search_aggregates_live_v1",
            &[
                "window_start Timestamp, 5 min, lag 30 min, Some(Day), Prefix",
                "nothing",
                flip,
                "daily experiment_search_aggregates_v1",
                "13 Live experiment_search_events_live_v1 by partition_date Timestamp, hidden, of the day",
                "1 Daily experiment_search_aggregates_v1 by window_start Timestamp",
            ],
        );
        check(
            "telemetry.experiment_crash_rates_live",
            &[
                "window_start Timestamp, 5 min, lag 30 min, Some(Day), Local",
                "nothing",
                flip,
                "daily experiment_crash_aggregates_v1",
                "8 Live experiment_crash_events_live_v1 by partition_date Timestamp, hidden, of the day",
                "1 Daily experiment_crash_aggregates_v1 by window_start Timestamp",
            ],
        );
        check(
            "telemetry.experiment_enrollment_daily_active_population",
            &[
                "time Timestamp, 1440 min, lag 10 min, Some(Day), Local",
                "submission_date Date, hidden, a day behind",
                "daily experiments_daily_active_clients_v1",
                "1 Daily experiments_daily_active_clients_v1 by submission_date Date, hidden, a day behind",
            ],
        );
        let crash = shared("telemetry.experiment_crash_counts");
        let apps: Vec<&str> = crash.branches.iter().map(|branch| &*branch.table.dataset).collect();
        assert_eq!(
            apps,
            [
                "org_mozilla_firefox_beta_derived",
                "org_mozilla_fenix_derived",
                "org_mozilla_firefox_derived",
                "firefox_desktop_derived",
                "org_mozilla_klar_derived",
                "org_mozilla_focus_derived",
                "org_mozilla_focus_nightly_derived",
                "org_mozilla_focus_beta_derived",
                "telemetry_derived",
            ]
        );
    }
}
