//! REST v2: routes, and what every request goes through (log, token, script) before it is answered.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;

use axum::Router;
use axum::extract::{ConnectInfo, DefaultBodyLimit, FromRequestParts, State};
use axum::middleware::map_response_with_state;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use http::header::{AUTHORIZATION, DATE};
use http::request::Parts;
use weir_plan::TableId;

use super::connection::Connection;
use super::log::{Call, CallKind};
use super::login::bearer;
use super::reply::{ApiError, Reply, html_response};
use super::rows::Timestamps;
use super::{Fault, Shared, catalog, federation, queries};
use crate::config::Secret;

/// Largest request. Source: <https://cloud.google.com/bigquery/quotas#api_request_quotas>.
const MAX_REQUEST_BYTES: usize = 10 * 1024 * 1024;

/// Routes below `/bigquery/v2`, and those that give tokens.
pub(super) fn router(shared: Arc<Shared>) -> Router {
    let jobs = "/bigquery/v2/projects/{project}/jobs";
    let queries = "/bigquery/v2/projects/{project}/queries";
    let datasets = "/bigquery/v2/projects/{project}/datasets";
    Router::new()
        .route("/bigquery/v2/projects", get(catalog::list_projects))
        .route(jobs, post(queries::insert_job).get(queries::list_jobs))
        .route(&format!("{jobs}/{{job}}"), get(queries::get_job))
        .route(&format!("{jobs}/{{job}}/cancel"), post(queries::cancel_job))
        .route(queries, post(queries::query))
        .route(&format!("{queries}/{{job}}"), get(queries::get_query_results))
        .route(datasets, get(catalog::list_datasets))
        .route(&format!("{datasets}/{{dataset}}"), get(catalog::get_dataset))
        .route(&format!("{datasets}/{{dataset}}/tables"), get(catalog::list_tables))
        .route(&format!("{datasets}/{{dataset}}/tables/{{table}}"), get(catalog::get_table))
        .route(&format!("{datasets}/{{dataset}}/tables/{{table}}/data"), get(catalog::read_table))
        .route("/token", post(catalog::token))
        .route("/v1/token", post(federation::exchange))
        .route("/v1/projects/-/serviceAccounts/{verb}", post(federation::impersonate))
        .fallback(unknown)
        .layer(DefaultBodyLimit::max(MAX_REQUEST_BYTES))
        .layer(map_response_with_state(Arc::clone(&shared), dated))
        .with_state(shared)
}

/// Says the server's own time.
async fn dated(State(shared): State<Arc<Shared>>, mut response: Response) -> Response {
    let date = shared.clock.now().datetime().format("%a, %d %b %Y %H:%M:%S GMT").to_string();
    if let Ok(date) = date.parse() {
        response.headers_mut().insert(DATE, date);
    }
    response
}

async fn unknown(asked: Asked) -> Response {
    let what = format!("{} {}", asked.method, asked.path);
    asked
        .answer::<Reply, _>(CallKind::Unknown, |_| {}, |_| async { Err(ApiError::not_found(format!("URL {what}"))) })
        .await
}

/// A request as it came, before anything is decided.
pub(super) struct Asked {
    pub(super) shared: Arc<Shared>,
    connection: Connection,
    method: String,
    path: String,
    pub(super) params: BTreeMap<String, String>,
    token: Option<String>,
}

impl FromRequestParts<Arc<Shared>> for Asked {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, shared: &Arc<Shared>) -> Result<Self, Infallible> {
        let ConnectInfo(connection) = parts
            .extensions
            .get::<ConnectInfo<Connection>>()
            .cloned()
            .unwrap_or_else(|| ConnectInfo(Connection::detached()));
        let header = parts.headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
        let query = parts.uri.query().unwrap_or_default();
        Ok(Self {
            shared: Arc::clone(shared),
            connection,
            method: parts.method.to_string(),
            path: parts.uri.path().to_owned(),
            params: url::form_urlencoded::parse(query.as_bytes()).into_owned().collect(),
            token: bearer(header).map(str::to_owned),
        })
    }
}

/// What a handler needs once its request is admitted.
pub(super) struct Admitted {
    pub(super) shared: Arc<Shared>,
    pub(super) params: BTreeMap<String, String>,
    pub(super) principal: String,
    /// Rows after which a page is to end as if it were complete.
    pub(super) short: Option<u64>,
}

impl Asked {
    /// Logs the request, checks its token, lets the script interfere, and answers.
    pub(super) async fn answer<R, F>(
        self,
        kind: CallKind,
        describe: impl FnOnce(&mut Call),
        work: impl FnOnce(Admitted) -> F,
    ) -> Response
    where
        R: IntoResponse,
        F: Future<Output = Result<R, ApiError>>,
    {
        let mut call = Call {
            at: self.shared.clock.now(),
            kind,
            method: self.method,
            path: self.path,
            params: self.params.clone(),
            job_id: None,
            job: None,
            table: None,
            token: self.token.map(Secret),
            principal: None,
            fault: None,
        };
        describe(&mut call);
        let (principal, fault) = match self.shared.admit(call) {
            Ok(admitted) => admitted,
            Err(refused) => return refused.into_response(),
        };
        match &fault {
            Some(Fault::Status { http, reason }) => return ApiError::scripted(*http, reason).into_response(),
            Some(Fault::Html { http }) => return html_response(*http),
            Some(Fault::Drop) => {
                self.connection.cut_after(0);
                return ApiError::scripted(503, "backendError").into_response();
            }
            _ => {}
        }
        let short = match &fault {
            Some(Fault::ShortPage { rows }) => Some(*rows),
            _ => None,
        };
        let admitted = Admitted { shared: self.shared, params: self.params, principal, short };
        let response = work(admitted).await.into_response();
        match fault {
            Some(Fault::LoseAnswer) => self.connection.cut_after(0),
            Some(Fault::CutAnswer { after_bytes }) => self.connection.cut_after(after_bytes),
            _ => {}
        }
        response
    }
}

impl Admitted {
    /// A number among the request's parameters.
    ///
    /// # Errors
    /// `invalid`, naming it.
    pub(super) fn number(&self, name: &str) -> Result<Option<u64>, ApiError> {
        match self.params.get(name) {
            None => Ok(None),
            Some(text) => {
                text.parse().map(Some).map_err(|_| ApiError::invalid(format!("Invalid value for {name}: {text:?}")))
            }
        }
    }

    /// The form of timestamps that the request asks for.
    pub(super) fn timestamps(&self) -> Timestamps {
        match self.params.get("formatOptions.useInt64Timestamp").map(|value| value.eq_ignore_ascii_case("true")) {
            Some(true) => Timestamps::Int64Micros,
            _ => Timestamps::FloatSeconds,
        }
    }

    /// Jobs run in the source's own project alone.
    ///
    /// # Errors
    /// `accessDenied`.
    pub(super) fn check_project(&self, project: &str) -> Result<(), ApiError> {
        if project == self.shared.source.identity().project {
            return Ok(());
        }
        Err(ApiError::new(
            403,
            "accessDenied",
            format!(
                "Access Denied: Project {project}: User does not have bigquery.jobs.create permission in project {project}."
            ),
        ))
    }
}

/// The three parts of a table's path.
pub(super) type TablePath = axum::extract::Path<(String, String, String)>;

/// The name in a table's path.
pub(super) fn table_id(axum::extract::Path((project, dataset, table)): TablePath) -> TableId {
    TableId { project, dataset, table }
}
