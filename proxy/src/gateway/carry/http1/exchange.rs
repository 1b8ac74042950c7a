//! One request on its way: what is sent, what is waited for, and what comes of it.

use std::future::poll_fn;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use http::Version;

use super::Carrier;
use super::failure::{self, Failure, Late};
use super::pump::{Failed, Pump, Side};
use super::request_head;
use super::splice::Added;
use crate::config::ClientAbort;
use crate::gateway::Gateway;
use crate::gateway::carry::Client;
use crate::gateway::cause::Ending;
use crate::gateway::grammar::{AnswerHead, Asked, Body, LONGEST_HEAD, RequestView, agree};
use crate::gateway::request::Request;
use crate::gateway::resend;
use crate::gateway::retry::{Replay, is_idempotent};
use crate::head::Head;
use crate::tasks::now;
use crate::traffic::kept::KeptLink;
use crate::traffic::waiting::Line;

/// So many heads may go before an answer's (1xx).
const INTERIM: u8 = 16;
/// So much of what a client sends behind its request is read before the answer to that is complete.
const AHEAD: usize = 4 * 1024;

/// A request on its way.
pub(super) struct Exchange<'x> {
    pub(super) carrier: &'x Carrier,
    pub(super) gateway: &'x Gateway,
    pub(super) client: &'x mut Client,
    pub(super) head: RequestView<'x>,
    pub(super) request: &'x mut Request,
    pub(super) upload: &'x mut Pump,
    pub(super) download: &'x mut Pump,
    pub(super) answer: &'x mut AnswerHead,
    pub(super) added: &'x mut Added,
    pub(super) state: State,
    /// When it was woken last: until it waits again, that is the time.
    pub(super) now: Instant,
}

/// How far an exchange is.
#[derive(Debug, Default)]
pub(super) struct State {
    /// The status of the answer that its client gets, once that has begun.
    pub(super) status: Option<u16>,
    /// Whether it is one of the gateway's own, and the bytes of its body.
    pub(super) replied: Option<usize>,
    /// Whether its client can tell where it ends.
    pub(super) has_end: bool,
    /// Heads that went before it.
    interim: u8,
    /// How many bytes the head has that came last.
    pub(super) answer_head: usize,
    /// Whether the client's connection serves another request afterwards.
    pub(super) keeps_client: bool,
    /// The instance takes no more of the request.
    is_refused: bool,
    /// Whether the request has been sent whole.
    is_sent: bool,
    /// Whether its answer began before that.
    is_early: bool,
    /// When the request last went on, and when something last came from the instance.
    pub(super) sent_at: Option<Instant>,
    pub(super) heard_at: Option<Instant>,
    /// When the client took something last.
    pub(super) taken_at: Option<Instant>,
}

/// What the head of an answer is.
enum Judged {
    /// One that goes before it.
    Interim,
    /// The connection becomes a tunnel.
    Tunnel,
    /// Another endpoint is asked in its place.
    Elsewhere,
    Answer,
}

