//! Processes that seem to share an instance's id. Pure: `now` is passed in.
//!
//! A process that stops deletes its key first, and one that starts after a crash finds the key of the one before
//! it: there, an address replaces another once. Where two processes live with one id, they take the key from
//! each other again and again.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use registry::log_line::Say;

/// At most one line about a key is logged in this time.
const INTERVAL: Duration = Duration::from_secs(60);
/// At most so many keys are remembered for that, as others choose how many there are and how long their names.
const MOST: usize = 1_000;

/// Service and instance.
type InstanceKey = (Arc<str>, Arc<str>);

/// The keys that were spoken of a moment ago.
#[derive(Debug, Default)]
pub(super) struct Rivals {
    told: HashSet<InstanceKey>,
    /// The oldest first.
    recent: VecDeque<(Instant, InstanceKey)>,
    /// Whether it was said that there are more.
    said_more: bool,
}

impl Rivals {
    /// A registration took a key from another one. Returns what is to be logged of it.
    pub(super) fn took(&mut self, service: &Arc<str>, instance: &Arc<str>, now: Instant) -> Say {
        while self.recent.front().is_some_and(|(at, _)| *at + INTERVAL <= now)
            && let Some((_, key)) = self.recent.pop_front()
        {
            self.told.remove(&key);
        }
        let key = (service.clone(), instance.clone());
        if self.told.contains(&key) {
            return Say::Nothing;
        }
        if self.recent.len() == MOST {
            let said_more = std::mem::replace(&mut self.said_more, true);
            return if said_more { Say::Nothing } else { Say::ThatThereIsMore };
        }
        self.said_more = false;
        self.told.insert(key.clone());
        self.recent.push_back((now, key));
        Say::All
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_told_once_a_minute_and_each_for_itself() {
        let (mut rivals, start) = (Rivals::default(), Instant::now());
        let mut took = |instance: &str, after: u64| {
            rivals.took(&"goods".into(), &instance.into(), start + Duration::from_secs(after)) == Say::All
        };
        assert!(took("a", 0));
        assert!(took("b", 30));
        assert!(!took("a", 59));
        assert!(took("a", 60));
        assert!(!took("b", 89));
        assert!(took("b", 90));
        assert!(!took("a", 119));
    }

    #[test]
    fn so_many_keys_are_told_in_a_minute_and_no_more_are_remembered() {
        let (mut rivals, start) = (Rivals::default(), Instant::now());
        let mut took = |n: usize, after| rivals.took(&"goods".into(), &n.to_string().into(), start + after);
        let lines: Vec<_> = (0..10 * MOST).map(|n| took(n, Duration::ZERO)).collect();
        let count = |line| lines.iter().filter(|found| **found == line).count();
        assert_eq!(
            (count(Say::All), count(Say::ThatThereIsMore)),
            (MOST, 1),
            "that there are more is said once"
        );
        assert_eq!(took(10 * MOST, INTERVAL), Say::All);
        assert_eq!((rivals.told.len(), rivals.recent.len()), (1, 1));
    }

    #[test]
    fn what_was_told_long_ago_is_not_remembered() {
        let (mut rivals, start) = (Rivals::default(), Instant::now());
        for n in 0..10_000_u32 {
            rivals.took(&"goods".into(), &n.to_string().into(), start + Duration::from_secs(1) * n);
        }
        assert_eq!((rivals.told.len(), rivals.recent.len()), (60, 60));
    }
}
