//! A client who speaks HTTP/2: given to the carrier that the configuration has for it when the connection begins, and then it
//! is that one's to the end.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use bytes::Bytes;
use tokio::io::AsyncReadExt;
use tokio::time::timeout;

use super::Door;
use super::crowd::Place;
use super::meter::Metered;
use crate::config::Http2Carrier;
use crate::gateway::carry::Client;
use crate::gateway::carry::http2::{Begun, PREFACE};
use crate::gateway::origin::Arrival;
use crate::link::Link;
use crate::tasks::now;
use crate::traffic::bell::Bell;
use crate::traffic::in_flight::Permit;

/// Its name in TLS (RFC 9113, 3.2).
pub(super) const ALPN: &[u8] = b"h2";

/// Serves a client to the end of the connection. The process waits for that: a client that is told to leave (GOAWAY) does when
/// what it has asked was answered.
pub(super) async fn serve(door: &Door, mut link: Link, arrival: Arrival, _place: Place, _stays: Permit) {
    let bell = Arc::<Bell>::default();
    let _registered = door.bells.register(bell.clone());
    if door.gateway.http2() == Http2Carrier::Ours {
        return by_ours(door, Begun::new(Bytes::new(), link), arrival, &bell).await;
    }
    let mut begin = [0; PREFACE.len()];
    // Pingora would wait for it for ever.
    let limit = door.gateway.time(|times| times.head);
    let has_come = matches!(timeout(limit, link.read_exact(&mut begin)).await, Ok(Ok(_)));
    if !has_come || begin != PREFACE {
        door.gateway.metrics.head_refused(0);
        return;
    }
    door.detour.carry_http2(link, arrival, Bytes::from_static(PREFACE)).await;
}

/// The same of one who speaks it without a question (RFC 9113, 3.3). `begin`: the preface, and what came with it.
pub(super) async fn serve_in_clear(door: &Door, client: Client, begin: Bytes) {
    let _stays = door.gateway.lifecycle.to_come();
    let (arrival, bell) = (client.arrival(), client.bell.clone());
    let (link, _) = client.into_parts();
    match door.gateway.http2() {
        Http2Carrier::Ours => by_ours(door, Begun::new(begin, link), arrival, &bell).await,
        Http2Carrier::Pingora => door.detour.carry_http2(link, arrival, begin).await,
    }
}

async fn by_ours(door: &Door, link: Begun, arrival: Arrival, bell: &Bell) {
    // In memory there is no address.
    let client = arrival.peer.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
    let link = Metered::new(link, client, door.floods.clone(), now);
    door.http2.serve(link, arrival, bell, &|| door.is_stopping()).await;
}
