//! tonic's server and client, of a small service that repeats what it is told: `test.Echo`.

use std::{
    convert::Infallible,
    future::ready,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context as TaskContext, Poll},
    time::Duration,
};

use anyhow::{Context, Result};
use bytes::{Buf, BufMut, Bytes};
use futures_util::{Stream, StreamExt, stream};
use hyper::Uri;
use hyper_util::rt::TokioIo;
use tokio::task::JoinHandle;
use tonic::{
    Request, Response, Status, Streaming,
    body::Body,
    client,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
    codegen::{BoxFuture, Service, http},
    server::{
        self, ClientStreamingService, NamedService, ServerStreamingService, StreamingService, UnaryService,
    },
    transport::{Channel, Endpoint, Server, server::TcpIncoming},
};

use crate::link::TlsClient;

/// No message of a test is larger.
const LARGEST: usize = 64 << 20;
/// How often a stream that the server makes says something.
const TIMES: usize = 3;

type Answers = Pin<Box<dyn Stream<Item = Result<Bytes, Status>> + Send>>;

/// Messages that are bytes, and nothing else.
#[derive(Clone, Copy, Debug, Default)]
struct Raw;

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        *self
    }

    fn decoder(&mut self) -> Self {
        *self
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, message: Bytes, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put(message);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(buffer.copy_to_bytes(buffer.remaining())))
    }
}

/// A server of tonic's. Dropping it ends it.
#[derive(Debug)]
pub struct TonicBackend {
    address: SocketAddr,
    calls: Arc<AtomicUsize>,
    server: JoinHandle<()>,
}

impl TonicBackend {
    /// Starts one in clear.
    ///
    /// # Errors
    /// When no port is free.
    pub async fn start() -> Result<Self> {
        let incoming = TcpIncoming::bind(SocketAddr::from(([127, 0, 0, 1], 0)));
        let incoming = incoming.context("binding a port for tonic")?.with_nodelay(Some(true));
        let address = incoming.local_addr()?;
        let echo = Echo::default();
        let calls = Arc::clone(&echo.calls);
        let server = Server::builder().add_service(echo).serve_with_incoming(incoming);
        let server = tokio::spawn(async move {
            // An error ends the server, and so the test, which then reaches nobody.
            let _ = server.await;
        });
        Ok(Self { address, calls, server })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many calls have come.
    pub fn count(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }
}

impl Drop for TonicBackend {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// `test.Echo`: `Unary` repeats, `Server` repeats three times, `Client` joins what came, `Both` repeats each.
#[derive(Clone, Debug, Default)]
struct Echo {
    calls: Arc<AtomicUsize>,
}

impl NamedService for Echo {
    const NAME: &'static str = "test.Echo";
}

impl Service<http::Request<Body>> for Echo {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Infallible>;

    fn poll_ready(&mut self, _: &mut TaskContext<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        self.calls.fetch_add(1, Ordering::SeqCst);
        let echo = self.clone();
        Box::pin(async move {
            let grpc = server::Grpc::new(Raw);
            let mut grpc = grpc.max_decoding_message_size(LARGEST).max_encoding_message_size(LARGEST);
            Ok(match request.uri().path() {
                "/test.Echo/Unary" => grpc.unary(echo, request).await,
                "/test.Echo/Server" => grpc.server_streaming(echo, request).await,
                "/test.Echo/Client" => grpc.client_streaming(echo, request).await,
                "/test.Echo/Both" => grpc.streaming(echo, request).await,
                _ => Status::unimplemented("no such method of test.Echo").into_http(),
            })
        })
    }
}

/// An answer that has the call's own metadata whose names begin with `x-`.
fn answer<T>(metadata: &tonic::metadata::MetadataMap, body: T) -> Response<T> {
    let mut answer = Response::new(body);
    for (name, value) in metadata.as_ref().iter().filter(|(name, _)| name.as_str().starts_with("x-")) {
        let mut headers = std::mem::take(answer.metadata_mut()).into_headers();
        headers.append(name, value.clone());
        *answer.metadata_mut() = tonic::metadata::MetadataMap::from_headers(headers);
    }
    answer
}

impl UnaryService<Bytes> for Echo {
    type Response = Bytes;
    type Future = BoxFuture<Response<Bytes>, Status>;

    fn call(&mut self, request: Request<Bytes>) -> Self::Future {
        let answered = answer(request.metadata(), request.get_ref().clone());
        Box::pin(ready(Ok(answered)))
    }
}

impl ServerStreamingService<Bytes> for Echo {
    type Response = Bytes;
    type ResponseStream = Answers;
    type Future = BoxFuture<Response<Answers>, Status>;

    fn call(&mut self, request: Request<Bytes>) -> Self::Future {
        let message = request.get_ref().clone();
        let messages: Answers = Box::pin(stream::iter(vec![message; TIMES]).map(Ok));
        Box::pin(ready(Ok(answer(request.metadata(), messages))))
    }
}

impl ClientStreamingService<Bytes> for Echo {
    type Response = Bytes;
    type Future = BoxFuture<Response<Bytes>, Status>;

