//! A budget that fills with time, and by what is earned. Pure: `now` is passed in.

use std::time::Duration;

/// The parts of a token that are counted: so many fill a bucket of one a second in a second's microseconds.
const TOKEN: u64 = 1_000_000;

#[derive(Debug)]
pub(super) struct Bucket {
    left: u64,
    most: u64,
    per_second: u32,
    at: Duration,
}

impl Bucket {
    /// A full one.
    pub(super) const fn new(most: u32, per_second: u32) -> Self {
        let most = most as u64 * TOKEN;
        Self { left: most, most, per_second, at: Duration::ZERO }
    }

    /// Takes one, if there is one.
    pub(super) fn spend(&mut self, now: Duration) -> bool {
        let passed = u64::try_from(now.saturating_sub(self.at).as_micros()).unwrap_or(u64::MAX);
        self.add(passed.saturating_mul(u64::from(self.per_second)));
        self.at = self.at.max(now);
        let rest = self.left.checked_sub(TOKEN);
        self.left = rest.unwrap_or(self.left);
        rest.is_some()
    }

    /// Puts some in, as far as there is room.
    pub(super) fn earn(&mut self, count: u32) {
        self.add(u64::from(count) * TOKEN);
    }

    fn add(&mut self, parts: u64) {
        self.left = self.left.saturating_add(parts).min(self.most);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spent(bucket: &mut Bucket, now: Duration) -> usize {
        (0..1000).take_while(|_| bucket.spend(now)).count()
    }

    #[test]
    fn it_is_full_at_first_fills_with_time_and_holds_no_more_than_it_may() {
        let mut bucket = Bucket::new(20, 4);
        let at = Duration::from_millis;
        assert_eq!(spent(&mut bucket, at(0)), 20);
        assert_eq!(spent(&mut bucket, at(1000)), 4);
        // However often it is asked, no part of a token is lost.
        assert_eq!((1001..=2000).map(|now| spent(&mut bucket, at(now))).sum::<usize>(), 4);
        assert_eq!(spent(&mut bucket, at(3_600_000)), 20);
    }

    #[test]
    fn what_is_earned_is_there_at_once_and_no_more_than_there_is_room_for() {
        let mut bucket = Bucket::new(20, 0);
        bucket.earn(5);
        assert_eq!(spent(&mut bucket, Duration::ZERO), 20);
        bucket.earn(5);
        assert_eq!(spent(&mut bucket, Duration::ZERO), 5);
        bucket.earn(u32::MAX);
        assert_eq!(spent(&mut bucket, Duration::ZERO), 20);
    }

    #[test]
    fn a_time_before_the_last_one_adds_nothing() {
        let mut bucket = Bucket::new(1, 1);
        assert!(bucket.spend(Duration::from_secs(9)));
        assert!(!bucket.spend(Duration::from_secs(5)));
        assert!(!bucket.spend(Duration::from_millis(9_900)));
        assert!(bucket.spend(Duration::from_secs(10)));
    }
}
