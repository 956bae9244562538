//! The plugin's process: handshake, services, and an end with a bound.

use std::io::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use grafana_plugin_sdk::pluginv2::data_server::DataServer;
use grafana_plugin_sdk::pluginv2::diagnostics_server::DiagnosticsServer;
use grafana_plugin_sdk::pluginv2::resource_server::ResourceServer;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic_grafana::transport::Server;
use tonic_grafana::transport::server::TcpIncoming;
use tonic_health_grafana::ServingStatus;
use weir_plan::{Error, Kind, Result};

use super::controller::Controller;
use super::data::Data;
use super::diagnostics::Diagnostics;
use super::instances::Instances;
use super::resource::Resource;
use crate::app::App;
use crate::config::Host;

/// The version of the protocol between Grafana and its plugins.
const PROTOCOL_VERSION: &str = "2";

/// The name under which go-plugin asks for the process's health.
const HEALTH_SERVICE: &str = "plugin";

/// The largest request that is read: queries are small, the bodies of resource calls less so.
const MOST_REQUEST_BYTES: usize = 16 * 1024 * 1024;

/// The largest response, as large as gRPC in Go can read.
const MOST_RESPONSE_BYTES: usize = i32::MAX as usize;

/// How long answers may still take after the end was asked for. go-plugin kills after 2 s, and the
/// jobs that are left must be cancelled before that.
const DRAIN: Duration = Duration::from_secs(1);

/// How often the host is looked for.
const PARENT_CHECK: Duration = Duration::from_millis(500);

/// Serves a host until `stop`, which is cancelled as soon as the host asks for the end or is gone;
/// answers that are under way then have 1 s. Writes the handshake, and nothing else, to stdout.
///
/// # Errors
/// `InvalidQuery` if the host does not speak our protocol version; `Unavailable` if the loopback
/// address or stdout fails.
pub async fn serve(app: Arc<App>, host: &Host, stop: CancellationToken) -> Result<()> {
    check(host)?;
    let parent = parent();
    let listener = TcpListener::bind("127.0.0.1:0").await.map_err(|error| unavailable("the loopback", error))?;
    let address = listener.local_addr().map_err(|error| unavailable("the loopback", error))?;
    say_hello(address).map_err(|error| unavailable("stdout", error))?;
    let orphaned = stop.clone();
    tokio::spawn(async move {
        gone(parent).await;
        tracing::warn!("the host is gone");
        orphaned.cancel();
    });
    serve_on(app, listener, stop).await
}

fn check(host: &Host) -> Result<()> {
    if host.offers_tls {
        tracing::info!("the host offers TLS; a plugin on the loopback goes on without it, as Grafana expects");
    }
    match &host.protocol_versions {
        Some(versions) if !versions.split(',').any(|version| version.trim() == PROTOCOL_VERSION) => {
            Err(Error::invalid(format!(
                "the host speaks the protocol versions {versions:?}, this plugin {PROTOCOL_VERSION}"
            )))
        }
        _ => Ok(()),
    }
}

/// go-plugin's handshake: core protocol 1, our version, address, gRPC.
/// Source: <https://github.com/hashicorp/go-plugin/blob/main/docs/guide-plugin-write-non-go.md>.
fn say_hello(address: SocketAddr) -> std::io::Result<()> {
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "1|{PROTOCOL_VERSION}|tcp|{address}|grpc")?;
    stdout.flush()
}

/// Serves whoever connects to `listener`, without a handshake, until `stop`, which is cancelled as
/// soon as one of them asks for the end; answers that are under way then have 1 s.
///
/// # Errors
/// `Unavailable` if the connection fails.
pub async fn serve_on(app: Arc<App>, listener: TcpListener, stop: CancellationToken) -> Result<()> {
    // Without TCP_NODELAY some 3 % of calls take 40 ms longer (plugin contract, measured).
    let incoming = TcpIncoming::from_listener(listener, true, None)
        .map_err(|error| Error::new(Kind::Unavailable, "cannot listen to the host").with_source(Boxed(error)))?;
    let (mut health, health_service) = tonic_health_grafana::server::health_reporter();
    health.set_service_status(HEALTH_SERVICE, ServingStatus::Serving).await;
    let instances = Arc::new(Instances::new(app));
    let router = Server::builder()
        .add_service(health_service)
        .add_service(Controller(stop.clone()))
        .add_service(
            DataServer::new(Data(Arc::clone(&instances)))
                .max_decoding_message_size(MOST_REQUEST_BYTES)
                .max_encoding_message_size(MOST_RESPONSE_BYTES),
        )
        .add_service(
            DiagnosticsServer::new(Diagnostics(Arc::clone(&instances))).max_encoding_message_size(MOST_RESPONSE_BYTES),
        )
        .add_service(
            ResourceServer::new(Resource(instances))
                .max_decoding_message_size(MOST_REQUEST_BYTES)
                .max_encoding_message_size(MOST_RESPONSE_BYTES),
        );
    let serving = router.serve_with_incoming_shutdown(incoming, stop.clone().cancelled_owned());
    let bound = async {
        stop.cancelled().await;
        tokio::time::sleep(DRAIN).await;
    };
    tokio::select! {
        served = serving => served.map_err(|error| unavailable("the host's connection", error)),
        () = bound => {
            tracing::warn!(drain_ms = DRAIN.as_millis(), "answers were cut off");
            Ok(())
        }
    }
}

