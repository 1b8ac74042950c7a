//! What a client of HTTP/2 makes the gateway do without asking for anything. Its frames are counted as they pass, and the connection
//! is closed above a rate.
//!
//! ```text
//! frames   where the frames are in the bytes: pure       bucket   a budget that fills with time: pure
//! ledger   what each frame costs or earns: pure          floods   what was found: counted, and told
//! coming   the head that is being received: pure
//! ```

mod bucket;
mod coming;
mod floods;
mod frames;
mod ledger;

use std::io::{self, IoSlice};
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::OwnedSemaphorePermit;

pub(crate) use floods::Floods;
use ledger::{Flood, Ledger};

/// A client's connection, from its preface on, whose frames are counted. After a flood neither reading nor writing works any more.
#[derive(Debug)]
pub(crate) struct Metered<S> {
    stream: S,
    client: IpAddr,
    floods: Arc<Floods>,
    clock: fn() -> Instant,
    began: Instant,
    ledger: Ledger,
    flood: Option<Flood>,
    /// What has come of a head that is too long, beyond what it may have: bytes of what all may.
    held: Option<OwnedSemaphorePermit>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Metered<S> {
    pub(crate) fn new(stream: S, client: IpAddr, floods: Arc<Floods>, clock: fn() -> Instant) -> Self {
        Self { stream, client, floods, clock, began: clock(), ledger: Ledger::new(), flood: None, held: None }
    }

    /// Fails if the client has flooded it.
    fn check(&self) -> io::Result<()> {
        self.flood.map_or(Ok(()), |flood| Err(io::Error::other(Flooded(flood))))
    }

    /// It has.
    fn close(&mut self, flood: Flood, cx: &mut Context<'_>) {
        self.floods.found(flood, self.client, (self.clock)());
        if flood == Flood::Codec {
            // It closes the connection itself.
            return;
        }
        self.flood = Some(flood);
        // Who waits for the client to send more is to see it now.
        cx.waker().wake_by_ref();
        // What does not go out at once is not sent: nothing is owed.
        if let Some(last) = self.ledger.last_stream() {
            let _ = Pin::new(&mut self.stream).poll_write(cx, &goaway(last));
            let _ = Pin::new(&mut self.stream).poll_flush(cx);
        }
    }

    /// These bytes have come.
    fn came(&mut self, bytes: &[u8]) -> Result<(), Flood> {
        self.ledger.receive(bytes, clock(self.clock, self.began))?;
        let beyond = self.ledger.coming().beyond();
        if beyond == 0 {
            self.held = None;
            return Ok(());
        }
        let held = self.held.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        let more = beyond.saturating_sub(held as u32);
        let more = self.floods.long_heads.clone().try_acquire_many_owned(more).map_err(|_| Flood::Head)?;
        match &mut self.held {
            Some(held) => held.merge(more),
            None => self.held = Some(more),
        }
        Ok(())
    }

    /// So many bytes of these were written.
    fn wrote(&mut self, slices: &[IoSlice<'_>], mut count: usize, cx: &mut Context<'_>) {
        let clock = clock(self.clock, self.began);
        let mut found = Ok(());
        for slice in slices {
            let (written, _) = slice.split_at(count.min(slice.len()));
            count -= written.len();
            found = found.and(self.ledger.send(written, clock));
        }
        if let Err(flood) = found {
            self.close(flood, cx);
        }
    }
}

/// Why neither reading nor writing works.
#[derive(Debug, thiserror::Error)]
#[error("the client floods the connection with {0}")]
struct Flooded(Flood);

/// The time since a connection's begin.
fn clock(clock: fn() -> Instant, began: Instant) -> impl Fn() -> Duration + Copy {
    move || clock().saturating_duration_since(began)
}

/// The frame that ends a connection with ENHANCE_YOUR_CALM (RFC 9113, 6.8 and 7), after this stream.
fn goaway(last: u32) -> [u8; 17] {
    let [s1, s2, s3, s4] = last.to_be_bytes();
    [0, 0, 8, frames::GOAWAY, 0, 0, 0, 0, 0, s1, s2, s3, s4, 0, 0, 0, 0xb]
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Metered<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.check()?;
        if this.ledger.coming().take_large() {
            // Whoever reads heads looks at this one first, and has no more than one of such.
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let before = buffer.filled().len();
        ready!(Pin::new(&mut this.stream).poll_read(cx, buffer))?;
        let (_, new) = buffer.filled().split_at(before);
        if let Err(flood) = this.came(new) {
            buffer.set_filled(before);
            this.close(flood, cx);
        }
        Poll::Ready(this.check())
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Metered<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.check()?;
        let count = ready!(Pin::new(&mut this.stream).poll_write(cx, bytes))?;
        this.wrote(&[IoSlice::new(bytes)], count, cx);
        Poll::Ready(Ok(count))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.check()?;
        let count = ready!(Pin::new(&mut this.stream).poll_write_vectored(cx, slices))?;
        this.wrote(slices, count, cx);
        Poll::Ready(Ok(count))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests;
