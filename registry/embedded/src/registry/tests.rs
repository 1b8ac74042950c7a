use std::time::Instant;

use etcd_client::proto::{
    PbCompare, PbCompareTarget, PbDeleteRequest, PbPutRequest, PbRangeRequest, PbTargetUnion, PbTxnOpRequest,
    PbTxnRequest, PbTxnRequestOp,
};

use super::Registry;
use crate::{
    allowance::{Allowance, MOST_BYTES},
    answer::{Deleted, Put, Txn},
    counts::Counts,
    range::Found,
    refusal::Refusal,
    settings::Settings,
};

const MEBIBYTE: usize = 1024 * 1024;

/// A registry as a guest asks it.
struct Asked(Registry);

impl Asked {
    fn range(&self, request: &PbRangeRequest) -> Result<Found, Refusal> {
        self.0.range(request, &mut Allowance::of_a_guest(MOST_BYTES))
    }

    fn put(&mut self, request: PbPutRequest, now: Instant) -> Result<Put, Refusal> {
        self.0.put(request, now, &mut Allowance::of_a_guest(MOST_BYTES))
    }

    fn delete(&mut self, request: &PbDeleteRequest) -> Result<Deleted, Refusal> {
        self.0.delete(request, &mut Allowance::of_a_guest(MOST_BYTES))
    }

    fn txn(&mut self, request: PbTxnRequest, now: Instant) -> Result<Txn, Refusal> {
        self.0.txn(request, now, &mut Allowance::of_a_guest(MOST_BYTES))
    }
}

fn registry() -> Asked {
    Asked(Registry::new(1, &Settings { max_bytes: 1 << 30, ..Settings::default() }))
}

fn put(registry: &mut Asked, key: &str, value: &[u8]) {
    registry.put(a_put(key, value), Instant::now()).unwrap();
}

fn a_put(key: &str, value: &[u8]) -> PbPutRequest {
    PbPutRequest { key: key.into(), value: value.into(), ..Default::default() }
}

fn range(key: &str) -> PbRangeRequest {
    PbRangeRequest { key: key.into(), ..Default::default() }
}

fn everything() -> PbRangeRequest {
    PbRangeRequest { key: vec![0], range_end: vec![0], ..Default::default() }
}

fn delete_everything(prev_kv: bool) -> PbDeleteRequest {
    PbDeleteRequest { key: vec![0], range_end: vec![0], prev_kv }
}

fn operation(request: PbTxnOpRequest) -> PbTxnRequestOp {
    PbTxnRequestOp { request: Some(request) }
}

fn txn(operations: impl IntoIterator<Item = PbTxnOpRequest>) -> PbTxnRequest {
    PbTxnRequest { success: operations.into_iter().map(operation).collect(), ..Default::default() }
}

/// A registry with keys of a mebibyte each.
fn with_mebibytes(keys: usize) -> Asked {
    let mut registry = registry();
    for n in 0..keys {
        put(&mut registry, &format!("key{n:02}"), &vec![b'x'; MEBIBYTE]);
    }
    registry
}

#[test]
fn an_answer_of_more_than_16_mib_is_refused() {
    let registry = with_mebibytes(16);
    assert_eq!(registry.range(&everything()).unwrap_err(), Refusal::AnswerTooLarge);
    let but_one = PbRangeRequest { key: b"key01".to_vec(), range_end: vec![0], ..Default::default() };
    registry.range(&but_one).unwrap();
    for small in [
        PbRangeRequest { limit: 15, ..everything() },
        PbRangeRequest { keys_only: true, ..everything() },
        PbRangeRequest { count_only: true, ..everything() },
    ] {
        registry.range(&small).unwrap();
    }
}

#[test]
fn the_answers_of_a_transaction_count_together_however_deep_they_lie() {
    let mut registry = with_mebibytes(1);
    let get = || PbTxnOpRequest::RequestRange(range("key00"));
    let now = Instant::now();
    registry.txn(txn((0..15).map(|_| get())), now).unwrap();
    assert_eq!(registry.txn(txn((0..16).map(|_| get())), now).unwrap_err(), Refusal::AnswerTooLarge);
    let nested = || PbTxnOpRequest::RequestTxn(txn((0..8).map(|_| get())));
    assert_eq!(registry.txn(txn([nested(), nested()]), now).unwrap_err(), Refusal::AnswerTooLarge);
}

