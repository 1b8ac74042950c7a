//! Checks: asks the endpoints of services whether they are well, where the configuration says so, and tells
//! what their answers come to. Which endpoints there are comes through Pingora's `ServiceDiscovery`, and its
//! checks do the asking; when each is asked and what a row of answers means is decided here, by the identity
//! of the endpoint. Which services are asked, and how, may change at any time.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use pingora::{Error, ErrorType};
use pingora_load_balancing::Backend;
use pingora_load_balancing::discovery::ServiceDiscovery;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::active::Active;
use super::findings::Findings;
use super::probers::{Host, Prober, Probers};
use super::rounds::{Question, Rounds};
use crate::causes::plain;
use crate::config::Check;
use crate::directory::{Directory, Endpoint, Endpoints, Finding, Service, ServiceEndpoints, entries};
use crate::metrics::{Checked, Metrics};
use crate::tasks::now;
use crate::tls::InstanceTls;

/// Checks in flight at once, of all services. The others wait for their turn, the longest waiting first.
const MAX_RUNNING: usize = 64;
/// From one look at the directory to the next: so late a new endpoint may be noticed.
const LOOK: Duration = Duration::from_millis(100);

/// A check cannot be made into a request.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot check the endpoints of {service}: {why}: use another probe in gateway.services.{service}.check"
)]
pub struct CheckError {
    service: Arc<str>,
    why: String,
}

/// A service whose endpoints are to be asked, and how.
#[derive(Clone)]
pub(crate) struct CheckedService {
    service: Arc<Service>,
    check: Check,
    /// None: they are asked in clear.
    tls: Option<Arc<InstanceTls>>,
    prober: Prober,
    discovery: Arc<dyn ServiceDiscovery + Send + Sync>,
}

impl CheckedService {
    /// `directory` is the one that the service is of.
    ///
    /// # Errors
    /// The check cannot be made into a request.
    pub(crate) fn new(
        service: Arc<Service>,
        (check, tls): (&Check, Option<&Arc<InstanceTls>>),
        directory: &Arc<Directory>,
        probers: &Probers,
    ) -> Result<Self, CheckError> {
        let name = service.name();
        let prober = probers.of(name, check, tls);
        let prober = prober.map_err(|error| CheckError { service: name.clone(), why: plain(&error) })?;
        let discovery = Arc::new(ServiceEndpoints::new(directory.clone(), &**name));
        Ok(Self { service, check: check.clone(), tls: tls.cloned(), prober, discovery })
    }

    pub(crate) fn service(&self) -> &Arc<Service> {
        &self.service
    }

    fn is_like(&self, other: &Self) -> bool {
        let tls = |checked: &Self| checked.tls.as_ref().map(Arc::as_ptr);
        Arc::ptr_eq(&self.service, &other.service) && self.check == other.check && tls(self) == tls(other)
    }

    fn ask(&self, endpoint: &Arc<Endpoint>, backend: &Backend) -> Ask {
        // Without its extension, which holds the endpoints as they are now: it would keep them alive for as long as
        // this is asked.
        let mut backend =
            Backend { addr: backend.addr.clone(), weight: backend.weight, ext: Default::default() };
        endpoint.host.clone().into_iter().for_each(|host| drop(backend.ext.insert(Host(host))));
        let (prober, limit) = (self.prober.clone(), self.check.timeout);
        Ask { prober, backend: Arc::new(backend), endpoint: endpoint.clone(), limit }
    }
}

/// Asks the endpoints of services whether they are well.
pub(crate) struct Checks {
    wanted: watch::Receiver<Arc<Vec<CheckedService>>>,
    services: BTreeMap<Arc<str>, Course>,
    rounds: Rounds<Ask>,
    findings: Findings,
    metrics: Arc<Metrics>,
}

/// How far the checks of one service have come.
struct Course {
    of: CheckedService,
    /// Its endpoints as they were just before the last discovery: while the directory has the same, there is nothing
    /// new. (They are compared by their place in memory, which nothing else can have as long as they are held here.)
    seen: Option<Arc<Endpoints>>,
    /// What is known of each endpoint, by its id. One that is draining gets no requests, so it is not asked; what is
    /// known of it stays, as it may come back.
    known: HashMap<u64, (Arc<Endpoint>, Active)>,
}

impl Checks {
    /// `wanted` may change while this runs, once the directory goes by the same configuration.
    pub(crate) fn new(
        wanted: watch::Receiver<Arc<Vec<CheckedService>>>,
        findings: Findings,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self { wanted, services: BTreeMap::new(), rounds: Rounds::new(MAX_RUNNING), findings, metrics }
    }

    /// Asks until the process ends.
    pub(crate) async fn run(mut self) {
        let mut looks = interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        self.follow();
        loop {
            tokio::select! {
                // An error means that the list is the last one.
                Ok(()) = self.wanted.changed() => self.follow(),
                _ = looks.tick(), if !self.services.is_empty() => self.look().await,
                answers = self.rounds.answers() => {
                    for (endpoint, (service, outcome)) in answers {
                        self.answered(endpoint, &service, outcome);
                    }
                }
            }
        }
    }

