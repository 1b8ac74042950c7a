//! Who is there.

use prometheus::{IntCounter, IntGauge, IntGaugeVec};

use super::maker::{Maker, as_gauge};
use crate::directory::{Directory, Entry, Service, State};

#[derive(Debug)]
pub(super) struct DirectoryMetrics {
    stale: IntGauge,
    endpoints: IntGaugeVec,
    panic: IntGaugeVec,
    left_out: IntGaugeVec,
    services_without_route: IntGauge,
    endpoints_without_route: IntGaugeVec,
    endpoints_without_lease: IntGauge,
    pub(super) lookup_failures: IntCounter,
}

impl DirectoryMetrics {
    pub(super) fn new(make: &Maker<'_>) -> Result<Self, prometheus::Error> {
        Ok(Self {
            stale: make.gauge("stale", "1 while the directory shows the snapshot, not the registry.")?,
            endpoints: make.gauges(
                "endpoints",
                "Endpoints of services that a route names, by service and state.",
                &["service", "state"],
            )?,
            panic: make.gauges(
                "balance_panic",
                "1 while so many endpoints of the service are out that all are used.",
                &["service"],
            )?,
            left_out: make.gauges(
                "instances_left_out",
                "Registrations that have no endpoint, by the bound that they are beyond.",
                &["bound"],
            )?,
            services_without_route: make.gauge(
                "services_without_route",
                "Services that somebody registers under, and that no route names.",
            )?,
            endpoints_without_route: make.gauges(
                "endpoints_without_route",
                "Endpoints of all services that no route names, by state.",
                &["state"],
            )?,
            endpoints_without_lease: make.gauge(
                "endpoints_without_lease",
                "Endpoints whose registration stays when their instance is gone, of all services.",
            )?,
            lookup_failures: make.counter(
                "lookup_failures_total",
                "Names in gateway.services that could not be resolved when they were to be.",
            )?,
        })
    }

    /// Services that a route names now have series of their own, the others are summed: anybody who may register
    /// makes as many of these as he likes.
    pub(super) fn show(&self, directory: &Directory) {
        self.stale.set(directory.is_stale().into());
        // Those of a service that no route names any more are gone with that.
        self.endpoints.reset();
        self.panic.reset();
        let (mut services, mut without_route, mut without_lease) = (0, States::default(), 0);
        for service in directory.services().values() {
            let endpoints = service.endpoints();
            without_lease += endpoints.entries().iter().filter(|entry| entry.is_without_lease()).count();
            if service.is_routed() {
                self.show_service(service, endpoints.entries());
            } else {
                services += 1;
                without_route.add(endpoints.entries());
            }
        }
        self.services_without_route.set(services);
        self.endpoints_without_lease.set(as_gauge(without_lease as u64));
        without_route.show(|state| self.endpoints_without_route.with_label_values(&[state]));
        self.show_left_out(directory);
    }

    fn show_service(&self, service: &Service, entries: &[Entry]) {
        let name = &**service.name();
        let panics = entries.iter().any(|entry| entry.health.panic);
        self.panic.with_label_values(&[name]).set(panics.into());
        let mut states = States::default();
        states.add(entries);
        states.show(|state| self.endpoints.with_label_values(&[name, state]));
    }

    fn show_left_out(&self, directory: &Directory) {
        let left_out = directory.left_out();
        for (bound, count) in [
            ("max_instances", left_out.by_instances),
            ("max_services", left_out.by_services),
            ("max_registrations", left_out.by_registrations),
            ("addresses", left_out.by_given),
        ] {
            self.left_out.with_label_values(&[bound]).set(as_gauge(count as u64));
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_state_is_counted_in_its_own_place() {
        for (place, state) in State::ALL.into_iter().enumerate() {
            assert_eq!(state as usize, place);
        }
    }
}
