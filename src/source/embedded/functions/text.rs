//! Functions of STRING that the engine lacks or counts otherwise.

use std::sync::Arc;

use datafusion::arrow::array::ArrayRef;
use datafusion::arrow::datatypes::DataType;
use datafusion::common::Result;
use datafusion::logical_expr::ScalarUDF;

use super::scalar::{Args, scalar};

pub(super) fn all() -> Vec<Arc<ScalarUDF>> {
    vec![
        scalar("length", |_| to_int(), |args| count(args, |text| text.chars().count())),
        scalar("byte_length", |_| to_int(), |args| count(args, str::len)),
        scalar("substr", substring_types, substring),
    ]
}

#[expect(clippy::unnecessary_wraps, reason = "the shape of a rule")]
fn to_int() -> Option<(Vec<DataType>, DataType)> {
    Some((vec![DataType::Utf8], DataType::Int64))
}

fn substring_types(types: &[DataType]) -> Option<(Vec<DataType>, DataType)> {
    let mut takes = vec![DataType::Utf8, DataType::Int64, DataType::Int64];
    takes.truncate(types.len());
    (types.len() >= 2).then_some((takes, DataType::Utf8))
}

fn count(args: &Args, length: fn(&str) -> usize) -> Result<ArrayRef> {
    let text = args.texts(0);
    args.to_ints(|row| Ok(text(row).and_then(|text| length(text).try_into().ok())))
}

/// `SUBSTR(text, position[, length])`: positions count from 1, negative ones from the end.
fn substring(args: &Args) -> Result<ArrayRef> {
    let (text, position) = (args.texts(0), args.ints(1));
    let length = (args.len() > 2).then(|| args.ints(2));
    args.to_texts(|row| {
        let Some((text, position)) = text(row).zip(position(row)) else { return Ok(None) };
        let length = match &length {
            Some(length) => match length(row) {
                Some(length) => usize::try_from(length).unwrap_or(0),
                None => return Ok(None),
            },
            None => usize::MAX,
        };
        let size = i64::try_from(text.chars().count()).unwrap_or(i64::MAX);
        let start = if position < 0 { (size + position).max(0) } else { position.max(1) - 1 };
        let start = usize::try_from(start).unwrap_or(usize::MAX);
        Ok(Some(text.chars().skip(start).take(length).collect()))
    })
}
