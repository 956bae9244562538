//! Grafana's Resource service: what the editors call over HTTP, besides the queries of panels.
//!
//! `POST query` and `POST explain` take one query (`rawSql` or `sql`, `from`, `to`, `step`, `params`
//! …) or Grafana's own `{"queries": […], "from", "to"}`, whose answers come by refId; `POST purge`
//! leaves every stored answer of the data source behind, for editors and admins; `ledger` says what it
//! billed and saved (`by`, `from`, `to`). The routes of the official editor are in [`super::editor`]. Errors are `{error, message, code}`.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::future::join_all;
use futures::stream::{self, Iter};
use grafana_plugin_sdk::pluginv2::{self, CallResourceRequest, CallResourceResponse, PluginContext, StringList};
use serde_json::{Map, Value, json};
use tonic_grafana::{Request, Response, Status};
use weir_plan::{Error, Extent, Kind, Query, Result, Timestamp};

use super::caller::caller;
use super::editor::{self, Ask, Editor};
use super::headers::Headers;
use super::instances::{Instances, data_source};
use super::keys::Keys;
use super::ledger;
use super::model::{self, Envelope};
use crate::batches::json;
use crate::engine::{Answer, Door, Engine};

/// The service.
pub(super) struct Resource(pub(super) Arc<Instances>);

#[async_trait]
impl pluginv2::resource_server::Resource for Resource {
    type CallResourceStream = Iter<std::array::IntoIter<Result<CallResourceResponse, Status>, 1>>;

    async fn call_resource(
        &self,
        request: Request<CallResourceRequest>,
    ) -> Result<Response<Self::CallResourceStream>, Status> {
        let reply = self.call(&request.into_inner()).await;
        Ok(Response::new(stream::iter([Ok(reply)])))
    }
}

/// What is done with each query of a body.
#[derive(Clone, Copy)]
enum Verb {
    Query,
    Explain,
}

#[derive(Clone, Copy)]
enum Route {
    Queries(Verb),
    Purge,
    Ledger,
    Editor(Ask),
}

/// The routes of our own by path.
const OWN: [(&str, Route); 4] = [
    ("query", Route::Queries(Verb::Query)),
    ("explain", Route::Queries(Verb::Explain)),
    ("purge", Route::Purge),
    ("ledger", Route::Ledger),
];

fn routes() -> impl Iterator<Item = (&'static str, Route)> {
    OWN.into_iter().chain(editor::ROUTES.into_iter().map(|(path, ask)| (path, Route::Editor(ask))))
}

impl Route {
    /// The methods it takes; the official data source's take any.
    fn methods(self) -> &'static [&'static str] {
        match self {
            Self::Queries(_) | Self::Purge => &["POST"],
            Self::Ledger | Self::Editor(_) => &["POST", "GET"],
        }
    }
}

impl Resource {
    async fn call(&self, request: &CallResourceRequest) -> CallResourceResponse {
        let path = request.path.trim_matches('/');
        let Some((_, route)) = routes().find(|(name, _)| *name == path) else {
            let known = routes().map(|(name, _)| name).collect::<Vec<_>>().join(", ");
            return failed(&Error::not_found(format!("no resource {path:?}; there are: {known}")));
        };
        if !route.methods().contains(&request.method.as_str()) {
            let text = format!("resource {path} takes {}, not {}", route.methods().join(" or "), request.method);
            let problem = json!({"error": "Method not allowed", "message": text, "code": 405});
            return reply(405, problem.to_string().into_bytes());
        }
        let answer = tokio::time::timeout(LONGEST, self.answer(route, request)).await.unwrap_or_else(|_| {
            Err(Error::new(Kind::Timeout, format!("no answer within {} s; ask again", LONGEST.as_secs())))
        });
        answer.map_or_else(|error| logged(&error, path), |answer| reply(200, answer))
    }

