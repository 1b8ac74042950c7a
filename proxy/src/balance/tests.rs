use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use registry::contract::{Instance, Record};
use registry::watch::{Change, Update};

use super::*;
use crate::config::{Balance, HashKey, Initially};
use crate::directory::Finding;
use crate::directory::{self, Policy, Service, Writer};
use crate::traffic::in_flight::Permit;

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

fn every_policy() -> [Balance; 5] {
    [
        Balance::Random,
        Balance::RoundRobin,
        Balance::LeastRequest,
        Balance::Ewma,
        Balance::Hash(HashKey::Client),
    ]
}

/// A service `goods`, its writer, a source of chance and a clock.
struct Bench {
    service: Arc<Service>,
    writer: Writer,
    chance: fastrand::Rng,
    published: Instant,
    now: Instant,
    key: Option<u64>,
}

fn instance(id: &str, weight: u16, address: [u8; 4]) -> Instance {
    let record = Record { weight, ..Record::new((address, 80).into()) };
    Instance { service: "goods".into(), id: id.into(), record, lease: 0, revision: 1 }
}

/// The instances `0`, `1`, ... with these weights.
fn instances(weights: &[u16]) -> Vec<Instance> {
    (0..).zip(weights).map(|(n, weight): (u16, _)| instance(&id(n), *weight, address(n))).collect()
}

/// In the order of the numbers.
fn id(n: u16) -> String {
    format!("{n:05}")
}

fn address(n: u16) -> [u8; 4] {
    let [high, low] = n.to_be_bytes();
    [10, 0, high, low]
}

impl Bench {
    fn new(balance: Balance, weights: &[u16]) -> Self {
        Self::with(Policy { balance, ..Policy::default() }, weights)
    }

    /// The endpoints were there before the gateway.
    fn with(policy: Policy, weights: &[u16]) -> Self {
        let (directory, writer) = directory::with_routed([("goods", policy)]);
        let service = directory.service("goods").unwrap();
        let (chance, now) = (fastrand::Rng::with_seed(7), Instant::now());
        let mut bench = Self { service, writer, chance, published: now, now, key: None };
        bench.stage(Update::Reset { instances: instances(weights), refused: Vec::new(), revision: 1 });
        bench
    }

    fn stage(&mut self, update: Update) {
        self.writer.hear(update);
        self.publish();
    }

    fn publish(&mut self) {
        self.published += SECOND;
        let published = self.published;
        self.writer.publish(|| published);
    }

    fn put(&mut self, instance: Instance) {
        self.stage(Update::Apply { changes: vec![Change::Put(instance)], revision: 2 });
    }

    /// Its registration vanishes: it is of the second rank from now on.
    fn delete(&mut self, n: u16) {
        let change = Change::Delete { service: "goods".into(), id: id(n).into(), revision: 3 };
        self.stage(Update::Apply { changes: vec![change], revision: 3 });
    }

    fn remove(&mut self, n: u16) {
        self.delete(n);
        self.writer.remove(&"goods".into(), &id(n)).unwrap();
        self.publish();
    }

    fn judge(&mut self, n: u16, finding: Finding) {
        self.writer.find(&self.entry(n).endpoint, finding);
        self.publish();
    }

    fn entry(&self, n: u16) -> Entry {
        let endpoints = self.service.endpoints();
        endpoints.entries().iter().find(|entry| *entry.endpoint.instance == id(n)).unwrap().clone()
    }

    /// An endpoint with so many more requests in flight.
    fn busy(&self, n: u16, requests: u32) -> Vec<Permit> {
        let endpoint = self.entry(n).endpoint;
        let counts = [self.service.in_flight(), &endpoint.traffic.in_flight];
        (0..requests).flat_map(|_| counts.map(|count| count.try_acquire(None).unwrap())).collect()
    }

