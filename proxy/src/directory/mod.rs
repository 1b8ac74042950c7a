//! The gateway's current picture of all services and their endpoints.
//!
//! One [`Writer`], which cannot be cloned; any number of readers, which never lock: what they see is an
//! immutable snapshot, replaced as a whole. A change replaces the snapshot of its service alone.

mod endpoint;
mod endpoints;
mod left_out;
mod mint;
mod plan;
mod policy;
mod protocol;
mod ring;
mod service_discovery;
mod slow_start;
mod staged;
mod writer;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use arc_swap::{ArcSwap, Guard};
use tokio::sync::Notify;

use crate::traffic::in_flight::InFlight;

use plan::Planner;
use ring::Builder;

pub(crate) use endpoint::{
    Endpoint, Entry, Finding, Health, ProbeResult, Rank, Standing, State, Tenure, TenureCell,
};
pub use endpoints::Endpoints;
pub(crate) use left_out::{Bound, LeftOutInstance, LeftOutSummary};
pub(crate) use plan::Hashing;
pub use plan::Plan;
pub use policy::Policy;
pub(crate) use protocol::{Protocol, UnknownProtocol};
pub(crate) use ring::hash;
pub use ring::mix;
pub use service_discovery::ServiceEndpoints;
pub(crate) use service_discovery::entries;
pub(crate) use slow_start::Ramp;
pub(crate) use writer::{
    Given, GivenEndpoint, Novelty, Replaced, Routed, Transition, TransitionKind, Writer,
};

pub(crate) type Services = BTreeMap<Arc<str>, Arc<Service>>;

/// The readers' side.
#[derive(Debug, Default)]
pub struct Directory {
    services: ArcSwap<Services>,
    revision: AtomicI64,
    stale: AtomicBool,
    synced: AtomicBool,
    left_out: ArcSwap<LeftOutSummary>,
    /// Told when a service has endpoints that had none, and when there is a picture for the first time.
    arrivals: Notify,
}

/// A directory in which these services are routed from the start.
pub fn with_routed<'n>(services: impl IntoIterator<Item = (&'n str, Policy)>) -> (Arc<Directory>, Writer) {
    let directory = Arc::new(Directory::default());
    let mut writer = Writer::new(directory.clone());
    writer.route(services.into_iter().map(|(name, policy)| (name.into(), policy)));
    (directory, writer)
}

/// The same, all by the policy of a service of which the configuration says nothing.
pub fn new<'n>(services: impl IntoIterator<Item = &'n str>) -> (Arc<Directory>, Writer) {
    with_routed(services.into_iter().map(|name| (name, Policy::default())))
}

impl Directory {
    /// The service of this name; none: nobody is registered, and no route names it.
    pub fn service(&self, name: &str) -> Option<Arc<Service>> {
        self.services.load().get(name).cloned()
    }

    pub(crate) fn services(&self) -> Arc<Services> {
        self.services.load_full()
    }

    /// All that the registry has said up to this revision is shown to whoever looks from now on.
    pub(crate) fn revision(&self) -> i64 {
        self.revision.load(Ordering::Acquire)
    }

    /// Whether the directory has ever been filled from the registry.
    pub(crate) fn is_synced(&self) -> bool {
        self.synced.load(Ordering::Acquire)
    }

    /// Whether the directory shows the snapshot, because the registry has not been heard yet.
    pub(crate) fn is_stale(&self) -> bool {
        self.stale.load(Ordering::Acquire)
    }

    /// Registrations that are beyond the bounds, and so have no endpoint.
    pub(crate) fn left_out(&self) -> Arc<LeftOutSummary> {
        self.left_out.load_full()
    }

    /// Waits until a service has endpoints that had none, or there is a picture at last, since the last time that somebody
    /// waited for that.
    pub(crate) async fn arrival(&self) {
        self.arrivals.notified().await;
    }

    /// Whether there is a picture to serve from, be it the registry's or the snapshot's.
    pub(crate) fn is_filled(&self) -> bool {
        self.is_synced() || self.is_stale()
    }
}

/// A service and its endpoints.
///
/// Whether a route names it never changes. When one does for the first time, or does no more, another object takes its
/// place in the directory. Requests that still hold this one go on with the endpoints that it had, and with what they
/// know of them.
#[derive(Debug)]
pub struct Service {
    name: Arc<str>,
    is_routed: bool,
    in_flight: Arc<InFlight>,
    endpoints: ArcSwap<Endpoints>,
}

impl Service {
    fn new(name: Arc<str>, is_routed: bool) -> Self {
        Self { name, is_routed, in_flight: Arc::default(), endpoints: ArcSwap::default() }
    }

    pub(crate) fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Whether a route names it. Of any other the gateway only shows who is registered: whoever may register makes
    /// as many as he likes, so it connects to none of their endpoints and counts nothing under their names.
    pub(crate) fn is_routed(&self) -> bool {
        self.is_routed
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

    /// Whether it has endpoints now, and had none.
    fn publish(&self, entries: Vec<Entry>, planner: &Planner, builder: &mut Builder) -> bool {
        let endpoints = Endpoints::new(entries, planner, &self.in_flight, builder);
        let is_there = !endpoints.entries().is_empty();
        self.endpoints.swap(Arc::new(endpoints)).entries().is_empty() && is_there
    }
}
