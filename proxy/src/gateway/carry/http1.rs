//! The carrier for HTTP/1, which is ours: a head that is spliced instead of built anew, one task and one buffer for what
//! goes each way, and time, stalls and clients that leave as branches of one wait.
//!
//! ```text
//! exchange      one request's way: attempts, what is waited for, what comes of it
//!   request_head  what an instance gets of the head        answer_head  what a client gets
//!   splice        lines that came, left out and added      pump         a body on its way
//!   connect       new connections                          tunnel       what an upgrade comes to
//!   reply         answers of the gateway's own             trailers     what stands behind a body
//! desk          what a request needs room for
//! ```

mod answer_head;
mod connect;
mod desk;
mod exchange;
mod failure;
mod pump;
mod reply;
mod request_head;
mod splice;
mod trailers;
mod tunnel;

use std::sync::Arc;

pub(in crate::gateway) use connect::Dialer;
#[cfg(test)]
pub(in crate::gateway) use connect::{Dial, Memory};
pub(in crate::gateway) use desk::{Desk, Desks};

use crate::gateway::Gateway;
use crate::gateway::answer::Answer;
use crate::gateway::carry::Client;
use crate::gateway::grammar::{Body, Framing};
use crate::gateway::resend;
use crate::tasks;
use crate::traffic::kept::Sweeper;
use exchange::{Exchange, State};
use failure::Failure;
use pump::Manner;

/// What carries HTTP/1 requests to instances that speak it.
#[derive(Debug)]
pub(in crate::gateway) struct Carrier {
    pub(in crate::gateway) desks: Desks,
    /// Keeps the connections to instances that nobody uses.
    pub(in crate::gateway) sweeper: Arc<Sweeper>,
    pub(in crate::gateway) dialer: Dialer,
}

/// What becomes of a client's connection after a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::gateway) enum After {
    /// It serves the next one.
    Next,
    /// It is closed. `is_sending`: the client may be sending still, so what it sends is read for a while.
    Close { is_sending: bool },
    /// It is broken off, such that nobody takes what was sent for a whole answer.
    BreakOff,
}

impl Carrier {
    /// Carries the request whose head is on the desk.
    pub(in crate::gateway) async fn carry(
        &self,
        gateway: &Gateway,
        client: &mut Client,
        desk: &mut Desk,
    ) -> After {
        self.answer(gateway, client, desk, None).await
    }

    /// Answers what is no request, or no whole one.
    pub(in crate::gateway) async fn refuse(
        &self,
        gateway: &Gateway,
        client: &mut Client,
        desk: &mut Desk,
        answer: Answer,
    ) -> After {
        self.answer(gateway, client, desk, Some(answer)).await
    }

    async fn answer(
        &self,
        gateway: &Gateway,
        client: &mut Client,
        desk: &mut Desk,
        refused: Option<Answer>,
    ) -> After {
        let now = tasks::now();
        let mut request = gateway.request(now);
        let Desk { head, parsed, upload, download, answer, added } = desk;
        let view = parsed.of(head.bytes());
        upload.begin(Body::of(parsed.framing()), Manner::AsIs, &request.common.trace_header);
        let mut exchange = Exchange {
            carrier: self,
            gateway,
            client,
            head: view,
            request: &mut request,
            upload,
            download,
            answer,
            added,
            state: State::default(),
            now,
        };
        let error = match refused {
            None => exchange.run().await,
            Some(answer) => exchange.decline(answer).await,
        };
        let (after, answered) = (exchange.after(error.is_some()), exchange.answered());
        gateway.finish(&mut request, &view, answered, error.as_deref(), tasks::now());
        after
    }
}

impl Exchange<'_> {
    /// What came is no request. Says what is wrong with it.
    async fn decline(&mut self, answer: Answer) -> Option<String> {
        self.request.begin(&self.head, self.client.arrival());
        self.reply_and_keep(answer, false).await;
        answer.error().map(|(_, why)| why.to_owned())
    }

    /// The way of a request: admit, then attempts, each with another endpoint, then the answer. Says what went wrong, if
    /// something did.
    async fn run(&mut self) -> Option<String> {
        let arrival = self.client.arrival();
        if let Err(answer) = self.gateway.receive(self.request, &self.head, arrival) {
            self.reply(answer).await;
            return None;
        }
        if self.replay().idempotent && self.head.read().framing() != Framing::None {
            self.upload.keep();
        }
        loop {
            let Err(failure) = self.attempt().await else { return None };
            let what = failure.what.clone().into_owned();
            if !self.goes_again(failure.ending, what.clone()) {
                self.give_up(failure).await;
                return Some(what);
            }
        }
    }

    /// Whether the request has another attempt after one that ended so.
    fn goes_again(&mut self, ending: crate::gateway::cause::Ending, what: String) -> bool {
        // Where a status is tried elsewhere, the next attempt was chosen when it came.
        if self.request.attempt().is_some_and(|attempt| attempt.is_next()) {
            return true;
        }
        let (now, replay) = (self.now, self.replay());
        let failed = self.request.failed(ending, what, now);
        failed.is_some_and(|failure| resend::try_another(self.request, &self.head, failure, replay, now))
    }

    /// The request has no other attempt: its client is told, if it was told nothing yet.
    async fn give_up(&mut self, failure: Failure) {
        let answer = Answer::to(failure.ending, self.request.was_silent(), self.request.is_over(self.now));
        // Behind a part of a head (1xx) nothing can be said.
        let may_answer = self.state.status.is_none() && !self.download.has_due();
        if let Some(answer) = answer.filter(|_| may_answer) {
            self.reply(answer).await;
        }
    }
}
