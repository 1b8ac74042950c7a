//! The state machine of a watch: [`State`] x [`Input`] -> [`State`] x [`Action`]. Pure: no clock, no socket.
//!
//! Invariants, held by the tests:
//! - a change is watched for from the revision after the list or the last complete event, so none is lost;
//! - the resume revision falls only when a list says so;
//! - every failure passes through [`State::Backoff`], so that nothing is tried in a busy loop. There is one exception:
//!   if
//!   a list fails that somebody has asked for, the stream is read on, and the next such list waits;
//! - nothing here empties a picture: it is replaced by a list or changed by events.

use crate::connect::Reason;

/// Where a watch stands. `next` is the first revision whose events have not been seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// There is nothing to resume from: a list is being read.
    /// Listed -> Opening; failure -> Backoff.
    Unsynced,
    /// A watch from `next` is being opened.
    /// Created -> Watching, or stays while the registry's revision is confirmed; another cluster, a
    /// registry that is behind us, or compacted -> Backoff towards a list; failure -> Backoff.
    Opening { next: i64 },
    /// Events arrive. Failure, silence or end of the stream -> Backoff; compacted, or a picture that
    /// differs from the registry -> Backoff towards a list; asked for a list -> Rereading.
    Watching { next: i64 },
    /// A list is being read that somebody has asked for; the stream is open, and nobody reads it.
    /// Listed -> Watching; a list of another cluster, or one that is behind us -> Opening; failure -> Watching, where
    /// the stream tells whether more has failed than the list.
    Rereading { next: i64 },
    /// Waiting after a failure. Elapsed -> Opening{next}, or Unsynced where there is nothing to resume from.
    Backoff { next: Option<i64> },
}

