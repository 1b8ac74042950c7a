//! A route to the services that its paths name: `/{service}`.

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwap;

use super::Target;
use super::adoption::{Allowed, Places};
use crate::config::{self, PathPattern};

/// Leads to the services that are adopted, by their names. Services come and go while the route stays the same: no other
/// has to be made.
#[derive(Debug)]
pub(crate) struct ByPath {
    /// The route, as operators call it.
    pub(super) route: Arc<str>,
    path: PathPattern,
    pub(super) allowed: Allowed,
    adopted: ArcSwap<Adopted>,
}

/// The services that it leads to at one moment.
#[derive(Debug)]
pub(super) struct Adopted {
    pub(super) places: Places,
    pub(super) targets: HashMap<Arc<str>, Arc<Target>>,
    /// Whether it was looked yet who is there.
    pub(super) has_looked: bool,
}

/// Where a path leads.
#[derive(Debug)]
pub(crate) enum Named {
    /// To this service.
    Adopted(Arc<Target>),
    /// Nobody has ever registered under this name, or there is no place for it.
    Nobody,
    /// It was not looked yet who is there.
    NotKnown,
}

impl ByPath {
    pub(super) fn new(route: &config::Route, allowed: Allowed, adopted: Adopted) -> Self {
        let adopted = ArcSwap::from_pointee(adopted);
        Self { route: route.name.as_str().into(), path: route.takes.path.clone(), allowed, adopted }
    }

    /// The service that a path names. Never waits.
    pub(crate) fn named(&self, path: &str) -> Named {
        let adopted = self.adopted.load();
        match self.path.service(path).and_then(|service| adopted.targets.get(service)) {
            Some(target) => Named::Adopted(target.clone()),
            None if adopted.has_looked => Named::Nobody,
            None => Named::NotKnown,
        }
    }

    /// The services that it leads to, by name.
    pub(crate) fn targets(&self) -> Vec<Arc<Target>> {
        let mut targets: Vec<_> = self.adopted.load().targets.values().cloned().collect();
        targets.sort_by(|a, b| a.service.name().cmp(b.service.name()));
        targets
    }

    /// Those that are allowed and registered, and for which there is no place.
    pub(crate) fn left_out(&self) -> Vec<Arc<str>> {
        self.adopted.load().places.left_out().to_vec()
    }

    pub(super) fn target(&self, service: &str) -> Option<Arc<Target>> {
        self.adopted.load().targets.get(service).cloned()
    }

    pub(super) fn adopted(&self) -> Arc<Adopted> {
        self.adopted.load_full()
    }

    pub(super) fn set(&self, adopted: Adopted) {
        self.adopted.store(Arc::new(adopted));
    }
}
