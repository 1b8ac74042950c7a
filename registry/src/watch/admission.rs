//! Which of the registrations that can be read are taken.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::sync::watch;

use super::WatchSettings;
use crate::contract::{Instance, RecordError, check_backend};
use crate::networks::{Networks, Reserved};

/// The addresses that no instance may have, as they are now. They may change, with the machine's interfaces for
/// example: whoever has the sender sends others, and then asks for a [reread](super::Reread).
pub type Reservations = watch::Receiver<Arc<Reserved>>;

/// Reserves nothing, now and later.
pub fn nothing_reserved() -> Reservations {
    watch::channel(Arc::default()).1
}

/// The rules that say which registrations are taken. A change of what is reserved counts from the next record on; those
/// before it are judged anew by a [reread](super::Reread).
#[derive(Debug, Clone)]
pub struct Admission {
    networks: Networks,
    require_lease: bool,
    reserved: Reservations,
}

impl Admission {
    /// Takes the settings' networks and whether a lease is required.
    pub fn new(settings: &WatchSettings, reserved: Reservations) -> Self {
        let WatchSettings { networks, require_lease, .. } = settings;
        Self { networks: networks.clone(), require_lease: *require_lease, reserved }
    }

    /// Whether an instance is taken.
    ///
    /// # Errors
    /// [`RecordError::Refused`] for its address, [`RecordError::NoLease`] if it has no lease and must have one.
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

    /// Whether an address is taken that no registration has named but whoever runs this process. The networks do not
    /// concern it: they say whose word is good.
    ///
    /// # Errors
    /// [`RecordError::NeverABackend`], or [`RecordError::Refused`] if it is reserved.
    pub fn check_given(&self, address: SocketAddr) -> Result<(), RecordError> {
        check_backend(address)?;
        match self.reserved.borrow().refusal(address) {
            Some(why) => Err(RecordError::Refused { address, why: why.into() }),
            None => Ok(()),
        }
    }
}
