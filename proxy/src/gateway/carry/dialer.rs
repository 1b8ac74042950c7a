//! Opens connections to instances.

use std::io;
#[cfg(test)]
use std::net::SocketAddr;
use std::time::Duration;

#[cfg(test)]
use futures_util::future::BoxFuture;
use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::directory::Endpoint;
use crate::link::{Link, Tls};
use crate::tls::{Application, InstanceError, InstanceTls};

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
    /// `tls`: none: in clear.
    pub(in crate::gateway) async fn dial(
        &self,
        endpoint: &Endpoint,
        tls: Option<&InstanceTls>,
        application: Application,
    ) -> Result<Link, DialError> {
        match self {
            Self::Tcp => {
                let stream = TcpStream::connect(endpoint.address).await?;
                stream.set_nodelay(true)?;
                if application == Application::Http2 {
                    SockRef::from(&stream).set_tcp_keepalive(&probed())?;
                }
                let Some(tls) = tls else { return Ok(Link::Plain(stream)) };
                let instance = (endpoint.host.as_deref(), endpoint.address);
                Ok(Link::Tls(Box::new(Tls::new(tls.shake_hands(stream, instance, application).await?))))
            }
            #[cfg(test)]
            Self::Memory(Memory(dial)) => Ok(dial(endpoint.address).await?),
        }
    }
}

impl Dialer {
    /// The same within a time, for who does not wait for it alone.
    pub(in crate::gateway) async fn dial_within(
        &self,
        patience: Duration,
        endpoint: &Endpoint,
        tls: Option<&InstanceTls>,
        application: Application,
    ) -> Result<Link, DialError> {
        let dialled = timeout(patience, self.dial(endpoint, tls, application)).await;
        dialled.unwrap_or_else(|_| Err(DialError::Connect(io::ErrorKind::TimedOut.into())))
    }
}

/// On a connection that many share, and that may be quiet for long, the kernel asks: a host that is gone is noticed within
/// 16 s, and what is in between remembers the connection. It costs nothing where something comes.
fn probed() -> TcpKeepalive {
    TcpKeepalive::new()
        .with_time(Duration::from_secs(10))
        .with_interval(Duration::from_secs(2))
        .with_retries(3)
}

/// Connections in memory, for tests.
#[cfg(test)]
pub(in crate::gateway) struct Memory(pub(in crate::gateway) Dial);

#[cfg(test)]
pub(in crate::gateway) type Dial =
    Box<dyn Fn(SocketAddr) -> BoxFuture<'static, io::Result<Link>> + Send + Sync>;

#[cfg(test)]
impl std::fmt::Debug for Memory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Memory")
    }
}

/// Why a connection could not be opened.
#[derive(Debug)]
pub(in crate::gateway) enum DialError {
    Connect(io::Error),
    Handshake(InstanceError),
}

impl From<io::Error> for DialError {
    fn from(error: io::Error) -> Self {
        Self::Connect(error)
    }
}

impl From<InstanceError> for DialError {
    fn from(error: InstanceError) -> Self {
        Self::Handshake(error)
    }
}
