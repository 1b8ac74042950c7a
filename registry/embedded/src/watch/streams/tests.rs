use std::sync::Arc;

use futures_util::FutureExt;
use tokio::sync::Notify;

use super::{Bounds, News, StreamId, Wanted, Watches};
use crate::{
    refusal::Refusal,
    store::{Store, StoreLimits},
};

const START: i64 = 1_000;
const BOUNDS: Bounds = Bounds { streams: 2, watches: 5, watches_per_stream: 4, bytes: 1_000 };

/// A store and one stream of its watches.
struct Scene {
    store: Store,
    watches: Watches,
    stream: StreamId,
    wake: Arc<Notify>,
}

fn scene(history: usize) -> Scene {
    let store = Store::new(START, StoreLimits { bytes: usize::MAX, revisions: history });
    let mut watches = Watches::new(BOUNDS);
    let wake = Arc::new(Notify::new());
    let stream = watches.open(Arc::clone(&wake)).unwrap();
    Scene { store, watches, stream, wake }
}

fn prefix(key: &str) -> Wanted {
    let end = [&key.as_bytes()[..key.len() - 1], &[key.as_bytes()[key.len() - 1] + 1]].concat();
    Wanted { key: key.into(), end, ..Wanted::default() }
}

impl Scene {
    fn put(&mut self, key: &str, value: &str) {
        self.store.put(key.into(), value.into(), 0);
        self.commit();
    }

    fn commit(&mut self) {
        if let Some(commit) = self.store.commit() {
            self.watches.tell(commit);
        }
    }

    fn create(&mut self, wanted: Wanted) -> Result<i64, Refusal> {
        self.watches.create(self.stream, wanted, &self.store)
    }

    fn next(&mut self) -> Option<News> {
        self.watches.next(self.stream, &self.store)
    }

    /// The watch, its revisions from the start on, and how far it is told, of the next batch.
    fn batch(&mut self) -> (i64, Vec<i64>, i64) {
        match self.next() {
            Some(News::Batch(batch)) => {
                let revisions = batch.changes.iter().map(|change| change.record.mod_revision - START);
                (batch.watch, revisions.collect(), batch.through - START)
            }
            other => panic!("no batch: {other:?}"),
        }
    }

    fn is_woken(&self) -> bool {
        self.wake.notified().now_or_never().is_some()
    }
}

#[test]
fn only_what_concerns_a_stream_wakes_it() {
    let mut scene = scene(100);
    scene.create(prefix("a")).unwrap();
    scene.create(Wanted { key: "a1".into(), ..Wanted::default() }).unwrap();
    scene.put("b", "");
    assert!(!scene.is_woken() && scene.next().is_none());
    scene.put("a2", "");
    assert!(scene.is_woken());
    assert_eq!(scene.batch(), (0, vec![2], 2));
    assert!(scene.next().is_none());
    scene.put("a1", "");
    let mut both = [scene.batch(), scene.batch()];
    both.sort();
    assert_eq!(both, [(0, vec![3], 3), (1, vec![3], 3)]);
}

#[test]
fn what_comes_while_nobody_asks_comes_in_one_batch() {
    let mut scene = scene(100);
    scene.create(prefix("a")).unwrap();
    for key in ["a1", "b", "a2", "b", "a3", "b"] {
        scene.put(key, "");
    }
    assert_eq!(scene.batch(), (0, vec![1, 3, 5], 6));
    assert!(scene.next().is_none());
}

#[test]
fn a_quiet_watch_is_not_compacted_however_much_happens_elsewhere() {
    let mut scene = scene(10);
    scene.create(prefix("a")).unwrap();
    for _ in 0..100 {
        scene.put("b", "");
    }
    assert!(scene.next().is_none());
    scene.put("a", "");
    assert_eq!(scene.batch(), (0, vec![101], 101));
}

#[test]
fn a_watch_that_nobody_asks_for_is_compacted_and_hears_no_more() {
    let mut scene = scene(10);
    scene.create(prefix("a")).unwrap();
    for _ in 0..11 {
        scene.put("a", "");
    }
    assert!(matches!(scene.next(), Some(News::Compacted { watch: 0, revision }) if revision == START + 2));
    scene.put("a", "");
    assert!(scene.next().is_none());
    assert!(scene.watches.cancel(scene.stream, 0), "it is there until it is cancelled");
}

