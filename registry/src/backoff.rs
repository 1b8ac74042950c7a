//! How long to wait after a failure: up to twice as long each time, and drawn at random.

use std::time::Duration;

/// Waits whose bound doubles from `base` to `cap`, each drawn from a twentieth of its bound to all of it.
///
/// This spreads many clients that failed together over the whole interval, where fixed waits bring them all back at one
/// time (see "Exponential Backoff And Jitter", AWS Architecture Blog, 2015: "full jitter").
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// The bound of the first wait.
    pub base: Duration,
    /// The bound that no wait exceeds.
    pub cap: Duration,
}

impl Backoff {
    /// The wait after the `failures`-th failure in a row, from 1. `chance` is a random number from 0 to 1.
    pub fn delay(&self, failures: u32, chance: f64) -> Duration {
        let doublings = failures.saturating_sub(1).min(30);
        let bound = self.base.saturating_mul(1 << doublings).min(self.cap);
        // Never zero: an unlucky draw must not turn a broken peer into a busy loop.
        bound.mul_f64(chance.clamp(0.05, 1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BACKOFF: Backoff = Backoff { base: Duration::from_millis(100), cap: Duration::from_secs(1) };

    #[test]
    fn the_bound_doubles_up_to_the_cap() {
        let bounds: Vec<_> = (1..=6).map(|n| BACKOFF.delay(n, 1.0).as_millis()).collect();
        assert_eq!(bounds, [100, 200, 400, 800, 1000, 1000]);
        assert_eq!(BACKOFF.delay(u32::MAX, 1.0), BACKOFF.cap);
    }

    #[test]
    fn a_wait_is_never_zero() {
        assert!(BACKOFF.delay(1, 0.0) >= Duration::from_millis(5));
    }
}
