//! Answers on disk, bounded in bytes, for the next process. Reads are the caller's to take off the async
//! threads; writes wait in a queue of their own and hold up nobody.
//!
//! Several processes may share a folder: files appear whole, by a rename, and whoever makes room looks
//! at what there is. Files that do not have our names are left alone.

use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, SystemTime};

use tokio::sync::oneshot;
use weir_plan::{Error, Key, Kind, Result, Timestamp};

use super::Stored;
use super::purges::Purges;
use super::segment_file::{Refusal, decode, encode};
use crate::metrics::Metrics;

/// Where answers outlive the process, and how much of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FolderSettings {
    /// The folder; made where it is not there.
    pub path: PathBuf,
    /// Bytes of all files together.
    pub capacity: u64,
}

impl FolderSettings {
    /// Bytes of all files where nothing else is said.
    pub const CAPACITY: u64 = 10 << 30;
}

/// Rows in memory that wait to be written, at most; what comes while there are more is not written.
const WAITING: u64 = 128 << 20;

/// A file that was being written for longer than this was given up by its process.
const ABANDONED: Duration = Duration::from_hours(1);

/// A folder of answers.
pub(super) struct Folder {
    files: Arc<Files>,
    pub(super) purges: Purges,
    work: Sender<Work>,
    waiting: Arc<AtomicU64>,
    closed: AtomicBool,
}

enum Work {
    Write { key: Key, stored: Arc<Stored>, until: Timestamp, now: Timestamp },
    Touch { key: Key, now: Timestamp },
    Flush(oneshot::Sender<()>),
}

impl Folder {
    /// Opens a folder; only the numbers of purges are read.
    ///
    /// # Errors
    /// `Unavailable` naming the folder if it cannot be made or read.
    pub(super) fn open(settings: &FolderSettings, metrics: Arc<Metrics>, now: Timestamp) -> Result<Self> {
        let cannot = |error: io::Error| {
            let path = settings.path.display();
            let message = format!("the cache's folder {path} cannot be used: {error}; give one that may be written");
            Error::new(Kind::Unavailable, message).with_source(error)
        };
        let (segments, purges) = (settings.path.join("segments"), settings.path.join("purges"));
        make(&segments).and_then(|()| make(&purges)).map_err(cannot)?;
        let files = Files { folder: segments, capacity: settings.capacity, total: AtomicU64::new(0), metrics };
        let (files, waiting) = (Arc::new(files), Arc::<AtomicU64>::default());
        let (work, queue) = channel();
        let writer = Writer { files: Arc::clone(&files), waiting: Arc::clone(&waiting), unlisted: 0, failing: false };
        let thread = std::thread::Builder::new().name("weir-folder".into());
        thread.spawn(move || writer.run(&queue, now)).map_err(cannot)?;
        let purges = Purges::open(purges).map_err(cannot)?;
        Ok(Self { files, purges, work, waiting, closed: AtomicBool::new(false) })
    }

    /// Writes an answer some time soon, unless too many wait already.
    pub(super) fn write(&self, key: Key, stored: Arc<Stored>, until: Timestamp, now: Timestamp) {
        if self.closed.load(Ordering::Relaxed) {
            return;
        }
        let bytes = stored.batches.memory_size() as u64;
        let before = self.waiting.fetch_add(bytes, Ordering::Relaxed);
        let is_busy = before > 0 && before + bytes > WAITING;
        if is_busy || self.work.send(Work::Write { key, stored, until, now }).is_err() {
            self.waiting.fetch_sub(bytes, Ordering::Relaxed);
            self.files.reject(if is_busy { "disk_busy" } else { "disk_failed" });
        }
    }

    /// Notes that an answer is still used.
    pub(super) fn touch(&self, key: Key, now: Timestamp) {
        // Without its thread nothing is written or dropped any more.
        let _ = self.work.send(Work::Touch { key, now });
    }

    /// Completes when all that waits is written.
    pub(super) async fn flushed(&self) {
        let (done, flushed) = oneshot::channel();
        if self.work.send(Work::Flush(done)).is_ok() {
            let _ = flushed.await;
        }
    }

    /// Neither reads nor writes any more.
    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
    }

    /// The answer under `key` and until when it is kept; whatever else the file is, it is dropped. Blocks.
    pub(super) fn read(&self, key: &Key, content_id: u64, now: Timestamp) -> Option<(Stored, Timestamp)> {
        if self.closed.load(Ordering::Relaxed) {
            return None;
        }
        let path = self.files.path(key);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == ErrorKind::NotFound => return None,
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "a stored answer cannot be read");
                self.files.reject("disk_failed");
                return None;
            }
        };
        let length = bytes.len() as u64;
        match decode(&bytes, key, content_id) {
            Ok((stored, until)) if now < until => {
                // It may have been dropped meanwhile.
                let _ = touch(&path, now);
                Some((stored, until))
            }
            Ok(_) => {
                self.files.evict(&path, length, "disk_expired");
                None
            }
            Err(refusal) => {
                self.files.refuse(&path, length, refusal);
                None
            }
        }
    }
}

/// The files of answers.
struct Files {
    folder: PathBuf,
    capacity: u64,
    /// Bytes of all files, as far as this process knows.
    total: AtomicU64,
    metrics: Arc<Metrics>,
}

impl Files {
    fn path(&self, key: &Key) -> PathBuf {
        self.folder.join(format!("{}.{SEGMENT}", key.short_hex()))
    }

    fn reject(&self, reason: &str) {
        self.metrics.store_rejected.with_label_values(&[reason]).inc();
    }

