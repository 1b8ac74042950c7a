//! A connection in memory, for tests: nothing is timed but by the runtime's clock.

mod hesitation;

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker, ready};

use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};
use tokio::task::coop;

pub(crate) use hesitation::Hesitation;

use super::Link;

/// One side of it.
#[derive(Debug)]
pub(crate) struct Memory {
    stream: DuplexStream,
    /// Read to see whether something has come, and what.
    ahead: Vec<u8>,
    /// Both sides' own.
    was_reset: Arc<AtomicBool>,
    hesitation: Hesitation,
}

impl Link {
    /// The two sides of a connection that holds so many bytes each way.
    pub(crate) fn pair(capacity: usize) -> (Self, Self) {
        let (one, other) = tokio::io::duplex(capacity);
        let was_reset = Arc::new(AtomicBool::new(false));
        let [one, other] = [one, other].map(|stream| {
            let was_reset = was_reset.clone();
            Self::Memory(Box::new(Memory {
                stream,
                ahead: Vec::new(),
                was_reset,
                hesitation: Hesitation::default(),
            }))
        });
        (one, other)
    }

    /// The same, of which the first hesitates.
    pub(crate) fn hesitant_pair(capacity: usize, hesitation: Hesitation) -> (Self, Self) {
        let (mut one, other) = Self::pair(capacity);
        if let Self::Memory(memory) = &mut one {
            memory.hesitation = hesitation;
        }
        (one, other)
    }
}

impl From<DuplexStream> for Link {
    fn from(stream: DuplexStream) -> Self {
        let (was_reset, hesitation) = (Arc::default(), Hesitation::default());
        Self::Memory(Box::new(Memory { stream, ahead: Vec::new(), was_reset, hesitation }))
    }
}

impl Memory {
    pub(super) fn is_silent(&mut self) -> bool {
        let mut stirred = std::pin::pin!(coop::unconstrained(std::future::poll_fn(|cx| self.poll_ahead(cx))));
        stirred.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending()
    }

    pub(super) fn poll_stirred(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match ready!(self.hesitation.poll(cx)) {
            // It may also have been nothing.
            Some(_) => Poll::Ready(()),
            None => self.poll_ahead(cx),
        }
    }

    fn poll_ahead(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.ahead.is_empty() {
            let mut byte = [0];
            let mut buffer = ReadBuf::new(&mut byte);
            if ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer)).is_ok() {
                self.ahead.extend_from_slice(buffer.filled());
            }
        }
        Poll::Ready(())
    }

    pub(super) fn poll_peek(&mut self, cx: &mut Context<'_>, room: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let wanted = room.remaining().saturating_sub(self.ahead.len());
        let mut piece =
            vec![0; if self.hesitation.is_over() { wanted } else { wanted.min(Hesitation::PIECE) }];
        let mut more = ReadBuf::new(&mut piece);
        let outcome = Pin::new(&mut self.stream).poll_read(cx, &mut more);
        self.ahead.extend_from_slice(more.filled());
        if self.ahead.is_empty() {
            return Poll::Ready(self.checked(ready!(outcome)));
        }
        room.put_slice(self.ahead.get(..room.remaining()).unwrap_or(&self.ahead));
        Poll::Ready(Ok(()))
    }

    pub(super) fn discard(&mut self, count: usize) -> io::Result<()> {
        self.ahead.drain(..count.min(self.ahead.len()));
        Ok(())
    }

    pub(super) fn reset(self) {
        self.was_reset.store(true, Ordering::Release);
    }

    fn was_reset(&self) -> bool {
        self.was_reset.load(Ordering::Acquire)
    }

    /// A connection that was reset has no end, and takes nothing.
    fn checked<T>(&self, outcome: io::Result<T>) -> io::Result<T> {
        if self.was_reset() { Err(io::ErrorKind::ConnectionReset.into()) } else { outcome }
    }
}

impl AsyncRead for Memory {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if buffer.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        if !self.ahead.is_empty() {
            let count = self.ahead.len().min(buffer.remaining());
            buffer.put_slice(self.ahead.get(..count).unwrap_or_default());
            self.ahead.drain(..count);
            if self.hesitation.is_over() && buffer.remaining() > 0 {
                // What fails now is found by the next read.
                let _ = Pin::new(&mut self.stream).poll_read(cx, buffer);
            }
            return Poll::Ready(Ok(()));
        }
        let before = buffer.filled().len();
        let outcome = match ready!(self.hesitation.poll(cx)) {
            None => ready!(Pin::new(&mut self.stream).poll_read(cx, buffer)),
            Some(most) => {
                let mut piece = [0; Hesitation::PIECE];
                let mut few = ReadBuf::new(piece.get_mut(..most.min(buffer.remaining())).unwrap_or_default());
                let outcome = ready!(Pin::new(&mut self.stream).poll_read(cx, &mut few));
                buffer.put_slice(few.filled());
                outcome
            }
        };
        // What came before the reset is there to be read.
        Poll::Ready(if buffer.filled().len() > before { outcome } else { self.checked(outcome) })
    }
}

impl AsyncWrite for Memory {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let most = ready!(self.hesitation.poll(cx)).unwrap_or(bytes.len());
        let few = bytes.get(..most).unwrap_or(bytes);
        let outcome = ready!(Pin::new(&mut self.stream).poll_write(cx, few));
        Poll::Ready(self.checked(outcome))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if let Some(most) = ready!(self.hesitation.poll(cx)) {
            let first = slices.iter().find(|slice| !slice.is_empty()).map_or(&[][..], |slice| slice);
            let outcome =
                ready!(Pin::new(&mut self.stream).poll_write(cx, first.get(..most).unwrap_or(first)));
            return Poll::Ready(self.checked(outcome));
        }
        let outcome = ready!(Pin::new(&mut self.stream).poll_write_vectored(cx, slices));
        Poll::Ready(self.checked(outcome))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.hesitation.poll(cx));
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// TCP's own: who closes a connection while bytes wait there that it has not read has it reset.
impl Drop for Memory {
    fn drop(&mut self) {
        let _ = self.is_silent();
        if !self.ahead.is_empty() {
            self.was_reset.store(true, Ordering::Release);
        }
    }
}
