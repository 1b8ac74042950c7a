//! When to do something next.

use std::time::{Duration, Instant};

/// Sleeps until a moment by tokio's clock, which a test may stop; without one, for ever. So a `select!` can wait for
/// something that may not be due at all.
pub async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}

/// How often something is done that costs more than it seems: whoever can make somebody do it again must not keep him busy
/// with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// From one to the next, at least.
    pub interval: Duration,
    /// And at least so many times what the last one took: 10 leaves nine tenths of the time to everything else.
    pub times: u32,
}

impl Pace {
    /// How long to wait for the next one, after one that took so long.
    pub fn rest(&self, took: Duration) -> Duration {
        self.interval.max(took.saturating_mul(self.times))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_takes_long_is_done_less_often() {
        let pace = Pace { interval: Duration::from_secs(5), times: 10 };
        for (took, rest) in [(0, 5_000), (500, 5_000), (501, 5_010), (60_000, 600_000)] {
            assert_eq!(pace.rest(Duration::from_millis(took)), Duration::from_millis(rest));
        }
        assert_eq!(pace.rest(Duration::MAX), Duration::MAX);
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_moment_the_sleep_does_not_end() {
        let hour = Duration::from_secs(3600);
        let begun = tokio::time::Instant::now();
        sleep_until(Some((begun + hour).into_std())).await;
        assert_eq!(begun.elapsed(), hour);
        assert!(tokio::time::timeout(hour, sleep_until(None)).await.is_err());
    }
}
