//! What is counted by route. A route has series for as long as a site or a request holds it, and none of a status that
//! it was never answered with: so ten thousand routes that nobody uses are no series at all.

use std::sync::Arc;

use prometheus::{IntCounterVec, IntGauge};

use super::counted::{Counted, Counts, Named};
use super::counts::ByClass;
use super::maker::Maker;

/// What is counted of one route.
pub(crate) type RouteMetrics = Named<RouteCounts>;

#[derive(Debug)]
pub(crate) struct RouteCounts(ByClass);

impl Counts for RouteCounts {
    type Common = ();

    fn new(_: &str, (): &()) -> Self {
        Self(ByClass::default())
    }

    fn gone(_: &str, (): &()) {}
}

impl RouteCounts {
    /// Counts an answered request. Status 0: the client left first.
    pub(crate) fn answered(&self, status: u16) {
        self.0.count(status);
    }

    /// How many requests it has had.
    pub(crate) fn requests(&self) -> u64 {
        self.0.all()
    }

    /// How many of them were answered with a 5xx, be it the instance's or the gateway's own.
    pub(crate) fn errors(&self) -> u64 {
        self.0.of(5)
    }
}

/// The series of all routes.
#[derive(Debug)]
pub(super) struct RoutesMetrics {
    pub(super) counted: Arc<Counted<RouteCounts>>,
    requests: IntCounterVec,
    pub(super) without_endpoint: IntGauge,
    pub(super) left_out: IntGauge,
}

impl RoutesMetrics {
    pub(super) fn new(make: &Maker<'_>) -> Result<Self, prometheus::Error> {
        Ok(Self {
            counted: Counted::new(()),
            requests: make.counters(
                "route_requests_total",
                "Requests answered, by route and hundred of the status; 0: the client left first.",
                &["route", "status"],
            )?,
            without_endpoint: make.gauge(
                "routes_without_endpoint",
                "Routes of whose services none has an endpoint that is up.",
            )?,
            left_out: make.gauge(
                "services_left_out",
                "Services that paths may name, but for which their route has no place (max_services).",
            )?,
        })
    }

    pub(super) fn show(&self) {
        self.requests.reset();
        for route in self.counted.living() {
            route.0.each(|status, count| {
                self.requests.with_label_values(&[route.name(), status]).inc_by(count);
            });
        }
    }
}