    /// The number of the endpoint that is chosen.
    fn pick(&mut self, tried: &[u64], limit: Option<NonZeroU32>) -> Option<u16> {
        let key = self.key.unwrap_or_else(|| self.chance.u64(..));
        let choice = Choice { tried, chance: self.chance.u64(..), now: self.now, key, limit };
        let endpoints = self.service.endpoints();
        pick(&endpoints, &choice).map(|entry| entry.endpoint.instance.parse().unwrap())
    }

    fn pick_any(&mut self) -> u16 {
        self.pick(&[], None).unwrap()
    }

    fn keyed(&mut self, key: u64) -> u16 {
        self.key = Some(key);
        let picked = self.pick_any();
        self.key = None;
        picked
    }

    fn pick_any_and_hold(&mut self) -> Option<Permit> {
        let n = self.pick_any();
        self.entry(n).endpoint.traffic.in_flight.try_acquire(None)
    }

    fn answers(&self, n: u16, waited: Duration) {
        self.entry(n).endpoint.traffic.latency.record(waited, self.now);
    }

    /// Of so many choices, the part that goes to each.
    fn shares(&mut self, picks: u32) -> BTreeMap<u16, f64> {
        self.shares_without(&[], picks)
    }

    fn shares_without(&mut self, tried: &[u64], picks: u32) -> BTreeMap<u16, f64> {
        let mut shares = BTreeMap::new();
        for _ in 0..picks {
            if let Some(n) = self.pick(tried, None) {
                *shares.entry(n).or_insert(0.0) += 1.0 / f64::from(picks);
            }
        }
        shares
    }
}

#[track_caller]
fn assert_near(share: f64, expected: f64, tolerance: f64) {
    assert!((share - expected).abs() < tolerance, "{share} is not near {expected}");
}

#[test]
fn shares_follow_the_weights_whatever_the_policy() {
    for balance in every_policy() {
        // A ring has 160 points for each: that is as even as it gets. More points are not worth their time.
        let tolerance = if matches!(balance, Balance::Hash(_)) { 0.08 } else { 0.01 };
        let mut bench = Bench::new(balance.clone(), &[1, 2, 5, 0]);
        let shares = bench.shares(100_000);
        println!("{balance:?}: {shares:?}");
        assert_near(shares[&0], 0.125, tolerance);
        assert_near(shares[&1], 0.25, tolerance);
        assert_near(shares[&2], 0.625, tolerance);
        assert!(!shares.contains_key(&3), "a draining endpoint gets nothing");
    }
}

#[test]
fn one_of_a_thousandth_of_the_weight_gets_its_part_and_hardly_more() {
    for balance in every_policy() {
        let mut bench = Bench::new(balance.clone(), &[1000, 1]);
        let _busy = bench.busy(0, 3);
        let share = bench.shares(30_000).get(&1).copied().unwrap_or(0.0);
        assert!(share > 0.0003 && share < 0.003, "{balance:?}: {share}");
    }
}

#[test]
fn what_was_tried_is_not_chosen_and_the_rest_keeps_its_shares() {
    for balance in every_policy() {
        let tolerance = if matches!(balance, Balance::Hash(_)) { 0.08 } else { 0.01 };
        let mut bench = Bench::new(balance, &[4, 1, 3]);
        let shares = bench.shares_without(&[1], 100_000);
        assert!(!shares.contains_key(&0));
        assert_near(shares[&1], 0.25, tolerance);
        assert_near(shares[&2], 0.75, tolerance);
    }
}

#[test]
fn an_endpoint_in_doubt_is_chosen_only_where_no_other_is_left() {
    for balance in every_policy() {
        let mut bench = Bench::new(balance, &[1, 3]);
        bench.delete(1);
        for _ in 0..1000 {
            assert_eq!(bench.pick(&[], None), Some(0));
            assert_eq!(bench.pick(&[1], None), Some(1), "the next rank");
        }
        assert_eq!(bench.pick(&[1, 2], None), None);
    }
}

