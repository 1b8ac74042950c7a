//! How one of a service's endpoints is chosen, by the service's policy, and what has to be computed once for that.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::config::{Balance, HashKey};
use crate::traffic::in_flight::InFlight;

use super::ring::{self, Builder, Ring, RingSlot};
use super::{Endpoints, Policy};

/// Makes a service's plans by its policy: a new one each time that its endpoints change. Holds what outlives a plan.
#[derive(Debug, Default)]
pub(super) struct Planner {
    policy: Policy,
    balancer: Balancer,
}

/// A policy's [`Balance`], with what it works with.
#[derive(Debug, Default)]
enum Balancer {
    #[default]
    Random,
    RoundRobin(Arc<AtomicU64>),
    LeastRequest,
    Ewma,
    Hash(Arc<HashKey>, Arc<RingSlot>),
}

impl Planner {
    pub(super) fn new(policy: Policy) -> Self {
        Self::default().with(policy)
    }

    /// The planner of another policy. If both take turns, these go on. If both hash, they share the ring: it depends on
    /// the endpoints alone, and not on what of a request is hashed.
    pub(super) fn with(&self, policy: Policy) -> Self {
        let balancer = match (&policy.balance, &self.balancer) {
            (Balance::Random, _) => Balancer::Random,
            (Balance::RoundRobin, Balancer::RoundRobin(turns)) => Balancer::RoundRobin(turns.clone()),
            (Balance::RoundRobin, _) => Balancer::RoundRobin(Arc::default()),
            (Balance::LeastRequest, _) => Balancer::LeastRequest,
            (Balance::Ewma, _) => Balancer::Ewma,
            (Balance::Hash(key), Balancer::Hash(_, slot)) => Balancer::Hash(key.clone().into(), slot.clone()),
            (Balance::Hash(key), _) => Balancer::Hash(key.clone().into(), Arc::default()),
        };
        Self { policy, balancer }
    }

    pub(super) fn policy(&self) -> &Policy {
        &self.policy
    }

    /// `in_flight` are the service's requests.
    pub(super) fn plan(
        &self,
        endpoints: &Endpoints,
        in_flight: &Arc<InFlight>,
        builder: &mut Builder,
    ) -> Plan {
        match &self.balancer {
            Balancer::Random => Plan::Random,
            Balancer::RoundRobin(turns) => Plan::RoundRobin(Schedule::new(endpoints, turns.clone())),
            Balancer::LeastRequest => Plan::LeastRequest,
            Balancer::Ewma => Plan::Ewma,
            Balancer::Hash(key, slot) => {
                // Endpoints of every rank are on the ring: one that is ejected and returns has its former keys, and no
                // ring has to be built.
                let nodes = endpoints.entries().iter().filter(|entry| entry.weight > 0).map(ring::Node::of);
                builder.build(slot, nodes.collect());
                Plan::Hash(Hashing::new(endpoints, key.clone(), slot.clone(), in_flight.clone()))
            }
        }
    }
}

/// How to choose among a service's endpoints, with what had to be computed from them.
#[derive(Debug, Default)]
pub enum Plan {
    /// Any, by weight.
    #[default]
    Random,
    /// One after the other, by weight.
    RoundRobin(Schedule),
    /// Of two drawn by weight, the one with fewer requests in flight for its weight.
    LeastRequest,
    /// Of two drawn by weight, the one that is expected to answer sooner.
    Ewma,
    /// By a key.
    Hash(Hashing),
}

impl Plan {
    /// What of a request is hashed; none: nothing is.
    pub(crate) fn hash_key(&self) -> Option<&HashKey> {
        match self {
            Plan::Hash(hashing) => Some(&hashing.key),
            Plan::Random | Plan::RoundRobin(_) | Plan::LeastRequest | Plan::Ewma => None,
        }
    }
}

/// The order in which endpoints have their turns.
///
/// It is not stored: with weights up to 1,000 it could be a hundred million turns long. Each endpoint of the
/// best rank takes as much of a line as its weight, and the turns step round that line with a stride that
/// has no divisor in common with its length. So within one round each gets exactly its share, and nobody
/// comes twice in it where the weights are equal. The stride is next to the golden section of the line,
/// whose multiples lie apart as evenly as those of any number (the three-gap theorem): within any part of a
/// round each gets about its share, too.
#[derive(Debug)]
pub struct Schedule {
    /// Turns taken so far. The service's: it goes on when the endpoints change.
    turns: Arc<AtomicU64>,
    /// The length of a round; 0: there is nobody.
    length: u32,
    stride: u32,
    /// What a turn stands for: the greatest divisor that all weights have in common.
    unit: u32,
}

