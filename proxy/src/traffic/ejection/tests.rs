use super::*;
use proptest::prelude::*;

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

/// An endpoint, its rules and its clock.
struct Bench {
    rules: Ejection,
    streak: Streak,
    passive: Passive,
    now: Instant,
    chance: f64,
}

impl Bench {
    fn new() -> Self {
        let now = Instant::now();
        let (streak, passive) = (Streak::default(), Passive::new(now));
        Self { rules: Ejection::default(), streak, passive, now, chance: 0.0 }
    }

    fn fail(&mut self, failure: Failure) -> Option<Transition> {
        self.passive.failed(&self.rules, &self.streak, failure, self.now, self.chance)
    }

    fn stall(&mut self) -> Option<Transition> {
        self.passive.stalled(&self.rules, &self.streak, self.now, self.chance)
    }

    fn claim(&mut self, request: Repeatable) -> Option<Trial> {
        self.passive.claim(request, self.now)
    }

    fn finish(&mut self, trial: Trial, outcome: Outcome) -> Option<Transition> {
        self.passive.finish(&self.rules, trial, outcome, self.now, self.chance)
    }

    /// Waits for the trial and lets it end so.
    fn try_once(&mut self, outcome: Outcome) -> Option<Transition> {
        self.now = self.passive.trial_due().expect("a trial will be due");
        let trial = self.claim(Repeatable::Yes).expect("the trial is due");
        self.finish(trial, outcome)
    }

    /// Ejects it, and claims its trial and, as soon as that may be, another.
    fn claim_two(&mut self) -> (Trial, Trial) {
        let ejected = self.fail(Failure::Refused);
        self.now += self.length(ejected);
        let first = self.claim(Repeatable::Yes).expect("it is due");
        self.now += TRIAL - MS;
        assert_eq!(self.claim(Repeatable::Yes), None);
        self.now += MS;
        (first, self.claim(Repeatable::Yes).expect("the first takes too long"))
    }

    /// The length of the ejection that this transition begins.
    fn length(&self, transition: Option<Transition>) -> Duration {
        match transition {
            Some(Transition::Ejected { until, .. }) => until - self.now,
            other => panic!("not ejected: {other:?}"),
        }
    }
}

fn why(transition: Option<Transition>) -> Option<&'static str> {
    match transition? {
        Transition::Ejected { why, .. } => Some(why.as_str()),
        Transition::Returned => Some("return"),
    }
}

#[test]
fn a_refused_or_timed_out_connect_ejects_at_once() {
    let mut bench = Bench::new();
    assert_eq!(why(bench.fail(Failure::Refused)), Some("refused"));
    let mut bench = Bench::new();
    assert_eq!(why(bench.fail(Failure::ConnectTimeout)), Some("connect_timeout"));
}

#[test]
fn the_fifth_failure_in_a_row_ejects() {
    let mut bench = Bench::new();
    for failure in [Failure::Status, Failure::Broken, Failure::Timeout, Failure::Status] {
        assert_eq!(bench.fail(failure), None);
    }
    assert_eq!(why(bench.fail(Failure::Broken)), Some("failures"));
}

#[test]
fn a_success_between_ends_the_row() {
    let mut bench = Bench::new();
    for _ in 0..4 {
        bench.fail(Failure::Status);
    }
    bench.streak.succeeded();
    for _ in 0..4 {
        assert_eq!(bench.fail(Failure::Status), None);
    }
    assert!(bench.fail(Failure::Status).is_some());
}

#[test]
fn one_that_came_back_starts_without_a_row() {
    let mut bench = Bench::new();
    for _ in 0..4 {
        bench.fail(Failure::Status);
    }
    bench.stall();
    assert_eq!(bench.try_once(Outcome::Succeeded), Some(Transition::Returned));
    for _ in 0..4 {
        assert_eq!(bench.fail(Failure::Status), None);
    }
}

#[test]
fn nobody_tries_before_the_ejection_is_over_and_then_one_does() {
    let mut bench = Bench::new();
    let ejected = bench.fail(Failure::Refused);
    assert_eq!(bench.length(ejected), 500 * MS);
    bench.now += 499 * MS;
    assert_eq!(bench.claim(Repeatable::Yes), None);
    bench.now += MS;
    let trial = bench.claim(Repeatable::Yes).expect("it is due");
    assert_eq!(bench.claim(Repeatable::Yes), None);
    assert!(!bench.passive.is_healthy());
    assert_eq!(bench.finish(trial, Outcome::Succeeded), Some(Transition::Returned));
    assert!(bench.passive.is_healthy());
    assert_eq!(bench.claim(Repeatable::Yes), None);
}

