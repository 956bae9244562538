//! For the tests of this folder: tables of every type, and a source with an answer for each text.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use arrow::array::{
    Array, ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Decimal256Array, Float64Array,
    Int64Array, ListArray, RecordBatch, StringArray, StructArray, Time64MicrosecondArray, TimestampMicrosecondArray,
};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{DataType, Field, Fields, Int64Type, Schema, i256};
use async_trait::async_trait;
use weir_plan::{Error, Mode, Result, TableId, Timestamp};

use crate::app::App;
use crate::batches::Batches;
use crate::cache::StoreSettings;
use crate::clock::ManualClock;
use crate::engine::{Answer, Engine, EngineSettings, Provenance, Status};
use crate::source::{Estimate, Identity, Job, Outcome, Source, Table};

/// The clock of these tests, 2024-01-02T00:00:00Z.
pub(super) const NOW: i64 = 1_704_153_600_000_000;

/// A table of named columns, all nullable.
pub(super) fn batches(columns: Vec<(&str, ArrayRef)>) -> Batches {
    let fields: Vec<_> =
        columns.iter().map(|(name, column)| Field::new(*name, column.data_type().clone(), true)).collect();
    let columns = columns.into_iter().map(|(_, column)| column).collect();
    let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap();
    Batches::new(batch.schema(), vec![batch]).unwrap()
}

/// A TIMESTAMP column: small numbers are seconds, others microseconds.
pub(super) fn utc(times: &[i64]) -> ArrayRef {
    let micros = times.iter().map(|time| if *time < 1_000_000 { time * 1_000_000 } else { *time });
    Arc::new(TimestampMicrosecondArray::from_iter_values(micros).with_timezone("UTC"))
}

/// A row of every `BigQuery` type, and a row of nulls.
pub(super) fn every_type() -> Batches {
    let second = 1_546_304_461_000_000;
    let fields = Fields::from(vec![Field::new("z", DataType::Int64, true), Field::new("a", DataType::Utf8, true)]);
    let inner: Vec<ArrayRef> = vec![Arc::new(Int64Array::from(vec![1, 0])), Arc::new(StringArray::from(vec!["x", ""]))];
    let structs = StructArray::new(fields, inner, Some(NullBuffer::from(vec![true, false])));
    let lists = ListArray::from_iter_primitive::<Int64Type, _, _>(vec![Some(vec![Some(1), None, Some(3)]), None]);
    batches(vec![
        ("int", Arc::new(Int64Array::from(vec![Some(9_007_199_254_740_993), None])) as ArrayRef),
        ("float", Arc::new(Float64Array::from(vec![Some(f64::NAN), None]))),
        ("bool", Arc::new(BooleanArray::from(vec![Some(true), None]))),
        ("string", Arc::new(StringArray::from(vec![Some("é"), None]))),
        ("bytes", Arc::new(BinaryArray::from(vec![Some(&[0_u8, 255][..]), None]))),
        (
            "numeric",
            Arc::new(Decimal128Array::from(vec![Some(1_500_000_000), None]).with_precision_and_scale(38, 9).unwrap()),
        ),
        (
            "bignumeric",
            Arc::new(
                Decimal256Array::from(vec![Some(i256::from_i128(-25 * 10_i128.pow(36))), None])
                    .with_precision_and_scale(76, 38)
                    .unwrap(),
            ),
        ),
        ("date", Arc::new(Date32Array::from(vec![Some(17_897), None]))),
        ("time", Arc::new(Time64MicrosecondArray::from(vec![Some(3_661_500_000), None]))),
        ("timestamp", Arc::new(TimestampMicrosecondArray::from(vec![Some(second), None]).with_timezone("UTC"))),
        ("datetime", Arc::new(TimestampMicrosecondArray::from(vec![Some(second), None]))),
        ("struct", Arc::new(structs)),
        ("array", Arc::new(lists)),
    ])
}

