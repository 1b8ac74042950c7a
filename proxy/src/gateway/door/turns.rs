//! The turns in which handshakes are computed.
//!
//! A step of a handshake takes a thread for half a millisecond, in which it could have served fifty requests. When a thousand
//! clients begin one at once, each request that comes then would wait for all of them. So each thread has one of them at a
//! time, and looks for requests before the next.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;

use tokio::sync::Semaphore;
use tokio::task::yield_now;

/// The turns of all threads.
#[derive(Debug)]
pub(super) struct Turns(Semaphore);

impl Turns {
    /// As many at once as there are threads.
    pub(super) fn new(threads: usize) -> Self {
        Self(Semaphore::new(threads.max(1)))
    }

    /// Waits for what is computed in steps, each of which has a turn. Between them it waits for its client without one.
    pub(super) async fn each<T>(&self, computed: impl Future<Output = T>) -> T {
        let mut computed = pin!(computed);
        loop {
            let turn = self.0.acquire().await;
            // Goes on when the thread has looked for what has come meanwhile.
            yield_now().await;
            let step = poll_fn(|cx| Poll::Ready(computed.as_mut().poll(cx))).await;
            drop(turn);
            if let Poll::Ready(done) = step {
                return done;
            }
            woken().await;
        }
    }
}

/// Waits until the task is woken by what it has waited for last.
async fn woken() {
    let mut has_waited = false;
    poll_fn(|_| if std::mem::replace(&mut has_waited, true) { Poll::Ready(()) } else { Poll::Pending }).await;
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::sync::Notify;
    use tokio::task::JoinSet;

    use super::*;

    /// Ends at its second step, for which it waits.
    async fn two_steps(steps: &AtomicUsize, second: &Notify) {
        steps.fetch_add(1, Ordering::Relaxed);
        second.notified().await;
        steps.fetch_add(1, Ordering::Relaxed);
    }

    #[tokio::test]
    async fn requests_are_served_between_one_and_the_next() {
        let (turns, steps, second) =
            (Arc::new(Turns::new(1)), Arc::<AtomicUsize>::default(), Arc::<Notify>::default());
        let mut handshakes = JoinSet::new();
        for _ in 0..100 {
            let (turns, steps, second) = (turns.clone(), steps.clone(), second.clone());
            handshakes.spawn(async move { turns.each(two_steps(&steps, &second)).await });
        }
        let mut before = 0;
        for _ in 0..100 {
            yield_now().await;
            let now = steps.load(Ordering::Relaxed);
            assert!(now <= before + 1, "{now} steps after {before}");
            before = now;
        }
        while steps.load(Ordering::Relaxed) < 100 {
            yield_now().await;
        }
        second.notify_waiters();
        handshakes.join_all().await;
        assert_eq!(steps.load(Ordering::Relaxed), 200);
    }

    #[tokio::test]
    async fn who_waits_for_his_client_or_is_gone_holds_up_nobody() {
        let (turns, steps, never) = (Turns::new(1), AtomicUsize::new(0), Notify::new());
        let mut silent = pin!(turns.each(two_steps(&steps, &never)));
        while steps.load(Ordering::Relaxed) == 0 {
            tokio::select! {
                biased;
                () = &mut silent => unreachable!(),
                () = yield_now() => {}
            }
        }
        assert_eq!(turns.each(async { 7 }).await, 7);
        {
            let mut gone = pin!(turns.each(async { 8 }));
            tokio::select! {
                biased;
                _ = &mut gone => unreachable!("it has looked for others first"),
                () = async {} => {}
            }
        }
        assert_eq!(turns.each(async { 9 }).await, 9);
    }
}
