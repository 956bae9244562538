//! The lists that come as rows of text: experiments, the funnel, reasons. It knows their columns.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{Days, NaiveDate};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};
use weir_plan::{Error, Result, Timestamp};

use super::FunnelRow;
use crate::batches::{Batches, json};

/// Days after its end for which an experiment still counts as active.
const ACTIVE_DAYS: u64 = 14;

/// An experiment or rollout, as Experimenter lists it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Experiment {
    /// The slug, `normandy_slug`.
    #[serde(rename(deserialize = "normandy_slug"))]
    #[schema(value_type = String)]
    pub slug: Arc<str>,
    /// `Live` or `Complete`.
    pub status: Option<String>,
    /// The application.
    pub app_name: Option<String>,
    /// First day.
    pub start_date: Option<NaiveDate>,
    /// Last day; none while it runs.
    pub end_date: Option<NaiveDate>,
    /// Day on which enrollment ended.
    pub enrollment_end_date: Option<NaiveDate>,
    /// Whether it is a rollout, which has no split to judge.
    #[serde(default, deserialize_with = "or_default")]
    pub is_rollout: bool,
    /// Branches in the list's order.
    #[serde(default, deserialize_with = "or_default")]
    pub branches: Vec<ExperimentBranch>,
    /// The branch that others are compared with.
    pub reference_branch: Option<String>,
    /// The first channel.
    pub channel: Option<String>,
    /// Channels.
    #[serde(default, deserialize_with = "or_default")]
    pub channels: Vec<String>,
    /// The application's id.
    pub app_id: Option<String>,
    /// Percent of clients that it is for.
    pub targeted_percent: Option<f64>,
    /// Days of enrollment that were proposed.
    pub proposed_enrollment: Option<i64>,
    /// Features that it changes.
    #[serde(default, deserialize_with = "or_default")]
    pub feature_ids: Vec<String>,
    /// What is randomized.
    pub randomization_unit: Option<String>,
    /// Whether it is large.
    pub is_high_population: Option<bool>,
    /// Whether enrollment is paused.
    pub is_enrollment_paused: Option<bool>,
}

/// A branch of an experiment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ExperimentBranch {
    /// The branch's slug.
    #[schema(value_type = String)]
    pub slug: Arc<str>,
    /// Its share in proportion to the others'.
    pub ratio: Option<i64>,
}

impl Experiment {
    /// Midnight of its first day.
    pub fn start(&self) -> Option<Timestamp> {
        self.start_date.map(Timestamp::from)
    }

    /// Whether it is live, or ended within the last 14 days.
    pub fn is_active(&self, now: Timestamp) -> bool {
        let is_live = self.status.as_deref() == Some("Live");
        is_live || self.end_date.is_some_and(|end| end.checked_add_days(Days::new(ACTIVE_DAYS)) >= Some(now.date()))
    }
}

fn or_default<'de, T: Default + Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
    Option::<T>::deserialize(deserializer).map(Option::unwrap_or_default)
}

/// The list of experiments by slug; the last row of a slug holds.
pub(super) fn experiments(batches: &Batches) -> Result<BTreeMap<Arc<str>, Experiment>> {
    let rows = rows::<Experiment>(batches, "the list of experiments")?;
    Ok(rows.into_iter().map(|experiment| (Arc::clone(&experiment.slug), experiment)).collect())
}

#[derive(Deserialize)]
struct OfSlug<T> {
    slug: Option<Arc<str>>,
    #[serde(flatten)]
    row: T,
}

/// The funnel by slug, in the file's order.
pub(super) fn funnel(batches: &Batches) -> Result<BTreeMap<Arc<str>, Vec<FunnelRow>>> {
    let mut by_slug: BTreeMap<Arc<str>, Vec<FunnelRow>> = BTreeMap::new();
    for OfSlug { slug, row } in rows::<OfSlug<FunnelRow>>(batches, "the enrollment funnel")? {
        by_slug.entry(slug.unwrap_or_default()).or_default().push(row);
    }
    for rows in by_slug.values_mut() {
        rows.sort();
    }
    Ok(by_slug)
}

/// Why clients of a sample left a branch.
#[expect(clippy::struct_field_names, reason = "the table's columns")]
#[derive(Deserialize)]
pub(super) struct Reason {
    pub(super) slug: Arc<str>,
    pub(super) branch: Arc<str>,
    pub(super) reason: Arc<str>,
    pub(super) client_count: i64,
}

/// The reasons for unenrollments.
pub(super) fn reasons(batches: &Batches) -> Result<Vec<Reason>> {
    rows(batches, "the reasons for unenrollments")
}

/// Rows by the names of their columns; those that nobody asks for are skipped.
fn rows<T: DeserializeOwned>(batches: &Batches, what: &str) -> Result<Vec<T>> {
    let keys = json::keys(batches.schema())?;
    let mut lines = Vec::new();
    for batch in batches {
        json::write_lines(batch, &keys, &mut lines)?;
    }
    let rows = serde_json::Deserializer::from_slice(&lines).into_iter::<T>();
    rows.collect::<serde_json::Result<_>>().map_err(|error| {
        Error::invalid(format!("{what} has columns of other names or types: {error}")).with_source(error)
    })
}
