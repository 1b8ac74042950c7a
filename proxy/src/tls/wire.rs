//! What is below TLS.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use hyper_openssl::SslStream;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::TokioIo;
use openssl::error::ErrorStack;
use openssl::ssl::Ssl;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// A connection under TLS.
pub(crate) type Stream = SslStream<TokioIo<Wire>>;

/// One on which nobody has spoken yet.
///
/// # Errors
/// There is no memory.
pub(crate) fn stream(ssl: Ssl, tcp: TcpStream) -> Result<Stream, ErrorStack> {
    SslStream::new(ssl, Wire::new(tcp))
}

/// A connection below TLS, which knows whether it has ended.
#[derive(Debug)]
pub(crate) struct Wire {
    tcp: TcpStream,
    has_ended: bool,
    is_mute: bool,
}

impl Wire {
    pub(super) fn new(tcp: TcpStream) -> TokioIo<Self> {
        TokioIo::new(Self { tcp, has_ended: false, is_mute: false })
    }

    pub(crate) fn tcp(&self) -> &TcpStream {
        &self.tcp
    }

    /// Whether somebody has read its end. Whoever is told an end by TLS itself has not: what is behind it nobody reads.
    pub(crate) fn has_ended(&self) -> bool {
        self.has_ended
    }

    /// The other side hears nothing more, not even an end, until it is closed. Whoever writes does not notice.
    pub(crate) fn mute(&mut self) {
        self.is_mute = true;
    }
}

/// What hyper-openssl asks of a connection. Nobody asks for what this says.
impl Connection for Wire {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let (before, has_room) = (buffer.filled().len(), buffer.remaining() > 0);
        ready!(Pin::new(&mut self.tcp).poll_read(cx, buffer))?;
        self.has_ended |= has_room && buffer.filled().len() == before;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.is_mute {
            return Poll::Ready(Ok(bytes.len()));
        }
        Pin::new(&mut self.tcp).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.is_mute {
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.tcp).poll_shutdown(cx)
    }
}
