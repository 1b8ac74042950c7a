//! Services whose addresses the configuration gives: who registers under their names is left out, and the registry's
//! lists and events do not concern them.
//!
//! A service may become one, or cease to be one, while requests go to it. So whoever it had stays until it is known
//! whom it has: endpoints that were registered until the given ones are there, and those until the registry's next list.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use registry::contract::{Instance, Record};

use super::Writer;
use crate::config::GivenAddress;
use crate::directory::{Bound, Endpoint, Entry, Standing};

/// Where a service is, as far as that is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Given {
    pub(crate) service: Arc<str>,
    pub(crate) endpoints: Vec<GivenEndpoint>,
    /// Whether it is all. If something has yet to be resolved, what the service had before stays for so long.
    pub(crate) is_whole: bool,
}

/// One of its instances.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct GivenEndpoint {
    pub(crate) id: Arc<str>,
    pub(crate) address: SocketAddr,
    /// The name that stands for the address; none: the address itself was given.
    pub(crate) host: Option<Arc<str>>,
}

/// What was given is other endpoints than before.
#[derive(Debug, Default)]
pub(crate) struct Replaced {
    pub(crate) added: Vec<Arc<Endpoint>>,
    /// As they were.
    pub(crate) removed: Vec<Entry>,
}

impl Writer {
    /// The services whose addresses the configuration gives.
    pub(crate) fn given(&self) -> Vec<(Arc<str>, Arc<[GivenAddress]>)> {
        let given = |(name, staged): (&Arc<str>, &super::Staged)| {
            let addresses = staged.planner.as_ref()?.policy().addresses.clone()?;
            Some((name.clone(), addresses))
        };
        self.staged.iter().filter_map(given).collect()
    }

    /// Takes a service's endpoints, and shows them to readers at once: those that it had and has keep their identity.
    pub(crate) fn give(&mut self, given: Given, now: Instant) -> Replaced {
        let Given { service, endpoints, is_whole } = given;
        if !self.is_given(&service) {
            return Replaced::default();
        }
        let gone = self.lacking(&service, &endpoints);
        let gone = gone.into_iter().filter(|_| is_whole);
        let removed: Vec<_> = gone.filter_map(|instance| self.take_out(&service, &instance)).collect();
        for entry in removed.iter().filter(|entry| entry.standing == Standing::Registered) {
            self.left_out.add(&entry.to_instance(), Bound::Given);
        }
        let add = |given| self.add_given(&service, given, now);
        let added: Vec<_> = endpoints.into_iter().filter_map(add).collect();
        if !added.is_empty() || !removed.is_empty() {
            self.show(&service);
        }
        Replaced { added, removed }
    }

    /// The instances that a service has, and that are not among these.
    fn lacking(&self, service: &str, endpoints: &[GivenEndpoint]) -> Vec<Arc<str>> {
        let ids: BTreeSet<_> = endpoints.iter().map(|given| &given.id).collect();
        let staged = self.staged.get(service).into_iter();
        let is_other = |id: &Arc<str>, entry: &Entry| entry.standing != Standing::Given || !ids.contains(id);
        let entries = staged.flat_map(|staged| &staged.entries);
        entries.filter(|(id, entry)| is_other(id, entry)).map(|(id, _)| id.clone()).collect()
    }

    /// None: it is there already.
    fn add_given(&mut self, service: &Arc<str>, given: GivenEndpoint, now: Instant) -> Option<Arc<Endpoint>> {
        let GivenEndpoint { id, address, host } = given;
        let known = self.entry(service, &id);
        if known.is_some_and(|e| e.standing == Standing::Given && e.endpoint.address == address) {
            return None;
        }
        let record = Record::new(address);
        let instance = Instance { service: service.clone(), id, record, lease: 0, revision: 0 };
        Some(self.insert((instance, host), Standing::Given, Some(now)).1)
    }

    /// Whether the configuration gives the service's addresses.
    pub(super) fn is_given(&self, service: &str) -> bool {
        let planner = self.staged.get(service).and_then(|staged| staged.planner.as_ref());
        planner.is_some_and(|planner| planner.policy().addresses.is_some())
    }

    /// Whether a registration must not come in, as the configuration gives the service's addresses. One that was in
    /// before stays until these are known.
    pub(super) fn excludes(&self, instance: &Instance) -> bool {
        let known = self.entry(&instance.service, &instance.id);
        let was_in = known.is_some_and(|entry| entry.standing != Standing::Given);
        !was_in && self.is_given(&instance.service)
    }
}
