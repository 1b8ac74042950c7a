//! The health of one service: its rules, and what its requests report.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::os::fd::RawFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::trials::Trials;
use super::verdict::Verdicts;
use super::watch::Watch;
use crate::config;
use crate::directory::{self, Directory, Endpoint, Finding};
use crate::traffic::budget::{self, Budget};
use crate::traffic::ejection::{self, Failure, Outcome, Passive, Repeatable, Rules, Trial};
use crate::traffic::stall::{self, Standing};
use crate::traffic::waiting::{self, Place};

/// The services that routes lead to, by name.
pub type Services = BTreeMap<Arc<str>, Arc<Service>>;

/// Puts every service of the directory, as it is now, under the rules of the configuration.
pub fn services(
    directory: &Directory,
    config: &config::Services,
    verdicts: &Verdicts,
    watch: &Arc<Watch>,
) -> Services {
    let services = directory.services();
    let health = |(name, service): (&Arc<str>, &Arc<directory::Service>)| {
        let health =
            Service::new(service.clone(), config.get(name), verdicts.clone(), watch.clone(), Instant::now());
        (name.clone(), Arc::new(health))
    };
    services.iter().map(health).collect()
}

/// How far a service's endpoints have come.
#[derive(Debug, Clone, Copy)]
struct Pace {
    seen: Instant,
    /// When the youngest request was sent that an endpoint has answered, or could answer at once; none:
    /// there is no such endpoint.
    youngest: Option<Instant>,
}

/// The health of one service.
#[derive(Debug)]
pub struct Service {
    /// How many requests may be in flight.
    pub limits: config::Limits,
    /// What retries are left.
    pub budget: Budget,
    /// When silence is a stall; none: never.
    stall: Option<stall::Rule>,
    /// What the last look found of all endpoints.
    pace: Mutex<Pace>,
    watch: Arc<Watch>,
    service: Arc<directory::Service>,
    /// None: nothing is ejected.
    rules: Option<Rules>,
    trials: Trials,
    verdicts: Verdicts,
}

impl Service {
    /// `origin` is any moment before the first request.
    pub fn new(
        service: Arc<directory::Service>,
        config: &config::Service,
        verdicts: Verdicts,
        watch: Arc<Watch>,
        origin: Instant,
    ) -> Self {
        let config::Budget { percent, per_second } = config.budget;
        Self {
            limits: config.limits,
            budget: Budget::new(budget::Rules { percent, per_second }, origin),
            // Where nothing is ejected, what is moved elsewhere might come back.
            stall: config.ejection.and(config.stall).map(stall_rule),
            pace: Mutex::new(Pace { seen: origin, youngest: None }),
            watch,
            service,
            rules: config.ejection.map(ejection_rules),
            trials: Trials::new(origin),
            verdicts,
        }
    }

    /// An attempt that was not a trial came to a good end.
    pub fn succeeded(&self, endpoint: &Endpoint) {
        endpoint.traffic.streak.succeeded();
    }

    /// An attempt that was not a trial failed.
    pub fn failed(&self, endpoint: &Arc<Endpoint>, failure: Failure, now: Instant) {
        endpoint.traffic.last_failure.note(failure.as_str(), now);
        let Some(rules) = &self.rules else { return };
        let mut passive = lock(endpoint);
        let verdict = passive.failed(rules, &endpoint.traffic.streak, failure, now, fastrand::f64());
        self.tell(endpoint, verdict);
    }

    /// A request waits for the first byte of its answer.
    pub fn wait(
        self: &Arc<Self>,
        endpoint: &Arc<Endpoint>,
        connection: RawFd,
        request: waiting::Request,
    ) -> Place {
        let (place, is_first) = endpoint.traffic.waiting.enter(connection, request);
        if is_first {
            self.watch.add(self.clone(), endpoint.clone());
        }
        place
    }

    /// Looks at the requests that wait at an endpoint, and unless its whole service is silent, whether it has
    /// stalled. False: there are none.
    pub fn look(&self, endpoint: &Arc<Endpoint>, now: Instant) -> bool {
        let traffic = &endpoint.traffic;
        let standing = if lock(endpoint).is_healthy() { Standing::Up } else { Standing::Doubted };
        let usual = traffic.latency.usual();
        let rule = self.stall.as_ref().filter(|rule| self.goes_on(rule, rule.patience(usual), now));
        let stalled = || self.stalled(endpoint, now);
        traffic.waiting.look(rule, standing, usual, now, stalled)
    }

