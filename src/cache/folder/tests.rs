//! What is kept in a folder is found by another store over it, or not at all.

use tempfile::TempDir;

use super::*;
use crate::batches::Batches;
use crate::batches::samples::{batches, utc};
use crate::cache::{Store, StoreSettings};

const LIFE: Duration = Duration::from_hours(30 * 24);

struct Place {
    folder: TempDir,
    metrics: Arc<Metrics>,
}

fn minute(minutes: u64) -> Timestamp {
    Timestamp::saturating(1_700_000_000_000_000).plus(Duration::from_mins(minutes))
}

fn key(number: usize) -> Key {
    Key::new(format!("key {number}"))
}

fn rows(from: i64) -> Batches {
    batches(vec![("t", utc(&(from..from + 100).collect::<Vec<_>>()))])
}

impl Place {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), metrics: Arc::new(Metrics::new()) }
    }

    /// A store as another process would open it.
    fn store(&self, capacity: u64, now: Timestamp) -> Store {
        let settings = FolderSettings { path: self.folder.path().to_owned(), capacity };
        Store::in_folder(StoreSettings::of(1 << 20), &settings, Arc::clone(&self.metrics), now).unwrap()
    }

    fn files(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.folder.path().join("segments")).unwrap();
        entries.map(|entry| entry.unwrap().path()).collect()
    }

    fn file(&self, number: usize) -> PathBuf {
        self.folder.path().join("segments").join(format!("{}.segment", key(number).short_hex()))
    }

    fn bytes(&self) -> u64 {
        self.files().iter().map(|file| fs::metadata(file).unwrap().len()).sum()
    }

    fn rejected(&self, reason: &str) -> u64 {
        self.metrics.store_rejected.with_label_values(&[reason]).get()
    }

    fn evicted(&self, reason: &str) -> u64 {
        self.metrics.evictions.with_label_values(&[reason]).get()
    }
}

/// Keeps the rows of `number`, and waits until they are in the folder.
async fn keep(store: &Store, number: usize, now: Timestamp) {
    let stored = Stored {
        content_id: store.content_id(),
        batches: rows(i64::try_from(number).unwrap()),
        fetched_at: now,
        job_id: format!("job {number}"),
        bytes_processed: 1,
        bytes_billed: 2,
        joined: false,
        slot_ms: 3,
    };
    assert!(store.keep_lasting(key(number), Arc::new(stored), LIFE, now));
    store.written().await;
}

/// The rows of `number` as a store has them now, from the folder if not from memory.
fn found(store: &Store, number: usize, now: Timestamp) -> Option<Arc<Stored>> {
    if !store.holds(&key(number), now) {
        store.recall(&key(number), LIFE, now);
    }
    store.segment(&key(number))
}

#[tokio::test]
async fn another_store_finds_what_was_kept_and_nothing_else() {
    let place = Place::new();
    keep(&place.store(1 << 20, minute(0)), 7, minute(0)).await;
    let store = place.store(1 << 20, minute(1));
    store.written().await;
    assert_eq!(place.metrics.cache_bytes.with_label_values(&["disk"]).get().unsigned_abs(), place.bytes());
    assert!(store.segment(&key(7)).is_none(), "nothing is read before it is asked for");
    let stored = found(&store, 7, minute(1)).unwrap();
    assert_eq!(stored.batches.concat().unwrap(), rows(7).concat().unwrap());
    assert_eq!((&*stored.job_id, stored.fetched_at, stored.bytes_billed), ("job 7", minute(0), 2));
    assert!(found(&store, 8, minute(1)).is_none());
    let late = minute(0).plus(LIFE);
    assert!(found(&place.store(1 << 20, late), 7, late).is_none(), "its time is over");
    assert_eq!((place.files().len(), place.evicted("disk_expired")), (0, 1));
}

#[tokio::test]
async fn a_file_that_is_not_what_was_written_is_dropped_and_counted() {
    let place = Place::new();
    let store = place.store(1 << 20, minute(0));
    for number in 0..4 {
        keep(&store, number, minute(0)).await;
    }
    let change = |number: usize, change: fn(&mut Vec<u8>)| {
        let mut bytes = fs::read(place.file(number)).unwrap();
        change(&mut bytes);
        fs::write(place.file(number), bytes).unwrap();
    };
    change(0, |bytes| bytes[300] ^= 4);
    change(1, |bytes| bytes.truncate(200));
    change(2, |bytes| bytes[8] = 99);
    fs::copy(place.file(3), place.file(5)).unwrap();
    let store = place.store(1 << 20, minute(1));
    for number in [0, 1, 2, 5] {
        assert!(found(&store, number, minute(1)).is_none(), "{number}");
    }
    assert!(found(&store, 3, minute(1)).is_some());
    assert_eq!(place.files(), [place.file(3)]);
    let counts = ["disk_damaged", "disk_version", "disk_foreign"].map(|reason| place.rejected(reason));
    assert_eq!(counts, [2, 1, 1]);
}

#[tokio::test]
async fn the_folder_stays_under_its_capacity_and_drops_the_least_recently_used() {
    let place = Place::new();
    keep(&place.store(1 << 20, minute(0)), 0, minute(0)).await;
    let capacity = place.bytes() * 10;
    let store = place.store(capacity, minute(0));
    for number in 1_u64..30 {
        // In a process of its own, so that it is read from the folder each time.
        let other = place.store(capacity, minute(number));
        assert!(found(&other, 0, minute(number)).is_some(), "still in use after {number}");
        keep(&store, usize::try_from(number).unwrap(), minute(number)).await;
        assert!(place.bytes() <= capacity, "{} bytes of {capacity}", place.bytes());
    }
    let kept = [0, 1, 28, 29].map(|number| place.file(number).exists());
    assert_eq!(kept, [true, false, true, true]);
    assert_eq!(place.evicted("disk_size"), 30 - place.files().len() as u64);
    let store = place.store(capacity / 2, minute(30));
    store.written().await;
    assert!(place.bytes() <= capacity / 2, "a smaller capacity holds from the start");
}

