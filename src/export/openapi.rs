//! The description of the API, `OpenAPI` 3.1, from the handlers and the table of errors.

use std::collections::BTreeSet;
use std::sync::{Arc, LazyLock};

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use serde::Serialize;
use serde_json::Value;
use utoipa::openapi::header::HeaderBuilder;
use utoipa::openapi::path::{Operation, ParameterBuilder, ParameterIn};
use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::openapi::{ContentBuilder, OpenApi as Description, Ref, RefOr, Required, ResponseBuilder};
use utoipa::{Modify, OpenApi, ToSchema};
use weir_plan::{Error, Kind};

use super::Export;
use super::experiments;
use super::format::Format;
use super::problem::Problem;
use super::reply::{self, Written};
use super::routes;

/// The description, made once.
pub(super) static DESCRIPTION: LazyLock<Description> = LazyLock::new(Api::openapi);

/// Serves the description.
pub(super) async fn described(
    State(_): State<Arc<Export>>,
    headers: HeaderMap,
) -> std::result::Result<Response, Problem> {
    let body = serde_json::to_vec_pretty(&*DESCRIPTION);
    let body = body.map_err(|error| Error::internal("cannot write the description").with_source(error))?;
    Ok(reply::fixed(Written { body, content: None }, (Format::Json, &headers))?)
}

#[derive(OpenApi)]
#[openapi(
    info(title = "Weir", description = "Cached answers over BigQuery, and figures of experiments."),
    paths(
        experiments::list, experiments::one, experiments::all_counts, experiments::all_health, experiments::of_one,
        experiments::health_of_one, experiments::series_of_one, experiments::series_of_many, experiments::post_series,
        experiments::datasets, routes::get_query, routes::post_query, routes::get_explain, routes::post_explain,
        routes::purge, routes::ledger, routes::health, routes::ready, routes::metrics,
    ),
    components(schemas(ProblemDocument)),
    modifiers(&Completed),
)]
struct Api;

/// A failure (RFC 9457).
#[derive(Serialize, ToSchema)]
pub(super) struct ProblemDocument {
    /// `about:blank`.
    r#type: String,
    /// What the status means.
    title: String,
    /// The HTTP status.
    status: u16,
    /// What is wrong, by name, and what to do.
    detail: String,
    /// The kind of failure, for programs.
    code: String,
    /// By which the log line is found.
    instance: String,
}

/// Rows of an answer.
#[derive(Serialize, ToSchema)]
pub(super) struct Table {
    /// Names and types of the columns.
    columns: Vec<Column>,
    /// A row is an array with a value for each column.
    rows: Vec<Vec<Value>>,
}

/// A column.
#[derive(Serialize, ToSchema)]
pub(super) struct Column {
    /// Its name.
    name: String,
    /// Its type in `GoogleSQL`.
    r#type: String,
}

/// A page of the list of experiments.
#[derive(Serialize, ToSchema)]
pub(super) struct ExperimentPage {
    /// The experiments of the page.
    experiments: Vec<crate::monitoring::figures::Experiment>,
    /// How many there are on all pages.
    total: usize,
    /// The next page.
    next: Option<String>,
}

/// Parameters of series in a body.
#[derive(Serialize, ToSchema)]
pub(super) struct SeriesBody {
    /// Slugs; the active experiments where nothing is said.
    experiments: Option<Vec<String>>,
    /// `total`, `branch`, a split, or `branch` and a split, separated by a comma.
    by: Option<String>,
    /// `auto`, `5m`, `30m`, `1h` or `1d`.
    granularity: Option<String>,
    /// RFC 3339, or `now-6h`.
    from: Option<String>,
    /// RFC 3339, or `now-6h`.
    to: Option<String>,
    /// Whether a flow is summed up over time: `true` or `false`.
    cumulative: Option<String>,
    /// `json`, `arrow`, `ndjson`, `csv` or `parquet`.
    format: Option<String>,
    /// The source's name.
    source: Option<String>,
}

/// A query.
#[derive(Serialize, ToSchema)]
pub(super) struct QueryBody {
    /// A SELECT in `GoogleSQL`, with Grafana's time macros.
    sql: String,
    /// Start of the range: RFC 3339, epoch milliseconds, or `now-6h`.
    from: Option<String>,
    /// End of the range.
    to: Option<String>,
    /// Length of buckets, as `5m`.
    step: Option<String>,
    /// Query parameters by name: `{"branch": {"type": "STRING", "value": "control"}}`.
    #[schema(value_type = Option<Object>)]
    params: Option<Value>,
    /// `json`, `arrow`, `ndjson`, `csv` or `parquet`.
    format: Option<String>,
    /// The source's name.
    source: Option<String>,
}

