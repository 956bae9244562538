//! One object to publish: its name, its bytes and how they are to be read.

use bytes::Bytes;
use object_store::path::Path;
use sha2::{Digest as _, Sha256};

/// How the content of an object is to be read, and for how long a copy of it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Media {
    pub(super) content_type: &'static str,
    pub(super) cache_control: &'static str,
}

impl Media {
    /// JSON that is replaced: the hour for which buckets let copies live is too long for it.
    pub(super) const JSON: Self = Self { content_type: "application/json", cache_control: "no-cache" };
    /// JSON that is written once.
    pub(super) const DATED_JSON: Self = Self { content_type: "application/json", cache_control: "max-age=86400" };
    /// Parquet that is replaced.
    pub(super) const PARQUET: Self = Self { content_type: "application/vnd.apache.parquet", cache_control: "no-cache" };
}

/// An object.
#[derive(Clone, Debug)]
pub(super) struct Object {
    /// Its name, without the prefix of the destination.
    pub(super) name: Path,
    pub(super) media: Media,
    pub(super) bytes: Bytes,
}

impl Object {
    /// An object in a folder; what a name must not hold is written with `%`.
    pub(super) fn new(folder: &str, file: &str, media: Media, bytes: impl Into<Bytes>) -> Self {
        Self { name: Path::from_iter([folder, file]), media, bytes: bytes.into() }
    }
}

/// SHA-256 of some content, in lower-case hexadecimal digits.
pub(super) fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold(String::with_capacity(64), |mut text, byte| {
        use std::fmt::Write as _;
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slug_cannot_leave_its_folder() {
        let name = |slug: &str| Object::new("monitoring", &format!("{slug}_x.json"), Media::JSON, "").name.to_string();
        assert_eq!(name("plain-slug"), "monitoring/plain-slug_x.json");
        assert_eq!(name("../../etc/passwd"), "monitoring/..%2F..%2Fetc%2Fpasswd_x.json");
        assert_eq!(name("a'b\"c"), "monitoring/a'b%22c_x.json");
        let alone = Object::new("monitoring", "..", Media::JSON, "").name;
        assert_eq!(alone.as_ref(), "monitoring/%2E%2E");
    }

    #[test]
    fn hashes_are_those_of_sha256() {
        assert_eq!(sha256(b"abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }
}
