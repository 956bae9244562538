//! Listens and serves until it is told to stop.

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::serve::ListenerExt as _;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use weir_plan::{Error, Kind, Result};

/// Binds the address of the export API, `HOST:PORT`.
///
/// # Errors
/// `InvalidQuery` for an address that is none, and for one that other machines reach unless
/// `allow_anonymous`; `Unavailable` if it cannot be bound. Each names the address and the remedy.
pub async fn bind(listen: &str, allow_anonymous: bool) -> Result<TcpListener> {
    let addresses: Vec<SocketAddr> = match tokio::net::lookup_host(listen).await {
        Ok(addresses) => addresses.collect(),
        Err(error) => {
            let message = format!("listen address {listen:?} is not HOST:PORT, for example 127.0.0.1:8088");
            return Err(Error::invalid(message).with_source(error));
        }
    };
    if let Some(open) = addresses.iter().find(|address| !address.ip().is_loopback() && !allow_anonymous) {
        return Err(Error::invalid(format!(
            "{open} can be reached from other machines, and there is no login yet: anybody there could run queries at \
             your cost; listen on 127.0.0.1, or give --allow-anonymous"
        )));
    }
    TcpListener::bind(&*addresses).await.map_err(|error| {
        let remedy = match error.kind() {
            std::io::ErrorKind::AddrInUse => "it is in use; choose another with --listen or end the other process",
            std::io::ErrorKind::PermissionDenied => "not permitted; choose a port above 1023 with --listen",
            _ => "choose another with --listen",
        };
        Error::new(Kind::Unavailable, format!("cannot listen on {listen}: {remedy}")).with_source(error)
    })
}

/// Serves until `stop` is cancelled, then lets requests under way end within `drain`. Connections
/// that are still open after that end with the runtime.
///
/// # Errors
/// `Unavailable` if the listener fails.
pub async fn serve(listener: TcpListener, router: Router, stop: CancellationToken, drain: Duration) -> Result<()> {
    let listener = listener.tap_io(|stream| {
        // Without it small answers wait up to 40 ms for the caller's acknowledgement.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(?error, "a connection goes without TCP_NODELAY");
        }
    });
    let serving = axum::serve(listener, router).with_graceful_shutdown(stop.clone().cancelled_owned());
    let late = async {
        stop.cancelled().await;
        tokio::time::sleep(drain).await;
    };
    tokio::select! {
        served = serving => {
            served.map_err(|error| Error::new(Kind::Unavailable, "the listener failed").with_source(error))
        }
        () = late => {
            tracing::info!(after_s = drain.as_secs_f64(), "requests under way were cut off");
            Ok(())
        }
    }
}
