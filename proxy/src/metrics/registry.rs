//! What is known of the registry, and of the watch on it.

use prometheus::{IntCounter, IntGauge};
use registry::watch::WatchStatus;

use super::maker::{Maker, as_gauge, mirror};

#[derive(Debug)]
pub(super) struct RegistryMetrics {
    revision: IntGauge,
    live: IntGauge,
    confirmed: IntGauge,
    events: IntCounter,
    lists: IntCounter,
    failures: IntCounter,
    skipped: IntCounter,
    audits: IntCounter,
    audits_failed: IntCounter,
    repaired: IntCounter,
}

impl RegistryMetrics {
    pub(super) fn new(make: &Maker<'_>) -> Result<Self, prometheus::Error> {
        let counter = |name, help| make.counter(name, help);
        Ok(Self {
            revision: make.gauge("registry_revision", "The registry's revision that the directory shows.")?,
            live: make.gauge("registry_watch_live", "1 while the watch is open.")?,
            confirmed: make.gauge(
                "registry_confirmed_seconds",
                "Seconds since the registry last said something; -1 before it ever did.",
            )?,
            events: counter("registry_events_total", "Puts and deletes received.")?,
            lists: counter("registry_lists_total", "Complete lists read.")?,
            failures: counter("registry_failures_total", "Calls, streams and deadlines that failed.")?,
            skipped: counter("registry_skipped_records_total", "Records that were no registration.")?,
            audits: counter("registry_audits_total", "Comparisons of the directory with a complete list.")?,
            audits_failed: counter(
                "registry_audits_failed_total",
                "Audits that a call's failure ended; they are tried again.",
            )?,
            repaired: counter(
                "registry_repaired_keys_total",
                "Keys that an audit found to differ, and repaired.",
            )?,
        })
    }

    /// `revision`: the one that the directory shows.
    pub(super) fn show(&self, revision: i64, status: &WatchStatus) {
        let confirmed = status.confirmed.map(|at| as_gauge(at.elapsed().as_secs()));
        self.revision.set(revision);
        self.live.set(status.live.into());
        self.confirmed.set(confirmed.unwrap_or(-1));
        mirror(&self.events, status.events);
        mirror(&self.lists, status.lists);
        mirror(&self.failures, status.failures);
        mirror(&self.skipped, status.skipped);
        mirror(&self.audits, status.audits);
        mirror(&self.audits_failed, status.audits_failed);
        mirror(&self.repaired, status.repaired);
    }
}