    /// From now on the wanted services' endpoints are asked, and no others. If a service has another check now, what is
    /// known of its endpoints stays, and the next look has them asked by the new one.
    fn follow(&mut self) {
        let wanted = self.wanted.borrow_and_update().clone();
        let mut former = std::mem::take(&mut self.services);
        for checked in &*wanted {
            let name = checked.service.name();
            let course = match former.remove(name) {
                Some(course) if course.of.is_like(checked) => course,
                Some(Course { known, .. }) => {
                    known.keys().for_each(|endpoint| self.rounds.stop(*endpoint));
                    Course { known, ..Course::new(checked.clone()) }
                }
                None => Course::new(checked.clone()),
            };
            self.services.insert(name.clone(), course);
        }
        former.into_values().for_each(|course| self.forget(course));
    }

    /// Nobody asks these endpoints any more, so those that are unhealthy, or had yet to pass their first check, would
    /// stay out for ever: they are reported as healthy. (The directory goes by the new configuration already: an
    /// endpoint that comes now has no check to pass.)
    fn forget(&mut self, Course { of, known, .. }: Course) {
        for (id, (endpoint, active)) in &known {
            self.rounds.stop(*id);
            if !active.is_healthy() {
                self.findings.tell(endpoint, Finding::Healthy);
            }
        }
        // Those that came since the last look.
        let endpoints = of.service.endpoints();
        let new = endpoints.entries().iter().filter(|entry| !known.contains_key(&entry.endpoint.id));
        new.filter(|entry| entry.health.unhealthy)
            .for_each(|entry| self.findings.tell(&entry.endpoint, Finding::Healthy));
    }

    /// Takes up the endpoints that have come and gives up those that have gone.
    async fn look(&mut self) {
        for course in self.services.values_mut() {
            course.look(&mut self.rounds).await;
        }
    }

    /// Takes the answer of an endpoint, and reports what the endpoint has become by it.
    fn answered(&mut self, endpoint: u64, service: &str, outcome: Checked) {
        self.metrics.checked(service, outcome);
        let Some(course) = self.services.get_mut(service) else { return };
        let Some((endpoint, active)) = course.known.get_mut(&endpoint) else { return };
        let turned = match outcome {
            Checked::Passed => active.checked(&course.of.check, true),
            Checked::Failed => active.checked(&course.of.check, false),
            Checked::Unknown => None,
        };
        if let Some(finding) = turned {
            self.findings.tell(endpoint, finding);
        }
    }
}

impl Course {
    fn new(of: CheckedService) -> Self {
        Self { of, seen: None, known: HashMap::new() }
    }

    async fn look(&mut self, rounds: &mut Rounds<Ask>) {
        let endpoints = Arc::clone(&self.of.service.endpoints());
        if self.seen.as_ref().is_some_and(|seen| Arc::ptr_eq(seen, &endpoints)) {
            return;
        }
        // The directory's never fails. If another did, it would be asked again at the next look.
        let Ok((backends, _)) = self.of.discovery.discover().await else { return };
        let mut former = std::mem::take(&mut self.known);
        for (backend, entry) in backends.iter().flat_map(|b| entries(b).map(move |e| (b, e))) {
            let (id, endpoint) = (entry.endpoint.id, &entry.endpoint);
            let new = || (endpoint.clone(), Active::new(!entry.health.unproven));
            let known = former.remove(&id).unwrap_or_else(new);
            if entry.weight == 0 {
                rounds.stop(id);
            } else if !rounds.has(id) {
                let first = now() + first_after(self.of.check.interval, &known.1, fastrand::f64());
                rounds.start(id, self.of.ask(endpoint, backend), self.of.check.interval, first);
            }
            self.known.insert(id, known);
        }
        former.into_keys().for_each(|gone| rounds.stop(gone));
        self.seen = Some(endpoints);
    }
}

/// How long after it has come an endpoint is first asked. `chance` is in [0, 1): endpoints that come together are
/// spread over the interval, and stay so. One that has to pass before it is used is asked at once.
fn first_after(interval: Duration, active: &Active, chance: f64) -> Duration {
    if active.is_healthy() { interval.mul_f64(chance) } else { Duration::ZERO }
}

/// What is asked of one endpoint.
#[derive(Clone)]
struct Ask {
    prober: Prober,
    backend: Arc<Backend>,
    endpoint: Arc<Endpoint>,
    limit: Duration,
}

impl Question for Ask {
    /// Of which service an endpoint was asked, and what came of it.
    type Answer = (Arc<str>, Checked);

    async fn ask(self) -> (Arc<str>, Checked) {
        let Self { prober, backend, endpoint, limit } = self;
        let answer = match timeout(limit, prober.check(&backend)).await {
            Ok(answer) => answer,
            Err(_) => Error::e_explain(ErrorType::ReadTimedout, "no whole answer in time"),
        };
        let failure = answer.as_ref().err().map(|error| plain(error));
        let outcome = judge(answer);
        if let Some(error) = failure {
            let (service, instance) = (&*endpoint.service, &*endpoint.instance);
            tracing::debug!(service, instance, error, "check failed");
            if outcome == Checked::Failed {
                endpoint.traffic.last_check_failure.note(error, now());
            }
        }
        (endpoint.service.clone(), outcome)
    }
}

/// What an answer says about the endpoint. That we ourselves lack files or ports says nothing: these are
/// Pingora's names for it.
fn judge(answer: pingora::Result<()>) -> Checked {
    match answer.map_err(|error| error.etype().clone()) {
        Ok(()) => Checked::Passed,
        Err(ErrorType::InternalError | ErrorType::SocketError | ErrorType::BindError) => Checked::Unknown,
        Err(_) => Checked::Failed,
    }
}

#[cfg(test)]
mod tests;
