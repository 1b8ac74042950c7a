//! A connection, in clear or under TLS, by either side.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll},
};

use openssl::ssl::SslRef;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use tokio_openssl::SslStream;

mod client;
mod server;

pub use self::{
    client::TlsClient,
    server::{Greeting, TlsServer},
};

/// A connection. Under TLS its handshake is over.
#[derive(Debug)]
pub enum Link {
    /// In clear.
    Clear(TcpStream),
    /// Under TLS.
    Tls(Box<SslStream<TcpStream>>),
}

impl From<TcpStream> for Link {
    fn from(stream: TcpStream) -> Self {
        Self::Clear(stream)
    }
}

impl From<SslStream<TcpStream>> for Link {
    fn from(stream: SslStream<TcpStream>) -> Self {
        Self::Tls(Box::new(stream))
    }
}

impl Link {
    /// What is below TLS.
    pub fn tcp(&self) -> &TcpStream {
        match self {
            Self::Clear(stream) => stream,
            Self::Tls(stream) => stream.get_ref(),
        }
    }

    /// What was agreed on; none: it is in clear.
    pub fn ssl(&self) -> Option<&SslRef> {
        match self {
            Self::Clear(_) => None,
            Self::Tls(stream) => Some(stream.ssl()),
        }
    }
}

impl AsyncRead for Link {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Clear(stream) => Pin::new(stream).poll_read(cx, buffer),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Link {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Clear(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Clear(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Clear(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Clear(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
            Self::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
        }
    }

    /// Where it says no, hyper copies each body before it sends the first byte.
    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Clear(stream) => stream.is_write_vectored(),
            Self::Tls(stream) => stream.is_write_vectored(),
        }
    }
}
