//! A backend that records what reaches it and answers as it is told.

use std::{
    collections::VecDeque,
    io,
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context as TaskContext, Poll},
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::{
    HeaderMap, Method, Request, Response,
    body::{Body, Frame, Incoming, SizeHint},
    header::HeaderValue,
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use tokio::{
    net::TcpListener,
    sync::watch,
    task::{AbortHandle, JoinSet},
    time::{sleep, timeout},
};

use crate::ports::free_address;

/// What to do with a request, once it has been read whole.
#[derive(Clone, Debug)]
pub enum Reply {
    /// Status, headers and body.
    Answer(u16, Vec<(&'static str, String)>, Bytes),
    /// 200 with the request's own body.
    Echo,
    /// Close the connection without a byte.
    Drop,
    /// Promise a body of this many bytes, send these, and close.
    Break(u64, Bytes),
    /// Never answer.
    Hang,
    /// Wait, then answer.
    After(Duration, Box<Reply>),
}

impl Reply {
    /// 200 with this body.
    pub fn ok(body: impl Into<Bytes>) -> Self {
        Self::Answer(200, Vec::new(), body.into())
    }

    /// This status, with an empty body.
    pub fn status(status: u16) -> Self {
        Self::Answer(status, Vec::new(), Bytes::new())
    }
}

/// A request as it arrived.
#[derive(Clone, Debug)]
pub struct Recorded {
    /// When it had arrived whole.
    pub at: Instant,
    /// Which of the backend's connections it came over, counted from 0.
    pub connection: usize,
    /// Its method.
    pub method: Method,
    /// Path and query, as on the wire.
    pub target: String,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body, whole.
    pub body: Bytes,
}

impl Recorded {
    /// The header's value, when it came exactly once and is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.get_all(name).iter();
        let value = values.next()?.to_str().ok();
        if values.next().is_none() { value } else { None }
    }
}

/// A running backend. Dropping it closes its port and its connections.
#[derive(Debug)]
pub struct Backend {
    address: SocketAddr,
    state: Arc<State>,
    server: AbortHandle,
}

#[derive(Debug)]
struct State {
    name: String,
    usual: Reply,
    script: Mutex<VecDeque<Reply>>,
    requests: watch::Sender<Vec<Recorded>>,
}

impl Backend {
    /// Starts one that answers `usual` to everything, with its name in `x-served-by`.
    ///
    /// # Errors
    /// When it finds no free port.
    pub async fn start(name: &str, usual: Reply) -> Result<Self> {
        let listener = loop {
            match TcpListener::bind(free_address()?).await {
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
                bound => break bound.context("binding a backend's port")?,
            }
        };
        let address = listener.local_addr()?;
        let state = Arc::new(State {
            name: name.to_owned(),
            usual,
            script: Mutex::default(),
            requests: watch::Sender::default(),
        });
        let server = tokio::spawn(serve(listener, Arc::clone(&state))).abort_handle();
        Ok(Self { address, state, server })
    }

    /// Where it listens; also what to register.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers the next requests with these, one each.
    pub fn script(&self, replies: impl IntoIterator<Item = Reply>) {
        self.state.script().extend(replies);
    }

    /// What has arrived, in order.
    pub fn requests(&self) -> Vec<Recorded> {
        self.state.requests.borrow().clone()
    }

    /// How many requests have arrived.
    pub fn count(&self) -> usize {
        self.state.requests.borrow().len()
    }

    /// The latest request.
    ///
    /// # Errors
    /// When none has arrived.
    pub fn last(&self) -> Result<Recorded> {
        let last = self.state.requests.borrow().last().cloned();
        last.with_context(|| format!("no request has reached {}", self.state.name))
    }

    /// Waits until `count` requests have arrived.
    ///
    /// # Errors
    /// When they have not within `within`.
    pub async fn wait_count(&self, count: usize, within: Duration) -> Result<()> {
        let mut requests = self.state.requests.subscribe();
        let arrived = timeout(within, requests.wait_for(|requests| requests.len() >= count)).await;
        arrived
            .map(drop)
            .with_context(|| format!("{} saw no {count} requests within {within:?}", self.state.name))
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl State {
    fn script(&self) -> MutexGuard<'_, VecDeque<Reply>> {
        self.script.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn handle(&self, connection: usize, request: Request<Incoming>) -> io::Result<Response<ReplyBody>> {
        let (head, body) = request.into_parts();
        let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
        let target = head.uri.path_and_query().map_or_else(|| head.uri.to_string(), ToString::to_string);
        let recorded = Recorded {
            at: Instant::now(),
            connection,
            method: head.method,
            target,
            headers: head.headers,
            body: body.clone(),
        };
        self.requests.send_modify(|requests| requests.push(recorded));
        let reply = self.script().pop_front();
        self.perform(reply.unwrap_or_else(|| self.usual.clone()), body).await
    }

    async fn perform(&self, mut reply: Reply, request_body: Bytes) -> io::Result<Response<ReplyBody>> {
        while let Reply::After(wait, then) = reply {
            sleep(wait).await;
            reply = *then;
        }
        let mut response = match reply {
            Reply::Answer(status, headers, body) => {
                let mut response = Response::builder().status(status);
                for (name, value) in headers {
                    response = response.header(name, value);
                }
                response.body(ReplyBody::whole(body)).map_err(io::Error::other)?
            }
            Reply::Echo => Response::new(ReplyBody::whole(request_body)),
            Reply::Break(promised, sent) => {
                Response::new(ReplyBody { promised, left: Some(sent), flushed: false })
            }
            Reply::Drop => return Err(io::Error::other("told to drop the request")),
            Reply::Hang | Reply::After(..) => std::future::pending().await,
        };
        if let Ok(name) = HeaderValue::from_str(&self.name) {
            response.headers_mut().insert("x-served-by", name);
        }
        Ok(response)
    }
}

async fn serve(listener: TcpListener, state: Arc<State>) {
    // Aborting this task drops the set, and that aborts every connection.
    let mut connections = JoinSet::new();
    let mut number = 0;
    while let Ok((stream, _)) = listener.accept().await {
        let (state, connection) = (Arc::clone(&state), number);
        number += 1;
        connections.spawn(async move {
            let service = service_fn(|request| state.handle(connection, request));
            // A broken connection is what some replies ask for, and otherwise the client's to notice.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
        while connections.try_join_next().is_some() {}
    }
}

/// A body that is sent whole, or breaks off when less than promised is there.
struct ReplyBody {
    promised: u64,
    left: Option<Bytes>,
    flushed: bool,
}

impl ReplyBody {
    fn whole(bytes: Bytes) -> Self {
        Self { promised: bytes.len() as u64, left: Some(bytes), flushed: false }
    }
}

impl Body for ReplyBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut TaskContext<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if let Some(bytes) = self.left.take() {
            self.promised = self.promised.saturating_sub(bytes.len() as u64);
            return Poll::Ready(Some(Ok(Frame::data(bytes))));
        }
        if self.promised == 0 {
            return Poll::Ready(None);
        }
        if !self.flushed {
            // hyper writes what it has before it asks again; an error at once would swallow the head too.
            self.flushed = true;
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(Some(Err(io::Error::other("told to break off"))))
    }

    fn is_end_stream(&self) -> bool {
        self.promised == 0 && self.left.as_ref().is_none_or(Bytes::is_empty)
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.promised)
    }
}
