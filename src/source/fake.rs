//! A small real `BigQuery` server over another source, for tests and `weir demo --as-bigquery`:
//! REST v2 and the Storage Read API on two loopback ports, with money, faults on script, and a log
//! of everything that reached it.
//!
//! What it is strict about, it is strict about as `BigQuery` is; what it has not, it refuses by name
//! (legacy SQL, destination tables, positional parameters, load and copy jobs, AVRO, row
//! restrictions). It does not know the client that talks to it, and runs no SQL itself.

mod catalog;
mod config;
mod connection;
mod federation;
mod jobs;
mod log;
mod login;
mod pages;
mod parameters;
mod queries;
mod read_service;
mod reply;
mod resources;
mod rest;
mod rows;
mod schema;
mod script;
mod storage;
mod stored;
mod streams;
mod submission;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use sha2::{Digest, Sha256};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::TcpListenerStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use weir_plan::{Error, Kind, Result};

pub use self::config::FakeConfig;
pub use self::log::{Call, CallKind, JobEnd, JobRun};
pub use self::script::{Fault, Gate, JobRule, Script};
use super::Source;
use crate::clock::Clock;

/// What all requests share.
struct Shared {
    source: Arc<dyn Source>,
    clock: Arc<dyn Clock>,
    config: FakeConfig,
    jobs: jobs::Jobs,
    log: log::CallLog,
    script: Script,
    tokens: login::Tokens,
    sessions: storage::Sessions,
    /// The tasks of jobs.
    running: TaskTracker,
    stop: CancellationToken,
}

impl Shared {
    /// Logs a call, with the principal of its token and the fault that the script has for it.
    ///
    /// # Errors
    /// `authError` and `required` where a token is needed.
    fn admit(&self, mut call: Call) -> Result<(String, Option<Fault>), reply::ApiError> {
        let required = match call.kind {
            CallKind::Token | CallKind::Exchange => false,
            CallKind::Impersonate => true,
            _ => self.config.require_token,
        };
        let token = call.token.as_ref().map(|token| token.0.as_str());
        let principal = self.tokens.principal(token, required, self.clock.now());
        if let Ok(principal) = &principal {
            call.principal.clone_from(principal);
            call.fault = self.script.take_fault(&call);
        }
        let fault = call.fault.clone();
        self.log.push(call);
        Ok((principal?.unwrap_or_else(|| "anonymous".to_owned()), fault))
    }
}

/// A running server; dropping it ends it at once, and its jobs with it.
pub struct FakeServer {
    shared: Arc<Shared>,
    rest: SocketAddr,
    storage: SocketAddr,
    tasks: [JoinHandle<()>; 2],
}

impl FakeServer {
    /// How long [`FakeServer::shutdown`] waits for requests under way.
    const GRACE: Duration = Duration::from_secs(1);

    /// Starts a server over `source`.
    ///
    /// # Errors
    /// `Unavailable` if an address cannot be bound.
    pub async fn start(source: Arc<dyn Source>, clock: Arc<dyn Clock>, config: FakeConfig) -> Result<Self> {
        let (rest_listener, rest) = bind(config.rest_address).await?;
        let (storage_listener, storage) = bind(config.storage_address).await?;
        let stop = CancellationToken::new();
        let shared = Arc::new(Shared {
            source,
            clock,
            jobs: jobs::Jobs::new(config.kept_jobs),
            log: log::CallLog::new(config.kept_calls),
            script: Script::default(),
            tokens: login::Tokens::default(),
            sessions: storage::Sessions::default(),
            config,
            running: TaskTracker::new(),
            stop: stop.clone(),
        });
        let service = rest::router(Arc::clone(&shared)).into_make_service_with_connect_info::<connection::Connection>();
        let rest_server = axum::serve(connection::CuttableListener(rest_listener), service)
            .with_graceful_shutdown(stop.clone().cancelled_owned());
        let storage_server = tonic::transport::Server::builder()
            .add_service(read_service::ReadService::new(Arc::clone(&shared)))
            .serve_with_incoming_shutdown(TcpListenerStream::new(storage_listener), stop.cancelled_owned());
        let tasks = [
            tokio::spawn(async move { log_end("REST", rest_server.await.err()) }),
            tokio::spawn(async move { log_end("Storage Read", storage_server.await.err()) }),
        ];
        Ok(Self { shared, rest, storage, tasks })
    }

