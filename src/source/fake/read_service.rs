//! The gRPC service `google.cloud.bigquery.storage.v1.BigQueryRead`, by hand: the client crate
//! generates the client alone. It decodes, hands over to [`super::storage`], and encodes.

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::future::BoxFuture;
use futures::stream::BoxStream;
use gcp_bigquery_client::google::cloud::bigquery::storage::v1::{
    CreateReadSessionRequest, ReadRowsRequest, ReadRowsResponse, ReadSession, SplitReadStreamRequest,
    SplitReadStreamResponse,
};
use tonic::body::Body;
use tonic::server::{Grpc, NamedService, ServerStreamingService, UnaryService};
use tonic::{Request, Response, Status};
use tonic_prost::ProstCodec;

use super::Shared;

/// The service.
#[derive(Clone)]
pub(super) struct ReadService {
    shared: Arc<Shared>,
}

impl ReadService {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }
}

impl NamedService for ReadService {
    const NAME: &'static str = "google.cloud.bigquery.storage.v1.BigQueryRead";
}

impl tower::Service<http::Request<Body>> for ReadService {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let shared = Arc::clone(&self.shared);
        Box::pin(async move {
            let method = request.uri().path().rsplit('/').next().unwrap_or_default().to_owned();
            Ok(match method.as_str() {
                "CreateReadSession" => Grpc::new(ProstCodec::default()).unary(CreateReadSession(shared), request).await,
                "ReadRows" => Grpc::new(ProstCodec::default()).server_streaming(ReadRows(shared), request).await,
                "SplitReadStream" => Grpc::new(ProstCodec::default()).unary(SplitReadStream(shared), request).await,
                other => Status::unimplemented(format!("method {other} is unknown")).into_http(),
            })
        })
    }
}

struct CreateReadSession(Arc<Shared>);

impl UnaryService<CreateReadSessionRequest> for CreateReadSession {
    type Response = ReadSession;
    type Future = BoxFuture<'static, Result<Response<ReadSession>, Status>>;

    fn call(&mut self, request: Request<CreateReadSessionRequest>) -> Self::Future {
        let shared = Arc::clone(&self.0);
        Box::pin(async move {
            let token = token(&request);
            shared.create_read_session(token, request.into_inner()).await.map(Response::new)
        })
    }
}

struct ReadRows(Arc<Shared>);

impl ServerStreamingService<ReadRowsRequest> for ReadRows {
    type Response = ReadRowsResponse;
    type ResponseStream = BoxStream<'static, Result<ReadRowsResponse, Status>>;
    type Future = BoxFuture<'static, Result<Response<Self::ResponseStream>, Status>>;

    fn call(&mut self, request: Request<ReadRowsRequest>) -> Self::Future {
        let answer = self.0.read_rows(token(&request), &request.into_inner());
        Box::pin(async move { answer.map(Response::new) })
    }
}

struct SplitReadStream(Arc<Shared>);

impl UnaryService<SplitReadStreamRequest> for SplitReadStream {
    type Response = SplitReadStreamResponse;
    type Future = BoxFuture<'static, Result<Response<SplitReadStreamResponse>, Status>>;

    fn call(&mut self, request: Request<SplitReadStreamRequest>) -> Self::Future {
        let refused = self.0.split_read_stream(token(&request));
        Box::pin(async move { Err(refused) })
    }
}

fn token<T>(request: &Request<T>) -> Option<String> {
    let header = request.metadata().get("authorization").and_then(|value| value.to_str().ok());
    super::login::bearer(header).map(str::to_owned)
}
