//! What traffic tells of one endpoint: it is ejected when it fails, and comes back through one request.
//!
//! ```text
//!              refused, connect timeout, a run of failures, stalled -> Eject
//!    Healthy ------------------------------------------------------------> Ejected{until}
//!       ^                                                                    |  ^   ^
//!       | success -> Returned                     claimed, at `until` or later |  |   |
//!       |                                                                    v  |   |
//!       +------------------------------------------------------------ OnTrial ---+   |
//!                                                       failure, stalled -> Eject, longer
//!                                                       given back ------------------+  (due at once)
//! ```
//!
//! [`Passive`] is pure and wants a lock around it. What is frequent needs none: a success of an endpoint
//! that is not on trial goes to [`Streak`] alone, and whether a trial is due is known from
//! [`Passive::trial_due`], which the holder of the lock may copy into an atomic whenever it has changed
//! something. The lock is then taken for a failure, a claim that looks possible, the outcome of a trial,
//! and by the watch for stalls.
//!
//! Each attempt has at most one outcome: when its answer is complete, or once it has come for so long that
//! its end says nothing more (an upgraded connection, a stream of events). **No outcome** is
//! - what is the client's doing: it left, its body broke off, it sent what is not HTTP;
//! - what is the gateway's doing: no local port or file descriptor is left, its limits, and its total time
//!   where the endpoint's silence is not the better part of it;
//! - a re-used connection that closes before any byte of an answer: it was idle, and anybody may close it.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use crate::config::Ejection;

/// Of an ejection's length, the most that jitter takes off. So endpoints that failed together, and several
/// gateways, do not try again together; and as it takes less than half, each ejection of a run is longer
/// than the one before until the longest is reached.
const JITTER: f64 = 0.25;

/// How much longer a trial is kept for a request that can be repeated. After that any request may be it, or a
/// service of POSTs alone would never come back.
const RESERVE: Duration = Duration::from_millis(500);

/// When another trial may start beside one that has not ended. A request may take as long as its route allows, and
/// an upload as long as its client; a trial that takes for ever must not keep an endpoint out. One that succeeds
/// after all still counts: see [`Passive::finish`].
pub(crate) const TRIAL: Duration = Duration::from_secs(60);

/// The length of an ejection after so many doublings. `chance` is drawn from 0 to 1.
fn length(rules: &Ejection, doublings: u32, chance: f64) -> Duration {
    let factor = 1_u32.checked_shl(doublings).unwrap_or(u32::MAX);
    rules.base.saturating_mul(factor).min(rules.longest).mul_f64(1.0 - JITTER * chance.clamp(0.0, 1.0))
}

/// Doublings that make a difference. What is beyond them need not be forgiven either.
fn most_doublings(rules: &Ejection) -> u32 {
    (0..u32::BITS - 1).find(|n| rules.base.saturating_mul(1 << n) >= rules.longest).unwrap_or(u32::BITS - 1)
}

/// How an attempt on an endpoint failed, by the endpoint's fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The connect was refused, or the network said that there is no way to the address, or the TLS handshake failed.
    Refused,
    /// The connect, or the TLS handshake on it, was not done in time.
    ConnectTimeout,
    /// A status that says that the endpoint failed: see [`Failure::of_status`].
    Status,
    /// The connection was reset or closed within an answer, or, when it was a fresh one, before it; what
    /// came was not HTTP.
    Broken,
    /// The first byte, or the next one, did not come in time.
    Timeout,
}

impl Failure {
    /// What a status says of the endpoint that answered with it. Every 5xx is a failure, an unknown one
    /// like 500 (RFC 9110, 15), except those that speak of the request rather than of the server: 501 (an
    /// unknown method), 505 (an HTTP version), 506, 508, 510 and 511.
    pub(crate) fn of_status(status: u16) -> Option<Self> {
        let is_failure = matches!(status, 500..=599) && !matches!(status, 501 | 505 | 506 | 508 | 510 | 511);
        is_failure.then_some(Self::Status)
    }

    /// Its name in `/services`.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::ConnectTimeout => "connect_timeout",
            Self::Status => "status",
            Self::Broken => "broken",
            Self::Timeout => "timeout",
        }
    }
}

