//! A client's connection as Pingora sees it: one request, which is checked, and no byte beyond it.
//!
//! What Pingora reads beyond a request cannot be had back from it, and its parser takes more than the grammar does. So it
//! is given the head that was read, then the body up to its end and nothing after that, and the connection comes back as
//! it was given.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use async_trait::async_trait;
use pingora::protocols::raw_connect::ProxyDigest;
use pingora::protocols::{
    GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl, TimingDigest,
    UniqueID,
};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, BufWriter, ReadBuf};
use tokio::time::timeout;

use super::SHUTDOWN;
use crate::gateway::carry::Block;
use crate::gateway::grammar::{Body, Step};
use crate::gateway::origin::Arrival;
use crate::link::Link;

/// A head and the begin of a body leave together, if the one and the other are small.
const TOGETHER: usize = 1460;
/// So much is read at once of a body, and of what comes behind it.
const MOST: usize = 16 * 1024;
/// How an answer begins that makes a tunnel of the connection.
const UPGRADED: &[u8] = b"HTTP/1.1 101";

/// A client's connection with one request on it.
#[derive(Debug)]
pub(super) struct OneRequest {
    link: BufWriter<Link>,
    /// What of the head was not read yet.
    head: Vec<u8>,
    at: usize,
    body: Body,
    /// Of what came behind the head, so many bytes may be read.
    ready: usize,
    input: Block,
    progress: Progress,
    arrival: Arrival,
    is_last: bool,
    digest: Arc<SocketDigest>,
}

/// How far Pingora has read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Progress {
    Body {
        may_upgrade: bool,
    },
    /// All of the request was seen.
    Over {
        may_upgrade: bool,
    },
    /// The connection is a tunnel, and has no end but its own.
    Tunnel,
}

/// A connection that has come back.
pub(super) struct Returned {
    pub(super) link: Link,
    /// What came behind the request.
    pub(super) input: Block,
}

impl OneRequest {
    /// `head`, `body`: a request's, checked. `input`: what came behind it.
    pub(super) fn new(
        link: Link,
        arrival: Arrival,
        (head, body): (Vec<u8>, Body),
        input: Block,
        may_upgrade: bool,
    ) -> Self {
        let digest = Arc::new(SocketDigest::from_raw_fd(link.descriptor()));
        let progress =
            if body.is_over() { Progress::Over { may_upgrade } } else { Progress::Body { may_upgrade } };
        let link = BufWriter::with_capacity(TOGETHER, link);
        Self { link, head, at: 0, body, ready: 0, input, progress, arrival, is_last: false, digest }
    }

    /// The same, as the last request on its connection.
    pub(super) fn last(self, is_last: bool) -> Self {
        Self { is_last, ..self }
    }

    pub(super) fn is_last(&self) -> bool {
        self.is_last
    }

    /// How it has come.
    pub(super) fn arrival(&self) -> &Arrival {
        &self.arrival
    }

    /// None: the request was not read to its end, so what comes next is none.
    pub(super) fn come_back(self) -> Option<Returned> {
        let is_over = matches!(self.progress, Progress::Over { .. }) && self.ready == 0;
        is_over.then(|| Returned { link: self.link.into_inner(), input: self.input })
    }

    /// Looks at what has come of the body.
    fn look(&mut self) -> io::Result<()> {
        let Progress::Body { may_upgrade } = self.progress else { return Ok(()) };
        loop {
            let new = self.input.bytes().get(self.ready..).unwrap_or_default();
            match self
                .body
                .next(new)
                .map_err(|refusal| io::Error::new(io::ErrorKind::InvalidData, refusal.why))?
            {
                Step::More => return Ok(()),
                Step::Data(count) | Step::Framing(count) | Step::Trailers(count) => self.ready += count,
                Step::End => {
                    self.progress = Progress::Over { may_upgrade };
                    return Ok(());
                }
            }
        }
    }
}

/// Moves as much as there is room for.
fn give(bytes: &[u8], to: &mut ReadBuf<'_>) -> usize {
    let count = bytes.len().min(to.remaining());
    to.put_slice(bytes.get(..count).unwrap_or_default());
    count
}

impl AsyncRead for OneRequest {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        to: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.at < this.head.len() {
            this.at += give(this.head.get(this.at..).unwrap_or_default(), to);
            return Poll::Ready(Ok(()));
        }
        loop {
            this.look()?;
            if this.progress == Progress::Tunnel && !this.input.is_empty() {
                this.ready = this.input.len();
            }
            if this.ready > 0 {
                let count = give(this.input.bytes().get(..this.ready).unwrap_or_default(), to);
                this.input.consume(count);
                this.ready -= count;
                return Poll::Ready(Ok(()));
            }
            match this.progress {
                Progress::Tunnel => return Pin::new(this.link.get_mut()).poll_read(cx, to),
                // What comes behind the request is not Pingora's; that the client has left is.
                Progress::Over { .. } if this.input.len() >= MOST => return Poll::Pending,
                Progress::Over { .. } | Progress::Body { .. } => {}
            }
            if ready!(this.input.poll_fill(this.link.get_mut(), MOST, cx))? == 0 {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl AsyncWrite for OneRequest {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if let Progress::Body { may_upgrade: true } | Progress::Over { may_upgrade: true } = self.progress
            && bytes.starts_with(UPGRADED)
        {
            self.progress = Progress::Tunnel;
        }
        Pin::new(&mut self.link).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.link).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.link).poll_shutdown(cx)
    }
}

#[async_trait]
impl Shutdown for OneRequest {
    async fn shutdown(&mut self) {
        // It fails on a connection that is gone, and waits for a client who takes nothing.
        let _ = timeout(SHUTDOWN, AsyncWriteExt::shutdown(self)).await;
    }
}

impl UniqueID for OneRequest {
    fn id(&self) -> i32 {
        self.link.get_ref().descriptor()
    }
}

impl Ssl for OneRequest {}

impl Peek for OneRequest {}

impl GetTimingDigest for OneRequest {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        Vec::new()
    }
}

impl GetProxyDigest for OneRequest {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        None
    }
}

impl GetSocketDigest for OneRequest {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        Some(self.digest.clone())
    }
}
