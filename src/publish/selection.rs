//! Which experiments have files, and how long the buckets in them are.

use std::collections::BTreeMap;

use weir_plan::Timestamp;
use weir_plan::extent::DAY;

use super::{Form, PublishSettings};
use crate::monitoring::figures::{By, Experiment, Granularity, SeriesQuery};

/// Days of age until which the exporter's files have windows of five minutes.
const EXPORTER_DAYS: i64 = 14;

/// A dataset of the exporter's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Exported {
    pub(super) name: &'static str,
    /// Whether its rows tell events apart.
    pub(super) has_events: bool,
}

const fn dataset(name: &'static str) -> Exported {
    Exported { name, has_events: false }
}

/// The datasets that have files.
pub(super) const DATASETS: [Exported; 8] = [
    Exported { has_events: true, ..dataset("experiment_enrollment_other_events_overall") },
    dataset("experiment_enrollment_cumulative_population_estimate"),
    dataset("experiment_enrollment_overall"),
    dataset("experiment_unenrollment_overall"),
    dataset("experiment_cumulative_ad_clicks"),
    dataset("experiment_cumulative_search_count"),
    dataset("experiment_cumulative_search_with_ads_count"),
    dataset("experiment_enrollment_daily_active_population"),
];

impl Exported {
    /// The splits of its two files of an experiment.
    pub(super) fn splits(self) -> (By, By) {
        if self.has_events {
            let event = || "event".to_owned();
            (By::BranchAndSplit(event()), By::Split(event()))
        } else {
            (By::Branch, By::Total)
        }
    }
}

/// The queries for all series of a dataset: one for each length of buckets among the experiments. Its
/// rows are no finer than `grain`.
pub(super) fn queries(
    dataset: &str,
    by: &By,
    experiments: &[&Experiment],
    settings: &PublishSettings,
    grain: Granularity,
    now: Timestamp,
) -> Vec<SeriesQuery> {
    let mut groups: BTreeMap<_, Vec<String>> = BTreeMap::new();
    for experiment in experiments {
        let granularity = granularity(experiment, settings, now).map(|granularity| granularity.max(grain));
        let from = granularity.and_then(|granularity| floor(experiment, granularity, now));
        groups.entry((granularity, from)).or_default().push(experiment.slug.to_string());
    }
    let query = |((granularity, from), slugs)| SeriesQuery {
        dataset: dataset.to_owned(),
        experiments: Some(slugs),
        by: by.clone(),
        granularity,
        from,
        ..SeriesQuery::default()
    };
    groups.into_iter().map(query).collect()
}

/// The length of an experiment's buckets; `None` leaves it to the ages in the configuration.
fn granularity(experiment: &Experiment, settings: &PublishSettings, now: Timestamp) -> Option<Granularity> {
    settings.granularity.or_else(|| {
        let is_young = |start: Timestamp| (now.floor(DAY).micros() - start.micros()) / DAY <= EXPORTER_DAYS;
        let by_exporter = || {
            if experiment.start().is_some_and(is_young) { Granularity::FiveMinutes } else { Granularity::HalfHour }
        };
        (settings.form == Form::Exporter).then(by_exporter)
    })
}

/// Where files begin of an experiment that started before buckets of this length reach back, or nobody
/// knows when.
fn floor(experiment: &Experiment, granularity: Granularity, now: Timestamp) -> Option<Timestamp> {
    let reach = now.floor(DAY).micros().saturating_sub(granularity.reach_days().saturating_mul(DAY));
    let reach = Timestamp::saturating(reach);
    experiment.start().is_none_or(|start| start < reach).then_some(reach)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn experiment(slug: &str, start: Option<&str>) -> Experiment {
        Experiment { slug: slug.into(), start_date: start.map(|start| start.parse().unwrap()), ..Experiment::default() }
    }

    fn check(settings: &PublishSettings, grain: Granularity, expected: &[(&str, Option<&str>, Option<&str>)]) {
        let experiments = [
            experiment("young", Some("2024-03-17")),
            experiment("older", Some("2024-03-16")),
            experiment("ancient", Some("2020-01-01")),
            experiment("unknown", None),
        ];
        let all: Vec<&Experiment> = experiments.iter().collect();
        let now = Timestamp::parse("2024-03-31T23:00:00Z", Timestamp::MIN).unwrap();
        let queries = queries("d", &By::Total, &all, settings, grain, now);
        let mut found: Vec<_> = queries
            .iter()
            .flat_map(|query| query.experiments.iter().flatten().map(move |slug| (slug.clone(), query)))
            .map(|(slug, query)| {
                (slug, query.granularity.map(Granularity::as_str), query.from.map(|from| from.date().to_string()))
            })
            .collect();
        found.sort();
        let mut expected: Vec<_> =
            expected.iter().map(|(slug, kept, from)| ((*slug).to_owned(), *kept, from.map(str::to_owned))).collect();
        expected.sort();
        assert_eq!(found, expected);
    }

    #[test]
    fn granularity_is_left_to_the_ages_unless_the_form_or_the_settings_have_one() {
        let plain = PublishSettings::default();
        let by_age = [("young", None, None), ("older", None, None), ("ancient", None, None), ("unknown", None, None)];
        check(&plain, Granularity::FiveMinutes, &by_age);
        let exporter = PublishSettings { form: Form::Exporter, ..plain.clone() };
        let rows = [
            ("young", Some("5m"), None),
            ("older", Some("30m"), None),
            ("ancient", Some("30m"), Some("2023-12-29")),
            ("unknown", Some("30m"), Some("2023-12-29")),
        ];
        check(&exporter, Granularity::FiveMinutes, &rows);
        let hourly = PublishSettings { granularity: Some(Granularity::Hour), ..exporter };
        let rows = [
            ("young", Some("1h"), None),
            ("older", Some("1h"), None),
            ("ancient", Some("1h"), Some("2023-02-25")),
            ("unknown", Some("1h"), Some("2023-02-25")),
        ];
        check(&hourly, Granularity::FiveMinutes, &rows);
    }
}
