//! The only hand that changes the directory.

mod bounds;
mod given;
mod publish;
mod route;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Instant;

use registry::contract::{Instance, Record, TooMuchMetadata};
use registry::watch::{Change, InstanceName, Update};

use super::left_out::LeftOutSet;
use super::mint::Mint;
use super::plan::Planner;
use super::ring::Builder;
use super::staged::Staged;
use super::{
    Directory, Endpoint, Entry, Finding, Health, ProbeResult, Protocol, Standing, Tenure, TenureCell,
    UnknownProtocol,
};
use crate::config::{self, Initially};

use bounds::Places;
pub(crate) use given::{Given, GivenEndpoint, Replaced};
pub(crate) use route::Routed;

/// What became of a registration.
#[derive(Debug, Clone)]
pub struct Transition {
    pub(crate) kind: TransitionKind,
    pub(crate) service: Arc<str>,
    pub(crate) instance: Arc<str>,
    /// Its endpoint before; none: it was not there.
    pub(crate) before: Option<Arc<Endpoint>>,
    /// Its endpoint after; none: it is gone.
    pub(crate) after: Option<Arc<Endpoint>>,
    pub(crate) revision: i64,
}

/// What happened to a registration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TransitionKind {
    /// It was written.
    Put,
    /// It was written, and took the key from a registration at another address that was still there. (Of a list
    /// nobody knows: a delete may have gone before.)
    TakenOver,
    /// It was written again and says what it said, though perhaps under another lease. Nothing follows from that,
    /// so it is not published.
    Renewed,
    /// It is there, unchanged, after its endpoint was in doubt.
    Confirmed,
    /// It is gone unannounced: its endpoint is suspect until [`Writer::remove`] or another put.
    Vanished,
    /// It is gone, and its endpoint with it: it was draining, so somebody took it out.
    Deleted,
    /// It is there, and refused: what it was before is gone at once.
    Refused,
}

/// Whether health's finding was news.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Novelty {
    New,
    Known,
}

/// Stages updates and publishes them.
#[derive(Debug)]
pub struct Writer {
    directory: Arc<Directory>,
    bounds: config::Bounds,
    /// By name. Services that routes name are there even if nobody is registered.
    staged: HashMap<Arc<str>, Staged>,
    /// Makes the plans of all services that no route names.
    unrouted: Planner,
    /// When services may enter and leave the map again: it is copied for that.
    map_not_before: Option<Instant>,
    /// Instances of services that routes name, and of the others.
    taken: Places,
    left_out: LeftOutSet,
    /// Whether there is room for somebody who was left out.
    has_room_again: bool,
    /// Services whose staged endpoints differ from the published ones.
    dirty: BTreeSet<Arc<str>>,
    /// Published without endpoints, and not held by a route.
    emptied: BTreeSet<Arc<str>>,
    revision: i64,
    stale: bool,
    synced: bool,
    mint: Mint,
    builder: Builder,
}

impl Writer {
    pub(super) fn new(directory: Arc<Directory>) -> Self {
        Self {
            directory,
            bounds: config::Bounds::default(),
            staged: HashMap::new(),
            unrouted: Planner::default(),
            map_not_before: None,
            taken: Places::default(),
            left_out: LeftOutSet::default(),
            has_room_again: false,
            dirty: BTreeSet::new(),
            emptied: BTreeSet::new(),
            revision: 0,
            stale: false,
            synced: false,
            mint: Mint::default(),
            builder: Builder::default(),
        }
    }

    /// The same, which takes no more than this.
    #[must_use]
    pub(crate) fn within(self, bounds: config::Bounds) -> Self {
        Self { bounds, ..self }
    }

    pub(crate) fn directory(&self) -> &Arc<Directory> {
        &self.directory
    }

    /// Takes an update and says what changed. Readers see it after [`Writer::publish`].
    pub fn stage(&mut self, update: Update, now: Instant) -> Vec<Transition> {
        match update {
            Update::Reset { instances, refused, revision } => {
                self.revision = revision;
                self.stale = false;
                let changed = self.reset(instances, refused, revision, now);
                self.synced = true;
                changed
            }
            Update::Apply { changes, revision } => {
                self.revision = revision;
                changes.into_iter().filter_map(|change| self.apply(change, now)).collect()
            }
        }
    }

