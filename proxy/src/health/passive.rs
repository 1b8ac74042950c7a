//! What traffic tells of one endpoint: it is ejected when it fails, and comes back through one request.
//!
//! ```text
//!              refused, connect timeout, a run of failures, stalled -> Eject
//!    Healthy ------------------------------------------------------------> Ejected{until}
//!       ^                                                                    |  ^   ^
//!       | success -> Return                       claimed, at `until` or later |  |   |
//!       |                                                                    v  |   |
//!       +------------------------------------------------------------ OnTrial ---+   |
//!                                                       failure, stalled -> Eject, longer
//!                                                       given back ------------------+  (due at once)
//! ```
//!
//! [`Passive`] is pure and wants a lock around it. What is frequent needs none: a success of an endpoint
//! that is not on trial goes to [`Streak`] alone, and whether a trial is due is known from
//! [`Passive::trial_due`], which the holder of the lock may copy into an atomic whenever it has changed
//! something. The lock is then taken for a failure, a claim that looks possible, the outcome of a trial,
//! and by the watch for stalls.
//!
//! Each attempt has at most one outcome: when its answer is complete, or once it has come for so long that
//! its end says nothing more (an upgraded connection, a stream of events). **No outcome** is
//! - what is the client's doing: it left, its body broke off, it sent what is not HTTP;
//! - what is the gateway's doing: no local port or file descriptor is left, its limits, its total time;
//! - a re-used connection that closes before any byte of an answer: it was idle, and anybody may close it.

use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// Of an ejection's length, the most that jitter takes off. So endpoints that failed together, and several
/// gateways, do not try again together; and as it takes less than half, each ejection of a run is longer
/// than the one before until the longest is reached.
const JITTER: f64 = 0.25;

/// When an endpoint is ejected and for how long. The ranges are for the configuration to keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// Failures in a row that eject: 1 to 1,000, by default 5. Refused and timed-out connects eject at once.
    pub failures: NonZeroU32,
    /// The first ejection's length, before jitter: 50 ms to 1 min, by default 500 ms. It doubles each time.
    pub base: Duration,
    /// The longest ejection: `base` to 1 h, by default 4 s. A return costs one request that can move
    /// elsewhere, so there is little to be won by waiting longer.
    pub longest: Duration,
    /// The healthy time that forgives one doubling: 1 s to 1 h, by default 10 s.
    pub forgive: Duration,
    /// How much longer the trial is kept for a request that can be repeated: 0 s to 1 min, by default
    /// 500 ms. After that any request may be it, or a service of POSTs alone would never come back.
    pub reserve: Duration,
    /// When a trial counts as lost, and another may start: 1 s to 1 h, by default 60 s. Longer than every
    /// timeout of an attempt; it is there so that a trial nobody answered for cannot keep an endpoint out.
    pub trial: Duration,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            failures: NonZeroU32::MIN.saturating_add(4),
            base: Duration::from_millis(500),
            longest: Duration::from_secs(4),
            forgive: Duration::from_secs(10),
            reserve: Duration::from_millis(500),
            trial: Duration::from_secs(60),
        }
    }
}

impl Rules {
    /// The length of the ejection after `doublings` before it. `chance` is drawn from 0 to 1.
    fn length(&self, doublings: u32, chance: f64) -> Duration {
        let factor = 1_u32.checked_shl(doublings).unwrap_or(u32::MAX);
        self.base.saturating_mul(factor).min(self.longest).mul_f64(1.0 - JITTER * chance.clamp(0.0, 1.0))
    }

    /// Doublings that make a difference. What is beyond them need not be forgiven either.
    fn most_doublings(&self) -> u32 {
        (0..u32::BITS - 1).find(|n| self.base.saturating_mul(1 << n) >= self.longest).unwrap_or(u32::BITS - 1)
    }
}

