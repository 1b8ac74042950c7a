//! Which service answers which path, and what is said in etcd's words instead of the transport's.

use std::{
    convert::Infallible,
    future::ready,
    sync::Arc,
    task::{Context, Poll},
};

use etcd_client::proto::{PbClusterServer, PbKvServer, PbLeaseServer, PbMaintenanceServer, PbWatchServer};
use tonic::{
    Code, Status,
    body::Body,
    codec::CompressionEncoding,
    codegen::{BoxFuture, Service, http},
};

use super::{
    MAX_MESSAGE, Shared, auth::AuthService, cluster::ClusterService, grpc_with, head, health::HealthService,
    kv::KvService, lease::LeaseService, maintenance::MaintenanceService, txn::Counted, watch::WatchService,
};
use crate::refusal::Refusal;

/// The largest request of a watch or a keep-alive: these go on for ever, and a client may have many of them.
const MAX_STREAMED: usize = 16 * 1024;

/// The calls that go on: they take messages, or tell them, until their client ends them.
const STREAMS: [&str; 3] =
    ["/etcdserverpb.Watch/Watch", "/etcdserverpb.Lease/LeaseKeepAlive", "/grpc.health.v1.Health/Watch"];

/// Whether a call goes on after its first message, either way.
pub(crate) fn is_stream(path: &str) -> bool {
    STREAMS.contains(&path)
}

type Answer = http::Response<Body>;

/// Everything that the registry serves.
#[derive(Clone, Debug)]
pub(crate) struct Api {
    kv: PbKvServer<KvService>,
    watch: PbWatchServer<WatchService>,
    lease: PbLeaseServer<LeaseService>,
    cluster: PbClusterServer<ClusterService>,
    maintenance: PbMaintenanceServer<MaintenanceService>,
    auth: AuthService,
    health: HealthService,
    shared: Arc<Shared>,
}

impl Api {
    pub(crate) fn new(shared: &Arc<Shared>) -> Self {
        let shared = || Arc::clone(shared);
        // Each service is a type of its own.
        macro_rules! with_limits {
            ($server:expr, $max_message:expr) => {
                $server
                    .max_decoding_message_size($max_message)
                    .accept_compressed(CompressionEncoding::Gzip)
                    .send_compressed(CompressionEncoding::Gzip)
            };
        }
        Self {
            kv: with_limits!(PbKvServer::new(KvService(shared())), MAX_MESSAGE),
            watch: with_limits!(PbWatchServer::new(WatchService(shared())), MAX_STREAMED),
            lease: with_limits!(PbLeaseServer::new(LeaseService(shared())), MAX_STREAMED),
            cluster: with_limits!(PbClusterServer::new(ClusterService(shared())), MAX_MESSAGE),
            maintenance: with_limits!(PbMaintenanceServer::new(MaintenanceService(shared())), MAX_MESSAGE),
            auth: AuthService(shared()),
            health: HealthService(shared()),
            shared: shared(),
        }
    }

    fn txn(&self, request: http::Request<Body>) -> BoxFuture<Answer, Infallible> {
        let shared = Arc::clone(&self.shared);
        Box::pin(async {
            Ok(grpc_with(Counted(Arc::clone(&shared))).unary(KvService(shared), request).await)
        })
    }

    /// What can be refused by the head alone.
    fn check(&self, path: &str, headers: &http::HeaderMap) -> Result<(), Status> {
        let count = |_: &Status| self.shared.memory.count_refusal("unknown encoding".to_owned());
        head::check_encoding(headers).inspect_err(count)?;
        if head::looks_at_tokens(path) && head::has_token(headers) {
            return Err(self.shared.refuse(Refusal::InvalidToken));
        }
        Ok(())
    }
}

impl Service<http::Request<Body>> for Api {
    type Response = Answer;
    type Error = Infallible;
    type Future = BoxFuture<Answer, Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: http::Request<Body>) -> Self::Future {
        let uri = request.uri().clone();
        let refused = |status: Status| -> Self::Future { Box::pin(ready(Ok(status.into_http()))) };
        if let Err(status) = self.check(uri.path(), request.headers()) {
            return refused(status);
        }
        head::answer_in_kind(request.headers_mut());
        let answer = match uri.path().rsplit_once('/').map(|(service, _)| service) {
            Some("/etcdserverpb.KV") if uri.path() == "/etcdserverpb.KV/Txn" => self.txn(request),
            Some("/etcdserverpb.KV") => self.kv.call(request),
            Some("/etcdserverpb.Watch") => self.watch.call(request),
            Some("/etcdserverpb.Lease") => self.lease.call(request),
            Some("/etcdserverpb.Cluster") => self.cluster.call(request),
            Some("/etcdserverpb.Maintenance") => self.maintenance.call(request),
            Some("/etcdserverpb.Auth") => self.auth.call(request),
            Some("/grpc.health.v1.Health") => self.health.call(request),
            _ => refused(self.shared.unknown(uri.path())),
        };
        let shared = Arc::clone(&self.shared);
        Box::pin(async move { answer.await.map(|answer| in_etcds_words(&shared, answer, uri.path())) })
    }
}

/// Answers of the transport itself, rather than of a service.
fn in_etcds_words(shared: &Shared, answer: Answer, path: &str) -> Answer {
    // A refusal that comes without any message has its status in the head.
    let Some(status) = Status::from_header_map(answer.headers()) else { return answer };
    match status.code() {
        Code::Unimplemented if status.message().is_empty() => shared.unknown(path).into_http(),
        Code::Internal => {
            shared.memory.count_refusal("malformed message".to_owned());
            answer
        }
        Code::OutOfRange | Code::ResourceExhausted => {
            shared.too_large(&status).map_or(answer, Status::into_http)
        }
        _ => answer,
    }
}
