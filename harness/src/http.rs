//! A plain HTTP client: one request, one kept connection, or raw bytes.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context as TaskContext, Poll},
    time::Duration,
};

use anyhow::{Context, Result};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
pub use hyper::{HeaderMap, Method, Request};
use hyper::{
    Response, Uri,
    body::Incoming,
    client::conn::{http1, http2},
    header::{CONNECTION, HOST, HeaderValue},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf},
    net::{TcpSocket, TcpStream},
    task::AbortHandle,
    time::timeout,
};

use crate::link::{Link, TlsClient};

/// Bounds every request of [`get`] and [`send`].
const PATIENCE: Duration = Duration::from_secs(60);

/// A whole answer.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body, whole.
    pub body: Bytes,
}

impl Answer {
    /// The header's value, when it is there once or more (the first) and is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    ///
    /// # Errors
    /// When it is not JSON; the error shows it.
    pub fn json(&self) -> Result<serde_json::Value> {
        serde_json::from_slice(&self.body).with_context(|| format!("not JSON: {:?}", self.text()))
    }

    /// Whether the server says that this is the connection's last answer.
    pub fn closes(&self) -> bool {
        self.headers.get_all(CONNECTION).iter().any(|value| value.as_bytes().eq_ignore_ascii_case(b"close"))
    }
}

/// `GET path`, on a connection of its own.
///
/// # Errors
/// When there is no whole answer within a minute.
pub async fn get(address: SocketAddr, path: &str) -> Result<Answer> {
    send(address, Request::get(path).body(Bytes::new())?).await
}

/// Any request, on a connection of its own.
///
/// # Errors
/// When there is no whole answer within a minute.
pub async fn send(address: SocketAddr, request: Request<Bytes>) -> Result<Answer> {
    let what = format!("{} {} to {address}", request.method(), request.uri());
    let exchange = async { anyhow::Ok(Connection::open(address).await?.send(request).await?) };
    timeout(PATIENCE, exchange)
        .await
        .context("no answer in time")
        .and_then(|exchanged| exchanged)
        .context(what)
}

/// A connection that is kept for several requests, one at a time. It speaks HTTP/2 where that was agreed on.
#[derive(Debug)]
pub struct Connection {
    address: SocketAddr,
    sender: Sender,
    received: Arc<AtomicU64>,
    driver: AbortHandle,
}

#[derive(Debug)]
enum Sender {
    Http1(http1::SendRequest<Full<Bytes>>),
    Http2(http2::SendRequest<Full<Bytes>>),
}

impl Sender {
    async fn ready(&mut self) -> Result<(), hyper::Error> {
        match self {
            Self::Http1(sender) => sender.ready().await,
            Self::Http2(sender) => sender.ready().await,
        }
    }

    async fn send(&mut self, request: Request<Full<Bytes>>) -> Result<Response<Incoming>, hyper::Error> {
        match self {
            Self::Http1(sender) => sender.send_request(request).await,
            Self::Http2(sender) => sender.send_request(with_authority(request)).await,
        }
    }
}

/// The host is a part of the URI there (RFC 9113, 8.3.1).
fn with_authority(mut request: Request<Full<Bytes>>) -> Request<Full<Bytes>> {
    if let Some(host) = request.headers_mut().remove(HOST)
        && let (Ok(host), Some(target)) = (host.to_str(), request.uri().path_and_query())
        && let Ok(uri) = Uri::builder().scheme("https").authority(host).path_and_query(target.clone()).build()
    {
        *request.uri_mut() = uri;
    }
    request
}

impl Connection {
    /// Opens it.
    ///
    /// # Errors
    /// When the connect fails.
    pub async fn open(address: SocketAddr) -> io::Result<Self> {
        Self::over(TcpStream::connect(address).await?, address).await
    }

    /// Opens it from this address of the machine: all of `127.0.0.0/8` are.
    ///
    /// # Errors
    /// When the connect fails.
    pub async fn open_from(source: Ipv4Addr, address: SocketAddr) -> io::Result<Self> {
        let socket = TcpSocket::new_v4()?;
        socket.bind((source, 0).into())?;
        Self::over(socket.connect(address).await?, address).await
    }