    /// Takes what the registry once held, until it is heard: each endpoint is stale. Returns them.
    pub(crate) fn stage_stale(&mut self, instances: Vec<Instance>, revision: i64) -> Vec<Arc<Endpoint>> {
        self.revision = revision;
        self.stale = true;
        let instances = self.in_order(instances);
        let stage = |instance| {
            let instance = self.admit(instance)?;
            Some(self.insert((instance, None), Standing::Stale(ProbeResult::Pending), None).1)
        };
        instances.into_iter().filter_map(stage).collect()
    }

    /// Replaces the picture by the difference: what is unchanged keeps its endpoint.
    fn reset(
        &mut self,
        instances: Vec<Instance>,
        refused: Vec<InstanceName>,
        revision: i64,
        now: Instant,
    ) -> Vec<Transition> {
        let mut changed: Vec<_> =
            refused.into_iter().filter_map(|name| self.refuse(&name, revision)).collect();
        let listed: BTreeSet<_> = instances.iter().map(|i| (i.service.clone(), i.id.clone())).collect();
        self.left_out.keep(listed.iter().map(|(service, id)| (service, id)));
        let known = self
            .staged
            .iter()
            .flat_map(|(service, s)| s.entries.keys().map(move |id| (service.clone(), id.clone())));
        let gone: Vec<_> = known.filter(|name| !listed.contains(name)).collect();

        changed.extend(gone.into_iter().filter_map(|(service, id)| self.delete(service, id, revision, now)));
        changed.extend(self.in_order(instances).into_iter().filter_map(|i| self.list(i, now)));
        changed
    }

    fn list(&mut self, instance: Instance, now: Instant) -> Option<Transition> {
        let known = self.entry(&instance.service, &instance.id).filter(|entry| says(entry, &instance));
        match known.map(|entry| entry.standing) {
            Some(Standing::Registered) => self.renew(&instance),
            Some(Standing::Suspect(_) | Standing::Stale(_)) => {
                self.put(instance, TransitionKind::Confirmed, now)
            }
            Some(Standing::Given) | None => self.put(instance, TransitionKind::Put, now),
        }
    }

    /// Notes another lease or revision of a registration that otherwise says the same. None: both are the same, too.
    fn renew(&self, instance: &Instance) -> Option<Transition> {
        let Instance { service, id, lease, revision, .. } = instance;
        let (lease, revision) = (*lease, *revision);
        let entry = self.entry(service, id)?;
        if entry.tenure.get() == (Tenure { lease, revision }) {
            return None;
        }
        entry.tenure.renew(Tenure { lease, revision });
        let endpoint = Some(entry.endpoint.clone());
        let (service, instance) = (service.clone(), id.clone());
        Some(Transition {
            kind: TransitionKind::Renewed,
            service,
            instance,
            before: endpoint.clone(),
            after: endpoint,
            revision,
        })
    }

    fn apply(&mut self, change: Change, now: Instant) -> Option<Transition> {
        match change {
            Change::Put(instance) => {
                let known = self.entry(&instance.service, &instance.id);
                let is_same =
                    |entry: &Entry| entry.standing == Standing::Registered && says(entry, &instance);
                if known.is_some_and(is_same) {
                    return self.renew(&instance);
                }
                let kind =
                    if self.takes_over(&instance) { TransitionKind::TakenOver } else { TransitionKind::Put };
                self.put(instance, kind, now)
            }
            Change::Delete { service, id, revision } => {
                self.left_out.remove(&service, &id);
                self.delete(service, id, revision, now)
            }
            Change::Refused { name, revision } => self.refuse(&name, revision),
        }
    }

    /// Whether it takes the key from another process that is still there. One with the same lease is the same
    /// registrar, which may change its address.
    fn takes_over(&self, instance: &Instance) -> bool {
        self.entry(&instance.service, &instance.id).is_some_and(|entry| {
            let lease = entry.tenure.get().lease;
            entry.standing == Standing::Registered
                && entry.endpoint.address != instance.record.address
                && (lease != instance.lease || lease == 0)
        })
    }

