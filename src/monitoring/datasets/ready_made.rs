//! Mozilla's monitoring datasets.

use std::sync::Arc;

use weir_plan::TableId;
use weir_plan::local::experiments::{ENROLLMENT_COUNTERS, OTHER_EVENTS};

use super::super::granularity::Granularity;
use super::{Base, Dataset, DatasetKind, Datasets, Split, Term};

/// Counters of search rows.
const SEARCH: [&str; 3] = ["search_count", "ad_clicks_count", "search_with_ads_count"];

/// Places of the bases.
const ENROLLMENTS: usize = 0;
const SEARCHES: usize = 1;
const CRASHES: usize = 2;
const ACTIVE: usize = 3;

impl Datasets {
    /// Mozilla's datasets, their tables in `project`.
    pub fn ready_made(project: &str) -> Self {
        let place = Place { project };
        Self { bases: place.bases(), datasets: place.datasets(), enrollment: ENROLLMENTS }
    }

    /// Places of the counters of enrollments and unenrollments in the enrollment rows.
    pub(in crate::monitoring) const ENROLLED_AND_LEFT: (usize, usize) = (0, 1);
}

struct Place<'a> {
    project: &'a str,
}

impl Place<'_> {
    fn derived(&self, table: &str) -> TableId {
        TableId::new(self.project, "telemetry_derived", table)
    }

    fn view(&self, name: &str) -> TableId {
        TableId::new(self.project, "telemetry", name)
    }

    fn bases(&self) -> Vec<Base> {
        let windows = |table, split: &[(&str, &str)], measures: &[&str]| Base {
            table,
            time: "window_start".into(),
            experiment: "experiment".into(),
            splits: split
                .iter()
                .map(|(name, column)| Split { name: (*name).into(), column: (*column).into() })
                .collect(),
            measures: measures.iter().map(|column| (*column).into()).collect(),
            grain: Granularity::FiveMinutes,
            is_level: false,
        };
        let channel = [("channel", "normalized_channel")];
        let process = [("process", "crash_process_type")];
        let active = self.view("experiment_enrollment_daily_active_population");
        vec![
            windows(self.derived("experiment_enrollment_aggregates_live_v1"), &channel, &ENROLLMENT_COUNTERS),
            windows(self.derived("experiment_search_aggregates_live_v1"), &[], &SEARCH),
            windows(self.view("experiment_crash_rates_live"), &process, &["crash_count"]),
            Base { time: "time".into(), grain: Granularity::Day, is_level: true, ..windows(active, &[], &["value"]) },
        ]
    }

    fn datasets(&self) -> Vec<Dataset> {
        use DatasetKind::{Cumulative, Flow, Level};
        let dataset = |name: &str, title: &str, kind, base, terms| Dataset {
            name: name.into(),
            title: title.into(),
            view: self.view(name),
            kind,
            base,
            terms,
        };
        let one = |measure: &str, counters: &[&str]| vec![term(measure, counters, 1)];
        let population = vec![
            term("enroll_count", &ENROLLMENT_COUNTERS, 1),
            term("unenroll_count", &ENROLLMENT_COUNTERS, -1),
            term("graduate_count", &ENROLLMENT_COUNTERS, -1),
        ];
        let events = OTHER_EVENTS
            .map(|(event, counter)| Term { event: Some(Arc::from(event)), ..term(counter, &ENROLLMENT_COUNTERS, 1) })
            .to_vec();
        let enrollments =
            |name, title, counter| dataset(name, title, Flow, ENROLLMENTS, one(counter, &ENROLLMENT_COUNTERS));
        let searches = |name, title, counter| dataset(name, title, Cumulative, SEARCHES, one(counter, &SEARCH));
        vec![
            enrollments("experiment_enrollment_overall", "Enrollments", "enroll_count"),
            enrollments("experiment_unenrollment_overall", "Unenrollments", "unenroll_count"),
            dataset("experiment_enrollment_other_events_overall", "Other enrollment events", Flow, ENROLLMENTS, events),
            enrollments("experiment_exposure_overall", "Exposures", "exposure_count"),
            dataset(
                "experiment_enrollment_cumulative_population_estimate",
                "Enrolled clients: enrollments less unenrollments and graduations",
                Cumulative,
                ENROLLMENTS,
                population,
            ),
            dataset(
                "experiment_enrollment_daily_active_population",
                "Active clients of the day before",
                Level,
                ACTIVE,
                one("value", &["value"]),
            ),
            searches("experiment_cumulative_search_count", "Searches", "search_count"),
            searches("experiment_cumulative_ad_clicks", "Clicks on ads", "ad_clicks_count"),
            searches("experiment_cumulative_search_with_ads_count", "Searches with ads", "search_with_ads_count"),
            dataset("experiment_crash_counts", "Crashes", Flow, CRASHES, one("crash_count", &["crash_count"])),
        ]
    }
}

/// A summand; its counter is among `counters`.
fn term(counter: &str, counters: &[&str], sign: i64) -> Term {
    let measure = counters.iter().position(|known| *known == counter).unwrap_or_default();
    Term { measure, sign, event: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_dataset_adds_up_the_counters_that_it_names() {
        let datasets = Datasets::ready_made("p");
        let formulas: Vec<String> = datasets
            .iter()
            .map(|dataset| {
                let base = &datasets.bases()[dataset.base];
                let terms = dataset.terms.iter().map(|term| {
                    let event = term.event.as_ref().map(|event| format!("{event}=")).unwrap_or_default();
                    format!("{event}{}{}", if term.sign < 0 { "-" } else { "" }, base.measures[term.measure])
                });
                let splits = dataset.splits(base).join("|");
                format!("{} {:?} {} by {splits}", dataset.name, dataset.kind, terms.collect::<Vec<_>>().join(" "))
            })
            .collect();
        assert_eq!(
            formulas,
            [
                "experiment_enrollment_overall Flow enroll_count by channel",
                "experiment_unenrollment_overall Flow unenroll_count by channel",
                "experiment_enrollment_other_events_overall Flow graduated=graduate_count \
                 enroll_failed=enroll_failed_count unenroll_failed=unenroll_failed_count updated=update_count \
                 update_failed=update_failed_count disqualification=disqualification_count \
                 validation_failed=validation_failed_count by channel|event",
                "experiment_exposure_overall Flow exposure_count by channel",
                "experiment_enrollment_cumulative_population_estimate Cumulative \
                 enroll_count -unenroll_count -graduate_count by channel",
                "experiment_enrollment_daily_active_population Level value by ",
                "experiment_cumulative_search_count Cumulative search_count by ",
                "experiment_cumulative_ad_clicks Cumulative ad_clicks_count by ",
                "experiment_cumulative_search_with_ads_count Cumulative search_with_ads_count by ",
                "experiment_crash_counts Flow crash_count by process",
            ]
        );
    }
}
