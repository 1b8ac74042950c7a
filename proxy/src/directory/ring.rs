//! The ring of a service whose requests are hashed, and the thread that builds the large ones.
//!
//! The ring is Ketama's: each endpoint has 160 points on a circle. A key falls somewhere on the circle, and goes to the
//! endpoint whose point comes next. When an endpoint leaves, its keys are spread over all others, and no other key
//! moves.
//!
//! Ketama's ring has whole points, of at most 65,535 endpoints, and knows addresses instead of names. So here weights
//! are counted in units ([`unit()`]), a service with more endpoints has several rings ([`SHARED`]), and a name is written
//! as an address ([`address`]).

use std::net::{Ipv6Addr, SocketAddr, SocketAddrV6};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::Instant;
use std::{fmt, thread};

use arc_swap::{ArcSwapOption, Guard};
use pingora_ketama::{Bucket, Continuum};

use super::Entry;

/// A ring of at most so many endpoints is built at once: that takes less than a millisecond. One of 10,000 takes some
/// 200 ms, and is built by a thread of its own.
const SMALL: usize = 64;
/// After a build, the thread rests so many times as long as the build took. So however often endpoints come and go, it
/// takes at most a fifth of a core.
const REST: u32 = 4;
/// About so many endpoints share a ring. Ketama counts them in 16 bits, so more take several rings.
const SHARED: usize = 32_768;
/// All endpoints together have at most about so many units for each endpoint: where a few are much heavier than the
/// others, the unit is made larger until that holds.
const HEAVY: u32 = 8;

/// What is known of an endpoint on a ring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Node {
    name: u64,
    weight: u16,
}

impl Node {
    pub(super) fn of(entry: &Entry) -> Self {
        Self { name: name(&entry.endpoint.instance), weight: entry.weight }
    }
}

/// What an instance is called on a ring. It is the same in every gateway and at every address: two gateways
/// send a key to the same instance, and one that starts again with its former id has its former keys.
pub(super) fn name(instance: &str) -> u64 {
    hash(instance.as_bytes())
}

/// A hash that is the same in every gateway and every release. It has no secret: a client who chooses the key can
/// choose the endpoint as well.
pub(crate) fn hash(bytes: &[u8]) -> u64 {
    // Similar bytes leave FNV's high bits similar.
    mix(fnv(bytes))
}

/// FNV-1a, 64 bits.
fn fnv(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// Spreads what tells numbers apart over all their bits (the finalizer of SplitMix64).
pub fn mix(number: u64) -> u64 {
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

/// For each key, the order in which endpoints are asked to take it.
pub(crate) struct Ring {
    version: u64,
    unit: u32,
    shards: Box<[Continuum]>,
}

impl Ring {
    fn new(nodes: &[Node], version: u64) -> Self {
        let unit = unit(nodes);
        let count = (nodes.len() / SHARED + 1).next_power_of_two();
        let mut shards = vec![Vec::new(); count];
        for node in nodes.iter().filter(|node| node.weight > 0) {
            let units = u32::from(node.weight).div_ceil(unit);
            if let Some(shard) = shards.get_mut(shard(node.name, count)) {
                shard.push(Bucket::new(address(node.name), units));
            }
        }
        let shards = shards.iter().map(|buckets| Continuum::new(buckets)).collect();
        Self { version, unit, shards }
    }

    /// Walks round the ring from where a key falls, without end: the endpoint's name at each point.
    pub(crate) fn names(&self, key: u64) -> impl Iterator<Item = u64> {
        let shard = self.shards.get(shard(key, self.shards.len()));
        shard.into_iter().flat_map(move |ring| ring.node_iter(&key.to_le_bytes())).map(name_of)
    }

    /// Which part of the keys that fall to it an endpoint of this weight may keep, from 0 to 1. It has the points of
    /// whole units, rounded up, which may be more than its weight.
    pub(crate) fn kept(&self, weight: u16) -> f32 {
        let weight = u32::from(weight);
        weight as f32 / (weight.div_ceil(self.unit).max(1) * self.unit) as f32
    }
}

impl fmt::Debug for Ring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ring").field("unit", &self.unit).finish_non_exhaustive()
    }
}

