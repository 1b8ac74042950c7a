use std::collections::BTreeMap;

use proptest::prelude::*;

use super::{CHANGE_OVERHEAD, Store, StoreLimits, bytes_of, cost, is_deletion};
use crate::{refusal::Refusal, span::Span};

const START: i64 = 1_000;
const ALL: Span<'_> = Span { key: b"\0", end: b"\0" };

fn store(bytes: usize, revisions: usize) -> Store {
    Store::new(START, StoreLimits { bytes, revisions })
}

fn put(store: &mut Store, key: &str, value: &str) -> i64 {
    store.put(key.into(), value.into(), 0);
    store.commit();
    store.revision()
}

fn read(store: &Store, revision: i64) -> BTreeMap<String, String> {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    store.range(ALL, revision).map(|record| (text(&record.key), text(&record.value))).collect()
}

/// What the store holds, counted anew.
fn counted(store: &Store) -> (usize, usize) {
    let versions: usize = store.keys.values().flatten().map(|version| cost(version)).sum();
    let changes: usize = store.history.iter().map(|commit| commit.changes.len()).sum();
    let live = store.range(ALL, store.revision()).map(|record| cost(record)).sum();
    (versions + changes * CHANGE_OVERHEAD, live)
}

#[derive(Clone, Debug)]
enum Step {
    Put(u8, u8),
    Delete(u8),
    Commit,
    Compact(i64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..4_u8, any::<u8>()).prop_map(|(key, value)| Step::Put(key, value)),
        2 => (0..4_u8).prop_map(Step::Delete),
        4 => Just(Step::Commit),
        1 => (-10..2_i64).prop_map(Step::Compact),
    ]
}

proptest! {
    /// Beside a model that keeps a copy of everything at each revision.
    #[test]
    fn every_kept_revision_reads_as_it_was(
        steps in proptest::collection::vec(step(), 0..80),
        revisions in 3..20_usize,
    ) {
        let mut store = store(usize::MAX, revisions);
        let mut past = BTreeMap::from([(START, BTreeMap::new())]);
        let mut now = BTreeMap::new();
        for step in steps {
            match step {
                Step::Put(key, value) => {
                    store.put(vec![b'a' + key], value.to_string().into(), 0);
                    now.insert(char::from(b'a' + key).to_string(), value.to_string());
                }
                Step::Delete(key) => {
                    store.delete(&[b'a' + key]);
                    now.remove(&char::from(b'a' + key).to_string());
                }
                Step::Commit => {
                    store.commit();
                    past.insert(store.revision(), now.clone());
                }
                Step::Compact(distance) => {
                    let target = store.revision() + distance;
                    let expected = if target <= store.compacted() {
                        Err(Refusal::Compacted)
                    } else if target > store.revision() {
                        Err(Refusal::FutureRevision)
                    } else {
                        Ok(())
                    };
                    prop_assert_eq!(store.compact(target), expected);
                }
            }
        }
        store.commit();
        past.insert(store.revision(), now);

        prop_assert!(store.history.len() <= revisions);
        for (&revision, state) in past.range(store.compacted()..) {
            prop_assert_eq!(&read(&store, revision), state, "at {}", revision);
        }
        let told: Vec<_> = store.commits_since(store.compacted()).map(|commit| commit.revision).collect();
        let expected: Vec<_> = (store.compacted().max(START + 1)..=store.revision()).collect();
        prop_assert_eq!(told, expected, "the history has no gap");
        prop_assert_eq!((store.bytes(), store.live_bytes()), counted(&store));
    }
}

#[test]
fn what_is_compacted_costs_nothing() {
    let mut store = store(usize::MAX, 1_000);
    for n in 0..100 {
        put(&mut store, "churned", &n.to_string());
        put(&mut store, &format!("key{n}"), "");
        store.delete(format!("key{n}").as_bytes());
        store.commit();
    }
    let last = put(&mut store, "churned", "");
    put(&mut store, "other", "");
    store.compact(last + 1).unwrap();
    // The last revision is still told, and what it superseded: nothing.
    assert_eq!(store.bytes(), store.live_bytes() + CHANGE_OVERHEAD);
    assert_eq!(store.keys.len(), 2);
}