fn unavailable(what: &str, error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::new(Kind::Unavailable, format!("{what} failed")).with_source(error)
}

#[derive(Debug, thiserror::Error)]
#[error(transparent)]
struct Boxed(Box<dyn std::error::Error + Send + Sync>);

/// The host's process, so that its end can be seen.
#[cfg(unix)]
fn parent() -> u32 {
    std::os::unix::process::parent_id()
}

#[cfg(not(unix))]
fn parent() -> u32 {
    0
}

/// Completes when the host is gone: an orphan gets another parent.
#[cfg(unix)]
async fn gone(parent: u32) {
    let mut ticks = tokio::time::interval(PARENT_CHECK);
    while std::os::unix::process::parent_id() == parent {
        ticks.tick().await;
    }
}

#[cfg(not(unix))]
async fn gone(_: u32) {
    std::future::pending().await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plugin::scripted::app;
    use grafana_plugin_sdk::pluginv2::data_client::DataClient;
    use grafana_plugin_sdk::pluginv2::{DataQuery, QueryDataRequest};
    use tonic_grafana::client::Grpc;
    use tonic_grafana::codec::ProstCodec;
    use tonic_grafana::codegen::http::uri::PathAndQuery;
    use tonic_grafana::transport::Channel;
    use tonic_grafana::{Code, Request, Status};
    use tonic_health_grafana::pb::HealthCheckRequest;
    use tonic_health_grafana::pb::health_client::HealthClient;

    #[test]
    fn a_host_of_our_protocol_version_is_served() {
        let check = |versions: Option<&str>| {
            check(&Host { protocol_versions: versions.map(str::to_owned), offers_tls: true, ..Host::default() })
        };
        for versions in [None, Some("2"), Some("1,2"), Some("3, 2")] {
            assert!(check(versions).is_ok(), "{versions:?}");
        }
        assert!(check(Some("1")).unwrap_err().message().contains("\"1\""));
    }

    async fn call(channel: &Channel, path: &'static str) -> Result<(), Status> {
        let mut grpc = Grpc::new(channel.clone());
        grpc.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
        let codec = ProstCodec::<(), ()>::default();
        grpc.unary(Request::new(()), PathAndQuery::from_static(path), codec).await.map(drop)
    }

    #[tokio::test]
    async fn a_host_finds_its_services_and_the_controller_ends_them() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let served = tokio::spawn(serve_on(Arc::new(app()), listener, stop.clone()));
        let channel = Channel::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap();

        for service in ["plugin", ""] {
            let request = HealthCheckRequest { service: service.to_owned() };
            let health = HealthClient::new(channel.clone()).check(request).await.unwrap().into_inner();
            assert_eq!(health.status, ServingStatus::Serving as i32, "{service:?}");
        }
        let query = DataQuery { ref_id: "A".into(), ..Default::default() };
        let request = QueryDataRequest { queries: vec![query], ..Default::default() };
        let answer = DataClient::new(channel.clone()).query_data(request).await.unwrap().into_inner();
        assert_eq!(answer.responses["A"].status, 400);
        for path in ["/plugin.GRPCController/Restart", "/plugin.GRPCStdio/StreamStdio", "/pluginv2.Stream/RunStream"] {
            assert_eq!(call(&channel, path).await.unwrap_err().code(), Code::Unimplemented, "{path}");
        }
        assert!(!served.is_finished() && !stop.is_cancelled());
        call(&channel, "/plugin.GRPCController/Shutdown").await.unwrap();
        assert!(stop.is_cancelled(), "the other door hears of it at once");
        drop(channel);
        served.await.unwrap().unwrap();
    }
}