/// The weight that has 160 points. It is the median, so that most endpoints have 160 points, and so that it seldom
/// changes when an endpoint comes or goes: all points would move. It is more than the median if a few endpoints are so
/// heavy that the ring would have too many points ([`HEAVY`]).
fn unit(nodes: &[Node]) -> u32 {
    let mut weights: Vec<_> = nodes.iter().map(|node| u32::from(node.weight)).collect();
    let middle = weights.len() / 2;
    let count = u32::try_from(weights.len()).unwrap_or(u32::MAX);
    if weights.is_empty() {
        return 1;
    }
    // Rounded up, so that the units of all stay below the bound.
    let mean = weights.iter().copied().fold(0, u32::saturating_add).div_ceil(count);
    let (_, median, _) = weights.select_nth_unstable(middle);
    (*median).max(mean.div_ceil(HEAVY).next_power_of_two())
}

fn shard(hash: u64, count: usize) -> usize {
    // The high half of the bits, as the place within a ring must not depend on which ring it is.
    (mix(hash) >> 32) as usize % count.max(1)
}

/// A name as an address: Ketama takes nothing else. (The endpoint's own address would not do: two instances may have
/// the same one.)
fn address(name: u64) -> SocketAddr {
    SocketAddrV6::new(Ipv6Addr::from(u128::from(name)), 0, 0, 0).into()
}

fn name_of(address: &SocketAddr) -> u64 {
    match address {
        SocketAddr::V6(address) => u128::from(*address.ip()) as u64,
        SocketAddr::V4(_) => 0,
    }
}

fn fingerprint(nodes: &[Node]) -> u64 {
    nodes.iter().fold(1, |sum, node| mix(sum ^ node.name ^ (u64::from(node.weight) << 48)))
}

/// Where a service's ring is found once it is built.
#[derive(Debug, Default)]
pub(super) struct RingSlot {
    ring: ArcSwapOption<Ring>,
    /// The endpoints as they are now: their fingerprint...
    nodes: AtomicU64,
    /// ...and how many times they have changed.
    version: AtomicU64,
}

impl RingSlot {
    pub(super) fn load(&self) -> Guard<Option<Arc<Ring>>> {
        self.ring.load()
    }

    pub(super) fn is_built(&self) -> bool {
        version(&self.load()) == self.version.load(Ordering::Acquire)
    }

    /// Stores a ring, unless a later one is there: a ring that is built at once may be done before the thread is with
    /// an earlier one.
    fn store(&self, ring: Ring) {
        let ring = Some(Arc::new(ring));
        self.ring.rcu(|found| if version(found) > version(&ring) { found.clone() } else { ring.clone() });
    }
}

fn version(ring: &Option<Arc<Ring>>) -> u64 {
    ring.as_ref().map_or(0, |ring| ring.version)
}

/// Builds rings: a small one at once, a large one in a thread, while the service goes on with its last one.
/// The thread ends with the builder.
#[derive(Debug, Default)]
pub(super) struct Builder {
    thread: Option<Sender<Job>>,
}

impl Builder {
    /// Puts a ring of these endpoints into the slot, soon. If there is one already, nothing happens.
    pub(super) fn build(&mut self, slot: &Arc<RingSlot>, nodes: Vec<Node>) {
        let fingerprint = fingerprint(&nodes);
        if slot.nodes.swap(fingerprint, Ordering::Relaxed) == fingerprint {
            return;
        }
        let version = slot.version.fetch_add(1, Ordering::AcqRel) + 1;
        let job = Job { slot: slot.clone(), version, nodes };
        if job.nodes.len() <= SMALL {
            return job.run();
        }
        let sent = self.thread.get_or_insert_with(start).send(job);
        // The system did not let us start a thread: then it is built here.
        if let Err(mpsc::SendError(job)) = sent {
            job.run();
        }
    }
}

fn start() -> Sender<Job> {
    let (sender, jobs) = mpsc::channel();
    // If it fails, the jobs' receiver is gone, and the sender is told so.
    let _ = thread::Builder::new().name("ring".into()).spawn(move || run(&jobs));
    sender
}

