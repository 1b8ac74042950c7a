//! The connections that a listener accepts. Their number is bounded, and so is that of one host; and a client that says
//! nothing, or is gone, does not keep its connection.

use std::{
    io::{self, IoSlice},
    net::IpAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use nix::sys::socket::{setsockopt, sockopt};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Sleep, sleep},
};
use tracing::{debug, warn};

use crate::{
    client::Client,
    hosts::{Hosts, OfHost},
};

/// How long nothing is accepted after accepting has failed. Most often there are no file descriptors left, and trying
/// again at once would not help.
const PAUSE: Duration = Duration::from_millis(100);

/// How long a client may take to say what it wants: HTTP/2's preface and the head of its settings, or the head of a
/// request over HTTP/1. From there on HTTP/2's pings and HTTP/1's time for a head take over.
const GREETING_TIME: Duration = Duration::from_secs(5);
/// HTTP/2's first bytes are always these.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// What comes then is a frame, and this is its head, in bytes.
const FRAME_HEAD: usize = 9;

/// TCP keep-alive: after so many seconds of silence the kernel asks whether the client is there, and then so many times
/// within the same time again.
const KEEPALIVE_SECONDS: u32 = 60;
const KEEPALIVE_TRIES: u32 = 3;

/// How many connections there may be, and whose they are.
#[derive(Debug)]
pub(crate) struct Places {
    all: Arc<Semaphore>,
    by_host: Hosts,
}

impl Places {
    pub(crate) fn new(max: usize) -> Self {
        let all = Arc::new(Semaphore::new(max.min(Semaphore::MAX_PERMITS)));
        Self { all, by_host: Hosts::new(max.div_ceil(2)) }
    }

    /// Accepts the next connection. As long as there is no place for one, clients wait in the listener's queue.
    pub(crate) async fn next(&self, listener: &TcpListener) -> Connection {
        loop {
            // The semaphore is never closed.
            let Ok(place) = Arc::clone(&self.all).acquire_owned().await else { continue };
            let (socket, ip) = next(listener).await;
            match self.by_host.place(ip) {
                Some(of_host) => {
                    let (greeting, client) = (Some(Greeting::new()), Client::of_host(of_host.host()));
                    return Connection { socket, greeting, client, _places: (place, of_host) };
                }
                None => debug!(%ip, "a connection of a host that has half of all places is closed"),
            }
        }
    }
}

async fn next(listener: &TcpListener) -> (TcpStream, IpAddr) {
    loop {
        let accepted = listener.accept().await.and_then(|(socket, address)| {
            // An event is a small packet that must not wait for the next one.
            socket.set_nodelay(true)?;
            if let Err(error) = notice_the_gone(&socket) {
                debug!(%error, "a client whose machine is gone will not be noticed");
            }
            Ok((socket, address.ip()))
        });
        match accepted {
            Ok(accepted) => return accepted,
            Err(error) => {
                warn!(%error, "the embedded registry could not accept a connection");
                sleep(PAUSE).await;
            }
        }
    }
}

/// Has the kernel ask whether the client is there: a watch over HTTP/1 may be silent for days, and has no pings as
/// HTTP/2 does. If the kernel cannot, the client is served all the same.
fn notice_the_gone(socket: &TcpStream) -> nix::Result<()> {
    setsockopt(socket, sockopt::KeepAlive, &true)?;
    setsockopt(socket, sockopt::TcpKeepIdle, &KEEPALIVE_SECONDS)?;
    setsockopt(socket, sockopt::TcpKeepInterval, &(KEEPALIVE_SECONDS / KEEPALIVE_TRIES))?;
    setsockopt(socket, sockopt::TcpKeepCount, &KEEPALIVE_TRIES)
}

/// A connection, and its places among those that there may be.
#[derive(Debug)]
pub(crate) struct Connection {
    socket: TcpStream,
    /// None once all of it has come.
    greeting: Option<Greeting>,
    client: Arc<Client>,
    _places: (OwnedSemaphorePermit, OfHost),
}

/// What a client says first, as far as it has come.
#[derive(Debug)]
struct Greeting {
    bytes: usize,
    /// Whether all of it is as HTTP/2 begins.
    is_http2: bool,
    line_is_empty: bool,
    ends: Pin<Box<Sleep>>,
}

impl Greeting {
    fn new() -> Self {
        Self { bytes: 0, is_http2: true, line_is_empty: true, ends: Box::pin(sleep(GREETING_TIME)) }
    }

    /// Takes what came. True at the end of the greeting.
    fn take(&mut self, bytes: &[u8]) -> bool {
        bytes.iter().any(|byte| self.take_byte(*byte))
    }

    fn take_byte(&mut self, byte: u8) -> bool {
        self.is_http2 &= PREFACE.get(self.bytes).is_none_or(|expected| *expected == byte);
        self.bytes += 1;
        // A head ends with an empty line.
        let ends_head = byte == b'\n' && self.line_is_empty;
        self.line_is_empty = byte == b'\n' || (byte == b'\r' && self.line_is_empty);
        if self.is_http2 { self.bytes >= PREFACE.len() + FRAME_HEAD } else { ends_head }
    }
}

impl Connection {
    pub(crate) fn client(&self) -> Arc<Client> {
        Arc::clone(&self.client)
    }

    fn taken(&self, polled: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(bytes)) = &polled {
            self.client.take_bytes(*bytes);
        }
        polled
    }

    fn socket(self: Pin<&mut Self>) -> Pin<&mut TcpStream> {
        Pin::new(&mut self.get_mut().socket)
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        let polled = Pin::new(&mut this.socket).poll_read(context, buffer);
        let Some(greeting) = &mut this.greeting else { return polled };
        if polled.is_pending() {
            return greeting.ends.as_mut().poll(context).map(|()| Err(io::ErrorKind::TimedOut.into()));
        }
        if greeting.take(buffer.filled().get(before..).unwrap_or_default()) {
            this.greeting = None;
        }
        polled
    }
}

impl AsyncWrite for Connection {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.socket).poll_write(context, bytes);
        this.taken(polled)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.socket).poll_write_vectored(context, parts);
        this.taken(polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket().poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket().poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use nix::sys::socket::getsockopt;

    use super::*;

    #[tokio::test]
    async fn the_kernel_asks_a_silent_client_whether_it_is_there() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let _client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let connection = Places::new(1).next(&listener).await;
        assert!(getsockopt(&connection.socket, sockopt::KeepAlive).unwrap());
        let waits = getsockopt(&connection.socket, sockopt::TcpKeepIdle).unwrap();
        let tries = getsockopt(&connection.socket, sockopt::TcpKeepCount).unwrap();
        let between = getsockopt(&connection.socket, sockopt::TcpKeepInterval).unwrap();
        assert_eq!(waits + tries * between, 120, "seconds until it is given up");
    }

    #[tokio::test]
    async fn a_greeting_is_http2s_preface_and_a_frame_or_a_requests_head() {
        let settings = [PREFACE, &[0, 0, 0, 4, 0, 0, 0, 0, 0]].concat();
        for greeting in [
            &settings[..],
            b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n",
            b"POST / HTTP/1.1\nHost: localhost\n\n",
            b"PRI * HTTP/1.1\r\n\r\n",
        ] {
            for cut in 0..greeting.len() {
                let mut taken = Greeting::new();
                assert!(!taken.take(&greeting[..cut]), "{cut} bytes of {greeting:?}");
                assert!(taken.take(&greeting[cut..]), "after {cut} bytes of {greeting:?}");
            }
        }
    }
}
