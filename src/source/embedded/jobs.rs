//! Finished jobs by id, so that a repeated id is joined and billed once.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::OnceCell;
use weir_plan::Result;

use crate::source::Outcome;

/// Finished jobs kept at most. `BigQuery` keeps them for six months; a retry comes within seconds.
const MOST_JOBS: usize = 64;

/// Bytes of answers kept at most.
const MOST_BYTES: usize = 64 * 1024 * 1024;

type Cell = Arc<OnceCell<Outcome>>;

/// Jobs that run or finished lately, the oldest first.
#[derive(Debug, Default)]
pub(super) struct Jobs(Mutex<Vec<(String, Cell)>>);

impl Jobs {
    /// Runs a job unless one of its id runs or finished. Where the running one fails or is dropped,
    /// the next that waits for it runs its own.
    pub(super) async fn join(&self, id: &str, run: impl Future<Output = Result<Outcome>>) -> Result<Outcome> {
        let cell = self.cell(id);
        let mut joined = true;
        let outcome = cell
            .get_or_try_init(|| {
                joined = false;
                run
            })
            .await
            .cloned();
        self.forget();
        outcome.map(|outcome| Outcome { joined, ours: !joined, ..outcome })
    }

    fn cell(&self, id: &str) -> Cell {
        let mut jobs = self.0.lock();
        if let Some((_, cell)) = jobs.iter().find(|(known, _)| known == id) {
            return Arc::clone(cell);
        }
        let cell = Cell::default();
        jobs.push((id.to_owned(), Arc::clone(&cell)));
        cell
    }

    /// Drops failed jobs that nobody waits for, and the oldest finished ones over the limits.
    fn forget(&self) {
        let mut jobs = self.0.lock();
        jobs.retain(|(_, cell)| cell.initialized() || Arc::strong_count(cell) > 1);
        let weight = |cell: &Cell| cell.get().map_or(0, |outcome| outcome.batches.memory_size());
        let mut count = jobs.len();
        let mut bytes: usize = jobs.iter().map(|(_, cell)| weight(cell)).sum();
        jobs.retain(|(_, cell)| {
            let over = (count > MOST_JOBS || bytes > MOST_BYTES) && cell.initialized();
            if over {
                count -= 1;
                bytes -= weight(cell);
            }
            !over
        });
    }
}
