//! The only hand that changes the directory.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use registry::contract::Instance;
use registry::watch::{Change, Update};

use super::{Directory, Endpoint, Endpoints, Entry, Service};

/// Under a storm of changes a service is published at most once in this time; a change after a quiet
/// time is published at once.
const PUBLISH_INTERVAL: Duration = Duration::from_millis(10);

/// A change of an endpoint, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changed {
    /// What happened to the registration.
    pub kind: Kind,
    /// The service.
    pub service: Arc<str>,
    /// The instance.
    pub instance: Arc<str>,
    /// Its address before; none: it was not there.
    pub before: Option<SocketAddr>,
    /// Its address after; none: it is gone.
    pub after: Option<SocketAddr>,
    /// The revision.
    pub revision: i64,
}

/// What happened to a registration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It was written.
    Put,
    /// It is gone.
    Delete,
}

/// Stages updates and publishes them.
#[derive(Debug)]
pub struct Writer {
    directory: Arc<Directory>,
    pinned: BTreeSet<Arc<str>>,
    staged: HashMap<Arc<str>, Staged>,
    /// Services whose staged endpoints differ from the published ones.
    dirty: BTreeSet<Arc<str>>,
    /// Published without endpoints, and not held by a route.
    emptied: BTreeSet<Arc<str>>,
    revision: i64,
    synced: bool,
    next_id: u64,
}

#[derive(Debug, Default)]
struct Staged {
    entries: BTreeMap<Arc<str>, Entry>,
    published: Option<Instant>,
}

impl Writer {
    pub(super) fn new(directory: Arc<Directory>) -> Self {
        let pinned = directory.services().keys().cloned().collect();
        Self {
            directory,
            pinned,
            staged: HashMap::new(),
            dirty: BTreeSet::new(),
            emptied: BTreeSet::new(),
            revision: 0,
            synced: false,
            next_id: 0,
        }
    }

    /// Takes an update and says what changed. Readers see it after [`Writer::publish`].
    pub fn stage(&mut self, update: Update) -> Vec<Changed> {
        match update {
            Update::Reset { instances, revision } => {
                self.revision = revision;
                self.synced = true;
                self.reset(instances, revision)
            }
            Update::Apply { changes, revision } => {
                self.revision = revision;
                changes.into_iter().filter_map(|c| self.apply(c)).collect()
            }
        }
    }

    /// Replaces the picture by the difference: what is unchanged keeps its endpoint.
    fn reset(&mut self, instances: Vec<Instance>, revision: i64) -> Vec<Changed> {
        let listed: BTreeSet<_> = instances.iter().map(|i| (i.service.clone(), i.id.clone())).collect();
        let known = self
            .staged
            .iter()
            .flat_map(|(service, s)| s.entries.keys().map(move |id| (service.clone(), id.clone())));
        let gone: Vec<_> = known.filter(|name| !listed.contains(name)).collect();

        let deleted = gone
            .into_iter()
            .filter_map(|(service, id)| self.delete(service, id, revision))
            .collect::<Vec<_>>();
        let put = instances.into_iter().filter(|i| !self.has(i)).collect::<Vec<_>>();
        let put = put.into_iter().map(|i| self.put(i));
        deleted.into_iter().chain(put.collect::<Vec<_>>()).collect()
    }

    fn has(&self, instance: &Instance) -> bool {
        self.staged.get(&instance.service).and_then(|s| s.entries.get(&instance.id)).is_some_and(|entry| {
            // The revision alone would do, but for a registry that was emptied and counts anew.
            entry.revision == instance.revision
                && entry.lease == instance.lease
                && entry.weight == instance.record.weight
                && entry.endpoint.address == instance.record.address
        })
    }

    fn apply(&mut self, change: Change) -> Option<Changed> {
        match change {
            Change::Put(instance) => Some(self.put(instance)),
            Change::Delete { service, id, revision } => self.delete(service, id, revision),
        }
    }

    fn put(&mut self, instance: Instance) -> Changed {
        let Instance { service, id, record, lease, revision } = instance;
        let entries = &mut self.staged.entry(service.clone()).or_default().entries;
        let known = entries.get(&id).map(|entry| entry.endpoint.clone());
        let before = known.as_ref().map(|endpoint| endpoint.address);
        let endpoint = match known {
            Some(endpoint) if endpoint.address == record.address => endpoint,
            _ => {
                self.next_id += 1;
                Arc::new(Endpoint {
                    id: self.next_id,
                    service: service.clone(),
                    instance: id.clone(),
                    address: record.address,
                })
            }
        };
        let entry = Entry { endpoint, weight: record.weight, lease, revision };
        entries.insert(id.clone(), entry);
        self.dirty.insert(service.clone());
        Changed { kind: Kind::Put, service, instance: id, before, after: Some(record.address), revision }
    }

