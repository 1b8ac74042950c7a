use std::collections::HashSet;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

/// What was asked, in order, and how many at once at most.
#[derive(Default)]
struct Log {
    asked: Mutex<Vec<(u64, Instant)>>,
    running: AtomicUsize,
    most: AtomicUsize,
}

impl Log {
    fn asked(&self) -> Vec<u64> {
        self.asked.lock().unwrap().iter().map(|(id, _)| *id).collect()
    }

    fn times(&self, id: u64) -> Vec<Instant> {
        self.asked.lock().unwrap().iter().filter(|(asked, _)| *asked == id).map(|(_, at)| *at).collect()
    }
}

/// Answers with its mark, after a time.
#[derive(Clone)]
struct Ask {
    id: u64,
    mark: &'static str,
    takes: Duration,
    log: Arc<Log>,
}

impl Question for Ask {
    type Answer = &'static str;

    async fn ask(self) -> &'static str {
        self.log.asked.lock().unwrap().push((self.id, now()));
        self.log.most.fetch_max(self.log.running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        tokio::time::sleep(self.takes).await;
        self.log.running.fetch_sub(1, Ordering::SeqCst);
        self.mark
    }
}

struct Bench {
    rounds: Rounds<Ask>,
    log: Arc<Log>,
}

impl Bench {
    fn new(most: usize) -> Self {
        Self { rounds: Rounds::new(most), log: Arc::default() }
    }

    fn ask(&self, id: u64, mark: &'static str, takes: Duration) -> Ask {
        Ask { id, mark, takes, log: self.log.clone() }
    }

    fn start(&mut self, id: u64, takes: Duration) {
        let question = self.ask(id, "", takes);
        self.rounds.start(id, question, SECOND, now());
    }

    /// Takes all answers that come within a time.
    async fn run(&mut self, time: Duration) -> Vec<(u64, &'static str)> {
        let mut all = Vec::new();
        let _ = tokio::time::timeout(time, async {
            loop {
                all.extend(self.rounds.answers().await);
            }
        })
        .await;
        all
    }
}

#[tokio::test(start_paused = true)]
async fn each_is_asked_again_an_interval_after_the_start_of_its_last_question() {
    let mut bench = Bench::new(10);
    bench.start(1, 300 * MS);
    assert_eq!(bench.run(10_200 * MS).await.len(), 10);
    let times = bench.log.times(1);
    assert_eq!(times.len(), 11);
    let gaps: HashSet<_> = times.windows(2).map(|pair| (pair[1] - pair[0]).as_millis()).collect();
    assert!(gaps.iter().all(|gap| (1000..1010).contains(gap)), "{gaps:?}");
}

#[tokio::test(start_paused = true)]
async fn a_question_that_takes_longer_than_its_interval_is_asked_again_when_it_is_answered() {
    let mut bench = Bench::new(10);
    bench.start(1, 3 * SECOND);
    assert_eq!(bench.run(10 * SECOND).await.len(), 3);
    assert_eq!(bench.log.most.load(Ordering::SeqCst), 1, "not twice at once");
}

#[tokio::test(start_paused = true)]
async fn nobody_is_asked_before_his_first_time_and_whoever_is_due_earlier_comes_earlier() {
    let mut bench = Bench::new(10);
    let begun = now();
    for (id, first) in [(1, 3 * SECOND), (2, SECOND), (3, 2 * SECOND)] {
        let question = bench.ask(id, "", MS);
        bench.rounds.start(id, question, 100 * SECOND, begun + first);
    }
    assert!(bench.run(999 * MS).await.is_empty());
    bench.run(3 * SECOND).await;
    assert_eq!(bench.log.asked(), [2, 3, 1]);
}

#[tokio::test(start_paused = true)]
async fn no_more_than_so_many_are_asked_at_once_and_each_has_a_turn_before_another_has_two() {
    let mut bench = Bench::new(4);
    (1..=20).for_each(|id| bench.start(id, 300 * MS));
    bench.run(6 * SECOND).await;
    assert_eq!(bench.log.most.load(Ordering::SeqCst), 4);
    let asked = bench.log.asked();
    for turn in asked.chunks(20).filter(|turn| turn.len() == 20) {
        assert_eq!(turn.iter().collect::<HashSet<_>>().len(), 20, "{asked:?}");
    }
    assert!(asked.len() >= 60, "{asked:?}");
}

#[tokio::test(start_paused = true)]
async fn what_was_given_up_is_neither_asked_nor_told() {
    let mut bench = Bench::new(10);
    (1..=3).for_each(|id| bench.start(id, 500 * MS));
    // Before it was asked, while it is, and when it has been answered.
    bench.rounds.stop(1);
    assert!(bench.run(100 * MS).await.is_empty());
    bench.rounds.stop(2);
    tokio::time::sleep(SECOND).await;
    bench.rounds.stop(3);
    assert!(bench.run(10 * SECOND).await.is_empty());
    assert_eq!(bench.log.asked(), [2, 3]);
    assert!(bench.rounds.members.is_empty() && bench.rounds.waiting.is_empty(), "nothing is left");
    assert_eq!(bench.rounds.running.len(), 0);
}

#[tokio::test(start_paused = true)]
async fn the_answer_to_a_former_question_is_not_taken_for_that_to_the_new_one() {
    let mut bench = Bench::new(10);
    for ended in [false, true] {
        let former = bench.ask(1, "former", 500 * MS);
        bench.rounds.start(1, former, SECOND, now());
        assert!(bench.run(100 * MS).await.is_empty());
        if ended {
            tokio::time::sleep(SECOND).await;
        }
        let new = bench.ask(1, "new", MS);
        bench.rounds.start(1, new, SECOND, now());
        assert_eq!(bench.run(500 * MS).await, [(1, "new")], "ended: {ended}");
    }
}

#[tokio::test(start_paused = true)]
async fn who_was_given_up_makes_room_for_the_next() {
    let mut bench = Bench::new(1);
    bench.start(1, 1_000 * SECOND);
    bench.run(100 * MS).await;
    bench.start(2, MS);
    assert!(bench.run(SECOND).await.is_empty());
    bench.rounds.stop(1);
    assert_eq!(bench.run(100 * MS).await, [(2, "")]);
}

#[tokio::test(start_paused = true)]
async fn no_answer_is_lost_where_nobody_waits_for_long_enough() {
    let mut bench = Bench::new(10);
    (1..=5).for_each(|id| bench.start(id, id as u32 * 30 * MS));
    let mut answered = Vec::new();
    for _ in 0..100 {
        answered.extend(bench.run(7 * MS).await.iter().map(|(id, _)| *id));
    }
    assert_eq!(answered, [1, 2, 3, 4, 5]);
}