#[test]
fn endpoints_in_doubt_have_their_shares_among_each_other() {
    let mut bench = Bench::new(Balance::Random, &[1, 3]);
    bench.delete(0);
    bench.delete(1);
    assert_near(bench.shares(100_000)[&1], 0.75, 0.01);
}

#[test]
fn nothing_is_chosen_where_there_is_nothing_left() {
    for balance in every_policy() {
        assert_eq!(Bench::new(balance.clone(), &[]).pick(&[], None), None);
        assert_eq!(Bench::new(balance.clone(), &[0, 0]).pick(&[], None), None);
        assert_eq!(Bench::new(balance, &[1, 0]).pick(&[1], None), None);
    }
}

#[test]
fn an_endpoint_at_its_limit_is_passed_over() {
    let limit = NonZeroU32::new(2);
    for balance in every_policy() {
        let mut bench = Bench::new(balance, &[1, 1, 1]);
        let full = bench.busy(1, 2);
        let others: BTreeSet<_> = (0..1000).filter_map(|_| bench.pick(&[], limit)).collect();
        assert_eq!(others, [0, 2].into());
        let all_full = (bench.busy(0, 2), bench.busy(2, 3));
        assert_eq!(bench.pick(&[], limit), None);
        drop(full);
        assert_eq!(bench.pick(&[], limit), Some(1));
        drop(all_full);
    }
}

#[test]
fn that_all_others_are_busy_sends_nothing_to_one_that_fails_but_to_one_in_doubt() {
    let limit = NonZeroU32::new(2);
    for balance in every_policy() {
        let mut bench = Bench::new(balance, &[1, 1, 1]);
        bench.judge(2, Finding::Unhealthy);
        let _full = (bench.busy(0, 2), bench.busy(1, 2));
        assert_eq!(bench.pick(&[], limit), None);
        assert_eq!(bench.pick(&[1], limit), None);
        assert_eq!(bench.pick(&[1, 2], limit), Some(2), "the last hope");
        bench.judge(2, Finding::Healthy);
        bench.delete(2);
        assert_eq!(bench.pick(&[], limit), Some(2), "in doubt");
    }
}

#[test]
fn in_a_round_each_has_its_turns_and_the_order_is_even() {
    let mut bench = Bench::new(Balance::RoundRobin, &[1; 10]);
    let turns: Vec<_> = (0..100).map(|_| bench.pick_any()).collect();
    for round in turns.windows(10) {
        assert_eq!(round.iter().collect::<BTreeSet<_>>().len(), 10, "{round:?}");
    }

    let mut bench = Bench::new(Balance::RoundRobin, &[500, 100, 100, 300]);
    let turns: Vec<_> = (0..100).map(|_| bench.pick_any()).collect();
    for round in turns.windows(10) {
        let count = |n| round.iter().filter(|turn| **turn == n).count();
        assert_eq!([count(0), count(1), count(2), count(3)], [5, 1, 1, 3], "{round:?}");
    }
    for part in turns.windows(4) {
        assert!((1..=3).contains(&part.iter().filter(|turn| **turn == 0).count()), "{part:?}");
    }
}

#[test]
fn turns_go_on_when_endpoints_change() {
    let mut bench = Bench::new(Balance::RoundRobin, &[1; 7]);
    let mut turns = BTreeMap::new();
    for revision in 0..70 {
        *turns.entry(bench.pick_any()).or_insert(0) += 1;
        bench.put(Instance { revision, ..instance(&id(0), 1, address(0)) });
    }
    assert!(turns.values().eq(&[10; 7]), "{turns:?}");
}

#[test]
fn turns_of_uneven_weights_stay_near_their_shares_all_the_time() {
    let weights = [1000, 999, 333, 50, 7, 1];
    let total = f64::from(weights.iter().sum::<u16>());
    let mut bench = Bench::new(Balance::RoundRobin, &weights);
    let mut counts = [0.0; 6];
    for turn in 1..=5_000 {
        counts[usize::from(bench.pick_any())] += 1.0;
        for (count, weight) in counts.iter().zip(weights) {
            let off = count - f64::from(turn) * f64::from(weight) / total;
            assert!(off.abs() < 5.0, "after {turn} turns weight {weight} is {off} off");
        }
    }
}

