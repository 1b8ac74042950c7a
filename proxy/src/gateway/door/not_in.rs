//! Why somebody does not come in, and who is told of it.

use std::net::{IpAddr, SocketAddr};

use tokio::net::TcpStream;

use super::Door;
use super::connection::turn_away;
use super::crowd::Full;
use super::proxy_protocol::ProxyError;
use crate::gateway::grammar::Refusal;
use crate::gateway::origin::Arrival;
use crate::link::Link;
use crate::tasks::now;
use crate::tls::HandshakeFailure;

/// What a client is told who speaks HTTP in clear where TLS is spoken.
const CLEAR: Refusal = Refusal { status: 400, why: "this port speaks TLS: ask by https" };

/// Why somebody does not come in.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotIn {
    /// Before it sent anything, as those do who ask only whether the port is open.
    #[error("it left")]
    Left,
    #[error("its address is not among those that gateway.listen allows")]
    Network,
    #[error("there are as many connections as gateway.connections.{} allows", of(*.0))]
    Full(Full),
    #[error(
        "others came while it took its time: there are as many handshakes as gateway.connections.handshakes allows"
    )]
    Crowded,
    #[error("it was not in within gateway.timeouts.handshake")]
    Late { has_tls: bool },
    #[error("the header of the PROXY protocol: {0}")]
    Proxy(#[from] ProxyError),
    #[error("{0}")]
    Handshake(HandshakeFailure),
    #[error("it speaks HTTP in clear where TLS is spoken")]
    Clear(TcpStream, Arrival),
}

/// The key that says how many there may be.
fn of(full: Full) -> &'static str {
    match full {
        Full::All => "max",
        Full::Address => "per_address",
    }
}

impl NotIn {
    /// Of which kind it is: so many lines are told of each.
    fn kind(&self) -> &'static str {
        match self {
            Self::Left => "left",
            Self::Network => "network",
            Self::Full(full) => of(*full),
            Self::Crowded => "handshakes",
            Self::Late { .. } => "timeout",
            Self::Proxy(error) => error.reason(),
            Self::Handshake(failure) => failure.reason(),
            Self::Clear(..) => "clear_http",
        }
    }
}

impl Door {
    /// Counts, and tells, that somebody does not come in.
    pub(super) fn tell(&self, why: &NotIn, peer: IpAddr, at: SocketAddr) {
        let (metrics, kind) = (&self.gateway.metrics, why.kind());
        match why {
            NotIn::Left => return,
            NotIn::Network | NotIn::Full(_) | NotIn::Crowded => metrics.connection_refused(kind),
            NotIn::Proxy(_) | NotIn::Late { has_tls: false } => metrics.proxy_protocol_failed(kind),
            NotIn::Handshake(_) | NotIn::Clear(..) | NotIn::Late { has_tls: true } => {
                metrics.handshake_failed(kind);
            }
        }
        if let Some(untold) = self.told.next(kind, now()) {
            tracing::info!(client = %peer, listener = %at, kind, untold, "a connection was not let in: {why}");
        }
    }

    /// The same, and answers who can be answered.
    pub(super) async fn turn_away(&self, why: NotIn, peer: IpAddr, at: SocketAddr) {
        self.tell(&why, peer, at);
        if let NotIn::Clear(stream, arrival) = why {
            turn_away(self, Link::Plain(stream), arrival, CLEAR).await;
        }
    }
}
