//! Every metric's name and labels.
//!
//! ```text
//! services   by service: requests, retries, what was declined, ejections, checks
//!   service    what is counted of one service
//! routes     by route: requests
//!   counted    what is counted under names, and for as long as somebody counts under them
//!   counts     counts of which each has a label
//! connections  of clients, and to instances
//! tls        who comes in, certificates
//! directory  who is there
//! registry   what is known of the registry, and of the watch on it
//! guard, snapshot, config, process, embedded
//! maker      how metrics are named and registered
//! ```

mod config;
mod connections;
mod counted;
mod counts;
mod directory;
mod embedded;
mod guard;
mod maker;
mod process;
mod registry;
mod routes;
mod service;
mod services;
mod snapshot;
mod tls;

use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::SystemTime;

use ::registry::watch::WatchStatus;
use embedded_registry::Observer;
use prometheus::core::Collector;
use prometheus::process_collector::ProcessCollector;
use prometheus::{Encoder, IntGauge, Registry, TextEncoder};

use crate::directory::Directory;
use crate::traffic::ejection::Grounds;
use crate::traffic::kept::Sweeper;
use config::ConfigMetrics;
use connections::ConnectionsMetrics;
pub(crate) use connections::OpenTunnel;
use counted::Counted;
use directory::DirectoryMetrics;
use embedded::EmbeddedMetrics;
use guard::GuardMetrics;
use maker::{Maker, as_gauge, mirror};
use process::ProcessMetrics;
use registry::RegistryMetrics;
pub(crate) use routes::RouteMetrics;
use routes::RoutesMetrics;
pub(crate) use service::ServiceMetrics;
use services::ServicesMetrics;
use snapshot::SnapshotMetrics;
use tls::TlsMetrics;
pub(crate) use tls::{CertificateSeries, End};

/// The gateway's metrics.
#[derive(Debug)]
pub struct Metrics {
    all: Registry,
    services: ServicesMetrics,
    routes: RoutesMetrics,
    connections: ConnectionsMetrics,
    tls: TlsMetrics,
    directory: DirectoryMetrics,
    registry: RegistryMetrics,
    guard: GuardMetrics,
    snapshot: SnapshotMetrics,
    config: ConfigMetrics,
    process: ProcessMetrics,
    embedded: EmbeddedMetrics,
    /// Set once it is served.
    embedded_registry: OnceLock<Observer>,
    /// Held while counts that are kept elsewhere are shown.
    rendering: Mutex<()>,
}

/// What came of asking an endpoint whether it is well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Checked {
    Passed,
    Failed,
    /// The gateway could not ask.
    Unknown,
}

impl Checked {
    fn as_str(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed => "failed",
            Self::Unknown => "unknown",
        }
    }
}

impl Metrics {
    /// Names and registers all of them.
    ///
    /// # Errors
    /// Two metrics of one name: a mistake in this room.
    pub fn new() -> Result<Self, prometheus::Error> {
        let all = Registry::new();
        let make = Maker { registry: &all, prefix: "leaseway_" };
        Ok(Self {
            services: ServicesMetrics::new(&make)?,
            routes: RoutesMetrics::new(&make)?,
            connections: ConnectionsMetrics::new(&make)?,
            tls: TlsMetrics::new(&make)?,
            directory: DirectoryMetrics::new(&make)?,
            registry: RegistryMetrics::new(&make)?,
            guard: GuardMetrics::new(&make)?,
            snapshot: SnapshotMetrics::new(&make)?,
            config: ConfigMetrics::new(&make)?,
            process: ProcessMetrics::new(&make)?,
            embedded: EmbeddedMetrics::new()?,
            embedded_registry: OnceLock::new(),
            rendering: Mutex::default(),
            all,
        })
    }

    /// The counters of a service. All that ask for the same name share them; when the last holder drops them, the
    /// service's series are gone.
    pub(crate) fn service(&self, name: &str) -> Arc<ServiceMetrics> {
        Counted::of(&self.services.counted, &name.into())
    }

    /// The counters of a route: the same holds of them. The name `""` is for requests that no route takes.
    pub(crate) fn route(&self, name: &Arc<str>) -> Arc<RouteMetrics> {
        Counted::of(&self.routes.counted, name)
    }

    /// Notes how many routes lead to no endpoint that is up, and for how many services a route has no place.
    pub(crate) fn of_routes(&self, without_endpoint: usize, services_left_out: usize) {
        self.routes.without_endpoint.set(as_gauge(without_endpoint as u64));
        self.routes.left_out.set(as_gauge(services_left_out as u64));
    }

