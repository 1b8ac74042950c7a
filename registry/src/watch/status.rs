//! What a watch says of itself, beside its updates.

use std::time::Instant;

/// The state of a watch and what it has seen. Counters only grow.
#[derive(Debug, Clone, Default)]
pub struct WatchStatus {
    /// Whether a first list has arrived: the picture is then one that the registry once had.
    pub synced: bool,
    /// Whether a watch is open, so that changes arrive as they happen.
    pub live: bool,
    /// The revision that the picture shows.
    pub revision: i64,
    /// When the registry last said something (an event, a progress report, a list).
    pub confirmed: Option<Instant>,
    /// Why the watch is not live, in words; none while it is.
    pub trouble: Option<String>,
    /// Events received (puts and deletes, also of bad records).
    pub events: u64,
    /// Lists read: one at the start, one more after each compaction, step back in history or
    /// repair, and each that somebody has asked for.
    pub lists: u64,
    /// Failures of a call, a stream or a deadline.
    pub failures: u64,
    /// Records that were no registration.
    pub skipped: u64,
    /// The last of them. It may have been overwritten since.
    pub last_skipped: Option<Skipped>,
    /// Audits that compared the picture with a list.
    pub audits: u64,
    /// Audits that did not come to their end; each is tried again.
    pub audits_failed: u64,
    /// Keys that differed in an audit. Zero, unless the registry lost an event.
    pub repaired: u64,
}

impl WatchStatus {
    /// So many more records were skipped, this one last.
    pub(super) fn skip(&mut self, count: u64, last: Option<Skipped>) {
        self.skipped += count;
        self.last_skipped = last.or(self.last_skipped.take());
    }
}

/// A record that is no registration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skipped {
    /// Its key; the beginning of it, if it is long.
    pub key: String,
    /// The revision at which it was written.
    pub revision: i64,
    /// What is wrong with it.
    pub reason: String,
}
