//! A load as cheap as its backend, so that the proxy between them is what is measured. Every answer is looked at: its
//! status, and whether its body is as long as it must be.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use harness::quantile::quantile;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::Semaphore,
    task::JoinSet,
    time::{Instant, sleep, sleep_until, timeout, timeout_at},
};

use crate::{
    head::{self, Answer},
    http2,
    stream::{Stream, Tls, clear, is_open, is_resumed},
};

/// Requests that are begun have so long for their answers.
const PATIENCE: Duration = Duration::from_secs(20);
/// After a failure a connection pauses: a proxy that is gone is not asked without end.
const PAUSE: Duration = Duration::from_millis(10);
/// At most so many connections are being opened at a time: fewer than the shortest queue of a listener holds.
const OPENING: usize = 100;
/// What is read at once, of large answers.
const BUFFER: usize = 64 << 10;

/// What is sent, and over how many connections.
#[derive(Clone, Debug)]
pub(crate) struct Load {
    target: SocketAddr,
    /// None: in clear.
    tls: Option<Tls>,
    request: Vec<u8>,
    answer: usize,
    connections: usize,
    fresh: bool,
    pace: Option<Duration>,
}

/// When a load ends.
#[derive(Clone, Copy, Debug)]
pub(crate) enum End {
    After(Duration),
    /// With so many requests on each connection.
    Requests(u64),
}

impl End {
    /// Whether a client's request of this turn, which is due then, is one too many.
    pub(crate) fn is_reached(self, turn: u32, due: Instant, begin: Instant) -> bool {
        match self {
            // Each sends one, however late it begins on a busy machine.
            Self::After(time) => turn > 0 && due >= begin + time,
            Self::Requests(count) => u64::from(turn) >= count,
        }
    }
}

/// What became of a load.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) answered: u64,
    pub(crate) failed: u64,
    /// Connections that were opened while it ran, with a handshake that resumed an earlier one.
    pub(crate) resumed: u64,
    /// Why the first one failed.
    pub(crate) error: Option<String>,
    pub(crate) took: Duration,
    /// Ascending once the load has ended.
    latencies: Vec<Duration>,
}

impl Load {
    /// `GET path`, whose answer must have so many bytes.
    pub(crate) fn get(target: SocketAddr, (path, answer): (&str, usize), connections: usize) -> Self {
        let request = format!("GET {path} HTTP/1.1\r\nHost: bench.example\r\n\r\n").into_bytes();
        Self { target, tls: None, request, answer, connections, fresh: false, pace: None }
    }

    /// `POST path` with a body that must come back.
    pub(crate) fn post(target: SocketAddr, path: &str, body: usize, connections: usize) -> Self {
        let head = format!("POST {path} HTTP/1.1\r\nHost: bench.example\r\nContent-Length: {body}\r\n\r\n");
        let request = [head.as_bytes(), &vec![b'.'; body]].concat();
        Self { request, ..Self::get(target, (path, body), connections) }
    }

    /// All of it over TLS.
    pub(crate) fn over(mut self, tls: Tls) -> Self {
        self.tls = Some(tls);
        self
    }

    /// Each request on a connection of its own, and says so.
    pub(crate) fn fresh(mut self) -> Self {
        let end = self.request.windows(4).position(|four| four == b"\r\n\r\n").unwrap_or_default();
        self.request.splice(end..end, *b"\r\nConnection: close");
        self.fresh = true;
        self
    }

    /// At this rate in all, whether answers come or not. What had to wait for the answer before counts that as latency.
    pub(crate) fn per_second(mut self, rate: u32) -> Self {
        self.pace = Some(Duration::from_secs(1) * self.connections as u32 / rate);
        self
    }

    /// When a connection's request of this turn is due, if it has a pace: the connections take turns.
    fn due(&self, number: usize, turn: u32) -> Option<Duration> {
        let pace = self.pace?;
        Some(pace * turn + pace.mul_f64(number as f64 / self.connections as f64))
    }

    /// Opens its connections, if it keeps any. So their opening, at which a thousand wait for each other, is not measured.
    /// One that cannot be opened is tried again for its first request, which fails then.
    pub(crate) async fn open(self) -> Opened {
        let opening = Arc::new(Semaphore::new(OPENING));
        let count = if self.fresh { 0 } else { self.connections };
        let opens: JoinSet<_> = (0..count)
            .map(|_| {
                let (load, opening) = (self.clone(), Arc::clone(&opening));
                async move { timeout(PATIENCE, load.connect(&opening)).await.ok()?.ok() }
            })
            .collect();
        let mut streams = opens.join_all().await;
        streams.resize_with(self.connections, || None);
        Opened { load: self, opening, streams }
    }