#[test]
fn of_two_the_one_with_fewer_requests_for_its_weight_is_taken() {
    let mut bench = Bench::new(Balance::LeastRequest, &[1, 1]);
    let _busy = (bench.busy(0, 1), bench.busy(1, 2));
    assert!((0..1000).all(|_| bench.pick_any() == 0));

    let mut bench = Bench::new(Balance::LeastRequest, &[300, 100]);
    let _busy = (bench.busy(0, 5), bench.busy(1, 2));
    assert!((0..1000).all(|_| bench.pick_any() == 0), "5 of 300 are less than 2 of 100");
}

#[test]
fn requests_that_stay_spread_by_weight() {
    let mut bench = Bench::new(Balance::LeastRequest, &[1, 2, 5]);
    let _held: Vec<_> = (0..8_000).flat_map(|_| bench.pick_any_and_hold()).collect();
    for (n, expected) in [(0, 1_000), (1, 2_000), (2, 5_000)] {
        let held = bench.entry(n).endpoint.traffic.in_flight.count();
        assert!(held.abs_diff(expected) <= 10, "{n} has {held}");
    }
}

#[test]
fn of_two_the_one_that_answers_sooner_is_taken() {
    let mut bench = Bench::new(Balance::Ewma, &[1, 1]);
    bench.answers(0, 5 * MS);
    bench.answers(1, 50 * MS);
    assert!((0..1000).all(|_| bench.pick_any() == 0));
    let busy = bench.busy(0, 8);
    assert!((0..1000).all(|_| bench.pick_any() == 0), "5 ms x 9 are less than 50 ms x 1");
    let busier = bench.busy(0, 2);
    assert!((0..1000).all(|_| bench.pick_any() == 1), "5 ms x 11 are more than 50 ms x 1");
    drop((busy, busier));
}

#[test]
fn one_that_was_slow_is_tried_again_some_time() {
    let mut bench = Bench::new(Balance::Ewma, &[1, 1]);
    bench.answers(1, 50 * MS);
    for _ in 0..2_000 {
        bench.now += 10 * MS;
        bench.answers(0, 5 * MS);
        if bench.now > bench.published + 10 * SECOND && bench.pick_any() == 1 {
            break;
        }
        assert_eq!(bench.pick_any(), 0);
    }
    bench.now += 10 * SECOND;
    bench.answers(0, 5 * MS);
    assert_eq!(bench.pick_any(), 1, "e^-3 x 50 ms are less than 5 ms");
}

#[test]
fn one_that_has_not_answered_yet_is_held_to_be_as_fast_as_the_other() {
    let mut bench = Bench::new(Balance::Ewma, &[1, 1]);
    bench.answers(0, 3 * SECOND);
    assert_near(bench.shares(10_000)[&1], 0.5, 0.03);
    let _busy = bench.busy(1, 1);
    assert!((0..1000).all(|_| bench.pick_any() == 0), "and its requests in flight count");
}

#[test]
fn one_of_ten_that_is_ten_times_slower_gets_next_to_nothing() {
    let mut bench = Bench::new(Balance::Ewma, &[1; 10]);
    (0..9).for_each(|n| bench.answers(n, 5 * MS));
    bench.answers(9, 50 * MS);
    assert_eq!(bench.shares(10_000).get(&9), None);
}

/// Where these keys go.
fn placed(bench: &mut Bench, keys: u64) -> Vec<u16> {
    (0..keys).map(|key| bench.keyed(directory::mix(key))).collect()
}

