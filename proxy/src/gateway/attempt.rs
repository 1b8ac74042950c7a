//! One attempt on one endpoint, which is told its outcome.

use std::os::fd::RawFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::cause::Cause;
use crate::directory::Endpoint;
use crate::health::limits::Permit;
use crate::health::passive::{Failure, Outcome, Trial};
use crate::health::service::Service;
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
    health: Arc<Service>,
    trial: Option<Trial>,
    begun: Instant,
    /// When the request was sent whole; while it was not, when the attempt began.
    sent: Instant,
    /// When the head of the answer came.
    answered: Option<Instant>,
    settled: bool,
    /// Its place among those that wait for a first byte.
    place: Option<Place>,
    is_upload: bool,
    _permit: Permit,
}

impl Attempt {
    pub fn new(
        endpoint: Arc<Endpoint>,
        health: Arc<Service>,
        permit: Permit,
        trial: Option<Trial>,
        now: Instant,
    ) -> Self {
        Self {
            endpoint,
            connected: false,
            reused: false,
            health,
            trial,
            begun: now,
            sent: now,
            answered: None,
            settled: false,
            place: None,
            is_upload: false,
            _permit: permit,
        }
    }

    /// There is a connection, on which the request waits from now on.
    pub fn connected(&mut self, reused: bool, connection: RawFd, request: waiting::Request) {
        (self.connected, self.reused) = (true, reused);
        self.is_upload = request.since.is_none();
        self.place = self.health.wait(&self.endpoint, connection, request);
    }

    /// The request was sent whole.
    pub fn sent(&mut self, now: Instant) {
        self.sent = now;
        if let Some(place) = self.place.as_ref().filter(|_| self.is_upload) {
            self.endpoint.traffic.waiting.sent(place, now);
        }
    }

    /// The request waits no more: before its connection is used for anything else. Says why, if it was
    /// broken off.
    pub fn stop_waiting(&mut self) -> Option<Broken> {
        self.endpoint.traffic.waiting.leave(self.place.take()?)
    }

    /// The head of the answer is here.
    pub fn answered(&mut self, status: u16, now: Instant) {
        self.stop_waiting();
        self.endpoint.traffic.waiting.heard(now);
        self.answered = Some(now);
        self.endpoint.traffic.latency.record(now.saturating_duration_since(self.sent), now);
        if let Some(failure) = Failure::of_status(status) {
            self.fail(failure, now);
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
            Some(trial) => self.health.finish(&self.endpoint, trial, Outcome::Succeeded, now),
            None => self.health.succeeded(&self.endpoint),
        }
    }

    /// The attempt has failed, be it by the endpoint's fault or not.
    pub fn failed(&mut self, cause: Cause, now: Instant) {
        if let Some(failure) = cause.failure() {
            self.fail(failure, now);
        }
    }

    fn fail(&mut self, failure: Failure, now: Instant) {
        if std::mem::replace(&mut self.settled, true) {
            return;
        }
        match self.trial.take() {
            Some(trial) => self.health.finish(&self.endpoint, trial, Outcome::Failed(failure), now),
            None => self.health.failed(&self.endpoint, failure, now),
        }
    }

    pub fn is_answered(&self) -> bool {
        self.answered.is_some()
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
            self.health.finish(&self.endpoint, trial, Outcome::GivenBack, Instant::now());
        }
    }
}
