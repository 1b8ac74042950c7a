//! An instance that speaks HTTP/2: a stream on a connection that other requests share. To leave it resets that stream alone.

use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::client::ResponseFuture;
use h2::{Reason, RecvStream, SendStream};
use http::{HeaderMap, Request};

use super::AnswerBegin;
use crate::gateway::carry::failure::{Failed, Failure};
use crate::gateway::carry::http2::client::send_some;
use crate::gateway::carry::http2::piece::{Piece, next_piece};
use crate::gateway::carry::http2::spaces::trim;
use crate::traffic::multiplexed::Stream;

/// A stream to an instance.
#[derive(Debug)]
pub(in crate::gateway::carry) struct OverHttp2 {
    request: Option<SendStream<Bytes>>,
    answer: Option<ResponseFuture>,
    body: Option<RecvStream>,
    /// Its place on the connection. The last field: what h2 has of the request is dropped before.
    stream: Stream,
}

impl OverHttp2 {
    pub(in crate::gateway::carry) fn new(stream: Stream) -> Self {
        Self { request: None, answer: None, body: None, stream }
    }

    pub(in crate::gateway::carry) fn begin(
        &mut self,
        head: Request<()>,
        is_whole: bool,
    ) -> Result<(), Failure> {
        let begun = self.stream.send_request(head, is_whole);
        let (answer, request) = begun.map_err(|error| Failure::of_unsent(&error))?;
        (self.answer, self.request) = (Some(answer), Some(request));
        Ok(())
    }

    pub(in crate::gateway::carry) fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        data: &mut Bytes,
        is_last: bool,
    ) -> Poll<Result<usize, Failed>> {
        match &mut self.request {
            Some(request) => send_some(request, cx, data, is_last).map_err(Failed::of_instance),
            // It was not sent.
            None => Poll::Ready(Err(Failed::of_instance(Reason::CANCEL.into()))),
        }
    }

    pub(in crate::gateway::carry) fn end(&mut self, trailers: Option<HeaderMap>) -> Result<(), Failed> {
        let ended = match (&mut self.request, trailers) {
            (Some(request), Some(trailers)) => request.send_trailers(trailers),
            (Some(request), None) => request.send_data(Bytes::new(), true),
            (None, _) => Ok(()),
        };
        ended.map_err(Failed::of_instance)
    }

    pub(super) fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<Result<AnswerBegin, Failure>> {
        self.poll_head_of_stream(cx).map_err(|error| Failure::of_stream(&error))
    }

    /// The same, with the error as h2 has it.
    pub(in crate::gateway::carry) fn poll_head_of_stream(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<AnswerBegin, h2::Error>> {
        // Nobody asks before a request was sent.
        let Some(answer) = &mut self.answer else { return Poll::Ready(Err(Reason::INTERNAL_ERROR.into())) };
        if let Poll::Ready(Some(Ok(mut interim))) = answer.poll_informational(cx) {
            trim(interim.headers_mut());
            self.stream.has_answered();
            return Poll::Ready(Ok(AnswerBegin::Interim(interim)));
        }
        let answer = ready!(std::pin::Pin::new(answer).poll(cx));
        let (mut parts, body) = answer?.into_parts();
        trim(&mut parts.headers);
        self.stream.has_answered();
        let is_whole = body.is_end_stream();
        self.body = Some(body);
        let head = http::Response::from_parts(parts, ());
        Poll::Ready(Ok(AnswerBegin::Final { head, is_whole }))
    }

    pub(super) fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Result<Piece, Failure>> {
        self.poll_piece_of_stream(cx).map_err(|error| Failure::of_stream(&error))
    }

    /// The same, with the error as h2 has it.
    pub(in crate::gateway::carry) fn poll_piece_of_stream(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Piece, h2::Error>> {
        let Some(body) = &mut self.body else { return Poll::Ready(Ok(Piece::End)) };
        let mut piece = ready!(next_piece(body, cx))?;
        self.stream.has_answered();
        if let Piece::Trailers(trailers) = &mut piece {
            trim(trailers);
        }
        Poll::Ready(Ok(piece))
    }

    pub(in crate::gateway::carry) fn release(&mut self, count: usize) {
        if let Some(body) = &mut self.body {
            // It fails where more is released than came.
            let _ = body.flow_control().release_capacity(count);
        }
    }
}