    fn delete(&mut self, service: Arc<str>, instance: Arc<str>, revision: i64) -> Option<Changed> {
        let gone = self.staged.get_mut(&service)?.entries.remove(&instance)?;
        self.dirty.insert(service.clone());
        Some(Changed {
            kind: Kind::Delete,
            service,
            instance,
            before: Some(gone.endpoint.address),
            after: None,
            revision,
        })
    }

    /// Shows the staged changes to readers, service by service. Returns when to call again for those that
    /// were published too recently, if there are any.
    pub fn publish(&mut self, now: Instant) -> Option<Instant> {
        let mut next: Option<Instant> = None;
        let mut due = Vec::new();
        for service in &self.dirty {
            let published = self.staged.get(service).and_then(|s| s.published);
            match published.map(|at| at + PUBLISH_INTERVAL) {
                Some(at) if at > now => next = Some(next.map_or(at, |n| n.min(at))),
                _ => due.push(service.clone()),
            }
        }
        self.add_missing(&due);
        for service in &due {
            self.dirty.remove(service);
            self.publish_service(service, now);
        }
        let next = self.remove_empty(now, next);
        if self.dirty.is_empty() {
            self.directory.revision.store(self.revision, Ordering::Relaxed);
        }
        self.directory.synced.store(self.synced, Ordering::Release);
        next
    }

    fn publish_service(&mut self, name: &Arc<str>, now: Instant) {
        let Some(staged) = self.staged.get_mut(name) else {
            return;
        };
        let entries: Vec<_> = staged.entries.values().cloned().collect();
        staged.published = Some(now);
        if entries.is_empty() && !self.pinned.contains(name) {
            self.emptied.insert(name.clone());
        }
        if let Some(service) = self.directory.services.load().get(name) {
            service.endpoints.store(Arc::new(Endpoints::new(entries)));
        }
    }

    /// New services enter the map together: it is copied once a publication, not once a service.
    fn add_missing(&self, names: &[Arc<str>]) {
        let known = self.directory.services.load();
        if names.iter().all(|name| known.contains_key(name)) {
            return;
        }
        let mut services = (**known).clone();
        for name in names {
            services.entry(name.clone()).or_insert_with(|| Arc::new(Service::new(name)));
        }
        self.directory.services.store(Arc::new(services));
    }