/// On what grounds an endpoint is ejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Grounds {
    Refused,
    ConnectTimeout,
    /// It failed several times in a row, or on trial.
    Failures,
    /// It fell silent while requests waited: see [`stall`](super::stall).
    Stalled,
}

impl Grounds {
    /// Its name in `/services`, metrics and logs.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::ConnectTimeout => "connect_timeout",
            Self::Failures => "failures",
            Self::Stalled => "stalled",
        }
    }
}

impl From<Failure> for Grounds {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Refused => Self::Refused,
            Failure::ConnectTimeout => Self::ConnectTimeout,
            Failure::Status | Failure::Broken | Failure::Timeout => Self::Failures,
        }
    }
}

/// What has become of an endpoint, for all to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transition {
    /// It is ejected, anew or again. From `until` on it stays ejected, but one request may try it.
    Ejected {
        /// When a trial is due.
        until: Instant,
        why: Grounds,
    },
    /// It is healthy again.
    Returned,
}

/// Whether a request can be sent again if its trial does not end well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Repeatable {
    /// It can: it is idempotent and its body, if any, can be replayed.
    Yes,
    /// It cannot. It would pay for the trial.
    No,
}

/// How a trial ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The endpoint answered.
    Succeeded,
    Failed(Failure),
    /// There was no outcome, above all because the client left: the next request may try.
    GivenBack,
}

/// The right to be the one request that tries an ejected endpoint. Whoever holds it answers for it to
/// [`Passive::finish`], whatever happens to the request.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "an endpoint stays ejected until its trial is finished"]
pub(crate) struct Trial(u64);

/// Failures in a row of a healthy endpoint. Lock-free; relaxed, since the number stands for itself.
#[derive(Debug, Default)]
pub(crate) struct Streak(AtomicU32);

impl Streak {
    /// Ends the row of failures. Most often there is none, and then this only reads.
    pub(crate) fn succeeded(&self) {
        if self.0.load(Ordering::Relaxed) != 0 {
            self.0.store(0, Ordering::Relaxed);
        }
    }

    #[cfg(test)]
    pub(crate) fn length(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }

    fn failed(&self) -> u32 {
        self.0.fetch_add(1, Ordering::Relaxed).saturating_add(1)
    }
}

/// How an ejected endpoint comes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NextTrial {
    /// The next request after this tries it.
    At(Instant),
    /// One is trying it.
    Running { since: Instant },
}

/// What traffic has told of one endpoint.
#[derive(Debug)]
pub(crate) struct Passive {
    condition: Condition,
    /// Doublings that the next ejection would have.
    doublings: u32,
    /// How many trials there have been. Each has its number from here, by which a trial that another one has replaced
    /// is recognised when it ends.
    trials: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Condition {
    Healthy { since: Instant },
    Ejected { until: Instant },
    OnTrial { since: Instant, number: u64 },
}

impl Passive {
    pub(crate) fn new(now: Instant) -> Self {
        Self { condition: Condition::Healthy { since: now }, doublings: 0, trials: 0 }
    }

    /// Whether nothing is held against it.
    pub(crate) fn is_healthy(&self) -> bool {
        matches!(self.condition, Condition::Healthy { .. })
    }

    /// When a trial may be claimed, if nothing happens before. None: it is healthy.
    ///
    /// While a trial is under way, this is when another may start beside it.
    pub(crate) fn trial_due(&self) -> Option<Instant> {
        match self.condition {
            Condition::Healthy { .. } => None,
            Condition::Ejected { until } => Some(until),
            Condition::OnTrial { since, .. } => Some(since + TRIAL),
        }
    }

    /// How it comes back, for people. None: it is healthy.
    pub(crate) fn next_trial(&self) -> Option<NextTrial> {
        match self.condition {
            Condition::Healthy { .. } => None,
            Condition::Ejected { until } => Some(NextTrial::At(until)),
            Condition::OnTrial { since, .. } => Some(NextTrial::Running { since }),
        }
    }

