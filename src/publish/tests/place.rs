//! Figures over generated tables, and readers of the files that are made of them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use weir_plan::TableId;

use super::super::{Bucket, Form, Progress, PublishSettings, Publisher, Summary};
use super::{at, text};
use crate::app::App;
use crate::cache::StoreSettings;
use crate::clock::{Clock, ManualClock};
use crate::engine::EngineSettings;
use crate::monitoring::MonitoringSettings;
use crate::monitoring::figures::{Figures, Series, SeriesQuery};
use crate::monitoring::synthetic::{PROJECT, Synthetic, SyntheticConfig};
use crate::source::Source;
use crate::source::embedded::Embedded;

/// A little after noon, so that the last window has not ended.
pub(super) const NOW: &str = "2024-03-31T12:02:00Z";

/// Generated tables of 40 days.
pub(super) struct Place {
    pub(super) embedded: Arc<Embedded>,
    pub(super) clock: Arc<ManualClock>,
}

impl Place {
    pub(super) fn new() -> Self {
        // Partitions are as young as the tables; what is younger than a grace of two hours is awaited.
        let installed = at(NOW).minus(Duration::from_hours(3));
        let clock = Arc::new(ManualClock::new(installed));
        let config = SyntheticConfig {
            live_recipes: 8,
            ended_recipes: 3,
            upcoming_recipes: 1,
            history_days: 40,
            ..SyntheticConfig::demo(at(NOW))
        };
        let synthetic = Arc::new(Synthetic::new(config));
        let embedded = Embedded::new(PROJECT, Arc::clone(&clock) as Arc<dyn Clock>);
        let embedded = Arc::new(embedded.with_feed(Arc::clone(&synthetic) as _));
        synthetic.install(&embedded, installed, &mut |_| ()).unwrap();
        clock.set(at(NOW));
        Self { embedded, clock }
    }

    pub(super) fn figures(&self) -> Arc<Figures> {
        self.figures_over(Arc::clone(&self.embedded) as _, MonitoringSettings::default())
    }

    /// Figures over a list of experiments that is made from the generated one by `sql`, with LIST in
    /// place of its name.
    pub(super) fn figures_of_list(&self, sql: &str) -> Arc<Figures> {
        let generated = MonitoringSettings::default().experiments;
        let experiments = TableId::new(PROJECT, "monitoring", "odd_list");
        self.embedded.create_view(experiments.clone(), &sql.replace("LIST", &format!("`{generated}`"))).unwrap();
        let settings = MonitoringSettings { experiments, ..MonitoringSettings::default() };
        self.figures_over(Arc::clone(&self.embedded) as _, settings)
    }

    pub(super) fn figures_over(&self, source: Arc<dyn Source>, settings: MonitoringSettings) -> Arc<Figures> {
        let mut app = App::new(StoreSettings::of(256 << 20), Arc::clone(&self.clock) as _, App::GRACE);
        let engine = app.add_source("demo", source, EngineSettings::default());
        Arc::new(Figures::with(engine, settings))
    }
}

/// Published files, and the figures that they were made of.
pub(super) struct Published {
    pub(super) publisher: Publisher,
    pub(super) summary: Summary,
}

impl Published {
    /// Publishes once, to memory.
    pub(super) async fn once(figures: &Arc<Figures>, form: Form) -> Self {
        let settings = PublishSettings { form, ..PublishSettings::default() };
        let publisher = Publisher::new(figures, Bucket::memory(), settings);
        let summary = publisher.publish(&Progress::Lines).await.unwrap();
        Self { publisher, summary }
    }

    /// The rows of a file.
    pub(super) async fn rows(&self, file: &str) -> Vec<FileRow> {
        let text = text(&self.publisher.bucket, &format!("monitoring/{file}.json")).await;
        serde_json::from_str(&text.unwrap_or_else(|| panic!("no file {file}"))).unwrap()
    }

    pub(super) async fn series(&self, query: &SeriesQuery) -> Vec<Series> {
        self.publisher.figures.series(query).await.unwrap()
    }
}

/// A row as a reader sees it, its number as a number or as text.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub(super) struct FileRow {
    pub(super) time: String,
    pub(super) branch: Option<String>,
    pub(super) event: Option<String>,
    pub(super) value: serde_json::Value,
}

impl FileRow {
    pub(super) fn number(&self) -> i64 {
        self.value.as_i64().unwrap_or_else(|| self.value.as_str().unwrap().parse().unwrap())
    }
}

/// The sum of rows by what `key` says of them.
pub(super) fn sums<K: Ord>(rows: &[FileRow], key: impl Fn(&FileRow) -> K) -> BTreeMap<K, i64> {
    let mut sums = BTreeMap::new();
    for row in rows {
        *sums.entry(key(row)).or_default() += row.number();
    }
    sums
}
