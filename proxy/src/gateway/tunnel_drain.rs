//! When a tunnel ends whose instance has left. Pure.

use std::time::{Duration, Instant};

/// When a tunnel ends whose instance left at this time; none: not because of that. `chance` is drawn evenly, for each
/// tunnel: so their ends are spread evenly over the time, and clients that connect again do not come all at once.
pub(super) fn end(left: Instant, tunnel_drain: Option<Duration>, chance: u64) -> Option<Instant> {
    let part = (tunnel_drain?.as_nanos() * u128::from(chance)) >> u64::BITS;
    left.checked_add(Duration::from_nanos(u64::try_from(part).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ends_of_tunnels_are_spread_over_the_time() {
        let (left, second) = (Instant::now(), Duration::from_secs(1));
        let end = |chance| end(left, Some(10 * second), chance).unwrap();
        assert_eq!((end(0), end(1 << 63)), (left, left + 5 * second));
        assert!(end(u64::MAX) < left + 10 * second);
        let mut rng = fastrand::Rng::with_seed(7);
        let mut in_each = [0; 10];
        for _ in 0..10_000 {
            let within = end(rng.u64(..)) - left;
            in_each[usize::try_from(within.as_secs()).unwrap()] += 1;
        }
        assert!(in_each.iter().all(|count| (900..1100).contains(count)), "{in_each:?}");
    }

    #[test]
    fn without_a_time_a_tunnel_goes_on() {
        assert_eq!(end(Instant::now(), None, 0), None);
    }
}