#[test]
fn a_large_past_comes_in_batches_and_other_watches_between_them() {
    let mut scene = scene(5_000);
    for _ in 0..2_500 {
        scene.put("a", "");
    }
    for id in [1, 2] {
        scene.create(Wanted { id, start_revision: START + 1, ..prefix("a") }).unwrap();
    }
    let batches: Vec<_> = std::iter::from_fn(|| match scene.next()? {
        News::Batch(batch) => Some((batch.watch, batch.changes.len(), batch.through - START)),
        other => panic!("no batch: {other:?}"),
    })
    .collect();
    let expected = [
        (1, 1_000, 1_000),
        (2, 1_000, 1_000),
        (1, 1_000, 2_000),
        (2, 1_000, 2_000),
        (1, 500, 2_500),
        (2, 500, 2_500),
    ];
    assert_eq!(batches, expected);
}

#[test]
fn a_batch_in_one_piece_is_small_in_bytes_but_never_divides_a_revision() {
    let mut scene = scene(100);
    let large = "x".repeat(1200 * 1024);
    for _ in 0..3 {
        for key in ["a1", "a2"] {
            scene.store.put(key.into(), large.clone().into(), 0);
        }
        scene.commit();
    }
    scene.create(Wanted { start_revision: START + 1, ..prefix("a") }).unwrap();
    for revision in 1..=3 {
        assert_eq!(scene.batch(), (0, vec![revision; 2], revision));
    }
    scene.create(Wanted { start_revision: START + 1, fragments: true, ..prefix("a") }).unwrap();
    assert_eq!(scene.batch(), (1, vec![1, 1, 2, 2, 3, 3], 3), "in fragments it may be large");
}

#[test]
fn a_revision_of_more_than_16_mib_is_divided() {
    for fragments in [false, true] {
        let mut scene = scene(100);
        let large = "x".repeat(1024 * 1024);
        for n in 0..40 {
            scene.put(&format!("a{n:02}"), &large);
        }
        scene.create(Wanted { previous: true, fragments, ..prefix("a") }).unwrap();
        for n in 0..40 {
            scene.store.delete(format!("a{n:02}").as_bytes());
        }
        // The last of it concerns nobody: the part before is the last.
        scene.store.put("b".into(), "".into(), 0);
        scene.commit();
        let mut parts = Vec::new();
        while let Some(news) = scene.next() {
            let News::Batch(batch) = news else { panic!("no batch: {news:?}") };
            assert_eq!(batch.through, START + 41);
            parts.push((batch.changes.len(), batch.is_divided()));
        }
        assert_eq!(parts, [(16, true), (16, true), (8, false)]);
    }
}

#[test]
fn a_revision_is_not_divided_before_what_concerns_nobody() {
    let mut scene = scene(100);
    scene.create(prefix("a")).unwrap();
    scene.store.put("a".into(), vec![0; 16 * 1024 * 1024], 0);
    scene.store.put("b".into(), "".into(), 0);
    scene.commit();
    let Some(News::Batch(batch)) = scene.next() else { panic!("no batch") };
    assert!(!batch.is_divided(), "a client that joins parts would wait for one that never comes");
    assert!(scene.next().is_none());
}

#[test]
fn a_divided_revision_that_is_compacted_meanwhile_is_not_told_to_its_end() {
    let mut scene = scene(2);
    let large = "x".repeat(9 * 1024 * 1024);
    for key in ["a1", "a2", "a3"] {
        scene.store.put(key.into(), large.clone().into(), 0);
    }
    scene.commit();
    scene.create(Wanted { start_revision: START + 1, ..prefix("a") }).unwrap();
    assert_eq!(scene.batch(), (0, vec![1, 1], 1));
    for _ in 0..3 {
        scene.put("b", "");
    }
    assert!(matches!(scene.next(), Some(News::Compacted { .. })));
}

