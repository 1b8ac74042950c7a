//! What is counted of one service.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use prometheus::{Histogram, HistogramVec};

use super::counted::{Counts, Named};
use super::counts::{ByLabel, ByStatus};
use crate::grpc::Status;

/// What is counted of one service. Its series are there for as long as somebody holds this: the routes that lead to
/// the service, and the requests that are on their way.
pub(crate) type ServiceMetrics = Named<ServiceCounts>;

#[derive(Debug)]
pub(crate) struct ServiceCounts {
    durations: Histogram,
    pub(super) requests: ByStatus,
    pub(super) retries: ByLabel,
    pub(super) retries_denied: AtomicU64,
    pub(super) limited: ByLabel,
    pub(super) loops: AtomicU64,
    pub(super) ejections: ByLabel,
    pub(super) checks: ByLabel,
    pub(super) calls: ByLabel,
}

impl Counts for ServiceCounts {
    /// The durations of all services.
    type Common = HistogramVec;

    fn new(name: &str, durations: &HistogramVec) -> Self {
        Self {
            durations: durations.with_label_values(&[name]),
            requests: ByStatus::default(),
            retries: ByLabel::default(),
            retries_denied: AtomicU64::default(),
            limited: ByLabel::default(),
            loops: AtomicU64::default(),
            ejections: ByLabel::default(),
            checks: ByLabel::default(),
            calls: ByLabel::default(),
        }
    }

    fn gone(name: &str, durations: &HistogramVec) {
        // An error means that it has no series.
        let _ = durations.remove_label_values(&[name]);
    }
}

impl ServiceCounts {
    /// Counts an answered request. Status 0: the client left first.
    pub(crate) fn answered(&self, status: u16, took: Duration) {
        self.requests.count(status);
        self.durations.observe(took.as_secs_f64());
    }

    /// Counts a call of gRPC that has ended so.
    pub(crate) fn called(&self, status: Status) {
        self.calls.count(status.as_str());
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