    /// Opens it under TLS.
    ///
    /// # Errors
    /// When the connect fails, or the handshake.
    pub async fn open_tls(address: SocketAddr, client: &TlsClient) -> io::Result<Self> {
        Self::over(client.connect(address).await?, address).await
    }

    /// Goes on with a connection that is open.
    ///
    /// # Errors
    /// When it is closed already.
    pub async fn over(stream: impl Into<Link>, address: SocketAddr) -> io::Result<Self> {
        let stream = stream.into();
        stream.tcp().set_nodelay(true)?;
        let is_http2 = stream.ssl().and_then(|ssl| ssl.selected_alpn_protocol()) == Some(b"h2");
        let received = Arc::new(AtomicU64::new(0));
        let counted = Counted { stream, received: Arc::clone(&received) };
        // Its errors reach the sender of the request that they break.
        let (sender, driver) = if is_http2 {
            let made = http2::handshake(TokioExecutor::new(), TokioIo::new(counted)).await;
            let (sender, connection) = made.map_err(io::Error::other)?;
            (Sender::Http2(sender), tokio::spawn(connection).abort_handle())
        } else {
            let made = http1::handshake(TokioIo::new(counted)).await;
            let (sender, connection) = made.map_err(io::Error::other)?;
            (Sender::Http1(sender), tokio::spawn(connection).abort_handle())
        };
        Ok(Self { address, sender, received, driver })
    }

    /// Sends a request and reads its answer whole. A missing `Host` is filled in.
    ///
    /// # Errors
    /// When the connection breaks, or is closed already.
    pub async fn send(&mut self, request: Request<Bytes>) -> Result<Answer, hyper::Error> {
        self.sender.ready().await?;
        let mut request = request.map(Full::new);
        if !request.headers().contains_key(HOST)
            && let Ok(host) = HeaderValue::from_str(&self.address.to_string())
        {
            request.headers_mut().insert(HOST, host);
        }
        let (head, body) = self.sender.send(request).await?.into_parts();
        let body = body.collect().await?.to_bytes();
        Ok(Answer { status: head.status.as_u16(), headers: head.headers, body })
    }

    /// Whether it can still carry a request, as far as this side knows.
    pub async fn is_open(&mut self) -> bool {
        self.sender.ready().await.is_ok()
    }

    /// Bytes received so far.
    pub fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// Bytes that came back for raw bytes.
#[derive(Clone, Debug)]
pub struct RawAnswer {
    /// All that came.
    pub bytes: Vec<u8>,
    /// Whether the server closed the connection; else the time was up.
    pub closed: bool,
}

impl RawAnswer {
    /// All that came, as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }

    /// The status of the first answer; none when no status line came.
    pub fn status(&self) -> Option<u16> {
        self.text().strip_prefix("HTTP/1.")?.split(' ').nth(1)?.parse().ok()
    }

    /// How many answers came: status lines counted.
    pub fn answers(&self) -> usize {
        self.text().matches("HTTP/1.").count()
    }
}

/// Sends `bytes` as they are and reads until the server closes or `within` is up.
///
/// # Errors
/// When the connect or the write fails.
pub async fn raw(address: SocketAddr, bytes: &[u8], within: Duration) -> Result<RawAnswer> {
    let mut stream = TcpStream::connect(address).await.with_context(|| format!("connecting to {address}"))?;
    stream.write_all(bytes).await.context("writing raw bytes")?;
    let mut answer = Vec::new();
    // A reset is a close too: a server that refuses a request may leave some of it unread.
    let closed = timeout(within, stream.read_to_end(&mut answer)).await.is_ok();
    Ok(RawAnswer { bytes: answer, closed })
}

/// Counts what comes in, so that "closed before any answer byte" can be told.
#[derive(Debug)]
struct Counted {
    stream: Link,
    received: Arc<AtomicU64>,
}

impl AsyncRead for Counted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut TaskContext<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let result = Pin::new(&mut self.stream).poll_read(context, buffer);
        self.received.fetch_add((buffer.filled().len() - before) as u64, Ordering::Relaxed);
        result
    }
}

impl AsyncWrite for Counted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut TaskContext<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut TaskContext<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut TaskContext<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
