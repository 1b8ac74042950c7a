//! Sends a request whose attempt has failed to another endpoint, where [`retry`] decides so.

use std::time::Instant;

use super::attempt::Chosen;
use super::cause::Cause;
use super::choose;
use super::head::Head;
use super::request::Request;
use super::retry::{self, Among, Next, Reach, Replay, Search, Situation, Why};

/// Whether a request goes on to another attempt after one that failed for this reason; it is chosen then.
pub(super) fn goes_on(
    request: &mut Request,
    head: &impl Head,
    (cause, reach): (Cause, Reach),
    replay: Replay,
    now: Instant,
) -> bool {
    let Some(route) = request.route().cloned() else { return false };
    let tries = request.tries(now);
    let mut situation = Situation { cause, reach, replay, tries, search: Search::NotBegun, budget: None };
    let mut chosen = None;
    loop {
        match retry::next(&situation) {
            Next::Choose(among) => {
                if among == Among::OthersAndSame {
                    request.forgive();
                }
                chosen = choose::another(&route, head, &request.client, request.tried(), now).ok();
                situation.search = found(chosen.as_ref(), among);
            }
            Next::AskBudget => situation.budget = Some(route.health.budget.retry(&route.budget, now)),
            Next::Again => {
                let Some(chosen) = chosen else { return false };
                route.metrics.retried(cause.as_str());
                request.goes_to(chosen, retry::wants_new_connection(cause), now);
                return true;
            }
            Next::Answer(why) => {
                if why == Why::Budget {
                    route.metrics.retry_denied();
                }
                return false;
            }
        }
    }
}

/// The same for a request whose answer, which is here, has a status that is tried elsewhere. If it goes nowhere, that answer
/// is used.
pub(super) fn leaves_answer(
    request: &mut Request,
    head: &impl Head,
    error: String,
    replay: Replay,
    now: Instant,
) -> bool {
    if !replay.is_safe() {
        return false;
    }
    request.answered_with_failure(error);
    let goes_on = goes_on(request, head, (Cause::Status, Reach::Heard), replay, now);
    if !goes_on {
        request.keep_answer();
    }
    goes_on
}

