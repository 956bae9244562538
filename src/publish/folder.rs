//! A folder as a destination: a lock for one publisher at a time, and files that are whole or not there.
//!
//! It knows neither what is published nor when.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read as _, Write as _};
use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;

use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{ObjectStoreExt as _, PutPayload};
use weir_plan::{Error, Kind, Result, Timestamp};

use super::object::Object;

/// The lock's file. It stays when the lock is given back.
const LOCK: &str = ".weir-publish.lock";

/// The right to publish to a folder, given back when it is dropped.
///
/// The lock is the operating system's, on a file that names its owner. It ends with the process that
/// holds it, however that ends: a file that a crash left behind is in nobody's way, so there is no age
/// at which one would have to be broken.
#[derive(Debug)]
pub(super) struct FolderLock {
    _file: File,
}

impl FolderLock {
    /// Takes the lock.
    ///
    /// # Errors
    /// `Overloaded` naming the owner if another publisher has it; `PermissionDenied` or `Unavailable`
    /// if the folder takes no files or no locks.
    pub(super) fn take(folder: &FilePath, now: Timestamp) -> Result<Self> {
        let path = folder.join(LOCK);
        let named = |error: std::io::Error| {
            let kind = match error.kind() {
                std::io::ErrorKind::PermissionDenied | std::io::ErrorKind::ReadOnlyFilesystem => Kind::PermissionDenied,
                _ => Kind::Unavailable,
            };
            let message = format!("cannot lock {}; publish to a folder that this account may write to", path.display());
            Error::new(kind, message).with_source(error)
        };
        let mut file =
            OpenOptions::new().create(true).truncate(false).read(true).write(true).open(&path).map_err(named)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut owner = String::new();
                // The owner may be writing it just now; the lock tells more than the text.
                let _ = file.read_to_string(&mut owner);
                let owner = if owner.trim().is_empty() { "another process" } else { owner.trim() };
                return Err(Error::new(
                    Kind::Overloaded,
                    format!("{} is being published to by {owner}; wait until it ends, or end it", folder.display()),
                ));
            }
            Err(TryLockError::Error(error)) => return Err(named(error)),
        }
        let owner = format!("process {} since {}\n", std::process::id(), now.iso_millis());
        file.set_len(0).and_then(|()| file.write_all(owner.as_bytes())).map_err(named)?;
        Ok(Self { _file: file })
    }
}

/// Replaces a file: written beside it, on the disk before it is renamed. Returns its tag.
pub(super) async fn replace(
    store: &Arc<LocalFileSystem>,
    location: &Path,
    object: &Object,
) -> object_store::Result<Option<String>> {
    let staged = staged(location)?;
    let put = store.put(&staged, PutPayload::from_bytes(object.bytes.clone())).await?;
    on_the_disk(store.path_to_filesystem(&staged)?).await?;
    store.rename(&staged, location).await?;
    Ok(put.e_tag)
}

/// The name beside a file under which its next content is written. A crash leaves it to be used again.
fn staged(location: &Path) -> object_store::Result<Path> {
    let name = location.as_ref();
    let (folder, file) = name.rsplit_once('/').map_or(("", name), |(folder, file)| (folder, file));
    Ok(Path::parse(format!("{folder}/.{file}.part"))?)
}

async fn on_the_disk(path: PathBuf) -> object_store::Result<()> {
    let synced = tokio::task::spawn_blocking(move || OpenOptions::new().write(true).open(path)?.sync_all()).await;
    let synced = synced.unwrap_or_else(|error| Err(std::io::Error::other(error)));
    synced.map_err(|error| object_store::Error::Generic { store: "folder", source: Box::new(error) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        Timestamp::parse(text, Timestamp::MIN).unwrap()
    }

    #[test]
    fn a_second_publisher_is_told_who_holds_the_folder() {
        let folder = tempfile::tempdir().unwrap();
        let first = FolderLock::take(folder.path(), at("2024-03-01T10:00:00Z")).unwrap();
        let error = FolderLock::take(folder.path(), at("2024-03-01T10:01:00Z")).unwrap_err();
        assert_eq!(error.kind(), Kind::Overloaded);
        let owner = format!("process {} since 2024-03-01T10:00:00.000Z", std::process::id());
        assert!(error.message().contains(&owner), "{error}");
        drop(first);
        FolderLock::take(folder.path(), at("2024-03-01T10:02:00Z")).unwrap();
    }

    #[test]
    fn the_file_that_a_crash_left_is_in_nobodys_way() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(LOCK), "process 1 since 2019-01-01T00:00:00.000Z, long gone\n").unwrap();
        let _lock = FolderLock::take(folder.path(), at("2024-03-01T10:00:00Z")).unwrap();
        let owner = std::fs::read_to_string(folder.path().join(LOCK)).unwrap();
        assert_eq!(owner, format!("process {} since 2024-03-01T10:00:00.000Z\n", std::process::id()));
    }

    #[test]
    fn content_is_staged_beside_its_file() {
        let check = |name: Path, expected: &str| assert_eq!(staged(&name).unwrap().as_ref(), expected);
        check("a/monitoring/x_y.json".into(), "a/monitoring/.x_y.json.part");
        check(Path::from_iter(["monitoring", "a/b.json"]), "monitoring/.a%2Fb.json.part");
        check("index.json".into(), ".index.json.part");
    }
}
