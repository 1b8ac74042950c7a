//! What an exchange waits for, looked at whenever it is woken.

use std::future::poll_fn;
use std::task::{Context, Poll, ready};

use http::Method;

use super::exchange::Exchange;
use super::progress::{Progress, Sending};
use super::request_head;
use crate::config::ClientAbort;
use crate::gateway::carry::failure::Failed;
use crate::gateway::carry::failure::Failure;
use crate::gateway::carry::waits::{self, Limits, Side, Waits};
use crate::gateway::cause::Ending;
use crate::gateway::grammar::{Asked, LONGEST_HEAD};
use crate::head::Head;
use crate::tasks::now;
use crate::traffic::kept::KeptLink;

/// So much of what a client sends behind its request is read before the answer to that is complete.
const AHEAD: usize = 4 * 1024;

impl Exchange<'_> {
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

    /// Sends the request, and reads the head of the answer.
    pub(super) fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
        instance: &mut KeptLink,
    ) -> Poll<Result<(), Failure>> {
        // A bell wakes this task only if it was found silent before: so it is asked until it is.
        while self.client.bell.poll_rung(cx).is_ready() {
            if self.request.attempt().is_some_and(|attempt| attempt.is_broken_off()) {
                return Poll::Ready(Err(Failure::of(Ending::Broke, "the endpoint: broken off")));
            }
        }
        self.poll_upload(cx, instance)?;
        if let Poll::Ready(read) = self.poll_read_head(cx, instance) {
            return Poll::Ready(read);
        }
        self.poll_client(cx)?;
        self.poll_time(cx, Side::Source)
    }

    fn poll_read_head(&mut self, cx: &mut Context<'_>, instance: &mut KeptLink) -> Poll<Result<(), Failure>> {
        let may_upgrade = request_head::upgrade(&self.head, self.request).is_some();
        let asked = Asked { is_head: *self.head.method() == Method::HEAD, may_upgrade };
        loop {
            let bytes = self.download.input.bytes();
            match self.answer.read(bytes, asked) {
                Ok(Some(length)) => {
                    self.progress.answer_head = length;
                    return Poll::Ready(Ok(()));
                }
                Ok(None) => {}
                Err(why) => return Poll::Ready(Err(Failure::of_download(Failed::Malformed(why)))),
            }
            let has_begun = !bytes.is_empty();
            if !self.download.input.has_room() {
                ready!(instance.link.poll_stirred(cx));
            }
            match ready!(self.download.input.poll_fill(&mut instance.link, LONGEST_HEAD, cx)) {
                Ok(0) => return Poll::Ready(Err(Failure::of_end(has_begun))),
                Ok(_) => self.progress.heard_at = self.now,
                Err(error) => return Poll::Ready(Err(Failure::of_read(&error, has_begun))),
            }
        }
    }

    /// Sends what there is of the request.
    fn poll_upload(&mut self, cx: &mut Context<'_>, instance: &mut KeptLink) -> Result<(), Failure> {
        if self.progress.sending != Sending::Underway {
            return Ok(());
        }
        let mut moved = false;
        let polled = self.upload.poll(cx, (&mut self.client.link, &mut instance.link), &mut moved);
        if moved {
            self.progress.sent_at = self.now;
        }
        match polled {
            Poll::Pending => Ok(()),
            Poll::Ready(Ok(())) => {
                self.progress.sending = Sending::Done;
                let (replay, now) = (self.replay(), self.progress.sent_at);
                self.request.sent(replay, now);
                Ok(())
            }
            // The instance takes no more of it. It may have answered before.
            Poll::Ready(Err(Failed::Sink(_))) => {
                self.progress.sending = Sending::GivenUp;
                Ok(())
            }
            // The client sends no more of it, or nothing valid. The answer goes on without that.
            Poll::Ready(Err(Failed::Ended | Failed::Malformed(_))) if self.told.status.is_some() => {
                self.progress.sending = Sending::GivenUp;
                Ok(())
            }
            Poll::Ready(Err(failed)) => Err(Failure::of_upload(failed)),
        }
    }

    /// Sends the answer to the client, and what is left of the request to the instance.
    pub(super) fn poll_answer(
        &mut self,
        cx: &mut Context<'_>,
        instance: &mut KeptLink,
    ) -> Poll<Result<(), Failure>> {
        let mut moved = false;
        let polled = self.download.poll(cx, (&mut instance.link, &mut self.client.link), &mut moved);
        if moved {
            let now = self.now;
            (self.progress.heard_at, self.progress.taken_at) = (now, now);
            // Before what has come is taken for a piece of an answer: it may be the trailers.
            self.note_end_of_call();
            if let Some(attempt) = self.request.attempt_mut() {
                attempt.went_on(now);
            }
        }
        if let Poll::Ready(moved) = polled {
            return Poll::Ready(moved.map_err(Failure::of_download));
        }
        self.poll_upload(cx, instance)?;
        self.poll_client(cx)?;
        self.poll_time(cx, self.download.waits_for)
    }

    /// Sends the client what is due to it.
    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        match self.download.poll_flush(cx, &mut self.client.link) {
            Poll::Ready(flushed) => Poll::Ready(flushed.map_err(Failure::of_download)),
            Poll::Pending => self.poll_time(cx, Side::Sink),
        }
    }

    /// Ready when the client has left.
    pub(super) fn poll_leaves(&mut self, cx: &mut Context<'_>) -> Poll<Failure> {
        // Whether one that sends no more counts as one that has left.
        let at_end = self.request.common.client_abort == ClientAbort::OnFin;
        ready!(self.client.poll_leaves(cx, &mut self.upload.input, AHEAD, at_end));
        Poll::Ready(Failure::of(Ending::ClientLeft, "the client: connection closed"))
    }

    /// Whether the client has left, once all of its request has been read.
    fn poll_client(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        if self.progress.sending != Sending::Done {
            return Ok(());
        }
        match self.poll_leaves(cx) {
            Poll::Ready(failure) => Err(failure),
            Poll::Pending => Ok(()),
        }
    }

    /// Whether somebody has been waited for for too long. `download`: which side the answer waits for.
    fn poll_time(&mut self, cx: &mut Context<'_>, download: Side) -> Poll<Result<(), Failure>> {
        let Some((due, (ending, what))) = waits::due(self.waits(download), self.limits(), self.now) else {
            return Poll::Pending;
        };
        ready!(self.client.timer.poll(cx, self.now, due));
        Poll::Ready(Err(Failure::of(ending, what)))
    }

    fn waits(&self, download: Side) -> Waits {
        // From the answer's head on it is only the answer that is waited for: it may come to an end without the rest.
        let is_sending = self.told.status.is_none() && self.progress.sending == Sending::Underway;
        let upload = is_sending.then_some(self.upload.waits_for);
        let Progress { sent_at, heard_at, taken_at, .. } = self.progress;
        Waits { upload, download, sent_at, heard_at, taken_at }
    }

    fn limits(&self) -> Limits {
        let times = &self.request.common.timeouts;
        let of_route = self.request.route().map(|route| &route.timeouts);
        let (idle, body) = of_route.map_or((times.idle, times.body), |route| (route.idle, route.body));
        Limits { body, write: times.write, idle, left: self.request.left(self.now) }
    }
}
