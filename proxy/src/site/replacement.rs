//! How one site takes another's place while requests go on, and how routes by path adopt the services that register.
//!
//! First the directory routes the services of both sites, so that each of the two finds its own at any moment. Then the
//! new site serves, at once for all requests that begin from then on. At last the directory goes by the new site: the
//! services have its policies, and what only the former one named is let go. A service is adopted in the same way, but the
//! site stays as it is, and so does each of its routes.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use registry::log_line::{Quota, Say};
use tokio::sync::{Mutex, watch};
use tokio::task::spawn_blocking;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use super::adoption::{Places, There};
use super::by_path::{Adopted, ByPath};
use super::draft::{Carried, Draft, DraftError, Materials, policies};
use super::{Current, Ends, Site, Target};
use crate::config;
use crate::directory::{Policy, Services};
use crate::discovery::Routing;
use crate::health::checks::CheckedService;
use crate::health::service_health::Rules;
use crate::tasks::{joined, now};

/// From one look at who is there to the next, if nobody comes: so late may be noticed that somebody has gone.
const LOOK: Duration = Duration::from_secs(1);
/// From the end of one look to the next, however many come.
const REST: Duration = Duration::from_millis(10);

/// How long reading files of certificates may take before the next site is given up.
const PATIENCE: Duration = Duration::from_secs(10);

/// Whose endpoints are asked whether they are well.
pub(crate) type Checked = watch::Sender<Arc<Vec<CheckedService>>>;

/// Puts one site in another's place.
pub(crate) struct Replacement {
    current: Arc<Current>,
    materials: Materials,
    routing: Routing,
    checked: Checked,
    /// Held while files of certificates are read: no other reading begins beside one, or a disk that hangs would take a thread
    /// at each reload.
    reading: Arc<Mutex<()>>,
    /// Held while the site changes, or what it has adopted.
    settings: Mutex<Settings>,
}

/// What the configuration that serves says of services that register at any time.
struct Settings {
    services: config::Services,
    connect: Duration,
    /// Of lines about services that are not adopted: whoever may register could have any number of them.
    quota: Quota,
}

impl Settings {
    fn of(config: &config::Gateway) -> Self {
        let (services, connect) = (config.services.clone(), config.timeouts.connect);
        Self { services, connect, quota: Quota::default() }
    }

    fn follow(&mut self, config: &config::Gateway) {
        (self.services, self.connect) = (config.services.clone(), config.timeouts.connect);
    }
}

/// Why a site was not replaced. What served goes on, unchanged.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReplaceError {
    #[error(transparent)]
    Draft(#[from] DraftError),
    #[error(
        "the files of certificates that gateway.listen and the sections tls of services name cannot be read in 10 s: is their \
         disk well?"
    )]
    Hangs,
    #[error("the gateway is ending")]
    Ending,
}

impl Replacement {
    /// `config`: what the site that serves was made of.
    pub(crate) fn new(
        config: &config::Gateway,
        (current, materials): (Arc<Current>, Materials),
        routing: Routing,
        checked: Checked,
    ) -> Self {
        let settings = Mutex::new(Settings::of(config));
        Self { current, materials, routing, checked, reading: Arc::default(), settings }
    }

    /// Serves by another configuration from now on. Returns the former site, which requests that began under it may still
    /// hold. One call ends before the next begins.
    pub(super) async fn replace(&self, config: &config::Gateway) -> Result<Arc<Site>, ReplaceError> {
        // Nobody waits for these files but the next site.
        let ends = self.ends(config).await?;
        let mut settings = self.settings.lock().await;
        let former = self.current.get();
        let carried = Carried::over(config, &former);
        let policy = |name: &Arc<str>| (name.clone(), Policy::from(config.services.get(name)));
        let mut policies = policies(config);
        policies.extend(carried.services().map(policy));
        let policies: Vec<_> = policies.into_iter().collect();
        let routed = self.routing.begin(policies.clone()).await;
        let services = routed.ok_or(ReplaceError::Ending)?;
        let draft = Draft::new(config, ends, (&services, &carried), &former, &self.materials);
        let connect = config.timeouts.connect;
        let (kept, gone, outcome) = match draft {
            Ok(draft) => {
                // Those of the snapshot go, too, if nobody will adopt them.
                let known = if draft.site.by_path.is_empty() {
                    self.routed()
                } else {
                    former.services().into_iter().collect()
                };
                let gone = without(known, &draft.site);
                self.take(draft);
                settings.follow(config);
                (policies, gone, Ok(former))
            }
            Err(error) => (Vec::new(), without(services.into_keys(), &former), Err(error.into())),
        };
        self.routing.settle(kept, gone, connect).await;
        self.adopt_by(&mut settings).await;
        outcome
    }

