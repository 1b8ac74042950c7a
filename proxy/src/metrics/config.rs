//! Which configuration serves, and whether the last one that was read does.

use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use prometheus::{IntGauge, IntGaugeVec};

use super::maker::{Maker, unix_time};

#[derive(Debug)]
pub(super) struct ConfigMetrics {
    successful: IntGauge,
    applied: IntGauge,
    info: IntGaugeVec,
    /// The hash of the configuration that serves. Its series is made anew each time that metrics are read: there must
    /// be exactly one.
    hash: Mutex<Option<String>>,
}

impl ConfigMetrics {
    pub(super) fn new(make: &Maker<'_>) -> Result<Self, prometheus::Error> {
        let successful = make.gauge(
            "config_last_reload_successful",
            "1 if the configuration that was read last serves; 0 if it was rejected.",
        )?;
        // Without one that can serve, there is no process.
        successful.set(1);
        Ok(Self {
            successful,
            applied: make.gauge(
                "config_last_reload_success_timestamp_seconds",
                "Since when the configuration serves that does, in Unix time.",
            )?,
            info: make.gauges("config_info", "1; the label says which configuration serves.", &["hash"])?,
            hash: Mutex::default(),
        })
    }

    pub(super) fn applied(&self, hash: &str, at: SystemTime) {
        *self.hash.lock().unwrap_or_else(PoisonError::into_inner) = Some(hash.to_owned());
        self.applied.set(unix_time(at));
        self.successful.set(1);
    }

    pub(super) fn rejected(&self) {
        self.successful.set(0);
    }

    pub(super) fn show(&self) {
        let hash = self.hash.lock().unwrap_or_else(PoisonError::into_inner);
        self.info.reset();
        if let Some(hash) = &*hash {
            self.info.with_label_values(&[hash.as_str()]).set(1);
        }
    }
}
