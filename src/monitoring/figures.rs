//! Figures of experiments: the one place that gets monitoring rows from the engine, and derives every
//! dataset, split and granularity from them. It knows neither HTTP nor files.

mod ask;
mod counts;
mod experiments;
mod points;
mod rows;
mod series;
mod table;
#[cfg(test)]
mod tests;
mod zones;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use weir_plan::{CacheControl, Result, Timestamp};

pub use self::experiments::{Experiment, ExperimentBranch};
pub(crate) use self::series::find;
use super::MonitoringSettings;
use super::datasets::Datasets;
pub use super::granularity::Granularity;
use crate::engine::{Answer, Engine};

/// A value of a series.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Point {
    /// Start of the bucket.
    pub time: Timestamp,
    /// The branch, where the series is split by branches.
    pub branch: Option<Arc<str>>,
    /// The event, channel or process type, where the series is split by it.
    pub split: Option<Arc<str>>,
    /// The bucket's sum of a flow; the last value in it of everything else.
    pub value: i64,
}

/// A dataset of one experiment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Series {
    /// The dataset's name.
    pub dataset: Arc<str>,
    /// The experiment's slug.
    pub experiment: Arc<str>,
    /// The finest granularity in it: by age, older points are coarser.
    pub granularity: Granularity,
    /// Points, oldest first; of one time in order of branch and split.
    pub points: Vec<Point>,
    /// When the oldest rows under it were fetched.
    pub as_of: Timestamp,
}

/// What a series is split by.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum By {
    /// One value for each time.
    #[default]
    Total,
    /// One for each branch.
    Branch,
    /// One for each `event`, `channel` or `process`, all branches together.
    Split(String),
    /// One for each branch and `event`, `channel` or `process`.
    BranchAndSplit(String),
}

/// What is asked of [`Figures::series`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct SeriesQuery {
    /// The dataset's name.
    pub dataset: String,
    /// Slugs; `None` means every listed experiment.
    pub experiments: Option<Vec<String>>,
    /// The split.
    pub by: By,
    /// The length of buckets; `None` leaves it to the age of the experiment and of the point.
    pub granularity: Option<Granularity>,
    /// Buckets that start before this (and do not hold it) are left out; `None` means the
    /// experiment's start date, and the first row where there is none.
    pub from: Option<Timestamp>,
    /// Buckets that start at or after this are left out.
    pub to: Option<Timestamp>,
    /// Whether a flow is summed up over time; `None` leaves it to the dataset's kind.
    pub cumulative: Option<bool>,
}

/// All-time totals of every listed experiment: the document of
/// `enrollment_counts_latest.json` is `{"v1": by_slug}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counts {
    /// Counts by slug.
    pub by_slug: BTreeMap<Arc<str>, ExperimentCounts>,
    /// When the oldest rows under them were fetched.
    pub as_of: Timestamp,
}

/// All-time totals of an experiment, in the form that Experimenter reads.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct ExperimentCounts {
    /// Enrollments in all branches.
    pub total_enrollments: i64,
    /// Unenrollments in all branches.
    pub total_unenrollments: i64,
    /// By branch.
    #[schema(value_type = BTreeMap<String, BranchCounts>)]
    pub branches: BTreeMap<Arc<str>, BranchCounts>,
    /// Always there and always empty.
    #[schema(value_type = BTreeMap<String, i64>)]
    pub unenrollment_reasons: BTreeMap<Arc<str>, i64>,
    /// By branch and reason; absent when there are none.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schema(value_type = Option<BTreeMap<String, BTreeMap<String, ReasonCount>>>)]
    pub reasons_by_branch: BTreeMap<Arc<str>, BTreeMap<Arc<str>, ReasonCount>>,
}

/// All-time totals of a branch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct BranchCounts {
    /// Enrollments.
    pub enrollments: i64,
    /// Unenrollments.
    pub unenrollments: i64,
}

/// How many clients of a sample named a reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct ReasonCount {
    /// Clients in a sample of one in a hundred.
    #[serde(rename = "1pct_count")]
    pub sampled: i64,
}

/// A row of the enrollment funnel, in the form that Experimenter reads.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
pub struct FunnelRow {
    /// The application.
    pub app_name: String,
    /// The branch.
    pub branch: Option<String>,
    /// `Enrolled`, `NotEnrolled`, `Disqualified` or `WasEnrolled`.
    pub status: String,
    /// Why.
    pub reason: Option<String>,
    /// The experiments that were in the way, separated by commas.
    pub conflict_slug: Option<String>,
    /// Clients.
    pub client_count: i64,
}

