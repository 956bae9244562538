//! Series as an answer of the engine's kind, so that it is written, named and kept as any other.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use weir_plan::{Error, Result};

use super::series::Asked;
use super::{By, Point, Series};
use crate::batches::Batches;
use crate::engine::Answer;

impl Asked<'_> {
    /// The series as a table, made once for the answers under it.
    pub(super) fn table(&self) -> Result<Answer> {
        let make = || table(&self.query.by, &self.series()?);
        self.figures.engine().answer_of(&self.answers, &self.name(), make)
    }
}

/// The columns `experiment`, `time`, `branch`, the split, `value`.
fn table(by: &By, series: &[Series]) -> Result<Batches> {
    let points = || series.iter().flat_map(|series| &series.points);
    let slugs = series.iter().flat_map(|series| series.points.iter().map(|_| Some(&*series.experiment)));
    let names = |name: fn(&Point) -> Option<&str>| Arc::new(points().map(name).collect::<StringArray>()) as ArrayRef;
    let utc: Arc<str> = "UTC".into();
    let times = TimestampMicrosecondArray::from_iter_values(points().map(|point| point.time.micros()));
    let mut fields = vec![
        Field::new("experiment", DataType::Utf8, false),
        Field::new("time", DataType::Timestamp(TimeUnit::Microsecond, Some(Arc::clone(&utc))), false),
    ];
    let mut columns: Vec<ArrayRef> = vec![Arc::new(slugs.collect::<StringArray>()), Arc::new(times.with_timezone(utc))];
    if by.has_branches() {
        fields.push(Field::new("branch", DataType::Utf8, true));
        columns.push(names(|point| point.branch.as_deref()));
    }
    if let Some(split) = by.split() {
        fields.push(Field::new(split, DataType::Utf8, true));
        columns.push(names(|point| point.split.as_deref()));
    }
    fields.push(Field::new("value", DataType::Int64, false));
    columns.push(Arc::new(Int64Array::from_iter_values(points().map(|point| point.value))));
    let schema = Arc::new(Schema::new(fields));
    let batch = RecordBatch::try_new(Arc::clone(&schema), columns);
    let batch = batch.map_err(|error| Error::internal("cannot make a table of series").with_source(error))?;
    Batches::new(schema, vec![batch])
}
