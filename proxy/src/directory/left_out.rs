//! Who is left out: registrations beyond the bounds of the configuration, and those of services that it gives itself.
//!
//! They are remembered by a hash of their names: whoever registers chooses how long and how many these are, and they
//! must not take the gateway's memory.

use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use registry::contract::Instance;

/// The bound that leaves an instance out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bound {
    /// Its service has so many endpoints already.
    Instances(usize),
    /// There are so many services already, and no route names this one.
    Services(usize),
    /// There are so many instances in all already; of services that routes name, if a route names this one's.
    Registrations(usize),
    /// The configuration gives the addresses of its service.
    Given,
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Instances(most) => write!(f, "its service has {most} endpoints (registry.max_instances)"),
            Self::Services(most) => {
                write!(f, "there are {most} services, and no route names this one (registry.max_services)")
            }
            Self::Registrations(most) => {
                write!(f, "there are {most} instances that come before it (registry.max_registrations)")
            }
            Self::Given => {
                f.write_str("the configuration gives its service's addresses (services.NAME.addresses)")
            }
        }
    }
}

/// An instance that is left out, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LeftOutInstance {
    pub(crate) service: Arc<str>,
    pub(crate) instance: Arc<str>,
    pub(crate) bound: Bound,
    /// The revision at which it was written.
    pub(crate) revision: i64,
}

/// How many are left out, and who was last: what readers see.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct LeftOutSummary {
    /// By the bound of a service's endpoints.
    pub(crate) by_instances: usize,
    pub(crate) by_services: usize,
    /// By the bound of instances in all.
    pub(crate) by_registrations: usize,
    /// Because the configuration gives their services' addresses.
    pub(crate) by_given: usize,
    /// The last that was left out; none while nobody is.
    pub(crate) last: Option<LeftOutInstance>,
}

impl LeftOutSummary {
    pub(crate) fn count(&self) -> usize {
        self.by_instances + self.by_services + self.by_registrations + self.by_given
    }
}

#[derive(Debug, Default)]
pub(super) struct LeftOutSet {
    names: RandomState,
    excluded: HashMap<u64, Bound>,
    /// How many of each service that is full.
    waiting: HashMap<Arc<str>, usize>,
    /// How many are beyond the bound of instances in all.
    by_registrations: usize,
    /// How many are of services whose addresses the configuration gives.
    by_given: usize,
    last: Option<LeftOutInstance>,
    news: Vec<LeftOutInstance>,
}

impl LeftOutSet {
    /// An instance has no room.
    pub(super) fn add(&mut self, instance: &Instance, bound: Bound) {
        let Instance { service, id, revision, .. } = instance;
        let was_known = self.remove(service, id);
        self.exclude(self.name(service, id), service, bound);
        if was_known {
            return;
        }
        let (service, instance) = (service.clone(), id.clone());
        let excluded = LeftOutInstance { service, instance, bound, revision: *revision };
        self.news.push(excluded.clone());
        self.last = Some(excluded);
    }

    fn exclude(&mut self, name: u64, service: &Arc<str>, bound: Bound) {
        self.excluded.insert(name, bound);
        match bound {
            Bound::Instances(_) => *self.waiting.entry(service.clone()).or_default() += 1,
            Bound::Registrations(_) => self.by_registrations += 1,
            Bound::Given => self.by_given += 1,
            Bound::Services(_) => {}
        }
    }

    /// An instance has come in, or is gone. Whether it was left out.
    pub(super) fn remove(&mut self, service: &str, instance: &str) -> bool {
        // Almost always there is nobody.
        if self.excluded.is_empty() {
            return false;
        }
        let Some(bound) = self.excluded.remove(&self.name(service, instance)) else { return false };
        self.by_registrations -= usize::from(matches!(bound, Bound::Registrations(_)));
        self.by_given -= usize::from(bound == Bound::Given);
        if let Bound::Instances(_) = bound
            && let Some(waiting) = self.waiting.get_mut(service)
        {
            *waiting -= 1;
            if *waiting == 0 {
                self.waiting.remove(service);
            }
        }
        true
    }

