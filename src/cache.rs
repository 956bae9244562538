//! The store: finished segments, their encodings, errors worth remembering, and notes of whatever
//! type, under one cap in bytes; and, where there is a folder, segments that outlive the process.
//!
//! The only module that knows moka. It takes a key, a value and a lifetime, and knows nothing of
//! queries; whether a segment is still fresh is its reader's business.

mod folder;
mod purges;
mod segment_file;

use std::any::Any;
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
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
    /// When the folder was last told, in µs, that this is used; `None` for what is not in it.
    noted: Option<Arc<AtomicI64>>,
}

/// How often the folder is told that an answer in memory is used.
const NOTING: Duration = Duration::from_hours(1);

/// Bytes that an entry costs besides its value: moka's own nodes and counters, and the key.
/// Found by filling a store with 100,000 tiny entries: 330 bytes of resident memory each.
const OVERHEAD: usize = 384;

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
}

impl StoreSettings {
    /// A store of `capacity` bytes, whose largest entry is a quarter of it.
    pub const fn of(capacity: u64) -> Self {
        Self { capacity, largest: capacity / 4 }
    }
}

/// A bounded store, shared by every engine of the process.
pub struct Store {
    cache: Cache<Slot, Kept>,
    settings: StoreSettings,
    metrics: Arc<Metrics>,
    next_content_id: AtomicU64,
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
        let cache = Cache::builder()
            .max_capacity(settings.capacity)
            .weigher(|_, kept: &Kept| kept.bytes)
            .eviction_policy(EvictionPolicy::lru())
            .expire_after(Lifetimes)
            .eviction_listener(move |_, _, cause| {
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
        match self.cache.get(&Slot::Segment(key.clone())).map(|kept| kept.value) {
            Some(Value::Segment(stored)) => Some(stored),
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

    /// As [`Store::keep`], and for the processes after this one, where there is a folder.
    pub fn keep_lasting(&self, key: Key, stored: Arc<Stored>, lifetime: Duration, now: Timestamp) -> bool {
        let noted = self.folder.as_ref().map(|_| now);
        let kept = self.keep_segment(key.clone(), Arc::clone(&stored), lifetime, noted);
        if let Some(folder) = self.folder.as_ref().filter(|_| kept) {
            folder.write(key, stored, now.plus(lifetime), now);
        }
        kept
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
        if let (Some(noted), Some(folder)) = (kept.noted, &self.folder) {
            let before = noted.load(Ordering::Relaxed);
            let is_due = now.since(Timestamp::saturating(before)) >= NOTING;
            let relaxed = Ordering::Relaxed;
            if is_due && noted.compare_exchange(before, now.micros(), relaxed, relaxed).is_ok() {
                folder.touch(key.clone(), now);
            }
        }
        true
    }

    /// Brings a segment from the folder into memory, for `lifetime` at most. Blocks.
    pub fn recall(&self, key: &Key, lifetime: Duration, now: Timestamp) {
        let folder = self.folder.as_ref();
        if let Some((stored, until)) = folder.and_then(|folder| folder.read(key, self.content_id(), now)) {
            self.keep_segment(key.clone(), Arc::new(stored), lifetime.min(until.since(now)), Some(now));
        }
    }

    /// Completes when the folder has all that was kept for it so far.
    pub async fn written(&self) {
        if let Some(folder) = &self.folder {
            folder.flushed().await;
        }
    }

    fn keep_segment(&self, key: Key, stored: Arc<Stored>, lifetime: Duration, noted: Option<Timestamp>) -> bool {
        let bytes = stored.batches.memory_size() + key.preimage().len() + OVERHEAD;
        if bytes as u64 > self.settings.largest {
            self.reject(key, "too_large");
            return false;
        }
        let noted = noted.map(|noted| Arc::new(AtomicI64::new(noted.micros())));
        self.insert_noted(Slot::Segment(key), Value::Segment(stored), bytes, lifetime, noted);
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
            Value::Failure(error, failed_at) if now.since(failed_at) < FAILURE_LIFETIME => Some(error),
            _ => None,
        }
    }

    /// Remembers a failure that the same question would only repeat.
    pub fn keep_failure(&self, key: Key, error: Error, now: Timestamp) {
        let bytes = error.message().len() + key.preimage().len() + OVERHEAD;
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
        let bytes = bytes + key.preimage().len() + OVERHEAD;
        if bytes as u64 <= self.settings.largest {
            self.insert(Slot::Note(key), Value::Note(note, noted_at), bytes, lifetime);
        }
    }

    fn insert(&self, slot: Slot, value: Value, bytes: usize, lifetime: Duration) {
        self.insert_noted(slot, value, bytes, lifetime, None);
    }

    fn insert_noted(&self, slot: Slot, value: Value, bytes: usize, lifetime: Duration, noted: Option<Arc<AtomicI64>>) {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        self.cache.insert(slot, Kept { value, bytes, lifetime, noted });
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

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{Int64Array, RecordBatch};
    use arrow::datatypes::{DataType, Field, Schema};

    fn store(capacity: u64) -> Store {
        Store::new(StoreSettings::of(capacity), Arc::new(Metrics::new()))
    }

    fn stored(store: &Store, rows: i64) -> Arc<Stored> {
        let schema = Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, true)]));
        let batch =
            RecordBatch::try_new(Arc::clone(&schema), vec![Arc::new(Int64Array::from_iter_values(0..rows))]).unwrap();
        Arc::new(Stored {
            content_id: store.content_id(),
            batches: Batches::new(schema, vec![batch]).unwrap(),
            fetched_at: Timestamp::MIN,
            job_id: String::new(),
            bytes_processed: 0,
            bytes_billed: 0,
            joined: false,
            slot_ms: 0,
        })
    }

    const HOUR: Duration = Duration::from_hours(1);

    #[test]
    fn the_store_stays_under_its_cap_and_drops_the_least_recently_used() {
        let store = store(1_000_000);
        let key = |number: usize| Key::new(format!("key {number}"));
        for number in 0..200 {
            assert!(store.keep(key(number), stored(&store, 5_000), HOUR));
            assert!(store.segment(&key(0)).is_some(), "still in use after {number}");
            assert!(store.weighed_bytes() <= 1_000_000);
        }
        assert!(store.segment(&key(199)).is_some());
        assert!(store.segment(&key(1)).is_none());
    }

    #[test]
    fn what_is_too_large_is_not_kept_and_leaves_no_older_answer() {
        let store = store(1_000_000);
        let key = Key::new("key".into());
        assert!(store.keep(key.clone(), stored(&store, 10), HOUR));
        assert!(!store.keep(key.clone(), stored(&store, 100_000), HOUR));
        assert!(store.segment(&key).is_none());
    }

    #[test]
    fn keys_of_one_digest_and_another_meaning_are_different() {
        let store = store(1_000_000);
        store.keep(Key::new("a".into()), stored(&store, 1), HOUR);
        assert!(store.segment(&Key::new("b".into())).is_none());
    }

    #[test]
    fn content_is_encoded_once() {
        let store = store(1_000_000);
        let mut times = 0;
        for _ in 0..3 {
            let encoded = store.encoding(7, "json", HOUR, || {
                times += 1;
                Ok(Bytes::from_static(b"{}"))
            });
            assert_eq!(encoded.unwrap(), "{}");
        }
        assert_eq!(times, 1);
        assert!(store.encoding(8, "json", HOUR, || Err(Error::internal("no"))).is_err());
    }

    #[test]
    fn a_note_is_found_under_its_type_alone_and_never_fills_the_store() {
        let store = store(10_000);
        let (key, now) = (Key::new("key".into()), Timestamp::from_micros(7).unwrap());
        let note: Arc<Vec<&str>> = Arc::new(vec!["a", "b"]);
        store.keep_note(key.clone(), Arc::clone(&note) as _, 100, now, HOUR);
        assert_eq!(store.note::<Vec<&str>>(&key), Some((note, now)));
        assert_eq!(store.note::<String>(&key), None);
        assert!(store.segment(&key).is_none());
        let large = Key::new("large".into());
        store.keep_note(large.clone(), Arc::new(1_u8), 5_000, now, HOUR);
        assert_eq!(store.note::<u8>(&large), None);
    }

    #[test]
    fn a_failure_is_forgotten_after_its_lifetime() {
        let store = store(1_000_000);
        let key = Key::new("key".into());
        let now = Timestamp::from_micros(0).unwrap();
        store.keep_failure(key.clone(), Error::invalid("no"), now);
        assert!(store.failure(&key, now.plus(Duration::from_secs(9))).is_some());
        assert!(store.failure(&key, now.plus(Duration::from_secs(10))).is_none());
    }

    #[test]
    fn a_purge_moves_one_source_on() {
        let store = store(1_000);
        assert_eq!(store.purge("a").unwrap(), 1);
        assert_eq!((store.generation("a"), store.generation("b")), (1, 0));
    }
}
