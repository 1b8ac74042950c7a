//! The connections that a listener accepts: a bounded number at a time, none of which is kept by a client that
//! says nothing, or is gone.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use futures_util::{Stream, stream};
use nix::sys::socket::{setsockopt, sockopt};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Sleep, sleep},
};
use tonic::transport::server::{Connected, TcpConnectInfo};
use tracing::{debug, warn};

/// How long nothing is accepted after a failure to accept: it is most often a lack of file descriptors, which
/// asking again at once would not end.
const PAUSE: Duration = Duration::from_millis(100);

/// How long a client may take to say what it speaks. From there on HTTP/2's pings and HTTP/1's time for a head
/// take over.
const GREETING_TIME: Duration = Duration::from_secs(30);
/// HTTP/2's first bytes are always the same, as many as these; an HTTP/1 request with a body has more.
const GREETING: usize = 24;

/// After how long a silence the kernel asks a client whether it is there, in seconds; as long again, it asks a few
/// times more.
const KEEPALIVE_SECONDS: u32 = 60;
const KEEPALIVE_TRIES: u32 = 3;

/// Accepts connections, at most `max` at a time; more wait in the listener's queue.
pub(crate) fn accept(listener: TcpListener, max: usize) -> impl Stream<Item = io::Result<Connection>> {
    let places = Arc::new(Semaphore::new(max.min(Semaphore::MAX_PERMITS)));
    stream::unfold((listener, places), async |(listener, places)| {
        // The semaphore is never closed.
        let place = Arc::clone(&places).acquire_owned().await.ok()?;
        let socket = next(&listener).await;
        Some((Ok(Connection { socket, greeting: Some(Greeting::new()), _place: place }), (listener, places)))
    })
}

async fn next(listener: &TcpListener) -> TcpStream {
    loop {
        let accepted = listener.accept().await.and_then(|(socket, _)| {
            // An event is a small packet that must not wait for the next one.
            socket.set_nodelay(true)?;
            if let Err(error) = notice_the_gone(&socket) {
                debug!(%error, "a client whose machine is gone will not be noticed");
            }
            Ok(socket)
        });
        match accepted {
            Ok(socket) => return socket,
            Err(error) => {
                warn!(%error, "the embedded registry could not accept a connection");
                sleep(PAUSE).await;
            }
        }
    }
}

/// A watch over HTTP/1 may be silent for days: the kernel asks whether its client is there. HTTP/2 has pings of its
/// own. Where the kernel does not, the client is served all the same.
fn notice_the_gone(socket: &TcpStream) -> nix::Result<()> {
    setsockopt(socket, sockopt::KeepAlive, &true)?;
    setsockopt(socket, sockopt::TcpKeepIdle, &KEEPALIVE_SECONDS)?;
    setsockopt(socket, sockopt::TcpKeepInterval, &(KEEPALIVE_SECONDS / KEEPALIVE_TRIES))?;
    setsockopt(socket, sockopt::TcpKeepCount, &KEEPALIVE_TRIES)
}

/// A connection, and its place among those that there may be.
#[derive(Debug)]
pub(crate) struct Connection {
    socket: TcpStream,
    /// None once it came.
    greeting: Option<Greeting>,
    _place: OwnedSemaphorePermit,
}

/// What a client says first.
#[derive(Debug)]
struct Greeting {
    /// Bytes of it that are still to come.
    missing: usize,
    ends: Pin<Box<Sleep>>,
}

impl Greeting {
    fn new() -> Self {
        Self { missing: GREETING, ends: Box::pin(sleep(GREETING_TIME)) }
    }
}

impl Connection {
    fn socket(self: Pin<&mut Self>) -> Pin<&mut TcpStream> {
        Pin::new(&mut self.get_mut().socket)
    }
}

impl Connected for Connection {
    type ConnectInfo = TcpConnectInfo;

    fn connect_info(&self) -> TcpConnectInfo {
        self.socket.connect_info()
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
        greeting.missing = greeting.missing.saturating_sub(buffer.filled().len() - before);
        if greeting.missing == 0 {
            this.greeting = None;
        }
        polled
    }
}

impl AsyncWrite for Connection {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.socket().poll_write(context, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.socket().poll_write_vectored(context, parts)
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
    use std::pin::pin;

    use futures_util::StreamExt;
    use nix::sys::socket::getsockopt;

    use super::*;

    #[tokio::test]
    async fn the_kernel_asks_a_silent_client_whether_it_is_there() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let _client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let connection = pin!(accept(listener, 1)).next().await.unwrap().unwrap();
        assert!(getsockopt(&connection.socket, sockopt::KeepAlive).unwrap());
        let waits = getsockopt(&connection.socket, sockopt::TcpKeepIdle).unwrap();
        let tries = getsockopt(&connection.socket, sockopt::TcpKeepCount).unwrap();
        let between = getsockopt(&connection.socket, sockopt::TcpKeepInterval).unwrap();
        assert_eq!(waits + tries * between, 120, "seconds until it is given up");
    }
}
