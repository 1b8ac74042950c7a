//! The connections whose handshake has not ended, or whose PROXY header.
//!
//! Each holds memory and a descriptor for somebody who has said nothing yet, so that there are only so many. When there is
//! one too many, the one that has waited longest is told to end, and not the new one kept out: a client that means it needs
//! a few round trips, and whoever opens a thousand and leaves them halfway pushes out his own first.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::traffic::bell::Bell;

/// Those that have not ended.
#[derive(Debug, Default)]
pub(super) struct Handshakes(Mutex<Queue>);

/// In the order in which they came.
#[derive(Debug, Default)]
struct Queue {
    waiting: BTreeMap<u64, Arc<Bell>>,
    /// How many have come.
    came: u64,
}

/// One that has not ended, for as long as it is held.
#[derive(Debug)]
pub(super) struct Waiting {
    handshakes: Arc<Handshakes>,
    number: u64,
    bell: Arc<Bell>,
}

impl Handshakes {
    /// One begins. Of those before it, so many are told to end that no more than `max` wait, with it.
    pub(super) fn enter(self: &Arc<Self>, max: NonZeroU32) -> Waiting {
        let bell = Arc::<Bell>::default();
        let number = self.queue().push(bell.clone());
        while let Some(oldest) = self.beyond(max) {
            oldest.ring();
        }
        Waiting { handshakes: self.clone(), number, bell }
    }

    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.queue().waiting.len()
    }

    /// Takes out the one that has waited longest, if there are too many. (It is rung without the lock: a ring runs what
    /// wakes its task.)
    fn beyond(&self, max: NonZeroU32) -> Option<Arc<Bell>> {
        let mut queue = self.queue();
        let is_too_many = queue.waiting.len() > max.get() as usize;
        is_too_many.then(|| queue.waiting.pop_first()).flatten().map(|(_, bell)| bell)
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queue {
    fn push(&mut self, bell: Arc<Bell>) -> u64 {
        self.came += 1;
        self.waiting.insert(self.came, bell);
        self.came
    }
}

impl Waiting {
    /// Waits until it has to end for one that came later. Once it is over, it must be left.
    pub(super) async fn evicted(&self) {
        poll_fn(|cx| self.bell.poll_rung(cx)).await;
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.handshakes.queue().waiting.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;
    use proptest::prelude::*;

    fn most(max: u32) -> NonZeroU32 {
        NonZeroU32::new(max).unwrap()
    }

    fn has_to_end(waiting: &Waiting) -> bool {
        waiting.evicted().now_or_never().is_some()
    }

    #[test]
    fn the_one_that_has_waited_longest_ends_and_no_other() {
        let handshakes = Arc::<Handshakes>::default();
        let waiting: Vec<_> = (0..5).map(|_| handshakes.enter(most(3))).collect();
        assert_eq!(handshakes.len(), 3);
        let ending: Vec<_> = waiting.iter().map(has_to_end).collect();
        assert_eq!(ending, [true, true, false, false, false]);
    }

    #[test]
    fn one_that_ends_leaves_its_place_to_the_next() {
        let handshakes = Arc::<Handshakes>::default();
        let mut waiting: Vec<_> = (0..3).map(|_| handshakes.enter(most(3))).collect();
        drop(waiting.remove(1));
        assert_eq!(handshakes.len(), 2);
        waiting.push(handshakes.enter(most(3)));
        assert!(!waiting.iter().any(has_to_end));
        waiting.clear();
        assert_eq!(handshakes.len(), 0);
    }

    #[test]
    fn one_that_was_told_to_end_takes_no_place_of_another_when_it_does() {
        let handshakes = Arc::<Handshakes>::default();
        let [first, second] = [handshakes.enter(most(1)), handshakes.enter(most(1))];
        assert!(has_to_end(&first));
        drop(first);
        assert_eq!((handshakes.len(), has_to_end(&second)), (1, false));
    }

    #[test]
    fn when_fewer_may_wait_than_before_as_many_end_as_are_too_many() {
        let handshakes = Arc::<Handshakes>::default();
        let waiting: Vec<_> = (0..9).map(|_| handshakes.enter(most(9))).collect();
        let newest = handshakes.enter(most(2));
        let ending: Vec<_> = waiting.iter().map(has_to_end).collect();
        assert_eq!(ending, [true, true, true, true, true, true, true, true, false]);
        assert!(!has_to_end(&newest));
    }

    #[tokio::test]
    async fn in_a_storm_each_that_comes_ends_the_one_that_has_waited_longest() {
        const MAX: u32 = 10;
        let (handshakes, mut waiting) = (Arc::<Handshakes>::default(), tokio::task::JoinSet::new());
        for number in 0..1_000_u32 {
            let entered = handshakes.enter(most(MAX));
            waiting.spawn(async move {
                entered.evicted().await;
                number
            });
            tokio::task::yield_now().await;
            assert_eq!(waiting.try_join_next().transpose().unwrap(), number.checked_sub(MAX));
            assert_eq!(handshakes.len(), waiting.len());
        }
    }

    #[test]
    fn threads_that_come_at_once_keep_as_many_as_may_wait() {
        let handshakes = Arc::<Handshakes>::default();
        let all = Mutex::new(Vec::new());
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    let came: Vec<_> = (0..200).map(|_| handshakes.enter(most(50))).collect();
                    all.lock().unwrap().extend(came);
                });
            }
        });
        let mut all = all.into_inner().unwrap();
        all.sort_by_key(|waiting| waiting.number);
        let ending: Vec<_> = all.iter().map(has_to_end).collect();
        assert!(ending[..1_550].iter().all(|ends| *ends) && !ending[1_550..].contains(&true));
    }

    proptest! {
        #[test]
        fn it_is_a_queue(steps in prop::collection::vec((1..8_u32, prop::option::of(any::<prop::sample::Index>())), 0..100)) {
            let handshakes = Arc::<Handshakes>::default();
            let (mut waiting, mut queue) = (Vec::<Waiting>::new(), Vec::<u64>::new());
            for (max, leaves) in steps {
                match leaves.filter(|_| !waiting.is_empty()) {
                    Some(at) => {
                        let left = waiting.remove(at.index(waiting.len()));
                        queue.retain(|number| *number != left.number);
                    }
                    None => {
                        waiting.push(handshakes.enter(most(max)));
                        queue.extend(waiting.last().map(|last| last.number));
                        queue.drain(..queue.len().saturating_sub(max as usize));
                        for ended in waiting.extract_if(.., |waiting| has_to_end(waiting)) {
                            prop_assert!(!queue.contains(&ended.number));
                        }
                    }
                }
                let left: Vec<_> = waiting.iter().map(|waiting| waiting.number).collect();
                prop_assert_eq!(left, queue.clone());
                prop_assert_eq!(handshakes.len(), queue.len());
            }
        }
    }
}
