//! How somebody who has connected comes in: whether he may, whom a proxy names as the client, and TLS. All of it has one time.

use std::future::poll_fn;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout_at};

use super::connection::{FIRST, serve, serve_newcomer};
use super::crowd::Place;
use super::handshake::{self, handshake};
use super::handshakes::Waiting;
use super::networks::{admits, is_in};
use super::not_in::NotIn;
use super::{Door, http2, proxy_protocol};
use crate::config::Scheme;
use crate::gateway::origin::Arrival;
use crate::link::Link;
use crate::site::Listener;
use crate::tls::HandshakeFailure;
use crate::traffic::bell::Bell;
use crate::traffic::in_flight::Permit;

/// Somebody who has connected, and is not in.
struct Newcomer {
    stream: TcpStream,
    /// The other side of the connection: a client, or a proxy in front of it.
    peer: IpAddr,
    listener: Arc<Listener>,
    place: Place,
}

/// One of whom it is known who he is.
struct Known {
    stream: TcpStream,
    arrival: Arrival,
    place: Place,
}

/// Somebody who is in.
struct Entered {
    link: Link,
    arrival: Arrival,
    place: Place,
    /// Whether HTTP/2 is spoken.
    is_http2: bool,
}

/// For how long somebody may take to come in: to a point in time, and while he is not among those who have waited longest of
/// too many.
struct Patience {
    until: Instant,
    waiting: Waiting,
}

/// Has somebody come in, or not, who has connected to this address.
pub(super) fn welcome(door: &Arc<Door>, stream: TcpStream, peer: SocketAddr, at: SocketAddr) {
    // An answer must not wait for the acknowledgement of the one before it. It fails on a connection that is gone.
    let _ = stream.set_nodelay(true);
    let (listener, peer) = (door.gateway.listener(at), peer.ip().to_canonical());
    let is_through_proxy = is_in(&listener.rules.proxy_protocol, peer);
    // Whom a proxy has connected for is not known yet.
    let client = Some(peer).filter(|_| !is_through_proxy);
    let is_clear = listener.tls.is_none() && !is_through_proxy;
    let place = match door.place(client, &listener) {
        Ok(place) => place,
        Err(why) => {
            door.tell(&why, peer, at);
            return Door::turn_away(stream, &why, is_clear);
        }
    };
    if is_clear {
        tokio::spawn(serve(door.clone(), Link::Plain(stream), Arrival::clear(Some(peer)), place));
    } else {
        // From here on the process waits for what he asks first: it may be a while before the task has its turn.
        let permit = door.gateway.lifecycle.to_come();
        tokio::spawn(enter(door.clone(), Newcomer { stream, peer, listener, place }, permit));
    }
}

async fn enter(door: Arc<Door>, newcomer: Newcomer, permit: Permit) {
    let at = newcomer.listener.rules.address;
    let entered = {
        let bell = Arc::<Bell>::default();
        let _registered = door.bells.register(bell.clone());
        // Large, and soon over.
        Box::pin(newcomer.come_in(&door, &bell)).await
    };
    match entered {
        Ok(Entered { link, arrival, place, is_http2: false }) => {
            serve_newcomer(door, link, arrival, place, permit).await
        }
        Ok(Entered { link, arrival, place, is_http2: true }) => {
            Box::pin(http2::serve(&door, link, arrival, place, permit)).await
        }
        Err((why, client)) => {
            drop(permit);
            door.tell(&why, client, at);
            Box::pin(why.answer()).await;
        }
    }
}

impl Door {
    /// A place for a connection of this client; none: of one that is not known.
    fn place(&self, client: Option<IpAddr>, listener: &Listener) -> Result<Place, NotIn> {
        let rules = &listener.rules;
        if client.is_some_and(|client| !admits(&rules.allow, &rules.deny, client)) {
            return Err(NotIn::Network);
        }
        let common = self.gateway.common();
        let is_trusted = client.is_some_and(|client| is_in(&common.trusted_proxies, client));
        self.crowd.enter(client, &common.connections, !is_trusted).map_err(NotIn::Full)
    }
}

#[cfg(test)]
impl Door {
    /// A place for somebody of whom nothing is known, as long as there are few.
    pub(super) fn unlimited(&self) -> Place {
        self.crowd.enter(None, &Default::default(), false).unwrap()
    }
}

