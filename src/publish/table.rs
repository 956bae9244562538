//! The series of a dataset as one Parquet file.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use bytes::Bytes;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;
use weir_plan::{Error, Result};

use crate::monitoring::figures::{Point, Series};

/// A table with the columns `experiment`, `time` (start of the bucket), `branch`, `event` where
/// `has_events`, and `value`; a row group for each experiment, oldest rows first.
///
/// # Errors
/// None that can happen.
pub(super) fn parquet(series: &[Series], has_events: bool) -> Result<Bytes> {
    let failed = |error| Error::internal("a table cannot be written as Parquet").with_source(error);
    let empty = [];
    let schema = batch("", &empty, has_events)?.schema();
    let level = ZstdLevel::try_new(3).map_err(failed)?;
    let properties = WriterProperties::builder().set_compression(Compression::ZSTD(level)).build();
    let mut writer = ArrowWriter::try_new(Vec::new(), schema, Some(properties)).map_err(failed)?;
    for series in series.iter().filter(|series| !series.points.is_empty()) {
        writer.write(&batch(&series.experiment, &series.points, has_events)?).map_err(failed)?;
        writer.flush().map_err(failed)?;
    }
    writer.into_inner().map(Bytes::from).map_err(failed)
}

fn batch(experiment: &str, points: &[Point], has_events: bool) -> Result<RecordBatch> {
    let text = |of: fn(&Point) -> Option<&str>| Arc::new(points.iter().map(of).collect::<StringArray>()) as ArrayRef;
    let times = points.iter().map(|point| Some(point.time.micros())).collect::<TimestampMicrosecondArray>();
    let mut columns = vec![
        ("experiment", Arc::new(StringArray::from_iter_values(points.iter().map(|_| experiment))) as ArrayRef, false),
        ("time", Arc::new(times.with_timezone("UTC")) as ArrayRef, false),
        ("branch", text(|point| point.branch.as_deref()), true),
    ];
    if has_events {
        columns.push(("event", text(|point| point.split.as_deref()), true));
    }
    let values = Int64Array::from_iter_values(points.iter().map(|point| point.value));
    columns.push(("value", Arc::new(values) as ArrayRef, false));
    RecordBatch::try_from_iter_with_nullable(columns)
        .map_err(|error| Error::internal("a table has columns that do not fit").with_source(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
    use weir_plan::Timestamp;

    use crate::monitoring::figures::Granularity;

    fn series(experiment: &str, values: &[i64]) -> Series {
        let point = |value: &i64| Point {
            time: Timestamp::saturating(value * 300_000_000),
            branch: Some("control".into()),
            split: Some("updated".into()),
            value: *value,
        };
        Series {
            dataset: "d".into(),
            experiment: experiment.into(),
            granularity: Granularity::FiveMinutes,
            points: values.iter().map(point).collect(),
            as_of: Timestamp::MIN,
        }
    }

    fn read(bytes: Bytes) -> (Vec<String>, usize, Vec<RecordBatch>) {
        let reader = ParquetRecordBatchReaderBuilder::try_new(bytes).unwrap();
        let names = reader.schema().fields().iter().map(|field| field.name().clone()).collect();
        let groups = reader.metadata().num_row_groups();
        (names, groups, reader.build().unwrap().map(Result::unwrap).collect())
    }

    #[test]
    fn a_dataset_is_a_table_of_all_experiments() {
        let bytes = parquet(&[series("a", &[1, 2]), series("b", &[]), series("c", &[3])], true).unwrap();
        let (names, groups, batches) = read(bytes);
        assert_eq!(names, ["experiment", "time", "branch", "event", "value"]);
        assert_eq!((groups, batches.iter().map(RecordBatch::num_rows).sum::<usize>()), (2, 3));
    }

    #[test]
    fn no_rows_are_a_table_that_can_be_read() {
        let (names, groups, batches) = read(parquet(&[], false).unwrap());
        assert_eq!(names, ["experiment", "time", "branch", "value"]);
        assert_eq!((groups, batches.len()), (0, 0));
    }

    #[test]
    fn the_same_series_are_the_same_bytes() {
        let table = || parquet(&[series("a", &[1, 2])], true).unwrap();
        assert_eq!(table(), table());
    }
}
