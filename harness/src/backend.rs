//! A backend that records what reaches it and answers, or misbehaves, as it is told.

mod behaviour;
mod body;
mod connection;
mod reply;

use std::{
    collections::VecDeque,
    io,
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use bytes::Bytes;
use fastrand::Rng;
use http_body_util::BodyExt;
use hyper::{HeaderMap, Method, Request, Response, body::Incoming, header::HeaderValue};
use tokio::{
    net::{TcpListener, TcpSocket, TcpStream},
    sync::watch,
    task::{AbortHandle, JoinSet},
    time::{sleep, timeout},
};

pub use self::{behaviour::Behaviour, reply::Reply};
use self::{
    body::{End, ReplyBody},
    connection::{Busy, Ending, Link, Open},
};
use crate::{
    link::{Greeting, TlsServer},
    ports::free_address,
};

/// How long it tries to take its port again.
const REBIND: Duration = Duration::from_secs(5);

/// Between two tries to bind, or to accept.
const PAUSE: Duration = Duration::from_millis(10);

/// What the kernel keeps of an answer that nobody reads, in bytes. By itself it keeps 4 MiB of each, out of memory that all
/// sockets share (`net.ipv4.tcp_mem`): with some hundred of them it drops the segments of all others, for seconds.
const SEND_BUFFER: u32 = 256 << 10;

/// An error closes the connection, or hands it over to an [`Ending`].
type Handled = io::Result<Response<ReplyBody>>;

/// A request as it arrived.
#[derive(Clone, Debug)]
pub struct Recorded {
    /// When it had arrived whole, or its head had, when that is all it was to be read of.
    pub at: Instant,
    /// Which of the backend's connections it came over, counted from 0.
    pub connection: usize,
    /// What its client has said in its handshake; none: it is in clear.
    pub greeting: Option<Greeting>,
    /// Its method.
    pub method: Method,
    /// Path and query, as on the wire.
    pub target: String,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body, whole; empty when it was not to be read.
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

/// How many connections a backend has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connections {
    /// Ever accepted.
    pub accepted: usize,
    /// Open now.
    pub open: usize,
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
    /// None: in clear.
    tls: Mutex<Option<TlsServer>>,
    handshakes_failed: AtomicUsize,
    script: Mutex<VecDeque<Reply>>,
    requests: watch::Sender<Vec<Recorded>>,
    behaviour: watch::Sender<Behaviour>,
    listening: watch::Sender<bool>,
    chance: Mutex<Rng>,
    accepted: AtomicUsize,
    open: AtomicUsize,
}

/// As many connections may wait to be taken as a test opens at once. (By default it is 1,024: the next would wait for a second,
/// until they are sent for once more.)
fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.set_send_buffer_size(SEND_BUFFER)?;
    socket.bind(address)?;
    socket.listen(4_096)
}

impl Backend {
    /// Starts one that answers `usual` to everything, with its name in `x-served-by`.
    ///
    /// # Errors
    /// When it finds no free port.
    pub async fn start(name: &str, usual: Reply) -> Result<Self> {
        Self::launch(name, usual, None).await
    }

    /// Starts one that speaks TLS.
    ///
    /// # Errors
    /// When it finds no free port.
    pub async fn start_tls(name: &str, usual: Reply, tls: TlsServer) -> Result<Self> {
        Self::launch(name, usual, Some(tls)).await
    }

