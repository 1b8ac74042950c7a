//! A load whose every request is accounted for.
//!
//! A request **failed** if a client that honours `Connection: close`, and opens a new connection only
//! when a re-used one closed before any answer byte, sees a 5xx or a transport error. A refused connect
//! is counted apart: only the test knows whether a stopping server may refuse.

use std::{
    io::ErrorKind,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use hyper::{
    Method, Request,
    header::{COOKIE, HeaderValue},
};
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{Instant, sleep_until, timeout},
};

use crate::{
    http::{Answer, Connection},
    link::TlsClient,
    wait::eventually,
};

mod client;
mod outcome;

use client::Client;
use outcome::Failure;
pub use outcome::Outcome;

/// A request without a whole answer after this time failed.
const PATIENCE: Duration = Duration::from_secs(10);

/// What to send, how fast, over how many connections.
#[derive(Clone, Debug)]
pub struct Load {
    target: SocketAddr,
    method: Method,
    path: String,
    body: Bytes,
    connections: usize,
    /// None: each connection sends its next request as soon as it has its answer.
    rate: Option<u32>,
    /// After how many requests a connection is another client's; none: nobody keeps a cookie.
    visits: Option<u64>,
    /// None: in clear.
    tls: Option<TlsClient>,
    /// Whether each request has a connection of its own.
    fresh: bool,
}

/// A load that runs until it is stopped. Dropping it stops it too.
#[derive(Debug)]
pub struct Running {
    workers: JoinSet<Outcome>,
    shared: Arc<Shared>,
}

impl Load {
    /// `GET path`, 500 a second over 16 connections.
    pub fn get(target: SocketAddr, path: &str) -> Self {
        Self {
            target,
            method: Method::GET,
            path: path.to_owned(),
            body: Bytes::new(),
            connections: 16,
            rate: Some(500),
            visits: None,
            tls: None,
            fresh: false,
        }
    }

    /// `POST path` with a body, 500 a second over 16 connections.
    pub fn post(target: SocketAddr, path: &str, body: impl Into<Bytes>) -> Self {
        Self { method: Method::POST, body: body.into(), ..Self::get(target, path) }
    }

    /// At this rate, whether answers come or not, as long as a connection is free to send. What had to
    /// wait for one counts its waiting as latency.
    pub fn rate(mut self, per_second: u32) -> Self {
        self.rate = Some(per_second);
        self
    }

    /// Over this many connections.
    pub fn connections(mut self, connections: usize) -> Self {
        self.connections = connections;
        self
    }

    /// Each connection is a client that keeps the cookie it was given, and after so many requests a new one, without.
    pub fn clients_of(mut self, visits: u64) -> Self {
        self.visits = Some(visits);
        self
    }

    /// Under TLS.
    pub fn tls(mut self, client: &TlsClient) -> Self {
        self.tls = Some(client.clone());
        self
    }

    /// Each request on a connection of its own.
    pub fn fresh(mut self) -> Self {
        self.fresh = true;
        self
    }

    /// Runs for this time.
    pub async fn run_for(&self, time: Duration) -> Outcome {
        let running = self.start();
        tokio::time::sleep(time).await;
        running.stop().await
    }

    /// Sends `count` requests, each connection its next one as soon as it has its answer.
    pub async fn run_count(mut self, count: u64) -> Outcome {
        self.rate = None;
        self.start_limited(count).collect().await
    }

    /// Runs until it is stopped.
    pub fn start(&self) -> Running {
        self.start_limited(u64::MAX)
    }

    fn start_limited(&self, limit: u64) -> Running {
        let shared = Arc::new(Shared {
            load: self.clone(),
            begin: Instant::now(),
            next: AtomicU64::new(0),
            begun: AtomicU64::new(0),
            limit,
            stop: watch::Sender::new(false),
        });
        let worker = || Worker {
            shared: Arc::clone(&shared),
            connection: None,
            client: Client::default(),
            outcome: Outcome::default(),
        };
        let workers = (0..self.connections).map(|_| worker().run()).collect();
        Running { workers, shared }
    }

    fn request(&self, cookie: Option<&HeaderValue>) -> Result<Request<Bytes>> {
        let mut request = Request::builder().method(&self.method).uri(&self.path).body(self.body.clone())?;
        if let Some(cookie) = cookie {
            request.headers_mut().insert(COOKIE, cookie.clone());
        }
        Ok(request)
    }
}