/// Adds what all operations have: parameters that most take, formats, headers and failures.
struct Completed;

impl Modify for Completed {
    fn modify(&self, description: &mut Description) {
        for (path, item) in &mut description.paths.paths {
            for operation in [&mut item.get, &mut item.post].into_iter().flatten() {
                complete(path, operation);
            }
        }
    }
}

fn complete(path: &str, operation: &mut Operation) {
    let is_of_data = path.starts_with("/api/v1/experiments") || path.contains("/series/") || path.ends_with("datasets");
    add_names(path, operation);
    if is_of_data && operation.request_body.is_none() {
        add_parameters(path, operation);
    }
    if is_of_data || path.ends_with("/query") || path.ends_with("/ledger") {
        add_formats(operation);
    }
    add_failures(operation);
}

/// The names in a path, whatever else is asked.
fn add_names(path: &str, operation: &mut Operation) {
    for name in path.split('{').skip(1).filter_map(|rest| rest.split('}').next()) {
        let parameters = operation.parameters.get_or_insert_default();
        if !parameters.iter().any(|known| known.name == name) {
            parameters.push(parameter(name, ParameterIn::Path, "Its name, as the lists have it", None));
        }
    }
}

fn add_parameters(path: &str, operation: &mut Operation) {
    let parameters = operation.parameters.get_or_insert_default();
    if path.contains("/series/") {
        let granularities = ["auto", "5m", "30m", "1h", "1d"];
        let by = "`total`, `branch`, a split such as `event`, or `branch` and a split, separated by a comma";
        let time = "RFC 3339, epoch milliseconds, or `now-6h`";
        parameters.push(parameter("by", ParameterIn::Query, by, None));
        parameters.push(parameter("granularity", ParameterIn::Query, "Length of buckets", Some(&granularities)));
        parameters.push(parameter("from", ParameterIn::Query, time, None));
        parameters.push(parameter("to", ParameterIn::Query, time, None));
        let summed = "Whether a flow is summed up over time";
        parameters.push(parameter("cumulative", ParameterIn::Query, summed, Some(&["true", "false"])));
    }
    let formats = Format::ALL.map(Format::name);
    parameters.push(parameter("format", ParameterIn::Query, "Beats the header `Accept`", Some(&formats)));
    let source = "The source's name; not needed where there is one";
    parameters.push(parameter("source", ParameterIn::Query, source, None));
}

fn parameter(
    name: &str,
    place: ParameterIn,
    description: &str,
    values: Option<&[&str]>,
) -> utoipa::openapi::path::Parameter {
    let required = if matches!(place, ParameterIn::Path) { Required::True } else { Required::False };
    let schema = ObjectBuilder::new().schema_type(Type::String).enum_values(values.map(<[&str]>::to_vec));
    ParameterBuilder::new()
        .name(name)
        .parameter_in(place)
        .required(required)
        .description(Some(description))
        .schema(Some(schema))
        .build()
}

/// Every format of the answer, its headers, and the answer to a caller that knows it.
fn add_formats(operation: &mut Operation) {
    let Some(RefOr::T(response)) = operation.responses.responses.get_mut("200") else { return };
    let text = || ContentBuilder::new().schema(Some(ObjectBuilder::new().schema_type(Type::String))).build();
    for format in Format::ALL.into_iter().filter(|format| *format != Format::Json) {
        response.content.insert(format.media_type().to_owned(), text());
    }
    for (name, description) in [
        ("ETag", "Names the content"),
        ("Cache-Control", "How long it is fresh"),
        ("X-Weir-Result", "How it was come by: mode, status, age in seconds, bytes billed and saved"),
    ] {
        let schema = ObjectBuilder::new().schema_type(Type::String);
        let header = HeaderBuilder::new().schema(schema).description(Some(description)).build();
        response.headers.insert(name.to_owned(), header);
    }
    let known = ResponseBuilder::new().description("The caller has it: `If-None-Match` names it").build();
    operation.responses.responses.insert("304".to_owned(), known.into());
}

/// One response for each HTTP status that a failure can have.
fn add_failures(operation: &mut Operation) {
    let statuses: BTreeSet<u16> = Kind::ALL.into_iter().map(|kind| kind.row().http).collect();
    for status in statuses {
        let kinds = Kind::ALL.into_iter().map(Kind::row).filter(|row| row.http == status);
        let codes: Vec<String> = kinds.map(|row| format!("`{}`: {}", row.code, row.title)).collect();
        let problem = ContentBuilder::new().schema(Some(Ref::from_schema_name("ProblemDocument"))).build();
        let response =
            ResponseBuilder::new().description(codes.join("; ")).content("application/problem+json", problem).build();
        operation.responses.responses.entry(status.to_string()).or_insert_with(|| response.into());
    }
}