    async fn answer(&self, route: Route, request: &CallResourceRequest) -> Result<Vec<u8>> {
        let context = request.plugin_context.as_ref();
        let engine = self.0.engine(request).await?;
        let now = self.0.app().clock().now();
        let headers = Headers::read(&first_values(&request.headers)).or_user(caller(request).user);
        match route {
            Route::Queries(verb) => each(&engine, verb, &request.body, &headers, now).await,
            Route::Purge => {
                may_purge(context)?;
                let arguments = editor::arguments(&request.body, &request.url)?;
                let sql = Keys::new(&arguments, "").text("sql")?;
                Ok(json!(engine.purge_some(ledger::range(&arguments, now)?, sql)?).to_string().into_bytes())
            }
            Route::Ledger => {
                let arguments = editor::arguments(&request.body, &request.url)?;
                let mut out = Vec::new();
                write_answer(&engine.ledger(ledger::range(&arguments, now)?, &ledger::by(&arguments)?)?, &mut out)?;
                Ok(out)
            }
            Route::Editor(ask) => {
                let settings = data_source(context).map_or(&[][..], |(_, source)| &source.json_data);
                let editor = Editor { engine: &engine, settings, headers: &headers, now };
                let answer = editor.answer(ask, &editor::arguments(&request.body, &request.url)?).await?;
                Ok(answer.to_string().into_bytes())
            }
        }
    }
}

/// How long a caller waits; queries have a shorter deadline of their own.
const LONGEST: Duration = Duration::from_mins(2);

/// A purge makes everybody's next refresh a job: it is for those who may change boards.
fn may_purge(context: Option<&PluginContext>) -> Result<()> {
    let role = context.and_then(|context| context.user.as_ref()).map_or("", |user| user.role.as_str());
    if ["Admin", "Editor"].contains(&role) {
        return Ok(());
    }
    let role = if role.is_empty() { "None" } else { role };
    Err(Error::new(Kind::PermissionDenied, format!("a purge takes the role Editor or Admin; yours is {role}")))
}

async fn each(engine: &Arc<Engine>, verb: Verb, body: &[u8], headers: &Headers, now: Timestamp) -> Result<Vec<u8>> {
    let mut body = match serde_json::from_slice(body) {
        Ok(Value::Object(body)) => body,
        Ok(_) => return Err(Error::invalid("the body is not a JSON object")),
        Err(error) => return Err(Error::invalid(format!("the body is not JSON: {error}"))),
    };
    let queries = match body.remove("queries") {
        None => return run(engine, verb, &read(&body, &body, 0, headers, now)?).await,
        Some(Value::Array(queries)) => queries,
        Some(_) => return Err(Error::invalid("queries is not an array")),
    };
    let body = &body;
    let results = queries.iter().enumerate().map(|(index, query)| async move {
        let Value::Object(query) = query else {
            return Err(Error::invalid(format!("queries[{index}] is not a JSON object")));
        };
        let ref_id = query.get("refId").and_then(Value::as_str).map_or_else(|| index.to_string(), str::to_owned);
        let outcome = match read(query, body, 0, headers, now) {
            Ok(query) => run(engine, verb, &query).await,
            Err(error) => Err(error),
        };
        let answer = outcome.unwrap_or_else(|error| {
            super::log(&error, &format!("query {ref_id}"));
            problem(&error)
        });
        Ok((ref_id, answer))
    });
    let results: BTreeMap<String, Vec<u8>> = join_all(results).await.into_iter().collect::<Result<_>>()?;
    let mut out = b"{\"results\":{".to_vec();
    for (at, (ref_id, answer)) in results.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        json::write_value(ref_id, &mut out)?;
        out.push(b':');
        out.extend_from_slice(answer);
    }
    out.extend_from_slice(b"}}");
    Ok(out)
}

/// A query of an object, with the range of the body round it, and the interval where it has none.
///
/// # Errors
/// `InvalidQuery` naming the key.
pub(super) fn read(
    query: &Map<String, Value>,
    body: &Map<String, Value>,
    interval_ms: i64,
    headers: &Headers,
    now: Timestamp,
) -> Result<Query> {
    let bound = |key: &str| match query.get(key).or_else(|| body.get(key)) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Timestamp::parse(text, now).map(Some),
        Some(other) => Timestamp::parse(&other.to_string(), now).map(Some),
    };
    let range = match (bound("from")?, bound("to")?) {
        (Some(from), Some(to)) => Some(Extent::new(from, to)?),
        (Some(from), None) => Some(Extent::new(from, now)?),
        (None, Some(_)) => return Err(Error::invalid("to is given without from")),
        (None, None) => None,
    };
    model::query(query, Envelope { range, interval_ms, ..Envelope::default() }, headers)
}

