//! The listening sockets. Bound before anything else happens: an address that is taken ends the start with
//! an error, and a daemon binds what only root may before it gives up root. Or, under `-u`, those of the
//! gateway that runs.

use std::collections::HashSet;
use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{IntoRawFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use filedescriptor::FileDescriptor;
use nix::errno::Errno;
use nix::sys::socket::{Backlog, UnixAddr, listen};
use nix::unistd::{AccessFlags, access, geteuid};
use pingora::server::{ListenFds, ShutdownWatch};
use pingora::services::{ServiceReadyNotifier, ServiceWithDependents};
use tokio::task::spawn_blocking;

use crate::config::ours;
use crate::logging::Output;

/// Sockets, bound here or handed over by a running gateway, until they are in Pingora's table of inherited
/// sockets. The listeners take them from that table, so they depend on this service. (If Pingora bound
/// them, it would try an address that is taken for 30 s, and go on without it then.)
#[derive(Debug)]
pub(crate) struct Sockets {
    bound: Vec<(SocketAddr, TcpListener)>,
    /// None: all were bound here.
    handover: Option<Handover>,
    output: Arc<Output>,
}

/// The sockets of a running gateway, and how they come.
#[derive(Debug)]
pub(crate) struct Handover {
    /// The upgrade socket, an absolute path. It is made anew, and removed when it has served.
    pub(crate) path: String,
    /// Where this gateway listens. What else the running one hands over is closed.
    pub(crate) addresses: HashSet<SocketAddr>,
}

/// The key of the embedded registry's address.
pub(crate) const REGISTRY: &str = "gateway.registry.embedded.listen";

/// An address cannot be listened on.
#[derive(Debug)]
pub struct ListenError {
    /// The key of the configuration that has the address.
    pub(crate) key: &'static str,
    pub(crate) address: SocketAddr,
    pub(crate) why: io::Error,
}

impl std::error::Error for ListenError {}

impl fmt::Display for ListenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key, address, why } = self;
        let who = if *key == REGISTRY { "the embedded registry" } else { "the gateway" };
        write!(f, "{who} cannot listen on {address} ({key}): {why}")?;
        let port = address.port();
        match why.kind() {
            io::ErrorKind::PermissionDenied => write!(
                f,
                ": a port below 1024 needs the capability CAP_NET_BIND_SERVICE. Give it to the program (`setcap \
                 cap_net_bind_service=+ep FILE`) or to its systemd unit \
                 (AmbientCapabilities=CAP_NET_BIND_SERVICE), or take another port"
            ),
            io::ErrorKind::AddrInUse => {
                write!(f, ": `ss -ltnp 'sport = :{port}'`, as root, tells who has it. ")?;
                f.write_str(if *key == REGISTRY {
                    "If that is an etcd, name it in registry.endpoints in the place of embedded; else stop it, or \
                     take another address"
                } else {
                    "Stop it, or take another address; to take over from a gateway that runs, start with -u"
                })
            }
            io::ErrorKind::AddrNotAvailable => write!(
                f,
                ": no interface of this machine has this address. `ip address` lists those that it has; \
                 0.0.0.0 or [::] stands for all of them"
            ),
            _ => Ok(()),
        }
    }
}

/// Why no sockets were handed over.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HandoverError {
    /// Nobody came.
    #[error("no running gateway handed its sockets over through {0}: send it SIGQUIT, or start without -u")]
    Nobody(String),
    /// Something is wrong with the upgrade socket.
    #[error("cannot take the sockets of the running gateway over through {path}: {why}")]
    Failed { path: String, why: String },
}

impl Sockets {
    /// Binds all addresses; each comes with the key of the configuration that has it.
    ///
    /// # Errors
    /// The first address that cannot be bound, and why.
    pub(crate) fn bind(
        addresses: impl IntoIterator<Item = (&'static str, SocketAddr)>,
        output: Arc<Output>,
    ) -> Result<Self, ListenError> {
        let bind = |(key, address)| match bind(address) {
            Ok(listener) => Ok((address, listener)),
            Err(why) => Err(ListenError { key, address, why }),
        };
        let bound = addresses.into_iter().map(bind).collect::<Result<_, _>>()?;
        Ok(Self { bound, handover: None, output })
    }

    /// Takes those of a running gateway over, when it is this service's turn.
    pub(crate) fn of_a_running_gateway(handover: Handover, output: Arc<Output>) -> Self {
        Self { bound: Vec::new(), handover: Some(handover), output }
    }

    /// Hands a socket on, too, that was bound elsewhere and is served by somebody else than Pingora.
    pub(crate) fn add(&mut self, address: SocketAddr, listener: TcpListener) {
        self.bound.push((address, listener));
    }
}

impl Handover {
    /// Waits some 6 s for the running gateway, and puts its sockets into the table.
    async fn take(self, table: ListenFds) -> Result<(), HandoverError> {
        let path = self.path.clone();
        let taking = spawn_blocking(move || self.take_now(&table));
        taking.await.unwrap_or_else(|error| Err(HandoverError::Failed { path, why: error.to_string() }))
    }

    /// Whether the socket can be made, and by nobody else: Pingora panics where it cannot, and makes it so that
    /// everybody may send sockets through it.
    fn check(&self) -> Result<(), HandoverError> {
        let directory = Path::new(&self.path).parent().unwrap_or(Path::new("/"));
        let fits = UnixAddr::new(self.path.as_str()).map(drop);
        let checked = fits.and_then(|()| access(directory, AccessFlags::W_OK | AccessFlags::X_OK));
        checked.map_err(|errno| self.failed(io::Error::from(errno)))?;
        ours::check_place(Path::new(&self.path), geteuid().as_raw()).map_err(|error| self.failed(error))
    }