    /// Read on a thread that may wait for a disk.
    async fn ends(&self, config: &config::Gateway) -> Result<Ends, ReplaceError> {
        let (listen, services) = (config.listen.clone(), config.services.clone());
        let (serving, reading) = (self.current.get(), self.reading.clone());
        let read = async {
            let turn = reading.lock_owned().await;
            let read = move || {
                let _turn = turn;
                Ends::next((&listen, &services), &serving)
            };
            spawn_blocking(read).await
        };
        let read = timeout(PATIENCE, read).await.map_err(|_| ReplaceError::Hangs)?;
        Ok(joined(read).ok_or(ReplaceError::Ending)??)
    }

    fn take(&self, draft: Draft) {
        let now = Instant::now();
        draft.rules.into_iter().for_each(|(health, rules)| health.apply(rules, now));
        self.checked.send_replace(draft.checked);
        self.current.set(draft.site);
    }

    /// Has the routes by path lead to whoever registers, and to no one whose place another needs.
    async fn adopt(&self) {
        let mut settings = self.settings.lock().await;
        self.adopt_by(&mut settings).await;
    }

    /// Whether all routes by path lead to whoever was there when there was a picture.
    fn has_looked(&self) -> bool {
        self.current.get().by_path.iter().all(|route| route.adopted().has_looked)
    }

    async fn adopt_by(&self, settings: &mut Settings) {
        let site = self.current.get();
        if site.by_path.is_empty() {
            return;
        }
        let has_looked = self.materials.directory.is_filled();
        let (there, now) = (self.there(), now());
        let next = site.by_path.iter().filter_map(|route| {
            let before = route.adopted();
            let places = before.places.next(&there, &route.allowed, now);
            let is_other = places != before.places || has_looked != before.has_looked;
            is_other.then_some((&**route, before, places))
        });
        let next: Vec<_> = next.collect();
        if next.is_empty() {
            return;
        }
        let entering = |(_, before, places): &(_, Arc<Adopted>, Places)| -> Vec<Arc<str>> {
            places.services().filter(|service| !before.targets.contains_key(*service)).cloned().collect()
        };
        let entering: BTreeSet<_> = next.iter().flat_map(entering).collect();
        let policy = |name: Arc<str>| (name.clone(), Policy::from(settings.services.get(&name)));
        let entering: Vec<_> = entering.into_iter().map(policy).collect();
        let begun = self.routing.begin(entering.clone()).await;
        let Some(begun) = begun else { return };
        let targets = self.targets(&site, begun, settings);
        let known: Vec<_> = if has_looked { self.routed() } else { site.services().into_iter().collect() };
        for (route, before, places) in next {
            tell(route, &before.places, &places, (&mut settings.quota, now));
            route.set(adopted(places, has_looked, &before, &targets));
        }
        let gone = without(known, &site);
        self.check(&targets, &gone, settings);
        self.routing.settle(entering, gone, settings.connect).await;
    }

    /// All services that are routed: also those of the snapshot of which it was not known whether they would be adopted.
    fn routed(&self) -> Vec<Arc<str>> {
        let services = self.materials.directory.services();
        let routed = services.values().filter(|service| service.is_routed());
        routed.map(|service| service.name().clone()).collect()
    }

    /// The services that have endpoints.
    fn there(&self) -> There {
        let services = self.materials.directory.services();
        let mut there = There::new();
        for service in services.values() {
            let endpoints = service.endpoints();
            let revisions = endpoints.entries().iter().map(|entry| entry.tenure.get().revision);
            there.extend(revisions.min().map(|lowest| (service.name().clone(), lowest)));
        }
        there
    }

