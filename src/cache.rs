//! The store: finished segments, their encodings, errors worth remembering, and notes of whatever
//! type, under one cap in bytes; and, where there is a folder, segments that outlive the process.
//!
//! The only module that knows moka. It takes a key, a value and a lifetime, and knows nothing of
//! queries; whether a segment is still fresh is its reader's business.

mod folder;
mod purges;
mod quota;
mod segment_file;

use std::any::Any;
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use moka::Expiry;
use moka::notification::RemovalCause;
use moka::policy::EvictionPolicy;
use moka::sync::Cache;
use parking_lot::Mutex;
use weir_plan::{Error, Key, Kind, Result, Timestamp};

use self::folder::Folder;
pub use self::folder::FolderSettings;
use self::quota::{Quotas, Use};
use crate::batches::Batches;
use crate::metrics::Metrics;

/// A complete answer of one job.
#[derive(Debug)]
pub struct Stored {
    /// Names this very content; a later answer under the same key has another.
    pub content_id: u64,
    /// The rows.
    pub batches: Batches,
    /// When the job began.
    pub fetched_at: Timestamp,
    /// The job.
    pub job_id: String,
    /// What the job read.
    pub bytes_processed: u64,
    /// What the job billed.
    pub bytes_billed: u64,
    /// Whether another process had already paid for the job.
    pub joined: bool,
    /// What the job took.
    pub slot_ms: u64,
}

#[derive(Clone, PartialEq, Eq, Hash)]
enum Slot {
    Segment(Key),
    Failure(Key),
    Encoding(u64, Arc<str>),
    Note(Key),
}

#[derive(Clone)]
enum Value {
    Segment(Arc<Stored>),
    Failure(Error, Timestamp),
    Encoding(Bytes),
    Note(Arc<dyn Any + Send + Sync>, Timestamp),
}

#[derive(Clone)]
struct Kept {
    value: Value,
    bytes: u32,
    lifetime: Duration,
    /// The use of a settled segment.
    used: Option<Arc<Use>>,
}

/// How often the folder is told that an answer in memory is used.
const NOTING: Duration = Duration::from_hours(1);

/// Bytes that an entry costs besides its value: moka's own nodes and counters, and the key.
/// Found by filling a store with 100,000 to 800,000 tiny entries: 593 to 541 bytes of resident memory
/// each, and 150 more where they have a quota.
const OVERHEAD: usize = 600;

/// Contents that may be encoded at the same time; more than there are cores.
const ENCODERS: usize = 64;

/// How long a failure that would only repeat itself is remembered.
const FAILURE_LIFETIME: Duration = Duration::from_secs(10);

/// How the store is bounded.
#[derive(Clone, Copy, Debug)]
pub struct StoreSettings {
    /// Bytes of all entries together.
    pub capacity: u64,
    /// Bytes of the largest segment that is kept.
    pub largest: u64,
    /// Bytes of all settled segments of one text.
    pub per_text: u64,
}

impl StoreSettings {
    /// A store of `capacity` bytes, whose largest entry is a quarter of it; one text's settled segments
    /// take half of it at most.
    pub const fn of(capacity: u64) -> Self {
        Self { capacity, largest: capacity / 4, per_text: capacity / 2 }
    }
}

/// A bounded store, shared by every engine of the process.
pub struct Store {
    cache: Cache<Slot, Kept>,
    settings: StoreSettings,
    metrics: Arc<Metrics>,
    next_content_id: AtomicU64,
    quotas: Arc<Quotas>,
    made_at: Instant,
    /// Held while a content is encoded, so that callers who joined one flight encode it once.
    encoders: [Mutex<()>; ENCODERS],
    generations: Mutex<HashMap<String, u64>>,
    folder: Option<Folder>,
    /// Segments that somebody holds anyway: they are found however full the store is.
    pinned: Mutex<HashMap<Key, Arc<Stored>>>,
}

struct Lifetimes;

impl Expiry<Slot, Kept> for Lifetimes {
    fn expire_after_create(&self, _: &Slot, kept: &Kept, _: Instant) -> Option<Duration> {
        Some(kept.lifetime)
    }

