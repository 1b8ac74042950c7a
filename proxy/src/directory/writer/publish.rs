//! Publication: when what was staged is shown to readers.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use registry::timing::Pace;

use super::Writer;
use crate::directory::{Service, Services};

/// How often a service is published under a storm of changes; a change after a quiet time is published at once. One
/// with a million endpoints must not take the whole of a core.
pub(super) const PACE: Pace = Pace { interval: Duration::from_millis(10), times: 10 };

impl Writer {
    /// Shows the staged changes to readers, service by service. Returns when to call again for those that
    /// were published too recently, if there are any.
    pub fn publish(&mut self, clock: impl Fn() -> Instant) -> Option<Instant> {
        let now = clock();
        let mut next: Option<Instant> = None;
        let mut due = Vec::new();
        let known = self.directory.services();
        for service in &self.dirty {
            let not_before = if known.contains_key(service) {
                self.staged.get(service).and_then(|s| s.not_before)
            } else {
                self.map_not_before
            };
            match not_before {
                Some(at) if at > now => next = Some(next.map_or(at, |n| n.min(at))),
                _ => due.push(service.clone()),
            }
        }
        self.add_missing(&due, &known, &clock);
        let mut has_arrived = false;
        for service in &due {
            self.dirty.remove(service);
            has_arrived |= self.publish_service(service, &clock);
        }
        let next = self.remove_empty(now, next, &clock);
        let left_out = self.left_out.summary();
        if **self.directory.left_out.load() != left_out {
            self.directory.left_out.store(Arc::new(left_out));
        }
        if self.dirty.is_empty() {
            self.directory.revision.store(self.revision, Ordering::Release);
        }
        let was_filled = self.directory.is_filled();
        self.directory.stale.store(self.stale, Ordering::Release);
        self.directory.synced.store(self.synced, Ordering::Release);
        // At last: whoever is told finds all of it.
        if has_arrived || self.directory.is_filled() != was_filled {
            self.directory.arrivals.notify_one();
        }
        next
    }

    /// Returns whether it has endpoints now, and had none.
    fn publish_service(&mut self, name: &Arc<str>, clock: &impl Fn() -> Instant) -> bool {
        let Some(staged) = self.staged.get_mut(name) else {
            return false;
        };
        let begun = clock();
        let services = self.directory.services.load();
        let has_arrived = services.get(name).is_some_and(|service| {
            let planner = staged.planner.as_deref().unwrap_or(&self.unrouted);
            service.publish(staged.shown(), planner, &mut self.builder)
        });
        let took = clock().saturating_duration_since(begun);
        staged.not_before = Some(begun + PACE.rest(took));
        if staged.entries.is_empty() && !staged.is_routed() {
            self.emptied.insert(name.clone());
        }
        has_arrived
    }

    /// Adds new services to the map of all. The map is copied for that, so they are added together, and not more often
    /// than a service is published: otherwise whoever may register could have it copied all the time.
    fn add_missing(&mut self, names: &[Arc<str>], known: &Services, clock: &impl Fn() -> Instant) {
        if names.iter().all(|name| known.contains_key(name)) {
            return;
        }
        self.change_map_in_time(clock, |services| {
            for name in names {
                // Those that routes name are there already.
                let new = || Arc::new(Service::new(name.clone(), false));
                services.entry(name.clone()).or_insert_with(new);
            }
        });
    }

    fn change_map_in_time(&mut self, clock: &impl Fn() -> Instant, change: impl FnOnce(&mut Services)) {
        let begun = clock();
        self.change_map(change);
        let took = clock().saturating_duration_since(begun);
        self.map_not_before = Some(begun + PACE.rest(took));
    }

    pub(super) fn change_map(&self, change: impl FnOnce(&mut Services)) {
        let mut services = (**self.directory.services.load()).clone();
        change(&mut services);
        self.directory.services.store(Arc::new(services));
    }

    /// A service without endpoints leaves the map, unless a route holds it: names that come and go must
    /// not add up. Not before its interval is over: one that flaps must not have the map copied each time.
    fn remove_empty(
        &mut self,
        now: Instant,
        mut next: Option<Instant>,
        clock: &impl Fn() -> Instant,
    ) -> Option<Instant> {
        let mut gone = Vec::new();
        self.emptied.retain(|name| {
            let Some(staged) = self.staged.get(name).filter(|s| s.entries.is_empty()) else { return false };
            let until = staged.not_before.max(self.map_not_before).unwrap_or(now);
            if until > now {
                next = Some(next.map_or(until, |n| n.min(until)));
                return true;
            }
            gone.push(name.clone());
            false
        });
        if !gone.is_empty() {
            gone.iter().for_each(|name| drop(self.staged.remove(name)));
            self.change_map_in_time(clock, |services| {
                gone.iter().for_each(|name| drop(services.remove(name)))
            });
            self.has_room_again |= self.left_out.by_services() > 0;
        }
        next
    }
}
