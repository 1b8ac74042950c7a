//! The state of one registration, pure: time is passed in, calls are asked for and reported back.
//!
//! ```text
//! no lease --granted--> lease, key to put --put--> registered --kept alive--> registered
//!    ^                                                 |  ^
//!    |  lease gone, or its time passed unanswered      |  | key deleted, or its lease taken off: put again
//!    +-------------------------------------------------+  |
//!                          another process put its own ---+ the key is left to it until it goes
//! ```

use std::time::{Duration, Instant};

use crate::contract::{Instance, Record};

/// What to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Grant a lease.
    Grant,
    /// Put the key with this value under this lease.
    Put {
        /// The lease.
        lease: i64,
        /// The value.
        value: String,
    },
    /// Put the key under this lease and leave its value as it is.
    Attach {
        /// The lease.
        lease: i64,
    },
    /// Keep the lease alive.
    KeepAlive {
        /// The lease.
        lease: i64,
    },
    /// Nothing until then.
    Sleep {
        /// The time of the next step.
        until: Instant,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Lease {
    id: i64,
    /// When it ends for sure, as far as we know: the last answered request's start + TTL.
    ends: Instant,
    /// When to keep it alive next.
    renew: Instant,
}

/// What stands under our key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Key {
    /// Nothing of ours: to be put.
    Absent,
    /// Ours by its address, but without a lease, as an operator's put leaves it: to be attached.
    Detached,
    /// Ours, written at this revision or later.
    Ours { revision: i64 },
    /// Another process's, which has the same instance id and came later: left alone.
    Foreign,
}

/// A change that people want to know of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Notice {
    /// Somebody deleted the key; it is put again.
    Deleted,
    /// Somebody set another weight; it is kept.
    WeightSet(u16),
    /// Somebody wrote something else there; it is overwritten.
    Overwritten,
    /// Another process registers the same instance id.
    Taken {
        /// Its lease.
        lease: i64,
    },
}

/// One registration.
#[derive(Debug)]
pub struct Registration {
    record: Record,
    ttl: Duration,
    lease: Option<Lease>,
    key: Key,
    /// The revision that the watch of our key has shown last.
    picture: i64,
    not_before: Instant,
    failures: u32,
}

impl Registration {
    /// A registration that has not begun.
    pub fn new(record: Record, ttl: Duration, now: Instant) -> Self {
        Self { record, ttl, lease: None, key: Key::Absent, picture: 0, not_before: now, failures: 0 }
    }

    /// The lease that is held, whether or not the key stands under it.
    pub fn lease(&self) -> Option<i64> {
        self.lease.map(|l| l.id)
    }

    /// Whether the key stands under our lease.
    pub fn is_registered(&self) -> bool {
        self.lease.is_some() && matches!(self.key, Key::Ours { .. })
    }

    /// The weight that is registered: the configured one until somebody sets another.
    pub fn weight(&self) -> u16 {
        self.record.weight
    }

    /// Failures in a row.
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// What to do at `now`. A lease whose time has passed is never put under or kept alive: it may be
    /// gone, and a key put under it would be refused or, worse, vanish a moment later.
    pub fn step(&mut self, now: Instant) -> Step {
        if self.lease.is_some_and(|l| l.ends <= now) {
            self.lose_lease();
        }
        if now < self.not_before {
            return Step::Sleep { until: self.not_before };
        }
        let Some(lease) = self.lease else {
            return Step::Grant;
        };
        match self.key {
            Key::Absent => Step::Put { lease: lease.id, value: self.record.encode() },
            Key::Detached => Step::Attach { lease: lease.id },
            Key::Ours { .. } | Key::Foreign if lease.renew <= now => Step::KeepAlive { lease: lease.id },
            Key::Ours { .. } | Key::Foreign => Step::Sleep { until: lease.renew },
        }
    }

    /// A lease was granted, or kept alive, by a request that began at `asked`. `ttl` is the registry's
    /// answer, which may differ from what was asked for.
    pub fn leased(&mut self, id: i64, ttl: Duration, asked: Instant) {
        self.failures = 0;
        self.lease = Some(Lease { id, ends: asked + ttl, renew: asked + ttl / 3 });
    }

    /// The key was put or attached, at this revision.
    pub fn put(&mut self, revision: i64) {
        self.failures = 0;
        self.key = Key::Ours { revision };
    }

    /// The registry says that the lease is gone.
    pub fn lose_lease(&mut self) {
        self.lease = None;
        // What another process registered stays its own; ours went with the lease.
        if self.key != Key::Foreign {
            self.key = Key::Absent;
        }
    }

    /// The key to attach to is gone.
    pub fn key_missing(&mut self) {
        self.key = Key::Absent;
    }

    /// A call failed: nothing before `now + wait`.
    pub fn failed(&mut self, now: Instant, wait: Duration) {
        self.failures = self.failures.saturating_add(1);
        self.not_before = now + wait.min(self.ttl);
    }

    /// A list shows this under our key. One that is older than what the watch has shown before comes from
    /// a registry that was restored or emptied: our put may be missing from it.
    pub fn seen_anew(&mut self, instance: Option<&Instance>, revision: i64) -> Option<Notice> {
        if revision < self.picture && matches!(self.key, Key::Ours { .. }) {
            self.key = Key::Ours { revision: 0 };
        }
        self.picture = 0;
        self.seen(instance, revision)
    }

    /// The registry shows this under our key at `revision` (none: nothing, or no registration).
    pub fn seen(&mut self, instance: Option<&Instance>, revision: i64) -> Option<Notice> {
        self.picture = self.picture.max(revision);
        match self.key {
            // To be put whatever stands there: the later process has the key.
            Key::Absent => return None,
            // Older than our own put: the picture has not caught up yet.
            Key::Ours { revision: put } if revision < put => return None,
            _ => {}
        }
        let Some(instance) = instance else {
            let was = std::mem::replace(&mut self.key, Key::Absent);
            return matches!(was, Key::Ours { .. }).then_some(Notice::Deleted);
        };
        match instance.lease {
            0 if instance.record.address == self.record.address => {
                self.key = Key::Detached;
                self.adopt_weight(instance)
            }
            0 => {
                self.key = Key::Absent;
                Some(Notice::Overwritten)
            }
            lease if Some(lease) == self.lease() => self.adopt_weight(instance),
            lease => {
                let was = std::mem::replace(&mut self.key, Key::Foreign);
                (was != Key::Foreign).then_some(Notice::Taken { lease })
            }
        }
    }

    fn adopt_weight(&mut self, instance: &Instance) -> Option<Notice> {
        let weight = instance.record.weight;
        let changed = std::mem::replace(&mut self.record.weight, weight) != weight;
        changed.then_some(Notice::WeightSet(weight))
    }
}

#[cfg(test)]
mod tests;