    /// A service without endpoints leaves the map, unless a route holds it: names that come and go must
    /// not add up. Not before its interval is over: one that flaps must not have the map copied each time.
    fn remove_empty(&mut self, now: Instant, mut next: Option<Instant>) -> Option<Instant> {
        let mut gone = Vec::new();
        self.emptied.retain(|name| {
            let Some(staged) = self.staged.get(name).filter(|s| s.entries.is_empty()) else { return false };
            let until = staged.published.map_or(now, |at| at + PUBLISH_INTERVAL);
            if until > now {
                next = Some(next.map_or(until, |n| n.min(until)));
                return true;
            }
            gone.push(name.clone());
            false
        });
        if !gone.is_empty() {
            let mut services = (**self.directory.services.load()).clone();
            for name in gone {
                services.remove(&name);
                self.staged.remove(&name);
            }
            self.directory.services.store(Arc::new(services));
        }
        next
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use registry::contract::Record;

    fn instance(service: &str, id: &str, address: &str, revision: i64) -> Instance {
        Instance {
            service: service.into(),
            id: id.into(),
            record: Record::new(address.parse().unwrap()),
            lease: 7,
            revision,
        }
    }

    fn put(id: &str, address: &str, revision: i64) -> Update {
        let changes = vec![Change::Put(instance("goods", id, address, revision))];
        Update::Apply { changes, revision }
    }

    fn delete(id: &str, revision: i64) -> Update {
        let (service, id) = ("goods".into(), id.into());
        let changes = vec![Change::Delete { service, id, revision }];
        Update::Apply { changes, revision }
    }

    fn shown(directory: &Directory) -> Vec<(String, u64)> {
        let service = directory.service("goods").unwrap();
        let endpoints = service.endpoints();
        let shown = |e: &Entry| (e.endpoint.address.to_string(), e.endpoint.id);
        endpoints.entries().iter().map(shown).collect()
    }

    #[test]
    fn readers_see_a_change_when_it_is_published() {
        let (directory, mut writer) = super::super::new(["goods"]);
        writer.stage(put("a", "10.0.0.1:80", 5));
        assert!(shown(&directory).is_empty());
        assert_eq!(writer.publish(Instant::now()), None);
        assert_eq!(shown(&directory), [("10.0.0.1:80".to_owned(), 1)]);
        assert_eq!(directory.revision(), 5);
    }

    #[test]
    fn a_storm_is_published_once_an_interval_and_its_last_change_is_not_lost() {
        let (directory, mut writer) = super::super::new(["goods"]);
        let now = Instant::now();
        writer.stage(put("a", "10.0.0.1:80", 5));
        assert_eq!(writer.publish(now), None);
        writer.stage(delete("a", 6));
        let next = writer.publish(now + Duration::from_millis(3));
        assert_eq!(next, Some(now + PUBLISH_INTERVAL));
        assert_eq!(shown(&directory).len(), 1);
        assert_eq!(writer.publish(now + PUBLISH_INTERVAL), None);
        assert!(shown(&directory).is_empty());
    }

    #[test]
    fn a_storm_of_one_service_does_not_delay_another() {
        let (directory, mut writer) = super::super::new(["goods"]);
        let now = Instant::now();
        writer.stage(put("a", "10.0.0.1:80", 5));
        writer.publish(now);
        writer.stage(put("b", "10.0.0.2:80", 6));
        let changes = vec![Change::Put(instance("other", "x", "10.0.0.3:80", 7))];
        writer.stage(Update::Apply { changes, revision: 7 });
        assert!(writer.publish(now).is_some());
        assert_eq!(directory.service("other").unwrap().endpoints().entries().len(), 1);
    }

    #[test]
    fn an_endpoint_keeps_its_identity_until_its_address_changes_or_it_goes() {
        let (directory, mut writer) = super::super::new(["goods"]);
        let mut now = Instant::now();
        let mut id_after = |update| {
            writer.stage(update);
            now += PUBLISH_INTERVAL;
            writer.publish(now);
            shown(&directory).first().map(|(_, id)| *id)
        };
        assert_eq!(id_after(put("a", "10.0.0.1:80", 1)), Some(1));
        assert_eq!(id_after(put("a", "10.0.0.1:80", 2)), Some(1), "a new lease");
        let instances = vec![instance("goods", "a", "10.0.0.1:80", 9)];
        assert_eq!(id_after(Update::Reset { instances, revision: 9 }), Some(1), "a resync");
        assert_eq!(id_after(put("a", "10.0.0.9:80", 10)), Some(2));
        assert_eq!(id_after(delete("a", 11)), None);
        assert_eq!(id_after(put("a", "10.0.0.9:80", 12)), Some(3), "no id twice");
    }

    #[test]
    fn a_reset_reports_only_what_differs() {
        let (_, mut writer) = super::super::new([]);
        let listed = |ids: &[&str]| ids.iter().map(|id| instance("goods", id, "10.0.0.1:80", 3)).collect();
        let reset = |instances| Update::Reset { instances, revision: 3 };
        assert_eq!(writer.stage(reset(listed(&["a", "b"]))).len(), 2);
        assert!(writer.stage(reset(listed(&["a", "b"]))).is_empty());
        let changed = writer.stage(reset(listed(&["b", "c"])));
        let told: Vec<_> = changed.iter().map(|c| (c.kind, &*c.instance)).collect();
        assert_eq!(told, [(Kind::Delete, "a"), (Kind::Put, "c")]);
    }

    #[test]
    fn a_service_without_endpoints_is_forgotten_unless_a_route_holds_it() {
        let (directory, mut writer) = super::super::new(["goods"]);
        let mut now = Instant::now();
        for (service, id) in [("goods", "a"), ("other", "b")] {
            let changes = vec![Change::Put(instance(service, id, "10.0.0.1:80", 1))];
            writer.stage(Update::Apply { changes, revision: 1 });
        }
        writer.publish(now);
        assert_eq!(directory.services().len(), 2);
        writer.stage(Update::Reset { instances: Vec::new(), revision: 2 });
        now += PUBLISH_INTERVAL;
        assert_eq!(writer.publish(now), Some(now + PUBLISH_INTERVAL));
        now += PUBLISH_INTERVAL;
        assert_eq!(writer.publish(now), None);
        assert_eq!(directory.services().keys().map(|n| &**n).collect::<Vec<_>>(), ["goods"]);
        assert_eq!(writer.staged.len(), 1);
    }

    #[test]
    fn a_delete_of_what_is_not_there_is_no_change() {
        let (_, mut writer) = super::super::new([]);
        assert!(writer.stage(delete("a", 4)).is_empty());
        assert!(!writer.synced, "an event alone does not make a picture");
    }
}