    fn refuse(&self, path: &Path, bytes: u64, refusal: Refusal) {
        tracing::warn!(path = %path.display(), reason = refusal.as_str(), "a stored answer is not served, and dropped");
        self.reject(refusal.as_str());
        self.remove(path, bytes);
    }

    fn evict(&self, path: &Path, bytes: u64, reason: &str) {
        if self.remove(path, bytes) {
            self.metrics.evictions.with_label_values(&[reason]).inc();
        }
    }

    fn remove(&self, path: &Path, bytes: u64) -> bool {
        let removed = fs::remove_file(path).is_ok();
        if removed {
            self.count(|total| total.saturating_sub(bytes));
        }
        removed
    }

    fn total(&self) -> u64 {
        self.total.load(Ordering::Relaxed)
    }

    fn count(&self, change: impl Fn(u64) -> u64) {
        let _ = self.total.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |total| Some(change(total)));
        self.metrics.cache_bytes.with_label_values(&["disk"]).set(self.total().cast_signed());
    }

    /// All answers, those that were not used for the longest time first; what processes that ended left
    /// half written is removed.
    fn list(&self, now: Timestamp) -> io::Result<Vec<Listed>> {
        let mut listed = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let path = entry?.path();
            let extension = path.extension().and_then(|extension| extension.to_str());
            // Gone since it was listed.
            let Ok(found) = fs::metadata(&path) else { continue };
            let used = found.modified()?;
            match extension {
                Some(SEGMENT) => listed.push(Listed { used, bytes: found.len(), path }),
                Some(PARTIAL) if used + ABANDONED < system_time(now) => drop(fs::remove_file(path)),
                _ => {}
            }
        }
        listed.sort_unstable();
        Ok(listed)
    }
}

const SEGMENT: &str = "segment";
const PARTIAL: &str = "partial";

#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Listed {
    used: SystemTime,
    path: PathBuf,
    bytes: u64,
}

/// Writes what waits, in a thread of its own.
struct Writer {
    files: Arc<Files>,
    waiting: Arc<AtomicU64>,
    /// Bytes written since the files were last listed: others may have written too.
    unlisted: u64,
    failing: bool,
}

impl Writer {
    fn run(mut self, queue: &Receiver<Work>, now: Timestamp) {
        // What is there counts, and an earlier capacity may have been greater.
        self.unlisted = self.files.capacity;
        self.logged(|writer| writer.make_room(0, now));
        for work in queue {
            match work {
                Work::Write { key, stored, until, now } => {
                    self.logged(|writer| writer.write(&key, &stored, until, now));
                    self.waiting.fetch_sub(stored.batches.memory_size() as u64, Ordering::Relaxed);
                }
                Work::Touch { key, now } => drop(touch(&self.files.path(&key), now)),
                Work::Flush(done) => drop(done.send(())),
            }
        }
    }

    /// A disk that is full fails often; the first failure in a row is logged, all are counted.
    fn logged(&mut self, work: impl FnOnce(&mut Self) -> Result<()>) {
        let failed = work(self).err();
        if let Some(error) = &failed {
            self.files.reject("disk_failed");
            if !self.failing {
                tracing::warn!(folder = %self.files.folder.display(), ?error, "answers cannot be kept on disk");
            }
        }
        self.failing = failed.is_some();
    }

    fn write(&mut self, key: &Key, stored: &Stored, until: Timestamp, now: Timestamp) -> Result<()> {
        let bytes = encode(key, stored, until)?;
        let length = bytes.len() as u64;
        if length > self.files.capacity / 4 {
            self.files.reject("disk_too_large");
            return Ok(());
        }
        self.make_room(length, now)?;
        let path = self.files.path(key);
        let partial = self.files.folder.join(format!("{}.{PARTIAL}", uuid::Uuid::new_v4().simple()));
        let replaced = fs::metadata(&path).map_or(0, |found| found.len());
        let written = create(&partial, &bytes).and_then(|()| touch(&partial, now));
        if let Err(error) = written.and_then(|()| fs::rename(&partial, &path)) {
            let _ = fs::remove_file(&partial);
            return Err(Error::new(Kind::Unavailable, "a file cannot be written").with_source(error));
        }
        self.unlisted += length;
        self.files.count(|total| (total + length).saturating_sub(replaced));
        Ok(())
    }

    /// Drops the least recently used answers until there is room for `bytes` and some more, so that
    /// files are listed once for an eighth of the capacity.
    fn make_room(&mut self, bytes: u64, now: Timestamp) -> Result<()> {
        let capacity = self.files.capacity;
        if self.files.total() + bytes <= capacity && self.unlisted < capacity / 8 {
            return Ok(());
        }
        let listed = self.files.list(now);
        let listed =
            listed.map_err(|error| Error::new(Kind::Unavailable, "files cannot be listed").with_source(error))?;
        self.unlisted = 0;
        let total = listed.iter().map(|file| file.bytes).sum::<u64>();
        self.files.count(|_| total);
        if total + bytes <= capacity {
            return Ok(());
        }
        for file in listed {
            if self.files.total() + bytes <= capacity - capacity / 8 {
                break;
            }
            self.files.evict(&file.path, file.bytes, "disk_size");
        }
        Ok(())
    }
}

/// Makes a folder for our eyes only.
fn make(folder: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.recursive(true).create(folder)
}

fn create(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut options = OpenOptions::new();
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.write(true).create_new(true).open(path)?.write_all(bytes)
}

/// Makes a file the most recently used one.
fn touch(path: &Path, now: Timestamp) -> io::Result<()> {
    OpenOptions::new().write(true).open(path)?.set_modified(system_time(now))
}

fn system_time(now: Timestamp) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_micros(u64::try_from(now.micros()).unwrap_or(0))
}

#[cfg(test)]
mod tests;