    /// Opens the connections, and sends on them.
    pub(crate) async fn run(self, end: End) -> Outcome {
        self.open().await.run(end).await
    }

    async fn connect(&self, opening: &Semaphore) -> Result<Stream> {
        let _permit = opening.acquire().await?;
        self.connect_at_once().await
    }

    async fn connect_at_once(&self) -> Result<Stream> {
        match &self.tls {
            Some(tls) => tls.connect(self.target).await,
            None => clear(self.target).await,
        }
    }
}

/// A load whose connections are open.
pub(crate) struct Opened {
    load: Load,
    opening: Arc<Semaphore>,
    /// One for each connection, unless that is to be opened.
    streams: Vec<Option<Stream>>,
}

impl Opened {
    /// Every connection finishes what it has begun, and is kept for the next run.
    pub(crate) async fn run(&mut self, end: End) -> Outcome {
        let begin = Instant::now();
        let mut clients = JoinSet::new();
        for (number, stream) in self.streams.drain(..).enumerate() {
            let client = Client {
                load: self.load.clone(),
                opening: Arc::clone(&self.opening),
                buffer: vec![0; BUFFER.min(self.load.answer + 4096)],
                stream,
                outcome: Outcome::default(),
            };
            clients.spawn(client.run(begin, number, end));
        }
        let patience = begin + PATIENCE + if let End::After(time) = end { time } else { Duration::ZERO };
        let mut total = Outcome::default();
        while let Ok(Some(ended)) = timeout_at(patience, clients.join_next()).await {
            match ended {
                Ok((outcome, stream)) => {
                    total.add(outcome);
                    self.streams.push(stream);
                }
                Err(error) => total.fail(format!("a client of the load panicked: {error}")),
            }
        }
        for _ in 0..clients.len() {
            total.fail(format!("no answer within {PATIENCE:?}"));
        }
        self.streams.resize_with(self.load.connections, || None);
        total.end(begin.elapsed());
        total
    }
}

impl Outcome {
    /// The latency in milliseconds that a share `share` (0 to 1) of all answers did not exceed. NaN without answers.
    pub(crate) fn milliseconds(&self, share: f64) -> f64 {
        quantile(&self.latencies, share).map_or(f64::NAN, |latency| latency.as_secs_f64() * 1000.0)
    }

    /// # Errors
    /// When a request failed, or none was answered.
    pub(crate) fn ensure_all_answered(&self) -> Result<()> {
        let error = self.error.as_deref().unwrap_or("nothing was sent");
        ensure!(
            self.failed == 0,
            "{} requests failed, of {}: {error}",
            self.failed,
            self.answered + self.failed
        );
        ensure!(self.answered > 0, "no request was answered");
        Ok(())
    }

    /// All of it took so long.
    pub(crate) fn end(&mut self, took: Duration) {
        self.took = took;
        self.latencies.sort_unstable();
    }

    pub(crate) fn answer(&mut self, latency: Duration) {
        self.answered += 1;
        self.latencies.push(latency);
    }

    pub(crate) fn add(&mut self, other: Self) {
        self.answered += other.answered;
        self.failed += other.failed;
        self.resumed += other.resumed;
        self.error = self.error.take().or(other.error);
        self.latencies.extend(other.latencies);
    }

    pub(crate) fn fail(&mut self, error: String) {
        self.failed += 1;
        self.error.get_or_insert(error);
    }
}

/// One connection after the other, and one request after the other.
struct Client {
    load: Load,
    opening: Arc<Semaphore>,
    buffer: Vec<u8>,
    stream: Option<Stream>,
    outcome: Outcome,
}

impl Client {
    async fn run(mut self, begin: Instant, number: usize, end: End) -> (Outcome, Option<Stream>) {
        let mut turn = 0;
        while let Some(due) = self.next_due(begin, number, turn, end).await {
            turn += 1;
            match self.exchange().await {
                Ok(()) => self.outcome.answer(due.elapsed()),
                Err(error) => {
                    self.stream = None;
                    self.outcome.fail(format!("{error:#}"));
                    sleep(PAUSE).await;
                }
            }
        }
        (self.outcome, self.stream)
    }

