//! Keys, leases and watches together: every request is one call here.
//!
//! Pure: the time is passed in, and nothing waits. A call either refuses and changes nothing, or does all of
//! what it was asked.

use std::{collections::BTreeMap, sync::Arc, time::Instant};

use etcd_client::proto::{PbDeleteRequest, PbPutRequest, PbRangeRequest, PbTxnRequest};
use tokio::sync::Notify;

use crate::{
    allowance::{Allowance, MOST_WRITES},
    answer::{Deleted, Part, Put, Txn},
    check,
    counts::Counts,
    lease::{Lease, Leases},
    range::{self, Found},
    refusal::Refusal,
    settings::Settings,
    span::Span,
    store::{Record, Store, StoreLimits, bytes_of},
    txn::{self, Chosen, Operation},
    watch::{Batch, Bounds, News, StreamId, Wanted, Watches},
};

/// How many leases are ended in one call: each is a revision, and watches must be able to follow.
const EXPIRED_AT_ONCE: usize = 500;
/// After so many keys were deleted in one call, further leases are left for the next call.
const EXPIRED_KEYS_AT_ONCE: usize = 10_000;

#[derive(Debug)]
pub(crate) struct Registry {
    store: Store,
    leases: Leases,
    watches: Watches,
}

impl Registry {
    /// An empty registry at this revision.
    pub(crate) fn new(revision: i64, settings: &Settings) -> Self {
        let limits = StoreLimits { bytes: settings.max_bytes, revisions: settings.history };
        let bounds = Bounds {
            streams: settings.max_watch_streams,
            watches: settings.max_watches,
            watches_per_stream: settings.max_watches_per_stream,
            bytes: settings.max_bytes / 8,
        };
        Self {
            store: Store::new(revision, limits),
            leases: Leases::new(settings.max_leases),
            watches: Watches::new(bounds),
        }
    }

    pub(crate) fn revision(&self) -> i64 {
        self.store.revision()
    }

    /// All that is counted, but what was refused.
    pub(crate) fn counts(&self) -> Counts {
        let (watch_streams, watches) = self.watches.len();
        let leases = self.leases.happened();
        Counts {
            revision: self.store.revision(),
            compacted_revision: self.store.compacted(),
            keys: self.store.live_keys(),
            bytes: self.store.bytes(),
            live_bytes: self.store.live_bytes(),
            max_bytes: self.store.max_bytes(),
            leases: self.leases.len(),
            leases_granted: leases.granted,
            leases_renewed: leases.renewed,
            leases_revoked: leases.revoked,
            leases_expired: leases.expired,
            watches,
            watch_streams,
            refused: BTreeMap::new(),
        }
    }

    pub(crate) fn range(
        &self,
        request: &PbRangeRequest,
        allowance: &mut Allowance,
    ) -> Result<Found, Refusal> {
        check::range(request)?;
        range::check_revision(&self.store, request)?;
        range::read(&self.store, request, allowance)
    }

    pub(crate) fn put(
        &mut self,
        request: PbPutRequest,
        now: Instant,
        allowance: &mut Allowance,
    ) -> Result<Put, Refusal> {
        check::put(&request)?;
        check::size(&request)?;
        self.check_room(std::iter::once(&request))?;
        self.check_lease(&request, now)?;
        self.check_kept(&request)?;
        self.write(|registry| registry.apply_put(request, allowance))
    }

    pub(crate) fn delete(
        &mut self,
        request: &PbDeleteRequest,
        allowance: &mut Allowance,
    ) -> Result<Deleted, Refusal> {
        check::delete(request)?;
        check::size(request)?;
        self.write(|registry| registry.apply_delete(request, allowance))
    }

    pub(crate) fn txn(
        &mut self,
        request: PbTxnRequest,
        now: Instant,
        allowance: &mut Allowance,
    ) -> Result<Txn, Refusal> {
        check::txn(&request)?;
        if !txn::is_read_only(&request) {
            check::size(&request)?;
        }
        let chosen = txn::choose(&self.store, request, allowance)?;
        self.check_chosen(&chosen, now)?;
        let mut txn = self.write(|registry| registry.apply_txn(chosen, allowance))?;
        txn.revision = self.store.revision();
        Ok(txn)
    }

    /// Forgets what was before this revision. Returns the newest revision.
    pub(crate) fn compact(&mut self, revision: i64) -> Result<i64, Refusal> {
        self.store.compact(revision)?;
        Ok(self.store.revision())
    }

