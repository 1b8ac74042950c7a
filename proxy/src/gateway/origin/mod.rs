//! Who asks, over what, and for which host: where a request comes through proxies that are trusted, as they say.
//!
//! Each of them adds whom it has been asked by: behind the address of a client that is not trusted there stands nothing
//! but what trusted proxies wrote, and before it whatever that client liked to write. So a list is read from its right,
//! and no further than to the first address that is not trusted.
//!
//! ```text
//! listed        `X-Forwarded-For`, and those beside it
//! forwarded     `Forwarded` (RFC 7239)
//! node          an address, as both have it
//! certificates  `X-Forwarded-Client-Cert`
//! ```

mod certificates;
mod forwarded;
mod listed;
mod node;

use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::HeaderValue;
use ipnet::IpNet;

use super::text::{IpText, push_ip};
use crate::authority::Authority;
use crate::config::Scheme;
use crate::head::Head;
use crate::site::Common;
use crate::tls::Identity;
use forwarded::Forwarded;

/// So many hops of a list are read, and go on: far more than there are proxies in a row.
const MOST_HOPS: usize = 32;

/// How a request has come to this gateway.
#[derive(Debug, Clone)]
pub(super) struct Arrival {
    /// Where its connection is from; none: from no network.
    pub(super) peer: Option<IpAddr>,
    /// What is spoken on it.
    pub(super) scheme: Scheme,
    /// Whom the certificate names that the client has shown; none: it has shown none.
    pub(super) identity: Option<Arc<Identity>>,
    /// Whether its connection is a proxy's that has connected for somebody, by the PROXY protocol, and does not say for whom:
    /// what the request says of its client that one may have written.
    pub(super) hides_client: bool,
}

impl Arrival {
    /// In clear.
    pub(super) fn clear(peer: Option<IpAddr>) -> Self {
        Self { peer, scheme: Scheme::Http, identity: None, hides_client: false }
    }
}

/// Who asks, over what, and for which host.
#[derive(Debug)]
pub(super) struct Origin {
    /// Who asks. None: nobody knows, and no network has it.
    pub(super) client: Option<IpAddr>,
    /// What the client speaks.
    pub(super) scheme: Scheme,
    /// Whether all are trusted whom the request came through, and the client with them.
    pub(super) is_trusted: bool,
    /// Whom the certificate names that was shown on the connection; none: none was.
    pub(super) identity: Option<Arc<Identity>>,
    /// What goes on of it, where that is more than is known of the connection alone.
    told: Option<Box<Told>>,
}

/// What goes on to the instance.
#[derive(Debug, Default)]
struct Told {
    /// `X-Forwarded-For`; none: the client's address.
    list: Option<HeaderValue>,
    /// `X-Forwarded-Host`; none: what `Host` says.
    host: Option<HeaderValue>,
    forwarded: Option<HeaderValue>,
    /// `X-Forwarded-Client-Cert`.
    certificates: Option<HeaderValue>,
}

/// A hop that a list tells of: who asked the proxy that wrote it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Hop<'h> {
    /// None: it is hidden, or no address.
    address: Option<IpAddr>,
    /// As it stands in `X-Forwarded-For`, if it does.
    text: Option<&'h [u8]>,
    /// What `Forwarded` says of it beside.
    said: Said<'h>,
}

/// What is said of a hop, if it is.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Said<'h> {
    /// What was spoken.
    scheme: Option<Scheme>,
    /// What was asked for.
    host: Option<&'h [u8]>,
}

/// One of which nothing is known.
const HIDDEN: Hop<'static> = Hop { address: None, text: None, said: Said { scheme: None, host: None } };
const UNKNOWN: &[u8] = b"unknown";

/// What a list comes to.
#[derive(Debug, PartialEq, Eq)]
struct Found {
    client: Option<IpAddr>,
    /// The client, or the last proxy before one who is hidden.
    nearest: IpAddr,
    /// The hop that was read last. All that stands before it is of somebody who is not trusted.
    at: usize,
}

impl Origin {
    /// Of a request of which nothing is known yet.
    pub(super) fn unknown() -> Self {
        Self { client: None, scheme: Scheme::Http, is_trusted: false, identity: None, told: None }
    }

    /// Of a request; and the client's address as a text, for logs and instances.
    pub(super) fn of(head: &impl Head, arrival: Arrival, common: &Common) -> (Self, IpText) {
        let Arrival { peer, scheme, identity, hides_client } = arrival;
        let peer = peer.map(|peer| peer.to_canonical());
        if let Some(peer) = peer.filter(|peer| !hides_client && is_in(&common.trusted_proxies, *peer)) {
            return Self::through_proxies(head, peer, (scheme, identity), common);
        }
        let forwarded = peer.filter(|_| common.forwarded).and_then(|peer| {
            let said = Said { scheme: Some(scheme), host: head.host() };
            value(forwarded::add(Vec::new(), Some(peer), said))
        });
        let certificates = certificates::list(None, identity.as_deref());
        let is_more = forwarded.is_some() || certificates.is_some();
        let told = is_more.then(|| Box::new(Told { forwarded, certificates, ..Told::default() }));
        (
            // As in `find`: the address of who hides a client does not stand for the client's.
            Self { client: peer.filter(|_| !hides_client), scheme, is_trusted: false, identity, told },
            peer.map_or(IpText::NONE, IpText::of),
        )
    }

