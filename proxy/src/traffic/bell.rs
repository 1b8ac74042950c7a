//! Wakes the task that carries a connection, for a reason that lies elsewhere.

#![allow(dead_code)]

use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use futures_util::task::AtomicWaker;

/// Wakes the task that carries a connection, for a reason that lies elsewhere: a request is to be broken off, its
/// endpoint has left, the process stops. Who is woken looks at the reasons.
///
/// One task waits for it. Rings that come before it looks are one.
#[derive(Debug, Default)]
pub(crate) struct Bell {
    waker: AtomicWaker,
    rung: AtomicBool,
}

impl Bell {
    /// Whoever sees the ring sees also what was done before it.
    pub(crate) fn ring(&self) {
        self.rung.store(true, Ordering::Release);
        self.waker.wake();
    }

    /// Waits for a ring, and takes it.
    pub(crate) fn poll_rung(&self, cx: &mut Context<'_>) -> Poll<()> {
        if self.take() {
            return Poll::Ready(());
        }
        self.waker.register(cx.waker());
        // Who rang before the registration has woken nobody, and who rings from now on wakes this task.
        if self.take() { Poll::Ready(()) } else { Poll::Pending }
    }

    /// Mostly there is none, and then nothing is written.
    fn take(&self) -> bool {
        self.rung.load(Ordering::Relaxed) && self.rung.swap(false, Ordering::Acquire)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::Meeting;
    use super::*;
    use std::future::poll_fn;
    use std::sync::atomic::AtomicU32;
    use std::task::{Wake, Waker};
    use std::thread::{self, Thread};

    /// Wakes a thread that is parked.
    struct Unpark(Thread);

    impl Wake for Unpark {
        fn wake(self: std::sync::Arc<Self>) {
            self.0.unpark();
        }
    }

    #[test]
    fn no_ring_is_lost_whoever_is_first() {
        const ROUNDS: u32 = 20_000;
        let bell = Bell::default();
        let (meeting, reason) = (Meeting::default(), AtomicU32::new(0));
        thread::scope(|scope| {
            scope.spawn(|| {
                for round in 1..=ROUNDS {
                    meeting.meet(round);
                    reason.store(round, Ordering::Relaxed);
                    bell.ring();
                    // The next is rung when this one was heard.
                    while reason.load(Ordering::Acquire) != 0 {
                        thread::yield_now();
                    }
                }
            });
            let waker = Waker::from(std::sync::Arc::new(Unpark(thread::current())));
            for round in 1..=ROUNDS {
                meeting.meet(round);
                // If a ring were lost, this would never end.
                while bell.poll_rung(&mut Context::from_waker(&waker)).is_pending() {
                    thread::park();
                }
                assert_eq!(reason.load(Ordering::Relaxed), round, "what was done before the ring");
                reason.store(0, Ordering::Release);
            }
        });
    }

    #[tokio::test]
    async fn rings_that_come_before_anybody_looks_are_one() {
        let bell = Bell::default();
        bell.ring();
        bell.ring();
        poll_fn(|cx| bell.poll_rung(cx)).await;
        let again = poll_fn(|cx| Poll::Ready(bell.poll_rung(cx))).await;
        assert!(again.is_pending());
    }
}
