//! New connections to instances.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;

use nix::errno::Errno;
use tokio::net::TcpStream;

use crate::gateway::cause::Ending;
use crate::link::Link;

/// Opens connections.
#[derive(Debug, Default)]
pub(in crate::gateway) enum Dialer {
    #[default]
    Tcp,
    /// To what a test has in memory.
    #[cfg(test)]
    Memory(Memory),
}

impl Dialer {
    pub(super) async fn dial(&self, address: SocketAddr) -> io::Result<Link> {
        match self {
            Self::Tcp => {
                let stream = TcpStream::connect(address).await?;
                stream.set_nodelay(true)?;
                Ok(Link::Plain(stream))
            }
            #[cfg(test)]
            Self::Memory(memory) => memory.dial(address),
        }
    }
}

/// What it says of an attempt that there is no connection.
pub(super) fn ending(error: &io::Error) -> Ending {
    let errno = error.raw_os_error().map(Errno::from_raw);
    match (error.kind(), errno) {
        (ErrorKind::TimedOut, _) => Ending::ConnectTimeout,
        // It is the gateway that lacks ports, files or memory, or may not.
        (ErrorKind::AddrNotAvailable | ErrorKind::AddrInUse | ErrorKind::PermissionDenied, _)
        | (_, Some(Errno::EMFILE | Errno::ENFILE | Errno::ENOBUFS | Errno::ENOMEM)) => Ending::NoConnection,
        _ => Ending::Refused,
    }
}

/// Connections in memory, for tests.
#[cfg(test)]
pub(in crate::gateway) struct Memory(pub(in crate::gateway) Dial);

#[cfg(test)]
pub(in crate::gateway) type Dial = std::sync::Arc<dyn Fn(SocketAddr) -> io::Result<Link> + Send + Sync>;

#[cfg(test)]
impl std::fmt::Debug for Memory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Memory")
    }
}

#[cfg(test)]
impl Memory {
    fn dial(&self, address: SocketAddr) -> io::Result<Link> {
        (self.0)(address)
    }
}
