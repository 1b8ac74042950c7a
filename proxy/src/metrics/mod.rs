//! Every metric's name and labels.

mod embedded;

use std::sync::OnceLock;
use std::time::{Duration, SystemTime};

use embedded_registry::Observer;
use prometheus::core::Collector;
use prometheus::process_collector::ProcessCollector;
use prometheus::{
    Encoder, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry, TextEncoder,
};
use registry::status::Status;

use crate::directory::{Directory, Entry, State};
use crate::health::active;
use crate::traffic::ejection::Reason;
use embedded::EmbeddedMetrics;

/// From 0.5 ms, a proxied request on one machine, to 30 s, the longest wait for a first byte.
const DURATION_BUCKETS: [f64; 14] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 30.0];

/// The gateway's metrics.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    requests: IntCounterVec,
    durations: HistogramVec,
    in_flight: IntGauge,
    retries: IntCounterVec,
    retries_denied: IntCounterVec,
    limited: IntCounterVec,
    loops: IntCounterVec,
    endpoints: IntGaugeVec,
    left_out: IntGaugeVec,
    services_without_route: IntGauge,
    endpoints_without_route: IntGaugeVec,
    endpoints_without_lease: IntGauge,
    ejections: IntCounterVec,
    checks: IntCounterVec,
    panic: IntGaugeVec,
    registry_revision: IntGauge,
    registry_live: IntGauge,
    registry_confirmed: IntGauge,
    registry_events: IntCounter,
    registry_lists: IntCounter,
    registry_failures: IntCounter,
    registry_skipped: IntCounter,
    registry_audits: IntCounter,
    registry_audits_failed: IntCounter,
    registry_repaired: IntCounter,
    stale: IntGauge,
    embedded: EmbeddedMetrics,
    /// Set once it is served.
    embedded_registry: OnceLock<Observer>,
    guard_held: IntGauge,
    guard_alarms: IntCounter,
    snapshot_stored: IntGauge,
    snapshot_failures: IntCounter,
    panics: IntCounter,
    lines_dropped: IntCounter,
}