    fn failed(&self, why: impl fmt::Display) -> HandoverError {
        HandoverError::Failed { path: self.path.clone(), why: why.to_string() }
    }

    fn take_now(&self, table: &ListenFds) -> Result<(), HandoverError> {
        self.check()?;
        tracing::info!(
            socket = self.path,
            "waiting for the running gateway to hand its sockets over: send it SIGQUIT"
        );
        let mut table = table.lock();
        table.get_from_sock(self.path.as_str()).map_err(|errno| match errno {
            Errno::EAGAIN => HandoverError::Nobody(self.path.clone()),
            other => self.failed(io::Error::from(other)),
        })?;
        let wanted = self.addresses.iter().map(ToString::to_string).collect();
        let closed = table.close_unclaimed(&wanted).join(", ");
        if !closed.is_empty() {
            tracing::info!(addresses = closed, "no longer listening where the former gateway did");
        }
        Ok(())
    }
}

/// Binds an address. As many connections may wait to be accepted as the system allows: the standard library
/// asks for 128, and of those that come beyond them a client hears nothing for a second or more.
///
/// # Errors
/// The address is taken, or not ours.
pub(crate) fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let listener = TcpListener::bind(address)?;
    listen(&listener, Backlog::MAXCONN)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Adds a socket to Pingora's table, for the process that takes over from this one.
pub(crate) fn add(table: &ListenFds, address: SocketAddr, listener: TcpListener) {
    table.lock().add(address.to_string(), listener.into_raw_fd());
}

/// Closes the sockets of these addresses in Pingora's table: nobody takes connections from them any more, so none must
/// wait there. (What was handed over is another process's then, and goes on.)
pub(crate) fn close(table: &ListenFds, addresses: &[SocketAddr]) {
    let closed: HashSet<_> = addresses.iter().map(ToString::to_string).collect();
    let mut table = table.lock();
    let keep = table.serialize().0.into_iter().filter(|key| !closed.contains(key)).collect();
    table.close_unclaimed(&keep);
}

/// A listener on a socket of Pingora's table; none if it has none of this address. The table keeps its own,
/// for the process that takes over from this one.
///
/// # Errors
/// The system has no descriptor left.
pub(crate) fn listener(table: &ListenFds, address: SocketAddr) -> io::Result<Option<TcpListener>> {
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
        let Some(table) = fds else { return };
        if let Some(handover) = self.handover.take()
            && let Err(error) = handover.take(table.clone()).await
        {
            self.output.end_with(&error);
        }
        for (address, listener) in self.bound.drain(..) {
            add(&table, address, listener);
        }
        ready.notify_ready();
    }

    fn name(&self) -> &str {
        "sockets"
    }

    fn threads(&self) -> Option<usize> {
        Some(1)
    }

    /// None: the listeners name the addresses.
    fn listen_addresses(&self) -> Option<Vec<String>> {
        Some(Vec::new())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(key: &'static str, address: &str, errno: Errno) -> String {
        let why = io::Error::from(errno);
        ListenError { key, address: address.parse().expect("an address"), why }.to_string()
    }

    #[test]
    fn an_address_that_cannot_be_had_is_named_with_its_key_and_a_remedy() {
        for (key, errno, who, remedy) in [
            ("gateway.listen", Errno::EACCES, "the gateway", "AmbientCapabilities=CAP_NET_BIND_SERVICE"),
            ("gateway.listen", Errno::EADDRINUSE, "the gateway", "`ss -ltnp 'sport = :80'`"),
            ("gateway.admin", Errno::EADDRINUSE, "the gateway", "start with -u"),
            ("gateway.admin", Errno::EADDRNOTAVAIL, "the gateway", "`ip address`"),
            (REGISTRY, Errno::EADDRINUSE, "the embedded registry", "name it in registry.endpoints"),
            (REGISTRY, Errno::EACCES, "the embedded registry", "setcap"),
        ] {
            let told = told(key, "10.0.0.1:80", errno);
            assert!(told.starts_with(&format!("{who} cannot listen on 10.0.0.1:80 ({key}): ")), "{told}");
            assert!(told.contains(remedy), "{told}");
        }
    }

    #[test]
    fn an_upgrade_socket_that_others_can_reach_is_not_made() {
        use std::os::unix::fs::PermissionsExt;
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("upgrade.sock").display().to_string();
        let handover = Handover { path, addresses: HashSet::new() };
        let allow = |mode| std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(mode));
        allow(0o700).expect("ours");
        handover.check().expect("nobody else can");
        allow(0o755).expect("ours");
        let told = handover.check().expect_err("others can").to_string();
        assert!(told.contains("has mode 0755, with which others can enter it"), "{told}");
    }

    #[test]
    fn an_upgrade_socket_that_cannot_be_made_is_an_error_that_names_it() {
        for path in ["/no-such-directory/upgrade.sock", &format!("/tmp/{}", "x".repeat(200))] {
            let handover = Handover { path: path.to_owned(), addresses: HashSet::new() };
            let error = handover.check().unwrap_err().to_string();
            assert!(error.contains(path), "{error}");
        }
    }
}
