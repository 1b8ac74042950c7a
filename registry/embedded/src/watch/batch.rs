//! What a watch is told at once.

use super::Wanted;
use crate::store::{Change, Store};

/// A batch is closed once it holds so many revisions, as in etcd: other watches wait for their turn. A revision
/// is never divided.
const ENOUGH_REVISIONS: usize = 1_000;
/// One that is sent in one piece is also closed once it holds so many bytes. In etcd it is not, and a client whose
/// messages may have 4 MiB, as in many languages, could not catch up: another revision of 1.5 MiB still fits.
const ENOUGH_BYTES: usize = 2 * 1024 * 1024;
/// One that is sent in fragments is closed later: this much a client holds that does not read, of records that the
/// store may have let go.
const ENOUGH_BYTES_IN_FRAGMENTS: usize = 16 * 1024 * 1024;
/// How many changes are looked at in one turn: the store is locked meanwhile.
const ENOUGH_LOOKED_AT: usize = 10_000;

/// Changes that concern one watch, in their order.
#[derive(Debug)]
pub(crate) struct Batch {
    pub watch: i64,
    pub changes: Vec<Change>,
    /// Nothing that concerns the watch is missing up to here.
    pub through: i64,
    pub with_previous: bool,
    pub in_fragments: bool,
    /// The oldest revision that could be read when the batch was made.
    pub compacted: i64,
    revisions: usize,
    bytes: usize,
    looked_at: usize,
}

impl Batch {
    /// Reads the history from a revision on.
    pub(super) fn read(watch: i64, wanted: &Wanted, from: i64, store: &Store) -> Self {
        let mut batch = Self {
            watch,
            changes: Vec::new(),
            through: store.revision(),
            with_previous: wanted.previous,
            in_fragments: wanted.fragments,
            compacted: store.compacted(),
            revisions: 0,
            bytes: 0,
            looked_at: 0,
        };
        for commit in store.commits_since(from) {
            if batch.is_enough() {
                batch.through = commit.revision.saturating_sub(1);
                break;
            }
            batch.looked_at += commit.changes.len();
            let before = batch.changes.len();
            commit
                .changes
                .iter()
                .filter(|change| wanted.includes(change))
                .for_each(|change| batch.push(change));
            batch.revisions += usize::from(batch.changes.len() > before);
        }
        batch
    }

    fn is_enough(&self) -> bool {
        let enough_bytes = if self.in_fragments { ENOUGH_BYTES_IN_FRAGMENTS } else { ENOUGH_BYTES };
        self.revisions >= ENOUGH_REVISIONS || self.bytes >= enough_bytes || self.looked_at >= ENOUGH_LOOKED_AT
    }

    fn push(&mut self, change: &Change) {
        let record = &change.record;
        self.bytes += record.key.len() + record.value.len();
        if let Some(previous) = change.previous.as_ref().filter(|_| self.with_previous) {
            self.bytes += previous.key.len() + previous.value.len();
        }
        self.changes.push(change.clone());
    }
}
