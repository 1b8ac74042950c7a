//! Which bad records were warned of. Each takes a few bytes, since somebody may write hundreds of thousands of them,
//! under long keys.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};

use super::source::Written;

/// A hash of a key and of how it was last written. Two that are alike by chance are less likely than a fault of the
/// memory, and nobody can make them without knowing the hasher's random keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Mark(u64);

/// The bad records that were warned of and are still in the registry.
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

    /// The key is gone, or was overwritten; `written` is how it was written before.
    pub(super) fn remove(&mut self, key: &[u8], written: Option<Written>) {
        // This is asked at each event, and most registries have no bad records: then nothing needs to be hashed.
        if let Some(written) = written.filter(|_| !self.marks.is_empty()) {
            self.marks.remove(&self.mark(key, written));
        }
    }

    /// Takes the bad records of a complete list in their place.
    pub(super) fn replace(&mut self, marks: HashSet<Mark>) {
        self.marks = marks;
    }
}
