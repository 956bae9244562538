//! A source that gives the same rows to every text.

use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use async_trait::async_trait;
use weir::batches::Batches;
use weir::source::{Estimate, Identity, Job, Outcome, Source, Table};
use weir_plan::{Error, Result, TableId, Timestamp};

/// The benches' present, 2024-01-02T00:00:00Z.
pub(crate) fn now() -> Timestamp {
    Timestamp::saturating(1_704_153_600_000_000)
}

/// Series of [`rows`].
const LABELS: [&str; 5] = ["control", "treatment-a", "treatment-b", "treatment-c", "treatment-d"];

/// A panel's rows: five labels at each time, five minutes apart.
pub(crate) fn rows(count: usize) -> Result<Batches> {
    let label = |row: usize| LABELS[row % LABELS.len()];
    let micros = |row: i64| 1_704_067_200_000_000 + row / 5 * 300_000_000;
    let numbers = || (0..).take(count);
    let columns: [(&str, ArrayRef); 3] = [
        ("time", Arc::new(TimestampMicrosecondArray::from_iter_values(numbers().map(micros)).with_timezone("UTC"))),
        ("value", Arc::new(Float64Array::from_iter_values((0_u32..).take(count).map(|row| f64::from(row) / 4.0)))),
        ("label", Arc::new(StringArray::from_iter_values((0..count).map(label)))),
    ];
    let batch = RecordBatch::try_from_iter_with_nullable(columns.map(|(name, column)| (name, column, true)))
        .map_err(|error| Error::internal("cannot make the rows").with_source(error))?;
    Batches::new(batch.schema(), vec![batch])
}

/// The source.
pub(crate) struct Fixed {
    identity: Identity,
    answer: Batches,
}

impl Fixed {
    /// A source that always answers `answer`.
    pub(crate) fn new(answer: Batches) -> Arc<Self> {
        let identity = Identity {
            kind: "fixed",
            project: "p".to_owned(),
            principal: "anonymous".to_owned(),
            endpoint: None,
            location: None,
        };
        Arc::new(Self { identity, answer })
    }
}

#[async_trait]
impl Source for Fixed {
    fn identity(&self) -> &Identity {
        &self.identity
    }

    async fn dry_run(&self, _: &Job) -> Result<Estimate> {
        Ok(Estimate {
            bytes_processed: 1,
            schema: Arc::clone(self.answer.schema()),
            statement_type: "SELECT".to_owned(),
            referenced_tables: Vec::new(),
        })
    }

    async fn run(&self, job: Job) -> Result<Outcome> {
        Ok(Outcome {
            batches: self.answer.clone(),
            job_id: job.id,
            bytes_processed: 1,
            bytes_billed: 10 << 20,
            slot_ms: 1,
            cache_hit: false,
            started_at: None,
            joined: false,
            ours: true,
        })
    }

    async fn table(&self, table: &TableId) -> Result<Table> {
        Err(Error::not_found(format!("no table {table}")))
    }
}
