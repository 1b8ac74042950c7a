//! The watch: a live picture of all registrations below a prefix.
//!
//! ```text
//! source     etcd's list and watch           the narrow seam to the network
//! sync       State x Input -> Action         what to do next; pure
//! records    bytes -> instances              a bad one is warned of, counted and skipped
//! admission  which of them are taken         networks, leases, and addresses that are the gateway's or the registry's
//! own told       bad records                     each is warned of once unknown    keys that mean nothing         
//! each is warned of once picture    how each key was last written   what the updates have shown status     how the
//! watch itself is         for readiness and metrics audit      the picture beside a list       when to compare, and
//! what a difference is; pure reread     a complete list on demand       when somebody may have it driver     performs
//! the actions            the only place that sleeps and selects
//! ```

mod admission;
mod audit;
mod driver;
mod picture;
mod records;
mod reread;
pub mod source;
mod status;
mod sync;
mod told;
mod unknown;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};

use crate::backoff::Backoff;
use crate::connect::{ConnectionSettings, Connector};
use crate::contract::{Instance, KeyRange, Prefix};
use crate::networks::Networks;
pub use admission::{Admission, Reservations, nothing_reserved};
pub use driver::Driver;
pub(crate) use records::decode;
pub use reread::Reread;
use source::EtcdSource;
pub use status::{Skipped, WatchStatus};

/// Updates that wait for their reader before the watch stops reading from the registry.
const UPDATES_WAITING: usize = 64;
/// The waits stay short, because gateways miss changes meanwhile; that they are drawn keeps many gateways apart.
const BACKOFF: Backoff = Backoff { base: Duration::from_millis(50), cap: Duration::from_secs(1) };
/// Longer, because there may be thousands of registrars, and their own keys seldom change.
const OWN_KEY_BACKOFF: Backoff = Backoff { base: Duration::from_millis(200), cap: Duration::from_secs(10) };

/// How the picture of all registrations changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Update {
    /// The whole picture at a revision, in the place of what was known before. Most of it is likely the same: the
    /// reader compares.
    Reset {
        /// Every instance, in the order of the keys.
        instances: Vec<Instance>,
        /// Those that are registered and refused, as in [`Change::Refused`].
        refused: Vec<InstanceName>,
        /// etcd's revision that this is the state of.
        revision: i64,
    },
    /// What changed, in order, up to a revision.
    Apply {
        /// Those that came in one message of the watch. There may be none: a key that cannot be an instance's has
        /// changed.
        changes: Vec<Change>,
        /// etcd's revision of the last of them.
        revision: i64,
    },
}

/// Names an instance, as its key does.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct InstanceName {
    /// The service.
    pub service: Arc<str>,
    /// Its id, unique in the service.
    pub id: Arc<str>,
}

/// One change of one instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// The instance was registered, or registered anew.
    Put(Instance),
    /// The instance is no longer registered: its key is gone, or holds something that cannot be read.
    Delete {
        /// The service that it belonged to.
        service: Arc<str>,
        /// Its id.
        id: Arc<str>,
        /// The revision of its end.
        revision: i64,
    },
    /// The instance is registered, and refused: at an address that it must not have, say. Unlike a [`Change::Delete`]
    /// this is no accident of its registrar or of etcd, so nobody should go on with the address that it had before.
    Refused {
        /// Which instance.
        name: InstanceName,
        /// The revision at which its record was written.
        revision: i64,
    },
}

/// What is watched, what is taken of it, and how often it is audited.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WatchSettings {
    /// The part of the key space that holds the registrations.
    pub prefix: Prefix,
    /// Which addresses they may have.
    pub networks: Networks,
    /// Whether each of them must be under a lease. One without a lease stays when its instance is gone.
    pub require_lease: bool,
    /// How often the picture is compared with a list of the keys, give or take a tenth; none: never. Each audit reads
    /// all keys below the prefix, without their values.
    pub audit: Option<Duration>,
    /// How long to wait after failures; 50 ms to 1 s by default.
    pub backoff: Backoff,
}

impl Default for WatchSettings {
    /// The default prefix, any address, with or without a lease, an audit every minute.
    fn default() -> Self {
        Self {
            prefix: Prefix::default(),
            networks: Networks::default(),
            require_lease: false,
            audit: Some(Duration::from_secs(60)),
            backoff: BACKOFF,
        }
    }
}

/// The reader's end of a watch.
#[derive(Debug)]
pub struct Watch {
    /// The changes. When 64 of them wait to be received, the watch reads no more until there is room. Dropping it ends
    /// the driver.
    pub updates: mpsc::Receiver<Update>,
    /// How the watch itself is.
    pub status: watch::Receiver<WatchStatus>,
    /// Has every record read again, after a change of the reservations.
    pub reread: Reread,
    /// The rules by which records are taken, for a reader that has instances from elsewhere too, such as a file.
    pub admission: Admission,
}

/// Watches every registration below the prefix. Nothing happens until the driver [runs](Driver::run).
///
/// There is no error: whatever is wrong with the registry, or with these settings, is in [`WatchStatus::trouble`] and
/// in the log, and is tried again.
pub fn watch(
    connection: ConnectionSettings,
    settings: WatchSettings,
    reserved: Reservations,
) -> (Watch, Driver<EtcdSource>) {
    let range = settings.prefix.range();
    watch_source(EtcdSource::new(connection, range), settings, reserved)
}

/// Watches one key, as it is: whatever its address, and without audits.
pub(crate) fn watch_key(connector: Connector, prefix: Prefix, key: &str) -> (Watch, Driver<EtcdSource>) {
    let settings =
        WatchSettings { prefix, audit: None, backoff: OWN_KEY_BACKOFF, ..WatchSettings::default() };
    watch_source(EtcdSource::over(connector, KeyRange::one(key)), settings, nothing_reserved())
}

/// Watches any source, as [`watch()`] watches etcd.
pub fn watch_source<S: source::Source>(
    source: S,
    settings: WatchSettings,
    reserved: Reservations,
) -> (Watch, Driver<S>) {
    let (update_sender, updates) = mpsc::channel(UPDATES_WAITING);
    let (status_sender, status) = watch::channel(WatchStatus::default());
    let admission = Admission::new(&settings, reserved);
    let driver = Driver::new(source, settings, admission.clone(), update_sender, status_sender);
    let reread = driver.reread();
    (Watch { updates, status, reread, admission }, driver)
}
