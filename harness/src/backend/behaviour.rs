//! How a backend misbehaves, until it is told otherwise.

use std::time::Duration;

use super::Reply;

/// How a backend behaves as a whole. What was scripted for the next requests goes first, except where no
/// request is read.
#[derive(Clone, Debug, Default)]
pub enum Behaviour {
    /// It replies as it was started to.
    #[default]
    Usual,
    /// It replies so to everything.
    Always(Reply),
    /// It replies so to a share of the requests, drawn one by one, and as usual to the others.
    Sometimes {
        /// From 0, never, to 1, always.
        share: f64,
        /// What is drawn from: the same seed draws the same sequence.
        seed: u64,
        /// The odd reply.
        reply: Reply,
    },
    /// Each wait of its replies ([`Reply::After`]) takes so many times as long.
    Slow(u32),
    /// It is dead: its connections are closed, and so is its port.
    Refuse,
    /// It is stopped: connections are accepted, but nothing is read or written on any, old or new, until it
    /// behaves otherwise; then it goes on with what it has.
    Freeze,
    /// It closes each connection on which no request comes for a time that is drawn anew after each answer.
    CloseIdle {
        /// The longest time; the shortest is none.
        within: Duration,
        /// What is drawn from.
        seed: u64,
    },
}

impl Behaviour {
    pub(super) fn seed(&self) -> Option<u64> {
        match self {
            Self::Sometimes { seed, .. } | Self::CloseIdle { seed, .. } => Some(*seed),
            _ => None,
        }
    }

    pub(super) fn listens(&self) -> bool {
        !matches!(self, Self::Refuse)
    }
}
