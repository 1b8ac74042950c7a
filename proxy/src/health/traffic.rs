//! What requests leave behind at an endpoint: all that balance and passive health know of it.

use std::sync::{Arc, Mutex};
use std::time::Instant;

use super::latency::Latency;
use super::limits::InFlight;
use super::passive::{Passive, Streak};
use super::waiting::Waiting;

/// The traffic of one endpoint. It stays with the endpoint's identity, through a new lease and a resync.
#[derive(Debug)]
pub struct Traffic {
    /// Requests in flight.
    pub in_flight: Arc<InFlight>,
    /// How long it usually takes to a first byte.
    pub latency: Latency,
    /// Failures in a row.
    pub streak: Streak,
    /// The requests that wait for the first byte of their answers.
    pub waiting: Waiting,
    /// What they have led to. Locked for failures and trials alone.
    pub passive: Mutex<Passive>,
}

impl Traffic {
    /// An endpoint that nothing was sent to yet.
    pub fn new(now: Instant) -> Self {
        Self {
            in_flight: Arc::default(),
            latency: Latency::new(now),
            streak: Streak::default(),
            waiting: Waiting::new(now),
            passive: Mutex::new(Passive::new(now)),
        }
    }
}
