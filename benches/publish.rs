//! What does a round of publishing cost over writing its files?
//!
//! All files of the demo's 160 experiments, into an empty folder: a first round, for which nothing is kept
//! yet; a round in which nothing has changed; and one a slot later. The baseline writes the same bytes to
//! as many files by `object_store` alone, as many at once, in the same run. Jobs and bytes are those of the
//! source's own bill.

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use futures::{StreamExt as _, TryStreamExt as _, stream};
use object_store::local::LocalFileSystem;
use object_store::{ObjectStoreExt as _, PutPayload};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use weir::publish::{Bucket, Progress, PublishSettings, Publisher};

use support::generated::Generated;
use support::{Outcome, resident, say};

/// Files that a publisher writes at once.
const AT_ONCE: usize = 16;

fn main() -> Outcome {
    Runtime::new()?.block_on(rounds())
}

async fn rounds() -> Outcome {
    let place = Place::new()?;
    say(&format!("publish: {} resident with the source's own rows", mebibytes(place.resident)));
    let first = place.round("first").await?;
    let unchanged = place.round("nothing changed").await?;
    place.generated.next_slot()?;
    let later = place.round("a slot later").await?;
    // Last, so that its bytes are not among the resident ones.
    let baseline = tempfile::tempdir()?;
    first.compare(&Files::new(), baseline.path()).await?;
    later.compare(&unchanged.files, baseline.path()).await?;
    let share = unchanged.took.as_secs_f64() / first.took.as_secs_f64();
    say(&format!("publish nothing changed: {}, {share:.3} of the first round", seconds(unchanged.took)));
    Ok(())
}

/// A source, and a publisher of it.
struct Place {
    generated: Generated,
    publisher: Publisher,
    folder: TempDir,
    /// Resident bytes before anything was published.
    resident: u64,
}

impl Place {
    fn new() -> Outcome<Self> {
        let (generated, folder) = (Generated::new()?, tempfile::tempdir()?);
        let bucket = Bucket::folder(folder.path())?;
        let publisher = Publisher::new(&*generated.app.figures(None)?, bucket, PublishSettings::default());
        Ok(Self { generated, publisher, folder, resident: resident()? })
    }

    /// Publishes, and prints what that cost.
    async fn round(&self, name: &'static str) -> Outcome<Round> {
        let before = self.generated.embedded.bill();
        let summary = self.publisher.publish(&Progress::Lines).await?;
        let bill = self.generated.embedded.bill();
        let grown = resident()?.saturating_sub(self.resident);
        say(&format!(
            "publish {name}: {} experiments, {} objects written ({}), {} unchanged, in {}; {} jobs, {} billed; \
             {} more resident than before the first round",
            summary.experiments,
            summary.tally.written,
            mebibytes(summary.tally.bytes),
            summary.tally.unchanged,
            seconds(summary.took),
            bill.jobs - before.jobs,
            mebibytes(bill.bytes_billed - before.bytes_billed),
            mebibytes(grown)
        ));
        Round::keep(name, summary.took, self.folder.path())
    }
}

/// Files by their names, each with its inode: one that is replaced has another.
type Files = BTreeMap<PathBuf, u64>;

/// A round that has ended.
struct Round {
    name: &'static str,
    took: Duration,
    files: Files,
    /// The same files under other names, which later rounds leave alone.
    kept: TempDir,
}

impl Round {
    fn keep(name: &'static str, took: Duration, folder: &Path) -> Outcome<Self> {
        let (mut files, kept) = (Files::new(), tempfile::tempdir()?);
        for file in below(folder)? {
            let name = file.strip_prefix(folder)?.to_owned();
            let other = kept.path().join(&name);
            fs::create_dir_all(other.parent().ok_or("a file is in a folder")?)?;
            fs::hard_link(&file, other)?;
            files.insert(name, fs::metadata(&file)?.ino());
        }
        Ok(Self { name, took, files, kept })
    }

    /// Writes by `object_store` alone what this round wrote, the index too, and prints how both compare.
    async fn compare(&self, before: &Files, folder: &Path) -> Outcome {
        let written = self.files.iter().filter(|(name, inode)| before.get(*name) != Some(inode)).map(|(name, _)| name);
        let payload = |name: &PathBuf| -> Outcome<_> {
            let name = name.to_str().ok_or("a name is text")?;
            Ok((object_store::path::Path::parse(name)?, fs::read(self.kept.path().join(name))?))
        };
        let files = written.map(payload).collect::<Outcome<Vec<_>>>()?;
        let (count, bytes) = (files.len(), files.iter().map(|(_, bytes)| bytes.len() as u64).sum());
        let store = LocalFileSystem::new_with_prefix(folder)?;
        let begin = Instant::now();
        let puts = stream::iter(files).map(async |(name, bytes)| store.put(&name, PutPayload::from(bytes)).await);
        puts.buffer_unordered(AT_ONCE).try_collect::<Vec<_>>().await?;
        let took = begin.elapsed();
        say(&format!(
            "publish {}: object_store alone {} for {count} files ({}), weir {}, ratio {:.2}",
            self.name,
            seconds(took),
            mebibytes(bytes),
            seconds(self.took),
            self.took.as_secs_f64() / took.as_secs_f64()
        ));
        Ok(())
    }
}

/// The files of a folder's folders, and its index.
fn below(folder: &Path) -> Outcome<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            files.extend(below(&path)?);
        } else if path.extension().is_some_and(|kind| kind == "json" || kind == "parquet") {
            files.push(path);
        }
    }
    Ok(files)
}

fn seconds(duration: Duration) -> String {
    format!("{:.2} s", duration.as_secs_f64())
}

#[expect(clippy::cast_precision_loss, reason = "shown with one decimal")]
fn mebibytes(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}
