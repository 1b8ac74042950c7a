//! What requests and checks leave behind at an endpoint: all that balance and health know of it.

use std::borrow::Cow;
use std::sync::{Arc, Mutex, PoisonError};
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
    /// How the last request failed that did by the endpoint's fault.
    pub last_failure: LastFailure,
    /// How the last check failed that did.
    pub last_check_failure: LastFailure,
}

/// The last failure of a kind, for people: when it was, and why. Locked for failures alone, and to be shown.
#[derive(Debug, Default)]
pub struct LastFailure(Mutex<Option<(Instant, Cow<'static, str>)>>);

impl LastFailure {
    /// Notes one.
    pub fn note(&self, why: impl Into<Cow<'static, str>>, now: Instant) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((now, why.into()));
    }

    /// The last one; none: there was none.
    pub fn get(&self) -> Option<(Instant, Cow<'static, str>)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Default for Traffic {
    /// An endpoint that nothing was sent to yet, and that is there from now on.
    fn default() -> Self {
        Self::new(Instant::now())
    }
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
            last_failure: LastFailure::default(),
            last_check_failure: LastFailure::default(),
        }
    }
}
