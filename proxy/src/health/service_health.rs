//! The health of one service: what its requests report, and what follows from it under its rules.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;

use super::findings::Findings;
use super::stall_watch::StallWatch;
use super::trials::Trials;
use crate::config;
use crate::directory::{Endpoint, Finding, Service};
use crate::grpc::Status;
use crate::traffic::budget::Budget;
use crate::traffic::ejection::{self, Failure, Outcome, Passive, Repeatable, Transition, Trial};
use crate::traffic::stall;
use crate::traffic::waiting::{Interrupt, Place, Wait};

/// What a configuration says of a service's health.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rules {
    ejection: Option<config::Ejection>,
    stall: Option<config::Stall>,
}

impl Rules {
    pub(crate) fn of(service: &config::Service) -> Self {
        let config::Service { ejection, stall, .. } = service;
        // A stall without an ejection is of no use: the requests that were moved elsewhere might come back.
        Self { ejection: *ejection, stall: ejection.and(*stall) }
    }
}

/// What the last look found of all endpoints of a service.
#[derive(Debug, Clone, Copy)]
struct Pace {
    seen: Instant,
    /// When the youngest request was sent that an endpoint has answered, or could answer at once; none:
    /// there is no such endpoint.
    youngest: Option<Instant>,
}

/// The health of one service. What was counted and found stays when the rules change.
#[derive(Debug)]
pub(crate) struct ServiceHealth {
    pub(crate) budget: Budget,
    /// Read where something fails, waits for long or is to be tried, and never for a request that goes well.
    rules: ArcSwap<Rules>,
    pace: Mutex<Pace>,
    watch: Arc<StallWatch>,
    service: Arc<Service>,
    trials: Trials,
    findings: Findings,
}

impl ServiceHealth {
    /// The endpoints of `service` may have been ejected under former rules: these have their trials as before.
    /// `origin` is any moment before the first request.
    pub(crate) fn new(
        service: Arc<Service>,
        rules: Rules,
        findings: Findings,
        watch: Arc<StallWatch>,
        origin: Instant,
    ) -> Self {
        let health = Self {
            budget: Budget::new(origin),
            rules: ArcSwap::from_pointee(rules),
            pace: Mutex::new(Pace { seen: origin, youngest: None }),
            watch,
            service,
            trials: Trials::new(origin),
            findings,
        };
        health.take_up(origin);
        health
    }

    /// Other rules hold from now on. What is ejected stays so for its time, unless nothing is to be ejected any
    /// more: then it returns at once.
    pub(crate) fn apply(&self, rules: Rules, now: Instant) {
        let before = self.rules.swap(Arc::new(rules));
        if before.ejection.is_some() != rules.ejection.is_some() {
            self.take_up(now);
        }
    }

    /// Sees to the endpoints that are ejected already: each is to have its trial, or to return.
    fn take_up(&self, now: Instant) {
        let is_on = self.rules.load().ejection.is_some();
        for entry in self.service.endpoints().entries() {
            let mut passive = lock(&entry.endpoint);
            match passive.trial_due() {
                Some(due) if is_on => self.trials.add(&entry.endpoint, due),
                _ if is_on => {}
                _ => {
                    let transition = passive.pardon(&entry.endpoint.traffic.streak, now);
                    self.tell(&entry.endpoint, transition);
                }
            }
        }
        if !is_on {
            self.trials.clear();
        }
    }

    /// An attempt that was not a trial came to a good end.
    pub(crate) fn succeeded(&self, endpoint: &Endpoint) {
        endpoint.traffic.streak.succeeded();
    }

    /// Whether a call that has ended so counts as a failure of its endpoint.
    pub(crate) fn counts_as_failure(&self, status: Status) -> bool {
        self.rules.load().ejection.unwrap_or_default().grpc.contains(status)
    }

    /// An attempt that was not a trial failed.
    pub(crate) fn failed(&self, endpoint: &Arc<Endpoint>, failure: Failure, now: Instant) {
        endpoint.traffic.last_failure.note(failure.as_str(), now);
        self.decide(endpoint, |passive, rules| {
            passive.failed(rules, &endpoint.traffic.streak, failure, now, fastrand::f64())
        });
    }

    /// A request waits for the first byte of its answer.
    pub(crate) fn wait(
        self: &Arc<Self>,
        endpoint: &Arc<Endpoint>,
        interrupt: Interrupt,
        wait: Wait,
    ) -> Place {
        let (place, is_first) = endpoint.traffic.waiting.enter(interrupt, wait);
        if is_first {
            self.watch.add(self.clone(), endpoint.clone());
        }
        place
    }

    /// Looks at the requests that wait at an endpoint, and unless its whole service is silent, whether it has
    /// stalled. `break_off` reaches a request. False: nobody waits there.
    pub(super) fn look(&self, endpoint: &Arc<Endpoint>, now: Instant, break_off: fn(&Interrupt)) -> bool {
        let waiting = &endpoint.traffic.waiting;
        if !waiting.break_off_overdue(now, break_off) {
            return false;
        }
        let Some(rules) = self.rules.load().stall else { return true };
        let usual = endpoint.traffic.latency.usual();
        if self.is_answered_elsewhere(&rules, stall::patience(&rules, usual), now) {
            let is_doubted = !lock(endpoint).is_healthy();
            let stalled = || self.stalled(endpoint, now);
            waiting.break_off_stalled(&rules, is_doubted, usual, now, stalled, break_off);
        }
        true
    }

