//! When a request is sent again: nothing else decides it.
//!
//! ```text
//! an attempt failed -> may it go again? -> choose another -> free, or the budget grants it -> again
//!                            | no               | nobody            | declined
//!                            +------------------+-------------------+-----------------------> answer
//! ```
//!
//! To choose an endpoint takes a place there, and to ask the budget takes from it. So [`next`] says when that is to be
//! done, and is asked again with what came of it.

use http::Method;

use super::cause::Cause;
use crate::config;

/// How far an attempt had come when it failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reach {
    /// There was no connection, so nothing was sent.
    Unconnected,
    /// The request may have been sent, and the endpoint has said that it did not begin with it (RFC 9113, 8.7).
    NotBegun,
    /// The request may have been sent, and nothing came.
    Sent,
    /// Something of an answer came. A request that ended in any other way than by a connection that broke counts as if
    /// something had come: the endpoint may be at work on it.
    Heard,
}

/// What decides whether a request that was sent may be sent a second time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Replay {
    /// Whether doing it twice is the same as doing it once.
    pub(super) idempotent: bool,
    /// Whether the body, as far as it was sent, is still there.
    pub(super) whole: bool,
    /// Whether the client has seen nothing of an answer.
    pub(super) unanswered: bool,
}

impl Replay {
    fn is_safe(self) -> bool {
        self.idempotent && self.is_possible()
    }

    /// Whether it can be sent again, be it safe or not.
    fn is_possible(self) -> bool {
        self.whole && self.unanswered
    }
}

/// What bounds the attempts of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tries {
    /// Attempts begun.
    pub(super) begun: usize,
    /// Attempts that the route permits.
    pub(super) permitted: usize,
    /// Whether the time of the whole request is over.
    pub(super) is_over: bool,
}

impl Tries {
    fn are_left(self) -> bool {
        self.begun < self.permitted && !self.is_over
    }
}

/// Whom the next attempt may go to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Among {
    /// Whoever was not tried.
    Others,
    /// The endpoint of the attempt that failed, too.
    OthersAndSame,
}

/// How far the search for the next endpoint, a `C`, has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Search<C> {
    /// Nobody has looked yet.
    NotBegun,
    /// There is one.
    Found {
        chosen: C,
        /// Whether something is known against it.
        doubted: bool,
    },
    /// There is none among these.
    Nobody(Among),
}

/// An attempt that failed, and what is known for the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Situation {
    pub(super) cause: Cause,
    pub(super) reach: Reach,
    pub(super) replay: Replay,
    pub(super) tries: Tries,
    /// What the budget said; none: it was not asked.
    pub(super) budget: Option<bool>,
}

/// What happens next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next<C> {
    /// An endpoint is to be chosen.
    Choose(Among),
    /// The budget is to be asked whether the request may go to this endpoint.
    AskBudget(C),
    /// The request goes to this endpoint.
    Again(C),
    /// The request is answered with what it has come to.
    Answer(Why),
}

/// Why a request is not sent again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Why {
    /// Another attempt would not help, or might do twice what is to be done once.
    Unsafe,
    /// Its attempts are used up, or its time is.
    Spent,
    /// There is nobody whom it could be sent to.
    Nobody,
    /// The budget has nothing left.
    Budget,
}

/// What happens next to a request whose attempt has failed.
pub(super) fn next<C>(situation: &Situation, search: Search<C>) -> Next<C> {
    let Situation { cause, budget, .. } = *situation;
    if !may_go_again(situation) {
        return Next::Answer(Why::Unsafe);
    }
    if !situation.tries.are_left() {
        return Next::Answer(Why::Spent);
    }
    match search {
        Search::NotBegun => Next::Choose(Among::Others),
        // A connection that was closed while it was idle, or takes no more, says nothing against its endpoint.
        Search::Nobody(Among::Others) if wants_new_connection(cause) => Next::Choose(Among::OthersAndSame),
        Search::Nobody(_) => Next::Answer(Why::Nobody),
        Search::Found { chosen, doubted } if is_free(cause, doubted) => Next::Again(chosen),
        Search::Found { chosen, .. } => match budget {
            None => Next::AskBudget(chosen),
            Some(true) => Next::Again(chosen),
            Some(false) => Next::Answer(Why::Budget),
        },
    }
}

fn may_go_again(situation: &Situation) -> bool {
    match (situation.reach, situation.cause) {
        // There is nobody left to answer.
        (_, Cause::Client) => false,
        // Nobody has begun with it.
        (Reach::Unconnected, _) => true,
        (Reach::NotBegun, Cause::Declined | Cause::WentAway) => situation.replay.is_possible(),
        (Reach::Sent, Cause::Broken | Cause::Closed | Cause::Reset)
        | (Reach::Sent | Reach::NotBegun, Cause::Stalled)
        | (Reach::Heard, Cause::Status) => situation.replay.is_safe(),
        _ => false,
    }
}

/// The budget keeps retries from being load on top of load. A connect that was refused, or whose handshake failed, was no load: nobody has begun
/// with the request, and who gets it next serves it once. The same holds where a connection took no more. That is free, so that the dead of a large restart cost nobody
/// a request; but not where the next is known to fail as well, or with all of them dead each request would knock at
/// three doors. A connect that timed out is not free: it has cost time, and a full queue of connections is what
/// overload looks like; and so does a request that was declined.
fn is_free(cause: Cause, next_is_doubted: bool) -> bool {
    matches!(cause, Cause::Refused | Cause::Handshake | Cause::WentAway) && !next_is_doubted
}

/// Whether the next attempt needs a connection of its own. Where one kept connection was closed, others may be, and a
/// request must not spend its attempts on them.
pub(super) fn wants_new_connection(last: Cause) -> bool {
    matches!(last, Cause::Closed | Cause::WentAway)
}

/// Whether a request that waits for its answer may be moved if its endpoint stalls. Otherwise it is better off where it
/// is: the answer may still come. `has_another` says whether there is an endpoint that it was not sent to.
pub(super) fn may_move(replay: Replay, tries: Tries, has_another: impl FnOnce() -> bool) -> bool {
    replay.is_safe() && tries.are_left() && has_another()
}

/// Whether a request, before its first attempt, may try an ejected endpoint: if that fails, it is sent again, so that
/// all that it can lose is time.
pub(super) fn may_be_lost(replay: Replay, tries: Tries) -> bool {
    replay.is_safe() && Tries { begun: tries.begun + 1, ..tries }.are_left()
}

/// Whether doing it twice is the same as doing it once: by its method (RFC 9110, 9.2.2), or as its route says of all.
pub(super) fn is_idempotent(method: &Method, rules: &config::Retry) -> bool {
    rules.idempotent
        || matches!(
            *method,
            Method::GET | Method::HEAD | Method::OPTIONS | Method::TRACE | Method::PUT | Method::DELETE
        )
}

#[cfg(test)]
mod tests;
