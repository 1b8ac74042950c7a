//! How many connections clients may have: `gateway.connections`.

use std::num::NonZeroU32;

/// How many connections clients may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Connections {
    /// In all, 1 to 10,000,000.
    pub(crate) max: NonZeroU32,
    /// Of one client's address (of IPv6 its /64), 1 to 10,000,000. Trusted proxies are not counted.
    pub(crate) per_address: NonZeroU32,
    /// Requests on one connection, 1 to 1,000,000,000; none: as many as it lives for.
    pub(crate) requests: Option<NonZeroU32>,
    /// TLS handshakes (and PROXY headers) that have not ended, 1 to 1,000,000: beyond that, the one that has waited longest for
    /// its client is closed.
    pub(crate) handshakes: NonZeroU32,
}

impl Default for Connections {
    fn default() -> Self {
        const MAX: NonZeroU32 = NonZeroU32::new(50_000).unwrap();
        const PER_ADDRESS: NonZeroU32 = NonZeroU32::new(5_000).unwrap();
        const HANDSHAKES: NonZeroU32 = NonZeroU32::new(1_000).unwrap();
        Self { max: MAX, per_address: PER_ADDRESS, requests: None, handshakes: HANDSHAKES }
    }
}
