//! Grafana's Data service: the queries of a panel, each answered or refused on its own.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use async_trait::async_trait;
use futures::FutureExt;
use futures::future::{join_all, try_join_all};
use grafana_plugin_sdk::pluginv2;
use tonic_grafana::{Request, Response, Status};
use weir_plan::{Error, Result};

use super::caller::caller;
use super::frames;
use super::headers::Headers;
use super::instances::Instances;
use super::ledger::Asked;
use super::model::{ANNOTATION, Envelope, Panel};
use crate::engine::{Door, Engine};

/// The service.
pub(super) struct Data(pub(super) Arc<Instances>);

#[async_trait]
impl pluginv2::data_server::Data for Data {
    /// Dropping the call leaves the jobs it waits for.
    async fn query_data(
        &self,
        request: Request<pluginv2::QueryDataRequest>,
    ) -> Result<Response<pluginv2::QueryDataResponse>, Status> {
        let request = request.into_inner();
        let engine = self.0.engine(&request).await;
        let headers = Headers::read(&request.headers).or_user(caller(&request).user);
        let responses = request.queries.iter().map(|query| async {
            let outcome = match &engine {
                Ok(engine) => guarded(engine, query, &headers).await,
                Err(error) => Err(error.clone()),
            };
            (query.ref_id.clone(), response(outcome, &query.ref_id))
        });
        Ok(Response::new(pluginv2::QueryDataResponse { responses: join_all(responses).await.into_iter().collect() }))
    }
}

/// An answer, or an error in place of a panic: a defect that one query meets must not take the
/// others of the panel with it.
async fn guarded(engine: &Arc<Engine>, query: &pluginv2::DataQuery, headers: &Headers) -> Result<Vec<Vec<u8>>> {
    let answer = AssertUnwindSafe(answer(engine, query, headers)).catch_unwind().await;
    answer.unwrap_or_else(|_| Err(Error::internal("a query panicked")))
}

async fn answer(engine: &Arc<Engine>, query: &pluginv2::DataQuery, headers: &Headers) -> Result<Vec<Vec<u8>>> {
    let range = query.time_range.map(|range| (range.from_epoch_ms, range.to_epoch_ms));
    let envelope = Envelope {
        is_annotation: query.ref_id == ANNOTATION,
        ..Envelope::new(range, query.interval_ms, query.max_data_points)?
    };
    if let Some(Asked { by, shape }) = Asked::read(&query.json)? {
        return frames::frames(engine, &engine.ledger(envelope.range, &by)?, &shape, &query.ref_id);
    }
    let panels = Panel::decode(&query.json, envelope, headers)?.with_shifts()?;
    let answers = try_join_all(panels.iter().map(|panel| engine.answer(&panel.query, Door::Grafana))).await?;
    let mut frames = Vec::with_capacity(answers.len());
    for (panel, answer) in panels.iter().zip(&answers) {
        frames.append(&mut frames::frames(engine, answer, &panel.shape, &query.ref_id)?);
    }
    Ok(frames)
}

