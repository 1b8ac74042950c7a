//! A connection under TLS.

use std::io::{self, IoSlice};
use std::os::fd::{AsRawFd, RawFd};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker, ready};

use hyper_util::rt::TokioIo;
use openssl::ssl::SslRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::task::coop::unconstrained;

use crate::tls::Stream;

/// A connection under TLS, of which the handshake is over.
///
/// It writes as OpenSSL has to be asked to: whoever was told that nothing could be written comes again with the same bytes, or
/// more of them (SSL_write(3)). The carriers do, as they count what has gone.
#[derive(Debug)]
pub(crate) struct Tls {
    stream: TokioIo<Stream>,
    /// Read to see whether something has come.
    ahead: Option<u8>,
    /// What reading has failed with, until somebody is told.
    failure: Option<io::Error>,
}

/// So many bytes go in one record, at most (RFC 8446, 5.1).
const RECORD: usize = 16 * 1024;

impl Tls {
    pub(crate) fn new(stream: Stream) -> Self {
        Self { stream: TokioIo::new(stream), ahead: None, failure: None }
    }

    /// What was agreed on.
    pub(crate) fn ssl(&self) -> &SslRef {
        self.stream.inner().ssl()
    }

    /// Whether it is open and nothing has come for whoever reads it. (A server sends tickets whenever it likes: those are
    /// taken here, and are nothing.)
    pub(super) fn is_silent(&mut self) -> bool {
        let mut stirred = pin!(unconstrained(std::future::poll_fn(|cx| self.poll_stirred(cx))));
        stirred.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending()
    }

    /// Waits until something has come that can be read, be it the end.
    pub(super) fn poll_stirred(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.ahead.is_none() && self.failure.is_none() {
            let mut byte = [0];
            let mut buffer = ReadBuf::new(&mut byte);
            ready!(self.poll_more(cx, &mut buffer));
            self.ahead = buffer.filled().first().copied();
        }
        Poll::Ready(())
    }

    /// Reads what was not read yet.
    fn poll_more(&mut self, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<()> {
        let before = buffer.filled().len();
        let read = ready!(Pin::new(&mut self.stream).poll_read(cx, buffer));
        // An end that TLS has not said reads as one that it has, and what was cut off would look whole.
        let is_cut = buffer.filled().len() == before && self.stream.inner().get_ref().inner().has_ended();
        self.failure = read.err().or_else(|| is_cut.then(|| io::ErrorKind::UnexpectedEof.into()));
        Poll::Ready(())
    }

    pub(super) fn stream(&self) -> &TcpStream {
        self.stream.inner().get_ref().inner().tcp()
    }

    pub(super) fn descriptor(&self) -> RawFd {
        self.stream().as_raw_fd()
    }
}

/// OpenSSL forgets the session of a connection of which it has not said the end, as was asked before TLS 1.1 (RFC 4346, 7.2.1).
/// So it says it, and nobody hears: what is cut off must not look whole.
impl Drop for Tls {
    fn drop(&mut self) {
        if !self.ssl().is_server() {
            self.stream.inner_mut().get_mut().inner_mut().mute();
            let _ = Pin::new(&mut self.stream).poll_shutdown(&mut Context::from_waker(Waker::noop()));
        }
    }
}

impl AsyncRead for Tls {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if buffer.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        if let Some(byte) = self.ahead.take() {
            buffer.put_slice(&[byte]);
            if buffer.remaining() > 0 {
                // What fails now is told by the next read.
                let _ = self.poll_more(cx, buffer);
            }
            return Poll::Ready(Ok(()));
        }
        if self.failure.is_none() {
            ready!(self.poll_more(cx, buffer));
        }
        let again = || io::ErrorKind::ConnectionAborted.into();
        let failure = self.failure.as_mut().map(|failure| std::mem::replace(failure, again()));
        Poll::Ready(failure.map_or(Ok(()), Err))
    }
}

impl AsyncWrite for Tls {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        // OpenSSL takes nothing for an error.
        if bytes.is_empty() {
            return Poll::Ready(Ok(0));
        }
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    /// In one record, as far as they fit.
    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut filled = slices.iter().filter(|slice| !slice.is_empty());
        let first = filled.next().map_or(&[][..], |first| first);
        let Some(second) = filled.next() else { return self.poll_write(cx, first) };
        let mut record = Vec::with_capacity(RECORD.min(first.len() + second.len()));
        for slice in slices {
            let room = RECORD - record.len();
            record.extend_from_slice(slice.get(..room).unwrap_or(slice));
        }
        self.poll_write(cx, &record)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests;