/// How an attempt on an endpoint failed. What is nobody's failure, or not the endpoint's, has no place here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// The connect was refused, or the network said that there is no way to the address.
    Refused,
    /// The connect, or the TLS handshake on it, was not done in time.
    ConnectTimeout,
    /// A status that says that the endpoint failed: see [`Failure::of_status`].
    Status,
    /// The connection was reset or closed within an answer, or, when it was a fresh one, before it; the
    /// TLS handshake failed; what came was not HTTP.
    Broken,
    /// The first byte, or the next one, did not come in time.
    Timeout,
}

impl Failure {
    /// What a status says of the endpoint that answered with it. Every 5xx is a failure, an unknown one
    /// like 500 (RFC 9110, 15), except those that speak of the request rather than of the server: 501 (an
    /// unknown method), 505 (an HTTP version), 506, 508, 510 and 511.
    pub fn of_status(status: u16) -> Option<Self> {
        let is_failure = matches!(status, 500..=599) && !matches!(status, 501 | 505 | 506 | 508 | 510 | 511);
        is_failure.then_some(Self::Status)
    }
}

/// Why an endpoint is ejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// It refused a connect.
    Refused,
    /// A connect was not done in time.
    ConnectTimeout,
    /// It failed several times in a row, or on trial.
    Failures,
    /// It fell silent while requests waited: see [`stall`](super::stall).
    Stalled,
}

impl Reason {
    /// Every reason.
    pub const ALL: [Self; 4] = [Self::Refused, Self::ConnectTimeout, Self::Failures, Self::Stalled];

    /// Its name in `/services`, metrics and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::ConnectTimeout => "connect_timeout",
            Self::Failures => "failures",
            Self::Stalled => "stalled",
        }
    }
}

impl From<Failure> for Reason {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Refused => Self::Refused,
            Failure::ConnectTimeout => Self::ConnectTimeout,
            Failure::Status | Failure::Broken | Failure::Timeout => Self::Failures,
        }
    }
}

/// What is to be published of an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is ejected, anew or again. From `until` on it stays ejected, but one request may try it.
    Eject {
        /// When a trial is due.
        until: Instant,
        /// Why.
        why: Reason,
    },
    /// It is healthy again.
    Return,
}

/// Whether a request can be sent again if its trial does not end well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repeatable {
    /// It can: it is idempotent and its body, if any, can be replayed.
    Yes,
    /// It cannot. It would pay for the trial.
    No,
}

/// How a trial ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The endpoint answered.
    Succeeded,
    /// It failed.
    Failed(Failure),
    /// There was no outcome, above all because the client left: the next request may try.
    GivenBack,
}

/// The right to be the one request that tries an ejected endpoint. Whoever holds it answers for it to
/// [`Passive::finish`], whatever happens to the request.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "an endpoint stays ejected until its trial is finished"]
pub struct Trial(u64);

/// Failures in a row of a healthy endpoint. Lock-free; relaxed, since the number stands for itself.
#[derive(Debug, Default)]
pub struct Streak(AtomicU32);

impl Streak {
    /// Ends it. While there is none, which is the rule, this only reads.
    pub fn succeeded(&self) {
        if self.0.load(Ordering::Relaxed) != 0 {
            self.0.store(0, Ordering::Relaxed);
        }
    }

    /// Adds a failure; returns how many it has now.
    fn failed(&self) -> u32 {
        self.0.fetch_add(1, Ordering::Relaxed).saturating_add(1)
    }
}

/// What traffic has told of one endpoint.
#[derive(Debug)]
pub struct Passive {
    state: State,
    /// Doublings that the next ejection would have.
    doublings: u32,
    /// How many trials there have been: a late answer of one that counts as lost is told apart by it.
    trials: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Healthy { since: Instant },
    Ejected { until: Instant },
    OnTrial { since: Instant, number: u64 },
}

impl Passive {
    /// A new endpoint is healthy.
    pub fn new(now: Instant) -> Self {
        Self { state: State::Healthy { since: now }, doublings: 0, trials: 0 }
    }

    /// Whether nothing is held against it.
    pub fn is_healthy(&self) -> bool {
        matches!(self.state, State::Healthy { .. })
    }

