//! Which endpoint a request goes to next.

use std::time::Instant;

use http::{HeaderValue, Method, header};

use super::attempt::Chosen;
use super::hash_key;
use super::head::Head;
use super::retry::{self, Replay, Tries};
use crate::balance::{self, Choice};
use crate::site::Route;
use crate::traffic::ejection::Repeatable;

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
pub(super) fn first(
    route: &Route,
    head: &impl Head,
    client: &HeaderValue,
    now: Instant,
) -> Result<Chosen, Nobody> {
    if route.health.trial_may_be_due(now)
        && let Some(chosen) = trial(route, head, now)
    {
        return Ok(chosen);
    }
    another(route, head, client, &[], now)
}

/// An endpoint that is not among those that were tried. (A request that has failed once tries nobody out.)
pub(super) fn another(
    route: &Route,
    head: &impl Head,
    client: &HeaderValue,
    tried: &[u64],
    now: Instant,
) -> Result<Chosen, Nobody> {
    let limit = route.limits.endpoint;
    let endpoints = route.service.endpoints();
    let key = endpoints.plan().hash_key().map_or(0, |key| hash_key::of(key, head, client));
    let pick = |tried: &[u64], limit| {
        balance::pick(&endpoints, &Choice { tried, chance: fastrand::u64(..), now, key, limit })
    };
    let mut full = Vec::new();
    for _ in 0..DRAWS {
        let excluded = if full.is_empty() { tried } else { &full };
        let Some(entry) = pick(excluded, limit) else { break };
        if let Some(permit) = entry.endpoint.traffic.in_flight.try_acquire(limit) {
            let (endpoint, doubted) = (entry.endpoint.clone(), entry.health.is_out());
            return Ok(Chosen { endpoint, permit, doubted, trial: None });
        }
        if full.is_empty() {
            full.extend(tried);
        }
        full.push(entry.endpoint.id);
    }
    let is_full = limit.is_some() && pick(tried, None).is_some();
    Err(if is_full { Nobody::Full } else { Nobody::There })
}

fn trial(route: &Route, head: &impl Head, now: Instant) -> Option<Chosen> {
    let (endpoint, trial) = route.health.trial(&[], repeatable(route, head), now)?;
    // Beyond the limit, if need be: what fills it may be what has waited there since it stalled.
    let permit = endpoint.traffic.in_flight.try_acquire(None)?;
    Some(Chosen { endpoint, permit, doubted: true, trial: Some(trial) })
}

