//! How fast are generated data made and put into tables?
//!
//! A day of all facts with the demo's number of recipes, against building the same batches from
//! columns that are at hand; and a whole installation of the small set, against filling the same
//! tables with the same rows.

mod support;

use std::sync::Arc;
use std::time::Duration;

use arrow::array::{
    Array as _, ArrayRef, AsArray as _, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, Int64Type, SchemaRef, TimestampMicrosecondType};
use criterion::Throughput;
use tokio::runtime::Runtime;
use weir::clock::ManualClock;
use weir::monitoring::synthetic::{Fact, PROJECT, Synthetic, SyntheticConfig};
use weir::source::embedded::{Embedded, TableSpec};
use weir::source::{Job, Source as _};
use weir_plan::Timestamp;

use support::ratio::Bench;
use support::{Outcome, say};

fn main() -> Outcome {
    let mut bench = Bench::new();
    day(&mut bench)?;
    install(&mut bench)?;
    bench.criterion.final_summary();
    Ok(())
}

/// 2024-05-15T12:02:00Z.
fn now() -> Timestamp {
    Timestamp::saturating(1_715_774_520_000_000)
}

/// A day's rows of all facts.
fn day(bench: &mut Bench) -> Outcome {
    let synthetic = Synthetic::new(SyntheticConfig::demo(now()));
    let yesterday = now().date().pred_opt().ok_or("there is no yesterday")?;
    let drawn: Vec<_> = Fact::ALL.into_iter().map(|fact| synthetic.raw(fact, yesterday)).collect::<Result<_, _>>()?;
    let prepared: Vec<_> = drawn.iter().map(Prepared::of).collect::<Outcome<_>>()?;
    if prepared.iter().map(Prepared::build).ne(drawn.iter().cloned()) {
        return Err("the baseline builds other rows".into());
    }
    let rows: usize = drawn.iter().map(RecordBatch::num_rows).sum();
    let mut comparison = bench.criterion.benchmark_group("synthetic_day");
    comparison.sample_size(20).throughput(Throughput::Elements(rows.try_into()?));
    comparison.bench_function("columns-at-hand", |bencher| {
        bencher.iter_with_large_drop(|| prepared.iter().map(Prepared::build).collect::<Vec<_>>());
    });
    // The generator draws all facts of a day together, whichever is asked for.
    let draw = || synthetic.raw(Fact::Enrollment, yesterday).expect("the generator draws");
    comparison.bench_function("weir", |bencher| bencher.iter_with_large_drop(draw));
    comparison.finish();
    say(&format!("synthetic_day: {rows} rows"));
    bench.compare("synthetic_day", "columns-at-hand", "weir")
}

/// All tables and views of the small set.
fn install(bench: &mut Bench) -> Outcome {
    let installed = fill();
    let tables = Runtime::new()?.block_on(contents(&installed))?;
    let rows: usize = tables.iter().map(|(_, rows)| rows.num_rows()).sum();
    let mut comparison = bench.criterion.benchmark_group("synthetic_install");
    comparison.sample_size(10).measurement_time(Duration::from_secs(20));
    comparison.throughput(Throughput::Elements(rows.try_into()?));
    comparison.bench_function("rows-at-hand", |bencher| bencher.iter_with_large_drop(|| refill(&tables)));
    comparison.bench_function("weir", |bencher| bencher.iter_with_large_drop(fill));
    comparison.finish();
    say(&format!("synthetic_install: {rows} rows in {} tables", tables.len()));
    bench.compare("synthetic_install", "rows-at-hand", "weir")
}

fn empty() -> Embedded {
    Embedded::new(PROJECT, Arc::new(ManualClock::new(now())))
}

fn fill() -> Embedded {
    let embedded = empty();
    let synthetic = Synthetic::new(SyntheticConfig::small(now()));
    synthetic.install(&embedded, now(), &mut |_| ()).expect("the tables take their rows");
    embedded
}

fn refill(tables: &[(TableSpec, RecordBatch)]) -> Embedded {
    let embedded = empty();
    for (spec, rows) in tables {
        embedded.create_table(spec.clone()).expect("the table was made before");
        embedded.append(&spec.id, rows).expect("the table takes the rows it had");
    }
    embedded
}

/// Every table with its rows, views left out.
async fn contents(embedded: &Embedded) -> Outcome<Vec<(TableSpec, RecordBatch)>> {
    let mut tables = Vec::new();
    for id in embedded.tables() {
        let table = embedded.table(&id).await?;
        if table.kind != "TABLE" {
            continue;
        }
        let job = Job::new(format!("read_{}_{}", id.dataset, id.table), format!("SELECT * FROM `{id}`"));
        let rows = embedded.run(job).await?.batches.concat()?;
        if rows.num_rows() as u64 != table.num_rows {
            return Err(format!("{id} gave {} of {} rows", rows.num_rows(), table.num_rows).into());
        }
        tables.push((TableSpec { id, schema: table.schema, partitioning: table.partitioning }, rows));
    }
    Ok(tables)
}

/// A batch as plain columns.
struct Prepared {
    schema: SchemaRef,
    columns: Vec<Column>,
}

enum Column {
    Text(Vec<Option<String>>),
    Number(Vec<Option<i64>>),
    Time(Vec<Option<i64>>),
}

impl Prepared {
    fn of(batch: &RecordBatch) -> Outcome<Self> {
        let columns = batch.columns().iter().map(Column::of).collect::<Outcome<_>>()?;
        Ok(Self { schema: batch.schema(), columns })
    }

    fn build(&self) -> RecordBatch {
        let columns = self.columns.iter().map(Column::build).collect();
        RecordBatch::try_new(Arc::clone(&self.schema), columns).expect("the columns came from such a batch")
    }
}

impl Column {
    fn of(column: &ArrayRef) -> Outcome<Self> {
        Ok(match column.data_type() {
            DataType::Utf8 => {
                Self::Text(column.as_string::<i32>().iter().map(|text| text.map(str::to_owned)).collect())
            }
            DataType::Int64 => Self::Number(column.as_primitive::<Int64Type>().iter().collect()),
            DataType::Timestamp(..) => Self::Time(column.as_primitive::<TimestampMicrosecondType>().iter().collect()),
            other => return Err(format!("the baseline has no column of {other}").into()),
        })
    }

    fn build(&self) -> ArrayRef {
        match self {
            Self::Text(texts) => Arc::new(texts.iter().map(Option::as_deref).collect::<StringArray>()),
            Self::Number(numbers) => Arc::new(Int64Array::from(numbers.clone())),
            Self::Time(times) => Arc::new(TimestampMicrosecondArray::from(times.clone()).with_timezone("UTC")),
        }
    }
}
