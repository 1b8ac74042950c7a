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