    /// Takes an instance in. None: there was no room, and it is left out.
    fn put(&mut self, instance: Instance, kind: TransitionKind, now: Instant) -> Option<Transition> {
        let instance = self.admit(instance)?;
        let (service, id, revision) = (instance.service.clone(), instance.id.clone(), instance.revision);
        // What the first list shows was there before the gateway looked.
        let usable_since = self.synced.then_some(now);
        let (before, after) = self.insert((instance, None), Standing::Registered, usable_since);
        Some(Transition { kind, service, instance: id, before, after: Some(after), revision })
    }

    /// Sets an instance, and returns its endpoint before and after: the same one, if its address is the same. A new
    /// endpoint counts as usable since the given time; none: since before the gateway. `host`: the name that the
    /// configuration gives for its address.
    fn insert(
        &mut self,
        (instance, host): (Instance, Option<Arc<str>>),
        standing: Standing,
        usable_since: Option<Instant>,
    ) -> (Option<Arc<Endpoint>>, Arc<Endpoint>) {
        let Instance { service, id, record, lease, revision } = instance;
        let Record { address, weight, metadata } = record;
        let (service, planner, known) = match self.staged.get_key_value(&service) {
            // Each instance came with a copy of the service's name: from here on they share one.
            Some((name, staged)) => {
                (name.clone(), staged.planner.as_deref(), staged.entries.get(&id).map(Box::as_ref))
            }
            None => (service, None, None),
        };
        let is_routed = planner.is_some();
        let before = known.map(|entry| entry.endpoint.clone());
        let counted = known.map_or(0, Entry::places);
        let is_same = |endpoint: &Endpoint| endpoint.address == address && endpoint.host == host;
        let same = known.filter(|entry| is_same(&entry.endpoint));
        let same = same.map(|entry| (entry.endpoint.clone(), entry.health, entry.usable_since));
        let (endpoint, health, usable_since) = same.unwrap_or_else(|| {
            let instance = before.as_ref().map_or(id, |before| before.instance.clone());
            let endpoint = self.mint.endpoint(service.clone(), instance, (address, host.clone()), is_routed);
            (endpoint, initial_health(planner), usable_since)
        });
        let entry = Entry {
            endpoint: endpoint.clone(),
            weight,
            tenure: TenureCell::new(Tenure { lease, revision }),
            standing,
            vanished: None,
            health,
            usable_since,
            protocol: Protocol::of(&metadata).unwrap_or_default(),
            metadata,
        };
        let taken = self.taken.by(is_routed);
        *taken = *taken + entry.places() - counted;
        self.staged.entry(service.clone()).or_default().insert(entry);
        self.dirty.insert(service);
        (before, endpoint)
    }

    fn delete(
        &mut self,
        service: Arc<str>,
        instance: Arc<str>,
        revision: i64,
        now: Instant,
    ) -> Option<Transition> {
        let is_given = self.is_given(&service);
        let staged = self.staged.get_mut(&service)?;
        let entry = staged.entries.get(&instance)?;
        let before = entry.endpoint.clone();
        let probe = match entry.standing {
            Standing::Registered => ProbeResult::Pending,
            Standing::Given if is_given => return None,
            // It was given once, and now those are its service's that register.
            Standing::Given => ProbeResult::Failed,
            // Unlike one that served a moment ago, it is not used before a probe has passed. The guard drops
            // it only when one has failed.
            Standing::Stale(ProbeResult::Pending) => ProbeResult::Failed,
            Standing::Stale(probe) => probe,
            Standing::Suspect(_) => return None,
        };
        let (kind, after) = if entry.weight == 0 || entry.standing == Standing::Given {
            self.take_out(&service, &instance);
            (TransitionKind::Deleted, None)
        } else {
            staged.vanish(&instance, probe, now);
            (TransitionKind::Vanished, Some(before.clone()))
        };
        self.dirty.insert(service.clone());
        Some(Transition { kind, service, instance, before: Some(before), after, revision })
    }

    /// Takes out an endpoint whose key holds something that is refused, however it stands. None: there is none.
    fn refuse(&mut self, InstanceName { service, id }: &InstanceName, revision: i64) -> Option<Transition> {
        self.left_out.remove(service, id);
        self.entry(service, id).filter(|entry| entry.standing != Standing::Given)?;
        let removed = self.take_out(service, id)?;
        let (service, instance, before) = (service.clone(), id.clone(), Some(removed.endpoint));
        Some(Transition { kind: TransitionKind::Refused, service, instance, before, after: None, revision })
    }

