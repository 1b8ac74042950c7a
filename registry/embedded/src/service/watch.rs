//! `etcdserverpb.Watch`.

use std::sync::Arc;

use etcd_client::proto::{PbWatchRequest, PbWatchResponse, PbWatchService};
use futures_util::stream::{self, BoxStream};
use tonic::{Request, Response, Status, Streaming, async_trait};

use super::{Shared, head::has_token, session::WatchSession};
use crate::client::Client;

#[derive(Clone, Debug)]
pub(super) struct WatchService(pub Arc<Shared>);

#[async_trait]
impl PbWatchService for WatchService {
    type WatchStream = BoxStream<'static, Result<PbWatchResponse, Status>>;

    async fn watch(
        &self,
        request: Request<Streaming<PbWatchRequest>>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let has_token = has_token(request.metadata().as_ref());
        let client = Client::of(request.extensions());
        let session = WatchSession::open(Arc::clone(&self.0), client, request.into_inner(), has_token)?;
        let paid = session.paid();
        let answers = stream::unfold(session, async |mut session| Some((session.next().await?, session)));
        Ok(paid.carried_by(Box::pin(answers)))
    }
}
