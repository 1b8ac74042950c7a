//! How many requests may be in flight: at an endpoint, in a service, in the gateway.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// Requests in flight at one thing: an endpoint, a service, the gateway.
///
/// Lock-free. The count is exact at any moment: it is changed by single atomic operations, all of which
/// have one order. A [`Permit`] is given up with release and taken with acquire ordering, so who gets a
/// place sees all that was done by the one who had it. [`count`](Self::count) is relaxed: a number to show
/// or to compare, from which nothing else follows.
#[derive(Debug, Default)]
pub struct InFlight(AtomicU32);

impl InFlight {
    /// How many there are.
    pub(crate) fn count(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }

    /// Takes a place, however many are taken.
    pub(crate) fn acquire(self: &Arc<Self>) -> Permit {
        self.0.fetch_add(1, Ordering::Acquire);
        Permit { of: Arc::clone(self) }
    }

    /// Takes a place, if fewer than `limit` are taken; without a limit, always. None: it is full.
    ///
    /// The limit may change from call to call. One that is lowered takes no permit away: it declines until
    /// enough were given up.
    pub fn try_acquire(self: &Arc<Self>, limit: Option<NonZeroU32>) -> Option<Permit> {
        let limit = limit.map_or(u32::MAX, NonZeroU32::get);
        let add = |count| (count < limit).then(|| count + 1);
        self.0.fetch_update(Ordering::Acquire, Ordering::Relaxed, add).ok()?;
        Some(Permit { of: Arc::clone(self) })
    }
}

/// A place among the requests in flight, until it is dropped.
#[derive(Debug)]
#[must_use = "dropping it gives the place up"]
pub struct Permit {
    of: Arc<InFlight>,
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.of.0.fetch_sub(1, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::Meeting;
    use super::*;
    use proptest::prelude::*;
    use std::sync::Barrier;
    use std::thread;

    fn limit(places: u32) -> Option<NonZeroU32> {
        NonZeroU32::new(places)
    }

    #[test]
    fn as_many_as_the_limit_get_in_and_one_that_leaves_makes_room() {
        let in_flight = Arc::new(InFlight::default());
        let first = in_flight.try_acquire(limit(2));
        let second = in_flight.try_acquire(limit(2));
        assert!(first.is_some() && second.is_some());
        assert!(in_flight.try_acquire(limit(2)).is_none());
        assert_eq!(in_flight.count(), 2);
        drop(first);
        assert_eq!(in_flight.count(), 1);
        assert!(in_flight.try_acquire(limit(2)).is_some());
        assert_eq!(in_flight.count(), 1, "a permit that is not kept is given up");
    }

    #[test]
    fn without_a_limit_everybody_gets_in_and_is_counted() {
        let in_flight = Arc::new(InFlight::default());
        let permits: Vec<_> = (0..10_000).map(|_| in_flight.try_acquire(None)).collect();
        assert!(permits.iter().all(Option::is_some));
        assert_eq!(in_flight.count(), 10_000);
        drop(permits);
        assert_eq!(in_flight.count(), 0);
    }

    #[test]
    fn whoever_has_to_get_in_takes_a_place_from_those_who_ask() {
        let in_flight = Arc::new(InFlight::default());
        let permits = [in_flight.acquire(), in_flight.acquire()];
        assert_eq!(in_flight.count(), 2);
        assert!(in_flight.try_acquire(limit(2)).is_none());
        drop(permits);
        assert_eq!(in_flight.count(), 0);
    }

    #[test]
    fn a_lowered_limit_declines_until_enough_have_left() {
        let in_flight = Arc::new(InFlight::default());
        let mut permits: Vec<_> = (0..5).filter_map(|_| in_flight.try_acquire(None)).collect();
        assert!(in_flight.try_acquire(limit(3)).is_none());
        permits.truncate(3);
        assert!(in_flight.try_acquire(limit(3)).is_none());
        permits.truncate(2);
        assert!(in_flight.try_acquire(limit(3)).is_some());
    }

    #[test]
    fn a_panic_gives_the_place_up() {
        let in_flight = Arc::new(InFlight::default());
        let holder = Arc::clone(&in_flight);
        let panicked = thread::spawn(move || {
            let _permit = holder.try_acquire(limit(1)).expect("there is room");
            panic!("on purpose");
        });
        assert!(panicked.join().is_err());
        assert_eq!(in_flight.count(), 0);
    }

    #[test]
    fn threads_never_exceed_the_limit_and_leave_nothing_behind() {
        const THREADS: u32 = 8;
        const LIMIT: u32 = 3;
        let in_flight = Arc::new(InFlight::default());
        // Counted apart from what is tested.
        let inside = AtomicU32::new(0);
        let barrier = Barrier::new(THREADS as usize);
        let enter = || {
            let Some(_permit) = in_flight.try_acquire(limit(LIMIT)) else { return 0 };
            assert!(inside.fetch_add(1, Ordering::SeqCst) < LIMIT, "too many inside");
            thread::yield_now();
            inside.fetch_sub(1, Ordering::SeqCst);
            1
        };
        let work = || {
            barrier.wait();
            (0..20_000).map(|_| enter()).sum::<u32>()
        };
        let acquired: u32 = thread::scope(|scope| {
            let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(work)).collect();
            threads.into_iter().map(|thread| thread.join().expect("never too many inside")).sum()
        });
        assert!(acquired > 0);
        assert_eq!(in_flight.count(), 0);
    }

    #[test]
    fn one_of_two_that_come_at_the_same_moment_gets_the_last_place() {
        const ROUNDS: u32 = 2_000;
        let in_flight = Arc::new(InFlight::default());
        let meeting = Meeting::default();
        let race = || {
            let round = |round| {
                meeting.meet(2 * round + 1);
                let permit = in_flight.try_acquire(limit(1));
                meeting.meet(2 * round + 2);
                permit.is_some()
            };
            (0..ROUNDS).map(round).collect::<Vec<_>>()
        };
        let [first, second] = thread::scope(|scope| {
            [scope.spawn(race), scope.spawn(race)].map(|thread| thread.join().expect("no panic"))
        });
        // Both permits of a round are given up before the next meeting.
        let odd = first.iter().zip(second).position(|(first, second)| *first == second);
        assert_eq!(odd, None, "a round in which both got it, or nobody");
        assert_eq!(in_flight.count(), 0);
    }

    proptest! {
        #[test]
        fn the_count_is_that_of_the_permits_held(
            steps in prop::collection::vec((any::<bool>(), 0_u32..6, any::<usize>()), 0..200),
        ) {
            let in_flight = Arc::new(InFlight::default());
            let mut held = Vec::new();
            for (enters, places, which) in steps {
                if enters {
                    let permit = in_flight.try_acquire(limit(places));
                    prop_assert_eq!(permit.is_some(), places == 0 || held.len() < places as usize);
                    held.extend(permit);
                } else if !held.is_empty() {
                    drop(held.swap_remove(which % held.len()));
                }
                prop_assert_eq!(in_flight.count() as usize, held.len());
            }
        }
    }
}
