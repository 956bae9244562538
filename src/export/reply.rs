//! An answer becomes a response: encoded once for each content, with its name, age and provenance
//! in headers.

use axum::body::Body;
use axum::http::header::{ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, ETAG, IF_NONE_MATCH, VARY};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::Response;
use bytes::Bytes;
use futures::stream;
use sha2::{Digest as _, Sha256};
use weir_plan::{Error, Mode, Result};

use super::encoding::Encoding;
use super::format::Format;
use super::writer::{pieces, whole};
use crate::batches::Batches;
use crate::engine::{Answer, Engine, Provenance, aside};

/// How the answer was come by.
const RESULT: HeaderName = HeaderName::from_static("x-weir-result");

/// Answers of more bytes in memory than this are streamed, encoded anew for each caller and without
/// an `ETag`: kept encodings of them would push boards out of the cache.
const STREAM_ABOVE: usize = 16 * 1024 * 1024;

/// Answers of fewer bytes in memory than this are not worth compressing: they fit one packet.
const COMPRESS_ABOVE: usize = 1024;

/// Bytes of the content's digest, at the head of a kept encoding.
const DIGEST: usize = 16;

/// The response for an answer.
///
/// # Errors
/// `Internal` if it cannot be encoded.
pub(super) fn reply(engine: &Engine, answer: &Answer, format: Format, headers: &HeaderMap) -> Result<Response> {
    let size = answer.batches.memory_size();
    let encoding = match size {
        0..COMPRESS_ABOVE => Encoding::Identity,
        _ => Encoding::accepted(header(headers, ACCEPT_ENCODING.as_str()).as_deref()),
    };
    let mut response = described(Some(&answer.provenance))?;
    if size > STREAM_ABOVE {
        describe(response.headers_mut(), format, encoding);
        *response.body_mut() = Body::from_stream(stream::iter(pieces(format, encoding, &answer.batches)?));
        return Ok(response);
    }
    fill(&mut response, &encoded(engine, answer, format, encoding, size)?, format, encoding, headers)?;
    Ok(response)
}

/// A document's body.
pub(super) struct Written {
    pub(super) body: Vec<u8>,
    /// What names its content, where that is less than the body.
    pub(super) content: Option<Vec<u8>>,
}

/// The response for a document that `write` makes of answers: made once for their contents and `name`,
/// which holds everything else that it depends on.
///
/// # Errors
/// Those of `write`.
pub(super) fn document(
    engine: &Engine,
    answers: &[Answer],
    name: &str,
    (format, headers): (Format, &HeaderMap),
    write: impl FnOnce() -> Result<Written>,
) -> Result<Response> {
    let encoding = Encoding::accepted(header(headers, ACCEPT_ENCODING.as_str()).as_deref());
    let name = format!("{name} {}+{}", format.name(), encoding.token().unwrap_or("identity"));
    let kept = engine.made(answers, &name, || {
        let kept = kept(write()?, encoding)?;
        let bytes = kept.len();
        Ok((kept, bytes))
    })?;
    let mut response = described(Some(&Provenance::together(answers)?))?;
    fill(&mut response, &kept, format, encoding, headers)?;
    Ok(response)
}

/// The response for a document that no answers are under.
///
/// # Errors
/// `Internal` if it cannot be compressed.
pub(super) fn fixed(written: Written, (format, headers): (Format, &HeaderMap)) -> Result<Response> {
    let encoding = Encoding::accepted(header(headers, ACCEPT_ENCODING.as_str()).as_deref());
    let mut response = described(None)?;
    fill(&mut response, &kept(written, encoding)?, format, encoding, headers)?;
    Ok(response)
}

/// An empty response with the headers that say how it was come by and how long it may be kept.
fn described(provenance: Option<&Provenance>) -> Result<Response> {
    let mut response = Response::new(Body::empty());
    let out = response.headers_mut();
    out.insert(VARY, HeaderValue::from_static("Accept, Accept-Encoding"));
    out.insert(CACHE_CONTROL, cache_control(provenance)?);
    if let Some(provenance) = provenance {
        out.insert(RESULT, value(&provenance.header())?);
    }
    Ok(response)
}

/// Puts a kept body in a response, or says that the caller knows it.
fn fill(response: &mut Response, kept: &Bytes, format: Format, encoding: Encoding, headers: &HeaderMap) -> Result<()> {
    let etag = etag(kept);
    response.headers_mut().insert(ETAG, value(&etag)?);
    if header(headers, IF_NONE_MATCH.as_str()).is_some_and(|known| matches(&known, &etag)) {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        return Ok(());
    }
    describe(response.headers_mut(), format, encoding);
    *response.body_mut() = Body::from(kept.slice(DIGEST..));
    Ok(())
}

fn describe(out: &mut HeaderMap, format: Format, encoding: Encoding) {
    out.insert(CONTENT_TYPE, HeaderValue::from_static(format.media_type()));
    if let Some(token) = encoding.token() {
        out.insert(CONTENT_ENCODING, HeaderValue::from_static(token));
    }
}

/// The digest and the compressed body of an answer, made once for each content.
fn encoded(engine: &Engine, answer: &Answer, format: Format, encoding: Encoding, size: usize) -> Result<Bytes> {
    let name = format!("export/{}+{}", format.name(), encoding.token().unwrap_or("identity"));
    aside(size, || engine.encoded(answer, &name, |batches| encode(batches, format, encoding)))
}

/// The digest is that of the uncompressed body, so that all encodings share one weak `ETag`.
fn encode(batches: &Batches, format: Format, encoding: Encoding) -> Result<Bytes> {
    kept(Written { body: whole(format, batches)?, content: None }, encoding)
}

/// A digest and the compressed body that it names.
fn kept(written: Written, encoding: Encoding) -> Result<Bytes> {
    let Written { body, content } = written;
    let mut kept = Sha256::digest(content.as_ref().unwrap_or(&body))[..DIGEST].to_vec();
    kept.append(&mut encoding.compress(body)?);
    kept.shrink_to_fit();
    Ok(kept.into())
}

fn etag(kept: &[u8]) -> String {
    let digits = kept.iter().take(DIGEST).map(|byte| format!("{byte:02x}"));
    format!("W/\"{}\"", digits.collect::<String>())
}

/// Whether `If-None-Match` names the content; weak comparison, RFC 9110, 13.1.2.
fn matches(known: &str, etag: &str) -> bool {
    let opaque = |tag: &str| tag.trim().trim_start_matches("W/").to_owned();
    known.trim() == "*" || known.split(',').any(|tag| opaque(tag) == opaque(etag))
}

/// What is left of the freshness; answers past the cache are not to be kept by anybody.
fn cache_control(provenance: Option<&Provenance>) -> Result<HeaderValue> {
    let Some(provenance) = provenance else { return Ok(HeaderValue::from_static("no-cache")) };
    if provenance.mode == Mode::Off {
        return Ok(HeaderValue::from_static("no-store"));
    }
    let left = (provenance.fresh_for_s - provenance.age_s).max(0.0).floor();
    value(&format!("private, max-age={left:.0}"))
}

fn value(text: &str) -> Result<HeaderValue> {
    HeaderValue::from_str(text)
        .map_err(|error| Error::internal(format!("no header can hold {text:?}")).with_source(error))
}

/// The value of a request's header, its repetitions joined as RFC 9110, 5.3 says.
pub(super) fn header(headers: &HeaderMap, name: &str) -> Option<String> {
    let values: Vec<_> = headers.get_all(name).iter().filter_map(|value| value.to_str().ok()).collect();
    (!values.is_empty()).then(|| values.join(", "))
}
