//! Figures of experiments: the one place that gets monitoring rows from the engine, and derives every
//! dataset, split and granularity from them. It knows neither HTTP nor files.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::NaiveDate;
use serde::Serialize;
use weir_plan::{Error, Result, Timestamp};

use crate::engine::Engine;

/// The length of the buckets of a series.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Granularity {
    /// Five minutes: a window.
    FiveMinutes,
    /// Half an hour.
    HalfHour,
    /// An hour.
    Hour,
    /// A UTC day.
    Day,
}

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

/// An experiment or rollout, as Experimenter lists it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Experiment {
    /// The slug, `normandy_slug`.
    pub slug: Arc<str>,
    /// `Live` or `Complete`.
    pub status: Option<String>,
    /// The application.
    pub app_name: Option<String>,
    /// First day.
    pub start_date: Option<NaiveDate>,
    /// Last day; none while it runs.
    pub end_date: Option<NaiveDate>,
    /// Whether it is a rollout, which has no split to judge.
    pub is_rollout: bool,
    /// Branches in the list's order.
    pub branches: Vec<ExperimentBranch>,
}

/// A branch of an experiment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ExperimentBranch {
    /// The branch's slug.
    pub slug: Arc<str>,
    /// Its share in proportion to the others'.
    pub ratio: Option<i64>,
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
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ExperimentCounts {
    /// Enrollments in all branches.
    pub total_enrollments: i64,
    /// Unenrollments in all branches.
    pub total_unenrollments: i64,
    /// By branch.
    pub branches: BTreeMap<Arc<str>, BranchCounts>,
    /// Always there and always empty.
    pub unenrollment_reasons: BTreeMap<Arc<str>, i64>,
    /// By branch and reason; absent when there are none.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub reasons_by_branch: BTreeMap<Arc<str>, BTreeMap<Arc<str>, ReasonCount>>,
}

/// All-time totals of a branch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct BranchCounts {
    /// Enrollments.
    pub enrollments: i64,
    /// Unenrollments.
    pub unenrollments: i64,
}

/// How many clients of a sample named a reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ReasonCount {
    /// Clients in a sample of one in a hundred.
    #[serde(rename = "1pct_count")]
    pub sampled: i64,
}

/// A row of the enrollment funnel, in the form that Experimenter reads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
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

/// Figures over one engine. Keep one for each: it remembers what it derived.
pub struct Figures {
    #[expect(dead_code, reason = "the next commit asks it")]
    engine: Arc<Engine>,
}

impl Figures {
    /// Figures of the ready-made datasets over an engine.
    pub fn new(engine: Arc<Engine>) -> Self {
        Self { engine }
    }

    /// The experiments that Experimenter lists, sorted by slug.
    ///
    /// # Errors
    /// Those of [`Engine::answer`].
    #[expect(clippy::unused_async, reason = "the next commit asks the engine")]
    pub async fn experiments(&self) -> Result<Arc<[Experiment]>> {
        Err(Error::internal("not built yet"))
    }

    /// All-time enrollments and unenrollments of every listed experiment with a start date.
    ///
    /// # Errors
    /// Those of [`Engine::answer`].
    #[expect(clippy::unused_async, reason = "the next commit asks the engine")]
    pub async fn counts(&self) -> Result<Arc<Counts>> {
        Err(Error::internal("not built yet"))
    }

    /// The enrollment funnel by slug, in the file's order; empty where no table for it is configured.
    ///
    /// # Errors
    /// Those of [`Engine::answer`].
    #[expect(clippy::unused_async, reason = "the next commit asks the engine")]
    pub async fn funnel(&self) -> Result<BTreeMap<Arc<str>, Vec<FunnelRow>>> {
        Err(Error::internal("not built yet"))
    }

    /// A dataset's series, one for each experiment that was asked for, in their order; an experiment
    /// without rows has a series without points.
    ///
    /// # Errors
    /// `NotFound` naming a dataset or slug that there is not; `InvalidQuery` for a granularity finer
    /// than the dataset's, a split that it lacks, and `from` after `to`; those of [`Engine::answer`].
    #[expect(clippy::unused_async, reason = "the next commit asks the engine")]
    pub async fn series(&self, query: &SeriesQuery) -> Result<Vec<Series>> {
        Err(Error::internal(format!("not built yet: {}", query.dataset)))
    }

    /// What was asked of the engine so far.
    pub fn spent(&self) -> Spent {
        Spent::default()
    }
}
