//! How many connections clients have, in all and of each address.

use std::collections::HashMap;
use std::collections::hash_map::{Entry, RandomState};
use std::hash::BuildHasher;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::config::Connections;

/// So many parts there are of the addresses, each under its own lock: with them two of 64 threads seldom meet.
const SHARDS: usize = 64;

/// How many connections there are. It holds no more addresses than there are connections.
#[derive(Debug)]
pub(super) struct Crowd {
    all: AtomicU32,
    of: [Mutex<HashMap<Key, u32, RandomState>>; SHARDS],
    /// Without a secret, clients could choose addresses that all fall into one place.
    hasher: RandomState,
}

/// Where a client counts as one: an IPv4 address, or the first half of an IPv6 address, as who has one has all of its
/// /64. (No IPv4 address is taken for the other's half: of those below `::/32` there are none but `::1`.)
type Key = u64;

/// Why somebody may not enter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Full {
    /// There are as many connections as may be.
    All,
    /// There are as many as one address may have.
    Address,
}

/// A connection's place, for as long as it is held.
#[derive(Debug)]
pub(super) struct Place {
    crowd: Arc<Crowd>,
    key: Option<Key>,
}

impl Crowd {
    pub(super) fn new() -> Arc<Self> {
        let hasher = RandomState::new();
        let shard = |_| Mutex::new(HashMap::with_hasher(hasher.clone()));
        Arc::new(Self { all: AtomicU32::new(0), of: std::array::from_fn(shard), hasher })
    }

    /// Takes a place, if there is one by these limits. Those that are held already stay, however many.
    pub(super) fn enter(
        self: &Arc<Self>,
        address: Option<IpAddr>,
        limits: &Connections,
        is_counted_per_address: bool,
    ) -> Result<Place, Full> {
        let below = |count| (count < limits.max.get()).then(|| count + 1);
        self.all.fetch_update(Ordering::Relaxed, Ordering::Relaxed, below).map_err(|_| Full::All)?;
        // From here on it leaves again when it is dropped.
        let mut place = Place { crowd: self.clone(), key: None };
        if let Some(address) = address.filter(|_| is_counted_per_address) {
            let key = key(address);
            self.count(key, limits.per_address)?;
            place.key = Some(key);
        }
        Ok(place)
    }

    /// How many there are.
    pub(super) fn len(&self) -> u32 {
        self.all.load(Ordering::Relaxed)
    }

    fn count(&self, key: Key, most: NonZeroU32) -> Result<(), Full> {
        let mut shard = self.shard(key);
        let count = shard.entry(key).or_default();
        // (An entry that is new is below any limit.)
        if *count >= most.get() {
            return Err(Full::Address);
        }
        *count += 1;
        Ok(())
    }

    fn leave(&self, key: Key) {
        if let Entry::Occupied(mut count) = self.shard(key).entry(key) {
            match count.get() {
                ..=1 => drop(count.remove()),
                _ => *count.get_mut() -= 1,
            }
        }
    }

    fn shard(&self, key: Key) -> MutexGuard<'_, HashMap<Key, u32, RandomState>> {
        // (The map takes its place from the lower bits of the same hash.)
        let at = (self.hasher.hash_one(key) >> 32) as usize % SHARDS;
        self.of[at].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(key) = self.key {
            self.crowd.leave(key);
        }
        self.crowd.all.fetch_sub(1, Ordering::Relaxed);
    }
}

