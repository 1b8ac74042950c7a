//! The registry's memory, which the server and its observers share.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::{counts::Counts, refusal::Refusal, registry::Registry};

/// Tells what a registry holds: before it is served, meanwhile, and after it. All clones look at the same one.
#[derive(Clone, Debug)]
pub struct Observer(pub(crate) Arc<Memory>);

impl Observer {
    /// Everything that is counted, as it is now.
    pub fn counts(&self) -> Counts {
        self.0.counts()
    }
}

/// The registry under its lock, and a count of what was refused.
#[derive(Debug)]
pub(crate) struct Memory {
    registry: Mutex<Registry>,
    refused: Mutex<BTreeMap<String, u64>>,
}

impl Memory {
    pub(crate) fn new(registry: Registry) -> Self {
        Self { registry: Mutex::new(registry), refused: Mutex::default() }
    }

    /// The registry. Never to be held across an await.
    pub(crate) fn locked(&self) -> MutexGuard<'_, Registry> {
        // A panic while it was held has failed one request: the others go on with what there is.
        self.registry.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks the registry, and counts if it refuses.
    pub(crate) fn ask<T>(
        &self,
        request: impl FnOnce(&mut Registry) -> Result<T, Refusal>,
    ) -> Result<T, Refusal> {
        let answer = request(&mut self.locked());
        answer.inspect_err(|refusal| self.count_refusal(refusal.reason()))
    }

    /// Counts a request that was refused without asking the registry, or in another way than by
    /// [`ask`](Self::ask).
    pub(crate) fn count_refusal(&self, reason: String) {
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        *refused.entry(reason).or_default() += 1;
    }

    pub(crate) fn counts(&self) -> Counts {
        let refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Counts { refused, ..self.locked().counts() }
    }
}