    /// When a trial may be claimed, if nothing happens before. None: it is healthy.
    ///
    /// While a trial is under way, this is when it will count as lost.
    pub fn trial_due(&self, rules: &Rules) -> Option<Instant> {
        match self.state {
            State::Healthy { .. } => None,
            State::Ejected { until } => Some(until),
            State::OnTrial { since, .. } => Some(since + rules.trial),
        }
    }

    /// An attempt that is not a trial has failed. `chance` is drawn from 0 to 1.
    ///
    /// On an ejected endpoint this changes nothing: such attempts began before, or are sent while all are
    /// used (see [`panics`]), and only its trial decides.
    pub fn failed(
        &mut self,
        rules: &Rules,
        streak: &Streak,
        failure: Failure,
        now: Instant,
        chance: f64,
    ) -> Option<Verdict> {
        let State::Healthy { since } = self.state else { return None };
        let at_once = matches!(failure, Failure::Refused | Failure::ConnectTimeout);
        if streak.failed() < rules.failures.get() && !at_once {
            return None;
        }
        streak.succeeded();
        self.forgive(rules, now.saturating_duration_since(since));
        Some(self.eject(rules, failure.into(), now, chance))
    }

    /// The endpoint has stalled: see [`stall`](super::stall). `chance` is drawn from 0 to 1. If a trial is
    /// under way it has failed by this; its own outcome will then count for nothing.
    pub fn stalled(&mut self, rules: &Rules, streak: &Streak, now: Instant, chance: f64) -> Option<Verdict> {
        match self.state {
            State::Healthy { since } => self.forgive(rules, now.saturating_duration_since(since)),
            State::OnTrial { .. } => {}
            State::Ejected { .. } => return None,
        }
        streak.succeeded();
        Some(self.eject(rules, Reason::Stalled, now, chance))
    }

    /// Asks to be the request that tries the endpoint. None: it is healthy, its ejection is not over, the
    /// trial is reserved for a request that can be repeated, or another one is it.
    pub fn claim(&mut self, rules: &Rules, request: Repeatable, now: Instant) -> Option<Trial> {
        let due = self.trial_due(rules)?;
        let open = match request {
            Repeatable::Yes => due,
            Repeatable::No => due + rules.reserve,
        };
        if now < open {
            return None;
        }
        self.trials += 1;
        self.state = State::OnTrial { since: now, number: self.trials };
        Some(Trial(self.trials))
    }

    /// Answers for a trial. `chance` is drawn from 0 to 1.
    ///
    /// A trial that another has replaced, or that was already found stalled, changes nothing.
    pub fn finish(
        &mut self,
        rules: &Rules,
        trial: Trial,
        outcome: Outcome,
        now: Instant,
        chance: f64,
    ) -> Option<Verdict> {
        let is_current = matches!(self.state, State::OnTrial { number, .. } if number == trial.0);
        if !is_current {
            return None;
        }
        match outcome {
            Outcome::Succeeded => {
                self.state = State::Healthy { since: now };
                Some(Verdict::Return)
            }
            Outcome::Failed(failure) => Some(self.eject(rules, failure.into(), now, chance)),
            Outcome::GivenBack => {
                self.state = State::Ejected { until: now };
                None
            }
        }
    }

    fn eject(&mut self, rules: &Rules, why: Reason, now: Instant, chance: f64) -> Verdict {
        let until = now + rules.length(self.doublings, chance);
        self.doublings = (self.doublings + 1).min(rules.most_doublings());
        self.state = State::Ejected { until };
        Verdict::Eject { until, why }
    }

    /// Takes back one doubling for each step of healthy time.
    fn forgive(&mut self, rules: &Rules, healthy: Duration) {
        let step = rules.forgive.as_nanos().max(1);
        let steps = u32::try_from(healthy.as_nanos() / step).unwrap_or(u32::MAX);
        self.doublings = self.doublings.saturating_sub(steps);
    }
}

