//! The backend of all proxies: it answers at once, and does as little as a server can. It runs in this process, on the
//! thread of the load.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use harness::wait::eventually;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpSocket, TcpStream},
    sync::watch,
};

use crate::head;

mod calls;

pub(crate) use calls::{CALL, message};

/// How many addresses it has: a proxy balances between as many instances.
pub(crate) const INSTANCES: usize = 3;
/// And so many that speak gRPC, in clear.
pub(crate) const CALL_INSTANCES: usize = 2;

/// What it answers with, by path.
pub(crate) const SMALL: (&str, usize) = ("/small", 60);
pub(crate) const LARGE: (&str, usize) = ("/large", 1 << 20);
pub(crate) const HUGE: (&str, usize) = ("/huge", 10_000_000);
/// 60 bytes, once [`Backend::release`] lets it.
pub(crate) const HOLD: (&str, usize) = ("/hold", 60);
/// What it was sent.
pub(crate) const ECHO: &str = "/echo";

/// A request's head has at most so many bytes, and one that arrives whole is answered by one write.
const BUFFER: usize = 16 << 10;
/// What the kernel keeps of an answer that is not read: it would grow to 4 MB.
const SEND_BUFFER: u32 = 256 << 10;
/// Connections that wait to be accepted.
const BACKLOG: u32 = 4096;

/// As long as this process runs.
pub(crate) struct Backend {
    pub(crate) addresses: [SocketAddr; INSTANCES],
    /// Those that speak gRPC.
    pub(crate) calls: [SocketAddr; CALL_INSTANCES],
    shared: Arc<Shared>,
}

struct Shared {
    answers: [(&'static str, Vec<u8>); 4],
    /// Requests that are held: those since the last release.
    held: AtomicUsize,
    /// Its every change releases them.
    release: watch::Sender<()>,
}

impl Backend {
    /// # Errors
    /// When it cannot listen on loopback.
    pub(crate) async fn start() -> Result<Self> {
        let answers = [SMALL, LARGE, HUGE, HOLD].map(|(path, length)| (path, answer(&vec![b'.'; length])));
        let shared = Arc::new(Shared { answers, held: AtomicUsize::new(0), release: watch::Sender::new(()) });
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let (mut addresses, mut calls) = ([any; INSTANCES], [any; CALL_INSTANCES]);
        for address in &mut addresses {
            let shared = Arc::clone(&shared);
            let serve = move |stream| {
                let shared = Arc::clone(&shared);
                async move { serve(stream, &shared).await }
            };
            tokio::spawn(accept_all(bound(address)?, serve));
        }
        for address in &mut calls {
            tokio::spawn(accept_all(bound(address)?, calls::serve));
        }
        Ok(Self { addresses, calls, shared })
    }

    /// Waits until so many requests are held.
    ///
    /// # Errors
    /// When they are not within `within`.
    pub(crate) async fn wait_held(&self, count: usize, within: Duration) -> Result<()> {
        eventually("as many requests are held", within, async || {
            let held = self.shared.held.load(Ordering::Relaxed);
            ensure!(held == count, "{held} of {count} requests are held");
            Ok(())
        })
        .await
    }

    /// Lets all be answered that are held.
    pub(crate) fn release(&self) {
        self.shared.held.store(0, Ordering::Relaxed);
        self.shared.release.send_replace(());
    }
}

/// A listener there; its port is known then.
fn bound(address: &mut SocketAddr) -> Result<TcpListener> {
    let listener = listen(*address).context("binding a backend to loopback")?;
    *address = listener.local_addr()?;
    Ok(listener)
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = TcpSocket::new_v4()?;
    // Connections inherit it.
    socket.set_send_buffer_size(SEND_BUFFER)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

fn answer(body: &[u8]) -> Vec<u8> {
    let head = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length:";
    [format!("{head} {}\r\n\r\n", body.len()).as_bytes(), body].concat()
}

async fn accept_all<F>(listener: TcpListener, serve: impl Fn(TcpStream) -> F)
where
    F: Future<Output = Result<()>> + Send + 'static,
{
    loop {
        // Out of descriptors: those who close one make room.
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(10)).await;
            continue;
        };
        // It ends with its connection, by an error where a proxy breaks it off: that is no concern of the backend's.
        tokio::spawn(serve(stream));
    }
}

async fn serve(mut stream: TcpStream, shared: &Shared) -> Result<()> {
    stream.set_nodelay(true)?;
    let (mut buffer, mut filled) = (vec![0; BUFFER], 0);
    loop {
        let Some(length) = head::length(&buffer[..filled]) else {
            ensure!(filled < buffer.len(), "a head of more than {BUFFER} bytes");
            let read = stream.read(&mut buffer[filled..]).await?;
            ensure!(read > 0 || filled == 0, "closed within a head");
            if read == 0 {
                return Ok(());
            }
            filled += read;
            continue;
        };
        let request = head::Request::parse(&buffer[..length])?;
        let path = request.path.to_owned();
        let body = body(&mut stream, &buffer[length..filled], request.content_length).await?;
        // No proxy of these sends a request before the one before is answered.
        filled = 0;
        reply(&mut stream, shared, &path, &body).await?;
    }
}

/// The body, of which `begun` has come with the head.
async fn body(stream: &mut TcpStream, begun: &[u8], length: usize) -> Result<Vec<u8>> {
    ensure!(begun.len() <= length, "{} bytes behind a request", begun.len() - length);
    let mut body = begun.to_vec();
    // It grows as it comes: most of those that are announced as long never come whole.
    let missing = length - begun.len();
    let read = stream.take(missing as u64).read_to_end(&mut body).await?;
    ensure!(read == missing, "closed within a body");
    Ok(body)
}

async fn reply(stream: &mut TcpStream, shared: &Shared, path: &str, body: &[u8]) -> Result<()> {
    if path == HOLD.0 {
        hold(shared).await;
    }
    if path == ECHO {
        stream.write_all(&answer(body)).await?;
        return Ok(());
    }
    let Some((_, answer)) = shared.answers.iter().find(|(known, _)| *known == path) else {
        bail!("no answer for {path}")
    };
    Ok(stream.write_all(answer).await?)
}

async fn hold(shared: &Shared) {
    let mut release = shared.release.subscribe();
    shared.held.fetch_add(1, Ordering::Relaxed);
    // The sender lives as long as we do.
    let _ = release.changed().await;
}