impl Newcomer {
    /// If he does not come in: why, and who he was as far as that was known.
    async fn come_in(self, door: &Door, bell: &Bell) -> Result<Entered, (NotIn, IpAddr)> {
        let (peer, listener) = (self.peer, self.listener.clone());
        let patience = Patience {
            until: Instant::now() + door.gateway.time(|times| times.handshake),
            waiting: door.handshakes.enter(door.gateway.common().connections.handshakes),
        };
        let late =
            if listener.tls.is_some() { NotIn::Handshake(HandshakeFailure::Timeout) } else { NotIn::Late };
        let known = patience.bound(self.known(door, bell), late).await.map_err(|why| (why, peer))?;
        let client = known.arrival.peer.unwrap_or(peer);
        let late = NotIn::Handshake(HandshakeFailure::Timeout);
        patience.bound(known.secured(door, &listener), late).await.map_err(|why| (why, client))
    }

    /// Waits for the first byte, and for whom a proxy names.
    async fn known(self, door: &Door, bell: &Bell) -> Result<Known, NotIn> {
        let Self { mut stream, peer, listener, place } = self;
        if !begins(&stream, door, bell).await {
            return Err(NotIn::Left);
        }
        if !is_in(&listener.rules.proxy_protocol, peer) {
            return Ok(Known { stream, arrival: Arrival::clear(Some(peer)), place });
        }
        let header = proxy_protocol::read(&mut stream).await?;
        let client = header.client.map(|client| client.ip().to_canonical());
        drop(place);
        // Without a client the proxy itself counts: it asks for itself, as for a probe, or does not say for whom.
        let counts = client.unwrap_or(peer);
        let place = match door.place(Some(counts), &listener) {
            Ok(place) => place,
            Err(why) => {
                Door::turn_away(stream, &why, listener.tls.is_none());
                return Err(why);
            }
        };
        let arrival = Arrival { hides_client: client.is_none(), ..Arrival::clear(Some(counts)) };
        Ok(Known { stream, arrival, place })
    }
}

impl Known {
    /// Makes a handshake, if the listener wants one.
    async fn secured(self, door: &Door, listener: &Listener) -> Result<Entered, NotIn> {
        let Self { stream, arrival, place } = self;
        let Some(tls) = &listener.tls else {
            return Ok(Entered { link: Link::Plain(stream), arrival, place, is_http2: false });
        };
        let (tls, identity) = match handshake(stream, tls, &door.turns).await {
            Ok(agreed) => agreed,
            Err(handshake::Failed::Clear(stream)) => return Err(NotIn::Clear(stream, place)),
            Err(handshake::Failed::Other(failure)) => return Err(NotIn::Handshake(failure)),
        };
        door.gateway.metrics.handshake(tls.ssl().version_str(), tls.ssl().session_reused());
        let arrival = Arrival { scheme: Scheme::Https, identity, ..arrival };
        let is_http2 = tls.ssl().selected_alpn_protocol() == Some(http2::ALPN);
        Ok(Entered { link: Link::Tls(Box::new(tls)), arrival, place, is_http2 })
    }
}

impl Patience {
    /// As long as there is patience. `late`: what it is when it is over.
    async fn bound<T>(&self, step: impl Future<Output = Result<T, NotIn>>, late: NotIn) -> Result<T, NotIn> {
        tokio::select! {
            biased;
            () = self.waiting.evicted() => Err(NotIn::Crowded),
            done = timeout_at(self.until, step) => done.unwrap_or(Err(late)),
        }
    }
}

/// Waits for the first byte. False: it will not come, as the client has left; or the process stops, and he was given as long
/// as whoever has come to ask.
async fn begins(stream: &TcpStream, door: &Door, bell: &Bell) -> bool {
    tokio::select! {
        begun = has_begun(stream) => begun,
        () = stops(door, bell) => false,
    }
}

async fn has_begun(stream: &TcpStream) -> bool {
    matches!(stream.peek(&mut [0]).await, Ok(count) if count > 0)
}

/// Waits until the process has been stopping for a while.
async fn stops(door: &Door, bell: &Bell) {
    while !door.is_stopping() {
        poll_fn(|cx| bell.poll_rung(cx)).await;
    }
    sleep(FIRST).await;
}