impl Metrics {
    /// Names and registers all of them.
    ///
    /// # Errors
    /// Two metrics of one name: a mistake in this file.
    pub fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let opts = |name: &str, help: &str| Opts::new(format!("leaseway_{name}"), help);
        let counter = |name, help| register(&registry, IntCounter::with_opts(opts(name, help)));
        let gauge = |name, help| register(&registry, IntGauge::with_opts(opts(name, help)));
        show_build(&registry)?;
        let buckets = DURATION_BUCKETS.to_vec();
        let duration = HistogramOpts::from(opts(
            "request_duration_seconds",
            "From the request's head to the end of its answer.",
        ));
        Ok(Self {
            requests: register(
                &registry,
                IntCounterVec::new(
                    opts(
                        "requests_total",
                        "Requests answered, by service and status; status 0: the client left first.",
                    ),
                    &["service", "status"],
                ),
            )?,
            durations: register(&registry, HistogramVec::new(duration.buckets(buckets), &["service"]))?,
            in_flight: gauge("requests_in_flight", "Requests being served.")?,
            retries: register(
                &registry,
                IntCounterVec::new(
                    opts("retries_total", "Attempts beyond a request's first, by service and reason."),
                    &["service", "reason"],
                ),
            )?,
            retries_denied: register(
                &registry,
                IntCounterVec::new(
                    opts("retries_denied_total", "Retries that the service's budget did not allow."),
                    &["service"],
                ),
            )?,
            limited: register(
                &registry,
                IntCounterVec::new(
                    opts(
                        "limited_total",
                        "Requests declined because too many were in flight, by service and limit.",
                    ),
                    &["service", "limit"],
                ),
            )?,
            loops: register(
                &registry,
                IntCounterVec::new(
                    opts(
                        "loops_total",
                        "Requests declined because they had passed through too many gateways.",
                    ),
                    &["service"],
                ),
            )?,
            ejections: register(
                &registry,
                IntCounterVec::new(
                    opts(
                        "ejections_total",
                        "Ejections of endpoints, failed trials too, by service and reason.",
                    ),
                    &["service", "reason"],
                ),
            )?,
            checks: register(
                &registry,
                IntCounterVec::new(
                    opts("checks_total", "Endpoints asked whether they are well, by service and outcome."),
                    &["service", "outcome"],
                ),
            )?,
            panic: register(
                &registry,
                IntGaugeVec::new(
                    opts(
                        "balance_panic",
                        "1 while so many endpoints of the service are out that all are used.",
                    ),
                    &["service"],
                ),
            )?,
            endpoints: register(
                &registry,
                IntGaugeVec::new(
                    opts("endpoints", "Endpoints of services that a route names, by service and state."),
                    &["service", "state"],
                ),
            )?,
            left_out: register(
                &registry,
                IntGaugeVec::new(
                    opts(
                        "instances_left_out",
                        "Registrations that have no endpoint, by the bound that they are beyond.",
                    ),
                    &["bound"],
                ),
            )?,
            services_without_route: gauge(
                "services_without_route",
                "Services that somebody registers under, and that no route names.",
            )?,
            endpoints_without_route: register(
                &registry,
                IntGaugeVec::new(
                    opts(
                        "endpoints_without_route",
                        "Endpoints of all services that no route names, by state.",
                    ),
                    &["state"],
                ),
            )?,
            endpoints_without_lease: gauge(
                "endpoints_without_lease",
                "Endpoints whose registration stays when their instance is gone, of all services.",
            )?,
            registry_revision: gauge(
                "registry_revision",
                "The registry's revision that the directory shows.",
            )?,
            registry_live: gauge("registry_watch_live", "1 while the watch is open.")?,
            registry_confirmed: gauge(
                "registry_confirmed_seconds",
                "Seconds since the registry last said something; -1 before it ever did.",
            )?,
            registry_events: counter("registry_events_total", "Puts and deletes received.")?,
            registry_lists: counter("registry_lists_total", "Complete lists read.")?,
            registry_failures: counter(
                "registry_failures_total",
                "Calls, streams and deadlines that failed.",
            )?,
            registry_skipped: counter(
                "registry_skipped_records_total",
                "Records that were no registration.",
            )?,
            registry_audits: counter(
                "registry_audits_total",
                "Comparisons of the directory with a complete list.",
            )?,
            registry_audits_failed: counter(
                "registry_audits_failed_total",
                "Audits that a call's failure ended; they are tried again.",
            )?,
            registry_repaired: counter(
                "registry_repaired_keys_total",
                "Keys that an audit found to differ, and repaired.",
            )?,
            embedded: EmbeddedMetrics::new()?,
            embedded_registry: OnceLock::new(),
            stale: gauge("stale", "1 while the directory shows the snapshot, not the registry.")?,
            guard_held: gauge("guard_held", "Endpoints that the guard holds without a registration.")?,
            guard_alarms: counter(
                "guard_alarms_total",
                "Times that endpoints of a service did not stop although the guard had to hold them.",
            )?,
            snapshot_stored: gauge(
                "snapshot_stored_timestamp_seconds",
                "When the snapshot was last written, in Unix time; 0: not by this process.",
            )?,
            snapshot_failures: counter(
                "snapshot_failures_total",
                "Snapshots that could not be read or written.",
            )?,
            panics: counter("panics_total", "Requests that a panic ended.")?,
            lines_dropped: counter("log_lines_dropped_total", "Log lines dropped because nobody took them.")?,
            registry,
        })
    }

    /// The metrics of one service, looked up once.
    pub fn service(&self, name: &str) -> ServiceMetrics {
        ServiceMetrics {
            name: name.to_owned(),
            requests: self.requests.clone(),
            retries: self.retries.clone(),
            retries_denied: self.retries_denied.clone(),
            limited: self.limited.clone(),
            loops: self.loops.clone(),
            duration: self.durations.with_label_values(&[name]),
            by_status: Default::default(),
        }
    }

    /// Requests being served.
    pub fn in_flight(&self) -> &IntGauge {
        &self.in_flight
    }

    /// Endpoints that the guard holds.
    pub fn guard_held(&self) -> &IntGauge {
        &self.guard_held
    }

    /// Counts an alarm of the guard: endpoints of a service that it holds do not stop.
    pub fn guard_alarmed(&self) {
        self.guard_alarms.inc();
    }

    /// Notes that the snapshot was written.
    pub fn snapshot_stored(&self, at: SystemTime) {
        let since_epoch = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        self.snapshot_stored.set(as_gauge(since_epoch.as_secs()));
    }

    /// Counts a snapshot that could not be read or written.
    pub fn snapshot_failed(&self) {
        self.snapshot_failures.inc();
    }

    /// The embedded registry, whose counts are shown from now on. A process has one at most.
    pub fn embedded_registry(&self, observer: Observer) {
        let _ = self.embedded_registry.set(observer);
    }

    /// Counts a check of an endpoint. None: the gateway could not ask.
    pub fn checked(&self, service: &str, outcome: Option<active::Outcome>) {
        let outcome = match outcome {
            Some(active::Outcome::Passed) => "passed",
            Some(active::Outcome::Failed) => "failed",
            None => "unknown",
        };
        self.checks.with_label_values(&[service, outcome]).inc();
    }

    /// Counts an ejection of an endpoint, be it the first or after a trial that failed.
    pub fn ejected(&self, service: &str, why: Reason) {
        self.ejections.with_label_values(&[service, why.as_str()]).inc();
    }

    /// Counts a request that a panic ended.
    pub fn panicked(&self) {
        self.panics.inc();
    }

    /// All metrics in Prometheus' text format.
    ///
    /// # Errors
    /// A metric that cannot be written as text.
    pub fn render(
        &self,
        directory: &Directory,
        status: &Status,
        lines_dropped: u64,
    ) -> Result<Vec<u8>, prometheus::Error> {
        self.show_directory(directory);
        self.show_status(directory, status);
        mirror(&self.lines_dropped, lines_dropped);
        let mut families = self.registry.gather();
        // Made anew each time: a daemon has forked since the metrics were set up, and is another process now.
        families.extend(ProcessCollector::for_self().collect());
        if let Some(registry) = self.embedded_registry.get() {
            families.extend(self.embedded.gather(&registry.counts()));
        }
        let mut text = Vec::new();
        TextEncoder::new().encode(&families, &mut text)?;
        Ok(text)
    }

    /// Services that a route names have series of their own, the others are summed: anybody who may register makes
    /// as many of these as he likes.
    fn show_directory(&self, directory: &Directory) {
        self.stale.set(directory.is_stale().into());
        let (mut services, mut endpoints, mut without_lease) = (0, States::default(), 0);
        for service in directory.services().values() {
            let found = service.endpoints();
            let is_unleased = |entry: &&Entry| entry.tenure.get().lease == 0;
            without_lease += found.entries().iter().filter(is_unleased).count() as u64;
            if !service.is_routed() {
                services += 1;
                endpoints.add(found.entries());
                continue;
            }
            let name = &**service.name();
            let panics = found.entries().iter().any(|entry| entry.health.panic);
            self.panic.with_label_values(&[name]).set(panics.into());
            let mut states = States::default();
            states.add(found.entries());
            states.show(|state| self.endpoints.with_label_values(&[name, state]));
        }
        self.services_without_route.set(services);
        self.endpoints_without_lease.set(as_gauge(without_lease));
        let left_out = directory.left_out();
        for (bound, count) in [
            ("max_instances", left_out.by_instances),
            ("max_services", left_out.by_services),
            ("max_registrations", left_out.by_registrations),
        ] {
            self.left_out.with_label_values(&[bound]).set(as_gauge(count as u64));
        }
        endpoints.show(|state| self.endpoints_without_route.with_label_values(&[state]));
    }

    fn show_status(&self, directory: &Directory, status: &Status) {
        let confirmed = status.confirmed.map(|at| as_gauge(at.elapsed().as_secs()));
        self.registry_revision.set(directory.revision());
        self.registry_live.set(status.live.into());
        self.registry_confirmed.set(confirmed.unwrap_or(-1));
        mirror(&self.registry_events, status.events);
        mirror(&self.registry_lists, status.lists);
        mirror(&self.registry_failures, status.failures);
        mirror(&self.registry_skipped, status.skipped);
        mirror(&self.registry_audits, status.audits);
        mirror(&self.registry_audits_failed, status.audits_failed);
        mirror(&self.registry_repaired, status.repaired);
    }
}

