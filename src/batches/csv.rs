//! Rows as CSV (RFC 4180): a line of names, then a line for each row, ended by CR LF. NULL is nothing, an
//! empty text is `""`; STRUCT and ARRAY are written as JSON. It knows no protocol round the rows.

use arrow::array::RecordBatch;
use arrow::datatypes::Schema;
use weir_plan::{Error, Result};

use super::json::columns;

/// Appends the line of names.
pub(crate) fn write_names(schema: &Schema, out: &mut Vec<u8>) {
    for (at, field) in schema.fields().iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        text(field.name(), out);
    }
    out.extend_from_slice(b"\r\n");
}

/// Appends the rows of a batch.
///
/// # Errors
/// `Internal` for a cell that cannot be written.
pub(crate) fn write_rows(batch: &RecordBatch, out: &mut Vec<u8>) -> Result<()> {
    let columns = columns(batch)?;
    let mut cell = Vec::new();
    for row in 0..batch.num_rows() {
        for (at, column) in columns.iter().enumerate() {
            if at > 0 {
                out.push(b',');
            }
            cell.clear();
            column.write(row, &mut cell)?;
            match &*cell {
                b"null" => {}
                [b'"', ..] => text(&serde_json::from_slice::<String>(&cell).map_err(unreadable)?, out),
                [b'[' | b'{', ..] => text(std::str::from_utf8(&cell).map_err(unreadable)?, out),
                plain => out.extend_from_slice(plain),
            }
        }
        out.extend_from_slice(b"\r\n");
    }
    Ok(())
}

fn unreadable(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::internal("cannot read a cell that was just written").with_source(error)
}

/// Appends a text, in quotes if it would not be read back without them.
fn text(text: &str, out: &mut Vec<u8>) {
    if !text.is_empty() && !text.contains(['"', ',', '\r', '\n']) {
        out.extend_from_slice(text.as_bytes());
        return;
    }
    out.push(b'"');
    out.extend_from_slice(text.replace('"', "\"\"").as_bytes());
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{ArrayRef, Int64Array, StringArray};
    use std::sync::Arc;

    #[test]
    fn cells_are_quoted_where_they_would_not_be_read_back() {
        let texts = StringArray::from(vec![Some("plain"), Some("a,\"b\"\nc"), Some(""), None, Some("null")]);
        let numbers = Int64Array::from(vec![Some(1), Some(-2), None, Some(0), Some(i64::MAX)]);
        let columns: [(&str, ArrayRef); 2] = [("a b", Arc::new(texts)), ("n", Arc::new(numbers))];
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        let mut out = Vec::new();
        write_names(batch.schema_ref(), &mut out);
        write_rows(&batch, &mut out).unwrap();
        let expected = "a b,n\r\nplain,1\r\n\"a,\"\"b\"\"\nc\",-2\r\n\"\",\r\n,0\r\nnull,9223372036854775807\r\n";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }
}
