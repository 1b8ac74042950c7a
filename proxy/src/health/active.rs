//! What a run of probes tells of one endpoint. The probes themselves are Pingora's; this says what is to be
//! probed and how, and when enough of them agree.

use std::num::NonZeroU32;
use std::time::Duration;

/// How the endpoints of a service are probed. The ranges are for the configuration to keep.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// What a probe does.
    pub probe: Probe,
    /// From one probe of an endpoint to the next: 100 ms to 1 h, by default 5 s.
    pub interval: Duration,
    /// When a probe that is not done has failed: 10 ms to `interval`, by default 1 s.
    pub timeout: Duration,
    /// When enough probes agree.
    pub thresholds: Thresholds,
    /// What an endpoint counts as before its first probe.
    pub initial: Initial,
}

impl Settings {
    /// The defaults for this kind of probe.
    pub fn new(probe: Probe) -> Self {
        Self {
            probe,
            interval: Duration::from_secs(5),
            timeout: Duration::from_secs(1),
            thresholds: Thresholds::default(),
            initial: Initial::default(),
        }
    }
}

/// What a probe does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Probe {
    /// Opens a connection and closes it.
    Tcp,
    /// Sends a GET on a connection of its own.
    Http {
        /// Path and query, from `/`.
        path: String,
        /// The `Host` header; none: the endpoint's address.
        host: Option<String>,
        /// The status that passes: 200 to 599, by default 200.
        status: u16,
    },
}

/// How many probes in a row turn an endpoint's health.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Thresholds {
    /// Passed probes that make an unhealthy endpoint healthy: 1 to 100, by default 1.
    pub healthy: NonZeroU32,
    /// Failed probes that make a healthy endpoint unhealthy: 1 to 100, by default 3.
    pub unhealthy: NonZeroU32,
}

impl Default for Thresholds {
    fn default() -> Self {
        Self { healthy: NonZeroU32::MIN, unhealthy: NonZeroU32::MIN.saturating_add(2) }
    }
}

/// What an endpoint counts as before its first probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Initial {
    /// It is used at once; a run of failed probes takes it out.
    #[default]
    Healthy,
    /// It is used when it has passed. If it passes its very first probe, that one is enough: there is no
    /// failure that a run would have to make up for.
    Unhealthy,
}

/// A probe's outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// As expected, in time.
    Passed,
    /// Anything else.
    Failed,
}

/// What an endpoint counts as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Its probes pass.
    Healthy,
    /// Its probes fail.
    Unhealthy,
}

/// What the probes of one endpoint have told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Active {
    verdict: Verdict,
    /// The latest outcomes, all the same, that speak against the verdict.
    against: u32,
    probed: bool,
    passed: bool,
}

impl Active {
    /// An endpoint that was not probed yet.
    pub fn new(initial: Initial) -> Self {
        let verdict = match initial {
            Initial::Healthy => Verdict::Healthy,
            Initial::Unhealthy => Verdict::Unhealthy,
        };
        Self { verdict, against: 0, probed: false, passed: false }
    }

    /// What it counts as.
    pub fn verdict(&self) -> Verdict {
        self.verdict
    }

    /// Whether it is healthy because a probe passed, not for want of one: what a suspect or stale endpoint
    /// must show to be used.
    pub fn has_passed(&self) -> bool {
        self.passed && self.verdict == Verdict::Healthy
    }

    /// Takes the outcome of a probe; says what it turned, if it turned anything.
    pub fn probed(&mut self, thresholds: Thresholds, outcome: Outcome) -> Option<Verdict> {
        let (told, needed) = match outcome {
            Outcome::Passed if !self.probed => (Verdict::Healthy, NonZeroU32::MIN),
            Outcome::Passed => (Verdict::Healthy, thresholds.healthy),
            Outcome::Failed => (Verdict::Unhealthy, thresholds.unhealthy),
        };
        self.probed = true;
        self.passed |= outcome == Outcome::Passed;
        if told == self.verdict {
            self.against = 0;
            return None;
        }
        self.against += 1;
        if self.against < needed.get() {
            return None;
        }
        (self.verdict, self.against) = (told, 0);
        Some(told)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn thresholds(healthy: u32, unhealthy: u32) -> Thresholds {
        let run = |length| NonZeroU32::new(length).expect("not 0");
        Thresholds { healthy: run(healthy), unhealthy: run(unhealthy) }
    }

    /// What each probe of a row turned: `+` passes, `-` fails; `U` and `H` are verdicts, `.` is none.
    fn turns(initial: Initial, thresholds: Thresholds, probes: &str) -> String {
        let mut active = Active::new(initial);
        let probe = |probe| match active
            .probed(thresholds, if probe == '+' { Outcome::Passed } else { Outcome::Failed })
        {
            Some(Verdict::Healthy) => 'H',
            Some(Verdict::Unhealthy) => 'U',
            None => '.',
        };
        probes.chars().map(probe).collect()
    }

    #[test]
    fn three_failures_in_a_row_make_it_unhealthy_and_one_success_healthy() {
        assert_eq!(turns(Initial::Healthy, Thresholds::default(), "+--+---+"), "......UH");
    }

    #[test]
    fn a_run_is_as_long_as_configured_and_starts_again_after_an_exception() {
        assert_eq!(turns(Initial::Healthy, thresholds(2, 2), "-+--+-++"), "...U...H");
    }

    #[test]
    fn one_that_starts_unhealthy_needs_a_single_success_if_it_is_the_first() {
        assert_eq!(turns(Initial::Unhealthy, thresholds(3, 1), "+"), "H");
        assert_eq!(turns(Initial::Unhealthy, thresholds(3, 1), "-+++"), "...H");
    }

    #[test]
    fn to_have_passed_takes_a_probe() {
        let mut active = Active::new(Initial::Healthy);
        assert!(!active.has_passed());
        active.probed(Thresholds::default(), Outcome::Failed);
        assert!(!active.has_passed());
        active.probed(Thresholds::default(), Outcome::Passed);
        assert!(active.has_passed());
        for _ in 0..3 {
            active.probed(Thresholds::default(), Outcome::Failed);
        }
        assert!(!active.has_passed());
    }

    proptest! {
        #[test]
        fn verdicts_alternate_and_each_ends_a_run_of_its_length(
            healthy in 1_u32..5,
            unhealthy in 1_u32..5,
            outcomes in prop::collection::vec(any::<bool>(), 0..100),
        ) {
            let mut active = Active::new(Initial::Healthy);
            for n in 0..outcomes.len() {
                let before = active.verdict();
                let outcome = if outcomes[n] { Outcome::Passed } else { Outcome::Failed };
                let run = outcomes[..=n].iter().rev().take_while(|other| **other == outcomes[n]).count() as u32;
                match active.probed(thresholds(healthy, unhealthy), outcome) {
                    Some(Verdict::Healthy) => {
                        prop_assert!(before == Verdict::Unhealthy && outcomes[n] && run == healthy);
                    }
                    Some(Verdict::Unhealthy) => {
                        prop_assert!(before == Verdict::Healthy && !outcomes[n] && run == unhealthy);
                    }
                    None => {
                        let (told, needed) = match outcome {
                            Outcome::Passed => (Verdict::Healthy, healthy),
                            Outcome::Failed => (Verdict::Unhealthy, unhealthy),
                        };
                        prop_assert!(told == before || run < needed);
                    }
                }
            }
        }
    }
}
