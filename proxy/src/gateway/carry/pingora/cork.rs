//! Holds a request that may become a tunnel back until Pingora is ready for any answer.
//!
//! While an exchange begins, Pingora reads the end of such a request's (empty) body and the answer to it in any
//! order. If the 101 comes first, it takes the body's end for the tunnel's, and closes both connections right
//! after the 101 (cloudflare/pingora#946). It needs a second worker thread, which sees the answer while the first
//! one still begins the exchange, and an endpoint that answers in a few microseconds, or a moment in which the
//! first thread does not run. So the request's head waits in the kernel, below Pingora's write, until the body's
//! end is on its way and the exchange has had its first turn. That takes a millisecond or two of the time of a
//! connection that lives for minutes.

use std::os::fd::RawFd;
use std::time::Duration;

use filedescriptor::FileDescriptor;
use socket2::SockRef;

/// From the end of the body to the head's departure: a hundred times what the exchange's first turn takes.
const TURN: Duration = Duration::from_millis(1);

/// A connection on which nothing leaves while this lives. (The kernel has patience for 200 ms.)
#[derive(Debug)]
pub(super) struct Cork(FileDescriptor);

impl Cork {
    /// Nothing leaves on this connection from now on. None: the process lacks descriptors, or it is no TCP.
    pub(super) fn new(connection: RawFd) -> Option<Self> {
        // One of its own: the connection's may be another's by the time that this is dropped.
        let descriptor = FileDescriptor::dup(&connection).ok()?;
        SockRef::from(&descriptor).set_tcp_cork(true).ok()?;
        Some(Self(descriptor))
    }

    /// The end of the body is on its way: lets go in a moment.
    pub(super) fn release(self) {
        tokio::spawn(async move {
            tokio::time::sleep(TURN).await;
            drop(self);
        });
    }
}

impl Drop for Cork {
    fn drop(&mut self) {
        // It fails only on a connection that is gone.
        let _ = SockRef::from(&self.0).set_tcp_cork(false);
    }
}
