//! The bells of all connections, by which they learn that the process stops.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use slab::Slab;

use crate::metrics::Metrics;
use crate::traffic::bell::Bell;

/// The bells of the connections that there are, which it counts.
#[derive(Debug)]
pub(super) struct Bells {
    all: Mutex<Slab<Arc<Bell>>>,
    metrics: Arc<Metrics>,
}

/// A connection's bell, for as long as there is the connection.
#[derive(Debug)]
pub(super) struct Registered<'b> {
    bells: &'b Bells,
    key: usize,
}

impl Bells {
    pub(super) fn new(metrics: Arc<Metrics>) -> Self {
        Self { all: Mutex::default(), metrics }
    }

    pub(super) fn register(&self, bell: Arc<Bell>) -> Registered<'_> {
        let key = self.all().insert(bell);
        self.metrics.client_came();
        Registered { bells: self, key }
    }

    pub(super) fn ring(&self) {
        self.all().iter().for_each(|(_, bell)| bell.ring());
    }

    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        self.all().len()
    }

    fn all(&self) -> MutexGuard<'_, Slab<Arc<Bell>>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Registered<'_> {
    fn drop(&mut self) {
        self.bells.all().try_remove(self.key);
        self.bells.metrics.client_went();
    }
}
