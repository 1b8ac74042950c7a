//! The state machine of a watch: [`State`] x [`Input`] -> [`State`] x [`Action`]. Pure: no clock, no socket.
//!
//! Invariants, held by the tests below:
//! - a change is watched for from the revision after the list or the last complete event, so none is lost;
//! - the resume revision falls only when a list says so;
//! - every failure passes through [`State::Backoff`]: nothing spins;
//! - nothing here empties a picture: it is replaced by a list or changed by events.

/// Where a watch stands. `next` is the first revision whose events have not been seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// There is nothing to resume from: a list is being read.
    /// Listed -> Opening; failure -> Backoff.
    Unsynced,
    /// A watch from `next` is being opened.
    /// Created -> Watching, or stays while the registry's revision is confirmed; a registry that is
    /// behind us, or compacted -> Backoff towards a list; failure -> Backoff.
    Opening {
        /// See [`State`].
        next: i64,
    },
    /// Events arrive. Failure, silence or end of the stream -> Backoff; compacted -> Backoff towards a list.
    Watching {
        /// See [`State`].
        next: i64,
    },
    /// Waiting after a failure. Elapsed -> Opening{next}, or Unsynced where there is nothing to resume from.
    Backoff {
        /// See [`State`]; none: list.
        next: Option<i64>,
    },
}

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Input {
    /// A complete list at `revision`.
    Listed {
        /// The revision that the list shows.
        revision: i64,
    },
    /// The watch is registered; `revision` is what the registry is at.
    Created {
        /// The response header's revision.
        revision: i64,
    },
    /// The answer to [`Action::Confirm`].
    Confirmed {
        /// The revision of a linearizable read.
        revision: i64,
    },
    /// Events up to and including `revision`; not `complete` if more of that revision follow.
    Events {
        /// The last event's modification revision. Not the response header's: while older events are
        /// pending the header is ahead of them, and resuming from it would lose them.
        revision: i64,
        /// Whether this is the last fragment.
        complete: bool,
    },
    /// The watch itself reported that it has delivered everything up to `revision`.
    Progress {
        /// The reported revision.
        revision: i64,
    },
    /// The registry is alive, nothing more (a progress report asked for on the stream, which may run
    /// ahead of the watch before etcd 3.4.25 and 3.5.8).
    Alive,
    /// The history from `next` on is gone.
    Compacted,
    /// A call failed, a stream broke or ended, a deadline passed, the watch was cancelled.
    Failed,
    /// The wait is over.
    Elapsed,
}

/// What to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Read a complete list at one revision.
    List,
    /// Open a watch.
    Open {
        /// The first revision wanted.
        from: i64,
    },
    /// Read the registry's current revision, linearizably.
    Confirm,
    /// Read the stream.
    Read,
    /// Wait after the `failures`-th failure in a row.
    Wait {
        /// From 1.
        failures: u32,
    },
}

/// A watch's state, and its failures since it last made progress.
#[derive(Debug)]
pub struct Machine {
    state: State,
    failures: u32,
}

impl Machine {
    /// A watch that knows nothing yet, and its first action.
    pub fn start() -> (Self, Action) {
        let state = State::Unsynced;
        (Self { state, failures: 0 }, Action::List)
    }

    /// Where the watch stands.
    pub fn state(&self) -> State {
        self.state
    }