impl Running {
    /// Requests begun so far.
    pub fn begun(&self) -> u64 {
        self.shared.begun.load(Ordering::Relaxed)
    }

    /// Waits until `count` requests have begun.
    ///
    /// # Errors
    /// When they have not within `within`.
    pub async fn wait_begun(&self, count: u64, within: Duration) -> Result<()> {
        let begun = eventually("the load has begun", within, async || {
            ensure!(self.begun() >= count, "{} requests of {count} have begun", self.begun());
            Ok(())
        });
        begun.await
    }

    /// Lets every connection finish its request, and adds up.
    pub async fn stop(self) -> Outcome {
        self.shared.stop.send_replace(true);
        self.collect().await
    }

    async fn collect(self) -> Outcome {
        let mut total = Outcome::default();
        for outcome in self.workers.join_all().await {
            total.add(outcome);
        }
        total
    }
}

#[derive(Debug)]
struct Shared {
    load: Load,
    begin: Instant,
    /// The number of the next request that a connection will wait to begin.
    next: AtomicU64,
    begun: AtomicU64,
    limit: u64,
    stop: watch::Sender<bool>,
}

struct Worker {
    shared: Arc<Shared>,
    connection: Option<Connection>,
    client: Client,
    outcome: Outcome,
}

impl Worker {
    async fn run(mut self) -> Outcome {
        while let Some(due) = self.next_due().await {
            self.shared.begun.fetch_add(1, Ordering::Relaxed);
            let result = match timeout(PATIENCE, self.exchange()).await {
                Ok(result) => result,
                Err(_) => {
                    self.connection = None;
                    Err(Failure::Transport(anyhow::anyhow!("no answer within {PATIENCE:?}")))
                }
            };
            if let Some(visits) = self.shared.load.visits {
                if let Ok(answer) = &result {
                    self.client.answered(answer, &mut self.outcome);
                }
                if self.client.visits >= visits {
                    self.client = Client::default();
                }
            }
            self.outcome.record(result, due.elapsed());
        }
        self.outcome
    }

    /// When the next request was due; none when there is none any more.
    async fn next_due(&self) -> Option<Instant> {
        let shared = &*self.shared;
        let mut stop = shared.stop.subscribe();
        if *stop.borrow() {
            return None;
        }
        let number = shared.next.fetch_add(1, Ordering::Relaxed);
        if number >= shared.limit {
            return None;
        }
        let Some(rate) = shared.load.rate else {
            return Some(Instant::now());
        };
        let due = shared.begin + Duration::from_secs_f64(number as f64 / f64::from(rate));
        if due <= Instant::now() {
            return Some(due);
        }
        tokio::select! {
            () = sleep_until(due) => Some(Instant::now()),
            _ = stop.wait_for(|stop| *stop) => None,
        }
    }

    /// One request, on the kept connection if there is one.
    async fn exchange(&mut self) -> Result<Answer, Failure> {
        if let Some(mut connection) = self.take_open().await {
            let received = connection.received();
            match self.send(&mut connection).await {
                Ok(answer) => return Ok(self.keep(connection, answer)),
                Err(error) if connection.received() > received => {
                    return Err(Failure::Transport(error));
                }
                Err(_) => self.outcome.repeated += 1,
            }
        }
        let mut connection = self.open().await.map_err(|error| match error.kind() {
            ErrorKind::ConnectionRefused => Failure::Refused,
            _ => Failure::Transport(error.into()),
        })?;
        let answer = self.send(&mut connection).await.map_err(Failure::Transport)?;
        Ok(self.keep(connection, answer))
    }

    async fn open(&self) -> std::io::Result<Connection> {
        let load = &self.shared.load;
        match &load.tls {
            None => Connection::open(load.target).await,
            Some(client) => Connection::open_tls(load.target, client).await,
        }
    }

    async fn take_open(&mut self) -> Option<Connection> {
        let mut connection = self.connection.take()?;
        connection.is_open().await.then_some(connection)
    }

    async fn send(&self, connection: &mut Connection) -> Result<Answer> {
        let request = self.shared.load.request(self.client.cookie.as_ref())?;
        connection.send(request).await.context("exchanging a request for an answer")
    }

    fn keep(&mut self, connection: Connection, answer: Answer) -> Answer {
        if !answer.closes() && !self.shared.load.fresh {
            self.connection = Some(connection);
        }
        answer
    }
}
