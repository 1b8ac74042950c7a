//! One attempt on one endpoint, which is told its outcome.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::cause::{Cause, Circumstances, Ending};
use super::grammar::SWITCHES;
use super::protocol::Speaks;
use super::retry::Reach;
use crate::directory::{Endpoint, Protocol};
use crate::grpc::Status;
use crate::site::Way;
use crate::traffic::ejection::{Failure, Outcome, Trial};
use crate::traffic::in_flight::Permit;
use crate::traffic::waiting::{Interrupt, Place, Wait};

/// An answer that has come for so long says enough, whatever its end: a stream may have none.
const LONG_ENOUGH: Duration = Duration::from_secs(1);

/// An endpoint for an attempt, and what the attempt holds there.
#[derive(Debug)]
pub(super) struct Chosen {
    pub(super) endpoint: Arc<Endpoint>,
    /// Its place among the requests in flight at the endpoint.
    pub(super) permit: Permit,
    /// Whether something is known against the endpoint.
    pub(super) doubted: bool,
    /// Where the endpoint is ejected, and this is to show whether it works again.
    pub(super) trial: Option<Trial>,
    /// What it speaks, as its registration says.
    pub(super) protocol: Option<Protocol>,
}

/// An attempt. It has one outcome at most; dropped without one, a trial is given back.
#[derive(Debug)]
pub(super) struct Attempt {
    pub(super) way: Way,
    pub(super) endpoint: Arc<Endpoint>,
    /// Whether it must not go over a connection that has served before.
    pub(super) on_new_connection: bool,
    begun: Instant,
    stage: Stage,
    report: Report,
    /// Its place among the requests in flight at the endpoint, until it fails.
    permit: Option<Permit>,
    /// What the endpoint speaks, as its registration said when it was chosen.
    protocol: Option<Protocol>,
}

/// How far an attempt has come.
///
/// ```text
/// Chosen -> Connecting -> Waiting -> Answered     (the answer's body may still come, or break off)
///    |           |           |          |
///    +-----------+-----------+----------+------> Failed
/// ```
#[derive(Debug)]
enum Stage {
    /// Nothing has been done yet.
    Chosen,
    /// A connection is being opened, or taken from those that are free.
    Connecting,
    /// There is a connection, and no head of an answer yet.
    Waiting(Pending),
    /// The head of the answer is here.
    Answered(Answered),
    /// It came to nothing, or its answer broke off.
    Failed { was_connected: bool, answered: Option<Answered> },
}

/// The head of an answer that came.
#[derive(Debug, Clone, Copy)]
struct Answered {
    at: Instant,
    /// Whether the exchange is a tunnel from then on.
    is_tunnel: bool,
    /// How long the endpoint took for it, where nobody knows yet whether it is an answer or a failure.
    waited: Option<Duration>,
}

/// What the head of an answer says of the endpoint.
#[derive(Debug, Clone, Copy)]
enum Verdict {
    Answer,
    /// It has not done what was asked of it; perhaps that is its failure.
    Failed(Option<Failure>),
    /// What follows will say it.
    Open,
}

/// What waits for the head of its answer.
#[derive(Debug)]
struct Pending {
    /// Its place among those that wait for a first byte.
    place: Place,
    /// Whether the connection had served before.
    reused: bool,
    /// Whether there is a body, which is sent over it.
    is_upload: bool,
    /// When the request was sent whole.
    sent: Option<Instant>,
    /// Whether a head came that goes before the answer's (1xx).
    heard: bool,
}

/// What its endpoint's health is told of it.
#[derive(Debug)]
enum Report {
    Due(Option<Trial>),
    Made,
}

impl Attempt {
    /// An attempt on an endpoint that was chosen.
    pub(super) fn new(chosen: Chosen, way: Way, now: Instant) -> Self {
        let Chosen { endpoint, permit, trial, protocol, doubted: _ } = chosen;
        Self {
            way,
            endpoint,
            on_new_connection: false,
            begun: now,
            stage: Stage::Chosen,
            report: Report::Due(trial),
            permit: Some(permit),
            protocol,
        }
    }

    /// Which version of HTTP it is made in. `is_grpc`: whether the request is a call of gRPC.
    pub(super) fn speaks(&self, is_grpc: bool) -> Speaks {
        Speaks::by(self.way.target.protocol, self.protocol, is_grpc)
    }

    /// Goes on from the choice to a connection. False: it has done so before.
    pub(super) fn begin(&mut self) -> bool {
        let is_first = self.is_next();
        if is_first {
            self.stage = Stage::Connecting;
        }
        is_first
    }

    /// Whether it was not begun yet.
    pub(super) fn is_next(&self) -> bool {
        matches!(self.stage, Stage::Chosen)
    }

    /// There is a connection, on which the request waits from now on. `interrupt` is how it is broken off.
    pub(super) fn connected(&mut self, reused: bool, interrupt: Interrupt, request: Wait) {
        // From any other state there may be a place already, which nobody would leave.
        if !matches!(self.stage, Stage::Connecting) {
            return;
        }
        let is_upload = request.since.is_none();
        let place = self.way.target.health.wait(&self.endpoint, interrupt, request);
        self.stage = Stage::Waiting(Pending { place, reused, is_upload, sent: None, heard: false });
    }

