//! The upkeep of one registration, pure: time is passed in, calls are asked for and reported back.
//!
//! ```text
//! no lease --granted--> lease, key to put --put--> registered --kept alive--> registered
//!    ^                                                 |  ^
//!    |  lease gone, or its time passed unanswered      |  | key deleted, or its lease taken off: put again
//!    +-------------------------------------------------+  |
//!                          another process put its own ---+ the key is left to it until it goes
//! ```
//!
//! A process's first put takes the key whatever stands there, so that of two processes the later one has it. Each
//! further put is made only if we have seen what stands there. Otherwise it could overwrite a weight that an operator
//! has set, or the registration of a process that has replaced us while we were cut off.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::contract::{Instance, Record};

/// What to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    Grant,
    Put(PutKey),
    KeepAlive { lease: i64 },
    Sleep { until: Instant },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PutKey {
    pub lease: i64,
    /// None: the value that stands there is kept, and only the lease changes.
    pub value: Option<String>,
    /// Put only if the key was not written after this revision; none: whatever stands there.
    pub seen: Option<i64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct HeldLease {
    id: i64,
    /// The lease lives at least until then: the start of the last answered request, and the TTL.
    ends: Instant,
    /// When to keep it alive next.
    renew: Instant,
}

/// What stands under our key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum OwnKey {
    /// We have never put it.
    Unclaimed,
    /// Nothing stands there, or something that is to be overwritten: to be put.
    Missing,
    /// Ours by its address, but without a lease, as an operator's put leaves it: to be put under ours.
    Detached,
    /// Ours, written at this revision or later.
    Ours { revision: i64 },
    /// Another process's, which has the same instance id and came later: left alone.
    Foreign,
}

/// What the log tells of a change of the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Notice {
    /// The key is gone; it is put again.
    Gone,
    /// Somebody set another weight; it is kept.
    WeightSet(u16),
    /// Somebody wrote another address there; it is overwritten.
    Overwritten,
    /// Another process registers the same instance id.
    Taken { lease: i64, theirs: SocketAddr, ours: SocketAddr },
}

#[derive(Debug)]
pub(super) struct Upkeep {
    record: Record,
    ttl: Duration,
    lease: Option<HeldLease>,
    /// A lease that was given up because no call was answered in its time: the key may still stand under it.
    former_lease: Option<i64>,
    key: OwnKey,
    /// The latest revision at which our key was seen.
    picture: i64,
    not_before: Instant,
    failures: u32,
}

impl Upkeep {
    pub(super) fn new(record: Record, ttl: Duration, now: Instant) -> Self {
        Self {
            record,
            ttl,
            lease: None,
            former_lease: None,
            key: OwnKey::Unclaimed,
            picture: 0,
            not_before: now,
            failures: 0,
        }
    }

    /// The lease that is held, even if the key does not stand under it.
    pub(super) fn lease(&self) -> Option<i64> {
        self.lease.map(|l| l.id)
    }

    /// Whether an instance under our key is what this process registered, or an operator's put of it.
    pub(super) fn is_ours(&self, instance: &Instance) -> bool {
        let leases = [Some(0), self.lease(), self.former_lease];
        instance.record.address == self.record.address && leases.contains(&Some(instance.lease))
    }

    /// Whether the key stands under our lease.
    pub(super) fn is_registered(&self) -> bool {
        self.lease.is_some() && matches!(self.key, OwnKey::Ours { .. })
    }

    pub(super) fn failures(&self) -> u32 {
        self.failures
    }

