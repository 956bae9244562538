//! What does a cached panel cost over its bytes alone?
//!
//! 10,000 rows of time, value and label, asked over gRPC as Grafana does: from the plugin's Data
//! service, whose answer is in the store, and from a bare Data service with the same encoded bytes.

mod support;

use std::sync::Arc;

use async_trait::async_trait;
use criterion::Throughput;
use grafana_plugin_sdk::pluginv2::data_client::DataClient;
use grafana_plugin_sdk::pluginv2::data_server::{Data, DataServer};
use grafana_plugin_sdk::pluginv2::{
    DataQuery, DataSourceInstanceSettings, PluginContext, QueryDataRequest, QueryDataResponse,
};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;
use tonic_grafana::transport::server::TcpIncoming;
use tonic_grafana::transport::{Channel, Server};
use tonic_grafana::{Request, Response, Status};
use weir::clock::ManualClock;
use weir::source::fake::{FakeConfig, FakeServer};

use support::fixed::{self, Fixed};
use support::ratio::Bench;
use support::{Outcome, say};

/// Rows of the panel.
const ROWS: usize = 10_000;

/// Names of formats, and how Grafana writes them.
const FORMATS: [(&str, u8); 2] = [("table", 1), ("series", 0)];

fn main() -> Outcome {
    let runtime = Runtime::new()?;
    let mut bench = Bench::new();
    let source = runtime.block_on(source())?;
    for (name, format) in FORMATS {
        let group = format!("panel_{name}");
        let request = request(&source.rest_url(), format);
        let (ours, bare) = runtime.block_on(services(&request))?;
        let bytes = length(&runtime.block_on(ask(ours.clone(), request.clone())));
        say(&format!("{group}: {ROWS} rows, {bytes} bytes"));
        let jobs = source.jobs_run().len();
        let mut comparison = bench.criterion.benchmark_group(&group);
        comparison.throughput(Throughput::Bytes(bytes.try_into()?));
        for (name, client) in [("bare-tonic", &bare), ("weir", &ours)] {
            comparison.bench_function(name, |bencher| {
                bencher.to_async(&runtime).iter(|| ask(client.clone(), request.clone()));
            });
        }
        comparison.finish();
        if source.jobs_run().len() != jobs {
            return Err("the panel was not answered from the store".into());
        }
        bench.compare(&group, "bare-tonic", "weir")?;
    }
    bench.criterion.final_summary();
    Ok(())
}

/// The plugin logs in to `BigQuery` alone, so that the rows come through the small stand-in for it.
async fn source() -> Outcome<FakeServer> {
    let clock = Arc::new(ManualClock::new(fixed::now()));
    Ok(FakeServer::start(Fixed::new(fixed::rows(ROWS)?), clock, FakeConfig::default()).await?)
}

/// Starts both services; gives clients that get the same answer.
async fn services(request: &QueryDataRequest) -> Outcome<(DataClient<Channel>, DataClient<Channel>)> {
    let (listener, ours) = listen().await?;
    tokio::spawn(weir::plugin::serve_on(Arc::new(support::app()), listener, CancellationToken::new()));
    let ours = connect(&ours).await?;
    ask(ours.clone(), request.clone()).await;
    let response = ask(ours.clone(), request.clone()).await;

    let (listener, bare) = listen().await?;
    let incoming = TcpIncoming::from_listener(listener, true, None).map_err(|error| error.to_string())?;
    tokio::spawn(Server::builder().add_service(DataServer::new(Bare(response))).serve_with_incoming(incoming));
    Ok((ours, connect(&bare).await?))
}

async fn listen() -> Outcome<(TcpListener, String)> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = format!("http://{}", listener.local_addr()?);
    Ok((listener, address))
}

async fn connect(address: &str) -> Outcome<DataClient<Channel>> {
    Ok(DataClient::connect(address.to_owned()).await?)
}

/// A service that knows nothing but its response.
struct Bare(QueryDataResponse);

#[async_trait]
impl Data for Bare {
    async fn query_data(&self, _: Request<QueryDataRequest>) -> Result<Response<QueryDataResponse>, Status> {
        Ok(Response::new(self.0.clone()))
    }
}

/// A panel's request to a data source at the stand-in.
fn request(endpoint: &str, format: u8) -> QueryDataRequest {
    let settings = json!({"authenticationType": "none", "serviceEndpoint": endpoint, "defaultProject": "p"});
    let source = DataSourceInstanceSettings {
        uid: "bench".to_owned(),
        json_data: settings.to_string().into_bytes(),
        ..DataSourceInstanceSettings::default()
    };
    let context = PluginContext { org_id: 1, data_source_instance_settings: Some(source), ..PluginContext::default() };
    let query = DataQuery {
        ref_id: "A".to_owned(),
        interval_ms: 300_000,
        json: json!({"rawSql": "SELECT 1", "format": format}).to_string().into_bytes(),
        ..DataQuery::default()
    };
    QueryDataRequest { plugin_context: Some(context), queries: vec![query], ..QueryDataRequest::default() }
}

async fn ask(mut client: DataClient<Channel>, request: QueryDataRequest) -> QueryDataResponse {
    let response = client.query_data(request).await.expect("a service of this process answers").into_inner();
    let answer = response.responses.get("A").expect("the query has an answer");
    assert_eq!(answer.status, 200, "{}", answer.error);
    response
}

fn length(response: &QueryDataResponse) -> usize {
    response.responses.values().flat_map(|response| &response.frames).map(Vec::len).sum()
}