/// Whether so many of a service's endpoints are out that all are used, whatever is known against them.
///
/// `out` are its ejected and unhealthy endpoints, `eligible` these and those that are up (ranks 1 and 3);
/// both count endpoints, not weights. More than half makes the panic: 1 of 2 may be out, 2 of 4 may;
/// 2 of 3 may not, and neither may 1 of 1.
pub fn panics(out: usize, eligible: usize) -> bool {
    out > eligible / 2
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MS: Duration = Duration::from_millis(1);
    const SECOND: Duration = Duration::from_secs(1);

    /// An endpoint, its rules and its clock.
    struct Bench {
        rules: Rules,
        streak: Streak,
        passive: Passive,
        now: Instant,
        chance: f64,
    }

    impl Bench {
        fn new() -> Self {
            let now = Instant::now();
            let (streak, passive) = (Streak::default(), Passive::new(now));
            Self { rules: Rules::default(), streak, passive, now, chance: 0.0 }
        }

        fn fail(&mut self, failure: Failure) -> Option<Verdict> {
            self.passive.failed(&self.rules, &self.streak, failure, self.now, self.chance)
        }

        fn stall(&mut self) -> Option<Verdict> {
            self.passive.stalled(&self.rules, &self.streak, self.now, self.chance)
        }

        fn claim(&mut self, request: Repeatable) -> Option<Trial> {
            self.passive.claim(&self.rules, request, self.now)
        }

        fn finish(&mut self, trial: Trial, outcome: Outcome) -> Option<Verdict> {
            self.passive.finish(&self.rules, trial, outcome, self.now, self.chance)
        }

        /// Waits for the trial and lets it end so.
        fn try_once(&mut self, outcome: Outcome) -> Option<Verdict> {
            self.now = self.passive.trial_due(&self.rules).expect("a trial will be due");
            let trial = self.claim(Repeatable::Yes).expect("the trial is due");
            self.finish(trial, outcome)
        }

        /// The length of the ejection that this verdict begins.
        fn length(&self, verdict: Option<Verdict>) -> Duration {
            match verdict {
                Some(Verdict::Eject { until, .. }) => until - self.now,
                other => panic!("not ejected: {other:?}"),
            }
        }
    }

    fn why(verdict: Option<Verdict>) -> Option<&'static str> {
        match verdict? {
            Verdict::Eject { why, .. } => Some(why.as_str()),
            Verdict::Return => Some("return"),
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
        assert_eq!(bench.try_once(Outcome::Succeeded), Some(Verdict::Return));
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
        assert_eq!(bench.finish(trial, Outcome::Succeeded), Some(Verdict::Return));
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
        assert_eq!(bench.passive.trial_due(&bench.rules), Some(bench.now));
        assert!(bench.claim(Repeatable::Yes).is_some());
    }

    #[test]
    fn a_trial_nobody_answers_for_is_replaced_and_then_counts_for_nothing() {
        let mut bench = Bench::new();
        let ejected = bench.fail(Failure::Refused);
        bench.now += bench.length(ejected);
        let lost = bench.claim(Repeatable::Yes).expect("it is due");
        bench.now += bench.rules.trial - MS;
        assert_eq!(bench.claim(Repeatable::Yes), None);
        bench.now += MS;
        let trial = bench.claim(Repeatable::Yes).expect("the other is lost");
        assert_eq!(bench.finish(lost, Outcome::Failed(Failure::Refused)), None);
        assert_eq!(bench.finish(trial, Outcome::Succeeded), Some(Verdict::Return));
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
        let due = bench.passive.trial_due(&bench.rules);
        bench.now += 100 * MS;
        bench.streak.succeeded();
        assert_eq!(bench.fail(Failure::Refused), None);
        assert_eq!(bench.stall(), None);
        assert_eq!(bench.passive.trial_due(&bench.rules), due);
        bench.now = due.expect("ejected");
        assert!(bench.claim(Repeatable::Yes).is_some());
        assert_eq!(bench.fail(Failure::Refused), None, "its trial decides");
    }

    #[test]
    fn ejections_double_up_to_the_longest() {
        let mut bench = Bench::new();
        let mut verdict = bench.fail(Failure::Refused);
        let mut lengths = Vec::new();
        for _ in 0..6 {
            lengths.push(bench.length(verdict).as_millis());
            verdict = bench.try_once(Outcome::Failed(Failure::Status));
        }
        assert_eq!(lengths, [500, 1000, 2000, 4000, 4000, 4000]);
        assert_eq!(why(verdict), Some("failures"));
    }

    #[test]
    fn jitter_takes_off_at_most_a_quarter() {
        let rules = Rules::default();
        assert_eq!(rules.length(0, 1.0), 375 * MS);
        assert_eq!(rules.length(40, 1.0), 3 * SECOND);
        assert_eq!(rules.length(40, 0.0), 4 * SECOND);
        assert_eq!(rules.length(0, -7.0), 500 * MS, "chance out of its range does no harm");
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
        let verdict = bench.fail(Failure::Refused);
        bench.length(verdict).as_millis()
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
        let outcome = prop_oneof![
            Just(Outcome::Succeeded),
            Just(Outcome::GivenBack),
            failure().prop_map(Outcome::Failed),
        ];
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
        fn whatever_happens_verdicts_alternate_trials_are_single_and_ejections_end(
            events in events(),
            chances in prop::collection::vec(0.0..=1.0, 1..20),
        ) {
            let mut bench = Bench::new();
            let mut ejected = false;
            let mut held: Vec<(Instant, Trial)> = Vec::new();
            for (n, event) in events.into_iter().enumerate() {
                bench.chance = chances[n % chances.len()];
                let verdict = match event {
                    Event::Pass(millis) => {
                        bench.now += Duration::from_millis(millis);
                        None
                    }
                    Event::Succeed => {
                        bench.streak.succeeded();
                        None
                    }
                    Event::Fail(failure) => {
                        let verdict = bench.fail(failure);
                        prop_assert!(verdict.is_none() || !ejected, "ejected twice by {failure:?}");
                        verdict
                    }
                    Event::Stall => bench.stall(),
                    Event::Claim(request) => {
                        let due = bench.passive.trial_due(&bench.rules);
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
                match verdict {
                    Some(Verdict::Eject { until, .. }) => {
                        let length = until - bench.now;
                        prop_assert!(length >= bench.rules.base.mul_f64(1.0 - JITTER), "{length:?}");
                        prop_assert!(length <= bench.rules.longest, "{length:?}");
                        ejected = true;
                    }
                    Some(Verdict::Return) => {
                        prop_assert!(ejected, "returned, but was not out");
                        ejected = false;
                    }
                    None => {}
                }
                prop_assert_eq!(bench.passive.is_healthy(), !ejected);
                let current = |trial: &Trial| matches!(
                    bench.passive.state, State::OnTrial { number, .. } if number == trial.0
                );
                prop_assert!(held.iter().filter(|(_, trial)| current(trial)).count() <= 1);
            }
            if ejected {
                let due = bench.passive.trial_due(&bench.rules).expect("an ejection ends");
                prop_assert!(due <= bench.now + bench.rules.trial.max(bench.rules.longest));
                bench.now = bench.now.max(due) + bench.rules.reserve;
                let trial = bench.claim(Repeatable::No).expect("any request may be the trial by now");
                prop_assert_eq!(bench.finish(trial, Outcome::Succeeded), Some(Verdict::Return));
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
            let apart = claimed.windows(2).all(|pair| pair[1] - pair[0] >= bench.rules.trial);
            prop_assert!(apart, "{claimed:?}");
        }

        #[test]
        fn without_healthy_time_each_ejection_is_longer_than_the_last_until_the_longest(
            chances in prop::collection::vec(0.0..=1.0, 2..12),
        ) {
            let mut bench = Bench::new();
            bench.chance = chances[0];
            let mut verdict = bench.fail(Failure::Refused);
            let mut last = bench.length(verdict);
            for chance in &chances[1..] {
                bench.chance = *chance;
                verdict = bench.try_once(Outcome::Failed(Failure::Timeout));
                let length = bench.length(verdict);
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
}