impl Exchange<'_> {
    /// One attempt: a connection, the request, and the answer to it.
    pub(super) async fn attempt(&mut self) -> Result<(), Failure> {
        let mut instance = self.connect().await?;
        self.send();
        loop {
            self.wait_for_head(&mut instance).await?;
            match self.judge()? {
                Judged::Interim => self.pass_interim_on().await?,
                Judged::Elsewhere => {
                    return Err(Failure::of(Ending::Status, "the endpoint: tried elsewhere"));
                }
                Judged::Tunnel => return self.tunnel(instance).await,
                Judged::Answer => break,
            }
        }
        self.pass_answer_on(&mut instance).await?;
        self.put_back(instance);
        Ok(())
    }

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

    /// A connection to the endpoint that was chosen.
    async fn connect(&mut self) -> Result<KeptLink, Failure> {
        let replay = self.replay();
        let pool = self.request.common.timeouts.pool;
        let Some(attempt) = self.request.begin_attempt() else {
            return Err(Failure::of(Ending::Fault, "the gateway: a request has no attempt to begin"));
        };
        let (endpoint, is_fresh) = (attempt.endpoint.clone(), attempt.on_new_connection);
        let patience = attempt.way.route.timeouts.connect;
        let kept = if is_fresh { None } else { endpoint.traffic.kept.take(pool, self.now) };
        let reused = kept.is_some();
        let link = match kept {
            Some(link) => link,
            None => self.dial(endpoint.address, patience).await?,
        };
        let now = self.now;
        let since = self.upload_is_empty().then_some(now);
        let line = Line::Bell(self.client.bell.clone());
        self.request.connected(reused, line, since, replay, now);
        Ok(link)
    }

    async fn dial(&mut self, address: std::net::SocketAddr, patience: Duration) -> Result<KeptLink, Failure> {
        let due = self.now + self.request.left(self.now).map_or(patience, |left| patience.min(left));
        let (at_end, has_body) = (self.leaves_at_end(), !self.upload_is_empty());
        // Rare, and large: in a place of its own.
        let mut dialing = Box::pin(self.carrier.dialer.dial(address));
        let dialled = self.wait(|exchange, cx| {
            let Exchange { client, upload, now, .. } = exchange;
            if let Poll::Ready(dialled) = dialing.as_mut().poll(cx) {
                return Poll::Ready(dialled.map_err(|error| Failure::of_connect(&error)));
            }
            if !has_body && client.poll_leaves(cx, &mut upload.input, AHEAD, at_end).is_ready() {
                return Poll::Ready(Err(Failure::of(Ending::ClientLeft, "the client: connection closed")));
            }
            ready!(client.timer.poll(cx, *now, due));
            Poll::Ready(Err(Failure::of(Ending::ConnectTimeout, "the endpoint: connect timed out")))
        });
        Ok(KeptLink::new(dialled.await?))
    }

    /// Begins to send the request.
    fn send(&mut self) {
        self.upload.out.clear();
        request_head::write(&self.head, self.request, self.added, &mut self.upload.out);
        if self.request.attempts_begun() > 1 {
            self.upload.begin_again();
        }
        self.download.clear();
        self.answer.clear();
        let State { status, interim, keeps_client, .. } = self.state;
        self.state = State { status, interim, keeps_client, ..State::default() };
        self.state.sent_at = Some(self.now);
    }

    /// Sends the request, and reads the head of the answer.
    async fn wait_for_head(&mut self, instance: &mut KeptLink) -> Result<(), Failure> {
        self.wait(|exchange, cx| exchange.poll_head(cx, instance)).await
    }

    fn poll_head(&mut self, cx: &mut Context<'_>, instance: &mut KeptLink) -> Poll<Result<(), Failure>> {
        // Until it is silent: only then it wakes this task.
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
        let asked = Asked { is_head: *self.head.method() == http::Method::HEAD, may_upgrade };
        loop {
            let bytes = self.download.input.bytes();
            match self.answer.read(bytes, asked) {
                Ok(Some(length)) => {
                    self.state.answer_head = length;
                    return Poll::Ready(Ok(()));
                }
                Ok(None) => {}
                Err(why) => {
                    return Poll::Ready(Err(Failure::of_download(Failed::Malformed(why))));
                }
            }
            let has_begun = !bytes.is_empty();
            let broke = |what: std::borrow::Cow<'static, str>| {
                let ending = if has_begun { Ending::BrokeWithinHead } else { Ending::Broke };
                Poll::Ready(Err(Failure { ending, what }))
            };
            match ready!(self.download.input.poll_fill(&mut instance.link, LONGEST_HEAD, cx)) {
                Ok(0) => return broke("the endpoint: connection closed".into()),
                Ok(_) => self.state.heard_at = Some(self.now),
                Err(error) => return broke(format!("the endpoint: read failed: {error}").into()),
            }
        }
    }

    /// Sends what there is of the request.
    fn poll_upload(&mut self, cx: &mut Context<'_>, instance: &mut KeptLink) -> Result<(), Failure> {
        if self.state.is_sent || self.state.is_refused {
            return Ok(());
        }
        let mut moved = false;
        let polled = self.upload.poll(cx, (&mut self.client.link, &mut instance.link), &mut moved);
        if moved {
            self.state.sent_at = Some(self.now);
        }
        match polled {
            Poll::Pending => Ok(()),
            Poll::Ready(Ok(())) => {
                self.state.is_sent = true;
                let (replay, now) = (self.replay(), self.state.sent_at.unwrap_or(self.now));
                self.request.sent(replay, now);
                Ok(())
            }
            // It may have answered before.
            Poll::Ready(Err(Failed::Sink(_))) => {
                self.state.is_refused = true;
                Ok(())
            }
            // The answer goes on without the rest of the request.
            Poll::Ready(Err(Failed::Ended | Failed::Malformed(_))) if self.state.status.is_some() => {
                self.state.is_refused = true;
                Ok(())
            }
            Poll::Ready(Err(failed)) => Err(Failure::of_upload(failed)),
        }
    }

    /// Whether the client has left.
    fn poll_client(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        if !self.state.is_sent {
            return Ok(());
        }
        let at_end = self.leaves_at_end();
        match self.client.poll_leaves(cx, &mut self.upload.input, AHEAD, at_end) {
            Poll::Ready(()) => Err(Failure::of(Ending::ClientLeft, "the client: connection closed")),
            Poll::Pending => Ok(()),
        }
    }

    /// Whether somebody has been waited for for too long.
    fn poll_time(&mut self, cx: &mut Context<'_>, download: Side) -> Poll<Result<(), Failure>> {
        let Some((due, (ending, what))) = self.due(download) else { return Poll::Pending };
        ready!(self.client.timer.poll(cx, self.now, due));
        Poll::Ready(Err(Failure::of(ending, what)))
    }

    /// Until when it waits at the most, and who is late then. `download`: what the answer waits for.
    fn due(&self, download: Side) -> Option<(Instant, Late)> {
        let (State { sent_at, heard_at, taken_at, .. }, now) = (&self.state, self.now);
        let sent_at = sent_at.unwrap_or(now);
        let times = &self.request.common.timeouts;
        let of_route = self.request.route().map(|route| &route.timeouts);
        let (idle, body) = of_route.map_or((times.idle, times.body), |route| (route.idle, route.body));
        // From the answer's head on it is only the answer that is waited for: it may come to an end without the rest.
        let is_sending = self.state.status.is_none() && !self.state.is_sent && !self.state.is_refused;
        let upload = is_sending.then_some(match self.upload.waits_for {
            Side::Source => (sent_at, body, failure::SILENT_CLIENT),
            Side::Sink => (sent_at, times.write, failure::SLOW_INSTANCE),
        });
        let download = match download {
            Side::Source => {
                (heard_at.map_or(sent_at, |heard| heard.max(sent_at)), idle, failure::SILENT_INSTANCE)
            }
            Side::Sink => (taken_at.unwrap_or(now), times.write, failure::SLOW_CLIENT),
        };
        let waits_for_client = is_sending && self.upload.waits_for == Side::Source;
        let over = if waits_for_client { failure::SILENT_CLIENT } else { failure::OVER };
        let total = self.request.left(now).map(|left| (now, left, over));
        let waits = upload.into_iter().chain([download]).chain(total);
        let due = waits.filter_map(|(since, wait, late)| Some((since.checked_add(wait)?, late)));
        due.min_by_key(|(due, _)| *due)
    }

    /// What the head of the answer means.
    fn judge(&mut self) -> Result<Judged, Failure> {
        let (status, now) = (self.answer.status(), self.now);
        let replay = self.replay();
        if status == 101 {
            self.check_upgrade()?;
        } else if status < 200 {
            self.state.interim += 1;
            if self.state.interim > INTERIM {
                return Err(Failure::of(Ending::NotHttp, "the endpoint: too many 1xx before its answer"));
            }
            if let Some(attempt) = self.request.attempt_mut() {
                attempt.heard(now);
            }
            return Ok(Judged::Interim);
        }
        let is_tried_elsewhere =
            self.request.attempt_mut().is_some_and(|attempt| attempt.answered(status, now));
        if is_tried_elsewhere
            && resend::try_elsewhere_for_status(self.request, &self.head, status, replay, now)
        {
            return Ok(Judged::Elsewhere);
        }
        Ok(if status == 101 { Judged::Tunnel } else { Judged::Answer })
    }

    /// A 101 is an answer only to what has asked for it.
    fn check_upgrade(&self) -> Result<(), Failure> {
        let agreed = self.answer.upgrade().map(|agreed| agreed.of(self.download.input.bytes()));
        match request_head::upgrade(&self.head, self.request).zip(agreed) {
            Some((asked, agreed)) if agree(asked, agreed) => Ok(()),
            _ => Err(Failure::of(Ending::NotHttp, "the endpoint: a 101 to what was not asked for")),
        }
    }

    async fn pass_interim_on(&mut self) -> Result<(), Failure> {
        let count = self.state.answer_head;
        if self.head.version() != Version::HTTP_10 {
            self.write_interim();
            self.upload.forget();
            self.state.taken_at = Some(self.now);
            self.wait(Self::poll_flush).await?;
        }
        self.download.input.consume(count);
        self.answer.clear();
        Ok(())
    }

    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        match self.download.poll_flush(cx, &mut self.client.link) {
            Poll::Ready(flushed) => Poll::Ready(flushed.map_err(Failure::of_download)),
            Poll::Pending => self.poll_time(cx, Side::Sink),
        }
    }

    /// Sends the answer to the client.
    async fn pass_answer_on(&mut self, instance: &mut KeptLink) -> Result<(), Failure> {
        let count = self.state.answer_head;
        self.state.is_early = !self.state.is_sent;
        self.upload.forget();
        self.write_answer();
        self.download.input.consume(count);
        self.state.taken_at = self.state.heard_at;
        self.wait(|exchange, cx| exchange.poll_answer(cx, instance)).await
    }

    fn poll_answer(&mut self, cx: &mut Context<'_>, instance: &mut KeptLink) -> Poll<Result<(), Failure>> {
        let mut moved = false;
        let polled = self.download.poll(cx, (&mut instance.link, &mut self.client.link), &mut moved);
        if moved {
            let now = self.now;
            (self.state.heard_at, self.state.taken_at) = (Some(now), Some(now));
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

    /// The connection is free for another request, if nothing is left on it of this one. (One on which an answer came before
    /// its request was whole is not: many an instance closes it then, whatever it says.)
    fn put_back(&mut self, instance: KeptLink) {
        let is_clean = self.state.is_sent
            && !self.state.is_early
            && self.download.input.is_empty()
            && self.answer.keeps_alive();
        let Some(attempt) = self.request.attempt().filter(|_| is_clean) else { return };
        attempt.endpoint.traffic.kept.put(instance, self.now, &self.carrier.sweeper);
    }

    /// What decides whether the request may be sent twice.
    pub(super) fn replay(&self) -> Replay {
        Replay {
            idempotent: is_idempotent(self.head.method()),
            whole: self.upload.is_whole(),
            unanswered: self.state.status.is_none() && self.state.interim == 0,
        }
    }

    /// Whether a client that sends no more counts as one that has left.
    fn leaves_at_end(&self) -> bool {
        self.request.common.client_abort == ClientAbort::OnFin
    }

    fn upload_is_empty(&self) -> bool {
        Body::of(self.head.read().framing()).is_over()
    }
}
