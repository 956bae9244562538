//! Tests of the embedded source: `GoogleSQL` in, rows, bills and refusals out.

mod billing;
mod boards;
mod clauses;
mod folder;
mod functions;
mod information;
mod refusals;
mod wildcards;

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Date32Array, Float64Array, Int64Array, ListArray, RecordBatch, StringArray,
    TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, Field, Int64Type, Schema};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use weir_plan::{Error, Kind, TableId, Timestamp};

use super::{Embedded, TableSpec, types};
use crate::batches::Batches;
use crate::clock::{Clock, ManualClock};
use crate::source::{Job, PartitionUnit, Partitioning, Source};

/// 2024-01-03 12:00 UTC.
const NOW: &str = "2024-01-03T12:00:00Z";

fn at(text: &str) -> Timestamp {
    Timestamp::parse(text, Timestamp::saturating(0)).unwrap()
}

fn id(text: &str) -> TableId {
    text.parse().unwrap()
}

/// A place with one small table `p.d.t`, partitioned by the day of `ts`.
struct Place {
    clock: Arc<ManualClock>,
    embedded: Embedded,
}

impl Place {
    fn empty() -> Self {
        let clock = Arc::new(ManualClock::new(at(NOW)));
        let embedded = Embedded::new("p", Arc::clone(&clock) as Arc<dyn Clock>);
        Self { clock, embedded }
    }

    fn new() -> Self {
        let place = Self::empty();
        let schema = Schema::new(vec![
            Field::new("ts", types::timestamp(), true),
            Field::new("day", DataType::Date32, true),
            Field::new("Branch", DataType::Utf8, true),
            Field::new("n", DataType::Int64, true),
            Field::new("x", DataType::Float64, true),
            Field::new("ok", DataType::Boolean, true),
            Field::new("list", types::array(DataType::Int64), true),
        ]);
        let rows = RecordBatch::try_new(
            Arc::new(schema),
            vec![
                timestamps(&[
                    "2024-01-01T00:00:00Z",
                    "2024-01-01T13:47:31Z",
                    "2024-01-02T00:05:00Z",
                    "2024-01-03T10:00:00Z",
                ]),
                Arc::new(Date32Array::from(vec![19723, 19723, 19724, 19725])),
                Arc::new(StringArray::from(vec![Some("control"), Some("treatment"), Some("control"), None])),
                Arc::new(Int64Array::from(vec![Some(1), Some(2), Some(3), None])),
                Arc::new(Float64Array::from(vec![Some(0.5), Some(1.5), None, Some(-2.0)])),
                Arc::new(BooleanArray::from(vec![Some(true), Some(false), None, Some(true)])),
                Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>([
                    Some(vec![Some(1), Some(2)]),
                    Some(vec![]),
                    Some(vec![Some(3)]),
                    None,
                ])),
            ],
        )
        .unwrap();
        place.table("p.d.t", &rows, Some(("ts", PartitionUnit::Day)));
        place
    }

    fn table(&self, name: &str, rows: &RecordBatch, partitioning: Option<(&str, PartitionUnit)>) {
        let partitioning = partitioning.map(|(column, unit)| Partitioning { column: Some(column.to_owned()), unit });
        self.embedded.create_table(TableSpec { id: id(name), schema: rows.schema(), partitioning }).unwrap();
        self.embedded.append(&id(name), rows).unwrap();
    }

    async fn answer(&self, sql: &str) -> Result<Batches, Error> {
        let mut job = Job::new(format!("job-{sql}"), sql);
        job.default_dataset = Some("d".to_owned());
        self.embedded.run(job).await.map(|outcome| outcome.batches)
    }

    /// Rows as text, cells with `|` between them; NULL is `NULL`.
    async fn rows(&self, sql: &str) -> Vec<String> {
        match self.answer(sql).await {
            Ok(batches) => rows_of(&batches),
            Err(error) => panic!("{sql}\n{error:?}"),
        }
    }

    async fn check(&self, sql: &str, expected: &[&str]) {
        assert_eq!(self.rows(sql).await, expected, "{sql}");
    }

    async fn error(&self, sql: &str) -> Error {
        match self.answer(sql).await {
            Ok(batches) => panic!("{sql}\nanswered {:?}", rows_of(&batches)),
            Err(error) => error,
        }
    }

    async fn refuses(&self, sql: &str, kind: Kind, message: &str) {
        let error = self.error(sql).await;
        assert_eq!((error.kind(), error.message()), (kind, message), "{sql}");
    }

    async fn names(&self, sql: &str) -> Vec<String> {
        let batches = self.answer(sql).await.unwrap();
        batches.schema().fields().iter().map(|field| field.name().clone()).collect()
    }
}

fn timestamps(texts: &[&str]) -> ArrayRef {
    let micros = texts.iter().map(|text| at(text).micros());
    Arc::new(TimestampMicrosecondArray::from_iter_values(micros).with_timezone("UTC"))
}

fn rows_of(batches: &Batches) -> Vec<String> {
    let options = FormatOptions::default().with_null("NULL");
    let mut rows = Vec::new();
    for batch in batches {
        let columns: Vec<_> =
            batch.columns().iter().map(|column| ArrayFormatter::try_new(column, &options).unwrap()).collect();
        rows.extend((0..batch.num_rows()).map(|row| {
            let cells: Vec<_> = columns.iter().map(|column| column.value(row).to_string()).collect();
            cells.join("|")
        }));
    }
    rows
}
