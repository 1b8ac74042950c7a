//! Why somebody does not come in, and who is told of it.

use std::net::{IpAddr, SocketAddr};

use tokio::net::TcpStream;

use super::Door;
use super::answers::{self, CLEAR, FULL};
use super::crowd::{Full, Place};
use super::proxy_protocol::ProxyError;
use crate::tasks::now;
use crate::tls::HandshakeFailure;

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
        "others came while it took its time: there may be no more handshakes than gateway.connections.handshakes"
    )]
    Crowded,
    #[error("the header of the PROXY protocol did not come within gateway.timeouts.handshake")]
    Late,
    #[error("the header of the PROXY protocol: {0}")]
    Proxy(#[from] ProxyError),
    #[error("{0}")]
    Handshake(HandshakeFailure),
    /// It keeps its place until it has been answered.
    #[error("it speaks HTTP in clear where TLS is spoken")]
    Clear(TcpStream, Place),
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
            Self::Late => "timeout",
            Self::Proxy(error) => error.reason(),
            Self::Handshake(failure) => failure.reason(),
            Self::Clear(..) => "clear_http",
        }
    }

    /// Answers who can be answered.
    pub(super) async fn answer(self) {
        if let Self::Clear(stream, _place) = self {
            answers::tell(stream, CLEAR).await;
        }
    }
}

impl Door {
    /// Counts, and tells, that somebody does not come in.
    pub(super) fn tell(&self, why: &NotIn, client: IpAddr, at: SocketAddr) {
        let (metrics, kind) = (&self.gateway.metrics, why.kind());
        match why {
            NotIn::Left => return,
            NotIn::Network | NotIn::Full(_) | NotIn::Crowded => metrics.connection_refused(kind),
            NotIn::Proxy(_) | NotIn::Late => metrics.proxy_protocol_failed(kind),
            NotIn::Handshake(_) | NotIn::Clear(..) => metrics.handshake_failed(kind),
        }
        if let Some(untold) = self.told.next(kind, now()) {
            tracing::info!(%client, listener = %at, kind, untold, "a connection was not let in: {why}");
        }
    }

    /// Closes the connection of one for whom there is no room, at once; who speaks HTTP in clear is told.
    pub(super) fn turn_away(stream: TcpStream, why: &NotIn, is_clear: bool) {
        if is_clear && matches!(why, NotIn::Full(_)) {
            answers::tell_at_once(&stream, FULL);
        }
    }
}
