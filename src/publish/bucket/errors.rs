//! What a store's failure means, and what to do about it.

use std::error::Error as StdError;
use std::io;

use weir_plan::Kind;

/// The kind of a failure, and the rest of a sentence that began with what was tried.
pub(super) fn explain(error: &object_store::Error, principal: &str) -> (Kind, String) {
    use io::ErrorKind::{PermissionDenied, QuotaExceeded, ReadOnlyFilesystem, StorageFull};
    if let Some(login) = cause::<weir_plan::Error>(error) {
        return (login.kind(), login.message().to_owned());
    }
    match (error, cause::<io::Error>(error).map(io::Error::kind)) {
        (_, Some(PermissionDenied | ReadOnlyFilesystem)) => {
            let why = "this account may not write there; give it the permission, or publish elsewhere";
            (Kind::PermissionDenied, why.to_owned())
        }
        (_, Some(StorageFull | QuotaExceeded)) => {
            (Kind::Unavailable, "there is no space left; what is published stays whole".to_owned())
        }
        (object_store::Error::NotFound { .. }, _) => {
            let why = format!("there is no such bucket, or {principal} may not know of it; create it, or mend --to");
            (Kind::NotFound, why)
        }
        (object_store::Error::PermissionDenied { .. }, _) => {
            let why = format!("{principal} lacks a permission; grant it roles/storage.objectUser on the bucket");
            (Kind::PermissionDenied, why)
        }
        (object_store::Error::Unauthenticated { .. }, _) => {
            let why = format!(
                "the credentials of {principal} are refused, with a fresh token too; log in again or renew the key, \
                 and publish again: what was written until now is whole"
            );
            (Kind::Unavailable, why)
        }
        _ => (Kind::Unavailable, "the store failed; publish again: what was written until now is whole".to_owned()),
    }
}

/// The first cause of a type.
fn cause<'a, T: StdError + 'static>(error: &'a (dyn StdError + 'static)) -> Option<&'a T> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        next = error.source();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_takes_no_files_is_told_from_one_that_is_full() {
        let check = |kind: io::ErrorKind, expected: Kind, remedy: &str| {
            let error = object_store::Error::Generic { store: "folder", source: Box::new(io::Error::from(kind)) };
            let (kind, why) = explain(&error, "this account");
            assert_eq!(kind, expected);
            assert!(why.contains(remedy), "{why}");
        };
        check(io::ErrorKind::ReadOnlyFilesystem, Kind::PermissionDenied, "give it the permission");
        check(io::ErrorKind::PermissionDenied, Kind::PermissionDenied, "publish elsewhere");
        check(io::ErrorKind::StorageFull, Kind::Unavailable, "no space left");
        check(io::ErrorKind::Other, Kind::Unavailable, "publish again");
    }
}
