//! The watches that have heard of everything, by what they wait for.
//!
//! Only those are here: a watch that is behind is found in its stream's queue. So a change costs as much as there
//! are watches that fall behind by it, and each of them only once, however many changes follow before it is served.

use std::collections::BTreeSet;

use super::{StreamId, Wanted, index::Index};
use crate::{
    span::Span,
    store::{KeyChange, is_deletion},
};

/// A watch, by its stream.
pub(super) type Who = (StreamId, i64);

#[derive(Debug, Default)]
pub(super) struct SyncedWatchers {
    puts: Index<Who>,
    deletes: Index<Who>,
    /// Those that wait for a revision that is still to come, the nearest first.
    ahead: BTreeSet<(i64, Who)>,
}

impl SyncedWatchers {
    /// A watch waits for whatever concerns it from a revision on. `next` is the revision to come.
    pub(super) fn insert(&mut self, wanted: &Wanted, who: Who, from: i64, next: i64) {
        if from > next {
            self.ahead.insert((from, who));
            return;
        }
        if !wanted.without_puts {
            self.puts.insert(wanted.span(), who);
        }
        if !wanted.without_deletes {
            self.deletes.insert(wanted.span(), who);
        }
    }

    /// A watch no longer waits.
    pub(super) fn remove(&mut self, span: Span<'_>, who: Who, from: i64) {
        if !self.ahead.remove(&(from, who)) {
            self.puts.remove(span, who);
            self.deletes.remove(span, who);
        }
    }

    /// Takes out a watch that waited for this revision, or for an earlier one, to come.
    pub(super) fn take_arrived(&mut self, revision: i64) -> Option<(Who, i64)> {
        let &(from, who) = self.ahead.first().filter(|(from, _)| *from <= revision)?;
        self.ahead.remove(&(from, who));
        Some((who, from))
    }

    /// Everybody whom a change concerns.
    pub(super) fn concerned(&self, change: &KeyChange) -> Vec<Who> {
        let index = if is_deletion(&change.record) { &self.deletes } else { &self.puts };
        index.who_wants(&change.record.key)
    }
}
