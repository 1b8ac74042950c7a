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
    pub(super) in_flight: u32,
    pub(super) directory: &'g Directory,
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::head::tests::head;
    use crate::gateway::shop::{Shop, Stock, get};
    use http::Method;
    use std::num::NonZeroU32;

    fn admitted(shop: &Shop, request: &mut Request, in_flight: u32) -> Result<(), Answer> {
        request.begin(&get(), None);
        let house = House { in_flight, directory: &shop.directory };
        admit(request, shop.route.clone(), &get(), house, shop.now)
    }

    #[test]
    fn who_is_let_in_has_an_attempt_to_begin_and_counts_for_the_budget() {
        let shop = Stock::of(1).open();
        let left = || shop.route.health.budget.left(&shop.route.budget, shop.now);
        let before = left();
        for _ in 0..5 {
            let mut request = shop.request();
            assert_eq!(admitted(&shop, &mut request, 1), Ok(()));
            assert!(request.begin_attempt().is_some());
        }
        assert_eq!(left(), before + 1, "a fifth of five");
        assert_eq!(shop.endpoint(0).traffic.in_flight.count(), 0, "all have gone");
    }

    #[test]
    fn who_is_declined_holds_no_place_and_does_not_count_for_the_budget() {
        let shop = Stock::of(1).open();
        let left = || shop.route.health.budget.left(&shop.route.budget, shop.now);
        let before = left();
        for _ in 0..10 {
            let mut request = shop.request();
            assert_eq!(admitted(&shop, &mut request, 101), Err(Answer::FULL_GATEWAY));
            assert!(request.attempt().is_none() && request.begin_attempt().is_none());
            assert!(request.route().is_some(), "its answer and its line name the service");
            assert_eq!(shop.endpoint(0).traffic.in_flight.count(), 0);
        }
        assert_eq!(left(), before);
        assert!(shop.counts(r#"leaseway_limited_total{limit="gateway",service="goods"} 10"#));
        assert_eq!(admitted(&shop, &mut shop.request(), 100), Ok(()), "as many as there may be");
    }

    #[test]
    fn a_full_service_declines_until_somebody_leaves() {
        let mut stock = Stock::of(2);
        stock.service.limits.service = NonZeroU32::new(1);
        let shop = stock.open();
        let (mut first, mut second) = (shop.request(), shop.request());
        assert_eq!(admitted(&shop, &mut first, 2), Ok(()));
        assert_eq!(admitted(&shop, &mut second, 2), Err(Answer::FULL_SERVICE));
        first.leaves_service();
        assert_eq!(admitted(&shop, &mut second, 2), Ok(()));
        assert!(shop.counts(r#"leaseway_limited_total{limit="service",service="goods"} 1"#));
    }

    #[test]
    fn endpoints_that_are_full_and_endpoints_that_are_not_there_are_told_apart() {
        let mut stock = Stock::of(1);
        stock.service.limits.endpoint = NonZeroU32::new(1);
        let shop = stock.open();
        let mut held = shop.request();
        assert_eq!(admitted(&shop, &mut held, 1), Ok(()));
        assert_eq!(admitted(&shop, &mut shop.request(), 1), Err(Answer::FULL_ENDPOINTS));
        assert!(shop.counts(r#"leaseway_limited_total{limit="endpoint",service="goods"} 1"#));
        let empty = Stock::of(0).open();
        let declined = admitted(&empty, &mut empty.request(), 1).unwrap_err();
        assert_eq!(declined.fault(), Some("no endpoint is registered"));
        assert!(!empty.counts(r#"leaseway_limited_total{limit="endpoint",service="goods"} 1"#));
    }

    #[test]
    fn who_goes_round_in_circles_is_declined_before_anything_is_held() {
        let shop = Stock::of(1).open();
        let mut request = shop.request();
        let lines = [("cdn-loop", &b"leaseway"[..]); 8];
        request.begin(&head(Method::GET, "/goods", &lines), None);
        let house = House { in_flight: 101, directory: &shop.directory };
        let answer = admit(&mut request, shop.route.clone(), &get(), house, shop.now);
        assert_eq!(answer, Err(Answer::LOOP));
        assert!(shop.counts(r#"leaseway_loops_total{service="goods"} 1"#));
    }
}