    /// An attempt that is not a trial has failed. `chance` is drawn from 0 to 1.
    ///
    /// On an ejected endpoint this changes nothing: such attempts began before, or are sent while all are
    /// used (see [`panics`]), and only its trial decides.
    pub(crate) fn failed(
        &mut self,
        rules: &Ejection,
        streak: &Streak,
        failure: Failure,
        now: Instant,
        chance: f64,
    ) -> Option<Transition> {
        let Condition::Healthy { since } = self.condition else { return None };
        let at_once = matches!(failure, Failure::Refused | Failure::ConnectTimeout);
        if streak.failed() < rules.failures.get() && !at_once {
            return None;
        }
        streak.succeeded();
        self.forgive(rules, now.saturating_duration_since(since));
        Some(self.eject(rules, failure.into(), now, chance))
    }

    /// The endpoint has stalled: see [`stall`](super::stall). `chance` is drawn from 0 to 1. If a trial is
    /// under way it has failed by this; its own outcome will then count for nothing.
    pub(crate) fn stalled(
        &mut self,
        rules: &Ejection,
        streak: &Streak,
        now: Instant,
        chance: f64,
    ) -> Option<Transition> {
        match self.condition {
            Condition::Healthy { since } => self.forgive(rules, now.saturating_duration_since(since)),
            Condition::OnTrial { .. } => {}
            Condition::Ejected { .. } => return None,
        }
        streak.succeeded();
        Some(self.eject(rules, Grounds::Stalled, now, chance))
    }

    /// Asks to be the request that tries the endpoint. None: it is healthy, its ejection is not over, the
    /// trial is reserved for a request that can be repeated, or another one is it.
    pub(crate) fn claim(&mut self, request: Repeatable, now: Instant) -> Option<Trial> {
        let due = self.trial_due()?;
        let open = match request {
            Repeatable::Yes => due,
            Repeatable::No => due + RESERVE,
        };
        if now < open {
            return None;
        }
        self.trials += 1;
        self.condition = Condition::OnTrial { since: now, number: self.trials };
        Some(Trial(self.trials))
    }

    /// Answers for a trial. `chance` is drawn from 0 to 1.
    ///
    /// A trial that another has replaced can only succeed: otherwise an endpoint whose every answer takes
    /// longer than [`TRIAL`] would never come back. One that was already found stalled changes nothing.
    pub(crate) fn finish(
        &mut self,
        rules: &Ejection,
        trial: Trial,
        outcome: Outcome,
        now: Instant,
        chance: f64,
    ) -> Option<Transition> {
        let Condition::OnTrial { number, .. } = self.condition else { return None };
        if number != trial.0 && outcome != Outcome::Succeeded {
            return None;
        }
        match outcome {
            Outcome::Succeeded => {
                self.condition = Condition::Healthy { since: now };
                Some(Transition::Returned)
            }
            Outcome::Failed(failure) => Some(self.eject(rules, failure.into(), now, chance)),
            Outcome::GivenBack => {
                self.condition = Condition::Ejected { until: now };
                None
            }
        }
    }

    /// Nothing is ejected any more by whatever it does: what was held against it is forgotten, and so is a trial
    /// that is under way.
    pub(crate) fn pardon(&mut self, streak: &Streak, now: Instant) -> Option<Transition> {
        let was_healthy = self.is_healthy();
        streak.succeeded();
        *self = Self { trials: self.trials, ..Self::new(now) };
        (!was_healthy).then_some(Transition::Returned)
    }

    fn eject(&mut self, rules: &Ejection, why: Grounds, now: Instant, chance: f64) -> Transition {
        let until = now + length(rules, self.doublings, chance);
        self.doublings = (self.doublings + 1).min(most_doublings(rules));
        self.condition = Condition::Ejected { until };
        Transition::Ejected { until, why }
    }

    /// Takes back one doubling for each step of healthy time.
    fn forgive(&mut self, rules: &Ejection, healthy: Duration) {
        let step = rules.forgive.as_nanos().max(1);
        let steps = u32::try_from(healthy.as_nanos() / step).unwrap_or(u32::MAX);
        self.doublings = self.doublings.saturating_sub(steps);
    }
}

/// Whether so many of a service's endpoints are out that all are used, whatever is known against them.
///
/// `out` are its ejected and unhealthy endpoints, `eligible` these and those that are up (ranks 1 and 3);
/// both count endpoints, not weights. More than half makes the panic: 1 of 2 may be out, 2 of 4 may;
/// 2 of 3 may not, and neither may 1 of 1.
pub(crate) fn panics(out: usize, eligible: usize) -> bool {
    out > eligible / 2
}

#[cfg(test)]
mod tests;