    /// Grants a lease, as [`Leases::grant`].
    pub(crate) fn grant(
        &mut self,
        id: i64,
        ttl: i64,
        now: Instant,
        choose: impl FnMut() -> i64,
    ) -> Result<(i64, i64), Refusal> {
        let (id, lease) = self.leases.grant(id, ttl, now, choose)?;
        Ok((id, lease.ttl()))
    }

    /// Ends a lease and deletes its keys. Returns the newest revision.
    pub(crate) fn revoke(&mut self, id: i64, now: Instant) -> Result<i64, Refusal> {
        let lease = self.leases.revoke(id, now)?;
        self.delete_keys_of(lease);
        Ok(self.store.revision())
    }

    /// Starts a lease's time anew. Returns its TTL in seconds; none if there is no such lease.
    pub(crate) fn keep_alive(&mut self, id: i64, now: Instant) -> Option<i64> {
        self.leases.keep_alive(id, now)
    }

    pub(crate) fn lease(&self, id: i64, now: Instant) -> Option<&Lease> {
        self.leases.get(id, now)
    }

    /// Every lease that lives, the next to expire first.
    pub(crate) fn lease_ids(&self, now: Instant, allowance: &mut Allowance) -> Result<Vec<i64>, Refusal> {
        self.leases.ids(now).map(|id| allowance.answer_key(&[]).map(|()| id)).collect()
    }

    /// Ends the leases whose time is over, with one revision for the keys of each. Returns when to call it again.
    pub(crate) fn expire(&mut self, now: Instant) -> Option<Instant> {
        let mut keys = 0;
        for _ in 0..EXPIRED_AT_ONCE {
            let lease = if keys < EXPIRED_KEYS_AT_ONCE { self.leases.take_expired(now) } else { None };
            let Some(lease) = lease else { break };
            keys += lease.keys().len();
            self.delete_keys_of(lease);
        }
        if self.store.forget() { Some(now) } else { self.leases.next_expiry() }
    }

    /// As [`Watches::open`].
    pub(crate) fn open_stream(&mut self, wake: Arc<Notify>) -> Result<StreamId, Refusal> {
        self.watches.open(wake)
    }

    /// As [`Watches::open_for_gateway`].
    pub(crate) fn open_stream_for_gateway(&mut self, wake: Arc<Notify>) -> StreamId {
        self.watches.open_for_gateway(wake)
    }

    pub(crate) fn close_stream(&mut self, stream: StreamId) {
        self.watches.close(stream);
    }

    /// As [`Watches::create`].
    pub(crate) fn create_watch(&mut self, stream: StreamId, wanted: Wanted) -> Result<i64, Refusal> {
        self.watches.create(stream, wanted, &self.store)
    }

    pub(crate) fn cancel_watch(&mut self, stream: StreamId, id: i64) -> bool {
        self.watches.cancel(stream, id)
    }

    /// As [`Watches::ask`].
    pub(crate) fn ask_progress(&mut self, stream: StreamId) {
        self.watches.ask(stream);
    }

    /// As [`Watches::next`].
    pub(crate) fn next_news(&mut self, stream: StreamId) -> Option<News> {
        self.watches.next(stream, &self.store)
    }

    /// As [`Watches::take_back`].
    pub(crate) fn take_back(&mut self, stream: StreamId, batch: &Batch) {
        self.watches.take_back(stream, batch);
    }

    /// As [`Watches::quiet`].
    pub(crate) fn quiet_watches(&mut self, stream: StreamId) -> Vec<i64> {
        self.watches.quiet(stream)
    }

