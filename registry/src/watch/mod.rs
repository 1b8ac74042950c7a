//! The watch: a live picture of all registrations below a prefix.
//!
//! ```text
//! source   etcd's list and watch           the narrow seam to the network
//! sync     State x Input -> Action         what to do next; pure
//! records  bytes -> instances              a bad one is warned of, counted and skipped
//! driver   performs the actions            the only place that sleeps and selects
//! ```

mod driver;
mod records;
pub mod source;
pub mod sync;

use std::sync::Arc;

use tokio::sync::{mpsc, watch};

use crate::connect::Connection;
use crate::contract::{Instance, KeyRange, Prefix};
use crate::status::Status;
pub use driver::Driver;
pub(crate) use records::decode;
use source::EtcdSource;

/// Updates that wait for their reader before the watch stops reading from the registry.
const UPDATES_WAITING: usize = 64;

/// How the picture changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Update {
    /// The whole picture at a revision. Applied as a difference: what is unchanged keeps its state.
    Reset {
        /// Every instance.
        instances: Vec<Instance>,
        /// The revision that they show.
        revision: i64,
    },
    /// What changed, in order, up to a revision.
    Apply {
        /// The changes of one batch: one publication.
        changes: Vec<Change>,
        /// The revision of the last of them.
        revision: i64,
    },
}

/// One change of one instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// The instance was registered, or registered anew.
    Put(Instance),
    /// The instance is no longer registered: its key is gone, or holds something that is no registration.
    Delete {
        /// The service that it belonged to.
        service: Arc<str>,
        /// Its id.
        id: Arc<str>,
        /// The revision of its end.
        revision: i64,
    },
}

/// The reader's end of a watch.
#[derive(Debug)]
pub struct Watch {
    /// The changes. Dropping it ends the driver.
    pub updates: mpsc::Receiver<Update>,
    /// How the watch itself is.
    pub status: watch::Receiver<Status>,
}

/// Watches every registration below `prefix`. Nothing happens until the driver runs.
pub fn watch(connection: Connection, prefix: Prefix) -> (Watch, Driver<EtcdSource>) {
    let range = prefix.range();
    watch_range(connection, prefix, range)
}

/// Watches a part of what is below `prefix`, such as one key.
pub(crate) fn watch_range(
    connection: Connection,
    prefix: Prefix,
    range: KeyRange,
) -> (Watch, Driver<EtcdSource>) {
    watch_source(EtcdSource::new(connection, range), prefix)
}

/// Watches any source.
pub fn watch_source<S: source::Source>(source: S, prefix: Prefix) -> (Watch, Driver<S>) {
    let (update_sender, updates) = mpsc::channel(UPDATES_WAITING);
    let (status_sender, status) = watch::channel(Status::default());
    let driver = Driver::new(source, prefix, update_sender, status_sender);
    (Watch { updates, status }, driver)
}