#[tokio::test]
async fn what_is_used_in_memory_is_not_dropped_from_the_folder() {
    let place = Place::new();
    let store = place.store(1 << 20, minute(0));
    for number in 0..3 {
        keep(&store, number, minute(number as u64)).await;
    }
    assert!(store.holds(&key(0), minute(59)) && store.holds(&key(0), minute(90)) && store.holds(&key(0), minute(91)));
    store.written().await;
    let used = |number: usize| fs::metadata(place.file(number)).unwrap().modified().unwrap();
    assert_eq!([used(0), used(1)], [system_time(minute(90)), system_time(minute(1))], "noted once an hour");
    drop(place.store(place.bytes() * 6 / 7, minute(92)));
    let smaller = place.store(place.bytes() * 6 / 7, minute(92));
    smaller.written().await;
    assert!(place.file(0).exists() && !place.file(1).exists());
}

#[tokio::test]
async fn what_is_too_large_for_the_folder_is_not_written() {
    let place = Place::new();
    let store = place.store(4_000, minute(0));
    keep(&store, 0, minute(0)).await;
    assert_eq!((place.files().len(), place.rejected("disk_too_large")), (0, 1));
    assert!(store.segment(&key(0)).is_some());
}

#[tokio::test]
async fn two_stores_on_one_folder_do_no_harm() {
    let place = Place::new();
    keep(&place.store(1 << 20, minute(0)), 0, minute(0)).await;
    let capacity = place.bytes() * 16;
    let (one, other) = (place.store(capacity, minute(0)), place.store(capacity, minute(0)));
    for number in 1_u64..40 {
        let at = usize::try_from(number).unwrap();
        futures::join!(keep(&one, at, minute(number)), keep(&other, at, minute(number)));
        keep(&other, 100 + at, minute(number)).await;
        assert!(place.bytes() <= capacity * 5 / 4, "{} bytes of {capacity}", place.bytes());
        let reader = place.store(capacity, minute(number));
        for kept in [at, 100 + at] {
            let stored = found(&reader, kept, minute(number)).unwrap();
            assert_eq!(stored.batches.concat().unwrap(), rows(i64::try_from(kept).unwrap()).concat().unwrap());
        }
    }
    let spoilt = ["disk_damaged", "disk_foreign", "disk_failed", "disk_version"].map(|reason| place.rejected(reason));
    assert_eq!(spoilt, [0; 4]);
}

#[tokio::test]
async fn files_of_others_are_left_alone_and_half_written_ones_removed_when_they_are_old() {
    let place = Place::new();
    drop(place.store(1 << 20, minute(0)));
    let segments = place.folder.path().join("segments");
    let put = |name: &str, now: Timestamp| {
        create(&segments.join(name), b"x").unwrap();
        touch(&segments.join(name), now).unwrap();
    };
    put("notes.txt", minute(0));
    put("old.partial", minute(0));
    put("new.partial", minute(90));
    place.store(1, minute(100)).written().await;
    let mut left: Vec<_> = place.files().iter().map(|path| path.file_name().unwrap().to_owned()).collect();
    left.sort();
    assert_eq!(left, ["new.partial", "notes.txt"]);
}

#[tokio::test]
async fn a_purge_outlives_the_process() {
    let place = Place::new();
    let store = place.store(1 << 20, minute(0));
    assert_eq!((store.generation("a"), store.purge("a").unwrap(), store.generation("a")), (0, 1, 1));
    let again = place.store(1 << 20, minute(0));
    assert_eq!((again.generation("a"), again.generation("b")), (1, 0));
    assert_eq!((again.purge("a").unwrap(), store.purge("a").unwrap()), (2, 3), "no number is given twice");
}

#[tokio::test]
async fn a_purge_that_cannot_be_written_says_so_and_turns_the_folder_off() {
    let place = Place::new();
    let store = place.store(1 << 20, minute(0));
    keep(&store, 0, minute(0)).await;
    fs::remove_dir_all(place.folder.path().join("purges")).unwrap();
    let error = store.purge("a").unwrap_err();
    assert!(error.message().contains("until a restart"), "{error}");
    assert_eq!(store.generation("a"), 1, "it holds here");
    keep(&store, 1, minute(0)).await;
    assert_eq!(place.files(), [place.file(0)], "nothing more is written under that number");
}

#[test]
fn a_folder_that_cannot_be_made_is_named() {
    let place = Place::new();
    let path = place.folder.path().join("file");
    fs::write(&path, "").unwrap();
    let settings = FolderSettings { path: path.clone(), capacity: 1 };
    let error = Folder::open(&settings, Arc::clone(&place.metrics), minute(0)).err().unwrap();
    assert!(error.message().contains(&path.display().to_string()), "{error}");
}

#[cfg(unix)]
#[tokio::test]
async fn nobody_else_may_read_answers() {
    use std::os::unix::fs::PermissionsExt as _;
    let place = Place::new();
    keep(&place.store(1 << 20, minute(0)), 0, minute(0)).await;
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&place.file(0)), mode(&place.folder.path().join("segments"))), (0o600, 0o700));
}