/// Whether a trial that fails costs the request nothing but time.
fn repeatable(route: &Route, head: &impl Head) -> Repeatable {
    let replay =
        Replay { idempotent: is_idempotent(head.method()), whole: has_small_body(head), unanswered: true };
    let tries = Tries { begun: 0, permitted: route.retry.attempts, is_over: false };
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

/// Whether doing it twice is the same as doing it once: RFC 9110, 9.2.2.
pub(super) fn is_idempotent(method: &Method) -> bool {
    matches!(
        *method,
        Method::GET | Method::HEAD | Method::OPTIONS | Method::TRACE | Method::PUT | Method::DELETE
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;
    use crate::gateway::head::tests::{FakeHead, head};
    use crate::gateway::shop::{Shop, Stock, get};
    use crate::traffic::ejection::{Failure, Outcome};
    use std::num::NonZeroU32;
    use std::time::Duration;

    const CLIENT: HeaderValue = HeaderValue::from_static("192.0.2.1");
    const MS: Duration = Duration::from_millis(1);

    fn pick(shop: &Shop, tried: &[u64]) -> Result<Chosen, Nobody> {
        another(&shop.route, &get(), &CLIENT, tried, shop.now)
    }

    /// A shop whose endpoints take so many requests at a time.
    fn limited(endpoints: u8, limit: u32) -> Shop {
        let mut stock = Stock::of(endpoints);
        stock.service.limits.endpoint = NonZeroU32::new(limit);
        stock.open()
    }

    #[test]
    fn whoever_was_tried_is_not_chosen_again() {
        let shop = Stock::of(3).open();
        let tried = [shop.endpoint(0).id, shop.endpoint(2).id];
        for _ in 0..20 {
            assert_eq!(pick(&shop, &tried).unwrap().endpoint.id, shop.endpoint(1).id);
        }
        let all: Vec<_> = (0..3).map(|n| shop.endpoint(n).id).collect();
        assert_eq!(pick(&shop, &all).unwrap_err(), Nobody::There);
        assert_eq!(pick(&Stock::of(0).open(), &[]).unwrap_err(), Nobody::There);
    }

    #[test]
    fn each_endpoint_takes_as_many_as_its_limit_and_then_all_are_full() {
        let shop = limited(3, 2);
        let mut chosen: Vec<_> = (0..6).map(|_| pick(&shop, &[]).unwrap()).collect();
        assert!((0..3).all(|n| shop.endpoint(n).traffic.in_flight.count() == 2));
        assert_eq!(pick(&shop, &[]).unwrap_err(), Nobody::Full);
        let left = chosen.pop().unwrap().endpoint.id;
        assert_eq!(pick(&shop, &[]).unwrap().endpoint.id, left, "the one that has room again");
    }

    #[test]
    fn that_those_are_full_who_were_tried_does_not_matter() {
        let shop = limited(1, 1);
        let held = pick(&shop, &[]).unwrap();
        assert_eq!(pick(&shop, &[held.endpoint.id]).unwrap_err(), Nobody::There);
        let other = limited(2, 1);
        let held = pick(&other, &[]).unwrap();
        let next = pick(&other, &[held.endpoint.id]).unwrap();
        assert_eq!(pick(&other, &[next.endpoint.id]).unwrap_err(), Nobody::Full);
    }

    #[test]
    fn many_at_once_never_go_beyond_the_limit() {
        let shop = limited(4, 3);
        let held = std::thread::scope(|scope| {
            let many = || (0..8).filter_map(|_| pick(&shop, &[]).ok()).collect::<Vec<_>>();
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(many)).collect();
            threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
        });
        assert_eq!(held.len(), 12, "32 wanted in, and as many got in as there are places");
        assert!((0..4).all(|n| shop.endpoint(n).traffic.in_flight.count() == 3));
    }

    /// A shop of two, the first of which was ejected half a second ago; and the time.
    fn with_an_ejected() -> (Shop, Instant) {
        let shop = Stock::of(2).open();
        shop.route.health.failed(&shop.endpoint(0), Failure::Refused, shop.now);
        let due = shop.now + 500 * MS;
        (shop, due)
    }

    fn tries_out(shop: &Shop, head: &FakeHead, now: Instant) -> bool {
        let chosen = first(&shop.route, head, &CLIENT, now).unwrap();
        match chosen.trial {
            Some(trial) => {
                assert!(chosen.doubted && chosen.endpoint.id == shop.endpoint(0).id);
                shop.route.health.finish(&chosen.endpoint, trial, Outcome::GivenBack, now);
                true
            }
            None => false,
        }
    }

    #[test]
    fn an_ejected_endpoint_is_tried_first_by_a_request_that_loses_nothing_by_it() {
        let (shop, due) = with_an_ejected();
        // For a while after a look that found nobody, there is none.
        let mut now = shop.now;
        let mut tried_out_by = |head: &FakeHead, at: Instant| {
            now = at.max(now + 20 * MS);
            tries_out(&shop, head, now)
        };
        let post = head(Method::POST, "/", &[]);
        let form = |length: &'static [u8]| head(Method::PUT, "/", &[("content-length", length)]);
        let stream = head(Method::PUT, "/", &[("transfer-encoding", b"chunked")]);
        assert!(!tried_out_by(&get(), shop.now), "it is not due");
        assert!(!tried_out_by(&post, due), "not idempotent");
        assert!(!tried_out_by(&form(b"65537"), due), "too much to be kept");
        assert!(!tried_out_by(&stream, due), "nobody knows how much");
        assert!(tried_out_by(&form(b"65536"), due));
        assert!(tried_out_by(&get(), due));
        assert!(tried_out_by(&post, due + 800 * MS), "nobody else came for long");
    }

    #[test]
    fn a_request_that_has_one_attempt_or_has_failed_tries_nobody_out() {
        let (shop, due) = with_an_ejected();
        let tried = [shop.endpoint(1).id];
        let again = another(&shop.route, &get(), &CLIENT, &tried, due).unwrap();
        assert!(again.trial.is_none());
        let retry = config::Retry { attempts: 1, ..config::Retry::default() };
        let once = Stock { retry, ..Stock::of(2) }.open();
        once.route.health.failed(&once.endpoint(0), Failure::Refused, once.now);
        assert!(!tries_out(&once, &get(), once.now + 500 * MS));
    }
}
