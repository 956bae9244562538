//! Record batches of Parquet and Arrow IPC files, at least one each, if an empty one.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::error::ArrowError;
use arrow::ipc::reader::{FileReader, StreamReader};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use weir_plan::{Error, Result};

use super::unreadable;

/// Reads a Parquet file.
pub(super) fn parquet(path: &Path) -> Result<Vec<RecordBatch>> {
    let failed = |error: &dyn std::fmt::Display| {
        Error::invalid(format!("{} is not a readable Parquet file: {error}; write it anew", path.display()))
    };
    let builder = ParquetRecordBatchReaderBuilder::try_new(open(path)?).map_err(|error| failed(&error))?;
    let schema = Arc::clone(builder.schema());
    let reader = builder.build().map_err(|error| failed(&error))?;
    let batches: Vec<_> = reader.collect::<Result<_, ArrowError>>().map_err(|error| failed(&error))?;
    Ok(if batches.is_empty() { vec![RecordBatch::new_empty(schema)] } else { batches })
}

/// Reads an Arrow IPC file, or an Arrow IPC stream.
pub(super) fn arrow(path: &Path) -> Result<Vec<RecordBatch>> {
    let failed = |error: &dyn std::fmt::Display| {
        Error::invalid(format!("{} is not a readable Arrow IPC file: {error}; write it anew", path.display()))
    };
    let (schema, batches) = if let Ok(reader) = FileReader::try_new_buffered(open(path)?, None) {
        (reader.schema(), reader.collect::<Result<Vec<_>, _>>())
    } else {
        let reader = StreamReader::try_new_buffered(open(path)?, None).map_err(|error| failed(&error))?;
        (reader.schema(), reader.collect::<Result<Vec<_>, _>>())
    };
    let batches = batches.map_err(|error| failed(&error))?;
    Ok(if batches.is_empty() { vec![RecordBatch::new_empty(schema)] } else { batches })
}

fn open(path: &Path) -> Result<File> {
    File::open(path).map_err(|error| unreadable(path, &error))
}
