//! A route's requests, split among its services.

use std::sync::Arc;

use super::sticky::Sticky;
use super::target::Target;

/// The services among which a route's requests are split, and how clients come back to where they were.
#[derive(Debug)]
pub(crate) struct Split {
    /// One at least, not all of weight 0.
    shares: Box<[Share]>,
    /// None: each request is drawn anew.
    pub(crate) sticky: Option<Sticky>,
}

/// A service's share of a route's requests.
#[derive(Debug)]
pub(crate) struct Share {
    pub(crate) target: Arc<Target>,
    /// In proportion to the others; 0: it gets none.
    pub(crate) weight: u16,
}

impl Split {
    pub(super) fn new(shares: Vec<Share>, sticky: Option<Sticky>) -> Self {
        Self { shares: shares.into(), sticky }
    }

    pub(crate) fn shares(&self) -> &[Share] {
        &self.shares
    }

    /// Whether a service that gets requests has an endpoint that is up.
    pub(super) fn is_up(&self) -> bool {
        let shares = self.shares.iter().filter(|share| share.weight > 0);
        shares.into_iter().any(|share| share.target.service.endpoints().any_up())
    }

    /// Draws a service by weight, but none of those at the places `without`. Its place; none: no other has a weight.
    /// `chance`: 64 random bits.
    pub(crate) fn draw(&self, without: &[usize], chance: u64) -> Option<usize> {
        let weights = self.shares.iter().map(|share| share.weight).enumerate();
        draw(weights.filter(|(place, _)| !without.contains(place)), chance)
    }
}

/// Lays the weights side by side on a line, and draws a point of it.
fn draw(weights: impl Iterator<Item = (usize, u16)> + Clone, chance: u64) -> Option<usize> {
    let total: u64 = weights.clone().map(|(_, weight)| u64::from(weight)).sum();
    // Chance as a part of the line. It is less than 1, so the point is on the line.
    let mut point = u64::try_from((u128::from(chance) * u128::from(total)) >> u64::BITS).ok()?;
    for (place, weight) in weights {
        match point.checked_sub(weight.into()) {
            Some(rest) => point = rest,
            None => return Some(place),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use fastrand::Rng;
    use proptest::prelude::*;

    fn drawn(weights: &[u16], chance: u64) -> Option<usize> {
        draw(weights.iter().copied().enumerate(), chance)
    }

    #[test]
    fn of_100_000_draws_each_gets_its_share_within_half_a_percent() {
        for (seed, weights) in [(1, &[90, 10][..]), (2, &[1, 1, 2]), (3, &[65_535, 1]), (4, &[0, 7, 3])] {
            let mut chance = Rng::with_seed(seed);
            let mut counts = vec![0_u32; weights.len()];
            for _ in 0..100_000 {
                counts[drawn(weights, chance.u64(..)).unwrap()] += 1;
            }
            let total: f64 = weights.iter().copied().map(f64::from).sum();
            for (count, weight) in counts.iter().zip(weights) {
                let off = f64::from(*count) / 100_000.0 - f64::from(*weight) / total;
                assert!(off.abs() < 0.005, "{weights:?}: {counts:?}");
            }
        }
    }

    #[test]
    fn the_ends_of_chance_are_the_ends_of_the_line() {
        assert_eq!(drawn(&[90, 10], 0), Some(0));
        assert_eq!(drawn(&[90, 10], u64::MAX), Some(1));
        assert_eq!(drawn(&[90, 10], u64::MAX / 10 * 9 - 1), Some(0));
        assert_eq!(drawn(&[0, 10, 0], 0), Some(1));
        assert_eq!(drawn(&[0, 10, 0], u64::MAX), Some(1));
    }

    proptest! {
        #[test]
        fn whatever_chance_says_it_is_one_that_has_a_weight(
            weights in prop::collection::vec(prop_oneof![Just(0), any::<u16>()], 0..10),
            chance: u64,
        ) {
            let place = drawn(&weights, chance);
            prop_assert_eq!(place.is_none(), weights.iter().all(|weight| *weight == 0));
            prop_assert!(place.is_none_or(|place| weights[place] > 0));
        }
    }
}