    /// Whether it has had a connection.
    pub(super) fn was_connected(&self) -> bool {
        match self.stage {
            Stage::Chosen | Stage::Connecting => false,
            Stage::Waiting(_) | Stage::Answered(_) => true,
            Stage::Failed { was_connected, .. } => was_connected,
        }
    }

    /// Whether it was broken off while it waits for the head of its answer.
    pub(in crate::gateway) fn is_broken_off(&self) -> bool {
        let waiting = &self.endpoint.traffic.waiting;
        matches!(&self.stage, Stage::Waiting(pending) if waiting.is_broken_off(&pending.place))
    }

    /// Whether it has a body to send and waits for an answer.
    pub(super) fn is_upload(&self) -> bool {
        matches!(self.stage, Stage::Waiting(Pending { is_upload: true, .. }))
    }

    /// The request was sent whole. `request`: how an upload waits from now on.
    pub(super) fn sent(&mut self, request: Option<Wait>, now: Instant) {
        // An endpoint may answer before all of the request was sent: then nothing waits any more.
        if let Stage::Waiting(waiting) = &mut self.stage {
            waiting.sent = Some(now);
            if let Some(request) = request {
                self.endpoint.traffic.waiting.sent(&waiting.place, request);
            }
        }
    }

    /// A head that goes before the answer's (1xx) is here.
    pub(super) fn heard(&mut self, now: Instant) {
        if let Stage::Waiting(waiting) = &mut self.stage {
            waiting.heard = true;
        }
        self.endpoint.traffic.waiting.heard(now);
    }

    /// The head of the answer is here. Whether the route has such a status tried elsewhere.
    pub(super) fn answered(&mut self, status: u16, now: Instant) -> bool {
        let failure = Failure::of_status(status);
        let is_tried_elsewhere = self.way.route.retry.statuses.contains(&status);
        let has_failed = failure.is_some() || is_tried_elsewhere;
        let verdict = if has_failed { Verdict::Failed(failure) } else { Verdict::Answer };
        self.hear_head(status == SWITCHES, verdict, now);
        is_tried_elsewhere
    }

    /// The same of a call's. `ended`: how the call has, if the head says that.
    pub(super) fn answered_call(&mut self, status: u16, ended: Option<Status>, now: Instant) -> bool {
        let failure = Failure::of_status(status).or_else(|| self.failure_of(ended?));
        let retry = &self.way.route.retry;
        let is_tried_elsewhere =
            retry.statuses.contains(&status) || ended.is_some_and(|ended| retry.grpc.contains(&ended));
        let verdict = match ended {
            _ if failure.is_some() || is_tried_elsewhere => Verdict::Failed(failure),
            Some(_) => Verdict::Answer,
            None => Verdict::Open,
        };
        self.hear_head(false, verdict, now);
        is_tried_elsewhere
    }

    fn hear_head(&mut self, is_tunnel: bool, verdict: Verdict, now: Instant) {
        let answered = Stage::Answered(Answered { at: now, is_tunnel, waited: None });
        let before = std::mem::replace(&mut self.stage, answered);
        let mut sent = None;
        if let Stage::Waiting(waiting) = before {
            sent = waiting.sent;
            self.endpoint.traffic.waiting.leave(waiting.place);
        }
        self.endpoint.traffic.waiting.heard(now);
        // An answer that came before the request was sent whole waited for the client, too.
        if let Some(waited) = sent.map(|sent| now.saturating_duration_since(sent)) {
            match verdict {
                Verdict::Answer => self.endpoint.traffic.latency.record(waited, now),
                Verdict::Failed(_) => self.was_not_faster(waited, now),
                Verdict::Open => {
                    self.stage = Stage::Answered(Answered { at: now, is_tunnel, waited: Some(waited) });
                }
            }
        }
        if let Verdict::Failed(Some(failure)) = verdict {
            self.tell(Outcome::Failed(failure), now);
        }
    }

    /// What the end of a call says of the endpoint: it counts as a 5xx does where the service's rules say so.
    fn failure_of(&self, ended: Status) -> Option<Failure> {
        let is_failure = ended != Status::Ok && self.way.target.health.counts_as_failure(ended);
        is_failure.then_some(Failure::Status)
    }

    /// The call has ended so.
    pub(super) fn ended_call(&mut self, status: Status, now: Instant) {
        let failure = self.failure_of(status);
        self.record_head(failure.is_some());
        self.tell(failure.map_or(Outcome::Succeeded, Outcome::Failed), now);
    }

    /// It is known now whether the head, when it came, was that of an answer.
    fn record_head(&mut self, has_failed: bool) {
        let Stage::Answered(answered) = &mut self.stage else { return };
        let (at, waited) = (answered.at, answered.waited.take());
        match waited {
            Some(waited) if has_failed => self.was_not_faster(waited, at),
            Some(waited) => self.endpoint.traffic.latency.record(waited, at),
            None => {}
        }
    }

