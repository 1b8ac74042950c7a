//! The gateway's own way in: through the memory of the process.
//!
//! Over TCP the registry could not tell the gateway from another user of the same machine, who can connect from the
//! same addresses. Through memory nobody else can come, or use up the connections that the gateway needs.

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

/// A way into a registry of this process, for whoever holds it. Its connections do not count as
/// [`Settings::max_connections`](crate::Settings::max_connections).
#[derive(Clone, Debug)]
pub struct Door {
    visitors: UnboundedSender<DuplexStream>,
    is_open: Arc<AtomicBool>,
}

/// The registry's side of a [`Door`]: the connections that come in by it.
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
    /// A new connection, on which to speak HTTP/2 as over TCP. None before the door is [open](Visitors::welcome), and
    /// after the registry has ended.
    pub fn enter(&self) -> Option<DuplexStream> {
        let (ours, theirs) = duplex(BUFFER);
        let is_in = self.is_open.load(Ordering::Relaxed) && self.visitors.send(theirs).is_ok();
        is_in.then_some(ours)
    }
}

impl Visitors {
    /// Opens the door. Connections that come in wait until the registry is served.
    pub fn welcome(&self) {
        self.is_open.store(true, Ordering::Relaxed);
    }
}
