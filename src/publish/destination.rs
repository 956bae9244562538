//! Where files are published to, as people write it.

use std::path::PathBuf;
use std::str::FromStr;

use object_store::path::Path;
use url::Url;
use weir_plan::{Error, Result};

/// A bucket, or a folder of this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destination {
    /// `gs://bucket/prefix`.
    Bucket {
        /// The bucket.
        name: String,
        /// What the names of all objects begin with.
        prefix: Path,
    },
    /// `file:///folder`.
    Folder(PathBuf),
}

impl FromStr for Destination {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let wanted = "write gs://BUCKET/PREFIX, or file:///FOLDER";
        let refused = |why: &str| Error::invalid(format!("{text:?} {why}; {wanted}"));
        let url = Url::parse(text).map_err(|error| refused("is not an address").with_source(error))?;
        match url.scheme() {
            "gs" => {
                let name = url.host_str().filter(|name| !name.is_empty()).ok_or_else(|| refused("names no bucket"))?;
                let prefix = Path::from_url_path(url.path().trim_matches('/'))
                    .map_err(|error| refused("has a prefix that no object's name can begin with").with_source(error))?;
                Ok(Self::Bucket { name: name.to_owned(), prefix })
            }
            "file" => {
                let folder = url.to_file_path().map_err(|()| refused("is not the path of a folder"))?;
                Ok(Self::Folder(folder))
            }
            scheme => Err(refused(&format!("begins with {scheme}:, which Weir cannot write to"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_and_folders_are_read() {
        let bucket = |name: &str, prefix: &str| Destination::Bucket { name: name.into(), prefix: prefix.into() };
        let check = |text: &str, expected: Destination| assert_eq!(text.parse::<Destination>().unwrap(), expected);
        check("gs://mozanalysis", bucket("mozanalysis", ""));
        check("gs://mozanalysis/", bucket("mozanalysis", ""));
        check("gs://moz-analysis_1/weir/v1/", bucket("moz-analysis_1", "weir/v1"));
        check("file:///srv/experiments", Destination::Folder("/srv/experiments".into()));
    }

    #[test]
    fn what_is_neither_is_refused_by_name() {
        let check = |text: &str, expected: &str| {
            let error = text.parse::<Destination>().unwrap_err();
            assert!(error.message().contains(expected) && error.message().contains("gs://BUCKET"), "{error}");
        };
        check("s3://bucket/x", "begins with s3:");
        check("folder", "\"folder\" is not an address");
        check("gs:///x", "names no bucket");
        check("file://host/x", "not the path of a folder");
    }
}
