//! What is counted of one service, and for as long as somebody counts.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use prometheus::{Histogram, HistogramVec};

use super::counts::{ByLabel, ByStatus};

/// What is counted of one service. Its series are there for as long as somebody holds this: the routes that lead to
/// the service, and the requests that are on their way.
#[derive(Debug)]
pub(crate) struct ServiceMetrics {
    name: Box<str>,
    durations: Histogram,
    pub(super) requests: ByStatus,
    pub(super) retries: ByLabel,
    pub(super) retries_denied: AtomicU64,
    pub(super) limited: ByLabel,
    pub(super) loops: AtomicU64,
    pub(super) ejections: ByLabel,
    pub(super) checks: ByLabel,
    /// The list of all, from which it removes itself when it is dropped.
    of: Arc<Counted>,
}

impl ServiceMetrics {
    fn new(name: &str, durations: Histogram, of: Arc<Counted>) -> Self {
        Self {
            name: name.into(),
            durations,
            requests: ByStatus::default(),
            retries: ByLabel::default(),
            retries_denied: AtomicU64::default(),
            limited: ByLabel::default(),
            loops: AtomicU64::default(),
            ejections: ByLabel::default(),
            checks: ByLabel::default(),
            of,
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Counts an answered request. Status 0: the client left first.
    pub(crate) fn answered(&self, status: u16, took: Duration) {
        self.requests.count(status);
        self.durations.observe(took.as_secs_f64());
    }

    pub(crate) fn retried(&self, reason: &'static str) {
        self.retries.count(reason);
    }

    /// Counts a retry that the budget did not allow.
    pub(crate) fn retry_denied(&self) {
        self.retries_denied.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a request that was declined: `limit` is full.
    pub(crate) fn limited(&self, limit: &'static str) {
        self.limited.count(limit);
    }

    /// Counts a request that was declined: it goes round in circles.
    pub(crate) fn looped(&self) {
        self.loops.fetch_add(1, Ordering::Relaxed);
    }
}

impl Drop for ServiceMetrics {
    fn drop(&mut self) {
        self.of.forget(&self.name);
    }
}

/// The services that somebody counts for.
#[derive(Debug)]
pub(super) struct Counted {
    services: Mutex<Services>,
    /// Changed only while the list is locked: so the series of a service that goes are removed before one of the same
    /// name can be made.
    durations: HistogramVec,
}

type Services = HashMap<Box<str>, Weak<ServiceMetrics>>;

impl Counted {
    pub(super) fn new(durations: HistogramVec) -> Arc<Self> {
        Arc::new(Self { services: Mutex::default(), durations })
    }

    /// The one object that counts for a service, which is made if nobody holds it.
    pub(super) fn of(this: &Arc<Self>, name: &str) -> Arc<ServiceMetrics> {
        let mut services = this.lock();
        if let Some(living) = services.get(name).and_then(Weak::upgrade) {
            return living;
        }
        // If the former one is just being dropped, and has not removed itself yet, it finds that it was replaced.
        this.remove(&mut services, name);
        let durations = this.durations.with_label_values(&[name]);
        let service = Arc::new(ServiceMetrics::new(name, durations, this.clone()));
        services.insert(name.into(), Arc::downgrade(&service));
        service
    }

    /// None: nobody counts for this service.
    pub(super) fn find(&self, name: &str) -> Option<Arc<ServiceMetrics>> {
        self.lock().get(name).and_then(Weak::upgrade)
    }

    /// For one that is being dropped.
    fn forget(&self, name: &str) {
        let mut services = self.lock();
        let is_replaced = services.get(name).is_some_and(|service| service.strong_count() > 0);
        if !is_replaced {
            self.remove(&mut services, name);
        }
    }

    fn remove(&self, services: &mut Services, name: &str) {
        if services.remove(name).is_some() {
            // An error means that it has no series.
            let _ = self.durations.remove_label_values(&[name]);
        }
    }

    /// All of them. They are returned rather than visited under the lock, which is taken when one of them is dropped.
    pub(super) fn living(&self) -> Vec<Arc<ServiceMetrics>> {
        self.lock().values().filter_map(Weak::upgrade).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Services> {
        self.services.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
