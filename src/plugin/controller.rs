//! go-plugin's controller service, by which a host asks the process to end.
//!
//! Source: `internal/plugin/grpc_controller.proto` of hashicorp/go-plugin. Its one method takes and
//! returns empty messages.

use std::convert::Infallible;
use std::future::Ready;
use std::task::{Context, Poll};

use tokio_util::sync::CancellationToken;
use tonic_grafana::body::BoxBody;
use tonic_grafana::codec::ProstCodec;
use tonic_grafana::codegen::{BoxFuture, Service, http};
use tonic_grafana::server::{Grpc, NamedService, UnaryService};
use tonic_grafana::{Request, Response, Status};

/// The service; it cancels the token when the host asks for the end.
#[derive(Clone)]
pub(super) struct Controller(pub(super) CancellationToken);

impl NamedService for Controller {
    const NAME: &'static str = "plugin.GRPCController";
}

impl Service<http::Request<BoxBody>> for Controller {
    type Response = http::Response<BoxBody>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Self::Error>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<BoxBody>) -> Self::Future {
        let shutdown = Shutdown(self.0.clone());
        Box::pin(async move {
            if request.uri().path() == "/plugin.GRPCController/Shutdown" {
                Ok(Grpc::new(ProstCodec::<(), ()>::default()).unary(shutdown, request).await)
            } else {
                Ok(Status::unimplemented("the controller has one method, Shutdown").into_http())
            }
        })
    }
}

struct Shutdown(CancellationToken);

impl UnaryService<()> for Shutdown {
    type Response = ();
    type Future = Ready<Result<Response<()>, Status>>;

    fn call(&mut self, _: Request<()>) -> Self::Future {
        tracing::debug!("the host asked for the end");
        self.0.cancel();
        std::future::ready(Ok(Response::new(())))
    }
}
