//! A client who speaks HTTP/2: the connection's begin, within its time. All that follows is its carrier's.

use std::sync::Arc;

use tokio::io::AsyncReadExt;
use tokio::time::timeout;

use super::Door;
use super::crowd::Place;
use crate::gateway::origin::Arrival;
use crate::link::Link;
use crate::traffic::in_flight::Permit;

/// Its name in TLS (RFC 9113, 3.2).
pub(super) const ALPN: &[u8] = b"h2";
/// How every connection begins (RFC 9113, 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Serves a client to the end of the connection. The process waits for that: a client that is told to leave (GOAWAY) does when
/// what it has asked was answered.
pub(super) async fn serve(door: &Door, mut link: Link, arrival: Arrival, _place: Place, _stays: Permit) {
    let _registered = door.bells.register(Arc::default());
    let mut begin = [0; PREFACE.len()];
    // Pingora would wait for it for ever.
    let limit = door.gateway.time(|times| times.head);
    let has_come = matches!(timeout(limit, link.read_exact(&mut begin)).await, Ok(Ok(_)));
    if !has_come || begin != PREFACE {
        door.gateway.metrics.head_refused(0);
        return;
    }
    door.detour.carry_http2(link, arrival, PREFACE).await;
}