fn key(address: IpAddr) -> Key {
    match address.to_canonical() {
        IpAddr::V4(address) => address.to_bits().into(),
        IpAddr::V6(address) => (address.to_bits() >> 64) as Key,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn limits(max: u32, per_address: u32) -> Connections {
        let [max, per_address] = [max, per_address].map(|limit| NonZeroU32::new(limit).unwrap());
        Connections { max, per_address, ..Connections::default() }
    }

    fn address(text: &str) -> Option<IpAddr> {
        Some(text.parse().unwrap())
    }

    fn addresses(crowd: &Crowd) -> usize {
        crowd.of.iter().map(|shard| shard.lock().unwrap().len()).sum()
    }

    #[test]
    fn who_leaves_makes_room_and_nothing_stays_of_him() {
        let (crowd, limits) = (Crowd::new(), limits(2, 1));
        let first = crowd.enter(address("192.0.2.1"), &limits, true).unwrap();
        assert_eq!(crowd.enter(address("192.0.2.1"), &limits, true).unwrap_err(), Full::Address);
        // Who was refused has no place.
        let second = crowd.enter(address("192.0.2.2"), &limits, true).unwrap();
        assert_eq!(crowd.enter(address("192.0.2.3"), &limits, true).unwrap_err(), Full::All);
        drop(first);
        let first = crowd.enter(address("192.0.2.1"), &limits, true).unwrap();
        drop((first, second));
        assert_eq!((crowd.len(), addresses(&crowd)), (0, 0));
    }

    #[test]
    fn an_address_is_one_in_both_of_its_forms_and_a_client_has_all_of_its_64() {
        for (one, other, is_same) in [
            ("192.0.2.1", "::ffff:192.0.2.1", true),
            ("192.0.2.1", "192.0.2.2", false),
            ("2001:db8:0:1::1", "2001:db8:0:1:ffff:ffff:ffff:ffff", true),
            ("2001:db8:0:1::1", "2001:db8:0:2::1", false),
            ("192.0.2.1", "2001:db8::1", false),
            ("0.0.0.1", "2001:db8::1", false),
        ] {
            let (crowd, limits) = (Crowd::new(), limits(9, 1));
            let _place = crowd.enter(address(one), &limits, true).unwrap();
            assert_eq!(crowd.enter(address(other), &limits, true).is_err(), is_same, "{one} {other}");
        }
    }

    #[test]
    fn whoever_is_not_counted_by_address_is_counted_among_all() {
        let (crowd, limits) = (Crowd::new(), limits(3, 1));
        let proxy = || crowd.enter(address("192.0.2.1"), &limits, false);
        let _places = [proxy().unwrap(), proxy().unwrap(), crowd.enter(None, &limits, true).unwrap()];
        assert_eq!((proxy().unwrap_err(), addresses(&crowd)), (Full::All, 0));
    }

    #[test]
    fn limits_may_change_while_places_are_held() {
        let (crowd, from) = (Crowd::new(), address("192.0.2.1"));
        let enter = |max, per_address| crowd.enter(from, &limits(max, per_address), true);
        let mut places: Vec<_> = (0..5).map(|_| enter(9, 5).unwrap()).collect();
        assert_eq!(enter(9, 3).unwrap_err(), Full::Address);
        assert_eq!(enter(3, 9).unwrap_err(), Full::All);
        places.truncate(3);
        assert_eq!(enter(9, 3).unwrap_err(), Full::Address);
        places.truncate(2);
        places.push(enter(3, 3).unwrap());
        assert_eq!(enter(3, 9).unwrap_err(), Full::All);
        places.push(enter(4, 4).unwrap());
    }

    #[test]
    fn threads_that_come_and_go_at_once_never_exceed_the_limits() {
        let (crowd, limits) = (Crowd::new(), limits(6, 2));
        let counts: [AtomicU32; 4] = Default::default();
        std::thread::scope(|scope| {
            for thread in 0..8_usize {
                let (crowd, limits, counts) = (&crowd, &limits, &counts);
                scope.spawn(move || {
                    for round in 0..2_000 {
                        let at = (thread + round) % counts.len();
                        let from = address(&format!("192.0.2.{at}"));
                        let Ok(place) = crowd.enter(from, limits, true) else { continue };
                        assert!(counts[at].fetch_add(1, Ordering::SeqCst) < 2);
                        assert!(crowd.len() <= 6);
                        counts[at].fetch_sub(1, Ordering::SeqCst);
                        drop(place);
                    }
                });
            }
        });
        assert_eq!((crowd.len(), addresses(&crowd)), (0, 0));
    }

    /// What somebody does.
    #[derive(Debug, Clone)]
    enum Step {
        Enters { from: Option<u8>, max: u32, per_address: u32, is_counted: bool },
        Leaves(prop::sample::Index),
    }

    fn step() -> impl Strategy<Value = Step> {
        let enters = (prop::option::weighted(0.9, 0..5_u8), 1..12_u32, 1..5_u32, prop::bool::weighted(0.8));
        let enters = enters.prop_map(|(from, max, per_address, is_counted)| Step::Enters {
            from,
            max,
            per_address,
            is_counted,
        });
        prop_oneof![2 => enters, 1 => any::<prop::sample::Index>().prop_map(Step::Leaves)]
    }

    proptest! {
        #[test]
        fn it_counts_as_a_list_of_all_does(steps in prop::collection::vec(step(), 0..200)) {
            let (crowd, mut held) = (Crowd::new(), Vec::<(Place, Option<u8>)>::new());
            for step in steps {
                match step {
                    Step::Enters { from, max, per_address, is_counted } => {
                        let counted = from.filter(|_| is_counted);
                        let of_address = held.iter().filter(|(_, of)| of.is_some() && *of == counted).count();
                        let expected = match () {
                            () if held.len() >= max as usize => Err(Full::All),
                            () if of_address >= per_address as usize => Err(Full::Address),
                            () => Ok(()),
                        };
                        let address = from.map(|from| IpAddr::from([192, 0, 2, from]));
                        let entered = crowd.enter(address, &limits(max, per_address), is_counted);
                        prop_assert_eq!(entered.as_ref().map(drop).map_err(|full| *full), expected);
                        held.extend(entered.ok().map(|place| (place, counted)));
                    }
                    Step::Leaves(at) if !held.is_empty() => drop(held.swap_remove(at.index(held.len()))),
                    Step::Leaves(_) => {}
                }
                let counted: std::collections::HashSet<_> = held.iter().filter_map(|(_, of)| *of).collect();
                prop_assert_eq!((crowd.len() as usize, addresses(&crowd)), (held.len(), counted.len()));
            }
        }
    }
}
