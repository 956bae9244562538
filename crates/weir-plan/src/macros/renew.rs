//! The times that doitintl's editor wrote as literals into the text it generated: its plugin generates
//! the text anew for each range, so they are renewed here.

use crate::extent::{Extent, Timestamp};

/// The literal in place of `literal`, where the text before it says that it is a bound of the range:
/// of `_TABLE_SUFFIX`, or of the partition column.
pub(super) fn renewed(before: &str, literal: &str, partition_column: &str, range: Extent) -> Option<String> {
    let before = before.trim_end();
    if is_like(literal, "'00000000'") {
        let suffix = |at: Timestamp| at.date().format("'%Y%m%d'").to_string();
        let first = suffix(range.start());
        if before.ends_with("_TABLE_SUFFIX BETWEEN") {
            return Some(first);
        }
        let is_last = before.strip_suffix("AND")?.trim_end().ends_with(&format!("_TABLE_SUFFIX BETWEEN {first}"));
        return is_last.then(|| suffix(range.end()));
    }
    let bound = |at: Timestamp| Some(at.datetime().format("'%Y-%m-%d %H:%M:%S'").to_string());
    match before.strip_suffix(">=").or_else(|| before.strip_suffix('<')) {
        Some(column) if is_like(literal, "'0000-00-00 00:00:00'") && column.trim_end().ends_with(partition_column) => {
            bound(if before.ends_with('<') { range.end() } else { range.start() })
        }
        _ => None,
    }
}

/// Whether a text is `pattern` with other digits.
fn is_like(text: &str, pattern: &str) -> bool {
    let same = |(c, wanted): (char, char)| c == wanted || wanted == '0' && c.is_ascii_digit();
    text.len() == pattern.len() && text.chars().zip(pattern.chars()).all(same)
}
