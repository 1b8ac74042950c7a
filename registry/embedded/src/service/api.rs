//! Which service answers which path, and what is said in etcd's words instead of the transport's.

use std::{
    convert::Infallible,
    sync::Arc,
    task::{Context, Poll},
};

use etcd_client::proto::{PbClusterServer, PbKvServer, PbLeaseServer, PbMaintenanceServer, PbWatchServer};
use tonic::{
    Code, Status,
    body::Body,
    codegen::{BoxFuture, Service, http},
};

use super::{
    Shared, auth::Auth, cluster::Cluster, kv::Kv, lease::Lease, maintenance::Maintenance, watch::Watch,
};

/// The largest message that etcd's transport takes by default: the largest write, and half a mebibyte.
const MAX_MESSAGE: usize = 2 * 1024 * 1024;

type Answer = http::Response<Body>;

/// Everything that the registry serves.
#[derive(Clone, Debug)]
pub(crate) struct Api {
    kv: PbKvServer<Kv>,
    watch: PbWatchServer<Watch>,
    lease: PbLeaseServer<Lease>,
    cluster: PbClusterServer<Cluster>,
    maintenance: PbMaintenanceServer<Maintenance>,
    auth: Auth,
    shared: Arc<Shared>,
}

impl Api {
    pub fn new(shared: &Arc<Shared>) -> Self {
        let shared = || Arc::clone(shared);
        Self {
            kv: PbKvServer::new(Kv(shared())).max_decoding_message_size(MAX_MESSAGE),
            watch: PbWatchServer::new(Watch(shared())).max_decoding_message_size(MAX_MESSAGE),
            lease: PbLeaseServer::new(Lease(shared())).max_decoding_message_size(MAX_MESSAGE),
            cluster: PbClusterServer::new(Cluster(shared())).max_decoding_message_size(MAX_MESSAGE),
            maintenance: PbMaintenanceServer::new(Maintenance(shared()))
                .max_decoding_message_size(MAX_MESSAGE),
            auth: Auth(shared()),
            shared: shared(),
        }
    }
}

impl Service<http::Request<Body>> for Api {
    type Response = Answer;
    type Error = Infallible;
    type Future = BoxFuture<Answer, Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let uri = request.uri().clone();
        let answer = match uri.path().rsplit_once('/').map(|(service, _)| service) {
            Some("/etcdserverpb.KV") => self.kv.call(request),
            Some("/etcdserverpb.Watch") => self.watch.call(request),
            Some("/etcdserverpb.Lease") => self.lease.call(request),
            Some("/etcdserverpb.Cluster") => self.cluster.call(request),
            Some("/etcdserverpb.Maintenance") => self.maintenance.call(request),
            Some("/etcdserverpb.Auth") => self.auth.call(request),
            _ => Box::pin(std::future::ready(Ok(self.shared.unimplemented(uri.path()).into_http()))),
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
        Code::Unimplemented if status.message().is_empty() => shared.unimplemented(path).into_http(),
        Code::OutOfRange => shared.too_large(&status).map_or(answer, Status::into_http),
        _ => answer,
    }
}

/// What etcd says of a message that its transport does not take, if that is what tonic says here.
pub(super) fn too_large(status: &Status) -> Option<Status> {
    let sizes = status.message().strip_prefix("Error, decoded message length too large: found ")?;
    let (found, _) = sizes.split_once(' ')?;
    let text = format!("grpc: received message larger than max ({found} vs. {MAX_MESSAGE})");
    Some(Status::resource_exhausted(text))
}
