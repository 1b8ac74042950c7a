//! How long things may take: `gateway.timeouts`, and `timeouts` of a route.

use std::ops::RangeInclusive;
use std::time::Duration;

use config_reader::duration;

use super::{Section, Value};

const DAY: Duration = Duration::from_secs(24 * 3600);
/// The longest time to drain that a file may have.
pub(super) const LONGEST_DRAIN: Duration = DAY;
/// Pingora's timers tick every 10 ms.
const TIMEOUT: RangeInclusive<Duration> = Duration::from_millis(10)..=DAY;
const LAME_DUCK: RangeInclusive<Duration> = Duration::ZERO..=DAY;
const KEEPALIVE: RangeInclusive<Duration> = Duration::from_secs(1)..=DAY;

/// How long things may take: 10 ms to 24 h each, unless said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// Opening a connection to an instance. Shorter than `total`; half of it where it is not set, at most
    /// 1 s.
    pub connect: Duration,
    /// From the end of a request to the first byte of its answer.
    pub first_byte: Duration,
    /// The silence of an instance at any time, also between two pieces of an answer. At least `first_byte`:
    /// of the two, one that is not set gives way to the other.
    pub idle: Duration,
    /// A request as a whole, from its head to the end of its answer, retries included; none: as long as it
    /// takes.
    pub total: Option<Duration>,
    /// As `idle`, for a connection that was upgraded, such as a WebSocket.
    pub tunnel: Duration,
    /// How long a connection to an instance is kept between requests.
    pub pool: Duration,
    /// How long a client's connection is kept between requests. Whole seconds, at least one.
    pub keepalive: Duration,
    /// The silence of a client within a request's body. Shorter than `idle`, or a client that stalls would
    /// be blamed on the instance; half of it where it is not set, at most 30 s.
    pub body: Duration,
    /// Writing a piece of a request to an instance, or of an answer to a client.
    pub write: Duration,
    /// How long the gateway serves on, saying that it is not ready, before it stops listening. May be 0.
    pub lame_duck: Duration,
    /// How long requests in flight may go on after that.
    pub drain: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(1),
            first_byte: Duration::from_secs(30),
            idle: Duration::from_secs(60),
            total: None,
            tunnel: Duration::from_secs(3600),
            pool: Duration::from_secs(30),
            keepalive: Duration::from_secs(60),
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
pub struct RouteTimeouts {
    /// Opening a connection to an instance.
    pub connect: Duration,
    /// From the end of a request to the first byte of its answer.
    pub first_byte: Duration,
    /// The silence of an instance at any time. At least `first_byte`.
    pub idle: Duration,
    /// A request as a whole, retries included; none: as long as it takes.
    pub total: Option<Duration>,
    /// The silence of a client within a request's body. No key of a route: the gateway's, or half of `idle`
    /// where that would not be shorter than `idle`.
    pub body: Duration,
}

impl From<&Timeouts> for RouteTimeouts {
    fn from(timeouts: &Timeouts) -> Self {
        let Timeouts { connect, first_byte, idle, total, body, .. } = *timeouts;
        Self { connect, first_byte, idle, total, body }
    }
}

/// Reads the gateway's.
pub(super) fn read(mut section: Section<'_>) -> Timeouts {
    let defaults = Timeouts::default();
    let RouteTimeouts { connect, first_byte, idle, total, .. } = read_shared(&mut section, &defaults);
    let mut timeouts = Timeouts { connect, first_byte, idle, total, ..defaults };
    for (key, slot) in [
        ("tunnel", &mut timeouts.tunnel),
        ("pool", &mut timeouts.pool),
        ("body", &mut timeouts.body),
        ("write", &mut timeouts.write),
        ("drain", &mut timeouts.drain),
    ] {
        section.set(key, slot, |value| value.duration(&TIMEOUT));
    }
    section.set("keepalive", &mut timeouts.keepalive, keepalive);
    section.set("lame_duck", &mut timeouts.lame_duck, |value| value.duration(&LAME_DUCK));
    fit_body(&section, &mut timeouts);
    section.close(None);
    timeouts
}

/// Reads a route's.
pub(super) fn read_route(mut section: Section<'_>, gateway: &Timeouts) -> RouteTimeouts {
    let mut timeouts = read_shared(&mut section, gateway);
    if timeouts.body >= timeouts.idle {
        timeouts.body = timeouts.idle / 2;
    }
    section.close(None);
    timeouts
}

/// Reads what the gateway and a route can both have.
fn read_shared(section: &mut Section<'_>, otherwise: &Timeouts) -> RouteTimeouts {
    let mut timeouts = RouteTimeouts::from(otherwise);
    for (key, slot) in [
        ("connect", &mut timeouts.connect),
        ("first_byte", &mut timeouts.first_byte),
        ("idle", &mut timeouts.idle),
    ] {
        section.set(key, slot, |value| value.duration(&TIMEOUT));
    }
    section.set("total", &mut timeouts.total, |value| value.or_off(|value| value.duration(&TIMEOUT)));
    section.in_order(("first_byte", &mut timeouts.first_byte), ("idle", &mut timeouts.idle));
    fit_connect(section, &mut timeouts);
    timeouts
}

/// Within the total time there must be room for a second connection: it is what an instance that does not
/// take the first one calls for.
fn fit_connect(section: &Section<'_>, timeouts: &mut RouteTimeouts) {
    let Some(total) = timeouts.total else { return };
    if !section.is_set("connect") {
        timeouts.connect = timeouts.connect.min(total / 2);
    } else if timeouts.connect >= total && section.is_sound("total") {
        let total = duration::show(total);
        let message = format_args!("must be shorter than total, {total}, or no other instance can be tried");
        section.reject("connect", message);
    }
}

fn fit_body(section: &Section<'_>, timeouts: &mut Timeouts) {
    if !section.is_set("body") {
        timeouts.body = timeouts.body.min(timeouts.idle / 2);
    } else if timeouts.body >= timeouts.idle && section.is_sound("idle") {
        let idle = duration::show(timeouts.idle);
        let message = format_args!(
            "must be shorter than idle, {idle}, or a client that stalls is taken for an instance that does"
        );
        section.reject("body", message);
    }
}

fn keepalive(value: Value<'_>) -> Option<Duration> {
    match value.duration(&KEEPALIVE)? {
        // Pingora counts it in seconds.
        fraction if fraction.subsec_nanos() > 0 => value.mismatch("whole seconds"),
        seconds => Some(seconds),
    }
}
