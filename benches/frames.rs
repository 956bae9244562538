//! What does it cost to make a frame of 10,000 rows, the first time and from the store?
//!
//! The baseline is arrow-ipc's own `FileWriter` on the same batch. Rows are time, value and label;
//! as a table the frame has the same columns, as a series a time and a field for each label.

mod support;

use std::hint::black_box;

use arrow::array::RecordBatch;
use arrow::ipc::writer::FileWriter;
use tokio::runtime::Runtime;
use weir::engine::{Answer, Door, EngineSettings};
use weir::plugin::{Format, frames};
use weir_plan::Query;

use support::fixed::{self, Fixed};
use support::ratio::Bench;
use support::{Outcome, say};

/// Rows of the frame.
const ROWS: usize = 10_000;

const FORMATS: [(&str, Format); 2] = [("table", Format::Table), ("series", Format::TimeSeries)];

fn main() -> Outcome {
    let mut bench = Bench::new();
    let engine = support::app().add_source("fixed", Fixed::new(fixed::rows(ROWS)?), EngineSettings::default());
    let answer = Runtime::new()?.block_on(engine.answer(&Query::new("SELECT 1"), Door::Grafana))?;
    let batch = answer.batches.concat()?;
    for (name, format) in FORMATS {
        let group = format!("frames_{name}");
        let make = |answer: &Answer| frames(&engine, answer, format, "A").expect("the rows can be shown");
        let (written, length) = (write(&batch).len(), make(&answer).concat().len());
        say(&format!("{group}: {ROWS} rows, {written} bytes of the writer, {length} of the frame"));
        let mut comparison = bench.criterion.benchmark_group(&group);
        comparison.bench_function("arrow-writer", |bencher| bencher.iter(|| write(black_box(&batch))));
        // Of another content each time, so that nothing of it is in the store.
        let mut content = answer.clone();
        comparison.bench_function("weir-first", |bencher| {
            bencher.iter(|| {
                content.content_id += 1;
                make(black_box(&content))
            });
        });
        comparison.bench_function("weir-hit", |bencher| bencher.iter(|| make(black_box(&answer))));
        comparison.finish();
        bench.compare(&group, "arrow-writer", "weir-first")?;
        bench.compare(&group, "arrow-writer", "weir-hit")?;
    }
    bench.criterion.final_summary();
    Ok(())
}

fn write(batch: &RecordBatch) -> Vec<u8> {
    let mut writer = FileWriter::try_new(Vec::new(), batch.schema_ref()).expect("the schema can be written");
    writer.write(batch).expect("memory takes the rows");
    writer.into_inner().expect("memory takes the footer")
}
