//! How long things may take: `gateway.timeouts`, and `timeouts` of a route.

use std::ops::RangeInclusive;
use std::time::Duration;

use config_reader::duration::show;
use config_reader::key;
use config_reader::kind::{duration, or_off, seconds};

use super::Section;
use super::keys::Visit;

const DAY: Duration = Duration::from_secs(24 * 3600);
/// The longest time to drain that a file may have.
pub(super) const LONGEST_DRAIN: Duration = DAY;
/// Pingora's timers tick every 10 ms.
const TIMEOUT: RangeInclusive<Duration> = Duration::from_millis(10)..=DAY;
const LAME_DUCK: RangeInclusive<Duration> = Duration::ZERO..=DAY;
const KEEPALIVE: RangeInclusive<Duration> = Duration::from_secs(1)..=DAY;
/// Who could take a day for a head or a handshake could hold as many connections as he likes.
const HEAD: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(600);

/// How long things may take: 10 ms to 24 h each, unless said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Timeouts {
    /// Opening a connection to an instance. Shorter than `total`; half of it where it is not set, at most
    /// 1 s.
    pub(crate) connect: Duration,
    /// From the end of a request to the first byte of its answer.
    pub(crate) first_byte: Duration,
    /// The silence of an instance at any time, also between two pieces of an answer. At least `first_byte`:
    /// of the two, one that is not set gives way to the other.
    pub(crate) idle: Duration,
    /// A request as a whole, from its head to the end of its answer, retries included; none: as long as it
    /// takes.
    pub(crate) total: Option<Duration>,
    /// As `idle`, for a connection that was upgraded, such as a WebSocket.
    pub(crate) tunnel: Duration,
    /// The time within which such connections end, spread over it, when their instance has left; none: they go on.
    pub(crate) tunnel_drain: Option<Duration>,
    /// How long a connection to an instance is kept between requests.
    pub(crate) pool: Duration,
    /// How long a client's connection is kept between requests. Whole seconds, at least one.
    pub(crate) keepalive: Duration,
    /// What comes before a client's first request: a header of the PROXY protocol and a TLS handshake, both together.
    /// 100 ms to 10 min.
    pub(crate) handshake: Duration,
    /// A request's whole head, from its first byte, be it an empty line's, to its end. 100 ms to 10 min.
    pub(crate) head: Duration,
    /// The silence of a client within a request's body. Shorter than `idle`, or a client that stalls would
    /// be blamed on the instance; half of it where it is not set, at most 30 s.
    pub(crate) body: Duration,
    /// Writing a piece of a request to an instance, or of an answer to a client.
    pub(crate) write: Duration,
    /// How long the gateway serves on, saying that it is not ready, before it stops listening. May be 0.
    pub(crate) lame_duck: Duration,
    /// How long requests in flight may go on after that.
    pub(crate) drain: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(1),
            first_byte: Duration::from_secs(30),
            idle: Duration::from_secs(60),
            total: None,
            tunnel: Duration::from_secs(3600),
            tunnel_drain: Some(Duration::from_secs(10)),
            pool: Duration::from_secs(30),
            keepalive: Duration::from_secs(60),
            handshake: Duration::from_secs(10),
            head: Duration::from_secs(10),
            body: Duration::from_secs(30),
            write: Duration::from_secs(30),
            lame_duck: Duration::ZERO,
            drain: Duration::from_secs(30),
        }
    }
}

/// How long things may take on a route. Each is as in [`Timeouts`]; what a route does not set is the
/// gateway's, unless it has to give way to what the route sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RouteTimeouts {
    /// Opening a connection to an instance.
    pub(crate) connect: Duration,
    /// From the end of a request to the first byte of its answer.
    pub(crate) first_byte: Duration,
    /// The silence of an instance at any time. At least `first_byte`.
    pub(crate) idle: Duration,
    /// A request as a whole, retries included; none: as long as it takes.
    pub(crate) total: Option<Duration>,
    /// The silence of a client within a request's body. No key of a route: the gateway's, or half of `idle`
    /// where that would not be shorter than `idle`.
    pub(crate) body: Duration,
}

impl From<&Timeouts> for RouteTimeouts {
    fn from(timeouts: &Timeouts) -> Self {
        let Timeouts { connect, first_byte, idle, total, body, .. } = *timeouts;
        Self { connect, first_byte, idle, total, body }
    }
}

