//! `etcdserverpb.Lease`.

use std::{sync::Arc, time::Instant};

use etcd_client::proto::{
    PbLeaseGrantRequest, PbLeaseGrantResponse, PbLeaseKeepAliveRequest, PbLeaseKeepAliveResponse,
    PbLeaseLeasesRequest, PbLeaseLeasesResponse, PbLeaseRevokeRequest, PbLeaseRevokeResponse, PbLeaseService,
    PbLeaseStatus, PbLeaseTimeToLiveRequest, PbLeaseTimeToLiveResponse,
};
use futures_util::stream::{self, BoxStream};
use tokio::sync::watch as signal;
use tonic::{Request, Response, Status, Streaming, async_trait};

use super::{Shared, header, stopped};
use crate::{allowance::Allowance, client::Client, refusal::Refusal, registry::Registry};

#[derive(Clone, Debug)]
pub(super) struct LeaseService(pub Arc<Shared>);

#[async_trait]
impl PbLeaseService for LeaseService {
    type LeaseKeepAliveStream = BoxStream<'static, Result<PbLeaseKeepAliveResponse, Status>>;

    async fn lease_grant(
        &self,
        request: Request<PbLeaseGrantRequest>,
    ) -> Result<Response<PbLeaseGrantResponse>, Status> {
        let request = request.get_ref();
        let choose = || fastrand::i64(1..i64::MAX);
        let (id, ttl, revision) = self.0.ask(|registry| {
            let (id, ttl) = registry.grant(request.id, request.ttl, Instant::now(), choose)?;
            Ok((id, ttl, registry.revision()))
        })?;
        let header = Some(header(revision));
        Ok(Response::new(PbLeaseGrantResponse { header, id, ttl, error: String::new() }))
    }

    async fn lease_revoke(
        &self,
        request: Request<PbLeaseRevokeRequest>,
    ) -> Result<Response<PbLeaseRevokeResponse>, Status> {
        let client = Client::of(request.extensions());
        let id = request.get_ref().id;
        let revision = self.0.ask_in_turn(&client, |registry| registry.revoke(id, Instant::now())).await?;
        Ok(Response::new(PbLeaseRevokeResponse { header: Some(header(revision)) }))
    }

    async fn lease_keep_alive(
        &self,
        request: Request<Streaming<PbLeaseKeepAliveRequest>>,
    ) -> Result<Response<Self::LeaseKeepAliveStream>, Status> {
        let shared = Arc::clone(&self.0);
        let stopping = shared.stopping.clone();
        let session = KeepAlive { shared, requests: request.into_inner(), stopping };
        let answers = stream::unfold(session, async |mut session| Some((session.next().await?, session)));
        Ok(Response::new(Box::pin(answers)))
    }

    async fn lease_time_to_live(
        &self,
        request: Request<PbLeaseTimeToLiveRequest>,
    ) -> Result<Response<PbLeaseTimeToLiveResponse>, Status> {
        let client = Client::of(request.extensions());
        let request = request.get_ref();
        let ask = |registry: &mut Registry, allowance: &mut Allowance| {
            let now = Instant::now();
            let header = Some(header(registry.revision()));
            let Some(lease) = registry.lease(request.id, now) else {
                return Ok(PbLeaseTimeToLiveResponse {
                    header,
                    id: request.id,
                    ttl: -1,
                    ..Default::default()
                });
            };
            Ok(PbLeaseTimeToLiveResponse {
                header,
                id: request.id,
                ttl: lease.remaining(now),
                granted_ttl: lease.ttl(),
                keys: if request.keys { lease.copy_keys(allowance)? } else { Vec::new() },
            })
        };
        let (time_to_live, paid) = self.0.answer(&client, ask).await?;
        Ok(paid.carried_by(time_to_live))
    }

    async fn lease_leases(
        &self,
        request: Request<PbLeaseLeasesRequest>,
    ) -> Result<Response<PbLeaseLeasesResponse>, Status> {
        let client = Client::of(request.extensions());
        let ask = |registry: &mut Registry, allowance: &mut Allowance| {
            let leases = registry.lease_ids(Instant::now(), allowance)?;
            let leases = leases.into_iter().map(|id| PbLeaseStatus { id }).collect();
            Ok(PbLeaseLeasesResponse { header: Some(header(registry.revision())), leases })
        };
        let (leases, paid) = self.0.answer(&client, ask).await?;
        Ok(paid.carried_by(leases))
    }
}

/// One client's keep-alives, answered in their order.
struct KeepAlive {
    shared: Arc<Shared>,
    requests: Streaming<PbLeaseKeepAliveRequest>,
    stopping: signal::Receiver<bool>,
}

impl KeepAlive {
    /// None once the client sends no more.
    async fn next(&mut self) -> Option<Result<PbLeaseKeepAliveResponse, Status>> {
        tokio::select! {
            () = stopped(&mut self.stopping) => Some(Err(Refusal::Stopped.into())),
            request = self.requests.message() => {
                request.map(|request| request.map(|request| self.answer(&request))).transpose()
            }
        }
    }

    /// As in etcd, a TTL of 0 says that there is no such lease.
    fn answer(&self, request: &PbLeaseKeepAliveRequest) -> PbLeaseKeepAliveResponse {
        let mut registry = self.shared.locked();
        let header = Some(header(registry.revision()));
        let ttl = registry.keep_alive(request.id, Instant::now()).unwrap_or(0);
        PbLeaseKeepAliveResponse { header, id: request.id, ttl }
    }
}
