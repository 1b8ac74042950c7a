//! What an exchange waits for, looked at whenever it is woken.

use std::future::poll_fn;
use std::task::{Context, Poll, ready};

use super::bodies::Stuck;
use http::{HeaderMap, HeaderValue};

use super::exchange::Exchange;
use super::instance::{AnswerBegin, Instance};
use super::piece::{Piece, fit_trailers};
use crate::gateway::carry::failure::{Failed, Failure};
use crate::gateway::carry::waits::{self, Limits, Side, Waits};
use crate::gateway::cause::Ending;
use crate::gateway::grpc::End;
use crate::tasks::now;

/// For so many times as long as one body may be silent, others of its connection may be the reason.
const EXCUSED: u32 = 6;
/// So many pieces of an answer in a row: then it is others' turn.
const IN_A_ROW: usize = 32;

impl Exchange {
    /// Waits. Whenever it is woken, the time is another; before it waits at all, it is still that of what was done before.
    pub(super) async fn wait<T>(
        &mut self,
        mut poll: impl FnMut(&mut Self, &mut Context<'_>) -> Poll<T>,
    ) -> T {
        let mut has_waited = false;
        poll_fn(|cx| {
            if std::mem::replace(&mut has_waited, true) {
                self.now = now();
            }
            poll(self, cx)
        })
        .await
    }

    /// Sends the request, and waits for the head of an answer.
    pub(super) fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
        instance: &mut Instance,
    ) -> Poll<Result<AnswerBegin, Failure>> {
        // A bell wakes this task only if it was found silent before: so it is asked until it is.
        while self.bell.poll_rung(cx).is_ready() {
            if self.request.attempt().is_some_and(|attempt| attempt.is_broken_off()) {
                return Poll::Ready(Err(Failure::of(Ending::Broke, "the endpoint: broken off")));
            }
        }
        self.poll_upload(cx, instance)?;
        if let Poll::Ready(head) = instance.poll_head(cx) {
            self.progress.heard_at = self.now;
            return Poll::Ready(head);
        }
        ready!(self.poll_nothing(cx, Side::Source))?;
        Poll::Pending
    }

    /// Sends the answer to the client, and what is left of the request to the instance.
    pub(super) fn poll_answer(
        &mut self,
        cx: &mut Context<'_>,
        instance: &mut Instance,
    ) -> Poll<Result<(), Failure>> {
        let waits_for = match self.poll_download(cx, instance) {
            Ok(None) => return Poll::Ready(Ok(())),
            Ok(Some(side)) => side,
            Err(failure) => return Poll::Ready(Err(failure)),
        };
        self.poll_upload(cx, instance)?;
        self.poll_nothing(cx, waits_for)
    }

    /// Sends what is due of an answer of the gateway's own.
    pub(super) fn poll_reply(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        while !self.download.due.is_empty() {
            match self.poll_send(cx) {
                Poll::Ready(sent) => sent?,
                Poll::Pending => return self.poll_nothing(cx, Side::Sink),
            };
        }
        Poll::Ready(Ok(()))
    }

    /// Ready when the client has left.
    pub(super) fn poll_leaves(&mut self, cx: &mut Context<'_>) -> Poll<Failure> {
        ready!(self.client.poll_leaves(cx));
        Poll::Ready(Failure::of(Ending::ClientLeft, "the client: it has left"))
    }

    /// Moves what can be moved of the answer. Says what it waits for then; none: it has gone on whole.
    fn poll_download(
        &mut self,
        cx: &mut Context<'_>,
        instance: &mut Instance,
    ) -> Result<Option<Side>, Failure> {
        for _ in 0..IN_A_ROW {
            if !self.download.due.is_empty() {
                let Poll::Ready(sent) = self.poll_send(cx) else { return Ok(Some(Side::Sink)) };
                let sent = sent?;
                instance.release(self.download.releases(sent));
                continue;
            }
            if self.download.is_last {
                return Ok(None);
            }
            let Poll::Ready(piece) = instance.poll_piece(cx) else { return Ok(Some(Side::Source)) };
            let piece = piece?;
            self.progress.heard_at = self.now;
            if let Some(attempt) = self.request.attempt_mut() {
                attempt.went_on(self.now);
            }
            self.came(piece)?;
        }
        cx.waker().wake_by_ref();
        Ok(Some(Side::Source))
    }

    /// A piece of the answer has come.
    fn came(&mut self, piece: Piece) -> Result<(), Failure> {
        match piece {
            Piece::Data { bytes, is_last } if !bytes.is_empty() => {
                // What says how a call has ended stands behind all of it.
                let is_last = is_last && !self.awaits_trailers;
                let count = bytes.len();
                self.download.take(count, self.fit_piece(bytes), is_last);
                self.progress.taken_at = self.now;
                Ok(())
            }
            Piece::Data { is_last: false, .. } => Ok(()),
            Piece::Data { .. } | Piece::End => self.over(None),
            Piece::Trailers(mut trailers) => {
                fit_trailers(&mut trailers, &self.request.common.trace_header);
                self.over(Some(trailers))
            }
        }
    }

