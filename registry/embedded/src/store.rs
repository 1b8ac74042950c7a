//! The keys, with every version of them since the last compaction.
//!
//! Pure: no clock, no lock, no network. Writes gather in the store until [`Store::commit`] makes them one
//! revision. Two views share each version: `keys` answers reads, at any revision that is kept; `history`
//! answers watches. Compaction drops changes from the front of the history, and with each the versions that it had
//! superseded, so that its cost is paid change by change, and a large one over several calls.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use etcd_client::proto::PbKeyValue;

use crate::{refusal::Refusal, span::Span};

/// A version of a key, shared by the index, the history and every answer that is being sent. A deletion is
/// one with [no version](is_deletion), as etcd sends it: key and revision alone.
pub(crate) type Record = Arc<PbKeyValue>;

/// What a version costs beside its bytes: its allocations, its place in the index and in its lease's keys.
const RECORD_OVERHEAD: usize = 320;
/// How often the bytes of a key are held: in the version, in the index, in its lease.
const COPIES_OF_A_KEY: usize = 3;
/// What a change costs in the history, beside its versions.
const CHANGE_OVERHEAD: usize = 64;
/// How many compacted changes are dropped in one call; the rest is dropped in the next ones.
const FORGOTTEN_AT_ONCE: usize = 10_000;

/// How much a store may hold.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StoreLimits {
    /// Bytes of keys, values, history, and what keeping them costs.
    pub bytes: usize,
    /// Revisions that stay readable.
    pub revisions: usize,
}

#[derive(Debug)]
pub(crate) struct Store {
    /// Each key's versions, the oldest first.
    keys: BTreeMap<Vec<u8>, VecDeque<Record>>,
    /// The revisions from `compacted` on, without gaps, the oldest first. In front of them are those that are
    /// compacted and not yet dropped.
    history: VecDeque<Commit>,
    /// What the next revision is made of.
    pending: Vec<KeyChange>,
    revision: i64,
    compacted: i64,
    /// The keys that there are now.
    live_keys: usize,
    /// The cost of the keys as they are now.
    live_bytes: usize,
    /// The cost of everything: live keys, older versions, history.
    bytes: usize,
    limits: StoreLimits,
}

/// One revision.
#[derive(Debug)]
pub(crate) struct Commit {
    pub revision: i64,
    pub changes: Vec<KeyChange>,
}

/// One key's change.
#[derive(Clone, Debug)]
pub(crate) struct KeyChange {
    pub record: Record,
    /// The key as it was at the revision before.
    pub previous: Option<Record>,
}

/// Whether this version says that the key was deleted.
pub(crate) fn is_deletion(record: &PbKeyValue) -> bool {
    record.version == 0
}

impl Store {
    /// An empty store at this revision. Everything before it counts as compacted.
    pub(crate) fn new(revision: i64, limits: StoreLimits) -> Self {
        Self {
            keys: BTreeMap::new(),
            history: VecDeque::new(),
            pending: Vec::new(),
            revision,
            compacted: revision,
            live_keys: 0,
            live_bytes: 0,
            bytes: 0,
            limits,
        }
    }

    /// The last committed revision.
    pub(crate) fn revision(&self) -> i64 {
        self.revision
    }

    /// The revision that a transaction sees while it writes: the next one, as soon as it has written something.
    pub(crate) fn revision_in_view(&self) -> i64 {
        if self.pending.is_empty() { self.revision } else { self.next_revision() }
    }

    /// The oldest revision that can be read.
    pub(crate) fn compacted(&self) -> i64 {
        self.compacted
    }

    /// How many keys there are now.
    pub(crate) fn live_keys(&self) -> usize {
        self.live_keys
    }

    /// What it holds in all, by its own count.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// What the keys hold as they are now, by its own count.
    pub(crate) fn live_bytes(&self) -> usize {
        self.live_bytes
    }

    /// What it may hold.
    pub(crate) fn max_bytes(&self) -> usize {
        self.limits.bytes
    }

