//! One request of a client who speaks HTTP/2, on its way: it is let in, it has attempts, each with another endpoint, until one
//! is answered, and it is logged. It has a task of its own, and nothing that it does or does not do touches another one.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Instant;

use h2::Reason;
use http::{HeaderMap, HeaderValue, Response};

use super::Shared;
use super::bodies::Stuck;
use super::client::ClientStream;
use super::download::Download;
use super::head::StreamHead;
use super::heads;
use super::instance::{AnswerBegin, Instance};
use super::upload::Upload;
use crate::gateway::answer::Answer;
use crate::gateway::carry::Timer;
use crate::gateway::carry::failure::Failure;
use crate::gateway::cause::Ending;
use crate::gateway::meaning::{self, Meaning};
use crate::gateway::reply::Reply;
use crate::gateway::request::Request;
use crate::gateway::resend;
use crate::gateway::retry::Replay;
use crate::gateway::{grpc, grpc_answer};
use crate::head::Head;
use crate::tasks;
use crate::traffic::bell::Bell;

/// So many heads may go before an answer's (1xx).
const INTERIM: u8 = 16;

/// A request on its way.
pub(super) struct Exchange {
    /// What it shares with the others of its connection.
    pub(super) shared: Arc<Shared>,
    pub(super) client: ClientStream,
    pub(super) head: StreamHead,
    pub(super) request: Request,
    pub(super) upload: Upload,
    pub(super) download: Download,
    /// While the instance takes nothing of its body.
    pub(super) stuck: Option<Stuck>,
    /// Rung to have the attempt looked at.
    pub(super) bell: Arc<Bell>,
    pub(super) timer: Timer,
    pub(super) told: Told,
    /// Whether the answer is that to a call, which says in its trailers how it has ended.
    pub(super) awaits_trailers: bool,
    pub(super) progress: Progress,
    /// When it was woken last: until it waits again, that is the time.
    pub(super) now: Instant,
}

/// What the client has been told. It holds for all attempts.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// The status of its answer, once that has begun.
    pub(super) status: Option<u16>,
    /// Whether that is an answer of the gateway's own.
    is_of_gateway: bool,
    /// How many heads came before the answer's (1xx).
    interim: u8,
}

/// How far one attempt has come: each begins anew.
#[derive(Debug)]
pub(super) struct Progress {
    /// Whether the request is sent no further: it is whole, or the instance takes no more, or the client sends no more, while
    /// it is answered.
    pub(super) has_sent: bool,
    /// When the request last went on, or its client was busy with another one.
    pub(super) sent_at: Instant,
    /// When it last went on.
    pub(super) moved_at: Instant,
    /// When something last came from the instance; before that, when the attempt began.
    pub(super) heard_at: Instant,
    /// When the client last took something of its answer; before that, when the attempt began.
    pub(super) taken_at: Instant,
}

impl Progress {
    fn begun(now: Instant) -> Self {
        Self { has_sent: false, sent_at: now, moved_at: now, heard_at: now, taken_at: now }
    }
}

impl Exchange {
    pub(super) fn new(shared: Arc<Shared>, client: ClientStream, head: StreamHead) -> Self {
        let now = tasks::now();
        Self {
            request: shared.gateway().request(now),
            upload: Upload::new(client.is_read()),
            download: Download::default(),
            shared,
            client,
            head,
            stuck: None,
            bell: Arc::default(),
            timer: Timer::default(),
            told: Told::default(),
            awaits_trailers: false,
            progress: Progress::begun(now),
            now,
        }
    }

    /// From the head to the line in the log.
    pub(super) async fn run(mut self) {
        let error = self.serve().await;
        let answered = (self.told.status.unwrap_or(0), self.download.sent());
        let gateway = self.shared.gateway().clone();
        gateway.finish(&mut self.request, &self.head, answered, error.as_deref(), tasks::now());
    }

