use super::*;
use proptest::prelude::*;

fn play(inputs: &[Input]) -> (Machine, Action) {
    let (mut sync, mut action) = Machine::start();
    for input in inputs {
        action = sync.on(*input);
    }
    (sync, action)
}

const LISTED: Input = Input::Listed { revision: 10, cluster: 7 };
const CREATED: Input = Input::Created { revision: 10, cluster: 7 };

const FAILED: Input = failed(Reason::Other);

const fn failed(reason: Reason) -> Input {
    Input::Failed { reason }
}

const fn short(failures: u32, link: LinkUse) -> Action {
    Action::Wait { pause: Pause::Short { failures }, link }
}

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
    let (_, action) = play(&[LISTED, CREATED, events(12), FAILED, Input::Elapsed]);
    assert_eq!(action, Action::Open { from: 13 });
}

#[test]
fn a_watch_that_breaks_within_a_revision_asks_for_the_whole_of_it() {
    let half = Input::Events { revision: 12, complete: false };
    let (_, action) = play(&[LISTED, CREATED, half, FAILED, Input::Elapsed]);
    assert_eq!(action, Action::Open { from: 12 });
}

#[test]
fn a_progress_report_of_the_watch_advances_it_and_another_does_not() {
    let reported = [LISTED, CREATED, Input::Progress { revision: 20 }, Input::Alive];
    assert_eq!(play(&reported).0.state(), State::Watching { next: 21 });
}

#[test]
fn a_compacted_watch_lists_after_a_wait() {
    let (mut sync, action) = play(&[LISTED, CREATED, failed(Reason::Compacted)]);
    assert_eq!(action, short(1, LinkUse::Keep), "the connection is not at fault");
    assert_eq!(sync.on(Input::Elapsed), Action::List);
}

#[test]
fn a_registry_that_fell_back_is_listed_again() {
    let behind = Input::Created { revision: 3, cluster: 7 };
    let (mut sync, action) = play(&[LISTED, CREATED, events(12), FAILED, Input::Elapsed, behind]);
    assert_eq!(action, Action::Confirm);
    let waits = sync.on(Input::Confirmed { revision: 3 });
    assert!(matches!(waits, Action::Wait { .. }), "two registries behind one address must not spin");
    assert_eq!(sync.on(Input::Elapsed), Action::List);
    assert_eq!(sync.on(Input::Listed { revision: 3, cluster: 7 }), Action::Open { from: 4 });
}

#[test]
fn a_registry_that_fell_back_below_half_a_revision_is_listed_again() {
    let half = Input::Events { revision: 11, complete: false };
    let behind = Input::Created { revision: 10, cluster: 7 };
    let (mut sync, action) = play(&[LISTED, CREATED, half, FAILED, Input::Elapsed, behind]);
    assert_eq!(action, Action::Confirm, "half of revision 11 was seen, which this registry never had");
    assert!(matches!(sync.on(Input::Confirmed { revision: 10 }), Action::Wait { .. }));
    assert_eq!(sync.on(Input::Elapsed), Action::List);
}

#[test]
fn a_member_that_lags_is_watched_all_the_same() {
    let behind = Input::Created { revision: 3, cluster: 7 };
    let (mut sync, _) = play(&[LISTED, behind]);
    assert_eq!(sync.on(Input::Confirmed { revision: 10 }), Action::Read);
    assert_eq!(sync.state(), State::Watching { next: 11 });
}

#[test]
fn failures_count_up_until_the_registry_says_something() {
    let (mut sync, action) = play(&[FAILED, Input::Elapsed, FAILED]);
    assert_eq!(action, short(2, LinkUse::Renew));
    for input in [Input::Elapsed, LISTED, CREATED, FAILED] {
        sync.on(input);
    }
    assert_eq!(sync.failures, 3, "a watch that opens and breaks at once has made no progress");
    for input in [Input::Elapsed, CREATED, Input::Alive] {
        sync.on(input);
    }
    assert_eq!(sync.failures, 0);
}

#[test]
fn another_cluster_is_listed_again_and_an_unknown_one_is_not() {
    for (listed, created, another) in [(7, 8, true), (7, 7, false), (7, 0, false), (0, 7, false)] {
        let listed = Input::Listed { revision: 10, cluster: listed };
        let (mut sync, action) = play(&[listed, Input::Created { revision: 10, cluster: created }]);
        let expected = if another { short(1, LinkUse::Keep) } else { Action::Read };
        assert_eq!(action, expected, "{created}");
        if another {
            assert_eq!(sync.on(Input::Elapsed), Action::List);
        }
    }
}

#[test]
fn an_audit_that_found_no_difference_advances_the_watch() {
    let (mut sync, action) = play(&[LISTED, CREATED, Input::Audited { revision: 40 }]);
    assert_eq!(action, Action::Read);
    assert_eq!(sync.on(events(30)), Action::Read);
    assert_eq!(sync.state(), State::Watching { next: 41 });
}

#[test]
fn a_picture_that_differs_is_listed_again_elsewhere() {
    let (mut sync, action) = play(&[LISTED, CREATED, Input::Differs]);
    assert_eq!(action, short(1, LinkUse::Renew));
    assert_eq!(sync.on(Input::Elapsed), Action::List);
}

#[test]
fn a_list_that_was_asked_for_advances_the_watch_which_stays_open() {
    let (mut sync, action) = play(&[LISTED, CREATED, Input::Reread]);
    assert_eq!((action, sync.state()), (Action::List, State::Rereading { next: 11 }));
    assert_eq!(sync.on(Input::Listed { revision: 20, cluster: 7 }), Action::Read);
    assert_eq!(sync.state(), State::Watching { next: 21 });
}