    /// What to do at `now`. A lease whose time has passed is never put under or kept alive: it may be
    /// gone, and a key put under it would be refused or, worse, vanish a moment later.
    pub(super) fn step(&mut self, now: Instant) -> Step {
        if self.lease.is_some_and(|l| l.ends <= now) {
            self.lose_lease();
        }
        if now < self.not_before {
            return Step::Sleep { until: self.not_before };
        }
        let Some(lease) = self.lease else {
            return Step::Grant;
        };
        // Before a put: one that fails again and again must not cost the lease.
        if lease.renew <= now {
            return Step::KeepAlive { lease: lease.id };
        }
        let put = |value, seen| Step::Put(PutKey { lease: lease.id, value, seen });
        match self.key {
            OwnKey::Unclaimed => put(Some(self.record.encode()), None),
            OwnKey::Missing => put(Some(self.record.encode()), Some(self.picture)),
            OwnKey::Detached => put(None, Some(self.picture)),
            OwnKey::Ours { .. } | OwnKey::Foreign => Step::Sleep { until: lease.renew },
        }
    }

    /// A lease was granted, or kept alive, by a request that began at `asked`. `ttl` is the registry's
    /// answer, which may differ from what was asked for.
    pub(super) fn leased(&mut self, id: i64, ttl: Duration, asked: Instant) {
        if matches!(self.key, OwnKey::Ours { .. } | OwnKey::Foreign) {
            self.failures = 0;
        }
        self.lease = Some(HeldLease { id, ends: asked + ttl, renew: asked + ttl / 3 });
    }

    /// The key was put, at this revision.
    pub(super) fn put(&mut self, revision: i64) {
        self.failures = 0;
        self.former_lease = None;
        self.picture = self.picture.max(revision);
        self.key = OwnKey::Ours { revision };
    }

    /// The lease is gone, or its time has passed.
    pub(super) fn lose_lease(&mut self) {
        self.former_lease = self.lease.take().map(|l| l.id).or(self.former_lease);
        // What another process registered stays its own; ours went with the lease.
        if matches!(self.key, OwnKey::Ours { .. } | OwnKey::Detached) {
            self.key = OwnKey::Missing;
        }
    }

    /// A call failed: nothing is done before `now + wait`. While there is a lease, the wait is shortened, so that it
    /// can still be kept alive.
    pub(super) fn failed(&mut self, now: Instant, wait: Duration) {
        self.failures = self.failures.saturating_add(1);
        let most = if self.lease.is_some() { self.ttl / 6 } else { wait };
        self.not_before = now + wait.min(most);
    }

    /// A list shows this under our key. A list that is older than what the watch has shown comes from a registry that
    /// was restored or emptied, and our put may be missing from it.
    pub(super) fn seen_anew(&mut self, instance: Option<&Instance>, revision: i64) -> Option<Notice> {
        if revision < self.picture && matches!(self.key, OwnKey::Ours { .. }) {
            self.key = OwnKey::Ours { revision: 0 };
        }
        self.picture = 0;
        self.seen(instance, revision)
    }

    /// The registry shows this under our key at `revision`; none: nothing, or something that is no registration.
    pub(super) fn seen(&mut self, instance: Option<&Instance>, revision: i64) -> Option<Notice> {
        self.picture = self.picture.max(revision);
        match self.key {
            OwnKey::Unclaimed => return None,
            // From before our own put, which the watch has not shown yet.
            OwnKey::Ours { revision: put } if revision < put => return None,
            _ => {}
        }
        let Some(instance) = instance else {
            let was = std::mem::replace(&mut self.key, OwnKey::Missing);
            return matches!(was, OwnKey::Ours { .. }).then_some(Notice::Gone);
        };
        let lease = instance.lease;
        if lease != 0 && Some(lease) != self.lease() && Some(lease) != self.former_lease {
            let was = std::mem::replace(&mut self.key, OwnKey::Foreign);
            let (theirs, ours) = (instance.record.address, self.record.address);
            return (was != OwnKey::Foreign).then_some(Notice::Taken { lease, theirs, ours });
        }
        if instance.record.address != self.record.address {
            self.key = OwnKey::Missing;
            return Some(Notice::Overwritten);
        }
        self.key = match self.lease() {
            Some(ours) if ours == lease => OwnKey::Ours { revision },
            _ => OwnKey::Detached,
        };
        let weight = instance.record.weight;
        let changed = std::mem::replace(&mut self.record.weight, weight) != weight;
        changed.then_some(Notice::WeightSet(weight))
    }
}

#[cfg(test)]
mod tests;
