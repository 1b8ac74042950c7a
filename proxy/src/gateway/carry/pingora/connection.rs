//! A connection to an endpoint, of which it is known when it is closed.
//!
//! A request that waits for its answer is broken off through the descriptor of the connection that it waits on. The
//! connection is Pingora's, which closes it before it tells us that the exchange is over; in between, the number may
//! be another connection's already. So each connection has a tracer, which Pingora tells before it closes: from
//! then on nobody touches that number.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::fd::RawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};

use pingora::upstreams::peer::{HttpPeer, Tracer, Tracing};

use crate::directory::Endpoint;
use crate::tls::InstanceTls;

/// Before it is open.
const NONE: RawFd = -1;

/// A connection to an endpoint.
#[derive(Debug, Clone)]
pub(super) struct Connection {
    endpoint: Arc<Endpoint>,
    descriptor: Arc<AtomicI32>,
}

impl Connection {
    /// One that is not open yet, and may never be: where another is free, that is used instead.
    pub(super) fn new(endpoint: Arc<Endpoint>) -> Self {
        Self { endpoint, descriptor: Arc::new(AtomicI32::new(NONE)) }
    }

    /// It is open.
    pub(super) fn opened(&self, descriptor: RawFd) {
        self.descriptor.store(descriptor, Ordering::Release);
    }

    /// What Pingora opens it to, or takes one from its pool by, and tells its end. `tls`: none: in clear.
    pub(super) fn peer(&self, tls: Option<&InstanceTls>) -> Box<HttpPeer> {
        let Endpoint { id, address, host, .. } = &*self.endpoint;
        let mut peer = Box::new(match tls {
            Some(tls) => tls.peer(host.as_deref(), *address),
            None => HttpPeer::new(*address, false, String::new()),
        });
        peer.group_key = tls.map_or(*id, |tls| key_under_tls(*id, tls.generation()));
        peer.options.tracer = Some(Tracer(self.boxed_clone()));
        peer
    }
}

/// The key of the connections to an endpoint that are of one generation, among those that Pingora keeps: it looks at neither
/// authorities nor at what is in a file. The highest bit is that of connections that are not kept.
fn key_under_tls(endpoint: u64, generation: u64) -> u64 {
    let mut hasher = DefaultHasher::new();
    (endpoint, generation).hash(&mut hasher);
    hasher.finish() >> 1
}

impl Tracing for Connection {
    fn on_connected(&self) {}

    fn on_disconnected(&self) {
        let descriptor = self.descriptor.load(Ordering::Acquire);
        if descriptor != NONE {
            self.endpoint.traffic.waiting.closing(descriptor);
        }
    }

    fn boxed_clone(&self) -> Box<dyn Tracing> {
        Box::new(self.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::traffic::waiting::{Broken, Interrupt, Wait};
    use nix::sys::socket::{SockaddrStorage, getpeername};
    use pingora::connectors::TransportConnector;
    use std::time::{Duration, Instant};
    use tokio::net::TcpListener;

    /// Notes at each end whether the connection was open still.
    #[derive(Debug, Clone)]
    struct Witness(Connection, Arc<AtomicI32>);

    impl Tracing for Witness {
        fn on_connected(&self) {}

        fn on_disconnected(&self) {
            let is_open = getpeername::<SockaddrStorage>(self.0.descriptor.load(Ordering::Acquire)).is_ok();
            self.1.store(is_open.into(), Ordering::Release);
            self.0.on_disconnected();
        }

        fn boxed_clone(&self) -> Box<dyn Tracing> {
            Box::new(self.clone())
        }
    }

    #[tokio::test]
    async fn whoever_waits_on_a_connection_hears_of_its_end_before_it_is_closed() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let endpoint = Arc::new(Endpoint::new(7, "goods".into(), "a".into(), address));
        let patience = Duration::from_secs(30);
        for closes in [false, true] {
            let connection = Connection::new(endpoint.clone());
            let was_open = Arc::new(AtomicI32::new(NONE));
            let mut peer = connection.peer(None);
            assert!(peer.options.tracer.is_some() && peer.group_key == 7);
            if closes {
                peer.options.tracer = Some(Tracer(Box::new(Witness(connection.clone(), was_open.clone()))));
            }
            let stream = TransportConnector::new(None).new_stream(&*peer).await.unwrap();
            // As Pingora tells of it to the gateway.
            let descriptor = stream.id();
            connection.opened(descriptor);
            let since = Instant::now();
            let (place, _) = endpoint.traffic.waiting.enter(
                Interrupt::Descriptor(descriptor),
                Wait { since: Some(since), patience, repeatable: false },
            );
            if closes {
                drop(stream);
                assert_eq!(was_open.load(Ordering::Acquire), 1, "it was open, and Pingora told of its end");
            }
            endpoint.traffic.waiting.break_off_overdue(since + patience, |_| {});
            let expected = if closes { None } else { Some(Broken::FirstByte) };
            assert_eq!(endpoint.traffic.waiting.leave(place), expected);
        }
    }

    #[tokio::test]
    async fn one_that_was_never_open_is_nobodys() {
        let endpoint = Arc::new(Endpoint::new(7, "goods".into(), "a".into(), ([127, 0, 0, 1], 9).into()));
        let connection = Connection::new(endpoint.clone());
        connection.on_disconnected();
        drop(connection);
        assert_eq!(Arc::strong_count(&endpoint), 1);
    }
}