#[test]
fn the_same_key_goes_to_the_same_endpoint_in_every_gateway_and_at_any_address() {
    let mut bench = Bench::new(Balance::Hash(HashKey::Path), &[1; 20]);
    let before = placed(&mut bench, 2_000);
    assert_eq!(placed(&mut bench, 2_000), before);
    bench.put(instance(&id(3), 1, [10, 9, 9, 9]));
    assert_eq!(placed(&mut bench, 2_000), before, "one has moved to another address");
    // Another gateway numbers its endpoints in another order.
    let mut other = Bench::new(Balance::Hash(HashKey::Path), &[]);
    instances(&[1; 20]).into_iter().rev().for_each(|instance| other.put(instance));
    assert_eq!(placed(&mut other, 2_000), before);
}

#[test]
fn one_that_leaves_loses_its_keys_and_no_other_key_moves() {
    let mut bench = Bench::new(Balance::Hash(HashKey::Path), &[10; 20]);
    let before = placed(&mut bench, 20_000);
    bench.delete(7);
    let suspect = placed(&mut bench, 20_000);
    bench.writer.remove(&"goods".into(), &id(7)).unwrap();
    bench.publish();
    let after = placed(&mut bench, 20_000);
    assert_eq!(suspect, after, "its keys go to the same as long as it is in doubt");
    for (before, after) in before.iter().zip(&after) {
        assert!(if *before == 7 { *after != 7 } else { before == after });
    }
    let moved = before.iter().filter(|n| **n == 7).count();
    assert!((500..2_000).contains(&moved), "{moved} of 20,000, a twentieth is 1,000");
    let heirs: BTreeSet<_> = before.iter().zip(&after).filter(|(n, _)| **n == 7).map(|(_, n)| n).collect();
    assert!(heirs.len() > 15, "they are shared by {heirs:?}");
    bench.put(instance(&id(7), 10, address(7)));
    assert_eq!(placed(&mut bench, 20_000), before, "it is back");
}

#[test]
fn a_canary_moves_no_keys_but_its_own() {
    let mut bench = Bench::new(Balance::Hash(HashKey::Path), &[100; 10]);
    let before = placed(&mut bench, 20_000);
    bench.put(instance(&id(99), 1, [10, 9, 9, 9]));
    let after = placed(&mut bench, 20_000);
    let moved: Vec<_> = before.iter().zip(&after).filter(|(before, after)| before != after).collect();
    assert!(moved.iter().all(|(_, after)| **after == 99));
    assert!((5..60).contains(&moved.len()), "{} of 20,000, its weight is 20", moved.len());
}

#[test]
fn nobody_is_busier_than_a_quarter_above_its_share() {
    for weights in [vec![1; 10], vec![5, 1, 1, 3], vec![100, 100, 1]] {
        let mut bench = Bench::new(Balance::Hash(HashKey::Path), &weights);
        let total = f64::from(weights.iter().sum::<u16>());
        let mut held = Vec::new();
        for sent in 1..=1_000 {
            held.extend(bench.service.in_flight().try_acquire(None));
            // Nine of ten have the same key.
            bench.key = (sent % 10 != 0).then_some(42);
            held.extend(bench.pick_any_and_hold());
            for (n, weight) in (0..).zip(&weights) {
                let held = f64::from(bench.entry(n).endpoint.traffic.in_flight.count());
                let bound = (1.25 * f64::from(sent) * f64::from(*weight) / total).ceil();
                assert!(held <= bound, "{n} of {weights:?} holds {held} of {sent}, more than {bound}");
            }
        }
    }
}

