//! What a run of probes tells of one endpoint: when enough of them agree.

use std::num::NonZeroU32;

use crate::config::Initially;

/// How many probes in a row turn an endpoint's health.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Thresholds {
    /// Passed probes that make an unhealthy endpoint healthy.
    pub healthy: NonZeroU32,
    /// Failed probes that make a healthy endpoint unhealthy.
    pub unhealthy: NonZeroU32,
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
}

impl Active {
    /// An endpoint that was not probed yet.
    pub fn new(initially: Initially) -> Self {
        let verdict = match initially {
            Initially::Up => Verdict::Healthy,
            Initially::Unhealthy => Verdict::Unhealthy,
        };
        Self { verdict, against: 0, probed: false }
    }

    /// Takes the outcome of a probe; says what it turned, if it turned anything. If the very first one
    /// passes, it is enough: there is no failure that a run would have to make up for.
    pub fn probed(&mut self, thresholds: Thresholds, outcome: Outcome) -> Option<Verdict> {
        let (told, needed) = match outcome {
            Outcome::Passed if !self.probed => (Verdict::Healthy, NonZeroU32::MIN),
            Outcome::Passed => (Verdict::Healthy, thresholds.healthy),
            Outcome::Failed => (Verdict::Unhealthy, thresholds.unhealthy),
        };
        self.probed = true;
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
    fn turns(initially: Initially, thresholds: Thresholds, probes: &str) -> String {
        let mut active = Active::new(initially);
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
        assert_eq!(turns(Initially::Up, thresholds(1, 3), "+--+---+"), "......UH");
    }

    #[test]
    fn a_run_is_as_long_as_configured_and_starts_again_after_an_exception() {
        assert_eq!(turns(Initially::Up, thresholds(2, 2), "-+--+-++"), "...U...H");
    }

    #[test]
    fn one_that_starts_unhealthy_needs_a_single_success_if_it_is_the_first() {
        assert_eq!(turns(Initially::Unhealthy, thresholds(3, 1), "+"), "H");
        assert_eq!(turns(Initially::Unhealthy, thresholds(3, 1), "-+++"), "...H");
    }

    proptest! {
        #[test]
        fn verdicts_alternate_and_each_ends_a_run_of_its_length(
            healthy in 1_u32..5,
            unhealthy in 1_u32..5,
            outcomes in prop::collection::vec(any::<bool>(), 0..100),
        ) {
            let mut active = Active::new(Initially::Up);
            for n in 0..outcomes.len() {
                let before = active.verdict;
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
