//! A backend of HTTP/2 that does with each call what it is told, and keeps what it has seen.

use std::{
    collections::VecDeque,
    future::{pending, poll_fn},
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use bytes::Bytes;
use h2::{
    RecvStream, SendStream,
    server::{self, SendResponse},
};
use hyper::{HeaderMap, Method, Request, Response, StatusCode, header::HeaderValue};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{mpsc, watch},
    task::{AbortHandle, JoinSet},
    time::{sleep, timeout},
};

use super::{
    Act, Cut, Messages, Step,
    stream::{poll_cut, receive, send},
};
use crate::{
    backend::Connections,
    link::{Link, TlsServer},
};

/// How a backend is.
#[derive(Clone, Debug, Default)]
pub struct GrpcOptions {
    /// How many streams each connection may have at a time (SETTINGS_MAX_CONCURRENT_STREAMS); none: any number.
    pub streams: Option<u32>,
    /// None: in clear.
    pub tls: Option<TlsServer>,
}

/// A call as it has come so far.
#[derive(Clone, Debug)]
pub struct SeenCall {
    /// When its head was there.
    pub at: Instant,
    /// Which of the backend's connections it came over, counted from 0.
    pub connection: usize,
    /// Its method.
    pub method: Method,
    /// Path and query.
    pub target: String,
    /// `:scheme` and `:authority`, if they were there.
    pub origin: (Option<String>, Option<String>),
    /// Its fields.
    pub headers: HeaderMap,
    /// Bytes of its body.
    pub received: usize,
    /// The messages that came whole, if it is one of gRPC.
    pub messages: Vec<Bytes>,
    /// What came after them.
    pub trailers: Option<HeaderMap>,
    /// Whether it came to its end.
    pub is_whole: bool,
    /// How it was cut off, and when.
    pub cut: Option<(Cut, Instant)>,
}

impl SeenCall {
    /// The field's value, when it came exactly once and is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.get_all(name).iter();
        let value = values.next()?.to_str().ok();
        if values.next().is_none() { value } else { None }
    }
}

/// A running backend. Dropping it closes its port and its connections.
#[derive(Debug)]
pub struct GrpcBackend {
    address: SocketAddr,
    state: Arc<State>,
    server: AbortHandle,
}

#[derive(Debug)]
struct State {
    name: String,
    options: GrpcOptions,
    usual: Mutex<Act>,
    script: Mutex<VecDeque<Act>>,
    calls: watch::Sender<Vec<SeenCall>>,
    frozen: watch::Sender<bool>,
    accepted: AtomicUsize,
    open: AtomicUsize,
    failures: Mutex<Vec<String>>,
}

/// What a call wants of its connection.
#[derive(Clone, Copy, Debug)]
enum Wish {
    GoAway,
    Close,
}

impl GrpcBackend {
    /// Starts one in clear that sends all messages back, with its name in `x-served-by`.
    ///
    /// # Errors
    /// When no port is free.
    pub async fn start(name: &str) -> Result<Self> {
        Self::start_with(name, GrpcOptions::default()).await
    }

    /// Starts one.
    ///
    /// # Errors
    /// When no port is free.
    pub async fn start_with(name: &str, options: GrpcOptions) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.context("binding a port for gRPC")?;
        let address = listener.local_addr()?;
        let state = Arc::new(State {
            name: name.to_owned(),
            options,
            usual: Mutex::new(Act::echo()),
            script: Mutex::default(),
            calls: watch::Sender::default(),
            frozen: watch::Sender::new(false),
            accepted: AtomicUsize::new(0),
            open: AtomicUsize::new(0),
            failures: Mutex::default(),
        });
        let server = tokio::spawn(listen(listener, Arc::clone(&state))).abort_handle();
        Ok(Self { address, state, server })
    }

    /// Where it listens; also what to register.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Does this with every call from now on that is not scripted.
    pub fn always(&self, act: Act) {
        *lock(&self.state.usual) = act;
    }

    /// Does these with the next calls, one each.
    pub fn script(&self, acts: impl IntoIterator<Item = Act>) {
        lock(&self.state.script).extend(acts);
    }

    /// Stands still, as a stopped process does: its connections stay open, and nothing is read or written.
    pub fn freeze(&self, frozen: bool) {
        self.state.frozen.send_replace(frozen);
    }

    /// What has come, in order.
    pub fn calls(&self) -> Vec<SeenCall> {
        self.state.calls.borrow().clone()
    }

    /// How many calls have come.
    pub fn count(&self) -> usize {
        self.state.calls.borrow().len()
    }

    /// How many connections it has had and has.
    pub fn connections(&self) -> Connections {
        let open = self.state.open.load(Ordering::SeqCst);
        Connections { accepted: self.state.accepted.load(Ordering::SeqCst), open }
    }

    /// What was wrong with its connections: what came was no HTTP/2.
    pub fn failures(&self) -> Vec<String> {
        lock(&self.state.failures).clone()
    }

    /// The latest call.
    ///
    /// # Errors
    /// When none has come.
    pub fn last(&self) -> Result<SeenCall> {
        let last = self.state.calls.borrow().last().cloned();
        last.with_context(|| format!("no call has come to {}; {:?}", self.state.name, self.failures()))
    }

    /// Waits until the calls are so.
    ///
    /// # Errors
    /// When they are not within `within`.
    pub async fn wait(
        &self,
        within: Duration,
        wanted: impl Fn(&[SeenCall]) -> bool,
    ) -> Result<Vec<SeenCall>> {
        let mut calls = self.state.calls.subscribe();
        let waited = timeout(within, calls.wait_for(|calls| wanted(calls))).await;
        let come = waited.map(|calls| calls.map(|calls| calls.clone()).unwrap_or_default());
        come.with_context(|| {
            format!("{} has within {within:?} seen only {:?}", self.state.name, self.calls())
        })
    }

    /// Waits until so many calls have come.
    ///
    /// # Errors
    /// When they have not within `within`.
    pub async fn wait_count(&self, count: usize, within: Duration) -> Result<()> {
        self.wait(within, |calls| calls.len() >= count).await.map(drop)
    }
}