    fn expire_after_update(&self, _: &Slot, kept: &Kept, _: Instant, _: Option<Duration>) -> Option<Duration> {
        Some(kept.lifetime)
    }
}

impl Store {
    /// An empty store.
    pub fn new(settings: StoreSettings, metrics: Arc<Metrics>) -> Self {
        let evictions = metrics.evictions.clone();
        let quotas = Arc::new(Quotas::new(settings.per_text));
        let leaving = Arc::clone(&quotas);
        let cache = Cache::builder()
            .max_capacity(settings.capacity)
            .weigher(|_, kept: &Kept| kept.bytes)
            .eviction_policy(EvictionPolicy::lru())
            .expire_after(Lifetimes)
            .eviction_listener(move |slot, kept: Kept, cause| {
                if let (Slot::Segment(key), Some(used)) = (&*slot, &kept.used) {
                    leaving.left(key, used);
                }
                let reason = match cause {
                    RemovalCause::Size => "size",
                    RemovalCause::Expired => "expired",
                    RemovalCause::Explicit | RemovalCause::Replaced => return,
                };
                evictions.with_label_values(&[reason]).inc();
            })
            .build();
        let encoders = [const { Mutex::new(()) }; ENCODERS];
        Self {
            cache,
            settings,
            metrics,
            next_content_id: AtomicU64::new(1),
            quotas,
            made_at: Instant::now(),
            encoders,
            generations: Mutex::default(),
            folder: None,
            pinned: Mutex::default(),
        }
    }

    /// An empty store over a folder with what other processes left; nothing of it is read yet.
    ///
    /// # Errors
    /// `Unavailable` naming the folder if it cannot be made or read.
    pub fn in_folder(
        settings: StoreSettings,
        folder: &FolderSettings,
        metrics: Arc<Metrics>,
        now: Timestamp,
    ) -> Result<Self> {
        let folder = Folder::open(folder, Arc::clone(&metrics), now)?;
        Ok(Self { folder: Some(folder), ..Self::new(settings, metrics) })
    }

    /// A number for new content.
    pub fn content_id(&self) -> u64 {
        self.next_content_id.fetch_add(1, Ordering::Relaxed)
    }

    /// The segment stored under `key`, however old.
    pub fn segment(&self, key: &Key) -> Option<Arc<Stored>> {
        match self.cache.get(&Slot::Segment(key.clone())) {
            Some(Kept { value: Value::Segment(stored), used, .. }) => {
                if let Some(used) = used {
                    used.read(self.made_at.elapsed());
                }
                Some(stored)
            }
            _ => self.pinned.lock().get(key).cloned(),
        }
    }

    /// Makes a segment to be found for as long as it is pinned, whether or not there is room; whoever
    /// pins it holds its rows, which do not count here.
    pub fn pin(&self, key: Key, stored: Arc<Stored>) {
        self.pinned.lock().insert(key, stored);
    }

    /// Leaves a segment to its lifetime again.
    pub fn unpin(&self, key: &Key) {
        self.pinned.lock().remove(key);
    }

    /// Keeps a segment for `lifetime`, in place of an older one; says whether it was kept. One
    /// that is too large is not, and an older one is dropped all the same.
    pub fn keep(&self, key: Key, stored: Arc<Stored>, lifetime: Duration) -> bool {
        self.keep_segment(key, stored, lifetime, None)
    }

    /// As [`Store::keep`], within the quota of its text, and for the processes after this one, where
    /// there is a folder.
    pub fn keep_lasting(&self, key: Key, stored: Arc<Stored>, lifetime: Duration, now: Timestamp) -> bool {
        if let Some(folder) = self.folder.as_ref().filter(|_| !self.too_large(weight(&key, &stored))) {
            folder.write(key.clone(), Arc::clone(&stored), now.plus(lifetime), now);
        }
        self.keep_segment(key, stored, lifetime, Some(now))
    }

    /// Whether there may be segments beside those in memory.
    pub const fn has_folder(&self) -> bool {
        self.folder.is_some()
    }