#[test]
fn history_is_compacted_by_itself() {
    let mut store = store(usize::MAX, 10);
    for n in 0..100 {
        put(&mut store, "a", &n.to_string());
    }
    assert_eq!(store.compacted(), START + 91);
    assert_eq!(store.check_readable(START + 90), Err(Refusal::Compacted));
    assert_eq!(read(&store, START + 91)["a"], "90");
}

#[test]
fn history_gives_way_to_keys() {
    let room_for_ten = 10
        * cost(&etcd_client::proto::PbKeyValue {
            key: b"0".to_vec(),
            value: vec![0; 1_000],
            ..Default::default()
        });
    let mut store = store(room_for_ten, 1_000);
    let value = "x".repeat(1_000);
    for n in 0..100 {
        put(&mut store, &(n % 5).to_string(), &value);
        assert!(store.bytes() <= room_for_ten + cost(store.get(b"0").unwrap()));
    }
    assert!(store.has_room_for(5, 5 * bytes_of(b"0", value.as_bytes())));
    assert!(!store.has_room_for(6, 6 * bytes_of(b"0", value.as_bytes())));
    assert_eq!(read(&store, store.revision()).len(), 5, "no key is lost");
}

#[test]
fn a_change_knows_what_was_before_its_revision() {
    let mut store = store(usize::MAX, 1_000);
    put(&mut store, "a", "before");
    // Twice in one revision, as etcd allows beside a delete of all that follow.
    store.put("a".into(), "amid".into(), 0);
    store.delete(b"a");
    let commit = store.commit().unwrap();
    let previous: Vec<_> =
        commit.changes.iter().map(|change| change.previous.as_ref().unwrap().value.clone()).collect();
    assert_eq!(previous, [b"before", b"before"]);
    assert!(is_deletion(&commit.changes[1].record));
    store.put("a".into(), "again".into(), 0);
    let commit = store.commit().unwrap();
    assert!(commit.changes[0].previous.is_none());
    assert_eq!(commit.changes[0].record.version, 1);
}

#[test]
fn nothing_written_is_no_revision() {
    let mut store = store(usize::MAX, 1_000);
    store.delete(b"a");
    assert!(store.commit().is_none());
    assert_eq!((store.revision(), store.revision_in_view()), (START, START));
    store.put("a".into(), "".into(), 0);
    assert_eq!((store.revision(), store.revision_in_view()), (START, START + 1));
}

#[test]
fn what_is_taken_back_was_never_there() {
    let mut store = store(usize::MAX, 1_000);
    put(&mut store, "a", "1");
    store.delete(b"a");
    store.commit();
    put(&mut store, "b", "1");
    let before = (read(&store, store.revision()), store.bytes(), store.live_bytes(), store.live_keys());
    store.put("a".into(), "2".into(), 0);
    store.put("a".into(), "3".into(), 0);
    store.delete(b"b");
    store.put("c".into(), "1".into(), 0);
    while store.undo().is_some() {}
    assert!(store.commit().is_none());
    let after = (read(&store, store.revision()), store.bytes(), store.live_bytes(), store.live_keys());
    assert_eq!(after, before);
    assert_eq!(store.keys.len(), 2, "the deleted one is still to be read at its revisions");
}

#[test]
fn a_large_compaction_is_done_in_several_calls_and_shows_at_once() {
    const KEYS: usize = 25_000;
    let mut store = store(usize::MAX, 1_000);
    for key in 0..KEYS {
        store.put(key.to_string().into(), Vec::new(), 0);
    }
    store.commit();
    for key in 0..KEYS {
        store.delete(key.to_string().as_bytes());
    }
    store.commit();
    let last = put(&mut store, "last", "");
    store.compact(last).unwrap();
    assert_eq!(store.check_readable(last - 1), Err(Refusal::Compacted));
    assert_eq!(store.history.len(), 3, "the first revision is not let go yet");
    let mut calls = 1;
    while store.forget() {
        calls += 1;
    }
    assert_eq!(calls, 2 * KEYS / 10_000);
    assert_eq!((store.history.len(), store.keys.len()), (1, 1));
    assert_eq!((store.bytes(), store.live_bytes()), counted(&store));
}
