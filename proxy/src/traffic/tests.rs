//! The parts together: an endpoint that stops, goes on, and stops again, simulated millisecond by
//! millisecond. And what the tests of several parts need.

use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::ejection::{Outcome, Passive, Repeatable, Streak, Transition, Trial};
use super::latency::Latency;
use super::stall::{self, Seen};
use crate::config::{Ejection, Stall};

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

/// The third request of a stop comes within 60 ms, and its patience is a second, or a little more when the
/// endpoint has come back shortly before: each time one answer was late by up to a second. (One that stops again at once is
/// given up to half a second more: it has just been usual that answers are late.)
const NOTICED: Duration = Duration::from_millis(1_300);

/// What the endpoint takes while it works, and from one request for it to the next.
const LATENCY: Duration = Duration::from_millis(20);
const GAP: u32 = 20;

/// Where two threads meet over and over, to go on within nanoseconds of one another if there is a core for
/// each. (A barrier wakes one after the other; races within a few instructions are never run then.)
#[derive(Default)]
pub(super) struct Meeting(AtomicU32);

impl Meeting {
    /// Waits for the other thread; `number` counts the meetings from 1.
    pub(super) fn meet(&self, number: u32) {
        const SPINS: u32 = 10_000;
        self.0.fetch_add(1, Ordering::SeqCst);
        let mut spins = 0;
        while self.0.load(Ordering::SeqCst) < 2 * number {
            spins += 1;
            if spins < SPINS { std::hint::spin_loop() } else { thread::yield_now() }
        }
    }
}

struct World {
    now: Instant,
    millis: u32,
    chances: Vec<f64>,
    stopped: bool,
    waiting: Vec<Instant>,
    last_byte: Option<Instant>,
    trial: Option<Trial>,
    latency: Latency,
    streak: Streak,
    passive: Passive,
    /// How long those that moved elsewhere had waited.
    moved: Vec<Duration>,
}

impl World {
    fn new(chances: Vec<f64>) -> Self {
        let now = Instant::now();
        Self {
            now,
            millis: 0,
            chances,
            stopped: false,
            waiting: Vec::new(),
            last_byte: None,
            trial: None,
            latency: Latency::new(now),
            streak: Streak::default(),
            passive: Passive::new(now),
            moved: Vec::new(),
        }
    }

    fn run(&mut self, time: Duration) {
        (0..time.as_millis()).for_each(|_| self.step());
    }

    /// Runs until the endpoint is healthy, or not; how long that took.
    fn run_until_healthy(&mut self, healthy: bool) -> Duration {
        let start = self.now;
        while self.passive.is_healthy() != healthy {
            self.step();
            assert!(self.now < start + 60 * SECOND, "it is never healthy: {healthy}");
        }
        self.now - start
    }

    fn step(&mut self) {
        self.now += MS;
        self.millis += 1;
        if !self.stopped {
            self.answer();
        }
        if self.millis.is_multiple_of(GAP) {
            self.arrive();
        }
        self.watch();
    }

    fn answer(&mut self) {
        while let Some(since) = self.waiting.first().filter(|since| **since + LATENCY <= self.now) {
            self.latency.record(self.now - *since, self.now);
            self.last_byte = Some(self.now);
            self.waiting.remove(0);
            self.streak.succeeded();
            if let Some(trial) = self.trial.take() {
                let chance = self.chance();
                self.passive.finish(&Ejection::default(), trial, Outcome::Succeeded, self.now, chance);
            }
        }
    }

    fn arrive(&mut self) {
        if !self.passive.is_healthy() {
            let claimed = self.passive.claim(Repeatable::Yes, self.now);
            if claimed.is_none() {
                return;
            }
            self.trial = claimed;
        }
        self.waiting.push(self.now);
    }

    fn watch(&mut self) {
        let doubted = !self.passive.is_healthy();
        let (waiting, last_byte, usual) = (&self.waiting[..], self.last_byte, self.latency.usual());
        let seen = Seen { doubted, waiting, last_byte, usual };
        let stalled = stall::stalled(&Stall::default(), seen, self.now);
        if stalled == 0 {
            return;
        }
        let now = self.now;
        self.moved.extend(self.waiting.drain(..stalled).map(|since| now - since));
        self.trial = None;
        let transition = self.passive.stalled(&Ejection::default(), &self.streak, now, self.chance());
        assert!(matches!(transition, Some(Transition::Ejected { .. })), "stalled, but not ejected");
    }

    fn chance(&self) -> f64 {
        self.chances[self.millis as usize % self.chances.len()]
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn a_stopped_endpoint_is_out_after_a_second_holds_nobody_longer_and_is_back_within_five(
        chances in prop::collection::vec(0.0..=1.0, 1..10),
        stops in prop::collection::vec((1_000_u32..15_000, 1_200_u32..40_000), 1..4),
    ) {
        let mut world = World::new(chances);
        world.run(3 * SECOND);
        for (works, stands_still) in stops {
            world.run(works * MS);
            world.moved.clear();
            world.stopped = true;
            let noticed = world.run_until_healthy(false);
            prop_assert!(noticed <= NOTICED, "noticed after {noticed:?}");
            let first = world.moved.len();
            world.run((stands_still * MS).saturating_sub(noticed));
            let trials = world.moved.len() - first;
            prop_assert!(trials <= stands_still as usize / 3_000 + 3, "{trials} paid for a trial");
            let longest = world.moved.iter().max();
            prop_assert!(longest <= Some(&NOTICED), "one waited {longest:?}");
            world.stopped = false;
            let back = world.run_until_healthy(true);
            prop_assert!(back <= 5 * SECOND, "back after {back:?}");
        }
    }
}