#[test]
fn what_was_there_before_counts() {
    let mut registry = with_mebibytes(16);
    assert_eq!(registry.delete(&delete_everything(true)).unwrap_err(), Refusal::AnswerTooLarge);
    let over = |prev_kv| {
        txn((0..16).map(|n| {
            PbTxnOpRequest::RequestPut(PbPutRequest { prev_kv, ..a_put(&format!("key{n:02}"), b"") })
        }))
    };
    assert_eq!(registry.txn(over(true), Instant::now()).unwrap_err(), Refusal::AnswerTooLarge);
    registry.txn(over(false), Instant::now()).unwrap();
    registry.delete(&delete_everything(false)).unwrap();
}

/// All that a client could see, or that is counted.
fn seen(registry: &Asked) -> (Counts, String) {
    let found = registry.range(&everything()).unwrap();
    (registry.0.counts(), format!("{found:?} {:?}", registry.0.leases))
}

#[test]
fn a_transaction_that_is_refused_amid_its_writes_leaves_no_trace() {
    let now = Instant::now();
    let mut registry = with_mebibytes(1);
    for id in [1, 2] {
        registry.0.grant(id, 60, now, || 77).unwrap();
    }
    registry.put(PbPutRequest { lease: 1, ..a_put("leased", b"1") }, now).unwrap();
    put(&mut registry, "gone", b"1");
    registry.delete(&PbDeleteRequest { key: b"gone".to_vec(), ..Default::default() }).unwrap();
    let before = seen(&registry);

    let put = |key, lease| PbTxnOpRequest::RequestPut(PbPutRequest { lease, ..a_put(key, b"2") });
    let delete =
        PbTxnOpRequest::RequestDeleteRange(PbDeleteRequest { key: b"leased".to_vec(), ..Default::default() });
    let too_much = (0..17).map(|_| PbTxnOpRequest::RequestRange(range("key00")));
    let nested = PbTxnOpRequest::RequestTxn(txn([put("new", 2), put("gone", 1)]));
    for writes in [vec![put("leased", 2), nested], vec![delete]] {
        let refused = registry.txn(txn(writes.into_iter().chain(too_much.clone())), now);
        assert_eq!(refused.unwrap_err(), Refusal::AnswerTooLarge);
        assert_eq!(seen(&registry), before);
    }
    registry.0.revoke(1, now).unwrap();
    assert_eq!(registry.0.counts().keys, 1, "the key still hangs on its lease");
}

/// A registry with this many small keys.
fn with_keys(keys: usize) -> Asked {
    let mut registry = registry();
    for n in 0..keys {
        put(&mut registry, &format!("key{n:06}"), b"");
    }
    registry
}

#[test]
fn a_call_looks_at_so_many_keys_and_no_more() {
    let mut registry = with_keys(20_000);
    let count = || PbRangeRequest { count_only: true, ..everything() };
    let counts = |times| txn((0..times).map(|_| PbTxnOpRequest::RequestRange(count())));
    let now = Instant::now();
    registry.txn(counts(50), now).unwrap();
    assert_eq!(registry.txn(counts(51), now).unwrap_err(), Refusal::TooMuchAtOnce);

    let compares = |times| PbTxnRequest {
        compare: vec![
            PbCompare {
                key: vec![0],
                range_end: vec![0],
                result: 1,
                target: 1,
                ..Default::default()
            };
            times
        ],
        ..Default::default()
    };
    registry.txn(compares(50), now).unwrap();
    assert_eq!(registry.txn(compares(51), now).unwrap_err(), Refusal::TooMuchAtOnce);
    let sorts = |times| {
        let sorted = PbRangeRequest { sort_order: 2, sort_target: 4, limit: 1, ..everything() };
        txn((0..times).map(|_| PbTxnOpRequest::RequestRange(sorted.clone())))
    };
    registry.txn(sorts(4), now).unwrap();
    assert_eq!(registry.txn(sorts(5), now).unwrap_err(), Refusal::TooMuchAtOnce);
}

#[test]
fn long_values_are_sorted_by_what_they_hold_and_no_more() {
    let mut registry = registry();
    for n in 0..2_000 {
        put(&mut registry, &format!("key{n}"), &[b'x'; 64 * 1024]);
    }
    let sorted = |sort_target| PbRangeRequest { sort_order: 2, sort_target, limit: 1, ..everything() };
    // 2,000 values of 64 KiB, each compared 11 times.
    let (by_version, by_value) = (sorted(1), sorted(4));
    registry.range(&by_version).unwrap();
    assert_eq!(registry.range(&by_value).unwrap_err(), Refusal::TooMuchAtOnce);
}

