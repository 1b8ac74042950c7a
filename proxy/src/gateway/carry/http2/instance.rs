//! An instance that a request has come to, whatever it speaks.

mod http1;
mod http2;

use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};

use super::piece::Piece;
use crate::gateway::carry::failure::{Failed, Failure};
use crate::gateway::protocol::Speaks;
pub(super) use http1::OverHttp1;
pub(in crate::gateway::carry) use http2::OverHttp2;

/// An instance that a request has come to. Dropped before its answer is whole, it is told that nobody wants it any more.
#[derive(Debug)]
pub(super) enum Instance {
    Http1(Box<OverHttp1>),
    Http2(OverHttp2),
}

/// The head of an answer.
#[derive(Debug)]
pub(in crate::gateway::carry) enum AnswerBegin {
    /// It goes before the answer's (1xx).
    Interim(Response<()>),
    /// `is_whole`: nothing follows it.
    Final { head: Response<()>, is_whole: bool },
}

impl Instance {
    /// In what it is spoken to.
    pub(super) fn speaks(&self) -> Speaks {
        match self {
            Self::Http1(_) => Speaks::Http1,
            Self::Http2(_) => Speaks::Http2,
        }
    }

    /// Sends the head. `is_whole`: nothing follows it.
    pub(super) fn begin(&mut self, head: Request<()>, is_whole: bool) -> Result<(), Failure> {
        match self {
            Self::Http1(instance) => {
                instance.begin(&head, is_whole);
                Ok(())
            }
            Self::Http2(instance) => instance.begin(head, is_whole),
        }
    }

    /// Sends as much of the front of `data` as it takes now, and says how much. `is_last`: nothing follows it.
    pub(super) fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        data: &mut Bytes,
        is_last: bool,
    ) -> Poll<Result<usize, Failed>> {
        match self {
            Self::Http1(instance) => instance.poll_send(cx, data, is_last),
            Self::Http2(instance) => instance.poll_send(cx, data, is_last),
        }
    }

    /// Ends the request. (What its last data has ended is ended.)
    pub(super) fn poll_end(
        &mut self,
        cx: &mut Context<'_>,
        trailers: &mut Option<HeaderMap>,
    ) -> Poll<Result<(), Failed>> {
        match self {
            Self::Http1(instance) => instance.poll_end(cx, trailers),
            Self::Http2(instance) => Poll::Ready(instance.end(trailers.take())),
        }
    }

    /// Sees to it that what was sent arrives. Ready when nothing waits.
    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failed>> {
        match self {
            Self::Http1(instance) => instance.poll_flush(cx),
            // Its connection's own task does.
            Self::Http2(_) => Poll::Ready(Ok(())),
        }
    }

    /// The next head of an answer.
    pub(super) fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<Result<AnswerBegin, Failure>> {
        match self {
            Self::Http1(instance) => instance.poll_head(cx),
            Self::Http2(instance) => instance.poll_head(cx),
        }
    }

    /// The next piece of its body.
    pub(super) fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Result<Piece, Failure>> {
        match self {
            Self::Http1(instance) => instance.poll_piece(cx),
            Self::Http2(instance) => instance.poll_piece(cx),
        }
    }

    /// So many bytes of the body have gone on: the instance may send as many more.
    pub(super) fn release(&mut self, count: usize) {
        match self {
            // What it may send is what is read of it.
            Self::Http1(_) => {}
            Self::Http2(instance) => instance.release(count),
        }
    }
}
