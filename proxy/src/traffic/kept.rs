//! The connections that are kept idle at an endpoint.
//!
//! They are the endpoint's own and go with it: whoever registers at the same address later is another endpoint, and
//! never inherits one.
//!
//! No task waits at a connection that is kept. It has a watcher, which the runtime wakes when something comes, be it
//! bytes, which nobody has asked for, or the end; the watcher calls the [`Sweeper`], which closes it. Between two
//! uses that is all: no system call, no allocation, one lock.

mod sweeper;

use std::future::poll_fn;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Wake, Waker};
use std::time::{Duration, Instant};

use tokio::task::coop::unconstrained;

use crate::link::Link;
pub(crate) use sweeper::Sweeper;
use sweeper::{Call, Place};

/// The connections that are kept idle at an endpoint.
///
/// No connection is closed while the lock is held, as the runtime is told of its end.
#[derive(Debug, Default)]
pub(crate) struct Kept(Mutex<Stack>);

#[derive(Debug, Default)]
struct Stack {
    /// The one that was put back last is the last.
    idle: Vec<Idle>,
    /// How long they may be idle, as whoever came last, for one or with one, would have it: so all heed a configuration that is
    /// new.
    max_idle: Duration,
    /// None: none was ever kept.
    call: Option<Arc<Call>>,
    /// Whether the sweeper looks here once a second.
    is_listed: bool,
    has_left: bool,
}

/// A connection that is kept.
#[derive(Debug)]
struct Idle {
    link: KeptLink,
    since: Instant,
    _place: Place,
}

/// A connection to an endpoint, which may be kept there.
#[derive(Debug)]
pub(crate) struct KeptLink {
    pub(crate) link: Link,
    /// Of what its handshake went by; 0: it is in clear.
    generation: u64,
    /// None: it was not kept yet. It is the same however often it is.
    watcher: Option<Arc<Watcher>>,
}

/// Watches a connection while it is kept.
#[derive(Debug)]
struct Watcher {
    /// Whether it is kept, and has not stirred.
    is_quiet: AtomicBool,
    call: Arc<Call>,
}

impl Kept {
    /// The connection that was put back last, if it is silent still and has not been idle for too long: then all have.
    /// The sweeper closes those. It is of this generation, 0 for one in clear: those of others are closed, as whoever comes
    /// next wants none of them either.
    pub(crate) fn take(&self, generation: u64, max_idle: Duration, now: Instant) -> Option<KeptLink> {
        loop {
            let mut link = self.pop(generation, max_idle, now)?;
            if link.link.is_silent() {
                return Some(link);
            }
        }
    }

    fn pop(&self, generation: u64, max_idle: Duration, now: Instant) -> Option<KeptLink> {
        let stack = &mut *self.lock();
        stack.max_idle = max_idle;
        if stack.idle.last().is_some_and(|idle| idle.link.generation != generation) {
            let others = stack.idle.extract_if(.., |idle| idle.link.generation != generation).collect();
            if let Some(call) = &stack.call {
                call.sweeper().close(others);
            }
        }
        let idle = stack.idle.pop_if(|idle| !idle.is_beyond(max_idle, now))?;
        idle.link.rest();
        Some(idle.link)
    }

    /// Keeps a connection, which was not kept elsewhere before. It is closed instead if it is not silent, if as many
    /// are kept as may be, or if the endpoint has left.
    pub(crate) fn put(
        self: &Arc<Self>,
        mut link: KeptLink,
        max_idle: Duration,
        now: Instant,
        sweeper: &Arc<Sweeper>,
    ) {
        let Some(place) = sweeper.place() else { return };
        if !link.link.is_silent() {
            return;
        }
        let stack = &mut *self.lock();
        if stack.has_left {
            return;
        }
        let call = stack.call.get_or_insert_with(|| Call::new(Arc::downgrade(self), sweeper.clone()));
        // Locked: when the sweeper is called to it, it is there.
        if !link.watch(call) {
            return;
        }
        stack.max_idle = max_idle;
        stack.idle.push(Idle { link, since: now, _place: place });
        if !stack.is_listed {
            call.make();
        }
    }

