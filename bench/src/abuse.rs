//! Clients that behave badly, on loopback, bounded in number, in what they send, and in time.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use anyhow::{Result, bail};
use socket2::SockRef;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    task::JoinSet,
    time::{Instant, sleep, sleep_until, timeout, timeout_at},
};

use crate::{
    backend::{ECHO, HUGE},
    case::Case,
    flood::Flood,
    stream::client_hello,
};

/// How often a slow one sends something, and how long one that was refused waits before it comes again.
const TURN: Duration = Duration::from_secs(1);
/// How often one that floods sends what it has for a turn.
const FLOOD_TURN: Duration = Duration::from_millis(100);
/// What one that does not read has room for: little, so that the rest waits at the proxy.
const RECEIVE: u32 = 16 << 10;
/// Its segments are a network's. Those of loopback have 64 KiB, and the kernel would keep 20 of them for each at the proxy.
const SEGMENT: u32 = 1460;
const LARGE_HEAD: usize = 1_000_000;
const SLOW_BODY: usize = 1_000_000;
/// A refusal is waited for so long.
const PATIENCE: Duration = Duration::from_secs(5);

/// They go on until this is dropped.
pub(crate) struct Abusers {
    clients: JoinSet<()>,
    open: Arc<AtomicUsize>,
}

impl Abusers {
    /// Starts so many. They arrive one after the other, evenly over `arrival`.
    ///
    /// # Errors
    /// When the case has none, or its first bytes cannot be made.
    pub(crate) fn start(case: Case, target: SocketAddr, count: usize, arrival: Duration) -> Result<Self> {
        if !case.is_abuse() {
            bail!("the case {} has no clients that behave badly", case.name());
        }
        let open = Arc::new(AtomicUsize::new(0));
        let hello: Arc<[u8]> = if case == Case::HalfHandshakes { client_hello()? } else { Vec::new() }.into();
        let mut clients = JoinSet::new();
        for number in 0..count {
            let client = Client { case, target, hello: Arc::clone(&hello), open: Arc::clone(&open) };
            let after = arrival.mul_f64(number as f64 / count as f64);
            clients.spawn(async move {
                sleep(after).await;
                client.run().await;
            });
        }
        Ok(Self { clients, open })
    }

    /// Ends all that they do. What is open now stays counted.
    pub(crate) fn stop(&mut self) {
        self.clients.abort_all();
    }

    /// Waits until none of them is left, or until then.
    pub(crate) async fn wait_gone(&mut self, until: Instant) {
        let gone = async { while self.clients.join_next().await.is_some() {} };
        let _ = timeout_at(until, gone).await;
    }

    /// How many connections are open now, as far as their clients have noticed.
    pub(crate) fn open(&self) -> usize {
        debug_assert!(self.open.load(Ordering::Relaxed) <= self.clients.len());
        self.open.load(Ordering::Relaxed)
    }
}

struct Client {
    case: Case,
    target: SocketAddr,
    /// What one that falls silent sends before: the same of all of them, as it costs the load least.
    hello: Arc<[u8]>,
    open: Arc<AtomicUsize>,
}

impl Client {
    /// One that cannot connect is gone: that a proxy refuses it is no mistake.
    async fn run(&self) {
        while let Ok(mut stream) = self.connect().await {
            // What the proxy does to it shows in the figures: an error here is the end of a connection.
            let _ = self.misbehave(&mut stream).await;
            drop(stream);
            self.open.fetch_sub(1, Ordering::Relaxed);
            if self.case.comes_once() {
                break;
            }
            sleep(TURN).await;
        }
    }

    async fn connect(&self) -> Result<TcpStream> {
        let socket = TcpSocket::new_v4()?;
        if self.case == Case::Unread {
            socket.set_recv_buffer_size(RECEIVE)?;
            SockRef::from(&socket).set_tcp_mss(SEGMENT)?;
        }
        let stream = socket.connect(self.target).await?;
        self.open.fetch_add(1, Ordering::Relaxed);
        Ok(stream)
    }

    /// Until the connection ends.
    async fn misbehave(&self, stream: &mut TcpStream) -> Result<()> {
        match self.case {
            Case::Unread => unread(stream).await,
            Case::SlowHeads => slow_head(stream).await,
            Case::LargeHeads => large_head(stream).await,
            Case::HalfHandshakes | Case::Silent => silence(stream, &self.hello).await,
            Case::Flood(kind) => flood(stream, kind).await,
            _ => slow_body(stream).await,
        }
    }
}

async fn unread(stream: &mut TcpStream) -> Result<()> {
    stream.write_all(format!("GET {} HTTP/1.1\r\nHost: bench.example\r\n\r\n", HUGE.0).as_bytes()).await?;
    std::future::pending().await
}

async fn slow_head(stream: &mut TcpStream) -> Result<()> {
    stream.write_all(b"GET /small HTTP/1.1\r\nHost: bench.example\r\n").await?;
    slowly(stream, b"X-Slow: yes\r\n", usize::MAX).await
}

async fn slow_body(stream: &mut TcpStream) -> Result<()> {
    let head = format!("POST {ECHO} HTTP/1.1\r\nHost: bench.example\r\nContent-Length: {SLOW_BODY}\r\n\r\n");
    stream.write_all(head.as_bytes()).await?;
    slowly(stream, &[b'.'; 1024], SLOW_BODY / 1024).await
}

