//! How many retries a service may get: a share of its recent requests, and a few a second.
//!
//! A retry helps when one endpoint fails. When all do, or are overloaded, each retry is load on top of load:
//! with up to three attempts a request, retries would triple it. So they are bounded in relation to what
//! the clients really ask for.

use std::array;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use crate::config;

/// Seconds that are remembered, the current one included.
const WINDOW: u32 = 10;

/// How many retries so many requests of the window allow in it.
fn allowance(rules: &config::Budget, requests: u64) -> u64 {
    requests * u64::from(rules.percent) / 100 + u64::from(rules.per_second) * u64::from(WINDOW)
}

/// The retry budget of one service.
///
/// It holds the counts alone: the rules are passed in each time, as a new configuration may change them. However many
/// threads ask, no more retries are granted than the rules allow for the requests of the last ten seconds. If several
/// threads ask for the last one at the same moment, it may be that none of them gets it. Lock-free: a request costs one
/// atomic write, a retry one or two and twenty reads.
#[derive(Debug)]
pub(crate) struct Budget {
    origin: Instant,
    requests: Window,
    retries: Window,
}

impl Budget {
    /// One without requests or retries. `origin` is any moment before the first.
    pub(crate) fn new(origin: Instant) -> Self {
        Self { origin, requests: Window::default(), retries: Window::default() }
    }

    /// Counts a request: its first attempt, no retries.
    pub(crate) fn request(&self, now: Instant) {
        self.requests.add(self.second(now));
    }

    /// Asks for a retry, and counts it if it is granted.
    #[must_use = "what is granted is counted"]
    pub(crate) fn retry(&self, rules: &config::Budget, now: Instant) -> bool {
        let second = self.second(now);
        // Counted first and looked at then: between two that do so, the later in the slot's order sees the
        // earlier. The other way round, both could find the last one free.
        if !self.retries.add(second) {
            return false;
        }
        let granted = self.retries.sum(second) <= allowance(rules, self.requests.sum(second));
        if !granted {
            self.retries.take_back(second);
        }
        granted
    }

    #[cfg(test)]
    pub(crate) fn left(&self, rules: &config::Budget, now: Instant) -> u64 {
        let second = self.second(now);
        allowance(rules, self.requests.sum(second)).saturating_sub(self.retries.sum(second))
    }

    /// Seconds since the origin, from [`WINDOW`] on: second 0 stands for "never".
    fn second(&self, now: Instant) -> u32 {
        let seconds = now.saturating_duration_since(self.origin).as_secs();
        u32::try_from(seconds).unwrap_or(u32::MAX).saturating_add(WINDOW)
    }
}

/// Counts by second, of the last [`WINDOW`] seconds.
#[derive(Debug)]
struct Window([AtomicU64; WINDOW as usize]);

impl Default for Window {
    fn default() -> Self {
        Self(array::from_fn(|_| AtomicU64::new(0)))
    }
}

impl Window {
    /// Counts one in this second. False, and nothing is counted, if the second's slot belongs to a later one already:
    /// the caller's thread stood still for ten seconds after it had read the clock.
    fn add(&self, second: u32) -> bool {
        self.update(second, |slot| match slot.second {
            then if then > second => None,
            then if then == second => Some(Slot { count: slot.count.saturating_add(1), ..slot }),
            _ => Some(Slot { second, count: 1 }),
        })
    }

    fn take_back(&self, second: u32) {
        self.update(second, |slot| {
            (slot.second == second).then(|| Slot { count: slot.count.saturating_sub(1), ..slot })
        });
    }

    /// The counts of the window that ends with this second, and of later seconds: a caller whose time is a little
    /// behind must still see the retries that others were granted meanwhile.
    fn sum(&self, second: u32) -> u64 {
        let oldest = second - (WINDOW - 1);
        let slots = self.0.iter().map(|slot| Slot::from_bits(slot.load(Ordering::SeqCst)));
        slots.filter(|slot| slot.second >= oldest).map(|slot| u64::from(slot.count)).sum()
    }

