//! A connection under TLS.

use std::io::{self, IoSlice};
use std::os::fd::{AsRawFd, RawFd};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use openssl::ssl::SslRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::task::coop::unconstrained;
use tokio_openssl::SslStream;

/// A connection under TLS, of which the handshake is over.
///
/// It writes as OpenSSL has to be asked to: whoever was told that nothing could be written comes again with the same bytes, or
/// more of them (SSL_write(3)). The carriers do, as they count what has gone.
#[derive(Debug)]
pub(crate) struct Tls(SslStream<TcpStream>);

/// So many bytes go in one record, at most (RFC 8446, 5.1).
const RECORD: usize = 16 * 1024;

impl Tls {
    pub(crate) fn new(stream: SslStream<TcpStream>) -> Self {
        Self(stream)
    }

    /// What was agreed on.
    pub(crate) fn ssl(&self) -> &SslRef {
        self.0.ssl()
    }

    /// Whether it is open and nothing has come for whoever reads it. (A server sends tickets whenever it likes: those are
    /// taken here, and are nothing.)
    pub(super) fn is_silent(&mut self) -> bool {
        let mut stirred = pin!(unconstrained(std::future::poll_fn(|cx| self.poll_stirred(cx))));
        stirred.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending()
    }

    /// Waits until something has come that can be read, be it the end.
    pub(super) fn poll_stirred(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        Pin::new(&mut self.0).poll_peek(cx, &mut [0]).map(drop)
    }

    pub(super) fn stream(&self) -> &TcpStream {
        self.0.get_ref()
    }

    pub(super) fn into_stream(self) -> SslStream<TcpStream> {
        self.0
    }

    pub(super) fn descriptor(&self) -> RawFd {
        self.stream().as_raw_fd()
    }
}

impl AsyncRead for Tls {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Tls {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        // OpenSSL takes nothing for an error.
        if bytes.is_empty() {
            return Poll::Ready(Ok(0));
        }
        Pin::new(&mut self.0).poll_write(cx, bytes)
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
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
