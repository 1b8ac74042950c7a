//! The stream of a client's request.

use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};
use http::{HeaderMap, Response};

use super::piece::{Piece, next_piece};

/// The stream of a client's request. Dropped with the answer incomplete it is reset.
#[derive(Debug)]
pub(super) struct ClientStream {
    body: RecvStream,
    respond: SendResponse<Bytes>,
    /// Since the answer has begun.
    answer: Option<SendStream<Bytes>>,
}

impl ClientStream {
    pub(super) fn new(body: RecvStream, respond: SendResponse<Bytes>) -> Self {
        Self { body, respond, answer: None }
    }

    /// Whether the request has no body, or all of it was read.
    pub(super) fn is_read(&self) -> bool {
        self.body.is_end_stream()
    }

    /// The next piece of the request's body.
    pub(super) fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Result<Piece, h2::Error>> {
        next_piece(&mut self.body, cx)
    }

    /// So many bytes of the body have gone on: the client may send as many more.
    pub(super) fn release(&mut self, count: usize) {
        // It fails where more is released than came.
        let _ = self.body.flow_control().release_capacity(count);
    }

    /// Sends what goes before an answer (1xx).
    pub(super) fn inform(&mut self, head: Response<()>) -> Result<(), h2::Error> {
        self.respond.send_informational(head)
    }

    /// Begins the answer. `is_whole`: it has no body, and no trailers.
    pub(super) fn answer(&mut self, head: Response<()>, is_whole: bool) -> Result<(), h2::Error> {
        self.answer = Some(self.respond.send_response(head, is_whole)?);
        Ok(())
    }

    /// Sends as much of the front of `data` as the client takes now, and says how much. `is_last`: nothing follows it.
    pub(super) fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        data: &mut Bytes,
        is_last: bool,
    ) -> Poll<Result<usize, h2::Error>> {
        match &mut self.answer {
            Some(answer) => send_some(answer, cx, data, is_last),
            None => Poll::Ready(Ok(0)),
        }
    }

    /// Ends the answer.
    pub(super) fn end(&mut self, trailers: Option<HeaderMap>) -> Result<(), h2::Error> {
        match (&mut self.answer, trailers) {
            (Some(answer), Some(trailers)) => answer.send_trailers(trailers),
            (Some(answer), None) => answer.send_data(Bytes::new(), true),
            (None, _) => Ok(()),
        }
    }

    /// Breaks the stream off, such that nobody takes what was sent for a whole answer.
    pub(super) fn reset(&mut self, reason: Reason) {
        self.respond.send_reset(reason);
    }

    /// Ready when the client has left: it has reset the stream, or its connection has ended.
    pub(super) fn poll_leaves(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let reset = match &mut self.answer {
            None => self.respond.poll_reset(cx),
            Some(answer) => answer.poll_reset(cx),
        };
        // An error is the end of the connection.
        reset.map(drop)
    }
}

/// Sends as much of the front of `data` as the other side takes now.
pub(super) fn send_some(
    stream: &mut SendStream<Bytes>,
    cx: &mut Context<'_>,
    data: &mut Bytes,
    is_last: bool,
) -> Poll<Result<usize, h2::Error>> {
    if data.is_empty() {
        stream.send_data(Bytes::new(), is_last)?;
        return Poll::Ready(Ok(0));
    }
    stream.reserve_capacity(data.len());
    let mut room = stream.capacity();
    while room == 0 {
        room = match ready!(stream.poll_capacity(cx)) {
            Some(room) => room?,
            // It is closed: by whom, and why, says whoever waits for the answer.
            None => return Poll::Ready(Err(Reason::STREAM_CLOSED.into())),
        };
    }
    let some = data.split_to(room.min(data.len()));
    let count = some.len();
    stream.send_data(some, is_last && data.is_empty())?;
    Poll::Ready(Ok(count))
}
