//! What a row of checks tells of one endpoint: when enough of them agree.

use std::num::NonZeroU32;

use crate::config::Check;
use crate::directory::Finding;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Active {
    is_healthy: bool,
    /// How many of the latest answers in a row say otherwise.
    against: u32,
    was_checked: bool,
}

impl Active {
    /// Of an endpoint that was not checked yet.
    pub(super) fn new(is_healthy: bool) -> Self {
        Self { is_healthy, against: 0, was_checked: false }
    }

    pub(super) fn is_healthy(&self) -> bool {
        self.is_healthy
    }

    /// Takes the outcome of a check. Returns what the endpoint has become by it; none: what it was. If the very first
    /// check passes, that one is enough: there was no failure that several would have to make up for.
    pub(super) fn checked(&mut self, rules: &Check, passed: bool) -> Option<Finding> {
        let needed = match passed {
            true if !self.was_checked => NonZeroU32::MIN,
            true => rules.healthy,
            false => rules.unhealthy,
        };
        self.was_checked = true;
        if passed == self.is_healthy {
            self.against = 0;
            return None;
        }
        self.against += 1;
        if self.against < needed.get() {
            return None;
        }
        (self.is_healthy, self.against) = (passed, 0);
        Some(if passed { Finding::Healthy } else { Finding::Unhealthy })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Initially, Probe};
    use proptest::prelude::*;
    use std::time::Duration;

    /// So many good answers make an endpoint healthy, so many bad ones unhealthy.
    fn rules(healthy: u32, unhealthy: u32) -> Check {
        let row = |length| NonZeroU32::new(length).expect("not 0");
        Check {
            probe: Probe::Tcp,
            interval: Duration::from_secs(5),
            timeout: Duration::from_secs(1),
            healthy: row(healthy),
            unhealthy: row(unhealthy),
            initially: Initially::Up,
        }
    }

    /// What each check of a row turned: `+` passes, `-` fails; `U` and `H` are findings, `.` is none.
    fn turns(is_healthy: bool, rules: &Check, checks: &str) -> String {
        let mut active = Active::new(is_healthy);
        let turn = |check| match active.checked(rules, check == '+') {
            Some(Finding::Healthy) => 'H',
            Some(Finding::Unhealthy) => 'U',
            Some(_) => '?',
            None => '.',
        };
        checks.chars().map(turn).collect()
    }

    #[test]
    fn three_failures_in_a_row_make_it_unhealthy_and_one_success_healthy() {
        assert_eq!(turns(true, &rules(1, 3), "+--+---+"), "......UH");
    }

    #[test]
    fn a_row_is_as_long_as_configured_and_starts_again_after_an_exception() {
        assert_eq!(turns(true, &rules(2, 2), "-+--+-++"), "...U...H");
    }

    #[test]
    fn one_that_starts_unhealthy_needs_a_single_success_if_it_is_the_first() {
        assert_eq!(turns(false, &rules(3, 1), "+"), "H");
        assert_eq!(turns(false, &rules(3, 1), "-+++"), "...H");
    }

    proptest! {
        #[test]
        fn findings_alternate_and_each_ends_a_row_of_its_length(
            healthy in 1_u32..5,
            unhealthy in 1_u32..5,
            outcomes in prop::collection::vec(any::<bool>(), 0..100),
        ) {
            let mut active = Active::new(true);
            for (n, passed) in outcomes.iter().copied().enumerate() {
                let before = active.is_healthy();
                let row = outcomes[..=n].iter().rev().take_while(|other| **other == passed).count() as u32;
                match active.checked(&rules(healthy, unhealthy), passed) {
                    Some(Finding::Healthy) => prop_assert!(!before && passed && row == healthy),
                    Some(Finding::Unhealthy) => prop_assert!(before && !passed && row == unhealthy),
                    Some(other) => prop_assert!(false, "{other:?}"),
                    None => {
                        let needed = if passed { healthy } else { unhealthy };
                        prop_assert!(passed == before || row < needed);
                    }
                }
            }
        }
    }
}
