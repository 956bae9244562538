//! One stored answer as the bytes of a file, and back. What is not exactly what was written is refused;
//! where files are and how long they last is not known here.
//!
//! Layout: [`MAGIC`], version and length of the head (u32, little-endian), the head in JSON, an Arrow IPC
//! stream, and the SHA-256 of all before it.

use std::borrow::Cow;

use arrow::error::ArrowError;
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use weir_plan::{Error, Key, Result, Timestamp};

use super::Stored;
use crate::batches::Batches;

const MAGIC: &[u8; 8] = b"weirpart";

/// Version of the layout and of what the fields mean; files of others are dropped.
const VERSION: u32 = 1;

const SUM_BYTES: usize = 32;

/// Why a file is not served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// It is not one of ours, or another answer's.
    Foreign,
    /// It was written by another version.
    Version,
    /// It is not what was written.
    Damaged,
}

impl Refusal {
    /// The reason in metrics.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Foreign => "disk_foreign",
            Self::Version => "disk_version",
            Self::Damaged => "disk_damaged",
        }
    }
}

/// Everything but the rows; times in µs.
#[derive(Serialize, Deserialize)]
struct Head<'a> {
    key: Cow<'a, str>,
    until: i64,
    fetched_at: i64,
    job_id: Cow<'a, str>,
    bytes_processed: u64,
    bytes_billed: u64,
    joined: bool,
    slot_ms: u64,
}

/// The file of an answer that is kept until `until`.
///
/// # Errors
/// `Internal` if the rows cannot be written.
pub(super) fn encode(key: &Key, stored: &Stored, until: Timestamp) -> Result<Vec<u8>> {
    let head = serde_json::to_vec(&Head {
        key: key.preimage(),
        until: until.micros(),
        fetched_at: stored.fetched_at.micros(),
        job_id: (&*stored.job_id).into(),
        bytes_processed: stored.bytes_processed,
        bytes_billed: stored.bytes_billed,
        joined: stored.joined,
        slot_ms: stored.slot_ms,
    });
    let head = head.map_err(|error| Error::internal("the head of a file cannot be written").with_source(error))?;
    let length = u32::try_from(head.len()).map_err(|_| Error::internal("a key of 4 GiB"))?;
    let mut bytes = [&MAGIC[..], &VERSION.to_le_bytes(), &length.to_le_bytes(), &head].concat();
    write_rows(&mut bytes, &stored.batches)
        .map_err(|error| Error::internal("rows cannot be written to a file").with_source(error))?;
    let sum = Sha256::digest(&bytes);
    bytes.extend_from_slice(&sum);
    Ok(bytes)
}

fn write_rows(bytes: &mut Vec<u8>, batches: &Batches) -> Result<(), ArrowError> {
    let mut writer = StreamWriter::try_new(bytes, batches.schema())?;
    for batch in batches {
        writer.write(batch)?;
    }
    writer.finish()
}

/// The answer under `key` in the bytes of a file, as the content `content_id`, and until when it is kept.
pub(super) fn decode(bytes: &[u8], key: &Key, content_id: u64) -> Result<(Stored, Timestamp), Refusal> {
    let rest = bytes.strip_prefix(MAGIC).ok_or(Refusal::Foreign)?;
    let (version, rest) = number(rest)?;
    if version != VERSION {
        return Err(Refusal::Version);
    }
    let (content, sum) = bytes.split_last_chunk::<SUM_BYTES>().ok_or(Refusal::Damaged)?;
    if Sha256::digest(content)[..] != sum[..] {
        return Err(Refusal::Damaged);
    }
    let (length, rest) = number(rest)?;
    let length = usize::try_from(length).map_err(|_| Refusal::Damaged)?;
    let (head, rows) = rest.split_at_checked(length).ok_or(Refusal::Damaged)?;
    let head: Head<'_> = serde_json::from_slice(head).map_err(|_| Refusal::Damaged)?;
    if head.key != key.preimage() {
        return Err(Refusal::Foreign);
    }
    let time = |micros| Timestamp::from_micros(micros).map_err(|_| Refusal::Damaged);
    let stored = Stored {
        content_id,
        batches: read_rows(rows).ok_or(Refusal::Damaged)?,
        fetched_at: time(head.fetched_at)?,
        job_id: head.job_id.into_owned(),
        bytes_processed: head.bytes_processed,
        bytes_billed: head.bytes_billed,
        joined: head.joined,
        slot_ms: head.slot_ms,
    };
    Ok((stored, time(head.until)?))
}

