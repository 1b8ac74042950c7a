//! What a watch says of itself.

use std::time::Instant;

/// The state of a watch, and what it has seen since its start. Counters only grow.
#[derive(Debug, Clone, Default)]
pub struct WatchStatus {
    /// Whether a first list has arrived: the picture is then one that the registry once had.
    pub synced: bool,
    /// Whether a watch is open, so that changes arrive as they happen.
    pub live: bool,
    /// etcd's revision that the picture shows; 0 before the first list.
    pub revision: i64,
    /// When the registry last said something (an event, a progress report, a list); none before the first time.
    pub confirmed: Option<Instant>,
    /// Why the watch is not live, in words for people, with what they can do; none while it is.
    pub trouble: Option<String>,
    /// Events received (puts and deletes, also of bad records).
    pub events: u64,
    /// Complete lists read: one at the start, one for each [`Reread::ask`](super::Reread::ask) that was followed, and
    /// one whenever the watch could not be resumed: etcd had compacted what it needs, came back with an older history,
    /// or differed in an audit.
    pub lists: u64,
    /// Calls that failed, watches that broke, and deadlines that passed.
    pub failures: u64,
    /// Records that were no registration, or were refused. One that is listed again is not counted again.
    pub skipped: u64,
    /// The last record that was skipped. It may have been overwritten since.
    pub last_skipped: Option<Skipped>,
    /// Audits that compared the picture with a list.
    pub audits: u64,
    /// Audits that did not come to their end; each is tried again.
    pub audits_failed: u64,
    /// Keys that differed in an audit: 0 as long as the registry loses no event.
    pub repaired: u64,
}

impl WatchStatus {
    pub(super) fn skip(&mut self, count: u64, last: Option<Skipped>) {
        self.skipped += count;
        self.last_skipped = last.or(self.last_skipped.take());
    }
}

/// A record that is no registration, or was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skipped {
    /// Its key, cut after 80 characters.
    pub key: String,
    /// etcd's revision at which it was written.
    pub revision: i64,
    /// What is wrong with it.
    pub reason: String,
}
