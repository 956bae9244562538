//! Where the figures of a source come from: its tables, and what is kept by age.

use serde::Deserialize;
use weir_plan::descriptor::experiments::{EXPERIMENTS_PROJECT, PROJECT};
use weir_plan::{Error, Result, TableId};

use super::datasets::{Datasets, Written};
use super::granularity::{Age, Ages};

/// Settings of [`Figures`](super::figures::Figures).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MonitoringSettings {
    /// The list of experiments, as Experimenter exports it.
    pub experiments: TableId,
    /// The enrollment funnel; columns `slug`, `app_name`, `branch`, `status`, `reason`,
    /// `conflict_slug` and `client_count`.
    pub funnel: Option<TableId>,
    /// Why clients of a sample of one in a hundred unenrolled; columns `slug`, `branch`, `reason` and
    /// `client_count`.
    pub reasons: Option<TableId>,
    /// Granularity by age.
    pub ages: Ages,
    /// The datasets.
    pub datasets: Datasets,
}

impl Default for MonitoringSettings {
    /// Mozilla's tables where Mozilla has them.
    fn default() -> Self {
        Self {
            experiments: TableId::new(EXPERIMENTS_PROJECT, "monitoring", "experimenter_experiments_v1"),
            funnel: None,
            reasons: None,
            ages: Ages::default(),
            datasets: Datasets::ready_made(PROJECT),
        }
    }
}

/// The same as a configuration file writes it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WrittenSettings {
    project: Option<String>,
    experiments_table: Option<String>,
    funnel_table: Option<String>,
    reasons_table: Option<String>,
    #[serde(default)]
    granularity_by_age: Vec<WrittenAge>,
    #[serde(default)]
    dataset: Vec<Written>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenAge {
    younger_than_days: Option<i64>,
    recent: String,
    before: String,
}

impl WrittenSettings {
    /// The settings.
    ///
    /// # Errors
    /// `InvalidQuery` naming the key and what it takes.
    pub(crate) fn read(self) -> Result<MonitoringSettings> {
        let defaults = MonitoringSettings::default();
        let ages = self.granularity_by_age.iter().map(WrittenAge::read).collect::<Result<Vec<_>>>()?;
        let ready_made = Datasets::ready_made(self.project.as_deref().unwrap_or(PROJECT));
        Ok(MonitoringSettings {
            experiments: table("experiments_table", self.experiments_table)?.unwrap_or(defaults.experiments),
            funnel: table("funnel_table", self.funnel_table)?,
            reasons: table("reasons_table", self.reasons_table)?,
            ages: if ages.is_empty() { defaults.ages } else { Ages::new(ages)? },
            datasets: ready_made.with(self.dataset)?,
        })
    }
}

impl WrittenAge {
    fn read(&self) -> Result<Age> {
        let read = |key: &str, text: &str| {
            text.parse().map_err(|error: Error| error.context(format_args!("granularity_by_age: {key}")))
        };
        Ok(Age {
            younger_than_days: self.younger_than_days,
            recent: read("recent", &self.recent)?,
            before: read("before", &self.before)?,
        })
    }
}

fn table(key: &str, text: Option<String>) -> Result<Option<TableId>> {
    text.map(|text| text.parse().map_err(|error: Error| error.context(key))).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use std::path::Path;

    fn parse(experiments: &str) -> Result<MonitoringSettings> {
        let text = format!("[source.a]\nkind = \"embedded\"\nfolder = \"x\"\n[source.a.experiments]\n{experiments}");
        Ok(Config::parse(&text, Path::new(""))?.monitoring.remove("a").unwrap())
    }

    #[test]
    fn every_key_is_read() {
        let settings = parse(
            "project = \"p\"\nexperiments_table = \"p.d.list\"\nfunnel_table = \"p.d.funnel\"\n\
             reasons_table = \"p.d.reasons\"\n\
             granularity_by_age = [{ younger_than_days = 7, recent = \"5m\", before = \"30m\" }, \
             { recent = \"1h\", before = \"1d\" }]\n\
             [[source.a.experiments.dataset]]\nname = \"installs\"\nview = \"p.d.installs\"\nkind = \"flow\"\n\
             time = \"at\"\nexperiment = \"slug\"\nvalue = \"n\"\ngrain = \"1h\"\n\
             splits = [{ name = \"country\", column = \"country_code\" }]",
        );
        let settings = settings.unwrap();
        assert_eq!(settings.experiments.to_string(), "p.d.list");
        assert_eq!(settings.funnel.unwrap().to_string(), "p.d.funnel");
        assert_eq!(settings.reasons.unwrap().to_string(), "p.d.reasons");
        let datasets = settings.datasets;
        let dataset = datasets.find("installs").unwrap();
        let base = &datasets.bases()[dataset.base];
        assert_eq!(
            (base.table.to_string().as_str(), base.time.as_str(), base.experiment.as_str()),
            ("p.d.installs", "at", "slug")
        );
        assert_eq!(dataset.splits(base).join(","), "country");
        assert_eq!(datasets.bases()[0].table.project, "p");
    }

    #[test]
    fn bad_keys_are_named() {
        let check = |experiments: &str, expected: &str| {
            let error = parse(experiments).unwrap_err();
            assert!(error.message().contains("[source.a]: experiments: "), "{error}");
            assert!(error.message().contains(expected), "{error}");
        };
        check("projct = \"p\"", "unknown field `projct`");
        check("funnel_table = \"d.t\"", "funnel_table: table \"d.t\" is not of the form");
        check(
            "granularity_by_age = [{ recent = \"2m\", before = \"1d\" }]",
            "granularity_by_age: recent: \"2m\" is none of",
        );
        let dataset = |name: &str, more: &str| {
            format!("[[source.a.experiments.dataset]]\nname = \"{name}\"\nview = \"p.d.t\"\nkind = \"flow\"\n{more}")
        };
        check(&dataset("experiment_crash_counts", ""), "two datasets called \"experiment_crash_counts\"");
        check(&dataset("a", "value = \"SUM(x)\""), "dataset \"a\": names: \"SUM(x)\" is not a name of letters");
        check(&dataset("a", "grain = \"2h\""), "dataset \"a\": grain: \"2h\" is none of");
        check(&dataset("a", "").replace("flow", "sum"), "dataset \"a\": kind: \"sum\" is none of");
    }
}
