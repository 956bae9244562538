//! From an answer to the bytes of its frame. The rows of one content are encoded once for each
//! shape and kept beside it; refId and meta, which differ by response, are put round them.

use bytes::Bytes;
use weir_plan::{Error, Mode, Result};

use super::model::{Format, Shape};
use super::{fields, ipc, meta, wide};
use crate::batches::Batches;
use crate::engine::{Answer, Engine};

/// The frame of an answer as an Arrow IPC file.
///
/// # Errors
/// `InvalidQuery` for rows that the format cannot show; it names the column, or time and labels.
pub(super) fn frame(engine: &Engine, answer: &Answer, shape: Shape, ref_id: &str) -> Result<Vec<u8>> {
    let content = match answer.provenance.mode {
        // Nobody asks for this content again.
        Mode::Off => encode(&answer.batches, shape)?,
        _ => engine.encoded(answer, &encoding(shape), |batches| encode(batches, shape))?,
    };
    ipc::assemble(&content, meta::metadata(answer, shape.format, ref_id)?)
}

/// The name of a shape's bytes in the store.
fn encoding(shape: Shape) -> String {
    match shape.format {
        Format::TimeSeries => format!("frame/wide/{:?}/{}", shape.fill, shape.metric_names_series),
        Format::Table | Format::Logs | Format::Traces => "frame/table".to_owned(),
    }
}

fn encode(batches: &Batches, shape: Shape) -> Result<Bytes> {
    let batch = match shape.format {
        Format::TimeSeries => {
            let axis = fields::time_axis(batches.schema()).ok_or_else(|| no_axis(batches))?;
            wide::widen(&fields::convert(batches, Some(axis))?, axis, shape)?
        }
        Format::Table | Format::Logs | Format::Traces => fields::convert(batches, None)?,
    };
    ipc::encode(&batch)
}

fn no_axis(batches: &Batches) -> Error {
    let names: Vec<_> = batches.schema().fields().iter().map(|field| field.name().as_str()).collect();
    Error::invalid(format!(
        "a time series needs a TIMESTAMP, DATETIME or DATE column, and there are only: {}; choose the format table",
        names.join(", ")
    ))
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;
    use std::sync::Arc;

    use super::*;
    use crate::batches::samples::{batches, every_type, utc};
    use crate::plugin::model::Fill;
    use crate::plugin::scripted::{Known, answer, engine};
    use arrow::array::{ArrayRef, Int64Array, RecordBatch};
    use arrow::ipc::reader::FileReader;

    const TABLE: Shape = Shape { format: Format::Table, fill: Fill::Null, metric_names_series: false };
    const SERIES: Shape = Shape { format: Format::TimeSeries, ..TABLE };

    fn read(file: Vec<u8>) -> (std::collections::HashMap<String, String>, RecordBatch) {
        let mut reader = FileReader::try_new(Cursor::new(file), None).unwrap();
        (reader.schema().metadata().clone(), reader.next().unwrap().unwrap())
    }

    #[test]
    fn one_content_serves_any_ref_id() {
        let engine = engine(Known::default());
        let answer = answer(every_type());
        let (metadata, first) = read(frame(&engine, &answer, TABLE, "A").unwrap());
        assert_eq!(metadata["refId"], "A");
        let mut other = answer.clone();
        // Were the rows encoded again, they would be these.
        other.batches = Batches::empty(Arc::clone(answer.batches.schema()));
        let (metadata, second) = read(frame(&engine, &other, TABLE, "B").unwrap());
        assert_eq!(metadata["refId"], "B");
        assert_eq!(second.num_rows(), first.num_rows());
    }

    #[test]
    fn shapes_have_bytes_of_their_own() {
        let fills = [Fill::Null, Fill::Previous, Fill::Value(0.0), Fill::Value(1.0)];
        let mut names: Vec<_> = fills.iter().map(|fill| encoding(Shape { fill: *fill, ..SERIES })).collect();
        names.push(encoding(Shape { metric_names_series: true, ..SERIES }));
        names.push(encoding(TABLE));
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
    }

    #[test]
    fn no_rows_are_typed_fields_in_a_table_and_none_in_a_series() {
        let engine = engine(Known::default());
        let mut empty =
            answer(batches(vec![("t", utc(&[])), ("n", Arc::new(Int64Array::from(Vec::<i64>::new())) as ArrayRef)]));
        let (_, table) = read(frame(&engine, &empty, TABLE, "A").unwrap());
        assert_eq!((table.num_columns(), table.num_rows()), (2, 0));
        empty.content_id += 1;
        let (_, series) = read(frame(&engine, &empty, SERIES, "A").unwrap());
        assert_eq!(series.num_columns(), 0);
    }

    #[test]
    fn a_series_without_a_time_is_an_error_that_names_the_columns() {
        let numbers = batches(vec![("n", Arc::new(Int64Array::from(vec![1])) as ArrayRef)]);
        let error = frame(&engine(Known::default()), &answer(numbers), SERIES, "A").unwrap_err();
        assert!(error.message().contains("there are only: n;"), "{error}");
    }

    #[test]
    fn an_answer_past_the_cache_is_encoded_each_time() {
        let engine = engine(Known::default());
        let mut answer = answer(every_type());
        answer.provenance.mode = Mode::Off;
        assert_eq!(read(frame(&engine, &answer, TABLE, "A").unwrap()).1.num_rows(), 2);
        answer.batches = Batches::empty(Arc::clone(answer.batches.schema()));
        assert_eq!(read(frame(&engine, &answer, TABLE, "A").unwrap()).1.num_rows(), 0);
    }
}