#[test]
fn a_trial_is_kept_for_what_can_be_repeated_for_a_while() {
    let mut bench = Bench::new();
    let ejected = bench.fail(Failure::Refused);
    bench.now += bench.length(ejected) + 499 * MS;
    assert_eq!(bench.claim(Repeatable::No), None);
    bench.now += MS;
    assert!(bench.claim(Repeatable::No).is_some());
}

#[test]
fn a_trial_that_is_given_back_is_free_for_the_next() {
    let mut bench = Bench::new();
    bench.fail(Failure::Refused);
    assert_eq!(bench.try_once(Outcome::GivenBack), None);
    assert!(!bench.passive.is_healthy());
    assert_eq!(bench.passive.trial_due(), Some(bench.now));
    assert!(bench.claim(Repeatable::Yes).is_some());
}

#[test]
fn a_trial_nobody_answers_for_is_replaced_and_its_failure_then_counts_for_nothing() {
    let mut bench = Bench::new();
    let (first, second) = bench.claim_two();
    assert_eq!(bench.finish(first, Outcome::Failed(Failure::Refused)), None);
    assert_eq!(bench.finish(second, Outcome::Succeeded), Some(Transition::Returned));
}

#[test]
fn a_trial_that_was_replaced_and_succeeds_after_all_brings_the_endpoint_back() {
    let mut bench = Bench::new();
    let (first, second) = bench.claim_two();
    bench.now += TRIAL / 2;
    assert_eq!(bench.finish(first, Outcome::Succeeded), Some(Transition::Returned));
    assert!(bench.passive.is_healthy());
    assert_eq!(bench.finish(second, Outcome::Failed(Failure::Timeout)), None, "it is on trial no more");
}

#[test]
fn a_stall_ends_a_trial_whose_own_outcome_then_counts_for_nothing() {
    let mut bench = Bench::new();
    let ejected = bench.stall();
    assert_eq!(why(ejected), Some("stalled"));
    bench.now += bench.length(ejected);
    let trial = bench.claim(Repeatable::Yes).expect("it is due");
    bench.now += SECOND;
    let again = bench.stall();
    assert_eq!(bench.length(again), SECOND);
    assert_eq!(bench.stall(), None);
    assert_eq!(bench.finish(trial, Outcome::Succeeded), None);
    assert!(!bench.passive.is_healthy());
}

#[test]
fn attempts_from_before_an_ejection_neither_lengthen_nor_end_it() {
    let mut bench = Bench::new();
    bench.fail(Failure::Refused);
    let due = bench.passive.trial_due();
    bench.now += 100 * MS;
    bench.streak.succeeded();
    assert_eq!(bench.fail(Failure::Refused), None);
    assert_eq!(bench.stall(), None);
    assert_eq!(bench.passive.trial_due(), due);
    bench.now = due.expect("ejected");
    assert!(bench.claim(Repeatable::Yes).is_some());
    assert_eq!(bench.fail(Failure::Refused), None, "its trial decides");
}

#[test]
fn one_that_is_pardoned_is_as_new_and_the_outcome_of_its_trial_counts_for_nothing() {
    let mut bench = Bench::new();
    let (_, trial) = bench.claim_two();
    bench.stall();
    bench.fail(Failure::Status);
    assert_eq!(bench.passive.pardon(&bench.streak, bench.now), Some(Transition::Returned));
    assert!(bench.passive.is_healthy());
    assert_eq!(bench.passive.pardon(&bench.streak, bench.now), None, "it is known");
    assert_eq!(bench.finish(trial, Outcome::Failed(Failure::Refused)), None);
    let ejected = bench.fail(Failure::Refused);
    assert_eq!(bench.length(ejected), bench.rules.base, "no doubling is left");
}

#[test]
fn who_is_pardoned_begins_without_a_row_of_failures() {
    let mut bench = Bench::new();
    (0..4).for_each(|_| assert_eq!(bench.fail(Failure::Status), None));
    assert_eq!(bench.passive.pardon(&bench.streak, bench.now), None);
    (0..4).for_each(|_| assert_eq!(bench.fail(Failure::Status), None));
    assert!(bench.fail(Failure::Status).is_some());
}