    fn check_room<'a>(&self, puts: impl Iterator<Item = &'a PbPutRequest>) -> Result<(), Refusal> {
        let (keys, bytes) = puts.fold((0_usize, 0_usize), |(keys, bytes), put| {
            (keys + 1, bytes.saturating_add(bytes_of(&put.key, &put.value)))
        });
        if keys == 0 || self.store.has_room_for(keys, bytes) { Ok(()) } else { Err(Refusal::NoSpace) }
    }

    fn check_lease(&self, request: &PbPutRequest, now: Instant) -> Result<(), Refusal> {
        if request.lease == 0 {
            return Ok(());
        }
        let lease = self.leases.get(request.lease, now).ok_or(Refusal::LeaseNotFound)?;
        let is_full = lease.keys().len() >= MOST_WRITES && !lease.has(&request.key);
        if is_full { Err(Refusal::TooManyKeysOfLease) } else { Ok(()) }
    }

    /// A put that keeps the value, or the lease, of a key needs that key to be there.
    fn check_kept(&self, request: &PbPutRequest) -> Result<(), Refusal> {
        let keeps = request.ignore_value || request.ignore_lease;
        if keeps && self.store.get(&request.key).is_none() { Err(Refusal::KeyNotFound) } else { Ok(()) }
    }

    /// Everything that could fail in a transaction, before anything is done. Which of several reasons is
    /// given is as in etcd 3.5: puts before ranges, and of a put its key before its lease.
    fn check_chosen(&self, chosen: &Chosen, now: Instant) -> Result<(), Refusal> {
        let puts = || chosen.flat().filter_map(Operation::as_put);
        self.check_room(puts())?;
        for put in puts() {
            self.check_kept(put)?;
            self.check_lease(put, now)?;
        }
        let mut ranges = chosen.flat().filter_map(Operation::as_range);
        ranges.try_for_each(|range| range::check_revision(&self.store, range))
    }

    /// Does all of what a call writes, or nothing.
    fn write<T>(&mut self, write: impl FnOnce(&mut Self) -> Result<T, Refusal>) -> Result<T, Refusal> {
        let written = write(self);
        match written {
            Ok(_) => self.commit(),
            Err(_) => self.undo(),
        }
        written
    }

    /// Takes back what was written and not committed. A transaction may read what it has written, so that only while
    /// it is carried out can its answer turn out to be too large.
    fn undo(&mut self) {
        while let Some((record, before)) = self.store.undo() {
            let before = before.map_or(0, |before| before.lease);
            self.leases.hand_over(&record.key, record.lease, before);
        }
    }

    fn apply_txn(&mut self, chosen: Chosen, allowance: &mut Allowance) -> Result<Txn, Refusal> {
        let mut parts = Vec::with_capacity(chosen.operations.len());
        for operation in chosen.operations {
            parts.push(match operation {
                Operation::Range(request) => Part::Found(range::read(&self.store, &request, allowance)?),
                Operation::Put(request) => Part::Put(self.apply_put(request, allowance)?),
                Operation::Delete(request) => Part::Deleted(self.apply_delete(&request, allowance)?),
                Operation::Txn(nested) => Part::Txn(self.apply_txn(nested, allowance)?),
            });
        }
        Ok(Txn { revision: self.store.revision_in_view(), succeeded: chosen.succeeded, parts })
    }

    fn apply_put(&mut self, request: PbPutRequest, allowance: &mut Allowance) -> Result<Put, Refusal> {
        allowance.write()?;
        let current = self.store.get(&request.key).map(Arc::clone);
        let old_lease = current.as_ref().map_or(0, |current| current.lease);
        let lease = if request.ignore_lease { old_lease } else { request.lease };
        let value = match &current {
            Some(current) if request.ignore_value => current.value.clone(),
            _ => request.value,
        };
        self.leases.hand_over(&request.key, old_lease, lease);
        self.store.put(request.key, value, lease);
        let previous = current.filter(|_| request.prev_kv);
        previous.iter().try_for_each(|record| allowance.answer(record))?;
        Ok(Put { revision: self.store.revision_in_view(), previous })
    }

    fn apply_delete(
        &mut self,
        request: &PbDeleteRequest,
        allowance: &mut Allowance,
    ) -> Result<Deleted, Refusal> {
        let found = self.find_to_delete(request, allowance)?;
        for record in &found {
            self.leases.hand_over(&record.key, record.lease, 0);
            self.store.delete(&record.key);
        }
        let count = found.len();
        let previous = if request.prev_kv { found } else { Vec::new() };
        Ok(Deleted { revision: self.store.revision_in_view(), count, previous })
    }

    fn find_to_delete(
        &self,
        request: &PbDeleteRequest,
        allowance: &mut Allowance,
    ) -> Result<Vec<Record>, Refusal> {
        let span = Span::new(&request.key, &request.range_end);
        let mut found = Vec::new();
        for record in self.store.range(span, self.store.revision_in_view()) {
            allowance.write()?;
            if request.prev_kv {
                allowance.answer(record)?;
            }
            found.push(Arc::clone(record));
        }
        Ok(found)
    }

    fn delete_keys_of(&mut self, lease: Lease) {
        for key in lease.into_keys() {
            self.store.delete(&key);
        }
        self.commit();
    }

    fn commit(&mut self) {
        if let Some(commit) = self.store.commit() {
            self.watches.tell(commit);
        }
    }
}

#[cfg(test)]
mod tests;
