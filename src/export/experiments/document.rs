//! Documents about experiments, and the same as tables.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::json::ReaderBuilder;
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;
use weir_plan::{Error, Result, Timestamp};

use super::super::format::Format;
use super::super::reply::Written;
use super::super::writer::whole;
use crate::batches::Batches;
use crate::monitoring::datasets::Datasets;
use crate::monitoring::figures::{Experiment, ExperimentCounts, Granularity};
use crate::monitoring::health::Health;

/// A document, as JSON and as a table.
pub(super) struct Document {
    /// The JSON; what changes without its content changing stands beside it.
    pub(super) json: Value,
    /// When its rows were fetched: told, but no part of the content's name.
    pub(super) generated_at: Option<Timestamp>,
    /// The table.
    pub(super) table: Batches,
}

impl Document {
    /// The document in a format.
    ///
    /// # Errors
    /// `Internal` for what cannot be written.
    pub(super) fn written(self, format: Format) -> Result<Written> {
        if format != Format::Json {
            return Ok(Written { body: whole(format, &self.table)?, content: None });
        }
        let content = line(&self.json)?;
        let Some(generated_at) = self.generated_at else { return Ok(Written { body: content, content: None }) };
        let mut json = self.json;
        json["generated_at"] = generated_at.to_string().into();
        Ok(Written { body: line(&json)?, content: Some(content) })
    }
}

fn line(json: &Value) -> Result<Vec<u8>> {
    let mut line = serde_json::to_vec(json).map_err(|error| Error::internal("cannot write JSON").with_source(error))?;
    line.push(b'\n');
    Ok(line)
}

/// A page of the list of experiments.
pub(super) fn page(experiments: &[&Experiment], total: usize, next: Option<&str>) -> Result<Document> {
    let json = json!({"experiments": experiments, "total": total, "next": next});
    Ok(Document { json, generated_at: None, table: table(experiment_schema(), experiments)? })
}

/// One experiment.
pub(super) fn experiment(experiment: &Experiment) -> Result<Document> {
    let table = table(experiment_schema(), &[experiment])?;
    let json = serde_json::to_value(experiment);
    let json = json.map_err(|error| Error::internal("cannot write JSON").with_source(error))?;
    Ok(Document { json, generated_at: None, table })
}

fn experiment_schema() -> SchemaRef {
    let texts = |name: &str| list(name, DataType::Utf8);
    let branch = DataType::Struct(vec![text("slug"), int("ratio")].into());
    Arc::new(Schema::new(vec![
        text("slug"),
        text("status"),
        text("app_name"),
        Field::new("start_date", DataType::Date32, true),
        Field::new("end_date", DataType::Date32, true),
        Field::new("enrollment_end_date", DataType::Date32, true),
        Field::new("is_rollout", DataType::Boolean, true),
        list("branches", branch),
        text("reference_branch"),
        text("channel"),
        texts("channels"),
        text("app_id"),
        Field::new("targeted_percent", DataType::Float64, true),
        int("proposed_enrollment"),
        texts("feature_ids"),
        text("randomization_unit"),
        Field::new("is_high_population", DataType::Boolean, true),
        Field::new("is_enrollment_paused", DataType::Boolean, true),
    ]))
}

/// Counts in the envelope that Experimenter reads.
#[derive(Serialize, ToSchema)]
pub(super) struct CountsEnvelope {
    /// Counts by slug.
    #[schema(value_type = std::collections::BTreeMap<String, ExperimentCounts>)]
    v1: Value,
    /// When the oldest rows under them were fetched.
    #[schema(value_type = String, format = DateTime)]
    generated_at: Timestamp,
}

