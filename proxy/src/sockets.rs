//! The listening sockets, bound before anything else happens: an address that is taken ends the start with
//! an error, and a daemon binds what only root may before it gives up root.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{IntoRawFd, OwnedFd};

use async_trait::async_trait;
use filedescriptor::FileDescriptor;
use nix::sys::socket::{Backlog, listen};
use pingora::server::{ListenFds, ShutdownWatch};
use pingora::services::{ServiceReadyNotifier, ServiceWithDependents};

/// Bound sockets on their way to Pingora's table of inherited ones, from which its listeners take them. The
/// listeners depend on this service. (Bound by Pingora itself, a taken address is retried for 30 s; then
/// the process goes on without it.)
#[derive(Debug, Default)]
pub struct Sockets(Vec<(SocketAddr, TcpListener)>);

impl Sockets {
    /// Binds all addresses.
    ///
    /// # Errors
    /// The first address that cannot be bound, and why.
    pub fn bind(addresses: impl IntoIterator<Item = SocketAddr>) -> Result<Self, (SocketAddr, io::Error)> {
        let bind = |address| match bind(address) {
            Ok(listener) => Ok((address, listener)),
            Err(error) => Err((address, error)),
        };
        addresses.into_iter().map(bind).collect::<Result<_, _>>().map(Self)
    }

    /// Hands a socket on, too, that was bound elsewhere and is served by somebody else than Pingora.
    pub fn add(&mut self, address: SocketAddr, listener: TcpListener) {
        self.0.push((address, listener));
    }
}

/// Binds an address. As many connections may wait to be accepted as the system allows: the standard library
/// asks for 128, and of those that come beyond them a client hears nothing for a second or more.
///
/// # Errors
/// The address is taken, or not ours.
pub fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let listener = TcpListener::bind(address)?;
    listen(&listener, Backlog::MAXCONN)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Adds a socket to Pingora's table, for the process that takes over from this one.
pub fn add(table: &ListenFds, address: SocketAddr, listener: TcpListener) {
    table.lock().add(address.to_string(), listener.into_raw_fd());
}

/// A listener on a socket of Pingora's table; none if it has none of this address. The table keeps its own,
/// for the process that takes over from this one.
///
/// # Errors
/// The system has no descriptor left.
pub fn listener(table: &ListenFds, address: SocketAddr) -> io::Result<Option<TcpListener>> {
    let table = table.lock();
    let Some(inherited) = table.get(&address.to_string()) else { return Ok(None) };
    let listener = FileDescriptor::dup(inherited).and_then(|descriptor| descriptor.as_file());
    let listener = listener.map_err(io::Error::other)?;
    Ok(Some(TcpListener::from(OwnedFd::from(listener))))
}

#[async_trait]
impl ServiceWithDependents for Sockets {
    async fn start_service(
        &mut self,
        fds: Option<ListenFds>,
        _: ShutdownWatch,
        _: usize,
        ready: ServiceReadyNotifier,
    ) {
        if let Some(table) = fds {
            for (address, listener) in self.0.drain(..) {
                add(&table, address, listener);
            }
        }
        ready.notify_ready();
    }

    fn name(&self) -> &str {
        "sockets"
    }

    fn threads(&self) -> Option<usize> {
        Some(1)
    }

    /// None of its own: the listeners' are what counts.
    fn listen_addresses(&self) -> Option<Vec<String>> {
        Some(Vec::new())
    }
}