    /// Takes an input. One that has no meaning in the current state is a failure: it backs off and
    /// starts over from what is known, rather than going on from a confused peer.
    pub fn on(&mut self, input: Input) -> Action {
        use State::{Backoff, Opening, Unsynced, Watching};
        match (self.state, input) {
            (Unsynced, Input::Listed { revision }) => self.open(revision.saturating_add(1)),

            // A registry that is behind what we have seen was restored or emptied: a watch from `next`
            // opens normally there, and silently misses what comes until it has caught up. A member that
            // merely lags says the same; a linearizable read tells the two apart.
            (Opening { next }, Input::Created { revision }) if revision < next - 1 => {
                self.state = Opening { next };
                Action::Confirm
            }
            (Opening { next }, Input::Confirmed { revision }) if revision < next - 1 => self.wait(None),
            (Opening { next }, Input::Created { .. } | Input::Confirmed { .. }) => self.read(next),

            (Watching { next }, Input::Events { revision, complete }) => {
                self.failures = 0;
                // A revision of which more follows is asked for again as a whole.
                let seen = if complete { revision.saturating_add(1) } else { revision };
                self.read(next.max(seen))
            }
            (Watching { next }, Input::Progress { revision }) => {
                self.failures = 0;
                self.read(next.max(revision.saturating_add(1)))
            }
            (Watching { next }, Input::Alive) => {
                self.failures = 0;
                self.read(next)
            }

            // Through the backoff too: a registry that compacts faster than we list must not be
            // listed in a loop.
            (Opening { .. } | Watching { .. }, Input::Compacted) => self.wait(None),

            (Backoff { next: Some(next) }, Input::Elapsed) => self.open(next),
            (Backoff { next: None }, Input::Elapsed) => {
                self.state = Unsynced;
                Action::List
            }

            (Unsynced | Backoff { next: None }, _) => self.wait(None),
            (Opening { next } | Watching { next } | Backoff { next: Some(next) }, _) => self.wait(Some(next)),
        }
    }

    fn open(&mut self, next: i64) -> Action {
        self.state = State::Opening { next };
        Action::Open { from: next }
    }

    fn read(&mut self, next: i64) -> Action {
        self.state = State::Watching { next };
        Action::Read
    }

