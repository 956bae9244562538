//! From an answer to the bytes of its frames. The rows of one content are encoded once for each
//! shape and kept beside it; refId and meta, which differ by response, are put round them.

use arrow::array::RecordBatch;
use bytes::{BufMut, Bytes};
use weir_plan::{Error, Mode, Result};

use super::model::{Format, Shape};
use super::{fields, ipc, meta, shift, wide};
use crate::batches::Batches;
use crate::engine::{Answer, Engine, aside};

/// Bytes before each frame in the store: its length.
const PREFIX: usize = size_of::<u64>();

/// The frames of an answer as Arrow IPC files; there is at least one.
///
/// # Errors
/// `InvalidQuery` for rows that the format cannot show; it names the column, or time and labels.
pub(super) fn frames(engine: &Engine, answer: &Answer, shape: &Shape, ref_id: &str) -> Result<Vec<Vec<u8>>> {
    aside(answer.batches.memory_size(), || {
        let content = match answer.provenance.mode {
            // Nobody asks for this content again.
            Mode::Off => encode(&answer.batches, shape)?,
            _ => engine.encoded(answer, &encoding(shape), |batches| encode(batches, shape))?,
        };
        let mut metadata = meta::metadata(answer, shape.format, ref_id)?;
        let mut frames = Vec::new();
        for frame in split(&content)? {
            frames.push(ipc::assemble(frame, metadata)?);
            metadata = meta::short(shape.format, ref_id)?;
        }
        Ok(frames)
    })
}

/// The name of a shape's bytes in the store.
fn encoding(shape: &Shape) -> String {
    let Shape { format, fill, metric_names_series, comma_lists, annotation, shift } = shape;
    match format {
        Format::TimeSeries => format!("frame/wide/{fill:?}/{metric_names_series}/{shift:?}/{comma_lists}"),
        Format::Multi => format!("frame/multi/{metric_names_series}/{shift:?}/{comma_lists}"),
        Format::Table => format!("frame/table/{comma_lists}/{annotation}"),
        Format::Logs => format!("frame/logs/{comma_lists}"),
        Format::Traces => "frame/traces".to_owned(),
    }
}

/// The frames of rows, each with its length before it.
fn encode(batches: &Batches, shape: &Shape) -> Result<Bytes> {
    let mut content = Vec::new();
    for batch in shaped(batches, shape)? {
        let encoded = ipc::encode(&batch)?;
        content.put_u64_le(encoded.len() as u64);
        content.extend_from_slice(&encoded);
    }
    Ok(content.into())
}

fn shaped(batches: &Batches, shape: &Shape) -> Result<Vec<RecordBatch>> {
    let axis = fields::time_axis(batches.schema());
    let series = || {
        let axis = axis.ok_or_else(|| no_axis(batches))?;
        Ok::<_, Error>((fields::convert(batches, Some(axis), shape)?, axis))
    };
    let shaped = match shape.format {
        Format::TimeSeries => {
            let (long, axis) = series()?;
            vec![wide::widen(&long, axis, shape)?]
        }
        Format::Multi => {
            let (long, axis) = series()?;
            wide::split(&long, axis, shape)?
        }
        Format::Table => vec![fields::convert(batches, axis.filter(|_| shape.annotation), shape)?],
        Format::Logs | Format::Traces => vec![fields::convert(batches, axis, shape)?],
    };
    match &shape.shift {
        Some(by) => shaped.iter().map(|batch| shift::shifted(batch, by)).collect(),
        None => Ok(shaped),
    }
}

