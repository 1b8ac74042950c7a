//! The bounds of the configuration: who is taken, and who is left out.

use registry::contract::Instance;

use super::Writer;
use crate::config;
use crate::directory::{Bound, LeftOutInstance};

/// How many places are taken.
#[derive(Debug, Default)]
pub(super) struct Places {
    pub(crate) routed: usize,
    pub(crate) others: usize,
}

impl Places {
    pub(super) fn by(&mut self, is_routed: bool) -> &mut usize {
        if is_routed { &mut self.routed } else { &mut self.others }
    }

    /// Whether there are as many as there may be. Those that requests go to ask nothing of the others.
    pub(super) fn is_full(&self, is_routed: bool, most: usize) -> bool {
        self.routed + if is_routed { 0 } else { self.others } >= most
    }
}

impl Writer {
    /// Where not all may find a place, those come first that requests go to, and then the oldest. So every gateway
    /// takes the same ones after its start, and nobody comes before others by his name.
    pub(super) fn in_order(&self, mut listed: Vec<Instance>) -> Vec<Instance> {
        let config::Bounds { instances, services, registrations } = self.bounds;
        if listed.len() > instances.min(services).min(registrations) {
            listed.sort_by_cached_key(|instance| (!self.is_routed(&instance.service), instance.revision));
        }
        listed
    }

    /// Gives an instance back that is there already, or for which there is room. Whoever is in stays in, whatever
    /// comes.
    pub(super) fn admit(&mut self, instance: Instance) -> Option<Instance> {
        match self.bound(&instance) {
            None => {
                self.left_out.remove(&instance.service, &instance.id);
                Some(instance)
            }
            Some(bound) => {
                self.left_out.add(&instance, bound);
                None
            }
        }
    }

    /// The bound that an instance is beyond.
    fn bound(&self, instance: &Instance) -> Option<Bound> {
        if self.excludes(instance) {
            return Some(Bound::Given);
        }
        let config::Bounds { instances, services, registrations } = self.bounds;
        let is_routed = match self.staged.get(&instance.service) {
            Some(staged) if staged.entries.contains_key(&instance.id) => return None,
            Some(staged) if staged.entries.len() >= instances => return Some(Bound::Instances(instances)),
            Some(staged) => staged.is_routed(),
            None if self.staged.len() >= services => return Some(Bound::Services(services)),
            None => false,
        };
        self.taken.is_full(is_routed, registrations).then_some(Bound::Registrations(registrations))
    }

    /// Those that were left out since the last call.
    pub(crate) fn news_of_left_out(&mut self) -> Vec<LeftOutInstance> {
        self.left_out.news()
    }

    /// Whether there is room, since the last call, for somebody who was left out. Who that is a complete list of the
    /// registry tells.
    pub(crate) fn has_room_again(&mut self) -> bool {
        std::mem::take(&mut self.has_room_again)
    }
}
