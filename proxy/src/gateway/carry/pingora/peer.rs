//! Where Pingora is to send an attempt, and how long it may take.

use std::time::Duration;

use pingora::upstreams::peer::{HttpPeer, HttpUpstreamRequestPolicy};

use super::connection::Connection;
use crate::config::{RouteTimeouts, Timeouts};
use crate::tls::InstanceTls;

/// The least time that Pingora's timers know: they take none for "at once".
const TICK: Duration = Duration::from_millis(10);

/// What bounds an attempt.
#[derive(Debug, Clone, Copy)]
pub(super) struct AttemptTimes<'s> {
    pub(super) site: &'s Timeouts,
    pub(super) route: &'s RouteTimeouts,
    /// What is left of the whole request's time; none: as much as it takes.
    pub(super) left: Option<Duration>,
    /// Whether it may become a tunnel.
    pub(super) may_be_tunnel: bool,
}

/// The peer of an attempt. All of its times end with the request's own, but for those of an attempt that may become a
/// tunnel, which may be silent for longer. (Until its 101 comes, such a request is bounded all the same: what waits too
/// long for the head of its answer is broken off, whatever times the peer has.)
pub(super) fn peer(
    (connection, tls): (&Connection, Option<&InstanceTls>),
    times: AttemptTimes<'_>,
    policy: HttpUpstreamRequestPolicy,
) -> Box<HttpPeer> {
    let AttemptTimes { site, route, left, may_be_tunnel } = times;
    let clamp = |time: Duration| left.map_or(time, |left| time.min(left).max(TICK));
    let mut peer = connection.peer(tls);
    let (read, write) =
        if may_be_tunnel { (site.tunnel, site.write) } else { (clamp(route.idle), clamp(site.write)) };
    peer.options.connection_timeout = Some(clamp(route.connect));
    // Otherwise the handshake has as long again.
    peer.options.total_connection_timeout = tls.map(|_| clamp(route.connect));
    peer.options.read_timeout = Some(read);
    peer.options.write_timeout = Some(write);
    peer.options.idle_timeout = Some(site.pool);
    peer.options.http_upstream_request_policy = policy;
    peer
}

/// Has the attempt go over a connection of its own: its key is in no pool, nobody will look for it there, and it is not
/// kept.
pub(super) fn on_new_connection(peer: &mut HttpPeer) {
    peer.group_key = fastrand::u64(..) | 1 << 63;
    peer.options.idle_timeout = Some(Duration::ZERO);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::directory::Endpoint;
    use std::sync::Arc;

    fn limited(left: Option<Duration>, may_be_tunnel: bool) -> Box<HttpPeer> {
        let endpoint = Endpoint::new(7, "goods".into(), "a".into(), ([10, 0, 0, 1], 80).into());
        let site = Timeouts::default();
        let times = AttemptTimes { site: &site, route: &(&site).into(), left, may_be_tunnel };
        peer((&Connection::new(Arc::new(endpoint)), None), times, HttpUpstreamRequestPolicy::preserve())
    }

    #[test]
    fn no_time_within_an_attempt_outlasts_the_request() {
        let left = Duration::from_millis(70);
        let options = limited(Some(left), false).options;
        let times = [options.connection_timeout, options.read_timeout, options.write_timeout];
        assert_eq!(times, [Some(left); 3]);
        let spent = limited(Some(Duration::ZERO), false).options;
        assert_eq!(spent.read_timeout, Some(TICK), "none would mean for ever");
    }

    #[test]
    fn a_tunnel_may_be_silent_for_longer_than_a_request_may_take() {
        let options = limited(Some(Duration::from_millis(70)), true).options;
        assert_eq!(options.read_timeout, Some(Timeouts::default().tunnel));
    }

    #[test]
    fn a_connection_of_its_own_is_in_no_pool() {
        let mut peer = limited(None, false);
        assert_eq!(peer.group_key, 7);
        on_new_connection(&mut peer);
        assert!(peer.group_key >> 63 == 1 && peer.options.idle_timeout == Some(Duration::ZERO));
    }
}
