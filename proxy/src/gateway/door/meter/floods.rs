//! The floods that were found: counted, and told.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use super::ledger::Flood;
use crate::gateway::door::told::Told;
use crate::metrics::Metrics;

/// What was found at all connections.
#[derive(Debug)]
pub(crate) struct Floods {
    metrics: Arc<Metrics>,
    told: Told,
}

impl Floods {
    pub(crate) fn new(metrics: Arc<Metrics>) -> Arc<Self> {
        Arc::new(Self { metrics, told: Told::default() })
    }

    pub(super) fn found(&self, flood: Flood, client: IpAddr, now: Instant) {
        let kind = flood.kind();
        self.metrics.http2_flood(kind);
        if let Some(untold) = self.told.next(kind, now) {
            tracing::warn!(%client, kind, untold, "an HTTP/2 connection is closed: the client floods it with {flood}");
        }
    }
}
