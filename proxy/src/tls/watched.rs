//! What follows its files.

use std::time::SystemTime;

use super::{CertificateState, Event};

/// What follows its files.
pub(crate) trait Watched: Send + Sync {
    /// Looks at the files, about once a second. It reads files, which may take any time: not for a thread that serves. One look
    /// ends before the next begins.
    fn look(&self, now: SystemTime) -> Vec<Event>;

    /// Whether the last look has found what the next one takes, if it finds the same. Nobody waits for that.
    fn is_waiting(&self) -> bool;

    /// Of each file, as the last look has found it. Nobody waits for one.
    fn states(&self) -> Vec<CertificateState>;
}
