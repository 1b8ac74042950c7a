//! Which bad records were told. A few bytes each: somebody may write hundreds of thousands, under long keys.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};

use super::source::Written;

/// Stands for one writing of one key. That two are alike is less likely than a fault of the memory, and nobody can
/// bring it about who does not know the hasher's keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Mark(u64);

/// The bad records that were told, of those that are there.
#[derive(Debug, Default)]
pub(super) struct Told {
    marks: HashSet<Mark>,
    hasher: RandomState,
}

impl Told {
    pub(super) fn mark(&self, key: &[u8], Written { revision, lease }: Written) -> Mark {
        Mark(self.hasher.hash_one((key, revision, lease)))
    }

    pub(super) fn contains(&self, mark: Mark) -> bool {
        self.marks.contains(&mark)
    }

    pub(super) fn insert(&mut self, key: &[u8], written: Written) {
        self.marks.insert(self.mark(key, written));
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.marks.is_empty()
    }

    /// It is gone, or was overwritten.
    pub(super) fn remove(&mut self, key: &[u8], written: Option<Written>) {
        // Hardly ever is there anything.
        if let Some(written) = written.filter(|_| !self.marks.is_empty()) {
            self.marks.remove(&self.mark(key, written));
        }
    }

    /// These are all that are there.
    pub(super) fn replace(&mut self, marks: HashSet<Mark>) {
        self.marks = marks;
    }
}