impl State {
    /// The first revision whose events have not been seen; none if a list must tell.
    pub(super) fn next(self) -> Option<i64> {
        match self {
            State::Opening { next } | State::Watching { next } | State::Rereading { next } => Some(next),
            State::Backoff { next } => next,
            State::Unsynced => None,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Input {
    /// A complete list at `revision`.
    Listed {
        revision: i64,
        /// 0 if it gave none.
        cluster: u64,
    },
    /// The watch is registered; `revision` is what the registry is at.
    Created {
        revision: i64,
        /// 0 if it gave none.
        cluster: u64,
    },
    /// The answer to [`Action::Confirm`].
    Confirmed { revision: i64 },
    /// Events up to and including `revision`; not `complete` if more of that revision follow.
    Events {
        /// The last event's modification revision. Not the response header's: while older events are
        /// pending the header is ahead of them, and resuming from it would lose them.
        revision: i64,
        /// Whether this is the last fragment.
        complete: bool,
    },
    /// The watch itself reported that it has delivered everything up to `revision`.
    Progress { revision: i64 },
    /// The registry is alive, nothing more (a progress report asked for on the stream, which may run
    /// ahead of the watch before etcd 3.4.25 and 3.5.8).
    Alive,
    /// The picture equals the registry at `revision`: older events, if any are under way, say nothing new.
    Audited { revision: i64 },
    /// The picture differs from the registry, so the watch has lost an event.
    Differs,
    /// Somebody has asked for a complete list.
    Reread,
    /// A call failed, a stream broke or ended, a deadline passed, the watch was cancelled.
    Failed { reason: Reason },
    /// The wait of [`Action::Wait`] is over.
    Elapsed,
}

/// What the driver does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    /// Read a complete list at one revision.
    List,
    /// Open a watch.
    Open { from: i64 },
    /// Read the registry's current revision, linearizably.
    Confirm,
    /// Read the stream.
    Read,
    /// Wait, without a stream.
    Wait { pause: Pause, link: LinkUse },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pause {
    /// Until the registry may be back: after the `failures`-th failure in a row, from 1.
    Short { failures: u32 },
    /// Until a person may have acted: after the `refusals`-th refusal that a new login did not cure.
    Long { refusals: u32 },
}

/// What becomes of the connection during a wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LinkUse {
    /// It is not at fault. A new one would cost a handshake and a login, and etcd's logins are slow by design.
    Keep,
    /// The next call opens another, to the next endpoint, and logs in again.
    Renew,
}

/// A watch's state, and its failures since it last made progress.
#[derive(Debug)]
pub(super) struct Machine {
    state: State,
    /// The cluster that was listed; 0 if unknown.
    cluster: u64,
    /// The latest revision of which anything was seen: at least the one before `next`, and more where a
    /// revision was seen in part.
    seen: i64,
    failures: u32,
    refusals: u32,
}

impl Machine {
    /// A watch that knows nothing yet, and its first action.
    pub(super) fn start() -> (Self, Action) {
        let state = State::Unsynced;
        (Self { state, cluster: 0, seen: 0, failures: 0, refusals: 0 }, Action::List)
    }

    pub(super) fn state(&self) -> State {
        self.state
    }

    /// The id of the cluster that was listed; 0 if unknown.
    pub(super) fn cluster(&self) -> u64 {
        self.cluster
    }

    /// The latest revision of which anything was seen.
    pub(super) fn seen(&self) -> i64 {
        self.seen
    }

    /// Takes an input. One that has no meaning in the current state is a failure: it backs off and
    /// starts over from what is known, rather than going on from a confused peer.
    pub(super) fn on(&mut self, input: Input) -> Action {
        use State::{Backoff, Opening, Rereading, Unsynced, Watching};
        match (self.state, input) {
            (Rereading { next }, Input::Failed { .. }) => self.read(next),
            (_, Input::Failed { reason }) => self.fail(reason),

            // The list is at least as new as all that the stream has shown: events up to it say nothing new.
            (Rereading { next }, Input::Listed { revision, cluster })
                if revision >= self.seen && !is_another(self.cluster, cluster) =>
            {
                self.seen = revision;
                self.progress(next.max(revision.saturating_add(1)))
            }
            (Unsynced | Rereading { .. }, Input::Listed { revision, cluster }) => {
                self.cluster = cluster;
                self.seen = revision;
                self.open(revision.saturating_add(1))
            }

            (Opening { next }, Input::Created { revision, cluster }) => self.created(next, revision, cluster),
            (Opening { next }, Input::Confirmed { revision }) if revision >= self.seen => self.read(next),
            (Opening { .. }, Input::Confirmed { .. }) => self.wait(None, LinkUse::Keep),

            (Watching { next }, Input::Events { revision, complete }) => {
                self.seen = self.seen.max(revision);
                // A revision of which more follows is asked for again as a whole.
                let following = if complete { revision.saturating_add(1) } else { revision };
                self.progress(next.max(following))
            }
            (Watching { next }, Input::Progress { revision } | Input::Audited { revision }) => {
                self.seen = self.seen.max(revision);
                self.progress(next.max(revision.saturating_add(1)))
            }
            (Watching { next }, Input::Alive) => self.progress(next),
            // Perhaps only this member has lost an event: another one is asked.
            (Watching { .. }, Input::Differs) => self.wait(None, LinkUse::Renew),
            (Watching { next }, Input::Reread) => {
                self.state = Rereading { next };
                Action::List
            }

            (Backoff { next: Some(next) }, Input::Elapsed) => self.open(next),
            (Backoff { next: None }, Input::Elapsed) => {
                self.state = Unsynced;
                Action::List
            }

            (state, _) => self.wait(state.next(), LinkUse::Renew),
        }
    }

    fn created(&mut self, next: i64, revision: i64, cluster: u64) -> Action {
        // Another cluster's revisions say nothing about this one's.
        if is_another(self.cluster, cluster) {
            return self.wait(None, LinkUse::Keep);
        }
        // A registry that is behind what we have seen was restored or emptied: a watch from `next` opens normally
        // there, and silently misses what comes until it has caught up. A member that merely lags says the same; a
        // linearizable read tells the two apart.
        if revision < self.seen { Action::Confirm } else { self.read(next) }
    }

    fn fail(&mut self, reason: Reason) -> Action {
        let next = self.state.next();
        match reason {
            // A list is needed, but after a wait: a registry that compacts faster than we list must not be listed in a
            // busy loop.
            Reason::Compacted | Reason::TooLong => self.wait(None, LinkUse::Keep),
            Reason::PermissionDenied | Reason::UserMissing | Reason::LoginFailed => self.refuse(next),
            Reason::TokenRejected
            | Reason::AuthenticationOff
            | Reason::LeaseGone
            | Reason::KeyMissing
            | Reason::NoLeader
            | Reason::Stopped
            | Reason::Other => self.wait(next, LinkUse::Renew),
        }
    }

    /// The first refusal may be an old login's: etcd before 3.4.22 and 3.5.6 cancels a watch for an expired
    /// token as one that is not permitted, and users may have been switched on since. A refusal of a new
    /// login is for a person to cure.
    fn refuse(&mut self, next: Option<i64>) -> Action {
        let refusals = self.refusals;
        self.refusals = refusals.saturating_add(1);
        if refusals == 0 {
            return self.wait(next, LinkUse::Renew);
        }
        self.state = State::Backoff { next };
        Action::Wait { pause: Pause::Long { refusals }, link: LinkUse::Keep }
    }

    fn open(&mut self, next: i64) -> Action {
        self.state = State::Opening { next };
        Action::Open { from: next }
    }

    fn progress(&mut self, next: i64) -> Action {
        self.failures = 0;
        self.refusals = 0;
        self.read(next)
    }

    fn read(&mut self, next: i64) -> Action {
        self.state = State::Watching { next };
        Action::Read
    }

    fn wait(&mut self, next: Option<i64>, link: LinkUse) -> Action {
        self.state = State::Backoff { next };
        self.failures = self.failures.saturating_add(1);
        Action::Wait { pause: Pause::Short { failures: self.failures }, link }
    }
}

/// Whether two ids are those of two clusters. An unknown one, 0, may be any.
pub(super) fn is_another(known: u64, seen: u64) -> bool {
    known != 0 && seen != 0 && known != seen
}

#[cfg(test)]
mod tests;
