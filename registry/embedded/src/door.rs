//! The gateway's own way in.
//!
//! It leads through the process's memory. No stranger can take it, or its places: another user of this machine can
//! connect from any address that the gateway could connect from, and may read whatever word it could prove itself by
//! on the way, but has no part in its memory.

use tokio::{
    io::{DuplexStream, duplex},
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
};

/// Bytes on the way in each direction.
const BUFFER: usize = 64 * 1024;

/// A way into a registry of this process, for who holds it. Its connections have places of their own.
#[derive(Clone, Debug)]
pub struct Door(UnboundedSender<DuplexStream>);

/// The other side of a [`Door`]: who comes in by it.
#[derive(Debug)]
pub struct Visitors(pub(crate) UnboundedReceiver<DuplexStream>);

/// A door, and its other side, which [`Server::admit`](crate::Server::admit) takes.
pub fn door() -> (Door, Visitors) {
    let (door, visitors) = unbounded_channel();
    (Door(door), Visitors(visitors))
}

impl Door {
    /// A connection, on which to speak HTTP/2 as over TCP. Before the registry is served it waits; none once the
    /// registry is served no more.
    pub fn enter(&self) -> Option<DuplexStream> {
        let (ours, theirs) = duplex(BUFFER);
        self.0.send(theirs).ok().map(|()| ours)
    }
}
