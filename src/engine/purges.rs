//! Purges: stored answers are left behind by a number in their keys that moves on, for all answers of
//! a source, for those of some days, or for those of one text.

use serde::Serialize;
use weir_plan::extent::DAY;
use weir_plan::{Error, Extent, Query, Result, Timestamp};

use super::{Engine, aside};

/// The most days of one purge.
const MOST_DAYS: i64 = 3660;

/// What a purge of a text leaves, where rows are kept that it may read.
const ROWS_STAY: &str = "answers to this text are made anew from the rows that are kept here, which stay: \
    purge their days, or all";

/// What a purge did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Purged {
    /// A number that is greater than before.
    pub generation: u64,
    /// What it left, where that is worth saying.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<&'static str>,
}

impl Engine {
    /// Leaves every stored answer of this source behind; returns the new generation.
    ///
    /// # Errors
    /// Those of [`Store::purge`](crate::cache::Store::purge).
    pub fn purge(&self) -> Result<u64> {
        self.purge_named(std::slice::from_ref(&self.identity))
    }

    /// Leaves the stored answers of the days of `range` behind, or those of the text `sql` as its
    /// queries have it, or all. Of answers that are not in parts nobody knows which days they read: a purge
    /// of days is of all of them. The rows of local relations are those of many texts: only a purge of days
    /// or of all leaves them behind.
    ///
    /// # Errors
    /// `InvalidQuery` for both at once, and for a range of more than ten years; those of
    /// [`Store::purge`](crate::cache::Store::purge).
    pub fn purge_some(&self, range: Option<Extent>, sql: Option<&str>) -> Result<Purged> {
        let generation = match (range, sql) {
            (None, None) => self.purge()?,
            (None, Some(sql)) => self.purge_named(&[self.text(sql)])?,
            (Some(range), None) => {
                let days = days(range);
                if days.end - days.start > MOST_DAYS * DAY {
                    let message = "a purge of more than ten years; give a shorter range, or none for all answers";
                    return Err(Error::invalid(message));
                }
                let names = days.step_by(usize::try_from(DAY).unwrap_or(usize::MAX)).map(|day| self.day(day));
                self.purge_named(&names.chain([self.any_day()]).collect::<Vec<_>>())?
            }
            (Some(_), Some(_)) => {
                let message = "a purge is of a range (from, to) or of a text (sql), not of both";
                return Err(Error::invalid(message));
            }
        };
        let is_kept = sql.is_some_and(|sql| self.may_be_kept(sql));
        Ok(Purged { generation, note: is_kept.then_some(ROWS_STAY) })
    }

    fn purge_named(&self, names: &[String]) -> Result<u64> {
        aside(usize::MAX, || {
            names.iter().try_fold(0, |greatest, name| Ok(self.shared.store.purge(name)?.max(greatest)))
        })
    }

    fn text(&self, sql: &str) -> String {
        format!("{}|text {sql}", self.identity)
    }

    fn day(&self, day: i64) -> String {
        format!("{}|day {day}", self.identity)
    }

    fn any_day(&self) -> String {
        format!("{}|days", self.identity)
    }

    /// The purges that all answers to a query depend on: of the source, and of the text.
    pub(super) fn purges_of(&self, query: &Query) -> [u64; 2] {
        let store = &self.shared.store;
        [store.generation(&self.identity), store.generation(&self.text(&query.sql))]
    }

    /// The purges of days, which answers that are not in parts depend on.
    pub(super) fn purges_of_days(&self) -> u64 {
        self.shared.store.generation(&self.any_day())
    }

    /// The purges of the days of a part.
    pub(super) fn purges_within(&self, extent: Extent) -> u64 {
        if self.purges_of_days() == 0 {
            return 0;
        }
        let days = days(extent).step_by(usize::try_from(DAY).unwrap_or(usize::MAX));
        days.map(|day| self.shared.store.generation(&self.day(day))).sum()
    }
}

/// The beginnings of the days that hold a range, in µs.
fn days(range: Extent) -> std::ops::Range<i64> {
    let (start, end): (Timestamp, Timestamp) = (range.start().floor(DAY), range.end().ceil(DAY));
    start.micros()..end.micros()
}
