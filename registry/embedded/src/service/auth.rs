//! `etcdserverpb.Auth`, as of an etcd whose authentication is off.
//!
//! It does without etcd-client's service trait, which cannot be implemented: two of its types are private.

use std::{convert::Infallible, sync::Arc};

use etcd_client::proto::PbResponseHeader;
use tonic::{
    Request, Response, Status,
    body::Body,
    codegen::{BoxFuture, http},
    server::UnaryService,
};

use super::{Shared, grpc, header};
use crate::refusal::Refusal;

/// etcd counts changes of users and roles from here.
const AUTH_REVISION: u64 = 1;

#[derive(Clone, Debug)]
pub(super) struct AuthService(pub Arc<Shared>);

#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
struct AuthStatusRequest {}

#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
struct AuthStatusResponse {
    #[prost(message, optional, tag = "1")]
    header: Option<PbResponseHeader>,
    #[prost(bool, tag = "2")]
    enabled: bool,
    #[prost(uint64, tag = "3")]
    auth_revision: u64,
}

impl AuthService {
    pub(super) fn call(&self, request: http::Request<Body>) -> BoxFuture<http::Response<Body>, Infallible> {
        let refused = |status: Status| -> BoxFuture<_, Infallible> {
            Box::pin(std::future::ready(Ok(status.into_http())))
        };
        match request.uri().path() {
            "/etcdserverpb.Auth/AuthStatus" => {
                let status = AuthStatus(Arc::clone(&self.0));
                Box::pin(async { Ok(grpc().unary(status, request).await) })
            }
            "/etcdserverpb.Auth/Authenticate" => refused(self.0.refuse(Refusal::AuthNotEnabled)),
            other => refused(self.0.unknown(other)),
        }
    }
}

struct AuthStatus(Arc<Shared>);

impl UnaryService<AuthStatusRequest> for AuthStatus {
    type Response = AuthStatusResponse;
    type Future = std::future::Ready<Result<Response<AuthStatusResponse>, Status>>;

    fn call(&mut self, _: Request<AuthStatusRequest>) -> Self::Future {
        let header = Some(header(self.0.locked().revision()));
        let status = AuthStatusResponse { header, enabled: false, auth_revision: AUTH_REVISION };
        std::future::ready(Ok(Response::new(status)))
    }
}