    /// Services that are adopted now. What lasts of one that another route leads to, they share.
    fn targets(&self, site: &Site, begun: Services, settings: &Settings) -> HashMap<Arc<str>, Arc<Target>> {
        let target = |(name, service): (Arc<str>, _)| {
            let rules = settings.services.get(&name);
            let lasting = self.materials.lasting(&service, Rules::of(rules), site.lasting(&name));
            (name.clone(), Arc::new(Target::new(&lasting, rules, site.tls.of(&name))))
        };
        begun.into_iter().map(target).collect()
    }

    /// Has those who come asked whether they are well, where the configuration says so, and those who go no more.
    fn check(&self, come: &HashMap<Arc<str>, Arc<Target>>, gone: &[Arc<str>], settings: &Settings) {
        let known = self.checked.borrow().clone();
        let mut checked: BTreeMap<_, _> =
            known.iter().map(|checked| (checked.service().name().clone(), checked.clone())).collect();
        gone.iter().for_each(|name| drop(checked.remove(name)));
        for (name, target) in come.iter().filter(|(name, _)| !gone.contains(name)) {
            match self.materials.checked(&target.lasting(), settings.services.get(name), target.tls.as_ref())
            {
                Some(Ok(check)) => drop(checked.entry(name.clone()).or_insert(check)),
                Some(Err(error)) => tracing::error!(%error, "the service is used unchecked"),
                None => {}
            }
        }
        if checked.len() != known.len() || !gone.is_empty() {
            self.checked.send_replace(Arc::new(checked.into_values().collect()));
        }
    }

    /// How many services there are in the site that serves, and how many routes that lead to nothing.
    pub(super) fn counts(&self) -> (usize, usize) {
        let site = self.current.get();
        (site.services().len(), site.without_endpoint())
    }
}

/// What a route leads to from now on.
fn adopted(
    places: Places,
    has_looked: bool,
    before: &Adopted,
    come: &HashMap<Arc<str>, Arc<Target>>,
) -> Adopted {
    let target = |name: &Arc<str>| Some((name.clone(), before.targets.get(name).or(come.get(name))?.clone()));
    let targets = places.services().filter_map(target).collect();
    Adopted { places, targets, has_looked }
}

fn tell(route: &ByPath, before: &Places, next: &Places, (quota, now): (&mut Quota, Instant)) {
    let (was, is): (BTreeSet<_>, BTreeSet<_>) = (before.services().collect(), next.services().collect());
    let route = &*route.route;
    for service in is.difference(&was) {
        tracing::info!(route, service = &***service, "service adopted");
    }
    for service in was.difference(&is) {
        tracing::info!(route, service = &***service, "service no longer adopted: another needs its place");
    }
    if before.left_out().is_empty()
        && let Some(service) = next.left_out().first()
    {
        match quota.next(now) {
            Say::All => tracing::warn!(
                route,
                service = &**service,
                "a service is not adopted, as the route has max_services already: /routes names those that are left out"
            ),
            Say::ThatThereIsMore => tracing::warn!(
                "more services are not adopted: leaseway_services_left_out has their number, and /routes their names"
            ),
            Say::Nothing => {}
        }
    }
}

/// Those of these services that a site neither names nor has adopted.
fn without(names: impl IntoIterator<Item = Arc<str>>, site: &Site) -> Vec<Arc<str>> {
    let kept = site.services();
    names.into_iter().filter(|name| !kept.contains(name)).collect()
}

/// Has services adopted as they register.
pub(crate) struct Adoption(pub(crate) Arc<Replacement>);

impl Adoption {
    /// Runs until the process ends; calls `ready` once, when all are adopted that were there at the start.
    pub(crate) async fn run(self, ready: impl FnOnce()) {
        let mut ready = Some(ready);
        let mut looks = interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = self.0.materials.directory.arrival() => {}
                _ = looks.tick() => {}
            }
            self.0.adopt().await;
            if self.0.has_looked()
                && let Some(ready) = ready.take()
            {
                ready();
            }
            sleep(REST).await;
        }
    }
}

#[cfg(test)]
mod tests;
