//! How much of the store the settled segments of one text may take, so that a long range of many
//! groups does not push out everybody else's.
//!
//! A text over its quota gives up what it has not used for a while, and otherwise keeps no more: the
//! least recently used ones would be those that the same panel reads next.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use weir_plan::{Family, Key, Timestamp};

/// What was not used for this long is given up by a text over its quota: several slots.
const IDLE: Duration = Duration::from_hours(1);

/// Bytes that a quota costs for each segment.
pub(super) const OVERHEAD: usize = 150;

/// The use of a settled segment.
#[derive(Debug)]
pub(super) struct Use {
    /// When it was last read, as time since the store was made, in seconds.
    read: AtomicU64,
    /// When the folder was last told that it is used, in µs.
    pub(super) told: AtomicI64,
}

impl Use {
    pub(super) fn new(now: Duration, told: Timestamp) -> Arc<Self> {
        Arc::new(Self { read: AtomicU64::new(now.as_secs()), told: AtomicI64::new(told.micros()) })
    }

    pub(super) fn read(&self, now: Duration) {
        self.read.store(now.as_secs(), Ordering::Relaxed);
    }

    fn is_idle(&self, now: Duration) -> bool {
        now.as_secs().saturating_sub(self.read.load(Ordering::Relaxed)) >= IDLE.as_secs()
    }
}

/// What settled segments take, by text.
pub(super) struct Quotas {
    limit: u64,
    families: Mutex<HashMap<Arc<Family>, Members>>,
}

#[derive(Default)]
struct Members {
    bytes: u64,
    kept: HashMap<Key, (u64, Arc<Use>)>,
}

impl Members {
    fn remove(&mut self, key: &Key) {
        if let Some((bytes, _)) = self.kept.remove(key) {
            self.bytes -= bytes;
        }
    }
}

impl Quotas {
    /// Each text may take `limit` bytes.
    pub(super) fn new(limit: u64) -> Self {
        Self { limit, families: Mutex::default() }
    }

    /// Makes room for a segment of `bytes`, and says what is to be given up for it; `None` where there
    /// is none. One of the same key gives way.
    pub(super) fn admit(&self, key: &Key, bytes: u64, used: &Arc<Use>, now: Duration) -> Option<Vec<Key>> {
        let Some(family) = key.family() else { return Some(vec![]) };
        let mut families = self.families.lock();
        let members = families.entry(Arc::clone(family)).or_default();
        members.remove(key);
        let is_over = members.bytes + bytes > self.limit;
        let idle = members.kept.iter().filter(|(_, (_, used))| is_over && used.is_idle(now));
        let (given_up, sizes): (Vec<Key>, Vec<u64>) = idle.map(|(key, (bytes, _))| (key.clone(), *bytes)).unzip();
        let fits = members.bytes - sizes.iter().sum::<u64>() + bytes <= self.limit;
        if fits {
            for key in &given_up {
                members.remove(key);
            }
            members.bytes += bytes;
            members.kept.insert(key.clone(), (bytes, Arc::clone(used)));
        }
        if members.kept.is_empty() {
            families.remove(family);
        }
        fits.then_some(given_up)
    }

    /// A segment has left the store; `used` tells it from a later one of the same key.
    pub(super) fn left(&self, key: &Key, used: &Arc<Use>) {
        let Some(family) = key.family() else { return };
        let mut families = self.families.lock();
        let Some(members) = families.get_mut(family) else { return };
        if members.kept.get(key).is_some_and(|(_, kept)| Arc::ptr_eq(kept, used)) {
            members.remove(key);
        }
        if members.kept.is_empty() {
            families.remove(family);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_secs(3599);
    const LATER: Duration = Duration::from_hours(1);

    #[test]
    fn a_text_over_its_quota_gives_up_what_is_idle_and_otherwise_keeps_no_more() {
        let (quotas, family) = (Quotas::new(100), Family::new("text".to_owned()));
        let keys = [0, 1, 2, 3].map(|number| family.key(format!("{number}")));
        let new = || Use::new(Duration::ZERO, Timestamp::MIN);
        let uses = [new(), new(), new(), new()];
        let admit = |number: usize, bytes, now| quotas.admit(&keys[number], bytes, &uses[number], now);
        assert_eq!(admit(0, 60, Duration::ZERO), Some(vec![]));
        assert_eq!(admit(1, 40, Duration::ZERO), Some(vec![]));
        assert_eq!(admit(2, 1, SOON), None, "both were used within the hour");
        assert_eq!(admit(1, 40, SOON), Some(vec![]), "one of the same key gives way");
        uses[1].read(SOON);
        assert_eq!(admit(2, 61, LATER), None, "what is idle would not do");
        uses[2].read(SOON);
        assert_eq!(admit(2, 60, LATER), Some(vec![keys[0].clone()]));
        assert_eq!(admit(3, 1, LATER), None);
        quotas.left(&keys[1], &new());
        assert_eq!(admit(3, 1, LATER), None, "what left was an older one of the same key");
        quotas.left(&keys[1], &uses[1]);
        assert_eq!(admit(3, 40, LATER), Some(vec![]));
        assert_eq!(quotas.families.lock().len(), 1);
        for number in [2, 3] {
            quotas.left(&keys[number], &uses[number]);
        }
        assert_eq!(quotas.families.lock().len(), 0);
    }

    #[test]
    fn texts_have_quotas_of_their_own() {
        let quotas = Quotas::new(100);
        let used = Use::new(Duration::ZERO, Timestamp::MIN);
        for text in ["one", "other"] {
            let family = Family::new(text.to_owned());
            assert_eq!(quotas.admit(&family.key("0".into()), 100, &used, Duration::ZERO), Some(vec![]), "{text}");
            assert_eq!(quotas.admit(&family.key("1".into()), 1, &used, Duration::ZERO), None, "{text}");
        }
        assert_eq!(quotas.admit(&Family::new("third".into()).key("0".into()), 101, &used, LATER), None);
        assert_eq!(quotas.admit(&Key::new("none".into()), 101, &used, LATER), Some(vec![]));
        assert_eq!(quotas.families.lock().len(), 2);
    }
}
