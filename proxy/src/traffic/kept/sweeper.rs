//! Closes connections that were kept and are of no use any more.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::coop::consume_budget;
use tokio::time::{MissedTickBehavior, interval};

use super::{Idle, Kept};
use crate::tasks;

/// So late it may be seen that a connection has been idle for too long.
const TICK: Duration = Duration::from_secs(1);

/// Closes connections that were kept and are of no use any more, and bounds how many are kept in all.
///
/// It is one task for all endpoints. It is called to an endpoint when one of its connections stirs, and to one where
/// connections begin to be kept; there it looks once a second from then on, until none is left.
#[derive(Debug)]
pub(crate) struct Sweeper {
    most: usize,
    count: AtomicUsize,
    jobs: Mutex<Vec<Job>>,
    called: Notify,
}

#[derive(Debug)]
enum Job {
    /// There is something to see at an endpoint.
    Look(Arc<Call>),
    /// These are to be closed. Each costs a system call, which whoever hands them over has no time for.
    Close(Vec<Idle>),
}

/// Calls the sweeper to the connections of an endpoint.
#[derive(Debug)]
pub(super) struct Call {
    /// Weak: a connection that is kept calls, and must not keep itself.
    kept: Weak<Kept>,
    sweeper: Arc<Sweeper>,
    /// Whether the sweeper was called and has not come yet.
    is_made: AtomicBool,
}

/// A place among the connections that are kept, until it is dropped.
#[derive(Debug)]
pub(super) struct Place(Arc<Sweeper>);

impl Sweeper {
    /// One that lets so many connections be kept in all.
    pub(crate) fn new(most: usize) -> Arc<Self> {
        let (count, jobs, called) = (AtomicUsize::new(0), Mutex::default(), Notify::new());
        Arc::new(Self { most, count, jobs, called })
    }

    /// How many connections are kept.
    pub(crate) fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// None: there are as many as there may be.
    pub(super) fn place(self: &Arc<Self>) -> Option<Place> {
        let add = |count| (count < self.most).then_some(count + 1);
        self.count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add).ok()?;
        Some(Place(self.clone()))
    }

    /// Has connections closed.
    pub(super) fn close(&self, idle: Vec<Idle>) {
        if !idle.is_empty() {
            self.add(Job::Close(idle));
        }
    }

    fn add(&self, job: Job) {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner).push(job);
        self.called.notify_one();
    }

    pub(crate) async fn run(self: Arc<Self>) {
        let mut jobs = Vec::new();
        // Where connections are kept.
        let mut places: Vec<Arc<Call>> = Vec::new();
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = self.called.notified() => {
                    std::mem::swap(&mut jobs, &mut *self.jobs.lock().unwrap_or_else(PoisonError::into_inner));
                    for job in jobs.drain(..) {
                        match job {
                            Job::Look(call) => places.extend(look(call).await),
                            Job::Close(idle) => close(idle).await,
                        }
                    }
                }
                _ = ticks.tick(), if !places.is_empty() => expire(&mut places).await,
            }
        }
    }
}

/// Closes what has stirred at an endpoint, and gives the endpoint back if it is a new one.
async fn look(call: Arc<Call>) -> Option<Arc<Call>> {
    call.is_made.swap(false, Ordering::AcqRel);
    let kept = call.kept.upgrade()?;
    let is_new = kept.list();
    close(kept.stirred()).await;
    is_new.then_some(call)
}

/// Closes what has been idle for too long, and forgets endpoints where nothing is kept.
async fn expire(places: &mut Vec<Arc<Call>>) {
    let now = tasks::now();
    let mut expired = Vec::new();
    places.retain(|call| call.kept.upgrade().is_some_and(|kept| kept.expire(now, &mut expired)));
    close(expired).await;
}

/// So many may be closed at once that others must have their turn in between.
async fn close(idle: Vec<Idle>) {
    for idle in idle {
        drop(idle);
        consume_budget().await;
    }
}

impl Call {
    pub(super) fn new(kept: Weak<Kept>, sweeper: Arc<Sweeper>) -> Arc<Self> {
        Arc::new(Self { kept, sweeper, is_made: AtomicBool::new(false) })
    }

    pub(super) fn sweeper(&self) -> &Sweeper {
        &self.sweeper
    }

    #[cfg(test)]
    pub(super) fn is_made(&self) -> bool {
        self.is_made.load(Ordering::Acquire)
    }

    /// The sweeper sees all that was done before.
    pub(super) fn make(self: &Arc<Self>) {
        if !self.is_made.swap(true, Ordering::AcqRel) {
            self.sweeper.add(Job::Look(self.clone()));
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.count.fetch_sub(1, Ordering::Relaxed);
    }
}