#[test]
fn long_values_are_compared_so_often_and_no_more() {
    let mut registry = with_mebibytes(20);
    let compare = PbCompare {
        key: vec![0],
        range_end: vec![0],
        target: PbCompareTarget::Value as i32,
        target_union: Some(PbTargetUnion::Value(vec![b'x'; MEBIBYTE])),
        ..Default::default()
    };
    let compares = |times| PbTxnRequest { compare: vec![compare.clone(); times], ..Default::default() };
    let now = Instant::now();
    registry.txn(compares(1), now).unwrap();
    // Larger than any message that is taken: it is the work that counts.
    assert_eq!(registry.txn(compares(60), now).unwrap_err(), Refusal::TooMuchAtOnce);
}

#[test]
fn a_call_deletes_so_many_keys_and_no_more() {
    let mut registry = with_keys(100_001);
    assert_eq!(registry.delete(&delete_everything(false)).unwrap_err(), Refusal::TooMuchAtOnce);
    assert_eq!(registry.0.counts().keys, 100_001);
    registry.delete(&PbDeleteRequest { key: b"key000000".to_vec(), ..Default::default() }).unwrap();
    assert_eq!(registry.delete(&delete_everything(false)).unwrap().count, 100_000);
    assert_eq!(registry.0.counts().keys, 0);
}

#[test]
fn a_lease_has_so_many_keys_and_no_more() {
    let now = Instant::now();
    let mut registry = registry();
    registry.0.grant(1, 60, now, || 77).unwrap();
    let put = |registry: &mut Asked, n: usize| {
        registry.put(PbPutRequest { lease: 1, ..a_put(&n.to_string(), b"") }, now)
    };
    for n in 0..100_000 {
        put(&mut registry, n).unwrap();
    }
    assert_eq!(put(&mut registry, 100_000).unwrap_err(), Refusal::TooManyKeysOfLease);
    put(&mut registry, 7).unwrap();
    registry.0.revoke(1, now).unwrap();
    assert_eq!(registry.0.counts().keys, 0);
}

#[test]
fn leases_that_expire_together_with_many_keys_end_in_several_calls() {
    let now = Instant::now();
    let mut registry = registry();
    for lease in 1..=3 {
        registry.0.grant(lease, 60, now, || 77).unwrap();
        for n in 0..10_000 {
            registry.put(PbPutRequest { lease, ..a_put(&format!("{lease}/{n}"), b"") }, now).unwrap();
        }
    }
    let end = now + std::time::Duration::from_secs(60);
    for left in [20_000, 10_000, 0] {
        registry.0.expire(end);
        assert_eq!(registry.0.counts().keys, left);
    }
}

#[test]
fn the_list_of_leases_and_the_keys_of_one_are_answers_too() {
    let now = Instant::now();
    let mut registry = Asked(Registry::new(1, &Settings { max_leases: 200_000, ..Settings::default() }));
    let allowance = || Allowance::of_a_guest(MOST_BYTES);
    for id in 1..=200_000 {
        registry.0.grant(id, 60, now, || 77).unwrap();
    }
    assert_eq!(registry.0.lease_ids(now, &mut allowance()).unwrap_err(), Refusal::AnswerTooLarge);
    for n in 0..17 {
        let key = format!("{n}{}", "k".repeat(MEBIBYTE));
        registry.put(PbPutRequest { lease: 1, ..a_put(&key, b"") }, now).unwrap();
    }
    let keys = registry.0.lease(1, now).map(|lease| lease.copy_keys(&mut allowance())).unwrap();
    assert_eq!(keys.unwrap_err(), Refusal::AnswerTooLarge);
}

#[test]
fn an_answer_says_what_it_takes_and_the_gateway_may_count_any_number_of_keys() {
    let registry = with_keys(20_000);
    let mut allowance = Allowance::of_a_guest(10_000);
    registry.0.range(&PbRangeRequest { limit: 5, ..everything() }, &mut allowance).unwrap();
    assert_eq!(allowance.answered(), 5 * (b"key000000".len() + 100));
    let count = PbRangeRequest { count_only: true, ..everything() };
    let mut allowance = Allowance::of_the_gateway();
    for _ in 0..100 {
        registry.0.range(&count, &mut allowance).unwrap();
    }
}
