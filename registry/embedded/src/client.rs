//! Who is at the other end of a connection.

use std::{
    net::{IpAddr, Ipv6Addr},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::{Mutex, Notify, OwnedSemaphorePermit, Semaphore, watch},
    time::timeout,
};
use tonic::codegen::http::Extensions;

use crate::hosts::{Hosts, OfHost};

/// A client, by its connection. Each of its requests carries it.
#[derive(Debug)]
pub(crate) struct Client {
    is_gateway: bool,
    host: IpAddr,
    calls: watch::Sender<usize>,
    /// How many bytes of answers its connection has taken; it may wrap.
    taken: AtomicUsize,
    /// A place of its own for a stream, and one for another call.
    own_stream: Arc<Semaphore>,
    own_call: Arc<Semaphore>,
    overdue: Notify,
    /// Held by the one of its calls that waits for its turn among other clients' calls.
    pub turn: Mutex<()>,
}

impl Client {
    /// A guest on this machine.
    pub(crate) fn guest() -> Arc<Self> {
        Self::of_host(Ipv6Addr::LOCALHOST.into())
    }

    pub(crate) fn of_host(host: IpAddr) -> Arc<Self> {
        Self::new(false, host)
    }

    /// The gateway in whose process the registry is. The bounds on guests are not for it: without the gateway the
    /// registry is of no use to them.
    pub(crate) fn gateway() -> Arc<Self> {
        Self::new(true, Ipv6Addr::LOCALHOST.into())
    }

    fn new(is_gateway: bool, host: IpAddr) -> Arc<Self> {
        let (calls, _) = watch::channel(0);
        let own = || Arc::new(Semaphore::new(1));
        let (own_stream, own_call) = (own(), own());
        let (taken, overdue, turn) = (AtomicUsize::new(0), Notify::new(), Mutex::new(()));
        Arc::new(Self { is_gateway, host, calls, taken, own_stream, own_call, overdue, turn })
    }

    /// Whose request this is. One that came on no connection is a guest's.
    pub(crate) fn of(request: &Extensions) -> Arc<Self> {
        request.get::<Arc<Self>>().map_or_else(Self::guest, Arc::clone)
    }

    pub(crate) fn is_gateway(&self) -> bool {
        self.is_gateway
    }

    /// Its connection has taken so many bytes more.
    pub(crate) fn take_bytes(&self, bytes: usize) {
        self.taken.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Changes with each byte that its connection takes.
    pub(crate) fn taken(&self) -> usize {
        self.taken.load(Ordering::Relaxed)
    }

    /// Has its connection closed, whatever is under way: it does not take the answers that it asked for.
    pub(crate) fn close(&self) {
        self.overdue.notify_one();
    }

    /// Ends when the connection is to be closed.
    pub(crate) async fn closed(&self) {
        self.overdue.notified().await;
    }

    /// Ends when nothing has been under way for so long.
    pub(crate) async fn idle(&self, period: Duration) {
        let mut calls = self.calls.subscribe();
        loop {
            let _ = calls.wait_for(|calls| *calls == 0).await;
            if timeout(period, calls.changed()).await.is_err() {
                return;
            }
        }
    }
}

/// The share of one connection is never less than this.
const LEAST_SHARE: usize = 16;

/// How many calls guests may have under way. Each connection always has a place for one stream and one other call, so
/// that every client can keep its lease alive and write. There are so many further places for all together, of which a
/// host may have half; and one connection may have no more calls than an eighth of that number.
#[derive(Clone, Debug)]
pub(crate) struct Calls {
    further: Arc<Semaphore>,
    by_host: Hosts,
    most_of_a_client: usize,
}

impl Calls {
    pub(crate) fn new(further: usize) -> Self {
        let places = Arc::new(Semaphore::new(further.min(Semaphore::MAX_PERMITS)));
        Self {
            further: places,
            by_host: Hosts::new(further.div_ceil(2)),
            most_of_a_client: further.div_ceil(8).max(LEAST_SHARE),
        }
    }

    /// Begins a call; none if there is no place for it.
    pub(crate) fn begin(&self, client: &Arc<Client>, is_stream: bool) -> Option<Call> {
        let place = if client.is_gateway { None } else { Some(self.place(client, is_stream)?) };
        client.calls.send_modify(|calls| *calls += 1);
        Some(Call { client: Arc::clone(client), _place: place })
    }

    fn place(&self, client: &Client, is_stream: bool) -> Option<PlaceOfCall> {
        let own = if is_stream { &client.own_stream } else { &client.own_call };
        if let Ok(place) = Arc::clone(own).try_acquire_owned() {
            return Some((place, None));
        }
        if *client.calls.borrow() >= self.most_of_a_client {
            return None;
        }
        let of_host = self.by_host.place(client.host)?;
        Some((Arc::clone(&self.further).try_acquire_owned().ok()?, Some(of_host)))
    }
}

/// A place of the connection's own; or a further one, with its place among those of the host.
type PlaceOfCall = (OwnedSemaphorePermit, Option<OfHost>);

/// A call that is under way until its answer is sent.
#[derive(Debug)]
pub(crate) struct Call {
    client: Arc<Client>,
    _place: Option<PlaceOfCall>,
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
        let (client, calls) = (Client::guest(), Calls::new(1));
        let start = Instant::now();
        let waiting = tokio::spawn({
            let client = Arc::clone(&client);
            async move { client.idle(Duration::from_secs(10)).await }
        });
        tokio::task::yield_now().await;
        advance(Duration::from_secs(9)).await;
        let call = calls.begin(&client, false).unwrap();
        tokio::task::yield_now().await;
        advance(Duration::from_secs(100)).await;
        assert!(!waiting.is_finished());
        drop(call);
        waiting.await.unwrap();
        assert_eq!(start.elapsed().as_secs(), 119);
    }

    #[test]
    fn whoever_is_connected_has_a_stream_and_another_call_whatever_others_hold() {
        let calls = Calls::new(16);
        let mut held = Vec::new();
        // Connections of this machine, which is one host without a share.
        for _ in 0..20 {
            let greedy = Client::guest();
            held.extend((0..100).map_while(|_| calls.begin(&greedy, true)));
        }
        assert_eq!(held.len(), 20 + 16, "one each, and all further ones");
        let registrar = Client::guest();
        let _stream = calls.begin(&registrar, true).unwrap();
        for _ in 0..3 {
            let _call = calls.begin(&registrar, false).unwrap();
            assert!(calls.begin(&registrar, false).is_none());
        }
        assert!((0..3).all(|_| calls.begin(&Client::gateway(), true).is_some()));
        drop(held);
        assert!(calls.begin(&registrar, true).is_some());
    }

    #[test]
    fn a_connection_has_a_share_of_all_calls_and_a_host_has_one() {
        let calls = Calls::new(160);
        let take =
            |client: &Arc<Client>| (0..100).map_while(|_| calls.begin(client, true)).collect::<Vec<_>>();
        let connection = |host: &str| Client::of_host(host.parse().unwrap());
        let one = take(&connection("192.0.2.1"));
        assert_eq!(one.len(), 20);
        let of_host: Vec<_> = (0..10).flat_map(|_| take(&connection("192.0.2.1"))).collect();
        assert_eq!(one.len() + of_host.len(), 80 + 11, "half of the further ones, and one each");
        assert_eq!(take(&connection("192.0.2.2")).len(), 20);
    }
}
