//! Content encodings: which one a caller likes, and compression of bodies, whole or piece by piece.

use std::io::{self, Write as _};

use flate2::write::GzEncoder;
use zstd::stream::write::Encoder as ZstdEncoder;

use weir_plan::{Error, Result};

use super::format::weight;

/// How a body is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encoding {
    /// Not at all.
    Identity,
    /// zstd.
    Zstd,
    /// gzip.
    Gzip,
}

/// The encoding of an answer is made once and served many times, so that it may cost a little:
/// zstd's own default level.
const ZSTD_LEVEL: i32 = 3;

impl Encoding {
    /// The encoding that an `Accept-Encoding` header likes best; zstd before gzip where it does not
    /// care. What it forbids is not an error: a body that the caller must decode beats none.
    pub(super) fn accepted(accept: Option<&str>) -> Self {
        let Some(accept) = accept else { return Self::Identity };
        let mut best = (0.0, Self::Identity);
        for encoding in [Self::Zstd, Self::Gzip] {
            let weight = encoding.weight(accept);
            if weight > best.0 {
                best = (weight, encoding);
            }
        }
        let identity = accept.split(',').any(|coding| {
            let mut parts = coding.split(';');
            parts.next().is_some_and(|name| name.trim().eq_ignore_ascii_case("identity")) && weight(parts) > best.0
        });
        if identity { Self::Identity } else { best.1 }
    }

    fn weight(self, accept: &str) -> f32 {
        let codings = accept.split(',').map(|coding| {
            let mut parts = coding.split(';');
            (parts.next().unwrap_or_default().trim(), weight(parts))
        });
        let mut any = 0.0;
        for (name, weight) in codings {
            if self.tokens().iter().any(|token| name.eq_ignore_ascii_case(token)) {
                return weight;
            }
            if name == "*" {
                any = weight;
            }
        }
        any
    }

    const fn tokens(self) -> &'static [&'static str] {
        match self {
            Self::Identity => &["identity"],
            Self::Zstd => &["zstd"],
            Self::Gzip => &["gzip", "x-gzip"],
        }
    }

    /// The name in `Content-Encoding`.
    pub(super) const fn token(self) -> Option<&'static str> {
        match self {
            Self::Identity => None,
            Self::Zstd => Some("zstd"),
            Self::Gzip => Some("gzip"),
        }
    }

    /// Compresses a whole body.
    ///
    /// # Errors
    /// `Internal` if the compressor fails.
    pub(super) fn compress(self, body: Vec<u8>) -> Result<Vec<u8>> {
        let mut compressor = Compressor::new(self)?;
        let mut compressed = compressor.write(body)?;
        compressed.append(&mut compressor.finish()?);
        Ok(compressed)
    }
}

/// Compresses a body piece by piece.
pub(super) enum Compressor {
    Identity,
    Zstd(ZstdEncoder<'static, Vec<u8>>),
    Gzip(GzEncoder<Vec<u8>>),
}

impl Compressor {
    /// A compressor at the beginning of a body.
    ///
    /// # Errors
    /// `Internal` if there is no memory for it.
    pub(super) fn new(encoding: Encoding) -> Result<Self> {
        match encoding {
            Encoding::Identity => Ok(Self::Identity),
            Encoding::Zstd => Ok(Self::Zstd(ZstdEncoder::new(Vec::new(), ZSTD_LEVEL).map_err(failed)?)),
            Encoding::Gzip => Ok(Self::Gzip(GzEncoder::new(Vec::new(), flate2::Compression::default()))),
        }
    }

    /// Takes a piece; gives what is compressed so far, which may be nothing.
    ///
    /// # Errors
    /// `Internal` if the compressor fails.
    pub(super) fn write(&mut self, piece: Vec<u8>) -> Result<Vec<u8>> {
        match self {
            Self::Identity => Ok(piece),
            Self::Zstd(zstd) => {
                zstd.write_all(&piece).map_err(failed)?;
                Ok(std::mem::take(zstd.get_mut()))
            }
            Self::Gzip(gzip) => {
                gzip.write_all(&piece).map_err(failed)?;
                Ok(std::mem::take(gzip.get_mut()))
            }
        }
    }

    /// The end of the body.
    ///
    /// # Errors
    /// `Internal` if the compressor fails.
    pub(super) fn finish(self) -> Result<Vec<u8>> {
        match self {
            Self::Identity => Ok(Vec::new()),
            Self::Zstd(zstd) => zstd.finish().map_err(failed),
            Self::Gzip(gzip) => gzip.finish().map_err(failed),
        }
    }
}

fn failed(error: io::Error) -> Error {
    Error::internal("cannot compress a body").with_source(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accept_encoding_headers_choose_by_weight_and_then_zstd() {
        let check = |accept: &str, expected: Encoding| {
            assert_eq!(Encoding::accepted(Some(accept)), expected, "{accept}");
        };
        check("", Encoding::Identity);
        check("br, deflate", Encoding::Identity);
        check("gzip, deflate", Encoding::Gzip);
        check("gzip, deflate, br, zstd", Encoding::Zstd);
        check("zstd;q=0.5, gzip;q=0.8", Encoding::Gzip);
        check("gzip;q=0", Encoding::Identity);
        check("*", Encoding::Zstd);
        check("zstd;q=0, *", Encoding::Gzip);
        check("identity, gzip;q=0.5", Encoding::Identity);
        check("x-gzip", Encoding::Gzip);
        assert_eq!(Encoding::accepted(None), Encoding::Identity);
    }
}
