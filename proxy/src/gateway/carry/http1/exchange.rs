//! One request on its way: it is let in, it has attempts, each with another endpoint, until one is answered, and it is
//! logged.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Instant;

use http::Version;

use super::progress::{Progress, Sending, Told};
use super::pump::Pump;
use super::request_head;
use super::splice::Added;
use super::web::Heard;
use super::{After, Carrier};
use crate::gateway::Gateway;
use crate::gateway::answer::Answer;
use crate::gateway::carry::Client;
use crate::gateway::carry::failure::Failure;
use crate::gateway::cause::Ending;
use crate::gateway::grammar::{AnswerHead, Body, RequestView, SWITCHES, is_interim};
use crate::gateway::meaning::{self, Meaning};
use crate::gateway::request::Request;
use crate::gateway::resend;
use crate::gateway::retry::Replay;
use crate::head::Head;
use crate::tasks;
use crate::traffic::kept::KeptLink;

/// So many heads may go before an answer's (1xx).
const INTERIM: u8 = 16;

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
    pub(super) told: Told,
    pub(super) progress: Progress,
    /// Where what is heard of the request's call stands, if it is one of gRPC-Web.
    pub(super) web_call: Option<Arc<Heard>>,
    /// When it was woken last: until it waits again, that is the time.
    pub(super) now: Instant,
}

impl Exchange<'_> {
    /// From a head, or what came in its place and is `refused` with this answer, to its line in the log. Says what becomes
    /// of the client's connection.
    pub(super) async fn run(&mut self, refused: Option<Answer>) -> After {
        let error = match refused {
            None => self.serve().await,
            Some(answer) => self.decline(answer).await,
        };
        let (after, answered) = (self.after(error.is_some()), self.answered());
        self.gateway.finish(self.request, &self.head, answered, error.as_deref(), tasks::now());
        after
    }

    /// What came is no request. Says what is wrong with it.
    async fn decline(&mut self, answer: Answer) -> Option<Cow<'static, str>> {
        self.request.begin(&self.head, self.client.arrival());
        self.reply_and_keep(answer, false).await;
        answer.error().map(|(_, why)| Cow::Borrowed(why))
    }

    /// The way of a request: it is let in, then there are attempts, then it is answered. Says what went wrong, if something
    /// did.
    async fn serve(&mut self) -> Option<Cow<'static, str>> {
        let arrival = self.client.arrival();
        if let Err(answer) = self.gateway.receive(self.request, &self.head, arrival) {
            self.reply(answer).await;
            return None;
        }
        if self.has_body() && self.request.is_idempotent(self.head.method()) {
            self.upload.keep();
        }
        loop {
            let Err(failure) = self.attempt().await else { return None };
            if !self.goes_again(&failure) {
                self.give_up(failure.ending).await;
                return Some(failure.what);
            }
        }
    }

    /// One attempt: a connection, the request, and the answer to it.
    async fn attempt(&mut self) -> Result<(), Failure> {
        self.web_call = None;
        let mut instance = self.connect().await?;
        self.send();
        loop {
            self.wait(|exchange, cx| exchange.poll_head(cx, &mut instance)).await?;
            match self.judge()? {
                Meaning::Interim => self.pass_interim_on().await?,
                Meaning::Elsewhere => {
                    return Err(Failure::of(Ending::Status, "the endpoint: tried elsewhere"));
                }
                Meaning::Tunnel => return self.tunnel(instance).await,
                Meaning::Answer => break,
            }
        }
        let passed = self.pass_answer_on(&mut instance).await;
        self.note_end_of_call();
        passed?;
        self.put_back(instance);
        Ok(())
    }

    /// Whether the request has another attempt after one that failed so; it is chosen then.
    fn goes_again(&mut self, failure: &Failure) -> bool {
        let (ending, what) = (failure.ending, failure.what.clone());
        resend::goes_again(self.request, &self.head, (ending, what), self.replay(), self.now)
    }

    /// The request has no other attempt: its client is told, if it was told nothing yet.
    async fn give_up(&mut self, ending: Ending) {
        // Behind a part of a head (1xx) nothing can be said.
        let may_answer = self.told.status.is_none() && !self.download.has_due();
        let answer = self.request.answer_to_failed(ending, self.now);
        if let Some(answer) = answer.filter(|_| may_answer) {
            self.reply(answer).await;
        }
    }

    /// Begins to send the request.
    fn send(&mut self) {
        self.upload.out.clear();
        request_head::write(&self.head, self.request, self.added, self.now, &mut self.upload.out);
        if self.request.attempts_begun() > 1 {
            self.upload.begin_again();
        }
        self.download.clear();
        self.answer.clear();
        self.progress = Progress::begun(self.now);
    }

    /// What the head that came from the instance means.
    fn judge(&mut self) -> Result<Meaning, Failure> {
        let status = self.answer.status();
        if status == SWITCHES {
            self.check_upgrade()?;
        } else if is_interim(status) {
            self.told.interim += 1;
            if self.told.interim > INTERIM {
                return Err(Failure::of(Ending::NotHttp, "the endpoint: too many 1xx before its answer"));
            }
        }
        let mut replay = self.replay();
        let Some(heard) = &self.web_call else {
            return Ok(meaning::of(self.request, &self.head, status, replay, self.now));
        };
        replay.whole &= self.progress.sending == Sending::Done;
        let answer = (heard.status().unwrap_or(status), heard.end());
        Ok(meaning::of_call(self.request, &self.head, answer, replay, self.now))
    }

    /// If the request is a call of gRPC-Web and it is known how that has ended, its endpoint is told, too.
    pub(super) fn note_end_of_call(&mut self) {
        if let Some(end) = self.web_call.as_deref().and_then(Heard::end) {
            self.request.call_ended(end, self.now);
        }
    }

    async fn pass_interim_on(&mut self) -> Result<(), Failure> {
        let count = self.progress.answer_head;
        if self.head.version() != Version::HTTP_10 {
            self.write_interim();
            self.upload.forget();
            self.progress.taken_at = self.now;
            self.wait(Self::poll_flush).await?;
        }
        self.download.input.consume(count);
        self.answer.clear();
        Ok(())
    }

    /// Sends the answer to the client.
    async fn pass_answer_on(&mut self, instance: &mut KeptLink) -> Result<(), Failure> {
        let count = self.progress.answer_head;
        self.progress.is_early = self.progress.sending != Sending::Done;
        self.upload.forget();
        self.write_answer();
        self.download.input.consume(count);
        self.download.join();
        self.progress.taken_at = self.progress.heard_at;
        self.wait(|exchange, cx| exchange.poll_answer(cx, instance)).await
    }

    /// What decides whether the request may be sent twice.
    pub(super) fn replay(&self) -> Replay {
        Replay {
            idempotent: self.request.is_idempotent(self.head.method()),
            whole: self.upload.is_whole(),
            unanswered: self.told.is_nothing(),
        }
    }

    pub(super) fn has_body(&self) -> bool {
        !Body::of(self.head.read().framing()).is_over()
    }
}