    /// Keeps those that a complete list has: the others are gone.
    pub(super) fn keep<'l>(&mut self, listed: impl Iterator<Item = (&'l Arc<str>, &'l Arc<str>)>) {
        if self.excluded.is_empty() {
            return;
        }
        let former = std::mem::take(&mut self.excluded);
        self.waiting.clear();
        (self.by_registrations, self.by_given) = (0, 0);
        for (service, instance) in listed {
            let name = self.name(service, instance);
            if let Some(bound) = former.get(&name) {
                self.exclude(name, service, *bound);
            }
        }
    }

    /// Whether somebody waits for the place of an instance of this service.
    pub(super) fn waits_for(&self, service: &str) -> bool {
        self.by_registrations > 0 || self.waiting.contains_key(service)
    }

    /// Whether somebody waits for more than a place in his own service.
    pub(super) fn waits_for_any(&self) -> bool {
        self.excluded.len() > self.by_instances() + self.by_given
    }

    /// How many wait for a place for their services.
    pub(super) fn by_services(&self) -> usize {
        self.excluded.len() - self.by_instances() - self.by_registrations - self.by_given
    }

    fn by_instances(&self) -> usize {
        self.waiting.values().sum()
    }

    /// Those that were not left out before, since the last call.
    pub(super) fn news(&mut self) -> Vec<LeftOutInstance> {
        std::mem::take(&mut self.news)
    }

    /// What readers see of it.
    pub(super) fn summary(&self) -> LeftOutSummary {
        let last = self.last.clone().filter(|_| !self.excluded.is_empty());
        let (by_instances, by_services) = (self.by_instances(), self.by_services());
        let Self { by_registrations, by_given, .. } = *self;
        LeftOutSummary { by_instances, by_services, by_registrations, by_given, last }
    }

    fn name(&self, service: &str, instance: &str) -> u64 {
        self.names.hash_one((service, instance))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use registry::contract::Record;

    fn instance(service: &str, id: &str) -> Instance {
        let record = Record::new(([10, 0, 0, 1], 80).into());
        Instance { service: service.into(), id: id.into(), record, lease: 7, revision: 3 }
    }

    fn counts(left_out: &LeftOutSet) -> (usize, usize) {
        let LeftOutSummary { by_instances, by_services, .. } = left_out.summary();
        (by_instances, by_services)
    }

    #[test]
    fn whoever_is_left_out_counts_once_by_the_bound_that_he_is_beyond_now() {
        let mut left_out = LeftOutSet::default();
        left_out.add(&instance("goods", "a"), Bound::Instances(1));
        left_out.add(&instance("goods", "a"), Bound::Instances(1));
        left_out.add(&instance("other", "a"), Bound::Services(1));
        assert_eq!(counts(&left_out), (1, 1));
        assert!(left_out.waits_for("goods") && !left_out.waits_for("other"));
        assert_eq!(left_out.news().len(), 2, "told once");
        left_out.add(&instance("other", "a"), Bound::Instances(1));
        assert_eq!(counts(&left_out), (2, 0));
        assert!(left_out.remove("other", "a") && !left_out.remove("other", "a"));
        assert!(left_out.remove("goods", "a"));
        assert_eq!(left_out.summary(), LeftOutSummary::default());
        assert!(!left_out.waits_for("goods"));
    }

    #[test]
    fn who_is_beyond_the_bound_of_all_waits_for_any_place() {
        let mut left_out = LeftOutSet::default();
        left_out.add(&instance("goods", "a"), Bound::Registrations(1));
        assert!(left_out.waits_for("other"));
        assert_eq!((left_out.summary().by_registrations, counts(&left_out)), (1, (0, 0)));
        let listed: (Arc<str>, Arc<str>) = ("goods".into(), "a".into());
        left_out.keep([(&listed.0, &listed.1)].into_iter());
        assert!(left_out.waits_for("other") && left_out.remove("goods", "a") && !left_out.waits_for("other"));
    }

    #[test]
    fn a_list_ends_the_waiting_of_those_that_it_does_not_have() {
        let mut left_out = LeftOutSet::default();
        for id in ["a", "b"] {
            left_out.add(&instance("goods", id), Bound::Instances(1));
            left_out.add(&instance("other", id), Bound::Services(1));
        }
        let listed: [(Arc<str>, Arc<str>); 3] =
            [("goods", "b"), ("other", "b"), ("other", "c")].map(|(s, i)| (s.into(), i.into()));
        left_out.keep(listed.iter().map(|(service, id)| (service, id)));
        assert_eq!(counts(&left_out), (1, 1));
        left_out.keep(std::iter::empty());
        assert_eq!(left_out.summary(), LeftOutSummary::default());
    }
}
