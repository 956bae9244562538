//! One round of publishing: what is there, which objects have changed, what was written, and the index
//! that tells of it.

use std::collections::{BTreeMap, BTreeSet};

use object_store::path::Path;
use parking_lot::Mutex;
use weir_plan::{Result, Timestamp};

use super::bucket::{Bucket, Put, Seen, contended};
use super::folder::FolderLock;
use super::index::{Entry, INDEX, Index, same};
use super::object::{Object, sha256};
use super::summary::Tally;

/// The folders whose objects are ours. What else is in a bucket is neither looked at nor touched.
pub(super) const FOLDERS: [&str; 3] = ["monitoring", "enrollment_counts", "datasets"];

/// How often an object is tried again that others replace at the same time.
const TRIES: usize = 5;

/// A round.
pub(super) struct Session<'a> {
    bucket: &'a Bucket,
    _lock: Option<FolderLock>,
    index: Index,
    index_seen: Option<Seen>,
    there: BTreeMap<Path, Seen>,
    published: Mutex<BTreeMap<String, Entry>>,
    tally: Mutex<Tally>,
}

impl<'a> Session<'a> {
    /// Looks at what is there.
    ///
    /// # Errors
    /// `Overloaded` if a folder is another publisher's; those of the store.
    pub(super) async fn begin(bucket: &'a Bucket, now: Timestamp) -> Result<Self> {
        let lock = bucket.lock(now)?;
        let content = bucket.get(&INDEX.into()).await?;
        let index = content.as_ref().map(|content| Index::read(&content.bytes)).unwrap_or_default();
        let mut there = BTreeMap::new();
        for folder in FOLDERS {
            there.extend(bucket.list(folder).await?);
        }
        Ok(Self {
            bucket,
            _lock: lock,
            index,
            index_seen: content.map(|content| content.seen),
            there,
            published: Mutex::default(),
            tally: Mutex::default(),
        })
    }

    /// Whether there is an object.
    pub(super) fn has(&self, folder: &str, file: &str) -> bool {
        self.there.contains_key(&Path::from_iter([folder, file]))
    }

    /// Writes an object if its content is another than what is there.
    ///
    /// # Errors
    /// Those of the store; then the object is what it was before.
    pub(super) async fn put(&self, object: &Object, as_of: Timestamp) -> Result<()> {
        let (hash, as_of) = (sha256(&object.bytes), as_of.iso_millis());
        let Some(seen) = self.there.get(&object.name) else {
            return self.write(object, &hash, None, &as_of).await;
        };
        if self.index.holds(&object.name, &hash, seen) {
            self.unchanged();
            return Ok(());
        }
        let known = self.index.objects.get(object.name.as_ref()).filter(|entry| entry.tells_of(seen));
        if let Some(entry) = known {
            let seen = Seen { version: entry.generation.clone(), ..seen.clone() };
            return self.write(object, &hash, Some(seen), &as_of).await;
        }
        // Nobody has told of this one: a publisher that did not come to its index, or another program.
        if seen.bytes == object.bytes.len() as u64
            && let Some(content) = self.bucket.get(&object.name).await?
            && same(&content.bytes, &hash)
        {
            self.adopt(object, hash, &content.seen, &as_of);
            return Ok(());
        }
        let seen = self.bucket.head(&object.name).await?;
        self.write(object, &hash, seen, &as_of).await
    }

    /// Replaces an object, if nobody has in between; then, whose figures are fresher stays.
    async fn write(&self, object: &Object, hash: &str, mut seen: Option<Seen>, as_of: &str) -> Result<()> {
        for _ in 0..TRIES {
            if let Put::Written(written) = self.bucket.put(object, seen.as_ref(), as_of).await? {
                let entry = Entry::of(object, hash.to_owned(), &written, as_of);
                self.published.lock().insert(object.name.to_string(), entry);
                self.tally.lock().wrote(object.bytes.len());
                return Ok(());
            }
            let Some(theirs) = self.bucket.get(&object.name).await? else {
                seen = None;
                continue;
            };
            if same(&theirs.bytes, hash) {
                self.adopt(object, hash.to_owned(), &theirs.seen, as_of);
                return Ok(());
            }
            if theirs.as_of.as_deref().is_some_and(|theirs| theirs >= as_of) {
                self.tally.lock().left += 1;
                return Ok(());
            }
            seen = Some(theirs.seen);
        }
        Err(contended(self.bucket, &object.name))
    }

    fn adopt(&self, object: &Object, hash: String, seen: &Seen, as_of: &str) {
        self.published.lock().insert(object.name.to_string(), Entry::of(object, hash, seen, as_of));
        self.unchanged();
    }

    fn unchanged(&self) {
        self.tally.lock().unchanged += 1;
    }

    /// Writes the index, beside what another publisher told in between; says what was done.
    ///
    /// # Errors
    /// Those of the store.
    pub(super) async fn end(self, now: Timestamp) -> Result<Tally> {
        let published = self.published.into_inner();
        let there: BTreeSet<String> = self.there.into_keys().map(String::from).collect();
        let (mut index, mut seen) = (self.index, self.index_seen);
        index.objects.retain(|name, _| there.contains(name));
        for _ in 0..TRIES {
            let object = index.after(&published, now).write()?;
            if let Put::Written(_) = self.bucket.put(&object, seen.as_ref(), &now.iso_millis()).await? {
                return Ok(self.tally.into_inner());
            }
            let theirs = self.bucket.get(&object.name).await?;
            index = theirs.as_ref().map(|theirs| Index::read(&theirs.bytes)).unwrap_or_default();
            seen = theirs.map(|theirs| theirs.seen);
        }
        Err(contended(self.bucket, &INDEX.into()))
    }
}
