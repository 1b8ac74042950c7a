//! `etcdserverpb.KV`.

use std::{sync::Arc, time::Instant};

use etcd_client::proto::{
    PbCompactionRequest, PbCompactionResponse, PbDeleteRequest, PbDeleteResponse, PbKvService, PbPutRequest,
    PbPutResponse, PbRangeRequest, PbRangeResponse, PbRangeStreamResponse, PbTxnRequest, PbTxnResponse,
};
use futures_util::stream::Empty;
use tonic::{Request, Response, Status, async_trait};

use super::{Shared, header};
use crate::client::Client;

#[derive(Clone, Debug)]
pub(super) struct KvService(pub Arc<Shared>);

#[async_trait]
impl PbKvService for KvService {
    type RangeStreamStream = Empty<Result<PbRangeStreamResponse, Status>>;

    async fn range(&self, request: Request<PbRangeRequest>) -> Result<Response<PbRangeResponse>, Status> {
        let client = Client::of(request.extensions());
        let request = request.get_ref();
        let (found, paid) =
            self.0.answer(&client, |registry, allowance| registry.range(request, allowance)).await?;
        let header = header(found.revision);
        Ok(paid.carried_by(found.into_response(header)))
    }

    async fn range_stream(
        &self,
        _: Request<PbRangeRequest>,
    ) -> Result<Response<Self::RangeStreamStream>, Status> {
        Err(self.0.unknown("/etcdserverpb.KV/RangeStream"))
    }

    async fn put(&self, request: Request<PbPutRequest>) -> Result<Response<PbPutResponse>, Status> {
        let client = Client::of(request.extensions());
        let request = request.get_ref();
        let (put, paid) = self
            .0
            .answer(&client, |registry, allowance| registry.put(request.clone(), Instant::now(), allowance))
            .await?;
        let header = header(put.revision);
        Ok(paid.carried_by(put.into_response(header)))
    }

    async fn delete_range(
        &self,
        request: Request<PbDeleteRequest>,
    ) -> Result<Response<PbDeleteResponse>, Status> {
        let client = Client::of(request.extensions());
        let request = request.get_ref();
        let (deleted, paid) =
            self.0.answer(&client, |registry, allowance| registry.delete(request, allowance)).await?;
        let header = header(deleted.revision);
        Ok(paid.carried_by(deleted.into_response(header)))
    }

    async fn txn(&self, request: Request<PbTxnRequest>) -> Result<Response<PbTxnResponse>, Status> {
        let client = Client::of(request.extensions());
        let request = request.get_ref();
        let (txn, paid) = self
            .0
            .answer(&client, |registry, allowance| registry.txn(request.clone(), Instant::now(), allowance))
            .await?;
        let header = header(txn.revision);
        Ok(paid.carried_by(txn.into_response(header)))
    }

    async fn compact(
        &self,
        request: Request<PbCompactionRequest>,
    ) -> Result<Response<PbCompactionResponse>, Status> {
        let client = Client::of(request.extensions());
        let revision = request.get_ref().revision;
        let revision = self.0.ask_in_turn(&client, |registry| registry.compact(revision)).await?;
        Ok(Response::new(PbCompactionResponse { header: Some(header(revision)) }))
    }
}
