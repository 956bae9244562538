//! The index of what is published: `index.json`, for readers that check what they read, and for the next
//! publisher. It does not read or write it.

use std::collections::BTreeMap;

use bytes::Bytes;
use object_store::path::Path;
use serde::{Deserialize, Serialize};
use weir_plan::{Error, Result, Timestamp};

use super::bucket::Seen;
use super::object::{Media, Object, sha256};

/// Its name.
pub(super) const INDEX: &str = "index.json";

/// The index.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Index {
    /// When the last publisher ended.
    pub(super) generated_at: String,
    /// Objects by name.
    pub(super) objects: BTreeMap<String, Entry>,
}

/// What is known of an object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Entry {
    pub(super) sha256: String,
    pub(super) bytes: u64,
    pub(super) content_type: String,
    /// When the figures in it were fetched; of an unchanged object, when they were first so.
    pub(super) as_of: String,
    /// The store's tag of the object that had this content.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) e_tag: Option<String>,
    /// Its generation, where the store has such.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) generation: Option<String>,
}

impl Entry {
    /// The entry of an object that was written, or found to be there.
    pub(super) fn of(object: &Object, sha256: String, seen: &Seen, as_of: &str) -> Self {
        Self {
            sha256,
            bytes: object.bytes.len() as u64,
            content_type: object.media.content_type.to_owned(),
            as_of: as_of.to_owned(),
            e_tag: seen.e_tag.clone(),
            generation: seen.version.clone(),
        }
    }

    /// Whether the entry tells of what was seen.
    pub(super) fn tells_of(&self, seen: &Seen) -> bool {
        self.bytes == seen.bytes && seen.is(self.e_tag.as_deref())
    }
}

impl Index {
    /// Reads an index; one that cannot be read is as good as none, since all that it says is looked at
    /// again.
    pub(super) fn read(bytes: &[u8]) -> Self {
        serde_json::from_slice(bytes).unwrap_or_default()
    }

    /// The index as an object.
    ///
    /// # Errors
    /// None that can happen.
    pub(super) fn write(&self) -> Result<Object> {
        let bytes = serde_json::to_vec(self)
            .map_err(|error| Error::internal("the index cannot be written").with_source(error))?;
        Ok(Object { name: INDEX.into(), media: Media::JSON, bytes: Bytes::from(bytes) })
    }

    /// The entry of an object, if it has this content and is what was seen.
    pub(super) fn holds(&self, name: &Path, hash: &str, seen: &Seen) -> bool {
        self.objects.get(name.as_ref()).is_some_and(|entry| entry.sha256 == hash && entry.tells_of(seen))
    }

    /// This index after a publisher, with what it wrote or found to be there.
    pub(super) fn after(&self, published: &BTreeMap<String, Entry>, now: Timestamp) -> Self {
        let published = published.iter().map(|(name, entry)| (name.clone(), entry.clone()));
        let objects = self.objects.clone().into_iter().chain(published).collect();
        Self { generated_at: now.iso_millis(), objects }
    }
}

/// Whether some content is what an object should hold.
pub(super) fn same(bytes: &[u8], hash: &str) -> bool {
    sha256(bytes) == hash
}
