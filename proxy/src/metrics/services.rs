//! The series by service. A service has them for as long as somebody counts for it: what a configuration no longer
//! names leaves nothing behind once its last request has ended.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use prometheus::IntCounterVec;

use super::counted::Counted;
use super::maker::Maker;
use super::service::{ServiceCounts, ServiceMetrics};

/// From 0.5 ms, a proxied request on one machine, to 30 s, the longest wait for a first byte.
const DURATION_BUCKETS: [f64; 14] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 30.0];

/// The series of all services. Counts are shown when somebody looks; the durations are prometheus' own.
#[derive(Debug)]
pub(super) struct ServicesMetrics {
    pub(super) counted: Arc<Counted<ServiceCounts>>,
    requests: IntCounterVec,
    retries: IntCounterVec,
    retries_denied: IntCounterVec,
    limited: IntCounterVec,
    loops: IntCounterVec,
    ejections: IntCounterVec,
    checks: IntCounterVec,
    calls: IntCounterVec,
}

impl ServicesMetrics {
    pub(super) fn new(make: &Maker<'_>) -> Result<Self, prometheus::Error> {
        let counters = |name, help, labels| make.counters(name, help, labels);
        let durations = "From the request's head to the end of its answer.";
        let durations =
            make.histograms("request_duration_seconds", durations, &["service"], &DURATION_BUCKETS)?;
        Ok(Self {
            counted: Counted::new(durations),
            requests: counters(
                "requests_total",
                "Requests answered, by service and status; status 0: the client left first.",
                &["service", "status"],
            )?,
            retries: counters(
                "retries_total",
                "Attempts beyond a request's first, by service and reason.",
                &["service", "reason"],
            )?,
            retries_denied: counters(
                "retries_denied_total",
                "Retries that the service's budget did not allow.",
                &["service"],
            )?,
            limited: counters(
                "limited_total",
                "Requests declined because too many were in flight, by service and limit.",
                &["service", "limit"],
            )?,
            loops: counters(
                "loops_total",
                "Requests declined because they had passed through too many gateways.",
                &["service"],
            )?,
            ejections: counters(
                "ejections_total",
                "Ejections of endpoints, failed trials too, by service and reason.",
                &["service", "reason"],
            )?,
            checks: counters(
                "checks_total",
                "Endpoints asked whether they are well, by service and outcome.",
                &["service", "outcome"],
            )?,
            calls: counters(
                "grpc_calls_total",
                "Calls of gRPC, by service and how they ended.",
                &["service", "grpc_status"],
            )?,
        })
    }

    pub(super) fn show(&self) {
        self.all().into_iter().for_each(IntCounterVec::reset);
        for service in self.counted.living() {
            self.show_service(&service);
        }
    }

    fn all(&self) -> [&IntCounterVec; 8] {
        let Self { counted: _, requests, retries, retries_denied, limited, loops, ejections, checks, calls } =
            self;
        [requests, retries, retries_denied, limited, loops, ejections, checks, calls]
    }

    fn show_service(&self, service: &ServiceMetrics) {
        let name = service.name();
        let by_label = |counters: &IntCounterVec, label: &str, count| {
            counters.with_label_values(&[name, label]).inc_by(count);
        };
        service.requests.each(|status, count| by_label(&self.requests, status, count));
        service.retries.each(|reason, count| by_label(&self.retries, reason, count));
        service.limited.each(|limit, count| by_label(&self.limited, limit, count));
        service.ejections.each(|reason, count| by_label(&self.ejections, reason, count));
        service.checks.each(|outcome, count| by_label(&self.checks, outcome, count));
        service.calls.each(|status, count| by_label(&self.calls, status, count));
        for (counters, count) in
            [(&self.retries_denied, &service.retries_denied), (&self.loops, &service.loops)]
        {
            let count = count.load(Ordering::Relaxed);
            if count > 0 {
                counters.with_label_values(&[name]).inc_by(count);
            }
        }
    }
}
