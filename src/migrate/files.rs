//! Files: read, kept as they were, and written in place.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use weir_plan::{Error, Kind, Result};

/// The text of a file.
///
/// # Errors
/// `NotFound`, or `InvalidQuery` for what is not UTF-8.
pub(super) fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).map_err(|error| {
        let kind = if error.kind() == io::ErrorKind::InvalidData { Kind::InvalidQuery } else { Kind::NotFound };
        Error::new(kind, format!("cannot read the file: {error}")).with_source(error)
    })
}

/// Writes a file in place, after it has been copied to a new file beside it, whose path this returns.
///
/// # Errors
/// `Unavailable`, with the file as it was if it could not be copied.
pub(super) fn write(path: &Path, text: &str) -> Result<PathBuf> {
    let failed =
        |what: String| move |error| Error::new(Kind::Unavailable, format!("{what}: {error}")).with_source(error);
    let (backup, mut copy) = create_backup(path).map_err(failed("cannot make a backup beside it".to_owned()))?;
    let copied = File::open(path).and_then(|mut file| io::copy(&mut file, &mut copy)).and_then(|_| copy.flush());
    let permissions = fs::metadata(path).and_then(|metadata| fs::set_permissions(&backup, metadata.permissions()));
    copied.and(permissions).map_err(failed(format!("cannot copy it to {}", backup.display())))?;
    fs::write(path, text).map_err(failed(format!("cannot write it; the text before is in {}", backup.display())))?;
    Ok(backup)
}

/// A new file `NAME.bak`, or `NAME.bak.2` and so on where an older backup is in the way.
fn create_backup(path: &Path) -> io::Result<(PathBuf, File)> {
    let mut number = 1_u32;
    loop {
        let mut name = path.as_os_str().to_owned();
        name.push(if number == 1 { ".bak".to_owned() } else { format!(".bak.{number}") });
        match OpenOptions::new().write(true).create_new(true).open(&name) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => number += 1,
            created => return created.map(|file| (PathBuf::from(name), file)),
        }
    }
}
