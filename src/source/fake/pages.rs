//! An answer cut into pages: by rows where the caller says so, always by bytes. It knows no job.

use weir_plan::Result;

use super::rows::{Rows, Timestamps};
use crate::batches::Batches;

/// Which part of an answer, and in what form.
#[derive(Clone, Copy, Debug)]
pub(super) struct PageRequest {
    /// First row.
    pub(super) start: u64,
    /// At most this many rows.
    pub(super) max_rows: Option<u64>,
    /// At most this many bytes of rows, but always one row.
    pub(super) max_bytes: usize,
    /// The page ends after this many rows as if it were the last.
    pub(super) short: Option<u64>,
    /// Form of timestamps.
    pub(super) timestamps: Timestamps,
}

/// A page.
#[derive(Debug)]
pub(super) struct Page {
    /// JSON rows, separated by commas.
    pub(super) rows: Vec<u8>,
    /// First row of the next page, where there is one.
    pub(super) next: Option<u64>,
}

/// Writes one page.
///
/// # Errors
/// `Internal` for an Arrow type that is none of `BigQuery`'s.
pub(super) fn page(answer: &Batches, request: PageRequest) -> Result<Page> {
    let total = answer.num_rows() as u64;
    let limit = request.short.into_iter().chain(request.max_rows).min().unwrap_or(u64::MAX);
    let end = request.start.saturating_add(limit).min(total);
    let mut rows = Vec::new();
    let mut next = request.start.min(end);
    let mut first_of_batch = 0;
    'pages: for batch in answer {
        let batch_end = first_of_batch + batch.num_rows() as u64;
        if batch_end > next && next < end {
            let writer = Rows::new(batch, request.timestamps)?;
            while next < end.min(batch_end) {
                let before = rows.len();
                if before > 0 {
                    rows.push(b',');
                }
                writer.write(usize::try_from(next - first_of_batch).unwrap_or(usize::MAX), &mut rows);
                if before > 0 && rows.len() > request.max_bytes {
                    rows.truncate(before);
                    break 'pages;
                }
                next += 1;
            }
        }
        first_of_batch = batch_end;
    }
    let asked_none = request.max_rows == Some(0);
    Ok(Page { rows, next: (next < total && request.short.is_none() && !asked_none).then_some(next) })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Int64Array, RecordBatch};

    use super::*;

    /// Rows 0..10 in batches of 4, 0, 3 and 3.
    fn answer() -> Batches {
        let batch = |range: std::ops::Range<i64>| {
            RecordBatch::try_from_iter([("n", Arc::new(Int64Array::from_iter_values(range)) as _)]).unwrap()
        };
        let batches = vec![batch(0..4), batch(4..4), batch(4..7), batch(7..10)];
        Batches::new(batches[0].schema(), batches).unwrap()
    }

    fn check(start: u64, max_rows: Option<u64>, max_bytes: usize, short: Option<u64>, expected: (&str, Option<u64>)) {
        let request = PageRequest { start, max_rows, max_bytes, short, timestamps: Timestamps::default() };
        let page = page(&answer(), request).unwrap();
        let text = String::from_utf8(page.rows).unwrap();
        let numbers: String = text.chars().filter(char::is_ascii_digit).collect();
        assert_eq!((numbers.as_str(), page.next), expected, "{request:?}");
    }

    #[test]
    fn pages_end_at_the_callers_limit_the_byte_cap_and_the_last_row() {
        let all = usize::MAX;
        check(0, None, all, None, ("0123456789", None));
        check(0, Some(3), all, None, ("012", Some(3)));
        check(3, Some(3), all, None, ("345", Some(6)));
        check(7, Some(3), all, None, ("789", None));
        check(10, None, all, None, ("", None));
        check(99, None, all, None, ("", None));
        check(0, Some(0), all, None, ("", None));
        // A row is 17 bytes: {"f":[{"v":"0"}]}, and a comma.
        check(0, None, 17, None, ("0", Some(1)));
        check(2, None, 35, None, ("23", Some(4)));
        check(0, None, 1, None, ("0", Some(1)));
    }

    #[test]
    fn a_short_page_claims_to_be_the_last() {
        check(0, Some(5), usize::MAX, Some(2), ("01", None));
    }
}