    /// When the next request is due: by now it is. None when there is none any more.
    async fn next_due(&self, begin: Instant, number: usize, turn: u32, end: End) -> Option<Instant> {
        let now = Instant::now();
        let due = self.load.due(number, turn).map_or(now, |after| begin + after);
        if end.is_reached(turn, due, begin) {
            return None;
        }
        if due > now {
            sleep_until(due).await;
        }
        Some(due)
    }

    async fn exchange(&mut self) -> Result<()> {
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => self.connect().await?,
        };
        stream.write_all(&self.load.request).await.context("sending a request")?;
        let answer = answer(&mut stream, &mut self.buffer).await?;
        ensure!(answer.status == 200, "status {}", answer.status);
        let (length, right) = (answer.content_length, self.load.answer);
        ensure!(length == right, "an answer of {length} bytes in place of {right}");
        if !self.load.fresh && !answer.closes {
            self.stream = Some(stream);
        } else if self.load.tls.is_some() {
            // It says that it ends, or OpenSSL forgets the ticket that it had. The proxy may have closed it by now.
            let _ = stream.shutdown().await;
        }
        Ok(())
    }

    async fn connect(&mut self) -> Result<Stream> {
        let stream = self.load.connect(&self.opening).await?;
        self.outcome.resumed += u64::from(is_resumed(&stream));
        Ok(stream)
    }
}

/// Reads an answer whole.
async fn answer(stream: &mut Stream, buffer: &mut [u8]) -> Result<Answer> {
    let mut filled = 0;
    let length = loop {
        if let Some(length) = head::length(&buffer[..filled]) {
            break length;
        }
        ensure!(filled < buffer.len(), "an answer's head of more than {filled} bytes");
        filled += some(stream, &mut buffer[filled..]).await?;
    };
    let answer = Answer::parse(&buffer[..length])?;
    let mut missing = (length + answer.content_length).checked_sub(filled);
    while let Some(more @ 1..) = missing {
        missing = more.checked_sub(some(stream, buffer).await?);
    }
    ensure!(missing.is_some(), "more bytes than the answer's");
    Ok(answer)
}

async fn some(stream: &mut Stream, buffer: &mut [u8]) -> Result<usize> {
    match stream.read(buffer).await.context("reading an answer")? {
        0 => bail!("closed before the answer was whole"),
        read => Ok(read),
    }
}

/// Connections that wait for a next request, after one that was answered.
pub(crate) struct Idle(Vec<Stream>);

impl Idle {
    /// The load's connections, each after its first request.
    ///
    /// # Errors
    /// When one of them cannot be opened, or its request fails.
    pub(crate) async fn open(load: &Load) -> Result<Self> {
        Self::open_all(load.connections, || {
            let load = load.clone();
            async move {
                let mut stream = load.connect_at_once().await?;
                stream.write_all(&load.request).await?;
                let answer = answer(&mut stream, &mut [0; 4096]).await?;
                ensure!(answer.status == 200 && !answer.closes, "{answer:?}");
                Ok(stream)
            }
        })
        .await
    }

    /// So many of HTTP/2, each after its first request.
    ///
    /// # Errors
    /// When one of them cannot be opened, or its request fails.
    pub(crate) async fn open_http2(
        target: SocketAddr,
        asks: (&'static str, usize),
        count: usize,
    ) -> Result<Self> {
        Self::open_all(count, || http2::asked(target, asks)).await
    }

    async fn open_all<F>(count: usize, one: impl Fn() -> F) -> Result<Self>
    where
        F: Future<Output = Result<Stream>> + Send + 'static,
    {
        let opening = Arc::new(Semaphore::new(OPENING));
        let mut clients = JoinSet::new();
        for _ in 0..count {
            let (one, opening) = (one(), Arc::clone(&opening));
            clients.spawn(async move {
                let _permit = opening.acquire().await?;
                timeout(PATIENCE, one).await.context("no answer in time")?
            });
        }
        let mut idle = Vec::with_capacity(count);
        while let Some(stream) = clients.join_next().await {
            idle.push(stream?.context("opening connections that are to be idle")?);
        }
        Ok(Self(idle))
    }

    /// # Errors
    /// When the proxy has closed some.
    pub(crate) fn ensure_open(&self) -> Result<()> {
        let (open, all) = (self.0.iter().filter(|stream| is_open(stream)).count(), self.0.len());
        ensure!(open == all, "{} of {all} idle connections were closed", all - open);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
