//! Arrow IPC *files* of one record batch, in two steps: the rows are encoded once and kept, and
//! each response puts a schema with its own metadata and a footer round the kept bytes.
//!
//! Source of the layout: <https://arrow.apache.org/docs/format/Columnar.html#ipc-file-format>.

use std::collections::HashMap;

use arrow::array::RecordBatch;
use arrow::datatypes::Schema;
use arrow::ipc::convert::{IpcSchemaEncoder, try_schema_from_ipc_buffer};
use arrow::ipc::writer::{DictionaryTracker, IpcDataGenerator, IpcWriteContext, IpcWriteOptions, write_message};
use arrow::ipc::{Block, FooterBuilder, MetadataVersion};
use bytes::Bytes;
use flatbuffers::FlatBufferBuilder;
use weir_plan::{Error, Result};

const MAGIC: &[u8] = b"ARROW1";

/// A continuation marker and a length of zero: no more messages.
const END_OF_STREAM: [u8; 8] = [0xFF, 0xFF, 0xFF, 0xFF, 0, 0, 0, 0];

/// Messages and buffers begin at multiples of this, the least that the format allows. A wide frame
/// has many short buffers, and Grafana copies them anyway.
const ALIGNMENT: usize = 8;

/// Encodes a batch as a schema message without metadata of its own, then a record-batch message.
///
/// # Errors
/// `Internal` for a type that the format has no place for.
pub(super) fn encode(batch: &RecordBatch) -> Result<Bytes> {
    let options = options()?;
    let mut context = IpcWriteContext::default();
    let mut dictionaries = DictionaryTracker::new(true);
    let (_, message) =
        IpcDataGenerator::default().encode(batch, &mut dictionaries, &options, &mut context).map_err(broken)?;
    let mut encoded = Vec::with_capacity(message.arrow_data.len() + 4096);
    write_schema(&mut encoded, batch.schema_ref(), &options)?;
    write_message(&mut encoded, message, &options).map_err(broken)?;
    Ok(encoded.into())
}

/// Makes a file of encoded content and the schema's metadata.
///
/// # Errors
/// `Internal` if `content` is not what [`encode`] made.
pub(super) fn assemble(content: &[u8], metadata: HashMap<String, String>) -> Result<Vec<u8>> {
    let options = options()?;
    let schema = try_schema_from_ipc_buffer(content).map_err(broken)?.with_metadata(metadata);
    let batch = content.get(message_length(content)?..).unwrap_or_default();
    let head_length = message_length(batch)?;
    let body_length = batch.len().saturating_sub(head_length);

    let mut file = Vec::with_capacity(content.len() + 4096);
    file.extend_from_slice(MAGIC);
    file.resize(file.len().next_multiple_of(ALIGNMENT), 0);
    write_schema(&mut file, &schema, &options)?;
    let block = Block::new(number(file.len())?, number(head_length)?, number(body_length)?);
    file.extend_from_slice(batch);
    file.extend_from_slice(&END_OF_STREAM);
    let footer = footer(&schema, block);
    file.extend_from_slice(&footer);
    file.extend_from_slice(&number::<i32>(footer.len())?.to_le_bytes());
    file.extend_from_slice(MAGIC);
    Ok(file)
}

fn options() -> Result<IpcWriteOptions> {
    IpcWriteOptions::try_new(ALIGNMENT, false, MetadataVersion::V5).map_err(broken)
}

fn write_schema(out: &mut Vec<u8>, schema: &Schema, options: &IpcWriteOptions) -> Result<()> {
    let mut dictionaries = DictionaryTracker::new(true);
    let message =
        IpcDataGenerator::default().schema_to_bytes_with_dictionary_tracker(schema, &mut dictionaries, options);
    write_message(out, message, options).map_err(broken)?;
    Ok(())
}

/// Length of the message that `bytes` begin with, its prefix included and its body left out.
fn message_length(bytes: &[u8]) -> Result<usize> {
    match bytes {
        [0xFF, 0xFF, 0xFF, 0xFF, a, b, c, d, ..] => {
            let length = u32::from_le_bytes([*a, *b, *c, *d]);
            Ok(8 + usize::try_from(length).map_err(broken)?)
        }
        _ => Err(Error::internal("an encoded frame does not begin with an Arrow message")),
    }
}

fn footer(schema: &Schema, block: Block) -> Vec<u8> {
    let mut builder = FlatBufferBuilder::new();
    let dictionaries = builder.create_vector::<Block>(&[]);
    let batches = builder.create_vector(&[block]);
    let schema = IpcSchemaEncoder::new().schema_to_fb_offset(&mut builder, schema);
    let mut footer = FooterBuilder::new(&mut builder);
    footer.add_version(MetadataVersion::V5);
    footer.add_schema(schema);
    footer.add_dictionaries(dictionaries);
    footer.add_recordBatches(batches);
    let root = footer.finish();
    builder.finish(root, None);
    builder.finished_data().to_vec()
}

