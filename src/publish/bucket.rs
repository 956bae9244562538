//! Where objects are: a bucket, a folder or memory, behind one set of calls whose failures say what to mend.
//!
//! Only here and in `folder.rs` is an object written. It does not know what is in one.

mod errors;
mod login;
mod open;

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;

use bytes::Bytes;
use futures::TryStreamExt as _;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{
    Attribute, Attributes, GetOptions, ObjectStore, ObjectStoreExt as _, PutMode, PutOptions, PutPayload, UpdateVersion,
};
use weir_plan::{Error, Kind, Result, Timestamp};

use self::login::BucketLogin;
use super::folder::{self, FolderLock};
use super::object::Object;

/// When the figures in an object were fetched, kept with it where the store keeps such things.
const AS_OF: &str = "weir-as-of";

/// A destination.
pub struct Bucket {
    store: Arc<dyn ObjectStore>,
    prefix: Path,
    /// As people write it.
    name: String,
    guard: Guard,
    login: Option<Arc<BucketLogin>>,
}

/// What keeps two publishers from each other's objects.
enum Guard {
    /// The store writes on condition that an object is still the one that was seen.
    Condition,
    /// The store has no conditions: one publisher at a time.
    Lock(Arc<LocalFileSystem>, std::path::PathBuf),
}

/// An object as it was seen in the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) bytes: u64,
    pub(super) e_tag: Option<String>,
    /// The generation; a listing does not tell it.
    pub(super) version: Option<String>,
}

impl Seen {
    /// Whether this is the object that had the tag.
    pub(super) fn is(&self, e_tag: Option<&str>) -> bool {
        let bare = |tag: &str| tag.trim_matches('"').to_owned();
        e_tag.is_some() && self.e_tag.as_deref().map(bare) == e_tag.map(bare)
    }
}

/// An object's content, and when its figures were fetched.
pub(super) struct Content {
    pub(super) seen: Seen,
    pub(super) bytes: Bytes,
    pub(super) as_of: Option<String>,
}

/// How a conditional write ended.
pub(super) enum Put {
    /// The object is written.
    Written(Seen),
    /// Another publisher wrote it in between.
    Changed,
}

impl Bucket {
    /// As people write it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The right to publish, where only one publisher may at a time.
    ///
    /// # Errors
    /// Those of [`FolderLock::take`].
    pub(super) fn lock(&self, now: Timestamp) -> Result<Option<FolderLock>> {
        match &self.guard {
            Guard::Condition => Ok(None),
            Guard::Lock(_, folder) => FolderLock::take(folder, now).map(Some),
        }
    }

    /// The objects in a folder, by their names without the prefix.
    pub(super) async fn list(&self, folder: &str) -> Result<BTreeMap<Path, Seen>> {
        let location = self.location(&folder.into());
        let list = || self.call(|| self.store.list(Some(&location)).try_collect::<Vec<_>>());
        let listed = if let Ok(listed) = list().await {
            listed
        } else {
            // The store does not say why a listing failed; of a single object it does.
            self.head(&folder.into()).await?;
            list().await.map_err(|error| self.unlisted(&location, error))?
        };
        let name = |meta: &object_store::ObjectMeta| Some(meta.location.prefix_match(&self.prefix)?.collect::<Path>());
        let seen = |meta: object_store::ObjectMeta| {
            Some((name(&meta)?, Seen { bytes: meta.size, e_tag: meta.e_tag, version: meta.version }))
        };
        Ok(listed.into_iter().filter_map(seen).collect())
    }

    /// What the store says of an object.
    pub(super) async fn head(&self, name: &Path) -> Result<Option<Seen>> {
        let location = self.location(name);
        match self.call(|| self.store.head(&location)).await {
            Ok(meta) => Ok(Some(Seen { bytes: meta.size, e_tag: meta.e_tag, version: meta.version })),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(self.explain("look at", &location, error)),
        }
    }