/// An answer of the text `SELECT 1`.
pub(super) fn answer(batches: Batches) -> Answer {
    Answer {
        batches,
        provenance: Provenance {
            mode: Mode::Whole,
            reason: "no_range",
            status: Status::Hit,
            age_s: 1.0,
            fetched_at: Timestamp::saturating(NOW),
            fresh_for_s: 60.0,
            range: None,
            bytes_billed: 0,
            bytes_saved: 0,
            slot_ms: 0,
            job_ids: vec!["job".into()],
        },
        executed_sql: "SELECT 1".into(),
        content_id: 1,
        lifetime: Duration::from_mins(1),
        step: None,
    }
}

/// A source that knows some texts and runs them at once; a text it does not know is an error, and
/// `SELECT panic` a defect.
pub(super) struct Scripted {
    identity: Identity,
    answers: HashMap<String, Batches>,
    jobs: AtomicUsize,
    /// Labels of the last job.
    labels: parking_lot::Mutex<BTreeMap<String, String>>,
    /// Failure of every dry run.
    refusal: Option<Error>,
}

impl Default for Scripted {
    fn default() -> Self {
        Self {
            identity: Identity {
                kind: "scripted",
                project: "p".into(),
                principal: "somebody".into(),
                endpoint: None,
                location: None,
            },
            answers: HashMap::new(),
            jobs: AtomicUsize::new(0),
            labels: parking_lot::Mutex::default(),
            refusal: None,
        }
    }
}

impl Scripted {
    /// Adds a text and its answer.
    pub(super) fn with(mut self, sql: &str, batches: Batches) -> Self {
        self.answers.insert(sql.to_owned(), batches);
        self
    }

    /// Refuses every dry run.
    pub(super) fn refusing(mut self, error: Error) -> Self {
        self.refusal = Some(error);
        self
    }

    /// Jobs that were run.
    pub(super) fn jobs(&self) -> usize {
        self.jobs.load(Ordering::SeqCst)
    }

    /// Labels of the last job.
    pub(super) fn labels(&self) -> BTreeMap<String, String> {
        self.labels.lock().clone()
    }
}

/// An engine over a scripted source, in an app of its own.
pub(super) fn engine(source: Scripted) -> Arc<Engine> {
    engine_over(Arc::new(source))
}

/// An engine over a scripted source that the test holds too.
pub(super) fn engine_over(source: Arc<Scripted>) -> Arc<Engine> {
    app().add_source("scripted", source, EngineSettings::default())
}

/// An app whose clock stands still.
pub(super) fn app() -> App {
    let clock = Arc::new(ManualClock::new(Timestamp::saturating(NOW)));
    App::new(StoreSettings::of(10_000_000), clock, Duration::from_secs(1))
}

#[async_trait]
impl Source for Scripted {
    fn identity(&self) -> &Identity {
        &self.identity
    }

    async fn dry_run(&self, job: &Job) -> Result<Estimate> {
        if let Some(error) = &self.refusal {
            return Err(error.clone());
        }
        let schema = self.answers.get(&job.sql).map(|batches| Arc::clone(batches.schema()));
        Ok(Estimate {
            bytes_processed: 7,
            schema: schema.unwrap_or_else(|| Arc::new(Schema::empty())),
            statement_type: "SELECT".into(),
            referenced_tables: vec![],
        })
    }

    async fn run(&self, job: Job) -> Result<Outcome> {
        assert_ne!(job.sql, "SELECT panic", "as scripted");
        let answer = self.answers.get(&job.sql).cloned();
        let batches = answer.ok_or_else(|| Error::invalid(format!("no answer to {}", job.sql)))?;
        self.jobs.fetch_add(1, Ordering::SeqCst);
        *self.labels.lock() = job.labels;
        Ok(Outcome {
            batches,
            job_id: job.id,
            bytes_processed: 7,
            bytes_billed: 10_485_760,
            slot_ms: 3,
            cache_hit: false,
            started_at: None,
            joined: false,
        })
    }

    async fn table(&self, table: &TableId) -> Result<Table> {
        Err(Error::not_found(format!("no table {table}")))
    }
}