    /// How many are kept.
    #[cfg(test)]
    pub(crate) fn count(&self) -> usize {
        self.lock().idle.len()
    }

    /// The endpoint has left: none is kept from now on.
    pub(super) fn close_all(&self) {
        let mut stack = self.lock();
        stack.has_left = true;
        let idle = std::mem::take(&mut stack.idle);
        if let Some(call) = &stack.call {
            call.sweeper().close(idle);
        }
    }

    /// The sweeper looks here once a second from now on. False: it does so already, or there is nothing.
    fn list(&self) -> bool {
        let mut stack = self.lock();
        let is_new = !stack.is_listed && !stack.idle.is_empty();
        stack.is_listed |= is_new;
        is_new
    }

    /// Those where something has come.
    fn stirred(&self) -> Vec<Idle> {
        self.lock().idle.extract_if(.., |idle| idle.link.has_stirred()).collect()
    }

    /// Moves those that have been idle for too long to `expired`. False: none is left, and the sweeper has to be called
    /// when the next one is kept.
    fn expire(&self, now: Instant, expired: &mut Vec<Idle>) -> bool {
        let mut stack = self.lock();
        let max_idle = stack.max_idle;
        let old = stack.idle.iter().take_while(|idle| idle.is_beyond(max_idle, now)).count();
        expired.extend(stack.idle.drain(..old));
        stack.is_listed = !stack.idle.is_empty();
        if !stack.is_listed {
            stack.idle = Vec::new();
        }
        stack.is_listed
    }

    fn lock(&self) -> MutexGuard<'_, Stack> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Idle {
    fn is_beyond(&self, max_idle: Duration, now: Instant) -> bool {
        now.saturating_duration_since(self.since) >= max_idle
    }
}

impl KeptLink {
    /// One that is new. `generation`: of what its handshake went by; 0: there was none.
    pub(crate) fn new(link: Link, generation: u64) -> Self {
        Self { link, generation, watcher: None }
    }

    /// Begins to be watched. False: something has come.
    fn watch(&mut self, call: &Arc<Call>) -> bool {
        let new = || Arc::new(Watcher { is_quiet: AtomicBool::new(false), call: call.clone() });
        let watcher = self.watcher.get_or_insert_with(new).clone();
        watcher.watch(&mut self.link)
    }

    /// It is not kept any more. Its watcher may be woken still, until somebody else waits at the connection.
    fn rest(&self) {
        if let Some(watcher) = &self.watcher {
            watcher.is_quiet.store(false, Ordering::Relaxed);
        }
    }

    /// Whether something has come. If its watcher was woken for nothing, it is watched again.
    fn has_stirred(&mut self) -> bool {
        let watcher = self.watcher.as_ref().filter(|watcher| !watcher.is_quiet.load(Ordering::Acquire));
        watcher.is_some_and(|watcher| !(self.link.is_silent() && watcher.clone().watch(&mut self.link)))
    }
}

impl Watcher {
    /// False: something has come.
    fn watch(self: Arc<Self>, link: &mut Link) -> bool {
        // If it was woken just now, what it was woken for is seen from here on.
        self.is_quiet.swap(true, Ordering::AcqRel);
        let waker = Waker::from(self);
        // Otherwise it would be woken at once when the task that puts it back has done so much that it is others' turn.
        let stirred = pin!(unconstrained(poll_fn(|cx| link.poll_stirred(cx))));
        stirred.poll(&mut Context::from_waker(&waker)).is_pending()
    }
}

/// The runtime wakes it: so it must not close anything, nor wait for a lock under which the runtime is called.
impl Wake for Watcher {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.is_quiet.swap(false, Ordering::AcqRel) {
            self.call.make();
        }
    }
}

#[cfg(test)]
mod tests;
