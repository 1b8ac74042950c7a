//! Sends a request whose attempt has failed to another endpoint, where [`retry`] decides so.

use std::borrow::Cow;
use std::fmt::Display;
use std::time::Instant;

use super::attempt::{Attempt, Chosen};
use super::cause::{Cause, Ending};
use super::choose::{self, Nobody};
use super::handshakes;
use super::request::Request;
use super::retry::{self, Among, Next, Reach, Replay, Search, Situation, Why};
use super::sticky;
use crate::head::Head;
use crate::site::Way;

/// Whether a request has another attempt after one that came to such an end, which is told in the log; it is chosen then.
pub(super) fn goes_again(
    request: &mut Request,
    head: &impl Head,
    (ending, told): (Ending, Cow<'static, str>),
    replay: Replay,
    now: Instant,
) -> bool {
    // Where a status is tried elsewhere, the next attempt was chosen when it came.
    if request.attempt().is_some_and(Attempt::is_next) {
        return true;
    }
    handshakes::tell(request, ending, &told, now);
    let failed = request.failed(ending, told, now);
    failed.is_some_and(|failure| try_another(request, head, failure, replay, now))
}

/// Whether a request has another attempt after one that failed for this reason; it is chosen then.
fn try_another(
    request: &mut Request,
    head: &impl Head,
    (cause, reach): (Cause, Reach),
    replay: Replay,
    now: Instant,
) -> bool {
    let Some(way) = request.way().cloned() else { return false };
    let mut situation = Situation { cause, reach, replay, tries: request.tries(now), budget: None };
    let mut search = Search::NotBegun;
    loop {
        search = match retry::next(&situation, search) {
            Next::Choose(among) => {
                if among == Among::OthersAndSame {
                    request.forgive();
                }
                match next_endpoint(request, &way, head, now) {
                    Ok(chosen) => Search::Found { doubted: chosen.doubted, chosen },
                    Err(_) => Search::Nobody(among),
                }
            }
            Next::AskBudget(chosen) => {
                situation.budget = Some(way.target.health.budget.retry(&way.target.budget, now));
                Search::Found { doubted: chosen.doubted, chosen }
            }
            Next::Again(chosen) => {
                way.target.metrics.retried(cause.as_str());
                request.goes_to(chosen, retry::wants_new_connection(cause), now);
                return true;
            }
            Next::Answer(why) => {
                if why == Why::Budget {
                    way.target.metrics.retry_denied();
                }
                return false;
            }
        }
    }
}

/// Where its client is at home, if it was not there but on trial elsewhere; else an endpoint that was not tried.
fn next_endpoint(request: &Request, way: &Way, head: &impl Head, now: Instant) -> Result<Chosen, Nobody> {
    let (client, tried) = (request.client.as_bytes(), request.tried());
    match sticky::well_home(request).filter(|home| !tried.contains(&home.id)) {
        Some(home) => choose::at_home(way, head, client, home, tried, now),
        None => choose::another(way, head, client, tried, now),
    }
}

/// The same for a request whose answer, which is here, says this, which is tried elsewhere. If it has no other attempt,
/// that answer is used.
pub(super) fn try_elsewhere(
    request: &mut Request,
    head: &impl Head,
    said: impl Display,
    replay: Replay,
    now: Instant,
) -> bool {
    request.answered_with_failure();
    let has_another = try_another(request, head, (Cause::Status, Reach::Heard), replay, now);
    if has_another {
        request.died_of(format!("the endpoint: {said}: tried elsewhere"));
    } else {
        request.keep_answer();
    }
    has_another
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;
    use crate::gateway::cause::Reset;
    use crate::gateway::fixture::{Fixture, Setup, get};
    use crate::traffic::waiting::{Interrupt, Wait};
    use proptest::prelude::*;
    use std::collections::BTreeSet;
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
        request.attempt_mut().unwrap().connected(reused, Interrupt::Descriptor(-1), wait);
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
        assert!(!try_elsewhere(&mut request, &get(), "status 503", SAFE, fixture.now));
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
            let leaves = try_elsewhere(&mut request, &get(), "status 503", replay, fixture.now);
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

    /// How an endpoint fails every attempt. `reused` is none where there is no connection.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    struct Way {
        reused: Option<bool>,
        ending: Ending,
    }

    const REFUSES: Way = Way { reused: None, ending: Ending::Refused };
    const CLOSES_IDLE: Way = Way { reused: Some(true), ending: Ending::Broke };
    const DECLINES: Way = Way { reused: Some(true), ending: Ending::Declined };
    const GOES_AWAY: Way = Way { reused: Some(true), ending: Ending::WentAway };
    const WAYS: [Way; 13] = [
        REFUSES,
        CLOSES_IDLE,
        DECLINES,
        GOES_AWAY,
        Way { reused: Some(true), ending: Ending::Reset(Reset::Other) },
        Way { reused: None, ending: Ending::ConnectTimeout },
        Way { reused: None, ending: Ending::NoConnection },
        Way { reused: None, ending: Ending::ClientLeft },
        Way { reused: Some(false), ending: Ending::Broke },
        Way { reused: Some(true), ending: Ending::BrokeWithinHead },
        Way { reused: Some(false), ending: Ending::Silent },
        Way { reused: Some(false), ending: Ending::Status },
        Way { reused: Some(true), ending: Ending::ClientLeft },
    ];

    impl Way {
        /// The request's attempt fails in this way. Whether it has another.
        fn fail(self, request: &mut Request, replay: Replay, now: Instant) -> bool {
            let attempt = request.attempt_mut().unwrap();
            if let Some(reused) = self.reused {
                let wait = Wait { since: Some(now), patience: Duration::MAX, repeatable: false };
                attempt.connected(reused && !attempt.on_new_connection, Interrupt::Descriptor(-1), wait);
            }
            if self.ending == Ending::Status {
                return attempt.answered(503, now)
                    && try_elsewhere(request, &get(), "status 503", replay, now);
            }
            let failure = request.failed(self.ending, "as it was".into(), now).unwrap();
            try_another(request, &get(), failure, replay, now)
        }
    }

    /// A request to a service of which each endpoint fails in its way.
    #[derive(Debug)]
    struct Case {
        ways: Vec<Way>,
        replay: Replay,
        attempts: usize,
        has_budget: bool,
        /// With how many attempts its time is over.
        over_after: usize,
    }

    impl Case {
        /// The endpoints that the request was sent to, in order, and how many retries the budget granted.
        fn run(&self) -> (Vec<usize>, u64) {
            let retry = config::Retry { attempts: self.attempts, statuses: vec![503], ..Default::default() };
            let endpoints = u8::try_from(self.ways.len()).unwrap();
            let setup = Setup { retry, total: Some(Duration::from_secs(60)), ..Setup::of(endpoints) };
            let fixture = if self.has_budget { setup } else { setup.without_budget() }.build();
            let left = || fixture.way.target.health.budget.left(&fixture.way.target.budget, fixture.now);
            let (before, mut request, mut visits) = (left(), fixture.sent_to(0), Vec::new());
            loop {
                let id = at(&request);
                let endpoint = (0..self.ways.len()).find(|n| fixture.endpoint(*n).id == id).unwrap();
                visits.push(endpoint);
                let is_over = visits.len() >= self.over_after;
                let now = fixture.now + Duration::from_secs(if is_over { 100 } else { 0 });
                if !self.ways[endpoint].fail(&mut request, self.replay, now) {
                    return (visits, before - left());
                }
                assert!(request.begin_attempt().is_some());
            }
        }
    }

    fn case() -> impl Strategy<Value = Case> {
        let ways = prop::collection::vec(prop::sample::select(&WAYS[..]), 1..5);
        let safe_or_any = prop_oneof![Just([true; 3]), any::<[bool; 3]>()];
        (ways, safe_or_any, 1_usize..4, any::<bool>(), 1_usize..5).prop_map(
            |(ways, [idempotent, whole, unanswered], attempts, has_budget, over_after)| {
                let replay = Replay { idempotent, whole, unanswered };
                Case { ways, replay, attempts, has_budget, over_after }
            },
        )
    }

    #[test]
    fn of_all_that_were_tried_only_the_one_that_closed_an_idle_connection_is_asked_again() {
        let breaks = Way { reused: Some(false), ending: Ending::Broke };
        for _ in 0..20 {
            let ways = vec![breaks, CLOSES_IDLE];
            let case = Case { ways, replay: SAFE, attempts: 3, has_budget: true, over_after: 9 };
            assert_eq!(case.run(), (vec![0, 1, 1], 2));
        }
    }

    proptest! {
        #[test]
        fn whatever_fails_a_request_keeps_within_its_bounds(case in case()) {
            let (visits, granted) = case.run();
            let Replay { idempotent, whole, unanswered } = case.replay;
            prop_assert!(visits.len() <= case.attempts, "attempts: {visits:?}");
            prop_assert!(visits.len() <= case.over_after, "time: {visits:?}");
            let way = |n: &usize| case.ways[*n];
            let has_begun = |n: &&usize| way(n).reused.is_some() && !matches!(way(n), DECLINES | GOES_AWAY);
            let (_, retried) = visits.split_last().unwrap();
            let begun = retried.iter().filter(has_begun).count();
            prop_assert!(begun == 0 || idempotent && whole && unanswered, "twice where it is unsafe: {visits:?}");
            let sent = retried.iter().filter(|n| way(n).reused.is_some()).count();
            prop_assert!(sent == 0 || whole && unanswered, "what is not there any more: {visits:?}");
            let paid = retried.iter().filter(|n| !matches!(way(n), REFUSES | GOES_AWAY)).count();
            prop_assert_eq!(u64::try_from(paid).unwrap(), granted, "what is not free is paid for");
            prop_assert!(case.has_budget || granted == 0);
            prop_assert!(retried.iter().all(|n| way(n).ending != Ending::ClientLeft), "nobody to answer");
            for n in 1..visits.len() {
                let seen: BTreeSet<_> = visits[..n].iter().collect();
                let is_second = seen.contains(&visits[n]);
                prop_assert!(!is_second || seen.len() == case.ways.len(), "the same while there is another");
                prop_assert!(!is_second || matches!(way(&visits[n]), CLOSES_IDLE | GOES_AWAY), "{visits:?}");
            }
        }
    }
}
