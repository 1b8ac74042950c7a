//! What the guard holds, and when that is too much.

use prometheus::{IntCounter, IntGauge};

use super::maker::Maker;

#[derive(Debug)]
pub(super) struct GuardMetrics {
    pub(super) held: IntGauge,
    pub(super) alarms: IntCounter,
}

impl GuardMetrics {
    pub(super) fn new(make: &Maker<'_>) -> Result<Self, prometheus::Error> {
        Ok(Self {
            held: make.gauge("guard_held", "Endpoints that the guard holds without a registration.")?,
            alarms: make.counter(
                "guard_alarms_total",
                "Times that endpoints of a service did not stop although the guard had to hold them.",
            )?,
        })
    }
}
