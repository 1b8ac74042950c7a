//! Checks: asks the endpoints of services whether they are well, where the configuration says so, and tells
//! what their answers come to. Which endpoints there are comes through Pingora's `ServiceDiscovery`, and its
//! checks are the probes; when each is asked and what a run of answers means is decided here, by the identity
//! of the endpoint.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderValue, header};
use pingora::http::ResponseHeader;
use pingora::{Error, ErrorType};
use pingora_load_balancing::Backend;
use pingora_load_balancing::discovery::ServiceDiscovery;
use pingora_load_balancing::health_check::{HealthCheck, HttpHealthCheck, TcpHealthCheck};
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use super::active::{Active, Outcome, Thresholds, Verdict};
use super::verdict::Verdicts;
use crate::causes::plain;
use crate::config::{Check, Initially, Probe};
use crate::directory::{self, Directory, Endpoint, Endpoints, Entry, Finding, ServiceEndpoints, entries};
use crate::metrics::{Checked, Metrics};
use crate::tasks::{joined, sleep_until};

/// Checks in flight at once, of all services. The others wait for their turn, the longest waiting first.
const MAX_RUNNING: usize = 64;
/// From one look at the directory to the next: so late a new endpoint may be noticed.
const LOOK: Duration = Duration::from_millis(100);

/// What asks an endpoint.
type Prober = Arc<dyn HealthCheck + Send + Sync>;
/// What tells whom to ask.
type Discovery = Box<dyn ServiceDiscovery + Send + Sync>;

/// Asks the endpoints of services whether they are well.
pub struct Checks {
    services: Vec<Service>,
    /// When an endpoint is asked next: the time, the service's place, the endpoint's id.
    waiting: BTreeSet<(Instant, usize, u64)>,
    running: JoinSet<Ended>,
    verdicts: Verdicts,
    metrics: Arc<Metrics>,
}

/// A service whose endpoints are asked.
struct Service {
    service: Arc<directory::Service>,
    check: Check,
    prober: Prober,
    discovery: Discovery,
    /// Its endpoints before they were last discovered: while these are the directory's, there is nothing new.
    /// While they are held, no others have their address.
    seen: Option<Arc<Endpoints>>,
    /// By id.
    asked: HashMap<u64, Asked>,
}

/// What is known of an endpoint that is asked.
struct Asked {
    endpoint: Arc<Endpoint>,
    /// What it is to a prober.
    backend: Backend,
    active: Active,
    /// It gets no requests, so it need not be asked. What is known of it stays: it may come back.
    is_draining: bool,
    /// None: it is being asked now.
    next: Option<Instant>,
}

/// A check that has ended.
struct Ended {
    service: usize,
    endpoint: u64,
    begun: Instant,
    /// None: it says nothing about the endpoint.
    outcome: Option<Outcome>,
}

