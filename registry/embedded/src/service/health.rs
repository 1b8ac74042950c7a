//! `grpc.health.v1.Health`: load balancers and clients ask it whether a server serves.
//!
//! Of its own: `tonic-health` keeps a status for each service behind a lock, and here there is nothing to keep.
//! As in etcd, the server as a whole, the service without a name, serves; it knows of no other.

use std::{
    convert::Infallible,
    future::{Ready, ready},
    sync::Arc,
};

use futures_util::{
    StreamExt,
    stream::{self, BoxStream},
};
use tonic::{
    Request, Response, Status,
    body::Body,
    codegen::{BoxFuture, http},
    server::{ServerStreamingService, UnaryService},
};

use super::{Shared, grpc, stopped};
use crate::refusal::Refusal;

const SERVING: i32 = 1;
const SERVICE_UNKNOWN: i32 = 3;

#[derive(Clone, Debug)]
pub(super) struct HealthService(pub Arc<Shared>);

#[derive(Clone, PartialEq, Eq, prost::Message)]
struct HealthCheckRequest {
    #[prost(string, tag = "1")]
    service: String,
}

#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
struct HealthCheckResponse {
    #[prost(int32, tag = "1")]
    status: i32,
}

impl HealthService {
    pub(super) fn call(&self, request: http::Request<Body>) -> BoxFuture<http::Response<Body>, Infallible> {
        match request.uri().path() {
            "/grpc.health.v1.Health/Check" => {
                Box::pin(async { Ok(grpc().unary(HealthCheck, request).await) })
            }
            "/grpc.health.v1.Health/Watch" => {
                let watch = HealthWatch(Arc::clone(&self.0));
                Box::pin(async { Ok(grpc().server_streaming(watch, request).await) })
            }
            other => Box::pin(ready(Ok(self.0.unknown(other).into_http()))),
        }
    }
}

struct HealthCheck;

impl UnaryService<HealthCheckRequest> for HealthCheck {
    type Response = HealthCheckResponse;
    type Future = Ready<Result<Response<HealthCheckResponse>, Status>>;

    fn call(&mut self, request: Request<HealthCheckRequest>) -> Self::Future {
        let is_known = request.get_ref().service.is_empty();
        let status = Response::new(HealthCheckResponse { status: SERVING });
        ready(is_known.then_some(status).ok_or_else(|| Status::not_found("unknown service")))
    }
}

struct HealthWatch(Arc<Shared>);

impl ServerStreamingService<HealthCheckRequest> for HealthWatch {
    type Response = HealthCheckResponse;
    type ResponseStream = BoxStream<'static, Result<HealthCheckResponse, Status>>;
    type Future = Ready<Result<Response<Self::ResponseStream>, Status>>;

    /// Says the status, and nothing more until the server stops: it does not change.
    fn call(&mut self, request: Request<HealthCheckRequest>) -> Self::Future {
        let is_known = request.get_ref().service.is_empty();
        let status = if is_known { SERVING } else { SERVICE_UNKNOWN };
        let mut stopping = self.0.stopping.clone();
        let end = async move {
            stopped(&mut stopping).await;
            Err(Refusal::Stopped.into())
        };
        let told = stream::iter([Ok(HealthCheckResponse { status })]).chain(stream::once(end));
        ready(Ok(Response::new(told.boxed())))
    }
}