/// How many endpoints are in each state, in the order of [`State::ALL`].
#[derive(Default)]
struct States([u64; State::ALL.len()]);

impl States {
    fn add(&mut self, entries: &[Entry]) {
        for entry in entries {
            if let Some(count) = self.0.get_mut(entry.state() as usize) {
                *count += 1;
            }
        }
    }

    fn show(&self, gauge: impl Fn(&str) -> IntGauge) {
        for (count, state) in self.0.iter().zip(State::ALL) {
            gauge(state.as_str()).set(as_gauge(*count));
        }
    }
}

/// Always 1: its labels say which build this is.
fn show_build(registry: &Registry) -> Result<(), prometheus::Error> {
    let opts = Opts::new("leaseway_build_info", "1; the labels say which build this is.")
        .const_label("version", env!("CARGO_PKG_VERSION"))
        .const_label("profile", if cfg!(debug_assertions) { "debug" } else { "release" })
        .const_label("arch", std::env::consts::ARCH);
    register(registry, IntGauge::with_opts(opts))?.set(1);
    Ok(())
}

/// Shows a count that is kept elsewhere. Only scrapes do this, one after another.
fn mirror(counter: &IntCounter, count: u64) {
    counter.reset();
    counter.inc_by(count);
}

fn as_gauge(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

fn register<C: Collector + Clone + 'static>(
    registry: &Registry,
    metric: Result<C, prometheus::Error>,
) -> Result<C, prometheus::Error> {
    let metric = metric?;
    registry.register(Box::new(metric.clone()))?;
    Ok(metric)
}

