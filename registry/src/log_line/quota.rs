//! How many lines are written about the same thing. Pure: `now` is passed in.

use std::time::{Duration, Instant};

/// How long an interval is.
const INTERVAL: Duration = Duration::from_secs(60);
/// How many lines are written in full in each.
const FULL: u32 = 20;

/// What is to be written of something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Say {
    /// All of it.
    All,
    /// That there is more of the kind: the first time that it is too much.
    ThatThereIsMore,
    /// Nothing, until the interval is over.
    Nothing,
}

/// What was written in the current interval: 20 lines a minute in full, then one that there are more.
#[derive(Debug, Default)]
pub struct Quota {
    since: Option<Instant>,
    asked: u32,
}

impl Quota {
    /// There is something to write: how much of it?
    pub fn next(&mut self, now: Instant) -> Say {
        if self.since.is_none_or(|since| since + INTERVAL <= now) {
            (self.since, self.asked) = (Some(now), 0);
        }
        self.asked = self.asked.saturating_add(1);
        match self.asked {
            ..=FULL => Say::All,
            asked if asked == FULL + 1 => Say::ThatThereIsMore,
            _ => Say::Nothing,
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
            let mut said = (0..59).map(|second| quota.next(begun + Duration::from_secs(second)));
            assert!(said.by_ref().take(20).all(|say| say == Say::All));
            assert_eq!(said.next(), Some(Say::ThatThereIsMore));
            assert!(said.all(|say| say == Say::Nothing));
        }
    }
}