    /// An object, if there is one.
    pub(super) async fn get(&self, name: &Path) -> Result<Option<Content>> {
        let location = self.location(name);
        let read = || async {
            let got = self.store.get_opts(&location, GetOptions::default()).await?;
            let seen = Seen { bytes: got.meta.size, e_tag: got.meta.e_tag.clone(), version: got.meta.version.clone() };
            let as_of = got.attributes.get(&Attribute::Metadata(AS_OF.into())).map(|value| value.as_ref().to_owned());
            Ok(Content { seen, as_of, bytes: got.bytes().await? })
        };
        match self.call(read).await {
            Ok(content) => Ok(Some(content)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(self.explain("read", &location, error)),
        }
    }

    /// Replaces an object as a whole, if it still is what was seen; `None` means that there was none.
    pub(super) async fn put(&self, object: &Object, seen: Option<&Seen>, as_of: &str) -> Result<Put> {
        let location = self.location(&object.name);
        let bytes = object.bytes.len() as u64;
        if let Guard::Lock(store, _) = &self.guard {
            let replaced = folder::replace(store, &location, object).await;
            let e_tag = replaced.map_err(|error| self.explain("write", &location, error))?;
            return Ok(Put::Written(Seen { bytes, e_tag, version: None }));
        }
        let mode = seen.map_or(PutMode::Create, |seen| {
            PutMode::Update(UpdateVersion { e_tag: seen.e_tag.clone(), version: seen.version.clone() })
        });
        let options = PutOptions { mode, attributes: attributes(object, as_of), ..PutOptions::default() };
        let payload = || PutPayload::from_bytes(object.bytes.clone());
        match self.call(|| self.store.put_opts(&location, payload(), options.clone())).await {
            Ok(put) => Ok(Put::Written(Seen { bytes, e_tag: put.e_tag, version: put.version })),
            Err(object_store::Error::Precondition { .. } | object_store::Error::AlreadyExists { .. }) => {
                Ok(Put::Changed)
            }
            Err(error) => Err(self.explain("write", &location, error)),
        }
    }

    fn location(&self, name: &Path) -> Path {
        self.prefix.parts().chain(name.parts()).collect()
    }

    /// Sends a request, and once more with a fresh token if the store does not take the one it was sent with.
    async fn call<T, F>(&self, request: impl Fn() -> F) -> object_store::Result<T>
    where
        F: Future<Output = object_store::Result<T>>,
    {
        let refusals = self.login.as_ref().map_or(0, |login| login.refusals());
        match (request().await, &self.login) {
            (Err(object_store::Error::Unauthenticated { .. }), Some(login)) => {
                login.refused(refusals);
                request().await
            }
            (result, _) => result,
        }
    }

    /// A listing failed though a look at an object was answered: that it is not there.
    fn unlisted(&self, location: &Path, cause: object_store::Error) -> Error {
        match &self.guard {
            Guard::Lock(..) => self.explain("list", location, cause),
            Guard::Condition => {
                let missing = object_store::Error::NotFound { path: location.to_string(), source: Box::new(cause) };
                self.explain("list", location, missing)
            }
        }
    }

    fn explain(&self, doing: &str, location: &Path, error: object_store::Error) -> Error {
        let object = format!("{}/{location}", self.name);
        let principal = self.login.as_ref().map_or("this account", |login| login.principal());
        let (kind, why) = errors::explain(&error, principal);
        Error::new(kind, format!("cannot {doing} {object}: {why}")).with_source(error)
    }
}

fn attributes(object: &Object, as_of: &str) -> Attributes {
    Attributes::from_iter([
        (Attribute::ContentType, object.media.content_type.to_owned()),
        (Attribute::CacheControl, object.media.cache_control.to_owned()),
        (Attribute::Metadata(AS_OF.into()), as_of.to_owned()),
    ])
}

/// Nobody could write an object whose writers never stop.
pub(super) fn contended(bucket: &Bucket, name: &Path) -> Error {
    let message =
        format!("other publishers keep replacing {}/{name}; let one of them publish to it at a time", bucket.name());
    Error::new(Kind::Overloaded, message)
}
