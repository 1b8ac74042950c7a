//! Which endpoint a request goes to next.

use std::sync::Arc;
use std::time::Instant;

use http::header;
use pingora::proxy::Session;

use super::answer::is_idempotent;
use super::attempt::Attempt;
use super::hash_key;
use super::request::Request;
use crate::balance::{self, Choice};
use crate::site::Route;
use crate::traffic::ejection::Repeatable;

/// How often another endpoint is drawn when one has filled up since it was seen.
const DRAWS: usize = 16;
/// What Pingora keeps of a request's body to send it again.
const REPLAY_BYTES: u64 = 64 * 1024;

/// Why there is no endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Nobody {
    /// None is left that was not tried.
    There,
    /// Each has as many requests in flight as it may.
    Full,
}

/// The next attempt: an ejected endpoint whose trial is due, else the one that balance chooses. A request
/// that has failed once tries nobody out.
pub(super) fn attempt(
    session: &Session,
    request: &Request,
    route: &Arc<Route>,
    now: Instant,
) -> Result<Attempt, Nobody> {
    if request.failures().is_empty()
        && route.health.trial_may_be_due(now)
        && let Some(attempt) = trial(session, request, route, now)
    {
        return Ok(attempt);
    }
    let limit = route.limits.endpoint;
    let endpoints = route.service.endpoints();
    let hash_key = endpoints.plan().hash_key();
    let key = hash_key.map_or(0, |key| hash_key::of(key, session.req_header(), &request.client));
    let pick = |tried: &[u64], limit| {
        balance::pick(&endpoints, &Choice { tried, chance: fastrand::u64(..), now, key, limit })
    };
    let mut full = Vec::new();
    for _ in 0..DRAWS {
        let excluded = if full.is_empty() { request.tried() } else { &full };
        let Some(entry) = pick(excluded, limit) else { break };
        if let Some(permit) = entry.endpoint.traffic.in_flight.try_acquire(limit) {
            return Ok(Attempt::new(entry, route.clone(), permit, now));
        }
        if full.is_empty() {
            full.extend(request.tried());
        }
        full.push(entry.endpoint.id);
    }
    let is_full = limit.is_some() && pick(request.tried(), None).is_some();
    Err(if is_full { Nobody::Full } else { Nobody::There })
}

fn trial(session: &Session, request: &Request, route: &Arc<Route>, now: Instant) -> Option<Attempt> {
    let (endpoint, trial) = route.health.trial(request.tried(), repeatable(session, request), now)?;
    // Beyond the limit, if need be: what fills it may be what has waited there since it stalled.
    let permit = endpoint.traffic.in_flight.try_acquire(None)?;
    Some(Attempt::on_trial(endpoint, route.clone(), permit, trial, now))
}

/// Whether a trial that fails costs the request nothing but time.
fn repeatable(session: &Session, request: &Request) -> Repeatable {
    let head = session.req_header();
    let length = head.headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok());
    let is_small = match length {
        Some(length) => length.parse::<u64>().is_ok_and(|length| length <= REPLAY_BYTES),
        None => !head.headers.contains_key(header::TRANSFER_ENCODING),
    };
    let again = usize::from(request.attempts()) + 1 < request.most_attempts();
    if is_small && again && is_idempotent(&head.method) { Repeatable::Yes } else { Repeatable::No }
}
