//! The gateway's current picture of all services and their endpoints.
//!
//! One [`Writer`], which cannot be cloned; any number of readers, which never lock: what they see is an
//! immutable snapshot, replaced as a whole. A change replaces the snapshot of its service alone.

mod endpoint;
mod writer;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use arc_swap::{ArcSwap, Guard};

pub use endpoint::{Endpoint, Entry, Health, Probe, Rank, Standing, State};
pub use writer::{Changed, Kind, Writer};

/// Every service by its name.
pub type Services = BTreeMap<Arc<str>, Arc<Service>>;

/// The readers' side.
#[derive(Debug, Default)]
pub struct Directory {
    services: ArcSwap<Services>,
    revision: AtomicI64,
    stale: AtomicBool,
    synced: AtomicBool,
}

/// A directory whose `pinned` services exist from the start and for ever, so that a route may hold on to
/// its service and needs no look-up. The others come and go with their endpoints.
pub fn new<'n>(pinned: impl IntoIterator<Item = &'n str>) -> (Arc<Directory>, Writer) {
    let services: Services =
        pinned.into_iter().map(|name| (Arc::from(name), Arc::new(Service::new(name)))).collect();
    let directory = Arc::new(Directory::default());
    directory.services.store(Arc::new(services));
    let writer = Writer::new(directory.clone());
    (directory, writer)
}

impl Directory {
    /// A service by its name.
    pub fn service(&self, name: &str) -> Option<Arc<Service>> {
        self.services.load().get(name).cloned()
    }

    /// All services.
    pub fn services(&self) -> Arc<Services> {
        self.services.load_full()
    }

    /// The registry's revision that the directory shows.
    pub fn revision(&self) -> i64 {
        self.revision.load(Ordering::Relaxed)
    }

    /// Whether the directory has ever been filled from the registry.
    pub fn is_synced(&self) -> bool {
        self.synced.load(Ordering::Acquire)
    }

    /// Whether the directory shows the snapshot, because the registry has not been heard yet.
    pub fn is_stale(&self) -> bool {
        self.stale.load(Ordering::Acquire)
    }

    /// Whether there is a picture to serve from, whatever its source.
    pub fn is_filled(&self) -> bool {
        self.is_synced() || self.is_stale()
    }
}

/// A service and its endpoints.
#[derive(Debug)]
pub struct Service {
    name: Arc<str>,
    endpoints: ArcSwap<Endpoints>,
}

impl Service {
    fn new(name: &str) -> Self {
        Self { name: name.into(), endpoints: ArcSwap::default() }
    }

    /// Its name.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Its endpoints now. Keep the guard for one decision, not for a request's life.
    pub fn endpoints(&self) -> Guard<Arc<Endpoints>> {
        self.endpoints.load()
    }
}

/// The endpoints of a service at one moment, and what balance needs of them, computed once.
#[derive(Debug, Default)]
pub struct Endpoints {
    entries: Box<[Entry]>,
    best: Option<Rank>,
    cumulative: Box<[u32]>,
}

impl Endpoints {
    fn new(entries: Vec<Entry>) -> Self {
        let best = entries.iter().filter_map(Entry::rank).min();
        let mut total = 0u32;
        let cumulative = entries
            .iter()
            .map(|entry| {
                if best.is_some() && entry.rank() == best {
                    total = total.saturating_add(entry.weight.into());
                }
                total
            })
            .collect();
        Self { entries: entries.into(), best, cumulative }
    }

    /// All of them, by instance id.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The best rank that one of them has; none: there is nobody to send a request to.
    pub fn best(&self) -> Option<Rank> {
        self.best
    }

    /// For each entry, the sum of the weights of the best rank up to and including its own. An entry of
    /// another rank adds nothing.
    pub fn cumulative(&self) -> &[u32] {
        &self.cumulative
    }
}