    fn update(&self, second: u32, change: impl Fn(Slot) -> Option<Slot>) -> bool {
        let slot = &self.0[(second % WINDOW) as usize];
        let change = |bits| change(Slot::from_bits(bits)).map(Slot::to_bits);
        // One order over all slots: two that add in neighbouring seconds must see one another, too.
        slot.fetch_update(Ordering::SeqCst, Ordering::SeqCst, change).is_ok()
    }
}

/// A second and its count. Both fit one atomic, so that emptying a slot for a new second and counting in it is a single
/// step.
#[derive(Debug, Clone, Copy)]
struct Slot {
    second: u32,
    count: u32,
}

impl Slot {
    fn to_bits(self) -> u64 {
        u64::from(self.second) << 32 | u64::from(self.count)
    }

    fn from_bits(bits: u64) -> Self {
        Self { second: (bits >> 32) as u32, count: bits as u32 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::sync::Barrier;
    use std::time::Duration;

    const SECOND: Duration = Duration::from_secs(1);

    /// A budget and its rules.
    struct Bench {
        rules: config::Budget,
        budget: Budget,
    }

    impl Bench {
        fn new(percent: u32, per_second: u32, origin: Instant) -> Self {
            Self { rules: config::Budget { percent, per_second }, budget: Budget::new(origin) }
        }

        fn retry(&self, now: Instant) -> bool {
            self.budget.retry(&self.rules, now)
        }

        fn left(&self, now: Instant) -> u64 {
            self.budget.left(&self.rules, now)
        }

        fn request(&self, now: Instant) {
            self.budget.request(now);
        }
    }

    fn requests(budget: &Bench, now: Instant, count: u32) {
        (0..count).for_each(|_| budget.request(now));
    }

    /// How many of so many retries are granted.
    fn retries(budget: &Bench, now: Instant, count: u32) -> usize {
        (0..count).filter(|_| budget.retry(now)).count()
    }

    #[test]
    fn an_idle_service_has_ten_a_second() {
        let now = Instant::now();
        let budget = Bench::new(20, 10, now);
        assert_eq!(budget.left(now), 100);
        assert_eq!(retries(&budget, now, 1_000), 100);
        assert_eq!(budget.left(now), 0);
    }

    #[test]
    fn a_fifth_of_the_requests_may_be_retried() {
        let now = Instant::now();
        let budget = Bench::new(20, 0, now);
        assert_eq!(retries(&budget, now, 1), 0);
        requests(&budget, now, 1_004);
        assert_eq!(retries(&budget, now, 1_000), 200);
        requests(&budget, now, 1);
        assert_eq!(retries(&budget, now, 10), 1);
    }

    #[test]
    fn a_declined_retry_does_not_count() {
        let now = Instant::now();
        let budget = Bench::new(100, 0, now);
        assert_eq!(retries(&budget, now, 50), 0);
        requests(&budget, now, 50);
        assert_eq!(budget.left(now), 50);
        assert_eq!(retries(&budget, now, 60), 50);
    }

    #[test]
    fn what_is_ten_seconds_old_is_forgotten() {
        let start = Instant::now();
        let budget = Bench::new(20, 0, start);
        requests(&budget, start, 500);
        assert_eq!(budget.left(start + 9 * SECOND), 100);
        assert_eq!(budget.left(start + 10 * SECOND), 0);
        requests(&budget, start + 10 * SECOND, 10);
        assert_eq!(budget.left(start + 10 * SECOND), 2, "the slot of ten seconds ago was emptied first");
    }

    #[test]
    fn old_retries_free_the_budget_again() {
        let start = Instant::now();
        let budget = Bench::new(20, 10, start);
        assert_eq!(retries(&budget, start, 200), 100);
        assert_eq!(retries(&budget, start + 9 * SECOND, 1), 0);
        assert_eq!(retries(&budget, start + 10 * SECOND, 200), 100);
    }

    #[test]
    fn a_time_that_the_window_has_left_behind_counts_for_nothing() {
        let start = Instant::now();
        let budget = Bench::new(100, 0, start);
        requests(&budget, start + 30 * SECOND, 5);
        requests(&budget, start + 20 * SECOND, 5);
        assert_eq!(budget.left(start + 30 * SECOND), 5);
    }

    #[test]
    fn who_comes_late_gets_nothing_that_was_granted_meanwhile() {
        let start = Instant::now();
        let budget = Bench::new(0, 1, start);
        assert_eq!(retries(&budget, start + SECOND, 10), 10);
        assert!(!budget.retry(start));
    }

    #[test]
    fn the_first_seconds_remember_nothing_that_never_was() {
        let origin = Instant::now();
        let budget = Bench::new(0, 1, origin);
        assert_eq!(budget.left(origin), 10);
        assert_eq!(budget.left(origin - SECOND), 10, "before its origin is its origin");
    }

    #[test]
    fn other_rules_hold_at_once_for_what_was_counted_before() {
        let now = Instant::now();
        let mut budget = Bench::new(20, 0, now);
        requests(&budget, now, 100);
        assert_eq!(retries(&budget, now, 100), 20);
        budget.rules.percent = 50;
        assert_eq!(retries(&budget, now, 100), 30);
        budget.rules.percent = 20;
        assert_eq!(
            (budget.left(now), budget.retry(now)),
            (0, false),
            "more than it allows was granted before"
        );
    }

    #[test]
    fn threads_together_get_no_more_than_is_allowed_and_all_of_it() {
        const THREADS: usize = 4;
        for round in 0..50 {
            let origin = Instant::now();
            let budget = Bench::new(20, 1, origin);
            let barrier = Barrier::new(THREADS);
            // The threads cross the border of a second, each at its own pace.
            let granted: usize = std::thread::scope(|scope| {
                let ask = |thread: usize| {
                    barrier.wait();
                    let at = |n: u32| origin + Duration::from_millis(u64::from(n) * 2 + thread as u64);
                    (0..1_000)
                        .filter(|n| {
                            budget.request(at(*n));
                            budget.retry(at(*n))
                        })
                        .count()
                };
                let asking: Vec<_> = (0..THREADS).map(|thread| scope.spawn(move || ask(thread))).collect();
                asking.into_iter().map(|thread| thread.join().expect("no panic")).sum()
            });
            let (allowed, now) = (THREADS * 1_000 / 5 + 10, origin + 2 * SECOND);
            assert!(granted <= allowed, "round {round}: {granted} of {allowed}");
            assert_eq!(budget.left(now) as usize, allowed - granted, "round {round}: a count was lost");
            assert_eq!(granted + retries(&budget, now, 1_000), allowed, "round {round}");
        }
    }

    /// All that happened, with its second.
    #[derive(Default)]
    struct Model {
        requests: Vec<u64>,
        retries: Vec<u64>,
    }

    impl Model {
        fn left(&self, rules: &config::Budget, second: u64) -> u64 {
            let recent = |all: &[u64]| all.iter().filter(|then| **then + 10 > second).count() as u64;
            let allowed =
                recent(&self.requests) * u64::from(rules.percent) / 100 + u64::from(rules.per_second) * 10;
            allowed.saturating_sub(recent(&self.retries))
        }
    }

    proptest! {
        #[test]
        fn it_grants_what_a_plain_count_grants(
            percent in 0_u32..150,
            per_second in 0_u32..3,
            steps in prop::collection::vec((0_u64..4_000, 0_u32..40, 0_u32..20), 1..60),
        ) {
            let origin = Instant::now();
            let budget = Bench::new(percent, per_second, origin);
            let mut model = Model::default();
            let mut millis = 0;
            for (pause, asked, tried) in steps {
                millis += pause;
                let (now, second) = (origin + Duration::from_millis(millis), millis / 1_000);
                requests(&budget, now, asked);
                model.requests.extend((0..asked).map(|_| second));
                for _ in 0..tried {
                    let left = model.left(&budget.rules, second);
                    prop_assert_eq!(budget.left(now), left);
                    prop_assert_eq!(budget.retry(now), left > 0);
                    if left > 0 {
                        model.retries.push(second);
                    }
                }
            }
        }
    }
}