    /// Whether it has become a tunnel.
    pub(super) fn is_tunnel(&self) -> bool {
        self.answer().is_some_and(|answer| answer.is_tunnel)
    }

    /// A failure may come fast, and says nothing of how long an answer would have taken: it counts as the
    /// usual, as the worst of late, or as what it took, whichever is longest. As it came, it would draw
    /// requests to the endpoint that fails; and without a sample the peak would fall with time, which does
    /// the same. What has never answered has nothing to keep. (The usual latency, by which a stall is known,
    /// is at worst overestimated so, at an endpoint that does little but fail.)
    fn was_not_faster(&self, waited: Duration, now: Instant) {
        let latency = &self.endpoint.traffic.latency;
        if let Some((usual, peak)) = latency.usual().zip(latency.peak(now)) {
            latency.record(waited.max(usual).max(Duration::from_secs_f64(peak)), now);
        }
    }

    /// A piece of the answer's body is here.
    pub(super) fn went_on(&mut self, now: Instant) {
        self.endpoint.traffic.waiting.heard(now);
        self.record_head(false);
        let is_on_trial = matches!(self.report, Report::Due(Some(_)));
        if is_on_trial
            && self.answer().is_some_and(|answer| now.saturating_duration_since(answer.at) >= LONG_ENOUGH)
        {
            self.succeeded(now);
        }
    }

    /// The answer is complete.
    pub(super) fn succeeded(&mut self, now: Instant) {
        self.tell(Outcome::Succeeded, now);
    }

    /// It has come to such an end. Says why, and how far it had come.
    pub(super) fn failed(&mut self, ending: Ending, is_over: bool, now: Instant) -> (Cause, Reach) {
        let failed = Stage::Failed { was_connected: self.was_connected(), answered: self.answer() };
        let before = std::mem::replace(&mut self.stage, failed);
        let has_answer = self.answer().is_some();
        let silence = match &before {
            Stage::Chosen | Stage::Connecting => Some(self.begun),
            Stage::Waiting(waiting) => waiting.sent,
            Stage::Answered(_) | Stage::Failed { .. } => None,
        };
        let (mut reused, mut heard, mut broken_off) = (false, has_answer, None);
        if let Stage::Waiting(waiting) = before {
            (reused, heard) = (waiting.reused, waiting.heard);
            broken_off = self.endpoint.traffic.waiting.leave(waiting.place);
        }
        let cause = Cause::of(ending, Circumstances { is_over, broken_off, reused, heard });
        // The next attempt may be on this endpoint again, and must find its place free.
        self.permit = None;
        let failure = match cause {
            Cause::Total => self.spent_the_time(silence, now).then_some(Failure::Timeout),
            cause => cause.failure(),
        };
        if let Some(failure) = failure {
            if !has_answer {
                self.was_not_faster(Duration::ZERO, now);
            }
            self.tell(Outcome::Failed(failure), now);
        }
        (cause, self.reach(ending, heard))
    }

    fn reach(&self, ending: Ending, heard: bool) -> Reach {
        match ending {
            _ if !self.was_connected() => Reach::Unconnected,
            Ending::Broke | Ending::Alerted | Ending::Reset(_) if !heard => Reach::Sent,
            Ending::Declined | Ending::WentAway if !heard => Reach::NotBegun,
            _ => Reach::Heard,
        }
    }

    /// Whether silence of this endpoint since then took the better part of the request's whole time. Then it is to
    /// blame that the time is over; otherwise a route of little time would never see who has fallen silent.
    fn spent_the_time(&self, since: Option<Instant>, now: Instant) -> bool {
        let silence = since.map(|since| now.saturating_duration_since(since));
        self.way.route.timeouts.total.zip(silence).is_some_and(|(total, silence)| silence >= total / 2)
    }

    /// Tells the endpoint's health how this has ended, if that was not done before.
    fn tell(&mut self, outcome: Outcome, now: Instant) {
        let Report::Due(trial) = std::mem::replace(&mut self.report, Report::Made) else { return };
        let health = &self.way.target.health;
        match (trial, outcome) {
            (Some(trial), outcome) => health.finish(&self.endpoint, trial, outcome, now),
            (None, Outcome::Succeeded) => health.succeeded(&self.endpoint),
            (None, Outcome::Failed(failure)) => health.failed(&self.endpoint, failure, now),
            (None, Outcome::GivenBack) => {}
        }
    }

    fn answer(&self) -> Option<Answered> {
        match self.stage {
            Stage::Answered(answered) => Some(answered),
            Stage::Failed { answered, .. } => answered,
            Stage::Chosen | Stage::Connecting | Stage::Waiting(_) => None,
        }
    }

    /// From the endpoint's choice to the head of its answer.
    pub(super) fn took(&self) -> Option<Duration> {
        self.answer().map(|answer| answer.at.saturating_duration_since(self.begun))
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if let Stage::Waiting(waiting) = std::mem::replace(&mut self.stage, Stage::Chosen) {
            self.endpoint.traffic.waiting.leave(waiting.place);
        }
        if matches!(self.report, Report::Due(Some(_))) {
            self.tell(Outcome::GivenBack, Instant::now());
        }
    }
}

#[cfg(test)]
mod tests;