    /// Checks that a read at this revision can be answered.
    pub(crate) fn check_readable(&self, revision: i64) -> Result<(), Refusal> {
        if revision > self.revision_in_view() {
            return Err(Refusal::FutureRevision);
        }
        if revision < self.compacted { Err(Refusal::Compacted) } else { Ok(()) }
    }

    /// The key as it is now, uncommitted writes included.
    pub(crate) fn get(&self, key: &[u8]) -> Option<&Record> {
        live(self.keys.get(key)?.back())
    }

    /// The keys of a span as they were at a revision, in the order of their bytes.
    pub(crate) fn range<'a>(&'a self, span: Span<'a>, revision: i64) -> impl Iterator<Item = &'a Record> {
        span.bounds()
            .into_iter()
            .flat_map(|bounds| self.keys.range::<[u8], _>(bounds))
            .filter_map(move |(_, versions)| at(versions, revision))
    }

    /// Whether another such key can be kept, if need be at the cost of all history.
    pub(crate) fn has_room_for(&self, keys: usize, bytes: usize) -> bool {
        let wanted = keys.saturating_mul(RECORD_OVERHEAD).saturating_add(bytes);
        self.live_bytes.saturating_add(wanted) <= self.limits.bytes
    }

    /// Writes a key.
    pub(crate) fn put(&mut self, key: Vec<u8>, value: Vec<u8>, lease: i64) {
        let current = self.get(&key);
        let revision = self.next_revision();
        let record = Arc::new(PbKeyValue {
            create_revision: current.map_or(revision, |current| current.create_revision),
            mod_revision: revision,
            version: current.map_or(1, |current| current.version.saturating_add(1)),
            key,
            value,
            lease,
        });
        self.push(record);
    }

    /// Deletes a key, if it is there.
    pub(crate) fn delete(&mut self, key: &[u8]) {
        if self.get(key).is_some() {
            let mod_revision = self.next_revision();
            self.push(Arc::new(PbKeyValue { key: key.to_vec(), mod_revision, ..PbKeyValue::default() }));
        }
    }

    /// Takes back the last change that is not committed. Returns it, and what the key was before.
    pub(crate) fn undo(&mut self) -> Option<(Record, Option<Record>)> {
        let KeyChange { record, .. } = self.pending.pop()?;
        let versions = self.keys.get_mut(&record.key)?;
        versions.pop_back();
        let before = live(versions.back()).map(Arc::clone);
        if versions.is_empty() {
            self.keys.remove(&record.key);
        }
        self.bytes -= cost(&record) + CHANGE_OVERHEAD;
        self.count_live(Some(&record), before.as_deref());
        Some((record, before))
    }

    /// Makes one revision of what was written since the last one; none if nothing was.
    pub(crate) fn commit(&mut self) -> Option<&Commit> {
        if self.pending.is_empty() {
            return None;
        }
        self.revision = self.next_revision();
        let changes = std::mem::take(&mut self.pending);
        self.history.push_back(Commit { revision: self.revision, changes });
        self.keep_within_limits();
        self.history.back()
    }

    /// The kept revisions from this one on.
    pub(crate) fn commits_since(&self, revision: i64) -> impl Iterator<Item = &Commit> {
        let first = self.history.front().map_or(revision, |commit| commit.revision);
        let skipped = usize::try_from(revision.saturating_sub(first)).unwrap_or(0);
        self.history.range(skipped.min(self.history.len())..)
    }

    /// Forgets what was before this revision.
    pub(crate) fn compact(&mut self, revision: i64) -> Result<(), Refusal> {
        if revision <= self.compacted {
            return Err(Refusal::Compacted);
        }
        if revision > self.revision {
            return Err(Refusal::FutureRevision);
        }
        self.compacted = revision;
        self.forget();
        Ok(())
    }

