//! A connection of which something was read before it was known what is spoken on it.

use std::io::{self, IoSlice};
use std::os::fd::RawFd;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::link::Link;

/// A connection, and what was read of it.
#[derive(Debug)]
pub(in crate::gateway) struct Begun {
    begin: Bytes,
    link: Link,
}

impl Begun {
    pub(in crate::gateway) fn new(begin: Bytes, link: Link) -> Self {
        Self { begin, link }
    }

    pub(in crate::gateway) fn descriptor(&self) -> RawFd {
        self.link.descriptor()
    }
}

impl AsyncRead for Begun {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        room: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.begin.is_empty() {
            return Pin::new(&mut self.link).poll_read(cx, room);
        }
        let some = self.begin.len().min(room.remaining());
        room.put_slice(self.begin.get(..some).unwrap_or_default());
        self.begin.advance(some);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Begun {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.link).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.link).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.link.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.link).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.link).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    #[tokio::test]
    async fn what_was_read_comes_first_and_what_comes_afterwards_behind_it() {
        let (ours, mut theirs) = Link::pair(64);
        let mut begun = Begun::new(Bytes::from_static(b"begin,"), ours);
        theirs.write_all(b"rest").await.unwrap();
        theirs.shutdown().await.unwrap();
        let mut piece = [0; 4];
        begun.read_exact(&mut piece).await.unwrap();
        assert_eq!(&piece, b"begi");
        let mut rest = String::new();
        begun.read_to_string(&mut rest).await.unwrap();
        assert_eq!(rest, "n,rest");
    }
}