fn found(chosen: Option<&Chosen>, among: Among) -> Search {
    chosen.map_or(Search::Nobody(among), |chosen| Search::Found { doubted: chosen.doubted })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;
    use crate::gateway::cause::Ending;
    use crate::gateway::shop::{Shop, Stock, get};
    use crate::traffic::waiting::Wait;
    use std::time::Duration;

    const SAFE: Replay = Replay { idempotent: true, whole: true, unanswered: true };

    /// The request's attempt fails before it has a connection.
    fn unconnected(shop: &Shop, request: &mut Request, ending: Ending) -> bool {
        let failure = request.failed(ending, "as it was".into(), shop.now).unwrap();
        let post = Replay { idempotent: false, ..SAFE };
        goes_on(request, &get(), failure, post, shop.now)
    }

    /// The request's attempt fails on a connection, new or not, before anything has come.
    fn broke(shop: &Shop, request: &mut Request, reused: bool) -> bool {
        let wait = Wait { since: Some(shop.now), patience: Duration::MAX, repeatable: false };
        request.attempt_mut().unwrap().connected(reused, -1, wait);
        let failure = request.failed(Ending::Broke, "as it was".into(), shop.now).unwrap();
        goes_on(request, &get(), failure, SAFE, shop.now)
    }

    fn at(request: &Request) -> u64 {
        request.attempt().unwrap().endpoint.id
    }

    #[test]
    fn a_refused_request_goes_to_each_other_endpoint_for_nothing() {
        let shop = Stock::of(3).without_budget().open();
        let mut request = shop.sent_to(0);
        let mut visited = vec![at(&request)];
        for _ in 0..2 {
            assert!(unconnected(&shop, &mut request, Ending::Refused));
            assert!(request.begin_attempt().is_some());
            visited.push(at(&request));
        }
        assert!(!unconnected(&shop, &mut request, Ending::Refused), "three attempts");
        visited.sort_unstable();
        visited.dedup();
        assert_eq!(visited.len(), 3);
        assert_eq!(request.failures().len(), 3);
        assert!(shop.counts(r#"leaseway_retries_total{reason="refused",service="goods"} 2"#));
    }

    #[test]
    fn what_has_cost_time_is_sent_again_only_within_the_budget() {
        for (stock, expected) in [(Stock::of(2), true), (Stock::of(2).without_budget(), false)] {
            let shop = stock.open();
            let mut request = shop.sent_to(0);
            assert_eq!(unconnected(&shop, &mut request, Ending::ConnectTimeout), expected);
            assert_eq!(request.attempt().unwrap().is_next(), expected);
            let denied = shop.counts(r#"leaseway_retries_denied_total{service="goods"} 1"#);
            assert_eq!(denied, !expected);
            let in_flight: Vec<_> = (0..2).map(|n| shop.endpoint(n).traffic.in_flight.count()).collect();
            assert_eq!(in_flight, if expected { [0, 1] } else { [0, 0] }, "no place is held for nothing");
        }
    }

    #[test]
    fn an_idle_connection_that_was_closed_is_made_up_for_at_another_endpoint_if_there_is_one() {
        let shop = Stock::of(2).open();
        let mut request = shop.sent_to(0);
        assert!(broke(&shop, &mut request, true));
        assert_eq!(at(&request), shop.endpoint(1).id);
        assert!(request.attempt().unwrap().on_new_connection);
        assert_eq!(request.tried(), [shop.endpoint(0).id]);
    }

    #[test]
    fn the_only_endpoint_is_asked_again_over_a_new_connection_if_it_had_closed_an_idle_one() {
        let shop = Stock::of(1).open();
        let mut request = shop.sent_to(0);
        assert!(broke(&shop, &mut request, true));
        assert!(request.begin_attempt().unwrap().on_new_connection);
        assert_eq!(at(&request), shop.endpoint(0).id);
        assert!(!broke(&shop, &mut request, false), "a new connection that breaks is a failure");
        assert_eq!(request.attempts_begun(), 2);
    }

    #[test]
    fn a_budget_that_is_used_up_is_asked_once() {
        for endpoints in [1, 2] {
            let shop = Stock::of(endpoints).without_budget().open();
            let mut request = shop.sent_to(0);
            assert!(!broke(&shop, &mut request, true));
            assert!(shop.counts(r#"leaseway_retries_denied_total{service="goods"} 1"#), "{endpoints}");
        }
    }

    #[test]
    fn a_request_whose_time_is_over_goes_nowhere() {
        let stock = Stock { total: Some(Duration::ZERO), ..Stock::of(2) };
        let shop = stock.open();
        let mut request = shop.sent_to(0);
        assert!(!unconnected(&shop, &mut request, Ending::Refused));
    }

    #[test]
    fn a_status_that_nobody_else_improves_is_the_answer() {
        let retry = config::Retry { statuses: vec![503], ..config::Retry::default() };
        let shop = Stock { retry, ..Stock::of(1) }.open();
        let mut request = shop.sent_to(0);
        request.attempt_mut().unwrap().answered(503, shop.now);
        assert!(!leaves_answer(&mut request, &get(), "status 503".into(), SAFE, shop.now));
        assert!(request.failures().is_empty() && request.error().is_none());
        assert!(request.tried().is_empty());
        assert_eq!(shop.endpoint(0).traffic.in_flight.count(), 1, "its answer is still on its way");
    }

    #[test]
    fn a_status_is_tried_elsewhere_only_by_a_request_that_may_be_sent_twice() {
        for (idempotent, expected) in [(true, true), (false, false)] {
            let shop = Stock::of(2).open();
            let mut request = shop.sent_to(0);
            request.attempt_mut().unwrap().answered(503, shop.now);
            let replay = Replay { idempotent, ..SAFE };
            let leaves = leaves_answer(&mut request, &get(), "status 503".into(), replay, shop.now);
            assert_eq!(leaves, expected);
            assert_eq!(at(&request), shop.endpoint(usize::from(expected)).id);
            assert_eq!(request.failures().len(), usize::from(expected));
        }
    }
}