    /// Nothing more comes of the answer.
    fn over(&mut self, mut trailers: Option<HeaderMap>) -> Result<(), Failure> {
        self.download.is_last = true;
        if std::mem::take(&mut self.awaits_trailers) {
            let status = trailers.as_ref().and_then(|trailers| trailers.get("grpc-status"));
            let end = End::of_trailers(status.map(HeaderValue::as_bytes));
            self.request.call_ended(end, self.now);
            if let Some(fields) = end.instead() {
                let trailers = trailers.get_or_insert_default();
                for (name, value) in fields {
                    trailers.insert(name, value);
                }
            }
            if let Some(last) = self.web_last_piece(trailers.get_or_insert_default()) {
                self.download.put(last);
                self.progress.taken_at = self.now;
                return Ok(());
            }
        }
        self.end(trailers)
    }

    /// Sends what is due to the client. Says how much has gone.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<Result<usize, Failure>> {
        let (due, is_last) = (&mut self.download.due, self.download.is_last);
        let sent = ready!(self.client.poll_send(cx, due, is_last));
        let sent = sent.map_err(|error| Failure::of_client(&error))?;
        self.download.went(sent);
        self.progress.taken_at = self.now;
        Poll::Ready(Ok(sent))
    }

    /// Sends what there is of the request.
    fn poll_upload(&mut self, cx: &mut Context<'_>, instance: &mut Instance) -> Result<(), Failure> {
        if self.progress.has_sent {
            return Ok(());
        }
        let mut moved = false;
        let trace_header = &self.request.common.trace_header;
        let polled = self.upload.poll(cx, (&mut self.client, instance), trace_header, &mut moved);
        let polled = match polled {
            Poll::Ready(Ok(())) => instance.poll_flush(cx),
            polled => polled,
        };
        if moved {
            (self.progress.sent_at, self.progress.moved_at) = (self.now, self.now);
            self.shared.bodies().went_on(self.now);
        }
        self.note_stuck(polled.is_pending() && self.upload.waits_for == Side::Sink);
        match polled {
            Poll::Pending => Ok(()),
            Poll::Ready(Ok(())) => {
                self.progress.has_sent = true;
                let (replay, now) = (self.replay(), self.progress.sent_at);
                self.request.sent(replay, now);
                Ok(())
            }
            // The instance takes no more of it. It may have answered before.
            Poll::Ready(Err(Failed::Sink(_))) => {
                self.progress.has_sent = true;
                Ok(())
            }
            Poll::Ready(Err(failed)) => Err(Failure::of_upload(failed)),
        }
    }

    /// Others of its connection may have to wait for what the instance does not take.
    fn note_stuck(&mut self, is_stuck: bool) {
        if is_stuck != self.stuck.is_some() {
            self.stuck = is_stuck.then(|| Stuck::new(self.shared.clone(), self.now));
        }
    }

    /// Nothing goes on. Whether the client has left, or somebody has been waited for for too long. `download`: which side the
    /// answer waits for.
    fn poll_nothing<T>(&mut self, cx: &mut Context<'_>, download: Side) -> Poll<Result<T, Failure>> {
        if let Poll::Ready(failure) = self.poll_leaves(cx) {
            return Poll::Ready(Err(failure));
        }
        loop {
            let Some((due, (ending, what))) = waits::due(self.waits(download), self.limits(), self.now)
            else {
                return Poll::Pending;
            };
            ready!(self.timer.poll(cx, self.now, due));
            let Some(busy) = self.busy(ending) else {
                // An instance that is silent while its client sends nothing may wait for that.
                let is_clients = ending == Ending::Silent
                    && !self.progress.has_sent
                    && self.upload.waits_for == Side::Source;
                let ending = if is_clients { Ending::ClientSilent } else { ending };
                return Poll::Ready(Err(Failure::of(ending, what)));
            };
            self.progress.sent_at = busy;
        }
    }

    /// When its client was last busy with another body on its connection, if that is why nothing comes of this one: what it may
    /// send before it is read is one sum for all, and in which order it sends is its own affair (RFC 9113, 5.2.1).
    fn busy(&self, ending: Ending) -> Option<std::time::Instant> {
        let busy = self.shared.bodies().busy(self.now)?;
        let limit = self.limits().body.saturating_mul(EXCUSED);
        let is_excused = self.now.saturating_duration_since(self.progress.moved_at) < limit;
        (is_excused
            && ending == Ending::ClientSilent
            && busy > self.progress.sent_at
            && !self.request.is_over(self.now))
        .then_some(busy)
    }

    fn waits(&self, download: Side) -> Waits {
        // From the answer's head on it is only the answer that is waited for: it may come to an end without the rest.
        let is_sending = self.told.status.is_none() && !self.progress.has_sent;
        let upload = is_sending.then_some(self.upload.waits_for);
        let super::exchange::Progress { sent_at, heard_at, taken_at, .. } = self.progress;
        Waits { upload, download, sent_at, heard_at, taken_at }
    }

    fn limits(&self) -> Limits {
        let times = &self.request.common.timeouts;
        let of_route = self.request.route().map(|route| &route.timeouts);
        let (idle, body) = of_route.map_or((times.idle, times.body), |route| (route.idle, route.body));
        Limits { body, write: times.write, idle, left: self.request.left(self.now) }
    }
}
