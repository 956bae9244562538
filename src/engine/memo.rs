//! Values that are found out once for all who ask, and forgotten in time.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::OnceCell;
use weir_plan::Timestamp;

/// Values that are found out once for all who ask, and forgotten in time.
pub(super) struct Memo<K, V> {
    capacity: usize,
    lifetime: Duration,
    slots: Mutex<HashMap<K, Slot<V>>>,
}

struct Slot<V> {
    /// When the value is forgotten.
    until: Timestamp,
    cell: Arc<OnceCell<V>>,
}

impl<K: Clone + Eq + Hash, V> Memo<K, V> {
    /// At most `capacity` values, each known for `lifetime`.
    pub(super) fn new(capacity: usize, lifetime: Duration) -> Self {
        Self { capacity, lifetime, slots: Mutex::default() }
    }

    /// Where the value of `key` is, or is to be put. Where there is no room, the oldest makes way.
    pub(super) fn slot(&self, key: &K, now: Timestamp) -> Arc<OnceCell<V>> {
        let mut slots = self.slots.lock();
        let until = now.plus(self.lifetime);
        if let Some(slot) = slots.get(key).filter(|slot| slot.until > now && !slot.until.is_ahead_of(until)) {
            return Arc::clone(&slot.cell);
        }
        if slots.len() >= self.capacity {
            slots.retain(|_, slot| slot.until > now);
        }
        if slots.len() >= self.capacity {
            let oldest = slots.iter().min_by_key(|(_, slot)| slot.until).map(|(key, _)| key.clone());
            oldest.and_then(|oldest| slots.remove(&oldest));
        }
        let cell = Arc::<OnceCell<V>>::default();
        slots.insert(key.clone(), Slot { until, cell: Arc::clone(&cell) });
        cell
    }

    /// Forgets the value of `key` at `until`, if it was to be known for longer.
    pub(super) fn forget(&self, key: &K, until: Timestamp) {
        if let Some(slot) = self.slots.lock().get_mut(key) {
            slot.until = slot.until.min(until);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_memo_stays_within_its_bound_and_forgets_in_time() {
        let memo = Memo::<u32, u32>::new(2, Duration::from_hours(1));
        let at = |hours| Timestamp::saturating(0).plus(Duration::from_hours(hours));
        let put = |key, now: Timestamp| memo.slot(&key, now).set(key).is_ok();
        assert!(put(1, at(0)) && put(2, at(0).plus(Duration::from_secs(1))));
        assert!(!put(1, at(0)), "still known");
        assert!(put(3, at(0).plus(Duration::from_secs(2))));
        assert_eq!(memo.slots.lock().len(), 2);
        assert!(put(1, at(0).plus(Duration::from_secs(3))), "the oldest made way");
        memo.forget(&1, at(0).plus(Duration::from_secs(4)));
        assert!(put(1, at(0).plus(Duration::from_secs(4))));
        assert!(put(3, at(2)), "an hour has passed");
        assert!(put(3, at(1)), "the clock was put back");
    }
}
