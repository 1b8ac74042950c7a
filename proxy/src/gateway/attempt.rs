//! One attempt on one endpoint, which is told its outcome.

use std::os::fd::RawFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::cause::Cause;
use super::route::Route;
use crate::directory::{Endpoint, Entry};
use crate::health::limits::Permit;
use crate::health::passive::{Failure, Outcome, Trial};
use crate::health::waiting::{self, Broken, Place};

/// An answer that has come for so long says enough, whatever its end: a stream may have none.
const LONG_ENOUGH: Duration = Duration::from_secs(1);

/// An attempt. It has one outcome at most; dropped without one, a trial is given back.
#[derive(Debug)]
pub(super) struct Attempt {
    pub endpoint: Arc<Endpoint>,
    /// Whether there is a connection.
    pub connected: bool,
    /// Whether that connection had served before.
    pub reused: bool,
    /// Whether the request has a body, which is sent over it.
    pub upload: bool,
    /// Whether something was known against the endpoint when it was chosen.
    pub doubted: bool,
    route: Arc<Route>,
    trial: Option<Trial>,
    begun: Instant,
    /// When the request was sent whole.
    sent: Option<Instant>,
    /// When the head of the answer came.
    answered: Option<Instant>,
    /// Whether anything came: the head of the answer, or one of those that go before it (1xx).
    heard: bool,
    settled: bool,
    /// Its place among those that wait for a first byte.
    place: Option<Place>,
    /// Its place among the requests in flight at the endpoint.
    permit: Option<Permit>,
}

impl Attempt {
    /// An attempt on an endpoint that balance has chosen.
    pub fn new(entry: &Entry, route: Arc<Route>, permit: Permit, now: Instant) -> Self {
        let mut attempt = Self::on(entry.endpoint.clone(), route, permit, now);
        attempt.doubted = entry.health.is_out();
        attempt
    }

    /// The trial of an ejected endpoint.
    pub fn on_trial(
        endpoint: Arc<Endpoint>,
        route: Arc<Route>,
        permit: Permit,
        trial: Trial,
        now: Instant,
    ) -> Self {
        let mut attempt = Self::on(endpoint, route, permit, now);
        (attempt.doubted, attempt.trial) = (true, Some(trial));
        attempt
    }

    fn on(endpoint: Arc<Endpoint>, route: Arc<Route>, permit: Permit, now: Instant) -> Self {
        Self {
            endpoint,
            connected: false,
            reused: false,
            upload: false,
            doubted: false,
            route,
            trial: None,
            begun: now,
            sent: None,
            answered: None,
            heard: false,
            settled: false,
            place: None,
            permit: Some(permit),
        }
    }

    /// There is a connection, on which the request waits from now on.
    pub fn connected(&mut self, reused: bool, connection: RawFd, request: waiting::Request) {
        (self.connected, self.reused) = (true, reused);
        self.upload = request.since.is_none();
        self.place = self.route.health.wait(&self.endpoint, connection, request);
    }

    /// The request was sent whole. An upload waits otherwise from now on.
    pub fn sent(&mut self, request: Option<waiting::Request>, now: Instant) {
        self.sent = Some(now);
        if let Some((place, request)) = self.place.as_ref().zip(request) {
            self.endpoint.traffic.waiting.sent(place, request);
        }
    }

    /// The request waits no more: before its connection is used for anything else. Says why, if it was
    /// broken off.
    pub fn stop_waiting(&mut self) -> Option<Broken> {
        self.endpoint.traffic.waiting.leave(self.place.take()?)
    }

    /// A head that goes before the answer's (1xx) is here.
    pub fn heard(&mut self, now: Instant) {
        self.heard = true;
        self.endpoint.traffic.waiting.heard(now);
    }

    /// The head of the answer is here.
    pub fn answered(&mut self, status: u16, now: Instant) {
        self.stop_waiting();
        self.heard(now);
        self.answered = Some(now);
        let failure = Failure::of_status(status);
        // An answer that came before the request was sent whole waited for the client, too.
        if let Some(waited) = self.sent.map(|sent| now.saturating_duration_since(sent)) {
            if failure.is_some() || self.route.retry.statuses.contains(&status) {
                self.was_not_faster(waited, now);
            } else {
                self.endpoint.traffic.latency.record(waited, now);
            }
        }
        if let Some(failure) = failure {
            self.fail(failure, now);
        }
    }

    /// A failure may come fast, and says nothing of how long an answer would have taken: it counts as
    /// usual, or as longer if it was. As it came, it would draw requests to the endpoint that fails; and
    /// without a sample the latency's peak would fall, which does the same. What has never answered has
    /// nothing to keep.
    fn was_not_faster(&self, waited: Duration, now: Instant) {
        let latency = &self.endpoint.traffic.latency;
        if let Some(usual) = latency.usual() {
            latency.record(waited.max(usual), now);
        }
    }

    /// A piece of the answer's body is here.
    pub fn went_on(&mut self, now: Instant) {
        self.endpoint.traffic.waiting.heard(now);
        let long = self.answered.is_some_and(|at| now.saturating_duration_since(at) >= LONG_ENOUGH);
        if long && self.trial.is_some() {
            self.succeeded(now);
        }
    }

    /// The answer is complete.
    pub fn succeeded(&mut self, now: Instant) {
        if std::mem::replace(&mut self.settled, true) {
            return;
        }
        match self.trial.take() {
            Some(trial) => self.route.health.finish(&self.endpoint, trial, Outcome::Succeeded, now),
            None => self.route.health.succeeded(&self.endpoint),
        }
    }

    /// The attempt has failed, be it by the endpoint's fault or not.
    pub fn failed(&mut self, cause: Cause, now: Instant) {
        // The next attempt may be on this endpoint again, and must find its place free. The answer of a
        // status may yet be the one that the client gets.
        if cause != Cause::Status {
            self.permit = None;
        }
        let failure = match cause {
            Cause::Total => self.spent_the_time(now).then_some(Failure::Timeout),
            cause => cause.failure(),
        };
        if let Some(failure) = failure {
            if self.answered.is_none() {
                self.was_not_faster(Duration::ZERO, now);
            }
            self.fail(failure, now);
        }
    }

    /// Whether silence of this endpoint took the better part of the request's whole time. Then it is to
    /// blame that the time is over; otherwise a route of little time would never see who has fallen silent.
    fn spent_the_time(&self, now: Instant) -> bool {
        let since = if self.connected { self.sent } else { Some(self.begun) };
        let silence =
            since.filter(|_| self.answered.is_none()).map(|since| now.saturating_duration_since(since));
        self.route.timeouts.total.zip(silence).is_some_and(|(total, silence)| silence >= total / 2)
    }

    fn fail(&mut self, failure: Failure, now: Instant) {
        if std::mem::replace(&mut self.settled, true) {
            return;
        }
        match self.trial.take() {
            Some(trial) => self.route.health.finish(&self.endpoint, trial, Outcome::Failed(failure), now),
            None => self.route.health.failed(&self.endpoint, failure, now),
        }
    }

    /// Whether the endpoint has said anything.
    pub fn was_heard(&self) -> bool {
        self.heard
    }

    /// From the endpoint's choice to the head of its answer.
    pub fn took(&self) -> Option<Duration> {
        self.answered.map(|at| at.saturating_duration_since(self.begun))
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        self.stop_waiting();
        if let Some(trial) = self.trial.take() {
            self.route.health.finish(&self.endpoint, trial, Outcome::GivenBack, Instant::now());
        }
    }
}
