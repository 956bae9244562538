//! Tables of a view that have no rows where a job would read them: they are left out of it, since each
//! table bills a minimum. Asked of the source by dry runs, which are free, and remembered for a minute.
//!
//! A table whose only rows are still in a streaming buffer has none yet as far as a dry run tells.

use std::collections::BTreeSet;
use std::time::Duration;

use futures::future::join_all;
use weir_plan::plan::delta::Assembly;
use weir_plan::{Extent, Query, TableId, Timestamp};

use super::Engine;
use super::columns::CAPACITY;
use super::memo::Memo;

/// How long a table is taken for empty.
const LIFETIME: Duration = Duration::from_mins(1);

/// Fewer tables than these are read as they are.
const FEWEST: usize = 3;

/// Whether a text reads nothing, and as of when.
pub(super) struct Quiet(Memo<String, (bool, Timestamp)>);

impl Default for Quiet {
    fn default() -> Self {
        Self(Memo::new(CAPACITY, LIFETIME))
    }
}

impl Engine {
    /// The tables that a job for `extent` need not read, and since when that is known.
    pub(super) async fn quiet(
        &self,
        query: &Query,
        assembly: &Assembly,
        extent: Extent,
        now: Timestamp,
    ) -> (BTreeSet<TableId>, Timestamp) {
        let probes = assembly.template.probes(extent, assembly.as_of);
        if probes.len() < FEWEST {
            return (BTreeSet::new(), now);
        }
        let found = join_all(probes.into_iter().map(|(table, sql)| async move {
            let known = self.quiet.0.slot(&sql, now);
            let asked = async || {
                let estimate = self.try_text(query, "probe", sql).await;
                let is_empty = estimate.is_ok_and(|estimate| estimate.bytes_processed == 0);
                (is_empty, now)
            };
            let (is_empty, at) = *known.get_or_init(asked).await;
            is_empty.then_some((table, at))
        }))
        .await;
        let since = found.iter().flatten().map(|(_, at)| *at).min().unwrap_or(now);
        (found.into_iter().flatten().map(|(table, _)| table).collect(), since)
    }
}
