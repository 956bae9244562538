//! Writes an answer's batches in a format, piece by piece.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::ipc::writer::StreamWriter;
use bytes::Bytes;
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::file::properties::WriterProperties;
use weir_plan::{Error, Result};

use super::encoding::{Compressor, Encoding};
use super::format::Format;
use crate::batches::{Batches, csv, json};

/// Rows of a piece of a streamed body: enough that the work for a piece (about a millisecond)
/// outweighs its frame, few enough that other requests get their turn.
const PIECE_ROWS: usize = 4096;

/// Writes one answer; what is written is taken with [`Writer::take`].
pub(super) enum Writer {
    Arrow(Box<StreamWriter<Vec<u8>>>),
    Json { out: Vec<u8>, first: bool },
    Ndjson { out: Vec<u8>, keys: Vec<Vec<u8>> },
    Csv(Vec<u8>),
    Parquet(Box<ArrowWriter<Vec<u8>>>),
}

impl Writer {
    /// Writes the beginning: the schema, where the format has one.
    ///
    /// # Errors
    /// `Internal` for a column of a type that no column has.
    pub(super) fn new(format: Format, schema: &SchemaRef) -> Result<Self> {
        match format {
            Format::Arrow => Ok(Self::Arrow(Box::new(StreamWriter::try_new(Vec::new(), schema).map_err(unwritable)?))),
            Format::Json => {
                let mut out = b"{\"columns\":".to_vec();
                json::write_schema(schema, &mut out)?;
                out.extend_from_slice(b",\"rows\":[");
                Ok(Self::Json { out, first: true })
            }
            Format::Ndjson => Ok(Self::Ndjson { out: Vec::new(), keys: json::keys(schema)? }),
            Format::Csv => {
                let mut out = Vec::new();
                csv::write_names(schema, &mut out);
                Ok(Self::Csv(out))
            }
            Format::Parquet => {
                let properties = WriterProperties::builder().set_compression(Compression::SNAPPY).build();
                let writer = ArrowWriter::try_new(Vec::new(), Arc::clone(schema), Some(properties));
                Ok(Self::Parquet(Box::new(writer.map_err(not_parquet)?)))
            }
        }
    }

    /// Writes the rows of a batch.
    ///
    /// # Errors
    /// `Internal` for a cell that cannot be written.
    pub(super) fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        match self {
            Self::Arrow(stream) => stream.write(batch).map_err(unwritable),
            Self::Json { out, first } => json::write_rows(batch, first, out),
            Self::Ndjson { out, keys } => json::write_lines(batch, keys, out),
            Self::Csv(out) => csv::write_rows(batch, out),
            Self::Parquet(file) => file.write(batch).map_err(not_parquet),
        }
    }

    /// Writes the end.
    ///
    /// # Errors
    /// `Internal` if Arrow refuses.
    pub(super) fn finish(&mut self) -> Result<()> {
        match self {
            Self::Arrow(stream) => stream.finish().map_err(unwritable),
            Self::Json { out, .. } => {
                out.extend_from_slice(b"]}\n");
                Ok(())
            }
            Self::Ndjson { .. } | Self::Csv(_) => Ok(()),
            Self::Parquet(file) => file.finish().map(drop).map_err(not_parquet),
        }
    }

    /// Takes what was written since the last time.
    pub(super) fn take(&mut self) -> Vec<u8> {
        match self {
            Self::Arrow(stream) => std::mem::take(stream.get_mut()),
            Self::Json { out, .. } | Self::Ndjson { out, .. } | Self::Csv(out) => std::mem::take(out),
            // The writer counts what it wrote: places in the footer stay true.
            Self::Parquet(file) => std::mem::take(file.inner_mut()),
        }
    }
}

fn unwritable(error: arrow::error::ArrowError) -> Error {
    Error::internal("cannot write an Arrow stream").with_source(error)
}

fn not_parquet(error: parquet::errors::ParquetError) -> Error {
    Error::internal("cannot write a Parquet file").with_source(error)
}

/// A whole answer.
///
/// # Errors
/// Those of [`Writer`].
pub(super) fn whole(format: Format, batches: &Batches) -> Result<Vec<u8>> {
    let mut writer = Writer::new(format, batches.schema())?;
    for batch in batches {
        writer.write(batch)?;
    }
    writer.finish()?;
    Ok(writer.take())
}

/// An answer in compressed pieces, each made when it is asked for; after an error nothing follows.
///
/// # Errors
/// Those of [`Writer::new`] and [`Compressor::new`]; later ones are items.
pub(super) fn pieces(format: Format, encoding: Encoding, batches: &Batches) -> Result<Pieces> {
    let writer = Writer::new(format, batches.schema())?;
    let slices = batches.iter().flat_map(slices).collect::<Vec<_>>().into_iter();
    Ok(Pieces { writer, compressor: Some(Compressor::new(encoding)?), slices })
}

/// The pieces of an answer.
pub(super) struct Pieces {
    writer: Writer,
    /// Gone after the last piece and after an error.
    compressor: Option<Compressor>,
    slices: std::vec::IntoIter<RecordBatch>,
}

impl Pieces {
    fn advance(&mut self, mut compressor: Compressor) -> Result<Bytes> {
        if let Some(slice) = self.slices.next() {
            self.writer.write(&slice)?;
            let piece = compressor.write(self.writer.take())?;
            self.compressor = Some(compressor);
            return Ok(piece.into());
        }
        self.writer.finish()?;
        let mut piece = compressor.write(self.writer.take())?;
        piece.append(&mut compressor.finish()?);
        Ok(piece.into())
    }
}

impl Iterator for Pieces {
    type Item = Result<Bytes>;

    fn next(&mut self) -> Option<Self::Item> {
        let compressor = self.compressor.take()?;
        Some(self.advance(compressor))
    }
}

fn slices(batch: &RecordBatch) -> impl Iterator<Item = RecordBatch> {
    let rows = batch.num_rows();
    (0..rows).step_by(PIECE_ROWS).map(move |start| batch.slice(start, PIECE_ROWS.min(rows - start)))
}