    /// Root of the REST API, without `/bigquery/v2`: what client libraries call the endpoint.
    pub fn rest_url(&self) -> String {
        format!("http://{}", self.rest)
    }

    /// Base URL of the REST API with `/bigquery/v2`.
    pub fn v2_url(&self) -> String {
        format!("{}/bigquery/v2", self.rest_url())
    }

    /// The token endpoint, for a key's `token_uri`.
    pub fn token_url(&self) -> String {
        format!("{}/token", self.rest_url())
    }

    /// The security token service, for the `token_url` of a credentials file.
    pub fn exchange_url(&self) -> String {
        format!("{}/v1/token", self.rest_url())
    }

    /// Gives somebody a token that lives for an hour, as a login at Google would.
    pub fn issue_token(&self, principal: &str) -> String {
        self.shared.tokens.issue(principal, self.shared.clock.now(), login::LIFE_SECS)
    }

    /// Forgets all tokens, so that requests with them are refused.
    pub fn revoke_tokens(&self) {
        self.shared.tokens.revoke();
    }

    /// URL of the Storage Read API (gRPC without TLS).
    pub fn storage_url(&self) -> String {
        format!("http://{}", self.storage)
    }

    /// The rules for faults and jobs.
    pub fn script(&self) -> &Script {
        &self.shared.script
    }

    /// Every request so far, the oldest first.
    pub fn calls(&self) -> Vec<Call> {
        self.shared.log.calls()
    }

    /// The requests of one kind.
    pub fn calls_of(&self, kind: CallKind) -> Vec<Call> {
        self.calls().into_iter().filter(|call| call.kind == kind).collect()
    }

    /// Every job that ran or runs, in the order of their starts; dry runs and refused inserts are
    /// not among them.
    pub fn jobs_run(&self) -> Vec<JobRun> {
        self.shared.log.runs()
    }

    /// Bytes on the bill of all jobs so far.
    pub fn bytes_billed(&self) -> u64 {
        self.jobs_run().iter().filter_map(|run| run.end.as_ref()).map(|end| end.bytes_billed).sum()
    }

    /// Waits until `reached` holds of the calls and jobs; asked again after each change.
    pub async fn until(&self, reached: impl Fn(&[Call], &[JobRun]) -> bool) {
        self.shared.log.until(reached).await;
    }

    /// Forgets the log; jobs and their answers stay.
    pub fn clear_log(&self) {
        self.shared.log.clear();
    }

    /// Stops accepting requests, cancels all jobs, and waits at most a second for them and for
    /// requests under way.
    pub async fn shutdown(mut self) {
        self.shared.stop.cancel();
        self.shared.running.close();
        let ended = futures::future::join(self.shared.running.wait(), futures::future::join_all(&mut self.tasks));
        if tokio::time::timeout(Self::GRACE, ended).await.is_err() {
            tracing::debug!("requests to the fake BigQuery were dropped at its end");
        }
    }
}

impl Drop for FakeServer {
    fn drop(&mut self) {
        self.shared.stop.cancel();
        for task in &self.tasks {
            task.abort();
        }
    }
}

async fn bind(address: SocketAddr) -> Result<(TcpListener, SocketAddr)> {
    let bound = async {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        Ok((listener, address))
    };
    bound.await.map_err(|error: std::io::Error| {
        Error::new(Kind::Unavailable, format!("cannot listen on {address}; is the port in use?")).with_source(error)
    })
}

fn log_end(api: &str, error: Option<impl std::error::Error>) {
    if let Some(error) = error {
        tracing::warn!(api, %error, "the fake BigQuery stopped serving");
    }
}

/// 128 bits of a digest in hexadecimal, for names that follow from others.
fn digest(parts: &[&str]) -> String {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update(part.len().to_le_bytes());
        hasher.update(part);
    }
    hasher.finalize()[..16].iter().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"))
}
