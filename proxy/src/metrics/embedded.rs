//! What the embedded registry holds and has refused.

use embedded_registry::Counts;
use prometheus::proto::MetricFamily;
use prometheus::{IntCounterVec, IntGauge, Registry};

use super::maker::{Maker, as_gauge, mirror};

/// The metrics of the embedded registry, in a registry of their own: where services register elsewhere, they are not
/// shown.
#[derive(Debug)]
pub(super) struct EmbeddedMetrics {
    all: Registry,
    keys: IntGauge,
    bytes: IntGauge,
    live_bytes: IntGauge,
    max_bytes: IntGauge,
    leases: IntGauge,
    watches: IntGauge,
    watch_streams: IntGauge,
    revision: IntGauge,
    compacted_revision: IntGauge,
    refused: IntCounterVec,
}

impl EmbeddedMetrics {
    pub(super) fn new() -> Result<Self, prometheus::Error> {
        let all = Registry::new();
        let make = Maker { registry: &all, prefix: "leaseway_embedded_registry_" };
        let gauge = |name, help| make.gauge(name, help);
        Ok(Self {
            keys: gauge("keys", "Keys that there are now.")?,
            bytes: gauge("bytes", "Bytes that keys, values and history take, by the registry's own count.")?,
            live_bytes: gauge("live_bytes", "The part of them that the keys take as they are now.")?,
            max_bytes: gauge("max_bytes", "The bound on them.")?,
            leases: gauge("leases", "Leases that there are now.")?,
            watches: gauge("watches", "Watches that there are now, the gateway's included.")?,
            watch_streams: gauge("watch_streams", "Streams that carry watches, or may.")?,
            revision: gauge("revision", "The newest revision.")?,
            compacted_revision: gauge("compacted_revision", "The oldest revision that can be read.")?,
            refused: make.counters("refused_total", "Requests refused, by reason.", &["reason"])?,
            all,
        })
    }

    pub(super) fn gather(&self, counts: &Counts) -> Vec<MetricFamily> {
        let size = |size: usize| as_gauge(size as u64);
        self.keys.set(size(counts.keys));
        self.bytes.set(size(counts.bytes));
        self.live_bytes.set(size(counts.live_bytes));
        self.max_bytes.set(size(counts.max_bytes));
        self.leases.set(size(counts.leases));
        self.watches.set(size(counts.watches));
        self.watch_streams.set(size(counts.watch_streams));
        self.revision.set(counts.revision);
        self.compacted_revision.set(counts.compacted_revision);
        for (reason, count) in &counts.refused {
            mirror(&self.refused.with_label_values(&[reason]), *count);
        }
        self.all.gather()
    }
}
