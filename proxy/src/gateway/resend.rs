//! Sends a request whose attempt has failed to another endpoint, where [`retry`] decides so.

use std::time::Instant;

use super::cause::Cause;
use super::choose;
use super::head::Head;
use super::request::Request;
use super::retry::{self, Among, Next, Reach, Replay, Search, Situation, Why};

/// Whether a request has another attempt after one that failed for this reason; it is chosen then.
pub(super) fn try_another(
    request: &mut Request,
    head: &impl Head,
    (cause, reach): (Cause, Reach),
    replay: Replay,
    now: Instant,
) -> bool {
    let Some(route) = request.route().cloned() else { return false };
    let mut situation = Situation { cause, reach, replay, tries: request.tries(now), budget: None };
    let mut search = Search::NotBegun;
    loop {
        search = match retry::next(&situation, search) {
            Next::Choose(among) => {
                if among == Among::OthersAndSame {
                    request.forgive();
                }
                match choose::another(&route, head, &request.client, request.tried(), now) {
                    Ok(chosen) => Search::Found { doubted: chosen.doubted, chosen },
                    Err(_) => Search::Nobody(among),
                }
            }
            Next::AskBudget(chosen) => {
                situation.budget = Some(route.health.budget.retry(&route.budget, now));
                Search::Found { doubted: chosen.doubted, chosen }
            }
            Next::Again(chosen) => {
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

/// The same for a request whose answer, which is here, has a status that is tried elsewhere. If it has no other
/// attempt, that answer is used.
pub(super) fn try_elsewhere_for_status(
    request: &mut Request,
    head: &impl Head,
    status: u16,
    replay: Replay,
    now: Instant,
) -> bool {
    request.answered_with_failure();
    let has_another = try_another(request, head, (Cause::Status, Reach::Heard), replay, now);
    if has_another {
        request.died_of(format!("the endpoint: status {status}: tried elsewhere"));
    } else {
        request.keep_answer();
    }
    has_another
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;
    use crate::gateway::cause::Ending;
    use crate::gateway::fixture::{Fixture, Setup, get};
    use crate::traffic::waiting::Wait;
    use std::time::Duration;

    const SAFE: Replay = Replay { idempotent: true, whole: true, unanswered: true };

    /// The request's attempt fails before it has a connection.
    fn unconnected(fixture: &Fixture, request: &mut Request, ending: Ending) -> bool {
        let failure = request.failed(ending, "as it was".into(), fixture.now).unwrap();
        let post = Replay { idempotent: false, ..SAFE };
        try_another(request, &get(), failure, post, fixture.now)
    }

    /// The request's attempt fails on a connection, new or not, before anything has come.
    fn broke(fixture: &Fixture, request: &mut Request, reused: bool) -> bool {
        let wait = Wait { since: Some(fixture.now), patience: Duration::MAX, repeatable: false };
        request.attempt_mut().unwrap().connected(reused, -1, wait);
        let failure = request.failed(Ending::Broke, "as it was".into(), fixture.now).unwrap();
        try_another(request, &get(), failure, SAFE, fixture.now)
    }

    fn at(request: &Request) -> u64 {
        request.attempt().unwrap().endpoint.id
    }

    #[test]
    fn a_refused_request_goes_to_each_other_endpoint_for_nothing() {
        let fixture = Setup::of(3).without_budget().build();
        let mut request = fixture.sent_to(0);
        let mut visited = vec![at(&request)];
        for _ in 0..2 {
            assert!(unconnected(&fixture, &mut request, Ending::Refused));
            assert!(request.begin_attempt().is_some());
            visited.push(at(&request));
        }
        assert!(!unconnected(&fixture, &mut request, Ending::Refused), "three attempts");
        visited.sort_unstable();
        visited.dedup();
        assert_eq!(visited.len(), 3);
        assert_eq!(request.failures().len(), 3);
        assert!(fixture.counts(r#"leaseway_retries_total{reason="refused",service="goods"} 2"#));
    }

    #[test]
    fn what_has_cost_time_is_sent_again_only_within_the_budget() {
        for (setup, expected) in [(Setup::of(2), true), (Setup::of(2).without_budget(), false)] {
            let fixture = setup.build();
            let mut request = fixture.sent_to(0);
            assert_eq!(unconnected(&fixture, &mut request, Ending::ConnectTimeout), expected);
            assert_eq!(request.attempt().unwrap().is_next(), expected);
            let denied = fixture.counts(r#"leaseway_retries_denied_total{service="goods"} 1"#);
            assert_eq!(denied, !expected);
            let in_flight: Vec<_> = (0..2).map(|n| fixture.endpoint(n).traffic.in_flight.count()).collect();
            assert_eq!(in_flight, if expected { [0, 1] } else { [0, 0] }, "no place is held for nothing");
        }
    }

    #[test]
    fn an_idle_connection_that_was_closed_is_made_up_for_at_another_endpoint_if_there_is_one() {
        let fixture = Setup::of(2).build();
        let mut request = fixture.sent_to(0);
        assert!(broke(&fixture, &mut request, true));
        assert_eq!(at(&request), fixture.endpoint(1).id);
        assert!(request.attempt().unwrap().on_new_connection);
        assert_eq!(request.tried(), [fixture.endpoint(0).id]);
    }

    #[test]
    fn the_only_endpoint_is_asked_again_over_a_new_connection_if_it_had_closed_an_idle_one() {
        let fixture = Setup::of(1).build();
        let mut request = fixture.sent_to(0);
        assert!(broke(&fixture, &mut request, true));
        assert!(request.begin_attempt().unwrap().on_new_connection);
        assert_eq!(at(&request), fixture.endpoint(0).id);
        assert!(!broke(&fixture, &mut request, false), "a new connection that breaks is a failure");
        assert_eq!(request.attempts_begun(), 2);
    }

    #[test]
    fn a_budget_that_is_used_up_is_asked_once() {
        for endpoints in [1, 2] {
            let fixture = Setup::of(endpoints).without_budget().build();
            let mut request = fixture.sent_to(0);
            assert!(!broke(&fixture, &mut request, true));
            assert!(fixture.counts(r#"leaseway_retries_denied_total{service="goods"} 1"#), "{endpoints}");
        }
    }

    #[test]
    fn a_request_whose_time_is_over_goes_nowhere() {
        let setup = Setup { total: Some(Duration::ZERO), ..Setup::of(2) };
        let fixture = setup.build();
        let mut request = fixture.sent_to(0);
        assert!(!unconnected(&fixture, &mut request, Ending::Refused));
    }

    #[test]
    fn a_status_that_nobody_else_improves_is_the_answer() {
        let retry = config::Retry { statuses: vec![503], ..config::Retry::default() };
        let fixture = Setup { retry, ..Setup::of(1) }.build();
        let mut request = fixture.sent_to(0);
        request.attempt_mut().unwrap().answered(503, fixture.now);
        assert!(!try_elsewhere_for_status(&mut request, &get(), 503, SAFE, fixture.now));
        assert!(request.failures().is_empty() && request.error().is_none());
        assert!(request.tried().is_empty());
        assert_eq!(fixture.endpoint(0).traffic.in_flight.count(), 1, "its answer is still on its way");
    }

    #[test]
    fn a_status_is_tried_elsewhere_only_by_a_request_that_may_be_sent_twice() {
        for (idempotent, expected) in [(true, true), (false, false)] {
            let fixture = Setup::of(2).build();
            let mut request = fixture.sent_to(0);
            request.attempt_mut().unwrap().answered(503, fixture.now);
            let replay = Replay { idempotent, ..SAFE };
            let leaves = try_elsewhere_for_status(&mut request, &get(), 503, replay, fixture.now);
            assert_eq!(leaves, expected);
            assert_eq!(at(&request), fixture.endpoint(usize::from(expected)).id);
            assert_eq!(request.failures().len(), usize::from(expected));
        }
    }

    #[test]
    fn only_a_refusal_of_the_budget_counts_as_one() {
        let is_denied =
            |fixture: &Fixture| fixture.counts(r#"leaseway_retries_denied_total{service="goods"} 1"#);
        let failure = (Cause::Broken, Reach::Sent);
        let unsafe_to_repeat = Setup::of(2).build();
        let post = Replay { idempotent: false, ..SAFE };
        let mut request = unsafe_to_repeat.sent_to(0);
        assert!(!try_another(&mut request, &get(), failure, post, unsafe_to_repeat.now));
        let spent =
            Setup { retry: config::Retry { attempts: 1, ..Default::default() }, ..Setup::of(2) }.build();
        assert!(!try_another(&mut spent.sent_to(0), &get(), failure, SAFE, spent.now));
        let alone = Setup::of(1).build();
        assert!(!broke(&alone, &mut alone.sent_to(0), false));
        assert!([&unsafe_to_repeat, &spent, &alone].iter().all(|fixture| !is_denied(fixture)));
        let declined = Setup::of(2).without_budget().build();
        assert!(!broke(&declined, &mut declined.sent_to(0), false));
        assert!(is_denied(&declined));
    }
}
