//! The watch against a model of etcd: whatever etcd does, the picture ends as the registry is.
//!
//! Each case plays some dozens of events against the driver on a paused clock, so that an hour of it takes
//! milliseconds. Held all the while:
//! - nothing is shown that was never true: no instance is invented, and none is dropped because of a fault;
//! - the resume revision falls on a list alone;
//! - nothing spins: the calls of any second are bounded.
//!
//! And once all is calm: the picture equals the registry, the watch is live, and an audit has said so. Where
//! no event was lost, none was repaired.

mod source;
mod world;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use leaseway_registry::connect::Reason;
use leaseway_registry::watch::{
    Change, Reread, Update, Watch, WatchSettings, nothing_reserved, watch_source,
};
use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;
use tokio::time::{Instant, advance, sleep};

use source::Model;
use world::{Faults, Instances, NO_INSTANCE, Refusal, seen};

/// How long all is calm at the end: more than the longest pause between two audits, a repair, and the
/// audit of that.
const CALM: Duration = Duration::from_secs(200);
/// The calls that any second may see. The shortest pauses follow each other only where the registry says
/// something in between.
const MOST_CALLS: usize = 100;

/// What happens.
#[derive(Debug, Clone)]
enum Act {
    Put(Vec<(u8, &'static [u8])>),
    Delete(u8),
    /// Leases end, in one revision.
    Expire(Vec<u8>),
    WriteElsewhere(u8),
    Compact,
    Disconnect,
    Restore(i64),
    Empty,
    Exchange(i64),
    Fault(Fault),
    Heal,
    /// Somebody asks for a complete list.
    Reread,
    Wait(u64),
    /// Time jumps, and everything that was due meanwhile is late.
    Jump(u64),
}

/// What goes wrong until it heals.
#[derive(Debug, Clone)]
enum Fault {
    Freeze,
    Refuse(Refusal),
    Cancel(Reason),
    Lose(u32),
    Fragment,
    BreakInHalf,
    Hold,
    /// Ends [`Fault::Hold`].
    BreakAfterOne,
    Overtake,
    Lag(i64),
}

fn any_act() -> impl Strategy<Value = Act> {
    prop_oneof![
        12 => proptest::collection::vec((0..=NO_INSTANCE, any_value()), 1..4).prop_map(Act::Put),
        5 => (0..=NO_INSTANCE).prop_map(Act::Delete),
        3 => proptest::collection::vec(0..=NO_INSTANCE, 2..5).prop_map(Act::Expire),
        3 => (1u8..5).prop_map(Act::WriteElsewhere),
        2 => Just(Act::Compact),
        3 => Just(Act::Disconnect),
        1 => (1i64..12).prop_map(Act::Restore),
        1 => Just(Act::Empty),
        1 => (1i64..40).prop_map(Act::Exchange),
        8 => any_fault().prop_map(Act::Fault),
        4 => Just(Act::Heal),
        3 => Just(Act::Reread),
        10 => prop_oneof![1u64..20, 20u64..2_000, 2_000u64..90_000].prop_map(Act::Wait),
        2 => (1u64..120_000).prop_map(Act::Jump),
    ]
}

fn any_value() -> impl Strategy<Value = &'static [u8]> {
    const LONG: &[u8] = &[b'1'; leaseway_registry::contract::MAX_VALUE + 1];
    prop_oneof![
        4 => Just(&b"10.0.0.1:80"[..]),
        4 => Just(&b"10.0.0.2:80"[..]),
        1 => Just(&b"nonsense"[..]),
        1 => Just(&b"0.0.0.0:80"[..]),
        1 => Just(LONG),
    ]
}

fn any_fault() -> impl Strategy<Value = Fault> {
    let refusal = prop_oneof![
        Just(Refusal::Closed),
        Just(Refusal::Deadline),
        Just(Refusal::Says("etcdserver: invalid auth token")),
        Just(Refusal::Says("etcdserver: permission denied")),
        Just(Refusal::Says("etcdserver: authentication failed, invalid user ID or password")),
        Just(Refusal::Says("etcdserver: no leader")),
    ];
    let reason = prop_oneof![
        Just(Reason::Compacted),
        Just(Reason::TokenRejected),
        Just(Reason::PermissionDenied),
        Just(Reason::NoLeader),
        Just(Reason::TooLong),
        Just(Reason::Other),
    ];
    prop_oneof![
        Just(Fault::Freeze),
        refusal.prop_map(Fault::Refuse),
        reason.prop_map(Fault::Cancel),
        (1u32..3).prop_map(Fault::Lose),
        Just(Fault::Fragment),
        Just(Fault::BreakInHalf),
        Just(Fault::Hold),
        Just(Fault::BreakAfterOne),
        Just(Fault::Overtake),
        (1i64..10).prop_map(Fault::Lag),
    ]
}

impl Act {
    /// Whether a watch may miss events because of it.
    fn loses_events(&self) -> bool {
        matches!(self, Self::Restore(_) | Self::Empty | Self::Exchange(_) | Self::Fault(Fault::Lose(_)))
    }
}

impl Fault {
    fn set(self, faults: &mut Faults) {
        match self {
            Self::Freeze => faults.frozen = true,
            Self::Refuse(refusal) => faults.refusing = Some(refusal),
            Self::Cancel(reason) => faults.cancelling = Some(reason),
            Self::Lose(revisions) => faults.losing = revisions,
            Self::Fragment => faults.fragmenting = true,
            Self::BreakInHalf => (faults.fragmenting, faults.breaking_in_half) = (true, true),
            Self::Hold => faults.holding = true,
            Self::BreakAfterOne => (faults.holding, faults.breaking_after_one) = (false, true),
            Self::Overtake => faults.overtaking = true,
            Self::Lag(revisions) => faults.lagging = revisions,
        }
    }
}

async fn perform(act: Act, model: &Model, reread: &Reread) {
    match act {
        Act::Put(puts) => model.world().put(&puts),
        Act::Delete(id) => model.world().delete(&[id]),
        Act::Expire(ids) => model.world().delete(&ids),
        Act::WriteElsewhere(times) => (0..times).for_each(|_| model.world().write_elsewhere()),
        Act::Compact => model.world().compact(),
        Act::Disconnect => model.world().disconnect(),
        Act::Restore(ago) => model.world().restore(ago),
        Act::Empty => model.world().empty(),
        Act::Exchange(revision) => model.world().exchange(revision),
        Act::Fault(fault) => fault.set(&mut model.world().faults),
        Act::Heal => model.world().heal(),
        Act::Reread => reread.ask(),
        Act::Wait(millis) => sleep(Duration::from_millis(millis)).await,
        Act::Jump(millis) => advance(Duration::from_millis(millis)).await,
    }
    // Whoever is ready goes on; nobody waits.
    for _ in 0..8 {
        tokio::task::yield_now().await;
    }
}

/// What a reader of the updates knows.
#[derive(Clone, Default)]
struct Reader(Arc<Mutex<Instances>>);

impl Reader {
    fn shown(&self) -> Instances {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn apply(&self, update: Update) {
        let mut shown = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match update {
            Update::Reset { instances, .. } => *shown = instances.iter().map(seen).collect(),
            Update::Apply { changes, .. } => {
                for change in changes {
                    match change {
                        Change::Put(instance) => shown.extend([seen(&instance)]),
                        Change::Delete { service, id, .. } => {
                            shown.remove(&format!("{service}/{id}"));
                        }
                        Change::Refused { name, .. } => {
                            shown.remove(&format!("{}/{}", name.service, name.id));
                        }
                    }
                }
            }
        }
    }
}

/// Plays, lets all be calm, and compares.
async fn play(acts: Vec<Act>) -> Result<(), TestCaseError> {
    let model = Model::new();
    let (Watch { mut updates, status, reread, .. }, driver) =
        watch_source(model.clone(), WatchSettings::default(), nothing_reserved());
    let driver = tokio::spawn(driver.run());
    let reader = Reader::default();
    let (apply, witness) = (reader.clone(), model.clone());
    tokio::spawn(async move {
        while let Some(update) = updates.recv().await {
            witness.world().witness.check(&update);
            apply.apply(update);
        }
    });
    let honest = !acts.iter().any(Act::loses_events);
    for act in acts {
        perform(act, &model, &reread).await;
    }
    model.world().heal();
    sleep(CALM).await;

    prop_assert!(!driver.is_finished(), "the driver ended");
    let world = model.world();
    prop_assert!(world.witness.violations.is_empty(), "{:?}", world.witness.violations);
    let calls = most_calls_in_a_second(&world.witness.calls);
    prop_assert!(calls <= MOST_CALLS, "{calls} calls in a second");
    prop_assert_eq!(reader.shown(), world.instances(), "the picture and the registry");
    let status = status.borrow();
    prop_assert!(status.live && status.trouble.is_none() && status.audits > 0, "{:?}", *status);
    prop_assert!(status.repaired == 0 || !honest, "{:?}", *status);
    Ok(())
}

fn most_calls_in_a_second(calls: &[Instant]) -> usize {
    let second = Duration::from_secs(1);
    let within = |first: usize| calls[first..].iter().take_while(|at| **at - calls[first] < second).count();
    (0..calls.len()).map(within).max().unwrap_or_default()
}

fn config() -> ProptestConfig {
    let default = ProptestConfig::default();
    ProptestConfig {
        // More with PROPTEST_CASES.
        cases: default.cases.max(1_000),
        failure_persistence: Some(Box::new(FileFailurePersistence::WithSource("failures"))),
        ..default
    }
}

/// Plays on a paused clock; the jitter too is part of the case.
fn run(seed: u64, acts: Vec<Act>) -> Result<(), TestCaseError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build()?;
    fastrand::seed(seed);
    runtime.block_on(play(acts))
}

/// The rest of a revision never comes, and a backup from before it is restored.
#[test]
fn half_a_revision_that_a_restore_took_back_is_taken_back() -> Result<(), TestCaseError> {
    let acts = [
        Act::Wait(20),
        Act::Fault(Fault::BreakInHalf),
        Act::Put(vec![(0, b"10.0.0.1:80"), (1, b"10.0.0.1:80")]),
        Act::Restore(1),
    ];
    run(0, acts.to_vec())
}

/// An audit finds the picture equal while a put and its delete are under way, and advances the watch past
/// both; then the stream breaks between the two.
#[test]
fn events_that_an_audit_has_overtaken_are_not_half_applied() -> Result<(), TestCaseError> {
    let acts = [
        Act::Put(vec![(1, b"10.0.0.1:80")]),
        Act::Wait(20),
        Act::Fault(Fault::Hold),
        Act::Put(vec![(2, b"10.0.0.2:80")]),
        Act::Delete(2),
        // The first audit.
        Act::Wait(1_500),
        Act::Fault(Fault::BreakAfterOne),
        Act::WriteElsewhere(1),
    ];
    run(0, acts.to_vec())
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn whatever_etcd_does_the_picture_ends_as_the_registry_is(
        seed in any::<u64>(), acts in proptest::collection::vec(any_act(), 1..80),
    ) {
        run(seed, acts)?;
    }
}
