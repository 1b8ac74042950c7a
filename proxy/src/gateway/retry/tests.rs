use super::*;
use proptest::prelude::*;
use std::collections::BTreeSet;

const CAUSES: [Cause; 11] = [
    Cause::Refused,
    Cause::ConnectTimeout,
    Cause::Broken,
    Cause::Closed,
    Cause::Timeout,
    Cause::FirstByte,
    Cause::Stalled,
    Cause::Status,
    Cause::Total,
    Cause::Client,
    Cause::Gateway,
];
const REACHES: [Reach; 3] = [Reach::Unconnected, Reach::Sent, Reach::Heard];
const SEARCHES: [Search; 5] = [
    Search::NotBegun,
    Search::Found { doubted: false },
    Search::Found { doubted: true },
    Search::Nobody(Among::Others),
    Search::Nobody(Among::OthersAndSame),
];
const BUDGETS: [Option<bool>; 3] = [None, Some(true), Some(false)];
const SAFE: Replay = Replay { idempotent: true, whole: true, unanswered: true };
const TWO_LEFT: Tries = Tries { begun: 1, permitted: 3, is_over: false };

/// Everything is in favour of another attempt, as far as the cause permits one.
fn situation(cause: Cause, reach: Reach) -> Situation {
    Situation { cause, reach, replay: SAFE, tries: TWO_LEFT, search: Search::NotBegun, budget: None }
}

/// Every situation that there is, with each number of attempts that a route can permit.
fn all() -> impl Iterator<Item = Situation> {
    let flags = || [false, true].into_iter();
    let replays = flags().flat_map(move |idempotent| {
        flags().flat_map(move |whole| flags().map(move |unanswered| Replay { idempotent, whole, unanswered }))
    });
    let tries = (1..=3).flat_map(move |permitted| {
        (1..=permitted).flat_map(move |begun| flags().map(move |is_over| Tries { begun, permitted, is_over }))
    });
    let tries: Vec<_> = tries.collect();
    let rest: Vec<_> = replays
        .flat_map(|replay| tries.clone().into_iter().map(move |tries| (replay, tries)))
        .flat_map(|(replay, tries)| SEARCHES.map(|search| (replay, tries, search)))
        .flat_map(|(replay, tries, search)| BUDGETS.map(|budget| (replay, tries, search, budget)))
        .collect();
    CAUSES.into_iter().flat_map(|cause| REACHES.map(|reach| (cause, reach))).flat_map(
        move |(cause, reach)| {
            rest.clone().into_iter().map(move |(replay, tries, search, budget)| Situation {
                cause,
                reach,
                replay,
                tries,
                search,
                budget,
            })
        },
    )
}

fn goes_on(next: Next) -> bool {
    !matches!(next, Next::Answer(_))
}

#[test]
fn what_may_go_again_depends_on_what_failed_and_on_how_far_it_had_come() {
    // Where a connection never opened; where the request was sent and nothing came; where something came.
    let table = [
        (Cause::Refused, [true, false, false]),
        (Cause::ConnectTimeout, [true, false, false]),
        (Cause::Gateway, [true, false, false]),
        (Cause::Broken, [true, true, false]),
        (Cause::Closed, [true, true, false]),
        (Cause::Stalled, [true, true, false]),
        (Cause::Timeout, [true, false, false]),
        (Cause::FirstByte, [true, false, false]),
        (Cause::Status, [true, false, true]),
        (Cause::Total, [true, false, false]),
        (Cause::Client, [true, false, false]),
    ];
    for (cause, expected) in table {
        let found = REACHES.map(|reach| goes_on(next(&situation(cause, reach))));
        assert_eq!(found, expected, "{cause:?}");
    }
}

#[test]
fn what_was_sent_is_sent_twice_only_if_that_is_safe() {
    for situation in all().filter(|s| s.reach != Reach::Unconnected && !s.replay.is_safe()) {
        assert_eq!(next(&situation), Next::Answer(Why::Unsafe), "{situation:?}");
    }
}

#[test]
fn what_never_left_the_gateway_goes_again_whatever_it_is() {
    let any = Replay { idempotent: false, whole: false, unanswered: false };
    let post = Situation { replay: any, ..situation(Cause::ConnectTimeout, Reach::Unconnected) };
    assert_eq!(next(&post), Next::Choose(Among::Others));
}

#[test]
fn nothing_goes_beyond_its_attempts_or_its_time() {
    for situation in all().filter(|s| s.tries.begun >= s.tries.permitted || s.tries.is_over) {
        assert!(!goes_on(next(&situation)), "{situation:?}");
    }
}

#[test]
fn a_declined_budget_is_final_and_a_granted_one_is_used() {
    let found = |budget| Situation {
        search: Search::Found { doubted: false },
        budget,
        ..situation(Cause::Broken, Reach::Sent)
    };
    assert_eq!(next(&found(None)), Next::AskBudget);
    assert_eq!(next(&found(Some(true))), Next::Again);
    assert_eq!(next(&found(Some(false))), Next::Answer(Why::Budget));
}