    fn through_proxies(
        head: &impl Head,
        peer: IpAddr,
        (spoken, identity): (Scheme, Option<Arc<Identity>>),
        common: &Common,
    ) -> (Self, IpText) {
        let Forwarded { hops, line } = hops(head);
        let found = find(&hops, peer, &common.trusted_proxies);
        let beside = hops.get(found.at).map(|hop| hop.said).unwrap_or_default();
        let said = Said {
            scheme: listed::scheme(head, hops.len(), found.at).or(beside.scheme),
            host: listed::host(head, hops.len(), found.at).or(beside.host),
        };
        let own = Said { scheme: Some(spoken), host: head.host() };
        let forwarded = if common.forwarded {
            let line = line.unwrap_or_else(|| rebuilt(&hops, found.at, said));
            // Where no hop is told of, what is said is of the one that the gateway adds.
            let said = if hops.is_empty() { said } else { Said::default() };
            let said = Said { scheme: said.scheme.or(own.scheme), host: said.host.or(own.host) };
            Some(forwarded::add(line, Some(peer), said))
        } else {
            line
        };
        let told = Told {
            list: value(list(&hops, peer)),
            host: said.host.and_then(|host| HeaderValue::from_bytes(host).ok()),
            forwarded: forwarded.and_then(value),
            certificates: certificates::list(certificates::told(head), identity.as_deref()),
        };
        let origin = Self {
            client: found.client,
            scheme: said.scheme.unwrap_or(spoken),
            is_trusted: found.client.is_some_and(|client| is_in(&common.trusted_proxies, client)),
            identity,
            told: Some(Box::new(told)),
        };
        (origin, IpText::of(found.nearest))
    }

    /// `X-Forwarded-For` for the instance; none: the client's address.
    pub(super) fn list(&self) -> Option<&HeaderValue> {
        self.told.as_ref()?.list.as_ref()
    }

    /// The host that the client has asked for, as a proxy says that is trusted; none: the one that `Host` says.
    pub(super) fn host(&self) -> Option<&HeaderValue> {
        self.told.as_ref()?.host.as_ref()
    }

    /// `Forwarded` for the instance.
    pub(super) fn forwarded(&self) -> Option<&HeaderValue> {
        self.told.as_ref()?.forwarded.as_ref()
    }

    /// `X-Forwarded-Client-Cert` for the instance.
    pub(super) fn certificates(&self) -> Option<&HeaderValue> {
        self.told.as_ref()?.certificates.as_ref()
    }
}

/// The hops that a head tells of. `Forwarded` is read where there is no other list: a proxy that writes the other one
/// alone passes on as it came what a client has written here, and a client knows its own address, so that both agree.
fn hops(head: &impl Head) -> Forwarded<'_> {
    let listed = listed::hops(head);
    if listed.is_empty() { Forwarded::of(head) } else { Forwarded { hops: listed, line: None } }
}

/// The client, by the hops that a trusted peer tells of: the first from the right that is not trusted; if all are, the
/// leftmost. Whom a trusted proxy hides is known to nobody, and that proxy's address does not stand for the client's: a
/// route that is for a network must not take whoever comes through a proxy there.
fn find(hops: &[Hop<'_>], peer: IpAddr, trusted: &[IpNet]) -> Found {
    let mut nearest = peer;
    for (at, hop) in hops.iter().enumerate().rev() {
        let Some(address) = hop.address else { return Found { client: None, nearest, at } };
        nearest = address;
        if !is_in(trusted, address) {
            return Found { client: Some(nearest), nearest, at };
        }
    }
    Found { client: Some(nearest), nearest, at: 0 }
}

/// `X-Forwarded-For` for the instance: what came, and the peer.
fn list(hops: &[Hop<'_>], peer: IpAddr) -> Vec<u8> {
    let mut list = Vec::with_capacity(64);
    for hop in hops {
        match (hop.text, hop.address) {
            (Some(text), _) => list.extend_from_slice(text),
            (None, Some(address)) => push_ip(&mut list, address),
            (None, None) => list.extend_from_slice(UNKNOWN),
        }
        list.extend_from_slice(b", ");
    }
    push_ip(&mut list, peer);
    list
}

/// `Forwarded` as it would say what another list does: of the hop `at`, this is said beside.
fn rebuilt(hops: &[Hop<'_>], at: usize, said: Said<'_>) -> Vec<u8> {
    let said = |n| if n == at { said } else { Said::default() };
    hops.iter().enumerate().fold(Vec::new(), |line, (n, hop)| forwarded::add(line, hop.address, said(n)))
}

/// What a proxy means by this.
fn scheme(text: &[u8]) -> Option<Scheme> {
    let is = |name: &str| text.eq_ignore_ascii_case(name.as_bytes());
    // Some say of a WebSocket what the client's own URL did.
    if is("https") || is("wss") {
        Some(Scheme::Https)
    } else if is("http") || is("ws") {
        Some(Scheme::Http)
    } else {
        None
    }
}

/// Whether this is a host, with or without a port.
fn is_host(text: &[u8]) -> bool {
    Authority::parse(text).is_some()
}

fn is_in(networks: &[IpNet], address: IpAddr) -> bool {
    networks.iter().any(|network| network.contains(&address))
}

/// A field's value, of what stood in fields and of addresses.
fn value(text: Vec<u8>) -> Option<HeaderValue> {
    HeaderValue::from_maybe_shared(Bytes::from(text)).ok()
}

#[cfg(test)]
mod tests;