    pub(crate) fn in_flight(&self) -> &IntGauge {
        &self.process.in_flight
    }

    /// A client's connection is open from now on.
    pub(crate) fn client_came(&self) {
        self.connections.of_clients.inc();
    }

    /// It is no more.
    pub(crate) fn client_went(&self) {
        self.connections.of_clients.dec();
    }

    /// Counts a connection that was declined for want of a descriptor.
    pub(crate) fn connection_declined(&self) {
        self.connections.declined.inc();
    }

    /// Counts a connection of a client that was closed before a request was read from it.
    pub(crate) fn connection_refused(&self, reason: &'static str) {
        self.tls.refused(reason);
    }

    /// Counts a TLS handshake with a client that has ended well.
    pub(crate) fn handshake(&self, version: &'static str, is_resumed: bool) {
        self.tls.handshake(version, is_resumed);
    }

    /// Counts one that has failed.
    pub(crate) fn handshake_failed(&self, reason: &'static str) {
        self.tls.handshake_failed(reason);
    }

    /// Counts a connection that had to begin with a header of the PROXY protocol, and did not.
    pub(crate) fn proxy_protocol_failed(&self, reason: &'static str) {
        self.tls.proxy_failed(reason);
    }

    /// Notes which certificates there are from now on.
    pub(crate) fn certificates(&self, certificates: Vec<CertificateSeries>) {
        self.tls.certificates(certificates);
    }

    /// Counts what was no request's head. Status 0: the client left within it.
    pub(crate) fn head_refused(&self, status: u16) {
        self.connections.head_refused(status);
    }

    /// Counts a connection of HTTP/2 that is closed for what its client floods it with.
    pub(crate) fn http2_flood(&self, kind: &'static str) {
        self.connections.http2_flood(kind);
    }

    /// A tunnel is open until what this returns is dropped.
    pub(crate) fn tunnel(&self) -> OpenTunnel {
        self.connections.tunnel()
    }

    /// Counts a tunnel that has ended.
    pub(crate) fn tunnel_ended(&self, reason: &'static str) {
        self.connections.tunnel_ended(reason);
    }

    /// Who knows how many connections are kept to instances. A process has one.
    pub(crate) fn kept_by(&self, sweeper: Arc<Sweeper>) {
        let _ = self.connections.sweeper.set(sweeper);
    }

    /// Counts a name that could not be resolved.
    pub(crate) fn lookup_failed(&self) {
        self.directory.lookup_failures.inc();
    }

    pub(crate) fn guard_held(&self) -> &IntGauge {
        &self.guard.held
    }

    /// Counts an alarm of the guard: endpoints of a service that it holds do not stop.
    pub(crate) fn guard_alarmed(&self) {
        self.guard.alarms.inc();
    }

    pub(crate) fn snapshot_stored(&self, at: SystemTime) {
        self.snapshot.stored(at);
    }

    /// Counts a snapshot that could not be read or written.
    pub(crate) fn snapshot_failed(&self) {
        self.snapshot.failures.inc();
    }

    /// Notes that a configuration serves from now on.
    pub(crate) fn config_applied(&self, hash: &str, at: SystemTime) {
        self.config.applied(hash, at);
    }

    /// Notes that a configuration was read, and does not serve.
    pub(crate) fn config_rejected(&self) {
        self.config.rejected();
    }

    /// The embedded registry, whose counts are shown from now on. A process has one at most.
    pub(crate) fn embedded_registry(&self, observer: Observer) {
        let _ = self.embedded_registry.set(observer);
    }

    /// Counts a check of an endpoint, unless nobody counts for its service any more.
    pub(crate) fn checked(&self, service: &str, outcome: Checked) {
        if let Some(service) = self.services.counted.find(service) {
            service.checks.count(outcome.as_str());
        }
    }

    /// Counts an ejection of an endpoint, be it the first or after a trial that failed, unless nobody counts for its
    /// service any more.
    pub(crate) fn ejected(&self, service: &str, why: Grounds) {
        if let Some(service) = self.services.counted.find(service) {
            service.ejections.count(why.as_str());
        }
    }

    pub(crate) fn panicked(&self) {
        self.process.panics.inc();
    }

