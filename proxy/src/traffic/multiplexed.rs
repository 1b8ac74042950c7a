//! The connections to an endpoint on which HTTP/2 is spoken.

use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;

use bytes::Bytes;
use h2::SendStream;
use h2::client::{Builder, ResponseFuture, SendRequest};
use http::Request;

use crate::link::Link;

#[derive(Debug, Default)]
pub(crate) struct Multiplexed(Mutex<Option<SendRequest<Bytes>>>);

#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted {
    pub(crate) generation: u64,
    pub(crate) is_fresh: bool,
    pub(crate) idle: Duration,
}

#[derive(Debug)]
pub(crate) struct Stream(SendRequest<Bytes>, bool);

impl Stream {
    pub(crate) fn send_request(
        &mut self,
        head: Request<()>,
        is_whole: bool,
    ) -> Result<(ResponseFuture, SendStream<Bytes>), h2::Error> {
        self.0.send_request(head, is_whole)
    }

    pub(crate) fn was_used(&self) -> bool {
        self.1
    }
}

impl Multiplexed {
    pub(crate) async fn stream<E>(
        self: Arc<Self>,
        _wanted: Wanted,
        dial: impl Future<Output = Result<Link, E>> + Send + 'static,
    ) -> Result<Stream, E> {
        let kept = self.0.lock().unwrap().clone();
        if let Some(kept) = kept {
            if let Ok(ready) = kept.ready().await {
                return Ok(Stream(ready, true));
            }
        }
        let link = dial.await?;
        let (send, connection) = Builder::new().handshake::<_, Bytes>(link).await.unwrap();
        tokio::spawn(connection);
        *self.0.lock().unwrap() = Some(send.clone());
        Ok(Stream(send.ready().await.unwrap(), false))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    Declined,
    WentAway,
    Reset(h2::Reason),
    Broke,
    Malformed,
}

pub(crate) fn fate(error: &h2::Error) -> Fate {
    match error.reason() {
        Some(h2::Reason::REFUSED_STREAM) if error.is_remote() => Fate::Declined,
        _ if error.is_go_away() && error.is_remote() => Fate::WentAway,
        Some(reason) if error.is_remote() => Fate::Reset(reason),
        Some(_) => Fate::Malformed,
        None => Fate::Broke,
    }
}
