//! The endpoints of a service as the writer has them, before readers do.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use super::mint::Mint;
use super::plan::Planner;
use super::{Endpoint, Entry, Health, ProbeResult, Rank, Standing};
use crate::traffic::ejection::panics;

/// The endpoints of a service as they will be published next.
#[derive(Debug, Default)]
pub(super) struct Staged {
    /// Makes the service's plans; none: no route names it. Boxed: of those there may be very many.
    pub(crate) planner: Option<Box<Planner>>,
    /// By instance id. Boxed: a map has room for eleven at once, and many services have but one.
    pub(crate) entries: BTreeMap<Arc<str>, Box<Entry>>,
    /// How many of them are registered, and not draining.
    pub(crate) up: usize,
    /// When it may be published again.
    pub(crate) not_before: Option<Instant>,
}

impl Staged {
    /// Whether a route names the service.
    pub(super) fn is_routed(&self) -> bool {
        self.planner.is_some()
    }

    pub(super) fn insert(&mut self, entry: Entry) {
        let instance = entry.endpoint.instance.clone();
        self.up += usize::from(is_up(&entry));
        let endpoint = entry.endpoint.clone();
        if let Some(former) = self.entries.insert(instance, Box::new(entry)) {
            self.up -= usize::from(is_up(&former));
            if !Arc::ptr_eq(&former.endpoint, &endpoint) {
                self.tell_of_departure(&former);
            }
        }
    }

    pub(super) fn remove(&mut self, instance: &str) -> Option<Entry> {
        let former = self.entries.remove(instance)?;
        self.up -= usize::from(is_up(&former));
        self.tell_of_departure(&former);
        Some(*former)
    }

    /// Removes those that the configuration gave.
    pub(super) fn remove_given(&mut self) {
        let given = self.entries.values().filter(|entry| entry.standing == Standing::Given);
        let given: Vec<_> = given.map(|entry| entry.endpoint.instance.clone()).collect();
        given.iter().for_each(|instance| drop(self.remove(instance)));
    }

    pub(super) fn set_standing(&mut self, instance: &str, standing: Standing) {
        if let Some(entry) = self.entries.get_mut(instance) {
            self.up -= usize::from(is_up(entry));
            entry.standing = standing;
            self.up += usize::from(is_up(entry));
        }
    }

    pub(super) fn vanish(&mut self, instance: &str, probe: ProbeResult, now: Instant) {
        self.set_standing(instance, Standing::Suspect(probe));
        if let Some(entry) = self.entries.get_mut(instance) {
            entry.vanished = Some(now);
        }
    }

    /// An entry's endpoint leaves for good: this is known to all that requests have left there. Those of a service that
    /// no route names share one traffic, which stays.
    fn tell_of_departure(&self, former: &Entry) {
        if self.is_routed() {
            former.endpoint.traffic.leave();
        }
    }

    /// Gives each instance a new endpoint, of which no more is known than this: it has its own traffic if it `is_routed`.
    /// The former ones have not left, only the routes to them have: what is open to them goes on.
    pub(super) fn renew(&mut self, mint: &mut Mint, is_routed: bool, health: Health) {
        if self.is_routed() {
            self.entries.values().for_each(|former| former.endpoint.traffic.retire());
        }
        for entry in self.entries.values_mut() {
            let Endpoint { service, instance, address, host, .. } = &*entry.endpoint;
            let place = (*address, host.clone());
            entry.endpoint = mint.endpoint(service.clone(), instance.clone(), place, is_routed);
            entry.health = health;
            if let Standing::Stale(probe) = &mut entry.standing {
                *probe = ProbeResult::Pending;
            }
        }
    }

    /// As readers are to see them: of those that have been up, more than half are never out.
    pub(super) fn shown(&self) -> Vec<Entry> {
        let mut entries: Vec<_> = self.entries.values().map(|entry| Entry::clone(entry)).collect();
        let is_proven = |entry: &Entry| !entry.health.unproven;
        let ranked = |rank| entries.iter().filter(|e| is_proven(e) && e.rank() == Some(rank)).count();
        let out = ranked(Rank::Third);
        if out > 0 && panics(out, out + ranked(Rank::First)) {
            entries.iter_mut().filter(|e| is_proven(e)).for_each(|entry| entry.health.panic = true);
        }
        entries
    }
}

/// Registered and not draining, whatever its health: the registry alone is asked.
fn is_up(entry: &Entry) -> bool {
    entry.standing == Standing::Registered && entry.weight > 0
}
