//! The task of a connection: it writes and reads for all of its streams, and ends it.

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use h2::client::{Builder, SendRequest};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Interval, interval, timeout};

use super::life::Life;
use super::pulse::{ANSWER, Pulse};
use super::{Failed, Multiplexed, STREAMS, allowed, is_open};
use crate::link::Link;

/// What is held here of a stream whose client is slow is at most this: 128 KiB each half millisecond, a data centre's round
/// trip, are 256 MB/s.
const STREAM_WINDOW: u32 = 128 << 10;
/// All that its streams may hold: however many clients are slow, the others are not held up by them.
const CONNECTION_WINDOW: u32 = STREAM_WINDOW * STREAMS as u32;
/// The least that the protocol allows: one stream's frame delays the others' the least.
const FRAME: u32 = 16 << 10;
const HEADER_LIST: u32 = 64 << 10;
/// Of each stream's, what h2 takes before the socket does.
const SEND_BUFFER: usize = 64 << 10;
/// More than a peer can say: its SETTINGS have not come.
const UNSAID: usize = u32::MAX as usize + 1;
/// How often a connection looks at the time.
const TICK: Duration = Duration::from_secs(1);

pub(super) struct Driver {
    connection: h2::client::Connection<Heard, Bytes>,
    life: Arc<Life>,
}

/// A connection that notes when something comes.
struct Heard {
    link: Link,
    life: Arc<Life>,
}

impl Driver {
    /// Shakes hands, and waits for the peer's SETTINGS.
    pub(super) async fn open(link: Link) -> Result<(SendRequest<Bytes>, Self), Failed> {
        let life = Arc::new(Life::new());
        let heard = Heard { link, life: life.clone() };
        let open = async {
            let of_handshake = |error| Failed::Handshake(Arc::new(error));
            let (send, mut connection) = builder().handshake(heard).await.map_err(of_handshake)?;
            poll_fn(|cx| match Pin::new(&mut connection).poll(cx) {
                Poll::Ready(Ok(())) => Poll::Ready(Err(Failed::Declined)),
                Poll::Ready(Err(error)) => Poll::Ready(Err(of_handshake(error))),
                Poll::Pending if send.current_max_send_streams() != UNSAID => Poll::Ready(Ok(())),
                Poll::Pending => Poll::Pending,
            })
            .await?;
            if allowed(&send) == 0 || !is_open(&send) {
                return Err(Failed::Declined);
            }
            Ok((send, Self { connection, life }))
        };
        timeout(ANSWER, open).await.unwrap_or(Err(Failed::Silent))
    }

    pub(super) fn life(&self) -> Arc<Life> {
        self.life.clone()
    }

    /// Until the connection has ended. (h2 ends it with GOAWAY when nobody has a handle of it any more: neither the endpoint
    /// nor a stream.)
    pub(super) async fn run(mut self, of: &Multiplexed) {
        let mut pulse = Pulse::new(self.connection.ping_pong(), Instant::now());
        let mut ticks = interval(TICK);
        let mut ending = None;
        poll_fn(|cx| self.poll(cx, &mut ticks, &mut pulse, &mut ending, of)).await;
        of.take_out(&self.life, false);
        self.life.is_closed.store(true, Ordering::Release);
    }

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        ticks: &mut Interval,
        pulse: &mut Pulse,
        ending: &mut Option<Instant>,
        of: &Multiplexed,
    ) -> Poll<()> {
        while ticks.poll_tick(cx).is_ready() {
            if !pulse.is_alive(&self.life, Instant::now()) {
                return Poll::Ready(());
            }
            of.take_out(&self.life, true);
            // Its end may be held up by a peer that does not read.
            if self.life.is_left.load(Ordering::Acquire) && self.life.streams() == 0 {
                let since = ending.get_or_insert_with(Instant::now);
                if since.elapsed() >= ANSWER {
                    return Poll::Ready(());
                }
            }
        }
        // Of what it failed its streams are told.
        pin!(&mut self.connection).poll(cx).map(drop)
    }
}

/// So many streams that were reset are remembered.
const REMEMBERED: usize = 10_000;
/// Some 130,000 of the smallest frames.
const SMALL_FRAMES: usize = 32 * 1024 * 1024;

fn builder() -> Builder {
    let mut builder = Builder::new();
    builder
        .enable_push(false)
        .initial_max_send_streams(UNSAID)
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_frame_size(FRAME)
        .max_header_list_size(HEADER_LIST)
        .max_send_buffer_size(SEND_BUFFER)
        // What small frames may cost that no client has taken yet, at 256 less their length each: a bound for all of its
        // streams, so high that a few clients who do not read, of streams of small messages, do not come near.
        .data_frame_budget(SMALL_FRAMES)
        // Clients that leave have their streams reset: what still comes for those is passed over for a moment.
        .max_concurrent_reset_streams(REMEMBERED)
        .reset_stream_duration(Duration::from_secs(5))
        // A sum over the connection's whole life, to which what comes late for streams that were left adds up.
        .max_local_error_reset_streams(None);
    builder
}

impl AsyncRead for Heard {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, room: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let heard = self.get_mut();
        let before = room.filled().len();
        let outcome = Pin::new(&mut heard.link).poll_read(cx, room);
        if room.filled().len() > before {
            heard.life.heard();
        }
        outcome
    }
}

impl AsyncWrite for Heard {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().link).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().link).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.link.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().link).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().link).poll_shutdown(cx)
    }
}
