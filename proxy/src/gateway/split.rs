//! Whether a request is let in whose route leads to several services, or back to where its client was.

use std::sync::Arc;
use std::time::Instant;

use super::admit::{GatewayState, Refusal, decline, enter};
use super::answer::Answer;
use super::choose;
use super::request::Request;
use super::sticky;
use crate::head::Head;
use crate::site::{Action, Route, Way};

/// Lets a request in to the service that its client remembers, else to one that is drawn by weight. If that one has no
/// endpoint, another is drawn among those that are left. One that is full declines the request: otherwise a service
/// that is to get little would get most when there is most to do.
pub(super) fn admit(
    request: &mut Request,
    route: Arc<Route>,
    head: &impl Head,
    gateway: GatewayState<'_>,
    now: Instant,
) -> Result<(), Answer> {
    // Whoever leads to one service alone is let in otherwise.
    let Action::Split(split) = &route.action else { return Err(Answer::NO_ROUTE) };
    let client = sticky::remembered(split, head);
    let mut without = Vec::new();
    let mut refused = None;
    let mut drawn = client.map(|client| client.service).or_else(|| split.draw(&[], fastrand::u64(..)));
    while let Some((place, share)) = drawn.and_then(|place| Some((place, split.shares().get(place)?))) {
        let way = Way { route: route.clone(), target: share.target.clone() };
        let home = client.filter(|client| client.service == place);
        let home = home.and_then(|client| sticky::home(split, client, &way.target));
        let choose = || match &home {
            Some(home) => choose::first_at_home(&way, head, request.client.as_bytes(), home, now),
            None => choose::first(&way, head, request.client.as_bytes(), now),
        };
        match enter(request, &way, gateway, choose, now) {
            Ok((chosen, permit)) => {
                request.admitted(way, chosen, permit, now);
                home.into_iter().for_each(|home| request.has_home(home));
                return Ok(());
            }
            Err(Refusal::NoEndpoint) => {
                refused.get_or_insert((way, Refusal::NoEndpoint));
            }
            Err(refusal) => {
                refused = Some((way, refusal));
                break;
            }
        }
        without.push(place);
        drawn = split.draw(&without, fastrand::u64(..));
    }
    match refused {
        Some((way, refusal)) => Err(decline(request, way, refusal, gateway)),
        // A configuration whose weights are all 0 is refused.
        None => Err(Answer::NO_ROUTE),
    }
}

#[cfg(test)]
mod tests;
