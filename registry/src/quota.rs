//! How many lines are written about the same thing. Pure: `now` is passed in.

use std::time::{Duration, Instant};

/// In this time
const INTERVAL: Duration = Duration::from_secs(60);
/// so many lines are written in full.
const FULL: u32 = 20;

/// How a line is to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Line {
    /// In full.
    Full,
    /// As one that says that there are more.
    Last,
    /// Not at all.
    None,
}

/// What was written in the current interval.
#[derive(Debug, Default)]
pub struct Quota {
    since: Option<Instant>,
    asked: u32,
}

impl Quota {
    /// There is something to write. How?
    pub fn next(&mut self, now: Instant) -> Line {
        if self.since.is_none_or(|since| since + INTERVAL <= now) {
            (self.since, self.asked) = (Some(now), 0);
        }
        self.asked = self.asked.saturating_add(1);
        match self.asked {
            ..=FULL => Line::Full,
            asked if asked == FULL + 1 => Line::Last,
            _ => Line::None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn in_each_minute_the_first_are_told_in_full_and_then_that_there_are_more() {
        let (mut quota, start) = (Quota::default(), Instant::now());
        for minute in 0..3 {
            let begun = start + minute * INTERVAL;
            let mut lines = (0..59).map(|second| quota.next(begun + Duration::from_secs(second)));
            assert!(lines.by_ref().take(20).all(|line| line == Line::Full));
            assert_eq!(lines.next(), Some(Line::Last));
            assert!(lines.all(|line| line == Line::None));
        }
    }
}
