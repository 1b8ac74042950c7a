//! A connection, to a client or to an instance.

use std::io::{self, IoSlice};
use std::os::fd::{AsRawFd, RawFd};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, recv};
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;

#[cfg(test)]
mod memory;
mod tls;
#[cfg(test)]
pub(crate) use memory::Hesitation;
pub(crate) use tls::Tls;

/// A connection, to a client or to an instance.
#[derive(Debug)]
pub(crate) enum Link {
    Plain(TcpStream),
    /// Boxed: most connections are in clear, or wait.
    Tls(Box<Tls>),
    /// What is no connection of its own, and looks like one.
    Foreign(Box<dyn Foreign>),
    #[cfg(test)]
    Memory(Box<memory::Memory>),
}

/// What looks like a connection of its own, for one exchange.
pub(crate) trait Foreign: AsyncRead + AsyncWrite + std::fmt::Debug + Send + Sync + Unpin {}

impl Link {
    /// Whether it is open and nothing has come, as far as the runtime has been told. A byte may be read for that: one
    /// that is not silent is of no use any more.
    ///
    /// Not by a poll: that says "nothing yet", too, when a task has done so much that others are to have their turn.
    /// And no system call, unless the runtime has seen that something came.
    pub(crate) fn is_silent(&mut self) -> bool {
        match self {
            Self::Plain(stream) => {
                matches!(stream.try_read(&mut [0]), Err(error) if error.kind() == io::ErrorKind::WouldBlock)
            }
            Self::Tls(tls) => tls.is_silent(),
            // So nobody keeps it for another exchange.
            Self::Foreign(_) => false,
            #[cfg(test)]
            Self::Memory(memory) => memory.is_silent(),
        }
    }

    /// Waits until something may have come, be it the end. It may also have been nothing.
    pub(crate) fn poll_stirred(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match self {
            Self::Plain(stream) => stream.poll_read_ready(cx).map(drop),
            Self::Tls(tls) => tls.poll_stirred(cx),
            Self::Foreign(_) => Poll::Ready(()),
            #[cfg(test)]
            Self::Memory(memory) => memory.poll_stirred(cx),
        }
    }

    /// Waits until it may take something.
    pub(crate) fn poll_writable(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(stream) => stream.poll_write_ready(cx),
            Self::Tls(tls) => tls.stream().poll_write_ready(cx),
            Self::Foreign(_) => Poll::Ready(Ok(())),
            #[cfg(test)]
            Self::Memory(_) => Poll::Ready(Ok(())),
        }
    }

    /// Whether what has come can be seen before it is taken away, as the next two do. Under TLS it is no more than a record,
    /// and is copied in any case.
    pub(crate) fn can_peek(&self) -> bool {
        !matches!(self, Self::Tls(_) | Self::Foreign(_))
    }

    /// Reads what has come, and leaves it there. Nothing: the other side has ended.
    pub(crate) fn poll_peek(&mut self, cx: &mut Context<'_>, room: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(stream) => stream.poll_peek(cx, room).map_ok(drop),
            Self::Tls(_) | Self::Foreign(_) => Poll::Ready(Err(io::ErrorKind::Unsupported.into())),
            #[cfg(test)]
            Self::Memory(memory) => memory.poll_peek(cx, room),
        }
    }

    /// Takes away what `poll_peek` has read and left there: all of `seen`, the first of it. (With `MSG_TRUNC` Linux copies
    /// nothing: tcp(7).)
    pub(crate) fn discard(&mut self, seen: &mut [u8]) -> io::Result<()> {
        match self {
            Self::Plain(stream) => {
                let mut left = seen;
                while !left.is_empty() {
                    let take = || Ok(recv(stream.as_raw_fd(), left, MsgFlags::MSG_TRUNC)?);
                    match stream.try_io(Interest::READABLE, take)? {
                        0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                        count => left = left.get_mut(count..).unwrap_or_default(),
                    }
                }
                Ok(())
            }
            Self::Tls(_) | Self::Foreign(_) => Err(io::ErrorKind::Unsupported.into()),
            #[cfg(test)]
            Self::Memory(memory) => memory.discard(seen.len()),
        }
    }

    /// Its descriptor, for as long as it is open; -1: it has none.
    pub(crate) fn descriptor(&self) -> RawFd {
        match self {
            Self::Plain(stream) => stream.as_raw_fd(),
            Self::Tls(tls) => tls.descriptor(),
            Self::Foreign(_) => -1,
            #[cfg(test)]
            Self::Memory(_) => -1,
        }
    }

    /// Says that nothing more comes, without waiting for the other side to take it. (What is not under TLS says so when it is
    /// closed.)
    pub(crate) fn say_end(&mut self) {
        if let Self::Tls(tls) = self {
            let _ = Pin::new(&mut **tls).poll_shutdown(&mut Context::from_waker(Waker::noop()));
        }
    }

    /// Ends it so that the other side sees an error, and not an end: what was sent so far must not look complete.
    pub(crate) fn reset(self) {
        match self {
            // It fails only where the other side was first.
            Self::Plain(stream) => drop(stream.set_zero_linger()),
            Self::Tls(tls) => drop(tls.stream().set_zero_linger()),
            // To drop it does.
            Self::Foreign(_) => {}
            #[cfg(test)]
            Self::Memory(memory) => memory.reset(),
        }
    }
}

/// The same of each kind.
macro_rules! each {
    ($link:expr, $stream:ident => $what:expr) => {
        match $link {
            Link::Plain($stream) => $what,
            Link::Tls($stream) => $what,
            Link::Foreign($stream) => $what,
            #[cfg(test)]
            Link::Memory($stream) => $what,
        }
    };
}

/// Whether an error says that the process or the system lacks what a connection needs.
pub(crate) fn is_scarcity(error: &io::Error) -> bool {
    let errno = error.raw_os_error().map(Errno::from_raw);
    matches!(errno, Some(Errno::EMFILE | Errno::ENFILE | Errno::ENOBUFS | Errno::ENOMEM))
}

impl AsyncRead for Link {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        each!(self.get_mut(), stream => Pin::new(stream).poll_read(cx, buffer))
    }
}

impl AsyncWrite for Link {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        each!(self.get_mut(), stream => Pin::new(stream).poll_write(cx, bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        each!(self.get_mut(), stream => Pin::new(stream).poll_write_vectored(cx, slices))
    }

    fn is_write_vectored(&self) -> bool {
        each!(self, stream => stream.is_write_vectored())
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self.get_mut(), stream => Pin::new(stream).poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self.get_mut(), stream => Pin::new(stream).poll_shutdown(cx))
    }
}

#[cfg(test)]
mod tests;
