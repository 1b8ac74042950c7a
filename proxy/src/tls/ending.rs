//! When it is told that a certificate ends, or a list of revoked ones. Pure.

use std::time::{Duration, SystemTime};

/// So long before a certificate's end it is told, and once a day from then on.
pub(super) const AHEAD: Duration = Duration::from_secs(14 * DAY.as_secs());
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// What was told of one end.
#[derive(Debug, Clone, Default)]
pub(super) struct Reminder {
    told: Option<SystemTime>,
    is_over: bool,
}

/// What is to be told.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// In so many whole days.
    Soon { days: u64 },
    /// Once.
    Over,
}

impl Reminder {
    /// `ahead`: so long before the end it is told for the first time.
    pub(super) fn due(&mut self, end: SystemTime, ahead: Duration, now: SystemTime) -> Option<Ending> {
        let Some(left) = end.duration_since(now).ok().filter(|left| !left.is_zero()) else {
            return (!std::mem::replace(&mut self.is_over, true)).then_some(Ending::Over);
        };
        // A clock that was set back says it again.
        let is_told = self.told.is_some_and(|told| now.duration_since(told).is_ok_and(|ago| ago < DAY));
        if left > ahead || is_told {
            return None;
        }
        self.told = Some(now);
        Some(Ending::Soon { days: left.as_secs() / DAY.as_secs() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_told_once_a_day_from_14_days_before_it_and_once_when_it_has_come() {
        let start = SystemTime::UNIX_EPOCH;
        let end = start + 20 * DAY;
        let mut reminder = Reminder::default();
        let hours = (0..24 * 22).map(|hour| hour * DAY / 24);
        let told: Vec<(u64, Ending)> = hours
            .filter_map(|hour| {
                Some((hour.as_secs() / DAY.as_secs(), reminder.due(end, AHEAD, start + hour)?))
            })
            .collect();
        let mut expected: Vec<_> = (6..20).map(|day| (day, Ending::Soon { days: 20 - day })).collect();
        expected.push((20, Ending::Over));
        assert_eq!(told, expected);
    }
}
