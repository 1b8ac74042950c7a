//! From ready to gone: what requests, probes and the end of the process need to know of each other.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::directory::Directory;
use crate::traffic::in_flight::{InFlight, Permit};

/// How often a condition that nobody announces is looked at.
const POLL: Duration = Duration::from_millis(10);

/// The process's phase, and the requests in it.
#[derive(Debug, Default)]
pub(crate) struct Lifecycle {
    stopping: AtomicBool,
    /// Clients are asked to leave: `Connection: close`.
    closing: AtomicBool,
    in_flight: Arc<InFlight>,
    /// Doors at which connections are taken.
    open: Arc<InFlight>,
    /// What requests are about to come from: heads that have begun, connections that have not asked yet.
    to_come: Arc<InFlight>,
}

impl Lifecycle {
    /// Ready: the directory has been filled, be it from the snapshot, and nobody has told us to stop.
    pub(crate) fn is_ready(&self, directory: &Directory) -> bool {
        directory.is_filled() && !self.is_stopping()
    }

    /// Whether the process was told to stop.
    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    /// Whether answers say `Connection: close`: always in a process that was told to stop.
    pub(crate) fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Relaxed) || self.is_stopping()
    }

    /// Counts a request until its permit is dropped: one that is to be declined, too, which takes its time.
    pub(crate) fn in_flight(&self) -> Permit {
        self.in_flight.acquire()
    }

    /// Counts what a request is about to come from, until its permit is dropped: the process waits for it before it ends.
    pub(crate) fn to_come(&self) -> Permit {
        self.to_come.acquire()
    }

    /// Counts a door at which connections are taken, until its permit is dropped.
    pub(crate) fn opens(&self) -> Permit {
        self.open.acquire()
    }

    pub(crate) fn requests_in_flight(&self) -> u32 {
        self.in_flight.count()
    }

    /// Waits until no more connections are taken, and then, at most for `limit`, until no request is in flight and none is
    /// about to come. Returns how many are left in flight.
    pub(crate) async fn drained(&self, limit: Duration) -> u32 {
        while self.open.count() > 0 {
            sleep(POLL).await;
        }
        let deadline = Instant::now() + limit;
        let mut idle = false;
        loop {
            let left = self.requests_in_flight() + self.to_come.count();
            // Looked at twice: a request that came a moment ago is counted only once its head is read.
            if (left == 0 && idle) || Instant::now() >= deadline {
                return self.requests_in_flight();
            }
            idle = left == 0;
            sleep(POLL).await;
        }
    }

    /// From now on, it is not ready, and clients are asked to leave.
    pub(crate) fn stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    /// From now on, clients are asked to leave.
    pub(crate) fn close(&self) {
        self.closing.store(true, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_sees_that_it_stops_asks_its_client_to_leave() {
        let lifecycle = Lifecycle::default();
        assert!(!lifecycle.is_stopping() && !lifecycle.is_closing());
        lifecycle.stop();
        assert!(lifecycle.is_stopping() && lifecycle.is_closing());
    }

    #[tokio::test(start_paused = true)]
    async fn draining_ends_with_the_last_request() {
        let lifecycle = Arc::new(Lifecycle::default());
        let request = lifecycle.in_flight();
        let waiter = lifecycle.clone();
        let drained = tokio::spawn(async move { waiter.drained(Duration::from_secs(30)).await });
        sleep(Duration::from_secs(1)).await;
        assert!(!drained.is_finished());
        drop(request);
        assert_eq!(drained.await.unwrap(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn draining_is_bounded_and_begins_when_no_more_are_taken() {
        let lifecycle = Arc::new(Lifecycle::default());
        let (_request, _head, open) = (lifecycle.in_flight(), lifecycle.to_come(), lifecycle.opens());
        let (waiter, begin) = (lifecycle.clone(), Instant::now());
        let drained = tokio::spawn(async move { waiter.drained(Duration::from_secs(30)).await });
        sleep(Duration::from_secs(60)).await;
        assert!(!drained.is_finished());
        drop(open);
        assert_eq!(drained.await.unwrap(), 1, "what has not come whole is no request");
        assert_eq!(begin.elapsed().as_secs(), 90);
    }
}