    async fn launch(name: &str, usual: Reply, tls: Option<TlsServer>) -> Result<Self> {
        let listener = loop {
            match bind(free_address()?) {
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
                bound => break bound.context("binding a backend's port")?,
            }
        };
        let address = listener.local_addr()?;
        let state = Arc::new(State {
            name: name.to_owned(),
            usual,
            tls: Mutex::new(tls),
            handshakes_failed: AtomicUsize::new(0),
            script: Mutex::default(),
            requests: watch::Sender::default(),
            behaviour: watch::Sender::default(),
            listening: watch::Sender::new(true),
            chance: Mutex::new(Rng::with_seed(0)),
            accepted: AtomicUsize::new(0),
            open: AtomicUsize::new(0),
        });
        let server = tokio::spawn(listen(listener, address, Arc::clone(&state))).abort_handle();
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

    /// Behaves so from now on: no request that is sent when this has returned meets the old behaviour.
    ///
    /// # Errors
    /// When it is to listen again and somebody else has taken its port.
    pub async fn behave(&self, behaviour: Behaviour) -> Result<()> {
        let listens = behaviour.listens();
        if let Some(seed) = behaviour.seed() {
            self.state.chance().seed(seed);
        }
        self.state.behaviour.send_replace(behaviour);
        let mut listening = self.state.listening.subscribe();
        let settled = timeout(REBIND, listening.wait_for(|listening| *listening == listens)).await;
        settled.map(drop).with_context(|| format!("{} did not get {} back", self.state.name, self.address))
    }

    /// Shakes hands so from the next connection on.
    pub fn shake_hands(&self, tls: TlsServer) {
        *self.state.tls.lock().unwrap_or_else(PoisonError::into_inner) = Some(tls);
    }

    /// Handshakes that did not come to their end.
    pub fn failed_handshakes(&self) -> usize {
        self.state.handshakes_failed.load(Ordering::SeqCst)
    }

    /// What has arrived, in order.
    pub fn requests(&self) -> Vec<Recorded> {
        self.state.requests.borrow().clone()
    }

    /// How many requests have arrived.
    pub fn count(&self) -> usize {
        self.state.requests.borrow().len()
    }

    /// How many connections it has had and has.
    pub fn connections(&self) -> Connections {
        let open = self.state.open.load(Ordering::SeqCst);
        Connections { accepted: self.state.accepted.load(Ordering::SeqCst), open }
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

/// Accepts connections while the behaviour lets it.
async fn listen(listener: TcpListener, address: SocketAddr, state: Arc<State>) {
    let mut behaviour = state.behaviour.subscribe();
    let mut listener = Some(listener);
    // Aborting this task drops the set, and that aborts every connection.
    let mut connections = JoinSet::new();
    loop {
        if !behaviour.borrow_and_update().listens() {
            listener = None;
            connections.shutdown().await;
        } else if listener.is_none() {
            listener = bind(address).ok();
        }
        state.listening.send_replace(listener.is_some());
        tokio::select! {
            _ = behaviour.changed() => {}
            accepted = accept(listener.as_ref()) => if let Some(stream) = accepted {
                connections.spawn(serve(Open::new(&state), stream));
            },
        }
        while connections.try_join_next().is_some() {}
    }
}

async fn serve(mut open: Open, stream: TcpStream) {
    let tls = open.state.tls.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let Some(tls) = tls else { return connection::serve(open, stream.into()).await };
    match tls.accept(stream).await {
        Ok((link, greeting)) => {
            open.greeting = Some(greeting);
            connection::serve(open, link).await;
        }
        Err(_) => _ = open.state.handshakes_failed.fetch_add(1, Ordering::SeqCst),
    }
}

/// None after a pause, when there is nothing to accept from or it failed.
async fn accept(listener: Option<&TcpListener>) -> Option<TcpStream> {
    if let Some(listener) = listener
        && let Ok((stream, _)) = listener.accept().await
    {
        return Some(stream);
    }
    sleep(PAUSE).await;
    None
}

impl State {
    async fn handle(&self, request: Request<Incoming>, open: &Open, link: &Arc<Link>) -> Handled {
        let busy = link.begin();
        let (head, body) = request.into_parts();
        let (early, body) = match self.next_early() {
            Some(reply) => (Some(reply), Bytes::new()),
            None => (None, body.collect().await.map_err(io::Error::other)?.to_bytes()),
        };
        let target = head.uri.path_and_query().map_or_else(|| head.uri.to_string(), ToString::to_string);
        let recorded = Recorded {
            at: Instant::now(),
            connection: open.number,
            greeting: open.greeting.clone(),
            method: head.method,
            target,
            headers: head.headers,
            body: body.clone(),
        };
        self.requests.send_modify(|requests| requests.push(recorded));
        let reply = early.unwrap_or_else(|| self.next_reply());
        self.perform(reply, body, link, busy).await
    }

    /// The next reply, if it is to be given before the body is read.
    fn next_early(&self) -> Option<Reply> {
        let mut script = self.script();
        let next = match script.front() {
            Some(next) => next.clone(),
            None => match &*self.behaviour.borrow() {
                Behaviour::Always(reply) => reply.clone(),
                _ => self.usual.clone(),
            },
        };
        matches!(next, Reply::Early(_)).then(|| script.pop_front().unwrap_or(next))
    }

    fn next_reply(&self) -> Reply {
        if let Some(reply) = self.script().pop_front() {
            return reply;
        }
        match &*self.behaviour.borrow() {
            Behaviour::Always(reply) => reply.clone(),
            Behaviour::Sometimes { share, reply, .. } if self.chance().f64() < *share => reply.clone(),
            _ => self.usual.clone(),
        }
    }

    async fn perform(&self, reply: Reply, request_body: Bytes, link: &Link, busy: Busy) -> Handled {
        let mut response = match self.wait(reply).await {
            Reply::Answer(status, headers, body) => {
                let mut response = Response::builder().status(status);
                for (name, value) in headers {
                    response = response.header(name, value);
                }
                response.body(ReplyBody::whole(body, busy)).map_err(io::Error::other)?
            }
            Reply::Echo => Response::new(ReplyBody::whole(request_body, busy)),
            Reply::Break(promised, sent) => {
                Response::new(ReplyBody::partial(promised, sent, End::Break, busy))
            }
            Reply::Reset(promised, sent) => {
                link.end_with(Ending::Reset);
                Response::new(ReplyBody::partial(promised, sent, End::Break, busy))
            }
            Reply::Stall(promised, sent) => {
                Response::new(ReplyBody::partial(promised, sent, End::Silence, busy))
            }
            Reply::Excess(promised, sent) => {
                link.end_with(Ending::Write(self.raw_answer(promised, &sent)));
                return Err(io::Error::other("told to send more than it promises"));
            }
            Reply::Drop => return Err(io::Error::other("told to drop the request")),
            Reply::Hang | Reply::After(..) | Reply::Early(_) => std::future::pending().await,
        };
        if let Ok(name) = HeaderValue::from_str(&self.name) {
            response.headers_mut().insert("x-served-by", name);
        }
        Ok(response)
    }

    /// Waits as long as the reply says; returns what is to be done then.
    async fn wait(&self, mut reply: Reply) -> Reply {
        loop {
            reply = match reply {
                Reply::After(wait, then) => {
                    sleep(wait * self.slowness()).await;
                    *then
                }
                Reply::Early(reply) => *reply,
                reply => return reply,
            }
        }
    }

    fn slowness(&self) -> u32 {
        match *self.behaviour.borrow() {
            Behaviour::Slow(factor) => factor,
            _ => 1,
        }
    }

    /// hyper keeps promises; this does not.
    fn raw_answer(&self, promised: u64, sent: &[u8]) -> Vec<u8> {
        let head =
            format!("HTTP/1.1 200 OK\r\ncontent-length: {promised}\r\nx-served-by: {}\r\n\r\n", self.name);
        [head.as_bytes(), sent].concat()
    }

    /// A pause from none to `longest`.
    fn draw_pause(&self, longest: Duration) -> Duration {
        longest.mul_f64(self.chance().f64())
    }

    fn script(&self) -> MutexGuard<'_, VecDeque<Reply>> {
        self.script.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn chance(&self) -> MutexGuard<'_, Rng> {
        self.chance.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
