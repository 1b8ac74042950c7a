//! Slow start: how large the share of a new endpoint is already.
//!
//! Nothing is published as a share grows: it is computed when somebody is chosen, from the time that has
//! passed since the endpoint could first be used.

use std::time::{Duration, Instant};

/// The part of its weight with which a new endpoint begins.
const FIRST: f32 = 0.1;

/// The slow start of a service's endpoints, some of which are new.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ramp {
    length: Duration,
    /// Since when the oldest is usable; none: before the gateway.
    oldest: Option<Instant>,
    /// When the newest has its full share.
    over: Instant,
}

impl Ramp {
    /// The ramp of endpoints usable since then (none: before the gateway); none, if it has no length or
    /// nobody is new.
    pub(super) fn new(
        since: impl Iterator<Item = Option<Instant>> + Clone,
        length: Duration,
    ) -> Option<Self> {
        let newest = since.clone().flatten().max().filter(|_| !length.is_zero())?;
        // `None`, before the gateway, is less than any time, and so the oldest.
        Some(Self { length, oldest: since.min()?, over: newest + length })
    }

    /// Whether all have their full shares.
    pub(crate) fn is_over(&self, now: Instant) -> bool {
        now >= self.over
    }

    /// What an endpoint's weight counts at the moment: a tenth at first, from there in a straight
    /// line up to 1.
    pub(crate) fn factor(&self, since: Option<Instant>, now: Instant) -> f32 {
        let Some(since) = since else { return 1.0 };
        let age = now.saturating_duration_since(since).as_secs_f32() / self.length.as_secs_f32();
        (FIRST + (1.0 - FIRST) * age).min(1.0)
    }

    /// The same in relation to the oldest endpoint, at most 1. Where all are equally new, it is 1 for each of them.
    pub(crate) fn relative(&self, since: Option<Instant>, now: Instant) -> f32 {
        (self.factor(since, now) / self.factor(self.oldest, now)).min(1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn ramp(since: &[Option<Instant>]) -> Option<Ramp> {
        Ramp::new(since.iter().copied(), 10 * SECOND)
    }

    #[test]
    fn a_share_grows_in_a_straight_line_from_a_tenth() {
        let start = Instant::now();
        let ramp = ramp(&[None, Some(start)]).unwrap();
        for (seconds, expected) in [(0, 0.1), (1, 0.19), (5, 0.55), (10, 1.0), (20, 1.0)] {
            let now = start + seconds * SECOND;
            for share in [ramp.factor(Some(start), now), ramp.relative(Some(start), now)] {
                assert!((share - expected).abs() < 1e-6, "{share} after {seconds} s");
            }
            assert_eq!(ramp.is_over(now), seconds >= 10);
        }
        assert_eq!(ramp.relative(None, start), 1.0);
        assert_eq!(ramp.factor(Some(start), start - SECOND), 0.1, "before its time is its time");
    }

    #[test]
    fn where_all_are_new_nobody_is_held_back() {
        let start = Instant::now();
        let ramp = ramp(&[Some(start), Some(start), Some(start + SECOND)]).unwrap();
        assert_eq!(ramp.relative(Some(start), start + SECOND), 1.0);
        let later = ramp.relative(Some(start + SECOND), start + SECOND);
        assert!((later - 0.1 / 0.19).abs() < 1e-6, "{later}");
    }

    #[test]
    fn it_is_over_with_the_newest() {
        let start = Instant::now();
        let ramp = ramp(&[Some(start + 3 * SECOND), None, Some(start)]).unwrap();
        assert!(!ramp.is_over(start + 12 * SECOND) && ramp.is_over(start + 13 * SECOND));
    }

    #[test]
    fn without_new_endpoints_or_without_length_there_is_none() {
        assert_eq!(ramp(&[]), None);
        assert_eq!(ramp(&[None, None]), None);
        assert_eq!(Ramp::new([Some(Instant::now())].into_iter(), Duration::ZERO), None);
    }
}
