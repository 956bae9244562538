//! Monitoring datasets as data: from which rows each is made, how it is added up, and what it can be
//! split by. It asks for no rows.
//!
//! Source: the monitoring views of mozilla/bigquery-etl, their running sums mended: rows of a window are
//! added up before anything runs over time.

mod ready_made;
mod written;

use std::sync::Arc;

use serde::Serialize;
use utoipa::ToSchema;
use weir_plan::{Error, Result, TableId};

use super::granularity::Granularity;

pub use written::Written;

/// What the values of a dataset are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum DatasetKind {
    /// What happened in a bucket: added up.
    Flow,
    /// What has happened until the end of a bucket: the running sum of a flow.
    Cumulative,
    /// How many there are: the last value in a bucket.
    Level,
}

/// Rows that one query fetches for every experiment, from which several datasets are made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Base {
    /// The table or view.
    pub table: TableId,
    /// Its column with the time of a row.
    pub time: String,
    /// Its column with the experiment's slug.
    pub experiment: String,
    /// What rows can be split by.
    pub splits: Vec<Split>,
    /// Columns that are added up.
    pub measures: Vec<String>,
    /// How far apart its rows are.
    pub grain: Granularity,
    /// Whether its rows are levels: they are not added up over time, and few enough to fetch them all.
    pub is_level: bool,
}

/// A column by which rows can be split.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Split {
    /// Its name in requests.
    pub name: Arc<str>,
    /// The column.
    pub column: String,
}

/// One summand of a dataset's value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Term {
    /// Place of the measure in the base.
    pub measure: usize,
    /// 1 or -1.
    pub sign: i64,
    /// The event that it counts, where the dataset tells events apart.
    pub event: Option<Arc<str>>,
}

/// A dataset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dataset {
    /// Its name.
    pub name: Arc<str>,
    /// What it says, in a few words.
    pub title: String,
    /// The view that shows the same to a board.
    pub view: TableId,
    /// What its values are.
    pub kind: DatasetKind,
    /// Place of its rows in [`Datasets::bases`].
    pub base: usize,
    /// Its value: the sum of these.
    pub terms: Vec<Term>,
}

/// Where a dataset finds the names of a split.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Names {
    /// In a column of the base: its place.
    Column(usize),
    /// In its terms.
    Terms,
}

/// The split of datasets that tell events apart.
const EVENT: &str = "event";

/// All datasets of a source.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::struct_field_names, reason = "they are what it is called after")]
pub struct Datasets {
    bases: Vec<Base>,
    datasets: Vec<Dataset>,
    /// Place of the rows with enrollments and unenrollments, which counts are made of.
    pub(super) enrollment: usize,
}

impl Datasets {
    /// The rows that are fetched.
    pub fn bases(&self) -> &[Base] {
        &self.bases
    }

    /// The datasets.
    #[expect(clippy::iter_without_into_iter, reason = "nobody loops over a reference")]
    pub fn iter(&self) -> std::slice::Iter<'_, Dataset> {
        self.datasets.iter()
    }

    /// The dataset called `name`.
    pub fn find(&self, name: &str) -> Option<&Dataset> {
        self.datasets.iter().find(|dataset| &*dataset.name == name)
    }

    /// Adds datasets that a file describes.
    ///
    /// # Errors
    /// `InvalidQuery` naming a dataset that is there already.
    pub fn with(mut self, written: Vec<Written>) -> Result<Self> {
        for written in written {
            if self.datasets.iter().any(|dataset| *dataset.name == *written.name) {
                return Err(Error::invalid(format!("there are two datasets called {:?}", written.name)));
            }
            let (base, dataset) = written.read(self.bases.len())?;
            self.bases.push(base);
            self.datasets.push(dataset);
        }
        Ok(self)
    }
}

impl Dataset {
    /// What it can be split by.
    pub fn splits(&self, base: &Base) -> Vec<Arc<str>> {
        let events = self.terms.iter().any(|term| term.event.is_some()).then(|| Arc::from(EVENT));
        base.splits.iter().map(|split| Arc::clone(&split.name)).chain(events).collect()
    }

    /// Where the names of a split are.
    pub(super) fn names(&self, base: &Base, split: &str) -> Option<Names> {
        if split == EVENT && self.terms.iter().any(|term| term.event.is_some()) {
            return Some(Names::Terms);
        }
        base.splits.iter().position(|known| &*known.name == split).map(Names::Column)
    }
}
