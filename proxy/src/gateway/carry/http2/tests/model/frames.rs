//! A connection on which a frame can be sent that h2 does not send.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::link::Link;

/// The frame that is to be sent next, between two of h2's.
pub(super) type Next = Arc<Mutex<Vec<u8>>>;

/// GOAWAY: nothing was done with any stream above this one (RFC 9113, 6.8).
pub(super) fn go_away(last: u32) -> Vec<u8> {
    let mut frame = vec![0, 0, 8, 7, 0, 0, 0, 0, 0];
    frame.extend(last.to_be_bytes());
    frame.extend([0; 4]);
    frame
}

/// The side of a connection of whoever writes such frames. (A server's side: it begins with a frame.)
pub(super) struct Framed {
    link: Link,
    next: Next,
    /// What has gone of the head of the frame that is being written, and how much of what follows it has not.
    head: Vec<u8>,
    left: usize,
}

impl Framed {
    pub(super) fn new(link: Link, next: Next) -> Self {
        Self { link, next, head: Vec::new(), left: 0 }
    }

    /// What may be written before a frame ends.
    fn within_frame<'b>(&self, bytes: &'b [u8]) -> &'b [u8] {
        let most = if self.left > 0 { self.left } else { 9 - self.head.len() };
        &bytes[..bytes.len().min(most)]
    }

    fn wrote(&mut self, bytes: &[u8]) {
        if self.left > 0 {
            self.left -= bytes.len();
            return;
        }
        self.head.extend_from_slice(bytes);
        if let [high, middle, low, ..] = self.head[..]
            && self.head.len() == 9
        {
            self.left = u32::from_be_bytes([0, high, middle, low]) as usize;
            self.head.clear();
        }
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let next = &mut *self.next.lock().unwrap();
        while self.left == 0 && self.head.is_empty() && !next.is_empty() {
            let count = ready!(Pin::new(&mut self.link).poll_write(cx, next))?;
            next.drain(..count);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for Framed {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        room: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.link).poll_read(cx, room)
    }
}

impl AsyncWrite for Framed {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.poll_next(cx))?;
        let bytes = self.within_frame(bytes);
        let count = ready!(Pin::new(&mut self.link).poll_write(cx, bytes))?;
        self.wrote(&bytes[..count]);
        Poll::Ready(Ok(count))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_next(cx))?;
        Pin::new(&mut self.link).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.link).poll_shutdown(cx)
    }
}