    /// All metrics in Prometheus' text format.
    ///
    /// # Errors
    /// A metric that cannot be written as text.
    pub(crate) fn render(
        &self,
        directory: &Directory,
        status: &WatchStatus,
        lines_dropped: u64,
    ) -> Result<Vec<u8>, prometheus::Error> {
        let _rendering = self.rendering.lock().unwrap_or_else(PoisonError::into_inner);
        self.services.show();
        self.routes.show();
        self.connections.show();
        self.tls.show();
        self.directory.show(directory);
        self.registry.show(directory.revision(), status);
        self.config.show();
        mirror(&self.process.lines_dropped, lines_dropped);
        let mut families = self.all.gather();
        // Made anew each time: a daemon has forked since the metrics were set up, and is another process now.
        families.extend(ProcessCollector::for_self().collect());
        if let Some(registry) = self.embedded_registry.get() {
            families.extend(self.embedded.gather(&registry.counts()));
        }
        let mut text = Vec::new();
        TextEncoder::new().encode(&families, &mut text)?;
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::directory;
    use crate::directory::State;
    use ::registry::contract::{Instance, Record};
    use ::registry::watch::Update;
    use std::time::{Duration, Instant};

    fn instance(service: &str, id: &str, weight: u16) -> Instance {
        let record = Record { weight, ..Record::new(([10, 0, 0, 1], 80).into()) };
        Instance { service: service.into(), id: id.into(), record, lease: 7, revision: 3 }
    }

    fn lines(metrics: &Metrics, directory: &Directory) -> Vec<String> {
        let text = metrics.render(directory, &WatchStatus::default(), 0).expect("text");
        String::from_utf8(text).expect("text").lines().map(str::to_owned).collect()
    }

    fn directory(routed: &[&str], instances: Vec<Instance>) -> Arc<Directory> {
        let (directory, mut writer) = directory::new(routed.iter().copied());
        writer.hear(Update::Reset { instances, refused: Vec::new(), revision: 3 });
        writer.publish(Instant::now);
        directory
    }

    fn render(instances: Vec<Instance>) -> Vec<String> {
        lines(&Metrics::new().expect("no two of one name"), &directory(&["goods"], instances))
    }

    /// The lines with a service's name.
    fn series(metrics: &Metrics, service: &str) -> Vec<String> {
        let label = format!("service=\"{service}\"");
        let mut lines = lines(metrics, &Directory::default());
        // One line stands for a histogram.
        lines.retain(|line| line.contains(&label) && !line.contains("_bucket") && !line.contains("_sum"));
        lines
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
    fn what_is_counted_of_a_service_is_shown_with_its_labels() {
        let metrics = Metrics::new().unwrap();
        let goods = metrics.service("goods");
        goods.answered(200, Duration::from_millis(3));
        goods.answered(200, Duration::from_millis(3));
        goods.answered(0, Duration::from_millis(3));
        goods.retried("refused");
        goods.retry_denied();
        goods.limited("endpoint");
        goods.looped();
        metrics.ejected("goods", Grounds::Refused);
        metrics.checked("goods", Checked::Unknown);
        let expected = [
            r#"leaseway_checks_total{outcome="unknown",service="goods"} 1"#,
            r#"leaseway_ejections_total{reason="refused",service="goods"} 1"#,
            r#"leaseway_limited_total{limit="endpoint",service="goods"} 1"#,
            r#"leaseway_loops_total{service="goods"} 1"#,
            r#"leaseway_request_duration_seconds_count{service="goods"} 3"#,
            r#"leaseway_requests_total{service="goods",status="0"} 1"#,
            r#"leaseway_requests_total{service="goods",status="200"} 2"#,
            r#"leaseway_retries_denied_total{service="goods"} 1"#,
            r#"leaseway_retries_total{reason="refused",service="goods"} 1"#,
        ];
        assert_eq!(series(&metrics, "goods"), expected);
        assert_eq!(series(&metrics, "goods"), expected, "a second look shows the same");
    }

    #[test]
    fn the_series_of_a_service_go_with_the_last_who_counts_for_it() {
        let metrics = Metrics::new().unwrap();
        let route = metrics.service("goods");
        let late = metrics.service("goods");
        route.answered(200, Duration::ZERO);
        drop(route);
        late.answered(200, Duration::ZERO);
        assert!(series(&metrics, "goods").iter().any(|line| line.ends_with(r#"status="200"} 2"#)));
        drop(late);
        // Health may hear of an endpoint that was removed a moment ago.
        metrics.ejected("goods", Grounds::Refused);
        metrics.checked("goods", Checked::Failed);
        assert_eq!(series(&metrics, "goods"), [""; 0]);
        let again = metrics.service("goods");
        again.answered(200, Duration::ZERO);
        assert!(series(&metrics, "goods").iter().any(|line| line.ends_with(r#"status="200"} 1"#)));
    }

    #[test]
    fn a_service_that_comes_while_it_goes_keeps_its_series() {
        const ROUNDS: usize = 20_000;
        let metrics = Metrics::new().unwrap();
        let come_and_go = || {
            for _ in 0..ROUNDS {
                let service = metrics.service("goods");
                service.answered(200, Duration::ZERO);
                // Whoever holds it is the one that all others find.
                assert!(Arc::ptr_eq(&service, &metrics.service("goods")));
            }
        };
        std::thread::scope(|scope| {
            let threads = [(); 4].map(|()| scope.spawn(come_and_go));
            threads.into_iter().for_each(|thread| thread.join().unwrap());
        });
        assert_eq!(series(&metrics, "goods"), [""; 0], "nobody is left");

        let held = metrics.service("goods");
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(come_and_go);
            }
        });
        let expected = [
            format!("leaseway_request_duration_seconds_count{{service=\"goods\"}} {}", 4 * ROUNDS),
            format!("leaseway_requests_total{{service=\"goods\",status=\"200\"}} {}", 4 * ROUNDS),
        ];
        assert_eq!(series(&metrics, "goods"), expected);
        drop(held);
    }

    #[test]
    fn services_that_come_and_go_leave_nothing_behind() {
        let metrics = Metrics::new().unwrap();
        let before = lines(&metrics, &Directory::default()).len();
        for n in 0..1_000 {
            metrics.service(&format!("service-{n}")).answered(200, Duration::ZERO);
        }
        assert_eq!(lines(&metrics, &Directory::default()).len(), before);
        assert_eq!(metrics.services.counted.living().len(), 0);
    }

    #[test]
    fn a_route_has_series_of_what_it_was_answered_with_while_somebody_holds_it() {
        let metrics = Metrics::new().unwrap();
        let shown = || -> Vec<String> {
            let lines = lines(&metrics, &Directory::default());
            lines.into_iter().filter(|line| line.starts_with("leaseway_route_requests_total{")).collect()
        };
        let names: Vec<Arc<str>> = (0..10_000).map(|n| format!("route-{n}").into()).collect();
        let routes: Vec<_> = names.iter().map(|name| metrics.route(name)).collect();
        assert_eq!(shown(), [""; 0], "nothing was asked of them yet");
        for status in [200, 204, 503, 0] {
            routes[7].answered(status);
        }
        let next = metrics.route(&names[7]);
        drop(routes);
        next.answered(200);
        let expected = [("0", 1), ("2xx", 3), ("5xx", 1)].map(|(status, count)| {
            format!(r#"leaseway_route_requests_total{{route="route-7",status="{status}"}} {count}"#)
        });
        assert_eq!(shown(), expected, "the next site has gone on counting");
        assert_eq!((next.requests(), next.errors()), (5, 1));
        drop(next);
        assert_eq!(shown(), [""; 0]);
        assert_eq!(metrics.routes.counted.living().len(), 0);
    }

    #[test]
    fn endpoints_are_shown_by_service_while_a_route_names_it() {
        let metrics = Metrics::new().unwrap();
        let instances = vec![instance("goods", "a", 1)];
        let by_service = |routed: &[&str]| {
            let lines = lines(&metrics, &directory(routed, instances.clone()));
            lines.iter().filter(|line| line.contains("service=\"goods\"")).count()
        };
        // One of each state, and whether it panics.
        assert_eq!(by_service(&["goods"]), State::ALL.len() + 1);
        assert_eq!(by_service(&[]), 0);
        assert_eq!(by_service(&["goods"]), State::ALL.len() + 1);
    }

    #[test]
    fn the_configuration_that_serves_is_shown_once() {
        let metrics = Metrics::new().unwrap();
        let shown = || -> Vec<String> {
            let lines = lines(&metrics, &Directory::default());
            lines.into_iter().filter(|line| line.starts_with("leaseway_config")).collect()
        };
        metrics.config_applied("0a1b", SystemTime::UNIX_EPOCH + Duration::from_secs(60));
        metrics.config_rejected();
        let expected = |hash, at, successful| {
            [
                format!("leaseway_config_info{{hash=\"{hash}\"}} 1"),
                format!("leaseway_config_last_reload_success_timestamp_seconds {at}"),
                format!("leaseway_config_last_reload_successful {successful}"),
            ]
        };
        assert_eq!(shown(), expected("0a1b", 60, 0));
        metrics.config_applied("2c3d", SystemTime::UNIX_EPOCH + Duration::from_secs(120));
        assert_eq!(shown(), expected("2c3d", 120, 1));
    }
}
