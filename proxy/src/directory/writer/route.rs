//! Services that routes begin to name, and those that they name no more.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{Writer, initial_health};
use crate::directory::plan::Planner;
use crate::directory::{Endpoint, Entry, Health, Policy, Service, Services};

/// Services that routes name.
#[derive(Debug, Default)]
pub(crate) struct Routed {
    /// The services, as readers find them.
    pub(crate) services: Services,
    /// Endpoints of those that no route named before, if the registry does not vouch for them: requests may go there
    /// once a probe has passed.
    pub(crate) stale: Vec<Arc<Endpoint>>,
}

impl Writer {
    /// Has services routed, whether anybody is registered or not, and shows them to readers at once: a request may come
    /// for them next. One that is routed already stays as it is, whatever the policy.
    pub(crate) fn route(&mut self, services: impl IntoIterator<Item = (Arc<str>, Policy)>) -> Routed {
        let services: BTreeMap<_, _> = services.into_iter().collect();
        let known = self.directory.services();
        let mut routed = Routed::default();
        let mut new = Services::new();
        for (name, policy) in services {
            if let Some(service) = known.get(&name).filter(|service| service.is_routed()) {
                routed.services.insert(name, service.clone());
            } else {
                let (service, stale) = self.begin_routing(name.clone(), policy);
                routed.stale.extend(stale);
                new.insert(name, service);
            }
        }
        if !new.is_empty() {
            routed.services.extend(new.clone());
            self.change_map(|services| services.extend(new));
            self.has_room_again |= self.left_out.waits_for_any();
        }
        routed
    }

    /// Other policies hold for services that are routed, and are shown to readers at once. The plan of one alone is made
    /// again, and only if its policy is another; its endpoints have `initially` behind them.
    pub(crate) fn change_policies(&mut self, services: impl IntoIterator<Item = (Arc<str>, Policy)>) {
        let known = self.directory.services();
        for (name, policy) in services {
            if let Some(service) = known.get(&name) {
                self.change_policy(service, policy);
            }
        }
    }

    /// Has services routed no more, and shows that to readers. Those without endpoints are forgotten. What was suspect
    /// leaves: nothing is sent there any more that would be lost with it. Returns all that the registry did not vouch
    /// for, as it was: these endpoints need no probes any more.
    pub(crate) fn unroute<'n>(&mut self, names: impl IntoIterator<Item = &'n Arc<str>>) -> Vec<Entry> {
        let mut doubted = Vec::new();
        let mut left = BTreeMap::new();
        for name in names.into_iter().filter(|name| self.is_routed(name)).collect::<BTreeSet<_>>() {
            doubted.extend(self.drop_suspects(name));
            left.insert(name, self.end_routing(name, &mut doubted));
        }
        if !left.is_empty() {
            self.change_map(|services| {
                for (name, service) in left {
                    match service {
                        Some(service) => drop(services.insert(name.clone(), service)),
                        None => drop(services.remove(name)),
                    }
                }
            });
            self.has_room_again |= self.left_out.waits_for_any();
        }
        doubted
    }

    fn change_policy(&mut self, service: &Service, policy: Policy) {
        let Some(staged) = self.staged.get_mut(service.name()) else { return };
        let Some(former) = staged.planner.as_deref().filter(|former| *former.policy() != policy) else {
            return;
        };
        // Who registers under its name may come in now: the registry's next list has them.
        self.has_room_again |= former.policy().addresses.is_some() && policy.addresses.is_none();
        staged.planner = Some(Box::new(former.with(policy)));
        self.show(service.name());
    }

    /// Shows a service that is routed to readers as it is now.
    pub(super) fn show(&mut self, name: &Arc<str>) {
        if let Some(service) = self.directory.services.load().get(name)
            && let Some(staged) = self.staged.get(name)
            && let Some(planner) = staged.planner.as_deref()
        {
            if service.publish(staged.shown(), planner, &mut self.builder) {
                self.directory.arrivals.notify_one();
            }
            self.dirty.remove(name);
        }
    }

    /// Has one more service routed. As long as no route named it, its endpoints shared one
    /// [`Traffic`](crate::traffic::Traffic); now each is replaced by one that has its own. Returns also those that are
    /// stale.
    fn begin_routing(&mut self, name: Arc<str>, policy: Policy) -> (Arc<Service>, Vec<Arc<Endpoint>>) {
        let planner = Planner::new(policy);
        let mut staged = self.staged.remove(&name).unwrap_or_default();
        staged.renew(&mut self.mint, true, initial_health(Some(&planner)));
        self.taken.others -= staged.entries.len();
        self.taken.routed += staged.entries.len();
        let stale = staged.entries.values().filter(|entry| entry.standing.is_doubted());
        let stale = stale.map(|entry| entry.endpoint.clone()).collect();
        let service = Service::new(name.clone(), true);
        service.publish(staged.shown(), &planner, &mut self.builder);
        staged.planner = Some(Box::new(planner));
        self.dirty.remove(&name);
        self.emptied.remove(&name);
        self.staged.insert(name, staged);
        (Arc::new(service), stale)
    }

    fn drop_suspects(&mut self, service: &Arc<str>) -> Vec<Entry> {
        let staged = self.staged.get(service).into_iter();
        let suspects =
            staged.flat_map(|staged| staged.entries.values()).filter(|entry| entry.standing.is_suspect());
        let suspects: Vec<_> = suspects.map(|entry| entry.endpoint.instance.clone()).collect();
        suspects.iter().filter_map(|instance| self.take_out(service, instance)).collect()
    }

    /// Adds those endpoints to `doubted` that are stale. None: nobody is registered, and the service is forgotten.
    fn end_routing(&mut self, name: &Arc<str>, doubted: &mut Vec<Entry>) -> Option<Arc<Service>> {
        self.dirty.remove(name);
        self.has_room_again |= self.is_given(name);
        let mut staged = self.staged.remove(name)?;
        staged.remove_given();
        if staged.entries.is_empty() {
            return None;
        }
        let entries = staged.entries.values();
        doubted.extend(entries.filter(|entry| entry.standing.is_doubted()).map(|e| Entry::clone(e)));
        staged.renew(&mut self.mint, false, Health::default());
        staged.planner = None;
        self.taken.routed -= staged.entries.len();
        self.taken.others += staged.entries.len();
        let service = Service::new(name.clone(), false);
        service.publish(staged.shown(), &self.unrouted, &mut self.builder);
        self.staged.insert(name.clone(), staged);
        Some(Arc::new(service))
    }
}
