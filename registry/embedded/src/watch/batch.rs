//! What a watch is told at once.

use super::{HistoryPlace, Wanted};
use crate::store::{KeyChange, Store};

/// A batch is closed once it holds so many revisions, as in etcd: other watches wait for their turn.
const ENOUGH_REVISIONS: usize = 1_000;
/// One that is sent in one piece is also closed once it holds so many bytes. In etcd it is not, and a client whose
/// messages may have 4 MiB, as in many languages, could not catch up: another revision of 1.5 MiB still fits.
const ENOUGH_BYTES: usize = 2 * 1024 * 1024;
/// Any other batch is closed once it holds so many bytes, even in the middle of a revision: so much memory a client
/// can keep by not reading, of records that the store may have dropped. A smaller revision is divided only for clients
/// that take fragments; a larger one, which deletes many keys and has their former values, no client would take as one
/// message.
const MOST_BYTES: usize = 16 * 1024 * 1024;
/// What a change takes beside its bytes, in memory and in an answer.
const CHANGE_OVERHEAD: usize = 200;
/// How many changes are looked at in one turn: the store is locked meanwhile.
const ENOUGH_LOOKED_AT: usize = 10_000;

/// Changes that concern one watch, in their order.
#[derive(Debug)]
pub(crate) struct Batch {
    pub watch: i64,
    pub changes: Vec<KeyChange>,
    /// Up to this revision nothing that concerns the watch is missing, unless the batch [is divided](Self::is_divided).
    pub through: i64,
    pub with_previous: bool,
    pub in_fragments: bool,
    /// The oldest revision that could be read when the batch was made.
    pub compacted: i64,
    /// Where it begins, and where the next one does.
    pub(super) from: HistoryPlace,
    pub(super) next: HistoryPlace,
    revisions: usize,
    bytes: usize,
    looked_at: usize,
}

impl Batch {
    /// Reads the history from a place on.
    pub(super) fn read(watch: i64, wanted: &Wanted, from: HistoryPlace, store: &Store) -> Self {
        let mut batch = Self {
            watch,
            changes: Vec::new(),
            through: store.revision(),
            with_previous: wanted.previous,
            in_fragments: wanted.fragments,
            compacted: store.compacted(),
            from,
            next: HistoryPlace::start_of(store.revision().saturating_add(1)),
            revisions: 0,
            bytes: 0,
            looked_at: 0,
        };
        for commit in store.commits_since(from.revision) {
            if batch.is_enough() {
                batch.through = commit.revision.saturating_sub(1);
                batch.next = HistoryPlace::start_of(commit.revision);
                break;
            }
            let told = if commit.revision == from.revision { from.changes } else { 0 };
            let left = batch.take(commit.changes.get(told..).unwrap_or_default(), wanted);
            if left > 0 {
                batch.through = commit.revision;
                batch.next = HistoryPlace { revision: commit.revision, changes: commit.changes.len() - left };
                break;
            }
        }
        batch
    }

    /// Whether the rest of its last revision comes in the next batch.
    pub(crate) fn is_divided(&self) -> bool {
        self.next.changes > 0
    }

    /// What it takes until it is told, in bytes.
    pub(crate) fn size(&self) -> usize {
        self.bytes + self.changes.len() * CHANGE_OVERHEAD
    }

    /// Takes what concerns the watch of one revision. Returns how many changes are left of it. If any are, the first
    /// of them concerns the watch: a client that was told that more follows would wait for it.
    fn take(&mut self, changes: &[KeyChange], wanted: &Wanted) -> usize {
        let before = self.changes.len();
        let mut left = changes.iter();
        while self.bytes < MOST_BYTES
            && let Some(change) = left.find(|change| wanted.includes(change))
        {
            self.push(change);
        }
        self.looked_at += changes.len();
        self.revisions += usize::from(self.changes.len() > before);
        let left = left.as_slice();
        left.iter().position(|change| wanted.includes(change)).map_or(0, |next| left.len() - next)
    }

    fn is_enough(&self) -> bool {
        let enough_bytes = if self.in_fragments { MOST_BYTES } else { ENOUGH_BYTES };
        self.revisions >= ENOUGH_REVISIONS || self.bytes >= enough_bytes || self.looked_at >= ENOUGH_LOOKED_AT
    }

    fn push(&mut self, change: &KeyChange) {
        let record = &change.record;
        self.bytes += record.key.len() + record.value.len();
        if let Some(previous) = change.previous.as_ref().filter(|_| self.with_previous) {
            self.bytes += previous.key.len() + previous.value.len();
        }
        self.changes.push(change.clone());
    }
}
