//! When to do something next. Public for Leaseway's other crates; this crate's users have no need of it.

use std::time::{Duration, Instant};

/// Sleeps until a moment, or for ever if there is none: a `select!` can so wait for something that may not be due at
/// all. It goes by tokio's clock, which a test may stop.
pub async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}

/// How often costly work may be done that others can ask for: however often they ask, it takes only a part of the time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// The least rest after each time.
    pub interval: Duration,
    /// The rest is also at least so many times as long as the work took: with 10, other work gets ten elevenths of the
    /// time.
    pub times: u32,
}

impl Pace {
    /// How long to rest after work that took so long.
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
