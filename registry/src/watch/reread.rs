//! A complete list when somebody asks for one: the driver decodes all records anew, and sends a reset.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use super::audit::RETRY;
use crate::timing::Pace;

/// From the end of a list to the next one that was asked for.
const PACE: Pace = Pace { interval: Duration::from_secs(5), times: 10 };

/// Asks a watch for a complete list. All its clones ask the same one.
#[derive(Debug, Clone, Default)]
pub struct Reread(Arc<Notify>);

impl Reread {
    /// Has all records read again, and sent as [`Update::Reset`](super::Update::Reset). This happens at once, or when
    /// the last list is 5 s ago and ten times as long as it took. However often it is asked meanwhile, one list
    /// follows; if that fails, it is tried again later.
    pub fn ask(&self) {
        self.0.notify_one();
    }
}

/// When a list is due that somebody has asked for.
#[derive(Debug, Default)]
pub(super) struct Wish {
    asked: Reread,
    not_before: Option<Instant>,
    /// Lists in a row that were asked for and failed.
    failures: u32,
}

impl Wish {
    pub(super) fn handle(&self) -> Reread {
        self.asked.clone()
    }

    /// Waits until a list was asked for and may be read. May be dropped while it waits.
    pub(super) async fn due(&self) {
        if let Some(at) = self.not_before {
            sleep_until(at).await;
        }
        self.asked.0.notified().await;
    }

    /// A list begins, which answers all who have asked so far.
    pub(super) fn begins(&self) {
        let _ = self.asked.0.notified().now_or_never();
    }

    /// A list that began at this time is complete.
    pub(super) fn ended(&mut self, begun: Instant, now: Instant) {
        self.failures = 0;
        self.rest(begun, now, Duration::ZERO);
    }

    /// A list that was asked for, and began at this time, has failed: it is still wished for, later and later, for
    /// while it is read nobody reads the watch. `chance` is drawn from 0 to 1.
    pub(super) fn failed(&mut self, begun: Instant, now: Instant, chance: f64) {
        self.failures = self.failures.saturating_add(1);
        self.rest(begun, now, RETRY.delay(self.failures, chance));
        self.asked.ask();
    }

    fn rest(&mut self, begun: Instant, now: Instant, delay: Duration) {
        self.not_before = Some(now + PACE.rest(now - begun) + delay);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_that_fails_is_wished_for_later_and_later_until_one_is_complete() {
        let (mut wish, begun) = (Wish::default(), Instant::now());
        let rest = |wish: &Wish, ended| wish.not_before.map(|at| at - ended);
        wish.failed(begun, begun, 1.0);
        let first = rest(&wish, begun);
        wish.failed(begun, begun, 1.0);
        assert_eq!(first, Some(PACE.interval + RETRY.base));
        assert_eq!(rest(&wish, begun), Some(PACE.interval + RETRY.base * 2));
        assert!(wish.handle().0.notified().now_or_never().is_some(), "still wished for");
        let ended = begun + Duration::from_secs(3);
        wish.ended(begun, ended);
        assert_eq!(rest(&wish, ended), Some(Duration::from_secs(30)));
        wish.failed(begun, begun, 1.0);
        assert_eq!(rest(&wish, begun), first);
    }
}
