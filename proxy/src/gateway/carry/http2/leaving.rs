//! When a client's connection ends: pure.

use std::time::{Duration, Instant};

/// Who is told to leave may have asked for something that is under way: so long it is waited for at least.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// What bounds a connection.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// How long nothing may be asked.
    pub(super) keepalive: Duration,
    /// How long its client may take nothing of what is written.
    pub(super) write: Duration,
    /// How many requests it may have; none: any number.
    pub(super) requests: Option<u32>,
    /// When it is too old; none: never.
    pub(super) old_at: Option<Instant>,
    /// Whether the process stops.
    pub(super) is_stopping: bool,
}

/// How a connection stands.
#[derive(Debug, Clone, Copy)]
pub(super) struct State {
    /// How many requests it has had.
    pub(super) requests: u32,
    /// When it last had one that had not ended.
    pub(super) busy_at: Instant,
    /// Whether it has one now.
    pub(super) is_busy: bool,
    /// When its client was told to leave; none: it was not.
    pub(super) told_at: Option<Instant>,
    /// Whether all that was written has gone.
    pub(super) is_flushed: bool,
}

/// What becomes of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// It goes on, and is looked at again at this time; none: when something comes.
    Stays(Option<Instant>),
    /// Its client is told to leave.
    TellToLeave,
    /// It is closed, whatever its client says.
    Close,
}

/// What becomes of a connection now.
pub(super) fn next(state: State, limits: Limits, now: Instant) -> Next {
    let Some(told_at) = state.told_at else { return before(state, limits, now) };
    if state.is_busy {
        // It ends by itself then, if its client says that it has heard.
        return Next::Stays(now.checked_add(LAST_WORDS));
    }
    let since = told_at.max(state.busy_at);
    let limit = if state.is_flushed { LAST_WORDS } else { limits.write.max(LAST_WORDS) };
    match since.checked_add(limit) {
        Some(due) if now >= due => Next::Close,
        due => Next::Stays(due),
    }
}

/// The same of one whose client was not told to leave.
fn before(state: State, limits: Limits, now: Instant) -> Next {
    let idle_at = state.busy_at.checked_add(limits.keepalive);
    let is_over = |due: Option<Instant>| due.is_some_and(|due| now >= due);
    let has_had_all = limits.requests.is_some_and(|most| state.requests >= most);
    let is_idle = !state.is_busy && is_over(idle_at);
    if limits.is_stopping || has_had_all || is_over(limits.old_at) || is_idle {
        return Next::TellToLeave;
    }
    // While it is busy, nobody knows when it will be idle: it is looked at when it would be if it were from now on.
    let look = if state.is_busy { now.checked_add(limits.keepalive) } else { idle_at };
    Next::Stays(look.into_iter().chain(limits.old_at).min())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn limits() -> Limits {
        Limits {
            keepalive: 60 * SECOND,
            write: 30 * SECOND,
            requests: None,
            old_at: None,
            is_stopping: false,
        }
    }

    fn state(at: Instant) -> State {
        State { requests: 1, busy_at: at, is_busy: false, told_at: None, is_flushed: true }
    }

    #[test]
    fn a_client_is_told_to_leave_who_asks_for_nothing_has_asked_enough_is_old_or_when_the_process_stops() {
        let begin = Instant::now();
        let (idle, busy) = (state(begin), State { is_busy: true, ..state(begin) });
        let at = |seconds: u32| begin + seconds * SECOND;
        assert_eq!(next(idle, limits(), at(59)), Next::Stays(Some(at(60))));
        assert_eq!(next(idle, limits(), at(60)), Next::TellToLeave);
        assert_eq!(next(busy, limits(), at(60)), Next::Stays(Some(at(120))), "it is not idle");
        for busy in [idle, busy] {
            let old = Limits { old_at: Some(at(5)), ..limits() };
            assert!(matches!(next(busy, old, at(4)), Next::Stays(Some(due)) if due == at(5)));
            assert_eq!(next(busy, old, at(5)), Next::TellToLeave);
            assert_eq!(next(busy, Limits { is_stopping: true, ..limits() }, begin), Next::TellToLeave);
            assert_eq!(next(busy, Limits { requests: Some(1), ..limits() }, begin), Next::TellToLeave);
            assert!(matches!(next(busy, Limits { requests: Some(2), ..limits() }, begin), Next::Stays(_)));
        }
    }

    #[test]
    fn who_was_told_to_leave_has_its_answers_and_a_second_for_what_is_under_way() {
        let begin = Instant::now();
        let at = |seconds: u32| begin + seconds * SECOND;
        let told = State { told_at: Some(at(10)), ..state(begin) };
        assert_eq!(next(told, limits(), at(10)), Next::Stays(Some(at(11))));
        assert_eq!(next(told, limits(), at(11)), Next::Close);
        assert_eq!(next(State { is_busy: true, ..told }, limits(), at(500)), Next::Stays(Some(at(501))));
        let late = State { busy_at: at(20), ..told };
        assert_eq!(next(late, limits(), at(20)), Next::Stays(Some(at(21))), "its last answer has just ended");
        let unread = State { is_flushed: false, ..told };
        assert_eq!(next(unread, limits(), at(39)), Next::Stays(Some(at(40))), "its client may be slow");
        assert_eq!(next(unread, limits(), at(40)), Next::Close);
    }
}
