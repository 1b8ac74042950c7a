//! The watches: which keys each is for, and up to where it has been told.
//!
//! Pure: no network. Nothing is queued for a watch. A write leaves one number in each watch that it concerns:
//! the first revision that the watch has not been told. Whoever serves the watch reads on from there in the
//! store's history when it can. So a slow watch costs nothing and holds up nobody; when the history has moved
//! past its number, it is told that the revision is compacted.

mod batch;
mod index;
mod streams;
mod synced;

use crate::{
    refusal::Refusal,
    span::Span,
    store::{KeyChange, Store, is_deletion},
};

pub(crate) use batch::Batch;
pub(crate) use streams::{Bounds, News, Watches};

/// A client's stream of watches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct StreamId(u64);

/// What a client asks of a watch.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wanted {
    /// 0 lets the stream choose.
    pub id: i64,
    pub key: Vec<u8>,
    pub end: Vec<u8>,
    /// The first revision to be told; 0: whatever comes next.
    pub start_revision: i64,
    pub without_puts: bool,
    pub without_deletes: bool,
    /// Events carry what the key was before.
    pub previous: bool,
    /// A large answer may come in parts.
    pub fragments: bool,
    /// A quiet watch wants to be told now and then that it is.
    pub progress: bool,
}

/// How often the bytes of a watched span are held: in its watch, and in the index of puts and that of deletes.
const COPIES_OF_A_SPAN: usize = 3;

impl Wanted {
    /// What its key and its end take.
    fn bytes(&self) -> usize {
        COPIES_OF_A_SPAN * (self.key.len() + self.end.len())
    }

    fn span(&self) -> Span<'_> {
        Span::new(&self.key, &self.end)
    }

    fn check(&self) -> Result<(), Refusal> {
        if self.start_revision < 0 {
            return Err(Refusal::Compacted); // since etcd 3.5.24; older ones start at the oldest revision
        }
        if self.span().is_empty() { Err(Refusal::EmptyWatchRange) } else { Ok(()) }
    }

    fn includes(&self, change: &KeyChange) -> bool {
        let is_filtered = if is_deletion(&change.record) { self.without_deletes } else { self.without_puts };
        !is_filtered && self.span().contains(&change.record.key)
    }
}

/// One watch of a stream.
#[derive(Debug)]
struct Watcher {
    wanted: Wanted,
    position: Position,
    /// Whether it was told anything since it was last asked whether it is quiet.
    is_quiet: bool,
}

/// How far a watch has heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Position {
    /// Of everything so far. A change at `from` or later makes it [`Position::Behind`].
    Synced {
        /// The first revision that it wants; it may lie in the future.
        from: i64,
    },
    /// Of everything before a place in the history. A batch makes it [`Position::Synced`], or leaves it behind at a
    /// later place; a compaction past that revision makes it [`Position::Compacted`].
    Behind(HistoryPlace),
    /// It was told that it is compacted, and hears no more. As in etcd, its id is taken until it is cancelled.
    Compacted,
}

/// Where a watch reads on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct HistoryPlace {
    /// The first revision that was not told to its end.
    revision: i64,
    /// How many of its changes have been looked at.
    changes: usize,
}

impl HistoryPlace {
    /// All of this revision is still to be told.
    fn start_of(revision: i64) -> Self {
        Self { revision, changes: 0 }
    }
}

impl Watcher {
    fn new(wanted: Wanted, store: &Store) -> Self {
        let next = store.revision().saturating_add(1);
        let position = match wanted.start_revision {
            0 => Position::Synced { from: next },
            from if from >= next => Position::Synced { from },
            from => Position::Behind(HistoryPlace::start_of(from)),
        };
        Self { wanted, position, is_quiet: true }
    }
}