#[test]
fn a_large_ring_is_built_aside_while_the_last_one_serves() {
    let built = |bench: &Bench| match bench.service.endpoints().plan() {
        Plan::Hash(hashing) => hashing.is_built(),
        plan => panic!("{plan:?}"),
    };
    let settle = |bench: &Bench| {
        let patience = Instant::now() + 60 * SECOND;
        while !built(bench) {
            assert!(Instant::now() < patience, "no ring");
            std::thread::yield_now();
        }
    };
    let mut bench = Bench::new(Balance::Hash(HashKey::Path), &[1; 1_000]);
    assert_eq!(bench.keyed(42), bench.keyed(42), "the key alone decides, ring or not");
    settle(&bench);
    let before = placed(&mut bench, 5_000);
    bench.remove(500);
    let between = placed(&mut bench, 5_000);
    settle(&bench);
    let after = placed(&mut bench, 5_000);
    for ((before, between), after) in before.iter().zip(between).zip(after) {
        let is_heir = |n| if *before == 500 { n != 500 } else { n == *before };
        assert!(is_heir(between) && is_heir(after), "{before} {between} {after}");
    }
}

fn slow_start(balance: Balance, weights: &[u16]) -> Bench {
    Bench::with(Policy { balance, slow_start: 10 * SECOND, ..Default::default() }, weights)
}

#[test]
fn a_new_endpoint_starts_with_a_tenth_of_its_share_and_grows() {
    for balance in every_policy() {
        let tolerance = if matches!(balance, Balance::Hash(_)) { 0.06 } else { 0.012 };
        let mut bench = slow_start(balance.clone(), &[1; 4]);
        bench.put(instance(&id(4), 1, address(4)));
        let appeared = bench.entry(4).usable_since.unwrap();
        for (age, weight) in [(0, 0.1), (5, 0.55), (10, 1.0), (100, 1.0)] {
            bench.now = appeared + age * SECOND;
            let shares = bench.shares(50_000);
            assert_near(shares[&4], weight / (4.0 + weight), tolerance);
        }
    }
}

#[test]
fn who_is_far_outnumbered_by_new_ones_keeps_nearly_his_share() {
    let mut bench = slow_start(Balance::Random, &[1]);
    (1..10).for_each(|n| bench.put(instance(&id(n), 1, address(n))));
    bench.now = bench.entry(1).usable_since.unwrap();
    // 1 of 1 + 9 x 0.1, less those choices for which sixteen draws were declined.
    assert_near(bench.shares(50_000)[&0], 0.526, 0.03);
}

#[test]
fn where_all_are_new_all_have_their_shares() {
    for balance in every_policy() {
        let tolerance = if matches!(balance, Balance::Hash(_)) { 0.08 } else { 0.02 };
        let mut bench = slow_start(balance, &[]);
        (0..4).for_each(|n| bench.put(instance(&id(n), 1, address(n))));
        bench.now = Instant::now();
        let shares = bench.shares(50_000);
        (0..4).for_each(|n| assert_near(shares[&n], 0.25, tolerance));
    }
}

#[test]
fn a_key_that_a_growing_endpoint_has_got_stays_with_it() {
    let mut bench = slow_start(Balance::Hash(HashKey::Path), &[1; 4]);
    bench.put(instance(&id(4), 1, address(4)));
    let appeared = bench.entry(4).usable_since.unwrap();
    let mut had = BTreeSet::new();
    for age in 0..=10 {
        bench.now = appeared + age * SECOND;
        let has = (0..2_000).filter(|key| bench.keyed(directory::mix(*key)) == 4).collect::<BTreeSet<_>>();
        assert!(has.is_superset(&had));
        had = has;
    }
    assert!(had.len() > 200, "{}", had.len());
}

#[test]
fn a_slow_start_belongs_to_new_identities_alone() {
    let mut bench = slow_start(Balance::Random, &[1, 1]);
    assert_eq!(bench.entry(0).usable_since, None, "it was there before the gateway");
    bench.put(instance(&id(2), 1, address(2)));
    let appeared = bench.entry(2).usable_since;
    assert!(appeared.is_some());
    bench.put(Instance { lease: 8, revision: 5, ..instance(&id(2), 3, address(2)) });
    assert_eq!(bench.entry(2).usable_since, appeared, "a new lease, another weight");
    bench.delete(0);
    bench.put(instance(&id(0), 1, address(0)));
    assert_eq!(bench.entry(0).usable_since, None, "it was in doubt");
    bench.put(instance(&id(0), 1, [10, 9, 9, 9]));
    assert!(bench.entry(0).usable_since >= appeared, "another address is another endpoint");
}

