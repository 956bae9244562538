//! The formats of an answer: their names, media types and media ranges. It writes none of them.

use weir_plan::{Error, Kind, Result};

use crate::nearest::hint;

/// How the rows of an answer are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// One object with `columns` and `rows`.
    Json,
    /// An Arrow IPC stream.
    Arrow,
    /// One object a row, a line each.
    Ndjson,
    /// A line of names, and one for each row.
    Csv,
    /// A Parquet file.
    Parquet,
}

impl Format {
    /// All formats; the first is that of callers who accept anything.
    pub(super) const ALL: [Self; 5] = [Self::Json, Self::Arrow, Self::Ndjson, Self::Csv, Self::Parquet];

    /// The name that the parameter `format` takes.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Arrow => "arrow",
            Self::Ndjson => "ndjson",
            Self::Csv => "csv",
            Self::Parquet => "parquet",
        }
    }

    /// The media type of a body.
    pub(super) const fn media_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Arrow => "application/vnd.apache.arrow.stream",
            Self::Ndjson => "application/x-ndjson",
            Self::Csv => "text/csv; charset=utf-8",
            Self::Parquet => "application/vnd.apache.parquet",
        }
    }

    /// Every media type that asks for the format.
    const fn media_types(self) -> &'static [&'static str] {
        match self {
            Self::Json => &["application/json"],
            Self::Arrow => &["application/vnd.apache.arrow.stream"],
            Self::Ndjson => &["application/x-ndjson", "application/ndjson", "application/jsonl"],
            Self::Csv => &["text/csv"],
            Self::Parquet => &["application/vnd.apache.parquet", "application/x-parquet"],
        }
    }

    /// The format of a parameter `format`: a name or a media type, in any case.
    ///
    /// # Errors
    /// `InvalidQuery` naming the value and the formats there are.
    pub(super) fn parse(text: &str) -> Result<Self> {
        let named = |format: &Self| {
            format.name().eq_ignore_ascii_case(text)
                || format.media_types().iter().any(|media_type| media_type.eq_ignore_ascii_case(text))
        };
        Self::ALL.into_iter().find(named).ok_or_else(|| {
            let known = Self::ALL.map(Self::name);
            Error::invalid(format!("format {text:?} is none of {}{}", known.join(", "), hint(text, &known)))
        })
    }

    /// The format that an `Accept` header likes best: by weight, then by the header's own order,
    /// and JSON where it has no say.
    ///
    /// # Errors
    /// `NotAcceptable` naming the header's value and the media types there are.
    pub(super) fn accepted(accept: Option<&str>) -> Result<Self> {
        let Some(accept) = accept.filter(|accept| !accept.trim().is_empty()) else { return Ok(Self::Json) };
        let ranges: Vec<_> = accept.split(',').enumerate().filter_map(|(at, range)| Range::parse(at, range)).collect();
        let candidates = Self::ALL.into_iter().filter_map(|format| Some((format.wanted(&ranges)?, format)));
        // Of equals the earlier in `ALL` wins: `min_by` keeps the first.
        let best = candidates.min_by(|((a, at), _), ((b, bt), _)| b.total_cmp(a).then(at.cmp(bt)));
        best.map(|(_, format)| format).ok_or_else(|| {
            let known = Self::ALL.map(Self::media_type).join(", ");
            Error::new(Kind::NotAcceptable, format!("Accept {accept:?} allows none of {known}"))
        })
    }

    /// Weight and place of the most specific range that covers the format, unless it is refused.
    fn wanted(self, ranges: &[Range<'_>]) -> Option<(f32, usize)> {
        let covering = self.media_types().iter().flat_map(|media_type| {
            ranges.iter().filter_map(move |range| Some((range.specificity(media_type)?, range)))
        });
        let (_, range) = covering.max_by_key(|(specificity, range)| (*specificity, usize::MAX - range.at))?;
        (range.weight > 0.0).then_some((range.weight, range.at))
    }
}

/// One media range of an `Accept` header. Source: RFC 9110, 12.5.1.
struct Range<'a> {
    main: &'a str,
    sub: &'a str,
    weight: f32,
    at: usize,
}

impl<'a> Range<'a> {
    fn parse(at: usize, text: &'a str) -> Option<Self> {
        let mut parts = text.split(';');
        let (main, sub) = parts.next()?.trim().split_once('/')?;
        Some(Self { main, sub, weight: weight(parts), at })
    }

    fn specificity(&self, media_type: &str) -> Option<u8> {
        let (main, sub) = media_type.split_once('/')?;
        match (self.main, self.sub) {
            ("*", "*") => Some(0),
            (own, "*") if own.eq_ignore_ascii_case(main) => Some(1),
            (own, own_sub) if own.eq_ignore_ascii_case(main) && own_sub.eq_ignore_ascii_case(sub) => Some(2),
            _ => None,
        }
    }
}

/// The `q` among a range's parameters; 1 where there is none, and where it is no number.
pub(super) fn weight<'a>(parameters: impl Iterator<Item = &'a str>) -> f32 {
    let quality = parameters.filter_map(|parameter| parameter.split_once('=')).find_map(|(name, value)| {
        name.trim().eq_ignore_ascii_case("q").then(|| value.trim().parse::<f32>().ok()).flatten()
    });
    quality.filter(|quality| (0.0..=1.0).contains(quality)).unwrap_or(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accept_headers_choose_by_weight_then_by_their_order() {
        let check = |accept: &str, expected: Format| {
            assert_eq!(Format::accepted(Some(accept)).unwrap(), expected, "{accept}");
        };
        check("", Format::Json);
        check("*/*", Format::Json);
        check("application/*", Format::Json);
        check("text/html,application/xhtml+xml,*/*;q=0.8", Format::Json);
        check("application/vnd.apache.arrow.stream", Format::Arrow);
        check("Application/X-NDJSON", Format::Ndjson);
        check("application/jsonl", Format::Ndjson);
        check("text/csv;header=present", Format::Csv);
        check("application/vnd.apache.parquet, */*;q=0.1", Format::Parquet);
        check("application/json;q=0.5, application/vnd.apache.arrow.stream", Format::Arrow);
        check("application/json; Q=0.5, application/x-ndjson; q=0.6", Format::Ndjson);
        check("application/x-ndjson, application/json", Format::Ndjson);
        check("application/json;q=0, */*", Format::Arrow);
        check("*/*;q=0.1, application/vnd.apache.arrow.stream;q=0.2", Format::Arrow);
        check("application/json;charset=utf-8", Format::Json);
        check("nonsense, application/json", Format::Json);
    }

    #[test]
    fn what_cannot_be_made_is_refused_with_what_can() {
        for accept in ["text/html", "image/*", "application/json;q=0", "*/*;q=0"] {
            let error = Format::accepted(Some(accept)).unwrap_err();
            assert_eq!(error.kind(), Kind::NotAcceptable, "{accept}");
            assert!(error.message().contains(accept), "{error}");
            assert!(error.message().contains("application/json"), "{error}");
        }
    }

    #[test]
    fn a_format_is_a_name_or_a_media_type() {
        assert_eq!(Format::parse("NDJSON").unwrap(), Format::Ndjson);
        assert_eq!(Format::parse("application/vnd.apache.arrow.stream").unwrap(), Format::Arrow);
        let error = Format::parse("arow").unwrap_err();
        assert_eq!(
            error.message(),
            "format \"arow\" is none of json, arrow, ndjson, csv, parquet; did you mean \"arrow\"?"
        );
        assert_eq!(
            Format::parse("xml").unwrap_err().message(),
            "format \"xml\" is none of json, arrow, ndjson, csv, parquet"
        );
    }
}
