//! Seeded, Mozilla-shaped tables for the embedded source, and what keeps coming to them.
//!
//! Every row of a window is a function of the settings and the window alone, so that tables are
//! equal however the clock came to where it is. Live tables hold what has arrived so far, some rows
//! late and some twice; daily tables hold complete days without duplicates once the daily job has
//! landed them.

mod apps;
mod block;
mod config;
mod curve;
mod draw;
mod experiments;
mod feed;
mod names;
mod recipes;
mod rows;
mod sink;
mod tables;
#[cfg(test)]
mod tests;
mod views;
mod windows;

use arrow::array::RecordBatch;
use chrono::NaiveDate;
use parking_lot::Mutex;
use weir_plan::{Result, Timestamp};

pub use apps::APPS;
pub use config::{Backfill, DailyJob, Landing, SyntheticConfig};
pub use recipes::{Branch, Recipe};
pub use tables::{EXPERIMENTS_PROJECT, Fact, PROJECT};

use crate::source::embedded::{Embedded, Feed};

/// Tables of Mozilla's experiment monitoring, made from a seed.
///
/// One value feeds one [`Embedded`]: attach it with `with_feed`, then [`Synthetic::install`].
pub struct Synthetic {
    config: SyntheticConfig,
    windows: windows::Windows,
    state: Mutex<feed::State>,
}

/// How far [`Synthetic::install`] is.
#[derive(Clone, Debug, PartialEq)]
pub struct Progress {
    /// Share that is done, 0 to 1.
    pub fraction: f64,
    /// What is being done.
    pub what: String,
}

impl Synthetic {
    /// Draws the list of recipes; tables come with [`Synthetic::install`].
    pub fn new(config: SyntheticConfig) -> Self {
        let windows = windows::Windows::new(config.seed, recipes::catalogue(&config));
        Self { config, windows, state: Mutex::new(feed::State::Idle) }
    }

    /// Makes all tables and views and fills them as they are at `now`. From then on the feed keeps
    /// them so.
    ///
    /// # Errors
    /// Those of the tables' changes.
    pub fn install(&self, tables: &Embedded, now: Timestamp, progress: &mut dyn FnMut(Progress)) -> Result<()> {
        self.install_into(tables, now, progress)
    }

    /// Runs the daily job for `day` now, whatever the settings say of it: its partitions are
    /// replaced by complete ones. A later run that the settings name replaces them again.
    ///
    /// # Errors
    /// Those of the tables' changes.
    pub fn land(&self, tables: &Embedded, day: NaiveDate) -> Result<()> {
        self.land_into(tables, day, config::Landed::Complete)
    }

    /// The settings.
    pub fn config(&self) -> &SyntheticConfig {
        &self.config
    }

    /// All recipes: live at the settings' end, ended, upcoming.
    pub fn recipes(&self) -> &[Recipe] {
        self.windows.recipes()
    }

    /// The truth of a day's enrollment events: what the daily table holds once it has landed,
    /// windows of the future included. Sorted by application and experiment.
    ///
    /// # Errors
    /// `Internal` only.
    pub fn raw_windows(&self, day: NaiveDate) -> Result<RecordBatch> {
        self.raw(Fact::Enrollment, day)
    }

    /// As [`Synthetic::raw_windows`], for any fact.
    ///
    /// # Errors
    /// `Internal` only.
    pub fn raw(&self, fact: Fact, day: NaiveDate) -> Result<RecordBatch> {
        let day = self.windows.day(day, 0..curve::WINDOWS)?;
        let block = day.blocks().iter().find(|block| block.fact == fact);
        block.map(|block| block.rows.clone()).ok_or_else(|| weir_plan::Error::internal(format!("no rows of {fact:?}")))
    }

    /// The truth of a day's active clients.
    ///
    /// # Errors
    /// `Internal` only.
    pub fn active_clients(&self, day: NaiveDate) -> Result<RecordBatch> {
        experiments::active_clients(self.config.seed, self.recipes(), day)
    }
}

impl Feed for Synthetic {
    /// Brings the tables to `now`: windows that have ended, late rows, the daily job, the list of
    /// experiments every ten minutes, the end of old live partitions. A clock that goes back changes
    /// nothing, nor does anything before [`Synthetic::install`].
    ///
    /// # Errors
    /// Those of the tables' changes; after one the tables are no longer trusted and every later call
    /// gives the same error.
    fn advance(&self, tables: &Embedded, now: Timestamp) -> Result<()> {
        self.advance_into(tables, now)
    }
}