    fn call(&mut self, request: Request<Streaming<Bytes>>) -> Self::Future {
        Box::pin(async move {
            let metadata = request.metadata().clone();
            let mut messages = request.into_inner();
            let mut joined = Vec::new();
            while let Some(message) = messages.message().await? {
                joined.extend_from_slice(&message);
            }
            Ok(answer(&metadata, joined.into()))
        })
    }
}

impl StreamingService<Bytes> for Echo {
    type Response = Bytes;
    type ResponseStream = Answers;
    type Future = BoxFuture<Response<Answers>, Status>;

    fn call(&mut self, request: Request<Streaming<Bytes>>) -> Self::Future {
        let metadata = request.metadata().clone();
        let messages: Answers = Box::pin(request.into_inner());
        Box::pin(ready(Ok(answer(&metadata, messages))))
    }
}

/// A client of tonic's of `test.Echo`.
#[derive(Clone, Debug)]
pub struct TonicClient(client::Grpc<Channel>);

impl TonicClient {
    /// Connects in clear.
    ///
    /// # Errors
    /// When that fails.
    pub async fn connect(address: SocketAddr) -> Result<Self> {
        let endpoint = Endpoint::from_shared(format!("http://{address}"))?.connect_timeout(PATIENCE);
        Ok(Self::over(endpoint.connect().await.with_context(|| format!("connecting to {address}"))?))
    }

    /// Connects under TLS, which must agree on HTTP/2; the host is whose calls they are.
    ///
    /// # Errors
    /// When that fails.
    pub async fn connect_tls(address: SocketAddr, tls: &TlsClient, host: &str) -> Result<Self> {
        let tls = tls.speaking_http2();
        let connector = ByTls { tls, address };
        // Its connector speaks TLS: one of tonic's own is not there.
        let endpoint = Endpoint::from_shared(format!("http://{host}"))?.connect_timeout(PATIENCE);
        Ok(Self::over(endpoint.connect_with_connector(connector).await?))
    }

    fn over(channel: Channel) -> Self {
        let grpc = client::Grpc::new(channel);
        Self(grpc.max_decoding_message_size(LARGEST).max_encoding_message_size(LARGEST))
    }

    /// One message there, one back.
    ///
    /// # Errors
    /// What the call says.
    pub async fn unary(&mut self, request: Request<Bytes>) -> Result<Response<Bytes>, Status> {
        self.ready().await?;
        self.0.unary(request, path("Unary"), Raw).await
    }

    /// One there, all that come back.
    ///
    /// # Errors
    /// What the call says.
    pub async fn server(&mut self, message: Bytes) -> Result<Vec<Bytes>, Status> {
        self.ready().await?;
        let answer = self.0.server_streaming(Request::new(message), path("Server"), Raw).await?;
        collect(answer.into_inner()).await
    }

    /// These there, one back.
    ///
    /// # Errors
    /// What the call says.
    pub async fn client(&mut self, messages: Vec<Bytes>) -> Result<Bytes, Status> {
        self.ready().await?;
        let messages = Request::new(stream::iter(messages));
        Ok(self.0.client_streaming(messages, path("Client"), Raw).await?.into_inner())
    }

    /// A stream there, and one back.
    ///
    /// # Errors
    /// What the call says.
    pub async fn both(
        &mut self,
        messages: impl Stream<Item = Bytes> + Send + 'static,
    ) -> Result<Streaming<Bytes>, Status> {
        self.ready().await?;
        Ok(self.0.streaming(Request::new(messages), path("Both"), Raw).await?.into_inner())
    }

    async fn ready(&mut self) -> Result<(), Status> {
        self.0.ready().await.map_err(|error| Status::unavailable(error.to_string()))
    }
}

/// Bounds a connect.
const PATIENCE: Duration = Duration::from_secs(30);

fn path(method: &'static str) -> http::uri::PathAndQuery {
    http::uri::PathAndQuery::from_static(match method {
        "Unary" => "/test.Echo/Unary",
        "Server" => "/test.Echo/Server",
        "Client" => "/test.Echo/Client",
        _ => "/test.Echo/Both",
    })
}

async fn collect(mut messages: Streaming<Bytes>) -> Result<Vec<Bytes>, Status> {
    let mut all = Vec::new();
    while let Some(message) = messages.message().await? {
        all.push(message);
    }
    Ok(all)
}

/// Connects to one address under TLS, whatever it is asked for.
#[derive(Clone)]
struct ByTls {
    tls: TlsClient,
    address: SocketAddr,
}

impl Service<Uri> for ByTls {
    type Response = TokioIo<crate::link::Link>;
    type Error = std::io::Error;
    type Future = BoxFuture<Self::Response, std::io::Error>;

    fn poll_ready(&mut self, _: &mut TaskContext<'_>) -> Poll<Result<(), std::io::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let connector = self.clone();
        Box::pin(async move { connector.tls.connect(connector.address).await.map(TokioIo::new) })
    }
}