/// The frames of a content that [`encode`] made.
fn split(content: &[u8]) -> Result<Vec<&[u8]>> {
    let mut frames = Vec::new();
    let mut rest = content;
    while let Some((length, after)) = rest.split_first_chunk::<PREFIX>() {
        let length = usize::try_from(u64::from_le_bytes(*length)).ok();
        let (frame, after) = length
            .and_then(|length| after.split_at_checked(length))
            .ok_or_else(|| Error::internal("a kept frame is cut off"))?;
        frames.push(frame);
        rest = after;
    }
    Ok(frames)
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
    use std::collections::HashMap;
    use std::io::Cursor;
    use std::sync::Arc;

    use super::*;
    use crate::batches::samples::{batches, every_type, utc};
    use crate::plugin::model::{Fill, Shift};
    use crate::plugin::scripted::{Known, answer, engine};
    use arrow::array::{ArrayRef, Int64Array, StringArray};
    use arrow::ipc::reader::FileReader;

    fn frame(engine: &Engine, answer: &Answer, format: Format, ref_id: &str) -> Result<Vec<u8>> {
        let [frame] = frames(engine, answer, &Shape::of(format), ref_id)?.try_into().unwrap();
        Ok(frame)
    }

    fn read(file: Vec<u8>) -> (HashMap<String, String>, RecordBatch) {
        let mut reader = FileReader::try_new(Cursor::new(file), None).unwrap();
        (reader.schema().metadata().clone(), reader.next().unwrap().unwrap())
    }

    #[test]
    fn one_content_serves_any_ref_id() {
        let engine = engine(Known::default());
        let answer = answer(every_type());
        let (metadata, first) = read(frame(&engine, &answer, Format::Table, "A").unwrap());
        assert_eq!(metadata["refId"], "A");
        let mut other = answer.clone();
        // Were the rows encoded again, they would be these.
        other.batches = Batches::empty(Arc::clone(answer.batches.schema()));
        let (metadata, second) = read(frame(&engine, &other, Format::Table, "B").unwrap());
        assert_eq!(metadata["refId"], "B");
        assert_eq!(second.num_rows(), first.num_rows());
    }

    #[test]
    fn shapes_have_bytes_of_their_own() {
        let series = Shape::of(Format::TimeSeries);
        let fills = [Fill::Null, Fill::Previous, Fill::Value(0.0), Fill::Value(1.0)];
        let mut shapes: Vec<_> = fills.iter().map(|fill| Shape { fill: *fill, ..series.clone() }).collect();
        shapes.push(Shape { metric_names_series: true, ..series.clone() });
        shapes.push(Shape { shift: Some(Shift { micros: 1, interval: "1d".into() }), ..series.clone() });
        shapes.push(Shape { shift: Some(Shift { micros: 2, interval: "1d".into() }), ..series.clone() });
        shapes.push(Shape { comma_lists: true, ..Shape::of(Format::Table) });
        shapes.push(Shape { annotation: true, ..Shape::of(Format::Table) });
        shapes.extend([Format::Multi, Format::Table, Format::Logs, Format::Traces].map(Shape::of));
        let mut names: Vec<_> = shapes.iter().map(encoding).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), shapes.len());
    }

    #[test]
    fn multi_is_a_frame_for_each_series_and_only_the_first_has_the_whole_meta() {
        let engine = engine(Known::default());
        let answer = answer(batches(vec![
            ("t", utc(&[2, 1, 1])),
            ("branch", Arc::new(StringArray::from(vec!["a", "b", "a"])) as ArrayRef),
            ("n", Arc::new(Int64Array::from(vec![2, 3, 1])) as ArrayRef),
        ]));
        let frames = frames(&engine, &answer, &Shape::of(Format::Multi), "A").unwrap();
        let read: Vec<_> = frames.into_iter().map(read).collect();
        let rows: Vec<_> = read.iter().map(|(_, batch)| batch.num_rows()).collect();
        assert_eq!(rows, [2, 1]);
        for (at, (metadata, batch)) in read.iter().enumerate() {
            assert_eq!(
                batch.schema_ref().field(1).metadata()["labels"],
                ["{\"branch\":\"a\"}", "{\"branch\":\"b\"}"][at]
            );
            let meta: serde_json::Value = serde_json::from_str(&metadata["meta"]).unwrap();
            assert_eq!((metadata["refId"].as_str(), &meta["type"]), ("A", &"timeseries-multi".into()));
            assert_eq!(meta.get("stats").is_some(), at == 0);
        }
    }

    #[test]
    fn a_kept_content_that_is_cut_off_is_an_error() {
        let content = encode(&every_type(), &Shape::of(Format::Table)).unwrap();
        assert_eq!(split(&content).unwrap().len(), 1);
        assert!(split(&content[..content.len() - 1]).is_err());
    }

    #[test]
    fn no_rows_are_typed_fields_in_a_table_and_none_in_a_series() {
        let engine = engine(Known::default());
        let mut empty =
            answer(batches(vec![("t", utc(&[])), ("n", Arc::new(Int64Array::from(Vec::<i64>::new())) as ArrayRef)]));
        let (_, table) = read(frame(&engine, &empty, Format::Table, "A").unwrap());
        assert_eq!((table.num_columns(), table.num_rows()), (2, 0));
        empty.content_id += 1;
        let (_, series) = read(frame(&engine, &empty, Format::TimeSeries, "A").unwrap());
        assert_eq!(series.num_columns(), 0);
    }

    #[test]
    fn a_series_without_a_time_is_an_error_that_names_the_columns() {
        let numbers = batches(vec![("n", Arc::new(Int64Array::from(vec![1])) as ArrayRef)]);
        let error = frame(&engine(Known::default()), &answer(numbers), Format::TimeSeries, "A").unwrap_err();
        assert!(error.message().contains("there are only: n;"), "{error}");
    }

    #[test]
    fn an_answer_past_the_cache_is_encoded_each_time() {
        let engine = engine(Known::default());
        let mut answer = answer(every_type());
        answer.provenance.mode = Mode::Off;
        assert_eq!(read(frame(&engine, &answer, Format::Table, "A").unwrap()).1.num_rows(), 2);
        answer.batches = Batches::empty(Arc::clone(answer.batches.schema()));
        assert_eq!(read(frame(&engine, &answer, Format::Table, "A").unwrap()).1.num_rows(), 0);
    }
}
