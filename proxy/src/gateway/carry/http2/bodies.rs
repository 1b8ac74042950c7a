//! The bodies that a client sends over one connection.
//!
//! What a client may send before it is read is one sum for all of them (RFC 9113, 5.2.1), and in which order it sends is its
//! own affair. So one that no instance takes, or that comes, may be why nothing comes of another one.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::Shared;
use crate::tasks::now;

/// The bodies that a client sends over one connection.
#[derive(Debug, Default)]
pub(super) struct Bodies(Mutex<All>);

#[derive(Debug, Default)]
struct All {
    /// How many of them no instance takes at the moment.
    stuck: usize,
    /// When the client has last sent a piece, or could not.
    busy: Option<Instant>,
}

impl Bodies {
    /// A piece of one has come, or gone on.
    pub(super) fn went_on(&self, now: Instant) {
        self.lock().busy = Some(now);
    }

    fn stuck(&self, is_stuck: bool, now: Instant) {
        let all = &mut *self.lock();
        all.stuck = if is_stuck { all.stuck + 1 } else { all.stuck.saturating_sub(1) };
        all.busy = Some(now);
    }

    /// When the client has last sent a piece, or could not.
    pub(super) fn busy(&self, now: Instant) -> Option<Instant> {
        let all = self.lock();
        if all.stuck > 0 { Some(now) } else { all.busy }
    }

    fn lock(&self) -> MutexGuard<'_, All> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A body of which an instance takes nothing at the moment, until it is dropped.
#[derive(Debug)]
pub(super) struct Stuck(Arc<Shared>);

impl Stuck {
    pub(super) fn new(shared: Arc<Shared>, now: Instant) -> Self {
        shared.bodies().stuck(true, now);
        Self(shared)
    }
}

impl Drop for Stuck {
    fn drop(&mut self) {
        self.0.bodies().stuck(false, now());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_client_is_busy_with_what_comes_and_with_what_no_instance_takes() {
        let (bodies, now) = (Bodies::default(), Instant::now());
        let [first, second, third] = [1, 2, 3].map(|seconds| now + Duration::from_secs(seconds));
        assert_eq!(bodies.busy(now), None);
        bodies.went_on(now);
        assert_eq!(bodies.busy(first), Some(now));
        bodies.stuck(true, now);
        assert_eq!(bodies.busy(second), Some(second));
        bodies.stuck(false, second);
        assert_eq!(bodies.busy(third), Some(second));
    }
}