    /// Whether a segment is in memory; if so, it stays in the folder too.
    pub fn holds(&self, key: &Key, now: Timestamp) -> bool {
        let Some(kept) = self.cache.get(&Slot::Segment(key.clone())) else {
            return self.pinned.lock().contains_key(key);
        };
        if let (Some(used), Some(folder)) = (kept.used, &self.folder) {
            let before = used.told.load(Ordering::Relaxed);
            let is_due = now.since(Timestamp::saturating(before)) >= NOTING;
            let relaxed = Ordering::Relaxed;
            if is_due && used.told.compare_exchange(before, now.micros(), relaxed, relaxed).is_ok() {
                folder.touch(key.clone(), now);
            }
        }
        true
    }

    /// A segment from the folder, which is kept in memory too, for `lifetime` at most, where there is
    /// room. Blocks.
    pub fn recall(&self, key: &Key, lifetime: Duration, now: Timestamp) -> Option<Arc<Stored>> {
        let (stored, until) = self.folder.as_ref()?.read(key, self.content_id(), now)?;
        let stored = Arc::new(stored);
        self.keep_segment(key.clone(), Arc::clone(&stored), lifetime.min(until.since(now)), Some(now));
        Some(stored)
    }

    /// Completes when the folder has all that was kept for it so far.
    pub async fn written(&self) {
        if let Some(folder) = &self.folder {
            folder.flushed().await;
        }
    }

    /// Keeps a segment; one that is `settled`, as of a moment, within the quota of its text.
    fn keep_segment(&self, key: Key, stored: Arc<Stored>, lifetime: Duration, settled: Option<Timestamp>) -> bool {
        let bytes = weight(&key, &stored) + settled.map_or(0, |_| quota::OVERHEAD);
        if self.too_large(bytes) {
            self.reject(key, "too_large");
            return false;
        }
        let now = self.made_at.elapsed();
        let used = settled.map(|settled| Use::new(now, settled));
        if let Some(used) = &used {
            let Some(given_up) = self.quotas.admit(&key, bytes as u64, used, now) else {
                self.reject(key, "over_quota");
                return false;
            };
            self.metrics.evictions.with_label_values(&["quota"]).inc_by(given_up.len() as u64);
            for key in given_up {
                self.cache.invalidate(&Slot::Segment(key));
            }
        }
        self.insert_used(Slot::Segment(key), Value::Segment(stored), bytes, lifetime, used);
        true
    }

    /// Counts a segment that is not kept, and drops an older one of its key.
    pub fn reject(&self, key: Key, reason: &str) {
        self.metrics.store_rejected.with_label_values(&[reason]).inc();
        self.cache.invalidate(&Slot::Segment(key));
    }

    /// Whether rows that take `bytes` of memory by themselves are too large to be kept.
    pub const fn too_large(&self, bytes: usize) -> bool {
        bytes as u64 > self.settings.largest
    }

    /// The remembered failure of `key`, if it is younger than its lifetime at `now`.
    pub fn failure(&self, key: &Key, now: Timestamp) -> Option<Error> {
        match self.cache.get(&Slot::Failure(key.clone()))?.value {
            Value::Failure(error, failed_at) if failed_at.holds_at(now, FAILURE_LIFETIME) => Some(error),
            _ => None,
        }
    }

    /// Remembers a failure that the same question would only repeat.
    pub fn keep_failure(&self, key: Key, error: Error, now: Timestamp) {
        let bytes = error.message().len() + key.preimage_len() + OVERHEAD;
        self.insert(Slot::Failure(key), Value::Failure(error, now), bytes, FAILURE_LIFETIME);
    }