async fn run(engine: &Arc<Engine>, verb: Verb, query: &Query) -> Result<Vec<u8>> {
    let mut out = Vec::new();
    match verb {
        Verb::Explain => json::write_value(&engine.explain(query).await?, &mut out)?,
        Verb::Query => write_answer(&engine.answer(query, Door::Grafana).await?, &mut out)?,
    }
    Ok(out)
}

/// Appends `{"columns": [{"name", "type"}], "rows": [[…]], "executedQueryString", "provenance"}`.
fn write_answer(answer: &Answer, out: &mut Vec<u8>) -> Result<()> {
    out.extend_from_slice(b"{\"columns\":");
    json::write_schema(answer.batches.schema(), out)?;
    out.extend_from_slice(b",\"rows\":[");
    let mut first = true;
    for batch in &answer.batches {
        json::write_rows(batch, &mut first, out)?;
    }
    out.extend_from_slice(b"],\"executedQueryString\":");
    json::write_value(&*answer.executed_sql, out)?;
    out.extend_from_slice(b",\"provenance\":");
    json::write_value(&answer.provenance, out)?;
    out.push(b'}');
    Ok(())
}

fn first_values(headers: &HashMap<String, StringList>) -> HashMap<String, String> {
    let first = |(name, list): (&String, &StringList)| Some((name.clone(), list.values.first()?.clone()));
    headers.iter().filter_map(first).collect()
}

fn problem(error: &Error) -> Vec<u8> {
    let row = error.kind().row();
    json!({"error": row.title, "message": error.public_message(), "code": row.http}).to_string().into_bytes()
}

fn logged(error: &Error, path: &str) -> CallResourceResponse {
    super::log(error, &format!("resource {path}"));
    failed(error)
}

fn failed(error: &Error) -> CallResourceResponse {
    reply(error.kind().row().http, problem(error))
}

