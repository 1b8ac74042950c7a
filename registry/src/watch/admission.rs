//! Which registrations are taken, of those that can be read.

use std::sync::Arc;

use tokio::sync::watch;

use super::WatchSettings;
use crate::contract::{Instance, RecordError};
use crate::networks::{Networks, Reserved};

/// The addresses that no instance may have, as they are now: they change with the machine's interfaces, say.
pub type Reservations = watch::Receiver<Arc<Reserved>>;

/// Nothing is reserved, and nothing ever will be.
pub fn nothing_reserved() -> Reservations {
    watch::channel(Arc::default()).1
}

/// The rules for registrations. A change of what is reserved counts from the next record on; whoever makes it has the
/// list [read again](super::Reread).
#[derive(Debug, Clone)]
pub struct Admission {
    networks: Networks,
    require_lease: bool,
    reserved: Reservations,
}

impl Admission {
    /// The settings' rules, and what is reserved.
    pub fn new(settings: &WatchSettings, reserved: Reservations) -> Self {
        let WatchSettings { networks, require_lease, .. } = settings;
        Self { networks: networks.clone(), require_lease: *require_lease, reserved }
    }

    /// Checks an instance.
    ///
    /// # Errors
    /// It is refused, and why.
    pub fn check(&self, instance: &Instance) -> Result<(), RecordError> {
        let address = instance.record.address;
        let reserved = self.reserved.borrow().refusal(address);
        if let Some(why) = reserved.or_else(|| self.networks.refusal(address.ip())) {
            return Err(RecordError::Refused { address, why: why.into() });
        }
        if self.require_lease && instance.lease == 0 {
            return Err(RecordError::NoLease);
        }
        Ok(())
    }
}