    /// Whether a request that has waited for `patience` would be better off at another endpoint: because requests that
    /// were sent well after it have been answered, or because an endpoint has nothing to do. If a whole service stands
    /// still or has become slow (because its database has), no request would be: every endpoint is silent then, and if
    /// that were taken for a stall, requests would be broken off that would have been answered late.
    fn is_answered_elsewhere(&self, rules: &config::Stall, patience: Duration, now: Instant) -> bool {
        let mut pace = self.pace.lock().unwrap_or_else(PoisonError::into_inner);
        // The watch looks at all endpoints with one `now`: once for each look is enough.
        if pace.seen != now {
            *pace = Pace { seen: now, youngest: self.youngest(rules.floor / 2, now) };
        }
        pace.youngest.is_some_and(|sent| now.saturating_duration_since(sent) <= patience / 2)
    }

    /// When the youngest request was sent that a usable endpoint has answered. An endpoint that has nothing to do
    /// counts as if it had answered one that was sent now. The search ends at the first that is at most `enough` old,
    /// which is usually the first endpoint's.
    fn youngest(&self, enough: Duration, now: Instant) -> Option<Instant> {
        let endpoints = self.service.endpoints();
        let usable = endpoints.entries().iter().filter(|e| e.rank().is_some() && !e.health.is_out());
        let mut youngest = None;
        for traffic in usable.map(|entry| &entry.endpoint.traffic) {
            let is_idle = traffic.in_flight.count() == 0;
            youngest = youngest.max(if is_idle { Some(now) } else { traffic.latency.youngest() });
            if youngest.is_some_and(|sent| now.saturating_duration_since(sent) <= enough) {
                break;
            }
        }
        youngest
    }

    fn stalled(&self, endpoint: &Arc<Endpoint>, now: Instant) {
        endpoint.traffic.last_failure.note(ejection::Grounds::Stalled.as_str(), now);
        self.decide(endpoint, |passive, rules| {
            passive.stalled(rules, &endpoint.traffic.streak, now, fastrand::f64())
        });
    }

    /// Whether an endpoint may be due for its trial.
    pub(crate) fn trial_may_be_due(&self, now: Instant) -> bool {
        self.trials.may_be_due(now)
    }

    /// Whether an endpoint may be due for its trial for so long that even a request makes it which others are to spare.
    pub(crate) fn trial_may_be_overdue(&self, now: Instant) -> bool {
        self.trials.may_be_overdue(now)
    }

    /// An ejected endpoint that this request is to try, if one is due.
    pub(crate) fn trial(&self, request: Repeatable, now: Instant) -> Option<(Arc<Endpoint>, Trial)> {
        self.trials.look(now, |endpoint| {
            match self.takes_trials(endpoint) {
                Some(true) => {}
                Some(false) => return Err(None),
                None => {
                    self.trials.remove(endpoint);
                    // It is off the list. A time so late that no look is made for it alone.
                    return Err(Some(now + ejection::TRIAL));
                }
            }
            let mut passive = lock(endpoint);
            let trial = passive.claim(request, now);
            trial.map(|trial| (endpoint.clone(), trial)).ok_or_else(|| passive.trial_due())
        })
    }

    pub(crate) fn finish(&self, endpoint: &Arc<Endpoint>, trial: Trial, outcome: Outcome, now: Instant) {
        if let Outcome::Failed(failure) = outcome {
            endpoint.traffic.last_failure.note(failure.as_str(), now);
        }
        self.decide(endpoint, |passive, rules| {
            let transition = passive.finish(rules, trial, outcome, now, fastrand::f64());
            if let Some(due) = passive.trial_due() {
                self.trials.due_at(due);
            }
            transition
        });
    }

    /// Has `what` decide about an endpoint, and reports what came of it. Nothing is decided where nothing is ejected.
    ///
    /// The rules are read under the endpoint's lock. [`apply`](Self::apply) replaces them first and then takes each
    /// lock: so if it turns ejection off, it finds every endpoint that the former rules have ejected.
    fn decide(
        &self,
        endpoint: &Arc<Endpoint>,
        what: impl FnOnce(&mut Passive, &config::Ejection) -> Option<Transition>,
    ) {
        let mut passive = lock(endpoint);
        if let Some(rules) = &self.rules.load().ejection {
            let transition = what(&mut passive, rules);
            self.tell(endpoint, transition);
        }
    }

    /// Under the endpoint's lock, so that its findings are sent in the order in which they were made.
    fn tell(&self, endpoint: &Arc<Endpoint>, transition: Option<Transition>) {
        match transition {
            Some(Transition::Ejected { until, why }) => {
                self.trials.add(endpoint, until);
                self.findings.tell(endpoint, Finding::Ejected(why));
            }
            Some(Transition::Returned) => {
                self.trials.remove(endpoint);
                self.findings.tell(endpoint, Finding::Returned);
            }
            None => {}
        }
    }

    /// Whether a request may try the endpoint: not while the registry or its checks say that it cannot work. None: it
    /// is gone.
    fn takes_trials(&self, endpoint: &Endpoint) -> Option<bool> {
        let endpoints = self.service.endpoints();
        let entry = endpoints.find(endpoint)?;
        Some(entry.rank().is_some() && !entry.health.unhealthy)
    }
}

fn lock(endpoint: &Endpoint) -> MutexGuard<'_, Passive> {
    endpoint.traffic.passive.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
