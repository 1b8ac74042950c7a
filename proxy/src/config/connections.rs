//! How many connections clients may have: `gateway.connections`.

use std::num::NonZeroU32;
use std::ops::RangeInclusive;

use config_reader::key;
use config_reader::kind::{number, or_off};

use super::keys::Visit;

const CONNECTIONS: RangeInclusive<NonZeroU32> = NonZeroU32::MIN..=NonZeroU32::new(10_000_000).unwrap();
const REQUESTS: RangeInclusive<NonZeroU32> = NonZeroU32::MIN..=NonZeroU32::new(1_000_000_000).unwrap();
const HANDSHAKES: RangeInclusive<NonZeroU32> = NonZeroU32::MIN..=NonZeroU32::new(1_000_000).unwrap();

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
        const HANDSHAKES: NonZeroU32 = NonZeroU32::new(750).unwrap();
        Self { max: MAX, per_address: PER_ADDRESS, requests: None, handshakes: HANDSHAKES }
    }
}

impl Connections {
    pub(super) fn keys<V: Visit>(&mut self, v: &mut V) {
        let max = "so many in all, against [running out of memory and files](hardening.md#connections): one above that is closed at once";
        v.key(key("max", max), number(CONNECTIONS), &mut self.max);
        let per_address = "so many of one client's address, of IPv6 its /64, against [one that takes them all](hardening.md#connections-per-address); \
                           trusted proxies are not counted";
        v.key(key("per_address", per_address), number(CONNECTIONS), &mut self.per_address);
        let requests = "so many requests on each, against [connections that are never made anew](hardening.md#requests-per-connection); \
                        the last answer says that it is the last";
        v.key(key("requests", requests), or_off(number(REQUESTS)), &mut self.requests);
        let handshakes = "so many TLS handshakes and PROXY headers that have not ended, against [clients that begin them and go \
                          silent](hardening.md#handshakes): beyond that, the one that waits longest is closed";
        v.key(key("handshakes", handshakes), number(HANDSHAKES), &mut self.handshakes);
    }
}
