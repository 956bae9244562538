//! Names at the end of paths: `counts.csv` is `counts`, as CSV.

use axum::http::HeaderMap;
use weir_plan::Result;

use super::format::Format;
use super::reply::header;

/// A name, and the format that its suffix names.
pub(super) fn split(segment: &str) -> (&str, Option<Format>) {
    let known =
        |(name, suffix): (_, &str)| Some((name, Format::ALL.into_iter().find(|format| format.name() == suffix)?));
    match segment.rsplit_once('.').and_then(known) {
        Some((name, format)) => (name, Some(format)),
        None => (segment, None),
    }
}

/// The format of an answer: that of the suffix, else of the parameter `format`, else of `Accept`.
///
/// # Errors
/// `NotAcceptable` as [`Format::accepted`].
pub(super) fn format(suffix: Option<Format>, parameter: Option<Format>, headers: &HeaderMap) -> Result<Format> {
    match suffix.or(parameter) {
        Some(format) => Ok(format),
        None => Format::accepted(header(headers, "accept").as_deref()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_suffix_is_a_format_or_part_of_the_name() {
        let check = |segment: &str, name: &str, format: Option<Format>| {
            assert_eq!(split(segment), (name, format), "{segment}");
        };
        check("counts", "counts", None);
        check("counts.csv", "counts", Some(Format::Csv));
        check("a.b.parquet", "a.b", Some(Format::Parquet));
        check("version-1.5", "version-1.5", None);
    }
}