/// What is counted per request, without a look-up by label.
#[derive(Debug)]
pub struct ServiceMetrics {
    name: String,
    requests: IntCounterVec,
    retries: IntCounterVec,
    retries_denied: IntCounterVec,
    limited: IntCounterVec,
    loops: IntCounterVec,
    duration: Histogram,
    by_status: Box<StatusCounters>,
}

/// One counter per status from 0 to 599, made when it is first needed.
#[derive(Debug)]
struct StatusCounters([OnceLock<IntCounter>; 600]);

impl Default for StatusCounters {
    fn default() -> Self {
        Self([const { OnceLock::new() }; 600])
    }
}

impl ServiceMetrics {
    /// Counts an answered request. Status 0: the client left first.
    pub fn answered(&self, status: u16, took: Duration) {
        let count = || self.requests.with_label_values(&[&*self.name, &status.to_string()]);
        match self.by_status.0.get(usize::from(status)) {
            Some(counter) => counter.get_or_init(count).inc(),
            None => count().inc(),
        }
        self.duration.observe(took.as_secs_f64());
    }

    /// Counts an attempt beyond the first.
    pub fn retried(&self, reason: &str) {
        self.retries.with_label_values(&[&*self.name, reason]).inc();
    }

    /// Counts a retry that the budget did not allow.
    pub fn retry_denied(&self) {
        self.retries_denied.with_label_values(&[&*self.name]).inc();
    }

    /// Counts a request that was declined: `limit` is full.
    pub fn limited(&self, limit: &str) {
        self.limited.with_label_values(&[&*self.name, limit]).inc();
    }

    /// Counts a request that was declined: it goes round in circles.
    pub fn looped(&self) {
        self.loops.with_label_values(&[&*self.name]).inc();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::directory;
    use registry::contract::{Instance, Record};
    use registry::watch::Update;
    use std::time::Instant;

    fn instance(service: &str, id: &str, weight: u16) -> Instance {
        let record = Record { weight, ..Record::new(([10, 0, 0, 1], 80).into()) };
        Instance { service: service.into(), id: id.into(), record, lease: 7, revision: 3 }
    }

    fn render(instances: Vec<Instance>) -> Vec<String> {
        let (directory, mut writer) = directory::new(["goods"]);
        writer.stage(Update::Reset { instances, refused: Vec::new(), revision: 3 });
        writer.publish(Instant::now);
        let metrics = Metrics::new().expect("no two of one name");
        let text = metrics.render(&directory, &Status::default(), 0).expect("text");
        String::from_utf8(text).expect("text").lines().map(str::to_owned).collect()
    }

    #[test]
    fn services_that_no_route_names_are_summed_however_many_there_are() {
        let goods = instance("goods", "a", 1);
        let alone = render(vec![goods.clone()]);
        let many =
            (0..1_000).flat_map(|n| [0, 1].map(|w| instance(&format!("other-{n}"), &w.to_string(), w)));
        let beside = render(many.chain([goods]).collect());
        for line in [
            "leaseway_endpoints{service=\"goods\",state=\"up\"} 1",
            "leaseway_services_without_route 1000",
            "leaseway_endpoints_without_route{state=\"draining\"} 1000",
            "leaseway_endpoints_without_route{state=\"up\"} 1000",
        ] {
            assert!(beside.iter().any(|found| found == line), "{line} is not in {beside:#?}");
        }
        assert_eq!(alone.len(), beside.len(), "{beside:#?}");
        assert!(beside.iter().all(|line| !line.contains("other")), "{beside:#?}");
    }

    #[test]
    fn endpoints_without_a_lease_are_counted_whether_a_route_names_them_or_not() {
        let unleased = ["goods", "other"].map(|service| Instance { lease: 0, ..instance(service, "b", 1) });
        let lines = render([instance("goods", "a", 1)].into_iter().chain(unleased).collect());
        assert!(lines.contains(&"leaseway_endpoints_without_lease 2".to_owned()), "{lines:#?}");
    }

    #[test]
    fn each_state_is_counted_in_its_own_place() {
        for (place, state) in State::ALL.into_iter().enumerate() {
            assert_eq!(state as usize, place);
        }
    }
}