fn response(outcome: Result<Vec<Vec<u8>>>, ref_id: &str) -> pluginv2::DataResponse {
    match outcome {
        Ok(frames) => pluginv2::DataResponse { frames, status: 200, ..Default::default() },
        Err(error) => {
            super::log(&error, &format!("query {ref_id}"));
            pluginv2::DataResponse {
                error: format!("query {ref_id}: {}", error.public_message()),
                status: error.kind().row().grafana.into(),
                ..Default::default()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::io::Cursor;

    use super::*;
    use crate::batches::samples::{batches, every_type, utc};
    use crate::plugin::scripted::{Known, app, engine, engine_over};
    use arrow::array::{ArrayRef, Date32Array, Int64Array, ListArray, StringArray};
    use arrow::datatypes::Int64Type;
    use arrow::ipc::reader::FileReader;
    use arrow::util::display::array_value_to_string;
    use serde_json::{Value, json};

    fn query(ref_id: &str, json: &Value) -> pluginv2::DataQuery {
        pluginv2::DataQuery {
            ref_id: ref_id.into(),
            interval_ms: 60_000,
            time_range: Some(pluginv2::TimeRange { from_epoch_ms: 0, to_epoch_ms: 1000 }),
            json: json.to_string().into_bytes(),
            ..Default::default()
        }
    }

    async fn respond(engine: &Arc<Engine>, query: &pluginv2::DataQuery) -> pluginv2::DataResponse {
        response(guarded(engine, query, &Headers::default()).await, &query.ref_id)
    }

    #[tokio::test]
    async fn each_query_fails_for_itself() {
        let numbers = batches(vec![("t", utc(&[1])), ("n", Arc::new(Int64Array::from(vec![1])) as ArrayRef)]);
        let engine = engine(Known::default().with("SELECT 1", numbers));
        let check = async |query: pluginv2::DataQuery, status: i32, expected: &str| {
            let response = respond(&engine, &query).await;
            assert_eq!(response.status, status, "{}", response.error);
            assert!(response.error.contains(expected), "{}", response.error);
            assert_eq!(response.frames.len(), usize::from(status == 200));
        };
        check(query("A", &json!({"rawSql": "SELECT 1"})), 200, "").await;
        check(query("B", &json!({"format": 0})), 400, "query B: rawSql is missing").await;
        check(query("C", &json!({"rawSql": "SELECT 2"})), 400, "query C: no answer to SELECT 2").await;
        check(query("D", &json!({"rawSql": "DROP TABLE t"})), 400, "DROP is not a query").await;
        check(query("E", &json!({"rawSql": "SELECT panic"})), 500, "internal error").await;
        let mut absurd = query("F", &json!({"rawSql": "SELECT 1"}));
        absurd.time_range = Some(pluginv2::TimeRange { from_epoch_ms: 5, to_epoch_ms: i64::MAX });
        check(absurd, 400, "outside the years").await;
        let mut backwards = query("G", &json!({"rawSql": "SELECT 1"}));
        backwards.time_range = Some(pluginv2::TimeRange { from_epoch_ms: 5, to_epoch_ms: 4 });
        check(backwards, 400, "after its end").await;
        let broken = pluginv2::DataQuery { json: b"{".to_vec(), ..query("H", &json!({})) };
        check(broken, 400, "query H: the query is not JSON").await;
    }

    #[tokio::test]
    async fn the_ledger_is_a_query_that_runs_no_job() {
        let source = Arc::new(Known::default().with("SELECT 1", every_type()).source());
        let engine = engine_over(Arc::clone(&source));
        guarded(&engine, &query("A", &json!({"rawSql": "SELECT 1", "format": 1})), &Headers::default()).await.unwrap();
        let mut ledger = query("B", &json!({"queryType": "ledger"}));
        ledger.time_range =
            Some(pluginv2::TimeRange { from_epoch_ms: 1_704_067_200_000, to_epoch_ms: 1_704_240_000_000 });
        let response = respond(&engine, &ledger).await;
        assert_eq!((response.status, response.error.as_str()), (200, ""));
        let rows = FileReader::try_new(Cursor::new(response.frames[0].clone()), None).unwrap().next().unwrap().unwrap();
        let shown = |column: &str| array_value_to_string(rows.column_by_name(column).unwrap(), 0).unwrap();
        assert_eq!(["day", "jobs", "answers"].map(shown), ["2024-01-02T00:00:00Z", "1", "1"].map(str::to_owned));
        ledger.json = json!({"queryType": "ledger", "by": "cause"}).to_string().into_bytes();
        let response = respond(&engine, &ledger).await;
        let rows = FileReader::try_new(Cursor::new(response.frames[0].clone()), None).unwrap().next().unwrap().unwrap();
        assert_eq!(array_value_to_string(rows.column(0), 0).unwrap(), "answer");
        assert_eq!(source.jobs(), 1);
    }

    #[tokio::test]
    async fn a_request_without_a_data_source_is_refused_query_by_query() {
        let service = Data(Arc::new(Instances::new(Arc::new(app()))));
        let request = pluginv2::QueryDataRequest {
            queries: vec![query("A", &json!({"rawSql": "SELECT 1"})), query("B", &json!({}))],
            ..Default::default()
        };
        let response = pluginv2::data_server::Data::query_data(&service, Request::new(request)).await.unwrap();
        let responses = response.into_inner().responses;
        assert_eq!(responses.len(), 2);
        assert!(responses.values().all(|response| response.error.contains("names no data source")));
    }

    #[tokio::test]
    async fn jobs_carry_the_labels_of_their_own_panel() {
        let source = Arc::new(Known::default().with("SELECT 1", every_type()).source());
        let engine = engine_over(Arc::clone(&source));
        let table = query("A", &json!({"rawSql": "SELECT 1", "format": 1}));
        let headers = |panel: &str| {
            Headers::read(&HashMap::from([
                ("http_X-Panel-Id".to_owned(), panel.to_owned()),
                ("X-Cache-Skip".to_owned(), "true".to_owned()),
            ]))
        };
        for panel in ["1", "2"] {
            guarded(&engine, &table, &headers(panel)).await.unwrap();
            assert_eq!(source.last_job().labels["panel_id"], panel);
        }
        assert_eq!(source.jobs(), 2);
    }

    #[tokio::test]
    async fn equal_queries_of_one_request_share_a_job() {
        let source = Arc::new(Known::default().with("SELECT 1", every_type()).source());
        let engine = engine_over(Arc::clone(&source));
        let queries: Vec<_> =
            ["A", "B", "C"].iter().map(|id| query(id, &json!({"rawSql": "SELECT 1", "format": 1}))).collect();
        let responses = join_all(queries.iter().map(|query| respond(&engine, query))).await;
        assert!(responses.iter().all(|response| response.status == 200));
        assert_eq!(source.jobs(), 1);
    }

    #[tokio::test]
    async fn a_shifted_target_gets_its_earlier_series_too() {
        let sql = |from: &str, to: &str| {
            format!("SELECT time, v  FROM t WHERE `ts` >= TIMESTAMP '{from}' AND `ts` < TIMESTAMP '{to}'")
        };
        let rows = |time: i64, value: i64| {
            batches(vec![("time", utc(&[time])), ("v", Arc::new(Int64Array::from(vec![value])) as ArrayRef)])
        };
        let known = Known::default()
            .with(&sql("1970-01-03T00:00:00Z", "1970-01-04T00:00:00Z"), rows(2 * 86_400, 1))
            .with(&sql("1970-01-02T00:00:00Z", "1970-01-03T00:00:00Z"), rows(86_400, 2));
        let mut panel = query(
            "A",
            &json!({
                "rawSql": "SELECT time, v $__timeShifting(1d) FROM t WHERE $__timeFilter(ts)",
                "format": "time_series", "timeColumn": "ts", "timeColumnType": "TIMESTAMP",
            }),
        );
        panel.time_range = Some(pluginv2::TimeRange { from_epoch_ms: 172_800_000, to_epoch_ms: 259_200_000 });
        let response = respond(&engine(known), &panel).await;
        assert_eq!(response.status, 200, "{}", response.error);
        let read = |file: &Vec<u8>| {
            let mut reader = FileReader::try_new(Cursor::new(file.clone()), None).unwrap();
            let batch = reader.next().unwrap().unwrap();
            let shown = |column: usize| array_value_to_string(batch.column(column), 0).unwrap();
            (batch.schema_ref().field(1).name().clone(), shown(0), shown(1))
        };
        let time = "1970-01-03T00:00:00Z".to_owned();
        let expected =
            [("v".to_owned(), time.clone(), "1".to_owned()), ("v_shifted_1d".to_owned(), time, "2".to_owned())];
        assert_eq!(response.frames.iter().map(read).collect::<Vec<_>>(), expected);
    }

    #[tokio::test]
    async fn an_annotation_is_events_whatever_its_format() {
        let day: ArrayRef = Arc::new(Date32Array::from(vec![19_723]));
        let text: ArrayRef = Arc::new(StringArray::from(vec!["launch"]));
        let tags = ListArray::from_iter_primitive::<Int64Type, _, _>([Some(vec![Some(1), Some(2)])]);
        let rows = batches(vec![
            ("time", Arc::clone(&day)),
            ("timeend", Arc::clone(&day)),
            ("day", day),
            ("text", text),
            ("tags", Arc::new(tags)),
        ]);
        let engine = engine(Known::default().with("SELECT 1", rows));
        let shown = async |ref_id: &str, format: Value| {
            let response = respond(&engine, &query(ref_id, &json!({"rawSql": "SELECT 1", "format": format}))).await;
            assert_eq!(response.status, 200, "{}", response.error);
            let mut reader = FileReader::try_new(Cursor::new(response.frames[0].clone()), None).unwrap();
            let batch = reader.next().unwrap().unwrap();
            batch.columns().iter().map(|column| array_value_to_string(column, 0).unwrap()).collect::<Vec<_>>()
        };
        let time = "2024-01-01T00:00:00Z";
        for format in [json!(0), json!(1), json!("time_series")] {
            assert_eq!(shown("Anno", format).await, [time, time, "2024-01-01", "launch", "1,2"]);
        }
        assert_eq!(shown("A", json!(1)).await, ["2024-01-01", "2024-01-01", "2024-01-01", "launch", "[1,2]"]);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_large_answer_is_encoded_on_a_runtime_of_many_threads() {
        let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(0..200_000));
        let engine = engine(Known::default().with("SELECT 1", batches(vec![("n", numbers)])));
        let response = respond(&engine, &query("A", &json!({"rawSql": "SELECT 1", "format": 1}))).await;
        assert_eq!((response.status, response.frames.len()), (200, 1), "{}", response.error);
    }
}