fn number<T: TryFrom<usize, Error: std::error::Error + Send + Sync + 'static>>(length: usize) -> Result<T> {
    T::try_from(length).map_err(broken)
}

fn broken(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::internal("cannot encode a frame").with_source(error)
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;
    use std::sync::Arc;

    use super::*;
    use arrow::array::{ArrayRef, BooleanArray, Float64Array, Int64Array, RecordBatchOptions, StringArray};
    use arrow::datatypes::{DataType, Field};
    use arrow::ipc::reader::FileReader;
    use arrow::ipc::writer::FileWriter;

    fn batch(rows: i64) -> RecordBatch {
        let labels = HashMap::from([("labels".to_owned(), r#"{"branch":"a"}"#.to_owned())]);
        let schema = Schema::new(vec![
            Field::new("n", DataType::Int64, true).with_metadata(labels),
            Field::new("f", DataType::Float64, true),
            Field::new("s", DataType::Utf8, true),
            Field::new("b", DataType::Boolean, true),
        ]);
        let columns: Vec<ArrayRef> = vec![
            Arc::new((0..rows).map(|n| (n % 3 != 0).then_some(n)).collect::<Int64Array>()),
            Arc::new((0..rows).map(|n| Some(if n == 1 { f64::NAN } else { 0.5 })).collect::<Float64Array>()),
            Arc::new((0..rows).map(|n| (n % 2 == 0).then(|| "é".repeat(3))).collect::<StringArray>()),
            Arc::new((0..rows).map(|n| (n > 4).then_some(n % 2 == 0)).collect::<BooleanArray>()),
        ];
        RecordBatch::try_new(Arc::new(schema), columns).unwrap()
    }

    fn metadata() -> HashMap<String, String> {
        HashMap::from([("refId".to_owned(), "A".to_owned()), ("meta".to_owned(), "{}".to_owned())])
    }

    fn read(file: Vec<u8>) -> (Schema, Vec<RecordBatch>) {
        let reader = FileReader::try_new(Cursor::new(file), None).unwrap();
        (reader.schema().as_ref().clone(), reader.map(Result::unwrap).collect())
    }

    #[test]
    fn a_file_reads_as_one_that_arrows_own_writer_made() {
        for rows in [0, 1, 7, 64, 1000] {
            let batch = batch(rows);
            let schema = batch.schema().as_ref().clone().with_metadata(metadata());
            let mut writer = FileWriter::try_new(Vec::new(), &schema).unwrap();
            writer.write(&batch.clone().with_schema(Arc::new(schema)).unwrap()).unwrap();
            let expected = read(writer.into_inner().unwrap());
            let file = assemble(&encode(&batch).unwrap(), metadata()).unwrap();
            let found = read(file);
            assert_eq!(found.0, expected.0);
            assert_eq!((found.1.len(), expected.1.len()), (1, 1));
            assert_eq!(found.1[0].columns(), expected.1[0].columns(), "{rows} rows");
        }
    }

    #[test]
    fn a_slice_is_encoded_without_its_parent() {
        let whole = encode(&batch(10_000)).unwrap().len();
        let slice = encode(&batch(10_000).slice(17, 100)).unwrap();
        assert!(slice.len() * 20 < whole, "{} of {whole}", slice.len());
        let (_, batches) = read(assemble(&slice, metadata()).unwrap());
        assert_eq!(batches[0].columns(), batch(10_000).slice(17, 100).columns());
    }

    #[test]
    fn a_frame_without_fields_can_be_written() {
        let options = RecordBatchOptions::new().with_row_count(Some(0));
        let empty = RecordBatch::try_new_with_options(Arc::new(Schema::empty()), vec![], &options).unwrap();
        let (schema, _) = read(assemble(&encode(&empty).unwrap(), metadata()).unwrap());
        assert!(schema.fields().is_empty());
        assert_eq!(schema.metadata()["refId"], "A");
    }

    #[test]
    fn blocks_begin_where_readers_in_go_expect_them() {
        for rows in 0..20 {
            let content = encode(&batch(rows)).unwrap();
            let head = message_length(&content).unwrap();
            assert_eq!(head % 8, 0);
            assert_eq!(message_length(&content[head..]).unwrap() % 8, 0);
            assert_eq!(content.len() % 8, 0);
        }
    }

    #[test]
    fn bytes_that_are_no_content_are_refused() {
        assert!(assemble(b"", metadata()).is_err());
        assert!(assemble(b"ARROW1", metadata()).is_err());
    }
}
