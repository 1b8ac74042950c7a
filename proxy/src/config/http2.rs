//! How HTTP/2 is carried: `gateway.http2`.

use config_reader::key;
use config_reader::kind::words;

use super::keys::Visit;

/// By which code clients' HTTP/2 is carried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Http2Carrier {
    /// The gateway's own.
    #[default]
    Ours,
    /// That of Pingora's `ProxyHttp`.
    Pingora,
}

impl Http2Carrier {
    pub(super) fn keys<V: Visit>(&mut self, v: &mut V) {
        let carrier = key(
            "http2",
            "whose code carries [clients' HTTP/2](http2.md): the gateway's own, or Pingora's; a connection stays with the one with \
             which it has begun",
        );
        v.key(carrier, words([("ours", Self::Ours), ("pingora", Self::Pingora)]), self);
    }
}