fn number(bytes: &[u8]) -> Result<(u32, &[u8]), Refusal> {
    let (number, rest) = bytes.split_first_chunk().ok_or(Refusal::Damaged)?;
    Ok((u32::from_le_bytes(*number), rest))
}

/// The rows, in buffers of their own: those that the reader gives are slices of whole messages. What
/// follows the stream's end is not read.
fn read_rows(bytes: &[u8]) -> Option<Batches> {
    let reader = StreamReader::try_new(bytes, None).ok()?;
    let schema = reader.schema();
    let batches = reader.collect::<Result<_, _>>().ok()?;
    Batches::new(schema, batches).ok()?.detach().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batches::samples::every_type;
    use std::sync::Arc;

    fn until() -> Timestamp {
        Timestamp::saturating(1_700_000_000_000_000)
    }

    fn key() -> Key {
        Key::new("meaning".into())
    }

    fn stored(batches: Batches) -> Stored {
        Stored {
            content_id: 1,
            batches,
            fetched_at: Timestamp::saturating(1_600_000_000_000_001),
            job_id: "job \"é\"".into(),
            bytes_processed: 2,
            bytes_billed: 3,
            joined: true,
            slot_ms: 4,
        }
    }

    fn sample() -> Vec<u8> {
        encode(&key(), &stored(every_type()), until()).unwrap()
    }

    /// A file whose sum is right.
    fn sealed(mut bytes: Vec<u8>) -> Vec<u8> {
        bytes.truncate(bytes.len() - SUM_BYTES);
        let sum = Sha256::digest(&bytes);
        bytes.extend_from_slice(&sum);
        bytes
    }

    #[test]
    fn a_file_gives_back_what_was_written() {
        let (read, read_until) = decode(&sample(), &key(), 9).unwrap();
        let Stored { content_id, batches, fetched_at, job_id, bytes_processed, bytes_billed, joined, slot_ms } = read;
        let expected = stored(every_type());
        assert_eq!(batches.schema(), expected.batches.schema());
        // Not-a-number is not equal to itself.
        assert_eq!(format!("{:?}", batches.concat().unwrap()), format!("{:?}", expected.batches.concat().unwrap()));
        assert_eq!((content_id, fetched_at, job_id), (9, expected.fetched_at, expected.job_id));
        assert_eq!((bytes_processed, bytes_billed, joined, slot_ms, read_until), (2, 3, true, 4, until()));
        assert_eq!(batches.memory_size(), every_type().detach().unwrap().memory_size(), "nothing else is kept alive");
    }

    #[test]
    fn an_answer_without_rows_is_one() {
        let nothing = Batches::empty(Arc::clone(every_type().schema()));
        let bytes = encode(&key(), &stored(nothing), until()).unwrap();
        assert_eq!(decode(&bytes, &key(), 9).unwrap().0.batches.num_rows(), 0);
    }

    #[test]
    fn no_bit_may_differ() {
        let mut bytes = sample();
        for place in 0..bytes.len() {
            let byte = bytes[place];
            bytes[place] ^= 1 << (place % 8);
            assert!(decode(&bytes, &key(), 9).is_err(), "bit {} of byte {place}", place % 8);
            bytes[place] = !byte;
            assert!(decode(&bytes, &key(), 9).is_err(), "byte {place}");
            bytes[place] = byte;
        }
    }

    #[test]
    fn no_byte_may_be_missing_or_added() {
        let bytes = sample();
        for length in 0..bytes.len() {
            assert!(decode(&bytes[..length], &key(), 9).is_err(), "{length} bytes");
        }
        assert_eq!(decode(&[&bytes[..], b"x"].concat(), &key(), 9).unwrap_err(), Refusal::Damaged);
    }

    #[test]
    fn files_of_others_are_refused_though_their_sums_are_right() {
        let check = |bytes: Vec<u8>, key: &Key, expected: Refusal| {
            assert_eq!(decode(&sealed(bytes), key, 9).unwrap_err(), expected);
        };
        let mut newer = sample();
        newer[MAGIC.len()] += 1;
        check(newer, &key(), Refusal::Version);
        let mut foreign = sample();
        foreign[0] = b'W';
        check(foreign, &key(), Refusal::Foreign);
        check(sample(), &Key::new("another meaning".into()), Refusal::Foreign);
        let mut headless = sample();
        headless[MAGIC.len() + 4] += 1;
        check(headless, &key(), Refusal::Damaged);
    }
}