impl Checks {
    /// Of all services of the directory, as they are now, for whose name there is a check.
    ///
    /// # Errors
    /// The service whose check cannot be made into a request, and why.
    pub fn new<'c>(
        directory: &Arc<Directory>,
        check_of: impl Fn(&str) -> Option<&'c Check>,
        verdicts: &Verdicts,
        metrics: &Arc<Metrics>,
    ) -> Result<Self, (Arc<str>, Box<Error>)> {
        let mut services = Vec::new();
        for service in directory.services().values() {
            let name = service.name();
            if let Some(check) = check_of(name) {
                let prober = prober(name, check).map_err(|error| (name.clone(), error))?;
                let discovery = Box::new(ServiceEndpoints::new(directory.clone(), &**name));
                services.push(Service::new(service.clone(), check.clone(), prober, discovery));
            }
        }
        Ok(Self::of(services, verdicts.clone(), metrics.clone()))
    }

    fn of(services: Vec<Service>, verdicts: Verdicts, metrics: Arc<Metrics>) -> Self {
        Self { services, waiting: BTreeSet::new(), running: JoinSet::new(), verdicts, metrics }
    }

    /// Asks until the process ends; returns at once if there is nobody to ask.
    pub async fn run(mut self) {
        if self.services.is_empty() {
            return;
        }
        let mut looks = interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let next = self.ask_due(Instant::now());
            tokio::select! {
                now = looks.tick() => self.look(now).await,
                Some(ended) = self.running.join_next() => self.end(ended),
                () = sleep_until(next.map(Instant::into_std)) => {}
            }
        }
    }

    /// Takes up the endpoints that have come and gives up those that have gone.
    async fn look(&mut self, now: Instant) {
        for (place, service) in self.services.iter_mut().enumerate() {
            let endpoints = Arc::clone(&service.service.endpoints());
            if service.seen.as_ref().is_some_and(|seen| Arc::ptr_eq(seen, &endpoints)) {
                continue;
            }
            // The directory's never fails. If another did, it would be asked again at the next look.
            let Ok((backends, _)) = service.discovery.discover().await else { continue };
            let mut former = std::mem::take(&mut service.asked);
            for (backend, entry) in backends.iter().flat_map(|b| entries(b).map(move |e| (b, e))) {
                let id = entry.endpoint.id;
                let asked = former.remove(&id).unwrap_or_else(|| {
                    let next = now + first_after(&service.check, fastrand::f64());
                    self.waiting.insert((next, place, id));
                    Asked::new(backend, entry, service.check.initially, next)
                });
                let is_draining = entry.weight == 0;
                service.asked.insert(id, Asked { is_draining, ..asked });
            }
            for (id, gone) in former {
                gone.next.map(|next| self.waiting.remove(&(next, place, id)));
            }
            service.seen = Some(endpoints);
        }
    }

    /// Asks the endpoints that are due, as many as may be asked at once. Returns when the next one is due;
    /// none if none waits, or if a check has to end first.
    fn ask_due(&mut self, now: Instant) -> Option<Instant> {
        while self.running.len() < MAX_RUNNING {
            let (at, place, id) = *self.waiting.first()?;
            if at > now {
                return Some(at);
            }
            self.waiting.pop_first();
            let Some(service) = self.services.get_mut(place) else { continue };
            let Some(asked) = service.asked.get_mut(&id) else { continue };
            if asked.is_draining {
                let next = now + service.check.interval;
                asked.next = Some(next);
                self.waiting.insert((next, place, id));
                continue;
            }
            asked.next = None;
            let (prober, limit) = (service.prober.clone(), service.check.timeout);
            let (endpoint, backend) = (asked.endpoint.clone(), asked.backend.clone());
            self.running.spawn(async move {
                let outcome = ask(&*prober, &backend, &endpoint, limit).await;
                Ended { service: place, endpoint: id, begun: now, outcome }
            });
        }
        None
    }

    /// Takes a check's end, schedules the next, and tells what has turned. Of an endpoint that has gone
    /// meanwhile, nothing.
    fn end(&mut self, ended: Result<Ended, JoinError>) {
        // Nobody cancels them but the end of the process.
        let Some(Ended { service: place, endpoint: id, begun, outcome }) = joined(ended) else { return };
        let Some(service) = self.services.get_mut(place) else { return };
        let checked = match outcome {
            Some(Outcome::Passed) => Checked::Passed,
            Some(Outcome::Failed) => Checked::Failed,
            None => Checked::Unknown,
        };
        self.metrics.checked(service.service.name(), checked);
        let Some(asked) = service.asked.get_mut(&id) else { return };
        let next = begun + service.check.interval;
        asked.next = Some(next);
        self.waiting.insert((next, place, id));
        let Check { healthy, unhealthy, .. } = service.check;
        let turned = |outcome| asked.active.probed(Thresholds { healthy, unhealthy }, outcome);
        match outcome.and_then(turned) {
            Some(Verdict::Healthy) => self.verdicts.tell(&asked.endpoint, Finding::Healthy),
            Some(Verdict::Unhealthy) => self.verdicts.tell(&asked.endpoint, Finding::Unhealthy),
            None => {}
        }
    }
}

