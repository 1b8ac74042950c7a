//! Which endpoint a request goes to next.

use std::sync::Arc;
use std::time::Instant;

use http::header;

use super::attempt::Chosen;
use super::hash_key;
use super::retry::{self, Replay, Tries};
use crate::balance::{self, Choice};
use crate::directory::{Endpoint, Entry, Protocol};
use crate::head::Head;
use crate::site::Way;
use crate::traffic::ejection::Repeatable;
use crate::traffic::in_flight::Permit;

/// How often another endpoint is drawn when one has filled up since it was seen.
const DRAWS: usize = 16;
/// What a carrier keeps at the least of a request's body to send it again.
const REPLAY_BYTES: u64 = 64 * 1024;

/// Why there is no endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Nobody {
    /// None is left that was not tried.
    There,
    /// Each has as many requests in flight as it may.
    Full,
}

/// The endpoint of a request's first attempt: an ejected one whose trial is due, else the one that balance chooses.
pub(super) fn first(way: &Way, head: &impl Head, client: &[u8], now: Instant) -> Result<Chosen, Nobody> {
    if way.target.health.trial_may_be_due(now)
        && let Some(chosen) = trial(way, head, now)
    {
        return Ok(chosen);
    }
    another(way, head, client, &[], now)
}

/// The endpoint of the first attempt of a request whose client was at an endpoint before that is well: that one. Only an
/// ejected one whose trial nobody else has made for long comes first, if the request loses nothing by it: where all
/// clients are at home somewhere, none would ever come back.
pub(super) fn first_at_home(
    way: &Way,
    head: &impl Head,
    client: &[u8],
    home: &Arc<Endpoint>,
    now: Instant,
) -> Result<Chosen, Nobody> {
    if way.target.health.trial_may_be_overdue(now)
        && repeatable(way, head) == Repeatable::Yes
        && let Some(chosen) = trial(way, head, now)
    {
        return Ok(chosen);
    }
    at_home(way, head, client, home, &[], now)
}

/// The endpoint at which a client was before; if that is full, another that is not among those that were tried, be it for
/// this request alone.
pub(super) fn at_home(
    way: &Way,
    head: &impl Head,
    client: &[u8],
    home: &Arc<Endpoint>,
    tried: &[u64],
    now: Instant,
) -> Result<Chosen, Nobody> {
    match home.traffic.in_flight.try_acquire(way.target.limits.endpoint) {
        Some(permit) => {
            let (endpoint, protocol) = (home.clone(), registered(way, home));
            Ok(Chosen { endpoint, permit, doubted: false, trial: None, protocol })
        }
        None => another(way, head, client, tried, now),
    }
}

/// An endpoint that is not among those that were tried. (A request that has failed once tries nobody out.)
pub(super) fn another(
    way: &Way,
    head: &impl Head,
    client: &[u8],
    tried: &[u64],
    now: Instant,
) -> Result<Chosen, Nobody> {
    let limit = way.target.limits.endpoint;
    let endpoints = way.target.service.endpoints();
    let key = endpoints.plan().hash_key().map_or(0, |key| hash_key::of(key, head, client));
    let pick = |tried: &[u64], limit| {
        balance::pick(&endpoints, &Choice { tried, chance: fastrand::u64(..), now, key, limit })
    };
    let enter = |entry: &Entry| entry.endpoint.traffic.in_flight.try_acquire(limit);
    if let Some((entry, permit)) = draw(tried, |excluded| pick(excluded, limit), enter) {
        let (endpoint, doubted) = (entry.endpoint.clone(), entry.health.is_out());
        return Ok(Chosen { endpoint, permit, doubted, trial: None, protocol: entry.protocol });
    }
    let is_full = limit.is_some() && pick(tried, None).is_some();
    Err(if is_full { Nobody::Full } else { Nobody::There })
}

/// Picks endpoints, none of which is excluded, until there is room at one. `enter` takes a place there, unless it has
/// filled up since it was picked.
fn draw<'e>(
    tried: &[u64],
    pick: impl Fn(&[u64]) -> Option<&'e Entry>,
    enter: impl Fn(&Entry) -> Option<Permit>,
) -> Option<(&'e Entry, Permit)> {
    let mut full = Vec::new();
    for _ in 0..DRAWS {
        let entry = pick(if full.is_empty() { tried } else { &full })?;
        if let Some(permit) = enter(entry) {
            return Some((entry, permit));
        }
        if full.is_empty() {
            full.extend(tried);
        }
        full.push(entry.endpoint.id);
    }
    None
}

fn trial(way: &Way, head: &impl Head, now: Instant) -> Option<Chosen> {
    let (endpoint, trial) = way.target.health.trial(repeatable(way, head), now)?;
    // Beyond the limit, if need be: what fills it may be what has waited there since it stalled.
    let permit = endpoint.traffic.in_flight.try_acquire(None)?;
    let protocol = registered(way, &endpoint);
    Some(Chosen { endpoint, permit, doubted: true, trial: Some(trial), protocol })
}

