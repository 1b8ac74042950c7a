use super::*;

const CAUSES: [Cause; 15] = [
    Cause::Refused,
    Cause::ConnectTimeout,
    Cause::Handshake,
    Cause::Broken,
    Cause::Closed,
    Cause::Reset,
    Cause::Declined,
    Cause::WentAway,
    Cause::Timeout,
    Cause::FirstByte,
    Cause::Stalled,
    Cause::Status,
    Cause::Total,
    Cause::Client,
    Cause::Gateway,
];
const REACHES: [Reach; 4] = [Reach::Unconnected, Reach::NotBegun, Reach::Sent, Reach::Heard];
const SEARCHES: [Search<()>; 5] = [
    Search::NotBegun,
    found(false),
    found(true),
    Search::Nobody(Among::Others),
    Search::Nobody(Among::OthersAndSame),
];
const BUDGETS: [Option<bool>; 3] = [None, Some(true), Some(false)];
const SAFE: Replay = Replay { idempotent: true, whole: true, unanswered: true };
const TWO_LEFT: Tries = Tries { begun: 1, permitted: 3, is_over: false };

const fn found(doubted: bool) -> Search<()> {
    Search::Found { chosen: (), doubted }
}

/// Everything is in favour of another attempt, as far as the cause permits one.
fn situation(cause: Cause, reach: Reach) -> Situation {
    Situation { cause, reach, replay: SAFE, tries: TWO_LEFT, budget: None }
}

/// Every situation that there is, with each number of attempts that a route can permit, and how far the search is.
fn all() -> Vec<(Situation, Search<()>)> {
    let mut all = Vec::new();
    for (cause, reach) in CAUSES.into_iter().flat_map(|cause| REACHES.map(|reach| (cause, reach))) {
        for flags in 0..16_u8 {
            let [idempotent, whole, unanswered, is_over] = [1, 2, 4, 8].map(|flag| flags & flag != 0);
            let replay = Replay { idempotent, whole, unanswered };
            for (begun, permitted) in [(1, 1), (1, 2), (2, 2), (1, 3), (2, 3), (3, 3)] {
                let tries = Tries { begun, permitted, is_over };
                for (budget, search) in BUDGETS.into_iter().flat_map(|b| SEARCHES.map(|search| (b, search))) {
                    all.push((Situation { cause, reach, replay, tries, budget }, search));
                }
            }
        }
    }
    all
}

fn is_retried(next: Next<()>) -> bool {
    !matches!(next, Next::Answer(_))
}

#[test]
fn what_may_go_again_depends_on_what_failed_and_on_how_far_it_had_come() {
    // Where a connection never opened; where the endpoint has not begun; where the request was sent and nothing came; where
    // something came.
    let table = [
        (Cause::Refused, [true, false, false, false]),
        (Cause::Handshake, [true, false, false, false]),
        (Cause::ConnectTimeout, [true, false, false, false]),
        (Cause::Gateway, [true, false, false, false]),
        (Cause::Broken, [true, false, true, false]),
        (Cause::Declined, [true, true, false, false]),
        (Cause::WentAway, [true, true, false, false]),
        (Cause::Client, [false, false, false, false]),
    ];
    // These come over a connection alone.
    let table_of_connected = [
        (Cause::Closed, [true, false]),
        (Cause::Reset, [true, false]),
        (Cause::Stalled, [true, false]),
        (Cause::Timeout, [false, false]),
        (Cause::FirstByte, [false, false]),
        (Cause::Status, [false, true]),
        (Cause::Total, [false, false]),
    ];
    let retried = |cause, reach| is_retried(next(&situation(cause, reach), Search::<()>::NotBegun));
    for (cause, expected) in table {
        assert_eq!(REACHES.map(|reach| retried(cause, reach)), expected, "{cause:?}");
    }
    for (cause, expected) in table_of_connected {
        let found = [Reach::Sent, Reach::Heard].map(|reach| retried(cause, reach));
        assert_eq!(found, expected, "{cause:?}");
    }
}

#[test]
fn what_was_sent_is_sent_twice_only_if_that_is_safe() {
    for (situation, search) in all() {
        let Replay { idempotent, whole, unanswered } = situation.replay;
        let is_begun = !matches!(situation.cause, Cause::Declined | Cause::WentAway);
        let is_safe = (idempotent || !is_begun) && whole && unanswered;
        if situation.reach != Reach::Unconnected && !is_safe {
            assert_eq!(next(&situation, search), Next::Answer(Why::Unsafe), "{situation:?}");
        }
    }
}

#[test]
fn whoever_left_is_not_sent_anywhere() {
    for (situation, search) in all().into_iter().filter(|(s, _)| s.cause == Cause::Client) {
        assert_eq!(next(&situation, search), Next::Answer(Why::Unsafe), "{situation:?}");
    }
}

