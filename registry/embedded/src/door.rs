//! The gateway's own way in.
//!
//! It leads through the process's memory. No stranger can take it, or its places: another user of this machine can
//! connect from any address that the gateway could connect from, and may read whatever word it could prove itself by
//! on the way, but has no part in its memory.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use tokio::{
    io::{DuplexStream, duplex},
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
};

/// Bytes on the way in each direction.
const BUFFER: usize = 64 * 1024;

/// A way into a registry of this process, for who holds it. Its connections have places of their own.
#[derive(Clone, Debug)]
pub struct Door {
    visitors: UnboundedSender<DuplexStream>,
    is_open: Arc<AtomicBool>,
}

/// The other side of a [`Door`]: who comes in by it.
#[derive(Debug)]
pub struct Visitors {
    pub(crate) queue: UnboundedReceiver<DuplexStream>,
    is_open: Arc<AtomicBool>,
}

/// A door, which is closed, and its other side, which [`Server::admit`](crate::Server::admit) takes.
pub fn door() -> (Door, Visitors) {
    let (visitors, queue) = unbounded_channel();
    let is_open = Arc::new(AtomicBool::new(false));
    (Door { visitors, is_open: Arc::clone(&is_open) }, Visitors { queue, is_open })
}

impl Door {
    /// A connection, on which to speak HTTP/2 as over TCP. None before the door is open, and once the registry is
    /// served no more.
    pub fn enter(&self) -> Option<DuplexStream> {
        let (ours, theirs) = duplex(BUFFER);
        let is_in = self.is_open.load(Ordering::Relaxed) && self.visitors.send(theirs).is_ok();
        is_in.then_some(ours)
    }
}

impl Visitors {
    /// Opens the door: who enters waits until the registry is served.
    pub fn welcome(&self) {
        self.is_open.store(true, Ordering::Relaxed);
    }
}
