//! Whether a request is let in.

use std::sync::Arc;
use std::time::Instant;

use super::answer::Answer;
use super::attempt::Chosen;
use super::choose::{self, Nobody};
use super::head::Head;
use super::request::Request;
use crate::directory::Directory;
use crate::site::Route;
use crate::traffic::in_flight::Permit;

/// What of the gateway decides whether a request is let in.
#[derive(Debug, Clone, Copy)]
pub(super) struct House<'g> {
    /// Requests in flight, that which asks among them.
    pub in_flight: u32,
    pub directory: &'g Directory,
}

/// Lets a request in that this route takes, and chooses its first endpoint; or says what it is answered with.
pub(super) fn admit(
    request: &mut Request,
    route: Arc<Route>,
    head: &impl Head,
    house: House<'_>,
    now: Instant,
) -> Result<(), Answer> {
    match enter(request, &route, head, house, now) {
        Ok((chosen, permit)) => {
            // The budget of retries is a share of the requests that were let in.
            route.health.budget.request(now);
            request.admitted(route, chosen, permit, now);
            Ok(())
        }
        Err(answer) => {
            request.declined_by(route);
            Err(answer)
        }
    }
}

/// The endpoint, and a place among the service's requests where they are limited.
fn enter(
    request: &Request,
    route: &Route,
    head: &impl Head,
    house: House<'_>,
    now: Instant,
) -> Result<(Chosen, Option<Permit>), Answer> {
    if request.hops.are_too_many() {
        route.metrics.looped();
        return Err(Answer::LOOP);
    }
    if house.in_flight > request.site.max_requests {
        route.metrics.limited("gateway");
        return Err(Answer::FULL_GATEWAY);
    }
    let mut permit = None;
    if route.counts_requests {
        permit = route.service.in_flight().try_acquire(route.limits.service);
        if permit.is_none() {
            route.metrics.limited("service");
            return Err(Answer::FULL_SERVICE);
        }
    }
    match choose::first(route, head, &request.client, now) {
        Ok(chosen) => Ok((chosen, permit)),
        Err(Nobody::Full) => {
            route.metrics.limited("endpoint");
            Err(Answer::FULL_ENDPOINTS)
        }
        Err(Nobody::There) => Err(Answer::no_endpoint(house.directory, &route.service)),
    }
}