impl Drop for GrpcBackend {
    fn drop(&mut self) {
        self.server.abort();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn listen(listener: TcpListener, state: Arc<State>) {
    // Aborting this task drops the set, and that aborts every connection.
    let mut connections = JoinSet::new();
    loop {
        state.thawed().await;
        if let Ok((stream, _)) = listener.accept().await {
            let number = state.accepted.fetch_add(1, Ordering::SeqCst);
            let state = Arc::clone(&state);
            connections.spawn(async move {
                let open = Open::new(&state);
                if let Err(error) = serve(&state, number, stream).await {
                    lock(&state.failures).push(format!("{error:#}"));
                }
                drop(open);
            });
        }
        while connections.try_join_next().is_some() {}
    }
}

/// Counts a connection as long as it is there.
struct Open(Arc<State>);

impl Open {
    fn new(state: &Arc<State>) -> Self {
        state.open.fetch_add(1, Ordering::SeqCst);
        Self(Arc::clone(state))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::SeqCst);
    }
}

async fn serve(state: &Arc<State>, number: usize, stream: TcpStream) -> Result<()> {
    stream.set_nodelay(true)?;
    let link = match &state.options.tls {
        None => Link::from(stream),
        Some(tls) => tls.accept(stream).await?.0,
    };
    let mut builder = server::Builder::new();
    // A stream that is not read takes nothing from the others of its connection.
    builder.max_header_list_size(4 << 20).initial_connection_window_size(16 << 20);
    if let Some(streams) = state.options.streams {
        builder.max_concurrent_streams(streams);
    }
    let mut connection = builder.handshake::<_, Bytes>(link).await?;
    let (wish, mut wishes) = mpsc::unbounded_channel();
    let mut frozen = state.frozen.subscribe();
    let mut calls = JoinSet::new();
    loop {
        state.thawed().await;
        tokio::select! {
            // Nothing is read or written any more as soon as it is to stand still.
            biased;
            _ = frozen.changed() => {}
            Some(wish) = wishes.recv() => match wish {
                Wish::GoAway => connection.graceful_shutdown(),
                Wish::Close => return Ok(()),
            },
            accepted = connection.accept() => {
                let Some((request, respond)) = accepted.transpose()? else { return Ok(()) };
                let index = state.note(number, &request);
                let call = Call { state: Arc::clone(state), index, wish: wish.clone() };
                calls.spawn(call.serve(request.into_body(), respond));
            }
        }
        while calls.try_join_next().is_some() {}
    }
}

impl State {
    async fn thawed(&self) {
        let mut frozen = self.frozen.subscribe();
        // Its sender is this one's own.
        let _ = frozen.wait_for(|frozen| !frozen).await;
    }

    fn note(&self, connection: usize, request: &Request<RecvStream>) -> usize {
        let uri = request.uri();
        let call = SeenCall {
            at: Instant::now(),
            connection,
            method: request.method().clone(),
            target: uri.path_and_query().map_or_else(String::new, ToString::to_string),
            origin: (uri.scheme_str().map(str::to_owned), uri.authority().map(ToString::to_string)),
            headers: request.headers().clone(),
            received: 0,
            messages: Vec::new(),
            trailers: None,
            is_whole: false,
            cut: None,
        };
        let mut index = 0;
        self.calls.send_modify(|calls| {
            index = calls.len();
            calls.push(call);
        });
        index
    }