    fn wait(&mut self, next: Option<i64>) -> Action {
        self.state = State::Backoff { next };
        self.failures = self.failures.saturating_add(1);
        Action::Wait { failures: self.failures }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn play(inputs: &[Input]) -> (Machine, Action) {
        let (mut sync, mut action) = Machine::start();
        for input in inputs {
            action = sync.on(*input);
        }
        (sync, action)
    }

    const LISTED: Input = Input::Listed { revision: 10 };
    const CREATED: Input = Input::Created { revision: 10 };

    fn events(revision: i64) -> Input {
        Input::Events { revision, complete: true }
    }

    #[test]
    fn a_watch_starts_right_after_its_list() {
        let (mut sync, action) = play(&[LISTED]);
        assert_eq!(action, Action::Open { from: 11 });
        assert_eq!(sync.on(CREATED), Action::Read);
        assert_eq!(sync.state(), State::Watching { next: 11 });
    }

    #[test]
    fn a_broken_watch_resumes_after_the_last_event() {
        let (_, action) = play(&[LISTED, CREATED, events(12), Input::Failed, Input::Elapsed]);
        assert_eq!(action, Action::Open { from: 13 });
    }

    #[test]
    fn a_watch_that_breaks_within_a_revision_asks_for_the_whole_of_it() {
        let half = Input::Events { revision: 12, complete: false };
        let (_, action) = play(&[LISTED, CREATED, half, Input::Failed, Input::Elapsed]);
        assert_eq!(action, Action::Open { from: 12 });
    }

    #[test]
    fn a_progress_report_of_the_watch_advances_it_and_another_does_not() {
        let reported = [LISTED, CREATED, Input::Progress { revision: 20 }, Input::Alive];
        assert_eq!(play(&reported).0.state(), State::Watching { next: 21 });
    }

    #[test]
    fn a_compacted_watch_lists_after_a_wait() {
        let (mut sync, action) = play(&[LISTED, CREATED, Input::Compacted]);
        assert_eq!(action, Action::Wait { failures: 1 });
        assert_eq!(sync.on(Input::Elapsed), Action::List);
    }

    #[test]
    fn a_registry_that_fell_back_is_listed_again() {
        let behind = Input::Created { revision: 3 };
        let (mut sync, action) = play(&[LISTED, CREATED, events(12), Input::Failed, Input::Elapsed, behind]);
        assert_eq!(action, Action::Confirm);
        let waits = sync.on(Input::Confirmed { revision: 3 });
        assert!(matches!(waits, Action::Wait { .. }), "two registries behind one address must not spin");
        assert_eq!(sync.on(Input::Elapsed), Action::List);
        assert_eq!(sync.on(Input::Listed { revision: 3 }), Action::Open { from: 4 });
    }

    #[test]
    fn a_member_that_lags_is_watched_all_the_same() {
        let behind = Input::Created { revision: 3 };
        let (mut sync, _) = play(&[LISTED, behind]);
        assert_eq!(sync.on(Input::Confirmed { revision: 10 }), Action::Read);
        assert_eq!(sync.state(), State::Watching { next: 11 });
    }

    #[test]
    fn failures_count_up_until_the_registry_says_something() {
        let (mut sync, action) = play(&[Input::Failed, Input::Elapsed, Input::Failed]);
        assert_eq!(action, Action::Wait { failures: 2 });
        for input in [Input::Elapsed, LISTED, CREATED, Input::Failed] {
            sync.on(input);
        }
        assert_eq!(sync.failures, 3, "a watch that opens and breaks at once has made no progress");
        for input in [Input::Elapsed, CREATED, Input::Alive] {
            sync.on(input);
        }
        assert_eq!(sync.failures, 0);
    }

    fn any_input() -> impl Strategy<Value = Input> {
        let revision = 0..1_000i64;
        prop_oneof![
            revision.clone().prop_map(|revision| Input::Listed { revision }),
            revision.clone().prop_map(|revision| Input::Created { revision }),
            revision.clone().prop_map(|revision| Input::Confirmed { revision }),
            (revision.clone(), any::<bool>())
                .prop_map(|(revision, complete)| Input::Events { revision, complete }),
            revision.prop_map(|revision| Input::Progress { revision }),
            Just(Input::Alive),
            Just(Input::Compacted),
            Just(Input::Failed),
            Just(Input::Elapsed),
        ]
    }

    fn next_of(state: State) -> Option<i64> {
        match state {
            State::Opening { next } | State::Watching { next } => Some(next),
            State::Backoff { next } => next,
            State::Unsynced => None,
        }
    }

    proptest! {
        #[test]
        fn whatever_happens_the_invariants_hold(inputs in proptest::collection::vec(any_input(), 0..200)) {
            let (mut sync, _) = Machine::start();
            for input in inputs {
                let before = sync.state();
                let action = sync.on(input);
                let after = sync.state();

                if let (Some(old), Some(new)) = (next_of(before), next_of(after)) {
                    prop_assert!(new >= old, "the resume revision fell without a list");
                    let reported = match input {
                        Input::Events { revision, complete: true } | Input::Progress { revision } => revision + 1,
                        Input::Events { revision, complete: false } => revision,
                        _ => old,
                    };
                    prop_assert!(new <= old.max(reported), "the resume revision ran ahead of what was seen");
                }
                prop_assert!(action != Action::List || input == Input::Elapsed, "a list without a wait");
                if matches!(input, Input::Failed | Input::Compacted) {
                    let waits = matches!(action, Action::Wait { failures: 1.. });
                    prop_assert!(waits && matches!(after, State::Backoff { .. }), "a failure did not back off");
                }
                match action {
                    Action::List => prop_assert_eq!(after, State::Unsynced),
                    Action::Open { from } => prop_assert_eq!(after, State::Opening { next: from }),
                    Action::Confirm => {
                        let opening = matches!(after, State::Opening { .. });
                        prop_assert!(opening);
                    },
                    Action::Read => {
                        let watching = matches!(after, State::Watching { .. });
                        prop_assert!(watching);
                    },
                    Action::Wait { .. } => {}
                }
            }
        }
    }
}