    /// Whether what has waited for this time would be better off elsewhere: requests sent well after it have
    /// been answered, or somebody has nothing to do. Where a whole service stands still or has become slow
    /// (its database has), none is. Each of its endpoints would be silent for long, and if that were a stall,
    /// its requests would be broken off one after the other instead of being answered late.
    fn goes_on(&self, rule: &stall::Rule, patience: Duration, now: Instant) -> bool {
        let mut pace = self.pace.lock().unwrap_or_else(PoisonError::into_inner);
        // The watch looks at all endpoints at one time.
        if pace.seen != now {
            *pace = Pace { seen: now, youngest: self.youngest(rule.floor / 2, now) };
        }
        pace.youngest.is_some_and(|sent| now.saturating_duration_since(sent) <= patience / 2)
    }

    /// The youngest request that an endpoint with nothing against it has answered, or one of an age that is
    /// young `enough`. (Usually that is the first endpoint's.) Who has nothing to do could answer at once.
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

    /// The endpoint has stalled.
    fn stalled(&self, endpoint: &Arc<Endpoint>, now: Instant) {
        endpoint.traffic.last_failure.note(ejection::Reason::Stalled.as_str(), now);
        let Some(rules) = &self.rules else { return };
        let mut passive = lock(endpoint);
        let verdict = passive.stalled(rules, &endpoint.traffic.streak, now, fastrand::f64());
        self.tell(endpoint, verdict);
    }

    /// Whether an endpoint may be due for its trial.
    pub fn trial_may_be_due(&self, now: Instant) -> bool {
        self.trials.may_be_due(now)
    }

    /// An ejected endpoint that this request is to try, if one is due.
    pub fn trial(&self, tried: &[u64], request: Repeatable, now: Instant) -> Option<(Arc<Endpoint>, Trial)> {
        let rules = self.rules.as_ref()?;
        self.trials.look(now, |endpoint| {
            match self.takes_trials(endpoint) {
                Some(true) if !tried.contains(&endpoint.id) => {}
                Some(_) => return Err(None),
                None => {
                    self.trials.remove(endpoint);
                    // For ever, as far as anybody can see.
                    return Err(Some(now + rules.trial));
                }
            }
            let mut passive = lock(endpoint);
            let trial = passive.claim(rules, request, now);
            trial.map(|trial| (endpoint.clone(), trial)).ok_or_else(|| passive.trial_due(rules))
        })
    }

    /// A trial has ended.
    pub fn finish(&self, endpoint: &Arc<Endpoint>, trial: Trial, outcome: Outcome, now: Instant) {
        if let Outcome::Failed(failure) = outcome {
            endpoint.traffic.last_failure.note(failure.as_str(), now);
        }
        let Some(rules) = &self.rules else { return };
        let mut passive = lock(endpoint);
        let verdict = passive.finish(rules, trial, outcome, now, fastrand::f64());
        self.tell(endpoint, verdict);
        if let Some(due) = passive.trial_due(rules) {
            self.trials.due_at(due);
        }
    }

    /// Under the endpoint's lock, so that its verdicts are sent in the order in which they were found.
    fn tell(&self, endpoint: &Arc<Endpoint>, verdict: Option<ejection::Verdict>) {
        match verdict {
            Some(ejection::Verdict::Eject { until, why }) => {
                self.trials.add(endpoint, until);
                self.verdicts.tell(endpoint, Finding::Ejected(why));
            }
            Some(ejection::Verdict::Return) => {
                self.trials.remove(endpoint);
                self.verdicts.tell(endpoint, Finding::Returned);
            }
            None => {}
        }
    }

    /// Whether requests may go to the endpoint as far as the registry and its probes are concerned: while
    /// these fail, no request needs to find out. None: it is gone.
    fn takes_trials(&self, endpoint: &Endpoint) -> Option<bool> {
        let endpoints = self.service.endpoints();
        let entries = endpoints.entries();
        let at = entries.binary_search_by(|entry| entry.endpoint.instance.cmp(&endpoint.instance)).ok()?;
        let entry = entries.get(at).filter(|entry| entry.endpoint.id == endpoint.id)?;
        Some(entry.rank().is_some() && !entry.health.unhealthy)
    }
}

fn lock(endpoint: &Endpoint) -> MutexGuard<'_, Passive> {
    endpoint.traffic.passive.lock().unwrap_or_else(PoisonError::into_inner)
}

fn ejection_rules(config: config::Ejection) -> Rules {
    let config::Ejection { failures, base, longest, forgive } = config;
    Rules { failures, base, longest, forgive, ..Rules::default() }
}

fn stall_rule(config: config::Stall) -> stall::Rule {
    let config::Stall { requests, floor, factor } = config;
    let waiting = NonZeroUsize::try_from(requests).unwrap_or(NonZeroUsize::MIN);
    stall::Rule { waiting, floor, factor, ..stall::Rule::default() }
}

#[cfg(test)]
mod tests;