fn reply(code: u16, body: Vec<u8>) -> CallResourceResponse {
    let content_type = StringList { values: vec!["application/json".to_owned()] };
    CallResourceResponse {
        code: code.into(),
        headers: HashMap::from([("Content-Type".to_owned(), content_type)]),
        body: body.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batches::samples::{batches, utc};
    use crate::plugin::scripted::{Known, NOW, app, engine};

    async fn ask(verb: Verb, body: &Value) -> Result<Value> {
        let source = Known::default().with("SELECT 1", batches(vec![("t", utc(&[1, 2]))])).with(
            "SELECT t FROM x WHERE t >= TIMESTAMP '2024-01-01T00:00:00Z' AND t < TIMESTAMP '2024-01-02T00:00:00Z'",
            batches(vec![("t", utc(&[3]))]),
        );
        let now = Timestamp::saturating(NOW);
        let engine = engine(source);
        let answer = each(&engine, verb, body.to_string().as_bytes(), &Headers::default(), now).await?;
        Ok(serde_json::from_slice(&answer).unwrap())
    }

    #[tokio::test]
    async fn one_query_gives_its_rows() {
        let answer = ask(Verb::Query, &json!({"sql": "SELECT 1"})).await.unwrap();
        assert_eq!(answer["columns"], json!([{"name": "t", "type": "TIMESTAMP"}]));
        assert_eq!(answer["rows"], json!([["1970-01-01T00:00:01Z"], ["1970-01-01T00:00:02Z"]]));
        assert_eq!(answer["provenance"]["status"], "miss");
        assert_eq!(answer["executedQueryString"], "SELECT 1");
    }

    #[tokio::test]
    async fn ranges_are_read_in_grafanas_forms() {
        let sql = "SELECT t FROM x WHERE $__timeFilter(t)";
        for (from, to) in [
            (json!("now-1d"), json!("now")),
            (json!("1704067200000"), json!(1_704_153_600_000_i64)),
            (json!("2024-01-01T00:00:00Z"), json!(null)),
        ] {
            let body = json!({"queries": [{"refId": "A", "rawSql": sql}], "from": from, "to": to});
            let answer = ask(Verb::Query, &body).await.unwrap();
            assert_eq!(answer["results"]["A"]["rows"], json!([["1970-01-01T00:00:03Z"]]), "{body}");
        }
    }

    #[tokio::test]
    async fn several_queries_fail_for_themselves() {
        let body = json!({"queries": [
            {"refId": "A", "rawSql": "SELECT 1"}, {"refId": "B"}, {"rawSql": "SELECT 9"},
        ]});
        let results = ask(Verb::Query, &body).await.unwrap()["results"].clone();
        assert_eq!(results["A"]["rows"].as_array().unwrap().len(), 2);
        assert_eq!(results["B"]["code"], 400);
        assert_eq!(results["B"]["error"], "Invalid query");
        assert_eq!(results["2"]["message"], "no answer to SELECT 9");
    }

    #[tokio::test]
    async fn a_query_can_be_explained() {
        let explanation = ask(Verb::Explain, &json!({"rawSql": "SELECT 1"})).await.unwrap();
        assert_eq!(explanation["mode"], "whole");
        assert_eq!(explanation["segments"][0]["bytes_processed"], 7);
    }

    #[tokio::test]
    async fn bodies_that_cannot_be_read_are_errors() {
        for body in [json!([]), json!({}), json!({"queries": {}}), json!({"queries": [1]})] {
            assert!(ask(Verb::Query, &body).await.is_err(), "{body}");
        }
        for (from, to) in [("now", "now-1d"), ("yesterday", "now")] {
            assert!(ask(Verb::Query, &json!({"sql": "SELECT 1", "from": from, "to": to})).await.is_err());
        }
        assert!(ask(Verb::Query, &json!({"sql": "SELECT 1", "to": "now"})).await.is_err());
    }

    #[test]
    fn a_purge_takes_a_role_that_may_change_boards() {
        let context = |role: &str| PluginContext {
            user: Some(pluginv2::User { role: role.into(), ..Default::default() }),
            ..Default::default()
        };
        for role in ["Admin", "Editor"] {
            may_purge(Some(&context(role))).unwrap();
        }
        for (role, shown) in [("Viewer", "Viewer"), ("None", "None"), ("", "None")] {
            let error = may_purge(Some(&context(role))).unwrap_err();
            assert_eq!(error.kind(), Kind::PermissionDenied);
            assert_eq!(error.message(), format!("a purge takes the role Editor or Admin; yours is {shown}"));
        }
        assert!(may_purge(Some(&PluginContext::default())).is_err());
        assert!(may_purge(None).is_err());
    }

    #[tokio::test]
    async fn unknown_paths_and_methods_are_answered_with_what_there_is() {
        let resource = Resource(Arc::new(Instances::new(Arc::new(app()))));
        let call = async |path: &str, method: &str| {
            let request = CallResourceRequest { path: path.into(), method: method.into(), ..Default::default() };
            let reply = resource.call(&request).await;
            (reply.code, serde_json::from_slice::<Value>(&reply.body).unwrap())
        };
        let (code, body) = call("/nothing", "GET").await;
        assert_eq!((code, &body["code"]), (404, &json!(404)));
        assert!(body["message"].as_str().unwrap().contains("query, explain, purge, ledger, defaultProjects"));
        let (code, body) = call("query", "GET").await;
        assert_eq!((code, &body["message"]), (405, &json!("resource query takes POST, not GET")));
        assert_eq!(call("tables", "PUT").await.0, 405);
        assert_eq!(call("tables", "GET").await.0, 400, "no data source");
        assert_eq!(call("ledger", "GET").await.0, 400, "no data source");
        assert_eq!(call("query", "POST").await.0, 400, "no data source");
    }
}
