//! How many connections clients may have: `gateway.connections`.

use std::num::NonZeroU32;
use std::ops::RangeInclusive;
use std::time::Duration;

use config_reader::key;
use config_reader::kind::{duration, number, or_off};

use super::keys::Visit;

const CONNECTIONS: RangeInclusive<NonZeroU32> = NonZeroU32::MIN..=NonZeroU32::new(10_000_000).unwrap();
const REQUESTS: RangeInclusive<NonZeroU32> = NonZeroU32::MIN..=NonZeroU32::new(1_000_000_000).unwrap();
const HANDSHAKES: RangeInclusive<NonZeroU32> = NonZeroU32::MIN..=NonZeroU32::new(1_000_000).unwrap();
const MAX_AGE: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(24 * 3600);
const STREAMS: RangeInclusive<NonZeroU32> = NonZeroU32::MIN..=NonZeroU32::new(10_000).unwrap();

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
    /// The age after which one is told to end, up to a tenth later by chance, 1 s to 24 h; none: it may be as old as it likes.
    pub(crate) max_age: Option<Duration>,
    /// Requests at a time on one of HTTP/2, 1 to 10,000.
    pub(crate) streams: NonZeroU32,
}

impl Default for Connections {
    fn default() -> Self {
        const MAX: NonZeroU32 = NonZeroU32::new(50_000).unwrap();
        const PER_ADDRESS: NonZeroU32 = NonZeroU32::new(5_000).unwrap();
        const HANDSHAKES: NonZeroU32 = NonZeroU32::new(750).unwrap();
        const STREAMS: NonZeroU32 = NonZeroU32::new(100).unwrap();
        Self {
            max: MAX,
            per_address: PER_ADDRESS,
            requests: None,
            handshakes: HANDSHAKES,
            max_age: None,
            streams: STREAMS,
        }
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
        let max_age = "[how old each may become](http2.md#old-connections), so that clients behind a balancer of connections come to all gateways: then it \
                       is told to end (HTTP/2: GOAWAY; HTTP/1: with its next answer), by chance up to a tenth later";
        v.key(key("max_age", max_age), or_off(duration(MAX_AGE)), &mut self.max_age);
        let streams = "so many requests at a time on each of [HTTP/2](http2.md#from-clients): clients are told, and one above that is refused";
        v.key(key("streams", streams), number(STREAMS), &mut self.streams);
    }
}
