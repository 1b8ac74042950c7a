//! How often a line says that somebody came in vain. Pure: `now` is passed in.
//!
//! Whoever can connect can make it happen as often as he likes. So of each kind one line is written in ten seconds, and the
//! next one says how many were not.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// So often a line of one kind is written.
const INTERVAL: Duration = Duration::from_secs(10);

/// What was told of each kind. Kinds are words of the code: there are few.
#[derive(Debug, Default)]
pub(super) struct Told(Mutex<BTreeMap<&'static str, Kind>>);

/// What was told of one kind.
#[derive(Debug, Default)]
struct Kind {
    last: Option<Instant>,
    left_unsaid: u64,
}

impl Told {
    /// One more of a kind: if there is to be a line, how many there were since the last without one.
    pub(super) fn next(&self, kind: &'static str, now: Instant) -> Option<u64> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(kind).or_default().next(now)
    }
}

impl Kind {
    fn next(&mut self, now: Instant) -> Option<u64> {
        if self.last.is_some_and(|last| now.saturating_duration_since(last) < INTERVAL) {
            self.left_unsaid += 1;
            return None;
        }
        self.last = Some(now);
        Some(std::mem::take(&mut self.left_unsaid))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_each_kind_one_line_is_written_in_ten_seconds_with_how_many_were_not() {
        let (told, start) = (Told::default(), Instant::now());
        let at = |second| start + Duration::from_secs(second);
        let lines = (0..25).filter_map(|second| Some((second, told.next("cut", at(second))?)));
        assert_eq!(lines.collect::<Vec<_>>(), [(0, 0), (10, 9), (20, 9)]);
        assert_eq!(told.next("late", at(21)), Some(0));
        assert_eq!(told.next("late", at(22)), None);
        assert_eq!(told.next("cut", at(100)), Some(4));
        assert_eq!(told.next("cut", at(200)), Some(0));
    }

    #[test]
    fn a_time_that_was_taken_before_another_thread_spoke_counts_as_the_same() {
        let (told, start) = (Told::default(), Instant::now());
        assert_eq!(told.next("cut", start + INTERVAL), Some(0));
        assert_eq!(told.next("cut", start), None);
        assert_eq!(told.next("cut", start + 2 * INTERVAL), Some(1));
    }
}
