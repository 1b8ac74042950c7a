//! A body that keeps its promise, or does not.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};

use super::connection::Busy;

/// A body that is sent whole, or ends before all that was promised is there.
pub(super) struct ReplyBody {
    promised: u64,
    left: Option<Bytes>,
    flushed: bool,
    end: End,
    /// The connection is busy until the body is gone.
    _busy: Busy,
}

/// What comes when the bytes are sent. It makes a difference only when more were promised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The connection ends.
    Break,
    /// Nothing.
    Silence,
}

impl ReplyBody {
    pub(super) fn whole(bytes: Bytes, busy: Busy) -> Self {
        Self::partial(bytes.len() as u64, bytes, End::Break, busy)
    }

    pub(super) fn partial(promised: u64, sent: Bytes, end: End, busy: Busy) -> Self {
        Self { promised, left: Some(sent), flushed: false, end, _busy: busy }
    }
}

impl Body for ReplyBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if let Some(bytes) = self.left.take() {
            self.promised = self.promised.saturating_sub(bytes.len() as u64);
            return Poll::Ready(Some(Ok(Frame::data(bytes))));
        }
        if self.promised == 0 {
            return Poll::Ready(None);
        }
        if self.end == End::Silence {
            return Poll::Pending;
        }
        if !self.flushed {
            // hyper writes what it has before it asks again; an error at once would swallow the head too.
            self.flushed = true;
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(Some(Err(io::Error::other("told to break off"))))
    }

    fn is_end_stream(&self) -> bool {
        self.promised == 0 && self.left.as_ref().is_none_or(Bytes::is_empty)
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.promised)
    }
}