impl Timeouts {
    pub(super) fn keys<V: Visit>(&mut self, v: &mut V) {
        let mut shared = RouteTimeouts::from(&*self);
        shared.shared_keys(v);
        (self.connect, self.first_byte, self.idle, self.total) =
            (shared.connect, shared.first_byte, shared.idle, shared.total);
        let tunnel = "how long either side of [an upgraded connection](requests.md#tunnels) (WebSocket) may be silent: then it ends";
        v.key(key("tunnel", tunnel), duration(TIMEOUT), &mut self.tunnel);
        let tunnel_drain = "the time within which such connections end, one after the other, when their instance has left; `off`: they go on";
        v.key(key("tunnel_drain", tunnel_drain), or_off(duration(TIMEOUT)), &mut self.tunnel_drain);
        let pool = "how long a connection to an instance is kept between requests";
        v.key(key("pool", pool), duration(TIMEOUT), &mut self.pool);
        // Pingora counts it in seconds.
        let keepalive = "how long a client's connection is kept between requests";
        v.key(key("keepalive", keepalive), seconds(KEEPALIVE), &mut self.keepalive);
        let handshake = "a client's [handshake](hardening.md#handshakes): a header of the PROXY protocol and TLS, both together";
        v.key(key("handshake", handshake), duration(HEAD), &mut self.handshake);
        let head = "a request's whole [head](http1.md#the-head), with the empty lines before it";
        v.key(key("head", head), duration(HEAD), &mut self.head);
        let body = key(
            "body",
            "a client's silence within a body; shorter than `idle`, by default at most half of it",
        );
        v.key(body, duration(TIMEOUT), &mut self.body);
        v.check(|section| fit_body(section, self));
        let write = "writing a piece of a request to an instance, or of an answer to a client";
        v.key(key("write", write), duration(TIMEOUT), &mut self.write);
        let lame_duck = "[after SIGTERM](operating.md#stopping): how long to serve on, saying \"not ready\", before no longer listening";
        v.key(key("lame_duck", lame_duck), duration(LAME_DUCK), &mut self.lame_duck);
        let drain = "how long requests in flight may go on after that";
        v.key(key("drain", drain), duration(TIMEOUT), &mut self.drain);
    }
}

impl RouteTimeouts {
    pub(super) fn keys<V: Visit>(&mut self, v: &mut V) {
        self.shared_keys(v);
        if self.body >= self.idle {
            self.body = self.idle / 2;
        }
    }

    /// What the gateway and a route can both have.
    fn shared_keys<V: Visit>(&mut self, v: &mut V) {
        let connect =
            "opening a connection to an instance; shorter than `total`, by default at most half of it";
        v.key(key("connect", connect), duration(TIMEOUT), &mut self.connect);
        let first_byte =
            "from a request's end to the first byte of its answer; at most `idle`, if you set both";
        v.key(key("first_byte", first_byte), duration(TIMEOUT), &mut self.first_byte);
        let idle = "how long an instance may be silent, before or within its answer; at least `first_byte`";
        v.key(key("idle", idle), duration(TIMEOUT), &mut self.idle);
        let total =
            "a request as a whole, with all its attempts, unless it is [a tunnel](requests.md#tunnels)";
        v.key(key("total", total), or_off(duration(TIMEOUT)), &mut self.total);
        v.check(|section| {
            section.in_order(("first_byte", &mut self.first_byte), ("idle", &mut self.idle));
            fit_connect(section, self);
        });
    }
}

/// Within the total time there must be room for a second connection: it is what an instance that does not
/// take the first one calls for.
fn fit_connect(section: &Section<'_>, timeouts: &mut RouteTimeouts) {
    let Some(total) = timeouts.total else { return };
    if !section.is_set("connect") {
        timeouts.connect = timeouts.connect.min(total / 2);
    } else if timeouts.connect >= total && section.is_sound("total") {
        let total = show(total);
        let message = format_args!("must be shorter than total, {total}, or no other instance can be tried");
        section.reject("connect", message);
    }
}

fn fit_body(section: &Section<'_>, timeouts: &mut Timeouts) {
    if !section.is_set("body") {
        timeouts.body = timeouts.body.min(timeouts.idle / 2);
    } else if timeouts.body >= timeouts.idle && section.is_sound("idle") {
        let idle = show(timeouts.idle);
        let message = format_args!(
            "must be shorter than idle, {idle}, or a client that stalls is taken for an instance that does"
        );
        section.reject("body", message);
    }
}
