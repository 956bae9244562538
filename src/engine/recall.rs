//! Settled segments that are not in memory are looked for in the store's folder, off the async threads
//! and once for all who ask.

use std::sync::Arc;

use futures::FutureExt as _;
use weir_plan::{Error, Key, Query, Segment, Timestamp};

use super::Engine;
use crate::flight::Departure;

impl Engine {
    /// Brings the settled segments of a plan into memory, as far as the folder has them.
    pub(super) async fn recall(&self, query: &Query, segments: &[Segment], now: Timestamp) {
        let store = &self.shared.store;
        if query.cache.skip_read || !store.has_folder() {
            return;
        }
        let wanted: Vec<&Segment> =
            segments.iter().filter(|segment| segment.is_lasting() && !store.holds(&segment.key, now)).collect();
        let keys: Vec<Key> = wanted.iter().map(|segment| segment.key.clone()).collect();
        let start = |places: Vec<usize>| {
            let unclaimed: Vec<_> =
                places.iter().map(|place| (keys[*place].clone(), wanted[*place].keep_for)).collect();
            let store = Arc::clone(store);
            let reading = tokio::task::spawn_blocking(move || {
                unclaimed.iter().map(|(key, keep_for)| store.recall(key, *keep_for, now)).collect()
            });
            let failed = |error| Error::internal("the cache's folder could not be read").with_source(error);
            vec![Departure { places, fetch: async move { reading.await.map_err(failed) }.boxed() }]
        };
        if !keys.is_empty() {
            // What was found is in memory now; what was not is fetched.
            self.shared.recalls.join_all(&keys, start).await;
        }
    }
}

#[cfg(test)]
mod tests;
