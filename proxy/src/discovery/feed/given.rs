//! Services whose addresses the configuration gives: what names stand for becomes their endpoints. The registry, the
//! guard and the snapshot have no part in it.

use std::net::SocketAddr;
use std::sync::Arc;

use super::Feed;
use crate::directory::{Replaced, Standing};
use crate::discovery::names::Outcomes;
use crate::tasks::now;

impl<R: FnOnce()> Feed<R> {
    /// Follows the configuration as the directory has it: the names of its services are resolved.
    pub(super) fn follow_given(&mut self) {
        let wanted = self.writer.given();
        self.refused.retain(|(service, _)| wanted.iter().any(|(name, _)| name == service));
        for service in self.names.want(wanted) {
            self.give(&service);
        }
    }

    /// Names were resolved, or could not be.
    pub(super) fn resolved(&mut self, outcomes: Outcomes) {
        let Outcomes { services, failures, news } = outcomes;
        (0..failures).for_each(|_| self.metrics.lookup_failed());
        news.iter().for_each(|news| self.journal.resolved(news));
        services.iter().for_each(|service| self.give(service));
    }

    /// Other addresses are reserved, perhaps.
    pub(super) fn give_all(&mut self) {
        self.names.services().iter().for_each(|service| self.give(service));
    }

    fn give(&mut self, service: &Arc<str>) {
        let mut given = self.names.given(service);
        given.endpoints.retain(|given| self.permits(service, &given.id, given.address));
        let Replaced { added, removed } = self.writer.give(given, now());
        added.iter().for_each(|endpoint| self.journal.given(endpoint));
        for entry in &removed {
            self.probes.stop(entry.endpoint.id);
            self.journal.taken_back(entry);
        }
        if removed.iter().any(|entry| entry.standing != Standing::Given) {
            self.guard.forget(service);
            self.storer.changed();
        }
    }

    /// Whether requests may go there. That they may not is told once.
    fn permits(&mut self, service: &Arc<str>, instance: &Arc<str>, address: SocketAddr) -> bool {
        let name = (service.clone(), instance.clone());
        match self.admission.check_given(address) {
            Ok(()) => {
                self.refused.remove(&name);
                true
            }
            Err(reason) => {
                if self.refused.insert(name) {
                    self.journal.refused(service, instance, &reason);
                }
                false
            }
        }
    }
}