impl Service {
    fn new(service: Arc<directory::Service>, check: Check, prober: Prober, discovery: Discovery) -> Self {
        Self { service, check, prober, discovery, seen: None, asked: HashMap::new() }
    }
}

impl Asked {
    fn new(backend: &Backend, entry: &Entry, initially: Initially, next: Instant) -> Self {
        let (endpoint, active) = (entry.endpoint.clone(), Active::new(initially));
        // Without what it stands for now: that would outlive the others at its address.
        let backend = Backend { addr: backend.addr.clone(), weight: backend.weight, ext: Default::default() };
        Self { endpoint, backend, active, is_draining: false, next: Some(next) }
    }
}

/// How long after it has come an endpoint is first asked. `chance` is in [0, 1): those that come together
/// are spread over the interval, and so they stay. One that has to pass before it is used is not kept waiting.
fn first_after(check: &Check, chance: f64) -> Duration {
    match check.initially {
        Initially::Up => check.interval.mul_f64(chance),
        Initially::Unhealthy => Duration::ZERO,
    }
}

async fn ask(
    prober: &(dyn HealthCheck + Send + Sync),
    backend: &Backend,
    endpoint: &Endpoint,
    limit: Duration,
) -> Option<Outcome> {
    let answer = match timeout(limit, prober.check(backend)).await {
        Ok(answer) => answer,
        Err(_) => Error::e_explain(ErrorType::ReadTimedout, "no whole answer in time"),
    };
    let failure = answer.as_ref().err().map(|error| plain(error));
    let outcome = judge(answer);
    if let Some(error) = failure {
        let (service, instance) = (&*endpoint.service, &*endpoint.instance);
        tracing::debug!(service, instance, error, "check failed");
        if outcome == Some(Outcome::Failed) {
            endpoint.traffic.last_check_failure.note(error, Instant::now().into_std());
        }
    }
    outcome
}

/// What an answer says about the endpoint. That we ourselves lack files or ports says nothing: these are
/// Pingora's names for it.
fn judge(answer: pingora::Result<()>) -> Option<Outcome> {
    match answer.map_err(|error| error.etype().clone()) {
        Ok(()) => Some(Outcome::Passed),
        Err(ErrorType::InternalError | ErrorType::SocketError | ErrorType::BindError) => None,
        Err(_) => Some(Outcome::Failed),
    }
}

/// Fails where path or name have no place in a request.
fn prober(service: &str, check: &Check) -> pingora::Result<Prober> {
    match &check.probe {
        Probe::Tcp => {
            let mut prober = TcpHealthCheck::default();
            prober.peer_template.options.connection_timeout = Some(check.timeout);
            Ok(Arc::new(prober))
        }
        Probe::Http { path, statuses } => {
            // Its constructor panics at names that a header takes as bytes only.
            let mut prober = HttpHealthCheck::new("", false);
            let host = HeaderValue::from_bytes(service.as_bytes());
            let host = host.map_err(|error| {
                Error::because(ErrorType::InvalidHTTPHeader, "the service's name as a Host header", error)
            })?;
            prober.req.insert_header(header::HOST, host)?;
            prober.req.set_raw_path(path.as_bytes())?;
            prober.peer_template.options.connection_timeout = Some(check.timeout);
            prober.peer_template.options.read_timeout = Some(check.timeout);
            let statuses = statuses.clone();
            prober.validator = Some(Box::new(move |head| expect(head, &statuses)));
            Ok(Arc::new(prober))
        }
    }
}

fn expect(head: &ResponseHeader, statuses: &[u16]) -> pingora::Result<()> {
    let status = head.status.as_u16();
    if statuses.contains(&status) {
        return Ok(());
    }
    Error::e_explain(ErrorType::CustomCode("unexpected status", status), "the answer to a check")
}

#[cfg(test)]
mod tests;
