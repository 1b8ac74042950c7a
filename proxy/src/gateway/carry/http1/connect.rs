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
            Self::Memory(Memory(dial)) => dial(address).await,
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
pub(in crate::gateway) type Dial =
    Box<dyn Fn(SocketAddr) -> futures_util::future::BoxFuture<'static, io::Result<Link>> + Send + Sync>;

#[cfg(test)]
impl std::fmt::Debug for Memory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Memory")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_lacks_something_is_told_from_who_is_not_there() {
        let of = |errno: Errno| ending(&io::Error::from_raw_os_error(errno as i32));
        for errno in [Errno::ECONNREFUSED, Errno::EHOSTUNREACH, Errno::ENETUNREACH, Errno::ECONNRESET] {
            assert_eq!(of(errno), Ending::Refused, "{errno}");
        }
        for errno in [Errno::EADDRNOTAVAIL, Errno::EMFILE, Errno::ENFILE, Errno::ENOBUFS, Errno::EACCES] {
            assert_eq!(of(errno), Ending::NoConnection, "{errno}");
        }
        assert_eq!(of(Errno::ETIMEDOUT), Ending::ConnectTimeout);
    }
}
