//! What requests and checks leave behind at one endpoint: all that balance and health know of it. And beside it,
//! what bounds the load.
//!
//! All of it decides and remembers, and nothing acts: time and chance are passed in, nothing sleeps or sends. But for
//! the sweeper, which closes connections that nobody uses.
//!
//! | module | it knows |
//! |---|---|
//! | [`ejection`] | whether an endpoint is ejected because its requests fail, and how it comes back |
//! | [`stall`] | which requests wait at an endpoint that has fallen silent |
//! | [`latency`] | how long an endpoint takes to its first byte, usually and at its worst of late |
//! | [`waiting`] | the requests that wait at an endpoint for their first byte |
//! | [`in_flight`] | whether one more request may be in flight |
//! | [`kept`] | the connections that are kept idle at an endpoint |
//! | [`multiplexed`] | the connections to an endpoint that many requests share |
//! | [`departure`] | whether an endpoint has left, and who wants to hear of it |
//! | [`bell`] | of one connection, how its task is woken from elsewhere |
//! | [`budget`] | of one service, whether one more retry is allowed |

pub(crate) mod bell;
pub(crate) mod budget;
pub(crate) mod departure;
pub(crate) mod ejection;
pub mod in_flight;
pub(crate) mod kept;
pub(crate) mod latency;
pub(crate) mod multiplexed;
pub(crate) mod stall;
pub(crate) mod waiting;

use std::borrow::Cow;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use departure::Departure;
use ejection::{Passive, Streak};
use in_flight::InFlight;
use kept::Kept;
use latency::Latency;
use multiplexed::Multiplexed;
use waiting::Waiting;

/// The traffic of one endpoint. It stays with the endpoint's identity, through a new lease and a resync.
#[derive(Debug)]
pub struct Traffic {
    /// The requests in flight there.
    pub in_flight: Arc<InFlight>,
    /// How long it usually takes to a first byte.
    pub latency: Latency,
    pub(crate) streak: Streak,
    /// The requests that wait for the first byte of their answers.
    pub(crate) waiting: Waiting,
    /// The connections that are kept idle there. They are this endpoint's alone, as all of its traffic is: whoever comes
    /// to the same address later finds none.
    pub(crate) kept: Arc<Kept>,
    /// The connections there that many requests share, which speak HTTP/2. They are its own likewise.
    pub(crate) multiplexed: Arc<Multiplexed>,
    pub(crate) departure: Arc<Departure>,
    /// Whether the endpoint is ejected. Locked for failures and trials alone.
    pub(crate) passive: Mutex<Passive>,
    /// The last failure of a request by the endpoint's fault.
    pub(crate) last_failure: LastFailure,
    /// The last check that failed.
    pub(crate) last_check_failure: LastFailure,
}

/// The last failure of a kind, for people: when it was, and why. Locked for failures alone, and to be shown.
#[derive(Debug, Default)]
pub(crate) struct LastFailure(Mutex<Option<(Instant, Cow<'static, str>)>>);

impl LastFailure {
    pub(crate) fn note(&self, why: impl Into<Cow<'static, str>>, now: Instant) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((now, why.into()));
    }

    pub(crate) fn get(&self) -> Option<(Instant, Cow<'static, str>)> {
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
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            in_flight: Arc::default(),
            latency: Latency::new(now),
            streak: Streak::default(),
            waiting: Waiting::new(now),
            kept: Arc::default(),
            multiplexed: Arc::default(),
            departure: Arc::default(),
            passive: Mutex::new(Passive::new(now)),
            last_failure: LastFailure::default(),
            last_check_failure: LastFailure::default(),
        }
    }

    /// The endpoint has left for good: no connection is kept from now on, and whoever attends is told.
    pub(crate) fn leave(&self) {
        self.retire();
        self.departure.leave();
    }

    /// Nobody is sent to the endpoint any more, which may be there still: no connection is kept from now on.
    pub(crate) fn retire(&self) {
        self.kept.close_all();
        self.multiplexed.close_all();
    }
}

#[cfg(test)]
mod tests;
