//! The load's connections: TCP, or TLS 1.3 on it.

use std::{
    fmt,
    io::{self, ErrorKind, Read, Write},
    net::SocketAddr,
    pin::Pin,
};

use anyhow::{Context, Result, anyhow, bail};
use hyper::Uri;
use hyper_openssl::{
    SslStream,
    client::legacy::{HttpsConnector, MaybeHttpsStream},
};
use hyper_util::{client::legacy::connect::HttpConnector, rt::TokioIo};
use openssl::ssl::{
    HandshakeError, SslConnector, SslConnectorBuilder, SslMethod, SslSessionCacheMode, SslVerifyMode,
    SslVersion,
};
use tokio::net::TcpStream;
use tower_service::Service;

/// One connection.
pub(crate) type Stream = TokioIo<MaybeHttpsStream<TokioIo<TcpStream>>>;

/// The name that clients ask for.
const NAME: &str = "localhost";

/// What a client offers of earlier connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Handshakes {
    /// Nothing.
    Full,
    /// A ticket, which it never offers again. Its first connections have none.
    Resumed,
}

/// A client of TLS: all that it does is as its handshakes are to be.
#[derive(Clone)]
pub(crate) enum Tls {
    Full(SslConnector),
    /// hyper's, which keeps tickets, and offers each once.
    Resumed(HttpsConnector<HttpConnector>),
}

impl fmt::Debug for Tls {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Full(_) => "Full",
            Self::Resumed(_) => "Resumed",
        })
    }
}

impl Tls {
    /// # Errors
    /// When OpenSSL cannot do what is asked of it.
    pub(crate) fn new(handshakes: Handshakes) -> Result<Self> {
        let mut client = client()?;
        if handshakes == Handshakes::Full {
            client.set_session_cache_mode(SslSessionCacheMode::OFF);
            return Ok(Self::Full(client.build()));
        }
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        let mut connector = HttpsConnector::with_connector(tcp, client)?;
        // It connects to addresses, and would name none.
        connector.set_callback(|connection, _| connection.set_hostname(NAME));
        Ok(Self::Resumed(connector))
    }

    /// # Errors
    /// When it cannot connect, or the handshake fails.
    pub(crate) async fn connect(&self, target: SocketAddr) -> Result<Stream> {
        let what = || format!("connecting to {target} with TLS");
        match self {
            Self::Full(connector) => {
                let tcp = TokioIo::new(tcp(target).await?);
                let mut stream = SslStream::new(connector.configure()?.into_ssl(NAME)?, tcp)?;
                Pin::new(&mut stream).connect().await.with_context(what)?;
                Ok(TokioIo::new(MaybeHttpsStream::Https(stream)))
            }
            Self::Resumed(connector) => {
                let uri: Uri = format!("https://{target}").parse()?;
                // hyper's connector of TCP is always ready.
                let stream = connector.clone().call(uri).await.map_err(|error| anyhow!(error));
                Ok(TokioIo::new(stream.with_context(what)?))
            }
        }
    }
}

/// The same for whatever is measured: the version, the cipher and the group that any of them takes.
fn client() -> Result<SslConnectorBuilder> {
    let mut builder = SslConnector::builder(SslMethod::tls_client())?;
    builder.set_min_proto_version(Some(SslVersion::TLS1_3))?;
    builder.set_ciphersuites("TLS_AES_128_GCM_SHA256")?;
    builder.set_groups_list("X25519")?;
    // Whom it speaks to it knows, and the load's core has enough to do.
    builder.set_verify(SslVerifyMode::NONE);
    Ok(builder)
}

/// In clear.
///
/// # Errors
/// When it cannot connect.
pub(crate) async fn clear(target: SocketAddr) -> Result<Stream> {
    Ok(TokioIo::new(MaybeHttpsStream::Http(TokioIo::new(tcp(target).await?))))
}

/// Without anything on it.
///
/// # Errors
/// When it cannot connect.
pub(crate) async fn tcp(target: SocketAddr) -> Result<TcpStream> {
    let stream = TcpStream::connect(target).await.with_context(|| format!("connecting to {target}"))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Whether its handshake was a resumed one.
pub(crate) fn is_resumed(stream: &Stream) -> bool {
    matches!(stream.inner(), MaybeHttpsStream::Https(stream) if stream.ssl().session_reused())
}

/// Whether the other side has it open, of one on which no more is asked. What came unasked, such as a ticket, is thrown
/// away.
pub(crate) fn is_open(stream: &Stream) -> bool {
    let tcp = match stream.inner() {
        MaybeHttpsStream::Http(tcp) => tcp.inner(),
        MaybeHttpsStream::Https(stream) => stream.get_ref().inner(),
    };
    loop {
        match tcp.try_read(&mut [0; 1024]) {
            Ok(0) => return false,
            Ok(_) => {}
            Err(error) => return error.kind() == ErrorKind::WouldBlock,
        }
    }
}

/// What a client sends first.
///
/// # Errors
/// When OpenSSL cannot do what is asked of it.
pub(crate) fn client_hello() -> Result<Vec<u8>> {
    match client()?.build().connect(NAME, Mute::default()) {
        Err(HandshakeError::WouldBlock(begun)) => Ok(begun.get_ref().sent.clone()),
        Err(error) => Err(error).context("making a ClientHello"),
        Ok(_) => bail!("a handshake without a server"),
    }
}

/// A server that never answers.
#[derive(Debug, Default)]
struct Mute {
    sent: Vec<u8>,
}

impl Read for Mute {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Err(ErrorKind::WouldBlock.into())
    }
}

impl Write for Mute {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.sent.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