/// Counts of some experiments.
pub(super) fn counts(of: &[(&Arc<str>, &ExperimentCounts)], as_of: Timestamp) -> Result<Document> {
    let by_slug: serde_json::Map<String, Value> =
        of.iter().map(|(slug, counts)| (slug.to_string(), json!(counts))).collect();
    let rows = of.iter().flat_map(|(slug, counts)| {
        counts.branches.iter().map(move |(branch, counts)| {
            let crate::monitoring::figures::BranchCounts { enrollments, unenrollments } = counts;
            json!({"experiment": slug, "branch": branch, "enrollments": enrollments, "unenrollments": unenrollments})
        })
    });
    let schema = Schema::new(vec![text("experiment"), text("branch"), int("enrollments"), int("unenrollments")]);
    let table = table(Arc::new(schema), &rows.collect::<Vec<_>>())?;
    Ok(Document { json: json!({ "v1": by_slug }), generated_at: Some(as_of), table })
}

/// The health of many experiments.
#[derive(Serialize, ToSchema)]
pub(super) struct HealthEnvelope {
    /// Experiments.
    experiments: Vec<Health>,
    /// When the oldest rows under it were fetched.
    #[schema(value_type = String, format = DateTime)]
    generated_at: Timestamp,
}

/// The health of one experiment, or of many.
pub(super) fn health(of: &[Health], is_one: bool, as_of: Timestamp) -> Result<Document> {
    let rows = of.iter().flat_map(|health| {
        health.rules.iter().map(move |rule| {
            json!({
                "experiment": health.experiment, "rule": rule.rule, "verdict": rule.verdict,
                "value": rule.value.to_string(), "threshold": rule.threshold.to_string(),
                "inputs": rule.inputs.to_string(),
            })
        })
    });
    let schema = ["experiment", "rule", "verdict", "value", "threshold", "inputs"].map(text);
    let table = table(Arc::new(Schema::new(schema.to_vec())), &rows.collect::<Vec<_>>())?;
    let json = match of {
        [only] if is_one => json!(only),
        all => json!({ "experiments": all }),
    };
    Ok(Document { json, generated_at: (!is_one).then_some(as_of), table })
}

/// A dataset, as the API tells of it.
#[derive(Serialize, ToSchema)]
pub(super) struct DatasetEntry {
    name: String,
    title: String,
    kind: crate::monitoring::datasets::DatasetKind,
    /// The view that shows the same to a board.
    view: String,
    /// The finest granularity.
    #[schema(value_type = String)]
    granularity: Granularity,
    /// What it can be split by besides `branch`.
    splits: Vec<String>,
}

/// The datasets that there are.
#[derive(Serialize, ToSchema)]
pub(super) struct DatasetList {
    datasets: Vec<DatasetEntry>,
}

/// The datasets.
pub(super) fn datasets(datasets: &Datasets) -> Result<Document> {
    let entries: Vec<DatasetEntry> = datasets
        .iter()
        .map(|dataset| {
            let base = &datasets.bases()[dataset.base];
            DatasetEntry {
                name: dataset.name.to_string(),
                title: dataset.title.clone(),
                kind: dataset.kind,
                view: dataset.view.to_string(),
                granularity: base.grain,
                splits: dataset.splits(base).iter().map(ToString::to_string).collect(),
            }
        })
        .collect();
    let mut schema = ["name", "title", "kind", "view", "granularity"].map(text).to_vec();
    schema.push(list("splits", DataType::Utf8));
    let table = table(Arc::new(Schema::new(schema)), &entries)?;
    Ok(Document { json: json!(DatasetList { datasets: entries }), generated_at: None, table })
}

/// Rows as a table with the columns of a schema.
fn table<T: Serialize>(schema: SchemaRef, rows: &[T]) -> Result<Batches> {
    let unwritable = |error| Error::internal("cannot make a table of a document").with_source(error);
    let builder = ReaderBuilder::new(Arc::clone(&schema)).with_batch_size(rows.len().max(1));
    let mut decoder = builder.build_decoder().map_err(unwritable)?;
    decoder.serialize(rows).map_err(unwritable)?;
    let batch = decoder.flush().map_err(unwritable)?;
    Batches::new(schema, batch.into_iter().collect())
}

fn text(name: &str) -> Field {
    Field::new(name, DataType::Utf8, true)
}

fn int(name: &str) -> Field {
    Field::new(name, DataType::Int64, true)
}

fn list(name: &str, item: DataType) -> Field {
    Field::new(name, DataType::List(Arc::new(Field::new_list_field(item, true))), true)
}