    fn next_act(&self) -> Act {
        lock(&self.script).pop_front().unwrap_or_else(|| lock(&self.usual).clone())
    }
}

/// A call that is being served.
struct Call {
    state: Arc<State>,
    index: usize,
    wish: mpsc::UnboundedSender<Wish>,
}

/// The answer: before its head, and after.
enum Answer {
    Awaited(SendResponse<Bytes>),
    Begun(SendStream<Bytes>),
    Ended,
}

impl Answer {
    /// When the client has reset the stream.
    async fn cut(&mut self) -> Cut {
        match self {
            Self::Awaited(respond) => poll_fn(|cx| poll_cut(respond.poll_reset(cx))).await,
            Self::Begun(stream) => poll_fn(|cx| poll_cut(stream.poll_reset(cx))).await,
            Self::Ended => pending().await,
        }
    }

    fn reset(&mut self, reason: h2::Reason) {
        match self {
            Self::Awaited(respond) => respond.send_reset(reason),
            Self::Begun(stream) => stream.send_reset(reason),
            Self::Ended => {}
        }
        *self = Self::Ended;
    }
}

impl Call {
    async fn serve(self, body: RecvStream, respond: SendResponse<Bytes>) {
        let mut request = Incoming { body, messages: Messages::default() };
        let mut answer = Answer::Awaited(respond);
        let played = async {
            for step in self.state.next_act().0 {
                self.play(step, &mut request, &mut answer).await?;
            }
            match answer {
                Answer::Ended => Ok(()),
                _ => Err(answer.cut().await),
            }
        };
        if let Err(cut) = played.await {
            self.seen(|call| call.cut = Some((cut, Instant::now())));
        }
    }

    fn seen(&self, change: impl FnOnce(&mut SeenCall)) {
        self.state.calls.send_modify(|calls| change(&mut calls[self.index]));
    }

    async fn play(&self, step: Step, request: &mut Incoming, answer: &mut Answer) -> Result<(), Cut> {
        match (step, &mut *answer) {
            (Step::Wait(time), _) => tokio::select! {
                () = sleep(time) => {}
                cut = answer.cut() => return Err(cut),
            },
            (Step::Read, _) => while self.receive(request).await?.is_some() {},
            (Step::Interim(status), Answer::Awaited(respond)) => {
                let mut interim = Response::new(());
                *interim.status_mut() = StatusCode::from_u16(status).unwrap_or_default();
                respond.send_informational(interim)?;
            }
            (Step::Head { status, fields, ends }, Answer::Awaited(respond)) => {
                let stream = respond.send_response(self.head(status, fields), ends)?;
                *answer = if ends { Answer::Ended } else { Answer::Begun(stream) };
            }
            (Step::Data(bytes), Answer::Begun(stream)) => send(stream, bytes, false).await?,
            (Step::Echo, Answer::Begun(stream)) => {
                while let Some(bytes) = self.receive(request).await? {
                    send(stream, bytes, false).await?;
                }
            }
            (Step::Trailers(fields), Answer::Begun(stream)) => {
                stream.send_trailers(fields)?;
                *answer = Answer::Ended;
            }
            (Step::End, Answer::Begun(stream)) => {
                stream.send_data(Bytes::new(), true)?;
                *answer = Answer::Ended;
            }
            (Step::Reset(reason), _) => answer.reset(reason),
            (Step::GoAway, _) => _ = self.wish.send(Wish::GoAway),
            (Step::Close, _) => _ = self.wish.send(Wish::Close),
            (step, _) => return Err(Cut::Broken(format!("told to do what cannot be done now: {step:?}"))),
        }
        Ok(())
    }

    fn head(&self, status: u16, fields: HeaderMap) -> Response<()> {
        let mut head = Response::new(());
        *head.status_mut() = StatusCode::from_u16(status).unwrap_or_default();
        *head.headers_mut() = fields;
        if let Ok(name) = HeaderValue::from_str(&self.state.name) {
            head.headers_mut().insert("x-served-by", name);
        }
        head
    }

    async fn receive(&self, request: &mut Incoming) -> Result<Option<Bytes>, Cut> {
        let Some(bytes) = receive(&mut request.body).await? else {
            let trailers = request.body.trailers().await?;
            self.seen(|call| {
                call.trailers = trailers;
                call.is_whole = true;
            });
            return Ok(None);
        };
        request.messages.push(&bytes);
        self.seen(|call| {
            call.received += bytes.len();
            if call.header("content-type").is_some_and(|kind| kind.starts_with(super::GRPC)) {
                call.messages.extend(request.messages.by_ref().map(|message| message.bytes));
            }
        });
        Ok(Some(bytes))
    }
}

/// A request's body.
struct Incoming {
    body: RecvStream,
    messages: Messages,
}
