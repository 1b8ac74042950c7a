//! A client's connection on which HTTP/2 is spoken, from its preface to its end.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use h2::RecvStream;
use h2::server::{Builder, Connection, SendResponse};
use http::Request;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{sleep, timeout};

use super::client::ClientStream;
use super::exchange::Exchange;
use super::head::StreamHead;
use super::leaving::{self, Limits, Next, State};
use super::{Carrier, LONGEST_READ, Shared};
use crate::gateway::carry::Timer;
use crate::gateway::origin::Arrival;
use crate::tasks::now;
use crate::traffic::bell::Bell;

/// How every connection begins (RFC 9113, 3.4).
pub(in crate::gateway) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Who has not begun when the process stops has so long for it.
const LAST_CHANCE: Duration = Duration::from_secs(1);
/// So much a client may send of one body before it is read.
const STREAM_WINDOW: u32 = 64 * 1024;
/// And of all bodies: a client who uploads to several instances at once is not slowed down by one of them, and one who sends to
/// nobody who reads costs no more than this.
const CONNECTION_WINDOW: u32 = 1024 * 1024;
/// So much of an answer is written ahead to a client that does not read it.
const SEND_BUFFER: usize = 64 * 1024;
/// So many streams may be reset by their client before they were looked at.
const RESETS: usize = 20;
/// So many that were reset are remembered for a second, as what their client has sent before it knew may still come.
const REMEMBERED: usize = 1_000;
/// What small frames may cost that nobody has read yet, at 256 less their length each. As many as have a few bytes each and
/// fill the windows of fifty streams; what is beyond that is a flood.
const SMALL_FRAMES: usize = 8 * 1024 * 1024;

/// A client's connection.
struct Serving<'s, T> {
    connection: Connection<T, Bytes>,
    shared: Arc<Shared>,
    bell: &'s Bell,
    is_stopping: &'s (dyn Fn() -> bool + Sync),
    timer: Timer,
    requests: u32,
    busy_at: Instant,
    told_at: Option<Instant>,
    old_at: Option<Instant>,
}

impl Carrier {
    /// Serves a client to the end of its connection. The bell is rung when the process stops.
    pub(in crate::gateway) async fn serve(
        self: &Arc<Self>,
        link: impl AsyncRead + AsyncWrite + Unpin,
        arrival: Arrival,
        bell: &Bell,
        is_stopping: &(dyn Fn() -> bool + Sync),
    ) {
        let limit = self.gateway.time(|times| times.head);
        let begun = tokio::select! {
            begun = timeout(limit, self.builder().handshake(link)) => begun,
            () = stopped_for(LAST_CHANCE, bell, is_stopping) => return,
        };
        let Ok(Ok(connection)) = begun else {
            self.gateway.metrics.head_refused(0);
            return;
        };
        let now = now();
        let old_at = self.gateway.common().connections.max_age.and_then(|age| now.checked_add(spread(age)));
        let shared = Arc::new(Shared {
            carrier: self.clone(),
            arrival,
            bodies: Default::default(),
            open: Arc::default(),
        });
        let timer = Timer::default();
        let mut serving = Serving {
            connection,
            shared,
            bell,
            is_stopping,
            timer,
            requests: 0,
            busy_at: now,
            told_at: None,
            old_at,
        };
        poll_fn(|cx| serving.poll(cx)).await;
    }

    fn builder(&self) -> Builder {
        let mut builder = Builder::new();
        builder
            .max_header_list_size(LONGEST_READ)
            .max_concurrent_streams(self.gateway.common().connections.streams.get())
            .initial_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_send_buffer_size(SEND_BUFFER)
            .max_pending_accept_reset_streams(RESETS)
            .max_concurrent_reset_streams(REMEMBERED)
            .data_frame_budget(SMALL_FRAMES)
            // A sum over the connection's whole life, which is not how errors are told from floods: the meter does that.
            .max_local_error_reset_streams(None);
        builder
    }
}

/// Ready when the process has been stopping for so long.
async fn stopped_for(wait: Duration, bell: &Bell, is_stopping: &(dyn Fn() -> bool + Sync)) {
    while !is_stopping() {
        poll_fn(|cx| bell.poll_rung(cx)).await;
    }
    sleep(wait).await;
}

/// Between an age and a tenth more: who has come at the same time does not have to leave at the same time.
pub(in crate::gateway) fn spread(age: Duration) -> Duration {
    age.mul_f64(1.0 + fastrand::f64() / 10.0)
}

impl<T: AsyncRead + AsyncWrite + Unpin> Serving<'_, T> {
    /// Takes requests, until the connection has ended or has to.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            match self.connection.poll_accept(cx) {
                Poll::Ready(Some(Ok((request, respond)))) => {
                    self.begin(request, respond);
                    continue;
                }
                // What is wrong with it h2 has told the client.
                Poll::Ready(Some(Err(_)) | None) => return Poll::Ready(()),
                Poll::Pending => {}
            }
            while self.bell.poll_rung(cx).is_ready() {}
            let now = now();
            match leaving::next(self.state(now), self.limits(), now) {
                Next::Close => return Poll::Ready(()),
                Next::TellToLeave => {
                    self.connection.graceful_shutdown();
                    self.told_at = Some(now);
                }
                Next::Stays(None) => return Poll::Pending,
                Next::Stays(Some(due)) => match self.timer.poll(cx, now, due) {
                    Poll::Ready(()) => {}
                    Poll::Pending => return Poll::Pending,
                },
            }
        }
    }

    /// A request begins.
    fn begin(&mut self, request: Request<RecvStream>, respond: SendResponse<Bytes>) {
        self.requests = self.requests.saturating_add(1);
        let open = self.shared.open.acquire();
        let (parts, body) = request.into_parts();
        let client = ClientStream::new(body, respond);
        let exchange = Exchange::new(self.shared.clone(), client, StreamHead::new(parts));
        tokio::spawn(async move {
            exchange.run().await;
            drop(open);
        });
    }

    fn state(&mut self, now: Instant) -> State {
        let is_busy = self.shared.open.count() > 0;
        if is_busy {
            self.busy_at = now;
        }
        State {
            requests: self.requests,
            busy_at: self.busy_at,
            is_busy,
            told_at: self.told_at,
            is_flushed: !self.connection.has_streams(),
        }
    }

    fn limits(&self) -> Limits {
        let common = self.shared.gateway().common();
        Limits {
            keepalive: common.timeouts.keepalive,
            write: common.timeouts.write,
            requests: common.connections.requests.map(std::num::NonZeroU32::get),
            old_at: self.old_at,
            is_stopping: (self.is_stopping)(),
        }
    }
}