#[test]
fn ejections_double_up_to_the_longest() {
    let mut bench = Bench::new();
    let mut transition = bench.fail(Failure::Refused);
    let mut lengths = Vec::new();
    for _ in 0..6 {
        lengths.push(bench.length(transition).as_millis());
        transition = bench.try_once(Outcome::Failed(Failure::Status));
    }
    assert_eq!(lengths, [500, 1000, 2000, 4000, 4000, 4000]);
    assert_eq!(why(transition), Some("failures"));
}

#[test]
fn jitter_takes_off_at_most_a_quarter() {
    let rules = Ejection::default();
    assert_eq!(length(&rules, 0, 1.0), 375 * MS);
    assert_eq!(length(&rules, 40, 1.0), 3 * SECOND);
    assert_eq!(length(&rules, 40, 0.0), 4 * SECOND);
    assert_eq!(length(&rules, 0, -7.0), 500 * MS, "chance out of its range does no harm");
}

/// Ejects it until it is out for the longest time, brings it back, and leaves it alone for `healthy`.
fn length_after(healthy: Duration) -> u128 {
    let mut bench = Bench::new();
    bench.fail(Failure::Refused);
    for _ in 0..20 {
        bench.try_once(Outcome::Failed(Failure::Refused));
    }
    bench.try_once(Outcome::Succeeded);
    bench.now += healthy;
    let transition = bench.fail(Failure::Refused);
    bench.length(transition).as_millis()
}

#[test]
fn each_ten_healthy_seconds_forgive_one_doubling() {
    let lengths = [0, 9, 10, 19, 20, 30, 1_000_000].map(|seconds| length_after(seconds * SECOND));
    assert_eq!(lengths, [4000, 4000, 2000, 2000, 1000, 500, 500]);
}

#[test]
fn statuses_count_that_speak_of_the_server() {
    for status in [500, 502, 503, 504, 507, 520, 599] {
        assert_eq!(Failure::of_status(status), Some(Failure::Status), "{status}");
    }
    for status in [100, 200, 301, 404, 429, 499, 501, 505, 506, 508, 510, 511, 600] {
        assert_eq!(Failure::of_status(status), None, "{status}");
    }
}

#[test]
fn more_than_half_out_is_a_panic() {
    let panicking = |eligible| (0..=eligible).filter(|out| panics(*out, eligible)).min();
    assert_eq!(
        [0, 1, 2, 3, 4, 5, 10].map(panicking),
        [None, Some(1), Some(2), Some(2), Some(3), Some(3), Some(6)]
    );
}

/// What may happen to an endpoint.
#[derive(Debug, Clone, Copy)]
enum Event {
    Pass(u64),
    Succeed,
    Fail(Failure),
    Stall,
    Claim(Repeatable),
    Finish(usize, Outcome),
    Forget(usize),
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let failure = || {
        prop::sample::select(vec![
            Failure::Refused,
            Failure::ConnectTimeout,
            Failure::Status,
            Failure::Broken,
            Failure::Timeout,
        ])
    };
    let outcome =
        prop_oneof![Just(Outcome::Succeeded), Just(Outcome::GivenBack), failure().prop_map(Outcome::Failed),];
    let event = prop_oneof![
        3 => prop_oneof![Just(0), 0_u64..700, 0_u64..70_000].prop_map(Event::Pass),
        1 => Just(Event::Succeed),
        3 => failure().prop_map(Event::Fail),
        1 => Just(Event::Stall),
        3 => prop::sample::select(vec![Repeatable::Yes, Repeatable::No]).prop_map(Event::Claim),
        3 => (any::<usize>(), outcome).prop_map(|(which, outcome)| Event::Finish(which, outcome)),
        1 => any::<usize>().prop_map(Event::Forget),
    ];
    prop::collection::vec(event, 0..150)
}