/// What an endpoint speaks, as its registration says.
fn registered(way: &Way, endpoint: &Endpoint) -> Option<Protocol> {
    way.target.service.endpoints().find(endpoint)?.protocol
}

/// Whether a trial that fails costs the request nothing but time.
fn repeatable(way: &Way, head: &impl Head) -> Repeatable {
    let idempotent = retry::is_idempotent(head.method(), &way.route.retry);
    let replay = Replay { idempotent, whole: has_small_body(head), unanswered: true };
    let tries = Tries { begun: 0, permitted: way.route.retry.attempts, is_over: false };
    if retry::may_be_lost(replay, tries) { Repeatable::Yes } else { Repeatable::No }
}

/// Whether the body, by what the head says of it, can be kept whole.
fn has_small_body(head: &impl Head) -> bool {
    match head.value(&header::CONTENT_LENGTH) {
        Some(length) => std::str::from_utf8(length)
            .ok()
            .and_then(|length| length.parse::<u64>().ok())
            .is_some_and(|length| length <= REPLAY_BYTES),
        None => head.value(&header::TRANSFER_ENCODING).is_none(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;
    use crate::gateway::fixture::{Fixture, Setup, get};
    use crate::head::tests::{FakeHead, head};
    use crate::traffic::ejection::{Failure, Outcome};
    use http::Method;
    use registry::contract::Metadata;
    use std::num::NonZeroU32;
    use std::time::Duration;

    const CLIENT: &[u8] = b"192.0.2.1";
    const MS: Duration = Duration::from_millis(1);

    fn pick(fixture: &Fixture, tried: &[u64]) -> Result<Chosen, Nobody> {
        another(&fixture.way, &get(), CLIENT, tried, fixture.now)
    }

    /// A service whose endpoints take so many requests at a time.
    fn limited(endpoints: u8, limit: u32) -> Fixture {
        let mut setup = Setup::of(endpoints);
        setup.service.limits.endpoint = NonZeroU32::new(limit);
        setup.build()
    }

    #[test]
    fn whoever_was_tried_is_not_chosen_again() {
        let fixture = Setup::of(3).build();
        let tried = [fixture.endpoint(0).id, fixture.endpoint(2).id];
        for _ in 0..20 {
            assert_eq!(pick(&fixture, &tried).unwrap().endpoint.id, fixture.endpoint(1).id);
        }
        let all: Vec<_> = (0..3).map(|n| fixture.endpoint(n).id).collect();
        assert_eq!(pick(&fixture, &all).unwrap_err(), Nobody::There);
        assert_eq!(pick(&Setup::of(0).build(), &[]).unwrap_err(), Nobody::There);
    }

    #[test]
    fn each_endpoint_takes_as_many_as_its_limit_and_then_all_are_full() {
        let fixture = limited(3, 2);
        let mut chosen: Vec<_> = (0..6).map(|_| pick(&fixture, &[]).unwrap()).collect();
        assert!((0..3).all(|n| fixture.endpoint(n).traffic.in_flight.count() == 2));
        assert_eq!(pick(&fixture, &[]).unwrap_err(), Nobody::Full);
        let left = chosen.pop().unwrap().endpoint.id;
        assert_eq!(pick(&fixture, &[]).unwrap().endpoint.id, left, "the one that has room again");
    }

    #[test]
    fn that_those_are_full_who_were_tried_does_not_matter() {
        let fixture = limited(1, 1);
        let held = pick(&fixture, &[]).unwrap();
        assert_eq!(pick(&fixture, &[held.endpoint.id]).unwrap_err(), Nobody::There);
        let other = limited(2, 1);
        let held = pick(&other, &[]).unwrap();
        let next = pick(&other, &[held.endpoint.id]).unwrap();
        assert_eq!(pick(&other, &[next.endpoint.id]).unwrap_err(), Nobody::Full);
    }

    #[test]
    fn while_others_fill_up_whoever_was_tried_is_still_not_chosen() {
        let fixture = Setup::of(3).build();
        let endpoints = fixture.way.target.service.endpoints();
        let id = |n: usize| endpoints.entries()[n].endpoint.id;
        let first =
            |excluded: &[u64]| endpoints.entries().iter().find(|e| !excluded.contains(&e.endpoint.id));
        let all_but_the_second = |entry: &Entry| {
            let free = entry.endpoint.id != id(1);
            free.then(|| entry.endpoint.traffic.in_flight.acquire())
        };
        let (entry, _permit) = draw(&[id(0)], first, all_but_the_second).unwrap();
        assert_eq!(entry.endpoint.id, id(2));
        assert!(draw(&[id(0), id(2)], first, all_but_the_second).is_none());
    }

    #[test]
    fn whoever_is_chosen_although_it_is_ejected_is_known_to_be_doubted() {
        let mut fixture = Setup::of(1).build();
        assert!(!pick(&fixture, &[]).unwrap().doubted);
        fixture.way.target.health.failed(&fixture.endpoint(0), Failure::Refused, fixture.now);
        assert_eq!(fixture.findings().len(), 1);
        assert!(pick(&fixture, &[]).unwrap().doubted, "all are used when all are out");
    }

    #[test]
    fn a_trial_takes_place_beyond_the_endpoints_limit() {
        let fixture = limited(2, 1);
        let ejected = fixture.endpoint(0);
        let _held = ejected.traffic.in_flight.acquire();
        fixture.way.target.health.failed(&ejected, Failure::Refused, fixture.now);
        assert!(tries_out(&fixture, &get(), fixture.now + 500 * MS));
    }

    #[test]
    fn many_at_once_never_go_beyond_the_limit() {
        let fixture = limited(4, 3);
        let held = std::thread::scope(|scope| {
            let many = || (0..8).filter_map(|_| pick(&fixture, &[]).ok()).collect::<Vec<_>>();
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(many)).collect();
            threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
        });
        assert_eq!(held.len(), 12, "32 wanted in, and as many got in as there are places");
        assert!((0..4).all(|n| fixture.endpoint(n).traffic.in_flight.count() == 3));
    }

    /// A service of two, the first of which was ejected half a second ago; and the time.
    fn with_an_ejected() -> (Fixture, Instant) {
        let fixture = Setup::of(2).build();
        fixture.way.target.health.failed(&fixture.endpoint(0), Failure::Refused, fixture.now);
        let due = fixture.now + 500 * MS;
        (fixture, due)
    }

    fn tries_out(fixture: &Fixture, head: &FakeHead, now: Instant) -> bool {
        let chosen = first(&fixture.way, head, CLIENT, now).unwrap();
        match chosen.trial {
            Some(trial) => {
                assert!(chosen.doubted && chosen.endpoint.id == fixture.endpoint(0).id);
                fixture.way.target.health.finish(&chosen.endpoint, trial, Outcome::GivenBack, now);
                true
            }
            None => false,
        }
    }

    #[test]
    fn an_ejected_endpoint_is_tried_first_by_a_request_that_loses_nothing_by_it() {
        let (fixture, due) = with_an_ejected();
        // For a while after a look that found nobody, there is none.
        let mut now = fixture.now;
        let mut tried_out_by = |head: &FakeHead, at: Instant| {
            now = at.max(now + 20 * MS);
            tries_out(&fixture, head, now)
        };
        let post = head(Method::POST, "/", &[]);
        let form = |length: &'static [u8]| head(Method::PUT, "/", &[("content-length", length)]);
        let stream = head(Method::PUT, "/", &[("transfer-encoding", b"chunked")]);
        assert!(!tried_out_by(&get(), fixture.now), "it is not due");
        assert!(!tried_out_by(&post, due), "not idempotent");
        assert!(!tried_out_by(&form(b"65537"), due), "too much to be kept");
        assert!(!tried_out_by(&stream, due), "nobody knows how much");
        assert!(tried_out_by(&form(b"65536"), due));
        assert!(tried_out_by(&get(), due));
        assert!(tried_out_by(&post, due + 800 * MS), "nobody else came for long");
    }

    #[test]
    fn a_request_that_has_one_attempt_or_has_failed_tries_nobody_out() {
        let (fixture, due) = with_an_ejected();
        let tried = [fixture.endpoint(1).id];
        let again = another(&fixture.way, &get(), CLIENT, &tried, due).unwrap();
        assert!(again.trial.is_none());
        let retry = config::Retry { attempts: 1, ..config::Retry::default() };
        let once = Setup { retry, ..Setup::of(2) }.build();
        once.way.target.health.failed(&once.endpoint(0), Failure::Refused, once.now);
        assert!(!tries_out(&once, &get(), once.now + 500 * MS));
    }

    #[test]
    fn however_an_endpoint_is_chosen_it_is_known_what_it_speaks() {
        let metadata = Metadata::new([("protocol", "grpc")]).unwrap();
        let fixture = Setup { metadata, ..Setup::of(2) }.build();
        let (way, now) = (&fixture.way, fixture.now);
        let speaks = |chosen: Result<Chosen, Nobody>| chosen.unwrap().protocol;
        assert_eq!(speaks(pick(&fixture, &[])), Some(Protocol::Grpc));
        let home = at_home(way, &get(), CLIENT, &fixture.endpoint(1), &[], now);
        assert_eq!(speaks(home), Some(Protocol::Grpc));
        way.target.health.failed(&fixture.endpoint(0), Failure::Refused, now);
        let on_trial = first(way, &get(), CLIENT, now + 500 * MS).unwrap();
        assert_eq!((on_trial.trial.is_some(), on_trial.protocol), (true, Some(Protocol::Grpc)));
        assert_eq!(speaks(pick(&Setup::of(1).build(), &[])), None);
    }
}