/// 1 / the golden ratio.
const GOLDEN: f64 = 0.618_033_988_749_894_9;

impl Schedule {
    fn new(endpoints: &Endpoints, turns: Arc<AtomicU64>) -> Self {
        let best = endpoints.entries().iter().filter(|entry| endpoints.is_best(entry));
        let unit = best.map(|entry| entry.weight.into()).fold(0, divisor).max(1);
        let length = endpoints.total() / unit;
        Self { turns, length, stride: stride(length), unit }
    }

    /// Takes a turn: the point of the line that it falls on. None: there is nobody.
    pub(crate) fn turn(&self) -> Option<u32> {
        let turn = self.turns.fetch_add(1, Ordering::Relaxed).checked_rem(self.length.into())?;
        let step = turn * u64::from(self.stride) % u64::from(self.length);
        u32::try_from(step).ok().map(|step| step * self.unit)
    }
}

/// The number next to the golden section of a line that has no divisor in common with it.
fn stride(length: u32) -> u32 {
    let section = (f64::from(length) * GOLDEN) as u32;
    let near = (0..=section).flat_map(|off| [section + off, section - off]);
    near.into_iter().find(|stride| divisor(*stride, length) == 1).unwrap_or(1)
}

/// The greatest that two numbers have in common (Euclid); of 0 and another, the other.
fn divisor(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { divisor(b, a % b) }
}

/// What it takes to find a key's endpoint.
#[derive(Debug)]
pub struct Hashing {
    key: Arc<HashKey>,
    ring: Arc<RingSlot>,
    /// Where the endpoints stand among the entries, by the names that the ring knows them by.
    places: Box<[(u64, u32)]>,
    in_flight: Arc<InFlight>,
}

impl Hashing {
    fn new(endpoints: &Endpoints, key: Arc<HashKey>, ring: Arc<RingSlot>, in_flight: Arc<InFlight>) -> Self {
        let entries = endpoints.entries().iter();
        let mut places: Box<_> =
            (0..).zip(entries).map(|(place, entry)| (ring::name(&entry.endpoint.instance), place)).collect();
        places.sort_unstable();
        Self { key, ring, places, in_flight }
    }

    /// The ring that was built last: of these endpoints, or for a moment after a change of those before.
    /// None before the first.
    pub(crate) fn ring(&self) -> arc_swap::Guard<Option<Arc<Ring>>> {
        self.ring.load()
    }

    /// Whether the ring is of the endpoints as they are now.
    pub fn is_built(&self) -> bool {
        self.ring.is_built()
    }

    /// Where the endpoint stands among the entries that the ring knows by this name.
    pub(crate) fn place(&self, name: u64) -> Option<usize> {
        let found = self.places.binary_search_by_key(&name, |(name, _)| *name).ok()?;
        self.places.get(found).map(|(_, place)| *place as usize)
    }

    /// Requests in flight in the service, the one to be sent included.
    pub(crate) fn in_flight(&self) -> u32 {
        self.in_flight.count().max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_stride_has_no_divisor_in_common_with_its_line_and_is_near_its_golden_section() {
        for length in (1..5_000).chain([65_536, 100_000, 720_720, 100_000_000, u32::MAX]) {
            let stride = stride(length);
            assert_eq!(divisor(stride, length), 1, "{length}");
            let off = (f64::from(stride) - f64::from(length) * GOLDEN).abs();
            assert!(off <= 20.0, "{stride} of {length}");
        }
    }

    proptest! {
        #[test]
        fn a_round_steps_on_each_point_once(length in 1_u32..3_000, begun in any::<u32>()) {
            let turns = Arc::new(AtomicU64::new(begun.into()));
            let schedule = Schedule { turns, length, stride: stride(length), unit: 1 };
            let mut points: Vec<_> = (0..length).filter_map(|_| schedule.turn()).collect();
            points.sort_unstable();
            prop_assert!(points.into_iter().eq(0..length));
        }
    }
}
