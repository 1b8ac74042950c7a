//! The one timer of a connection.

use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use tokio::task::coop::unconstrained;
use tokio::time::{Sleep, sleep_until};

/// A timer that is set anew at each look. Tokio's takes a lock when it is set to an earlier time. Most times here move
/// further away and never come: so tokio's is left as it is while it is early enough, and when it fires, the time is
/// looked at again.
#[derive(Debug, Default)]
pub(in crate::gateway) struct Timer {
    sleep: Option<Pin<Box<Sleep>>>,
    /// Whom it wakes, and when; none: it was never set.
    armed: Option<(Instant, Waker)>,
}

impl Timer {
    /// Whether this time has come; if not, the task is woken then, or earlier.
    pub(in crate::gateway) fn poll(&mut self, cx: &mut Context<'_>, now: Instant, due: Instant) -> Poll<()> {
        if now >= due {
            return Poll::Ready(());
        }
        let is_armed =
            |(at, waker): &(Instant, Waker)| *at <= due && now < *at && waker.will_wake(cx.waker());
        if self.armed.as_ref().is_some_and(is_armed) {
            return Poll::Pending;
        }
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(sleep_until(due.into())));
        sleep.as_mut().reset(due.into());
        self.armed = Some((due, cx.waker().clone()));
        // Beside tokio's budget for a task: when that is used up, a timer says that it is pending and takes no note of whom
        // to wake, and nobody would be woken when it is due.
        pin!(unconstrained(sleep.as_mut())).poll(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tasks::now;
    use std::future::poll_fn;
    use std::time::Duration;

    async fn wait(timer: &mut Timer, due: Instant) {
        poll_fn(|cx| timer.poll(cx, now(), due)).await;
    }

    #[tokio::test(start_paused = true)]
    async fn it_comes_when_it_is_due_whatever_it_was_set_to_before() {
        let (start, mut timer) = (now(), Timer::default());
        let after = |seconds| start + Duration::from_secs(seconds);
        for seconds in [5, 6, 60, 61] {
            wait(&mut timer, after(seconds)).await;
            let late = now() - after(seconds);
            assert!(late < Duration::from_millis(5), "{late:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn it_comes_to_a_task_that_has_done_so_much_that_it_is_others_turn() {
        let (start, mut timer) = (now(), Timer::default());
        for seconds in [1, 2] {
            let due = start + Duration::from_secs(seconds);
            let mut looks = 0;
            poll_fn(|cx| {
                looks += 1;
                if looks == 1 {
                    while tokio::task::coop::has_budget_remaining() {
                        let mut budget = pin!(tokio::task::coop::consume_budget());
                        let _ = budget.as_mut().poll(cx);
                    }
                }
                timer.poll(cx, now(), due)
            })
            .await;
            assert_eq!(now().saturating_duration_since(due).as_secs(), 0);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_is_set_earlier_comes_earlier() {
        let (start, mut timer) = (now(), Timer::default());
        let mut looks = 0;
        poll_fn(|cx| {
            looks += 1;
            // An hour at the first look, a second from then on.
            let due = start + Duration::from_secs(if looks == 1 { 3600 } else { 1 });
            if looks == 1 {
                cx.waker().wake_by_ref();
            }
            timer.poll(cx, now(), due)
        })
        .await;
        assert!(now() - start < Duration::from_secs(2));
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_is_set_later_does_not_come_at_its_former_time() {
        let (start, mut timer) = (now(), Timer::default());
        let mut looks = 0;
        poll_fn(|cx| {
            looks += 1;
            let due = start + Duration::from_secs(if looks == 1 { 1 } else { 10 });
            timer.poll(cx, now(), due)
        })
        .await;
        assert!(now() - start >= Duration::from_secs(10) && looks >= 2);
    }
}
