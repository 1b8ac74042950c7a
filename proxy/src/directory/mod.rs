//! The gateway's current picture of all services and their endpoints.
//!
//! One [`Writer`], which cannot be cloned; any number of readers, which never lock: what they see is an
//! immutable snapshot, replaced as a whole. A change replaces the snapshot of its service alone.

mod endpoint;
mod endpoints;
mod left_out;
mod plan;
mod ring;
mod service_discovery;
mod slow_start;
mod staged;
mod writer;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use arc_swap::{ArcSwap, Guard};

use crate::config;
use crate::traffic::in_flight::InFlight;

use plan::Policy;
use ring::Builder;

pub use endpoint::{Endpoint, Entry, Finding, Health, Probe, Rank, Standing, State, Tenure, TenureCell};
pub use endpoints::Endpoints;
pub use left_out::{Bound, Excluded, Summary};
pub use plan::{Hashing, Plan, Schedule};
pub use ring::{Ring, hash, mix};
pub use service_discovery::{ServiceEndpoints, entries};
pub use slow_start::Ramp;
pub use writer::{Changed, Kind, Novelty, Writer};

/// Every service by its name.
pub type Services = BTreeMap<Arc<str>, Arc<Service>>;

/// The readers' side.
#[derive(Debug, Default)]
pub struct Directory {
    services: ArcSwap<Services>,
    revision: AtomicI64,
    stale: AtomicBool,
    synced: AtomicBool,
    left_out: ArcSwap<Summary>,
}

/// A directory whose `routed` services exist from the start and for ever, so that a route may hold on to
/// its service and needs no look-up. The others come and go with their endpoints, and have default settings:
/// no request goes to them.
pub fn with_settings<'n>(
    routed: impl IntoIterator<Item = (&'n str, config::Service)>,
) -> (Arc<Directory>, Writer) {
    let services: Services = routed
        .into_iter()
        .map(|(name, settings)| (Arc::from(name), Arc::new(Service::routed(name, settings))))
        .collect();
    let directory = Arc::new(Directory::default());
    directory.services.store(Arc::new(services));
    let writer = Writer::new(directory.clone());
    (directory, writer)
}

/// The same, all with default settings.
pub fn new<'n>(routed: impl IntoIterator<Item = &'n str>) -> (Arc<Directory>, Writer) {
    with_settings(routed.into_iter().map(|name| (name, config::Service::default())))
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

    /// Registrations that are beyond the bounds, and so have no endpoint.
    pub fn left_out(&self) -> Arc<Summary> {
        self.left_out.load_full()
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
    is_routed: bool,
    settings: Arc<config::Service>,
    in_flight: Arc<InFlight>,
    policy: Policy,
    endpoints: ArcSwap<Endpoints>,
}

impl Service {
    fn routed(name: &str, settings: config::Service) -> Self {
        Self { is_routed: true, ..Self::new(name.into(), Arc::new(settings)) }
    }

    fn new(name: Arc<str>, settings: Arc<config::Service>) -> Self {
        let in_flight = Arc::default();
        let policy = Policy::new(&settings, &in_flight);
        Self { name, is_routed: false, settings, in_flight, policy, endpoints: ArcSwap::default() }
    }

    /// Its name.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Whether a route names it. Of any other the gateway only shows who is registered: whoever may register makes
    /// as many as he likes, so it connects to none of their endpoints and counts nothing under their names.
    pub fn is_routed(&self) -> bool {
        self.is_routed
    }

    /// What is particular to it.
    pub fn settings(&self) -> &config::Service {
        &self.settings
    }

    /// The requests in flight at all its endpoints. A request holds a permit from before the first endpoint
    /// is chosen for it, whether there is a limit or not: bounded load is measured against the sum.
    pub fn in_flight(&self) -> &Arc<InFlight> {
        &self.in_flight
    }

    /// Its endpoints now. Keep the guard for one decision, not for a request's life.
    pub fn endpoints(&self) -> Guard<Arc<Endpoints>> {
        self.endpoints.load()
    }

    fn publish(&self, entries: Vec<Entry>, builder: &mut Builder) {
        self.endpoints.store(Arc::new(Endpoints::new(entries, &self.policy, builder)));
    }
}
