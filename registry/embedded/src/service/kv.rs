//! `etcdserverpb.KV`.

use std::{sync::Arc, time::Instant};

use etcd_client::proto::{
    PbCompactionRequest, PbCompactionResponse, PbDeleteRequest, PbDeleteResponse, PbKvService, PbPutRequest,
    PbPutResponse, PbRangeRequest, PbRangeResponse, PbRangeStreamResponse, PbTxnRequest, PbTxnResponse,
};
use futures_util::stream::Empty;
use tonic::{Request, Response, Status, async_trait};

use super::{Shared, header};

#[derive(Clone, Debug)]
pub(super) struct Kv(pub Arc<Shared>);

#[async_trait]
impl PbKvService for Kv {
    type RangeStreamStream = Empty<Result<PbRangeStreamResponse, Status>>;

    async fn range(&self, request: Request<PbRangeRequest>) -> Result<Response<PbRangeResponse>, Status> {
        let found = self.0.ask(|registry| registry.range(request.get_ref()))?;
        let header = header(found.revision);
        Ok(Response::new(found.into_response(header)))
    }

    async fn range_stream(
        &self,
        _: Request<PbRangeRequest>,
    ) -> Result<Response<Self::RangeStreamStream>, Status> {
        Err(self.0.unknown("/etcdserverpb.KV/RangeStream"))
    }

    async fn put(&self, request: Request<PbPutRequest>) -> Result<Response<PbPutResponse>, Status> {
        let put = self.0.ask(|registry| registry.put(request.into_inner(), Instant::now()))?;
        let header = header(put.revision);
        Ok(Response::new(put.into_response(header)))
    }

    async fn delete_range(
        &self,
        request: Request<PbDeleteRequest>,
    ) -> Result<Response<PbDeleteResponse>, Status> {
        let deleted = self.0.ask(|registry| registry.delete(request.get_ref()))?;
        let header = header(deleted.revision);
        Ok(Response::new(deleted.into_response(header)))
    }

    async fn txn(&self, request: Request<PbTxnRequest>) -> Result<Response<PbTxnResponse>, Status> {
        let txn = self.0.ask(|registry| registry.txn(request.into_inner(), Instant::now()))?;
        let header = header(txn.revision);
        Ok(Response::new(txn.into_response(header)))
    }

    async fn compact(
        &self,
        request: Request<PbCompactionRequest>,
    ) -> Result<Response<PbCompactionResponse>, Status> {
        let revision = self.0.ask(|registry| registry.compact(request.get_ref().revision))?;
        Ok(Response::new(PbCompactionResponse { header: Some(header(revision)) }))
    }
}
