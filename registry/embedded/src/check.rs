//! What etcd checks of a request before it looks at a single key.
//!
//! The source is etcd's `server/etcdserver/api/v3rpc/key.go`.

use std::collections::{BTreeMap, BTreeSet};

use etcd_client::proto::{
    PbDeleteRequest, PbPutRequest, PbRangeRequest, PbTxnOpRequest, PbTxnRequest, PbTxnRequestOp,
};
use prost::Message;

use crate::{range, refusal::Refusal};

/// The largest write that etcd takes by default, in bytes.
const MAX_WRITE: usize = 1_572_864;
/// What etcd's log wraps around a write, in bytes; it counts against [`MAX_WRITE`].
const LOG_ENTRY: usize = 18;
/// How many operations each side of a transaction may have, and how many comparisons. A nested transaction may have as
/// many as its level has left.
const MAX_OPERATIONS: usize = 128;

pub(crate) fn range(request: &PbRangeRequest) -> Result<(), Refusal> {
    key(&request.key)?;
    range::check_order(request)
}

pub(crate) fn put(request: &PbPutRequest) -> Result<(), Refusal> {
    key(&request.key)?;
    if request.ignore_value && !request.value.is_empty() {
        return Err(Refusal::ValueProvided);
    }
    if request.ignore_lease && request.lease != 0 {
        return Err(Refusal::LeaseProvided);
    }
    Ok(())
}

pub(crate) fn delete(request: &PbDeleteRequest) -> Result<(), Refusal> {
    key(&request.key)
}

pub(crate) fn txn(request: &PbTxnRequest) -> Result<(), Refusal> {
    txn_operations(request, MAX_OPERATIONS)?;
    Writes::by(&request.success)?;
    Writes::by(&request.failure)?;
    Ok(())
}

/// Whether a write fits into etcd's log.
pub(crate) fn size(write: &impl Message) -> Result<(), Refusal> {
    if write.encoded_len() + LOG_ENTRY > MAX_WRITE { Err(Refusal::RequestTooLarge) } else { Ok(()) }
}

fn key(key: &[u8]) -> Result<(), Refusal> {
    if key.is_empty() { Err(Refusal::EmptyKey) } else { Ok(()) }
}

fn txn_operations(request: &PbTxnRequest, allowed: usize) -> Result<(), Refusal> {
    let taken = request.compare.len().max(request.success.len()).max(request.failure.len());
    let left = allowed.checked_sub(taken).ok_or(Refusal::TooManyOperations)?;
    request.compare.iter().try_for_each(|compare| key(&compare.key))?;
    let mut operations = request.success.iter().chain(&request.failure);
    operations.try_for_each(|operation| match &operation.request {
        Some(PbTxnOpRequest::RequestRange(request)) => range(request),
        Some(PbTxnOpRequest::RequestPut(request)) => put(request),
        Some(PbTxnOpRequest::RequestDeleteRange(request)) => delete(request),
        Some(PbTxnOpRequest::RequestTxn(request)) => txn_operations(request, left),
        None => Err(Refusal::KeyNotFound),
    })
}

/// What one side of a transaction may write, whichever way its nested transactions go: no key may be put
/// twice, nor be both put and deleted.
#[derive(Default)]
struct Writes<'a> {
    puts: BTreeSet<&'a [u8]>,
    deletes: Intervals<'a>,
}

impl<'a> Writes<'a> {
    fn by(operations: &'a [PbTxnRequestOp]) -> Result<Self, Refusal> {
        let mut written = Self::default();
        let requests = || operations.iter().filter_map(|operation| operation.request.as_ref());
        // Deletes first: a put is checked against all deletes of its level, whether they come before it or after it.
        for request in requests() {
            if let PbTxnOpRequest::RequestDeleteRange(delete) = request {
                written.deletes.insert(&delete.key, &delete.range_end);
            }
        }
        for request in requests() {
            if let PbTxnOpRequest::RequestTxn(nested) = request {
                written.nest(Self::by(&nested.success)?, Self::by(&nested.failure)?)?;
            }
        }
        for request in requests() {
            if let PbTxnOpRequest::RequestPut(put) = request {
                written.put(&put.key)?;
            }
        }
        Ok(written)
    }

    /// The two sides of a nested transaction exclude each other: both may put the same key.
    fn nest(&mut self, success: Self, failure: Self) -> Result<(), Refusal> {
        for key in success.puts.union(&failure.puts) {
            self.put(key)?;
        }
        self.deletes.insert_all(success.deletes);
        self.deletes.insert_all(failure.deletes);
        Ok(())
    }

    fn put(&mut self, key: &'a [u8]) -> Result<(), Refusal> {
        if self.deletes.contains(key) || !self.puts.insert(key) { Err(Refusal::DuplicateKey) } else { Ok(()) }
    }
}

/// Keys that are deleted: single ones, and disjoint ranges, the end of each by its start.
///
/// As in etcd, a range "to the last key" takes part with its literal end, and so is empty here: a put may
/// stand beside it.
#[derive(Default)]
struct Intervals<'a> {
    keys: BTreeSet<&'a [u8]>,
    ranges: BTreeMap<&'a [u8], &'a [u8]>,
}

impl<'a> Intervals<'a> {
    fn insert(&mut self, start: &'a [u8], end: &'a [u8]) {
        if end.is_empty() {
            self.keys.insert(start);
        } else if start < end {
            self.insert_range(start, end);
        }
    }

    fn insert_range(&mut self, start: &'a [u8], end: &'a [u8]) {
        let (mut start, mut end) = (start, end);
        // Ranges are disjoint, so those that touch this one are the last ones that start before its end.
        while let Some((&from, &to)) = self.ranges.range(..=end).next_back() {
            if to < start {
                break;
            }
            self.ranges.remove(from);
            (start, end) = (start.min(from), end.max(to));
        }
        self.ranges.insert(start, end);
    }

    fn insert_all(&mut self, other: Self) {
        self.keys.extend(other.keys);
        other.ranges.into_iter().for_each(|(start, end)| self.insert_range(start, end));
    }

    fn contains(&self, key: &[u8]) -> bool {
        let range = self.ranges.range(..=key).next_back();
        self.keys.contains(key) || range.is_some_and(|(_, end)| key < *end)
    }
}
