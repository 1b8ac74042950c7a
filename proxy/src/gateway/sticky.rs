//! How a client comes back to the instance that answered it before.

use std::sync::Arc;

use http::HeaderValue;

use super::request::Request;
use crate::config::Scheme;
use crate::directory::Endpoint;
use crate::head::Head;
use crate::site::{Action, Remembered, Split, Target};

/// Where a request's client was before, by its cookie. None: it is new, or the service gets no requests any more. Of
/// several cookies of the name the first of ours counts: others may come from elsewhere in the domain.
pub(super) fn remembered(split: &Split, head: &impl Head) -> Option<Remembered> {
    let sticky = split.sticky.as_ref()?;
    let remembered = head.cookies(&sticky.cookie).find_map(|cookie| sticky.remembered(cookie))?;
    split.shares().get(remembered.service).is_some_and(|share| share.weight > 0).then_some(remembered)
}

/// The endpoint of that service at which the client was, if it is well: it does not drain, is not ejected or unhealthy,
/// and has not vanished while others have not.
pub(super) fn home(split: &Split, client: Remembered, target: &Target) -> Option<Arc<Endpoint>> {
    let endpoints = target.service.endpoints();
    let entry = split.sticky.as_ref()?.find(client, &endpoints)?;
    endpoints.is_well(entry).then(|| entry.endpoint.clone())
}

/// The cookie that the answer to a request is to set. None: its client keeps what it has.
///
/// It has a cookie already if it came with one of an endpoint that was well: that stays, even if the request went to
/// another for once, until that endpoint is found not to be well. And no cookie leads to one that is not well, such as
/// an ejected one that is tried out.
pub(super) fn cookie(request: &Request) -> Option<HeaderValue> {
    let attempt = request.attempt()?;
    let Action::Split(Split { sticky: Some(sticky), .. }) = &attempt.way.route.action else { return None };
    let home = request.home();
    if home.is_some_and(|home| home.id == attempt.endpoint.id) {
        return None;
    }
    if well_home(request).is_some() || !is_well(&attempt.way.target, &attempt.endpoint) {
        return None;
    }
    let is_secure = request.origin.scheme == Scheme::Https;
    sticky.set_cookie(attempt.way.target.service.name(), &attempt.endpoint.instance, is_secure)
}

/// Where a request's client was before, if that is still well.
pub(super) fn well_home(request: &Request) -> Option<&Arc<Endpoint>> {
    let (home, target) = (request.home()?, request.target()?);
    is_well(target, home).then_some(home)
}

fn is_well(target: &Target, endpoint: &Endpoint) -> bool {
    let endpoints = target.service.endpoints();
    endpoints.find(endpoint).is_some_and(|entry| endpoints.is_well(entry))
}