#[test]
fn only_watches_that_have_heard_of_everything_are_looked_at() {
    let mut scene = scene(100);
    scene.create(prefix("a")).unwrap();
    scene.create(Wanted { without_puts: true, ..prefix("a") }).unwrap();
    scene.create(Wanted { start_revision: START + 3, ..prefix("a") }).unwrap();
    let concerned = |scene: &mut Scene| {
        scene.put("a", "");
        let commit = scene.store.commits_since(scene.store.revision()).next().unwrap();
        scene.watches.synced.concerned(&commit.changes[0]).len()
    };
    assert_eq!(concerned(&mut scene), 0, "the first has fallen behind, the others do not want it");
    assert_eq!(concerned(&mut scene), 0);
    assert_eq!(scene.watches.streams[&scene.stream].behind, [0]);
    assert_eq!(concerned(&mut scene), 0, "the third has arrived, and fallen behind");
    assert_eq!(scene.watches.streams[&scene.stream].behind, [0, 2]);
    while scene.next().is_some() {}
    let commit = scene.store.commits_since(scene.store.revision()).next().unwrap();
    assert_eq!(scene.watches.synced.concerned(&commit.changes[0]).len(), 2, "both wait again");
}

#[test]
fn progress_comes_after_everything_else() {
    let mut scene = scene(100);
    scene.create(prefix("a")).unwrap();
    scene.put("a", "");
    scene.watches.ask(scene.stream);
    assert_eq!(scene.batch(), (0, vec![1], 1));
    assert!(matches!(scene.next(), Some(News::Progress { revision }) if revision == START + 1));
    assert!(scene.next().is_none(), "it is told once");
}

#[test]
fn no_progress_is_told_while_a_watch_waits_for_the_future() {
    let mut scene = scene(100);
    scene.create(Wanted { start_revision: START + 1, ..prefix("a") }).unwrap();
    scene.watches.ask(scene.stream);
    assert!(matches!(scene.next(), Some(News::Progress { .. })), "the next revision is not the future");
    scene.create(Wanted { start_revision: START + 3, ..prefix("a") }).unwrap();
    scene.watches.ask(scene.stream);
    assert!(scene.next().is_none());
}

#[test]
fn quiet_watches_are_those_that_want_to_know_and_heard_nothing() {
    let mut scene = scene(100);
    scene.create(prefix("a")).unwrap();
    for (id, key) in [(5, "a"), (6, "b")] {
        scene.create(Wanted { id, progress: true, ..prefix(key) }).unwrap();
    }
    assert_eq!(scene.watches.quiet(scene.stream), [5, 6]);
    scene.put("a", "");
    assert_eq!(scene.watches.quiet(scene.stream), [6], "the other one is behind");
    while scene.next().is_some() {}
    assert_eq!(scene.watches.quiet(scene.stream), [6], "the other one has just heard");
    assert_eq!(scene.watches.quiet(scene.stream), [5, 6]);
}

#[test]
fn nothing_stays_of_watches_that_are_created_and_cancelled() {
    let mut scene = scene(100);
    scene.put("a", "");
    for _ in 0..1_000 {
        let id = scene.create(Wanted { start_revision: START + 1, ..prefix("a") }).unwrap();
        assert!(scene.watches.cancel(scene.stream, id));
    }
    assert!(scene.watches.streams[&scene.stream].behind.is_empty());
    assert!(scene.next().is_none());
}

#[test]
fn watches_and_streams_are_bounded_and_places_are_given_back() {
    let mut scene = scene(100);
    for _ in 0..4 {
        scene.create(prefix("a")).unwrap();
    }
    assert_eq!(scene.create(prefix("a")), Err(Refusal::TooManyRequests), "too many on the stream");
    let other = scene.watches.open(Arc::new(Notify::new())).unwrap();
    assert!(matches!(scene.watches.open(Arc::new(Notify::new())), Err(Refusal::TooManyRequests)));
    scene.watches.create(other, prefix("a"), &scene.store).unwrap();
    let too_many = scene.watches.create(other, prefix("a"), &scene.store);
    assert_eq!(too_many, Err(Refusal::TooManyRequests), "too many in all");

    scene.watches.close(scene.stream);
    scene.watches.create(other, prefix("a"), &scene.store).unwrap();
    let long = Wanted { key: vec![b'x'; 1_000], ..Wanted::default() };
    let too_long = scene.watches.create(other, long, &scene.store);
    assert_eq!(too_long, Err(Refusal::TooManyRequests), "too many bytes");
    scene.watches.close(other);
    assert_eq!((scene.watches.watches, scene.watches.bytes), (0, 0));
}