#[test]
fn what_never_left_the_gateway_goes_again_whatever_it_is() {
    let any = Replay { idempotent: false, whole: false, unanswered: false };
    let post = Situation { replay: any, ..situation(Cause::ConnectTimeout, Reach::Unconnected) };
    assert_eq!(next(&post, Search::<()>::NotBegun), Next::Choose(Among::Others));
}

#[test]
fn what_an_endpoint_has_not_begun_goes_again_whatever_it_is_if_it_is_still_there() {
    for cause in [Cause::Declined, Cause::WentAway] {
        for (whole, unanswered) in [(true, true), (true, false), (false, true)] {
            let replay = Replay { idempotent: false, whole, unanswered };
            let post = Situation { replay, ..situation(cause, Reach::NotBegun) };
            assert_eq!(is_retried(next(&post, Search::<()>::NotBegun)), whole && unanswered, "{post:?}");
        }
    }
}

#[test]
fn nothing_goes_beyond_its_attempts_or_its_time() {
    for (situation, search) in all() {
        let Tries { begun, permitted, is_over } = situation.tries;
        if begun >= permitted || is_over {
            assert!(!is_retried(next(&situation, search)), "{situation:?}");
        }
    }
}

#[test]
fn a_declined_budget_is_final_and_a_granted_one_is_used() {
    let asked = |budget| next(&Situation { budget, ..situation(Cause::Broken, Reach::Sent) }, found(false));
    assert_eq!(asked(None), Next::AskBudget(()));
    assert_eq!(asked(Some(true)), Next::Again(()));
    assert_eq!(asked(Some(false)), Next::Answer(Why::Budget));
}

#[test]
fn only_what_was_no_load_is_free_and_only_if_nothing_is_known_against_the_next() {
    for cause in CAUSES.into_iter().filter(|cause| *cause != Cause::Client) {
        for doubted in [false, true] {
            let reach = if cause == Cause::Status { Reach::Heard } else { Reach::Unconnected };
            let expected = if matches!(cause, Cause::Refused | Cause::Handshake | Cause::WentAway) && !doubted
            {
                Next::Again(())
            } else {
                Next::AskBudget(())
            };
            assert_eq!(next(&situation(cause, reach), found(doubted)), expected, "{cause:?} {doubted}");
        }
    }
}

#[test]
fn the_same_endpoint_is_asked_again_only_where_its_connection_alone_has_ended_and_there_is_no_other() {
    for (situation, search) in all() {
        if next(&situation, search) == Next::Choose(Among::OthersAndSame) {
            assert!(matches!(situation.cause, Cause::Closed | Cause::WentAway));
            assert_eq!(search, Search::Nobody(Among::Others));
        }
    }
    let closed = |search: Search<()>| next(&situation(Cause::Closed, Reach::Sent), search);
    assert_eq!(closed(Search::NotBegun), Next::Choose(Among::Others));
    assert_eq!(closed(Search::Nobody(Among::Others)), Next::Choose(Among::OthersAndSame));
    assert_eq!(closed(Search::Nobody(Among::OthersAndSame)), Next::Answer(Why::Nobody));
    for cause in CAUSES {
        let has_ended = matches!(cause, Cause::Closed | Cause::WentAway);
        assert_eq!(wants_new_connection(cause), has_ended, "{cause:?}");
    }
}

#[test]
fn a_request_is_moved_off_a_stalled_endpoint_only_if_it_could_go_again_and_has_somewhere_to_go() {
    assert!(may_move(SAFE, TWO_LEFT, || true));
    assert!(!may_move(SAFE, TWO_LEFT, || false));
    assert!(!may_move(Replay { idempotent: false, ..SAFE }, TWO_LEFT, || true));
    assert!(!may_move(Replay { whole: false, ..SAFE }, TWO_LEFT, || true));
    assert!(!may_move(Replay { unanswered: false, ..SAFE }, TWO_LEFT, || true));
    assert!(!may_move(SAFE, Tries { begun: 3, ..TWO_LEFT }, || true));
    assert!(!may_move(SAFE, Tries { is_over: true, ..TWO_LEFT }, || true));
}

#[test]
fn a_trial_takes_a_request_that_has_an_attempt_to_spare() {
    let first = |permitted| Tries { begun: 0, permitted, is_over: false };
    assert!(may_be_lost(SAFE, first(2)));
    assert!(!may_be_lost(SAFE, first(1)));
    assert!(!may_be_lost(Replay { idempotent: false, ..SAFE }, first(3)));
}

#[test]
fn twice_is_the_same_as_once_for_these_methods() {
    let (rules, of_all) =
        (config::Retry::default(), config::Retry { idempotent: true, ..Default::default() });
    for method in [Method::GET, Method::HEAD, Method::OPTIONS, Method::TRACE, Method::PUT, Method::DELETE] {
        assert!(is_idempotent(&method, &rules), "{method}");
    }
    let link = Method::from_bytes(b"LINK").unwrap();
    for method in [Method::POST, Method::PATCH, Method::CONNECT, link] {
        assert!(!is_idempotent(&method, &rules) && is_idempotent(&method, &of_all), "{method}");
    }
}
