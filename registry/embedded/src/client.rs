//! Who is at the other end of a connection.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{Mutex, Notify, OwnedSemaphorePermit, Semaphore, watch},
    time::timeout,
};
use tonic::codegen::http::Extensions;

/// A client, by its connection. Each of its requests carries it.
#[derive(Debug)]
pub(crate) struct Client {
    is_gateway: bool,
    calls: watch::Sender<usize>,
    overdue: Notify,
    /// Held by the one of its calls that waits for its turn among other clients' calls.
    pub turn: Mutex<()>,
}

impl Client {
    pub fn guest() -> Arc<Self> {
        Self::new(false)
    }

    /// The gateway in whose process the registry is. What bounds guests does not bound it, for without it
    /// the registry is of no use to them.
    pub fn gateway() -> Arc<Self> {
        Self::new(true)
    }

    fn new(is_gateway: bool) -> Arc<Self> {
        let (calls, _) = watch::channel(0);
        Arc::new(Self { is_gateway, calls, overdue: Notify::new(), turn: Mutex::new(()) })
    }

    /// Whose request this is. One that came on no connection is a guest's.
    pub fn of(request: &Extensions) -> Arc<Self> {
        request.get::<Arc<Self>>().map_or_else(Self::guest, Arc::clone)
    }

    pub fn is_gateway(&self) -> bool {
        self.is_gateway
    }

    /// Its connection is to be closed, whatever is under way: it does not take what it asked for.
    pub fn close(&self) {
        self.overdue.notify_one();
    }

    /// Ends when the connection is to be closed.
    pub async fn closed(&self) {
        self.overdue.notified().await;
    }

    /// Ends when nothing has been under way for so long.
    pub async fn idle(&self, period: Duration) {
        let mut calls = self.calls.subscribe();
        loop {
            let _ = calls.wait_for(|calls| *calls == 0).await;
            if timeout(period, calls.changed()).await.is_err() {
                return;
            }
        }
    }
}

/// A call that is under way until its answer is sent.
#[derive(Debug)]
pub(crate) struct Call {
    client: Arc<Client>,
    _place: Option<OwnedSemaphorePermit>,
}

impl Call {
    /// None if a guest finds every place taken.
    pub fn begin(client: &Arc<Client>, places: &Arc<Semaphore>) -> Option<Self> {
        let place = match client.is_gateway {
            true => None,
            false => Some(Arc::clone(places).try_acquire_owned().ok()?),
        };
        client.calls.send_modify(|calls| *calls += 1);
        Some(Self { client: Arc::clone(client), _place: place })
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.client.calls.send_modify(|calls| *calls -= 1);
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::{Instant, advance};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_client_is_idle_once_nothing_was_under_way_for_so_long() {
        let (client, places) = (Client::guest(), Arc::new(Semaphore::new(1)));
        let start = Instant::now();
        let waiting = tokio::spawn({
            let client = Arc::clone(&client);
            async move { client.idle(Duration::from_secs(10)).await }
        });
        tokio::task::yield_now().await;
        advance(Duration::from_secs(9)).await;
        let call = Call::begin(&client, &places).unwrap();
        tokio::task::yield_now().await;
        advance(Duration::from_secs(100)).await;
        assert!(!waiting.is_finished());
        drop(call);
        waiting.await.unwrap();
        assert_eq!(start.elapsed().as_secs(), 119);
    }

    #[tokio::test]
    async fn a_guest_finds_no_place_where_the_gateway_needs_none() {
        let places = Arc::new(Semaphore::new(1));
        let call = Call::begin(&Client::guest(), &places).unwrap();
        assert!(Call::begin(&Client::guest(), &places).is_none());
        assert!(Call::begin(&Client::gateway(), &places).is_some());
        drop(call);
        assert!(Call::begin(&Client::guest(), &places).is_some());
    }
}