#[test]
fn a_slow_start_begins_when_the_first_check_has_passed() {
    let policy = Policy { slow_start: 10 * SECOND, initially: Initially::Unhealthy, ..Policy::default() };
    let mut bench = Bench::with(policy, &[1]);
    bench.judge(0, Finding::Healthy);
    assert_eq!(bench.entry(0).usable_since, None, "it was there before the gateway");
    bench.put(instance(&id(1), 1, address(1)));
    let appeared = bench.entry(1).usable_since;
    bench.judge(1, Finding::Healthy);
    let usable = bench.entry(1).usable_since;
    assert!(usable > appeared, "{usable:?} is not after {appeared:?}");
    bench.judge(1, Finding::Unhealthy);
    bench.judge(1, Finding::Healthy);
    assert_eq!(bench.entry(1).usable_since, usable, "it is new once");
}

proptest! {
    /// Whatever the policy: it chooses somebody of the best rank that has one left, and nobody else.
    #[test]
    fn a_choice_is_allowed_and_of_the_best_rank_that_is_left(
        policy in 0..5_usize,
        endpoints in prop::collection::vec((0_u16..4, any::<bool>(), 0_u32..4, any::<bool>(), any::<bool>()), 0..12),
        limit in prop::option::of(1_u32..4),
        age in 0_u64..20,
        seed in any::<u64>(),
    ) {
        let old: Vec<_> = endpoints.iter().map(|(weight, ..)| *weight).collect();
        let mut bench = slow_start(every_policy()[policy].clone(), &old);
        let mut tried = Vec::new();
        let mut permits = Vec::new();
        for (n, (weight, doubted, requests, was_tried, is_new)) in (0..).zip(&endpoints) {
            if *is_new {
                bench.put(instance(&id(n), *weight, [10, 9, 9, n as u8]));
            }
            if *doubted {
                bench.delete(n);
            }
            if *weight == 0 && *doubted {
                continue;
            }
            permits.extend(bench.busy(n, *requests));
            tried.extend(was_tried.then_some(bench.entry(n).endpoint.id));
        }
        permits.extend(bench.service.in_flight().try_acquire(None));
        bench.now = Instant::now() + Duration::from_secs(age);
        bench.chance = fastrand::Rng::with_seed(seed);
        let limit = limit.and_then(NonZeroU32::new);
        let endpoints = Arc::clone(&bench.service.endpoints());
        let is_free = |entry: &&Entry| {
            let in_flight = entry.endpoint.traffic.in_flight.count();
            !tried.contains(&entry.endpoint.id) && limit.is_none_or(|limit| in_flight < limit.get())
        };
        let best = endpoints.entries().iter().filter(is_free).filter_map(Entry::rank).min();
        for _ in 0..20 {
            let picked = bench.pick(&tried, limit).map(|n| bench.entry(n));
            prop_assert_eq!(picked.as_ref().and_then(Entry::rank), best);
            prop_assert!(picked.is_none() || picked.as_ref().filter(is_free).is_some());
        }
    }

}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn any_weights_have_their_shares_on_a_ring(
        weights in prop::collection::vec(prop_oneof![1_u16..4, 90_u16..110, 1..=1000_u16], 2..12),
    ) {
        let mut bench = Bench::new(Balance::Hash(HashKey::Path), &weights);
        let total = f64::from(weights.iter().sum::<u16>());
        let shares = bench.shares(5_000);
        for (n, weight) in (0..).zip(&weights) {
            let (share, expected) = (shares.get(&n).copied().unwrap_or(0.0), f64::from(*weight) / total);
            prop_assert!((share - expected).abs() < 0.02 + 0.25 * expected, "{share} of {expected}");
        }
    }
}
