//! Wakes the task that carries a connection, for a reason that lies elsewhere.

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
    use std::sync::Arc;
    use std::sync::atomic::AtomicU32;
    use std::task::{Wake, Waker};
    use std::thread::{self, Thread};
    use std::time::{Duration, Instant};

    /// Wakes a thread that is parked.
    struct Unpark(Thread);

    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }

    /// Whether it was woken: if not, it is waited for as long as no test takes.
    fn parked() -> bool {
        const LONG: Duration = Duration::from_secs(60);
        let begun = Instant::now();
        thread::park_timeout(LONG);
        begun.elapsed() < LONG
    }

    #[test]
    fn no_ring_is_lost_whoever_is_first() {
        const ROUNDS: u32 = 5_000;
        let (bell, reason) = (Bell::default(), AtomicU32::new(0));
        let (meeting, waker) = (Meeting::default(), Waker::from(Arc::new(Unpark(thread::current()))));
        let ring = |round: u32| {
            meeting.meet(2 * round - 1);
            reason.store(round, Ordering::Relaxed);
            bell.ring();
            meeting.meet(2 * round);
        };
        let mut lost = 0;
        thread::scope(|scope| {
            scope.spawn(|| (1..=ROUNDS).for_each(ring));
            for round in 1..=ROUNDS {
                meeting.meet(2 * round - 1);
                while bell.poll_rung(&mut Context::from_waker(&waker)).is_pending() && lost == 0 {
                    lost += u32::from(!parked());
                }
                // What was done before the ring is seen after it.
                lost += u32::from(reason.load(Ordering::Relaxed) != round);
                meeting.meet(2 * round);
            }
        });
        assert_eq!(lost, 0);
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
