//! Settled segments that are not in memory are looked for in the store's folder, off the async threads
//! and once for all who ask.

use std::collections::HashMap;
use std::sync::Arc;

use futures::FutureExt as _;
use weir_plan::{Error, Key, Query, Segment, Timestamp};

use super::Engine;
use crate::cache::Stored;
use crate::flight::Departure;

/// What the folder had; the store may have no room for it.
pub(super) type Recalled = HashMap<Key, Arc<Stored>>;

impl Engine {
    /// The settled segments of a plan that are not in memory, as far as the folder has them.
    pub(super) async fn recall(&self, query: &Query, segments: &[Segment], now: Timestamp) -> Recalled {
        let store = &self.shared.store;
        if query.cache.skip_read || !store.has_folder() {
            return Recalled::new();
        }
        let wanted: Vec<&Segment> =
            segments.iter().filter(|segment| segment.is_lasting() && !store.holds(&segment.key, now)).collect();
        if wanted.is_empty() {
            return Recalled::new();
        }
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
        // What was not found is fetched.
        let landed = self.shared.recalls.join_all(&keys, start).await;
        keys.iter().cloned().zip(landed).filter_map(|(key, landed)| Some((key, landed.result.ok()??))).collect()
    }
}

#[cfg(test)]
mod tests;
