//! When the snapshot was written, and when that failed.

use std::time::SystemTime;

use prometheus::{IntCounter, IntGauge};

use super::maker::{Maker, unix_time};

#[derive(Debug)]
pub(super) struct SnapshotMetrics {
    stored: IntGauge,
    pub(super) failures: IntCounter,
}

impl SnapshotMetrics {
    pub(super) fn new(make: &Maker<'_>) -> Result<Self, prometheus::Error> {
        Ok(Self {
            stored: make.gauge(
                "snapshot_stored_timestamp_seconds",
                "When the snapshot was last written, in Unix time; 0: not by this process.",
            )?,
            failures: make
                .counter("snapshot_failures_total", "Snapshots that could not be read or written.")?,
        })
    }

    pub(super) fn stored(&self, at: SystemTime) {
        self.stored.set(unix_time(at));
    }
}