fn run(jobs: &Receiver<Job>) {
    // A job that has been overtaken by a later one is not worth its time; the later one comes next.
    for job in jobs.iter().filter(Job::is_wanted) {
        let begun = Instant::now();
        job.run();
        thread::sleep(begun.elapsed() * REST);
    }
}

#[derive(Debug)]
struct Job {
    slot: Arc<RingSlot>,
    version: u64,
    nodes: Vec<Node>,
}

impl Job {
    fn is_wanted(&self) -> bool {
        self.slot.version.load(Ordering::Acquire) == self.version
    }

    fn run(self) {
        self.slot.store(Ring::new(&self.nodes, self.version));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn nodes(weights: &[u16]) -> Vec<Node> {
        let node = |(n, weight): (usize, &u16)| Node { name: name(&n.to_string()), weight: *weight };
        weights.iter().enumerate().map(node).collect()
    }

    #[test]
    fn the_unit_is_what_most_weights_are_and_a_canary_does_not_change_it() {
        assert_eq!(unit(&nodes(&[1; 10])), 1);
        assert_eq!(unit(&nodes(&[100; 10])), 100);
        assert_eq!(unit(&nodes(&[100, 100, 100, 1])), 100);
        assert_eq!(unit(&nodes(&[100, 100, 100, 1000])), 100);
        assert_eq!(unit(&[]), 1);
    }

    #[test]
    fn a_point_gives_back_the_name_that_it_was_made_of() {
        let known = nodes(&[1; 50]);
        let ring = Ring::new(&known, 1);
        let found: std::collections::BTreeSet<_> = ring.names(42).take(50 * 160).collect();
        assert_eq!(found, known.iter().map(|node| node.name).collect());
    }

    #[test]
    fn an_earlier_ring_that_is_ready_later_replaces_none() {
        let slot = RingSlot::default();
        slot.store(Ring::new(&nodes(&[1; 3]), 2));
        slot.store(Ring::new(&nodes(&[1; 100]), 1));
        assert_eq!(version(&slot.load()), 2);
        slot.store(Ring::new(&nodes(&[1; 4]), 3));
        assert_eq!(version(&slot.load()), 3);
    }

    #[test]
    fn shards_are_about_as_large_as_each_other() {
        let mut sizes = [0_u32; 4];
        nodes(&[1; 100_000]).iter().for_each(|node| sizes[shard(node.name, 4)] += 1);
        assert!(sizes.iter().all(|size| size.abs_diff(25_000) < 1_000), "{sizes:?}");
    }

    #[test]
    fn hashes_never_change() {
        // From the authors' test vectors (draft-eastlake-fnv, appendix C).
        assert_eq!(fnv(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv(b"a"), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(fnv(b"foobar"), 0x8594_4171_f739_67e8);
        // The first number of SplitMix64 from seed 0.
        assert_eq!(mix(0x9e37_79b9_7f4a_7c15), 0xe220_a839_7b1d_cdaf);
    }

    #[test]
    fn an_empty_ring_has_nobody() {
        assert_eq!(Ring::new(&[], 1).names(42).next(), None);
    }

    #[test]
    fn a_mean_between_two_units_is_rounded_up() {
        // 262.1 on the mean: 8.2 units of 32.
        assert_eq!(unit(&nodes(&[1, 1, 1000, 1, 1, 353, 1, 1000, 1])), 64);
    }

    proptest! {
        #[test]
        fn there_are_at_most_nine_units_for_each_endpoint(
            weights in prop::collection::vec(prop_oneof![1_u16..4, 1..=1000_u16, Just(1000)], 1..300),
        ) {
            let unit = unit(&nodes(&weights));
            let units: u32 = weights.iter().map(|weight| u32::from(*weight).div_ceil(unit)).sum();
            prop_assert!(units as usize <= 9 * weights.len(), "{units} for {}", weights.len());
            let ring = Ring { version: 1, unit, shards: Box::default() };
            prop_assert!(weights.iter().all(|weight| (0.0..=1.0).contains(&ring.kept(*weight))));
        }
    }
}