/// What the figures of an engine have cost so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spent {
    /// Answers of the engine that figures were made of.
    pub answers: u64,
    /// Those of them that came from a job of their own.
    pub jobs: u64,
    /// Bytes that were billed for them.
    pub bytes_billed: u64,
}

/// Figures over one engine.
pub struct Figures {
    engine: Arc<Engine>,
    settings: MonitoringSettings,
    /// How the engine is asked; the plan's own rules where nobody says.
    cache: CacheControl,
    answers: AtomicU64,
    jobs: AtomicU64,
    bytes_billed: AtomicU64,
}

/// A figure, and the answers that it was made of.
pub struct Made<T> {
    /// The figure.
    pub figure: Arc<T>,
    /// The engine's answers under it.
    pub answers: Vec<Answer>,
}

impl Figures {
    /// Figures of the ready-made datasets over an engine.
    pub fn new(engine: Arc<Engine>) -> Self {
        Self::with(engine, MonitoringSettings::default())
    }

    /// Figures of the settings' tables and datasets over an engine.
    pub fn with(engine: Arc<Engine>, settings: MonitoringSettings) -> Self {
        let zero = AtomicU64::default;
        let cache = CacheControl::default();
        Self { engine, settings, cache, answers: zero(), jobs: zero(), bytes_billed: zero() }
    }

    /// The same figures, of open days that were fetched no longer than `age` before they are asked for,
    /// and waited for where they were not; what is spent is counted from zero.
    #[must_use]
    pub fn no_older_than(&self, age: Duration) -> Self {
        let cache = CacheControl { fresh_for: Some(age), max_stale: Some(Duration::ZERO), ..CacheControl::default() };
        Self { cache, ..Self::with(Arc::clone(&self.engine), self.settings.clone()) }
    }

    /// The engine that is asked.
    pub fn engine(&self) -> &Arc<Engine> {
        &self.engine
    }

    /// The datasets.
    pub fn datasets(&self) -> &Datasets {
        &self.settings.datasets
    }

    /// The experiments that Experimenter lists, by slug.
    ///
    /// # Errors
    /// Those of [`Engine::answer`]; `InvalidQuery` for a list without the columns of Experimenter's.
    pub async fn experiments(&self) -> Result<Arc<BTreeMap<Arc<str>, Experiment>>> {
        Ok(self.listed().await?.figure)
    }

    /// All-time enrollments and unenrollments of every listed experiment with a start date, since the
    /// first of them began.
    ///
    /// # Errors
    /// As [`Figures::experiments`].
    pub async fn counts(&self) -> Result<Arc<Counts>> {
        Ok(self.counted().await?.figure)
    }

    /// The enrollment funnel by slug, in the file's order; empty where no table for it is configured.
    ///
    /// # Errors
    /// As [`Figures::experiments`].
    pub async fn funnel(&self) -> Result<Arc<BTreeMap<Arc<str>, Vec<FunnelRow>>>> {
        Ok(self.funneled().await?.figure)
    }

    /// A dataset's series, one for each experiment that was asked for, in their order; an experiment
    /// without rows has a series without points.
    ///
    /// # Errors
    /// `NotFound` naming a dataset or slug that there is not; `InvalidQuery` for a granularity finer
    /// than the dataset's, a split that it lacks, and `from` after `to`; those of [`Engine::answer`].
    pub async fn series(&self, query: &SeriesQuery) -> Result<Vec<Series>> {
        self.asked(query).await?.series()
    }

    /// As [`Figures::series`], as an answer with the columns `experiment`, `time`, `branch` and the
    /// split where the query has them, and `value`.
    ///
    /// # Errors
    /// As [`Figures::series`].
    pub async fn series_table(&self, query: &SeriesQuery) -> Result<Answer> {
        self.asked(query).await?.table()
    }

    /// Whether a table for the enrollment funnel is configured.
    pub const fn has_funnel(&self) -> bool {
        self.settings.funnel.is_some()
    }

    /// What was asked of the engine so far.
    pub fn spent(&self) -> Spent {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Spent { answers: read(&self.answers), jobs: read(&self.jobs), bytes_billed: read(&self.bytes_billed) }
    }
}
