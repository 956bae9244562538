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
