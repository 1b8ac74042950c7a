//! The watches: who wants to hear of which keys, and how far each has heard.
//!
//! Pure: no network. Nothing is queued for a watch. A write leaves one number in each watch that it concerns:
//! the first revision that the watch has not been told. Whoever serves the watch reads on from there in the
//! store's history when it can. So a slow watch costs nothing and holds up nobody; when the history has moved
//! past its number, it is told that the revision is compacted.

mod batch;
mod index;
mod streams;

use crate::{
    refusal::Refusal,
    span::Span,
    store::{Change, Store, is_deletion},
};

pub(crate) use batch::Batch;
pub(crate) use streams::{Bounds, News, StreamId, Watches};

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

impl Wanted {
    fn span(&self) -> Span<'_> {
        Span::new(&self.key, &self.end)
    }

    fn check(&self) -> Result<(), Refusal> {
        if self.start_revision < 0 {
            return Err(Refusal::Compacted); // since etcd 3.5.24; older ones start at the oldest revision
        }
        if self.span().is_empty() { Err(Refusal::EmptyWatchRange) } else { Ok(()) }
    }

    fn includes(&self, change: &Change) -> bool {
        let is_filtered = if is_deletion(&change.record) { self.without_deletes } else { self.without_puts };
        !is_filtered && self.span().contains(&change.record.key)
    }
}

/// One watch of a stream.
#[derive(Debug)]
struct Watch {
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
    /// Of everything before `from`. A batch makes it [`Position::Synced`], or leaves it behind at a later
    /// revision; a compaction past `from` makes it [`Position::Compacted`].
    Behind {
        /// The first revision that it has not been told.
        from: i64,
    },
    /// It was told that it is compacted, and hears no more. As in etcd, its id is taken until it is cancelled.
    Compacted,
}

impl Watch {
    fn new(wanted: Wanted, store: &Store) -> Self {
        let next = store.revision().saturating_add(1);
        let position = match wanted.start_revision {
            0 => Position::Synced { from: next },
            from if from >= next => Position::Synced { from },
            from => Position::Behind { from },
        };
        Self { wanted, position, is_quiet: true }
    }

    /// Whether the change takes it out of [`Position::Synced`].
    fn falls_behind_by(&mut self, change: &Change) -> bool {
        let revision = change.record.mod_revision;
        match self.position {
            Position::Synced { from } if revision >= from && self.wanted.includes(change) => {
                self.position = Position::Behind { from: revision };
                true
            }
            _ => false,
        }
    }
}