#[test]
fn a_list_that_was_asked_for_and_fails_costs_neither_the_stream_nor_what_it_resumes_from() {
    for reason in [Reason::Other, Reason::Compacted, Reason::TooLong, Reason::PermissionDenied] {
        let (mut sync, action) = play(&[LISTED, CREATED, events(15), Input::Reread, failed(reason)]);
        assert_eq!((action, sync.state()), (Action::Read, State::Watching { next: 16 }));
        assert_eq!(sync.on(FAILED), short(1, LinkUse::Renew), "it is no failure of the watch");
        assert_eq!(sync.on(Input::Elapsed), Action::Open { from: 16 });
    }
}

#[test]
fn a_list_that_was_asked_for_and_shows_another_history_is_followed_from_there() {
    for (revision, cluster) in [(4, 7), (20, 8)] {
        let (mut sync, _) = play(&[LISTED, CREATED, Input::Reread]);
        assert_eq!(sync.on(Input::Listed { revision, cluster }), Action::Open { from: revision + 1 });
    }
}

#[test]
fn a_rejected_token_is_renewed_almost_at_once() {
    let (mut sync, action) = play(&[LISTED, CREATED, Input::Alive, failed(Reason::TokenRejected)]);
    assert_eq!(action, short(1, LinkUse::Renew));
    assert_eq!(sync.on(Input::Elapsed), Action::Open { from: 11 });
}

#[test]
fn a_refusal_is_met_with_one_new_login_and_then_with_patience() {
    for reason in [Reason::PermissionDenied, Reason::UserMissing, Reason::LoginFailed] {
        let (mut sync, action) = play(&[LISTED, CREATED, Input::Alive, failed(reason)]);
        assert_eq!(action, short(1, LinkUse::Renew), "the token may have been an old one's");
        for refusals in 1..4 {
            assert_eq!(sync.on(Input::Elapsed), Action::Open { from: 11 });
            let long = Action::Wait { pause: Pause::Long { refusals }, link: LinkUse::Keep };
            assert_eq!(sync.on(failed(reason)), long);
        }
        for input in [Input::Elapsed, CREATED, Input::Alive] {
            sync.on(input);
        }
        assert_eq!(sync.on(failed(reason)), short(1, LinkUse::Renew), "it went well in between");
    }
}

#[test]
fn a_message_that_is_too_long_to_take_is_not_asked_for_again() {
    let (mut sync, action) = play(&[LISTED, CREATED, failed(Reason::TooLong)]);
    assert_eq!(action, short(1, LinkUse::Keep));
    assert_eq!(sync.on(Input::Elapsed), Action::List);
}

fn any_input() -> impl Strategy<Value = Input> {
    let revision = 0..1_000i64;
    prop_oneof![
        (revision.clone(), 0..3u64).prop_map(|(revision, cluster)| Input::Listed { revision, cluster }),
        (revision.clone(), 0..3u64).prop_map(|(revision, cluster)| Input::Created { revision, cluster }),
        revision.clone().prop_map(|revision| Input::Confirmed { revision }),
        (revision.clone(), any::<bool>())
            .prop_map(|(revision, complete)| Input::Events { revision, complete }),
        revision.clone().prop_map(|revision| Input::Progress { revision }),
        revision.prop_map(|revision| Input::Audited { revision }),
        Just(Input::Alive),
        Just(Input::Differs),
        Just(Input::Reread),
        any_reason().prop_map(failed),
        Just(Input::Elapsed),
    ]
}

fn any_reason() -> impl Strategy<Value = Reason> {
    prop_oneof![
        Just(Reason::Compacted),
        Just(Reason::TokenRejected),
        Just(Reason::PermissionDenied),
        Just(Reason::UserMissing),
        Just(Reason::LoginFailed),
        Just(Reason::NoLeader),
        Just(Reason::TooLong),
        Just(Reason::Other),
    ]
}

proptest! {
    #[test]
    fn whatever_happens_the_invariants_hold(inputs in proptest::collection::vec(any_input(), 0..200)) {
        let (mut sync, _) = Machine::start();
        for input in inputs {
            let before = sync.state();
            let action = sync.on(input);
            let after = sync.state();

            if let (Some(old), Some(new)) = (before.next(), after.next()) {
                let is_listed = matches!(input, Input::Listed { .. });
                prop_assert!(new >= old || is_listed, "the resume revision fell without a list");
                let reported = match input {
                    Input::Events { revision, complete: true }
                    | Input::Progress { revision }
                    | Input::Audited { revision }
                    | Input::Listed { revision, .. } => revision + 1,
                    Input::Events { revision, complete: false } => revision,
                    _ => old,
                };
                prop_assert!(new <= old.max(reported), "the resume revision ran ahead of what was seen");
            }
            let may_list = matches!(input, Input::Elapsed | Input::Reread);
            prop_assert!(action != Action::List || may_list, "a list without a wait");
            if let (State::Rereading { next }, Input::Failed { .. }) = (before, input) {
                prop_assert_eq!(after, State::Watching { next });
            } else if matches!(input, Input::Failed { .. } | Input::Differs) {
                let waits = matches!(action, Action::Wait {
                    pause: Pause::Short { failures: 1.. } | Pause::Long { refusals: 1.. }, ..
                });
                prop_assert!(waits && matches!(after, State::Backoff { .. }), "a failure did not back off");
            }
            match action {
                Action::List => {
                    let listing = matches!(after, State::Unsynced | State::Rereading { .. });
                    prop_assert!(listing);
                }
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