    /// Takes out a suspect endpoint. None: it is not there, or no longer suspect.
    pub(crate) fn remove(&mut self, service: &Arc<str>, instance: &str) -> Option<Entry> {
        self.entry(service, instance).filter(|entry| entry.standing.is_suspect())?;
        self.take_out(service, instance)
    }

    fn take_out(&mut self, service: &Arc<str>, instance: &str) -> Option<Entry> {
        let staged = self.staged.get_mut(service)?;
        let removed = staged.remove(instance)?;
        *self.taken.by(staged.is_routed()) -= removed.places();
        self.has_room_again |= self.left_out.waits_for(service);
        self.dirty.insert(service.clone());
        Some(removed)
    }

    /// Notes a probe's outcome, and returns how the endpoint stands now. None: it has been replaced, is
    /// gone, or is registered again; the outcome says nothing then.
    pub(crate) fn probed(&mut self, endpoint: &Endpoint, probe: ProbeResult) -> Option<Standing> {
        let entry = self.entry(&endpoint.service, &endpoint.instance)?;
        if entry.endpoint.id != endpoint.id || !entry.standing.is_doubted() {
            return None;
        }
        let standing = entry.standing.probed(probe);
        if entry.standing != standing {
            self.staged.get_mut(&endpoint.service)?.set_standing(&endpoint.instance, standing);
            self.dirty.insert(endpoint.service.clone());
        }
        Some(standing)
    }

    /// Notes what health found of an endpoint. None: it is gone or has been replaced.
    pub(crate) fn judged(&mut self, endpoint: &Endpoint, finding: Finding, now: Instant) -> Option<Novelty> {
        let staged = self.staged.get_mut(&endpoint.service)?;
        let entry = staged.entries.get_mut(&endpoint.instance)?;
        if entry.endpoint.id != endpoint.id {
            return None;
        }
        let before = entry.health;
        if finding == Finding::Healthy && before.unproven {
            // What was there before the gateway is not new.
            entry.usable_since = entry.usable_since.map(|_| now);
        }
        match finding {
            Finding::Ejected(why) => entry.health.ejected = Some(why),
            Finding::Returned => entry.health.ejected = None,
            Finding::Unhealthy => (entry.health.unhealthy, entry.health.unproven) = (true, false),
            Finding::Healthy => (entry.health.unhealthy, entry.health.unproven) = (false, false),
        }
        if entry.health == before {
            return Some(Novelty::Known);
        }
        self.dirty.insert(endpoint.service.clone());
        Some(Novelty::New)
    }

    /// Whether a route names a service.
    pub(crate) fn is_routed(&self, service: &str) -> bool {
        self.staged.get(service).is_some_and(Staged::is_routed)
    }

    /// How many endpoints of a service are registered and not draining.
    pub(crate) fn up(&self, service: &str) -> usize {
        self.staged.get(service).map_or(0, |staged| staged.up)
    }

    /// Why an instance is used without its metadata, if it is.
    pub(crate) fn left_out_metadata(&self, service: &str, instance: &str) -> Option<TooMuchMetadata> {
        self.entry(service, instance)?.metadata.left_out()
    }

    /// What the metadata of an instance says of its protocol and is not understood, if it does.
    pub(crate) fn unknown_protocol(&self, service: &str, instance: &str) -> Option<UnknownProtocol> {
        Protocol::of(&self.entry(service, instance)?.metadata).err()
    }

    fn entry(&self, service: &str, instance: &str) -> Option<&Entry> {
        self.staged.get(service)?.entries.get(instance).map(Box::as_ref)
    }
}

/// What is known of an endpoint that nothing was heard of yet. `planner`: its service's, if a route names that.
fn initial_health(planner: Option<&Planner>) -> Health {
    let unproven = planner.is_some_and(|planner| planner.policy().initially == Initially::Unhealthy);
    Health { unhealthy: unproven, unproven, ..Health::default() }
}

/// Whether an entry says what the instance does, be it by another put.
fn says(entry: &Entry, instance: &Instance) -> bool {
    let Record { address, weight, metadata } = &instance.record;
    entry.endpoint.address == *address && entry.weight == *weight && entry.metadata == *metadata
}

#[cfg(test)]
mod tests;
