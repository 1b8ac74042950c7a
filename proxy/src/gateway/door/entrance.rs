//! How somebody who has connected comes in: whether he may, whom a proxy names as the client, and TLS. All of it has one time.

use std::future::poll_fn;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use super::connection::{FIRST, serve, serve_newcomer};
use super::crowd::Place;
use super::handshake::{self, handshake};
use super::networks::{admits, is_in};
use super::not_in::NotIn;
use super::{Door, full, http2, proxy_protocol};
use crate::config::Scheme;
use crate::gateway::origin::Arrival;
use crate::link::Link;
use crate::site::Listener;
use crate::tls::HandshakeFailure;
use crate::traffic::bell::Bell;

/// Somebody who has connected, and is not in.
struct Newcomer {
    stream: TcpStream,
    /// The other side of the connection: a client, or a proxy in front of it.
    peer: IpAddr,
    listener: Arc<Listener>,
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

/// Has somebody come in, or not, who has connected to this address.
pub(super) fn welcome(door: &Arc<Door>, stream: TcpStream, peer: SocketAddr, at: SocketAddr) {
    // An answer must not wait for the acknowledgement of the one before it. It fails on a connection that is gone.
    let _ = stream.set_nodelay(true);
    let (listener, peer) = (door.gateway.listener(at), peer.ip().to_canonical());
    let is_through_proxy = is_in(&listener.rules.proxy_protocol, peer);
    let is_clear = listener.tls.is_none();
    // Whom a proxy has connected for is not known yet.
    let client = Some(peer).filter(|_| !is_through_proxy);
    let place = match door.place(client, &listener) {
        Ok(place) => place,
        Err(why) => {
            door.tell(&why, peer, at);
            if is_clear && matches!(why, NotIn::Full(_)) {
                tokio::spawn(full::tell(stream));
            }
            return;
        }
    };
    if is_clear && !is_through_proxy {
        tokio::spawn(serve(door.clone(), Link::Plain(stream), Arrival::clear(Some(peer)), place));
    } else {
        tokio::spawn(enter(door.clone(), Newcomer { stream, peer, listener, place }));
    }
}

async fn enter(door: Arc<Door>, newcomer: Newcomer) {
    // From here on the process waits for what he asks first.
    let permit = door.gateway.lifecycle.to_come();
    let (peer, at) = (newcomer.peer, newcomer.listener.rules.address);
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
        Ok(Entered { link, arrival, place: _place, is_http2: true }) => {
            Box::pin(http2::serve(&door, link, arrival, permit)).await
        }
        Err(why) => Box::pin(door.turn_away(why, peer, at)).await,
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
    /// Within the time that there is for it, and only while he is not among those who have waited longest of too many.
    async fn come_in(self, door: &Door, bell: &Bell) -> Result<Entered, NotIn> {
        let waiting = door.handshakes.enter(door.gateway.common().connections.handshakes);
        let limit = door.gateway.time(|times| times.handshake);
        let late = if self.listener.tls.is_some() {
            NotIn::Handshake(HandshakeFailure::Timeout)
        } else {
            NotIn::Late
        };
        tokio::select! {
            biased;
            () = waiting.evicted() => Err(NotIn::Crowded),
            entered = timeout(limit, self.steps(door, bell)) => entered.unwrap_or(Err(late)),
        }
    }

    async fn steps(self, door: &Door, bell: &Bell) -> Result<Entered, NotIn> {
        if !begins(&self.stream, door, bell).await {
            return Err(NotIn::Left);
        }
        let Self { mut stream, peer, listener, place } = self;
        let (client, place) = if is_in(&listener.rules.proxy_protocol, peer) {
            let header = proxy_protocol::read(&mut stream).await?;
            let client = header.client.map(|client| client.ip().to_canonical());
            drop(place);
            let place = door.place(client, &listener)?;
            // Without a client it is the proxy itself that asks, as for a probe.
            (client.unwrap_or(peer), place)
        } else {
            (peer, place)
        };
        let arrival = Arrival::clear(Some(client));
        let Some(tls) = &listener.tls else {
            return Ok(Entered { link: Link::Plain(stream), arrival, place, is_http2: false });
        };
        let (tls, identity) = match handshake(stream, tls).await {
            Ok(agreed) => agreed,
            Err(handshake::Failed::Clear(stream)) => return Err(NotIn::Clear(stream, arrival)),
            Err(handshake::Failed::Other(failure)) => return Err(NotIn::Handshake(failure)),
        };
        door.gateway.metrics.handshake(tls.ssl().version_str(), tls.ssl().session_reused());
        let arrival = Arrival { scheme: Scheme::Https, identity, ..arrival };
        let is_http2 = tls.ssl().selected_alpn_protocol() == Some(http2::ALPN);
        Ok(Entered { link: Link::Tls(Box::new(tls)), arrival, place, is_http2 })
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
