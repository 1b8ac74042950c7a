//! Whether a request is let in.

use std::time::Instant;

use super::answer::Answer;
use super::attempt::Chosen;
use super::choose::{self, Nobody};
use super::request::Request;
use crate::directory::Directory;
use crate::head::Head;
use crate::site::Way;
use crate::traffic::in_flight::Permit;

/// What of the gateway itself decides whether a request is let in.
#[derive(Debug, Clone, Copy)]
pub(super) struct GatewayState<'g> {
    /// Requests in flight in the gateway. The one that asks to be let in is counted, too.
    pub(super) in_flight: u32,
    pub(super) directory: &'g Directory,
}

/// Why a request is not let in to a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// It has no endpoint for it.
    NoEndpoint,
    /// Whatever service it asked for, or for it alone: this is the answer.
    With(Answer),
}

/// Lets a request in that goes this way, and chooses its first endpoint; or says what it is answered with.
pub(super) fn admit(
    request: &mut Request,
    way: Way,
    head: &impl Head,
    gateway: GatewayState<'_>,
    now: Instant,
) -> Result<(), Answer> {
    match enter(request, &way, gateway, || choose::first(&way, head, request.client.as_bytes(), now), now) {
        Ok((chosen, permit)) => {
            request.admitted(way, chosen, permit, now);
            Ok(())
        }
        Err(refusal) => Err(decline(request, way, refusal, gateway)),
    }
}

/// The request is not let in to this service. Says what it is answered with.
pub(super) fn decline(
    request: &mut Request,
    way: Way,
    refusal: Refusal,
    gateway: GatewayState<'_>,
) -> Answer {
    let answer = match refusal {
        Refusal::NoEndpoint => Answer::no_endpoint(gateway.directory, &way.target),
        Refusal::With(answer) => answer,
    };
    request.declined(way.route, Some(way.target), answer.fault());
    answer
}

/// The endpoint that `choose` chooses if the request may go this way, and a place among the service's requests. That is
/// taken whether there is a limit or not: bounded loads go by their number, and another configuration may limit it at
/// any time.
pub(super) fn enter(
    request: &Request,
    way: &Way,
    gateway: GatewayState<'_>,
    choose: impl FnOnce() -> Result<Chosen, Nobody>,
    now: Instant,
) -> Result<(Chosen, Permit), Refusal> {
    if request.hops.are_too_many() {
        way.target.metrics.looped();
        return Err(Refusal::With(Answer::LOOP));
    }
    if gateway.in_flight > request.common.max_requests {
        way.target.metrics.limited("gateway");
        return Err(Refusal::With(Answer::FULL_GATEWAY));
    }
    let Some(permit) = way.target.service.in_flight().try_acquire(way.target.limits.service) else {
        way.target.metrics.limited("service");
        return Err(Refusal::With(Answer::FULL_SERVICE));
    };
    match choose() {
        Ok(chosen) => {
            // The budget of retries is a share of the requests that were let in.
            way.target.health.budget.request(now);
            Ok((chosen, permit))
        }
        Err(Nobody::Full) => {
            way.target.metrics.limited("endpoint");
            Err(Refusal::With(Answer::FULL_ENDPOINTS))
        }
        Err(Nobody::There) => Err(Refusal::NoEndpoint),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::fixture::{Fixture, NOWHERE, Setup, get};
    use crate::head::tests::head;
    use http::Method;
    use std::num::NonZeroU32;

    fn admitted(fixture: &Fixture, request: &mut Request, in_flight: u32) -> Result<(), Answer> {
        request.begin(&get(), NOWHERE);
        let gateway = GatewayState { in_flight, directory: &fixture.directory };
        admit(request, fixture.way.clone(), &get(), gateway, fixture.now)
    }

    #[test]
    fn who_is_let_in_has_an_attempt_to_begin_and_counts_for_the_budget() {
        let fixture = Setup::of(1).build();
        let left = || fixture.way.target.health.budget.left(&fixture.way.target.budget, fixture.now);
        let before = left();
        for _ in 0..5 {
            let mut request = fixture.request();
            assert_eq!(admitted(&fixture, &mut request, 1), Ok(()));
            assert!(request.begin_attempt().is_some());
        }
        assert_eq!(left(), before + 1, "a fifth of five");
        assert_eq!(fixture.endpoint(0).traffic.in_flight.count(), 0, "all have gone");
    }

    #[test]
    fn who_is_declined_holds_no_place_and_does_not_count_for_the_budget() {
        let fixture = Setup::of(1).build();
        let left = || fixture.way.target.health.budget.left(&fixture.way.target.budget, fixture.now);
        let before = left();
        for _ in 0..10 {
            let mut request = fixture.request();
            assert_eq!(admitted(&fixture, &mut request, 101), Err(Answer::FULL_GATEWAY));
            assert!(request.attempt().is_none() && request.begin_attempt().is_none());
            assert!(request.route().is_some(), "its answer and its line name the service");
            assert_eq!(fixture.endpoint(0).traffic.in_flight.count(), 0);
        }
        assert_eq!(left(), before);
        assert!(fixture.counts(r#"leaseway_limited_total{limit="gateway",service="goods"} 10"#));
        assert_eq!(admitted(&fixture, &mut fixture.request(), 100), Ok(()), "as many as there may be");
    }

    #[test]
    fn a_full_service_declines_until_somebody_leaves() {
        let mut setup = Setup::of(2);
        setup.service.limits.service = NonZeroU32::new(1);
        let fixture = setup.build();
        let (mut first, mut second) = (fixture.request(), fixture.request());
        assert_eq!(admitted(&fixture, &mut first, 2), Ok(()));
        assert_eq!(admitted(&fixture, &mut second, 2), Err(Answer::FULL_SERVICE));
        first.leaves_service();
        assert_eq!(admitted(&fixture, &mut second, 2), Ok(()));
        assert!(fixture.counts(r#"leaseway_limited_total{limit="service",service="goods"} 1"#));
    }

    #[test]
    fn endpoints_that_are_full_and_endpoints_that_are_not_there_are_told_apart() {
        let mut setup = Setup::of(1);
        setup.service.limits.endpoint = NonZeroU32::new(1);
        let fixture = setup.build();
        let mut held = fixture.request();
        assert_eq!(admitted(&fixture, &mut held, 1), Ok(()));
        assert_eq!(admitted(&fixture, &mut fixture.request(), 1), Err(Answer::FULL_ENDPOINTS));
        assert!(fixture.counts(r#"leaseway_limited_total{limit="endpoint",service="goods"} 1"#));
        let empty = Setup::of(0).build();
        let mut declined = empty.request();
        assert!(admitted(&empty, &mut declined, 1).is_err());
        assert_eq!(declined.error(), Some("no endpoint is registered"), "for its line in the log");
        assert!(!empty.counts(r#"leaseway_limited_total{limit="endpoint",service="goods"} 1"#));
    }

    #[test]
    fn who_goes_round_in_circles_is_declined_before_anything_is_held() {
        let fixture = Setup::of(1).build();
        let mut request = fixture.request();
        let lines = [("cdn-loop", &b"leaseway"[..]); 8];
        request.begin(&head(Method::GET, "/goods", &lines), NOWHERE);
        let gateway = GatewayState { in_flight: 101, directory: &fixture.directory };
        let answer = admit(&mut request, fixture.way.clone(), &get(), gateway, fixture.now);
        assert_eq!(answer, Err(Answer::LOOP));
        assert!(fixture.counts(r#"leaseway_loops_total{service="goods"} 1"#));
    }
}