proptest! {
    #[test]
    fn whatever_happens_transitions_alternate_trials_are_single_and_ejections_end(
        events in events(),
        chances in prop::collection::vec(0.0..=1.0, 1..20),
    ) {
        let mut bench = Bench::new();
        let mut ejected = false;
        let mut held: Vec<(Instant, Trial)> = Vec::new();
        for (n, event) in events.into_iter().enumerate() {
            bench.chance = chances[n % chances.len()];
            let transition = match event {
                Event::Pass(millis) => {
                    bench.now += Duration::from_millis(millis);
                    None
                }
                Event::Succeed => {
                    bench.streak.succeeded();
                    None
                }
                Event::Fail(failure) => {
                    let transition = bench.fail(failure);
                    prop_assert!(transition.is_none() || !ejected, "ejected twice by {failure:?}");
                    transition
                }
                Event::Stall => bench.stall(),
                Event::Claim(request) => {
                    let due = bench.passive.trial_due();
                    if let Some(trial) = bench.claim(request) {
                        prop_assert!(ejected && due.is_some_and(|due| due <= bench.now));
                        held.push((bench.now, trial));
                    }
                    None
                }
                Event::Finish(which, outcome) if !held.is_empty() => {
                    let (_, trial) = held.swap_remove(which % held.len());
                    bench.finish(trial, outcome)
                }
                Event::Forget(which) if !held.is_empty() => {
                    drop(held.swap_remove(which % held.len()));
                    None
                }
                Event::Finish(..) | Event::Forget(_) => None,
            };
            match transition {
                Some(Transition::Ejected { until, .. }) => {
                    let length = until - bench.now;
                    prop_assert!(length >= bench.rules.base.mul_f64(1.0 - JITTER), "{length:?}");
                    prop_assert!(length <= bench.rules.longest, "{length:?}");
                    ejected = true;
                }
                Some(Transition::Returned) => {
                    prop_assert!(ejected, "returned, but was not out");
                    ejected = false;
                }
                None => {}
            }
            prop_assert_eq!(bench.passive.is_healthy(), !ejected);
            let current = |trial: &Trial| matches!(
                bench.passive.condition, Condition::OnTrial { number, .. } if number == trial.0
            );
            prop_assert!(held.iter().filter(|(_, trial)| current(trial)).count() <= 1);
        }
        if ejected {
            let due = bench.passive.trial_due().expect("an ejection ends");
            prop_assert!(due <= bench.now + TRIAL.max(bench.rules.longest));
            bench.now = bench.now.max(due) + RESERVE;
            let trial = bench.claim(Repeatable::No).expect("any request may be the trial by now");
            prop_assert_eq!(bench.finish(trial, Outcome::Succeeded), Some(Transition::Returned));
        }
    }

    #[test]
    fn between_two_claims_lies_a_finished_a_failed_or_a_lost_trial(
        waits in prop::collection::vec(0_u64..30_000, 1..60),
    ) {
        let mut bench = Bench::new();
        bench.fail(Failure::Refused);
        let mut claimed = Vec::new();
        for wait in waits {
            bench.now += Duration::from_millis(wait);
            if bench.claim(Repeatable::Yes).is_some() {
                claimed.push(bench.now);
            }
        }
        let apart = claimed.windows(2).all(|pair| pair[1] - pair[0] >= TRIAL);
        prop_assert!(apart, "{claimed:?}");
    }

    #[test]
    fn without_healthy_time_each_ejection_is_longer_than_the_last_until_the_longest(
        chances in prop::collection::vec(0.0..=1.0, 2..12),
    ) {
        let mut bench = Bench::new();
        bench.chance = chances[0];
        let mut transition = bench.fail(Failure::Refused);
        let mut last = bench.length(transition);
        for chance in &chances[1..] {
            bench.chance = *chance;
            transition = bench.try_once(Outcome::Failed(Failure::Timeout));
            let length = bench.length(transition);
            let least = bench.rules.longest.mul_f64(1.0 - JITTER);
            prop_assert!(length > last || length >= least, "{last:?} {length:?}");
            last = length;
        }
    }

    #[test]
    fn successes_keep_it_healthy_whatever_the_times(
        steps in prop::collection::vec((any::<bool>(), 0_u64..100_000), 0..300),
    ) {
        // Never five failures without a success between them.
        let mut bench = Bench::new();
        let mut row = 0;
        for (fails, millis) in steps {
            bench.now += Duration::from_millis(millis);
            if fails && row < 4 {
                row += 1;
                prop_assert_eq!(bench.fail(Failure::Status), None);
            } else {
                row = 0;
                bench.streak.succeeded();
            }
            prop_assert!(bench.passive.is_healthy());
            prop_assert_eq!(bench.claim(Repeatable::Yes), None);
        }
    }
}