#[test]
fn only_a_refused_connect_is_free_and_only_if_nothing_is_known_against_the_next() {
    for cause in CAUSES {
        for doubted in [false, true] {
            let reach = if cause == Cause::Status { Reach::Heard } else { Reach::Unconnected };
            let found = Situation { search: Search::Found { doubted }, ..situation(cause, reach) };
            let expected = if cause == Cause::Refused && !doubted { Next::Again } else { Next::AskBudget };
            assert_eq!(next(&found), expected, "{cause:?} {doubted}");
        }
    }
}

#[test]
fn the_same_endpoint_is_asked_again_only_where_it_closed_an_idle_connection_and_there_is_no_other() {
    for situation in all() {
        if next(&situation) == Next::Choose(Among::OthersAndSame) {
            assert_eq!(situation.cause, Cause::Closed);
            assert_eq!(situation.search, Search::Nobody(Among::Others));
        }
    }
    let closed = |search| next(&Situation { search, ..situation(Cause::Closed, Reach::Sent) });
    assert_eq!(closed(Search::NotBegun), Next::Choose(Among::Others));
    assert_eq!(closed(Search::Nobody(Among::Others)), Next::Choose(Among::OthersAndSame));
    assert_eq!(closed(Search::Nobody(Among::OthersAndSame)), Next::Answer(Why::Nobody));
    assert!(CAUSES.into_iter().all(|cause| wants_new_connection(cause) == (cause == Cause::Closed)));
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

/// How an attempt on an endpoint fails.
#[derive(Debug, Clone, Copy)]
struct Blow {
    cause: Cause,
    reach: Reach,
}

/// What a request goes through until it is answered, told by what it does.
#[derive(Debug, Default)]
struct Journey {
    /// The endpoints that it was sent to, in order.
    visits: Vec<usize>,
    /// What was asked of the budget, and granted.
    granted: usize,
}

/// A service of so many endpoints, each of which fails each attempt in the same way.
#[derive(Debug)]
struct Blows {
    of: Vec<Blow>,
    doubted: Vec<bool>,
    replay: Replay,
    permitted: usize,
    budget: usize,
    over_after: usize,
}

impl Blows {
    /// As the gateway performs what is decided: always the first endpoint of those that it may choose.
    fn run(&self) -> Journey {
        let mut journey = Journey::default();
        let mut excluded = BTreeSet::new();
        let mut at = 0;
        loop {
            journey.visits.push(at);
            excluded.insert(at);
            let Blow { cause, reach } = self.of[at];
            let begun = journey.visits.len();
            let tries = Tries { begun, permitted: self.permitted, is_over: begun >= self.over_after };
            let mut situation = Situation { tries, replay: self.replay, ..situation(cause, reach) };
            at = loop {
                match next(&situation) {
                    Next::Answer(_) => return journey,
                    Next::Choose(among) => {
                        let free =
                            |n: &usize| !excluded.contains(n) || among == Among::OthersAndSame && *n == at;
                        let found = (0..self.of.len()).find(free);
                        situation.search = found
                            .map_or(Search::Nobody(among), |n| Search::Found { doubted: self.doubted[n] });
                        at = found.unwrap_or(at);
                    }
                    Next::AskBudget => {
                        let is_granted = journey.granted < self.budget;
                        situation.budget = Some(is_granted);
                        journey.granted += usize::from(is_granted);
                    }
                    Next::Again => break at,
                }
            };
        }
    }
}

fn blow() -> impl Strategy<Value = Blow> {
    (prop::sample::select(&CAUSES[..]), prop::sample::select(&REACHES[..]))
        .prop_map(|(cause, reach)| Blow { cause, reach })
}

fn blows() -> impl Strategy<Value = Blows> {
    let endpoints = prop::collection::vec((blow(), any::<bool>()), 1..5);
    (endpoints, any::<[bool; 3]>(), 1_usize..4, 0_usize..4, 1_usize..5).prop_map(
        |(endpoints, [idempotent, whole, unanswered], permitted, budget, over_after)| {
            let (of, doubted) = endpoints.into_iter().unzip();
            Blows {
                of,
                doubted,
                replay: Replay { idempotent, whole, unanswered },
                permitted,
                budget,
                over_after,
            }
        },
    )
}

proptest! {
    #[test]
    fn whatever_fails_a_request_keeps_within_its_bounds(blows in blows()) {
        let journey = blows.run();
        let visits = &journey.visits;
        prop_assert!(visits.len() <= blows.permitted, "attempts");
        prop_assert!(visits.len() <= blows.over_after, "time");
        prop_assert!(journey.granted <= blows.budget, "budget");
        let sent = visits.iter().filter(|n| blows.of[**n].reach != Reach::Unconnected).count();
        prop_assert!(sent <= 1 || blows.replay.is_safe(), "twice where it is unsafe");
        let paid = visits.windows(2).filter(|pair| {
            blows.of[pair[0]].cause != Cause::Refused || blows.doubted[pair[1]]
        });
        prop_assert!(paid.count() <= journey.granted, "a retry that is not free is paid for");
        for n in 1..visits.len() {
            let is_second = visits[..n].contains(&visits[n]);
            let seen: BTreeSet<_> = visits[..n].iter().collect();
            prop_assert!(!is_second || seen.len() == blows.of.len(), "the same while there is another");
            prop_assert!(!is_second || blows.of[visits[n]].cause == Cause::Closed);
        }
    }
}