/// The same again every second, until the other side closes.
async fn slowly(stream: &mut TcpStream, part: &[u8], parts: usize) -> Result<()> {
    for _ in 0..parts {
        stream.write_all(part).await?;
        if let Ok(answered) = timeout(TURN, stream.read(&mut [0; 1024])).await {
            answered?;
            break;
        }
    }
    Ok(())
}

/// Says this, and nothing more, until the other side closes.
async fn silence(stream: &mut TcpStream, first: &[u8]) -> Result<()> {
    stream.write_all(first).await?;
    while stream.read(&mut [0; 4096]).await? > 0 {}
    Ok(())
}

/// Turn after turn, and reads what comes of it, until the other side closes.
async fn flood(stream: &mut TcpStream, kind: Flood) -> Result<()> {
    let (mut answers, mut frames) = stream.split();
    let send = async {
        frames.write_all(&kind.first()).await?;
        for turn in 0.. {
            let next = Instant::now() + FLOOD_TURN;
            frames.write_all(&kind.burst(turn)).await?;
            sleep_until(next).await;
        }
        Ok(())
    };
    let read = async {
        while answers.read(&mut [0; 4096]).await? > 0 {}
        Ok(())
    };
    tokio::select! {
        ended = send => ended,
        ended = read => ended,
    }
}

/// As much of it as is taken, and then the refusal.
async fn large_head(stream: &mut TcpStream) -> Result<()> {
    stream.write_all(b"GET /small HTTP/1.1\r\nHost: bench.example\r\n").await?;
    let field = format!("X-Large: {}\r\n", ".".repeat(1000));
    for _ in 0..LARGE_HEAD / field.len() {
        stream.write_all(field.as_bytes()).await?;
    }
    timeout(PATIENCE, stream.read(&mut [0; 1024])).await??;
    Ok(())
}

#[cfg(test)]
mod tests {
    use harness::wait::eventually;
    use tokio::net::TcpListener;

    use super::*;

    /// What the first connection of such a client sends within so many bytes, to a server that does not answer.
    async fn sent(case: Case, bytes: usize) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let target = listener.local_addr().unwrap();
        let abusers = Abusers::start(case, target, 1, Duration::ZERO).unwrap();
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut sent = vec![0; bytes];
        timeout(Duration::from_secs(10), stream.read_exact(&mut sent)).await.expect("it sends").unwrap();
        assert_eq!(abusers.open(), 1);
        drop((stream, listener));
        let closed = eventually("it notices the end", Duration::from_secs(10), async || {
            anyhow::ensure!(abusers.open() == 0 || case == Case::Unread);
            Ok(())
        });
        closed.await.unwrap();
        String::from_utf8(sent).unwrap()
    }

    #[tokio::test]
    async fn each_sends_what_its_case_says() {
        assert!(sent(Case::Unread, 40).await.starts_with("GET /huge HTTP/1.1\r\n"));
        assert!(sent(Case::SlowHeads, 55).await.ends_with("\r\nX-Slow: yes\r\n"));
        assert!(sent(Case::SlowBodies, 200).await.contains("Content-Length: 1000000\r\n\r\n..."));
        let head = sent(Case::LargeHeads, 900_000).await;
        assert!(!head.contains("\r\n\r\n") && head.ends_with("..."), "it never ends");
    }

    #[tokio::test]
    async fn one_that_falls_silent_says_one_thing_and_does_not_come_again() {
        for (case, first) in [(Case::HalfHandshakes, &[22, 3, 1][..]), (Case::Silent, &[])] {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let target = listener.local_addr().unwrap();
            let mut abusers = Abusers::start(case, target, 1, Duration::ZERO).unwrap();
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut sent = vec![0; first.len()];
            stream.read_exact(&mut sent).await.unwrap();
            assert_eq!(sent, first, "the head of a record of TLS");
            stream.write_all(b"a server's part").await.unwrap();
            abusers.wait_gone(Instant::now() + Duration::from_millis(50)).await;
            assert_eq!(abusers.open(), 1, "it waits");
            drop(stream);
            abusers.wait_gone(Instant::now() + Duration::from_secs(10)).await;
            assert_eq!((abusers.open(), abusers.clients.len()), (0, 0));
        }
    }

    #[tokio::test]
    async fn one_that_floods_goes_on_until_it_is_closed_and_does_not_come_again() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let target = listener.local_addr().unwrap();
        let mut abusers = Abusers::start(Case::Flood(Flood::Ping), target, 1, Duration::ZERO).unwrap();
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut sent = vec![0; 24 + 9 + 2 * 100 * 17];
        stream.read_exact(&mut sent).await.unwrap();
        assert!(sent.starts_with(b"PRI * HTTP/2.0\r\n") && sent.ends_with(b"pingpong"), "of two turns");
        assert_eq!(abusers.open(), 1);
        // What has begun to end is ended, even if the other side reads on.
        stream.shutdown().await.unwrap();
        abusers.wait_gone(Instant::now() + Duration::from_secs(10)).await;
        assert_eq!((abusers.open(), abusers.clients.len()), (0, 0));
    }

    #[test]
    fn a_case_without_bad_clients_has_none() {
        assert!(Abusers::start(Case::Small, "127.0.0.1:1".parse().unwrap(), 1, Duration::ZERO).is_err());
    }
}