    /// The bytes of content `content_id` in `encoding`, made by `encode` where they are not there;
    /// `encode` may not come back here.
    ///
    /// # Errors
    /// Those of `encode`.
    pub fn encoding(
        &self,
        content_id: u64,
        encoding: &str,
        lifetime: Duration,
        encode: impl FnOnce() -> Result<Bytes>,
    ) -> Result<Bytes> {
        let slot = Slot::Encoding(content_id, encoding.into());
        let kept = || match self.cache.get(&slot)?.value {
            Value::Encoding(bytes) => Some(bytes),
            Value::Segment(_) | Value::Failure(..) | Value::Note(..) => None,
        };
        if let Some(bytes) = kept() {
            return Ok(bytes);
        }
        let turn = usize::try_from(content_id).unwrap_or_default() % ENCODERS;
        let _encoding = self.encoders[turn].lock();
        if let Some(bytes) = kept() {
            return Ok(bytes);
        }
        let encoded = encode()?;
        if encoded.len() as u64 <= self.settings.largest {
            self.insert(slot, Value::Encoding(encoded.clone()), encoded.len() + OVERHEAD, lifetime);
        }
        Ok(encoded)
    }

    /// The note under `key`, however old, and when it was made.
    pub fn note<T: Any + Send + Sync>(&self, key: &Key) -> Option<(Arc<T>, Timestamp)> {
        match self.cache.get(&Slot::Note(key.clone()))?.value {
            Value::Note(note, noted_at) => Some((note.downcast().ok()?, noted_at)),
            Value::Segment(_) | Value::Failure(..) | Value::Encoding(_) => None,
        }
    }

    /// Keeps a note of `bytes` for `lifetime`, unless it is too large.
    pub fn keep_note(
        &self,
        key: Key,
        note: Arc<dyn Any + Send + Sync>,
        bytes: usize,
        noted_at: Timestamp,
        lifetime: Duration,
    ) {
        let bytes = bytes + key.preimage_len() + OVERHEAD;
        if bytes as u64 <= self.settings.largest {
            self.insert(Slot::Note(key), Value::Note(note, noted_at), bytes, lifetime);
        }
    }

    fn insert(&self, slot: Slot, value: Value, bytes: usize, lifetime: Duration) {
        self.insert_used(slot, value, bytes, lifetime, None);
    }

    fn insert_used(&self, slot: Slot, value: Value, bytes: usize, lifetime: Duration, used: Option<Arc<Use>>) {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        self.cache.insert(slot, Kept { value, bytes, lifetime, used });
        self.cache.run_pending_tasks();
        self.metrics.cache_bytes.with_label_values(&["memory"]).set(self.weighed_bytes().cast_signed());
    }

    /// Bytes of all entries, as weighed.
    pub fn weighed_bytes(&self) -> u64 {
        self.cache.weighted_size()
    }

    /// How often the answers of `source` were purged, by processes before this one too.
    pub fn generation(&self, source: &str) -> u64 {
        let purged = self.generations.lock().get(source).copied();
        purged.unwrap_or_else(|| self.folder.as_ref().map_or(0, |folder| folder.purges.at_start(source)))
    }

    /// Leaves every stored answer of `source` behind; returns the new generation. Blocks where there
    /// is a folder.
    ///
    /// # Errors
    /// `Unavailable` if the folder cannot be told: then the answers are left behind until a restart, and
    /// the folder is not used until then.
    pub fn purge(&self, source: &str) -> Result<u64> {
        let next = self.generation(source) + 1;
        let told = self.folder.as_ref().map(|folder| folder.purges.next(source, next - 1));
        let generation = told.as_ref().and_then(|told| told.as_ref().ok()).copied().unwrap_or(next);
        let mut generations = self.generations.lock();
        let known = generations.entry(source.to_owned()).or_default();
        // Another purge may have been told meanwhile.
        *known = generation.max(*known);
        if let (Some(folder), Some(Err(error))) = (&self.folder, told) {
            folder.close();
            let message = "the purge lasts until a restart only: it cannot be written to the cache's folder; \
                make the folder writable and purge again after a restart";
            return Err(Error::new(Kind::Unavailable, message).with_source(error));
        }
        Ok(*known)
    }
}

/// What a segment takes in the store.
fn weight(key: &Key, stored: &Stored) -> usize {
    stored.batches.memory_size() + key.preimage_len() + OVERHEAD
}

#[cfg(test)]
mod tests;