    /// The way of a request. Says what went wrong, if something did.
    async fn serve(&mut self) -> Option<Cow<'static, str>> {
        let gateway = self.shared.gateway().clone();
        if let Some(fault) = self.head.fault() {
            self.request.begin(&self.head, self.shared.arrival());
            let sent = self.reply(Answer::refused(fault)).await;
            return Some(sent.err().map_or(Cow::Borrowed(fault.why), |failure| failure.what));
        }
        if let Err(answer) = gateway.receive(&mut self.request, &self.head, self.shared.arrival()) {
            return self.reply(answer).await.err().map(|failure| failure.what);
        }
        loop {
            let Err(failure) = self.attempt().await else { return None };
            if !self.goes_again(&failure) {
                self.give_up(failure.ending).await;
                self.break_off(failure.ending);
                return Some(failure.what);
            }
            self.upload.begin_again();
        }
    }

    /// One attempt: a connection, the request, and the answer to it.
    async fn attempt(&mut self) -> Result<(), Failure> {
        self.progress = Progress::begun(self.now);
        let mut instance = self.connect().await?;
        self.send(&mut instance)?;
        loop {
            match self.wait(|exchange, cx| exchange.poll_head(cx, &mut instance)).await? {
                AnswerBegin::Interim(head) => self.pass_interim_on(head)?,
                AnswerBegin::Final { head, is_whole } => {
                    if self.judge(&head, is_whole) == Meaning::Elsewhere {
                        return Err(Failure::of(Ending::Status, "the endpoint: tried elsewhere"));
                    }
                    self.pass_answer_on(&mut instance, head, is_whole).await?;
                    self.put_back(instance);
                    return Ok(());
                }
            }
        }
    }

    /// Begins to send the request.
    fn send(&mut self, instance: &mut Instance) -> Result<(), Failure> {
        let head = heads::for_instance(&self.head, &self.request, instance.speaks(), self.now);
        let head = head.map_err(|error| Failure::because(Ending::Fault, error.to_string()))?;
        self.upload.text.begin(self.request.web_form(&self.head));
        let is_whole = self.upload.is_nothing();
        instance.begin(head, is_whole)?;
        if is_whole {
            self.upload.went_with_head();
        }
        Ok(())
    }

    /// What this head of an answer means. `is_end`: nothing follows it.
    fn judge(&mut self, head: &Response<()>, is_end: bool) -> Meaning {
        let (mut replay, status) = (self.replay(), head.status().as_u16());
        if !self.request.is_call() {
            return meaning::of(&mut self.request, &self.head, status, replay, self.now);
        }
        let value = |name: &str| head.headers().get(name).map(HeaderValue::as_bytes);
        let (content_type, grpc_status) = (value("content-type"), value("grpc-status"));
        replay.whole = self.upload.is_complete();
        let end = grpc::AnswerHead { status, content_type, grpc_status, is_end }.end();
        self.awaits_trailers = end.is_none();
        meaning::of_call(&mut self.request, &self.head, (status, end), replay, self.now)
    }

    fn pass_interim_on(&mut self, head: Response<()>) -> Result<(), Failure> {
        self.told.interim += 1;
        if self.told.interim > INTERIM {
            return Err(Failure::of(Ending::NotHttp, "the endpoint: too many 1xx before its answer"));
        }
        self.judge(&head, false);
        self.upload.forget();
        self.progress.taken_at = self.now;
        let head = heads::for_client(head, &self.head, &self.request, self.shared.gateway());
        // One that cannot be passed on is none that its client waits for.
        if let Ok(head) = head {
            self.client.inform(head).map_err(|error| Failure::of_client(&error))?;
        }
        Ok(())
    }

    /// Sends the answer to the client.
    async fn pass_answer_on(
        &mut self,
        instance: &mut Instance,
        head: Response<()>,
        is_whole: bool,
    ) -> Result<(), Failure> {
        self.upload.forget();
        // To a call whose answer is none of gRPC, or does not say how it has ended, that is said in its place.
        let instead = self.request.call_end().and_then(grpc::End::instead);
        let is_whole = is_whole || instead.is_some();
        let mut head = instead.map_or(head, grpc::head_that_ends);
        let last = self.fit_web_answer(&mut head, is_whole);
        let head = heads::for_client(head, &self.head, &self.request, self.shared.gateway());
        let head = head.map_err(|error| Failure::because(Ending::NotHttp, error.to_string()))?;
        let status = head.status().as_u16();
        let is_all = is_whole && last.is_none();
        self.client.answer(head, is_all).map_err(|error| Failure::of_client(&error))?;
        self.told.status = Some(status);
        if is_all {
            return Ok(());
        }
        (self.progress.taken_at, self.progress.heard_at) = (self.now, self.now);
        if let Some(last) = last {
            self.download.put(last);
            return self.wait(Self::poll_reply).await;
        }
        self.wait(|exchange, cx| exchange.poll_answer(cx, instance)).await
    }

    /// Whether the request has another attempt after one that failed so; it is chosen then.
    fn goes_again(&mut self, failure: &Failure) -> bool {
        let (ending, what) = (failure.ending, failure.what.clone());
        let replay = self.replay();
        resend::goes_again(&mut self.request, &self.head, (ending, what), replay, self.now)
    }

    /// The request has no other attempt: its client is told, if it was told nothing yet.
    async fn give_up(&mut self, ending: Ending) {
        if self.told.status.is_none()
            && let Some(answer) = self.request.answer_to_failed(ending, self.now)
        {
            // A client that is gone by now needs none.
            let _ = self.reply(answer).await;
        }
    }

    /// Sends an answer of the gateway's own.
    async fn reply(&mut self, answer: Answer) -> Result<(), Failure> {
        self.request.leaves_service();
        let reply = match self.request.is_call() {
            true => grpc_answer::own(answer, &mut self.request, &self.head),
            false => Reply::of(answer, &self.request, &self.head),
        };
        let made = heads::of_gateway(answer, reply, &self.head, &self.request, self.shared.gateway());
        let (head, body) = made.unwrap_or_else(|_| (heads::fault(), bytes::Bytes::new()));
        (self.told.status, self.told.is_of_gateway) = (Some(head.status().as_u16()), true);
        let is_whole = body.is_empty();
        self.client.answer(head, is_whole).map_err(|error| Failure::of_client(&error))?;
        let mut sent = Ok(());
        if !is_whole {
            self.download.put(body);
            self.progress.taken_at = self.now;
            sent = self.wait(Self::poll_reply).await;
        }
        self.request.was_answered(self.now);
        sent
    }

    /// If an answer of an instance has begun, it does not come to its end: its client is told so. (What the gateway says
    /// itself is whole, or its client has left.)
    fn break_off(&mut self, ending: Ending) {
        if self.told.is_of_gateway {
            return;
        }
        let answer = self.request.answer_to_failed(ending, self.now);
        match answer.filter(|_| self.awaits_trailers) {
            // In a call there is a place for it.
            Some(answer) => {
                let last = grpc_answer::last_of(answer, &mut self.request);
                // In gRPC-Web it may come within a message, and would be taken for the rest of that.
                let is_web = self.request.web_form(&self.head).is_some();
                if is_web || self.client.end(Some(last.into_iter().collect())).is_err() {
                    self.client.reset(Reason::INTERNAL_ERROR);
                }
            }
            None => self.client.reset(Reason::INTERNAL_ERROR),
        }
    }

    /// What decides whether the request may be sent twice.
    pub(super) fn replay(&self) -> Replay {
        Replay {
            idempotent: self.request.is_idempotent(self.head.method()),
            whole: self.upload.is_whole(),
            unanswered: self.told.status.is_none() && self.told.interim == 0,
        }
    }

    /// Ends the answer.
    pub(super) fn end(&mut self, trailers: Option<HeaderMap>) -> Result<(), Failure> {
        self.client.end(trailers).map_err(|error| Failure::of_client(&error))
    }
}