    /// Drops some of the compacted changes. Returns whether there are more.
    pub(crate) fn forget(&mut self) -> bool {
        let mut left = FORGOTTEN_AT_ONCE;
        while left > 0 && self.forget_oldest_change() {
            left -= 1;
        }
        left == 0
    }

    fn next_revision(&self) -> i64 {
        self.revision.saturating_add(1)
    }

    fn push(&mut self, record: Record) {
        let versions = self.keys.entry(record.key.clone()).or_default();
        let before = live(versions.back()).map(Arc::clone);
        let previous = at(versions, record.mod_revision.saturating_sub(1)).map(Arc::clone);
        versions.push_back(Arc::clone(&record));

        self.bytes += cost(&record) + CHANGE_OVERHEAD;
        self.count_live(before.as_deref(), Some(&record));
        self.pending.push(KeyChange { record, previous });
    }

    /// Counts one version of a key in the place of another.
    fn count_live(&mut self, before: Option<&PbKeyValue>, after: Option<&PbKeyValue>) {
        let costs = |version: Option<&PbKeyValue>| {
            version.filter(|version| !is_deletion(version)).map_or((0, 0), |version| (1, cost(version)))
        };
        let ((keys_before, bytes_before), (keys_after, bytes_after)) = (costs(before), costs(after));
        self.live_keys = self.live_keys + keys_after - keys_before;
        self.live_bytes = self.live_bytes + bytes_after - bytes_before;
    }

    /// History gives way to keys. The newest revision always stays: it is being told to watches.
    fn keep_within_limits(&mut self) {
        let mut left = FORGOTTEN_AT_ONCE;
        while left > 0 {
            if self.forget_oldest_change() {
                left -= 1;
            } else if self.history.len() > 1
                && (self.history.len() > self.limits.revisions || self.bytes > self.limits.bytes)
            {
                self.compacted = self.compacted.saturating_add(1);
            } else {
                return;
            }
        }
    }

    /// Drops the oldest compacted change, if there is one.
    fn forget_oldest_change(&mut self) -> bool {
        let Some(oldest) = self.history.front_mut().filter(|oldest| oldest.revision < self.compacted) else {
            return false;
        };
        let change = oldest.changes.pop();
        if oldest.changes.is_empty() {
            self.history.pop_front();
        }
        if let Some(change) = change {
            self.bytes -= CHANGE_OVERHEAD;
            self.forget_versions_of(&change.record.key);
        }
        true
    }

    /// Drops the versions of a key that no read from `compacted` on can meet.
    fn forget_versions_of(&mut self, key: &[u8]) {
        let Some(versions) = self.keys.get_mut(key) else { return };
        let readable = versions.partition_point(|version| version.mod_revision <= self.compacted);
        let mut superseded = readable.saturating_sub(1);
        // No read can find a deletion before `compacted`. One at `compacted` may still be sent to a watch.
        let is_forgotten = |oldest: &Record| is_deletion(oldest) && oldest.mod_revision < self.compacted;
        if versions.get(superseded).is_some_and(is_forgotten) {
            superseded += 1;
        }
        self.bytes -= versions.drain(..superseded).map(|version| cost(&version)).sum::<usize>();
        if versions.is_empty() {
            self.keys.remove(key);
        }
    }
}

/// The bytes of a key and a value, as [`Store::has_room_for`] wants them.
pub(crate) fn bytes_of(key: &[u8], value: &[u8]) -> usize {
    COPIES_OF_A_KEY * key.len() + value.len()
}

fn cost(record: &PbKeyValue) -> usize {
    RECORD_OVERHEAD + bytes_of(&record.key, &record.value)
}

fn at(versions: &VecDeque<Record>, revision: i64) -> Option<&Record> {
    let newest = versions.partition_point(|version| version.mod_revision <= revision).checked_sub(1)?;
    live(versions.get(newest))
}

fn live(version: Option<&Record>) -> Option<&Record> {
    version.filter(|version| !is_deletion(version))
}

#[cfg(test)]
mod tests;
