//! The floods that were found: counted, and told.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::Semaphore;

use super::ledger::Flood;
use crate::gateway::door::told::Told;
use crate::metrics::Metrics;

/// So many bytes may be under way of heads that are too long, beyond what each may have. Those who send such by mistake are few.
const LONG_HEADS: usize = 32 * 1024 * 1024;

/// What was found at all connections, and what they share.
#[derive(Debug)]
pub(crate) struct Floods {
    metrics: Arc<Metrics>,
    told: Told,
    /// The bytes that are left of `LONG_HEADS`.
    pub(super) long_heads: Arc<Semaphore>,
}

impl Floods {
    pub(crate) fn new(metrics: Arc<Metrics>) -> Arc<Self> {
        let long_heads = Arc::new(Semaphore::new(LONG_HEADS));
        Arc::new(Self { metrics, told: Told::default(), long_heads })
    }

    pub(super) fn found(&self, flood: Flood, client: IpAddr, now: Instant) {
        let kind = flood.kind();
        self.metrics.http2_flood(kind);
        if let Some(untold) = self.told.next(kind, now) {
            tracing::warn!(%client, kind, untold, "an HTTP/2 connection is closed: the client floods it with {flood}");
        }
    }
}
