//! etcd's services, played from the script. What no test needs is not there, and says so.

use std::{
    sync::{Arc, Mutex},
    time::Instant,
};

use etcd_client::proto::{
    PbCompactionRequest, PbCompactionResponse, PbDeleteRequest, PbDeleteResponse, PbKvService,
    PbLeaseGrantRequest, PbLeaseGrantResponse, PbLeaseKeepAliveRequest, PbLeaseKeepAliveResponse,
    PbLeaseLeasesRequest, PbLeaseLeasesResponse, PbLeaseRevokeRequest, PbLeaseRevokeResponse, PbLeaseService,
    PbLeaseTimeToLiveRequest, PbLeaseTimeToLiveResponse, PbPutRequest, PbPutResponse, PbRangeRequest,
    PbRangeResponse, PbRangeStreamResponse, PbTxnRequest, PbTxnResponse, PbWatchRequest, PbWatchRequestUnion,
    PbWatchService,
};
use futures_util::stream::{BoxStream, StreamExt, unfold};
use tonic::{Response, Result, Status, Streaming, async_trait};

use super::{Answers, Asked, Request, Watches, lock, watches::Spoken};

/// The script, as the server sees it. Clones share it.
#[derive(Clone, Default)]
pub(super) struct Puppet {
    pub ranges: Answers<PbRangeResponse>,
    pub txns: Answers<PbTxnResponse>,
    pub grants: Answers<PbLeaseGrantResponse>,
    pub keepalives: Answers<PbLeaseKeepAliveResponse>,
    pub revokes: Answers<PbLeaseRevokeResponse>,
    pub watches: Watches,
    pub asked: Arc<Mutex<Vec<Asked>>>,
}

impl Puppet {
    fn note(&self, request: Request) {
        lock(&self.asked).push(Asked { at: Instant::now(), request });
    }
}

#[async_trait]
impl PbKvService for Puppet {
    type RangeStreamStream = BoxStream<'static, Result<PbRangeStreamResponse>>;

    async fn range(&self, request: tonic::Request<PbRangeRequest>) -> Result<Response<PbRangeResponse>> {
        self.note(Request::Range(request.into_inner()));
        self.ranges.answer().await.map(Response::new)
    }

    async fn txn(&self, request: tonic::Request<PbTxnRequest>) -> Result<Response<PbTxnResponse>> {
        self.note(Request::Txn(request.into_inner()));
        self.txns.answer().await.map(Response::new)
    }

    async fn range_stream(
        &self,
        _: tonic::Request<PbRangeRequest>,
    ) -> Result<Response<Self::RangeStreamStream>> {
        Err(not_played())
    }

    async fn put(&self, _: tonic::Request<PbPutRequest>) -> Result<Response<PbPutResponse>> {
        Err(not_played())
    }

    async fn delete_range(&self, _: tonic::Request<PbDeleteRequest>) -> Result<Response<PbDeleteResponse>> {
        Err(not_played())
    }

    async fn compact(
        &self,
        _: tonic::Request<PbCompactionRequest>,
    ) -> Result<Response<PbCompactionResponse>> {
        Err(not_played())
    }
}

#[async_trait]
impl PbLeaseService for Puppet {
    type LeaseKeepAliveStream = BoxStream<'static, Result<PbLeaseKeepAliveResponse>>;

    async fn lease_grant(
        &self,
        request: tonic::Request<PbLeaseGrantRequest>,
    ) -> Result<Response<PbLeaseGrantResponse>> {
        self.note(Request::Grant { ttl: request.into_inner().ttl });
        self.grants.answer().await.map(Response::new)
    }

    async fn lease_revoke(
        &self,
        request: tonic::Request<PbLeaseRevokeRequest>,
    ) -> Result<Response<PbLeaseRevokeResponse>> {
        self.note(Request::Revoke { lease: request.into_inner().id });
        self.revokes.answer().await.map(Response::new)
    }

    async fn lease_keep_alive(
        &self,
        request: tonic::Request<Streaming<PbLeaseKeepAliveRequest>>,
    ) -> Result<Response<Self::LeaseKeepAliveStream>> {
        let requests = request.into_inner();
        let answers = unfold((self.clone(), requests), async |(puppet, mut requests)| {
            let request = requests.message().await.ok()??;
            puppet.note(Request::KeepAlive { lease: request.id });
            Some((puppet.keepalives.answer().await, (puppet, requests)))
        });
        Ok(Response::new(answers.boxed()))
    }

    async fn lease_time_to_live(
        &self,
        _: tonic::Request<PbLeaseTimeToLiveRequest>,
    ) -> Result<Response<PbLeaseTimeToLiveResponse>> {
        Err(not_played())
    }

    async fn lease_leases(
        &self,
        _: tonic::Request<PbLeaseLeasesRequest>,
    ) -> Result<Response<PbLeaseLeasesResponse>> {
        Err(not_played())
    }
}

#[async_trait]
impl PbWatchService for Puppet {
    type WatchStream = Spoken;

    async fn watch(
        &self,
        request: tonic::Request<Streaming<PbWatchRequest>>,
    ) -> Result<Response<Self::WatchStream>> {
        let requires_leader = request.metadata().contains_key("hasleader");
        let mut requests = request.into_inner();
        let first = requests.message().await?;
        let Some(PbWatchRequestUnion::CreateRequest(create)) = first.and_then(|r| r.request_union) else {
            return Err(Status::invalid_argument("the first request on a stream was not for a watch"));
        };
        self.note(Request::Watch { key: create.key, from: create.start_revision, requires_leader });
        tokio::spawn(self.clone().listen(requests));
        self.watches.open().map(Response::new)
    }
}

impl Puppet {
    /// Notes what else is asked on a watch's stream, until its client closes it.
    async fn listen(self, mut requests: Streaming<PbWatchRequest>) {
        while let Ok(Some(request)) = requests.message().await {
            if matches!(request.request_union, Some(PbWatchRequestUnion::ProgressRequest(_))) {
                self.note(Request::Progress);
            }
        }
    }
}

fn not_played() -> Status {
    Status::unimplemented("a scripted etcd does not play this call")
}
